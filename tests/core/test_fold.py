"""The fold: one state from a set of events, whatever their order, with causality above clocks and conflicts exact."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlos_sync.core import journal
from mlos_sync.core.fold import ALIVE, Loss, State, effective_clocks, fold
from mlos_sync.core.journal import Event

UID = "fe" * 16


def eid(n: int) -> str:
    """The n-th event id."""
    return f"{n:032x}"


def ev(n: int, fields: dict[str, Any] | None = None, *, seen=(), op="update", clock=None, kind="need") -> Event:
    """Event number n; by default its clock is n seconds."""
    return journal.make(
        id=eid(n), clock=clock or (n * 1000, 0), seen=[eid(one) for one in seen], kind=kind, uid=UID, op=op,
        fields=fields or {}, actor="Ada", door="cli", tx=None,
    )  # fmt: skip


def born(fields: dict[str, Any] | None = None, **more) -> Event:
    """The creation, event number 1."""
    return ev(1, {"title": "t", **(fields or {})}, op="create", **more)


def same(events: list[Event]) -> State:
    """The state of the events, the same in every order (or in 24 of them) and with each event up to three times."""
    first = fold(events)
    orders = itertools.permutations(events) if len(events) <= 4 else _shuffled(events)
    for order in orders:
        assert fold(order) == first
        assert fold([*order, *order[:2], *order]) == first
    return first


def _shuffled(events: list[Event]):
    for seed in range(24):
        order = list(events)
        random.Random(seed).shuffle(order)
        yield tuple(order)


def losses(state: State) -> set[tuple[str, str, str]]:
    """The conflicts as plain tuples."""
    return {(loss.field, loss.winner, loss.loser) for loss in state.losses}


NAMES = ("title", "status", "priority")
SCALARS = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 3), max_size=2)
ARRAYS = st.dictionaries(
    st.just("monitored_needs"),
    st.dictionaries(st.sampled_from("xyz"), st.sampled_from(["add", "remove"]), max_size=3).map(
        lambda chosen: {way: [one for one in chosen if chosen[one] == way] for way in sorted(set(chosen.values()))}
    ),
    max_size=1,
)
OPS = st.sampled_from(["create", "update", "update", "update", "delete", "recreate", "redact", "transmute"])


@st.composite
def histories(draw) -> list[Event]:
    """A random DAG of events with clocks that lie."""
    made: list[Event] = []
    for n in range(draw(st.integers(1, 9))):
        seen = draw(st.lists(st.integers(0, n - 1), max_size=3, unique=True)) if n else []
        clock = (draw(st.integers(0, 5)), draw(st.integers(0, 2)))
        op = draw(OPS)
        fields = {**draw(SCALARS), **draw(ARRAYS)} if op != "delete" else {}
        made.append(ev(n, fields, seen=seen, op=op, clock=clock))
    return made


def assigned(event: Event) -> dict[str, Any]:
    """What an event sets, by a second telling of the rule."""
    found: dict[str, Any] = {}
    if event.op in ("create", "recreate", "update", "redact"):
        for name, value in event.fields.items():
            if isinstance(value, dict):
                found |= {f"{name}/{one}": False for one in value.get("remove", [])}
                found |= {f"{name}/{one}": True for one in value.get("add", [])}
            else:
                found[name] = value
    if event.op in ("create", "recreate"):
        found[ALIVE] = True
    if event.op == "delete":
        found[ALIVE] = False
    return found


def ancestors(events: list[Event]) -> dict[str, set[str]]:
    """All that each event has seen, directly or through others."""
    by_id = {event.id: event for event in events}
    found: dict[str, set[str]] = {}
    for event in events:
        todo, seen = list(event.seen), set()
        while todo:
            one = todo.pop()
            if one in by_id and one not in seen:
                seen.add(one)
                todo += by_id[one].seen
        found[event.id] = seen
    return found


@given(histories(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_order_and_repetition_do_not_matter(events, rng):
    """Any permutation of the events, each once or more, folds to the same state."""
    state = fold(events)
    order = [*events, *rng.choices(events, k=len(events))]
    rng.shuffle(order)
    assert fold(order) == state
    assert fold(reversed(events)) == state
    assert fold(iter(order)) == state


@given(histories())
@settings(max_examples=200, deadline=None)
def test_causality_stands_above_every_clock(events):
    """An event comes after all it has seen, and no field keeps a value that a later setter had seen."""
    clocks = effective_clocks({event.id: event for event in events})
    before = ancestors(events)
    state = fold(events)
    for event in events:
        assert all(clocks[one] < clocks[event.id] for one in before[event.id])
        assert clocks[event.id] >= event.clock
    for name in NAMES:
        setters = [event for event in events if name in assigned(event)]
        covered = {one for event in setters for one in before[event.id]}
        standing = [assigned(event)[name] for event in setters if event.id not in covered]
        assert (state.fields.get(name) in standing) if standing else name not in state.fields


@given(histories())
@settings(max_examples=200, deadline=None)
def test_heads_are_the_events_that_nobody_has_seen(events):
    """What the next author names in `seen`."""
    named = {one for event in events for one in event.seen}
    assert fold(events).heads == tuple(sorted(event.id for event in events if event.id not in named))


@given(histories())
@settings(max_examples=200, deadline=None)
def test_conflicts_are_exactly_the_concurrent_values_nobody_settled(events):
    """A loss is a value, other than the winner's, whose setter no setter of that field has seen, and that no deletion has
    seen together with the winner's; all are told, no more."""
    before = ancestors(events)
    clocks = effective_clocks({event.id: event for event in events})
    ordered = sorted(events, key=lambda event: (clocks[event.id], event.id))
    expected = set()
    for name in {name for event in events for name in assigned(event)}:
        setters = [event for event in ordered if name in assigned(event)]
        covered = {one for event in setters for one in before[event.id]}
        winner = setters[-1]
        expected |= {
            (name, winner.id, event.id)
            for event in setters[:-1]
            if event.id not in covered
            and assigned(event)[name] != assigned(winner)[name]
            and not any(one.op == "delete" and {event.id, winner.id} <= before[one.id] for one in ordered)
        }
    for event in ordered:
        if event.op == "delete" and not any(event.id in before[other.id] for other in ordered):
            expected |= {
                (ALIVE, event.id, other.id)
                for other in ordered
                if other.op == "update" and other.id not in before[event.id]
            }
    assert losses(fold(events)) == expected


@given(histories(), histories())
@settings(max_examples=150, deadline=None)
def test_merging_is_a_union_of_sets(mine, theirs):
    """Folding two sets together is commutative, associative by construction, and idempotent."""
    theirs = [journal.make(**{**_parts(event), "id": eid(int(event.id, 16) + 100)}) for event in theirs]
    assert fold(mine + theirs) == fold(theirs + mine) == fold(mine + theirs + mine)


def _parts(event: Event) -> dict[str, Any]:
    names = ("id", "clock", "seen", "kind", "uid", "op", "fields", "actor", "door", "tx")
    return {name: getattr(event, name) for name in names}


def test_the_last_writer_wins_per_field():
    """Two concurrent edits of different fields both stand."""
    state = same([born(), ev(2, {"title": "mine"}, seen=[1]), ev(3, {"scope": "theirs"}, seen=[1])])
    assert state.fields == {"title": "mine", "scope": "theirs"} and state.losses == ()


def test_concurrent_edits_of_one_field_go_by_clock_then_id():
    """The later clock wins; with equal clocks the greater id does; the loser is told."""
    a, b = ev(2, {"title": "a"}, seen=[1], clock=(9000, 0)), ev(3, {"title": "b"}, seen=[1], clock=(8000, 5))
    state = same([born(), a, b])
    assert state.fields["title"] == "a" and state.losses == (Loss("title", a.id, b.id),)
    c = ev(4, {"title": "c"}, seen=[1], clock=(9000, 0))
    state = same([born(), a, c])
    assert state.fields["title"] == "c" and state.losses == (Loss("title", c.id, a.id),)


def test_equal_values_are_no_conflict():
    """Both sides wrote the same."""
    assert same([born(), ev(2, {"title": "x"}, seen=[1]), ev(3, {"title": "x"}, seen=[1])]).losses == ()


def test_a_clock_that_lies_cannot_overturn_causality():
    """A value stamped ten years ahead falls to an edit that has seen it, and an edit stamped 1970 holds."""
    ahead = ev(2, {"title": "future"}, seen=[1], clock=(2_110_000_000_000, 0))
    back = ev(3, {"title": "now"}, seen=[2], clock=(1, 0))
    again = ev(4, {"title": "later"}, seen=[3], clock=(0, 0))
    assert same([born(), ahead, back]).fields["title"] == "now"
    state = same([born(), ahead, back, again])
    assert state.fields["title"] == "later" and state.losses == () and state.heads == (again.id,)


def test_array_elements_are_fields_of_their_own():
    """Concurrent additions both stay; an addition that has not seen a removal is in conflict with it, others are not."""
    state = same([
        born({"monitored_needs": {"add": ["x"]}}),
        ev(2, {"monitored_needs": {"add": ["y"], "remove": ["x"]}}, seen=[1]),
        ev(3, {"monitored_needs": {"add": ["z"]}}, seen=[1]),
    ])  # fmt: skip
    assert state.fields["monitored_needs"] == ["y", "z"] and state.losses == ()
    add, remove = ev(2, {"m": {"add": ["x"]}}, seen=[1]), ev(3, {"m": {"remove": ["x"]}}, seen=[1])
    assert losses(same([born(), add, remove])) == {("m/x", remove.id, add.id)}


def test_an_event_is_in_no_conflict_with_itself():
    """A forged event that both adds and removes an element is read one way, and is not called concurrent with itself."""
    state = same([ev(1, op="create", clock=(1, 1)), ev(2, {"m": {"add": ["x"], "remove": ["x"]}}, clock=(1, 1))])
    assert state.losses == ()


def test_an_array_that_lost_all_is_empty():
    """Removing the last element leaves an empty list, not an absent field."""
    state = same([born({"m": {"add": ["x"]}}), ev(2, {"m": {"remove": ["x"]}}, seen=[1])])
    assert state.fields["m"] == []


def test_elements_may_hold_a_slash():
    """A path in an array keeps its folders."""
    state = same([born({"provisioned_artifacts": {"add": ["artifact:notes/2026/a.md"]}})])
    assert state.fields["provisioned_artifacts"] == ["artifact:notes/2026/a.md"]


def test_deletion_and_new_creation_in_a_line():
    """Delete ends it, recreate revives it, each by causality and not by clock."""
    gone = ev(2, seen=[1], op="delete", clock=(1, 0))
    assert not same([born(), gone]).alive
    back = ev(3, {"title": "again"}, seen=[2], op="recreate", clock=(1, 0))
    state = same([born(), gone, back])
    assert state.alive and state.fields["title"] == "again" and state.losses == ()
    assert not same([born(), gone, back, ev(4, seen=[3], op="delete", clock=(0, 0))]).alive


def test_an_edit_does_not_undo_a_deletion():
    """An edit that had not seen the deletion stays a conflict; its clock does not matter."""
    gone = ev(2, seen=[1], op="delete")
    for stamp in (500, 5000):
        edit = ev(3, {"title": "edited"}, seen=[1], clock=(stamp, 0))
        state = same([born(), gone, edit])
        assert not state.alive and losses(state) == {(ALIVE, gone.id, edit.id)}


def test_an_edit_after_the_deletion_does_not_revive():
    """Even an edit that has seen the deletion is no recreation."""
    assert not same([born(), ev(2, seen=[1], op="delete"), ev(3, {"title": "x"}, seen=[2])]).alive


def test_a_deletion_beside_a_recreation_is_a_conflict():
    """Life is a field of its own among deletions and recreations."""
    gone = ev(2, seen=[1], op="delete")
    back, again = ev(3, {"title": "x"}, seen=[2], op="recreate"), ev(4, seen=[2], op="delete")
    state = same([born(), gone, back, again])
    assert not state.alive and (ALIVE, again.id, back.id) in losses(state)


def test_an_event_that_has_seen_both_settles_the_conflict():
    """The resolving event names both heads; what is left is its value and no conflict."""
    a, b = ev(2, {"title": "a"}, seen=[1]), ev(3, {"title": "b"}, seen=[1])
    settle = ev(4, {"title": "c"}, seen=[2, 3], clock=(1, 0))
    state = same([born(), a, b, settle])
    assert state.fields["title"] == "c" and state.losses == () and state.heads == (settle.id,)


def test_an_event_that_has_seen_both_but_sets_another_field_settles_nothing():
    """Only a word about the field itself is a decision on it."""
    a, b = ev(2, {"title": "a"}, seen=[1]), ev(3, {"title": "b"}, seen=[1])
    state = same([born(), a, b, ev(4, {"scope": "x"}, seen=[2, 3])])
    assert state.losses == (Loss("title", b.id, a.id),)


@pytest.mark.parametrize("named", [2, 3])
def test_naming_one_head_does_not_settle_the_other(named):
    """An event that knew one of two heads leaves the other concurrent."""
    a, b = ev(2, {"title": "a"}, seen=[1]), ev(3, {"title": "b"}, seen=[1])
    after = ev(4, {"title": "c"}, seen=[named])
    other = {2: b, 3: a}[named]
    assert same([born(), a, b, after]).losses == (Loss("title", after.id, other.id),)


def test_three_ways_and_a_chain_on_one_side():
    """Only the tips of each side are told, not the steps that led to them."""
    a1, a2 = ev(2, {"title": "a1"}, seen=[1]), ev(3, {"title": "a2"}, seen=[2])
    b, c = ev(4, {"title": "b"}, seen=[1]), ev(5, {"title": "c"}, seen=[1])
    state = same([born(), a1, a2, b, c])
    assert losses(state) == {("title", c.id, a2.id), ("title", c.id, b.id)}


def test_the_number_of_a_twin_creation_is_no_conflict():
    """Two clones that make one generated task at different moments under different numbers do not disagree."""
    one = ev(1, {"id": 4, "created_at": "2026-01-01T00:00:00Z", "title": "t"}, op="create")
    two = ev(2, {"id": 7, "created_at": "2026-01-02T00:00:00Z", "title": "t"}, op="create")
    state = same([one, two])
    assert state.losses == () and state.alive and state.born == (1000, 0)


def test_what_a_newer_version_does_is_passed_over_but_counts_as_seen():
    """An unknown operation sets nothing, an unknown kind folds like any other."""
    odd = ev(2, {"title": "odd"}, seen=[1], op="transmute")
    state = same([born(kind="dream"), odd, ev(3, {"scope": "x"}, seen=[2], kind="dream")])
    assert state.kind == "dream" and state.alive
    assert state.fields == {"title": "t", "scope": "x"} and state.heads == (eid(3),)


def test_redaction_sets_its_fields():
    """A redaction replaces a value and is no conflict with what it has seen."""
    state = same([born({"description": "secret"}), ev(2, {"description": None}, seen=[1], op="redact")])
    assert state.fields["description"] is None and state.alive and state.losses == ()


def test_an_update_without_creation_has_no_birth():
    """What a cherry-pick brought alone is known, but the record was not born and does not live."""
    state = same([ev(2, {"title": "x"}, seen=[1])])
    assert state.born is None and not state.alive and state.fields == {"title": "x"} and state.heads == (eid(2),)


def test_what_was_seen_need_not_be_here():
    """An unknown id in `seen` is neither an error nor a head."""
    state = same([born(seen=[77]), ev(2, {"title": "x"}, seen=[1, 78])])
    assert state.fields["title"] == "x" and state.heads == (eid(2),)


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_a_forged_cycle_ends(size):
    """Events that claim to have seen each other in a ring fold to one state, the same in every order."""
    ring = [ev(n, {"title": f"v{n}"}, seen=[(n + 1) % size], op="create" if n == 0 else "update") for n in range(size)]
    state = same(ring)
    assert state.alive and state.fields["title"].startswith("v")
    same([*ring, ev(900, {"title": "after"}, seen=[0])])


@given(st.lists(st.tuples(st.lists(st.integers(0, 6), max_size=4), st.integers(0, 3)), min_size=1, max_size=7))
@settings(max_examples=200, deadline=None)
def test_any_forged_graph_folds_the_same_in_any_order(nodes):
    """Cycles of every shape, self-references included."""
    events = [ev(n, {"title": n}, seen=set(seen), clock=(clock, 0)) for n, (seen, clock) in enumerate(nodes)]
    assert fold(events) == fold(reversed(events))


def test_one_id_with_two_contents_is_decided_by_content():
    """A forged twin of an event does not make the result depend on which came first."""
    same([born(), ev(2, {"title": "one"}, seen=[1]), ev(2, {"title": "two"}, seen=[1])])


def test_a_long_chain_is_folded_in_linear_time():
    """Ten thousand edits of one record need no stack and no square."""
    chain = [ev(n, {"title": n}, seen=[n - 1] if n else [], op="create" if n == 0 else "update") for n in range(10_000)]
    random.Random(1).shuffle(chain)
    state = fold(chain)
    assert state.fields["title"] == 9_999 and state.losses == () and state.heads == (eid(9_999),)


def test_the_state_knows_when_it_was_last_changed():
    """The newest effective time, so that a date never goes back behind what was seen."""
    assert same([born(), ev(2, {"title": "x"}, seen=[1], clock=(1, 0))]).newest_ms == 1000
    assert same([born(), ev(2, {"title": "x"}, seen=[1], clock=(7000, 3))]).newest_ms == 7000
