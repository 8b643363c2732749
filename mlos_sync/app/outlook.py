"""The page of a status view: what is ready, running and blocked, and by what.

The rules are those of `ready`; only the order and the names differ: a view shows uids.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlos_sync.app.gathering import Record, Records
from mlos_sync.app.readying import ORDER, End, Plan, Row, Wait, is_asked, judge, read_plan
from mlos_sync.core import views


def steps(
    known: Records, scope: str | None
) -> tuple[list[views.Step], list[views.Step], list[views.Step], list[tuple[str, ...]]]:
    """(ready, running, blocked, circles) of a scope (None: of all), most urgent first, then oldest first."""
    plan = read_plan(known.db, "uid", "t.description, t.status, t.priority, t.created_at")
    order = sorted(plan.tasks.values(), key=lambda one: (plan.priority(one) or 9, one["created_at"] or "", one["id"]))
    found = judge(plan, [task for task in order if is_asked(plan, task, scope)])
    running = [task for task in order if task["status"] == "in_progress" and _is_in(plan, task, scope)]
    return (
        [_step(known, plan, task) for task in found.ready],
        [_step(known, plan, task) for task in running],
        [_step(known, plan, task, waits) for task, waits in found.blocked],
        [tuple(_name(known, end) for end in knot.circle) for knot in found.circles],
    )


def records(known: Records) -> set[Record]:
    """What is or was in a status view: all tasks, the edges of order, and the needs that a task or such an edge names; of
    every scope, for any of them may hold up any other."""
    found = {("task", uid) for uid in known.ever("task")} | {("need", uid) for uid in known.tasks_ever_of}
    for uid, events in known.edges_with([f'"{word}"' for word in ORDER]).items():
        found.add(("relationship", uid))
        ends = [str(event.fields.get(end)) for event in events for end in ("source", "target")]
        found |= {("need", end.removeprefix("need:")) for end in ends if end.startswith("need:")}
    return found


def _is_in(plan: Plan, task: Row, scope: str | None) -> bool:
    need = plan.needs.get(task["need_id"])
    return scope is None or (need is not None and need["scope"] == scope)


def _name(known: Records, end: End) -> str:
    return known.names(end[0])[end[1]]


def _step(known: Records, plan: Plan, task: Row, waits: Iterable[Wait] = ()) -> views.Step:
    need = plan.needs.get(task["need_id"])
    about = (_name(known, ("need", need["id"])), need["title"]) if need else None
    return views.Step(
        known.tasks[task["id"]], plan.priority(task), about, tuple(_reason(known, plan, wait) for wait in waits)
    )


def _reason(known: Records, plan: Plan, wait: Wait) -> views.Reason:
    kind, number = wait.source
    row = plan.tasks[number] if kind == "task" else plan.needs[number]
    text = row["title" if kind == "need" else "description"]
    return views.Reason(_name(known, wait.source), text, row["status"], wait.type, _name(known, wait.holder))
