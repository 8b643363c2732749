"""What is said of a file, beside what it says itself: the rows of artifacts, and what views show of them.

An artifact's row keeps an annotation when its file is renamed. Views, which may not read history, go by the exact path.
"""

from __future__ import annotations

import json
from typing import Any

from mlos_sync.app.naming import artifact_at
from mlos_sync.core.vocabulary import ANNOTATED
from mlos_sync.edge import store

Said = dict[str, Any]  # column -> value, of those that can be annotated


def by_path(db: store.Connection) -> dict[str, Said]:
    """Path -> what was said of it."""
    return {row["path"]: row for row in store.rows(db, f"SELECT path, {', '.join(ANNOTATED)} FROM annotations")}


def described(path: str, own: Said, said: Said) -> Said:
    """What an artifact's row tells: the file's own words first, then what was said of it, then its name."""
    found = {name: own.get(name) or said.get(name) for name in ANNOTATED}
    found["title"] = found["title"] or path.rpartition("/")[2]
    found["artifact_type"] = said.get("artifact_type") or own.get("artifact_type")
    return found


def overlay(db: store.Connection) -> None:
    """Bring the rows of annotated artifacts, and of those that were, to what is said of them now. In the caller's
    transaction, capture off."""
    rows = store.rows(db, f"SELECT path, updated_at, uid, {', '.join(ANNOTATED)} FROM annotations")
    if not rows and store.get(db, "annotated") == "none":
        return  # as in most workspaces, and to look at 100,000 rows for one took 30 ms of each edit
    wanted: dict[int, list[Said]] = {
        number: [] for (number,) in db.execute("SELECT id FROM artifacts WHERE annotated = 1").fetchall()
    }
    for row in rows:
        number = artifact_at(db, row["path"])
        if number is not None:
            wanted.setdefault(number, []).append(row)
    for number, said in wanted.items():
        _put(db, number, said)
    store.put(db, "annotated", "some" if rows else "none")


def _put(db: store.Connection, number: int, said: list[Said]) -> None:
    path, own, made_in = db.execute(
        "SELECT coalesce(file_path, last_path, ''), own, made_in FROM artifacts WHERE id = ?", (number,)
    ).fetchone()
    # One made at the very path comes before those that a rename brought here; of these the newest.
    said = sorted(said, key=lambda one: (one["path"] == path, one["updated_at"] or "", one["uid"]), reverse=True)
    merged = {name: next((one[name] for one in said if one[name] is not None), None) for name in ANNOTATED}
    found = described(path, json.loads(own or "{}"), merged)
    found["source_transcript"] = found["source_transcript"] or made_in
    sets = ", ".join(f"{name} = ?" for name in ANNOTATED)
    db.execute(
        f"UPDATE artifacts SET {sets}, annotated = ? WHERE id = ?",
        (*(found[name] for name in ANNOTATED), int(bool(said)), number),
    )
