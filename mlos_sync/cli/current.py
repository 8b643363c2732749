"""Commands for the task that one works on: task start, done, stop, current."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlos_sync.cli.common import Json, open_here, say
from mlos_sync.cli.options import Ref


def register(tasks: typer.Typer) -> None:
    """Hang these commands on those for tasks."""
    for run in (start, done, stop, current):
        tasks.command(run.__name__)(run)


def start(
    ref: Ref,
    agent: Annotated[str | None, typer.Option("--agent", metavar="REF", help="The agent that works on it.")] = None,
    as_json: Json = False,
) -> None:
    """Work on a task: it is in progress, and commits of this work tree say `Task:` by themselves."""
    from mlos_sync.app import working

    row = working.start(open_here(), ref, agent)
    say([f"working on {_told(row)}", f"commits of this work tree say  {_trailer(row)}"], row, as_json)


def done(
    ref: Annotated[str | None, typer.Argument(metavar="[REF]", help="The task; default is the current one.")] = None,
    result: Annotated[str | None, typer.Option("--result", help="The outcome.")] = None,
    as_json: Json = False,
) -> None:
    """Complete a task; if it is the current one, commits say it no more."""
    from mlos_sync.app import working

    row = working.done(open_here(), ref, result)
    say([f"completed {_told(row)}"], row, as_json)


def stop(as_json: Json = False) -> None:
    """Work on no task any more: commits say it no more, its status stays."""
    from mlos_sync.app import working

    row = working.stop(open_here())
    say([f"stopped {_told(row)}" if row else "no task was started here"], {"row": row}, as_json)


def current(as_json: Json = False) -> None:
    """The task that commits of this work tree say, who named it, and what keeps it out of them."""
    from mlos_sync.app import working

    told = working.current(open_here())
    first = told[0] if told else {"row": None, "from": None, "problem": None}
    lines = [_line(one) for one in told] or ["no task was started here; mlos-sync task start REF does it"]
    say(lines, {**first, "others": told[1:]}, as_json)


def _line(one: dict[str, Any]) -> str:
    told = _told(one["row"]) if one["row"] else "no task"
    return f"{one['from']:7} {told}" + (f" (not said by commits: {one['problem']})" if one["problem"] else "")


def _told(row: dict[str, Any]) -> str:
    from mlos_sync.core.ids import shown

    return f"task:{row['id']} ({shown('task', row['uid'])})  {row['description']}"


def _trailer(row: dict[str, Any]) -> str:
    from mlos_sync.core.ids import LASTING, shown

    return f"Task: {row['id']} ({shown('task', row['uid'], LASTING)})"
