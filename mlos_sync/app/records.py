"""Needs, tasks, agents and links: create, change, delete, list. Every write is checked and captured by the database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from mlos_sync.app import freshness
from mlos_sync.app.history import find_record
from mlos_sync.app.opening import Index, actor
from mlos_sync.core import ids
from mlos_sync.core.vocabulary import RELATIONSHIP_TYPES, TABLE_OF
from mlos_sync.edge import store
from mlos_sync.errors import RefusedError, UsageError

Row = dict[str, Any]
T = TypeVar("T")

REFERENCES = {"parent_need_id": "need", "need_id": "need", "assigned_agent_id": "agent"}
ARRAYS = {"provisioned_artifacts": "artifact", "assigned_tasks": "task", "monitored_needs": "need"}
TIMES = ("created_at", "updated_at", "started_at", "completed_at")


def write(index: Index, change: Callable[[store.Connection], T]) -> T:
    """Run `change` in one captured transaction and make its events durable before returning its result.

    Raises RefusedError with the rule that the database names, UsageError for values it cannot take.
    """
    who = actor(index.workspace)
    with store.writer_lock(index.workspace.common):
        with store.transaction(index.db):
            freshness.refresh(index)
        with store.transaction(index.db), store.capture(index.db, on=True, actor=who, door="cli", tx=None):
            result = change(index.db)
        with store.transaction(index.db):
            freshness.refresh(index)
        store.checkpoint(index.db, index.workspace.database)
    return result


def columns_of(db: store.Connection, kind: str) -> list[str]:
    """The columns of a record's table that somebody may set."""
    fixed = {"id", "uid", "origin", "updated_at"}
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
    freshness.catch_up(index)
    uid = find(index.db, text, kind)[1]

    def update(db: store.Connection) -> None:
        ready = prepared(db, kind, values)
        sets = ", ".join(f"{name} = ?" for name in ready)
        db.execute(f"UPDATE {TABLE_OF[kind]} SET {sets} WHERE uid = ?", [*ready.values(), uid])

    if not values:
        raise UsageError("nothing to change was named", f"mlos-sync {kind} set --help lists the options")
    write(index, update)
    return row_of(index.db, kind, uid)


def delete(index: Index, kind: str, text: str) -> Row:
    """Delete a record (a tombstone in the journal; its uid stays known). Returns the row as it was."""
    freshness.catch_up(index)
    uid = find(index.db, text, kind)[1]
    row = row_of(index.db, kind, uid)
    write(index, lambda db: db.execute(f"DELETE FROM {TABLE_OF[kind]} WHERE uid = ?", (uid,)))
    return row


def prepared(db: store.Connection, kind: str, values: Row) -> Row:
    """Values as the table takes them: references as ids, times in UTC. Raises UsageError for unknown columns."""
    known = columns_of(db, kind)
    ready: Row = {}
    if not values:
        raise UsageError(f"a {kind} without any value", f"columns are {', '.join(known)}")
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"{TABLE_OF[kind]} has no column {name}", f"columns are {', '.join(known)}")
        if name in REFERENCES and isinstance(value, str):
            value = id_of(db, value, REFERENCES[name])
        elif name in ARRAYS and isinstance(value, list):
            value = json.dumps(sorted({id_of(db, str(one), ARRAYS[name]) for one in value}))
        elif name in TIMES and isinstance(value, str):
            value = utc(value)
        elif isinstance(value, str):
            value = clean(name, value)
        elif not (value is None or (isinstance(value, (int, float)) and abs(value) < 2**63)):
            raise UsageError(f"{name} takes text or a number, not {str(value)[:40]}", f"columns are {', '.join(known)}")
        ready[name] = value
    return ready


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
    """Rows of a kind, filtered by equality on columns; artifacts that have gone are left out."""
    freshness.catch_up(index)
    db = index.db
    known = [row[1] for row in db.execute(f"PRAGMA table_info({TABLE_OF[kind]})")]
    where, values = ["1"], []
    for name, value in filters.items():
        if name not in known:
            raise UsageError(f"{TABLE_OF[kind]} has no column {name}", f"columns are {', '.join(known)}")
        where.append(f"{name} = ?")
        values.append(id_of(db, value, REFERENCES[name]) if name in REFERENCES and isinstance(value, str) else value)
    if kind == "artifact":
        where.append("file_path IS NOT NULL")
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
    freshness.catch_up(index)
    ends = _ends(index.db, source, relationship, target)

    def insert(db: store.Connection) -> None:
        clear_derived(db, ends)
        db.execute(
            "INSERT INTO relationships(source_type, source_id, relationship_type, target_type, target_id, metadata)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT(source_type, source_id, relationship_type, target_type, target_id)"
            " DO UPDATE SET metadata = excluded.metadata",
            (*ends, metadata),
        )

    write(index, insert)
    shown = {"source": named(index.db, *ends[:2]), "type": relationship, "target": named(index.db, *ends[3:])}
    return shown | {"evidence": "declared", "metadata": json.loads(metadata) if metadata else None}


def _ends(db: store.Connection, source: str, relationship: str, target: str) -> tuple[str, int, str, str, int]:
    found = []
    for text in (source, target):
        kind, key = find(db, text)
        found.append((kind, id_of(db, f"{kind}:{key}" if kind == "commit" else text)))
    return (*found[0], relationship, *found[1])


def clear_derived(db: store.Connection, ends: tuple[str, int, str, str, int]) -> None:
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
    freshness.catch_up(index)
    ends = _ends(index.db, source, relationship, target)
    where = "source_type = ? AND source_id = ? AND relationship_type = ? AND target_type = ? AND target_id = ?"
    row = index.db.execute(f"SELECT origin FROM relationships WHERE {where}", ends).fetchone()
    if row is None:
        raise UsageError(f"there is no edge {source} {relationship} {target}", f"list them: mlos-sync links {source}")
    write(index, lambda db: db.execute(f"DELETE FROM relationships WHERE {where}", ends))
    return {"source": source, "type": relationship, "target": target}


def conflicts(index: Index) -> list[Row]:
    """Concurrent edits of one field: winner and loser, who and when."""
    freshness.catch_up(index)
    found = []
    for kind, uid, field, winner, loser in index.db.execute(
        "SELECT kind, uid, field, winner, loser FROM conflicts ORDER BY 1, 2, 3, 5"
    ):
        found.append(
            {
                "ref": ids.shown(kind, uid),
                "uid": uid,
                "field": field,
                "winner": _told(index, winner, field),
                "loser": _told(index, loser, field),
            }
        )
    return found


def _told(index: Index, event_id: str, field: str) -> Row:
    from mlos_sync.app.folding import iso
    from mlos_sync.core.journal import trusted

    event = trusted(index.db.execute("SELECT line FROM events WHERE id = ?", (event_id,)).fetchone()[0])
    return {
        "value": event.fields.get(field.partition("/")[0]),
        "op": event.op,
        "by": event.actor,
        "at": iso(event.clock[0]),
        "event": event.id,
    }


def history(index: Index, text: str | None) -> list[Row]:
    """The events of a record, or of all, oldest first."""
    from mlos_sync.app.folding import iso
    from mlos_sync.core.journal import trusted

    freshness.catch_up(index)
    where, values = "", ()
    if text:
        where, values = " AND kind = ? AND uid = ?", find(index.db, text)  # type: ignore[assignment]
    lines = index.db.execute(f"SELECT line FROM events WHERE visible = 1{where} ORDER BY clock_ms, clock_n, id", values)
    events = [trusted(line) for (line,) in lines]
    return [
        {
            "id": e.id, "at": iso(e.clock[0]), "kind": e.kind, "ref": ids.shown(e.kind, e.uid), "op": e.op, "fields": e.fields,
            "actor": e.actor, "door": e.door,
        }
        for e in events
    ]  # fmt: skip
