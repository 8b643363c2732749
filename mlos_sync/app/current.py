"""The task that somebody works on in this work tree: what the next commit is a part of without being told.

`task start` leaves the task's uid in a file beside the index, one per work tree, which a rebuild leaves alone. Where the
config asks for it, the agent's task and the task that the branch is named after stand beside it. Standard library only:
prepare-commit-msg asks, on the user's way.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from mlos_sync.core import ids
from mlos_sync.edge import store

if TYPE_CHECKING:
    from mlos_sync.app.opening import Index
    from mlos_sync.edge.workspace import Commits

FILE = "current-task"
AGENT = "MLOS_SYNC_AGENT"
BRANCH = "mlosTask"  # `git config branch.<name>.mlosTask task-3f9a2c`
_OPEN = ("open", "assigned", "in_progress")
# Only with the word: `task-3f9a2c`, `task/12`, also as a part of the name and with words behind (`ada/task-3f9a2c-door`).
# A number alone may mean an issue, a version or a year.
_IN_BRANCH = re.compile(r"(?:^|/)task(?:-([0-9a-f]{6,32})|/([0-9]{1,15}))(?![0-9A-Za-z])")
_COLUMNS = "t.id, t.uid, t.description, t.status"


class Task(NamedTuple):
    """A task as far as a message needs it."""

    number: int
    uid: str
    description: str
    status: str

    @property
    def trailer(self) -> str:
        """The line that links a commit to it for good."""
        return f"Task: {self.number} (task-{self.uid[: ids.LASTING]})"


class Current(NamedTuple):
    """A task that was named as the current one: by whom (`start`, `agent`, `branch`), and why commits do not say it."""

    origin: str
    task: Task | None
    problem: str | None


class Place(NamedTuple):
    """Where somebody works: our folder in the git directory, the agent's reference ("": none), and how to ask for the name
    of the branch and for what git's configuration says of it. These are asked only where the config wants to know."""

    state: str
    agent: str
    branch: Callable[[], str]
    configured: Callable[[str], str]


def named(state: str) -> str | None:
    """The uid that `task start` left; None where there is none."""
    try:
        with open(os.path.join(state, FILE), encoding="ascii", errors="replace") as file:
            reference = ids.parse(file.read().strip(), "task")
    except OSError:
        return None
    return reference.prefix if reference is not None and reference.kind == "task" else None


def remember(state: str, uid: str) -> None:
    """Make a task the current one of the work tree."""
    beside = os.path.join(state, f".mlos-{os.getpid()}-{FILE}")
    with open(beside, "w", encoding="ascii") as file:
        file.write(f"task-{uid}\n")
    os.replace(beside, os.path.join(state, FILE))


def forget(state: str) -> None:
    """No task is the current one any more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(state, FILE))


def currents(db: store.Connection, commits: Commits, place: Place) -> list[Current]:
    """The current tasks, that of `task start` first. One without a problem is what commits of this work tree say."""
    with store.any_text(db, "replace"):
        return list(_currents(db, commits, place))


def _currents(db: store.Connection, commits: Commits, place: Place) -> Iterator[Current]:
    uid = named(place.state)
    if uid is not None:
        yield _judged("start", tasks(db, ids.Reference("task", prefix=uid)), f"task-{uid[: ids.LASTING]}")
    if "agent" in commits.current and place.agent:
        yield _of_agent(db, place.agent)
    if "branch" in commits.current and (branch := place.branch()):
        told = place.configured(branch)
        if told:
            reference = ids.parse(told, "task")
            is_task = reference is not None and reference.kind == "task"
            yield _judged("branch", tasks(db, reference) if reference and is_task else [], told)
        else:
            yield from _of_branch(db, branch)


def _judged(origin: str, found: list[Task], name: str) -> Current:
    if len(found) != 1:
        return Current(origin, None, f"{name} is ambiguous" if found else f"{name} is no task of this branch")
    (task,) = found
    return Current(origin, task, None if task.status in _OPEN else f"it is {task.status}")


def _of_agent(db: store.Connection, text: str) -> Current:
    """The one unfinished task of an agent."""
    reference = ids.parse(text, "agent")
    rows = _rows(db, reference, "t.assigned_tasks") if reference is not None and reference.kind == "agent" else []
    if len(rows) != 1:
        return Current("agent", None, f"{AGENT} is {text}: that names {'several agents' if rows else 'no agent'}")
    numbers = json.loads(rows[0][0] or "[]")
    mine = [task for number in numbers for task in tasks(db, ids.Reference("task", number=number), alias=False)]
    mine = [task for task in mine if task.status in _OPEN]
    if len(mine) == 1:
        return Current("agent", mine[0], None)
    return Current("agent", None, f"{text} has {len(mine) or 'no'} unfinished tasks" + (", not one" if mine else ""))


def _of_branch(db: store.Connection, branch: str) -> Iterator[Current]:
    """The task that a branch is named after, if its name has the form."""
    forms = {
        ids.Reference("task", prefix=prefix) if prefix else ids.Reference("task", number=int(number))
        for prefix, number in _IN_BRANCH.findall(branch)
    }
    found = {task for reference in forms for task in tasks(db, reference)}
    if forms:
        yield _judged("branch", sorted(found), f"what the branch {branch} is named after")


def tasks(db: store.Connection, reference: ids.Reference, *, alias: bool = True) -> list[Task]:
    """The tasks that a reference names: one, none, or several where it is ambiguous."""
    return [Task(*row) for row in _rows(db, reference, _COLUMNS, alias=alias)]


def _rows(db: store.Connection, reference: ids.Reference, columns: str, *, alias: bool = True) -> list[tuple[Any, ...]]:
    kind = reference.kind
    if reference.number is None:
        sql = f"SELECT DISTINCT {columns} FROM {kind}s t WHERE t.uid GLOB ? LIMIT 2"
        return db.execute(sql, (f"{reference.prefix}*",)).fetchall()
    sql = f"SELECT {columns} FROM {kind}s t WHERE t.id = ?1"
    if alias:  # a number that a record was created with, before it moved
        sql += f" UNION SELECT {columns} FROM numbers n JOIN {kind}s t ON t.uid = n.uid WHERE n.kind = ?2 AND n.claimed = ?1"
    return db.execute(sql, (reference.number, kind) if alias else (reference.number,)).fetchall()


def unfinished(db: store.Connection, most: int) -> list[Task]:
    """Tasks that somebody may work on, most urgent first."""
    marks = ", ".join("?" * len(_OPEN))
    with store.any_text(db, "replace"):
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM tasks t LEFT JOIN needs n ON n.id = t.need_id WHERE t.status IN ({marks})"
            " AND coalesce(n.status, '') NOT IN ('resolved', 'deferred')"
            " ORDER BY coalesce(t.priority, n.priority, 9), t.id LIMIT ?",
            (*_OPEN, most),
        ).fetchall()
    return [Task(*row) for row in rows]


def of_index(index: Index) -> list[Current]:
    """The current tasks of the work tree that an index is of, as a command sees it."""
    from mlos_sync.edge import git

    root, state = index.workspace.root, index.workspace.state
    place = Place(
        state, os.environ.get(AGENT, ""),
        lambda: os.fsdecode(git.run(root, "symbolic-ref", "--quiet", "--short", "HEAD", check=False)).rstrip("\n"),
        lambda branch: git.config(root, f"branch.{branch}.{BRANCH}") or "",
    )  # fmt: skip
    return currents(index.db, index.workspace.config.commits, place)
