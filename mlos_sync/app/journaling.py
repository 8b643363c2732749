"""The journal's way in and out of the index: flush what triggers captured, take in ledger and segments, fold.

An event counts here (`visible`) when a segment in HEAD's tree or the work tree holds it, or when it is in this
clone's ledger and no branch, tag or remote ref holds it (it is pending and travels along on a switch, as uncommitted
changes do), or when it is the closing that a commit reachable from HEAD makes.

Standard library only below this module too: the pre-commit hook publishes through it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from typing import Any

from mlos_sync.app.folding import Record, refold
from mlos_sync.app.opening import Index
from mlos_sync.core import journal
from mlos_sync.core.fold import fold
from mlos_sync.core.ids import derived_uid
from mlos_sync.edge import git, ledger, store

SKEW_MS = 86_400_000  # a clock more than a day ahead is not followed; causality keeps its events in order anyway


def absorb(index: Index) -> None:
    """Flush the outbox and take in ledger and segments, inside the caller's lock and transaction."""
    db, folder = index.db, index.workspace.common
    start = int(store.get(db, "ledger_size", "0"))
    appended, damaged, end = ledger.read(folder, start if start <= ledger.size(folder) else 0)
    fresh = flush(index, {event.id for event in appended})
    with store.capture(db, on=False):
        touched = {event.id for event in (*appended, *fresh)}
        add_events(db, appended, in_ledger=True)
        store.put(db, "ledger_size", str(end if not fresh else ledger.size(folder)))
        if damaged:
            store.observe(
                db, "ledger", [(place, "a damaged line of the pending log was passed over") for place in damaged]
            )
        touched |= _take_segments(index)
        touched |= _held_elsewhere(index)
        refold(db, update_visibility(db, touched))


def read_sources(index: Index) -> tuple[str, str, str]:
    """HEAD, the journal's tree in it, and the listing of the journal in the work tree: texts that change when they do."""
    commit = tree = ""
    out = git.run(index.workspace.root, "rev-parse", "--quiet", "HEAD^{commit}", f"HEAD:{journal.FOLDER}", check=False)
    for line in out.decode().split("\n"):
        if len(line) in (40, 64) and not line.startswith("HEAD"):
            commit, tree = (line, tree) if not commit else (commit, line)
    return commit, tree, " ".join(sorted(_on_disk(index)))


def is_current(index: Index) -> bool:
    """Whether nothing has changed since the last time, by cheap looks only."""
    db = index.db
    if db.execute("SELECT 1 FROM outbox LIMIT 1").fetchone():
        return False
    if ledger.size(index.workspace.common) != int(store.get(db, "ledger_size", "0")):
        return False
    if read_sources(index) != (store.get(db, "head"), store.get(db, "journal_tree"), store.get(db, "journal_files")):
        return False
    waiting = store.get(db, "pending_ledger", "0") != "0"
    return not waiting or store.get(db, "refs") == refs_text(index)


def refs_text(index: Index) -> str:
    """What branches, tags and remote refs name, as one short text."""
    return derived_uid(*git.ref_tips(index.workspace.root))


def flush(index: Index, known: set[str]) -> list[journal.Event]:
    """Turn captured changes into events, make them durable, then forget the outbox rows. `known` are event ids that a
    crash left in the ledger after the append: they are not made twice."""
    db = index.db
    kept, db.text_factory = db.text_factory, lambda data: data.decode("utf-8", "replace")
    try:
        captured = store.rows(db, "SELECT * FROM outbox ORDER BY seq")
    finally:
        db.text_factory = kept
    if not captured:
        return []
    minted = _Mint(index).mint(captured, known)
    if minted:
        os.makedirs(index.workspace.common, mode=0o700, exist_ok=True)
        ledger.append(index.workspace.common, minted)
    add_events(db, minted, in_ledger=True)
    db.execute("DELETE FROM outbox")
    return minted


class _Mint:
    """Makes events from outbox rows: clock, what was seen, fields that changed."""

    def __init__(self, index: Index) -> None:
        self.db = index.db
        ms, _, counter = store.get(index.db, "clock", "0 0").partition(" ")
        self.clock = (int(ms), int(counter))
        self.heads: dict[Record, tuple[str, ...]] = {}
        self.edges: dict[str, str] = {}
        self.tx = derived_uid("tx", str(time.time_ns()), str(os.getpid()))

    def mint(self, captured: list[dict[str, Any]], known: set[str]) -> list[journal.Event]:
        """Events for the rows that have none yet."""
        made = []
        for row in captured:
            old, new = json.loads(row["old"] or "{}"), json.loads(row["new"] or "{}")
            fields = changed_fields(old, new, row["op"])
            if row["event"] in known or (row["op"] == "update" and not fields):
                continue
            uid = self._edge_uid(row["uid"], new or old) if row["kind"] == "relationship" else row["uid"]
            made.append(self._event(row, uid, fields))
        store.put(self.db, "clock", f"{self.clock[0]} {self.clock[1]}")
        return made

    def _event(self, row: dict[str, Any], uid: str, fields: dict[str, Any]) -> journal.Event:
        record = (row["kind"], uid)
        if record not in self.heads:
            self.heads[record] = heads_of(self.db, record)
        self.clock = journal.later(self.clock, _milliseconds(row["at"]))
        event = journal.make(
            id=row["event"], clock=self.clock, seen=self.heads[record], kind=row["kind"], uid=uid, op=row["op"],
            fields=fields, actor=row["actor"], door=row["door"], tx=row["tx"] or self.tx,
        )  # fmt: skip
        self.heads[record] = (event.id,)
        return event

    def _edge_uid(self, given: str, image: dict[str, Any]) -> str:
        """An edge is known by its ends and type; a row that stands under a name already keeps it (files move)."""
        if self.db.execute("SELECT 1 FROM events WHERE kind = 'relationship' AND uid = ? LIMIT 1", (given,)).fetchone():
            return given
        return self.edges.setdefault(given, derived_uid("edge", image["source"], image["type"], image["target"]))


def _milliseconds(text: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(text).timestamp() * 1000)


def heads_of(db: store.Connection, record: Record) -> tuple[str, ...]:
    """The newest events of a record that nothing visible here has seen."""
    lines = db.execute("SELECT line FROM events WHERE kind = ? AND uid = ? AND visible = 1", record).fetchall()
    return fold(journal.trusted(line) for (line,) in lines).heads if lines else ()


def changed_fields(old: dict[str, Any], new: dict[str, Any], op: str) -> dict[str, Any]:
    """What an event carries: for a creation all that is not null, for an update what differs; arrays as additions and
    removals."""
    if op == "delete":
        return {}
    fields: dict[str, Any] = {}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, list) or isinstance(before, list):
            add = [one for one in value or [] if one not in (before or [])]
            remove = [one for one in before or [] if one not in (value or [])]
            if add or remove:
                fields[name] = {key: ones for key, ones in (("add", add), ("remove", remove)) if ones}
        elif value != before or (op == "recreate" and value is not None):
            fields[name] = value
    return fields


def add_events(
    db: store.Connection, events: Iterable[journal.Event], *, in_ledger: bool = False, closing: str | None = None
) -> None:
    """Remember events; what is known keeps its place, and gains the ledger mark."""
    ahead = int(time.time() * 1000) + SKEW_MS
    ms, _, counter = store.get(db, "clock", "0 0").partition(" ")
    clock = (int(ms), int(counter))
    rows = []
    for event in events:
        rows.append((event.id, event.kind, event.uid, *event.clock, event.line, int(in_ledger), closing))
        if clock < event.clock and event.clock[0] <= ahead:
            clock = event.clock
    db.executemany(
        "INSERT INTO events(id, kind, uid, clock_ms, clock_n, line, ledger, closing) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT(id) DO UPDATE SET ledger = max(ledger, excluded.ledger), closing = coalesce(closing, excluded.closing)",
        rows,
    )
    store.put(db, "clock", f"{clock[0]} {clock[1]}")


def _on_disk(index: Index) -> dict[str, str]:
    """Segment name -> workspace path, of the files in the work tree's journal folder."""
    found: dict[str, str] = {}
    base = os.path.join(index.workspace.root, journal.FOLDER)
    for year in _names(base):
        for month in _names(os.path.join(base, year)):
            for name in _names(os.path.join(base, year, month)):
                path = f"{journal.FOLDER}/{year}/{month}/{name}"
                if segment := journal.name_of(path):
                    found[segment] = path
    return found


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder) if not os.path.islink(folder) else []
    except (FileNotFoundError, NotADirectoryError):
        return []


def _take_segments(index: Index) -> set[str]:
    """Read segments that are new to the index and note which are present. Returns the ids of events they touch."""
    db, root = index.db, index.workspace.root
    _, tree, disk = read_sources(index)
    if (store.get(db, "journal_tree"), store.get(db, "journal_files")) == (tree, disk):
        return set()
    in_tree = {
        name: blob
        for path, (_, blob) in git.tree_files(root, "HEAD", journal.FOLDER).items()
        if (name := journal.name_of(path))
    }
    on_disk = _on_disk(index)
    paths = {
        name: path for path in git.tree_files(root, "HEAD", journal.FOLDER) if (name := journal.name_of(path))
    } | on_disk
    read_new(index, in_tree, paths)
    before = {name for (name,) in db.execute("SELECT name FROM segments WHERE present = 1")}
    now = set(in_tree) | set(on_disk)
    db.executemany("UPDATE segments SET present = 0 WHERE name = ?", [(name,) for name in before - now])
    db.executemany("UPDATE segments SET present = 1 WHERE name = ?", [(name,) for name in now - before])
    store.put(db, "journal_tree", tree)
    store.put(db, "journal_files", disk)
    return events_in(db, before ^ now)


def read_new(index: Index, blobs: dict[str, str], paths: dict[str, str]) -> None:
    """Read the segments of `paths` that the index does not know or knows as damaged: from disk, and from git where
    the disk has none or a damaged one."""
    db, root = index.db, index.workspace.root
    whole = {name for (name,) in db.execute("SELECT name FROM segments WHERE problem IS NULL")}
    missing = []
    for name, path in sorted(paths.items()):
        if name not in whole:
            data = _read(os.path.join(root, path))
            if (data is not None and journal.segment_name(data) == name) or name not in blobs:
                add_segment(db, name, path, data or b"")
            else:
                missing.append((name, data))
    contents = dict(git.blobs(root, [blobs[name] for name, _ in missing]))
    for name, damaged in missing:
        add_segment(db, name, paths[name], contents.get(blobs[name], damaged or b""))
    altered = [
        (paths[name], f"damaged on disk; restore it: git restore -- {paths[name]}")
        for name, damaged in missing
        if damaged is not None
    ]
    problems = [
        (path, str(problem))
        for path, problem in db.execute("SELECT path, problem FROM segments WHERE problem IS NOT NULL")
    ]
    store.observe(db, "journal", altered + problems)


def _read(path: str) -> bytes | None:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            return file.read()
    except OSError:
        return None


def add_segment(db: store.Connection, name: str, path: str, data: bytes) -> None:
    """Take one segment's good events into the index, and its damage as its problem."""
    segment = journal.read_segment(name, data)
    problem = None
    if segment.problems:
        places = "; ".join(f"line {line}: {reason}" if line else reason for line, reason in segment.problems[:3])
        problem = f"{places}; the rest is kept; restore it: git restore -- {path}"
    db.execute("INSERT OR REPLACE INTO segments(name, path, problem) VALUES (?, ?, ?)", (name, path, problem))
    add_events(db, segment.events)
    db.executemany("INSERT OR IGNORE INTO segment_events VALUES (?, ?)", [(name, event.id) for event in segment.events])


def events_in(db: store.Connection, segments: Iterable[str]) -> set[str]:
    """The ids of the events that the given segments hold."""
    found: set[str] = set()
    for name in segments:
        found.update(event for (event,) in db.execute("SELECT event FROM segment_events WHERE segment = ?", (name,)))
    return found


_LEDGER_ONLY = (
    "SELECT id FROM events WHERE ledger = 1 AND NOT EXISTS (SELECT 1 FROM segment_events e JOIN segments s"
    " ON s.name = e.segment WHERE e.event = events.id AND s.present = 1)"
)


def _held_elsewhere(index: Index) -> set[str]:
    """Where ledger events are in no present segment, ask which refs hold them. Returns the ids that it touches."""
    db, root = index.db, index.workspace.root
    waiting = {event for (event,) in db.execute(_LEDGER_ONLY)}
    refs = refs_text(index) if waiting else ""
    if not waiting or refs == store.get(db, "refs"):
        return waiting
    blobs: dict[str, str] = {}
    paths: dict[str, str] = {}
    for tree in git.subtrees(root, git.ref_tips(root), journal.FOLDER):
        for path, (_, blob) in git.tree_files(root, tree).items():
            full = f"{journal.FOLDER}/{path}"
            if name := journal.name_of(full):
                blobs[name], paths[name] = blob, full
    read_new(index, blobs, paths)
    db.execute("UPDATE segments SET held = 0 WHERE held = 1")
    db.executemany("UPDATE segments SET held = 1 WHERE name = ?", [(name,) for name in paths])
    store.put(db, "refs", refs)
    return waiting


_VISIBLE = """
EXISTS (SELECT 1 FROM segment_events e JOIN segments s ON s.name = e.segment WHERE e.event = events.id AND s.present = 1)
OR (ledger = 1 AND NOT EXISTS (SELECT 1 FROM segment_events e JOIN segments s ON s.name = e.segment
                               WHERE e.event = events.id AND s.held = 1))
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


PENDING = (
    "SELECT line FROM events WHERE visible = 1 AND NOT EXISTS (SELECT 1 FROM segment_events e JOIN segments s"
    " ON s.name = e.segment WHERE e.event = events.id AND s.present = 1) ORDER BY clock_ms, clock_n, id"
)


def count_pending(db: store.Connection) -> None:
    """Remember how many events no commit of this branch holds, so that a hook can ask with one look."""
    (pending,) = db.execute(f"SELECT count(*) FROM ({PENDING})").fetchone()
    (waiting,) = db.execute(f"SELECT count(*) FROM ({_LEDGER_ONLY})").fetchone()
    store.put(db, "pending", str(pending))
    store.put(db, "pending_ledger", str(waiting))
