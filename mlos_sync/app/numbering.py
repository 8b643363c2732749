"""Numbers: the integer id of each need, task and agent, by a rule that looks only at the set of creations.

A record carries the number that its creation claims. Where two claim one, the earlier-born keeps it and the later moves
to the first free number above all that were claimed before it; nothing else moves, and the claimed number stays as an
alias. Callers are in a transaction, capture off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlos_sync.core.fold import State
from mlos_sync.core.vocabulary import TABLE_OF
from mlos_sync.edge.store import Connection

Record = tuple[str, str]  # kind, uid
NO_CLAIM = 0  # of a record whose creation names no number that could be one
ROW_KINDS = ("need", "agent", "task")
MANY = 500  # from so many records on, tables are read whole instead of row by row


def assign_numbers(db: Connection, records: Iterable[Record], states: Mapping[Record, State]) -> set[Record]:
    """Give each of the records its number. Returns the records whose row stands under another one and must move."""
    came: dict[str, list[tuple[str, int, str]]] = {kind: [] for kind in ROW_KINDS}
    went: set[str] = set()
    records = list(records)
    claims = _claims(db, records)
    for kind, uid in records:
        if kind not in came:
            continue
        state = states.get((kind, uid))
        known = claims.get((kind, uid))
        if state is None or state.born is None:
            if known is not None:
                db.execute("DELETE FROM numbers WHERE kind = ? AND uid = ?", (kind, uid))
                went.add(kind)
            continue
        claim = (_claimed(state), f"{state.born[0]:016d}:{state.born[1]:08d}")
        if known != claim:
            came[kind].append((uid, *claim))
            if known is not None:
                went.add(kind)
    moved: set[Record] = set()
    for kind in ROW_KINDS:
        if came[kind] or kind in went:
            moved |= _settle(db, kind, came[kind], lost=kind in went)
    return moved


def _claims(db: Connection, records: list[Record]) -> dict[Record, tuple[int, str]]:
    """(claimed number, birth) of those of the records that have one, and, where many are asked for, of all others too."""
    sql = "SELECT kind, uid, claimed, born FROM numbers"
    if len(records) > MANY:
        rows = db.execute(sql).fetchall()
    else:
        rows = [row for record in records for row in db.execute(f"{sql} WHERE kind = ? AND uid = ?", record)]
    return {(kind, uid): (claimed, born) for kind, uid, claimed, born in rows}


def _claimed(state: State) -> int:
    claimed = state.fields.get("id")
    return claimed if type(claimed) is int and 0 < claimed < 2**53 else NO_CLAIM


def _settle(db: Connection, kind: str, came: list[tuple[str, int, str]], *, lost: bool) -> set[Record]:
    """Enter new claims and, only where somebody's number may change, number the whole kind again."""
    db.executemany(
        "INSERT INTO numbers(kind, uid, claimed, born, number) VALUES (?1, ?2, ?3, ?4, ?3)"
        " ON CONFLICT(kind, uid) DO UPDATE SET claimed = ?3, born = ?4",
        [(kind, *one) for one in came],
    )
    if not lost and not _has_rivals(db, kind, came):
        return set()
    changed = _numbers(db, kind)
    db.executemany("UPDATE numbers SET number = ? WHERE kind = ? AND uid = ?", [(n, kind, uid) for uid, n in changed])
    table = TABLE_OF[kind]
    # Not only those that changed just now: a number may also have been freed for, or taken from, a row that stands.
    rows = db.execute(
        f"SELECT t.uid FROM {table} t JOIN numbers n ON n.kind = ? AND n.uid = t.uid"
        " WHERE t.origin = 'record' AND t.id <> n.number",
        (kind,),
    )
    return {(kind, uid) for (uid,) in rows}


def _has_rivals(db: Connection, kind: str, came: list[tuple[str, int, str]]) -> bool:
    """Whether a new claim meets another one, or a number that was given out, or comes before a record that moved."""
    if any(claimed == NO_CLAIM for _, claimed, _ in came):
        return True
    last = db.execute("SELECT max(born) FROM numbers WHERE kind = ? AND number <> claimed", (kind,)).fetchone()[0]
    if last is not None and any(born <= last for _, _, born in came):
        return True
    if len(came) > 100:
        twice = "SELECT 1 FROM numbers WHERE kind = ? GROUP BY claimed HAVING count(*) > 1 LIMIT 1"
        return db.execute(twice, (kind,)).fetchone() is not None or last is not None
    return any(is_contested(db, kind, claimed) for _, claimed, _ in came)


def _numbers(db: Connection, kind: str) -> list[tuple[str, int]]:
    """(uid, number) of those whose number is not the one that stands."""
    known = db.execute("SELECT uid, claimed, number FROM numbers WHERE kind = ? ORDER BY born, uid", (kind,)).fetchall()
    wanted = numbered([(uid, claimed) for uid, claimed, _ in known])
    return [(uid, wanted[uid]) for uid, _, number in known if wanted[uid] != number]


def numbered(claims: list[tuple[str, int]]) -> dict[str, int]:
    """uid -> number, from what each record claims, the earliest-born first."""
    claimed_by_any = {claimed for _, claimed in claims}
    kept = {NO_CLAIM}
    given: set[int] = set()
    found: dict[str, int] = {}
    top = 0
    for uid, claimed in claims:
        wanted = claimed
        if claimed in kept:
            wanted = top + 1
            while wanted in claimed_by_any or wanted in given:
                wanted += 1
            given.add(wanted)
        kept.add(claimed)
        top = max(top, claimed)
        found[uid] = wanted
    return found


def is_contested(db: Connection, kind: str, number: int) -> bool:
    """Whether a number was ever given out twice, or is one that a record moved to."""
    sql = (
        "SELECT (SELECT count(*) FROM numbers WHERE kind = ?1 AND claimed = ?2) > 1"
        " OR EXISTS (SELECT 1 FROM numbers INDEXED BY numbers_moved"
        " WHERE kind = ?1 AND number = ?2 AND number <> claimed)"
    )
    return bool(db.execute(sql, (kind, number)).fetchone()[0])


def uid_in(db: Connection, kind: str, number: int, segments: Iterable[str]) -> str | None:
    """The record that carries a number where only the given segments (by name) are known."""
    named = list(segments)
    rows = db.execute(
        "SELECT DISTINCT e.uid, n.claimed, n.born FROM events e JOIN segment_events m ON m.event = e.seq"
        " JOIN segments s ON s.number = m.segment JOIN numbers n ON n.kind = e.kind AND n.uid = e.uid"
        f' WHERE e.kind = ? AND s.name IN ({", ".join("?" * len(named))}) AND e.line LIKE \'%"op":"create"%\''
        " ORDER BY n.born, e.uid",
        (kind, *named),
    ).fetchall()
    wanted = numbered([(uid, claimed) for uid, claimed, _ in rows])
    return next((uid for uid, found in wanted.items() if found == number), None)


def number_of(db: Connection, kind: str, uid: str) -> int | None:
    """The number that a record carries, or would carry if it lived."""
    row = db.execute("SELECT number FROM numbers WHERE kind = ? AND uid = ?", (kind, uid)).fetchone()
    return row[0] if row else None


def numbers_of(db: Connection, kind: str, uids: list[str]) -> dict[str, int]:
    """uid -> the number it carries, of one kind's records; where many are asked for, of all others too."""
    sql = "SELECT uid, number FROM numbers WHERE kind = ?"
    if len(uids) > MANY:
        return dict(db.execute(sql, (kind,)).fetchall())
    return dict(row for uid in uids for row in db.execute(f"{sql} AND uid = ?", (kind, uid)))


def reserve_number(db: Connection, kind: str, number: int) -> None:
    """See to it that no new record of a kind gets a number up to this one."""
    table = TABLE_OF[kind]
    if not db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (number, table)).rowcount:
        db.execute("INSERT INTO sqlite_sequence(name, seq) VALUES (?, ?)", (table, number))
