"""The commands about git's hooks: install beside what is there, status with proof, uninstall."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlos_sync.cli.common import Json, say, settings

if TYPE_CHECKING:
    from mlos_sync.app.hooking import Outcome, Plan

hooks_app = typer.Typer(help="The git hooks of this clone.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(hooks_app, name="hooks")


def told(hooks: list[dict[str, Any]]) -> str:
    """The states in few words: those that most hooks share are counted."""
    states: dict[str, list[str]] = {}
    for one in hooks:
        states.setdefault(one["state"], []).append(one["name"])
    if len(states) == 1:
        return f"all {len(hooks)} {next(iter(states))}"
    return "; ".join(f"{state}: {', '.join(names)}" for state, names in states.items())


@hooks_app.command("install")
def hooks_install(
    way: Annotated[
        str,
        typer.Option(
            metavar="WAY",
            help="auto (the default), chain (ours in git's hooks folder, what is there runs first), block (a marked block"
            " in the hook files that are there), snippet (only print what to paste), config (git 2.54 and later).",
        ),
    ] = "auto",
    yes: Annotated[
        bool, typer.Option("--yes", help="Also change hook files that are not ours, without asking.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let git start our hooks, beside whatever hooks and hook managers are there. Exit 1: some are not active yet."""
    from mlos_sync.app import hooking
    from mlos_sync.app.opening import workspace_of

    wanted = hooking.plan(workspace_of(settings.folder), way)
    outcome = hooking.carry_out(wanted, consent=yes or _agreed(wanted))
    _tell(outcome, as_json)
    if not outcome.active:
        say("mlos-sync: some hooks are not active yet", error=True)
        say("  hint: do what is said above, then mlos-sync hooks status", error=True)
        raise typer.Exit(1)


def _agreed(wanted: Plan) -> bool:
    """Show what would change in files that are not ours, and ask on a terminal; elsewhere the answer is no."""
    if not wanted.asks or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    say(wanted.why, error=True)
    for step in wanted.asks:
        for line in wanted.change(step):
            say(line, error=True)
    return typer.confirm(f"Change {len(wanted.asks)} files that are not ours like this?", err=True)


def _tell(outcome: Outcome, as_json: bool) -> None:
    for line in (*outcome.notes, *outcome.snippet):
        say(line, error=True)
    hooks = [{"name": one.name, "path": one.path, "state": one.state} for one in outcome.hooks]
    result = {"hooks": hooks, "why": outcome.why, "notes": outcome.notes, "snippet": outcome.snippet}
    say(_lines(hooks), result, as_json)


def _lines(hooks: list[dict[str, Any]]) -> list[str]:
    return [f"{one['name']:18} {one['state']:13} {one['path']}" for one in hooks]


@hooks_app.command("uninstall")
def hooks_uninstall(as_json: Json = False) -> None:
    """Take our hooks away, in whatever way they were installed, and restore what stood there, byte for byte."""
    from mlos_sync.app import hooking

    _tell(hooking.uninstall(settings.folder), as_json)


@hooks_app.command("status")
def hooks_status(as_json: Json = False) -> None:
    """How each hook stands, whether git starts it (it is asked for a sign), and where our hooks are not active."""
    from mlos_sync.app import hooking

    found = hooking.status(settings.folder)
    lines = []
    for one in found["hooks"]:
        proof = {True: "fires", False: "does not fire", None: "not tried"}[one["fires"]]
        last = f", last {one['fired_at'][:19]}Z" if one["fired_at"] else ""
        note = f" ({one['note']})" if one["note"] else ""
        lines.append(f"{one['name']:18} {one['state']:13} {proof}{last}  {one['path']}{note}")
    if found["hooks_path"]:
        lines.append("core.hooksPath is {value}, set in {origin} ({scope})".format(**found["hooks_path"]))
    lines += [f"{one['file']} is for {one['name']}" for one in found["managers"]]
    lines += [
        f"git's configuration also starts {one['name']}: {', '.join(one['events'])}" for one in found["configured"]
    ]
    for tree in found["worktrees"]:
        if not tree["active"]:
            where = "this worktree" if tree["here"] else f"the worktree {tree['path']}"
            lines.append(f"hooks not active in {where}: {tree['reason']}")
    say(lines, found, as_json)
