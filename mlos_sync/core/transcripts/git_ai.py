"""git-ai authorship notes (`refs/notes/ai`, schema `authorship/3.0.0`, git-ai 1.0 to 1.6): who wrote which lines.

A note is a list of files, each with lines of `<key> <ranges>`, then a line `---`, then JSON with what the keys stand for.
A key is `s_<14 hex>::t_<14 hex>` for a session and a trace of it, `h_<14 hex>` for a person, or 7 to 64 hex digits for
a prompt of older versions. The `agent_id.id` behind a key is the session id of the agent's own log, which joins a commit
to a transcript. A key may have no record, as after a cherry-pick. Lines are those of the note's commit alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlos_sync.core.transcripts.model import Claim, Fact, Problem, Session
from mlos_sync.core.transcripts.sessions import NO_MODELS
from mlos_sync.core.transcripts.sound import sound_json, sound_path, sound_text
from mlos_sync.core.transcripts.stamps import moment

DIVIDER = "---"
LARGEST_LINE = 1 << 31

# `  s_c9883b05a2487d::t_9f8e7d6c5b4a32 1-10,15`, `  h_31dce776f88375 35-40`, `  d9978a8723e02b52 1-4,9`
_ENTRY = re.compile(r"[ \t]+(?P<key>[A-Za-z0-9_:.-]{1,200}) +(?P<ranges>[0-9][0-9, -]*)")
_RANGE = re.compile(r"(?P<first>\d{1,10})(?:-(?P<last>\d{1,10}))?")
_PERSON = "h_"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of the attestation: `key` says who wrote the `ranges` of `path`."""

    line: int
    path: str
    key: str
    ranges: str


@dataclass(frozen=True, slots=True)
class _Note:
    """A note taken apart. `agents` has the session of each key; a key of a person or without a record is not in it."""

    entries: tuple[_Entry, ...]
    agents: dict[str, Session]
    problems: tuple[Problem, ...]


def parse(note: bytes, commit: str) -> Iterator[Fact]:
    """The sessions that a note names, and an `edit` of each file by each of them.

    A session has `commit` as its part: the notes of several commits tell of one session, and add to each other.
    """
    found = _taken_apart(note, commit)
    yield from found.problems
    once = set()
    for entry in found.entries:
        session = found.agents.get(_record_key(entry.key))
        if session is None or (session.session_id, entry.path) in once:
            continue
        once.add((session.session_id, entry.path))
        yield Claim(
            session_id=session.session_id, turn=0, line=entry.line, at=None, operation="edit", tool=session.tool,
            raw_path=entry.path, succeeded=True, part=commit,
        )  # fmt: skip
    yield from {session.session_id: session for session in reversed(found.agents.values())}.values()


def ranges(note: bytes) -> dict[str, list[tuple[str | None, int, int]]]:
    """The lines of each file with the session that wrote them, first and last line included, in the order of the note.

    The session is None for a person, and for a key without a record. Lines that no range covers are unknown. Ranges may
    overlap, as they do in the notes; a range that can be none is left out.
    """
    found = _taken_apart(note, "")
    lines: dict[str, list[tuple[str | None, int, int]]] = {}
    for entry in found.entries:
        session = found.agents.get(_record_key(entry.key))
        told = [(session.session_id if session else None, first, last) for first, last in _ranges(entry.ranges)]
        lines.setdefault(entry.path, []).extend(told)
    return lines


def _taken_apart(note: bytes, commit: str) -> _Note:
    lines = note.decode("utf-8", "replace").removeprefix("\ufeff").split("\n")
    divider = next((index for index, line in enumerate(lines) if line.rstrip() == DIVIDER), None)
    if divider is None:
        return _Note((), {}, (Problem(1, "no line `---` between the files and the records of a note"),))
    entries, problems = _entries(lines[:divider])
    value = sound_json("\n".join(lines[divider + 1 :]))
    if not isinstance(value, dict):
        return _Note(entries, {}, (*problems, Problem(divider + 2, "the records of a note are no JSON object")))
    return _Note(entries, _agents(value, commit), problems)


def _entries(lines: list[str]) -> tuple[tuple[_Entry, ...], tuple[Problem, ...]]:
    """The attestation: a line that is not indented names a file, in quotes when it holds blanks."""
    entries: list[_Entry] = []
    problems: list[Problem] = []
    path: str | None = None
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if not line.strip():
            continue
        if line[:1] not in " \t":
            quoted = len(line) > 2 and line[0] == line[-1] == '"'
            path = sound_path(line[1:-1] if quoted else line)
            if path is None:
                problems.append(Problem(number, "a file name that can be none"))
            continue
        match = _ENTRY.fullmatch(line.rstrip())
        if match is None:
            problems.append(Problem(number, "a line of a note that says neither file nor lines"))
        elif path is not None:
            entries.append(_Entry(number, path, match["key"], match["ranges"]))
    return tuple(entries), tuple(problems)


def _record_key(key: str) -> str:
    """The key of the record: that of the session, without the trace behind it."""
    return key.partition("::")[0]


def _agents(value: dict[str, Any], commit: str) -> dict[str, Session]:
    """The sessions by key, from `sessions` and `prompts`; a record without an agent's session id is left out."""
    schema = sound_text(value.get("schema_version")) or "authorship"
    found: dict[str, Session] = {}
    for name in ("sessions", "prompts"):
        records = value.get(name)
        for key, record in records.items() if isinstance(records, dict) else ():
            agent = record.get("agent_id") if isinstance(record, dict) else None
            if not isinstance(agent, dict) or key.startswith(_PERSON):
                continue
            identity = sound_text(agent.get("id"))
            if identity is None:
                continue
            model = sound_text(agent.get("model"))
            turns, started, ended = _said(record.get("messages"))
            found[key] = Session(
                session_id=identity, tool=sound_text(agent.get("tool")) or "git-ai", format=schema, title=None,
                model=None if model in NO_MODELS else model,
                started_at=started, ended_at=ended, turns=turns, part=commit,
            )  # fmt: skip
    return found


def _said(messages: Any) -> tuple[int, str | None, str | None]:
    """How many messages a prompt of older versions holds, and the first and last of their times."""
    listed = [item for item in messages if isinstance(item, dict)] if isinstance(messages, list) else []
    times = [time for item in listed if (time := moment(item.get("timestamp")))]
    return len(listed), min(times, default=None), max(times, default=None)


def _ranges(text: str) -> Iterator[tuple[int, int]]:
    """`1-4,9` -> (1, 4), (9, 9); lines count from 1."""
    for item in text.split(","):
        match = _RANGE.fullmatch(item.strip())
        if match is not None:
            first = int(match["first"])
            last = int(match["last"] or first)
            if 1 <= first <= last <= LARGEST_LINE:
                yield first, last
