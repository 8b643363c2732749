"""Bring record rows into the state that their visible events fold to. Callers are in a transaction, capture off.

Four passes, so that order of arrival never matters: numbers, rows, references between rows, edges. What cannot stand
(no creation known, a rule of this version broken, an end that is not here) is put into `held` with its reason, is
tried again whenever anything changes, and never stops the rest.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mlos_sync.core.fold import State, fold
from mlos_sync.core.journal import trusted
from mlos_sync.core.vocabulary import TABLE_OF
from mlos_sync.edge.store import Connection, rule_of

Record = tuple[str, str]  # kind, uid
NO_CLAIM = 0  # of a record whose creation names no number that could be one
ROW_KINDS = ("need", "agent", "task")


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    form: str  # value, ref, refs, end
    target: str | None


_LAST_SECOND = 253_402_300_799  # of the year 9999, the last that a date can say


@lru_cache(maxsize=4096)
def iso(milliseconds: int) -> str:
    """Milliseconds since 1970 as UTC to the second."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(min(milliseconds // 1000, _LAST_SECOND), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def refold(db: Connection, dirty: Iterable[Record]) -> None:
    """Fold the given records again, and all that were held, and write the rows."""
    records = set(dirty) | {(kind, uid) for kind, uid in db.execute("SELECT kind, uid FROM held")}
    if not records:
        return
    states = {record: state for record in sorted(records) if (state := _state(db, record))}
    fragile = [
        record for record in sorted(records) if record[0] in ROW_KINDS and not _has_always_lived(states.get(record))
    ]
    if naming := _naming(db, fragile) - records:
        # What names a record that has gone loses the reference, and must have it back if the record returns.
        records |= naming
        states |= {record: state for record in sorted(naming) if (state := _state(db, record))}
    if _assign_numbers(db, records, states):
        # Two clones gave out one number and the loser moves: rare, so every row is laid anew under its number.
        records = {(kind, uid) for kind, uid in db.execute("SELECT DISTINCT kind, uid FROM events")}
        states = {record: state for record in sorted(records) if (state := _state(db, record))}
        for kind in ROW_KINDS:
            db.execute(f"DELETE FROM {TABLE_OF[kind]} WHERE origin = 'record'")
            db.execute("DELETE FROM record_keys WHERE kind = ?", (kind,))
    db.executemany("DELETE FROM held WHERE kind = ? AND uid = ?", sorted(records))
    _write(db, records, states)


def _naming(db: Connection, records: Iterable[Record]) -> set[Record]:
    """Records that have an event which names one of the given ones."""
    found: set[Record] = set()
    for kind, uid in records:
        found.update(
            db.execute("SELECT DISTINCT kind, uid FROM events WHERE line LIKE ?", (f'%"{kind}:{uid}"%',)).fetchall()
        )
    return found


def _has_always_lived(state: State | None) -> bool:
    return state is not None and state.alive and not state.mortal


def _write(db: Connection, records: set[Record], states: dict[Record, State]) -> None:
    columns = _columns(db)
    standing, fallen = _put_rows(db, records, states, columns)
    if naming := _naming(db, fallen) - records:
        # A row that a rule of this version refuses takes its references with it.
        states = states | {record: state for record in naming if (state := _state(db, record))}
        db.executemany("DELETE FROM held WHERE kind = ? AND uid = ?", sorted(naming))
        standing += _put_rows(db, naming, states, columns)[0]
        records = records | naming
    for state in standing:
        _put_references(db, state, columns[state.kind])
    for kind, uid in sorted(records):
        if kind == "relationship":
            _put_edge(db, uid, states.get((kind, uid)))


def _put_rows(
    db: Connection, records: set[Record], states: dict[Record, State], columns: dict[str, list[_Column]]
) -> tuple[list[State], list[Record]]:
    """Rows without their references: (those that stand, those that a rule refused)."""
    standing, fallen = [], []
    for kind, uid in sorted(records):
        state = states.get((kind, uid))
        _conflicts(db, kind, uid, state)
        if kind not in ROW_KINDS:
            if kind != "relationship" and state is not None:
                _hold(db, state, f"a newer version knows the kind {kind}")
        elif state is None or not state.alive or state.born is None:
            _remove(db, kind, uid, state)
        elif _put_row(db, state, columns[kind]):
            standing.append(state)
        else:
            fallen.append((kind, uid))
    return standing, fallen


def _state(db: Connection, record: Record) -> State | None:
    lines = db.execute("SELECT line FROM events WHERE kind = ? AND uid = ? AND visible = 1", record).fetchall()
    return fold(trusted(line) for (line,) in lines) if lines else None


def _columns(db: Connection) -> dict[str, list[_Column]]:
    found: dict[str, list[_Column]] = {}
    for kind, name, form, target in db.execute('SELECT kind, "column", form, target FROM captured'):
        found.setdefault(kind, []).append(_Column(name, form, target))
    return found


def _assign_numbers(db: Connection, records: set[Record], states: dict[Record, State]) -> bool:
    """Give each record its number: the one it was created with, or, where two claim it, the earlier-born keeps it and
    the later moves above every number in use. Returns whether rows that stand must move."""
    for kind, uid in records:
        state = states.get((kind, uid))
        if kind not in ROW_KINDS:
            continue
        claimed = state.fields.get("id") if state and state.born else None
        if type(claimed) is not int or not 0 < claimed < 2**53:
            claimed = NO_CLAIM
        if state is None or state.born is None:
            db.execute("DELETE FROM numbers WHERE kind = ? AND uid = ?", (kind, uid))
            continue
        born = f"{state.born[0]:016d}:{state.born[1]:08d}"
        db.execute(
            "INSERT INTO numbers(kind, uid, claimed, born, number) VALUES (?1, ?2, ?3, ?4, ?3)"
            " ON CONFLICT(kind, uid) DO UPDATE SET claimed = ?3, born = ?4",
            (kind, uid, claimed, born),
        )
    moved = False
    for kind in ROW_KINDS:
        for uid, number in _numbers(db, kind):
            db.execute("UPDATE numbers SET number = ? WHERE kind = ? AND uid = ?", (number, kind, uid))
            moved = moved or _is_taken(db, kind, uid, number)
    return moved


def _numbers(db: Connection, kind: str) -> list[tuple[str, int]]:
    known = db.execute("SELECT uid, claimed, number FROM numbers WHERE kind = ? ORDER BY born, uid", (kind,)).fetchall()
    claims = {claimed for _, claimed, _ in known}
    found: list[tuple[str, int]] = []
    kept = {NO_CLAIM}
    given: set[int] = set()
    top = 0
    for uid, claimed, number in known:
        wanted = claimed
        if claimed in kept:
            wanted = top + 1
            while wanted in claims or wanted in given:
                wanted += 1
            given.add(wanted)
        kept.add(claimed)
        top = max(top, claimed)
        if wanted != number:
            found.append((uid, wanted))
    return found


def _is_taken(db: Connection, kind: str, uid: str, number: int) -> bool:
    sql = f"SELECT 1 FROM {TABLE_OF[kind]} WHERE origin = 'record' AND (uid = ? AND id <> ? OR uid <> ? AND id = ?)"
    return db.execute(sql, (uid, number, uid, number)).fetchone() is not None


def _put_row(db: Connection, state: State, columns: list[_Column]) -> bool:
    table = TABLE_OF[state.kind]
    (number,) = db.execute(
        "SELECT number FROM numbers WHERE kind = ? AND uid = ?", (state.kind, state.uid)
    ).fetchone() or (None,)
    values: dict[str, Any] = {c.name: state.fields.get(c.name) for c in columns if c.form == "value" and c.name != "id"}
    values |= {"uid": state.uid, "id": number}
    if state.kind != "agent":
        values["updated_at"] = state.fields.get("updated_at") or iso(state.newest_ms)
    else:
        # Ids of sessions are local; one that sits on a record's number makes way and is derived again.
        db.execute("DELETE FROM agents WHERE id = ? AND uid <> ? AND origin = 'derived'", (number, state.uid))
    names = list(values)
    sets = ", ".join(f"{n} = excluded.{n}" for n in names if n not in ("uid", "id"))
    sql = f"INSERT INTO {table}({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) ON CONFLICT(uid) DO UPDATE SET {sets}"
    try:
        db.execute(sql, [values[n] for n in names])
    except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError) as error:
        db.execute(f"DELETE FROM {table} WHERE uid = ?", (state.uid,))
        _hold(db, state, rule_of(error) if isinstance(error, sqlite3.Error) else str(error))
        return False
    return True


def _put_references(db: Connection, state: State, columns: list[_Column]) -> None:
    values: dict[str, Any] = {}
    missing = []
    for column in columns:
        given = state.fields.get(column.name)
        if column.form == "ref":
            values[column.name] = resolve(db, given) if given else None
            if given and values[column.name] is None:
                missing.append(str(given))
        elif column.form == "refs":
            given = given if isinstance(given, list) else None
            ids = {str(key): resolve(db, key) for key in given or []}
            missing += [key for key, found in ids.items() if found is None]
            standing = sorted(found for found in ids.values() if found is not None)
            values[column.name] = json.dumps(standing) if standing or given is not None else None
    if values:
        sets = ", ".join(f"{name} = ?" for name in values)
        try:
            db.execute(f"UPDATE {TABLE_OF[state.kind]} SET {sets} WHERE uid = ?", [*values.values(), state.uid])
        except sqlite3.IntegrityError as error:
            _hold(db, state, rule_of(error))
    if missing:
        _hold(db, state, "it names what is not here: " + ", ".join(missing))


def _put_edge(db: Connection, uid: str, state: State | None) -> None:
    if state is None or not state.alive:
        db.execute("DELETE FROM relationships WHERE uid = ? AND origin = 'record'", (uid,))
        return
    fields = state.fields
    ends = []
    for side in ("source", "target"):
        key = str(fields.get(side))
        found = resolve(db, key)
        if found is None:
            db.execute("DELETE FROM relationships WHERE uid = ? AND origin = 'record'", (uid,))
            _hold(db, state, f"its {side} {key} is not here")
            return
        ends += [key.partition(":")[0], found]
    db.execute("DELETE FROM relationships WHERE uid = ? AND origin = 'record'", (uid,))
    values = (*ends, fields.get("type"), fields.get("metadata"), fields.get("created_at"), uid)
    try:
        db.execute(
            "INSERT INTO relationships(source_type, source_id, target_type, target_id, relationship_type, metadata,"
            " created_at, uid) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT(source_type, source_id, relationship_type, target_type, target_id) DO UPDATE SET"
            " metadata = excluded.metadata, created_at = excluded.created_at, uid = excluded.uid,"
            " evidence = 'declared', origin = 'record'",
            values,
        )
    except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError) as error:
        _hold(db, state, rule_of(error) if isinstance(error, sqlite3.Error) else str(error))


def resolve(db: Connection, key: object) -> int | None:
    """The id of what a journal key names (`need:<uid>`, `artifact:<path>`, `commit:<sha>`), or None."""
    kind, _, name = str(key).partition(":")
    if kind not in TABLE_OF or kind == "relationship":
        return None
    if kind == "artifact":
        return _artifact(db, name)
    column = "sha" if kind == "commit" else "uid"
    row = db.execute(f"SELECT id FROM {TABLE_OF[kind]} WHERE {column} = ?", (name,)).fetchone()
    return row[0] if row else None


def _artifact(db: Connection, path: str) -> int | None:
    """The artifact at a path; where the file was renamed, the one it became (renames known from commits first)."""
    at = path
    for _ in range(100):
        row = db.execute("SELECT id FROM artifacts WHERE file_path = ?", (at,)).fetchone()
        if row:
            return int(row[0])
        following = db.execute(
            "SELECT c.path FROM commit_changes c JOIN commits k ON k.id = c.commit_id WHERE c.old_path = ?"
            " AND c.status = 'R' ORDER BY k.committed_at DESC, k.sha LIMIT 1",
            (at,),
        ).fetchone()
        if not following:
            break
        at = following[0]
    moved = "SELECT id FROM artifacts WHERE last_path IN (?, ?) AND file_path IS NOT NULL ORDER BY id LIMIT 1"
    row = db.execute(moved, (at, path)).fetchone()
    return int(row[0]) if row else None


def _remove(db: Connection, kind: str, uid: str, state: State | None) -> None:
    db.execute(f"DELETE FROM {TABLE_OF[kind]} WHERE uid = ? AND origin = 'record'", (uid,))
    if state is None:
        return
    if state.born is None:
        _hold(db, state, "no event that creates it is here")
        return
    (number,) = db.execute("SELECT number FROM numbers WHERE kind = ? AND uid = ?", (kind, uid)).fetchone() or (None,)
    if number is not None:
        db.execute(
            "INSERT OR REPLACE INTO record_keys(kind, number, uid, dead) VALUES (?, ?, ?, 1)", (kind, number, uid)
        )
        reserve_number(db, kind, number)


def reserve_number(db: Connection, kind: str, number: int) -> None:
    """See to it that no new record of a kind gets a number up to this one."""
    table = TABLE_OF[kind]
    if not db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (number, table)).rowcount:
        db.execute("INSERT INTO sqlite_sequence(name, seq) VALUES (?, ?)", (table, number))


def _hold(db: Connection, state: State, reason: str) -> None:
    shown = json.dumps(state.fields, ensure_ascii=False, sort_keys=True, default=str)
    db.execute("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?)", (state.kind, state.uid, reason, shown))


def _conflicts(db: Connection, kind: str, uid: str, state: State | None) -> None:
    db.execute("DELETE FROM conflicts WHERE kind = ? AND uid = ?", (kind, uid))
    if state is not None and state.losses:
        db.executemany(
            "INSERT OR REPLACE INTO conflicts(kind, uid, field, loser, winner) VALUES (?, ?, ?, ?, ?)",
            [(kind, uid, loss.field, loss.loser, loss.winner) for loss in state.losses],
        )
