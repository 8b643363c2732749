"""Events from what the triggers captured: the next clock, what the author had seen, the fields that changed."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from mlos_sync.app.events import counting
from mlos_sync.app.numbering import Record
from mlos_sync.core import journal
from mlos_sync.core.fold import fold, heads
from mlos_sync.core.ids import derived_uid
from mlos_sync.edge import store


class Mint:
    """Makes events from outbox rows: clock, what was seen, fields that changed."""

    def __init__(self, db: store.Connection) -> None:
        self.db = db
        ms, _, counter = store.get(db, "clock", "0 0").partition(" ")
        self.clock = (int(ms), int(counter))
        self.heads: dict[Record, tuple[str, ...]] = {}
        self.edges: dict[str, str] = {}
        self.unchanged: set[Record] = set()
        self.is_ours = db.execute("PRAGMA user_version").fetchone()[0] == store.VERSION  # else: an old one is emptied
        self.adopted: list[journal.Event] = []  # closings that only git log showed, and that a new event has seen
        self.tx = derived_uid("tx", str(time.time_ns()), str(os.getpid()))

    def mint(self, captured: list[dict[str, Any]], known: set[str]) -> list[journal.Event]:
        """Events for the rows that have none yet."""
        made = []
        for row in captured:
            old, new = json.loads(row["old"] or "{}"), json.loads(row["new"] or "{}")
            fields = changed_fields(old, new, row["op"])
            if row["event"] in known or (row["op"] == "update" and not fields):
                self.unchanged.add((row["kind"], row["uid"]))
                continue
            uid = self._edge_uid(row["uid"], new or old) if row["kind"] == "relationship" else row["uid"]
            if row["op"] != "delete":
                fields = json.loads(row.get("note") or "{}") | fields
            if row["op"] == "recreate":
                self._clear_arrays((row["kind"], uid), fields)
            made.append(self._event(row, uid, fields))
        store.put(self.db, "clock", f"{self.clock[0]} {self.clock[1]}")
        return made

    def _clear_arrays(self, record: Record, fields: dict[str, Any]) -> None:
        """A record made anew has only the elements that it was made with."""
        events = counting(self.db, record)
        before = fold(events).fields if events else {}
        for name, ones in before.items():
            if isinstance(ones, list):
                given = fields.get(name)
                add = given.get("add", []) if isinstance(given, dict) else []
                fields[name] = {"add": add, "remove": [one for one in ones if one not in add]}

    def _event(self, row: dict[str, Any], uid: str, fields: dict[str, Any]) -> journal.Event:
        record = (row["kind"], uid)
        if record not in self.heads:
            self.heads[record] = self._seen(record, decides="status" in fields or row["op"] != "update")
        self.clock = journal.later(self.clock, _milliseconds(row["at"]))
        event = journal.make(
            id=row["event"], clock=self.clock, seen=self.heads[record], kind=row["kind"], uid=uid, op=row["op"],
            fields=fields, actor=row["actor"], door=row["door"], tx=row["tx"] or self.tx,
        )  # fmt: skip
        self.heads[record] = (event.id,)
        return event

    def _seen(self, record: Record, *, decides: bool) -> tuple[str, ...]:
        """The heads that the author of a change knew. A closing that no commit here holds yet goes when its commit is amended
        away, and what has seen it could then never be published: where the change decides the status anew it becomes an
        event of this clone, else the change stands beside it."""
        loose = (
            "SELECT line FROM events WHERE kind = ? AND uid = ? AND visible = 1"
            " AND closing IS NOT NULL AND ledger = 0 AND NOT EXISTS (SELECT 1 FROM segment_events m JOIN segments s"
            " ON s.number = m.segment WHERE m.event = seq AND (s.in_head OR s.in_history))"
        )
        closings = [journal.trusted(line) for (line,) in self.db.execute(loose, record)] if self.is_ours else []
        if closings and decides:
            self.adopted += closings
        known = counting(self.db, record)
        if closings and not decides:
            known = [event for event in known if event.id not in {closing.id for closing in closings}]
        return heads(known)

    def _edge_uid(self, given: str, image: dict[str, Any]) -> str:
        """An edge is known by its ends and type; a row that stands under a name already keeps it (files move)."""
        if self.db.execute("SELECT 1 FROM events WHERE kind = 'relationship' AND uid = ? LIMIT 1", (given,)).fetchone():
            return given
        return self.edges.setdefault(given, derived_uid("edge", image["source"], image["type"], image["target"]))


def _milliseconds(text: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(text).timestamp() * 1000)


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
        elif value != before or op == "recreate":
            fields[name] = value
    return fields
