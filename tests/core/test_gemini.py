"""Gemini CLI's chats: the document and the lines, what was taken back, and how a command is known to have ended well."""

from __future__ import annotations

import itertools
import json
from typing import Any

import logs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlos_sync.core.transcripts import gemini
from mlos_sync.core.transcripts.model import Replacement, Transcript, gather

ids = itertools.count()
HEADER = {
    "sessionId": "f7633853-6663",
    "projectHash": "7e89" * 16,
    "startTime": "2026-01-15T20:51:48.582Z",
    "lastUpdated": "2026-01-15T20:51:59.064Z",
}


def message(kind: str, identity: str = "", **members: Any) -> dict[str, Any]:
    name = identity or f"m{next(ids)}"
    return {"id": name, "timestamp": "2026-01-15T20:51:52.837Z", "type": kind, "content": "x", **members}


def call(
    name: str, args: dict[str, Any], output: str = "ok", status: str = "success", **members: Any
) -> dict[str, Any]:
    identity = f"{name}-{next(ids)}"
    response = {"error": output} if status == "error" else {"output": output}
    answer = [{"functionResponse": {"id": identity, "name": name, "response": response}}]
    told = {"result": answer} if status in ("success", "error") else {}
    head = {"id": identity, "name": name, "args": args, **told, "status": status}
    return {**head, "timestamp": "2026-01-15T20:51:57.058Z", "resultDisplay": "", **members}


def spoke(*calls: dict[str, Any], identity: str = "") -> dict[str, Any]:
    return message("gemini", identity, model="gemini-2.5-flash", thoughts=[], toolCalls=list(calls))


def document(*messages: Any, indent: int | None = 2, **header: Any) -> Transcript:
    """The facts of a document; every claim stands at the line of its path."""
    text = json.dumps({**HEADER, **header, "messages": messages}, indent=indent).encode()
    assert gemini.recognise(text[:65_536])
    written = text.splitlines(keepends=True)
    transcript = gather(gemini.read(iter(written), "chats/session-1.json"))
    for claim in transcript.claims:
        assert json.dumps(claim.raw_path)[1:-1].encode() in written[claim.line - 1]
    return transcript


def log(*records: Any) -> Transcript:
    return logs.read(gemini, {**HEADER, "kind": "main"}, *records)


def test_the_session_of_either_form():
    """The same session, whichever way it is stored."""
    messages = [message("user"), spoke(), message("info"), message("warning"), spoke()]
    for transcript, form in [(document(*messages), "gemini-json"), (log(*messages), "gemini-jsonl")]:
        (session,) = transcript.sessions
        assert (session.session_id, session.tool, session.format) == ("f7633853-6663", "Gemini CLI", form)
        assert (session.model, session.turns, session.title) == ("gemini-2.5-flash", 3, None)
        assert (session.started_at, session.ended_at) == ("2026-01-15T20:51:48Z", "2026-01-15T20:51:59Z")


def test_a_document_in_one_line():
    """Without line feeds every claim stands at line 1."""
    (claim,) = document(spoke(call("write_file", {"file_path": "a", "content": "x"})), indent=None).claims
    assert claim.line == 1


@pytest.mark.parametrize(
    ("output", "operation"),
    [
        ("Successfully created and wrote to new file: /home/x/p/docs/a.md.", "create"),
        ("Successfully overwrote file: /home/x/p/docs/a.md.", "write"),
    ],
)
def test_a_written_file(output, operation):
    """The path of the call, the content of the call; the result tells whether it was new."""
    (claim,) = document(spoke(call("write_file", {"file_path": "docs/a.md", "content": "# A\n"}, output))).claims
    assert (claim.operation, claim.raw_path, claim.contents[0]) == (operation, "docs/a.md", b"# A\n")
    assert (claim.turn, claim.at, claim.tool, claim.cwd) == (1, "2026-01-15T20:51:57Z", "write_file", None)


def test_an_edit():
    """Replacements, or the whole new text where the result shows it."""
    args = {"file_path": "/w/a.py", "old_string": "a", "new_string": "b", "expected_replacements": 1}
    shown = {"fileDiff": "…", "fileName": "a.py", "originalContent": "a\n", "newContent": "b\n"}
    first, second = log(spoke(call("replace", args), call("replace", args, resultDisplay=shown))).claims
    assert (first.replacements, first.contents) == ((Replacement(b"a", b"b"),), ())
    assert (second.replacements, second.contents) == ((), (b"b\n", b"b\r\n"))


def test_what_the_user_changed_is_not_what_was_proposed():
    """The result says so in prose; only the shown text would tell what it became."""
    output = "Successfully overwrote file: /w/a. User modified the `content` to be: y"
    args = {"file_path": "/w/a", "content": "x"}
    first, second = log(
        spoke(call("write_file", args, output), call("write_file", args, output, resultDisplay={"newContent": "y"}))
    ).claims
    assert (first.contents, second.contents, first.succeeded) == ((), (b"y",), True)


@pytest.mark.parametrize("status", ["error", "cancelled", "awaiting_approval", "executing", ""])
def test_only_a_final_success_is_one(status):
    """Refused, failed, and still waiting when the log ended."""
    transcript = log(spoke(call("write_file", {"file_path": "a", "content": "x"}, status=status)))
    assert logs.told(transcript) == [("write", "a", False)]
    assert transcript.claims[0].contents == ()


def test_a_message_may_come_again():
    """First without results, then with them: one turn, and each call once."""
    made = call("write_file", {"file_path": "a", "content": "x"})
    waiting = {**made, "status": "executing"}
    transcript = log(spoke(waiting, identity="m"), spoke(made, identity="m"), spoke(made, identity="m"))
    assert (logs.told(transcript), transcript.sessions[0].turns) == ([("write", "a", True)], 1)


def test_turns_that_are_taken_back_are_not_counted_but_their_files_are():
    """`$rewindTo` drops a message and all behind it; `$set` changes the header."""
    made = call("write_file", {"file_path": "a", "content": "x"})
    transcript = log(
        *(message("user", "u1"), spoke(identity="g1"), message("user", "u2"), spoke(made, identity="g2")),
        *({"$rewindTo": "u2"}, {"$rewindTo": "unknown"}, message("user", "u3")),
        {"$set": {"lastUpdated": "2026-01-15T22:00:00.000Z", "summary": "Short words"}},
    )
    (session,) = transcript.sessions
    assert (session.turns, session.title, session.ended_at) == (3, "Short words", "2026-01-15T22:00:00Z")
    assert logs.told(transcript) == [("write", "a", True)]


def test_a_context_that_is_set_anew_tells_nothing_twice():
    """`$set` with messages replaces the context, at a start or a compression; the header may have an empty list."""
    made = spoke(call("write_file", {"file_path": "a", "content": "x"}), identity="g1")
    transcript = logs.read(gemini, {**HEADER, "messages": []}, {"$set": {"messages": [made]}}, made, spoke())
    assert logs.told(transcript) == [("write", "a", True)]
    assert (transcript.sessions[0].turns, transcript.sessions[0].format) == (2, "gemini-jsonl")


def test_a_subagent_is_told_by_its_kind():
    """Its chat has a header of its own."""
    made = spoke(call("read_file", {"file_path": "a"}))
    transcript = logs.read(gemini, {**HEADER, "kind": "subagent"}, made, name="tmp/p/chats/above-1/sub.jsonl")
    assert transcript.sessions[0].parent == "above-1"
    assert (transcript.sessions[0].turns, transcript.sessions[0].subagent_turns) == (0, 1)
    assert transcript.claims[0].subagent


OLD = "Command: {0}\nDirectory: (root)\nOutput: {1}\nError: (none)\nExit Code: {2}\nSignal: 0\nBackground PIDs: (none)"


@pytest.mark.parametrize(
    ("output", "claimed"),
    [
        (OLD.format("rm a", "(empty)", 0), True),
        (OLD.format("rm a", "(empty)", 1), False),
        (OLD.format("rm a", "x\nExit Code: 1", 0), False),
        ("Output: (empty)\nProcess Group PGID: 1", True),
        ("Output: (empty)\nExit Code: 1", False),
        ("Output: (empty)\nError: spawn failed", False),
        ("Command was cancelled by user before it could complete.", False),
        ("Command: rm a\nDirectory: (root)\nOutput: x", False),
    ],
)
def test_a_command_counts_if_it_certainly_ended_well(output, claimed):
    """A success of the tool is any end of the command; the older form always names the exit, the newer a bad one."""
    transcript = log(spoke(call("run_shell_command", {"command": "rm a"}, output)))
    assert logs.told(transcript) == ([("delete", "a", True)] if claimed else [])


@pytest.mark.parametrize(("directory", "expected"), [("sub", ("sub/a", None)), ("/w/sub", ("a", "/w/sub"))])
def test_a_command_runs_in_its_directory(directory, expected):
    """Relative to the root of the project, which the log does not name."""
    arguments = {"command": "rm a", "directory": directory}
    (claim,) = log(spoke(call("run_shell_command", arguments, "Output: (empty)"))).claims
    assert (claim.raw_path, claim.cwd) == expected


def test_commits_stand_behind_the_label():
    """`Output: [main abc1234] subject`."""
    made = call(
        "run_shell_command", {"command": "git commit -m x"}, OLD.format("git commit", "[main abc1234] Say it", 0)
    )
    (commit,) = document(spoke(made)).commits
    assert (commit.sha, commit.subject) == ("abc1234", "Say it")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{}",
        b'{"sessionId":"x"}',
        b'{"sessionId":"x","type":"user","message":{}}',
        b'{"text":"{\\"sessionId\\":\\"x\\",\\"projectHash\\":\\"y\\"}"}',
        b'{"a":{"sessionId":"x","projectHash":"y"}}',
    ],
)
def test_other_files_are_not_recognised(head):
    """Other formats, quotations, and what has too little of this one."""
    assert not gemini.recognise(head)


def test_damage_is_a_problem():
    """A document that is cut off is lost as a whole, a line is not."""
    text = json.dumps({**HEADER, "messages": [spoke()]}, indent=2).encode()[:-10]
    transcript = gather(gemini.read(text.splitlines(keepends=True), "chats/s.json"))
    assert [problem.line for problem in transcript.problems] == [1]
    transcript = log(b"{broken\n", spoke(call("read_file", {"absolute_path": "a"})))
    assert ([problem.line for problem in transcript.problems], len(transcript.claims)) == ([2], 1)


PIECES = [
    {**HEADER, "kind": "main"},
    {**HEADER, "messages": [message("user"), spoke(call("write_file", {"file_path": "a", "content": "x"}))]},
    message("user", "u1"),
    spoke(call("replace", {"file_path": "a", "old_string": "a", "new_string": "b"}, resultDisplay={"newContent": "b"})),
    spoke(call("run_shell_command", {"command": "rm a", "directory": "d"}, OLD.format("rm a", "", 0))),
    {"$set": {"summary": "x"}},
    {"$rewindTo": "u1"},
]


@settings(deadline=None, max_examples=100)
@given(st.lists(logs.spoilt(PIECES) | st.sampled_from(logs.DAMAGE) | st.binary(max_size=50), max_size=8))
def test_any_damage_is_survived(data):
    """True lines in any order, with odd values, cut, glued, and other bytes between."""
    logs.sound(gemini, data)


@pytest.mark.parametrize("kind", ["document", "escaped", "lines"])
def test_reading_takes_linear_time(kind):
    """Four times the chat takes about four times as long, also where no call is found in the text again."""

    def chat(times: int) -> list[bytes]:
        path = "é" if kind == "escaped" else "a"
        messages = [spoke(call("write_file", {"file_path": path, "content": "x"})) for _ in range(times)]
        if kind == "lines":
            return logs.lines(HEADER, *messages)
        return json.dumps({**HEADER, "messages": messages}, indent=1).encode().splitlines(keepends=True)

    few = logs.seconds(gemini, chat(400))
    assert logs.seconds(gemini, chat(1600)) < 9 * few + 0.05


@pytest.mark.corpus
def test_real_chats_are_read():
    """Documents that are named `.jsonl` elsewhere, and one of the newer form."""
    found = []
    for name, data in logs.real("gemini", "").items():
        assert gemini.recognise(b"".join(data)[:65_536])
        transcript = logs.sound(gemini, data, name)
        assert len(transcript.sessions) == 1 and not transcript.problems
        for claim in transcript.claims:
            assert claim.raw_path.encode() in data[claim.line - 1]
        found += [(claim.operation, claim.succeeded) for claim in transcript.claims]
    assert sorted(found) == [
        *[("create", True)] * 2,
        *[("delete", True), ("edit", True)],
        *[("read", True)] * 3,
        *[("write", True)] * 2,
    ]
