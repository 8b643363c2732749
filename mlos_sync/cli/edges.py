"""Commands between records: link, unlink, links, related, ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlos_sync.cli.common import Json, end, open_here, say, table
from mlos_sync.cli.options import From
from mlos_sync.core.vocabulary import ENDPOINTS, RELATIONSHIP_TYPES

if TYPE_CHECKING:
    from mlos_sync.app.opening import Index

_END = "need:3, task-3f9a2c, agent:5, artifact:PATH, commit:SHA, or a path."
Ref = Annotated[str, typer.Argument(metavar="REF", help=_END)]
Kinds = Annotated[
    list[str] | None, typer.Option("--kind", metavar="KIND", help=f"One of {', '.join(ENDPOINTS)}; may repeat.")
]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="TYPE", help=f"One of {', '.join(RELATIONSHIP_TYPES)}; may repeat."),
]


def register(app: typer.Typer) -> None:
    """Hang these commands on the program."""
    for command in (link, unlink, links, related, ready):
        app.command()(command)


def edge_lines(edges: list[dict[str, Any]]) -> list[str]:
    """Edges as a table; cut ones say so."""
    rows = [
        [one["source"], one["type"], one["target"], one["evidence"] if "cut" not in one else f"cut: {one['cut']}"]
        for one in edges
    ]
    return table(rows, ["source", "type", "target", "evidence"]) if edges else ["no edges"]


def link(
    source: Annotated[str | None, typer.Argument(help=_END)] = None,
    relationship: Annotated[
        str | None, typer.Argument(metavar="TYPE", help=f"One of {', '.join(RELATIONSHIP_TYPES)}.")
    ] = None,
    target: Annotated[str | None, typer.Argument(help="Likewise.")] = None,
    meta: Annotated[
        str | None, typer.Option("--meta", metavar="JSON", help="A JSON object of further properties.")
    ] = None,
    lines: From = None,
    as_json: Json = False,
) -> None:
    """Make a typed edge between two entities, or many from lines such as `links --json` prints."""
    from mlos_sync.app import adding, records
    from mlos_sync.cli.lines import read_lines
    from mlos_sync.errors import UsageError

    if lines is not None:
        done = adding.link_lines(open_here(), lines, read_lines(lines))
        say([f"edges: {done.text}"], {"edges": done.rows, **done.counts}, as_json)
        return
    if source is None or relationship is None or target is None:
        raise UsageError("an edge has a source, a type and a target", "mlos-sync link need:1 blocks need:2")
    index = open_here()
    edge = records.link(index, _checked(index, source), relationship, _checked(index, target), meta)
    say([f"{edge['source']} {edge['type']} {edge['target']}"], edge, as_json)


def _checked(index: Index, text: str) -> str:
    """An end as it was typed, once it is known to exist; a path as `artifact:PATH`."""
    lasting = end(index, text)
    return lasting if lasting.startswith("artifact:") else text


def unlink(
    source: Annotated[str, typer.Argument(help=_END)],
    relationship: Annotated[str, typer.Argument(metavar="TYPE", help=f"One of {', '.join(RELATIONSHIP_TYPES)}.")],
    target: Annotated[str, typer.Argument(help="Likewise.")],
    as_json: Json = False,
) -> None:
    """Delete an edge that somebody made."""
    from mlos_sync.app import records

    index = open_here()
    records.unlink(index, _checked(index, source), relationship, _checked(index, target))
    say(
        [f"unlinked {source} {relationship} {target}"],
        {"source": source, "type": relationship, "target": target},
        as_json,
    )


def links(ref: Ref, types: Types = None, kinds: Kinds = None, as_json: Json = False) -> None:
    """The edges of one entity, those that a deletion cut last. Filters: the edge's type, the kind of its other end."""
    from mlos_sync.app import finding, records, relating
    from mlos_sync.errors import UsageError

    for asked, known in ((types or [], RELATIONSHIP_TYPES), (kinds or [], ENDPOINTS)):
        if unknown := [one for one in asked if one not in known]:
            raise UsageError(f"no edge has {unknown[0]}", f"it is one of {', '.join(known)}")
    index = open_here()
    lasting = end(index, ref)
    own, key = finding.found(index.db, lasting)
    names = (lasting, records.named(index.db, own, finding.id_of(index.db, lasting)))
    edges = []
    for one in relating.edges(index.db, own, key):
        other = one["target"] if one["source"] in names else one["source"]
        if (not types or one["type"] in types) and (not kinds or other.partition(":")[0] in kinds):
            edges.append(one)
    say(edge_lines(edges), {"edges": edges}, as_json)


def related(
    ref: Ref,
    hops: Annotated[int, typer.Option("--hops", metavar="N", help="At most so many edges away.")] = 2,
    kinds: Kinds = None,
    as_json: Json = False,
) -> None:
    """What is connected, nearest first, over edges in either direction; and the way there."""
    from mlos_sync.app import relating

    index = open_here()
    found = relating.related(index, end(index, ref), hops, kinds or ())
    rows = [[one["hops"], one["ref"], one["title"], _last(one["via"])] for one in found]
    lines = table(rows, ["hops", "ref", "title", "by"]) if rows else ["nothing is connected"]
    say(lines, {"related": found}, as_json)


def _last(via: list[dict[str, str]]) -> str:
    return f"{via[-1]['source']} {via[-1]['type']} {via[-1]['target']}"


def ready(
    scope: Annotated[str | None, typer.Option("--scope", help="Only tasks of needs of this scope.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", help="Only the N most urgent.")] = None,
    as_json: Json = False,
) -> None:
    """Tasks that can be worked on now, most urgent first, and what the others wait for."""
    from mlos_sync.app import readying

    found = readying.ready(open_here(), scope, limit)
    rows = [
        [one["ref"], one["effective_priority"], one["status"], (one["need"] or {}).get("ref"), one["description"]]
        for one in found["ready"]
    ]
    lines = table(rows, ["ready", "priority", "status", "need", "description"]) if rows else ["no task is ready"]
    rows = [
        [one["ref"], one["effective_priority"], ", ".join(map(_reason, one["by"])), one["description"]]
        for one in found["blocked"]
    ]
    lines += ["", *table(rows, ["blocked", "priority", "waits for", "description"])] if rows else []
    lines += [f"! a circle, in which none can become ready: {' -> '.join(ring)}" for ring in found["cycles"]]
    say(lines, found, as_json)


def _reason(by: dict[str, Any]) -> str:
    return f"{by['ref']} (in a circle)" if by["in_cycle"] else str(by["ref"])
