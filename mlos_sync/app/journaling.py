"""The journal's way in and out of the index: flush what triggers captured, take in ledger and segments, fold.

An event counts here (`visible`) when a segment in HEAD's tree, in HEAD's history or in the work tree holds it, or when
it is in this clone's ledger and no branch, tag or remote ref holds it (it is pending and travels along on a switch, as
uncommitted changes do), or when it is the closing that a commit reachable from HEAD makes.

Standard library only below this module too: the pre-commit hook publishes through it.
"""

from __future__ import annotations

import os

from mlos_sync.app import segments
from mlos_sync.app.events import add_events
from mlos_sync.app.folding import Record, refold
from mlos_sync.app.minting import Mint
from mlos_sync.app.opening import Index
from mlos_sync.core import journal
from mlos_sync.edge import ledger, store


def absorb(index: Index) -> None:
    """Flush the outbox and take in ledger and segments, inside the caller's lock and transaction."""
    db, folder = index.db, index.workspace.common
    start = int(store.get(db, "ledger_size", "0"))
    appended, damaged, end = ledger.read(folder, start if start <= ledger.size(folder) else 0)
    fresh, unchanged = flush(index, {event.id for event in appended})
    with store.capture(db, on=False):
        add_events(db, appended, in_ledger=True)
        store.put(db, "ledger_size", str(end if not fresh else ledger.size(folder)))
        if damaged:
            store.observe(
                db, "ledger", [(place, "a damaged line of the pending log was passed over") for place in damaged]
            )
        touched = {event.id for event in (*appended, *fresh)} | segments.take(index) | segments.held_elsewhere(index)
        refold(db, update_visibility(db, touched) | unchanged)


def is_current(index: Index) -> bool:
    """Whether nothing has changed since the last time, by cheap looks only."""
    db = index.db
    if db.execute("SELECT 1 FROM outbox LIMIT 1").fetchone():
        return False
    if ledger.size(index.workspace.common) != int(store.get(db, "ledger_size", "0")):
        return False
    if not segments.are_current(index):
        return False
    waiting = store.get(db, "pending_ledger", "0") != "0"
    return not waiting or store.get(db, "refs") == segments.refs_text(index)


def flush(index: Index, known: set[str]) -> tuple[list[journal.Event], set[Record]]:
    """Turn captured changes into events, make them durable, then forget the outbox rows.

    `known` are event ids that a crash left in the ledger after the append: they are not made twice. Returns the events,
    and the records whose rows were written without a change that is journaled.
    """
    db = index.db
    kept, db.text_factory = db.text_factory, lambda data: data.decode("utf-8", "replace")
    try:
        captured = store.rows(db, "SELECT * FROM outbox ORDER BY seq")
    finally:
        db.text_factory = kept
    if not captured:
        return [], set()
    mint = Mint(index.db)
    minted = mint.mint(captured, known)
    if minted:
        os.makedirs(index.workspace.common, mode=0o700, exist_ok=True)
        ledger.append(index.workspace.common, minted)
    add_events(db, minted, in_ledger=True)
    db.execute("DELETE FROM outbox")
    return minted, mint.unchanged


_HERE = (
    "EXISTS (SELECT 1 FROM segment_events e JOIN segments s ON s.name = e.segment WHERE e.event = events.id AND ({0}))"
)
_VISIBLE = f"""
{_HERE.format("s.in_head = 1 OR s.in_history = 1 OR s.on_disk = 1")}
OR (ledger = 1 AND NOT {_HERE.format("s.held = 1")})
OR (closing IS NOT NULL AND EXISTS (SELECT 1 FROM commits WHERE sha = closing))
"""


def update_visibility(db: store.Connection, touched: set[str]) -> set[Record]:
    """Decide again which of the touched events count. Returns the records to fold again."""
    dirty: set[Record] = set()
    closings = {event for (event,) in db.execute("SELECT id FROM events WHERE closing IS NOT NULL")}
    for event in touched | closings:
        row = db.execute(f"SELECT kind, uid, visible, ({_VISIBLE}) FROM events WHERE id = ?", (event,)).fetchone()
        if row and row[2] != row[3]:
            db.execute("UPDATE events SET visible = ? WHERE id = ?", (row[3], event))
            dirty.add((row[0], row[1]))
    if dirty:
        store.bump(db, "revision")
    return dirty


# In no segment of HEAD's tree; a segment that only lies on disk is no commit's.
_UNCOMMITTED = _HERE.format("s.in_head = 1")
PENDING = f"SELECT line FROM events WHERE visible = 1 AND NOT {_UNCOMMITTED} ORDER BY clock_ms, clock_n, id"


def count_unwritten(db: store.Connection) -> int:
    """How many events no segment holds, neither in HEAD's tree nor on disk."""
    here = _HERE.format("s.in_head = 1 OR s.on_disk = 1")
    return int(db.execute(f"SELECT count(*) FROM events WHERE visible = 1 AND NOT {here}").fetchone()[0])


def count_pending(db: store.Connection) -> None:
    """Remember how many events no commit of this branch holds, so that a hook can ask with one look."""
    (pending,) = db.execute(f"SELECT count(*) FROM ({PENDING})").fetchone()
    (waiting,) = db.execute(f"SELECT count(*) FROM ({segments.LEDGER_ONLY})").fetchone()
    store.put(db, "pending", str(pending))
    store.put(db, "pending_ledger", str(waiting))
