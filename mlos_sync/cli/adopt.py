"""The command that takes a hand edit of a compiled view into the records: shown first, done with consent."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlos_sync.cli.common import Json, inside, open_here, say
from mlos_sync.core.paths import shown

if TYPE_CHECKING:
    from mlos_sync.app.adopting import Accepted, Proposal
    from mlos_sync.core.adopting import Addition, Change


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(adopt)


def adopt(
    path: Annotated[str, typer.Argument(metavar="PATH", help="The view that was edited, such as PROBLEM.md.")],
    yes: Annotated[bool, typer.Option("--yes", help="Make the changes, without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Turn a hand edit of a view into changes of records. Exit 1: the database refused some."""
    from mlos_sync.app import adopting, sync
    from mlos_sync.core.guard import quoted

    index = open_here()
    sync.sync(index)
    proposal = adopting.propose(index, inside(index.workspace, path))
    if proposal.note:
        say(f"note: {proposal.note}", error=True)
    asks = not yes and proposal.is_worth_it and sys.stdin.isatty() and sys.stderr.isatty()
    if not as_json or asks:
        say(_lines(proposal), error=as_json)
    done = None
    if proposal.is_worth_it and (yes or (asks and typer.confirm(_question(proposal), err=True))):
        done = adopting.accept(index, proposal)
        sync.sync(index, sync.reach_of(index, (proposal.path,)))
    _tell(
        proposal, done, as_json, f"mlos-sync adopt {quoted(path)} --yes", f"mlos-sync compile --discard {quoted(path)}"
    )
    if done is not None and done.refused:
        raise typer.Exit(1)


def _question(proposal: Proposal) -> str:
    count = len(proposal.changes)
    return f"Make {count} change{'' if count == 1 else 's'} and compile {shown(proposal.path)} again?"


def _tell(proposal: Proposal, done: Accepted | None, as_json: bool, accept: str, discard: str) -> None:
    if as_json:
        say("", _result(proposal, done), as_json=True)
    elif done is not None:
        say(_outcome(proposal, done))
    elif proposal.is_worth_it:
        say(f"nothing is changed yet; to do it: {accept}")
    elif proposal.edit is not None:
        say(f"no record can take any of this; the file is as it was. To drop the edit, with a copy kept: {discard}")


def _result(proposal: Proposal, done: Accepted | None) -> dict[str, Any]:
    refused = done.refused if done else {}
    changes = [_row(one) | {"refused": refused.get(n)} for n, one in enumerate(proposal.changes)]
    rest = [{"line": one.line, "text": one.text, "why": one.why} for one in proposal.rest]
    kept = done.kept if done else None
    return {
        "path": proposal.path, "changes": changes, "rest": rest, "applied": done is not None, "kept": kept,
        "note": proposal.note,
    }  # fmt: skip


def _row(one: Change | Addition) -> dict[str, Any]:
    from dataclasses import asdict

    from mlos_sync.core.adopting import Change

    return {"operation": "set" if isinstance(one, Change) else "add"} | asdict(one)


def _lines(proposal: Proposal) -> list[str]:
    if proposal.edit is None:
        return [f"{proposal.path} was not edited; there is nothing to adopt"]
    lines = [_line(one) for one in proposal.changes] or ["no record changes"]
    if proposal.rest:
        lines += ["", "no record takes:"]
    for rest in proposal.rest:
        place = f"line {rest.line}" if rest.line else "taken out"
        lines += [f"  {place}: {rest.text}", f"      {rest.why}"]
    return lines


def _line(one: Change | Addition) -> str:
    from mlos_sync.core.adopting import Change

    if isinstance(one, Change):
        by = f"  (by way of {', '.join(map(str, one.steps[:-1]))})" if len(one.steps) > 1 else ""
        task = "; an actionable need gets its task" if one.field == "status" and "actionable" in one.steps else ""
        told = (_value(one.field, value) for value in (one.old, one.new))
        return f"{one.name} {one.field}: {' -> '.join(told)}{by}{task}"
    where = ""
    if one.above:
        above = f"the new one of {one.above}" if one.above.startswith("line ") else f"need-{one.above[:12]}"
        where = f" below {above}"
    more = {"status": one.status, "priority": one.priority, "scope": one.scope, "description": one.description}
    told = (f"{name} {_value(name, value)}" for name, value in more.items() if value is not None)
    task = "; an actionable need gets its task" if one.kind == "need" and one.status == "actionable" else ""
    return f"new {one.kind}{where}: {_value('text', one.text)}  ({', '.join(told)}){task}"


def _value(name: str, value: str | int | None) -> str:
    """A value on one line: text as JSON writes it, so that its line ends can be told."""
    if value is None or name in ("status", "priority"):
        return "none" if value is None else str(value)
    return json.dumps(value, ensure_ascii=False)


def _outcome(proposal: Proposal, done: Accepted) -> list[str]:
    lines = [f"refused: {_line(proposal.changes[n])}: {why}" for n, why in sorted(done.refused.items())]
    made = len(proposal.changes) - len(done.refused)
    if done.kept is None:
        return [*lines, f"nothing was changed, and {proposal.path} is as it was"]
    lines += [f"changed {made} record value{'' if made == 1 else 's'}"] if proposal.changes else []
    return [*lines, f"wrote   {proposal.path}", f"kept    the edited file: {done.kept}"]
