"""Commands for records: need, task, agent, artifact."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlos_sync.cli import options
from mlos_sync.cli.common import artifact as artifact_reference
from mlos_sync.cli.common import given, inside, open_here, say, table
from mlos_sync.cli.edges import edge_lines
from mlos_sync.cli.options import JSON, REF, SOURCE, command, keyword, required

if TYPE_CHECKING:
    from mlos_sync.app.opening import Index

GROUPS = {
    "need": typer.Typer(help="Needs: states that the system must satisfy.", no_args_is_help=True),
    "task": typer.Typer(help="Tasks: actions derived from needs.", no_args_is_help=True),
    "agent": typer.Typer(help="Agents: single invocations.", no_args_is_help=True),
    "artifact": typer.Typer(help="Artifacts: the files known to the index.", no_args_is_help=True),
}
FIRST = {"need": "title", "task": "description", "agent": "agent_type"}  # the column that `add` takes as its argument
SHOWN = {
    "need": ("status", "priority", "scope", "title"),
    "task": ("status", "priority", "need_id", "assigned_agent_id", "description"),
    "agent": ("agent_type", "status", "model", "started_at", "session_transcript"),
    "artifact": ("file_path", "artifact_type", "title"),
}
_HEADINGS = {"need_id": "need", "assigned_agent_id": "agent", "agent_type": "type", "file_path": "path"}


def register(app: typer.Typer) -> None:
    """Hang these commands on the program."""
    for name, group in GROUPS.items():
        app.add_typer(group, name=name)


def _row_lines(kind: str, row: dict[str, Any]) -> list[str]:
    from mlos_sync.core.ids import shown

    width = max(len(name) for name in row)
    ref = (
        f"artifact:{row['file_path']}"
        if kind == "artifact"
        else f"{kind}:{row['id']}, lastingly {shown(kind, row['uid'])}"
    )
    told = {"ref": ref} | {name: value for name, value in row.items() if value is not None and name != "origin"}
    return [f"{name:{width}}  {value}" for name, value in told.items()]


def _add(kind: str, source: str | None, as_json: bool, **columns: Any) -> None:
    from mlos_sync.app import records
    from mlos_sync.errors import UsageError

    index = open_here()
    values = ({"status": "active"} if kind == "agent" else {}) | _columns(index, kind, columns)
    if source is not None:
        _add_lines(index, kind, source, values, as_json)
        return
    if FIRST[kind] not in values:
        raise UsageError(
            f"the {FIRST[kind]} is missing", f"mlos-sync {kind} {'start' if kind == 'agent' else 'add'} --help"
        )
    row = records.add(index, kind, [values])[0]
    say(_row_lines(kind, row), row, as_json)


def _add_lines(index: Index, kind: str, source: str, values: dict[str, Any], as_json: bool) -> None:
    """Options beside `--from` are for the lines that do not say otherwise; a line with a `uid` says all of itself."""
    from mlos_sync.app import adding
    from mlos_sync.cli.lines import read_lines

    lines = [(number, row if "uid" in row else values | row) for number, row in read_lines(source)]
    done = adding.add_lines(index, kind, source, lines)
    say([f"{kind}s: {done.text}"], {"rows": done.rows, **done.counts}, as_json)


def _columns(index: Index, kind: str, columns: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as column values; files are named from the current folder."""
    values = given(columns)
    if "provisioned_artifacts" in values:
        values["provisioned_artifacts"] = [artifact_reference(index, one) for one in values["provisioned_artifacts"]]
    if columns.get(FIRST[kind]) == "":
        values[FIRST[kind]] = ""  # there is nothing to clear: the database refuses it
    return values


def _set(kind: str, ref: str, as_json: bool, **columns: Any) -> None:
    from mlos_sync.app import finding, records

    index = open_here()
    row = records.change(index, kind, finding.lasting(index, ref, kind), _columns(index, kind, columns))
    say(_row_lines(kind, row), row, as_json)


def _end(ref: str, as_json: bool, **columns: Any) -> None:
    from datetime import UTC, datetime

    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    chosen = {"status": "completed", "completed_at": now} | {n: one for n, one in columns.items() if one is not None}
    _set("agent", ref, as_json, **chosen)


def _list(kind: str, as_json: bool, **filters: Any) -> None:
    from mlos_sync.app import finding, records
    from mlos_sync.core.ids import shown as named

    index = open_here()
    asked = {name: value for name, value in filters.items() if value}
    for name in {"provisioned_artifacts", "file_path"} & set(asked):
        asked[name] = [_path(index, name, one) for one in asked[name]]
    rows = records.listed(index, kind, asked)
    cells = [[row[name] for name in SHOWN[kind]] for row in rows]
    headings = [_HEADINGS.get(name, name) for name in SHOWN[kind]]
    if kind != "artifact":
        digits = finding.digits(index.db, kind)
        cells = [[row["id"], named(kind, row["uid"], digits), *cell] for row, cell in zip(rows, cells, strict=True)]
        headings = ["id", "ref", *headings]
    say(table(cells, headings) if rows else [f"no {kind}s"], {"rows": rows}, as_json)


def _path(index: Index, name: str, text: str) -> str:
    """A path of a filter: a file, a folder or a pattern."""
    from mlos_sync.cli.common import inside

    if name == "provisioned_artifacts":
        return artifact_reference(index, text) if text else ""
    return (
        text if set(text) & {"*", "?"} or not text else inside(index.workspace, text.removeprefix("artifact:")) or "*"
    )


def _show(kind: str, ref: str, as_json: bool) -> None:
    from mlos_sync.app import finding, records, relating

    index = open_here()
    lasting = finding.lasting(index, artifact_reference(index, ref) if kind == "artifact" else ref, kind)
    found, key = records.find(index.db, lasting, kind)
    row, edges = records.row_of(index.db, found, key), relating.edges(index.db, found, key)
    lines = _row_lines(kind, row)
    say([*lines, "", *edge_lines(edges)] if edges else lines, {"row": row, "edges": edges}, as_json)


def _annotate(ref: str, as_json: bool, **columns: Any) -> None:
    from mlos_sync.app import annotating

    index = open_here()
    path = inside(index.workspace, ref.removeprefix("artifact:"))
    row = annotating.annotate(index, path, given(columns))
    say(_row_lines("artifact", row), row, as_json)


def _delete(kind: str, ref: str, as_json: bool) -> None:
    from mlos_sync.app import finding, records, relating
    from mlos_sync.core.ids import shown

    index = open_here()
    lasting = finding.lasting(index, ref, kind)
    cut = [one for one in relating.edges(index.db, *records.find(index.db, lasting, kind)) if "cut" not in one]
    row = records.delete(index, kind, lasting)
    lines = [f"deleted {kind}:{row['id']}; mlos-sync {kind} restore {shown(kind, row['uid'])} brings it back"]
    lines += _row_lines(kind, row)[1:]
    lines += ["", "cut:", *edge_lines(cut)] if cut else []
    say(lines, row | {"cut": cut}, as_json)


def _restore(kind: str, ref: str, as_json: bool) -> None:
    from mlos_sync.app import conflicting, freshness

    index = open_here()
    freshness.catch_up(index)
    row = conflicting.restore(index, kind, ref)
    say(_row_lines(kind, row), row, as_json)


def _argument(kind: str, metavar: str) -> Any:
    column = next(one for one in options.COLUMNS[kind] if one.name == FIRST[kind])
    return keyword(FIRST[kind], str, typer.Argument(metavar=metavar, help=column.help))


def _records(kind: str, metavar: str, add: tuple[str, str], about: str) -> None:
    """The commands that needs, tasks and agents have alike."""
    group = GROUPS[kind]
    values = options.values(kind, leave=(FIRST[kind],))
    command(group, *add, [_argument(kind, metavar), *values, SOURCE, JSON], partial(_add, kind))
    command(group, "set", about, [REF, *options.values(kind), JSON], partial(_set, kind))
    listing = (
        "List agents: those recorded, and sessions of transcripts."
        if kind == "agent"
        else f"List {kind}s, most urgent first."
    )
    command(group, "list", listing, [*options.filters(kind), JSON], partial(_list, kind))
    command(group, "show", f"Show one {kind} and its edges.", [REF, JSON], partial(_show, kind))
    command(group, "delete", f"Delete one {kind}; `restore` brings it back.", [REF, JSON], partial(_delete, kind))
    command(
        group, "restore", f"Bring a deleted {kind} back as it was, edges and all.", [REF, JSON], partial(_restore, kind)
    )


_records("need", "TITLE", ("add", "Record a need."), "Change a need. On becoming actionable it gets its task.")
_records("task", "TEXT", ("add", "Record a task."), "Change a task.")
_records("agent", "TYPE", ("start", "Record that an agent starts, now."), "Change an agent's record.")
command(
    GROUPS["agent"], "end", "Record that an agent has ended, now.",
    [REF, *options.values("agent", leave=("agent_type",)), JSON], _end,
)  # fmt: skip
_PATH = required("ref", Annotated[str, typer.Argument(metavar="PATH", help="The file, from the current folder.")])
command(
    GROUPS["artifact"], "list", "List the files known to the index.", [*options.filters("artifact"), JSON],
    partial(_list, "artifact"),
)  # fmt: skip
command(GROUPS["artifact"], "show", "Show a file's record and its edges.", [_PATH, JSON], partial(_show, "artifact"))
command(
    GROUPS["artifact"], "set", "Say of a file what it does not say itself; frontmatter comes first.",
    [_PATH, *options.values("artifact", leave=("file_path", "content_hash", "created_at", "updated_at")), JSON],
    partial(_annotate),
)  # fmt: skip
