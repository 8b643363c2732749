"""Cursor's agent transcripts, Factory Droid's sessions and Windsurf's transcripts."""

from __future__ import annotations

from typing import Any

import logs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlos_sync.core.transcripts import cursor, droid, windsurf
from mlos_sync.core.transcripts.model import Replacement

NAME = "projects/p/agent-transcripts/5f0c/5f0c.jsonl"


def line(role: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "message": {"content": list(blocks)}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(name: str, arguments: Any, **members: Any) -> dict[str, Any]:
    return {"type": "tool_use", "name": name, "input": arguments, **members}


ASKED = line("user", text("<user_query>\nGo\n</user_query>"))
END = line("assistant", text("[REDACTED]"))
PATCH = "*** Begin Patch\n*** Update File: /w/a.py\n@@\n-a\n+b\n*** End Patch"


def test_the_file_names_the_session():
    """Nothing in a line does; there are neither times nor models."""
    (session,) = logs.read(cursor, ASKED, END, name=NAME).sessions
    assert (session.session_id, session.tool, session.format) == ("5f0c", "Cursor", "cursor-jsonl")
    assert (session.model, session.started_at, session.turns, session.parent) == (None, None, 2, None)
    below = "agent-transcripts/5f0c/subagents/77aa.jsonl"
    (session,) = logs.read(cursor, ASKED, END, name=below).sessions
    assert (session.session_id, session.parent) == ("77aa", "5f0c")


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("Write", {"path": "/w/a.py", "contents": "x\n"}, [("write", "/w/a.py", True)]),
        ("StrReplace", {"path": "/w/a.py", "old_string": "a", "new_string": "b"}, [("edit", "/w/a.py", True)]),
        ("search_replace", {"file_path": "/w/a.py", "old_string": "a", "new_string": "b"}, [("edit", "/w/a.py", True)]),
        ("edit_file", {"target_file": "a.py", "code_edit": "x", "instructions": "y"}, [("edit", "a.py", True)]),
        ("ApplyPatch", PATCH, [("patch", "/w/a.py", True)]),
        ("ApplyPatch", {"patch": PATCH}, [("patch", "/w/a.py", True)]),
        ("Delete", {"path": "/w/a.py"}, [("delete", "/w/a.py", True)]),
        ("delete_file", {"target_file": "a.py", "explanation": "x"}, [("delete", "a.py", True)]),
        ("Read", {"path": "/w/a.py", "limit": 40}, [("read", "/w/a.py", True)]),
        ("EditNotebook", {"target_notebook": "n.ipynb", "cell_idx": 0}, [("edit", "n.ipynb", True)]),
        ("Shell", {"command": "rm a.py", "description": "x"}, []),
        ("Grep", {"path": "/w", "pattern": "x"}, []),
        ("Write", {"contents": "x"}, []),
        ("Write", "text", []),
    ],
)
def test_tools_of_cursor(name, arguments, expected):
    """What is followed by anything succeeded; a command tells no exit status."""
    transcript = logs.read(cursor, ASKED, line("assistant", text("x"), use(name, arguments)), END, name=NAME)
    assert logs.told(transcript) == expected
    assert all((claim.line, claim.turn) == (2, 2) for claim in transcript.claims)


def test_contents_and_replacements():
    """As far as the call has them."""
    write = use("Write", {"path": "a", "contents": "x\n"})
    replace = use("StrReplace", {"path": "a", "old_string": "x", "new_string": "y", "replace_all": True})
    first, second = logs.read(cursor, ASKED, line("assistant", write, replace), END, name=NAME).claims
    assert (first.contents[0], second.replacements) == (b"x\n", (Replacement(b"x", b"y", everywhere=True),))


def test_the_last_call_did_not_succeed():
    """Nothing follows it: the agent was stopped, or waits for leave."""
    transcript = logs.read(cursor, ASKED, line("assistant", use("Write", {"path": "a", "contents": "x"})), name=NAME)
    assert logs.told(transcript) == [("write", "a", False)]


@pytest.mark.parametrize(("status", "succeeded"), [("success", True), ("aborted", False), ("error", False)])
def test_the_end_of_a_turn_tells_of_its_last_calls(status, succeeded):
    """A line is written when its tools have run; a turn that was stopped may have stopped them."""
    calls = line("assistant", use("Write", {"path": "a", "contents": "x"}))
    ended = {"type": "turn_ended", "status": status}
    transcript = logs.read(cursor, ended, ASKED, calls, ended, ASKED, END, name=NAME)
    assert logs.told(transcript) == [("write", "a", succeeded)]


def test_a_result_that_is_an_error_goes_before_that():
    """Results, where there are any, stand in the order of the calls; they are no turn."""
    calls = line("assistant", use("Write", {"path": "a", "contents": "x"}), use("Delete", {"path": "b"}))
    results = [
        {"type": "tool_result", "content": [text(words)]} for words in ("Wrote contents to a", "Error: no such file")
    ]
    transcript = logs.read(cursor, ASKED, calls, line("user", *results), name=NAME)
    assert logs.told(transcript) == [("write", "a", True), ("delete", "b", False)]
    assert transcript.sessions[0].turns == 2
    shell = line("assistant", use("Shell", {"command": "git commit -m x"}))
    answer = line("user", {"type": "tool_result", "content": "[main abc1234] x"})
    assert [commit.sha for commit in logs.read(cursor, ASKED, shell, answer, name=NAME).commits] == ["abc1234"]


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{}",
        b'{"role":"user","message":"x"}',
        b'{"role":"user","content":[]}',
        b'{"role":"system","message":{"content":[]}}',
        b'{"type":"message","role":"user","message":{"content":[]}}',
        b'{"a":{"role":"user","message":{"content":[]}}}',
    ],
)
def test_other_files_are_not_cursors(head):
    """The marks of the format are few, so that all are needed."""
    assert not cursor.recognise(head)


# --- Factory Droid


START = {"type": "session_start", "id": "052cb8d0", "title": "Words", "version": 2, "cwd": "/home/x/p"}


def spoke(role: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    message = {"role": role, "content": list(blocks)}
    return {"type": "message", "id": "m", "timestamp": "2026-01-28T16:57:21.992Z", "message": message}


def answer(identity: str, content: str, **members: Any) -> dict[str, Any]:
    return spoke("user", {"type": "tool_result", "tool_use_id": identity, "content": content, **members})


def test_a_session_of_droid():
    """The first line has id, title and directory; results are joined by the id of the call."""
    transcript = logs.read(
        droid,
        *(START, spoke("user", text("Go")), spoke("assistant", use("ApplyPatch", {"input": PATCH}, id="c1"))),
        answer("c1", '{"success":true,"file_path":"/w/a.py"}'),
        spoke(
            "assistant",
            use("Create", {"file_path": "b.py", "content": "x"}, id="c2"),
            use("Read", {"file_path": "c"}, id="c3"),
        ),
        *(answer("c2", '{"success":false}'), answer("c3", "Error: File not found")),
        spoke("assistant", use("Edit", {"file_path": "d", "old_str": "a", "new_str": "b"}, id="c4")),
        answer("c4", "no", is_error=True),
        spoke("assistant", use("Execute", {"command": "git commit -m x && rm e"}, id="c5")),
        answer("c5", "[main abc1234] x"),
        spoke("assistant", use("Edit", {"file_path": "f"}, id="c6")),
    )
    (session,) = transcript.sessions
    assert (session.session_id, session.tool, session.title) == ("052cb8d0", "Factory Droid CLI", "Words")
    assert (session.cwd, session.turns, session.ended_at) == ("/home/x/p", 6, "2026-01-28T16:57:21Z")
    assert logs.told(transcript) == [
        *(("patch", "/w/a.py", True), ("create", "b.py", False), ("read", "c", False)),
        *(("edit", "d", False), ("edit", "f", False)),
    ]
    assert transcript.claims[0].replacements == (Replacement(b"a\n", b"b\n"),)
    assert [commit.sha for commit in transcript.commits] == ["abc1234"]


# --- Windsurf


def step(kind: str, status: str = "done", **members: Any) -> dict[str, Any]:
    return {"status": status, "type": kind, kind: members}


def test_a_transcript_of_windsurf():
    """Whole texts before and after, addresses for paths, the exit of every command."""
    accepted = "ACKNOWLEDGEMENT_TYPE_ACCEPT"
    data = logs.lines(
        *(step("user_input", user_response="Go"), step("planner_response", response="Yes")),
        step("view_file", path="file:///home/x/p/a%20b.md", start_line=0),
        step(
            "code_action",
            path="file:///c%3A/x/a.md",
            original_content="x",
            new_content="y\n",
            acknowledgement_type=accepted,
        ),
        step("code_action", path="file:///w/n.md", new_content="", acknowledgement_type="ACKNOWLEDGEMENT_TYPE_REJECT"),
        step("code_action", "error", path="file:///w/e.md", new_content=""),
        step("run_command", command="git commit -m x && rm f", cwd="/w", exit_code=0, output="[main abc1234] x"),
        step("run_command", command="rm g", cwd="/w", exit_code=1, output=""),
    )
    transcript = logs.sound(windsurf, data, "transcripts/77.jsonl")
    assert [(session.session_id, session.tool, session.turns) for session in transcript.sessions] == [
        ("77", "Windsurf", 2)
    ]
    assert logs.told(transcript) == [
        *(("read", "/home/x/p/a b.md", True), ("write", "c:/x/a.md", True)),
        *(("create", "/w/n.md", False), ("create", "/w/e.md", False), ("delete", "f", True)),
    ]
    assert (transcript.claims[1].contents, transcript.claims[4].cwd) == ((b"y\n", b"y\r\n"), "/w")
    assert [commit.sha for commit in transcript.commits] == ["abc1234"]


# --- any bytes


PIECES = {
    cursor: [
        ASKED,
        END,
        {"type": "turn_ended", "status": "success"},
        line("assistant", use("Write", {"path": "a", "contents": "x"}), use("ApplyPatch", PATCH)),
    ],
    droid: [START, spoke("assistant", use("ApplyPatch", {"input": PATCH}, id="c")), answer("c", '{"success":true}')],
    windsurf: [
        step("code_action", path="file:///w/a", new_content="x"),
        step("run_command", command="rm a", exit_code=0),
    ],
}


@pytest.mark.parametrize("reader", PIECES)
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_any_damage_is_survived(reader, data):
    """True lines in any order, with odd values, cut, glued, and other bytes between."""
    piece = logs.spoilt(PIECES[reader]) | st.sampled_from(logs.DAMAGE) | st.binary(max_size=50)
    logs.sound(reader, data.draw(st.lists(piece, max_size=8)))


@pytest.mark.parametrize("reader", PIECES)
def test_reading_takes_linear_time(reader):
    """Four times the log takes about four times as long, its calls answered or not."""
    few = logs.seconds(reader, logs.lines(*PIECES[reader] * 300))
    assert logs.seconds(reader, logs.lines(*PIECES[reader] * 1200)) < 9 * few + 0.05


@pytest.mark.corpus
def test_real_transcripts_are_read():
    """Each by its own reader alone."""
    found = {}
    for name, data in logs.real("other").items():
        head = b"".join(data)[:65_536]
        (reader,) = [reader for reader in PIECES if reader.recognise(head)]
        transcript = logs.sound(reader, data, name)
        assert len(transcript.sessions) == 1 and not transcript.problems
        found[name.rpartition("/")[2]] = [claim.operation for claim in transcript.claims if claim.succeeded]
    assert found == {
        "cursor-session-simple.jsonl": ["read", "read", "read", "write"],
        "droid-session.jsonl": ["read", "patch", "read"],
        "windsurf-session-simple.jsonl": ["read", "write", "read", "write", "read", "read", "read"],
        "large.jsonl": ["read"],
        "test-session.jsonl": [],
    }
