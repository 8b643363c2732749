"""Bring records and commits up to date: what every command does first, cheaply, before it answers."""

from __future__ import annotations

from mlos_sync.app import history, journaling
from mlos_sync.app.folding import refold
from mlos_sync.app.opening import Index
from mlos_sync.edge import store


def catch_up(index: Index) -> None:
    """Records and commits as of now. Takes the writer's lock only when something may have changed."""
    if journaling.is_current(index):
        return
    with store.writer_lock(index.workspace.common), store.transaction(index.db):
        refresh(index)


def refresh(index: Index) -> set[str]:
    """The same inside the caller's lock and transaction. Returns the paths whose history changed."""
    db = index.db
    journaling.absorb(index)
    with store.capture(db, on=False):
        before = store.get(db, "head")
        paths = history.update(index)
        if store.get(db, "head") != before or store.get(db, "closings_at") != _state(db):
            dirty = journaling.update_visibility(db, set()) | history.closings(index)
            if paths:
                dirty |= edges_to_files(db)
            refold(db, dirty)
            store.put(db, "closings_at", _state(db))
        journaling.count_pending(db)
    return paths


def _state(db: store.Connection) -> str:
    """What the resolution of references in messages depends on beside the commits: which records there are."""
    return " ".join(
        str(row[0])
        for row in db.execute(
            "SELECT max(seq) FROM sqlite_sequence UNION ALL SELECT count(*) FROM needs UNION ALL SELECT count(*) FROM tasks"
        )
    )


def edges_to_files(db: store.Connection) -> set[tuple[str, str]]:
    """Edges that name a file by its path: where the file was renamed they point at what it became."""
    found = db.execute(
        "SELECT DISTINCT kind, uid FROM events WHERE kind = 'relationship' AND line LIKE '%\"artifact:%'"
    )
    return {(kind, uid) for kind, uid in found}
