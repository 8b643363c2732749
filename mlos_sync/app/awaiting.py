"""Answers that include everything written before the question.

Where a watcher runs, a file that is put into its folder of cookies (as watchman's are) comes to it behind the events of all
that was written before; it takes the file away when that is in the index. Where none runs, or it cannot answer now, we sync.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time

from mlos_sync.app import standing
from mlos_sync.app.opening import Index
from mlos_sync.app.sync import sync
from mlos_sync.edge import operations
from mlos_sync.edge.hints import COOKIE
from mlos_sync.errors import SurroundingsError

PATIENCE = 30.0  # seconds; a watcher that looks at everything may take that long
STEP = 0.005
PAUSE = 0.1  # seconds until it is asked again whether git is done: that looks at all processes


def settle(index: Index, patience: float = PATIENCE) -> str:
    """Return when everything written before the call is in the index: "watcher" or "sync", who saw to it. Raises what
    `sync` raises, and SurroundingsError while git is in the middle of something."""
    if _is_answered(index, patience):
        return "watcher"
    workspace, end = index.workspace, time.monotonic() + patience
    in_hook = "GIT_INDEX_FILE" in os.environ  # git waits for us: to wait for git would be for ever
    while not in_hook and (going_on := operations.going_on(workspace.root, workspace.git_dir)):
        if going_on in operations.LASTING or time.monotonic() > end:
            raise SurroundingsError(
                f"{going_on} is going on: nothing is recorded until it is done",
                "finish it; or take the files as they are now: mlos-sync sync",
            )
        time.sleep(PAUSE)
    while sync(index).unsure and not in_hook and time.monotonic() < end:
        if operations.has_left_lock(workspace.root, workspace.git_dir):
            break
        time.sleep(PAUSE)
    return "sync"


def _can_answer(index: Index) -> bool:
    told = standing.of(index.workspace) or {}
    return told.get("state") == "live" and not told["silent"]


def _is_answered(index: Index, patience: float) -> bool:
    """Whether a watcher runs, is not waiting for git, and answered in time."""
    name = os.path.join(index.workspace.state, standing.COOKIES, f"{COOKIE}{os.getpid()}-{secrets.token_hex(6)}")
    if not _can_answer(index):
        return False
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError:
        return False
    end = time.monotonic() + patience
    try:
        while os.path.lexists(name):
            if time.monotonic() > end or not _can_answer(index):
                return False
            time.sleep(STEP)
        return True
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)
