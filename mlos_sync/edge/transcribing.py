"""Transcripts read into rows by worker processes (see `transcript_worker`), as they come; of blobs, in this process."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mlos_sync.core import transcripts
from mlos_sync.core.paths import to_bytes
from mlos_sync.edge import objects
from mlos_sync.edge.child import Child, ending

BATCH = 8
ALONE = 4  # up to so many files one worker is enough; a second costs more than it saves

Row = tuple[Any, ...]


# The workspace path of a transcript; its name on disk, the same or an absolute one; its SHA-256 as it was, or ""
Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Read:
    """The rows of one transcript, in the order of `transcript_worker.FIELDS`; `format` is its reader, "" for none."""

    format: str
    sha256: str
    sessions: Sequence[Row]
    claims: Sequence[Row]
    commits: Sequence[Row]
    problems: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Kept:
    """A transcript to take in: where it is kept (see `bookkeeping.TranscriptFile`) and what was read."""

    path: str
    kept: str
    read: Read
    stat: str | None = None


def read_files(root: str, places: Sequence[Place], algorithm: str) -> Iterator[tuple[str, Read | str]]:
    """(workspace path, what is in the file, or why it could not be read) of each. `algorithm` is git's object format."""
    if not places:
        return
    from concurrent.futures import ThreadPoolExecutor

    count = 1 if len(places) <= ALONE else min(4, os.cpu_count() or 1)
    batches = [places[n : n + BATCH] for n in range(0, len(places), BATCH)]
    workers = [Child("transcript_worker.py", root, algorithm) for _ in range(count)]
    free = list(workers)

    def ask(batch: Sequence[Place]) -> list[Any]:
        worker = free.pop()  # there are as many threads as workers
        worker.ask([(to_bytes(name), path, before) for path, name, before in batch])
        answer: list[Any] = worker.answer()
        free.append(worker)
        return answer

    with ThreadPoolExecutor(count) as threads, ending(workers):
        for batch, answers in zip(batches, threads.map(ask, batches), strict=True):
            for (path, *_), answer in zip(batch, answers, strict=True):
                yield path, answer if isinstance(answer, str) else Read(*answer)


def read_blob(root: str, blob: str, path: str, algorithm: str) -> Read:
    """What is in a transcript that git holds as a blob; its hash is git's. Raises SurroundingsError when it is not here."""
    from mlos_sync.edge.transcript_worker import rows_of

    with contextlib.closing(objects.pieces(root, blob)) as pieces:
        first = next(pieces, b"")
        reader = transcripts.recognise(first)
        if reader is None:
            return Read("", blob, (), (), (), ())
        return Read(reader, blob, *rows_of(_lines(itertools.chain([first], pieces)), path, reader, algorithm))


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with their ends, from pieces of any size."""
    rest: list[bytes] = []
    for piece in pieces:
        first, *others = piece.split(b"\n")
        rest.append(first)
        if not others:
            continue
        yield b"".join(rest) + b"\n"
        yield from (line + b"\n" for line in others[:-1])
        rest = [others[-1]]
    if last := b"".join(rest):
        yield last
