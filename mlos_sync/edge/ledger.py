"""The pending log: every event made in this clone, one line each, appended with fsync before anybody is told "done".

`<common git dir>/mlos/ledger.jsonl` is shared by all worktrees and never rewritten, so an event survives `git clean`,
reset, stash, a removed worktree and a deleted database. Which of its events are still pending is a question to git
(does a branch, tag or remote ref hold them?), asked in `app/journaling`. Callers hold the writer's lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from mlos_sync.core.journal import BadLineError, Event, decode
from mlos_sync.errors import SurroundingsError

NAME = "ledger.jsonl"


def size(folder: str) -> int:
    """Bytes in the ledger; 0 when there is none."""
    try:
        return os.stat(os.path.join(folder, NAME)).st_size
    except FileNotFoundError:
        return 0


def append(folder: str, events: Iterable[Event]) -> None:
    """Add events and make them durable. A tail that a crash cut is closed with a line end, never removed."""
    data = "".join(event.line + "\n" for event in events).encode("utf-8")
    path = os.path.join(folder, NAME)
    new = not os.path.exists(path)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            end = os.fstat(descriptor).st_size
            if end and os.pread(descriptor, 1, end - 1) != b"\n":
                data = b"\n" + data
            _write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        # After a failed fsync nothing is known about the page cache: stop, and do not call it durable.
        raise SurroundingsError(
            f"the pending log could not be written: {error.strerror}", "free space, then run it again"
        ) from None
    if new:
        sync_folder(folder)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: str) -> None:
    """Make a new name in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(folder: str, start: int) -> tuple[list[Event], list[str], int]:
    """(events, damaged places, new offset) of what was appended since byte `start`."""
    try:
        with open(os.path.join(folder, NAME), "rb") as file:
            file.seek(start)
            data = file.read()
    except FileNotFoundError:
        return [], [], 0
    whole = data.rfind(b"\n") + 1
    events, problems = [], []
    offset = start
    for line in data[:whole].split(b"\n")[:-1]:
        if line:
            try:
                events.append(decode(line))
            except BadLineError as error:
                problems.append(f"byte {offset}: {error}")
        offset += len(line) + 1
    return events, problems, start + whole
