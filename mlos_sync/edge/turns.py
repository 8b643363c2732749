"""One lock for all writers of a repository, handed on in the order in which they came.

`flock` alone lets whoever happens to run first take it: of 16 processes that write in a loop some waited 10 s. So each
draws a ticket and holds the byte of that number in the file `turns` (a lock of the open file description, which dies
with its process); it waits for the byte before its own, which its predecessor holds until it is done. Exclusion rests
on the `flock` alone: where a predecessor gives up, or where the system has no such locks (macOS), the order is lost and
nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator

from mlos_sync.errors import SurroundingsError

PATIENCE = 10.0  # seconds to wait for other writers
_FLAGS = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_SET, _WAIT = getattr(fcntl, "F_OFD_SETLK", None), getattr(fcntl, "F_OFD_SETLKW", None)
_TICKET = struct.Struct("<Q")


@contextlib.contextmanager
def writer_lock(folder: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock of all writers of a repository. Raises SurroundingsError when it does not come free in time."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    deadline = time.monotonic() + patience
    with contextlib.ExitStack() as stack:
        turns = os.open(os.path.join(folder, "turns"), _FLAGS, 0o600)
        stack.callback(os.close, turns)
        lock = os.open(os.path.join(folder, "lock"), _FLAGS, 0o600)
        stack.callback(os.close, lock)
        _wait_for_turn(turns, deadline)
        _acquire(lock, deadline)
        yield


def _wait_for_turn(turns: int, deadline: float) -> None:
    if _SET is None:
        return
    _acquire(turns, deadline)  # held for some microseconds
    drawn = os.pread(turns, _TICKET.size, 0)
    ticket = _TICKET.unpack(drawn)[0] + 1 if len(drawn) == _TICKET.size else 1
    # A file that somebody filled with rubbish must not lead beyond what an offset can be.
    ticket = ticket if ticket < 1 << 60 else 1
    os.pwrite(turns, _TICKET.pack(ticket), 0)
    # Byte 0 is nobody's. A number is drawn once, so its byte is free.
    _lock_byte(turns, _SET, ticket)
    fcntl.flock(turns, fcntl.LOCK_UN)
    if not _lock_byte(turns, _SET, ticket - 1):
        _wait_in_thread(turns, ticket - 1, deadline)


def _lock_byte(descriptor: int, command: int, place: int) -> bool:
    """Lock one byte for this open file description: struct flock of fcntl(2), with l_pid 0 as the command wants it."""
    try:
        fcntl.fcntl(descriptor, command, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0))
        return True
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        if error.errno in (errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP):
            return True  # a filesystem without such locks: no order, the flock still excludes
        raise


def _wait_in_thread(turns: int, place: int, deadline: float) -> None:
    """Wait for a byte no longer than until `deadline`. The wait has no time limit of its own, so it stands in a thread, with
    a descriptor of its own: the number of ours may be another file's by the time that it wakes."""
    import threading

    own = os.dup(turns)

    def wait() -> None:
        try:
            _lock_byte(own, _WAIT or 0, place)
        finally:
            os.close(own)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    waiting.join(max(0.0, deadline - time.monotonic()))
    if waiting.is_alive():
        raise _busy()


def _acquire(descriptor: int, deadline: float) -> None:
    pause = 0.0005
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                raise
        if time.monotonic() >= deadline:
            raise _busy()
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)


class BusyError(SurroundingsError):
    """Others hold the lock."""


def _busy() -> BusyError:
    return BusyError("another mlos-sync is writing", "wait for it to end, then run the command again")
