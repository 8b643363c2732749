"""Commands about what happened: log, conflicts."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from mlos_sync.cli.common import Json, artifact, open_here, say
from mlos_sync.core import ids

conflicts = typer.Typer(help="Concurrent edits of one field, and settling them.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Hang these commands on the program."""
    app.add_typer(conflicts, name="conflicts")
    app.command()(log)


def log(
    ref: Annotated[
        str | None, typer.Argument(metavar="[REF]", help="A record, a path or a commit; default is all records.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Nothing before this time or day.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", help="Only the last N.")] = None,
    as_json: Json = False,
) -> None:
    """What happened, oldest first: the events of a record, the versions of a file, the changes of a commit."""
    from mlos_sync.app import telling

    index = open_here()
    reference = ids.parse(ref, "artifact") if ref is not None else None
    if ref is not None and (reference is None or reference.path is not None):
        ref = artifact(index, ref)
    events = telling.history(index, ref, since, limit)
    say([_line(one) for one in events] or ["no events"], {"events": events}, as_json)


def _line(event: dict[str, Any]) -> str:
    start = f"{event['at']:20}  {event['ref']}  {event['op']:8}"
    by = f"  by session {', '.join(event['sessions'])}" if event.get("sessions") else ""
    if event["door"] == "sync":
        return f"{start}  {event['hash'][:12]}  in no commit{by}"
    if "subject" in event:
        content = (event.get("hash") or event["blob"] or "")[:12]
        before = f"  was {event['old_path']}" if event["old_path"] else ""
        return f"{start}  {content:12}{before}  {event['commit'][:12]} {event['subject']}  ({event['actor']}){by}"
    fields = "  ".join(_set(name, value) for name, value in event["fields"].items())
    return f"{start}  {fields}  ({event['actor'] or 'unknown'}, {event['door']})".replace("    (", "  (")


def _set(name: str, value: Any) -> str:
    """What an event set a field to: text quoted, references by their short names, arrays by what came and went."""
    if isinstance(value, dict) and set(value) <= {"add", "remove"}:
        marked = [
            *(f"+{_short(one)}" for one in value.get("add", [])),
            *(f"-{_short(one)}" for one in value.get("remove", [])),
        ]
        return f"{name}={','.join(marked)}"
    return f"{name}={_short(value)}"


def _short(value: Any, most: int = 60) -> str:
    kind, colon, uid = str(value).partition(":")
    if colon and kind in ids.RECORD_KINDS and len(uid) == 32:
        return ids.shown(kind, uid)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else text[: most - 1] + "…"


@conflicts.callback()
def conflicts_list(context: typer.Context, as_json: Json = False) -> None:
    """List fields that two people changed without having seen each other, winner and loser; `resolve` settles one."""
    from mlos_sync.app import conflicting

    if context.invoked_subcommand is None:
        found = conflicting.conflicts(open_here())
        say([line for one in found for line in _lines(one)] or ["no conflicts"], {"conflicts": found}, as_json)


def _lines(conflict: dict[str, Any]) -> list[str]:
    named = f"{conflict['ref']} {conflict['field']}"
    title = f'  "{conflict["title"]}"' if conflict["title"] else ""
    sides = [
        f"  {side:6}  {_side(conflict['field'], conflict[side])}  {conflict[side]['by'] or 'unknown'}"
        f"  {conflict[side]['at']}  event {conflict[side]['event'][:12]}"
        for side in ("winner", "loser")
    ]
    return [named + title, *sides, f"  settle: mlos-sync conflicts resolve {named} --take winner"]


def _side(field: str, told: dict[str, Any]) -> str:
    if field == "@alive":
        done = {"delete": "deleted", "create": "created", "recreate": "brought back"}.get(told["op"], "edited")
        return done + "".join(
            f" {_set(name, value)}" for name, value in told["fields"].items() if told["op"] == "update"
        )
    if "/" in field:
        return "there" if told["value"] else "not there"
    return _short(told["value"])


@conflicts.command("resolve")
def conflicts_resolve(
    ref: Annotated[str, typer.Argument(metavar="REF", help="The record, as `conflicts` names it.")],
    field: Annotated[str, typer.Argument(metavar="FIELD", help="The field; `@alive` for a deletion against an edit.")],
    value: Annotated[str | None, typer.Option("--value", help="What it shall be; an empty text clears it.")] = None,
    take: Annotated[
        str | None, typer.Option("--take", metavar="winner|loser", help="Whose value it shall be; or an event's id.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Settle a conflict by an event that has seen both sides. What is left of conflicts is told."""
    from mlos_sync.app import conflicting, freshness

    index = open_here()
    freshness.catch_up(index)
    done = conflicting.resolve_conflict(index, ref, field, value, take)
    left = conflicting.conflicts(index)
    state = "deleted" if done["row"] is None else ""
    shown = done["row"].get(field, "") if done["row"] else state
    say([f"settled: {done['ref']} {field} {shown}".rstrip(), f"{len(left)} left"], {**done, "conflicts": left}, as_json)
