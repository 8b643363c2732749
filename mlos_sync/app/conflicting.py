"""Concurrent edits of one field: what won and what lost, settling it, and bringing deleted records back.

A conflict is settled by an event that has seen both sides and sets the field. Where that changes the row (a third
value), an ordinary update does it, captured by the triggers like any other. Keeping the winner changes no row, taking
the loser may be a step that live writes must not take (`completed` to `cancelled`), and a record that was deleted has
no row: then the event is stated in the outbox by an explicit statement, in the same captured transaction.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from mlos_sync.app import finding, freshness, records
from mlos_sync.app.events import counting
from mlos_sync.app.naming import resolve
from mlos_sync.app.opening import Index
from mlos_sync.core import ids, journal
from mlos_sync.core.fold import ALIVE, State, assignments, fold
from mlos_sync.core.times import iso
from mlos_sync.core.vocabulary import TABLE_OF
from mlos_sync.edge import store
from mlos_sync.errors import RefusedError, UsageError

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Contest:
    """One field of one record that was set concurrently: the event that won and those that lost."""

    kind: str
    uid: str
    field: str
    winner: journal.Event
    losers: tuple[journal.Event, ...]


def conflicts(index: Index) -> list[Row]:
    """Concurrent edits of one field: winner and loser, each with value, who, when and event. A deletion that stands
    against an edit is the field `@alive`; an element of an array is `column/element`, there or not."""
    freshness.catch_up(index)
    contests = _contests(index.db)
    digits = {kind: _digits(index.db, kind) for kind in {one.kind for one in contests}}
    return [
        {
            "ref": ids.shown(one.kind, one.uid, digits[one.kind]), "kind": one.kind, "uid": one.uid,
            "title": _title(index.db, one.kind, one.uid), "field": one.field,
            "winner": _told(one.winner, one.field), "loser": _told(loser, one.field),
        }
        for one in contests
        for loser in one.losers
    ]  # fmt: skip


def resolve_conflict(index: Index, text: str, field: str, value: str | None = None, take: str | None = None) -> Row:
    """Settle a conflict with a value, or with what the `winner`, the `loser` or the event of an id stands for.

    Returns the record (`row` is None where it is deleted now). Raises UsageError where there is no such conflict or
    choice, RefusedError where the choice is ambiguous or a rule of the database is against the value.
    """
    if (value is None) == (take is None):
        raise UsageError("say what it shall be", "give --value VALUE, or --take winner, or --take loser")

    def settle(db: store.Connection) -> tuple[str, str]:
        one = _contest(db, text, field)
        if take is not None:
            _take(db, one, _chosen(one, take))
        else:
            _set(db, one, str(value))
        return one.kind, one.uid

    kind, uid = records.write(index, settle)
    rows = store.rows(index.db, f"SELECT * FROM {TABLE_OF[kind]} WHERE uid = ?", (uid,))
    return {
        "ref": ids.shown(kind, uid, _digits(index.db, kind)),
        "kind": kind,
        "uid": uid,
        "row": rows[0] if rows else None,
    }


def restore(index: Index, kind: str, text: str) -> Row:
    """Bring a deleted record back as it was, with its number; edges to it stand again. Returns its row."""

    def again(db: store.Connection) -> str:
        _, uid = finding.ever(db, text, kind)
        if db.execute(f"SELECT 1 FROM {TABLE_OF[kind]} WHERE uid = ?", (uid,)).fetchone():
            raise UsageError(f"{text} is not deleted", f"mlos-sync {kind} show {text}")
        if _state_of(db, kind, uid).born is None:
            raise RefusedError(
                f"{text} was not made on this branch, only deleted",
                "switch to a branch that has it, and restore it there",
            )
        _recreate(db, kind, uid)
        return uid

    uid = records.write(index, again)
    held = index.db.execute("SELECT reason FROM held WHERE kind = ? AND uid = ?", (kind, uid)).fetchone()
    rows = store.rows(index.db, f"SELECT * FROM {TABLE_OF[kind]} WHERE uid = ?", (uid,))
    if not rows:
        raise RefusedError(f"{text} cannot stand here: {held[0] if held else 'unknown'}", "see mlos-sync status")
    return rows[0]


def _contests(db: store.Connection, record: tuple[str, str] | None = None) -> list[_Contest]:
    where, values = ("WHERE kind = ? AND uid = ?", record) if record else ("", ())
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for kind, uid, field, winner, loser in db.execute(
        f"SELECT kind, uid, field, winner, loser FROM conflicts {where} ORDER BY 1, 2, 3, 5", values
    ):
        found.setdefault((kind, uid, field, winner), []).append(loser)
    return [
        _Contest(kind, uid, field, _event(db, winner), tuple(_event(db, loser) for loser in losers))
        for (kind, uid, field, winner), losers in found.items()
    ]


def _event(db: store.Connection, event: str) -> journal.Event:
    return journal.trusted(db.execute("SELECT line FROM events WHERE id = ?", (event,)).fetchone()[0])


def _told(event: journal.Event, field: str) -> Row:
    told = {
        "value": _value(event, field), "op": event.op, "by": event.actor, "at": iso(event.clock[0]), "event": event.id,
        "door": event.door,
    }  # fmt: skip
    return told | ({"fields": event.fields} if field == ALIVE else {})


def _value(event: journal.Event, field: str) -> Any:
    """What an event set a field to; an edit that stands against a deletion wants the record to live."""
    return dict(assignments(event)).get(field, True if field == ALIVE else None)


def _title(db: store.Connection, kind: str, uid: str) -> str | None:
    """What people call a record, also when it is deleted; of an edge, its ends and type."""
    fields = _fields(db, kind, uid)
    if kind != "relationship":
        name = fields.get(finding.NAME_OF.get(kind, ""))
        return str(name) if name is not None else None
    return f"{shown_key(db, fields.get('source'))} {fields.get('type')} {shown_key(db, fields.get('target'))}"


def shown_key(db: store.Connection, key: Any) -> str:
    """A journal key for people: `need:<uid>` as `need:3` where it stands, else as its short name."""
    kind, _, name = str(key).partition(":")
    number = resolve(db, key) if kind in ids.RECORD_KINDS else None
    if number is not None:
        return f"{kind}:{number}"
    return ids.shown(kind, name) if kind in ids.RECORD_KINDS else str(key)


def _fields(db: store.Connection, kind: str, uid: str) -> Row:
    return dict(_state_of(db, kind, uid).fields)


def _state_of(db: store.Connection, kind: str, uid: str) -> State:
    """What the events of a record that count here come to."""
    events = counting(db, (kind, uid))
    return fold(events) if events else State(kind, uid)


def _digits(db: store.Connection, kind: str) -> int:
    return finding.digits(db, kind) if kind in TABLE_OF else ids.SHORTEST


def _contest(db: store.Connection, text: str, field: str) -> _Contest:
    """The conflict that a reference and a field name. A deleted record is named by its uid or its old number."""
    kind, uid = finding.ever(db, text)
    open_ = {one.field: one for one in _contests(db, (kind, uid))}
    if not open_:
        raise UsageError(f"{text} has no conflict", "list them: mlos-sync conflicts")
    wanted = [name for name in open_ if name in (field, f"@{field}") or name == _element(db, field)]
    wanted = wanted or [name for name in open_ if name.startswith(f"{field}/")]
    if len(wanted) != 1:
        error = RefusedError if wanted else UsageError
        raise error(
            f"{text} has {'several conflicts' if wanted else 'no conflict'} of {field}",
            f"its conflicts are of {', '.join(sorted(open_))}",
        )
    return open_[wanted[0]]


def _element(db: store.Connection, field: str) -> str | None:
    """`assigned_tasks/task:3` as the journal names it, `assigned_tasks/task:<uid>`; None for what is no such thing."""
    column, slash, text = field.partition("/")
    if not slash or column not in records.ARRAYS:
        return None
    try:
        kind, key = finding.ever(db, text, records.ARRAYS[column])
    except (UsageError, RefusedError):
        return None
    return f"{column}/{kind}:{key}" if kind in ids.RECORD_KINDS else None


def _chosen(one: _Contest, take: str) -> journal.Event:
    """The event whose side is taken."""
    if take == "winner":
        return one.winner
    if take == "loser":
        if len({json.dumps(_value(loser, one.field), sort_keys=True) for loser in one.losers}) == 1:
            return one.losers[0]
        choices = ", ".join(f"{loser.id[:12]} ({_value(loser, one.field)!r})" for loser in one.losers)
        raise RefusedError(f"several values lost: {choices}", "take one by its event: --take EVENT")
    found = [event for event in (one.winner, *one.losers) if len(take) >= ids.SHORTEST and event.id.startswith(take)]
    if len(found) != 1:
        raise UsageError(f"{take} is no side of this conflict", "give --take winner, --take loser or --take EVENT")
    return found[0]


def _take(db: store.Connection, one: _Contest, side: journal.Event) -> None:
    """State the side's value once more, by an event that has seen all."""
    if one.field == ALIVE:
        if side.op == "delete":
            _state(db, one.kind, one.uid, "delete", {}, None)
        else:
            _recreate(db, one.kind, one.uid)
        return
    value = _value(side, one.field)
    other = next(v for event in (one.winner, *one.losers) if (v := _value(event, one.field)) != value)
    column, slash, element = one.field.partition("/")
    if slash:
        _state(
            db, one.kind, one.uid, "update", {column: [] if value else [element]}, {column: [element] if value else []}
        )
        return
    _try(db, one, value)
    _state(db, one.kind, one.uid, "update", {column: other}, {column: value})


def _try(db: store.Connection, one: _Contest, value: Any) -> None:
    """Let the table's rules judge a value that another version may have written. The row is folded again afterwards."""
    form = dict(db.execute('SELECT "column", form FROM captured WHERE kind = ?', (one.kind,))).get(one.field)
    if form != "value":
        return
    db.execute("UPDATE context SET capture = 0")
    try:
        db.execute(f"UPDATE {TABLE_OF[one.kind]} SET {one.field} = ? WHERE uid = ?", (value, one.uid))
    except sqlite3.IntegrityError as error:
        raise RefusedError(store.rule_of(error), "take the other side, or give another --value") from None
    db.execute("UPDATE context SET capture = 1")


def _set(db: store.Connection, one: _Contest, text: str) -> None:
    """Set the field to a value that somebody typed: one side's, or a third."""
    if one.field == ALIVE or "/" in one.field:
        raise UsageError(f"{one.field} is there or not", "give --take winner or --take loser")
    given: Any = None if text == "" else text
    table = TABLE_OF[one.kind]
    ready = records.prepared(db, one.kind, {one.field: given})[one.field]
    row = db.execute(f"SELECT {one.field} FROM {table} WHERE uid = ?", (one.uid,)).fetchone()
    if row is None:
        raise UsageError("the record is deleted", f"settle its deletion first: mlos-sync conflicts resolve REF {ALIVE}")
    for side in (one.winner, *one.losers):
        value = _value(side, one.field)
        if ready == (resolve(db, value) if one.field in records.REFERENCES and value else value):
            _take(db, one, side)
            return
    db.execute(f"UPDATE {table} SET {one.field} = ? WHERE uid = ?", (ready, one.uid))


def _recreate(db: store.Connection, kind: str, uid: str) -> None:
    """State that a record lives, with its fields as they fold. A field that is in conflict itself is left open."""
    open_ = {one.field for one in _contests(db, (kind, uid))}
    fields = {name: value for name, value in _fields(db, kind, uid).items() if name not in open_ | {"updated_at"}}
    _state(db, kind, uid, "recreate", None, fields)


def _state(db: store.Connection, kind: str, uid: str, op: str, old: Row | None, new: Row | None) -> None:
    """An outbox row as a trigger would write it, for an event that no change of a row makes."""
    db.execute(
        "INSERT INTO outbox(event, at, kind, uid, op, old, new, actor, door, tx, note)"
        " SELECT lower(hex(randomblob(16))), strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), ?, ?, ?, ?, ?, actor, door, tx, note"
        " FROM context",
        (kind, uid, op, *(None if one is None else json.dumps(one, ensure_ascii=False) for one in (old, new))),
    )
