"""The stat cache: of each file as of the last sync, its size, times, inode and mode, in one row a folder. What a walk sees
equal there is not read."""

from __future__ import annotations

import marshal
from collections.abc import Iterable

from mlos_sync.core.changes import Stat, Stats, by_folder
from mlos_sync.edge import store

_GONE: Stat = (0, 0, 0, 0, 0)


def every(db: store.Connection) -> Stats:
    """All of it. A folder whose row cannot be read (another Python wrote it) counts as unknown: hashed again."""
    return {folder: _unpacked(data) for folder, data in db.execute("SELECT path, stats FROM folders")}


def at(db: store.Connection, paths: Iterable[str]) -> Stats:
    """That of some files, and of all below some folders."""
    found: Stats = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        row = db.execute("SELECT stats FROM folders WHERE path = ?", (folder,)).fetchone()
        if row and name in (names := _unpacked(row[0])):
            found.setdefault(folder, {})[name] = names[name]
        below = "SELECT path, stats FROM folders WHERE path = ?1 OR (path > ?1 || '/' AND path < ?1 || '0')"
        for inside, data in db.execute(below, (path,)):
            found.setdefault(inside, {}).update(_unpacked(data))
    return found


def has(known: Stats, path: str) -> bool:
    """Whether a path is in it."""
    folder, _, name = path.rpartition("/")
    return name in known.get(folder, {})


def update(db: store.Connection, fresh: Iterable[tuple[str, Stat]], gone: Iterable[str]) -> None:
    """Bring it up to date, inside the caller's transaction: only the rows of folders in which something happened."""
    tree = by_folder(fresh)
    for path in gone:
        folder, _, name = path.rpartition("/")
        tree.setdefault(folder, {})[name] = _GONE
    for folder, names in tree.items():
        row = db.execute("SELECT stats FROM folders WHERE path = ?", (folder,)).fetchone()
        now = (_unpacked(row[0]) if row else {}) | names
        put(db, folder, {name: stat for name, stat in now.items() if stat != _GONE})


def put(db: store.Connection, folder: str, stats: dict[str, Stat]) -> None:
    """One folder's row; none where there is no file in it."""
    if stats:
        db.execute("INSERT OR REPLACE INTO folders VALUES (?, ?)", (folder, marshal.dumps(stats)))
    else:
        db.execute("DELETE FROM folders WHERE path = ?", (folder,))


def _unpacked(data: bytes) -> dict[str, Stat]:
    try:
        found = marshal.loads(data)  # noqa: S302 - our own cache, in a database that only its owner can write
    except (ValueError, EOFError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
