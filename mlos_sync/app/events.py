"""The index's memory of events: each once, whichever way it came."""

from __future__ import annotations

import time
from collections.abc import Iterable

from mlos_sync.app.folding import reserve_number
from mlos_sync.core import journal
from mlos_sync.edge import store

SKEW_MS = 86_400_000  # a clock more than a day ahead is not followed; causality keeps its events in order anyway


def add_events(
    db: store.Connection, events: Iterable[journal.Event], *, in_ledger: bool = False, closing: str | None = None
) -> None:
    """Remember events; what is known keeps its place, and gains the ledger mark. Of two lines under one id (forged) the
    greater stands, whichever came first."""
    ahead = int(time.time() * 1000) + SKEW_MS
    ms, _, counter = store.get(db, "clock", "0 0").partition(" ")
    clock = (int(ms), int(counter))
    rows = []
    numbers: dict[str, int] = {}
    for event in events:
        number = event.fields.get("id")
        if type(number) is int and event.kind in ("need", "task", "agent") and 0 < number < 2**53:
            numbers[event.kind] = max(number, numbers.get(event.kind, 0))
        rows.append((event.id, event.kind, event.uid, *event.clock, event.line, int(in_ledger), closing))
        if clock < event.clock and event.clock[0] <= ahead:
            clock = event.clock
    db.executemany(
        "INSERT INTO events(id, kind, uid, clock_ms, clock_n, line, ledger, closing) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT(id) DO UPDATE SET visible = CASE WHEN excluded.line > line THEN 0 ELSE visible END,"
        " line = max(line, excluded.line), ledger = max(ledger, excluded.ledger),"
        " closing = coalesce(closing, excluded.closing)",
        rows,
    )
    store.put(db, "clock", f"{clock[0]} {clock[1]}")
    for kind, number in numbers.items():
        # Also of events that do not count here (another branch's): a number is given out once.
        reserve_number(db, kind, number)
