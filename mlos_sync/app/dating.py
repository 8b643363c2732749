"""created_at and updated_at of tracked files come from git: the first and the last commit that touched the path.

A file that differs from its last commit, or that no commit knows, is dated by its modification time on disk.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from mlos_sync.edge import store

_ROW = "SELECT id, blob, created_at, updated_at FROM artifacts WHERE file_path = ?"
FEW = 2000  # up to so many paths are looked up one by one; beyond, one pass over all changes is cheaper


@dataclass(frozen=True, slots=True)
class Dates:
    """First and last commit time of a path, and the blobs that commits of that last second left there."""

    first: str
    last: str
    blobs: frozenset[str | None]


def dates(db: store.Connection, paths: Collection[str]) -> dict[str, Dates]:
    """The dates of those paths that commits know."""
    at = dict(db.execute("SELECT id, committed_at FROM commits").fetchall())
    found: dict[str, Dates] = {}
    for path, commit, blob in _changes(db, paths):
        when, before = at[commit], found.get(path)
        if before is None:
            found[path] = Dates(when, when, frozenset((blob,)))
        elif when >= before.last:
            # Which of two commits in one second came last, no clock tells: either may have left the file as it is.
            blobs = before.blobs | {blob} if when == before.last else frozenset((blob,))
            found[path] = Dates(before.first, when, blobs)
        elif when < before.first:
            found[path] = Dates(when, before.last, before.blobs)
    return found


def _changes(db: store.Connection, paths: Collection[str]) -> Iterator[tuple[str, int, str | None]]:
    """(path, commit, blob)."""
    if len(paths) > FEW:
        wanted = set(paths)
        rows = db.execute("SELECT path, commit_id, blob FROM commit_changes ORDER BY path, commit_id")
        yield from (row for row in rows if row[0] in wanted)
    else:
        for path in paths:
            yield from db.execute(
                "SELECT path, commit_id, blob FROM commit_changes WHERE path = ? ORDER BY commit_id", (path,)
            )


def update(db: store.Connection, paths: Collection[str]) -> None:
    """Date the artifacts at paths whose history changed, inside the caller's transaction with capture off."""
    if not paths or not db.execute("SELECT 1 FROM artifacts LIMIT 1").fetchone():
        return
    standing = {path: row for path in paths if (row := db.execute(_ROW, (path,)).fetchone())}
    for path, found in dates(db, standing).items():
        number, blob, created, updated = standing[path]
        last = found.last if blob in found.blobs else max(updated, found.last)
        if (found.first, last) != (created, updated):
            db.execute("UPDATE artifacts SET created_at = ?, updated_at = ? WHERE id = ?", (found.first, last, number))
