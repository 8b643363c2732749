"""Factory Droid's sessions, one JSON object a line: `~/.factory/sessions/<id>.jsonl`, known from version 2 (January 2026).

The first line is `{"type":"session_start","id":…,"title":…,"sessionTitle":…,"version":2,"cwd":…}`, the others are
`{"type":"message","id":…,"timestamp":…,"message":{"role":…,"content":[…]}}` with the blocks of Claude's API, and
`todo_state`. The model stands in a settings file beside it. Commands tell no exit status here, so that they yield nothing
but commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mlos_sync.core.transcripts.commits import commits
from mlos_sync.core.transcripts.jsonl import (
    arguments_of,
    object_at,
    objects_at,
    outlines,
    parsed,
    shown,
    stamp_at,
    text_at,
)
from mlos_sync.core.transcripts.model import Claim, CommitMade, Fact, Problem
from mlos_sync.core.transcripts.sessions import Course, stem_of
from mlos_sync.core.transcripts.sound import sound_text
from mlos_sync.core.transcripts.tools import command_in, intended, kind_of

TOOL = "Factory Droid CLI"


@dataclass(frozen=True, slots=True)
class _Call:
    tool: str
    arguments: dict[str, Any]
    turn: int
    line: int
    at: str | None


def recognise(head: bytes) -> bool:
    """Whether a file begins with the line that starts a session."""
    first = next(outlines(head, most=3), {})
    return first.get("type") == "session_start" and "id" in first


def read(lines: Iterable[bytes], name: str) -> Iterator[Fact]:
    """The claims, commits and problems of a session as they come, the session at the end."""
    course = Course(sound_text(stem_of(name, ".jsonl")) or "unnamed", TOOL, "droid-jsonl")
    calls: dict[str, _Call] = {}
    for number, line in enumerate(lines, 1):
        for found in parsed(line, number):
            if isinstance(found, Problem):
                yield found
            elif text_at(found, "type") == "session_start":
                _began(course, found)
            elif text_at(found, "type") == "message":
                yield from _message(course, calls, found, number)
    for call in calls.values():
        yield from _claims(course, call, call.at, False)
    yield course.told()


def _began(course: Course, entry: dict[str, Any]) -> None:
    course.identified(sound_text(entry.get("id")))
    course.parent = sound_text(entry.get("parent"))
    course.titled(sound_text(entry.get("title")))
    cwd = text_at(entry, "cwd")
    course.cwd = cwd if cwd and sound_text(cwd) == cwd else None


def _message(
    course: Course, calls: dict[str, _Call], entry: dict[str, Any], number: int
) -> Iterator[Claim | CommitMade]:
    at, message = stamp_at(entry), object_at(entry, "message")
    course.passed(at)
    blocks = objects_at(message, "content")
    if any(block.get("type") != "tool_result" for block in blocks):
        course.turned(subagent=False)
    for block in blocks:
        tool = text_at(block, "name")
        if block.get("type") == "tool_use" and kind_of(tool):
            course.settled = True
            call = _Call(tool, object_at(block, "input"), course.turns, number, at)
            calls[text_at(block, "id") or f"line {number}"] = call
        elif block.get("type") == "tool_result":
            asked = calls.pop(text_at(block, "tool_use_id"), None)
            if asked is not None:
                yield from _answered(course, asked, block, number, at)


def _answered(
    course: Course, call: _Call, block: dict[str, Any], number: int, at: str | None
) -> Iterator[Claim | CommitMade]:
    """A result: text, or for a patch `{"success":true,"file_path":…,"diff":…}` in a string."""
    text = shown(block.get("content"))
    if kind_of(call.tool) == "shell":
        command = command_in(call.arguments)
        for sha, subject in commits(command, text) if isinstance(command, str) else ():
            yield CommitMade(course.session_id, call.turn, number, at, sha, subject)
        return
    refused = text[:1] == "{" and arguments_of(text).get("success") is False
    failed = block.get("is_error") is True or refused or text.lower().startswith("error")
    yield from _claims(course, call, at, not failed)


def _claims(course: Course, call: _Call, at: str | None, succeeded: bool) -> Iterator[Claim]:
    for change in intended(call.tool, call.arguments):
        yield Claim(
            session_id=course.session_id,
            turn=call.turn,
            line=call.line,
            at=at,
            operation=change.operation,
            tool=call.tool,
            raw_path=change.path,
            succeeded=succeeded,
            contents=change.contents if succeeded else (),
            replacements=change.replacements if succeeded else (),
            cwd=course.cwd,
        )
