"""Calls of Claude Code's tools and their results -> claims and commits.

A result stands twice in a log: as text for the model (`tool_result`), and in the form of the tool (`toolUseResult`, a
string where the call failed). The second has the paths, the contents and the previous text; logs of SDK sessions, most
`progress` lines and logs that were trimmed lack it, and then the call itself and the text have to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mlos_sync.core.transcripts.claude_contents import edited, written
from mlos_sync.core.transcripts.commits import commits
from mlos_sync.core.transcripts.jsonl import object_at, shown, text_at
from mlos_sync.core.transcripts.model import Claim, CommitMade
from mlos_sync.core.transcripts.patches import Change
from mlos_sync.core.transcripts.shell import claimed, located
from mlos_sync.core.transcripts.sound import sound_path
from mlos_sync.core.transcripts.tools import command_in, intended, kind_of

# How `toolUseResult` begins when it is a string that tells of a failure: `Error: File has not been read yet. …`,
# `InputValidationError: [ …` (2.0); the list of a folder by `LS` (1.0) is a string too, and no failure.
_ERRORS = ("Error", "InputValidationError")
# How the text begins where a log has neither that nor `is_error` (1.0.x)
_REFUSALS = (
    "<tool_use_error>",
    "The user doesn't want to proceed",
    "[Request interrupted",
    "Permission prompt was aborted",
)
# How the text begins where `Write` made a new file (1.0.x to 2.1.42); of others: `The file /w/a.py has been updated …`
_CREATED = "File created successfully at: "
# What the text says of a command whose end it does not tell, before or behind what was printed: `Command running in
# background with ID: b1. Output is …` (2.0.x on), `Command was manually backgrounded by user with ID: b1.`, `Command did
# not complete within its 120s timeout and was moved to the background (ID: b1).`; `<error>Command was aborted before
# completion</error>` (1.0.x on)
_UNENDED = re.compile(r"^Command [^\n]{0,150}background|Command was aborted before completion", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that waits for its result."""

    id: str
    tool: str
    arguments: dict[str, Any]
    session_id: str
    part: str
    turn: int
    line: int
    at: str | None
    cwd: str | None
    subagent: bool


def answered(
    call: Call, block: dict[str, Any], details: Any, line: int, at: str | None
) -> Iterator[Claim | CommitMade]:
    """What a call did, given the block that answers it, the result in the form of the tool, and their line and time."""
    failed = _failed(block, details)
    at = at or call.at
    if kind_of(call.tool) == "shell":
        yield from _ran(call, block, details, failed, line, at)
        return
    told = details if isinstance(details, dict) else {}
    changes = _plan(told) if call.tool == "ExitPlanMode" else intended(call.tool, call.arguments)
    path = sound_path(told.get("filePath")) or sound_path(object_at(told, "file").get("filePath"))
    created = shown(block.get("content")).startswith(_CREATED)
    for change in changes:
        if created and change.operation == "write":
            change = replace(change, operation="create")
        moved = change.operation in ("move", "delete", "patch")
        if path is not None and not failed and not moved:
            change = _with_result(replace(change, path=path), told)
            yield _claim(call, change, line, at, True)
        else:
            yield _claim(call, change, call.line, at, not failed)


def unanswered(call: Call) -> Iterator[Claim]:
    """The claims of a call without a result: it was refused, interrupted, or the log ends here."""
    for change in intended(call.tool, call.arguments):
        yield _claim(call, change, call.line, call.at, False)


def _with_result(change: Change, told: dict[str, Any]) -> Change:
    """A change as its result tells it: created or not, and what the file held afterwards."""
    if change.operation == "read":
        return change
    if change.operation in ("write", "create"):
        operation = "create" if told.get("type") == "create" else change.operation
        return replace(change, operation=operation, contents=written(told) or change.contents)
    contents, replacements = edited(told)
    if told.get("userModified") is not True:  # else the call is but the proposal
        replacements = replacements or change.replacements
    operation = "create" if told.get("oldString") == "" and not told.get("originalFile") else change.operation
    return replace(
        change,
        operation=operation,
        contents=contents,
        replacements=() if contents else replacements,
    )


def _plan(told: dict[str, Any]) -> tuple[Change, ...]:
    """The plan of `ExitPlanMode`, which is a file (seen from 2.1.7 on): `{"plan":"…","filePath":"/…/plans/x.md"}`."""
    path = sound_path(told.get("filePath"))
    return (
        () if path is None else (Change("write", path, contents=(text_at(told, "plan").encode("utf-8", "replace"),)),)
    )


def _ran(
    call: Call, block: dict[str, Any], details: Any, failed: bool, line: int, at: str | None
) -> Iterator[Claim | CommitMade]:
    """What a shell command did. Commits count even if something failed behind them: git printed them."""
    command = command_in(call.arguments)
    if not isinstance(command, str):
        return
    output = text_at(details, "stdout") or shown(block.get("content"))
    for sha, subject in commits(command, output):
        yield CommitMade(call.session_id, call.turn, line, at, sha, subject, call.part)
    if failed or _unclear(call, details, output):
        return
    for change in claimed(command):
        path, cwd = located(change, call.cwd)
        yield _claim(_elsewhere(call, cwd), replace(change, path=path), call.line, at, True)


def _unclear(call: Call, details: Any, output: str) -> bool:
    """Whether a command may still run, was stopped, or ended with a status that is only explained."""
    if call.arguments.get("run_in_background") is True:
        return True
    if not isinstance(details, dict):
        return _UNENDED.search(output) is not None
    return details.get("interrupted") is True or any(
        details.get(key) for key in ("backgroundTaskId", "returnCodeInterpretation", "is_error")
    )


def _elsewhere(call: Call, cwd: str | None) -> Call:
    """The call as if it ran elsewhere."""
    return call if cwd == call.cwd else replace(call, cwd=cwd)


def _failed(block: dict[str, Any], details: Any) -> bool:
    if block.get("is_error") is True or (isinstance(details, str) and details.startswith(_ERRORS)):
        return True
    return shown(block.get("content")).startswith(_REFUSALS)


def _claim(call: Call, change: Change, line: int, at: str | None, succeeded: bool) -> Claim:
    return Claim(
        session_id=call.session_id,
        turn=call.turn,
        line=line,
        at=at,
        operation=change.operation,
        tool=call.tool,
        raw_path=change.path,
        succeeded=succeeded,
        contents=change.contents if succeeded else (),
        replacements=change.replacements if succeeded else (),
        cwd=call.cwd,
        subagent=call.subagent,
        part=call.part,
    )
