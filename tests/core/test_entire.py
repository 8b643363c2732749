"""Entire's metadata of checkpoints: what is told, whatever is missing or of another type."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlos_sync.core.transcripts.entire import checkpoint, native_id, root

CORPUS = Path(__file__).resolve().parents[2].parent / "shared/corpus/entire"
FULL = {
    "cli_version": "v0.4.4",
    "checkpoint_id": "2cea8e895d35",
    "session_id": "7505c804-ef06-4be0-a866-480597e6bbc1",
    "strategy": "manual-commit",
    "created_at": "2026-01-05T18:15:34.35213+01:00",
    "branch": "x/log",
    "checkpoints_count": 1,
    "files_touched": ["cmd/a.go", "cmd/a.go", "docs/b c.md"],
    "agent": "Claude Code",
    "checkpoint_transcript_start": 231,
    "transcript_lines_at_start": 7,
    "transcript_path": ".claude/projects/-home-x/7505c804.jsonl",
}
ROOT = {
    "checkpoint_id": "2cea8e895d35",
    "branch": "",
    "files_touched": ["cmd/a.go"],
    "sessions": [{"metadata": "/2c/ea8e895d35/0/metadata.json"}, {"metadata": "/2c/ea8e895d35/2/metadata.json"}, {}, 5],
}


def encoded(value: object) -> bytes:
    """A metadata file."""
    return json.dumps(value, indent=2).encode()


def test_a_session_of_a_checkpoint():
    """Everything that is told."""
    found = checkpoint(b"\xef\xbb\xbf" + encoded(FULL))
    assert (found.checkpoint_id, found.session_id, found.entire_id) == (
        "2cea8e895d35",
        FULL["session_id"],
        FULL["session_id"],
    )
    assert (found.agent, found.created_at, found.branch) == ("Claude Code", "2026-01-05T17:15:34Z", "x/log")
    assert (found.files_touched, found.first_line) == (("cmd/a.go", "docs/b c.md"), 231)
    assert found.transcript_path == FULL["transcript_path"]


def test_what_is_missing_is_not_told():
    """Early versions tell little, and `null` is nothing; the older name of the first line counts as well."""
    found = checkpoint(
        encoded({"session_id": "s", "files_touched": None, "agent": "Agent", "transcript_lines_at_start": 7})
    )
    assert (found.session_id, found.agent, found.branch, found.created_at) == ("s", None, None, None)
    assert (found.files_touched, found.first_line, found.checkpoint_id) == ((), 7, None)


@pytest.mark.parametrize(
    ("written", "native"),
    [
        ("2026-01-05-4555072a-e039-4937-b6ea-dcb86152dd55", "4555072a-e039-4937-b6ea-dcb86152dd55"),
        ("4555072a-e039-4937-b6ea-dcb86152dd55", "4555072a-e039-4937-b6ea-dcb86152dd55"),
        ("2026-01-05-notes", "2026-01-05-notes"),
        ("session-2026-01-05", "session-2026-01-05"),
    ],
)
def test_the_date_before_an_id_is_entires_own(written, native):
    """The log of the agent knows the id without it; the id as written is kept beside."""
    assert native_id(written) == native
    assert checkpoint(encoded({"session_id": written})).entire_id == written


def test_the_checkpoint_itself():
    """Its files and where its sessions stand in the tree."""
    found = root(encoded(ROOT))
    assert (found.checkpoint_id, found.branch, found.files_touched) == ("2cea8e895d35", None, ("cmd/a.go",))
    assert found.sessions == ("2c/ea8e895d35/0/metadata.json", "2c/ea8e895d35/2/metadata.json")


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"{", b'"x"', b"\xff", b"[" * 100_000, b"{}", b'{"session_id": 5}']
)
def test_no_session_is_none(data):
    """Nothing is made up for a file that says nothing."""
    assert checkpoint(data) is None


ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers() | st.just("\ud800"), max_size=3)
    | st.just({})
)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200), st.dictionaries(st.sampled_from([*FULL, "sessions"]), ODD, max_size=6))
def test_nothing_raises(junk, changes):
    """Any bytes, and any type in every field."""
    for data in (junk, encoded(FULL | changes), encoded(ROOT | changes)):
        checkpoint(data)
        root(data)


def test_reading_takes_linear_time():
    """Four times the files take about four times the time."""

    def seconds(times: int) -> float:
        data = encoded(FULL | {"files_touched": [f"{number}.py" for number in range(times)]})
        began = time.process_time()
        checkpoint(data)
        return time.process_time() - began

    assert min(seconds(40_000) for _ in range(2)) < 8 * min(seconds(10_000) for _ in range(3)) + 0.05


@pytest.mark.corpus
def test_real_metadata():
    """Every real file is read, and its id stands in its name."""
    if not CORPUS.is_dir():
        pytest.skip(f"CORPUS NOT PRESENT: {CORPUS} is missing, so that no real metadata was read")
    read = 0
    for path in sorted(CORPUS.rglob("*metadata.json")):
        found = root(path.read_bytes()) if "root" in path.name else checkpoint(path.read_bytes())
        assert found.checkpoint_id == path.name[:2] + path.name[3:13]
        assert "root" not in path.name or found.sessions
        assert "root" in path.name or found.created_at
        read += 1
    assert read > 10
