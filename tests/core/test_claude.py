"""Claude Code's log: sessions, claims, contents and commits, on small logs in the true form of several versions."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

import logs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlos_sync.core.transcripts import claude
from mlos_sync.core.transcripts.model import Replacement, Transcript

SESSION = "0b6f3f0e-52f0-4a6b-9a39-5a7f0f3c1d11"
ids = itertools.count()


def entry(kind: str, message: dict[str, Any], second: int = 0, **members: Any) -> dict[str, Any]:
    """A line as versions 2.0 and 2.1 write it: the circumstances first, then the message."""
    head = {
        "parentUuid": None,
        "isSidechain": False,
        "userType": "external",
        "cwd": "/home/x/p",
        "sessionId": SESSION,
        "version": "2.1.7",
        "gitBranch": "main",
    }
    uuid = f"uuid-{next(ids)}"
    tail = {"type": kind, "message": message, "uuid": uuid, "timestamp": f"2026-01-19T10:00:{second:02}.123Z"}
    return {**head, **tail, **members}


def said(text: str, **members: Any) -> dict[str, Any]:
    return entry("user", {"role": "user", "content": text}, **members)


def call(tool: str, arguments: dict[str, Any], identity: str = "", **members: Any) -> dict[str, Any]:
    """The assistant's line with one call."""
    block = {"type": "tool_use", "id": identity or f"toolu_{next(ids)}", "name": tool, "input": arguments}
    message = {"model": "claude-opus-4-5", "id": f"msg_{next(ids)}", "role": "assistant", "content": [block]}
    return entry("assistant", message, **{"requestId": "req_1", **members})


def result(
    of: dict[str, Any], details: Any, text: str = "ok", error: bool | None = None, **members: Any
) -> dict[str, Any]:
    """The user's line that answers a call."""
    block = {"tool_use_id": of["message"]["content"][0]["id"], "type": "tool_result", "content": text}
    if error is not None:
        block["is_error"] = error
    told = {} if details is None else {"toolUseResult": details}
    return entry("user", {"role": "user", "content": [block]}, **{"second": 5, **told, **members})


def progress(of: dict[str, Any], agent: str = "a1b2", **members: Any) -> dict[str, Any]:
    """The line that tells a message of a subagent, as versions 2.1.12 to 2.1.42 write it."""
    kept = ("type", "timestamp", "message", "requestId", "uuid", "toolUseResult")
    message = {key: of[key] for key in kept if key in of}
    around = {"parentUuid": None, "isSidechain": False, "userType": "external", "cwd": of["cwd"]}
    session = {"sessionId": of["sessionId"], "version": "2.1.29", "gitBranch": "main", "slug": "some-calm-words"}
    data = {"message": message, "normalizedMessages": [], "type": "agent_progress", "prompt": "task", "agentId": agent}
    tail = {"toolUseID": "agent_msg_1", "parentToolUseID": "toolu_parent", "uuid": f"outer-{next(ids)}"}
    return {**around, **session, "type": "progress", "data": {**data, **members}, **tail, "timestamp": of["timestamp"]}


def side(entries: list[dict[str, Any]], agent: str = "a1b2") -> list[dict[str, Any]]:
    """The same messages as lines of a subagent."""
    return [{**entry, "isSidechain": True, "agentId": agent} for entry in entries]


def done(tool: str, arguments: dict[str, Any], details: Any, **more: Any) -> list[dict[str, Any]]:
    """A call and its result."""
    asked = call(tool, arguments)
    return [asked, result(asked, details, **more)]


def read(*entries: Any, name: str = f"logs/{SESSION}.jsonl") -> Transcript:
    return logs.read(claude, *entries, name=name)


def edit(
    old: str, new: str, original: str | None, path: str = "/home/x/p/a.py", **members: Any
) -> list[dict[str, Any]]:
    """An `Edit` with its result."""
    details = {
        "filePath": path,
        "oldString": old,
        "newString": new,
        "originalFile": original,
        "structuredPatch": [],
        "userModified": False,
        "replaceAll": False,
        **members,
    }
    return done("Edit", {"file_path": path, "old_string": old, "new_string": new}, details)


# --- sessions


def test_the_session_of_a_log():
    """Its circumstances are those of the first line, its times the outermost, its turns what was said."""
    transcript = read(
        said("Please", second=1),
        *done("Read", {"file_path": "/home/x/p/a.py"}, {"type": "text", "file": {"filePath": "/home/x/p/a.py"}}),
        said("Thanks", second=9, cwd="/home/x/p/sub", gitBranch="other", version="2.1.8"),
    )
    (session,) = transcript.sessions
    assert (session.session_id, session.tool, session.format) == (SESSION, "Claude Code", "claude-jsonl")
    assert (session.model, session.version, session.cwd) == ("claude-opus-4-5", "2.1.7", "/home/x/p")
    assert (session.branch, session.base_commit, session.part) == ("main", None, "")
    assert (session.started_at, session.ended_at) == ("2026-01-19T10:00:00Z", "2026-01-19T10:00:09Z")
    assert (session.turns, session.subagent_turns, session.title) == (3, 0, None)


def test_what_the_client_puts_in_is_no_turn():
    """Meta lines, summaries of an earlier context, results, and the idle kinds."""
    (session,) = read(
        said("x"),
        said("Caveat: …", isMeta=True),
        said("This session is being continued …", isCompactSummary=True),
        {"type": "queue-operation", "operation": "enqueue", "sessionId": SESSION},
        entry("system", {}, subtype="compact_boundary"),
    ).sessions
    assert session.turns == 1


def test_one_message_over_several_lines_is_one_turn():
    """Each block of a message has its own line; a streamed message may be repeated."""
    lines = [call("Read", {"file_path": f"/w/{k}.py"}) for k in range(3)]
    for line in lines:
        line["message"]["id"] = "msg_same"
    transcript = read(said("x"), *lines, {**lines[2], "uuid": "again"})
    assert (transcript.sessions[0].turns, len(transcript.claims)) == (2, 3)


def test_lines_that_stand_twice_count_once():
    """Resumed files repeat lines with their uuid; the first counts, and so do results."""
    lines = edit("a", "b", "a\n")
    transcript = read(*lines, *lines, said("x"))
    assert (len(transcript.claims), transcript.sessions[0].turns) == (1, 2)


def test_a_resumed_file_holds_several_sessions():
    """Version 1.0 copied the lines of the session that it resumed, some under their old id."""
    transcript = read(said("x", sessionId="old-1"), *edit("a", "b", "a\n"), said("y"))
    assert [(session.session_id, session.turns) for session in transcript.sessions] == [("old-1", 1), (SESSION, 2)]
    assert {claim.session_id for claim in transcript.claims} == {SESSION}


def test_sidechains_in_the_file_are_told_apart():
    """To version 1.0 what subagents did stands among the lines of the main thread."""
    asked = call("Write", {"file_path": "/w/a.py", "content": "x"}, isSidechain=True)
    asked["message"]["model"] = "claude-haiku"
    answer = result(asked, {"type": "create", "filePath": "/w/a.py", "content": "x"}, isSidechain=True)
    transcript = read(said("x"), said("task", isSidechain=True), asked, answer)
    (session,) = transcript.sessions
    assert (session.turns, session.subagent_turns, session.part, session.model) == (1, 2, "", None)
    assert (transcript.claims[0].subagent, transcript.claims[0].turn) == (True, 2)


@pytest.mark.parametrize(("name", "members"), [("x.jsonl", {"agentId": "a1b2"}), ("s/subagents/agent-a1b2.jsonl", {})])
def test_the_file_of_a_subagent_is_a_part(name, members):
    """`agent-<id>.jsonl` has the id of the session, and is told by its lines or, in old ones, by its name."""
    members = {"isSidechain": True, **members} if members else {}
    asked = call("Read", {"file_path": "/w/a.py"}, **members)
    made = {"type": "ai-title", "sessionId": SESSION, "aiTitle": "Made"}
    transcript = read(said("x", **members), asked, result(asked, None, **members), *[made][bool(members) :], name=name)
    (session,) = transcript.sessions
    assert (session.session_id, session.part) == (SESSION, "agent-a1b2")
    assert (session.turns, session.subagent_turns, session.model) == (2, 0, "claude-opus-4-5")
    (claim,) = transcript.claims
    assert (claim.subagent, claim.part, claim.turn) == (True, "agent-a1b2", 2)


def parts(transcript: Transcript) -> list[tuple[str, int, int]]:
    return [(session.part, session.turns, session.subagent_turns) for session in transcript.sessions]


def test_each_subagent_in_the_file_is_a_part():
    """Their turns are counted each by itself, and all of them in the main part; claims and commits say whose they are."""
    git = done("Bash", {"command": "git commit -m x"}, {**BASH, "stdout": "[main abc1234] x"})
    transcript = read(
        said("x"),
        *side([said("task"), *edit("a", "b", "a\n")], "one"),
        *side([said("task"), *git], "two"),
        *edit("b", "c", "b\n"),
        said("old", isSidechain=True),
        said("no id of a file", isSidechain=True, agentId="../x"),
    )
    assert parts(transcript) == [("", 2, 6), ("agent-one", 2, 0), ("agent-two", 2, 0)]
    assert [(claim.part, claim.turn, claim.subagent) for claim in transcript.claims] == [
        ("agent-one", 2, True),
        ("", 2, False),
    ]
    assert [(commit.part, commit.turn, commit.sha) for commit in transcript.commits] == [("agent-two", 2, "abc1234")]
    assert {session.session_id for session in transcript.sessions} == {SESSION}


def test_parts_belong_to_their_own_session():
    """One file with two sessions, and a subagent of the same id in each."""
    first = side([said("x", sessionId="s-1"), said("y", sessionId="s-1")])
    transcript = read(said("x", sessionId="s-1"), *first, said("x"), *side([said("x")]))
    assert [
        (session.session_id, *told) for session, told in zip(transcript.sessions, parts(transcript), strict=True)
    ] == [
        ("s-1", "", 1, 2),
        ("s-1", "agent-a1b2", 2, 0),
        (SESSION, "", 1, 1),
        (SESSION, "agent-a1b2", 1, 0),
    ]


# --- what progress lines tell of subagents


def test_a_progress_line_tells_what_a_subagent_did():
    """Its message has its own time, model and details; the line around it has the circumstances."""
    task = said("task", second=2)
    asked = call("Write", {"file_path": "/w/a.py", "content": "x\n"}, second=3)
    asked["message"]["model"] = "claude-haiku-4-5"
    answer = result(asked, None, "File created successfully at: /w/a.py", second=4)
    change = edit("a", "b", "a\n")
    transcript = read(said("x"), *map(progress, (task, asked, answer, *change)))
    main, part = transcript.sessions
    assert (main.part, main.turns, main.subagent_turns, main.model) == ("", 1, 3, None)
    assert (part.part, part.turns, part.subagent_turns, part.model) == ("agent-a1b2", 3, 0, "claude-haiku-4-5")
    assert (part.started_at, part.ended_at) == ("2026-01-19T10:00:00Z", "2026-01-19T10:00:05Z")
    assert (part.session_id, part.cwd, part.branch, part.version) == (SESSION, "/home/x/p", "main", "2.1.29")
    created, edited = transcript.claims
    assert (created.operation, created.contents, created.line) == ("create", (b"x\n", b"x\r\n"), 3)
    assert (created.at, created.cwd, created.turn) == ("2026-01-19T10:00:04Z", "/home/x/p", 2)
    assert (edited.operation, edited.contents, edited.line) == ("edit", (b"b\n", b"b\r\n"), 6)
    assert all(claim.succeeded and claim.subagent and claim.part == "agent-a1b2" for claim in transcript.claims)


def test_a_progress_line_mostly_has_no_details():
    """The text of the result decides, and the call has the replacement."""
    arguments = {"file_path": "/w/a.py", "old_string": "a", "new_string": "b", "replace_all": True}
    good = done("Edit", arguments, None, text="The file /w/a.py has been updated successfully.")
    bad = done("Edit", arguments, "Error: denied", text="Permission for this tool use was denied.", error=True)
    git = done("Bash", {"command": "git commit -m x"}, None, text="[main abc1234] x\n 1 file changed")
    removed = done("Bash", {"command": "rm a.py"}, None, text="(no content)", error=False)
    transcript = read(said("x"), *map(progress, (*good, *bad, *git, *removed, call("Write", arguments))))
    assert logs.told(transcript) == [
        ("edit", "/w/a.py", True),
        ("edit", "/w/a.py", False),
        ("delete", "a.py", True),
        ("write", "/w/a.py", False),
    ]
    assert transcript.claims[0].replacements == (Replacement(b"a", b"b", everywhere=True),)
    assert transcript.claims[1].replacements == ()
    assert [(commit.sha, commit.part, commit.line) for commit in transcript.commits] == [("abc1234", "agent-a1b2", 7)]


def test_a_part_is_the_same_wherever_it_is_told():
    """In progress lines, in sidechain lines, in a file of its own."""
    messages = [said("task"), *edit("a", "b", "a\n"), *done("Read", {"file_path": "/w/a.py"}, None)]
    told = [
        read(*map(progress, messages)),
        read(*side(messages)),
        read(*messages, name="s/subagents/agent-a1b2.jsonl"),
    ]
    assert told[0].claims == told[1].claims == told[2].claims
    found = [next(session for session in one.sessions if session.part) for one in told]
    assert {(one.session_id, one.part, one.turns, one.model) for one in found} == {
        (SESSION, "agent-a1b2", 3, "claude-opus-4-5")
    }
    assert [[session.part for session in one.sessions] for one in told] == [["", "agent-a1b2"], *[["agent-a1b2"]] * 2]


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0), (0, 2), (2, 0), (1, 2)])
def test_what_is_told_twice_counts_once(order):
    """By the same uuid, or (2) with other uuids and the same ids of message and call."""
    messages = edit("a", "b", "a\n")
    again = [{**message, "uuid": f"other-{next(ids)}"} for message in messages]
    ways = (list(map(progress, messages)), side(messages), list(map(progress, again)))
    transcript = read(said("x"), *ways[order[0]], *ways[order[1]])
    assert (len(transcript.claims), parts(transcript)) == (1, [("", 1, 1), ("agent-a1b2", 1, 0)])
    assert transcript.claims[0].part == "agent-a1b2"


def test_only_the_message_of_a_progress_line_counts():
    """`normalizedMessages` (to 2.1.15) repeats those before; other kinds, and later lines of this kind, have none."""
    other = call("Write", {"file_path": "/w/b.py", "content": "x"})
    quoted = b"".join(logs.lines(progress(other))).decode()
    first = progress(said("task"), normalizedMessages=[other], prompt=quoted)
    shell = {**first, "data": {"type": "bash_progress", "output": quoted, "fullOutput": '"agent_progress"'}}
    bare = {**first, "data": {"type": "agent_progress", "prompt": "x", "agentId": "c3"}}
    odd = {**first, "data": {"type": "agent_progress", "message": {"type": "progress", "data": first["data"]}}}
    kin = {**first, "data": {**progress(other)["data"], "type": "skill_progress", "after": "agent_progress"}}
    transcript = read(said("x"), first, shell, bare, odd, kin)
    assert (transcript.claims, parts(transcript)) == ([], [("", 1, 1), ("agent-a1b2", 1, 0)])


def test_a_progress_line_of_nobody_is_a_sidechain():
    """Without a sound id of the subagent it cannot be a part."""
    for agent in (None, "", 7, "a/b", "\ud800", "x" * 500):
        transcript = read(said("x"), *(progress(line, agent=agent) for line in edit("a", "b", "a\n")))
        assert parts(transcript) == [("", 1, 1)]
        assert [(claim.part, claim.subagent) for claim in transcript.claims] == [("", True)]


def test_a_broken_progress_line_is_a_problem():
    """One that is cut, and one that is glued to the next line."""
    lines = logs.lines(*map(progress, edit("a", "b", "a\n")))
    transcript = read(*logs.lines(said("x")), lines[0].rstrip() + lines[1], lines[0][:-40] + b"}\n")
    assert ([problem.line for problem in transcript.problems], len(transcript.claims)) == ([2, 3], 1)


def test_titles_by_their_weight():
    """A user's title goes before a made one, that before a summary; a summary needs its message in this file."""
    first = said("x", uuid="leaf-1")
    summary = {"type": "summary", "summary": "Short words", "leafUuid": "leaf-1"}
    other = {"type": "summary", "summary": "Another session", "leafUuid": "elsewhere"}
    made = {"type": "ai-title", "sessionId": SESSION, "aiTitle": "Made"}
    own = {"type": "custom-title", "sessionId": SESSION, "customTitle": "Own"}
    for lines, title in [
        ((summary, other, first), "Short words"),
        ((first, other, summary), "Short words"),
        ((other, first), None),
        ((summary, own, first, made), "Own"),
        ((made, summary, first), "Made"),
    ]:
        (session,) = (session for session in read(*lines).sessions if session.session_id == SESSION)
        assert session.title == title


def test_the_summary_of_a_subagent_is_the_title_of_its_part():
    """In a file of its own the message that a summary ends with is the subagent's."""
    summary = {"type": "summary", "summary": "Short words", "leafUuid": "leaf-1"}
    transcript = read(*side([said("x", uuid="leaf-1")]), summary, name="agent-a1b2.jsonl")
    assert [(session.part, session.title) for session in transcript.sessions] == [("agent-a1b2", "Short words")]


def test_an_sdk_stream_has_neither_times_nor_details():
    """`claude -p --output-format stream-json`: other names, results as text alone."""
    circumstances = {"cwd": "/w", "session_id": "s1", "model": "claude-sonnet-4", "claude_code_version": "2.1.0"}
    begin = {"type": "system", "subtype": "init", **circumstances, "tools": ["Bash"]}
    block = {"type": "tool_use", "id": "t1", "name": "Write", "input": {"file_path": "/w/a.py", "content": "x\n"}}
    message = {"id": "m1", "role": "assistant", "model": "claude-sonnet-4", "content": [block]}
    asked = {"type": "assistant", "message": message, "parent_tool_use_id": None, "session_id": "s1"}
    block = {"type": "tool_result", "tool_use_id": "t1", "content": "File created successfully at: /w/a.py"}
    answer = {"type": "user", "message": {"role": "user", "content": [block]}, "session_id": "s1"}
    transcript = read(begin, asked, answer, {"type": "result", "session_id": "s1", "result": "Done"})
    (session,) = transcript.sessions
    assert (session.session_id, session.format, session.cwd) == ("s1", "claude-stream-json", "/w")
    assert (session.version, session.model, session.started_at) == ("2.1.0", "claude-sonnet-4", None)
    (claim,) = transcript.claims
    assert (claim.operation, claim.succeeded, claim.contents, claim.cwd) == ("create", True, (b"x\n", b"x\r\n"), "/w")


# --- claims


def test_a_claim_has_its_place_and_circumstances():
    """The line and time of the result, the turn and the directory of the call."""
    transcript = read(said("x"), *edit("a", "b", "a\n"))
    (claim,) = transcript.claims
    assert (claim.session_id, claim.turn, claim.line, claim.at) == (SESSION, 2, 3, "2026-01-19T10:00:05Z")
    assert (claim.operation, claim.tool, claim.raw_path, claim.cwd) == ("edit", "Edit", "/home/x/p/a.py", "/home/x/p")
    assert (claim.subagent, claim.contents, claim.replacements) == (False, (b"b\n", b"b\r\n"), ())


@pytest.mark.parametrize(("kind", "operation"), [("create", "create"), ("update", "write")])
def test_a_write_is_told_by_its_result(kind, operation):
    """Whether the file was new, and the content, with the line ends of Windows for the second guess."""
    details = {"type": kind, "filePath": "/w/a.py", "content": "x\ny\n", "structuredPatch": [], "originalFile": None}
    (claim,) = read(*done("Write", {"file_path": "/w/a.py", "content": "x\ny\n"}, details)).claims
    assert (claim.operation, claim.contents) == (operation, (b"x\ny\n", b"x\r\ny\r\n"))


@pytest.mark.parametrize(
    ("old", "new", "original", "members", "contents"),
    [
        ("b", "c", "a\nb\nb\n", {}, b"a\nc\nb\n"),
        ("b", "c", "a\nb\nb\n", {"replaceAll": True}, b"a\nc\nc\n"),
        ("b", "", "a\nb\nc\n", {}, b"a\nc\n"),
        ("b\n", "", "a\nb\nc\n", {}, b"a\nc\n"),
        ("", "new", "", {}, b"new"),
        ("", "new", None, {}, b"new"),
        ("é", "\\1 \\g<0>", "é", {}, b"\\1 \\g<0>"),
    ],
)
def test_an_edit_is_made_in_the_previous_text(old, new, original, members, contents):
    """Once or everywhere; a deletion takes the line feed along; the new text is literal."""
    (claim,) = read(*edit(old, new, original, **members)).claims
    assert (claim.contents[0], claim.replacements) == (contents, ())
    assert claim.operation == ("create" if not old else "edit")


def test_an_edit_without_the_previous_text_keeps_its_replacement():
    """Very long files are not repeated in the log."""
    (claim,) = read(*edit("a", "b", None, replaceAll=True)).claims
    assert (claim.contents, claim.replacements) == ((), (Replacement(b"a", b"b", everywhere=True),))


def hunk(start: int, *lines: str) -> dict[str, Any]:
    return {"oldStart": start, "oldLines": 1, "newStart": start, "newLines": 1, "lines": list(lines)}


@pytest.mark.parametrize(
    ("original", "hunks", "contents"),
    [
        ("a\nb\nc\n", [hunk(1, " a", "-b", "+by hand", " c")], b"a\nby hand\nc\n"),
        ("1\n2\n3\n4\n", [hunk(1, "-1", "+x"), hunk(4, "-4", "+y")], b"x\n2\n3\ny\n"),
        ("\tif x:\n\t\tb\n", [hunk(1, "   if x:", "-    b", "+    c", "+  d")], b"\tif x:\n\t\tc\n\td\n"),
        ("a\n", [hunk(1, " other", "+x")], None),
        ("a\n", [hunk(9, " a", "+x")], None),
    ],
)
def test_what_the_user_changed_stands_in_the_patch(original, hunks, contents):
    """`userModified`: the strings are the proposal; patches show tabs as two blanks; one that does not fit is nothing."""
    (claim,) = read(*edit("b", "proposed", original, structuredPatch=hunks, userModified=True)).claims
    assert (claim.contents[:1], claim.replacements) == (() if contents is None else (contents,), ())


def test_several_edits_at_once():
    """`MultiEdit` of 1.0: one after the other, in the text that the one before left."""
    edits = [
        {"old_string": "a", "new_string": "b", "replace_all": False},
        {"old_string": "b", "new_string": "c", "replace_all": True},
    ]
    details = {"filePath": "/w/a.py", "edits": edits, "originalFileContents": "a b\n", "structuredPatch": []}
    (claim,) = read(*done("MultiEdit", {"file_path": "/w/a.py", "edits": edits}, details)).claims
    assert (claim.operation, claim.contents[0]) == ("edit", b"c c\n")
    details["originalFileContents"] = None
    (claim,) = read(*done("MultiEdit", {"file_path": "/w/a.py", "edits": edits}, details)).claims
    assert claim.replacements == (Replacement(b"a", b"b"), Replacement(b"b", b"c", everywhere=True))


def test_texts_that_grow_beyond_bounds_are_not_made():
    """Edits that double the text again and again keep their replacements."""
    edits = [{"old_string": "a", "new_string": "aa", "replace_all": True}] * 60
    details = {"filePath": "/w/a.py", "edits": edits, "originalFile": "a" * 100}
    (claim,) = read(*done("MultiEdit", {"file_path": "/w/a.py", "edits": edits}, details)).claims
    assert (claim.contents, len(claim.replacements)) == ((), 60)


def test_notebooks():
    """The path is in the input, the whole file in the result of newer versions."""
    arguments = {"notebook_path": "/w/n.ipynb", "cell_id": "c", "new_source": "x"}
    details = {"new_source": "x", "cell_id": "c", "edit_mode": "replace", "notebook_path": "/w/n.ipynb"}
    (claim,) = read(*done("NotebookEdit", arguments, details)).claims
    assert (claim.operation, claim.raw_path, claim.succeeded, claim.contents) == ("edit", "/w/n.ipynb", True, ())


def test_a_plan_is_a_file():
    """From 2.0.3x on leaving the plan mode tells where the plan was written."""
    (claim,) = read(*done("ExitPlanMode", {}, {"plan": "# Do", "filePath": "/home/x/.claude/plans/a-b.md"})).claims
    assert (claim.operation, claim.raw_path, claim.contents) == ("write", "/home/x/.claude/plans/a-b.md", (b"# Do",))


def test_tools_of_servers():
    """A server of files offers the same operations under its own names; others are left alone."""
    transcript = read(
        *done("mcp__filesystem__write_file", {"path": "/w/a.py", "content": "x"}, [{"type": "text", "text": "ok"}]),
        *done("mcp__filesystem__move_file", {"source": "/w/a", "destination": "/w/b"}, None),
        *done("mcp__github__delete_file", {"path": "src/a.py"}, None),
    )
    assert logs.told(transcript) == [("write", "/w/a.py", True), ("move", "/w/b", True), ("delete", "/w/a", True)]


@pytest.mark.parametrize(
    ("details", "text", "error"),
    [
        ("Error: File has not been read yet. Read it first before writing to it.", "x", True),
        ("Error: String to replace not found in file.", "x", None),
        ("InputValidationError: [\n", "x", None),
        (None, "<tool_use_error>File does not exist.</tool_use_error>", None),
        (None, "The user doesn't want to proceed with this tool use. …", None),
        (None, "Permission prompt was aborted.", True),
    ],
)
def test_a_refused_edit_is_a_claim_without_success(details, text, error):
    """Its path stands in the call; it has no contents."""
    asked = call("Write", {"file_path": "/w/a.py", "content": "x"})
    (claim,) = read(asked, result(asked, details, text, error)).claims
    assert (claim.succeeded, claim.line, claim.contents, claim.replacements) == (False, 1, (), ())


def test_a_call_without_result_did_not_succeed():
    """The log ends, or the client was closed; a command that nobody answered is no claim at all."""
    transcript = read(call("Edit", {"file_path": "/w/a.py"}), call("Bash", {"command": "rm b.py"}))
    assert logs.told(transcript) == [("edit", "/w/a.py", False)]


def test_results_of_several_calls_in_one_line():
    """The details of the line cannot be told apart then; the texts can."""
    first = call("Write", {"file_path": "/w/a.py", "content": "x"})
    second = call("Read", {"file_path": "/w/b.py"})
    both = result(first, {"filePath": "/w/wrong.py"})
    both["message"]["content"] += result(second, None, "<tool_use_error>no", None)["message"]["content"]
    assert logs.told(read(first, second, both)) == [("write", "/w/a.py", True), ("read", "/w/b.py", False)]


def test_damaged_paths_are_no_claims():
    """Control characters, half surrogates, and what is no string."""
    for path in ("a\nb", "\ud800", "", "  ", 7, None, ["a"], "x" * 5000):
        transcript = read(*done("Write", {"file_path": path, "content": "x"}, {"filePath": path, "content": "x"}))
        assert transcript.claims == []


def test_half_surrogates_in_contents_become_the_replacement_character():
    """That is what the runtime of the client writes to the file."""
    (claim,) = read(*done("Write", {"file_path": "/w/a.py", "content": "\ud83d!"}, None)).claims
    assert claim.contents == ("\ufffd!".encode(),)


# --- commands and commits


BASH = {"stdout": "", "stderr": "", "interrupted": False, "isImage": False}


def test_a_command_that_certainly_changed_a_file():
    """At the line of the call, in the directory that the call had."""
    (claim,) = read(*done("Bash", {"command": "rm a.py"}, BASH, error=False)).claims
    assert (claim.operation, claim.tool, claim.raw_path, claim.cwd) == ("delete", "Bash", "a.py", "/home/x/p")
    assert (claim.line, claim.succeeded) == (1, True)


@pytest.mark.parametrize(
    ("details", "error"),
    [
        ("Error: Exit code 1\nrm: a.py: No such file", True),
        ({**BASH, "interrupted": True}, False),
        ({**BASH, "backgroundTaskId": "b1"}, False),
        ({**BASH, "returnCodeInterpretation": "No matches found"}, False),
    ],
)
def test_a_command_that_did_not_end_well_is_no_claim(details, error):
    """It failed, was stopped, goes on, or ended with a status of its own."""
    assert read(*done("Bash", {"command": "rm a.py"}, details, error=error)).claims == []


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("Command running in background with ID: b1. Output is being written to: /tmp/b1.output", {}),
        ("a line\nCommand was manually backgrounded by user with ID: b1. Output is being written to: /tmp/b1", {}),
        ("Command did not complete within its 120s timeout and was moved to the background (ID: b1).", {}),
        ("a line\n<error>Command was aborted before completion</error>", {}),
        ("", {"run_in_background": True}),
    ],
)
def test_the_text_tells_that_a_command_did_not_end(text, arguments):
    """Where the result has no details; its commits were made all the same."""
    assert read(*done("Bash", {"command": "rm a.py", **arguments}, None, text=text, error=False)).claims == []
    assert logs.told(read(*done("Bash", {"command": "rm a.py"}, None, text="(no content)"))) == [
        ("delete", "a.py", True)
    ]


def test_commits_are_those_that_git_printed():
    """In the output of a command that commits, even if another part of it failed; not in any other output."""
    command = "git add -A && git commit -m \"$(cat <<'EOF'\nSay it\nEOF\n)\" && git push"
    transcript = read(
        *done("Bash", {"command": command}, {**BASH, "stdout": "[main abc1234] Say it\n 1 file changed"}),
        *done("Bash", {"command": command}, "Error: Exit code 1", text="[main def5678] More", error=True),
        *done("Bash", {"command": "cat log.txt"}, {**BASH, "stdout": "[main 9999999] Not mine"}),
    )
    assert [(commit.sha, commit.subject, commit.line) for commit in transcript.commits] == [
        ("abc1234", "Say it", 2),
        ("def5678", "More", 4),
    ]


# --- structure and damage


def test_quoted_logs_are_not_read():
    """What a file holds or a command prints may be a log itself."""
    quoted = b"".join(logs.lines(*edit("a", "b", "a\n", path="/w/quoted.py"))).decode()
    transcript = read(
        *done(
            "Read",
            {"file_path": "/w/log.jsonl"},
            {"type": "text", "file": {"filePath": "/w/log.jsonl", "content": quoted}},
        ),
        *done("Bash", {"command": "cat log.jsonl"}, {**BASH, "stdout": quoted}, text=quoted),
        said('"type":"progress" ' + quoted),
    )
    assert logs.told(transcript) == [("read", "/w/log.jsonl", True)]
    assert transcript.sessions[0].turns == 3


def test_a_broken_line_is_a_problem_and_the_rest_is_read():
    """Cut, glued, no UTF-8, no object, nested without end."""
    whole = logs.lines(*edit("a", "b", "a\n"))
    glued = logs.lines(said("x"))[0].rstrip() + logs.lines(said("y"))[0]
    snapshot = b'{"type":"file-history-snapshot","messageId":"x","snapshot":{"a'
    data = [
        b"\xef\xbb\xbf" + whole[0],
        b"\n",
        b'{"type":"us\n',
        glued,
        b"[1]\n",
        b"[" * 99_999 + b"\n",
        whole[1],
        snapshot,
    ]
    transcript = read(*data)
    assert [problem.line for problem in transcript.problems] == [3, 4, 5, 6, 8]
    assert (len(transcript.claims), transcript.sessions[0].turns) == (1, 3)


def test_bytes_that_are_no_text_are_a_problem():
    """The line is read all the same, but a damaged path is none."""
    asked, answer = logs.lines(*done("Write", {"file_path": "/w/a.py", "content": "caf?"}, None))
    transcript = read(asked.replace(b"caf?", b"caf\xe9"), answer)
    assert ([problem.line for problem in transcript.problems], len(transcript.claims)) == ([1], 1)


def test_idle_lines_are_passed_over_only_where_they_are_idle():
    """`progress` of a command holds what it printed; the word inside of another line changes nothing."""
    nested = call("Write", {"file_path": "/w/nested.py", "content": "x"})
    running = {**progress(nested), "data": {"type": "bash_progress", "output": "x", "message": nested}}
    kept = call("Write", {"file_path": "/w/kept.py", "content": '{"type":"progress"}', "type": "progress"})
    attachment = {"parentUuid": None, "isSidechain": False, "attachment": {"type": "file", "filename": "/w/b"}}
    first = {"sessionId": SESSION, "data": {"type": "progress"}, **said("x")}
    transcript = read(first, running, {**attachment, "type": "attachment", "sessionId": SESSION}, kept)
    assert logs.told(transcript) == [("write", "/w/kept.py", False)]


def test_recognition_is_by_content():
    """The kinds that may come first, and a first line that is cut off."""
    for line in (
        said("x"),
        {"type": "summary", "summary": "x", "leafUuid": "y"},
        {"type": "file-history-snapshot", "messageId": "x", "snapshot": {}},
        {"type": "queue-operation", "operation": "enqueue", "sessionId": "x"},
        {"type": "system", "subtype": "init", "session_id": "x"},
        {"type": "stream_event", "event": {"type": "message_start"}, "session_id": "x"},
        progress(said("x")),
    ):
        assert claude.recognise(logs.lines(line)[0])
    assert claude.recognise(logs.lines(said("x" * 70_000))[0][:65_536])
    assert claude.recognise(b"{broken\n" + logs.lines(said("x"))[0])


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{}",
        b"[1,2]",
        b"not json",
        b'{"type":"user"}',
        b'{"role":"user","message":{"content":[]}}',
        b'{"type":"session_meta","payload":{"id":"x"}}',
        b'{"sessionId":"x","projectHash":"y","messages":[{"type":"user","message":{}}]}',
        b'{"text":"{\\"type\\":\\"user\\",\\"sessionId\\":\\"x\\",\\"message\\":{}}"}',
        b'{"data":{"type":"user","sessionId":"x","message":{"content":[]},"uuid":"y"}}',
        b"[" * 65_536,
        b'{"a":' * 13_000,
        b'"' * 65_536,
        b"\\" * 65_536,
    ],
)
def test_other_files_are_not_recognised(head):
    """Other formats, and quotations of this one."""
    assert not claude.recognise(head)


# --- any bytes, any length


PIECES = [
    said("x"),
    said("x", isSidechain=True, agentId="a1"),
    *edit("a", "b", "a\n"),
    *edit("b", "c", "a\nb", structuredPatch=[hunk(1, " a", "-b", "+c")], userModified=True),
    *done("Write", {"file_path": "/w/a.py", "content": "x"}, {"type": "create", "filePath": "/w/a.py", "content": "x"}),
    *done("Bash", {"command": "git commit -m x && rm a"}, {**BASH, "stdout": "[main abc1234] x"}),
    *done("MultiEdit", {"file_path": "/w/a", "edits": [{"old_string": "a", "new_string": "b"}]}, {"edits": [{}]}),
    *map(progress, edit("a", "b", "a\n")),
    progress(said("x"), normalizedMessages=[said("x")]),
    {"type": "summary", "summary": "x", "leafUuid": "y"},
    {"type": "custom-title", "sessionId": SESSION, "customTitle": "x"},
    {"type": "system", "subtype": "init", "session_id": "s", "cwd": "/w", "model": "m"},
]


@settings(deadline=None, max_examples=150)
@given(st.lists(logs.spoilt(PIECES) | st.sampled_from(logs.DAMAGE) | st.binary(max_size=50), max_size=12))
def test_any_damage_is_survived(data):
    """True lines in any order, with odd values, cut, glued, and other bytes between; each part is told, and once."""
    transcript = logs.sound(claude, data)
    told = Counter((session.session_id, session.part) for session in transcript.sessions)
    assert all(times == 1 for times in told.values())
    assert all((fact.session_id, fact.part) in told for fact in [*transcript.claims, *transcript.commits])
    assert all(session.subagent_turns == 0 for session in transcript.sessions if session.part)
    assert all(claim.subagent for claim in transcript.claims if claim.part)


@pytest.mark.parametrize("data", logs.DAMAGE)
def test_known_damage_is_survived(data):
    """Depth, digits, NUL, half surrogates, in the head and behind a true line."""
    logs.sound(claude, [data])
    logs.sound(claude, [*logs.lines(said("x")), data])


@pytest.mark.parametrize("kind", ["edits", "calls", "summaries", "hunks", "long", "glued", "parts"])
def test_reading_takes_linear_time(kind):
    """Four times the log takes about four times as long: in lines, in calls left open, within one line."""

    def log(times: int) -> list[bytes]:
        if kind == "edits":
            return logs.lines(*(line for _ in range(times) for line in edit("a", "b", "a\n" * 50)))
        if kind == "calls":
            return logs.lines(*(call("Write", {"file_path": "/w/a", "content": "x"}) for _ in range(times * 2)))
        if kind == "summaries":
            return logs.lines(
                said("x"), *({"type": "summary", "summary": "x", "leafUuid": str(k)} for k in range(times))
            )
        if kind == "hunks":
            hunks = [hunk(k + 1, "-\ta", "+  b") for k in range(times * 4)]
            return logs.lines(*edit("a", "b", "\ta\n" * times * 4, structuredPatch=hunks, userModified=True))
        if kind == "parts":
            return logs.lines(*(progress(said("x"), agent=f"a{k}") for k in range(times)))
        if kind == "long":
            return logs.lines(said('\\"type":"progress",' * times * 20))
        return [b"".join(line.rstrip() for line in logs.lines(*(said("x") for _ in range(times))))]

    small, large = log(300), log(1200)
    few = logs.seconds(claude, small)
    assert logs.seconds(claude, large) < 9 * few + 0.05


def test_a_long_log_is_not_held():
    """Hundreds of large results leave nothing behind but their claims, which are given on."""

    def lines():
        for _ in range(200):
            yield from logs.lines(*edit("a", "b", "a" * 100_000))

    assert logs.peak(claude, lines()) < 3_000_000


# --- the corpus


@pytest.fixture(scope="module")
def corpus() -> dict[str, list[bytes]]:
    """Real logs by their path."""
    return logs.real("claude")


@pytest.mark.corpus
def test_real_logs_are_read(corpus):
    """All but a client's debug output are recognised and give sessions; the one glued line is the only problem."""
    troubled = []
    for name, data in corpus.items():
        if name.endswith("duplicate-assistant-response-2.jsonl"):
            assert not claude.recognise(b"".join(data)[:65_536])
            continue
        assert claude.recognise(b"".join(data)[:65_536])
        transcript = logs.sound(claude, data, name)
        assert transcript.sessions
        troubled += [(name.rpartition("/")[2], problem.line) for problem in transcript.problems]
    assert troubled == [("5a-c45bc32212-0.jsonl", 115)]


@pytest.mark.corpus
def test_every_real_write_has_its_path_and_outcome(corpus):
    """Each answered call of a writing tool yields one claim of its path, with the success that the answer tells."""
    seen: Counter[bool] = Counter()
    for name, data in corpus.items():
        claims = Counter((claim.raw_path, claim.succeeded) for claim in logs.sound(claude, data, name).claims)
        asked: dict[str, str] = {}
        for entry in _objects(data):
            for block in _blocks(entry):
                if block.get("name") in ("Write", "Edit", "MultiEdit"):
                    asked[block["id"]] = block["input"]["file_path"]
                elif block.get("tool_use_id") in asked:
                    outcome = block.get("is_error") is not True
                    seen[outcome] += 1
                    assert claims[asked[block["tool_use_id"]], outcome] > 0, name
    assert seen == {True: 106, False: 20}


@pytest.mark.corpus
def test_real_subagents_are_parts(corpus):
    """The progress lines of one log, whose subagent only read, and the files of five others, which hold no file tool."""
    found = []
    for name, data in corpus.items():
        transcript = logs.sound(claude, data, name)
        claims = Counter(claim.part for claim in transcript.claims)
        parts = [session for session in transcript.sessions if session.part]
        found += [(name.rpartition("/")[2], one.turns, claims.pop(one.part, 0)) for one in parts]
        assert set(claims) <= {""}
    assert sorted(found) == [
        ("60-fd31fcf44f-0.jsonl", 17, 3),
        ("agent-a0ad4f44468bdf20d.jsonl", 2, 0),
        ("agent-a1b2c3d4e5f6.jsonl", 2, 0),
        ("agent-ad47cca.jsonl", 2, 0),
        ("agent-ae9a854.jsonl", 2, 0),
        ("agent-test-hash-123.jsonl", 2, 0),
    ]


@pytest.mark.corpus
def test_real_contents_are_what_the_next_edit_finds(corpus):
    """The previous text that a log tells is what the edit before left, unless something else changed the file."""
    agree, differ = 0, 0
    for name, data in corpus.items():
        contents = {claim.line: claim.contents for claim in logs.sound(claude, data, name).claims if claim.contents}
        last: dict[str, tuple[bytes, ...]] = {}
        for number, line in enumerate(data, 1):
            details = next((entry.get("toolUseResult") for entry in _objects([line])), None)
            if not isinstance(details, dict) or not isinstance(details.get("filePath"), str):
                continue
            original = details.get("originalFile") or details.get("originalFileContents")
            if original is not None and details["filePath"] in last:
                found = original.encode() == last[details["filePath"]][0]
                agree, differ = agree + found, differ + (not found)
            if number in contents:
                last[details["filePath"]] = contents[number]
    assert (agree, differ) == (35, 3)


def _objects(data: list[bytes]) -> list[dict[str, Any]]:
    found = []
    for line in data:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        found += [value] if isinstance(value, dict) else []
    return found


def _blocks(entry: dict[str, Any]) -> list[dict[str, Any]]:
    message = entry.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
