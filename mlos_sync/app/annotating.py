"""Say something of a file that says nothing itself: title, description, type, transcript.

An annotation is a record, known by the path at which it was made. The artifact's row shows it where the file itself has
nothing to say: frontmatter is the truth for a file that has it.
"""

from __future__ import annotations

import json
from typing import Any

from mlos_sync.app import freshness, records
from mlos_sync.app.annotations import Said
from mlos_sync.app.opening import Index
from mlos_sync.edge import store
from mlos_sync.errors import RefusedError, UsageError


def annotate(index: Index, path: str, values: Said) -> dict[str, Any]:
    """Say something of the file at a workspace path; None takes a word back. Returns the artifact's row.

    Raises UsageError for a path that is not indexed, RefusedError where the file says it itself.
    """
    if not values:
        raise UsageError("nothing to change was named", "mlos-sync artifact set --help lists the options")

    def change(db: store.Connection) -> None:
        row = db.execute("SELECT uid, own FROM artifacts WHERE file_path = ?", (path,)).fetchone()
        if row is None:
            raise UsageError(f"there is no artifact at {path}", "run mlos-sync sync, or check the path")
        own = json.loads(row[1] or "{}")
        for name in values:
            if name != "artifact_type" and own.get(name) is not None:
                raise RefusedError(
                    f"{name} stands in the frontmatter of {path}", "change it there, then mlos-sync sync"
                )
        if not db.execute("SELECT 1 FROM annotations WHERE path = ?", (path,)).fetchone():
            db.execute("INSERT INTO annotations(uid, path) VALUES (?, ?)", (row[0], path))
        sets = ", ".join(f"{name} = ?" for name in values)
        db.execute(f"UPDATE annotations SET {sets} WHERE path = ?", (*values.values(), path))

    records.write(index, change)
    freshness.catch_up(index)
    (uid,) = index.db.execute("SELECT uid FROM artifacts WHERE file_path = ?", (path,)).fetchone()
    return records.row_of(index.db, "artifact", uid)
