"""Steps of a random walk that change records: through the application's functions, and by other programs' SQL."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cli
import walk_oracle
from hypothesis import strategies as st
from walking import KIND, PICK, TABLE, Ground, step

from mlos_sync.app import conflicting, records
from mlos_sync.core.vocabulary import NEED_STATUSES, RELATIONSHIP_TYPES, TASK_STATUSES
from mlos_sync.errors import RefusedError, UsageError

TEXTS = {
    "need": ("title", "description", "scope"),
    "task": ("description", "result"),
    "agent": ("model", "result_summary"),
}
ARRAYS = {"assigned_tasks": "task", "monitored_needs": "need", "provisioned_artifacts": "artifact"}
REFERENCES = {"parent_need_id": "need", "need_id": "need", "assigned_agent_id": "agent"}
VALUES = ("title", "description", "scope", "status", "priority", "result", "model", "result_summary", "agent_type")


class RecordSteps(Ground):
    """Through the application."""

    def write(self, place: Path, change: Callable[[], Any]) -> Any:
        """One change through the application; None where a rule or a reference refuses it. What its events say that
        their author had seen is exactly what counted there."""
        seen = walk_oracle.by_record(self.truth.visible(place))
        before = walk_oracle.pending_log(place).keys()
        try:
            result = change()
        except (UsageError, RefusedError):
            result = None
        self.check_seen(place, seen, before)
        return result

    def check_seen(self, place: Path, seen: dict[walk_oracle.Record, dict[str, Any]], before: Any) -> None:
        """The new events of a clone have seen what was there, of their record, and nothing else."""
        log = walk_oracle.pending_log(place)
        for name in [name for name in log if name not in before]:
            event, record = log[name], walk_oracle.record_of(log[name])
            events = seen.setdefault(record, {})
            if name in self.truth.known:  # somebody else's, that no ref holds any more: this clone looks after it now
                events[name] = event
                continue
            wanted = self.expected.pop(name, None)
            if wanted is None and event["door"] != "sql":
                wanted = set(events)
            if wanted is not None:
                closings = self.closings(place, record)
                found = walk_oracle.ancestors(event, closings | events | log) - closings.keys()
                # A reference that was cut is captured, and no event when nothing of it is left to tell.
                wanted -= closings.keys() | (self.captured - log.keys() - events.keys())
                assert wanted == found, (event, "had seen", found, "not", wanted)
            events[name] = event

    def closings(self, place: Path, record: walk_oracle.Record) -> dict[str, walk_oracle.Event]:
        """The closings that commits make of one record: they are in no segment before the next commit."""
        with cli.opened(place) as index:
            lines = index.db.execute("SELECT line FROM events WHERE kind = ? AND uid = ?", record).fetchall()
        found = [json.loads(line) for (line,) in lines]
        return {event["id"]: event for event in found if event["door"].startswith("commit ")}

    @step(4, kind=KIND, picks=st.tuples(PICK, PICK), status=PICK)
    def add(self, place: Path, kind: str, picks: tuple[int, int], status: int) -> None:
        """A new record, in any state, with references."""
        columns: dict[str, Any] = {TEXTS[kind][0]: self.token(kind)}
        if kind == "agent":
            columns = {"agent_type": "worker", **columns}
            for column, target in ARRAYS.items():
                columns[column] = self.picked(place, target, picks)
        else:
            words = NEED_STATUSES if kind == "need" else TASK_STATUSES
            columns |= {"status": words[status % len(words)], "priority": 1 + picks[0] % 5}
            column = "parent_need_id" if kind == "need" else "need_id"
            columns[column] = self.pick(place, "need", picks[0])
            if kind == "task":
                columns["assigned_agent_id"] = self.pick(place, "agent", picks[1])
        row = self.write(place, lambda: cli.add(place, kind, **columns))
        if row:
            self.order.setdefault(row["uid"], len(self.order))
            self.written.append((row["uid"], TEXTS[kind][0], columns[TEXTS[kind][0]]))

    def set(self, place: Path, kind: str, number: int, **columns: Any) -> None:
        """Columns of some record, where there is one."""
        uid = self.pick(place, kind, number)
        if uid and self.write(place, lambda: cli.change(place, kind, uid, **columns)):
            self.written += [(uid, name, value) for name, value in columns.items() if name in TEXTS[kind]]

    @step(6, kind=KIND, number=PICK, field=PICK)
    def change_text(self, place: Path, kind: str, number: int, field: int) -> None:
        """A text that nobody else gives."""
        self.set(place, kind, number, **{TEXTS[kind][field % len(TEXTS[kind])]: self.token("text")})

    @step(4, kind=st.sampled_from(["need", "task"]), number=PICK, value=PICK, both=st.booleans())
    def change_value(self, place: Path, kind: str, number: int, value: int, both: bool) -> None:
        """Status, and priority with it or alone."""
        words = NEED_STATUSES if kind == "need" else TASK_STATUSES
        columns = {"status": words[value % len(words)]} if both or value % 2 else {}
        self.set(place, kind, number, **columns, **({"priority": 1 + value % 5} if both or not columns else {}))

    @step(column=st.sampled_from(sorted(REFERENCES)), number=PICK, to=st.none() | PICK)
    def change_reference(self, place: Path, column: str, number: int, to: int | None) -> None:
        """A reference set or taken away."""
        value = None if to is None else self.pick(place, REFERENCES[column], to)
        self.set(place, "need" if column == "parent_need_id" else "task", number, **{column: value})

    @step(column=st.sampled_from(sorted(ARRAYS)), number=PICK, picks=st.tuples(PICK, PICK))
    def change_array(self, place: Path, column: str, number: int, picks: tuple[int, int]) -> None:
        """An agent's array."""
        self.set(place, "agent", number, **{column: self.picked(place, ARRAYS[column], picks)})

    @step(1, kind=KIND, number=PICK)
    def delete(self, place: Path, kind: str, number: int) -> None:
        """A record deleted."""
        uid = self.pick(place, kind, number)
        if uid and self.write(place, lambda: cli.delete(place, kind, uid) or True):
            self.gone.add(uid)

    def end(self, place: Path, number: int) -> str | None:
        """A reference to something that an edge can join."""
        kind = ("need", "task", "agent", "artifact", "commit")[number % 5]
        name = cli.head(place) if kind == "commit" else self.pick(place, kind, number // 5)
        return name and f"{kind}:{name}"

    @step(ends=st.tuples(PICK, PICK), kind=st.sampled_from(RELATIONSHIP_TYPES), metadata=st.booleans())
    def link(self, place: Path, ends: tuple[int, int], kind: str, metadata: bool) -> None:
        """An edge made, or given other metadata."""
        source, target = self.end(place, ends[0]), self.end(place, ends[1])
        told = json.dumps({"why": self.token("edge")}) if metadata else None
        if source and target and source != target:
            self.write(place, lambda: cli.link(place, source, kind, target, told))

    @step(1, number=PICK)
    def unlink(self, place: Path, number: int) -> None:
        """An edge taken away."""
        edges = walk_oracle.tables_of(cli.dump(place))["relationships"]
        found = sorted((one["source"], one["type"], one["target"]) for one in edges if one["origin"] == "record")
        if found:
            ends = found[number % len(found)]

            def change() -> Any:
                with cli.opened(place) as index:
                    return records.unlink(index, *ends)

            self.write(place, change)

    @step(number=PICK, loser=st.booleans())
    def resolve(self, place: Path, number: int, loser: bool) -> None:
        """A conflict settled for one of its sides: it is listed no more."""
        found = [one for one in cli.conflicts(place) if one["kind"] in TABLE]
        found.sort(key=lambda one: (self.order.get(one["uid"], 0), one["field"], one["loser"]["at"]))
        if found:
            one = found[number % len(found)]
            side = one["loser" if loser else "winner"]["event"]

            def change() -> Any:
                with cli.opened(place) as index:
                    ref = f"{one['kind']}-{one['uid']}"
                    return conflicting.resolve_conflict(index, ref, one["field"], take=side)

            if self.write(place, change):
                left = [(other["uid"], other["field"]) for other in cli.conflicts(place)]
                assert (one["uid"], one["field"]) not in left

    @step(1, kind=KIND, number=PICK)
    def restore(self, place: Path, kind: str, number: int) -> None:
        """A deleted record brought back; refused where it never was, or is not deleted."""
        dead = sorted(self.gone, key=lambda uid: self.order.get(uid, 0))
        if dead:

            def change() -> Any:
                with cli.opened(place) as index:
                    return conflicting.restore(index, kind, dead[number % len(dead)])

            self.write(place, change)


class SqlSteps(Ground):
    """Through any other door."""

    @step(
        4, what=st.lists(st.integers(0, 20), min_size=1, max_size=3), picks=st.tuples(PICK, PICK), shell=st.booleans()
    )
    def sql(self, place: Path, what: list[int], picks: tuple[int, int], shell: bool) -> None:
        """Statements of another program, foreign keys off, in one transaction; a rule may refuse them all."""
        database = walk_oracle.folders(place)[0] / "index.db"
        if not database.exists():
            return
        before = self.rows(place)
        texts = [text for one in what if (text := self.statement(place, one, picks))]
        db = sqlite3.connect(database, isolation_level=None)
        (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM outbox").fetchone()
        seen: dict[tuple[str, str], set[str]] = {}
        for kind, uid, name in db.execute(
            "SELECT kind, uid, id FROM events WHERE visible = 1 UNION ALL SELECT kind, uid, event FROM outbox"
        ):
            seen.setdefault((kind, uid), set()).add(name)
        if shell:
            db.close()
            cli.sql(place, "BEGIN", *texts, "COMMIT", ok=False)
            db = sqlite3.connect(database)
        else:
            self.run_all(db, texts)
        for kind, uid, name in db.execute("SELECT kind, uid, event FROM outbox WHERE seq > ? ORDER BY seq", (last,)):
            if kind != "relationship":
                self.captured.add(name)
                self.expected[name] = set(seen.get((kind, uid), ()))
                seen.setdefault((kind, uid), set()).add(name)
        db.close()
        self.note_rows(before, self.rows(place))

    @staticmethod
    def run_all(db: sqlite3.Connection, texts: list[str]) -> None:
        """One transaction; all or nothing."""
        try:
            for text in ("BEGIN", *texts, "COMMIT"):
                db.execute(text)
        except sqlite3.IntegrityError:
            db.execute("ROLLBACK")

    def note_rows(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        """What somebody's statements did, told by the rows."""
        for kind in TABLE:
            self.gone |= before[kind].keys() - after[kind].keys()
            for uid, row in after[kind].items():
                self.order.setdefault(uid, len(self.order))
                old = before[kind].get(uid, {})
                self.written += [
                    (uid, name, row[name]) for name in VALUES if name in row and row[name] != old.get(name)
                ]

    def statement(self, place: Path, what: int, picks: tuple[int, int]) -> str | None:
        """One SQL statement by number."""
        uids = {kind: self.pick(place, kind, picks[0]) or "-" for kind in TABLE}
        token = self.token(f"sql{what}-")
        new = hashlib.sha256(token.encode()).hexdigest()[:32]
        ids = {kind: f"(SELECT id FROM {table} WHERE uid = '{uids[kind]}')" for kind, table in TABLE.items()}
        dead = sorted(self.gone, key=lambda uid: self.order.get(uid, 0))
        again = dead[picks[1] % len(dead)] if dead else new
        edge = "(SELECT uid FROM relationships WHERE origin = 'record' ORDER BY uid LIMIT 1)"
        statements = (
            f"INSERT INTO needs(uid, title, priority) VALUES ('{new}', '{token}', 3)",
            f"INSERT INTO needs(uid, title, status) VALUES ('{new}', '{token}', 'actionable')",
            f"INSERT INTO tasks(uid, description, need_id) VALUES ('{new}', '{token}', {ids['need']})",
            f"INSERT INTO agents(uid, agent_type, monitored_needs) SELECT '{new}', '{token}', json_array(id) FROM needs"
            f" WHERE uid = '{uids['need']}'",
            f"INSERT INTO needs(uid, title) VALUES ('{again}', '{token}')",
            f"INSERT INTO needs(uid, title) VALUES ('{uids['need']}', '{token}')"
            " ON CONFLICT(uid) DO UPDATE SET title = excluded.title",
            f"UPDATE needs SET title = '{token}' WHERE uid = '{uids['need']}'",
            f"UPDATE tasks SET result = '{token}', status = 'completed' WHERE uid = '{uids['task']}'",
            f"UPDATE agents SET model = '{token}', result_summary = NULL WHERE uid = '{uids['agent']}'",
            f"UPDATE needs SET scope = '{token}'",
            f"UPDATE tasks SET priority = {1 + picks[1] % 5} WHERE priority IS NOT 3",
            f"UPDATE needs SET parent_need_id = {ids['need']} WHERE uid <> '{uids['need']}' AND parent_need_id IS NULL",
            "UPDATE agents SET monitored_needs = (SELECT json_group_array(id) FROM"
            f" (SELECT id FROM needs ORDER BY uid LIMIT {picks[1] % 4})) WHERE uid = '{uids['agent']}'",
            f"UPDATE tasks SET assigned_agent_id = {ids['agent']}",
            f"DELETE FROM needs WHERE uid = '{uids['need']}'",
            f"DELETE FROM tasks WHERE uid = '{uids['task']}'",
            f"DELETE FROM agents WHERE uid = '{uids['agent']}'",
            "DELETE FROM tasks WHERE status = 'completed'",
            "INSERT INTO relationships(source_type, source_id, target_type, target_id, relationship_type, metadata)"
            f" SELECT 'task', t.id, 'need', n.id, 'blocks', '{{\"by\": \"{token}\"}}' FROM tasks t, needs n"
            f" WHERE t.uid = '{uids['task']}' AND n.uid = '{uids['need']}'",
            f'UPDATE relationships SET metadata = \'{{"by": "{token}"}}\' WHERE uid = {edge}',
            f"DELETE FROM relationships WHERE uid = {edge}",
        )
        return statements[what]
