"""Agent Trace records (RFC 0.1.0): which conversation touched which file, one record an edit.

A record is `{version, id, timestamp, vcs, tool, files, metadata}`; hooks append records to a file, one a line, and a
single document or a list of records is read as well. A flat look-alike, `agent-trace/v0.1.0`, has one absolute
`file_path` a record. The revision in a record is the one before the change was committed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from mlos_sync.core.transcripts.lines import texts
from mlos_sync.core.transcripts.model import Claim, Fact, Problem, Session
from mlos_sync.core.transcripts.sessions import count_model, most_common, named_session
from mlos_sync.core.transcripts.sound import sound_json, sound_path, sound_text
from mlos_sync.core.transcripts.stamps import moment
from mlos_sync.core.transcripts.tools import kind_of

LONGEST_DOCUMENT = 1 << 26  # characters of a document over several lines; only a damaged file has more
# What the reference hook writes as a path for what concerns no file
PSEUDO_FILES = frozenset((".shell-history", ".sessions", ".unknown"))

_SESSION_KEYS = ("session_id", "conversation_id")  # hooks of Claude Code and of Cursor; a record has either or both
# `"schema": "agent-trace/v0.1.0"` of the flat form; keys of the other. In a string of another log they are escaped.
_SCHEMA = re.compile(rb'(?<!\\)"schema"\s{0,20}:\s{0,20}"agent-trace/')
_FILES = re.compile(rb'(?<!\\)"files"\s{0,20}:\s{0,20}\[')
_CONVERSATIONS = re.compile(rb'(?<!\\)"conversations"\s{0,20}:\s{0,20}\[')
_REVISION = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BLANK = re.compile(r"[\s,]*")


@dataclass(slots=True)
class _Tally:
    """What has been seen of one session so far."""

    tool: str | None = None
    version: str | None = None
    base: str | None = None
    flat: bool = False
    records: int = 0
    first: str | None = None
    last: str | None = None
    models: dict[str, int] = field(default_factory=dict)

    def session(self, session_id: str) -> Session:
        """The session; a record is a turn, as nothing else is told of any."""
        return Session(
            session_id=session_id, tool=self.tool or "Agent Trace", model=most_common(self.models),
            format="agent-trace-flat" if self.flat else "agent-trace", started_at=self.first, ended_at=self.last,
            title=None, turns=self.records, version=self.version, base_commit=self.base,
        )  # fmt: skip


def recognise(head: bytes) -> bool:
    """Whether the file begins with a record of either form, or with a list of them."""
    start = head.lstrip()
    if start[:1] not in (b"{", b"["):
        return False
    record = sound_json(start.partition(b"\n")[0])
    if isinstance(record, list):
        record = record[0] if record else None
    if isinstance(record, dict):
        return _is_record(record)
    if _SCHEMA.search(start):
        return True
    files = _FILES.search(start)
    return files is not None and _CONVERSATIONS.search(start, files.end()) is not None


def read(lines: Iterable[bytes], name: str) -> Iterator[Fact]:
    """The claims of every record as it is met, then the sessions. A record without a session belongs to the file's."""
    tallies: dict[str, _Tally] = {}
    broken: list[Problem] = []
    for number, value in _values(texts(lines, broken)):
        if isinstance(value, dict) and _is_record(value):
            yield from _record(value, number, name, tallies)
        elif isinstance(value, Problem):
            yield value
        else:
            yield Problem(number, "no record of Agent Trace")
        yield from broken
        broken.clear()
    yield from broken
    for session_id, tally in tallies.items():
        yield tally.session(session_id)


def _values(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """The JSON values of a file with the lines that they begin on, a list taken apart; a Problem for a broken line.

    A first line that is no value by itself, and ends as a line inside a document does, opens a document.
    """
    source = enumerate(lines, 1)
    alone = True
    for number, line in source:
        text = line.strip()
        if not text:
            continue
        value = sound_json(text)
        if value is None and alone and text[-1] in "{[,":
            yield from _document(chain([(number, line)], source))
        elif isinstance(value, list):
            yield from ((number, item) for item in value)
        else:
            yield number, Problem(number, "no JSON") if value is None else value
        alone = False


def _document(source: Iterable[tuple[int, str]]) -> Iterator[tuple[int, Any]]:
    """The values of a document over several lines, or of several; each with the line that it begins on.

    Behind the first that is broken, only what stands on a line of its own is read.
    """
    kept: list[str] = []
    first, size = 0, 0
    for number, text in source:
        first = first or number
        size += len(text) + 1
        if size > LONGEST_DOCUMENT:
            yield first, Problem(first, "a document too long to be read")
            return
        kept.append(text)
    document = "\n".join(kept)
    decoder = json.JSONDecoder()
    at = counted = 0
    line = first
    while (at := _behind_blanks(document, at)) < len(document):
        line += document.count("\n", counted, at)
        counted = at
        if document[at] in "[]":  # a list of records is taken apart, so that each has its line
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(document, at)
        except (ValueError, RecursionError):
            yield line, Problem(line, "no JSON")
            rest = (
                (number, sound_json(text)) for number, text in enumerate(kept[line - first :], line) if text[:1] == "{"
            )
            yield from ((number, value) for number, value in rest if isinstance(value, dict))
            return
        yield line, value


def _behind_blanks(document: str, at: int) -> int:
    match = _BLANK.match(document, at)
    return match.end() if match else at


def _is_record(value: dict[str, Any]) -> bool:
    """Whether this is a record: by its schema in the flat form, else by a list of files with conversations."""
    schema = value.get("schema")
    if isinstance(schema, str) and schema.startswith("agent-trace/"):
        return True
    files = value.get("files")
    if not isinstance(files, list) or "version" not in value:
        return False
    return all(isinstance(item, dict) and "path" in item for item in files) and (
        any("conversations" in item for item in files) or {"id", "timestamp"} <= value.keys()
    )


def _record(value: dict[str, Any], line: int, name: str, tallies: dict[str, _Tally]) -> Iterator[Claim]:
    """The claims of one record, which is counted for its session."""
    metadata = value["metadata"] if isinstance(value.get("metadata"), dict) else {}
    flat = "files" not in value
    told = [sound_text(keys.get(key)) for keys in (value if flat else metadata, metadata) for key in _SESSION_KEYS]
    session_id = next(filter(None, told), None) or named_session(name)
    at = moment(value.get("timestamp"))
    tally = tallies.setdefault(session_id, _Tally(flat=flat))
    _count(tally, value, at)
    tool = sound_text(value.get("tool")) or sound_text(metadata.get("tool")) or tally.tool or "Agent Trace"
    operation = "write" if kind_of(tool) in ("write", "create") else "edit"
    for path in dict.fromkeys(_paths(value, tally)):
        yield Claim(
            session_id=session_id, turn=tally.records, line=line, at=at, operation=operation, tool=tool,
            raw_path=path, succeeded=True,
        )  # fmt: skip


def _count(tally: _Tally, value: dict[str, Any], at: str | None) -> None:
    tool, vcs = value.get("tool"), value.get("vcs")
    tally.records += 1
    if isinstance(tool, dict):
        tally.tool = tally.tool or sound_text(tool.get("name"))
        tally.version = tally.version or sound_text(tool.get("version"))
    if tally.records == 1 and isinstance(vcs, dict) and vcs.get("type") == "git":
        revision = sound_text(vcs.get("revision"))
        tally.base = revision if revision and _REVISION.fullmatch(revision) else None
    if at:
        tally.first = min(tally.first or at, at)
        tally.last = max(tally.last or at, at)


def _paths(value: dict[str, Any], tally: _Tally) -> Iterator[str]:
    """The files that an agent had a hand in; what a person alone wrote is no claim. Counts the models on the way."""
    files = value.get("files")
    if not isinstance(files, list):
        path = sound_path(value.get("file_path"))
        files = [{"path": path}] if path else []
    for item in files:
        if not isinstance(item, dict):
            continue
        path = sound_path(item.get("path"))
        contributors = list(_contributors(item.get("conversations")))
        for contributor in contributors:
            count_model(tally.models, sound_text(contributor.get("model_id")))
        people = [contributor.get("type") == "human" for contributor in contributors]
        if path and path not in PSEUDO_FILES and not (people and all(people)):
            yield path


def _contributors(conversations: Any) -> Iterator[dict[str, Any]]:
    """Who contributed to a file: named with a conversation, or with a range in it that has a contributor of its own."""
    for conversation in conversations if isinstance(conversations, list) else ():
        if not isinstance(conversation, dict):
            continue
        ranges = conversation.get("ranges")
        places = [conversation, *(ranges if isinstance(ranges, list) else ())]
        for place in places:
            if isinstance(place, dict) and isinstance(place.get("contributor"), dict):
                yield place["contributor"]
