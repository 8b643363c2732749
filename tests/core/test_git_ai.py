"""git-ai authorship notes in all their shapes: sessions, prompts, people, keys without a record."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlos_sync.core.transcripts.git_ai import parse, ranges
from mlos_sync.core.transcripts.model import Transcript, gather

CORPUS = Path(__file__).resolve().parents[2].parent / "shared/corpus/git-ai-notes"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def agent(identity: str = "11111111-2222", tool: str = "claude", model: object = "claude-opus-4-6", **more) -> dict:
    """A record of a session or a prompt."""
    return {"agent_id": {"tool": tool, "id": identity, "model": model}, "human_author": "A Person"} | more


def note(attested: str, **records) -> bytes:
    """A note: the files, the divider, the records."""
    about = {"schema_version": "authorship/3.0.0", "git_ai_version": "1.6.24", "base_commit_sha": COMMIT, "prompts": {}}
    return f"{attested}---\n{json.dumps(about | records, indent=2)}\n".encode()


def reading(data: bytes) -> Transcript:
    """All facts of a note."""
    return gather(parse(data, COMMIT))


MIXED = note(
    "src/a.rs\n  s_c9883b05a2487d::t_9f8e7d6c5b4a32 1-10,15\n  h_31dce776f88375 35-40\n  s_c9883b05a2487d::t_0f8e7d6c5b4a32 50\n"
    '"path with spaces.rs"\n  d9978a8723e02b52 1-4,9\n  abcdef0 20\n'
    "--- a.md\n  s_c9883b05a2487d::t_9f8e7d6c5b4a32 3\n",
    sessions={"s_c9883b05a2487d": agent()},
    prompts={"d9978a8723e02b52": agent("old", "cursor", "unknown")},
    humans={"h_31dce776f88375": {"author": "A Person"}},
)


def test_a_note_names_sessions_and_their_files():
    """One edit for each file and session, however many traces; people and unknown keys claim nothing."""
    found = reading(MIXED)
    assert [(claim.session_id, claim.raw_path, claim.operation, claim.line) for claim in found.claims] == [
        ("11111111-2222", "src/a.rs", "edit", 2),
        ("old", "path with spaces.rs", "edit", 6),
        ("11111111-2222", "--- a.md", "edit", 9),
    ]
    assert {(session.session_id, session.tool, session.model, session.part) for session in found.sessions} == {
        ("11111111-2222", "claude", "claude-opus-4-6", COMMIT),
        ("old", "cursor", None, COMMIT),
    }
    assert not found.problems


def test_lines_have_the_session_that_wrote_them():
    """None for a person and for a key without a record; lines that nobody attested are not there."""
    assert ranges(MIXED) == {
        "src/a.rs": [("11111111-2222", 1, 10), ("11111111-2222", 15, 15), (None, 35, 40), ("11111111-2222", 50, 50)],
        "path with spaces.rs": [("old", 1, 4), ("old", 9, 9), (None, 20, 20)],
        "--- a.md": [("11111111-2222", 3, 3)],
    }


def test_one_agent_behind_several_keys_is_one_session():
    """A note that was written by two versions has a prompt and a session for the same agent."""
    data = note(
        "a.rs\n  f4f2b364dfcacebb 1\n  s_f4f2b364dfcace::t_7939d266949066 2\n",
        prompts={"f4f2b364dfcacebb": agent()},
        sessions={"s_f4f2b364dfcace": agent()},
    )
    assert [session.session_id for session in reading(data).sessions] == ["11111111-2222"]
    assert len(reading(data).claims) == 1


def test_an_empty_attestation_still_names_its_session():
    """A commit that only deletes has no lines, and an old prompt may hold its messages."""
    said = [{"type": "user", "text": "x", "timestamp": "2026-01-05T10:00:00Z"}, {"type": "assistant"}, 5]
    (session,) = reading(note("", prompts={"51f2330afc8e2aa3": agent(messages=said)})).sessions
    assert (session.turns, session.started_at, session.ended_at) == (2, "2026-01-05T10:00:00Z", "2026-01-05T10:00:00Z")
    assert reading(note("")).sessions == [] and ranges(note("")) == {}


def test_a_note_without_records_still_has_lines():
    """A cherry-pick brings the lines of a session that the note does not know."""
    data = note("a.rs\n  s_8d9d36585aec71::t_bafafaca0f9869 6\n")
    assert reading(data).claims == [] and ranges(data) == {"a.rs": [(None, 6, 6)]}


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", 1),
        (b"a.rs\n  s_c9883b05a2487d 1\n", 1),
        (b"---\nno json\n", 2),
        (b"---\n[]\n", 2),
        (b"---\n" + b"[" * 100_000, 2),
        (note("a.rs\n  s_c9883b05a2487d lines\n"), 2),
        (note("a\x07.rs\n  s_c9883b05a2487d 1\n"), 1),
    ],
)
def test_what_is_malformed_is_a_problem(data, line):
    """At its line, while the rest is read."""
    assert [problem.line for problem in reading(data).problems] == [line]
    assert all(not found for found in ranges(data).values()) or b"s_c" in data


@pytest.mark.parametrize("text", ["0", "5-4", "99999999999", "1--2", "-", ","])
def test_ranges_that_can_be_none_are_left_out(text):
    """Lines count from 1, and upwards."""
    assert ranges(note(f"a.rs\n  abcdef0 {text},7\n")).get("a.rs", []) in ([(None, 7, 7)], [])


ODD = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["s_a", "h_b", "agent_id", "id", "tool", "model", "messages"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=150)
@given(
    st.binary(max_size=300),
    ODD,
    st.lists(st.sampled_from(["a.rs\n", "  s_a::t_b 1-2\n", "  h_b 3,4\n", "---\n", '"\n', "  \n"]), max_size=12),
)
def test_nothing_raises(junk, odd, pieces):
    """Any bytes, any type in every field, and the lines of a note in any order."""
    for data in (junk, note("".join(pieces), sessions=odd, prompts={"s_a": odd, "b": agent(odd)}), junk + MIXED):
        found = reading(data)
        assert all(1 <= claim.line <= data.count(b"\n") + 1 for claim in found.claims)
        ranges(data)


def test_reading_takes_linear_time():
    """Four times the lines take about four times the time."""

    def seconds(times: int) -> float:
        data = note(
            "a.rs\n  s_c9883b05a2487d::t_9f8e7d6c5b4a32 1-10,15\n" * times, sessions={"s_c9883b05a2487d": agent()}
        )
        began = time.process_time()
        reading(data)
        ranges(data)
        return time.process_time() - began

    assert min(seconds(8_000) for _ in range(2)) < 8 * min(seconds(2_000) for _ in range(3)) + 0.05


@pytest.mark.corpus
def test_real_notes():
    """None has a problem, and each line of an attestation gives ranges."""
    if not CORPUS.is_dir():
        pytest.skip(f"CORPUS NOT PRESENT: {CORPUS} is missing, so that no real note was read")
    notes = sorted(CORPUS.rglob("*.note.txt"))
    assert len(notes) > 20
    for path in notes:
        data = path.read_bytes()
        found = reading(data)
        assert not found.problems
        attested = data.decode().partition("---\n")[0].splitlines()
        counted = sum(line.count(",") + 1 for line in attested if line.startswith("  "))
        assert sum(map(len, ranges(data).values())) == counted
        assert {claim.raw_path for claim in found.claims} <= {line for line in attested if not line.startswith(" ")}
