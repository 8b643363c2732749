"""From events to rows: whatever arrives, in whatever order, gives one state; what cannot stand is held and told."""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from copies import copied
from gitrepo import git, make_repo

from mlos_sync.app import (
    deriving,
    dumping,
    folding,
    freshness,
    journaling,
    naming,
    publishing,
    reading,
    records,
    setup,
)
from mlos_sync.app import segments as taking
from mlos_sync.app.opening import Index, open_index
from mlos_sync.app.sync import sync
from mlos_sync.core import ids, journal
from mlos_sync.core.ids import Reference
from mlos_sync.core.journal import Event
from mlos_sync.edge import ledger, store
from mlos_sync.errors import RefusedError, UsageError

AT = "2026-11-20T10:00:00Z"
BASE = 1_795_168_800_000
A, B, C, D = "a" * 32, "b" * 32, "c" * 32, "d" * 32


def eid(n: int) -> str:
    """The n-th event id."""
    return f"{n:032x}"


def ev(n: int, op: str, uid: str, fields: dict[str, Any] | None = None, *, kind="need", seen=(), ms=None) -> Event:
    """Event number n; by default it is made n seconds after the first."""
    return journal.make(
        id=eid(n), clock=(BASE + 1000 * n if ms is None else ms, 0), seen=[eid(one) for one in seen], kind=kind, uid=uid,
        op=op, fields=fields or {}, actor="Ada", door="cli", tx=None,
    )  # fmt: skip


def need(n: int, uid: str, number: int, title: str = "t", **more: Any) -> Event:
    """The creation of a need."""
    ms = more.pop("ms", None)
    fields = {"id": number, "title": title, "status": "identified", "created_at": AT, **more}
    return ev(n, "create", uid, fields, ms=ms)


def task(n: int, uid: str, number: int, **more: Any) -> Event:
    """The creation of a task."""
    fields = {"id": number, "description": "do", "status": "open", "created_at": AT, **more}
    return ev(n, "create", uid, fields, kind="task")


def agent(n: int, uid: str, number: int, **more: Any) -> Event:
    """The creation of an agent."""
    fields = {"id": number, "agent_type": "janitor", "status": "active", "started_at": AT, **more}
    return ev(n, "create", uid, fields, kind="agent")


def edge(n: int, source: str, relationship: str, target: str, op: str = "create", seen=(), **more: Any) -> Event:
    """An edge by what its ends are called in the journal."""
    uid = ids.derived_uid("edge", source, relationship, target)
    fields = {"source": source, "type": relationship, "target": target, "created_at": AT, **more}
    return ev(n, op, uid, fields if op != "delete" else {}, kind="relationship", seen=seen)


@lru_cache(maxsize=1)
def _empty() -> bytes:
    db = store.create(":memory:")
    data = db.serialize()
    db.close()
    return data


def fresh(data: bytes = b"") -> sqlite3.Connection:
    """An index in memory, empty or as it was serialized."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.deserialize(data or _empty())
    db.execute("PRAGMA foreign_keys = ON")
    return db


def take(db: sqlite3.Connection, *segments: Iterable[Event]) -> str:
    """Take segments in one after the other, as a pull brings them, and tell the state."""
    for events in segments:
        data = journal.segment_bytes(events, "w", AT)
        name = journal.segment_name(data)
        with store.transaction(db), store.capture(db, on=False):
            reading.add_segment(db, name, journal.segment_path(data, AT), data)
            db.execute("UPDATE segments SET in_head = 1 WHERE name = ?", (name,))
            folding.refold(db, journaling.update_visibility(db, taking.events_in(db, [name])))
            deriving.update_edges(db, ".")
    return dumping.canonical(db)


def drop(db: sqlite3.Connection, events: Iterable[Event]) -> str:
    """A segment that is no longer there: another branch was checked out."""
    name = journal.segment_name(journal.segment_bytes(events, "w", AT))
    with store.transaction(db), store.capture(db, on=False):
        db.execute("UPDATE segments SET in_head = 0 WHERE name = ?", (name,))
        folding.refold(db, journaling.update_visibility(db, taking.events_in(db, [name])))
        deriving.update_edges(db, ".")
    return dumping.canonical(db)


def one_dump(*segments: list[Event]) -> sqlite3.Connection:
    """Take segments in every order (or 24 of them), some twice: one state. Returns an index in it."""
    orders = list(itertools.permutations(segments)) if len(segments) < 5 else [
        tuple(random.Random(seed).sample(segments, len(segments))) for seed in range(24)
    ]  # fmt: skip
    expected = None
    for order in orders:
        db = fresh()
        told = take(db, *order, *order[:1])
        if expected is None:
            expected = told
        assert dumping.differences(expected, told) == [], [[e.op for e in s] for s in order]
    together = fresh()
    assert dumping.differences(expected, take(together, [event for segment in segments for event in segment])) == []
    return db


def held(db: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """What cannot stand, and why."""
    return {(kind, uid): reason for kind, uid, reason in db.execute("SELECT kind, uid, reason FROM held")}


def rows(db: sqlite3.Connection, sql: str) -> list[tuple]:
    """A query's rows."""
    return db.execute(sql).fetchall()


# --- order


SEGMENTS: list[list[Event]] = [
    # one clone: a need, its task, an edge to a need of another segment
    [need(1, A, 1, "ours"), task(2, A, 1, need_id=f"need:{A}"), edge(3, f"need:{A}", "blocks", f"need:{B}")],
    # another clone, which gave out the same numbers
    [need(4, B, 1, "theirs", parent_need_id=f"need:{A}"), task(5, B, 1, need_id=f"need:{B}"), need(6, C, 2, "third")],
    # concurrent edits of one field, an array, an assignment
    [
        ev(10, "update", A, {"title": "left", "scope": "x"}, seen=[1]),
        agent(11, A, 1, monitored_needs={"add": [f"need:{A}", f"need:{C}"]}, assigned_tasks={"add": [f"task:{B}"]}),
        ev(12, "update", A, {"assigned_agent_id": f"agent:{A}"}, kind="task", seen=[2]),
    ],
    [
        ev(13, "update", A, {"title": "right"}, seen=[1]),
        ev(14, "update", A, {"monitored_needs": {"add": [f"need:{B}"], "remove": [f"need:{C}"]}}, kind="agent", seen=[11]),
        edge(15, f"agent:{A}", "monitors", f"need:{A}", metadata='{"why": 1}'),
    ],
    # deletions: of an end of an edge and a parent's child, and of what another clone edits
    [ev(20, "delete", C, seen=[6]), edge(21, f"need:{A}", "blocks", f"need:{B}", op="delete", seen=[3])],
    # what this version cannot take: an unknown kind, an unknown word, an update of something that nobody created
    [
        ev(30, "create", D, {"x": {"y": [1]}}, kind="dream"),
        ev(31, "update", C, {"status": "pondering"}, seen=[6]),
        ev(32, "update", D, {"title": "never born"}),
        edge(33, f"need:{B}", "enables", f"need:{D}"),
    ],
]  # fmt: skip


def test_six_segments_in_all_orders_give_one_dump():
    """All 720 permutations, step by step: whichever set of segments is here and whichever came last, one canonical dump.

    Each permutation is a way through the 64 sets; every step of every way is taken, from the state that the set has.
    """
    everything = frozenset(range(len(SEGMENTS)))
    states = {frozenset(): (b"", "")}
    for size in range(1, len(SEGMENTS) + 1):
        for chosen in map(frozenset, itertools.combinations(everything, size)):
            for last in chosen:
                db = fresh(states[chosen - {last}][0])
                told = take(db, SEGMENTS[last])
                _, expected = states.setdefault(chosen, (db.serialize(), told))
                assert dumping.differences(expected, told) == [], f"{sorted(chosen - {last})}, then {last}"
                db.close()
    told = states[everything][1]
    assert "ours" in told and "pondering" in told
    assert dumping.differences(told, take(fresh(), [event for segment in SEGMENTS for event in segment])) == []


@pytest.mark.parametrize("seed", range(15))
def test_whole_ways_with_repetitions_give_that_dump_too(seed):
    """Random permutations from end to end, each segment once, twice or three times."""
    rng = random.Random(seed)
    order = [n for n in range(len(SEGMENTS)) for _ in range(rng.randint(1, 3))]
    rng.shuffle(order)
    expected = take(fresh(), *SEGMENTS)
    assert dumping.differences(expected, take(fresh(), *(SEGMENTS[n] for n in order))) == [], order


@pytest.mark.parametrize("seed", range(12))
def test_segments_that_come_and_go_give_what_those_that_stand_give(seed):
    """Switching branches: after any history of arrivals and departures the state is that of what is present."""
    rng = random.Random(seed)
    db, present = fresh(), set()
    for _ in range(12):
        chosen = rng.randrange(len(SEGMENTS))
        told = drop(db, SEGMENTS[chosen]) if chosen in present else take(db, SEGMENTS[chosen])
        present ^= {chosen}
        again = take(fresh(), *(SEGMENTS[n] for n in sorted(present)))
        assert dumping.differences(again, told) == [], sorted(present)


def test_a_forged_twin_of_an_event_gives_one_dump():
    """Two segments that give one event id two contents: order of arrival does not decide."""
    one_dump([need(1, A, 1, "one")], [need(1, A, 1, "two")], [ev(2, "update", A, {"scope": "s"}, seen=[1])])


# --- numbers


@pytest.mark.parametrize("kind", ["need", "task", "agent"])
def test_of_one_number_the_earlier_born_keeps_it(kind):
    """Both orders of arrival: the later record moves above all, nothing else moves, each is found by what it carries."""
    make = {"need": need, "task": task, "agent": agent}[kind]
    db = one_dump([make(1, A, 7), make(2, B, 8)], [make(3, C, 7), make(4, D, 9)])
    table = f"{kind}s"
    assert rows(db, f"SELECT uid, id FROM {table} ORDER BY uid") == [(A, 7), (B, 8), (C, 10), (D, 9)]
    assert naming.find_record(db, Reference(kind, number=10)) == (kind, C)
    assert naming.find_record(db, Reference(kind, number=9)) == (kind, D)
    assert naming.find_record(db, Reference(kind, prefix=C[:6])) == (kind, C)


def test_a_number_that_two_records_were_given_is_ambiguous():
    """The old number stays as an alias: asking by it names both and their uids, and picks neither."""
    db = one_dump([need(1, A, 1)], [need(2, B, 1)])
    with pytest.raises(RefusedError) as caught:
        naming.find_record(db, Reference("need", number=1))
    assert A[:12] in caught.value.message and B[:12] in caught.value.message and caught.value.hint
    with pytest.raises(RefusedError):
        records.find(db, "need:1")
    with pytest.raises(UsageError):
        records.find(db, "need:77")


def test_references_follow_a_record_that_moves():
    """Foreign keys, arrays and edges name the same records under the new number."""
    db = one_dump(
        [need(1, A, 1)],
        [
            need(2, B, 1, "moves"), need(3, C, 2, parent_need_id=f"need:{B}"), task(4, B, 1, need_id=f"need:{B}"),
            agent(5, B, 1, monitored_needs={"add": [f"need:{A}", f"need:{B}"]}), edge(6, f"need:{B}", "blocks", f"need:{C}"),
        ],
    )  # fmt: skip
    ((moved,),) = rows(db, f"SELECT id FROM needs WHERE uid = '{B}'")
    assert moved == 3
    assert rows(db, "SELECT parent_need_id FROM needs WHERE id = 2") == [(3,)]
    assert rows(db, "SELECT need_id FROM tasks") == [(3,)]
    assert rows(db, "SELECT monitored_needs FROM agents") == [("[1, 3]",)]
    assert rows(db, "SELECT source_id, target_id FROM relationships WHERE origin = 'record'") == [(3, 2)]
    assert held(db) == {}


def test_three_records_of_one_number():
    """The two later ones move, in the order of their birth."""
    db = one_dump([need(1, A, 1)], [need(2, B, 1)], [need(3, C, 1)])
    assert rows(db, "SELECT uid, id FROM needs ORDER BY uid") == [(A, 1), (B, 2), (C, 3)]


def test_a_record_that_moved_keeps_its_number_when_others_come():
    """A later record under a number of its own moves nobody: what a person noted down still names the same record."""
    db = fresh()
    take(db, [need(1, A, 1)], [need(2, B, 1)])
    ((moved,),) = rows(db, f"SELECT id FROM needs WHERE uid = '{B}'")
    take(db, [need(3, C, moved + 1)])
    assert rows(db, "SELECT uid, id FROM needs ORDER BY uid") == [(A, 1), (B, moved), (C, moved + 1)]
    take(db, [need(4, D, moved + 2)])
    assert rows(db, "SELECT uid, id FROM needs ORDER BY uid")[:3] == [(A, 1), (B, moved), (C, moved + 1)]


def test_a_late_arriving_earlier_record_moves_only_its_rival():
    """An old clone turns up: the record whose number it had moves, the others do not."""
    others = [need(10 + n, f"{n:032x}", n) for n in range(2, 7)]
    db = fresh()
    take(db, [need(10, A, 1), *others])
    before = dict(rows(db, "SELECT uid, id FROM needs"))
    take(db, [need(1, B, 1)])
    after = dict(rows(db, "SELECT uid, id FROM needs"))
    assert after[B] == 1 and after[A] == 7
    assert {uid: n for uid, n in after.items() if uid not in (A, B)} == {
        uid: n for uid, n in before.items() if uid != A
    }


def test_a_number_of_the_dead_is_not_given_again():
    """After a deletion that arrives by pull, a new row takes the next number."""
    db = fresh()
    take(db, [need(1, A, 5)], [ev(2, "delete", A, seen=[1])])
    assert rows(db, "SELECT id FROM needs") == []
    db.execute("INSERT INTO needs(title) VALUES ('next')")
    assert rows(db, "SELECT id FROM needs") == [(6,)]


# --- what cannot stand


def test_an_edge_waits_for_its_ends():
    """Held with the end that is missing, standing as soon as it comes, held again when it goes."""
    link, first, second = [edge(3, f"need:{A}", "blocks", f"need:{B}")], [need(1, A, 1)], [need(2, B, 2)]
    db = fresh()
    take(db, link)
    uid = link[0].uid
    assert f"need:{A} is not here" in held(db)["relationship", uid]
    take(db, first)
    assert f"need:{B} is not here" in held(db)["relationship", uid] and rows(db, "SELECT * FROM relationships") == []
    take(db, second)
    assert held(db) == {} and len(rows(db, "SELECT * FROM relationships")) == 1
    drop(db, second)
    assert f"need:{B} is not here" in held(db)["relationship", uid] and rows(db, "SELECT * FROM relationships") == []
    one_dump(link, first, second)


def test_an_edge_whose_end_is_deleted_is_told_and_comes_back_with_it():
    """The deletion comes by pull: the edge is held, and stands again after the recreation."""
    parts = [
        [need(1, A, 1), need(2, B, 2)], [edge(3, f"need:{A}", "blocks", f"need:{B}")], [ev(4, "delete", B, seen=[2])],
    ]  # fmt: skip
    db = one_dump(*parts)
    assert [kind for kind, _ in held(db)] == ["relationship"]
    back = [ev(5, "recreate", B, {"id": 2, "title": "again", "status": "identified"}, seen=[4])]
    take(db, back)
    assert held(db) == {} and len(rows(db, "SELECT * FROM relationships")) == 1
    one_dump(*parts, back)


def test_an_update_without_its_creation_is_held_and_kept():
    """What a cherry-pick brought waits for the rest."""
    late = [ev(2, "update", A, {"title": "later"}, seen=[1])]
    db = fresh()
    take(db, late)
    assert "creates" in held(db)["need", A] and rows(db, "SELECT * FROM needs") == []
    take(db, [need(1, A, 1, "first")])
    assert held(db) == {} and rows(db, "SELECT id, title FROM needs") == [(1, "later")]
    one_dump(late, [need(1, A, 1, "first")])


def test_a_reference_to_what_is_not_here_is_held_and_the_row_stands():
    """The task is there without its need, and has it as soon as it comes."""
    db = fresh()
    take(db, [task(2, A, 1, need_id=f"need:{A}")])
    assert f"need:{A}" in held(db)["task", A] and rows(db, "SELECT need_id FROM tasks") == [(None,)]
    take(db, [need(1, A, 1)])
    assert held(db) == {} and rows(db, "SELECT need_id FROM tasks") == [(1,)]


def test_a_word_of_a_newer_version_is_held_kept_and_told():
    """The row does not stand, its event does, and a later word that is known brings it back."""
    db = fresh()
    told = take(db, [need(1, A, 1)], [ev(2, "update", A, {"status": "pondering"}, seen=[1])])
    assert "needs.status is one of" in held(db)["need", A] and rows(db, "SELECT * FROM needs") == []
    assert '\\"pondering\\"' in told
    take(db, [ev(3, "update", A, {"status": "active"}, seen=[2])])
    assert held(db) == {} and rows(db, "SELECT status FROM needs") == [("active",)]


def test_fields_and_operations_of_a_newer_version_are_passed_over_and_kept():
    """An unknown column does not hold the row; the event is there to be passed on."""
    db = fresh()
    strange = [need(1, A, 1, mood="blue", colours={"add": ["red"]}), ev(2, "transmute", A, {"title": "gold"}, seen=[1])]
    told = take(db, strange)
    assert rows(db, "SELECT title FROM needs") == [("t",)] and held(db) == {}
    assert all(event.line.replace('"', '\\"') in told for event in strange)


def test_an_unknown_kind_is_held_and_kept():
    """It has no table here, and is not lost."""
    db = fresh()
    told = take(db, [ev(1, "create", A, {"x": 1}, kind="dream")])
    assert "dream" in held(db)["dream", A] and '\\"dream\\"' in told


def test_rings_of_parents_and_of_edges_stand():
    """Two clones that make each other's need the parent: no endless loop, both rows."""
    db = one_dump(
        [need(1, A, 1), need(2, B, 2)],
        [ev(3, "update", A, {"parent_need_id": f"need:{B}"}, seen=[1]), edge(5, f"need:{A}", "blocks", f"need:{B}")],
        [ev(4, "update", B, {"parent_need_id": f"need:{A}"}, seen=[2]), edge(6, f"need:{B}", "blocks", f"need:{A}")],
    )
    assert rows(db, "SELECT id, parent_need_id FROM needs") == [(1, 2), (2, 1)] and held(db) == {}


HOSTILE_FIELDS: list[tuple[str, dict[str, Any]]] = [
    ("need", {"title": 5}), ("need", {"title": ["a"]}), ("need", {"title": None}), ("need", {"title": ""}),
    ("need", {"title": {"add": ["a"]}}), ("need", {"title": "a\x00b"}), ("need", {"title": True}),
    ("need", {"priority": "high"}), ("need", {"priority": 2**70}), ("need", {"priority": [1]}), ("need", {"status": 1}),
    ("need", {"parent_need_id": 5}), ("need", {"parent_need_id": ["need:x"]}), ("need", {"parent_need_id": f"need:{A}"}),
    ("need", {"parent_need_id": f"task:{A}"}), ("need", {"parent_need_id": f"commit:{A}"}), ("need", {"parent_need_id": True}),
    ("need", {"parent_need_id": {"add": [f"need:{A}"]}}), ("need", {"parent_need_id": "need:" + "x" * 100_000}),
    ("need", {"id": "one"}), ("need", {"id": None}), ("need", {"id": -1}), ("need", {"id": 2**60}), ("need", {"id": [1]}),
    ("need", {"uid": B}), ("need", {"origin": "derived"}), ("need", {"created_at": "yesterday"}), ("need", {"created_at": 7}),
    ("agent", {"monitored_needs": 5}), ("agent", {"monitored_needs": "need"}), ("agent", {"monitored_needs": True}),
    ("agent", {"monitored_needs": [f"need:{A}"]}), ("agent", {"monitored_needs": [None, 5, {}]}),
    ("agent", {"monitored_needs": {"add": ["x", "", "need:", f"task:{A}"]}}), ("agent", {"monitored_needs": {"add": [None, 5]}}),
    ("agent", {"monitored_needs": {"add": "need"}}), ("agent", {"monitored_needs/x": "y"}), ("agent", {"": 1}),
    ("relationship", {"metadata": ["x"]}), ("relationship", {"metadata": 2**70}), ("relationship", {"metadata": {"a": 1}}),
    ("relationship", {"metadata": "no JSON"}), ("relationship", {"type": None}), ("relationship", {"type": 5}),
    ("relationship", {"type": "likes"}), ("relationship", {"type": ["x"]}), ("relationship", {"source": None}),
    ("relationship", {"source": 5}), ("relationship", {"source": ["x"]}), ("relationship", {"source": f"need:{B}"}),
    ("relationship", {"source": "relationship:x"}), ("relationship", {"created_at": "x"}), ("relationship", {"created_at": []}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields"), HOSTILE_FIELDS, ids=lambda one: repr(one)[:40])
def test_a_value_of_any_shape_stops_nobody_else(kind, fields):
    """A forged or future value: that record stands or is held with a reason, all others are as they should be."""
    link = edge(3, f"need:{A}", "blocks", f"need:{B}")
    uid = link.uid if kind == "relationship" else A
    good = [need(1, A, 1, "good"), need(2, B, 2), link, agent(4, A, 1), task(5, C, 1, need_id=f"need:{B}")]
    last = {"need": 1, "relationship": 3, "agent": 4}[kind]
    bad = [ev(9, "update", uid, fields, kind=kind, seen=[last])]
    db = fresh()
    told = take(db, good, bad)
    assert bad[0].line.replace("\\", "\\\\").replace('"', '\\"') in told
    table = "relationships" if kind == "relationship" else f"{kind}s"
    stands = rows(db, f"SELECT count(*) FROM {table} WHERE uid = '{uid}'") == [(1,)]
    assert stands or (kind, uid) in held(db), "neither row nor reason"
    assert rows(db, "SELECT need_id, status FROM tasks") == [(2, "open")]
    assert dumping.differences(take(fresh(), bad, good), told) == []


@pytest.mark.parametrize("ms", [0, 1, 253_402_300_800_000, 2**53 - 1])
def test_a_clock_of_any_year_is_borne(ms):
    """An event from 1970 or from far beyond year 9999 (a forged one) neither crashes nor draws our own clock along."""
    db = fresh()
    take(db, [need(1, A, 1, ms=ms), need(2, B, 2)])
    assert rows(db, "SELECT count(*) FROM needs") == [(2,)]
    assert int(store.get(db, "clock").split()[0]) < 253_402_300_800_000


def test_concurrent_edits_are_conflicts_until_one_has_seen_both():
    """The loser is listed with the winner, and goes when somebody decides."""
    parts = [
        [need(1, A, 1)],
        [ev(2, "update", A, {"title": "l"}, seen=[1])],
        [ev(3, "update", A, {"title": "r"}, seen=[1])],
    ]
    db = one_dump(*parts)
    assert rows(db, "SELECT kind, uid, field, loser, winner FROM conflicts") == [("need", A, "title", eid(2), eid(3))]
    decided = [ev(4, "update", A, {"title": "both"}, seen=[2, 3])]
    take(db, decided)
    assert rows(db, "SELECT * FROM conflicts") == [] and rows(db, "SELECT title FROM needs") == [("both",)]
    one_dump(*parts, decided)


def test_a_generated_task_made_by_two_clones_is_one_task():
    """Same uid by rule; the two creations do not disagree."""
    uid = f"{int(A[0], 16) ^ 8:x}{A[1:]}"
    one = [need(1, A, 1), task(2, uid, 1, need_id=f"need:{A}", priority=2)]
    two = [task(3, uid, 4, need_id=f"need:{A}", priority=2)]
    db = one_dump(one, two)
    assert len(rows(db, "SELECT * FROM tasks")) == 1 and rows(db, "SELECT * FROM conflicts") == []


# --- with a real repository


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """A synced workspace with one commit."""
    opened = open_index(str(copied(with_one_commit, tmp_path) / "repo"))
    sync(opened)
    yield opened
    opened.db.close()


def with_one_commit(folder: Path) -> None:
    root = make_repo(folder)
    (root / "a.md").write_text("# A\n")
    setup.initialise(str(root))
    git(root, "add", "-A")
    git(root, "commit", "-q", "--no-verify", "-m", "first")
    opened = open_index(str(root))
    sync(opened)
    opened.db.close()


def fill(index: Index) -> None:
    """Something of everything, through our own door."""
    first, second, third = records.add(
        index, "need", [{"title": "one", "scope": "s"}, {"title": "two", "status": "actionable"}, {"title": "gone"}]
    )
    (helper,) = records.add(
        index, "agent", [{"agent_type": "janitor", "monitored_needs": ["1", "2"], "provisioned_artifacts": ["a.md"]}]
    )
    records.add(index, "task", [{"description": "do", "need_id": "1", "assigned_agent_id": "1"}])
    records.link(index, "need:1", "references", "artifact:a.md", '{"why": "x"}')
    records.link(index, "need:1", "blocks", "need:3", None)
    records.change(index, "need", "need:2", {"parent_need_id": "1", "status": "in_progress"})
    records.change(index, "agent", "agent:1", {"monitored_needs": ["2"]})
    records.delete(index, "need", "need:3")
    assert (first["id"], second["id"], third["id"], helper["id"]) == (1, 2, 3, 1)


def rebuilt(index: Index) -> list[str]:
    """Delete the database and make it anew: what differs."""
    freshness.catch_up(index)
    before = dumping.canonical(index.db)
    index.db.close()
    for ending in ("", "-wal", "-shm"):
        Path(index.workspace.database + ending).unlink(missing_ok=True)
    setup.rebuild(index.workspace)
    again = open_index(index.workspace.root)
    after = dumping.canonical(again.db)
    again.db.close()
    return dumping.differences(before, after)


def test_a_deleted_database_comes_back_from_the_pending_log(index):
    """Nothing is committed yet: every row and every event is the same."""
    fill(index)
    assert rebuilt(index) == []


def test_a_deleted_database_comes_back_from_the_commits_alone(index):
    """Everything is published and committed, and then the pending log is lost as well."""
    fill(index)
    published = publishing.publish(index)
    assert published.events and published.segment
    git(Path(index.workspace.root), "commit", "-q", "--no-verify", "-m", "records")
    sync(index)
    assert publishing.pending(index) == 0
    os.unlink(os.path.join(index.workspace.common, ledger.NAME))
    assert rebuilt(index) == []


def test_every_kind_of_record_can_be_published(index):
    """Also an edge that was declared over a derived one, and a record that was deleted and made again."""
    fill(index)
    records.link(index, "task:2", "derived_from", "need:1", '{"by": "hand"}')
    records.unlink(index, "need:1", "references", "artifact:a.md")
    records.link(index, "need:1", "references", "artifact:a.md", None)
    freshness.catch_up(index)
    publishing.publish(index)
    freshness.catch_up(index)
    git(Path(index.workspace.root), "commit", "-q", "--no-verify", "-m", "records")
    freshness.catch_up(index)
    assert publishing.pending(index) == 0, rows(index.db, journaling.PENDING)


def test_an_edge_made_again_is_what_it_was_made(index):
    """Linked with metadata, unlinked, linked without: it has none."""
    fill(index)
    records.unlink(index, "need:1", "references", "artifact:a.md")
    records.link(index, "need:1", "references", "artifact:a.md", None)
    (found,) = [e for e in records.edges(index, "need:1") if e["target"] == "artifact:a.md"]
    assert found["metadata"] is None
    assert rebuilt(index) == []


def test_a_number_stays_with_its_record_in_daily_work(index, tmp_path):
    """Two clones give out one number; after the merge, work goes on and no number changes again."""
    root = Path(index.workspace.root)
    other = tmp_path / "other"
    git(root, "clone", "-q", str(root), str(other))
    setup.rebuild(open_or_build(str(other)))
    theirs = open_index(str(other))
    records.add(index, "need", [{"title": "ours"}])
    records.add(theirs, "need", [{"title": "theirs"}])
    for opened, where in ((index, root), (theirs, other)):
        publishing.publish(opened)
        git(where, "commit", "-q", "--no-verify", "-m", "records")
    git(root, "pull", "-q", "--no-rebase", "--no-edit", str(other), "main")
    theirs.db.close()
    freshness.catch_up(index)
    settled = dict(rows(index.db, "SELECT title, id FROM needs"))
    assert sorted(settled.values()) == [1, 2]
    for n in range(3):
        records.add(index, "need", [{"title": f"next {n}"}])
        assert dict(rows(index.db, "SELECT title, id FROM needs WHERE title NOT LIKE 'next%'")) == settled
    assert rebuilt(index) == []


def open_or_build(root: str):
    """The workspace of a fresh clone, which has no index yet."""
    setup.build_missing_index(root)
    opened = open_index(root)
    opened.db.close()
    return opened.workspace
