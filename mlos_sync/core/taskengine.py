"""Rows of a TaskEngine's `tasks` table -> needs and tasks of ours. Pure: the same rows give the same records in every
clone, with the same uids.

Nobody has written the TaskEngine's schema down, so columns are found by name. Whatever a column of ours cannot say
(a status of its own, a date in words, further columns) is not guessed at: the whole row goes into the history of the
record, as canonical JSON (`Record.imported`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlos_sync.core.cells import Cell, date_of, imported_text, is_long, key_of, text_of, time_of
from mlos_sync.core.ids import derived_uid
from mlos_sync.core.journal import canonical
from mlos_sync.core.vocabulary import CLOSED_TASKS, TASK_STATUSES
from mlos_sync.errors import UsageError

SOURCE = "taskengine"
TITLE_LIMIT = 200
# What the program calls a value -> the names that a column with it goes by, the best first.
SYNONYMS = {
    "description": ("description", "title", "task", "text", "name", "summary", "desc", "body", "subject", "content"),
    "status": ("status", "state", "task_status"),
    "scope": ("sprint_context", "sprint", "context", "sprint_name", "scope", "project"),
    "priority": ("priority", "prio"),
    "result": ("result", "outcome", "resolution", "result_summary", "notes"),
    "assigned_date": ("assigned_date", "assigned_at", "assigned_on", "date_assigned", "assigned"),
    "created_at": ("created_at", "created", "created_on", "created_date", "date_created", "added_at", "added"),
    "updated_at": ("updated_at", "updated", "modified_at", "modified", "last_updated", "updated_on", "last_modified"),
    "source_transcript": ("source_transcript", "transcript", "transcript_path", "session_transcript"),
}
UNREAD = ("created_at", "updated_at", "assigned_date", "priority")  # what may be there in a form that is not read
KEYS = ("id", "task_id", "uid", "uuid", "key")  # where the table declares no primary key
# Our status -> the words for it, written as `word` writes them.
STATUSES = {
    "open": "open todo to_do new pending backlog ready queued not_started created planned blocked on_hold waiting paused"
    " deferred reopened [_] []",
    "assigned": "assigned claimed accepted",
    "in_progress": "in_progress inprogress doing active started working running ongoing current wip review in_review testing",
    "completed": "completed complete done finished closed resolved fixed success succeeded merged shipped [x]",
    "failed": "failed failure error",
    "cancelled": "cancelled canceled abandoned dropped rejected skipped duplicate obsolete wontfix won't_fix deleted",
}
PRIORITIES = {
    1: "p1 critical urgent highest blocker",
    2: "p2 high",
    3: "p3 medium normal moderate",
    4: "p4 low",
    5: "p5 lowest background trivial someday",
}
_STATUS_OF = {name: status for status, names in STATUSES.items() for name in names.split()}
_PRIORITY_OF = {name: number for number, names in PRIORITIES.items() for name in names.split()}

Columns = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Options:
    """How a user wants it read: the source's name, columns, statuses and priorities that differ from the tables above,
    and the title of the need for tasks without a sprint context (None: they get none)."""

    source: str = SOURCE
    columns: Mapping[str, str] = field(default_factory=dict)
    statuses: Mapping[str, str] = field(default_factory=dict)
    priorities: Mapping[str, int] = field(default_factory=dict)
    rest: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One row of the source: what tells it from others, and its columns."""

    key: tuple[Cell, ...]
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Record:
    """A need or task to be. `row` is the row's key or the need's scope, `remarks` are (column of ours, odd text), `cut`
    the columns of the source that are too long to be kept whole."""

    kind: str
    uid: str
    row: Any
    values: Mapping[str, Any]
    imported: str
    scope: str | None = None
    need: str | None = None
    remarks: tuple[tuple[str, str], ...] = ()
    cut: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """What is not made, and why. `lost`: it could not be taken; else it is here, or was."""

    kind: str
    row: Any
    reason: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Mapped:
    """The source as records of ours."""

    needs: tuple[Record, ...]
    tasks: tuple[Record, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """A record that this index has or had. `gone` says why it has no row."""

    imported: str | None = None
    gone: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import makes, leaves and tells."""

    needs: tuple[Record, ...]
    tasks: tuple[Record, ...]
    unchanged: int
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


def options(
    source: str, columns: Sequence[str], statuses: Sequence[str], priorities: Sequence[str], rest: str | None
) -> Options:
    """Options from `NAME=VALUE` texts. Raises UsageError for what cannot be meant."""
    for text in (source, rest or "-", *columns, *statuses, *priorities):
        if not text.strip() or not _is_utf8(text):
            raise UsageError(f"{text!r} is no text that an option takes", "mlos-sync import taskengine --help")
    chosen = {name: column.strip() for name, column in (_pair(text, "--column", first=True) for text in columns)}
    for name in chosen:
        if name not in SYNONYMS and name != "key":
            raise UsageError(f"--column {name}: no such name", f"names are {', '.join([*SYNONYMS, 'key'])}")
    mapped = {word(name): status for name, status in (_pair(text, "--status") for text in statuses)}
    for status in mapped.values():
        if status not in TASK_STATUSES:
            raise UsageError(f"--status: {status} is no status of a task", f"they are {', '.join(TASK_STATUSES)}")
    ranked = {word(name): number for name, number in (_pair(text, "--priority") for text in priorities)}
    for number in ranked.values():
        if number not in ("1", "2", "3", "4", "5"):
            raise UsageError(f"--priority: {number} is no priority", "they are 1 (critical) to 5 (background)")
    return Options(source, chosen, mapped, {name: int(number) for name, number in ranked.items()}, rest)


def _pair(text: str, option: str, *, first: bool = False) -> tuple[str, str]:
    name, equals, value = text.partition("=") if first else text.rpartition("=")
    if not equals:
        raise UsageError(f"{option} {text}: there is no = in it", "mlos-sync import taskengine --help")
    return name.strip(), value.strip()


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def word(text: str) -> str:
    """A status or priority as the tables above write it: small letters, `_` for blanks and hyphens."""
    return re.sub(r"[\s_-]+", "_", text.strip().casefold())


def _name(column: str) -> str:
    """A column's name likewise: `sprintContext` and `Sprint Context` are `sprint_context`."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column).lower()).strip("_")


def recognised(columns: Sequence[str], chosen: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Our name -> the source's columns that may say it, the first that says something in a row counts.

    Raises UsageError for a chosen column that is not there, and when nothing can be a description.
    """
    listed = ", ".join(columns) or "none"
    found: dict[str, tuple[str, ...]] = {}
    taken = {column.lower() for column in chosen.values()}
    free = [(column, _name(column)) for column in columns if column.lower() not in taken]
    for name, synonyms in SYNONYMS.items():
        if name in chosen:
            found[name] = (named_column(columns, name, chosen[name]),) if chosen[name] else ()
        else:
            found[name] = tuple(column for one in synonyms for column, plain in free if plain == one)
    if not found["description"]:
        raise UsageError(
            f"no column is known to hold the description of a task; there are {listed}",
            "name it: --column description=NAME",
        )
    return found


def named_column(columns: Sequence[str], name: str, column: str) -> str:
    """A column by the name that a user gave it, in any case. Raises UsageError when there is none."""
    for one in columns:
        if one.lower() == column.lower():
            return one
    raise UsageError(f"--column {name}={column}: there is no such column", f"columns are {', '.join(columns)}")


def mapped(rows: Iterable[Found], columns: Columns, options: Options) -> Mapped:
    """Every row as a task, or as skipped; every sprint context as a need."""
    found = [_task(row, columns, options) for row in rows]
    skipped = [one for one in found if isinstance(one, Skipped)]
    tasks = [one for one in found if isinstance(one, Record)]
    often = Counter(task.uid for task in tasks)
    for task in tasks:
        if often[task.uid] > 1:
            reason = f"{often[task.uid]} rows have this key; --column key=NAME names a column that tells rows apart"
            skipped.append(Skipped("task", task.row, reason, lost=True))
    single = [task for task in tasks if often[task.uid] == 1]
    groups: dict[tuple[str, str | None], list[Record]] = {}
    for task in single:
        if task.need is not None:
            groups.setdefault((task.need, task.scope), []).append(task)
    needs = [_need(uid, scope, tasks, options) for (uid, scope), tasks in groups.items()]
    return Mapped(tuple(needs), tuple(single), tuple(skipped))


def _task(row: Found, columns: Columns, options: Options) -> Record | Skipped:
    key = key_of(row.key)
    said = {name: _first(row.cells, columns[name]) for name in SYNONYMS}
    if any(part is None for part in row.key):
        return Skipped("task", key, "it has no key; --column key=NAME names a column that tells rows apart", lost=True)
    if said["description"] is None:
        return Skipped("task", key, "it has no description", lost=True)
    imported = imported_text({"source": options.source, "key": key}, row.cells)
    if imported is None:
        return Skipped("task", key, "its columns are too many or too long for a line of the journal", lost=True)
    values, remarks = _values(said, options)
    scope = text_of(said["scope"])
    scope = (scope.strip() or None) if scope else None
    need = derived_uid("import", options.source, "need", scope or "") if scope or options.rest else None
    uid = derived_uid("import", options.source, "task", canonical(key))
    cut = tuple(name for name, value in row.cells.items() if is_long(value, imported[1]))
    return Record("task", uid, key, values, imported[0], scope, need, remarks, cut)


def _values(said: Mapping[str, Cell], options: Options) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    """(column of a task -> value, what could not be read) of what a row says."""
    values: dict[str, Any] = {name: text_of(said[name]) for name in ("description", "result", "source_transcript")}
    values["status"], odd = _status(said["status"], options)
    values["priority"] = _priority(said["priority"], options)
    for name, read in (("created_at", time_of), ("updated_at", time_of), ("assigned_date", date_of)):
        values[name] = read(said[name])
    remarks = [] if odd is None else [("status", odd)]
    remarks += [(name, _shown(said[name])) for name in UNREAD if values[name] is None and said[name] is not None]
    return {name: value for name, value in values.items() if value is not None}, tuple(remarks)


def _first(cells: Mapping[str, Cell], names: tuple[str, ...]) -> Cell:
    """The first of some columns that says something: neither NULL nor blanks."""
    for name in names:
        value = cells[name]
        if value is not None and not (isinstance(value, (str, bytes)) and not value.strip()):
            return value
    return None


def _shown(value: Cell, most: int = 60) -> str:
    text = text_of(value) or ""
    return text if len(text) <= most else text[: most - 1] + "…"


def _status(value: Cell, options: Options) -> tuple[str, str | None]:
    """(our status, the source's word when nobody knows it)."""
    name = word(_shown(value, 1000)) if value is not None else ""
    status = options.statuses.get(name) or _STATUS_OF.get(name)
    return (status, None) if status else ("open", _shown(value) if name else None)


def _priority(value: Cell, options: Options) -> int | None:
    name = word(_shown(value, 1000)) if value is not None else ""
    number = options.priorities.get(name) or _PRIORITY_OF.get(name)
    if number is None and re.fullmatch(r"[1-5](\.0)?", name, re.ASCII):
        number = int(name[0])
    return number


def _need(uid: str, scope: str | None, tasks: Sequence[Record], options: Options) -> Record:
    lines = (line.strip() for line in (scope or options.rest or "").splitlines())
    title = next(line for line in lines if line)[:TITLE_LIMIT]
    unfinished = [task for task in tasks if task.values["status"] not in CLOSED_TASKS]
    ranks = [task.values["priority"] for task in unfinished or tasks if "priority" in task.values]
    born = [task.values["created_at"] for task in tasks if "created_at" in task.values]
    times = born + [task.values["updated_at"] for task in tasks if "updated_at" in task.values]
    values = {
        "title": title, "scope": scope, "status": need_status([str(task.values["status"]) for task in tasks]),
        "priority": min(ranks, default=None), "created_at": min(born, default=None),
        "updated_at": max(times, default=None),
    }  # fmt: skip
    imported = canonical({"source": options.source, "key": scope})
    given = {name: value for name, value in values.items() if value is not None}
    return Record("need", uid, scope, given, imported, scope)


def need_status(statuses: Sequence[str]) -> str:
    """A need's status from those of its tasks (at least one). Never `actionable`: the database would answer with a task
    of its own."""
    if all(status in CLOSED_TASKS for status in statuses):
        return "resolved" if "completed" in statuses else "deferred"
    return "active" if set(statuses) <= {"open", "failed", "cancelled"} else "in_progress"


def compared(found: Mapped, known: Mapping[tuple[str, str], Known]) -> Plan:
    """What is new, set against the records that are here or were."""
    skipped = list(found.skipped)
    unchanged = 0
    tasks = []
    for task in found.tasks:
        here = known.get(("task", task.uid))
        if here is None:
            tasks.append(task)
        elif here.gone is not None:
            skipped.append(Skipped("task", task.row, here.gone))
        elif columns := differing(here.imported, task.imported):
            reason = (
                f"it has changed in the source since it was imported ({', '.join(columns)}); nothing was overwritten"
            )
            skipped.append(Skipped("task", task.row, reason))
        else:
            unchanged += 1
    wanted = {task.need for task in tasks}
    gone = {need.uid: here.gone for need in found.needs if (here := known.get(("need", need.uid))) and here.gone}
    skipped += [Skipped("need", need.row, str(gone[need.uid])) for need in found.needs if need.uid in gone]
    needs = [need for need in found.needs if need.uid in wanted and ("need", need.uid) not in known]
    return Plan(
        tuple(needs), tuple(tasks), unchanged, tuple(skipped), (*_notes(tasks), *_about_needs(found, tasks, known))
    )


def differing(before: str | None, now: str) -> list[str]:
    """The columns in which a row differs from what was imported; none where nothing is known about that."""
    try:
        old, new = json.loads(before or "")["row"], json.loads(now)["row"]
        return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _notes(tasks: Sequence[Record]) -> list[str]:
    remarks = Counter(remark for task in tasks for remark in task.remarks)
    notes = [
        f"status {text!r} is not known: {_count(count, 'task')} open; map it: --status '{text}=STATUS'"
        for (name, text), count in remarks.items()
        if name == "status"
    ]
    for name in UNREAD:
        odd = {text: count for (of, text), count in remarks.items() if of == name}
        if odd:
            form = "no priority from 1 to 5" if name == "priority" else "no date in a form that is read"
            found = f"{_count(sum(odd.values()), 'value')} {form}, such as {next(iter(odd))!r}"
            notes.append(f"{name}: {found}; kept in the history only")
    for name, count in Counter(name for task in tasks for name in task.cut).items():
        notes.append(
            f"{name}: {_count(count, 'value')} too long and cut; the history tells length and hash of the whole"
        )
    return notes


def _count(count: int, what: str) -> str:
    return f"{count} {what} is" if count == 1 else f"{count} {what}s are"


def _about_needs(found: Mapped, tasks: Sequence[Record], known: Mapping[tuple[str, str], Known]) -> Iterator[str]:
    """Needs that are over here, or gone, and have new tasks in the source."""
    fresh = Counter(task.need for task in tasks)
    unfinished = Counter(task.need for task in tasks if task.values["status"] not in CLOSED_TASKS)
    for need in found.needs:
        here = known.get(("need", need.uid), Known())
        title = need.values["title"]
        if here.gone is not None and fresh[need.uid]:
            yield f"the need {title!r} was deleted here: {_count(fresh[need.uid], 'new task')} without a need"
        elif here.status in ("resolved", "deferred") and unfinished[need.uid]:
            yield f"the need {title!r} is {here.status} here: {_count(unfinished[need.uid], 'new task')} unfinished"
