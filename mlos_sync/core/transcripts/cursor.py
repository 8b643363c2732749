"""Cursor's agent transcripts, one JSON object a line: `~/.cursor/projects/<folder>/agent-transcripts/<id>/<id>.jsonl`.

A line is `{"role":"user","message":{"content":[…]}}` with blocks of text, thinking, `tool_use` and rarely `tool_result`:
no ids, no times, no model (early 2026). The id of the session is the name of the file. Parts that the client hides are
`[REDACTED]`. Later in 2026 `{"type":"turn_ended","status":"success"}` closes what the agent did; other ways to end are
`aborted` and `error`.

Whether a call succeeded is not told: in the real files no result appears at all. A call counts as succeeded when
something follows it, be it the good end of the turn, since a line is written when its tools have run, unless a result
is shown that is an error. A last call without anything behind it, or before a bad end, did not succeed. Commands tell no
exit status, so that they yield nothing but commits, and these only where a result is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mlos_sync.core.transcripts.commits import commits
from mlos_sync.core.transcripts.jsonl import object_at, objects_at, outlines, parsed, shown, text_at
from mlos_sync.core.transcripts.model import Claim, CommitMade, Fact, Problem
from mlos_sync.core.transcripts.sessions import Course, stem_of
from mlos_sync.core.transcripts.sound import sound_text
from mlos_sync.core.transcripts.tools import command_in, intended, kind_of

TOOL = "Cursor"
# `agent-transcripts/<parent>/subagents/<id>.jsonl`
_SUBAGENT = re.compile(r"(?:^|/)agent-transcripts/(?P<parent>[^/]{1,200})/subagents/[^/]+$")


@dataclass(frozen=True, slots=True)
class _Call:
    tool: str
    arguments: dict[str, Any] | str
    turn: int
    line: int


def recognise(head: bytes) -> bool:
    """Whether a file begins as such a transcript: a role and a message with content, and nothing that others add."""
    return any(
        keys.get("role") in ("user", "assistant") and "message.content" in keys and "type" not in keys
        for keys in outlines(head, most=3)
    )


def read(lines: Iterable[bytes], name: str) -> Iterator[Fact]:
    """The claims, commits and problems of a transcript as they come, its session, named by the file, at the end."""
    place = name.replace("\\", "/")
    course = Course(sound_text(stem_of(place, ".jsonl")) or "unnamed", TOOL, "cursor-jsonl")
    above = _SUBAGENT.search(place)
    course.parent = sound_text(above["parent"]) if above else None
    calls: list[_Call] = []
    for number, line in enumerate(lines, 1):
        for found in parsed(line, number):
            if isinstance(found, Problem):
                yield found
            elif text_at(found, "role") in ("user", "assistant"):
                blocks = objects_at(object_at(found, "message"), "content")
                yield from _ended(course, calls, blocks)
                calls = _turn(course, text_at(found, "role"), object_at(found, "message"), blocks, number)
            elif text_at(found, "type") == "turn_ended":
                yield from _ended(course, calls, []) if found.get("status") == "success" else _failed(course, calls)
                calls = []
    yield from _failed(course, calls)
    yield course.told()


def _turn(course: Course, role: str, message: dict[str, Any], blocks: list[dict[str, Any]], number: int) -> list[_Call]:
    """Counts a turn, where the line is more than results, and gives the calls in it."""
    said = any(block.get("type") != "tool_result" for block in blocks) or bool(shown(message.get("content")))
    if said:
        course.turned(subagent=False)
    if role != "assistant":
        return []
    found: list[_Call] = []
    for block in blocks:
        tool, arguments = text_at(block, "name"), block.get("input")
        if block.get("type") == "tool_use" and kind_of(tool) and isinstance(arguments, (dict, str)):
            found.append(_Call(tool, arguments, course.turns, number))
    return found


def _ended(course: Course, calls: list[_Call], blocks: list[dict[str, Any]]) -> Iterator[Claim | CommitMade]:
    """What calls did, given the blocks behind them: results stand in the order of the calls, if there are any."""
    results = [block for block in blocks if block.get("type") == "tool_result"]
    for index, call in enumerate(calls):
        result = results[index] if len(results) == len(calls) else None
        text = shown(result.get("content")) if result else ""
        failed = bool(result) and ((result or {}).get("is_error") is True or text.lower().startswith("error"))
        if kind_of(call.tool) == "shell":
            command = command_in(call.arguments)
            for sha, subject in commits(command, text) if isinstance(command, str) else ():
                yield CommitMade(course.session_id, call.turn, call.line, None, sha, subject)
        else:
            yield from _claims(course, call, not failed)


def _failed(course: Course, calls: list[_Call]) -> Iterator[Claim]:
    for call in calls:
        yield from _claims(course, call, False)


def _claims(course: Course, call: _Call, succeeded: bool) -> Iterator[Claim]:
    for change in intended(call.tool, call.arguments):
        yield Claim(
            session_id=course.session_id,
            turn=call.turn,
            line=call.line,
            at=None,
            operation=change.operation,
            tool=call.tool,
            raw_path=change.path,
            succeeded=succeeded,
            contents=change.contents if succeeded else (),
            replacements=change.replacements if succeeded else (),
        )
