"""The fold: a record's state from its events, whatever their order and however often each arrives. Pure.

Rules, in this order:
1. An event that has seen another comes after it; its effective clock is at least that of all it has seen plus one,
   so a clock that lies cannot turn causality round.
2. Concurrent events are ordered by effective clock, then by id. Last writer wins per field.
3. Each element of an array is a field of its own (present or not), so concurrent additions both stay.
4. `delete` and `recreate` decide whether the record lives, by the same order among themselves; an edit that had not
   seen the deletion does not bring the record back, it is shown as a conflict.
5. Where two concurrent events set one field to different values, the loser is kept as a conflict until an event that
   has seen both sets the field, or deletes the record.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mlos_sync.core.journal import Event, trusted

Clock = tuple[int, int]
ALIVE = "@alive"
COMMIT_DOOR = "commit "  # the door of an event that a commit's message makes, before the commit's name
CLOSED = frozenset({"completed", "resolved"})
# Two clones may make one generated task; that they did so at different moments under different numbers is no conflict.
NO_CONFLICT = frozenset({"id", "created_at", "started_at", "updated_at"})


@dataclass(frozen=True, slots=True)
class Loss:
    """A value that lost to a concurrent one: the field and both events."""

    field: str
    winner: str
    loser: str


@dataclass(slots=True)
class State:
    """What the events of one record come to."""

    kind: str
    uid: str
    fields: dict[str, Any] = field(default_factory=dict)
    alive: bool = False
    born: Clock | None = None  # effective clock of its first creation; None: no event creates it
    newest_ms: int = 0
    mortal: bool = False  # whether it was ever deleted
    heads: tuple[str, ...] = ()
    losses: tuple[Loss, ...] = ()
    closed_by: str | None = None  # the commit whose closing decides the status, while it is closed


def fold(events: Iterable[Event]) -> State:
    """The state of the one record that all `events` (at least one) belong to."""
    by_id: dict[str, Event] = {}
    for event in events:
        other = by_id.get(event.id)
        if other is None or event.line > other.line:
            by_id[event.id] = event
    ordered = sorted(by_id.values(), key=lambda event: (event.clock, event.id))
    if _is_chain(ordered):
        # Most records: each event has seen just the one before it. Then clocks are as they say, and nothing is concurrent.
        state = _replay(ordered, {})
        state.newest_ms, state.heads = ordered[-1].clock[0], (ordered[-1].id,)
        return state
    clocks = effective_clocks(by_id)
    ordered = sorted(by_id.values(), key=lambda event: (clocks[event.id], event.id))
    state = _replay(ordered, clocks)
    state.newest_ms = max(clock[0] for clock in clocks.values())
    state.heads = heads(ordered)
    state.losses = tuple(_losses(ordered))
    return state


def plain(lines: Iterable[str]) -> tuple[Any, ...]:
    """The state that the lines of a record's events fold to, as plain values that travel between processes. Raises
    BadLineError."""
    state = fold(trusted(line) for line in lines)
    losses = tuple((loss.field, loss.winner, loss.loser) for loss in state.losses)
    return (
        state.kind, state.uid, state.fields, state.alive, state.born, state.newest_ms, state.mortal, state.heads, losses,
        state.closed_by,
    )  # fmt: skip


def from_plain(values: tuple[Any, ...]) -> State:
    """The state that `plain` told."""
    state = State(*values)
    state.losses = tuple(Loss(*loss) for loss in state.losses)  # type: ignore[misc]
    return state


def heads(events: Iterable[Event]) -> tuple[str, ...]:
    """Ids of the events of a record that no other of them has seen, sorted."""
    known = {event.id: event for event in events}
    named = {one for event in known.values() for one in event.seen}
    return tuple(sorted(known.keys() - named))


def _replay(ordered: list[Event], clocks: dict[str, Clock]) -> State:
    """What the events come to in this order. `clocks` are their effective ones, where these differ from their own."""
    state = State(ordered[0].kind, ordered[0].uid)
    last: dict[str, Any] = {}
    door = ""
    for event in ordered:
        op = event.op
        if op in ("create", "recreate") and state.born is None:
            state.born = clocks.get(event.id, event.clock)
        elif op == "delete":
            state.mortal = True
        last.update(assignments(event))
        door = event.door if "status" in event.fields else door
    if "updated_at" not in ordered[-1].fields:
        last.pop("updated_at", None)  # set by hand once, overtaken since
    state.alive = bool(last.pop(ALIVE, False))
    state.fields = _assemble(last)
    if door.startswith(COMMIT_DOOR) and state.fields.get("status") in CLOSED:
        state.closed_by = door.removeprefix(COMMIT_DOOR)
    return state


def effective_clocks(by_id: dict[str, Event]) -> dict[str, Clock]:
    """Clock per event, raised above everything it has seen. A forged cycle is cut where it is met."""
    done: dict[str, Clock] = {}
    for start in sorted(by_id):
        stack = [start]
        open_: set[str] = set()
        while stack:
            current = stack[-1]
            if current in done:
                stack.pop()
                continue
            open_.add(current)
            waiting = [s for s in by_id[current].seen if s in by_id and s not in done and s not in open_]
            if waiting:
                stack.extend(waiting)
                continue
            clock = by_id[current].clock
            for one in by_id[current].seen:
                if one in done and done[one] >= clock:
                    clock = (done[one][0], done[one][1] + 1)
            done[current] = clock
            stack.pop()
    return done


def assignments(event: Event) -> Iterator[tuple[str, Any]]:
    """(field, value) that an event sets; an array's element is the field `name/element`, a life is `@alive`."""
    if event.op in ("create", "recreate"):
        yield ALIVE, True
    elif event.op == "delete":
        yield ALIVE, False
        return
    elif event.op not in ("update", "redact"):
        return
    for name, value in event.fields.items():
        if isinstance(value, dict):
            add, remove = _elements(value.get("add")), _elements(value.get("remove"))
            for element in remove:
                if element not in add:
                    yield f"{name}/{element}", False
            for element in add:
                yield f"{name}/{element}", True
        elif name != ALIVE:
            yield name, value


def _elements(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _assemble(last: dict[str, Any]) -> dict[str, Any]:
    if not any("/" in name for name in last):
        return last
    fields: dict[str, Any] = {}
    arrays: dict[str, list[str]] = {}
    for name, value in last.items():
        column, slash, element = name.partition("/")
        if slash:
            found = arrays.setdefault(column, [])
            if value:
                found.append(element)
        else:
            fields[column] = value
    return fields | {column: sorted(elements) for column, elements in arrays.items()}


def _is_chain(ordered: list[Event]) -> bool:
    """Whether each event, in the order of the clocks, has seen the one before it and nothing else."""
    return not ordered[0].seen and all(
        after.seen == (before.id,) and before.clock < after.clock for before, after in itertools.pairwise(ordered)
    )


def _losses(ordered: list[Event]) -> Iterator[Loss]:
    """Exact concurrency by ancestor sets, as bit masks over the order (ancestors always stand earlier)."""
    place = {event.id: n for n, event in enumerate(ordered)}
    ancestors: list[int] = []
    for n, event in enumerate(ordered):
        mask = 0
        for one in event.seen:
            at = place.get(one)
            if at is not None and at < n:
                mask |= ancestors[at] | 1 << at
        ancestors.append(mask)
    setters: dict[str, list[tuple[int, Any]]] = {}
    for n, event in enumerate(ordered):
        for name, value in assignments(event):
            setters.setdefault(name, []).append((n, value))
    deletions = [n for n, event in enumerate(ordered) if event.op == "delete"]
    for name, found in sorted(setters.items()):
        last, kept = found[-1]
        if name in NO_CONFLICT or len(found) < 2:
            continue
        covered = 0
        for n, _ in found:
            covered |= ancestors[n]
        for n, value in found[:-1]:
            settled = covered >> n & 1 or any(ancestors[m] >> n & ancestors[m] >> last & 1 for m in deletions)
            if n != last and value != kept and not settled:
                yield Loss(name, ordered[last].id, ordered[n].id)
    yield from _edits_against_deletion(ordered, ancestors)


def _edits_against_deletion(ordered: list[Event], ancestors: list[int]) -> Iterator[Loss]:
    for n, event in enumerate(ordered):
        if event.op != "delete" or any(ancestors[m] >> n & 1 for m in range(n + 1, len(ordered))):
            continue
        for m, other in enumerate(ordered):
            if other.op == "update" and m != n and not ancestors[n] >> m & 1:
                yield Loss(ALIVE, event.id, other.id)
