"""Codex CLI's rollouts: both ages, every way to tell a patch or a command, each operation once."""

from __future__ import annotations

import itertools
import json
from typing import Any

import logs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlos_sync.core.transcripts import codex
from mlos_sync.core.transcripts.model import Replacement, Transcript

ids = itertools.count()
AT = "2026-02-11T05:53:33.335Z"


def line(kind: str, payload: dict[str, Any], at: str = AT) -> dict[str, Any]:
    return {"timestamp": at, "type": kind, "payload": payload}


def meta(**members: Any) -> dict[str, Any]:
    git = {"commit_hash": "a" * 40, "branch": "main", "repository_url": "https://example.org/r.git"}
    head = {"id": "019c4b43-1451", "timestamp": "2026-02-11T05:53:33.266Z", "cwd": "/home/x/p"}
    return line("session_meta", {**head, "originator": "codex_cli_rs", "cli_version": "0.99.0", "git": git, **members})


def context(model: str = "gpt-5-codex", cwd: str = "/home/x/p") -> dict[str, Any]:
    return line("turn_context", {"cwd": cwd, "approval_policy": "never", "model": model, "summary": "auto"})


def item(kind: str, **members: Any) -> dict[str, Any]:
    return line("response_item", {"type": kind, **members})


def event(kind: str, **members: Any) -> dict[str, Any]:
    return line("event_msg", {"type": kind, **members})


def message(role: str, text: str) -> dict[str, Any]:
    return item("message", role=role, content=[{"type": "input_text", "text": text}])


def function(name: str, arguments: dict[str, Any], identity: str = "c1") -> dict[str, Any]:
    return item("function_call", name=name, arguments=json.dumps(arguments), call_id=identity)


def output(value: Any, identity: str = "c1", kind: str = "function_call_output") -> dict[str, Any]:
    return item(kind, call_id=identity, output=value)


def read(*entries: Any, name: str = "x.jsonl") -> Transcript:
    return logs.read(codex, *entries, name=name)


PATCH = "*** Begin Patch\n*** Update File: src/a.py\n@@\n-a\n+b\n*** Add File: n.md\n+hi\n*** End Patch"
GOOD = "Exit code: 0\nWall time: 0.1 seconds\nOutput:\n"
DONE = "Success. Updated the following files:\nA n.md\nM src/a.py\n"
PATCHED = [("patch", "src/a.py", True), ("create", "n.md", True)]


# --- sessions


def test_the_session_of_a_rollout():
    """Its first line has the circumstances, the base commit among them; contexts have the model."""
    transcript = read(meta(), context("gpt-5"), context(), context(), message("user", "Hi"), message("assistant", "Ho"))
    (session,) = transcript.sessions
    assert (session.session_id, session.tool, session.format) == ("019c4b43-1451", "Codex CLI", "codex-rollout")
    assert (session.model, session.version, session.cwd) == ("gpt-5-codex", "0.99.0", "/home/x/p")
    assert (session.branch, session.base_commit, session.parent) == ("main", "a" * 40, None)
    assert (session.started_at, session.ended_at, session.turns) == ("2026-02-11T05:53:33Z",) * 2 + (2,)


def test_the_first_rollouts_are_bare():
    """To September 2025: no envelopes, no times, the directory in the context that the client gives."""
    first = {"id": "s1", "timestamp": "2025-08-01T10:00:00.000Z", "instructions": None, "git": {"branch": "dev"}}
    call = {"type": "function_call", "name": "shell", "call_id": "c1"}
    call["arguments"] = json.dumps({"command": ["bash", "-lc", f"apply_patch <<'EOF'\n{PATCH}\nEOF"]})
    told = {"output": DONE, "metadata": {"exit_code": 0, "duration_seconds": 0.1}}
    given = (
        "<environment_context>\nCurrent working directory: /home/x/p\nApproval policy: never\n</environment_context>"
    )
    transcript = read(
        first,
        {"record_type": "state"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go"}]},
        call,
        {"type": "function_call_output", "call_id": "c1", "output": json.dumps(told)},
    )
    (session,) = transcript.sessions
    assert (session.session_id, session.branch, session.cwd) == ("s1", "dev", "/home/x/p")
    assert (session.format, session.turns) == ("codex-rollout-legacy", 1)
    assert logs.told(transcript) == PATCHED
    assert {claim.cwd for claim in transcript.claims} == {"/home/x/p"}


def test_a_subagent_has_a_parent():
    """Its file is a session of its own."""
    spawn = {"subagent": {"thread_spawn": {"parent_thread_id": "parent-1", "depth": 1}}}
    assert read(meta(source=spawn)).sessions[0].parent == "parent-1"
    assert read(meta(parent_thread_id="parent-2", source={"subagent": {"other": "x"}})).sessions[0].parent == "parent-2"


def test_a_fork_keeps_its_own_id():
    """The lines of the session that it continues follow, their `session_meta` among them."""
    assert read(meta(forked_from_id="old"), meta(id="old")).sessions[0].session_id == "019c4b43-1451"


def test_what_is_said_is_counted_once():
    """The same text stands as an item, as an event, and from 2026 on as a completed item; what is injected is no turn."""
    said = {"type": "UserMessage", "id": "i", "content": [{"type": "text", "text": "Go"}]}
    transcript = read(
        meta(),
        message("user", "# AGENTS.md instructions for /home/x/p\n"),
        message("user", "<environment_context>\n  <cwd>/elsewhere</cwd>"),
        *(message("user", "Go"), event("user_message", message="Go"), event("item_completed", item=said)),
        *(event("agent_message", message="Yes"), message("assistant", "Yes")),
        *(message("user", "Go"), event("user_message", message="Go")),
    )
    assert (transcript.sessions[0].turns, transcript.sessions[0].cwd) == (3, "/home/x/p")


def test_the_name_gives_the_id_only_where_no_line_does():
    """The id in the name of a rollout, else the name."""
    bare = {**item("message", role="user", content=[{"type": "input_text", "text": "x"}])}
    name = "sessions/rollout-2025-12-29T11-54-27-019b6b08-58f3.jsonl"
    assert read(bare, name=name).sessions[0].session_id == "019b6b08-58f3"
    assert read(meta(), name=name).sessions[0].session_id == "019c4b43-1451"


# --- patches


@pytest.mark.parametrize(
    "lines",
    [
        (
            item("custom_tool_call", name="apply_patch", input=PATCH, call_id="c1", status="completed"),
            output(json.dumps({"output": DONE, "metadata": {"exit_code": 0}}), kind="custom_tool_call_output"),
        ),
        (
            item("custom_tool_call", name="apply_patch", input=PATCH, call_id="c1"),
            output(GOOD + DONE, kind="custom_tool_call_output"),
        ),
        (function("apply_patch", {"input": PATCH}), output(DONE)),
        (function("apply_patch", {"patch": PATCH}), output([{"type": "input_text", "text": DONE}])),
        (function("shell", {"command": ["apply_patch", PATCH]}), output(GOOD + DONE)),
        (function("shell", {"command": ["bash", "-lc", f"apply_patch <<'EOF'\n{PATCH}\nEOF\n"]}), output(GOOD + DONE)),
        (function("shell_command", {"command": f"apply_patch <<'EOF'\n{PATCH}\nEOF"}), output(GOOD + DONE)),
        (
            function("exec_command", {"cmd": f"apply_patch <<'EOF'\n{PATCH}\nEOF"}),
            output("Chunk ID: 1\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\n" + DONE),
        ),
        (
            item("local_shell_call", call_id="c1", action={"type": "exec", "command": ["apply_patch", PATCH]}),
            output(GOOD + DONE),
        ),
    ],
)
def test_a_patch_in_all_its_shapes(lines):
    """Free text, JSON in a string, a command as words or as text; contents for the added file, hunks for the other."""
    transcript = read(meta(), *lines)
    assert logs.told(transcript) == PATCHED
    first, second = transcript.claims
    assert (first.replacements, first.contents) == ((Replacement(b"a\n", b"b\n"),), ())
    assert (second.contents, second.replacements) == ((b"hi\n",), ())
    assert (first.line, first.cwd, first.at) == (2, "/home/x/p", "2026-02-11T05:53:33Z")


CHANGES = {
    "/home/x/p/src/a.py": {"type": "update", "unified_diff": "@@ -1 +1 @@\n-a\n+b\n", "move_path": None},
    "/home/x/p/n.md": {"type": "add", "content": "hi\n"},
    "/home/x/p/o.md": {"type": "delete", "content": "x"},
    "/home/x/p/m.md": {"type": "update", "unified_diff": "@@ -1 +1 @@\n-a\n+b\n", "move_path": "/home/x/p/m2.md"},
}


@pytest.mark.parametrize("completed", [False, True])
def test_the_event_about_a_patch_goes_before_its_output(completed):
    """It has absolute paths and contents; call, event and output tell one operation."""
    ended = {"changes": CHANGES, "stdout": DONE, "stderr": "", "status": "completed"}
    if completed:
        told = event("item_completed", item={"type": "FileChange", "id": "c1", **ended})
    else:
        told = event("patch_apply_end", call_id="c1", success=True, **ended)
    call = item("custom_tool_call", name="apply_patch", input=PATCH, call_id="c1")
    transcript = read(meta(), call, told, told, output(GOOD + DONE, kind="custom_tool_call_output"))
    assert logs.told(transcript) == [
        ("patch", "/home/x/p/src/a.py", True),
        ("create", "/home/x/p/n.md", True),
        ("delete", "/home/x/p/o.md", True),
        ("move", "/home/x/p/m2.md", True),
        ("delete", "/home/x/p/m.md", True),
    ]
    assert transcript.claims[0].replacements == (Replacement(b"a\n", b"b\n"),)
    assert transcript.claims[1].contents == (b"hi\n",)
    assert {claim.line for claim in transcript.claims} == {3}


def test_an_event_without_its_call_counts():
    """Scripts apply patches too; their calls are not in the log."""
    told = event("patch_apply_end", call_id="exec-7", success=True, changes={"/w/a": {"type": "delete"}})
    assert logs.told(read(meta(), told)) == [("delete", "/w/a", True)]


@pytest.mark.parametrize(
    "lines",
    [
        (output("apply_patch verification failed: Failed to find expected lines in src/a.py"),),
        (output("Exit code: 1\nWall time: 0 seconds\nOutput:\nSuccess. Updated the following files:\n"),),
        (output(json.dumps({"output": "no", "metadata": {"exit_code": 1}})),),
        (output({"content": "rejected by user", "success": False}),),
        (event("patch_apply_end", call_id="c1", success=False, changes={}, stdout="", stderr="x"),),
        (),
    ],
)
def test_a_patch_that_failed_is_a_claim_without_success(lines):
    """It was refused, did not fit, or the log ends: the paths are those of the call."""
    for call in (
        function("apply_patch", {"input": PATCH}),
        function("shell", {"command": ["bash", "-lc", f"apply_patch <<'EOF'\n{PATCH}\nEOF"]}),
    ):
        claims = read(meta(), call, *lines).claims
        assert [(claim.raw_path, claim.succeeded, claim.contents) for claim in claims] == [
            ("src/a.py", False, ()),
            ("n.md", False, ()),
        ]


# --- commands


@pytest.mark.parametrize(
    ("result", "claimed"),
    [
        (GOOD, True),
        ("Chunk ID: 1\nWall time: 0.1 seconds\nProcess exited with code 0\nOriginal token count: 0\nOutput:\n", True),
        (json.dumps({"output": "", "metadata": {"exit_code": 0}}), True),
        ("Exit code: 1\nWall time: 0 seconds\nOutput:\nExit code: 0\n", False),
        ("Process running with session ID 4\nOutput:\nProcess exited with code 0\n", False),
        ("", False),
        ("Exit code: 0", False),
    ],
)
def test_a_command_counts_if_it_certainly_ended_well(result, claimed):
    """By the head of the output; what the command printed proves nothing."""
    transcript = read(meta(), function("shell_command", {"command": "rm a.py"}), output(result))
    assert logs.told(transcript) == ([("delete", "a.py", True)] if claimed else [])


def test_a_command_runs_in_its_directory():
    """`workdir` of the call goes before the directory of the turn, and `cd` goes on from there."""
    arguments = {"command": ["bash", "-lc", "cd lib && rm a.py"], "workdir": "sub"}
    (claim,) = read(meta(), context(cwd="/home/x/q"), function("shell", arguments), output(GOOD)).claims
    assert (claim.raw_path, claim.cwd) == ("a.py", "/home/x/q/sub/lib")


def test_the_event_about_a_command_has_its_exit():
    """With or without its call; the output behind it tells nothing new."""
    ended = {"exit_code": 0, "aggregated_output": "", "cwd": "/w", "command": ["bash", "-lc", "rm a.py"]}
    call = function("exec_command", {"cmd": "rm a.py", "workdir": "/w"})
    transcript = read(meta(), call, event("exec_command_end", call_id="c1", **ended), output(GOOD))
    assert [(claim.raw_path, claim.cwd, claim.line) for claim in transcript.claims] == [("a.py", "/w", 2)]
    told = event("item_completed", item={"type": "CommandExecution", "id": "e9", "status": "completed", **ended})
    assert logs.told(read(meta(), told)) == [("delete", "a.py", True)]


def test_commits_stand_in_the_output():
    """Behind its head."""
    call = function("shell_command", {"command": "git commit -m 'Say it' && git push"})
    (commit,) = read(
        meta(), call, output("Exit code: 1\nWall time: 1 seconds\nOutput:\n[main abc1234] Say it\n")
    ).commits
    assert (commit.sha, commit.subject, commit.line) == ("abc1234", "Say it", 3)


def test_reads():
    """Only by the tool for it; what a command reads is not told."""
    transcript = read(meta(), function("read_file", {"path": "README.md"}), output("# Title"))
    assert logs.told(transcript) == [("read", "README.md", True)]


# --- codex exec --json


def test_what_exec_prints_is_read_too():
    """A thread, the changes of files without contents, commands with their exit."""
    change = {
        "id": "i1",
        "type": "file_change",
        "changes": [{"path": "/w/a.py", "kind": "update"}, {"path": "b", "kind": "add"}],
    }
    command = {"id": "i2", "type": "command_execution", "command": "bash -lc 'rm c.py'", "aggregated_output": ""}
    transcript = read(
        {"type": "thread.started", "thread_id": "t1"},
        {"type": "turn.started"},
        {"type": "item.started", "item": {**command, "status": "in_progress"}},
        {"type": "item.completed", "item": {**command, "exit_code": 0, "status": "completed"}},
        {"type": "item.completed", "item": {**change, "status": "completed"}},
        {"type": "item.completed", "item": {**change, "status": "failed"}},
        b"{broken\n",
        {"type": "item.completed", "item": {"id": "i3", "type": "agent_message", "text": "Done"}},
    )
    (session,) = transcript.sessions
    assert (session.session_id, session.format, session.turns) == ("t1", "codex-exec-json", 1)
    assert logs.told(transcript) == [
        ("delete", "c.py", True),
        *(("patch", "/w/a.py", True), ("create", "b", True)),
        *(("patch", "/w/a.py", False), ("create", "b", False)),
    ]
    assert [problem.line for problem in transcript.problems] == [7]


# --- recognition and damage


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{}",
        b'{"type":"user","sessionId":"x","message":{}}',
        b'{"type":"session_meta"}',
        b'{"id":"x","timestamp":"y"}',
        b'{"created_at":"2025-09-10T12:00:00Z","role":"user","message":"x"}',
        b'{"event":"create","file":"/w/a","session_id":"x"}',
        b'{"text":"{\\"type\\":\\"session_meta\\",\\"payload\\":{\\"id\\":\\"x\\"}}"}',
        b'{"type":"turn.started"}',
    ],
)
def test_other_files_are_not_recognised(head):
    """Other formats, quotations, and what has too little of this one."""
    assert not codex.recognise(head)


def test_a_first_line_that_is_cut_off_is_recognised():
    """It holds the instructions of the session, which may be long."""
    assert codex.recognise(logs.lines(meta(instructions="x" * 70_000))[0][:65_536])


PIECES = [
    meta(),
    context(),
    {"id": "s1", "timestamp": AT, "instructions": None, "git": {}},
    message("user", "Go"),
    item("custom_tool_call", name="apply_patch", input=PATCH, call_id="c1"),
    function("apply_patch", {"input": PATCH}),
    function("shell", {"command": ["bash", "-lc", "git commit -m x && rm a.py"], "workdir": "/w"}),
    output(GOOD + "[main abc1234] x"),
    output(json.dumps({"output": DONE, "metadata": {"exit_code": 0}})),
    event("patch_apply_end", call_id="c1", success=True, changes=CHANGES),
    event("exec_command_end", call_id="c1", exit_code=0, command=["rm", "a"], cwd="/w"),
    event("item_completed", item={"type": "FileChange", "id": "c2", "changes": CHANGES, "status": "completed"}),
    {"type": "thread.started", "thread_id": "t1"},
    {
        "type": "item.completed",
        "item": {"type": "file_change", "changes": [{"path": "a", "kind": "add"}], "status": "x"},
    },
]


@settings(deadline=None, max_examples=150)
@given(st.lists(logs.spoilt(PIECES) | st.sampled_from(logs.DAMAGE) | st.binary(max_size=50), max_size=12))
def test_any_damage_is_survived(data):
    """True lines in any order, with odd values, cut, glued, and other bytes between."""
    transcript = codex_sound(data)
    assert len(transcript.sessions) <= 1


def codex_sound(data: list[bytes]) -> Transcript:
    return logs.sound(codex, [*logs.lines(message("user", "x")), *data])


def test_a_broken_line_is_a_problem_and_the_rest_is_read():
    """Idle lines too: a log that is cut off ends in any of them."""
    data = [*logs.lines(meta()), b'{"timestamp":"x","type":"compacted","payload":{"message":"a\n', b"[]\n"]
    transcript = read(*data, function("apply_patch", {"input": PATCH}), output(DONE))
    assert ([problem.line for problem in transcript.problems], len(transcript.claims)) == ([2, 3], 2)


@pytest.mark.parametrize("kind", ["patches", "open", "hunks", "messages"])
def test_reading_takes_linear_time(kind):
    """Four times the log takes about four times as long."""

    def log(times: int) -> list[bytes]:
        if kind == "patches":
            pairs = ((function("apply_patch", {"input": PATCH}, f"c{k}"), output(DONE, f"c{k}")) for k in range(times))
            return logs.lines(meta(), *itertools.chain(*pairs))
        if kind == "open":
            return logs.lines(meta(), *(function("apply_patch", {"input": PATCH}, f"c{k}") for k in range(times)))
        if kind == "hunks":
            patch = "*** Begin Patch\n*** Update File: a\n" + "@@\n-a\n+b\n" * times * 5 + "*** End Patch"
            return logs.lines(meta(), function("apply_patch", {"input": patch}), output(DONE))
        return logs.lines(meta(), *(message("user", f"say {k}") for k in range(times)))

    few = logs.seconds(codex, log(400))
    assert logs.seconds(codex, log(1600)) < 9 * few + 0.05


# --- the corpus


@pytest.mark.corpus
def test_real_rollouts_are_read():
    """Every true rollout gives its session; made-up neighbours of the format are left alone."""
    corpus = logs.real("codex")
    refused = [name for name, data in corpus.items() if not codex.recognise(b"".join(data)[:65_536])]
    assert [name.rpartition("/")[2] for name in refused] == ["codex-session1.jsonl", "schema_drift.jsonl"]
    claims = []
    for name, data in corpus.items():
        if name in refused:
            continue
        transcript = logs.sound(codex, data, name)
        assert len(transcript.sessions) == 1 and not transcript.problems, name
        claims += [(claim.operation, claim.succeeded, bool(claim.contents)) for claim in transcript.claims]
    assert sorted(claims) == [
        ("patch", False, False),
        ("patch", True, False),
        ("patch", True, False),
        ("read", True, False),
        ("write", True, True),
    ]
