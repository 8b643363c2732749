"""Open a workspace and its index: the one place where a command gets both."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from mlos_sync.edge import git, ledger, store
from mlos_sync.edge.workspace import PRE_PUSH, Workspace, find, parse_config
from mlos_sync.errors import SurroundingsError, UsageError


@dataclass(frozen=True, slots=True)
class Index:
    """A workspace and its open database."""

    workspace: Workspace
    db: store.Connection


def open_index(start: str, *, patience: float = store.PATIENCE) -> Index:
    """The workspace that holds `start`, with its index. Raises SurroundingsError with the way out. `patience` is how
    long, in seconds, another program's transaction is waited for."""
    workspace = find(start)
    try:
        return Index(workspace, store.connect(workspace.database, workspace.config.workspace, patience))
    except FileNotFoundError:
        raise SurroundingsError("there is no index yet", "run mlos-sync rebuild") from None


def workspace_of(start: str) -> Workspace:
    """The workspace that holds `start`, for what needs no index."""
    return find(start)


def said_of_pushes(config: bytes) -> tuple[bool, frozenset[str]]:
    """(whether what is pushed is verified, paths of the views) by the text of a config that may be another commit's. One
    that is not valid switches nothing off and names no view."""
    try:
        parsed = parse_config(config)
    except UsageError:
        return True, frozenset()
    return parsed.pre_push == PRE_PUSH[0], frozenset(view.path for view in parsed.views)


def try_open(workspace: Workspace) -> Index | None:
    """The index of a workspace, or None where there is none of our schema. Raises SurroundingsError where there may be
    one that cannot be opened now (locked, no rights): that is no reason to make another."""
    try:
        return Index(workspace, store.connect(workspace.database, workspace.config.workspace))
    except (FileNotFoundError, store.UnusableIndexError):
        return None


def why_unusable(workspace: Workspace) -> str | None:
    """Why there is no index of ours to open; None where there is one. Raises SurroundingsError as `try_open` does."""
    try:
        store.connect(workspace.database, workspace.config.workspace).close()
    except FileNotFoundError:
        return "there was no index"
    except store.UnusableIndexError as error:
        return error.message
    return None


def has_database(workspace: Workspace) -> bool:
    """Whether this worktree has an index of our schema."""
    index = try_open(workspace)
    if index is not None:
        index.db.close()
    return index is not None


@contextlib.contextmanager
def writing(index: Index, patience: float = store.PATIENCE) -> Iterator[None]:
    """The writers' lock and one transaction, as `alone`."""
    with alone(index, patience), store.transaction(index.db):
        yield


@contextlib.contextmanager
def alone(index: Index, patience: float = store.PATIENCE) -> Iterator[None]:
    """The writers' lock, for transactions of ours; other programs may write between them. Raises SurroundingsError when the
    lock is not free within `patience` seconds.

    What was appended to the pending log is made durable when others may go on already: only when this has returned may
    anybody be told that something is done. (A later writer's fsync is of the same file, so nothing that was told can
    rest on what was not durable.)
    """
    workspace = index.workspace
    with store.writer_lock(workspace.common, patience):
        yield
        store.checkpoint(index.db, workspace.database)
    ledger.settle(workspace.common)


def actor(workspace: Workspace) -> str:
    """Who is at work: MLOS_SYNC_ACTOR, else the identity that git would sign a commit with."""
    return os.environ.get("MLOS_SYNC_ACTOR") or git.identity(workspace.root)
