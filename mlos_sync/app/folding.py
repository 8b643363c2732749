"""Bring record rows into the state that their visible events fold to. Callers are in a transaction, capture off.

Four passes, so that order of arrival never matters: numbers, rows, references between rows, edges. What cannot stand
(no creation known, a rule of this version broken, an end that is not here) is put into `held` with its reason, is
tried again when its events change or what it names appears, and never stops the rest.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlos_sync.app.naming import Resolve, resolver
from mlos_sync.app.numbering import MANY, ROW_KINDS, Record, assign_numbers, number_of, numbers_of, reserve_number
from mlos_sync.app.passing import evidence
from mlos_sync.core.fold import State
from mlos_sync.core.times import iso
from mlos_sync.core.vocabulary import TABLE_OF
from mlos_sync.edge import store
from mlos_sync.edge.decoding import folded
from mlos_sync.edge.store import Connection, rule_of

States = dict[Record, State]
KINDS = (*ROW_KINDS, "annotation", "fact")  # of records that are rows of their own


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    form: str  # value, ref, refs, end
    target: str | None


@dataclass(slots=True)
class _Outcome:
    """What became of the rows."""

    standing: list[State] = field(default_factory=list)
    appeared: set[Record] = field(default_factory=set)
    vanished: set[Record] = field(default_factory=set)
    fallen: set[Record] = field(default_factory=set)  # a rule refused the row


def refold(db: Connection, dirty: Iterable[Record], made: Iterable[Record] = ()) -> None:
    """Fold the given records again, with all that this concerns, and write the rows. `made` are those of them that
    somebody made, or deleted, in the tables just now: their rows stand, or have gone, already."""
    records = set(dirty)
    if not records:
        return
    states = states_of(db, records)
    # What names a record that has gone loses the reference, and must have it back if the record returns.
    fragile = [record for record in records if record[0] in ROW_KINDS and not _has_always_lived(states.get(record))]
    _widen(db, records, states, _naming(db, fragile))
    moved = assign_numbers(db, sorted(records), states)
    if moved:
        _widen(db, records, states, moved | _naming(db, moved))
        for kind, uid in sorted(moved):
            db.execute(f"DELETE FROM {TABLE_OF[kind]} WHERE uid = ?", (uid,))
            db.execute("DELETE FROM record_keys WHERE kind = ? AND uid = ?", (kind, uid))
    held = _held(db) & records
    db.executemany("DELETE FROM held WHERE kind = ? AND uid = ?", sorted(held))
    outcome = _write(db, records, states, set(made))
    _remember(db, outcome, moved)


def _widen(db: Connection, records: set[Record], states: States, more: set[Record]) -> None:
    more = more - records
    records |= more
    states |= states_of(db, more)


def _naming(db: Connection, records: Iterable[Record]) -> set[Record]:
    """Records that have an event which names one of the given ones."""
    sql = "SELECT kind, uid FROM mentions WHERE target = ?"
    return {record for kind, uid in records for record in db.execute(sql, (f"{kind}:{uid}",)).fetchall()}


def _has_always_lived(state: State | None) -> bool:
    return state is not None and state.alive and not state.mortal


def states_of(db: Connection, records: Iterable[Record]) -> States:
    """The folded state of each record that has a visible event."""
    wanted = sorted(records)
    if not wanted:
        return {}
    db.execute("CREATE TEMP TABLE IF NOT EXISTS refolding(kind TEXT, uid TEXT, PRIMARY KEY(kind, uid)) WITHOUT ROWID")
    db.execute("DELETE FROM refolding")
    db.executemany("INSERT INTO refolding VALUES (?, ?)", wanted)
    rows = db.execute(
        "SELECT r.kind, r.uid, e.line FROM refolding r CROSS JOIN events e ON e.kind = r.kind AND e.uid = r.uid"
        " WHERE e.visible = 1 ORDER BY r.kind, r.uid"
    )
    grouped = ((key, [line for *_, line in lines]) for key, lines in itertools.groupby(rows, key=lambda row: row[:2]))
    return dict(folded(grouped, len(wanted)))


def _write(db: Connection, records: set[Record], states: States, made: set[Record]) -> _Outcome:
    columns = _columns(db)
    outcome = _put_rows(db, records, states, columns)
    standing = {(state.kind, state.uid) for state in outcome.standing}
    outcome.appeared |= made & standing
    outcome.vanished |= {record for record in made - standing - outcome.fallen if record[0] in KINDS}
    # A row that a rule of this version refuses takes its references with it; one that appears gives them back.
    held = _held(db)
    again = _naming(db, outcome.fallen) | (_naming(db, outcome.appeared) & held if held else set())
    if again := again - records:
        _widen(db, records, states, again)
        db.executemany("DELETE FROM held WHERE kind = ? AND uid = ?", sorted(again))
        more = _put_rows(db, again, states, columns)
        outcome.standing += more.standing
        outcome.appeared |= more.appeared
        outcome.vanished |= more.vanished
    look_up = resolver(db, len(records))
    for kind in KINDS:
        mine = [state for state in outcome.standing if state.kind == kind]
        _put_references(db, kind, mine, columns[kind], look_up)
    _put_edges(db, {uid for kind, uid in records if kind == "relationship"}, states, look_up)
    return outcome


def _held(db: Connection) -> set[Record]:
    return set(db.execute("SELECT kind, uid FROM held").fetchall())


def _remember(db: Connection, outcome: _Outcome, moved: set[Record]) -> None:
    """Leave word for what follows from rows: which edges to derive again, which references in messages to look up."""
    again = [(state.kind, state.uid) for state in outcome.standing if state.kind != "need"]
    again += [record for record in outcome.vanished if record[0] in ("agent", "annotation", "fact")]
    db.executemany("INSERT OR IGNORE INTO underived VALUES (?, ?)", again)
    if any(kind == "agent" for kind, _ in moved):
        store.put(db, "file_edges", "cut")
    changed = outcome.appeared | outcome.vanished
    if changed or moved:
        _unsettle_references(db, changed, everything=bool(moved) or _are_contested(db, changed))
        if moved or db.execute("SELECT 1 FROM commit_references WHERE targets IS NULL LIMIT 1").fetchone():
            store.bump(db, "population")


def _are_contested(db: Connection, records: set[Record]) -> bool:
    """Whether one of the records got another number than the one it was made with: bare numbers may mean others now."""
    sql = "SELECT 1 FROM numbers WHERE number <> claimed"
    if len(records) > MANY:
        return db.execute(f"{sql} LIMIT 1").fetchone() is not None
    return any(db.execute(f"{sql} AND kind = ? AND uid = ?", record).fetchone() for record in records)


def _unsettle_references(db: Connection, records: set[Record], *, everything: bool) -> None:
    """References in commit messages that may now mean another record, or none, are looked up again."""
    if not db.execute("SELECT 1 FROM commit_references WHERE targets IS NOT NULL LIMIT 1").fetchone():
        return
    if everything or len(records) > MANY:
        db.execute("UPDATE commit_references SET targets = NULL")
        return
    for kind, uid in records:
        # By its target, and by a prefix in the value that would be ambiguous now.
        db.execute(
            "UPDATE commit_references SET targets = NULL WHERE targets LIKE ? OR value LIKE ?",
            (f"%{kind}:{uid}%", f"%{kind}-{uid[:6]}%"),
        )


_known_columns: dict[str, list[_Column]] = {}  # the same in every index of this program's schema version


def _columns(db: Connection) -> dict[str, list[_Column]]:
    if not _known_columns:
        for kind, name, form, target in db.execute('SELECT kind, "column", form, target FROM captured').fetchall():
            _known_columns.setdefault(kind, []).append(_Column(name, form, target))
    return _known_columns


# --- rows


def _put_rows(db: Connection, records: set[Record], states: States, columns: dict[str, list[_Column]]) -> _Outcome:
    """Rows without their references."""
    outcome = _Outcome()
    names = {kind: _value_names(kind, columns[kind]) for kind in KINDS}
    rows = {kind: _rows_of(db, kind, ["id", *names[kind]], [u for k, u in records if k == kind]) for kind in KINDS}
    before = {(kind, uid) for kind in KINDS for uid in rows[kind]} & records
    _put_conflicts(db, records, states)
    for kind, uid in sorted(records):
        state = states.get((kind, uid))
        if kind not in KINDS:
            if kind not in columns and state is not None:
                _hold(db, state, f"a newer version knows the kind {kind}")
        elif state is None or not state.alive or state.born is None:
            _remove(db, kind, uid, state)
            if (kind, uid) in before:
                outcome.vanished.add((kind, uid))
        else:
            outcome.standing.append(state)
    for kind in KINDS:
        mine = [state for state in outcome.standing if state.kind == kind]
        outcome.fallen |= _upsert(db, kind, mine, names[kind], rows[kind])
    outcome.vanished |= outcome.fallen & before
    outcome.standing = [state for state in outcome.standing if (state.kind, state.uid) not in outcome.fallen]
    outcome.appeared = {(state.kind, state.uid) for state in outcome.standing} - before
    return outcome


def _value_names(kind: str, columns: list[_Column]) -> list[str]:
    """The columns of a kind's table that follow from its own events alone."""
    names = [column.name for column in columns if column.form == "value" and column.name != "id"]
    names += ["closed_by"] if kind in ("need", "task") else []
    return names if kind == "agent" else [*names, "updated_at"]


def _rows_of(db: Connection, kind: str, names: list[str], uids: list[str]) -> dict[str, tuple[Any, ...]]:
    """uid -> the given columns, of the records that have a row (and, where many are asked for, of all others too)."""
    sql = f"SELECT uid, {', '.join(names)} FROM {TABLE_OF[kind]} WHERE "
    with store.any_text(db, "surrogateescape"):  # which equals nothing that an event can say
        if len(uids) > MANY:
            rows = db.execute(f"{sql} origin = 'record'").fetchall()
        else:
            rows = [row for uid in uids for row in db.execute(f"{sql} uid = ?", (uid,))]
    return {row[0]: row[1:] for row in rows}


def _upsert(
    db: Connection, kind: str, states: list[State], names: list[str], before: dict[str, tuple[Any, ...]]
) -> set[Record]:
    """Write the rows of one kind that are not `before` as they should be: what was typed is what it folds to, as a rule.
    Returns those that a rule of this version refused, which are held."""
    rows, told = [], []
    numbers = numbers_of(db, kind, [state.uid for state in states])
    for state in states:
        wanted = (numbers.get(state.uid), *(_value(state, name) for name in names))
        if before.get(state.uid) != wanted:
            rows.append((state.uid, *wanted))
            told.append(state)
    if kind == "agent" and rows:
        # Ids of sessions are local; one that sits on a record's number makes way and is derived again.
        mine = [(row[1], row[0]) for row in rows]
        db.executemany("DELETE FROM agents WHERE id = ? AND uid <> ? AND origin = 'derived'", mine)
    sets = ", ".join(f"{name} = excluded.{name}" for name in names)
    sql = (
        f"INSERT INTO {TABLE_OF[kind]}(uid, id, {', '.join(names)}) VALUES ({', '.join('?' * (len(names) + 2))})"
        f" ON CONFLICT(uid) DO UPDATE SET {sets}"
    )
    fallen = set()
    for n, reason in _each(db, sql, rows):
        db.execute(f"DELETE FROM {TABLE_OF[kind]} WHERE uid = ?", (told[n].uid,))
        _hold(db, told[n], reason)
        fallen.add((kind, told[n].uid))
    return fallen


def _value(state: State, name: str) -> Any:
    """What a record's state says of a column."""
    if name == "closed_by":
        return state.closed_by
    return state.fields.get(name) or (iso(state.newest_ms) if name == "updated_at" else state.fields.get(name))


def _each(db: Connection, sql: str, rows: Sequence[Sequence[Any]]) -> list[tuple[int, str]]:
    """Run a statement that may be run twice for each row; where one is refused, row by row. Returns (place, reason).
    Without rows it is not even compiled: with all triggers that takes SQLite more than a millisecond."""
    if not rows:
        return []
    try:
        db.executemany(sql, rows)
        return []
    except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError):
        pass
    refused = []
    for n, row in enumerate(rows):
        try:
            db.execute(sql, row)
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError) as error:
            refused.append((n, rule_of(error) if isinstance(error, sqlite3.Error) else str(error)))
    return refused


def _put_references(db: Connection, kind: str, states: list[State], columns: list[_Column], look_up: Resolve) -> None:
    """Foreign keys and arrays of one kind's rows. What is not here is left out, and the record is held as well."""
    columns = [column for column in columns if column.form in ("ref", "refs")]
    if not columns or not states:
        return
    before = _rows_of(db, kind, [column.name for column in columns], [state.uid for state in states])
    rows, told, missing = [], [], []
    for state in states:
        absent: list[str] = []
        wanted = tuple(_reference(column, state.fields.get(column.name), look_up, absent) for column in columns)
        if before.get(state.uid) != wanted:
            rows.append((*wanted, state.uid))
            told.append(state)
        if absent:
            missing.append((state, "it names what is not here: " + ", ".join(absent)))
    sets = ", ".join(f"{column.name} = ?" for column in columns)
    for n, reason in _each(db, f"UPDATE {TABLE_OF[kind]} SET {sets} WHERE uid = ?", rows):
        _hold(db, told[n], reason)
    for state, reason in missing:
        _hold(db, state, reason)


def _reference(column: _Column, given: Any, look_up: Resolve, absent: list[str]) -> Any:
    """The value of a reference or an array of them; what it names and is not here is added to `absent`."""
    if column.form == "ref":
        found = look_up(given) if given else None
        if given and found is None:
            absent.append(str(given))
        return found
    listed = given if isinstance(given, list) else None
    ids = {str(key): look_up(key) for key in listed or []}
    absent += [key for key, found in ids.items() if found is None]
    standing = sorted(found for found in ids.values() if found is not None)
    return json.dumps(standing) if standing or listed is not None else None


# --- edges

_RIVAL = "it says the same as edge"
_ENDS = "source_type, source_id, relationship_type, target_type, target_id"


def _put_edges(db: Connection, uids: set[str], states: States, look_up: Resolve) -> None:
    """The rows of edges that somebody declared. One whose end is not here is cut: it waits in `held`. So does one that came
    to say the same as another (a file was renamed to what that one names): the greater uid stands."""
    rivals = {uid for (uid,) in db.execute("SELECT uid FROM held WHERE reason LIKE ?", (f"{_RIVAL}%",))}
    db.executemany("DELETE FROM held WHERE kind = 'relationship' AND uid = ?", [(uid,) for uid in rivals])
    uids = uids | rivals
    states |= states_of(db, {("relationship", uid) for uid in uids} - states.keys())
    before = _edges_of(db, sorted(uids))
    wanted: dict[str, tuple[Any, ...]] = {}
    for uid in sorted(uids):
        state = states.get(("relationship", uid))
        row = _edge(db, state, look_up) if state is not None and state.alive else None
        if row is not None:
            wanted[uid] = row
        if uid in before and (row is None or before[uid][:5] != row[:5]):
            db.execute("DELETE FROM relationships WHERE uid = ? AND origin = 'record'", (uid,))
    taken = f"SELECT uid FROM relationships WHERE ({_ENDS}) = (?, ?, ?, ?, ?) AND origin = 'record'"
    standing = {uid for row in wanted.values() for (uid,) in db.execute(taken, row[:5])}
    if others := standing - uids:
        _put_edges(db, uids | others, states, look_up)
        return
    winners = {row[:5]: uid for uid, row in wanted.items()}  # in the order of uids: the greatest comes last
    rows = []
    for uid, row in wanted.items():
        if winners[row[:5]] != uid:
            _hold(db, states["relationship", uid], f"{_RIVAL} {winners[row[:5]][:12]}")
        elif before.get(uid) != row or uid not in standing:
            rows.append((*row, uid))
    sql = (
        f"INSERT INTO relationships({_ENDS}, metadata, created_at, evidence, uid) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        f" ON CONFLICT({_ENDS}) DO UPDATE SET metadata = excluded.metadata, created_at = excluded.created_at,"
        " uid = excluded.uid, evidence = excluded.evidence, origin = 'record'"
    )
    for n, reason in _each(db, sql, rows):
        db.execute("DELETE FROM relationships WHERE uid = ? AND origin = 'record'", (rows[n][-1],))
        _hold(db, states["relationship", rows[n][-1]], reason)


def _edges_of(db: Connection, uids: list[str]) -> dict[str, tuple[Any, ...]]:
    sql = f"SELECT uid, {_ENDS}, metadata, created_at, evidence FROM relationships WHERE origin = 'record'"
    if len(uids) > MANY:
        return {row[0]: row[1:] for row in db.execute(sql)}
    found = (db.execute(f"{sql} AND uid = ?", (uid,)).fetchone() for uid in uids)
    return {row[0]: row[1:] for row in found if row}


def _edge(db: Connection, state: State, look_up: Resolve) -> tuple[Any, ...] | None:
    """The row of an edge, or None (and it is held) while an end is not here."""
    fields = state.fields
    ends = []
    for side in ("source", "target"):
        key = str(fields.get(side))
        found = look_up(key)
        if found is None:
            _hold(db, state, f"its {side} {key} is not here")
            return None
        ends.append((key.partition(":")[0], found))
    if not isinstance(fields.get("type"), str):
        _hold(db, state, "its type is no text")
        return None
    row = (*ends[0], fields["type"], *ends[1])
    return (*row, fields.get("metadata"), fields.get("created_at"), evidence(db, row, fields.get("metadata")))


def _remove(db: Connection, kind: str, uid: str, state: State | None) -> None:
    db.execute(f"DELETE FROM {TABLE_OF[kind]} WHERE uid = ? AND origin = 'record'", (uid,))
    if state is None:
        return
    if state.born is None:
        _hold(db, state, "no event that creates it is here")
        return
    number = number_of(db, kind, uid) if kind in ROW_KINDS else None
    if number is not None:
        db.execute(
            "INSERT OR REPLACE INTO record_keys(kind, number, uid, dead) VALUES (?, ?, ?, 1)", (kind, number, uid)
        )
        reserve_number(db, kind, number)


def _hold(db: Connection, state: State, reason: str) -> None:
    shown = json.dumps(state.fields, ensure_ascii=False, sort_keys=True, default=str)
    db.execute("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?)", (state.kind, state.uid, reason, shown))


def _put_conflicts(db: Connection, records: set[Record], states: States) -> None:
    if db.execute("SELECT 1 FROM conflicts LIMIT 1").fetchone():
        db.executemany("DELETE FROM conflicts WHERE kind = ? AND uid = ?", sorted(records))
    db.executemany(
        "INSERT OR REPLACE INTO conflicts(kind, uid, field, loser, winner) VALUES (?, ?, ?, ?, ?)",
        [
            (*record, loss.field, loss.loser, loss.winner)
            for record in sorted(records)
            if (state := states.get(record)) is not None
            for loss in state.losses
        ],
    )
