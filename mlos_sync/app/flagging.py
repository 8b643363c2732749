"""Views whose bytes on disk are a hand edit: an observation as soon as a sync reads such a file. Nothing is overwritten."""

from __future__ import annotations

from mlos_sync.app.opening import Index
from mlos_sync.app.planning import Plan
from mlos_sync.core import seal
from mlos_sync.core.guard import quoted
from mlos_sync.edge import files

KIND = "view"


def flag(index: Index, plan: Plan) -> None:
    """Bring the observations of the views that a plan touches up to date, inside the caller's transaction."""
    changes = plan.changes
    gone = {*changes.deleted, *(old for old, _ in changes.moved)}
    for path in {view.path for view in index.workspace.config.views} & (plan.hashed.keys() | gone):
        index.db.execute("DELETE FROM observations WHERE kind = ? AND subject = ?", (KIND, path))
        if path not in gone and is_edited(index, path):
            name = quoted(path)
            words = f"edited by hand: mlos-sync adopt {name}, or drop it: mlos-sync compile --discard {name}"
            index.db.execute("INSERT INTO observations VALUES (?, ?, ?)", (KIND, path, words))


def edited(index: Index) -> tuple[str, ...]:
    """The views that are edited by hand, as of the last sync."""
    rows = index.db.execute("SELECT subject FROM observations WHERE kind = ? ORDER BY subject", (KIND,))
    return tuple(path for (path,) in rows)


def is_edited(index: Index, path: str) -> bool:
    """Whether a view's file has no whole seal."""
    data = files.read(index.workspace, path)
    return data is not None and seal.check(data).state != seal.VALID
