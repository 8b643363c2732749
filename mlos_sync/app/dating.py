"""created_at and updated_at of tracked files come from git: the first and the last commit that touched the path.

A file that differs from its last commit, or that no commit knows, is dated by its modification time on disk.
"""

from __future__ import annotations

import marshal
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from mlos_sync.core.changes import EMPTY, Stats
from mlos_sync.core.times import iso
from mlos_sync.edge import commits, git, store

_ROW = "SELECT id, blob, created_at, updated_at FROM artifacts WHERE file_path = ?"
FEW = 2000  # up to so many paths are looked up one by one; beyond, one pass over all changes is cheaper


@dataclass(frozen=True, slots=True)
class Dates:
    """First and last commit time of a path, and the blobs that commits of that last second left there."""

    first: str
    last: str
    blobs: frozenset[str | None]


def dates(root: str, db: store.Connection, paths: Collection[str]) -> dict[str, Dates]:
    """The dates of those paths that commits know."""
    found = _by_changes(db, paths)
    return found | _by_merges(root, db, [path for path in paths if path not in found])


def _by_merges(root: str, db: store.Connection, paths: list[str]) -> dict[str, Dates]:
    """Of files that HEAD has and no commit brought: a merge did, which lists no changes."""
    if not paths or not db.execute("SELECT 1 FROM commits WHERE parents LIKE '% %' LIMIT 1").fetchone():
        return {}
    there = sorted(git.blobs_at(root, "HEAD", paths))
    found: dict[str, Dates] = {}
    for sha, path, blob in commits.merged_files(root, "HEAD", paths=there[:FEW]) if there else ():
        row = db.execute("SELECT committed_at FROM commits WHERE sha = ?", (sha,)).fetchone()
        if row and (path not in found or row[0] < found[path].first):
            found[path] = Dates(row[0], row[0], frozenset((blob,)))
    return {path: dated for path, dated in found.items() if path in there}


def _by_changes(db: store.Connection, paths: Collection[str]) -> dict[str, Dates]:
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


def is_committed(root: str, blobs: dict[str, str]) -> set[str]:
    """Those of the paths where HEAD's tree has the given blob. Such a file is as committed, whoever decided its content (a
    merge may, and git log lists no changes for merges): its time on disk says nothing."""
    there = git.blobs_at(root, "HEAD", blobs)
    return {path for path, blob in blobs.items() if there.get(path) == blob}


def update(root: str, db: store.Connection, paths: Collection[str]) -> None:
    """Date the artifacts at paths whose history changed, inside the caller's transaction with capture off."""
    if not paths or not db.execute("SELECT 1 FROM artifacts LIMIT 1").fetchone():
        return
    standing = {path: row for path in paths if (row := db.execute(_ROW, (path,)).fetchone())}
    dated = dates(root, db, standing)
    stats: Stats = {}
    for path in standing.keys() - dated.keys():
        # Its commits have gone (a reset, an amend without it): it is dated as any file that no commit knows.
        when = _changed_on_disk(db, path, stats)
        if when is not None:
            db.execute(
                "UPDATE artifacts SET created_at = ?, updated_at = ? WHERE id = ?", (when, when, standing[path][0])
            )
    odd = {path: standing[path][1] for path, found in dated.items() if standing[path][1] not in found.blobs}
    committed = is_committed(root, {path: blob for path, blob in odd.items() if blob})
    for path, found in dated.items():
        number, blob, created, updated = standing[path]
        last = found.last if blob in found.blobs or path in committed else max(updated, found.last)
        if (found.first, last) != (created, updated):
            db.execute("UPDATE artifacts SET created_at = ?, updated_at = ? WHERE id = ?", (found.first, last, number))


def _changed_on_disk(db: store.Connection, path: str, stats: Stats) -> str | None:
    """The modification time that the stat cache has of a file; its folder is kept in `stats`."""
    folder, _, name = path.rpartition("/")
    if folder not in stats:
        row = db.execute("SELECT stats FROM folders WHERE path = ?", (folder,)).fetchone()
        try:
            stats[folder] = marshal.loads(row[0]) if row else {}  # noqa: S302 - our own cache
        except (ValueError, EOFError, TypeError):
            stats[folder] = {}  # another Python wrote it
    found = stats[folder].get(name)
    return iso(found[1] // 1_000_000) if found else None


def settle_moves(root: str, db: store.Connection, paths: Collection[str]) -> None:
    """Where a file came from is known from a move that no commit tells yet: HEAD moved, so look again. Once a commit has
    taken the old path away its history decides; and what a reset took back is a move that no commit tells. Also where
    nobody names a file yet: whoever does later asks for where it came from."""
    changed = set(paths)
    rows = db.execute("SELECT id, last_path FROM artifacts WHERE file_path IS NOT NULL AND last_path IS NOT NULL")
    told = [(number, path) for number, path in rows if path in changed]
    there = git.blobs_at(root, "HEAD", {path for _, path in told}) if told else {}
    db.executemany(
        "UPDATE artifacts SET last_path = NULL WHERE id = ?", [(one,) for one, path in told if path not in there]
    )
    missing = {blob: path for path, blob in sorted(git.staged_away(root).items(), reverse=True)}
    if missing:
        here = "SELECT id, blob FROM artifacts WHERE file_path IS NOT NULL AND content_hash <> ?"
        found = [(missing[blob], number) for number, blob in db.execute(here, (EMPTY,)) if blob in missing]
        db.executemany("UPDATE artifacts SET last_path = ? WHERE id = ?", found)
