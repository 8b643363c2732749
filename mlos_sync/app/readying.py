"""Which tasks can be worked on now, and what the others wait for. Reads only.

The rules, which docs/reference.md tells its users:

- Asked about are tasks that are open or assigned, unless their need is resolved or deferred.
- `A blocks B` and `A enables B` say the same of order: first A, then B. A holds B up as long as it is an unresolved need
  (a deferred one too) or an open, assigned or running task.
- What holds up a need, or one it is part of, holds up its tasks. What is itself part of a need does not hold up the need's
  other parts: it only has to be done before the need is resolved.
- A task without a priority has that of its need, or of the nearest need above that has one.
- Where ends wait for each other in a circle (a need waits for its own tasks and parts, too), none ever becomes ready; the
  circle is named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mlos_sync.app import freshness
from mlos_sync.app.opening import Index
from mlos_sync.core.circles import Knot, knots
from mlos_sync.core.vocabulary import OPEN_TASKS
from mlos_sync.edge import store
from mlos_sync.errors import UsageError

Row = dict[str, Any]
End = tuple[str, Any]  # kind, and what names one of the kind: its number or its uid, one of the two throughout a plan
ORDER = ("blocks", "enables")


@dataclass(frozen=True, slots=True)
class Wait:
    """That something waits for `source`, because of an edge of `type` from it to `holder`: itself, its need, or one above."""

    source: End
    type: str
    holder: End


@dataclass
class Plan:
    """Needs, unfinished tasks, and the edges of order between them, all read once."""

    needs: dict[Any, Row]
    tasks: dict[Any, Row]
    before: dict[End, list[tuple[End, str]]] = field(default_factory=dict)  # what must be first, still unfinished
    lines: dict[Any, list[End]] = field(default_factory=dict)  # need -> itself and the needs above it
    inherited: dict[Any, int | None] = field(default_factory=dict)  # need -> priority of its tasks without one

    def lineage(self, end: End) -> list[End]:
        """The needs that an end is part of, nearest first; a circle of parents is cut."""
        number = self.tasks[end[1]]["need_id"] if end[0] == "task" else self.needs[end[1]]["parent_need_id"]
        if number not in self.lines:
            found: list[End] = []
            above = number
            while above is not None and ("need", above) not in found and above in self.needs:
                found.append(("need", above))
                above = self.needs[above]["parent_need_id"]
            self.lines[number] = found
        return self.lines[number]

    def waits(self, end: End) -> list[Wait]:
        """What an end waits for."""
        if not self.before:
            return []
        found = [Wait(source, kind, end) for source, kind in self.before.get(end, [])]
        for holder in self.lineage(end):
            for source, kind in self.before.get(holder, []):
                if source != holder and holder not in self.lineage(source):
                    found.append(Wait(source, kind, holder))
        return found

    @cached_property
    def parts(self) -> dict[Any, list[End]]:
        """The unfinished tasks and needs of each need."""
        found: dict[Any, list[End]] = {}
        for number, task in self.tasks.items():
            found.setdefault(task["need_id"], []).append(("task", number))
        for number, need in self.needs.items():
            if need["status"] != "resolved":
                found.setdefault(need["parent_need_id"], []).append(("need", number))
        return found

    def next(self, end: End) -> dict[End, str]:
        """What must be finished before an end can be: what it waits for, and, of a need, its parts."""
        found = dict.fromkeys(self.parts.get(end[1], []), "part of") if end[0] == "need" else {}
        return found | {wait.source: wait.type for wait in self.waits(end)}

    def priority(self, task: Row) -> int | None:
        """The task's own, or what it inherits."""
        if task["priority"] is not None:
            return int(task["priority"])
        need = task["need_id"]
        if need not in self.inherited:
            above = (self.needs[number]["priority"] for _, number in self.lineage(("task", task["id"])))
            self.inherited[need] = next((int(one) for one in above if one is not None), None)
        return self.inherited[need]


def ready(index: Index, scope: str | None = None, limit: int | None = None) -> Row:
    """The tasks that can be worked on, as of now: see `judged`. Raises UsageError."""
    if limit is not None and limit < 1:
        raise UsageError(f"{limit} is no number of tasks", "give --limit a number from 1")
    freshness.catch_up(index)
    found = judged(index.db, scope)
    return found if limit is None else found | {"ready": found["ready"][:limit]}


@dataclass(frozen=True, slots=True)
class Judged:
    """What a plan says of the tasks asked about: ready ones, what each of the others waits for, and circles of waiting.
    Tasks are in the order asked for."""

    ready: list[Row]
    blocked: list[tuple[Row, list[Wait]]]
    circles: list[Knot]


def judge(plan: Plan, asked: list[Row]) -> Judged:
    """Which of the tasks can be worked on now."""
    waiting = {task["id"]: waits for task in asked if (waits := plan.waits(("task", task["id"])))}
    tied = knots([("task", number) for number in waiting], plan.next, frozenset(ORDER))
    return Judged(
        [task for task in asked if task["id"] not in waiting],
        [(task, waiting[task["id"]]) for task in asked if task["id"] in waiting],
        tied,
    )


def judged(db: store.Connection, scope: str | None = None) -> Row:
    """{"ready": tasks, most urgent first; "blocked": tasks with `by`, what they wait for; "cycles": circles of waiting}.

    Each task is its row with `ref`, `effective_priority` and `need`. `scope` narrows to the tasks of that scope's needs.
    """
    plan = read_plan(db)
    asked = sorted(
        (one for one in plan.tasks.values() if is_asked(plan, one, scope)),
        key=lambda one: (plan.priority(one) or 9, one["id"]),
    )
    found = judge(plan, asked)
    stuck = {end for knot in found.circles for end in knot.ends}
    return {
        "ready": [_told(plan, task) for task in found.ready],
        "blocked": [
            _told(plan, task) | {"by": [_reason(plan, wait, stuck) for wait in waits]} for task, waits in found.blocked
        ],
        "cycles": [[f"{kind}:{number}" for kind, number in knot.circle] for knot in found.circles],
    }


def read_plan(db: store.Connection, key: str = "id", columns: str = "t.*") -> Plan:
    """Needs, unfinished tasks (those of their `columns` that somebody shows) and their order. `key` is the column that names
    a need or a task in ends and rows: numbers are local where two clones gave out the same, a `uid` is the same in each."""
    unfinished = ", ".join(f"'{one}'" for one in OPEN_TASKS)
    needs = store.rows(
        db,
        f"SELECT n.{key} AS id, n.title, n.status, n.priority, n.scope, p.{key} AS parent_need_id FROM needs n"
        " LEFT JOIN needs p ON p.id = n.parent_need_id",
    )
    tasks = store.rows(
        db,
        f"SELECT {columns}, t.{key} AS id, n.{key} AS need_id FROM tasks t LEFT JOIN needs n ON n.id = t.need_id"
        f" WHERE t.status IN ({unfinished})",
    )
    plan = Plan({row["id"]: row for row in needs}, {row["id"]: row for row in tasks})
    unfinished_ends = {("need", number) for number, need in plan.needs.items() if need["status"] != "resolved"}
    unfinished_ends |= {("task", number) for number in plan.tasks}
    for source, one, kind, target, other in sorted(db.execute(_ORDERED.format(key=key), ORDER)):
        if (source, one) in unfinished_ends and (target, other) in unfinished_ends:
            plan.before.setdefault((target, other), []).append(((source, one), kind))
    return plan


_END = (
    "CASE {end}_type WHEN 'need' THEN (SELECT {{key}} FROM needs WHERE id = {end}_id)"
    " ELSE (SELECT {{key}} FROM tasks WHERE id = {end}_id) END"
)
_ORDERED = (
    f"SELECT source_type, {_END.format(end='source')}, relationship_type, target_type, {_END.format(end='target')}"
    " FROM relationships WHERE relationship_type IN (?, ?) AND source_type IN ('need', 'task')"
    " AND target_type IN ('need', 'task')"
)


def is_asked(plan: Plan, task: Row, scope: str | None) -> bool:
    """Whether a task could be next: not running, of an open need or of none, in the scope."""
    need = plan.needs.get(task["need_id"])
    if task["status"] == "in_progress" or (need is not None and need["status"] in ("resolved", "deferred")):
        return False
    return scope is None or (need is not None and need["scope"] == scope)


def _told(plan: Plan, task: Row) -> Row:
    need = plan.needs.get(task["need_id"])
    about = {"ref": f"need:{need['id']}", "title": need["title"], "scope": need["scope"]} if need else None
    return task | {"ref": f"task:{task['id']}", "effective_priority": plan.priority(task), "need": about}


def _reason(plan: Plan, wait: Wait, stuck: set[End]) -> Row:
    kind, number = wait.source
    row = plan.tasks[number] if kind == "task" else plan.needs[number]
    return {
        "ref": f"{kind}:{number}", "title": row["title" if kind == "need" else "description"], "status": row["status"],
        "type": wait.type, "of": f"{wait.holder[0]}:{wait.holder[1]}", "in_cycle": wait.source in stuck,
    }  # fmt: skip
