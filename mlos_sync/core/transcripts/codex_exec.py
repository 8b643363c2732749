"""What `codex exec --json` prints, one JSON object a line, known from late 2025: no times, no working directory.

`{"type":"thread.started","thread_id":…}`, then `turn.started`, `item.started`, `item.completed` with an `item` of type
`agent_message`, `command_execution` or `file_change`, and `turn.completed`. It is not stored unless somebody redirects it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mlos_sync.core.transcripts.commits import commits
from mlos_sync.core.transcripts.jsonl import objects_at, outlines, parsed, text_at
from mlos_sync.core.transcripts.model import Claim, CommitMade, Fact, Problem
from mlos_sync.core.transcripts.patches import Change
from mlos_sync.core.transcripts.sessions import Course
from mlos_sync.core.transcripts.shell import claimed, located
from mlos_sync.core.transcripts.sound import sound_path, sound_text

_KINDS = {"add": "create", "update": "patch", "delete": "delete"}


def recognise(head: bytes) -> bool:
    """Whether the first line starts a thread."""
    return any(keys.get("type") == "thread.started" and "thread_id" in keys for keys in outlines(head, most=5))


def is_line(entry: dict[str, Any]) -> bool:
    """Whether an object is the line that such an output begins with."""
    return text_at(entry, "type") == "thread.started" and bool(sound_text(entry.get("thread_id")))


def read(lines: Iterable[tuple[int, bytes]], first: dict[str, Any], name: str) -> Iterator[Fact]:
    """The claims and commits of the numbered lines behind `first`, and the session that it starts."""
    course = Course(sound_text(first.get("thread_id")) or name, "Codex CLI", "codex-exec-json")
    for number, line in lines:
        for found in parsed(line, number):
            if isinstance(found, Problem):
                yield found
            elif text_at(found, "type") == "item.completed" and isinstance(found.get("item"), dict):
                yield from _item(course, found["item"], number)
    yield course.told()


def _item(course: Course, item: dict[str, Any], number: int) -> Iterator[Claim | CommitMade]:
    kind = text_at(item, "type", "item_type")
    if kind in ("agent_message", "assistant_message"):  # the second in the first versions
        course.turned(subagent=False)
    elif kind == "file_change":
        for told in objects_at(item, "changes"):
            path, operation = sound_path(told.get("path")), _KINDS.get(text_at(told, "kind"))
            if path and operation:
                succeeded = text_at(item, "status") == "completed"
                yield _claim(course, Change(operation, path), kind, number, succeeded)
    elif kind == "command_execution":
        command = text_at(item, "command")
        for sha, subject in commits(command, text_at(item, "aggregated_output")):
            yield CommitMade(course.session_id, course.turns, number, None, sha, subject)
        code = item.get("exit_code")
        for change in claimed(command) if isinstance(code, int) and code == 0 else ():
            yield _claim(course, change, kind, number, True)


def _claim(course: Course, change: Change, tool: str, number: int, succeeded: bool) -> Claim:
    path, cwd = located(change, None)
    return Claim(
        session_id=course.session_id,
        turn=course.turns,
        line=number,
        at=None,
        operation=change.operation,
        tool=tool,
        raw_path=path,
        succeeded=succeeded,
        contents=change.contents,
        cwd=cwd,
    )
