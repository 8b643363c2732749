"""Needs, tasks, agents and links: create, change, delete, list. Every write is checked and captured by the database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from mlos_sync.app import freshness, looking
from mlos_sync.app.naming import find_record
from mlos_sync.app.opening import Index, actor, writing
from mlos_sync.core import ids
from mlos_sync.core.vocabulary import RELATIONSHIP_TYPES, TABLE_OF
from mlos_sync.edge import store
from mlos_sync.errors import RefusedError, UsageError

Row = dict[str, Any]
T = TypeVar("T")
Ends = tuple[str, int, str, str, int]  # of an edge: source type and id, relationship type, target type and id

REFERENCES = {"parent_need_id": "need", "need_id": "need", "assigned_agent_id": "agent"}
ARRAYS = {"provisioned_artifacts": "artifact", "assigned_tasks": "task", "monitored_needs": "need"}
TIMES = ("created_at", "updated_at", "started_at", "completed_at")


def write(index: Index, change: Callable[[store.Connection], T]) -> T:
    """Run `change` on records as they are now, in one captured transaction, and make its events durable before returning
    its result. The rows that it wrote are then what the events fold to.

    Raises RefusedError with the rule that the database names, UsageError for values it cannot take.
    """
    from mlos_sync.app import finding  # noqa: F401 - a change asks it, and nobody shall wait while it is loaded

    who = actor(index.workspace)
    seen = looking.look(index)  # git is asked before the lock is taken: others wait for as little as can be
    with writing(index):
        seen = freshness.refresh(index, seen)
        with store.capture(index.db, on=True, actor=who, door="cli"):
            result = change(index.db)
        freshness.refresh(index, seen, edges=True)
    return result


def columns_of(db: store.Connection, kind: str) -> list[str]:
    """The columns of a record's table that somebody may set."""
    fixed = {"id", "uid", "origin"}
    return [row[1] for row in db.execute(f"PRAGMA table_info({TABLE_OF[kind]})") if row[1] not in fixed]


def add(index: Index, kind: str, rows: Iterable[Row]) -> list[Row]:
    """Insert records; all or none. Returns them as they stand."""

    def insert(db: store.Connection) -> list[int]:
        made = []
        for row in rows:
            values = prepared(db, kind, row)
            names = ", ".join(values)
            marks = ", ".join("?" * len(values))
            cursor = db.execute(f"INSERT INTO {TABLE_OF[kind]}({names}) VALUES ({marks})", list(values.values()))
            made.append(int(cursor.lastrowid or 0))
        return made

    uids = write(index, lambda db: [_uid(db, kind, number) for number in insert(db)])
    return [row_of(index.db, kind, uid) for uid in uids]


def _uid(db: store.Connection, kind: str, number: int) -> str:
    return str(db.execute(f"SELECT uid FROM {TABLE_OF[kind]} WHERE id = ?", (number,)).fetchone()[0])


def change(index: Index, kind: str, text: str, values: Row) -> Row:
    """Set columns of the record that `text` names. Returns its row."""

    def update(db: store.Connection) -> str:
        uid = find(db, text, kind)[1]
        ready = prepared(db, kind, values)
        sets = ", ".join(f"{name} = ?" for name in ready)
        db.execute(f"UPDATE {TABLE_OF[kind]} SET {sets} WHERE uid = ?", [*ready.values(), uid])
        return uid

    if not values:
        raise UsageError("nothing to change was named", f"mlos-sync {kind} set --help lists the options")
    return row_of(index.db, kind, write(index, update))


def delete(index: Index, kind: str, text: str) -> Row:
    """Delete a record (a tombstone in the journal; its uid stays known). Returns the row as it was."""

    def remove(db: store.Connection) -> Row:
        uid = find(db, text, kind)[1]
        row = row_of(db, kind, uid)
        db.execute(f"DELETE FROM {TABLE_OF[kind]} WHERE uid = ?", (uid,))
        return row

    return write(index, remove)


def prepared(db: store.Connection, kind: str, values: Row) -> Row:
    """Values as the table takes them: references as ids, times in UTC. Raises UsageError for unknown columns."""
    from mlos_sync.app import finding  # it asks this module

    known = columns_of(db, kind)
    ready: Row = {}
    if not values:
        raise UsageError(f"a {kind} without any value", f"columns are {', '.join(known)}")
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"{TABLE_OF[kind]} has no column {name}", f"columns are {', '.join(known)}")
        if name in REFERENCES and isinstance(value, str):
            value = finding.id_of(db, value, REFERENCES[name])
        elif name in ARRAYS and isinstance(value, (list, str)):
            value = _ids(db, name, value)
        elif name in TIMES and isinstance(value, str):
            value = utc(value)
        elif name == "priority" and isinstance(value, str):
            value = _number(name, value)
        elif isinstance(value, str):
            value = clean(name, value)
        elif not (value is None or (type(value) in (int, float) and abs(value) < 2**63)):
            raise UsageError(f"{name} takes text or a number, not {str(value)[:40]}", f"columns are {', '.join(known)}")
        ready[name] = value
    return ready


def _ids(db: store.Connection, name: str, given: list[Any] | str) -> str:
    """An array of ids, from references or ids, or from the JSON text that a row shows."""
    from mlos_sync.app import finding

    try:
        ones = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        ones = None
    if not isinstance(ones, list) or not all(type(one) in (int, str) for one in ones):
        raise UsageError(f"{name} takes a list of references", f'write ["{ARRAYS[name]}:3"], or [] for none')
    return json.dumps(sorted({finding.id_of(db, one, ARRAYS[name]) if isinstance(one, str) else one for one in ones}))


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdecimal() and len(text) < 18):
        raise UsageError(f"{name} takes a whole number, not {text[:40]!r}", "1 is critical, 5 is background")
    return int(text)


def clean(name: str, value: str) -> str:
    """Text that can be stored: no lone surrogates (undecodable bytes on the command line)."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"{name} holds bytes that are not UTF-8", "give the text in UTF-8") from None
    return value


def utc(text: str) -> str:
    """A time in ISO 8601 as UTC to the second, or UsageError. A time without a zone is UTC."""
    from datetime import UTC, datetime

    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time", "write it as 2026-11-20T10:00:00Z") from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def find(db: store.Connection, text: str, default: str | None = None) -> tuple[str, str]:
    """(kind, uid or key) of whatever a reference names. Raises UsageError (none) or RefusedError (several)."""
    reference = ids.parse(text, default)
    if reference is None or reference.kind is None:
        raise UsageError(f"{text!r} is no reference", "write need:3, task-3f9a2c, agent:5, artifact:PATH or commit:SHA")
    if default in ids.RECORD_KINDS and reference.kind != default:
        raise UsageError(f"{text} is no {default}", f"list them: mlos-sync {default} list")
    if reference.kind == "artifact":
        row = db.execute("SELECT uid FROM artifacts WHERE file_path = ?", (reference.path,)).fetchone()
        if row is None:
            raise UsageError(f"there is no artifact at {reference.path}", "run mlos-sync sync, or check the path")
        return "artifact", row[0]
    if reference.kind == "commit":
        rows = db.execute("SELECT sha FROM commits WHERE sha GLOB ? LIMIT 2", (f"{reference.prefix}*",)).fetchall()
        if len(rows) != 1:
            known = "several commits start with" if rows else "no indexed commit starts with"
            raise (RefusedError if rows else UsageError)(
                f"{known} {reference.prefix}", "give more digits, or run mlos-sync sync"
            )
        return "commit", rows[0][0]
    return find_record(db, reference)


def id_of(db: store.Connection, text: str, default: str | None = None) -> int:
    """The integer id behind a reference."""
    kind, key = find(db, text, default)
    column = "sha" if kind == "commit" else "uid"
    return int(db.execute(f"SELECT id FROM {TABLE_OF[kind]} WHERE {column} = ?", (key,)).fetchone()[0])


def row_of(db: store.Connection, kind: str, key: str) -> Row:
    """One row by uid (or commit sha), as column -> value."""
    column = "sha" if kind == "commit" else "uid"
    rows = store.rows(db, f"SELECT * FROM {TABLE_OF[kind]} WHERE {column} = ?", (key,))
    if not rows:
        raise UsageError(f"the {kind} has gone", f"list them: mlos-sync {kind} list")
    return rows[0]


def listed(index: Index, kind: str, filters: Row) -> list[Row]:
    """Rows of a kind that all filters let through (see `filtering`), most urgent first; artifacts that have gone are left
    out."""
    from mlos_sync.app import filtering  # it asks this module

    freshness.catch_up(index)
    db = index.db
    known = [row[1] for row in db.execute(f"PRAGMA table_info({TABLE_OF[kind]})")]
    where, values = ["file_path IS NOT NULL" if kind == "artifact" else "1"], []
    for name, wanted in filters.items():
        if name not in known:
            raise UsageError(f"{TABLE_OF[kind]} has no column {name}", f"columns are {', '.join(known)}")
        sql, bound = filtering.condition(db, kind, name, wanted)
        where.append(sql)
        values += bound
    order = {
        "need": "priority IS NULL, priority, id",
        "task": "priority IS NULL, priority, id",
        "artifact": "file_path",
    }
    sql = f"SELECT * FROM {TABLE_OF[kind]} WHERE {' AND '.join(where)} ORDER BY {order.get(kind, 'id')}"
    return store.rows(db, sql, values)


def named(db: store.Connection, kind: str, number: int) -> str:
    """How an end of an edge is shown: `need:3`, `artifact:PATH`, `commit:SHA`."""
    column = {"artifact": "coalesce(file_path, last_path)", "commit": "sha"}.get(kind, "id")
    row = db.execute(f"SELECT {column} FROM {TABLE_OF[kind]} WHERE id = ?", (number,)).fetchone()
    return f"{kind}:{row[0]}" if row else f"{kind}:?"


def edges(index: Index, text: str) -> list[Row]:
    """The edges at one end: source, type, target, evidence, metadata."""
    freshness.catch_up(index)
    kind, key = find(index.db, text, None if ":" in text or "-" in text else "artifact")
    return edges_of(index.db, kind, key)


def edges_of(db: store.Connection, kind: str, key: str) -> list[Row]:
    """The same for a kind and uid; edges that are cut (an end has gone) are listed last, as such."""
    column = "sha" if kind == "commit" else "uid"
    (number,) = db.execute(f"SELECT id FROM {TABLE_OF[kind]} WHERE {column} = ?", (key,)).fetchone()
    found = db.execute(
        "SELECT source_type, source_id, relationship_type, target_type, target_id, evidence, metadata FROM relationships"
        " WHERE (source_type = ?1 AND source_id = ?2) OR (target_type = ?1 AND target_id = ?2)"
        " ORDER BY relationship_type, source_type, source_id, target_type, target_id",
        (kind, number),
    ).fetchall()
    rows = [
        {
            "source": named(db, s, si), "type": r, "target": named(db, t, ti), "evidence": e,
            "metadata": json.loads(m) if m else None,
        }
        for s, si, r, t, ti, e, m in found
    ]  # fmt: skip
    for reason, state in db.execute("SELECT reason, state FROM held WHERE kind = 'relationship'"):
        fields = json.loads(state)
        if f"{kind}:{key}" in (fields.get("source"), fields.get("target")):
            end = {"source": fields["source"], "type": fields["type"], "target": fields["target"]}
            rows.append(end | {"evidence": "declared", "metadata": None, "cut": reason})
    return rows


def link(index: Index, source: str, relationship: str, target: str, metadata: str | None) -> Row:
    """Make an edge, or, where a derived one says the same, declare it."""
    if relationship not in RELATIONSHIP_TYPES:
        raise UsageError(f"{relationship} is no type of edge", f"types are {', '.join(RELATIONSHIP_TYPES)}")

    def insert(db: store.Connection) -> tuple[Ends, str | None]:
        ends = _ends(db, source, relationship, target)
        clear_derived(db, ends)
        db.execute(
            "INSERT INTO relationships(source_type, source_id, relationship_type, target_type, target_id, metadata)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT(source_type, source_id, relationship_type, target_type, target_id)"
            " DO UPDATE SET metadata = coalesce(excluded.metadata, metadata)",  # what is not given does not change
            (*ends, metadata),
        )
        where = "(source_type, source_id, relationship_type, target_type, target_id) = (?, ?, ?, ?, ?)"
        return ends, db.execute(f"SELECT metadata FROM relationships WHERE {where}", ends).fetchone()[0]

    ends, kept = write(index, insert)
    shown = {"source": named(index.db, *ends[:2]), "type": relationship, "target": named(index.db, *ends[3:])}
    return shown | {"evidence": "declared", "metadata": json.loads(kept) if kept else None}


def _ends(db: store.Connection, source: str, relationship: str, target: str) -> Ends:
    found = []
    for text in (source, target):
        kind, key = find(db, text)
        found.append((kind, id_of(db, f"{kind}:{key}" if kind == "commit" else text)))
    return (*found[0], relationship, *found[1])


def clear_derived(db: store.Connection, ends: Ends) -> None:
    """Take a derived edge out of the way of a declared one (our own derivation, so triggers stand aside)."""
    db.execute("UPDATE context SET capture = 0")
    db.execute(
        "DELETE FROM relationships WHERE source_type = ? AND source_id = ? AND relationship_type = ? AND target_type = ?"
        " AND target_id = ? AND origin = 'derived'",
        ends,
    )
    db.execute("UPDATE context SET capture = 1")


def unlink(index: Index, source: str, relationship: str, target: str) -> Row:
    """Delete an edge that somebody made. Raises UsageError when there is none."""
    where = "source_type = ? AND source_id = ? AND relationship_type = ? AND target_type = ? AND target_id = ?"

    def remove(db: store.Connection) -> None:
        if not db.execute(f"DELETE FROM relationships WHERE {where}", _ends(db, source, relationship, target)).rowcount:
            raise UsageError(
                f"there is no edge {source} {relationship} {target}", f"list them: mlos-sync links {source}"
            )

    write(index, remove)
    return {"source": source, "type": relationship, "target": target}
