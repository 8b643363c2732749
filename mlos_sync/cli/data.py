"""Commands for records: need, task, agent, artifact."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlos_sync.cli.common import Json, columns, open_here, say, table
from mlos_sync.cli.edges import edge_lines
from mlos_sync.core.vocabulary import AGENT_STATUSES, ARTIFACT_TYPES, NEED_STATUSES, TASK_STATUSES

Ref = Annotated[str, typer.Argument(metavar="REF", help="A number, a uid prefix such as task-3f9a2c, or kind:number.")]
From = Annotated[str | None, typer.Option("--from", metavar="FILE|-", help="Add many, one JSON object a line.")]
Description = Annotated[str | None, typer.Option(help="The full description.")]
Priority = Annotated[int | None, typer.Option(help="1 (critical) to 5 (background).")]
Transcript = Annotated[str | None, typer.Option("--transcript", help="Path of the transcript where it came up.")]
NeedStatus = Annotated[str | None, typer.Option("--status", help=f"One of {', '.join(NEED_STATUSES)}.")]
TaskStatus = Annotated[str | None, typer.Option("--status", help=f"One of {', '.join(TASK_STATUSES)}.")]
AgentStatus = Annotated[str | None, typer.Option("--status", help=f"One of {', '.join(AGENT_STATUSES)}.")]
Scope = Annotated[str | None, typer.Option(help="Domain, sprint or project.")]
Parent = Annotated[str | None, typer.Option(help="The need it is part of.")]
NeedRef = Annotated[str | None, typer.Option("--need", help="The need it was derived from.")]

need = typer.Typer(help="Needs: states that the system must satisfy.", no_args_is_help=True)
task = typer.Typer(help="Tasks: actions derived from needs.", no_args_is_help=True)
agent = typer.Typer(help="Agents: single invocations.", no_args_is_help=True)
artifact = typer.Typer(help="Artifacts: the files known to the index.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Hang these commands on the program."""
    for name, group in (
        ("need", need),
        ("task", task),
        ("agent", agent),
        ("artifact", artifact),
    ):
        app.add_typer(group, name=name)


def _row(kind: str, row: dict[str, Any], as_json: bool) -> None:
    from mlos_sync.core.ids import shown

    width = max(len(name) for name in row)
    say([] if as_json else [f"{'ref':{width}}  {kind}:{row['id']}, lastingly {shown(kind, row['uid'])}"])
    lines = [f"{name:{width}}  {value}" for name, value in row.items() if value is not None and name != "origin"]
    say(lines, row, as_json)


def _add(kind: str, first: str | None, column: str, given: dict[str, Any], source: str | None, as_json: bool) -> None:
    from mlos_sync.app import records
    from mlos_sync.cli.lines import read_rows
    from mlos_sync.errors import UsageError

    if source is not None:
        rows = records.add(open_here(), kind, read_rows(source))
        say([f"added {len(rows)} {kind}s"], {"rows": rows}, as_json)
        return
    if first is None:
        raise UsageError(f"the {column} is missing", f"mlos-sync {kind} add --help")
    _row(kind, records.add(open_here(), kind, [{column: first, **columns(given)}])[0], as_json)


def _set(kind: str, ref: str, given: dict[str, Any], as_json: bool) -> None:
    from mlos_sync.app import records

    # An empty text clears a column: `--scope ""`.
    values = {name: None if value == "" else value for name, value in columns(given).items()}
    _row(kind, records.change(open_here(), kind, ref, values), as_json)


def _list(kind: str, filters: dict[str, Any], shown: tuple[str, ...], as_json: bool) -> None:
    from mlos_sync.app import records
    from mlos_sync.core.ids import shown as named

    rows = records.listed(open_here(), kind, columns(filters))
    cells = [[row["id"], named(kind, row["uid"]), *(row[name] for name in shown)] for row in rows]
    if kind == "artifact":
        cells = [[row[name] for name in shown] for row in rows]
    headings = list(shown) if kind == "artifact" else ["id", "ref", *shown]
    say(table(cells, headings) if rows else [f"no {kind}s"], {"rows": rows}, as_json)


def _show(kind: str, ref: str, as_json: bool) -> None:
    from mlos_sync.app import freshness, records

    index = open_here()
    freshness.catch_up(index)
    found, key = records.find(index.db, _inside(index, ref) if kind == "artifact" else ref, kind)
    row, edges = records.row_of(index.db, found, key), records.edges_of(index.db, found, key)
    width = max(len(name) for name in row)
    lines = [f"{name:{width}}  {value}" for name, value in row.items() if value is not None and name != "origin"]
    say([*lines, "", *edge_lines(edges)] if edges else lines, {"row": row, "edges": edges}, as_json)


def _inside(index: Any, text: str) -> str:
    from mlos_sync.cli.common import inside

    return "artifact:" + inside(index.workspace, text.removeprefix("artifact:"))


def _delete(kind: str, ref: str, as_json: bool) -> None:
    from mlos_sync.app import records

    row = records.delete(open_here(), kind, ref)
    say(
        [f"deleted {kind}:{row['id']} ({row.get('title') or row.get('description') or row.get('agent_type')})"],
        row,
        as_json,
    )


@need.command("add")
def need_add(
    title: Annotated[str | None, typer.Argument(help="What is needed.")] = None,
    description: Description = None,
    status: NeedStatus = None,
    priority: Priority = None,
    scope: Scope = None,
    parent: Parent = None,
    transcript: Transcript = None,
    source: From = None,
    as_json: Json = False,
) -> None:
    """Record a need."""
    given = {
        "description": description, "status": status, "priority": priority, "scope": scope, "parent_need_id": parent,
        "source_transcript": transcript,
    }  # fmt: skip
    _add("need", title, "title", given, source, as_json)


@need.command("set")
def need_set(
    ref: Ref,
    title: Annotated[str | None, typer.Option(help="What is needed.")] = None,
    description: Description = None,
    status: NeedStatus = None,
    priority: Priority = None,
    scope: Scope = None,
    parent: Parent = None,
    transcript: Transcript = None,
    as_json: Json = False,
) -> None:
    """Change a need. On becoming actionable it gets its task."""
    given = {
        "title": title, "description": description, "status": status, "priority": priority, "scope": scope,
        "parent_need_id": parent, "source_transcript": transcript,
    }  # fmt: skip
    _set("need", ref, given, as_json)


@need.command("list")
def need_list(
    status: NeedStatus = None,
    scope: Scope = None,
    priority: Priority = None,
    parent: Parent = None,
    as_json: Json = False,
) -> None:
    """List needs, most urgent first."""
    filters = {"status": status, "scope": scope, "priority": priority, "parent_need_id": parent}
    _list("need", filters, ("status", "priority", "scope", "title"), as_json)


@need.command("show")
def need_show(ref: Ref, as_json: Json = False) -> None:
    """Show a need and its edges."""
    _show("need", ref, as_json)


@need.command("delete")
def need_delete(ref: Ref, as_json: Json = False) -> None:
    """Delete a need (its uid stays known)."""
    _delete("need", ref, as_json)


@task.command("add")
def task_add(
    description: Annotated[str | None, typer.Argument(metavar="TEXT", help="What to do.")] = None,
    need_ref: NeedRef = None,
    status: TaskStatus = None,
    priority: Priority = None,
    agent_ref: Annotated[str | None, typer.Option("--agent", help="The agent that works on it.")] = None,
    result: Annotated[str | None, typer.Option(help="The outcome.")] = None,
    assigned: Annotated[str | None, typer.Option("--assigned-date", help="Date of assignment.")] = None,
    transcript: Transcript = None,
    source: From = None,
    as_json: Json = False,
) -> None:
    """Record a task."""
    given = {
        "need_id": need_ref, "status": status, "priority": priority, "assigned_agent_id": agent_ref, "result": result,
        "assigned_date": assigned, "source_transcript": transcript,
    }  # fmt: skip
    _add("task", description, "description", given, source, as_json)


@task.command("set")
def task_set(
    ref: Ref,
    description: Annotated[str | None, typer.Option(help="What to do.")] = None,
    need_ref: NeedRef = None,
    status: TaskStatus = None,
    priority: Priority = None,
    agent_ref: Annotated[str | None, typer.Option("--agent", help="The agent that works on it.")] = None,
    result: Annotated[str | None, typer.Option(help="The outcome.")] = None,
    assigned: Annotated[str | None, typer.Option("--assigned-date", help="Date of assignment.")] = None,
    transcript: Transcript = None,
    as_json: Json = False,
) -> None:
    """Change a task."""
    given = {
        "description": description, "need_id": need_ref, "status": status, "priority": priority,
        "assigned_agent_id": agent_ref, "result": result, "assigned_date": assigned, "source_transcript": transcript,
    }  # fmt: skip
    _set("task", ref, given, as_json)


@task.command("list")
def task_list(
    status: TaskStatus = None, need_ref: NeedRef = None, priority: Priority = None, as_json: Json = False
) -> None:
    """List tasks, most urgent first."""
    filters = {"status": status, "need_id": need_ref, "priority": priority}
    _list("task", filters, ("status", "priority", "need_id", "description"), as_json)


@task.command("show")
def task_show(ref: Ref, as_json: Json = False) -> None:
    """Show a task and its edges."""
    _show("task", ref, as_json)


@task.command("delete")
def task_delete(ref: Ref, as_json: Json = False) -> None:
    """Delete a task (its uid stays known)."""
    _delete("task", ref, as_json)


@agent.command("start")
def agent_start(
    agent_type: Annotated[str | None, typer.Argument(metavar="TYPE", help="architect, researcher, janitor, …")] = None,
    status: AgentStatus = None,
    model: Annotated[str | None, typer.Option(help="The model that runs it.")] = None,
    kernel: Annotated[str | None, typer.Option("--kernel-version", help="The kernel that was loaded.")] = None,
    transcript: Annotated[str | None, typer.Option("--transcript", help="Path of the session's transcript.")] = None,
    tasks: Annotated[list[str] | None, typer.Option("--task", help="A task assigned to it; may repeat.")] = None,
    needs: Annotated[list[str] | None, typer.Option("--need", help="A need it monitors; may repeat.")] = None,
    source: From = None,
    as_json: Json = False,
) -> None:
    """Record that an agent starts."""
    given = {
        "status": status or "active", "model": model, "kernel_version": kernel, "session_transcript": transcript,
        "assigned_tasks": tasks or None, "monitored_needs": needs or None,
    }  # fmt: skip
    _add("agent", agent_type, "agent_type", given, source, as_json)


@agent.command("end")
def agent_end(
    ref: Ref,
    status: AgentStatus = None,
    summary: Annotated[str | None, typer.Option("--summary", help="What it accomplished.")] = None,
    as_json: Json = False,
) -> None:
    """Record that an agent has ended, now."""
    from datetime import UTC, datetime

    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    _set("agent", ref, {"status": status or "completed", "completed_at": now, "result_summary": summary}, as_json)


@agent.command("set")
def agent_set(
    ref: Ref,
    status: AgentStatus = None,
    model: Annotated[str | None, typer.Option(help="The model that runs it.")] = None,
    kernel: Annotated[str | None, typer.Option("--kernel-version", help="The kernel that was loaded.")] = None,
    transcript: Annotated[str | None, typer.Option("--transcript", help="Path of the session's transcript.")] = None,
    tasks: Annotated[list[str] | None, typer.Option("--task", help="All tasks assigned to it.")] = None,
    needs: Annotated[list[str] | None, typer.Option("--need", help="All needs it monitors.")] = None,
    summary: Annotated[str | None, typer.Option("--summary", help="What it accomplished.")] = None,
    as_json: Json = False,
) -> None:
    """Change an agent's record."""
    given = {
        "status": status, "model": model, "kernel_version": kernel, "session_transcript": transcript,
        "assigned_tasks": tasks or None, "monitored_needs": needs or None, "result_summary": summary,
    }  # fmt: skip
    _set("agent", ref, given, as_json)


@agent.command("list")
def agent_list(
    status: AgentStatus = None, agent_type: Annotated[str | None, typer.Option("--type")] = None, as_json: Json = False
) -> None:
    """List agents: those recorded, and the sessions that transcripts tell of."""
    _list(
        "agent",
        {"status": status, "agent_type": agent_type},
        ("agent_type", "status", "model", "started_at", "session_transcript"),
        as_json,
    )


@agent.command("show")
def agent_show(ref: Ref, as_json: Json = False) -> None:
    """Show an agent and its edges."""
    _show("agent", ref, as_json)


@agent.command("delete")
def agent_delete(ref: Ref, as_json: Json = False) -> None:
    """Delete an agent's record (its uid stays known)."""
    _delete("agent", ref, as_json)


@artifact.command("list")
def artifact_list(
    artifact_type: Annotated[str | None, typer.Option("--type", help=f"One of {', '.join(ARTIFACT_TYPES)}.")] = None,
    as_json: Json = False,
) -> None:
    """List the files known to the index."""
    _list("artifact", {"artifact_type": artifact_type}, ("file_path", "artifact_type", "title"), as_json)


@artifact.command("show")
def artifact_show(path: Annotated[str, typer.Argument(metavar="PATH")], as_json: Json = False) -> None:
    """Show a file's record and its edges."""
    _show("artifact", path, as_json)
