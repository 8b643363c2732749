"""`watch`: the same plan and apply as `sync`, whenever something may have changed and once a minute anyway."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from mlos_sync.app.opening import open_index
from mlos_sync.app.status import WATCH_LOCK
from mlos_sync.app.sync import Report, sync
from mlos_sync.core.times import iso
from mlos_sync.edge import watch
from mlos_sync.edge.workspace import Workspace
from mlos_sync.errors import MlosError, SurroundingsError

LISTENING = "listening"  # our post-index-change hook, where it is installed, leaves notes only while this file is there
QUIET, MOST, LONGEST = 0.3, 2.0, 60.0  # seconds: quiet that ends a batch, the most it may wait, a look anyway


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the workspace: the sync's report, or why there is none this time."""

    report: Report | None
    problem: MlosError | None = None


def looks(start: str) -> Iterator[Look]:
    """Sync now, then after every batch of events, for ever. Raises SurroundingsError when another watcher runs here.

    A sync that fails (a lock held too long, a mass disappearance) is told and tried again at the next batch.
    """
    workspace = open_index(start).workspace
    with _only_one(workspace):
        for _ in watch.batches(workspace.root, workspace.git_dir, quiet=QUIET, most=MOST, longest=LONGEST):
            # A fresh connection for each look: a database that was rebuilt meanwhile is another file.
            try:
                index = open_index(start)
                with contextlib.closing(index.db):
                    look = Look(sync(index, in_background=True))
            except MlosError as error:
                look = Look(None, error)
            except OSError as error:  # a file that went while it was looked at is no reason to stop watching
                words = f"{error.filename or 'the system'}: {error.strerror or error}"
                look = Look(None, SurroundingsError(words, "it is tried again at the next change"))
            yield look


@contextlib.contextmanager
def _only_one(workspace: Workspace) -> Iterator[None]:
    """Hold this worktree's watcher lock; it dies with the process, so nothing stale can block."""
    descriptor = os.open(
        os.path.join(workspace.state, WATCH_LOCK), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = os.pread(descriptor, 200, 0).decode("utf-8", "replace")
        os.close(descriptor)
        raise SurroundingsError(f"this worktree is watched already ({who})", "stop that watcher first") from None
    listening = os.path.join(workspace.state, LISTENING)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} since {iso(int(time.time() * 1000))}".encode(), 0)
        with contextlib.suppress(OSError), open(listening, "wb"):
            pass
        yield
    finally:
        with contextlib.suppress(OSError):  # `uninstall` may have taken the folder
            os.unlink(listening)
        os.close(descriptor)
