"""What the index keeps of events beside their lines: plain values, which travel between processes as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from mlos_sync.core import journal

Row = tuple[str, str, str, str, int, int, str]  # id, sum, kind, uid, clock (milliseconds, counter), line
_NAMING = ("need:", "task:", "agent:", "artifact:", "commit:")


class Entries(NamedTuple):
    """Of some events: their rows, what they name as (target, kind, uid), and the greatest number claimed of each kind."""

    rows: list[Row]
    mentions: list[tuple[str, str, str]]
    numbers: dict[str, int]


def entries_of(events: Iterable[journal.Event]) -> Entries:
    """What the index keeps of the events."""
    found = Entries([], [], {})
    for event in events:
        number = event.fields.get("id")
        if type(number) is int and event.kind in ("need", "task", "agent") and 0 < number < 2**53:
            found.numbers[event.kind] = max(number, found.numbers.get(event.kind, 0))
        found.rows.append((event.id, sum_of(event.line), event.kind, event.uid, *event.clock, event.line))
        found.mentions.extend((target, event.kind, event.uid) for target in named_in(event.fields))
    return found


def entries_in(name: str, data: bytes) -> tuple[str | None, Entries]:
    """What is wrong with a segment (its first three problems in words, or None), and its good events."""
    segment = journal.read_segment(name, data)
    told = "; ".join(f"line {line}: {reason}" if line else reason for line, reason in segment.problems[:3])
    return told or None, entries_of(segment.events)


def sum_of(line: str) -> str:
    """The checksum in an event's line. Inside a text its quotes would be escaped, so the last find is the key itself."""
    at = line.rindex('"sum":"') + 7
    return line[at : at + 16]


def named_in(fields: dict[str, Any]) -> Iterator[str]:
    """What an event's fields name, as the journal writes it: `need:<uid>`, `artifact:<path>`, `commit:<sha>`."""
    for value in fields.values():
        if isinstance(value, str):
            if value.startswith(_NAMING):
                yield value
        elif isinstance(value, dict):
            added = value.get("add")
            for one in added if isinstance(added, list) else ():
                if isinstance(one, str) and one.startswith(_NAMING):
                    yield one
