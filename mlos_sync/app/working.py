"""Start to work on a task in this work tree, finish it, stop, and say which one it is: what `mlos-sync task` does so."""

from __future__ import annotations

from typing import Any

from mlos_sync.app import current as standing
from mlos_sync.app import finding, freshness, records
from mlos_sync.app.opening import Index
from mlos_sync.core.ids import shown
from mlos_sync.core.vocabulary import OPEN_TASKS
from mlos_sync.errors import RefusedError, UsageError

Row = dict[str, Any]


def start(index: Index, text: str, agent: str | None = None) -> Row:
    """Make a task the current one of this work tree, in progress and, if asked, assigned. Returns its row. Raises
    UsageError, and RefusedError for a task that is closed."""
    row = _row(index, finding.lasting(index, text, "task"))
    name = shown("task", row["uid"])
    if row["status"] not in OPEN_TASKS:
        raise RefusedError(f"{name} is {row['status']}", f"open it again: mlos-sync task set {name} --status open")
    values: Row = {} if row["status"] == "in_progress" else {"status": "in_progress"}
    if agent is not None:
        values["assigned_agent_id"] = finding.lasting(index, agent, "agent")
    if values:
        row = records.change(index, "task", f"task:{row['uid']}", values)
    standing.remember(index.workspace.state, row["uid"])
    return row


def done(index: Index, text: str | None = None, result: str | None = None) -> Row:
    """Complete a task, the current one unless another is named; the current one is forgotten then. Returns its row. Raises
    UsageError where there is none, RefusedError where it cannot be completed."""
    freshness.catch_up(index)
    uid = standing.named(index.workspace.state)
    if text is None and uid is None:
        raise UsageError("no task was started in this work tree", "name it: mlos-sync task done REF")
    row = _row(index, finding.lasting(index, text if text is not None else f"task:{uid}", "task"))
    values: Row = {} if row["status"] == "completed" else {"status": "completed"}
    if result is not None:
        values["result"] = result or None
    if values:
        row = records.change(index, "task", f"task:{row['uid']}", values)
    if row["uid"] == uid:
        standing.forget(index.workspace.state)
    return row


def stop(index: Index) -> Row | None:
    """Forget which task is the current one. Returns its row; None where there was none, or where it has gone."""
    freshness.catch_up(index)
    told = [one for one in standing.of_index(index) if one.origin == "start"]
    standing.forget(index.workspace.state)
    return _row(index, f"task:{told[0].task.uid}") if told and told[0].task else None


def current(index: Index) -> list[Row]:
    """The tasks that are named as current, that of `start` first: `row`, `from`, and `problem`, why commits do not say it."""
    freshness.catch_up(index)
    return [
        {"row": _row(index, f"task:{one.task.uid}") if one.task else None, "from": one.origin, "problem": one.problem}
        for one in standing.of_index(index)
    ]


def _row(index: Index, reference: str) -> Row:
    return records.row_of(index.db, "task", reference.partition(":")[2])
