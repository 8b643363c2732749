"""Segments decoded and records folded, where there are many in two processes: Python uses one core, a rebuild has work
for two. Few are done here: a process takes 60 ms to start."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from mlos_sync.core.entries import Entries, entries_in
from mlos_sync.core.fold import State, from_plain, plain
from mlos_sync.core.journal import BadLineError
from mlos_sync.edge.child import Child

SEGMENTS = 500  # from so many segments on another process decodes
RECORDS = 5000  # from so many records on another process folds half of them
AT_ONCE = 2000  # records of one question

Key = tuple[str, str]  # of a record: kind, uid
Found = tuple[str, str, bytes]  # segment name, workspace path, bytes
Decoded = tuple[str, str, str | None, Entries]  # segment name, workspace path, what is wrong with it, its events


def decoded(batches: Iterable[list[Found]], count: int) -> Iterator[list[Decoded]]:
    """Each batch of segments, decoded; `count` is how many segments there are in all. While one batch is used here, the
    next is decoded there."""
    if count < SEGMENTS:
        for batch in batches:
            yield [(name, path, *entries_in(name, data)) for name, path, data in batch]
        return
    child = Child("decode_worker.py")
    try:
        asked: list[Found] = []
        for batch in itertools.chain(batches, [[]]):
            answer = child.answer() if asked else []
            if batch:
                child.ask(("read", [(name, data) for name, _, data in batch]))
            yield [
                (name, path, problem, Entries(*entries))
                for (name, path, _), (problem, entries) in zip(asked, answer, strict=True)
            ]
            asked = batch
    finally:
        child.stop()


def folded(records: Iterator[tuple[Key, list[str]]], count: int) -> Iterator[tuple[Key, State]]:
    """The state of each record, given by the lines of its events; `count` is how many records there are. Raises
    BadLineError."""
    if count < RECORDS:
        yield from ((key, from_plain(plain(lines))) for key, lines in records)
        return
    child = Child("decode_worker.py")
    try:
        while theirs := list(itertools.islice(records, AT_ONCE)):
            child.ask(("fold", [lines for _, lines in theirs]))
            yield from ((key, from_plain(plain(lines))) for key, lines in itertools.islice(records, AT_ONCE))
            answer = child.answer()
            if isinstance(answer, str):
                raise BadLineError(answer)
            yield from ((key, from_plain(values)) for (key, _), values in zip(theirs, answer, strict=True))
    finally:
        child.stop()
