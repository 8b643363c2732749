"""Open a workspace and its index: the one place where a command gets both."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mlos_sync.edge import git, store
from mlos_sync.edge.workspace import Workspace, find


@dataclass(frozen=True, slots=True)
class Index:
    """A workspace and its open database."""

    workspace: Workspace
    db: store.Connection


def open_index(start: str) -> Index:
    """The workspace that holds `start`, with its index. Raises SurroundingsError with the way out."""
    workspace = find(start)
    return Index(workspace, store.connect(workspace.database))


def has_database(workspace: Workspace) -> bool:
    """Whether this worktree has an index of our schema."""
    if not os.path.isfile(workspace.database):
        return False
    try:
        store.connect(workspace.database).close()
    except Exception:
        return False
    return True


def actor(workspace: Workspace) -> str:
    """Who is at work: MLOS_SYNC_ACTOR, else the identity that git would sign a commit with."""
    return os.environ.get("MLOS_SYNC_ACTOR") or git.identity(workspace.root)
