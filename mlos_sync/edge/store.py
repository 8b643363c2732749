"""The index database: open it, hold the one writer's lock, run one transaction. Plain sqlite3, no ORM.

One `flock` for all writers and checkpoints of a repository, and `wal_autocheckpoint=0`: SQLite before 3.51.3 can
corrupt a WAL database when one connection writes while another checkpoints; with the lock they never meet.
Nobody else opens the database file here: closing any other descriptor of it would drop SQLite's POSIX locks.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

from mlos_sync.edge.turns import PATIENCE as PATIENCE  # this module is where callers look for these
from mlos_sync.edge.turns import BusyError as BusyError
from mlos_sync.edge.turns import writer_lock as writer_lock
from mlos_sync.errors import RefusedError, SurroundingsError

VERSION = 5  # of the schema; a test holds it equal to schema.SCHEMA_VERSION
_WAL_LIMIT = 8 * 1024 * 1024
_STATEMENTS = 512  # kept compiled: one that fires our triggers takes SQLite a millisecond to compile
_PLAIN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"

Connection = sqlite3.Connection


class UnusableIndexError(SurroundingsError):
    """A database that is there and no index of ours: of another schema version, or too damaged to open."""


def connect(path: str, workspace: str, patience: float = PATIENCE) -> Connection:
    """Open the existing database of a workspace (its id). Raises FileNotFoundError when there is none,
    UnusableIndexError when it is another's, of another version, or damaged, and SurroundingsError when it is sound for
    all we know but cannot be opened now."""
    if not os.path.lexists(path):
        raise FileNotFoundError(path)
    rebuilding = "run mlos-sync rebuild"
    if not os.path.isfile(path):
        raise UnusableIndexError("what stands in the place of the index is no file", rebuilding)
    try:
        connection = _open(f"file:{_quoted(path)}?mode=rw", patience)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise _cannot_open(error) from None
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise UnusableIndexError(
                f"the index has schema version {version}, this program needs {VERSION}", rebuilding
            )
        connection.execute("SELECT 1 FROM meta, outbox, events LIMIT 1").fetchone()
        if get(connection, "workspace") != workspace:
            raise UnusableIndexError("the index is another workspace's", rebuilding)
        connection.file = path, os.stat(path)
        return connection
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        raise _cannot_open(error) from None
    except UnusableIndexError:
        connection.close()
        raise


def is_replaced(connection: Connection) -> bool:
    """Whether another database has the name by now under which this one was opened: a rebuild swaps them."""
    if not isinstance(connection, _Kept) or connection.file is None:
        return False
    name, opened = connection.file
    try:
        return not os.path.samestat(os.stat(name), opened)
    except OSError:
        return True


def _cannot_open(error: Exception) -> SurroundingsError:
    """Damage, or something that may pass. (SQLite's words about a damaged schema may be no UTF-8 themselves.)"""
    if is_damage(error):
        return UnusableIndexError(f"the index is damaged ({error})", "run mlos-sync rebuild")
    hint = "end the program that holds it, or mend its rights; nothing was changed"
    return SurroundingsError(f"the index cannot be opened ({error})", hint)


def is_damage(error: Exception) -> bool:
    """Whether an error that came while the index was read says that its file is damaged."""
    if isinstance(error, UnicodeDecodeError):
        return True
    code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    if isinstance(error, sqlite3.OperationalError) and "Could not decode" in str(error):
        return True
    return code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)


def connect_any(path: str) -> Connection:
    """Open a database whatever its version, to save what can be saved. Raises sqlite3.Error."""
    return _open(f"file:{_quoted(path)}?mode=rw")


def close_to_writers(connection: Connection) -> None:
    """Let every later write to this database's records fail: it is about to be replaced, and a shell that has it open
    would write into a file that nobody reads again. Inside the caller's transaction."""
    for table in ("needs", "tasks", "agents", "relationships", "annotations"):
        for event in ("INSERT", "UPDATE", "DELETE"):
            connection.execute(
                f'CREATE TRIGGER IF NOT EXISTS "{table}: no {event} after a rebuild" BEFORE {event} ON {table}'
                " BEGIN SELECT RAISE(ABORT, 'this index was rebuilt: open it again'); END"
            )


def create(path: str, *, for_everybody: bool = True) -> Connection:
    """Make a new database at `path` (":memory:" too), which must not exist. Loads SQLModel for the schema. One that is not
    `for_everybody` takes no live writes: only the fold fills it, and `settle` makes it ready."""
    from mlos_sync.edge import ddl

    if path != ":memory:":
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection = _open(f"file:{_quoted(path)}?mode=rw" if path != ":memory:" else path)
    # Nobody else sees this file until `settle`: no write-ahead log and no fsync while it is filled.
    for pragma in ("page_size = 8192", "journal_mode = MEMORY", "synchronous = OFF", "cache_size = -64000"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN IMMEDIATE")
    for statement in ddl.statements() if for_everybody else ddl.foundation():
        connection.execute(statement)
    connection.execute("COMMIT")
    return connection


def settle(connection: Connection, path: str) -> None:
    """Make a database that `create` made for nobody else yet ready for its place: complete, durable, in WAL mode, closed."""
    from mlos_sync.edge import ddl

    connection.execute("BEGIN IMMEDIATE")
    for statement in ddl.completion():
        connection.execute(statement)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA main.wal_checkpoint(TRUNCATE)").fetchone()
    connection.close()
    descriptor = os.open(path, os.O_RDONLY)  # no connection to it is open, so no lock can be lost by closing this
    os.fsync(descriptor)
    os.close(descriptor)


def _quoted(path: str) -> str:
    """A path for an address of SQLite; any byte survives. (urllib's `quote` would cost every command 2 ms.)"""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in os.fsencode(path))


class _Kept(sqlite3.Connection):
    """A connection that can be referred to weakly; `file` is the name and the stat of what it was opened as."""

    file: tuple[str, os.stat_result] | None = None


_OPEN: WeakSet[_Kept] = WeakSet()


@atexit.register
def _close_all() -> None:
    """The last connection to a database takes its write-ahead log away when it closes; a process that ends closes nothing
    that hangs in a cycle."""
    for connection in list(_OPEN):
        with contextlib.suppress(sqlite3.Error):  # another thread's
            connection.close()


def _open(uri: str, patience: float = PATIENCE) -> _Kept:
    # No trusted_schema=OFF: SQLite 3.40 then calls json_valid() in our own CHECKs unsafe. The file is ours alone (0600).
    connection = sqlite3.connect(
        uri,
        uri=uri.startswith("file:"),
        isolation_level=None,
        timeout=patience,
        cached_statements=_STATEMENTS,
        factory=_Kept,
    )
    _OPEN.add(connection)
    for pragma in (
        "synchronous = NORMAL", "foreign_keys = ON", "temp_store = MEMORY", "cache_size = -32000",
        "wal_autocheckpoint = 0", "journal_size_limit = 0",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")
    return connection


@contextlib.contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE … COMMIT; rolls back on anything. A rule of the database becomes RefusedError."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except sqlite3.IntegrityError as error:
        connection.execute("ROLLBACK")
        raise RefusedError(rule_of(error), "change the value; mlos-sync COMMAND --help lists what is allowed") from None
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def rule_of(error: sqlite3.Error) -> str:
    """The rule that a statement broke, as the database words it."""
    rule = str(error).removeprefix("CHECK constraint failed: ")
    absent = rule.removeprefix("NOT NULL constraint failed: ")
    return rule if absent == rule else f"{absent} is not empty"


@contextlib.contextmanager
def capture(
    connection: Connection, *, on: bool, actor: str | None = None, door: str = "sync", tx: str | None = None
) -> Iterator[None]:
    """Say who is writing, inside the open transaction: triggers capture for that author, or stand aside (`on=False`)."""
    connection.execute(
        "INSERT INTO context(id, capture, actor, door, tx) VALUES (1, ?, ?, ?, ?)", (int(on), actor, door, tx)
    )
    yield
    connection.execute("DELETE FROM context")


def checkpoint(connection: Connection, path: str) -> None:
    """Fold the write-ahead log back once it is large. Only under the writer's lock. PASSIVE: TRUNCATE would wait for every
    reader, and all other writers with it; the next write begins the log anew (and `journal_size_limit` cuts it then)."""
    with contextlib.suppress(OSError):
        if os.stat(path + "-wal").st_size > _WAL_LIMIT:
            connection.execute("PRAGMA main.wal_checkpoint(PASSIVE)").fetchone()


def note(connection: Connection, kept: dict[str, Any] | None) -> None:
    """What the history of the records that are written next keeps beside their columns; inside `capture`. Names of columns
    are not for it: an event's fields are the columns' values."""
    text = json.dumps(kept, ensure_ascii=False, sort_keys=True) if kept else None
    connection.execute("UPDATE context SET note = ?", (text,))


def get(connection: Connection, key: str, default: str = "") -> str:
    """One small fact from `meta`."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else default


def put(connection: Connection, key: str, value: str) -> None:
    """Remember one small fact in `meta`."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value", (key, value)
    )


def bump(connection: Connection, key: str) -> None:
    """Count one of the counters in `meta` up."""
    put(connection, key, str(int(get(connection, key, "0")) + 1))


def observe(connection: Connection, kind: str, found: list[tuple[str, str]]) -> None:
    """Replace the observations of one kind by (subject, message) pairs."""
    connection.execute("DELETE FROM observations WHERE kind = ?", (kind,))
    connection.executemany("INSERT OR REPLACE INTO observations VALUES (?, ?, ?)", [(kind, s, m) for s, m in found])


@contextlib.contextmanager
def any_text(connection: Connection, errors: str) -> Iterator[None]:
    """Read also texts that are no UTF-8 (a shell stores what it is given); `errors` as in `bytes.decode`."""
    kept, connection.text_factory = connection.text_factory, lambda data: data.decode("utf-8", errors)
    try:
        yield
    finally:
        connection.text_factory = kept


def rows(connection: Connection, sql: str, values: Any = ()) -> list[dict[str, Any]]:
    """A query's rows as column -> value."""
    cursor = connection.execute(sql, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
