"""The index's memory of events: each once, whichever way it came; what they name; which of them count."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable

from mlos_sync.app.numbering import Record, reserve_number
from mlos_sync.core import journal
from mlos_sync.core.entries import Entries, entries_of
from mlos_sync.edge import store

SKEW_MS = 86_400_000  # a clock more than a day ahead is not followed; causality keeps its events in order anyway


def add_events(
    db: store.Connection, events: Iterable[journal.Event], *, in_ledger: bool = False, closing: str | None = None
) -> set[int]:
    """Remember events; what is known keeps its place, and gains the ledger mark. Returns the events' places in the index."""
    return set(place(db, [entries_of(events)], in_ledger=in_ledger, closing=closing).values())


def place(
    db: store.Connection, found: Iterable[Entries], *, in_ledger: bool = False, closing: str | None = None
) -> dict[tuple[str, str], int]:
    """The same for what the index keeps of them; returns (id, sum) -> place."""
    found = list(found)
    rows = [(*row, int(in_ledger), closing) for entries in found for row in entries.rows]
    if not rows:
        return {}
    (top,) = db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
    db.executemany(
        "INSERT INTO events(id, sum, kind, uid, clock_ms, clock_n, line, ledger, closing)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id, sum) DO UPDATE SET"
        " ledger = max(ledger, excluded.ledger), closing = coalesce(closing, excluded.closing)",
        rows,
    )
    mentions = itertools.chain.from_iterable(entries.mentions for entries in found)
    db.executemany("INSERT OR IGNORE INTO mentions VALUES (?, ?, ?)", mentions)
    _follow_clock(db, ((row[4], row[5]) for row in rows))
    for kind in {kind for entries in found for kind in entries.numbers}:
        # Also of events that do not count here (another branch's): a number is given out once.
        reserve_number(db, kind, max(entries.numbers.get(kind, 0) for entries in found))
    twins = "SELECT 1 FROM events n CROSS JOIN events o ON o.id = n.id AND o.seq <> n.seq WHERE n.seq > ? LIMIT 1"
    if db.execute(twins, (top,)).fetchone():
        store.put(db, "twins", "yes")
    new = {(event, own): seq for event, own, seq in db.execute("SELECT id, sum, seq FROM events WHERE seq > ?", (top,))}
    known = "SELECT seq FROM events WHERE id = ? AND sum = ?"
    return {row[:2]: new.get(row[:2]) or db.execute(known, row[:2]).fetchone()[0] for row in rows}


def _follow_clock(db: store.Connection, clocks: Iterable[tuple[int, int]]) -> None:
    """No event that is made here from now on is older than one that was seen."""
    ahead = int(time.time() * 1000) + SKEW_MS
    ms, _, counter = store.get(db, "clock", "0 0").partition(" ")
    latest = max(((int(ms), int(counter)), *(clock for clock in clocks if clock[0] <= ahead)))
    store.put(db, "clock", f"{latest[0]} {latest[1]}")


def counting(db: store.Connection, record: Record) -> list[journal.Event]:
    """The events of a record that count here. Raises BadLineError."""
    lines = db.execute("SELECT line FROM events WHERE kind = ? AND uid = ? AND visible = 1", record).fetchall()
    return [journal.trusted(line) for (line,) in lines]


# Where the segments are that hold an event; an event that no segment holds is nowhere.
_TABLES = """
CREATE TEMP TABLE IF NOT EXISTS touched(event INTEGER PRIMARY KEY);
CREATE TEMP TABLE IF NOT EXISTS verdicts(event INTEGER PRIMARY KEY, visible, pending, waiting);
DELETE FROM touched; DELETE FROM verdicts
"""
_VERDICTS = """
INSERT INTO verdicts
WITH place AS (
    SELECT t.event AS event, coalesce(max(s.in_head), 0) AS in_head, coalesce(max(s.held), 0) AS held,
           coalesce(max(s.in_head | s.in_history | s.on_disk), 0) AS here
    FROM touched t LEFT JOIN segment_events e ON e.event = t.event LEFT JOIN segments s ON s.number = e.segment
    GROUP BY t.event
), judged AS (
    SELECT p.event, p.in_head, NOT p.here AND (e.ledger OR e.stood AND e.closing IS NULL) AS waiting,
           p.here OR e.ledger AND NOT p.held
           OR e.closing IS NOT NULL AND EXISTS (SELECT 1 FROM commits WHERE sha = e.closing) AS visible
    FROM place p CROSS JOIN events e ON e.seq = p.event
)
SELECT event, visible, visible AND NOT in_head, waiting FROM judged
"""


# Of two lines under one id, one that only damaged segments hold (somebody altered the file) is not heard beside one from
# a whole segment or from the pending log. Of two that are both whole the fold takes the greater.
_OVERRULED = """
UPDATE verdicts SET visible = 0, pending = 0 WHERE visible AND event IN (
    WITH sound AS (
        SELECT e.id, e.seq FROM touched t JOIN events e ON e.seq = t.event WHERE e.ledger OR EXISTS (
            SELECT 1 FROM segment_events m JOIN segments s ON s.number = m.segment
            WHERE m.event = e.seq AND s.problem IS NULL AND (s.in_head OR s.in_history OR s.on_disk))
    )
    SELECT e.seq FROM touched t JOIN events e ON e.seq = t.event
    WHERE e.seq NOT IN (SELECT seq FROM sound) AND e.id IN (SELECT id FROM sound)
)
"""


def update_visibility(db: store.Connection, touched: Iterable[int]) -> set[Record]:
    """Decide again which of the touched events count. Returns the records to fold again."""
    for statement in _TABLES.split(";"):
        db.execute(statement)
    db.executemany("INSERT OR IGNORE INTO touched VALUES (?)", [(event,) for event in touched])
    twins = store.get(db, "twins") == "yes"
    if twins:
        both = "FROM touched t JOIN events e ON e.seq = t.event JOIN events o ON o.id = e.id"
        db.execute(f"INSERT OR IGNORE INTO touched SELECT o.seq {both}")
    db.execute(_VERDICTS)
    if twins:
        db.execute(_OVERRULED)
    # CROSS JOIN: the verdicts first. Left to itself SQLite goes through all events, 19 ms of each 100,000.
    both = "FROM verdicts v CROSS JOIN events e ON e.seq = v.event"
    dirty = set(db.execute(f"SELECT DISTINCT e.kind, e.uid {both} WHERE e.visible <> v.visible").fetchall())
    db.execute(
        "UPDATE events SET (visible, pending, waiting, stood) ="
        " (SELECT v.visible, v.pending, v.waiting, stood OR v.visible FROM verdicts v WHERE v.event = seq)"
        f" WHERE seq IN (SELECT v.event {both}"
        " WHERE (e.visible, e.pending, e.waiting) IS NOT (v.visible, v.pending, v.waiting))"
    )
    if dirty:
        store.bump(db, "revision")
    return dirty


def closings(db: store.Connection) -> set[int]:
    """Events that count while the commit which makes them is reachable."""
    return {event for (event,) in db.execute("SELECT seq FROM events WHERE closing IS NOT NULL")}


def count(db: store.Connection, state: str) -> int:
    """How many events are `pending`, or `waiting`."""
    return int(db.execute(f"SELECT count(*) FROM events WHERE {state} = 1").fetchone()[0])
