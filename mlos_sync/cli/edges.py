"""Commands between and about records: link, unlink, links, log, conflicts."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlos_sync.cli.common import Json, open_here, say, table
from mlos_sync.core.vocabulary import RELATIONSHIP_TYPES

conflicts = typer.Typer(help="Concurrent edits of one field.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Hang these commands on the program."""
    app.add_typer(conflicts, name="conflicts")
    for command in (link, unlink, links, log):
        app.command()(command)


def edge_lines(edges: list[dict[str, Any]]) -> list[str]:
    """Edges as a table; cut ones say so."""
    rows = [
        [one["source"], one["type"], one["target"], one["evidence"] if "cut" not in one else f"cut: {one['cut']}"]
        for one in edges
    ]
    return table(rows, ["source", "type", "target", "evidence"]) if edges else ["no edges"]


def link(
    source: Annotated[str, typer.Argument(help="need:3, task-3f9a2c, agent:5, artifact:PATH or commit:SHA.")],
    relationship: Annotated[str, typer.Argument(metavar="TYPE", help=f"One of {', '.join(RELATIONSHIP_TYPES)}.")],
    target: Annotated[str, typer.Argument()],
    meta: Annotated[
        str | None, typer.Option("--meta", metavar="JSON", help="A JSON object of further properties.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a typed edge between two entities."""
    from mlos_sync.app import records

    edge = records.link(open_here(), source, relationship, target, meta)
    say([f"{edge['source']} {edge['type']} {edge['target']}"], edge, as_json)


def unlink(
    source: Annotated[str, typer.Argument()],
    relationship: Annotated[str, typer.Argument(metavar="TYPE")],
    target: Annotated[str, typer.Argument()],
    as_json: Json = False,
) -> None:
    """Delete an edge that somebody made."""
    from mlos_sync.app import records

    edge = records.unlink(open_here(), source, relationship, target)
    say([f"unlinked {edge['source']} {edge['type']} {edge['target']}"], edge, as_json)


def links(ref: Annotated[str, typer.Argument(metavar="REF")], as_json: Json = False) -> None:
    """The edges of one entity."""
    from mlos_sync.app import records

    edges = records.edges(open_here(), ref)
    say(edge_lines(edges), {"edges": edges}, as_json)


def log(ref: Annotated[str | None, typer.Argument(metavar="[REF]")] = None, as_json: Json = False) -> None:
    """The history of a record, or of all records: every event, oldest first."""
    import json

    from mlos_sync.app import records

    events = records.history(open_here(), ref)
    lines = [
        f"{e['at']}  {e['ref']}  {e['op']}  {json.dumps(e['fields'], ensure_ascii=False)}"
        f"  ({e['actor'] or 'unknown'}, {e['door']})"
        for e in events
    ]
    say(lines or ["no events"], {"events": events}, as_json)


@conflicts.callback()
def conflicts_list(context: typer.Context, as_json: Json = False) -> None:
    """List fields that two people changed without having seen each other: winner and loser."""
    from mlos_sync.app import records

    if context.invoked_subcommand is None:
        found = records.conflicts(open_here())
        lines = [f"{c['ref']} {c['field']}: {c['winner']['value']!r} won over {c['loser']['value']!r}" for c in found]
        say(lines or ["no conflicts"], {"conflicts": found}, as_json)
