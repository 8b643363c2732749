"""The pending log: every event made in this clone, one line each, on disk before anybody is told "done".

`<common git dir>/mlos/ledger.jsonl` is shared by all worktrees and never rewritten, so an event survives `git clean`,
reset, stash, a removed worktree and a deleted database. Which of its events are still pending is a question to git
(does a branch, tag or remote ref hold them?), asked in `app/journaling`. Callers hold the writer's lock.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from mlos_sync.core.journal import BadLineError, Event, decode
from mlos_sync.errors import SurroundingsError

NAME = "ledger.jsonl"
_MARK = 64  # bytes: the end of a line, in which its checksum and its random id stand


def size(folder: str) -> int:
    """Bytes in the ledger; 0 when there is none."""
    try:
        return os.lstat(os.path.join(folder, NAME)).st_size
    except FileNotFoundError:
        return 0


def mark(folder: str, at: int) -> str:
    """What stands in the ledger before byte `at`, as a short text: tells whether it is the one that was read so far."""
    try:
        descriptor = _open(os.path.join(folder, NAME), os.O_RDONLY)
    except FileNotFoundError:
        return ""
    try:
        return os.pread(descriptor, min(at, _MARK), max(0, at - _MARK)).hex()
    finally:
        os.close(descriptor)


def owe(folder: str) -> None:
    """Let the next `settle` make the ledger durable, also where only another process appended to it, and was killed."""
    if folder not in _unsettled:
        _unsettled[folder] = (_open(os.path.join(folder, NAME), os.O_RDONLY), True)


# Folder -> descriptor of a log that this process appended to and did not make durable yet, and whether it is new.
_unsettled: dict[str, tuple[int, bool]] = {}


def append(folder: str, events: Iterable[Event], *, durable: bool = True) -> None:
    """Add events and make them durable, or, where the caller does not want others to wait for the disk, leave that to
    `settle`. A tail that a crash cut is closed with a line end, never removed."""
    data = "".join(event.line + "\n" for event in events).encode("utf-8")
    path = os.path.join(folder, NAME)
    new = not os.path.lexists(path)
    descriptor = _open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND)
    try:
        end = os.fstat(descriptor).st_size
        if end and os.pread(descriptor, 1, end - 1) != b"\n":
            data = b"\n" + data
        _write(descriptor, data)
    except OSError as error:
        os.close(descriptor)
        raise SurroundingsError(
            f"the pending log could not be written: {error.strerror} ({path})", "free space, then run it again"
        ) from None
    before, was_new = _unsettled.pop(folder, (-1, False))
    if before >= 0:
        os.close(before)
    _unsettled[folder] = (descriptor, new or was_new)
    if durable:
        settle(folder)


def settle(folder: str) -> None:
    """Make what this process appended durable; nothing to do where it appended nothing. Raises SurroundingsError: after a
    failed fsync nothing is known about the page cache, so nobody may be told that it is done."""
    descriptor, new = _unsettled.pop(folder, (-1, False))
    if descriptor < 0:
        return
    try:
        os.fsync(descriptor)
        if new:
            sync_folder(folder)
    except OSError as error:
        path = os.path.join(folder, NAME)
        raise SurroundingsError(
            f"the pending log could not be made durable: {error.strerror} ({path})",
            "what was to be recorded is in the index and may be lost with it: mend the disk, then run mlos-sync rebuild",
        ) from None
    finally:
        os.close(descriptor)


def _open(path: str, flags: int) -> int:
    """A descriptor of the log, which must be a file: a link may lead anywhere, and a pipe would wait for ever. Raises
    FileNotFoundError, and SurroundingsError with what stands there."""
    hint = "nothing was changed; put the file back, or move what stands there away, and run mlos-sync rebuild"
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:
        what = "it is a link" if os.path.islink(path) else error.strerror
        raise SurroundingsError(f"the pending log {path} cannot be opened: {what}", hint) from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise SurroundingsError(f"the pending log {path} is no file", hint)


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
    """(events, damaged places, new offset) of what was appended since byte `start`. A last line without its end, which a
    crash cut, is a damaged place and stays before the offset."""
    try:
        descriptor = _open(os.path.join(folder, NAME), os.O_RDONLY)
    except FileNotFoundError:
        return [], [], 0
    with open(descriptor, "rb") as file:
        file.seek(start)
        data = file.read()
        events, problems, end = _events(data, start)
        if problems:
            file.seek(0)
            before = file.read(start).count(b"\n")
    return events, [f"line {before + line}: {reason}" for line, reason in problems] if problems else [], end


def _events(data: bytes, start: int) -> tuple[list[Event], list[tuple[int, str]], int]:
    whole = data.rfind(b"\n") + 1
    events, problems = [], []
    lines = data[:whole].split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        if line:
            try:
                events.append(decode(line))
            except BadLineError as error:
                problems.append((number, str(error)))
    if whole < len(data):
        problems.append((len(lines) + 1, "the line has no end: it was cut"))
    return events, problems, start + whole
