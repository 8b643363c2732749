"""Calls, outputs and events of Codex CLI -> claims and commits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from mlos_sync.core.transcripts.commits import commits
from mlos_sync.core.transcripts.jsonl import object_at, shown, text_at
from mlos_sync.core.transcripts.model import Claim, CommitMade
from mlos_sync.core.transcripts.patches import Change, changes, unified
from mlos_sync.core.transcripts.shell import claimed, joined, located, patch_in, unquoted
from mlos_sync.core.transcripts.sound import encoded, sound_path
from mlos_sync.core.transcripts.tools import command_in, intended, kind_of

# How outputs tell the exit status, before the output itself:
# `Exit code: 0` then `Wall time: …` shell_command, `Process exited with code 0` exec_command (unified exec)
_EXIT = re.compile(r"(?:Exit code|Process exited with code):? (?P<code>-?\d{1,10})\b")
# The line behind which the output of the command stands
_OUTPUT = re.compile(r"^Output:[ \t]*\r?$\n?", re.MULTILINE)
# `Success. Updated the following files:` then `M src/a.py`, at the beginning of what apply_patch prints
_APPLIED = "Success. Updated the following files:"
_KINDS = {"add": "create", "update": "patch", "delete": "delete"}


@dataclass(frozen=True, slots=True)
class Call:
    """A call that waits for its end; `arguments` is a string where a tool takes free text."""

    id: str
    tool: str
    arguments: dict[str, Any] | str
    session_id: str
    turn: int
    line: int
    at: str | None
    cwd: str | None


def answered(call: Call, output: Any, line: int, at: str | None) -> Iterator[Claim | CommitMade]:
    """What a call did, given its output: a string, JSON in a string, or blocks of text."""
    text, code = _taken_apart(output)
    at = at or call.at
    command = _command(call)
    if command is None:
        succeeded = code == 0 if code is not None else _succeeded(call, text, output)
        yield from _claims(call, intended(call.tool, call.arguments), call.line, at, succeeded)
        return
    yield from _ran(call, command, text, code, line, at)


def executed(call: Call, event: dict[str, Any], line: int, at: str | None) -> Iterator[Claim | CommitMade] | None:
    """What a command did, by `exec_command_end` or `CommandExecution`; None when the event does not tell its exit."""
    code = event.get("exit_code")
    words = event.get("command")
    command = _command(call) or (unquoted(words) if isinstance(words, list) else None)
    if not isinstance(code, int) or command is None:
        return None
    cwd = sound_path(event.get("cwd")) or call.cwd
    output = text_at(event, "aggregated_output", "stdout", "formatted_output")
    bare = (
        {}
        if isinstance(call.arguments, str)
        else {key: call.arguments[key] for key in call.arguments if key != "workdir"}
    )
    return _ran(replace(call, cwd=cwd, arguments=bare), command, output, code, line, at or call.at)


def applied(call: Call, event: dict[str, Any], line: int, at: str | None) -> Iterator[Claim]:
    """The claims of `patch_apply_end` and `FileChange`: `changes` by path, each with its contents or its diff.

    `{"/w/a.py":{"type":"add","content":"…"}}`, `{"type":"update","unified_diff":"@@ …","move_path":null}`,
    `{"type":"delete"}`. An event without them ends the patch of its call.
    """
    success = event.get("success")
    succeeded = success if isinstance(success, bool) else text_at(event, "status") == "completed"
    found: list[Change] = []
    for raw, change in object_at(event, "changes").items():
        path = sound_path(raw)
        if path is not None and isinstance(change, dict):
            found += _changed(path, change)
    if found:
        yield from _claims(call, found, line, at or call.at, succeeded)
    else:
        yield from _claims(call, _asked(call), call.line, at or call.at, succeeded)


def unanswered(call: Call) -> Iterator[Claim]:
    """The claims of a call whose end is not told: of a patch or another file tool, not of a command."""
    yield from _claims(call, _asked(call), call.line, call.at, False)


def _asked(call: Call) -> tuple[Change, ...]:
    """The changes that a call asks for, whatever became of it: those of a file tool, or of a patch in a command."""
    command = _command(call)
    return intended(call.tool, call.arguments) if command is None else changes(patch_in(command))


def _changed(path: str, change: dict[str, Any]) -> Iterator[Change]:
    operation = _KINDS.get(text_at(change, "type"))
    target = sound_path(change.get("move_path"))
    diff = unified(text_at(change, "unified_diff"))
    if operation == "create":
        content = change.get("content")
        yield Change("create", path, contents=(encoded(content),) if isinstance(content, str) else ())
    elif operation == "patch" and target is not None:
        yield Change("move", target, replacements=diff)
        yield Change("delete", path)
    elif operation is not None:
        yield Change(operation, path, replacements=diff if operation == "patch" else ())


def _ran(
    call: Call, command: str, output: str, code: int | None, line: int, at: str | None
) -> Iterator[Claim | CommitMade]:
    """What a command did; a patch that it failed to apply is a claim all the same, since its paths are known."""
    for sha, subject in commits(command, output):
        yield CommitMade(call.session_id, call.turn, line, at, sha, subject)
    if code == 0:
        yield from _claims(call, claimed(command), call.line, at, True)
    elif (patch := patch_in(command)) != "":
        applied_all = code is None and output.lstrip().startswith(_APPLIED)
        yield from _claims(call, changes(patch), call.line, at, applied_all)


def _claims(call: Call, found: Iterable[Change], line: int, at: str | None, succeeded: bool) -> Iterator[Claim]:
    base = call.cwd
    if isinstance(call.arguments, dict):
        workdir = sound_path(text_at(call.arguments, "workdir", "working_directory", "cwd"))
        base = joined(call.cwd or "", workdir) if workdir else base
    for change in found:
        path, cwd = located(change, base)
        yield Claim(
            session_id=call.session_id,
            turn=call.turn,
            line=line,
            at=at,
            operation=change.operation,
            tool=call.tool,
            raw_path=path,
            succeeded=succeeded,
            contents=change.contents if succeeded else (),
            replacements=change.replacements if succeeded else (),
            cwd=cwd,
        )


def _command(call: Call) -> str | None:
    """The command that a call runs, or None for a tool that is no shell."""
    if kind_of(call.tool) not in ("shell", None) or isinstance(call.arguments, str):
        return None
    found = command_in(call.arguments)
    return unquoted(found) if isinstance(found, list) else found if isinstance(found, str) else None


def _taken_apart(output: Any) -> tuple[str, int | None]:
    """What a command or tool printed, and its exit status where the output tells it.

    `{"output":"…","metadata":{"exit_code":0,"duration_seconds":0.1}}` as a string, until late 2025, or a text with a
    head of lines up to `Output:`.
    """
    if isinstance(output, dict) and isinstance(output.get("success"), bool):
        return shown(output), None if output["success"] else 1
    text = shown(output)
    if text.startswith("{"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        code = object_at(value, "metadata").get("exit_code")
        if isinstance(code, int):
            return text_at(value, "output"), code
    label = _OUTPUT.search(text)
    if label is None:
        return text, None
    code_told = _EXIT.search(text, 0, label.start())
    return text[label.end() :], int(code_told["code"]) if code_told else None


def _succeeded(call: Call, text: str, output: Any) -> bool:
    """Whether a tool without an exit status did what it was asked: a patch says so; others say when they failed."""
    if isinstance(output, dict) and output.get("success") is True:
        return True
    if kind_of(call.tool) == "patch":
        return text.lstrip().startswith(_APPLIED)
    return not text.lower().startswith(("error", "failed", "failure", "unable", "no such"))
