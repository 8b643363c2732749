"""Agent Trace records of both forms: one a line, in a list, or as a document."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlos_sync.core.transcripts.agent_trace import read, recognise
from mlos_sync.core.transcripts.model import Transcript, gather

CORPUS = Path(__file__).resolve().parents[2].parent / "shared/corpus"
REVISION = "0123456789abcdef0123456789abcdef01234567"


def record(path: str = "src/a.py", session: str = "s1", **changes) -> dict:
    """A record as the reference hook writes it."""
    conversation = {
        "url": "file:///home/x/t.jsonl",
        "contributor": {"type": "ai", "model_id": "anthropic/claude-opus-4-5"},
        "ranges": [{"start_line": 1, "end_line": 9, "content_hash": "murmur3:9f2e8a1b"}],
    }
    return {
        "version": "1.0",
        "id": "550e8400-e29b-41d4-a716-446655440000",
        "timestamp": "2026-01-27T10:00:00.123Z",
        "vcs": {"type": "git", "revision": REVISION},
        "tool": {"name": "cursor", "version": "2.4.0"},
        "files": [{"path": path, "conversations": [conversation]}],
        "metadata": {"conversation_id": session},
    } | changes


def flat(path: str = "/home/x/a.py", session: str = "f1", **changes) -> dict:
    """A record of the flat form."""
    return {
        "schema": "agent-trace/v0.1.0",
        "session_id": session,
        "file_path": path,
        "start_line": 1,
        "end_line": 2,
        "content_hash": "murmur3:00",
        "confidence": "high",
        "tool": "Edit",
        "tool_use_id": "toolu_01",
        "timestamp": "2026-05-16T20:45:23.658433+00:00",
    } | changes


def reading(data: bytes, name: str = ".agent-trace/traces.jsonl") -> Transcript:
    """All facts of a file."""
    return gather(read(io.BytesIO(data), name))


def lines(*records: object) -> bytes:
    """Records, one a line."""
    return "".join(json.dumps(item) + "\n" for item in records).encode()


def test_a_record_is_an_edit_of_its_session():
    """Session, tool, version, model, time and the revision that it began with."""
    found = reading(lines(record(), record("b.py", timestamp="2026-01-27T12:00:00+01:00")))
    (session,) = found.sessions
    assert (session.session_id, session.tool, session.version) == ("s1", "cursor", "2.4.0")
    assert (session.model, session.base_commit, session.turns) == ("anthropic/claude-opus-4-5", REVISION, 2)
    assert (session.started_at, session.ended_at) == ("2026-01-27T10:00:00Z", "2026-01-27T11:00:00Z")
    assert [(c.operation, c.raw_path, c.at, c.line, c.succeeded) for c in found.claims] == [
        ("edit", "src/a.py", "2026-01-27T10:00:00Z", 1, True),
        ("edit", "b.py", "2026-01-27T11:00:00Z", 2, True),
    ]


def test_the_flat_form_has_one_file_a_record():
    """Its path is absolute, and its tool the one that edited."""
    found = reading(lines(flat(), flat("c:\\x\\a.py", tool="Write"), flat(session="f2", tool="unheard-of")))
    assert [(claim.session_id, claim.raw_path, claim.tool, claim.operation) for claim in found.claims] == [
        ("f1", "/home/x/a.py", "Edit", "edit"),
        ("f1", "c:\\x\\a.py", "Write", "write"),
        ("f2", "/home/x/a.py", "unheard-of", "edit"),
    ]
    assert [(session.session_id, session.turns) for session in found.sessions] == [("f1", 2), ("f2", 1)]


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_a_document_and_a_list_are_read_as_well(indent):
    """Each record has the line that it begins on."""
    one = json.dumps(record(), indent=indent).encode()
    both = json.dumps([record(), record("b.py")], indent=indent).encode()
    stream = one + b"\n" + json.dumps(record("b.py"), indent=indent).encode()
    for data, paths in ((one, ["src/a.py"]), (both, ["src/a.py", "b.py"]), (stream, ["src/a.py", "b.py"])):
        found = reading(data)
        assert recognise(data) and not found.problems
        assert [claim.raw_path for claim in found.claims] == paths
        begun = [data.decode().split("\n")[claim.line - 1].lstrip("[ \t") for claim in found.claims]
        assert all(line.startswith("{") for line in begun)


def test_what_is_no_file_or_nobodys_work_is_no_claim():
    """Pseudo files of the hook, what a person wrote, and paths that can be none; the session counts all the same."""
    human = [{"path": "h.py", "conversations": [{"contributor": {"type": "human"}, "ranges": []}]}]
    mixed = [
        {
            "path": "m.py",
            "conversations": [
                {"contributor": {"type": "human"}, "ranges": [{"contributor": {"type": "ai", "model_id": "m"}}]}
            ],
        }
    ]
    found = reading(
        lines(*(record(path) for path in (".shell-history", ".sessions", ".unknown", "a\x00b", "\ud800", "", 5)))
        + lines(record(files=human), record(files=mixed))
    )
    assert [claim.raw_path for claim in found.claims] == ["m.py"]
    assert found.sessions[0].turns == 9


def test_a_record_without_a_session_belongs_to_the_file():
    """The name is all the identity there is."""
    found = reading(lines(record(metadata=None)), "sub/.agent-trace/traces.jsonl")
    assert found.claims[0].session_id == found.sessions[0].session_id == "sub/.agent-trace/traces.jsonl"


def test_broken_lines_are_problems_of_their_own():
    """What stands around them is read, even when the first line is the broken one."""
    data = (
        lines(record("a.py"))
        + b'{"version": "1.0", "files": [{\n[1, 2]\nnull\n"x"\n'
        + b"[" * 5000
        + b"\n"
        + lines(record("b.py"))
    )
    found = reading(data)
    assert [claim.raw_path for claim in found.claims] == ["a.py", "b.py"]
    assert [problem.line for problem in found.problems] == [2, 3, 3, 4, 5, 6]
    found = reading(data.partition(b"\n")[2])
    assert [claim.raw_path for claim in found.claims] == ["b.py"] and found.problems[0].line == 1


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (lines(record()), True),
        (lines(flat()), True),
        (lines(flat())[:60], True),
        (lines(record())[:330], True),
        (lines({"type": "user", "message": json.dumps(record())}), False),
        (lines({"version": "1", "files": ["dist"], "name": "package"}), False),
        (lines({"type": "user", "message": json.dumps(record())})[:400], False),
        (b"", False),
        (b"[]", False),
        (b"# x", False),
    ],
)
def test_recognition(data, expected):
    """By the first record, by its keys where it is cut off, and never by a quotation in another log."""
    assert recognise(data) is expected


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*record(), "path", "conversations", "contributor", "ranges", "type", "model_id"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200), st.dictionaries(st.sampled_from(list(record())), ODD, max_size=4))
def test_nothing_raises(junk, changes):
    """Any bytes, and any type in every field."""
    data = lines(record(**changes), flat(**changes)) + junk + b"\n" + lines(record())
    recognise(junk)
    recognise(data)
    found = reading(data)
    for claim in found.claims:
        claim.raw_path.encode()
    assert reading(junk) is not None


@pytest.mark.parametrize("indent", [None, 2])
def test_reading_takes_linear_time(indent):
    """Four times the records take about four times the time."""

    def seconds(times: int) -> float:
        data = json.dumps([record()] * times, indent=indent).encode() if indent else lines(*[record()] * times)
        began = time.process_time()
        reading(data)
        return time.process_time() - began

    assert min(seconds(4_000) for _ in range(2)) < 8 * min(seconds(1_000) for _ in range(3)) + 0.05


@pytest.mark.corpus
def test_real_records():
    """Each line of a real file is one claim; logs of other formats are not recognised."""
    if not CORPUS.is_dir():
        pytest.skip(f"CORPUS NOT PRESENT: {CORPUS} is missing, so that no real record was read")
    for path in sorted((CORPUS / "agent-trace").rglob("*.jsonl")):
        data = path.read_bytes()
        found = reading(data)
        assert recognise(data[:65536]) and not found.problems
        assert len(found.claims) == data.count(b'"file_path"')
    for kind in ("claude", "codex", "gemini", "other"):
        assert not any(recognise(path.read_bytes()[:65536]) for path in (CORPUS / kind).rglob("*.json*"))
