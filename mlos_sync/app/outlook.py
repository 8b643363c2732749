"""The page of a status view: what is ready, running and blocked, and by what.

The rules are those of `ready`; only the order and the names differ: a view shows uids, because numbers are local where two
clones gave out the same.
"""

from __future__ import annotations

from mlos_sync.app.gathering import Record, Records
from mlos_sync.app.readying import ORDER, End, Plan, Row, Wait, is_asked, judge, read_plan
from mlos_sync.core import views


def steps(
    known: Records, scope: str | None
) -> tuple[list[views.Step], list[views.Step], list[views.Step], list[tuple[str, ...]]]:
    """(ready, running, blocked, circles) of a scope (None: of all), most urgent first, then oldest first."""
    numbers, shown = _named(known)
    plan = read_plan(known.db, numbers, "id, uid, need_id, description, status, priority, created_at")
    order = sorted(plan.tasks.values(), key=lambda one: (plan.priority(one) or 9, one["created_at"] or "", one["uid"]))
    found = judge(plan, [task for task in order if is_asked(plan, task, scope)])
    running = [task for task in order if task["status"] == "in_progress" and _is_in(plan, task, scope)]
    return (
        [_step(plan, task, shown) for task in found.ready],
        [_step(plan, task, shown) for task in running],
        [_step(plan, task, shown, waits) for task, waits in found.blocked],
        [tuple(shown[end] for end in knot.circle) for knot in found.circles],
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


def _named(known: Records) -> tuple[dict[End, int], dict[End, str]]:
    """Needs and tasks numbered by their uids, the same in every clone, where ids of rows may not be: end -> number, and end
    with that number -> name."""
    numbers: dict[End, int] = {}
    shown: dict[End, str] = {}
    for kind in ("need", "task"):
        ids = dict(known.db.execute(f"SELECT uid, id FROM {kind}s").fetchall())
        for rank, (uid, name) in enumerate(sorted(known.names(kind).items()), 1):
            numbers[kind, ids[uid]] = rank
            shown[kind, rank] = name
    return numbers, shown


def _is_in(plan: Plan, task: Row, scope: str | None) -> bool:
    need = plan.needs.get(task["need_id"])
    return scope is None or (need is not None and need["scope"] == scope)


def _step(plan: Plan, task: Row, shown: dict[End, str], waits: list[Wait] | None = None) -> views.Step:
    need = plan.needs.get(task["need_id"])
    item = views.TaskItem(shown["task", task["id"]], task["description"], task["status"], task["priority"])
    about = (shown["need", need["id"]], need["title"]) if need else None
    reasons = tuple(_reason(plan, wait, shown) for wait in waits or ())
    return views.Step(item, plan.priority(task), about, reasons)


def _reason(plan: Plan, wait: Wait, shown: dict[End, str]) -> views.Reason:
    kind, number = wait.source
    row = plan.tasks[number] if kind == "task" else plan.needs[number]
    text = row["title" if kind == "need" else "description"]
    return views.Reason(shown[wait.source], text, row["status"], wait.type, shown[wait.holder])
