"""Whether a workspace is still there, and still the one whose lock a watcher holds: it may be moved, unmounted, replaced, or
lie behind a checkout of a commit that is no workspace."""

from __future__ import annotations

import os

from mlos_sync.app.standing import Lock
from mlos_sync.edge.workspace import MARKER, Workspace
from mlos_sync.errors import SurroundingsError

HERE, ELSEWHERE, AWAY = "here", "elsewhere", "away"


class Presence:
    """What stood at the root's name when this was asked last."""

    def __init__(self, workspace: Workspace, lock: Lock) -> None:
        self._lock = lock
        self._root = identity(workspace.root)

    def check(self, workspace: Workspace) -> str:
        """HERE; ELSEWHERE where another folder has the root's name since the last call; AWAY while it is not there. Raises
        SurroundingsError where it was replaced by another, for which this watcher holds no lock."""
        there = os.path.lexists(os.path.join(workspace.root, MARKER))
        if there and self._lock.is_ours():
            before, self._root = self._root, identity(workspace.root)
            return HERE if before == self._root else ELSEWHERE
        if os.path.isdir(workspace.git_dir) and not os.path.lexists(self._lock.name):
            raise SurroundingsError(
                "the git directory is another one now, or mlos-sync was taken out of it",
                "if it shall be a workspace: mlos-sync init, then start the watcher again",
            )
        if there and os.path.lexists(self._lock.name):
            raise SurroundingsError(
                "the workspace was replaced by another copy of itself", "start the watcher again: mlos-sync watch"
            )
        return AWAY


def told(workspace: Workspace) -> str:
    """That it is away, for people."""
    is_there = os.path.isdir(workspace.root) and os.path.isdir(workspace.git_dir)
    words = f"this commit has no {MARKER}" if is_there else "the workspace went away"
    return f"{words}: nothing is recorded until it is back"


def identity(name: str) -> tuple[int, int] | None:
    """What tells a file from another one that has its name; None where there is none."""
    try:
        found = os.stat(name, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino
