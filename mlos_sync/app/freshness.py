"""Bring records and commits up to date: what every command does first, cheaply, before it answers."""

from __future__ import annotations

from mlos_sync.app import dating, deriving, history, journaling
from mlos_sync.app.folding import refold
from mlos_sync.app.opening import Index
from mlos_sync.edge import store


def catch_up(index: Index) -> None:
    """Records, commits and the edges between them as of now. Takes the writer's lock only when something may have
    changed."""
    if journaling.is_current(index) and deriving.are_record_edges_current(index.db):
        return
    with store.writer_lock(index.workspace.common), store.transaction(index.db):
        refresh(index)
        with store.capture(index.db, on=False):
            deriving.update_record_edges(index.db)


def refresh(index: Index) -> None:
    """Records and commits, and the dates that commits give to files, inside the caller's lock and transaction."""
    db = index.db
    with store.capture(db, on=False):
        before = store.get(db, "head")
        paths = history.update(index)  # before the journal: a segment that HEAD's history holds counts
        moved = store.get(db, "head") != before
    journaling.absorb(index)
    with store.capture(db, on=False):
        if moved or store.get(db, "closings_at") != store.get(db, "revision", "0"):
            dirty = journaling.update_visibility(db, set()) | history.closings(index)
            if paths:
                dirty |= edges_to_files(db)
            refold(db, dirty)
            store.put(db, "closings_at", store.get(db, "revision", "0"))
        dating.update(db, paths)
        journaling.count_pending(db)


def edges_to_files(db: store.Connection) -> set[tuple[str, str]]:
    """Edges that name a file by its path, or a commit: a file may have been renamed, a commit may have come or gone."""
    found = db.execute(
        "SELECT DISTINCT kind, uid FROM events WHERE kind = 'relationship'"
        " AND (line LIKE '%\"artifact:%' OR line LIKE '%\"commit:%')"
    )
    return {(kind, uid) for kind, uid in found}
