"""The journal's way in and out of the index: flush what triggers captured, take in ledger and segments, fold.

An event counts here (`visible`) when a segment in HEAD's tree, in HEAD's history or in the work tree holds it, or when
it is in this clone's ledger and no branch, tag or remote ref holds it (it is pending and travels along on a switch, as
uncommitted changes do), or when it is the closing that a commit reachable from HEAD makes.

Standard library only below this module too: the pre-commit hook publishes through it.
"""

from __future__ import annotations

import os

from mlos_sync.app import looking, segments
from mlos_sync.app.events import add_events, count, update_visibility
from mlos_sync.app.folding import refold
from mlos_sync.app.minting import Mint
from mlos_sync.app.numbering import Record
from mlos_sync.app.opening import Index
from mlos_sync.core import journal
from mlos_sync.edge import ledger, store


def absorb(index: Index, seen: looking.Look, paths: set[str]) -> None:
    """Flush the outbox and take in ledger and segments, inside the caller's lock and transaction, capture off; `paths` are
    those whose history changed."""
    db = index.db
    appended = read_ledger(index)
    minted, unchanged = flush(index, {event.id for event in appended})
    touched = add_events(db, (*appended, *minted), in_ledger=True) | segments.take(index, seen, paths)
    dirty = update_visibility(db, touched) if touched else set()
    touched = segments.held_elsewhere(index, seen)
    dirty |= update_visibility(db, touched) if touched else set()
    refold(db, dirty | unchanged, {(event.kind, event.uid) for event in minted if event.op != "update"})


def read_ledger(index: Index) -> list[journal.Event]:
    """What was appended to the pending log since the last time. A log that has shrunk or gone, or in which something else
    stands, was taken away by hand or lost its end with the power: what only this index still has of it counts as before,
    and is written again with the next record, or by a rebuild."""
    db, folder = index.db, index.workspace.common
    if _is_read(index):
        return []
    start, size = int(store.get(db, "ledger_size", "0")), ledger.size(folder)
    if size < start or ledger.mark(folder, start) != store.get(db, "ledger_mark"):
        store.put(db, "ledger_lost", "yes")
        start = 0
    appended, damaged, end = ledger.read(folder, start)
    if damaged and start:
        damaged = ledger.read(folder, 0)[1]
    if damaged or not start:
        observe_ledger(index, damaged)
    if appended:
        ledger.owe(folder)  # whoever appended it may have been killed before it was durable, and nobody else told of it
    _note_read(index, end, size)
    return appended


def _is_read(index: Index) -> bool:
    """Whether the pending log is as it was when it was read last."""
    db, folder = index.db, index.workspace.common
    if ledger.size(folder) != int(store.get(db, "ledger_seen", "0")):
        return False
    return ledger.mark(folder, int(store.get(db, "ledger_size", "0"))) == store.get(db, "ledger_mark")


def _note_read(index: Index, end: int, size: int) -> None:
    """Remember how far the pending log was read, and how long it was."""
    for key, value in (("size", str(end)), ("seen", str(size)), ("mark", ledger.mark(index.workspace.common, end))):
        store.put(index.db, f"ledger_{key}", value)


def observe_ledger(index: Index, damaged: list[str]) -> None:
    """Name the damaged lines of the pending log; none clears it."""
    place = os.path.join(index.workspace.common, ledger.NAME)
    shown = os.path.relpath(place, index.workspace.root)
    told = "; ".join(damaged[:5]) + (f"; and {len(damaged) - 5} more" if len(damaged) > 5 else "")
    found = [(place if shown.startswith("..") else shown, f"{told}; passed over, the rest is kept")] if damaged else []
    store.observe(index.db, "ledger", found)


def lost_lines(db: store.Connection, known: set[str]) -> list[journal.Event]:
    """Events of this clone's pending log that are not among the ids `known`, as far as the index has them whole."""
    found = []
    for event, line in db.execute("SELECT id, line FROM events WHERE ledger = 1 ORDER BY clock_ms, clock_n, id"):
        if event not in known:
            try:
                found.append(journal.decode(line.encode("utf-8", "surrogateescape")))
            except journal.BadLineError:
                continue  # a damaged disk made something of it
    return found


def is_current(index: Index, seen: looking.Look) -> bool:
    """Whether nothing has changed since the last time, by cheap looks only."""
    db = index.db
    if db.execute("SELECT 1 FROM outbox LIMIT 1").fetchone():
        return False
    return _is_read(index) and looking.are_current(index, seen)


def flush(index: Index, known: set[str]) -> tuple[list[journal.Event], set[Record]]:
    """Turn captured changes into events, make them durable, then forget the outbox rows.

    `known` are event ids that a crash left in the ledger after the append: they are not made twice. Returns the events,
    and the records whose rows were written without a change that is journaled. Asks of the database only what every
    version of the schema has, so that an old one can be emptied.
    """
    db, folder = index.db, index.workspace.common
    with store.any_text(db, "replace"):
        captured = store.rows(db, "SELECT * FROM outbox ORDER BY seq")
    if not captured:
        return [], set()
    mint = Mint(db)
    minted = mint.mint(captured, known)
    minted = [*mint.adopted, *minted]
    if minted:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        again = []
        if store.get(db, "ledger_lost") == "yes":
            again = lost_lines(db, {event.id for event in ledger.read(folder, 0)[0]})
            store.put(db, "ledger_lost", "")
        ledger.append(folder, (*again, *minted), durable=False)  # by whoever began the transaction: `opening.writing`
        _note_read(index, ledger.size(folder), ledger.size(folder))
    db.execute("DELETE FROM outbox")
    return minted, mint.unchanged


def count_unwritten(db: store.Connection) -> int:
    """How many events no segment holds, neither in HEAD's tree nor on disk."""
    sql = (
        "SELECT count(*) FROM events WHERE visible = 1 AND pending = 1 AND NOT EXISTS (SELECT 1 FROM segment_events e"
        " JOIN segments s ON s.number = e.segment WHERE e.event = events.seq AND s.on_disk = 1)"
    )
    return int(db.execute(sql).fetchone()[0])


def unnamed(db: store.Connection) -> list[str]:
    """Ids of pending events that were committed once, in commits that no branch, tag or remote ref names any more."""
    sql = (
        "SELECT id FROM events WHERE pending = 1 AND EXISTS (SELECT 1 FROM segment_events e JOIN segments s"
        " ON s.number = e.segment WHERE e.event = events.seq AND s.committed)"
        " AND NOT EXISTS (SELECT 1 FROM segment_events e JOIN segments s ON s.number = e.segment WHERE"
        " e.event = events.seq AND (s.in_head OR s.in_history OR s.on_disk OR s.held)) ORDER BY clock_ms, clock_n, id"
    )
    return [event for (event,) in db.execute(sql)]


def count_pending(db: store.Connection) -> None:
    """Remember how many events no commit of this branch holds, so that a hook can ask with one look."""
    store.put(db, "pending", str(count(db, "pending")))
