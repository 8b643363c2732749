"""Calls of Gemini CLI's tools -> claims and commits. A call and its result stand together, in one object."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mlos_sync.core.transcripts.commits import commits
from mlos_sync.core.transcripts.jsonl import line_ends, object_at, objects_at, text_at
from mlos_sync.core.transcripts.model import Claim, CommitMade
from mlos_sync.core.transcripts.patches import Change
from mlos_sync.core.transcripts.shell import claimed, joined, located
from mlos_sync.core.transcripts.tools import intended, kind_of

# `Successfully created and wrote to new file: /w/a.py.` of write_file; `Created new file: /w/a.py …` of replace
_CREATED = ("Successfully created and wrote to new file", "Created new file")
# What follows the output of a command, which may hold such lines itself, so that any of them is believed:
# `Exit Code: 0`, `Error: (none)` and `Signal: 0` always in 0.23; later versions leave out what is good
_BAD_EXIT = re.compile(r"^Exit Code: (?!0\r?$)", re.MULTILINE)
_GOOD_EXIT = re.compile(r"^Exit Code: 0\r?$", re.MULTILINE)
# `Output: [main abc1234] subject`: the first line of the output stands behind its label, which was `Stdout` in 0.1
_LABEL = re.compile(r"^(?:Output|Stdout): ", re.MULTILINE)
_BAD_END = re.compile(
    r"^(?:Error: (?!\(none\))|Signal: (?!0\r?$|\(none\))|Background PIDs: (?!\(none\)))", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A call as its message has it, with what is known around it."""

    call: dict[str, Any]
    session_id: str
    turn: int
    line: int
    at: str | None
    subagent: bool


def settled(asked: Asked) -> Iterator[Claim | CommitMade]:
    """What a call did whose status is final."""
    response = _response(asked.call)
    output = text_at(response, "output")
    succeeded = asked.call.get("status") == "success" and (bool(output) or not text_at(response, "error"))
    name, arguments = text_at(asked.call, "name"), object_at(asked.call, "args")
    if kind_of(name) == "shell":
        yield from _ran(asked, text_at(arguments, "command"), output, succeeded)
        return
    for change in intended(name, arguments):
        yield _claim(asked, _with_result(asked.call, change, output) if succeeded else change, succeeded)


def pending_claims(asked: Asked) -> Iterator[Claim]:
    """The claims of a call that waited for its turn or for approval when the log ended."""
    for change in intended(text_at(asked.call, "name"), object_at(asked.call, "args")):
        yield _claim(asked, change, False)


def _with_result(call: dict[str, Any], change: Change, output: str) -> Change:
    """A change with what the result shows of it: `resultDisplay`, where the log keeps it, has the whole new text."""
    if change.operation not in ("write", "edit"):
        return change
    shown = object_at(call, "resultDisplay").get("newContent")
    created = output.startswith(_CREATED)
    if isinstance(shown, str):
        change = replace(change, contents=line_ends(shown), replacements=())
    elif "User modified the" in output:  # before approving; what it became stands in prose
        change = replace(change, contents=(), replacements=())
    return replace(change, operation="create") if created else change


def _ran(asked: Asked, command: str, output: str, succeeded: bool) -> Iterator[Claim | CommitMade]:
    """What a command did: `directory` (later `dir_path`) says where it ran, below the root of the project."""
    for sha, subject in commits(command, _LABEL.sub("", output)):
        yield CommitMade(asked.session_id, asked.turn, asked.line, asked.at, sha, subject)
    if not succeeded or not _ended_well(output):
        return
    arguments = object_at(asked.call, "args")
    directory = text_at(arguments, "directory", "dir_path")
    for change in claimed(command):
        yield _claim(
            asked,
            replace(change, directory=joined(directory, change.directory) if change.directory else directory),
            True,
        )


def _ended_well(output: str) -> bool:
    """Whether the exit status was certainly zero: a success of the tool is any end of the command."""
    if _BAD_EXIT.search(output) or _BAD_END.search(output):
        return False
    return output.startswith("Output: ") or (output.startswith("Command: ") and bool(_GOOD_EXIT.search(output)))


def _response(call: dict[str, Any]) -> dict[str, Any]:
    """The answer in `result`: `[{"functionResponse":{"id":…,"name":…,"response":{"output":"…"}}}]`."""
    for part in objects_at(call, "result"):
        response = object_at(object_at(part, "functionResponse"), "response")
        if response:
            return response
    return {}


def _claim(asked: Asked, change: Change, succeeded: bool) -> Claim:
    path, cwd = located(change, None)
    return Claim(
        session_id=asked.session_id,
        turn=asked.turn,
        line=asked.line,
        at=asked.at,
        operation=change.operation,
        tool=text_at(asked.call, "name"),
        raw_path=path,
        succeeded=succeeded,
        contents=change.contents if succeeded else (),
        replacements=change.replacements if succeeded else (),
        cwd=cwd,
        subagent=asked.subagent,
    )
