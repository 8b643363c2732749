"""The one watcher of a worktree: a lock that dies with its process, and in the locked file what it says of itself.

`watch.lock` holds one JSON object in its first block, written in one call: `status` reads it without asking the watcher.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mlos_sync.core.times import iso
from mlos_sync.edge.files import process_state
from mlos_sync.edge.workspace import Workspace
from mlos_sync.errors import SurroundingsError

LOCK = "watch.lock"
LISTENING = "listening"  # our post-index-change hook, where it is installed, leaves notes only while this file is there
COOKIES = "watch"  # our folder for questions and probes
BLOCK = 4096
SIGN = 30.0  # seconds between two signs of life where nothing else is to be told: each is a write to the disk
SILENT = 3 * SIGN  # seconds without one after which it no longer counts as live
_ERRORS = 5
_TRIES = 6
# How much is kept of what explains, where all does not fit: (folders not covered, errors, characters of each error).
_CUTS = ((20, _ERRORS, BLOCK), (5, _ERRORS, 200), (2, 2, 200), (0, 1, 200), (0, 0, 0))


@dataclass(slots=True)
class Standing:
    """What a watcher says of itself. Times are `2026-11-28T10:00:00Z`; `behind` is since when changes wait, `waits_for` why."""

    root: str
    pid: int = field(default_factory=os.getpid)
    since: str = field(default_factory=lambda: iso(int(time.time() * 1000)))
    state: str = "starting"  # then live, polling (nothing can be watched), waiting (for git), failing, away (the root)
    behind: str | None = None
    waits_for: str | None = None
    synced: str | None = None
    batches: int = 0
    rescans: dict[str, int] = field(default_factory=dict)  # why all was looked at -> how often
    coverage: dict[str, object] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)  # the last few, newest first, each with its time

    def failed(self, words: str) -> None:
        """Note an error."""
        self.errors = [f"{iso(int(time.time() * 1000))} {words}", *self.errors][:_ERRORS]


class Lock:
    """The held lock; `tell` replaces what stands in it."""

    def __init__(self, workspace: Workspace, descriptor: int) -> None:
        self.name = os.path.join(workspace.state, LOCK)
        self._descriptor = descriptor
        self._told = b""
        self._next_sign = 0.0

    def tell(self, standing: Standing) -> None:
        """Say how the watcher stands, where that changed, and from time to time that it is still there."""
        told = {name: getattr(standing, name) for name in Standing.__slots__}
        data, now = json.dumps(told, ensure_ascii=True).encode(), time.monotonic()
        if data != self._told or now >= self._next_sign:
            self._told, self._next_sign = data, now + SIGN
            with contextlib.suppress(OSError):  # a full disk is no reason to stop watching
                os.pwrite(self._descriptor, _fitting(told | {"beat": round(now, 1)}).ljust(BLOCK), 0)

    def is_ours(self) -> bool:
        """Whether the file that we have locked is the one that the next watcher would lock."""
        try:
            there = os.stat(self.name, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))


def _fitting(told: dict[str, Any]) -> bytes:
    """It in JSON, in one block: of what explains the last is cut first, the numbers stay."""
    data = b""
    for parts, errors, length in _CUTS:
        coverage = told["coverage"] and {**told["coverage"], "parts": told["coverage"]["parts"][:parts]}
        short = told | {"coverage": coverage, "errors": [one[:length] for one in told["errors"][:errors]]}
        data = json.dumps(short, ensure_ascii=True).encode()
        if len(data) <= BLOCK:
            return data
    return json.dumps(json.loads(data) | {"root": ""}).encode()


@contextlib.contextmanager
def only_one(workspace: Workspace) -> Iterator[Lock]:
    """Hold this worktree's watcher lock; it dies with the process, so nothing stale can block. Raises SurroundingsError
    where another one holds it."""
    os.makedirs(os.path.join(workspace.state, COOKIES), mode=0o700, exist_ok=True)
    name = os.path.join(workspace.state, LOCK)
    descriptor = os.open(name, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    listening = os.path.join(workspace.state, LISTENING)
    try:
        _lock(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    try:
        _forget_questions(workspace)
        with contextlib.suppress(OSError), open(listening, "wb"):
            pass
        yield Lock(workspace, descriptor)
    finally:
        with contextlib.suppress(OSError):  # `uninstall` may have taken the folder
            os.unlink(listening)
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    for _ in range(_TRIES):  # whoever asks for the watcher's state holds it for an instant, too
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.05)
    other = _parsed(descriptor)
    who = f"process {other.get('pid', '?')} since {other.get('since', '?')}, of {other.get('root', '?')}"
    raise SurroundingsError(
        f"this worktree is watched already ({who})", f"stop that watcher first: kill {other.get('pid', 'PID')}"
    )


def _forget_questions(workspace: Workspace) -> None:
    """Whoever asked a watcher that has gone has looked for himself by now."""
    folder = os.path.join(workspace.state, COOKIES)
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, name))


def of(workspace: Workspace) -> dict[str, Any] | None:
    """What the running watcher of a worktree says of itself (see `Standing`); None when none runs. Reads only.

    Two things it cannot say: `state` is "stopped" where the system holds its process (SIGSTOP, Ctrl-Z; only Linux tells), and
    `silent` is for how many seconds no sign of life came, None where one came in time.
    """
    try:
        descriptor = os.open(os.path.join(workspace.state, LOCK), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _judged(_parsed(descriptor))
    finally:
        os.close(descriptor)
    return None


def _judged(told: dict[str, Any]) -> dict[str, Any]:
    beat, process = told.get("beat"), told.get("pid")
    silent = time.monotonic() - beat if isinstance(beat, int | float) else 0
    told["silent"] = int(silent) if silent > SILENT else None
    if isinstance(process, int) and process_state(process) in ("T", "t"):
        told["state"] = "stopped"
    return told


def _parsed(descriptor: int) -> dict[str, Any]:
    """What stands in the locked file; empty where it is just being written, or another version wrote it."""
    for _ in range(3):
        with contextlib.suppress(ValueError, OSError):
            found = json.loads(os.pread(descriptor, BLOCK, 0))
            if isinstance(found, dict):
                return found
        time.sleep(0.01)
    return {}
