"""Gemini CLI's chats: `~/.gemini/tmp/<project>/chats/session-<time>-<id>.json`, one document, and since 0.40 `.jsonl`.

The document is `{sessionId, projectHash, startTime, lastUpdated, messages:[…]}`. The newer form has that with no
messages on its first line, then a message a line, `{"$set":{…}}` that changes the first line, and `{"$rewindTo":id}`
that takes back a message and all behind it; a message may stand several times, the last is the fullest. What a message
did to files stays done when it is taken back. A log names no working directory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from mlos_sync.core.transcripts.gemini_claims import Asked, pending_claims, settled
from mlos_sync.core.transcripts.jsonl import objects_at, outlines, parsed, stamp_at, text_at
from mlos_sync.core.transcripts.model import Claim, CommitMade, Fact, Problem
from mlos_sync.core.transcripts.sessions import Course
from mlos_sync.core.transcripts.sound import sound_json, sound_text

TOOL = "Gemini CLI"
_BOM = b"\xef\xbb\xbf"
_SPOKEN = ("user", "gemini")
# `chats/<parent>/<id>.jsonl`
_SUBAGENT = re.compile(r"(?:^|/)chats/(?P<parent>[^/]{1,200})/[^/]+$")
_MOST_MISSES = 20  # of calls whose place in a document is not found, each of which takes a look through all of it


@dataclass(slots=True)
class _Log:
    """What is known of a chat so far. `numbers` are the turns of messages, by the hash of their id."""

    course: Course
    name: str
    subagent: bool = False
    numbers: dict[int, int] = field(default_factory=dict)
    waiting: dict[str, Asked] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)


def recognise(head: bytes) -> bool:
    """Whether a file begins as a chat of either form: `sessionId` and `projectHash` stand in no other log."""
    return any({"sessionId", "projectHash"} <= keys.keys() and "type" not in keys for keys in outlines(head, most=5))


def read(lines: Iterable[bytes], name: str) -> Iterator[Fact]:
    """The claims, commits and problems of a chat, its session at the end. `name` gives the id only where none is told.

    A document is held as a whole, since JSON gives no other way; the newer form is read line by line.
    """
    log = _Log(Course(sound_text(_stem(name)) or "unnamed", TOOL, "gemini-json"), name.replace("\\", "/"))
    numbered = enumerate(lines, 1)
    number, first = next(((number, line) for number, line in numbered if line.removeprefix(_BOM).strip()), (1, b""))
    header = _object(first.removeprefix(_BOM))
    if header is not None:  # a document in one line reads like a log of one line, which has messages
        log.course.format = "gemini-json" if objects_at(header, "messages") else "gemini-jsonl"
        yield from _lines(log, chain([(number, first)], numbered))
    else:
        yield from _document(log, first + b"".join(line for _, line in numbered), number)
    for asked in log.waiting.values():
        yield from pending_claims(asked)
    yield log.course.told()


def _lines(log: _Log, numbered: Iterable[tuple[int, bytes]]) -> Iterator[Claim | CommitMade | Problem]:
    for number, line in numbered:
        for found in parsed(line, number):
            if isinstance(found, Problem):
                yield found
            else:
                yield from _record(log, found, number)


def _document(log: _Log, data: bytes, number: int) -> Iterator[Claim | CommitMade | Problem]:
    """A whole document, which begins at this line; a damaged one is tried as the newer form with a broken first line."""
    document = _object(data.removeprefix(_BOM))
    if document is None:
        log.course.format = "gemini-jsonl"
        if b"\n{" in data:
            yield from _lines(log, enumerate(data.split(b"\n"), number))
        else:
            yield Problem(number, "no complete JSON document" if data.strip() else "an empty file")
        return
    _header(log, document)
    places = _Places(data, found=number)
    for message in objects_at(document, "messages"):
        yield from _message(log, message, places)


def _record(log: _Log, record: dict[str, Any], number: int) -> Iterator[Claim | CommitMade]:
    """One line of the newer form."""
    changed, rewound = record.get("$set"), record.get("$rewindTo")
    if isinstance(changed, dict):
        _header(log, changed)
        for message in objects_at(changed, "messages"):
            yield from _message(log, message, number)
    elif isinstance(rewound, str):
        before = log.numbers.get(hash(rewound))
        if before is not None:
            log.course.turns = min(log.course.turns, before - 1)
    elif "projectHash" in record or ("sessionId" in record and "type" not in record):
        _header(log, record)
        for message in objects_at(record, "messages"):
            yield from _message(log, message, number)
    else:
        yield from _message(log, record, number)


def _header(log: _Log, header: dict[str, Any]) -> None:
    course = log.course
    course.identified(sound_text(header.get("sessionId")))
    course.passed(stamp_at(header, "startTime"))
    course.passed(stamp_at(header, "lastUpdated"))
    course.titled(sound_text(header.get("summary")))
    if header.get("kind") == "subagent":
        above = _SUBAGENT.search(log.name)
        log.subagent, course.parent = True, sound_text(above["parent"]) if above else None


def _message(log: _Log, message: dict[str, Any], where: int | _Places) -> Iterator[Claim | CommitMade]:
    at, kind = stamp_at(message), text_at(message, "type")
    log.course.passed(at)
    if kind not in _SPOKEN:
        return
    identity = hash(text_at(message, "id"))
    if not text_at(message, "id") or identity not in log.numbers:
        log.numbers[identity] = log.course.turned(log.subagent)
        if kind == "gemini":
            log.course.spoke(sound_text(message.get("model")), log.subagent)
    for call in objects_at(message, "toolCalls"):
        log.course.settled = True
        name = text_at(call, "id")
        if name and hash(name) in log.done:
            continue
        asked = Asked(
            call=call,
            session_id=log.course.session_id,
            turn=log.numbers[identity],
            line=where if isinstance(where, int) else where.line(call),
            at=stamp_at(call) or at,
            subagent=log.subagent,
        )
        if text_at(call, "status") in ("success", "error", "cancelled"):
            log.waiting.pop(name, None)
            log.done.add(hash(name))
            yield from settled(asked)
        else:
            log.waiting[name or f"line {asked.line}"] = asked


@dataclass(slots=True)
class _Places:
    """The lines of calls in a document, found in order, each from where the one before was found."""

    data: bytes
    position: int = 0
    found: int = 1
    misses: int = 0

    def line(self, call: dict[str, Any]) -> int:
        """The line of the path or the command of a call, or of its id where it has neither, or of what was found before."""
        for text in (text_at(call, "id"), text_at(call.get("args"), "file_path", "absolute_path", "path", "command")):
            needle = json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")
            at = self.data.find(needle, self.position) if text and self.misses < _MOST_MISSES else -1
            if at >= 0:
                self.found += self.data.count(b"\n", self.position, at)
                self.position = at
            elif text:
                self.misses += 1
        return self.found


def _object(data: bytes) -> dict[str, Any] | None:
    value = sound_json(data.decode("utf-8", "replace"))
    return value if isinstance(value, dict) else None


def _stem(name: str) -> str:
    return re.sub(r"\.jsonl?$", "", name.replace("\\", "/").rpartition("/")[2])
