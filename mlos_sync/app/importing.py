"""`import taskengine`: the `tasks` table of another program's SQLite database becomes needs and tasks of this workspace.

Plan, then act: the source is read whole, in one read transaction, before anything is locked here; `core/taskengine`
turns its rows into records; what is not here yet is written in one captured transaction. Uids are made from the
source's name and the row's key, so a second run, here or in another clone, makes nothing twice.

The source is not ours: it is never written to, and nothing is left beside it. SQLite makes `-wal` and `-shm` files for
a database in WAL mode even when it is opened with `mode=ro` (3.40, tried), so where there is no `-shm` (nobody has it
open) a private copy is read instead.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from mlos_sync.app import freshness, journaling, looking, records
from mlos_sync.app.events import counting
from mlos_sync.app.opening import Index
from mlos_sync.core import taskengine
from mlos_sync.core.cells import Cell, Undecoded
from mlos_sync.core.fold import fold
from mlos_sync.core.taskengine import Found, Known, Mapped, Options, Plan
from mlos_sync.core.vocabulary import TABLE_OF
from mlos_sync.edge import store
from mlos_sync.errors import SurroundingsError, UsageError

PATIENCE = 5.0  # seconds to wait for a program that writes to the source
TABLE = "tasks"
_MAGIC = b"SQLite format 3\0"
_WAL = b"\2"  # byte 18 of the header
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Source:
    """The table as it was read: its columns, those that tell rows apart, and which of ours each was taken for."""

    columns: tuple[str, ...]
    key: tuple[str, ...]
    recognised: dict[str, tuple[str, ...]]
    rows: tuple[Found, ...]

    @property
    def kept(self) -> list[str]:
        """The columns that go into the history of the records and nowhere else."""
        named = {column for columns in self.recognised.values() for column in columns} | set(self.key)
        return [column for column in self.columns if column not in named]


@dataclass(frozen=True, slots=True)
class Import:
    """What was made, or, in a dry run, would be; `current`: whether the index that it was compared with was up to date."""

    source: Source
    plan: Plan
    current: bool = True


def import_tasks(
    index: Index,
    path: str,
    options: Options,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
    patience: float = PATIENCE,
) -> Import:
    """Bring in what is new in the database at `path`; all or nothing. A dry run writes nothing at all.

    Raises SurroundingsError when the database cannot be read, UsageError when it is none or has no such table.
    """
    source = read(path, options, index.workspace.database, patience)
    found = taskengine.mapped(source.rows, source.recognised, options)
    if dry_run:
        return Import(source, _plan(index.db, found), journaling.is_current(index, looking.look(index)))
    freshness.catch_up(index)
    plan = _plan(index.db, found)
    if plan.tasks:
        plan = records.write(index, lambda db: _insert(db, _plan(db, found), progress))
    return Import(source, plan)


def _plan(db: store.Connection, found: Mapped) -> Plan:
    return taskengine.compared(found, _known(db, found))


def _known(db: store.Connection, found: Mapped) -> dict[tuple[str, str], Known]:
    """Those of the records that this index has, or knows to be gone."""
    known = {}
    for kind in ("need", "task"):
        standing = dict(db.execute(f"SELECT uid, status FROM {TABLE_OF[kind]}").fetchall())
        held = dict(db.execute("SELECT uid, reason FROM held WHERE kind = ?", (kind,)).fetchall())
        for record in found.needs if kind == "need" else found.tasks:
            events = counting(db, (kind, record.uid))
            if not events:
                continue
            gone = None
            if record.uid not in standing:
                aside = held.get(record.uid)
                gone = f"it is held aside here: {aside}" if aside else "it was deleted here and stays deleted"
            kept = fold(events).fields.get("imported")
            imported = kept if isinstance(kept, str) else None
            known[kind, record.uid] = Known(imported, gone, standing.get(record.uid))
    return known


def _insert(db: store.Connection, plan: Plan, progress: Progress | None) -> Plan:
    """Write the records of a plan, each with its origin in its history, inside the caller's captured transaction."""
    needs = dict(db.execute("SELECT uid, id FROM needs").fetchall())
    total = len(plan.needs) + len(plan.tasks)
    for done, record in enumerate((*plan.needs, *plan.tasks), 1):
        values = {**record.values, "uid": record.uid}
        if record.need in needs:
            values["need_id"] = needs[record.need]
        # A branch that is not checked out may hold the record: its number is its own already.
        number = db.execute(
            "SELECT number FROM record_keys WHERE kind = ? AND uid = ?", (record.kind, record.uid)
        ).fetchone()
        if number is not None:
            values["id"] = number[0]
        store.note(db, {"imported": record.imported})
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        made = db.execute(f"INSERT INTO {TABLE_OF[record.kind]}({names}) VALUES ({marks})", list(values.values()))
        if record.kind == "need":
            needs[record.uid] = made.lastrowid
        if progress is not None and done % 100 == 0:
            progress(done, total)
    return plan


def read(path: str, options: Options, own: str, patience: float = PATIENCE) -> Source:
    """The `tasks` table of the database at `path`, which must not be `own`, our index."""
    try:
        with _readable(path, own) as real, contextlib.closing(_connect(real, patience)) as db:
            return _source(db, path, options)
    except OSError as error:
        raise SurroundingsError(
            f"{path}: {error.strerror or error}", "name a TaskEngine database that can be read"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: a name in its schema is no UTF-8", "rename it in a copy, and import that") from None
    except sqlite3.Error as error:
        raise _told(path, error) from None


@contextlib.contextmanager
def _readable(path: str, own: str) -> Iterator[str]:
    """The path under which SQLite can read a database without leaving files beside it: its own, or that of a copy."""
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise SurroundingsError(f"{path} is a folder", "name the database file in it")
    if not stat.S_ISREG(found.st_mode):
        raise SurroundingsError(f"{path} is no regular file", "name a TaskEngine database")
    if os.path.exists(own) and os.path.samefile(path, own):
        # Nor may a byte of it be read: closing the descriptor would drop SQLite's locks on it.
        raise UsageError(f"{path} is the index of this workspace", "name a TaskEngine database")
    with open(path, "rb") as file:
        header = file.read(20)
    if header[:16] != _MAGIC:
        raise UsageError(f"{path} is no SQLite database", "name a TaskEngine database")
    if found.st_size % _page_size(header):
        # SQLite (3.40) reads the missing rest of a page as zeros, and the rows in it as rows of NULL.
        raise _damaged(path, "it ends inside a page")
    if header[18:19] != _WAL or os.path.exists(f"{path}-shm"):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="mlos-sync-") as folder:
        before = _state(path)
        for ending in ("", "-wal"):
            if os.path.exists(path + ending):
                shutil.copyfile(path + ending, os.path.join(folder, f"source{ending}"))
        if _state(path) != before:
            raise SurroundingsError(f"{path} is being written to", "wait for it to end, then run it again")
        yield os.path.join(folder, "source")


def _page_size(header: bytes) -> int:
    size = int.from_bytes(header[16:18], "big")
    return 65536 if size == 1 else max(size, 1)


def _damaged(path: str, why: object) -> SurroundingsError:
    return SurroundingsError(
        f"{path} is damaged ({why})", "save what can be saved, and import that: sqlite3 DB .recover | sqlite3 saved.db"
    )


def _state(path: str) -> list[tuple[int, int, int] | None]:
    found: list[tuple[int, int, int] | None] = []
    for ending in ("", "-wal", "-shm"):
        try:
            seen = os.stat(path + ending)
            found.append((seen.st_ino, seen.st_size, seen.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found


def _connect(path: str, patience: float) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode=ro"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=patience)
    db.text_factory = _decoded
    # Its schema is not ours: no function with an effect runs from it.
    for pragma in ("query_only = ON", "trusted_schema = OFF", "cell_size_check = ON"):
        db.execute(f"PRAGMA {pragma}")
    return db


def _decoded(data: bytes) -> str | Undecoded:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return Undecoded(data)


def _source(db: sqlite3.Connection, path: str, options: Options) -> Source:
    db.execute("BEGIN")
    table = _table(db, path)
    columns = tuple(column[0] for column in db.execute(f"SELECT * FROM {_quoted(table)} LIMIT 0").description)
    key = _key(db, table, columns, options.columns.get("key"))
    recognised = taskengine.recognised(columns, {n: c for n, c in options.columns.items() if n != "key"})
    # `rowid` is not quoted: SQLite takes a quoted name that it does not know for a text.
    keys = ", ".join(_quoted(name) if name in columns else name for name in key)
    rows = db.execute(f"SELECT {keys}, * FROM {_quoted(table)} ORDER BY {keys}")
    found = tuple(_found(row, len(key), columns) for row in rows)
    return Source(columns, key, recognised, found)


def _found(row: tuple[Cell, ...], keys: int, columns: tuple[str, ...]) -> Found:
    return Found(row[:keys], dict(zip(columns, row[keys:], strict=True)))


def _table(db: sqlite3.Connection, path: str) -> str:
    """The table's name as it is written there. Raises UsageError when there is none."""
    found = db.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name").fetchall()
    named = {str(name): kind for name, kind in found if not str(name).startswith("sqlite_")}
    table = next((name for name in named if name.lower() == TABLE), None)
    if table is not None and named[table] == "table":
        return table
    what = f"{TABLE} is a view there" if table else f"it has {', '.join(sorted(named)[:20]) or 'none at all'}"
    copy = f"sqlite3 COPY 'ALTER TABLE NAME RENAME TO {TABLE}'"
    raise UsageError(f"{path} has no table {TABLE}: {what}", f"name a TaskEngine database, or rename in a copy: {copy}")


def _key(db: sqlite3.Connection, table: str, columns: tuple[str, ...], chosen: str | None) -> tuple[str, ...]:
    """The columns that tell rows apart: the chosen one, the primary key, a column named like one, SQLite's own number."""
    own = next((name for name in ("rowid", "oid", "_rowid_") if name not in map(str.lower, columns)), "rowid")
    if chosen:
        return (own,) if chosen.lower() == "rowid" else (taskengine.named_column(columns, "key", chosen),)
    info = db.execute(f"PRAGMA table_info({_quoted(table)})").fetchall()
    primary = sorted((place, name) for _, name, _, _, _, place in info if place)
    if primary:
        return tuple(name for _, name in primary)
    named = next((column for one in taskengine.KEYS for column in columns if column.lower() == one), own)
    return (named,)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _told(path: str, error: sqlite3.Error) -> UsageError | SurroundingsError:
    """What an error of SQLite means to somebody who wants to import."""
    code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return UsageError(f"{path} is no SQLite database", "name a TaskEngine database")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return SurroundingsError(f"{path} is locked by another program", "end that program, then run it again")
    if code == sqlite3.SQLITE_CORRUPT:
        return _damaged(path, error)
    if code == sqlite3.SQLITE_ERROR:
        return UsageError(
            f"{path}: its table cannot be read ({error})", "copy its rows into a plain table, import that"
        )
    return SurroundingsError(f"{path} cannot be read ({error})", "open it once with the program that writes it")
