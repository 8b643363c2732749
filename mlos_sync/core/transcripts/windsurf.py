"""Windsurf's transcripts, one JSON object a line: `~/.windsurf/transcripts/<id>.jsonl` (2026).

A line is `{"type":T,"status":"done",T:{…}}` with T one of `user_input`, `planner_response`, `code_action`, `view_file`,
`run_command` and others: no ids, no times, no model, so that the file names the session. Paths are `file://` addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from mlos_sync.core.transcripts.commits import commits
from mlos_sync.core.transcripts.jsonl import line_ends, object_at, outlines, parsed, text_at
from mlos_sync.core.transcripts.model import Claim, CommitMade, Fact, Problem
from mlos_sync.core.transcripts.patches import Change
from mlos_sync.core.transcripts.sessions import Course, stem_of
from mlos_sync.core.transcripts.shell import claimed, located
from mlos_sync.core.transcripts.sound import sound_path, sound_text

TOOL = "Windsurf"
_SPOKEN = ("user_input", "planner_response")
_KINDS = (*_SPOKEN, "code_action", "view_file", "run_command")
_DRIVE = re.compile(r"/[A-Za-z]:/")


def recognise(head: bytes) -> bool:
    """Whether a file begins with lines of such kinds, each with a status and the object that its type names."""
    first = next(outlines(head, most=3), {})
    kind = first.get("type", "")
    return kind in _KINDS and "status" in first and any(key.startswith(kind + ".") for key in first)


def read(lines: Iterable[bytes], name: str) -> Iterator[Fact]:
    """The claims, commits and problems of a transcript as they come, its session, named by the file, at the end."""
    stem = stem_of(name, ".jsonl")
    course = Course(sound_text(stem) or "unnamed", TOOL, "windsurf-jsonl")
    for number, line in enumerate(lines, 1):
        for found in parsed(line, number):
            if isinstance(found, Problem):
                yield found
            else:
                yield from _step(course, found, number)
    yield course.told()


def _step(course: Course, entry: dict[str, Any], number: int) -> Iterator[Claim | CommitMade]:
    kind = text_at(entry, "type")
    step, done = object_at(entry, kind), text_at(entry, "status") == "done"
    if kind in _SPOKEN:
        course.turned(subagent=False)
    elif kind in ("code_action", "view_file"):
        path = _path(step)
        if path is not None:
            change = Change("read", path) if kind == "view_file" else _written(path, step)
            refused = "REJECT" in text_at(step, "acknowledgement_type")
            yield _claim(course, change, kind, number, done and not refused, None)
    elif kind == "run_command":
        command, cwd = text_at(step, "command"), sound_path(step.get("cwd"))
        for sha, subject in commits(command, text_at(step, "output")):
            yield CommitMade(course.session_id, course.turns, number, None, sha, subject)
        code = step.get("exit_code")
        certain = done and isinstance(code, int) and code == 0 and step.get("user_rejected") is not True
        for change in claimed(command) if certain else ():
            yield _claim(course, change, kind, number, True, cwd)


def _written(path: str, step: dict[str, Any]) -> Change:
    """`{"path":…,"original_content":…,"new_content":…,"acknowledgement_type":"ACKNOWLEDGEMENT_TYPE_ACCEPT"}`."""
    new = step.get("new_content")
    operation = "write" if isinstance(step.get("original_content"), str) else "create"
    return Change(operation, path, contents=line_ends(new) if isinstance(new, str) else ())


def _path(step: dict[str, Any]) -> str | None:
    """The path in `file:///Users/x/a%20b.md` or `file:///c%3A/x/a.md`.

    Decoded here, though `mapping` could: commands of the same log name the same files by their paths, and `replay`
    follows a file by one name. Links in markdown stay as written, as they tell of nothing but reads.
    """
    text = text_at(step, "path")
    if not text.startswith("file://"):
        return sound_path(text)
    path = unquote(text.removeprefix("file://"))
    return sound_path(path[1:] if _DRIVE.match(path) else path)


def _claim(course: Course, change: Change, tool: str, number: int, succeeded: bool, base: str | None) -> Claim:
    path, cwd = located(change, base)
    return Claim(
        session_id=course.session_id,
        turn=course.turns,
        line=number,
        at=None,
        operation=change.operation,
        tool=tool,
        raw_path=path,
        succeeded=succeeded,
        contents=change.contents if succeeded else (),
        replacements=change.replacements if succeeded else (),
        cwd=cwd,
    )
