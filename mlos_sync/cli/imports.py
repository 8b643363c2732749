"""Commands that bring in what other programs keep: import taskengine."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlos_sync.cli.common import Json, open_here, progress, say, settings, table
from mlos_sync.core.vocabulary import TASK_STATUSES

if TYPE_CHECKING:
    from mlos_sync.app.importing import Import
    from mlos_sync.core.taskengine import Plan, Record

MOST = 20  # lines of a kind that people are shown; --json has them all

imports = typer.Typer(help="Bring in what other programs keep.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Hang these commands on the program."""
    app.add_typer(imports, name="import")


@imports.command("taskengine")
def import_taskengine(
    database: Annotated[str, typer.Argument(metavar="DB", help="The SQLite database; it is only read.")],
    source: Annotated[
        str,
        typer.Option("--source", metavar="NAME", help="What the source is called; with a row's key it makes the uid."),
    ] = "taskengine",
    columns: Annotated[
        list[str] | None, typer.Option("--column", metavar="NAME=COLUMN", help="Take COLUMN for this; empty for none.")
    ] = None,
    statuses: Annotated[
        list[str] | None,
        typer.Option("--status", metavar="WORD=STATUS", help=f"Map a status to one of {', '.join(TASK_STATUSES)}."),
    ] = None,
    priorities: Annotated[
        list[str] | None, typer.Option("--priority", metavar="WORD=1..5", help="Map a priority.")
    ] = None,
    rest: Annotated[
        str | None, typer.Option("--rest", metavar="TITLE", help="One need for the tasks without a sprint context.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show all that would be made, and write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Make needs and tasks of a TaskEngine database's table `tasks`. Exit 1: some rows could not be taken."""
    from mlos_sync.app import importing, opening
    from mlos_sync.core.taskengine import options

    chosen = options(source, columns or [], statuses or [], priorities or [], rest)
    index = opening.open_index(settings.folder) if dry_run else open_here()
    path = database if settings.folder == "." else os.path.join(settings.folder, database)
    with progress("importing") as told:
        done = importing.import_tasks(index, path, chosen, dry_run=dry_run, progress=told)
    if not done.current:
        say("the index is behind the journal; what was pulled or typed in since may be here already", error=True)
    lines = [*_columns(done), *(_rows(done.plan) if dry_run else []), *_summary(done.plan, dry_run)]
    say(lines, _result(done, dry_run), as_json)
    if any(one.lost for one in done.plan.skipped):
        raise typer.Exit(1)


def _result(done: Import, dry_run: bool) -> dict[str, Any]:
    plan = done.plan
    rows = {"rows": [_row(record) for record in (*plan.needs, *plan.tasks)]} if dry_run else {}
    return {
        "dry_run": dry_run,
        "imported": {"needs": len(plan.needs), "tasks": len(plan.tasks)},
        "unchanged": plan.unchanged,
        "skipped": [{"kind": one.kind, "row": one.row, "reason": one.reason} for one in plan.skipped],
        "notes": plan.notes,
        "columns": {**done.source.recognised, "key": done.source.key, "kept": done.source.kept},
        **rows,
    }


def _row(record: Record) -> dict[str, Any]:
    """A record that would be made: its columns, the need it belongs to, and what its history keeps."""
    need = {} if record.kind == "need" else {"need": record.need}
    origin = json.loads(record.imported)
    return {"kind": record.kind, "row": record.row, "uid": record.uid, **record.values, **need, "imported": origin}


def _columns(done: Import) -> list[str]:
    found = done.source
    named = {**found.recognised, "key": found.key}
    lines = [f"column    {name}: {', else '.join(named[name]) or 'none'}" for name in named]
    return [*lines, f"history   {', '.join(found.kept) or 'no further columns'}"]


def _rows(plan: Plan) -> list[str]:
    titles = {record.uid: record.values["title"] for record in plan.needs}
    cells = [
        [
            record.kind, _key(record.row), record.values["status"], record.values.get("priority"),
            titles.get(record.need or "", record.scope),
            record.values.get("title") or record.values.get("description"),
        ]
        for record in (*plan.needs, *plan.tasks)
    ]  # fmt: skip
    return table(cells, ["kind", "row", "status", "priority", "need", "text"]) if cells else []


def _key(row: Any) -> str:
    return row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)


def _summary(plan: Plan, dry_run: bool) -> list[str]:
    lines = _listed("note", list(plan.notes))
    lines += _listed("skipped", [f"{one.kind} {_key(one.row)[:70]}: {one.reason}" for one in plan.skipped])
    done = "would import" if dry_run else "imported"
    counts = f"{done} {_count(len(plan.needs), 'need')} and {_count(len(plan.tasks), 'task')}"
    return [*lines, f"{counts}; {plan.unchanged} here already, {len(plan.skipped)} skipped"]


def _listed(what: str, texts: list[str]) -> list[str]:
    more = [f"… and {len(texts) - MOST} more; --json lists them"] if len(texts) > MOST else []
    return [f"{what:9} {text}" for text in [*texts[:MOST], *more]]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
