"""`service`: the watcher as a user service, shown before it is written."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mlos_sync.cli.common import Json, say, settings

GROUP = typer.Typer(no_args_is_help=True, help="Run `watch` in the background: a systemd user unit, a launchd agent.")
Manager = Annotated[
    str | None, typer.Option("--manager", metavar="NAME", help="systemd or launchd; default is the system's.")
]
Compiles = Annotated[bool, typer.Option("--compile", help="Have it compile views that are out of date.")]


def register(app: typer.Typer) -> None:
    """Hang these commands on the program."""
    app.add_typer(GROUP, name="service")
    for command in (install, uninstall, status):
        GROUP.command()(command)


def install(
    yes: Annotated[bool, typer.Option("--yes", help="Write and start it, without asking.")] = False,
    compiles: Compiles = False,
    manager: Manager = None,
    as_json: Json = False,
) -> None:
    """Show the service of this worktree; on yes write it and start it. Exit 1: not written, or not started."""
    from mlos_sync.app import serving
    from mlos_sync.app.opening import workspace_of

    service = serving.plan(workspace_of(settings.folder), manager, compiles=compiles)
    stands = serving.installed(service) == service.text
    if not as_json and not stands:
        say([f"# {service.path}", *service.text.splitlines(), *(f"$ {' '.join(one)}" for one in service.commands)])
    asks = not (yes or stands or as_json) and sys.stdin.isatty() and sys.stderr.isatty()
    if not (yes or stands or (asks and typer.confirm("Write and start it?", err=True))):
        say(f"mlos-sync: {service.path} was not written", error=True)
        say("  hint: to do what is shown: mlos-sync service install --yes", error=True)
        if as_json:
            say([], {"path": service.path, "text": service.text, "state": "proposed", "problems": []}, True)
        raise typer.Exit(1)
    problems = serving.install(service)
    for words in problems:
        say(f"mlos-sync: {words}", error=True)
    result = {"path": service.path, "text": service.text, "state": "installed", "problems": problems}
    say([f"installed  {service.path}", f"log        {service.log}"], result, as_json)
    if problems:
        raise typer.Exit(1)


def uninstall(manager: Manager = None, as_json: Json = False) -> None:
    """Stop the service of this worktree and take it away."""
    from mlos_sync.app import serving
    from mlos_sync.app.opening import workspace_of

    service = serving.plan(workspace_of(settings.folder), manager)
    problems = serving.uninstall(service)
    for words in problems:
        say(f"mlos-sync: {words}", error=True)
    say([f"removed  {service.path}"], {"path": service.path, "problems": problems}, as_json)


def status(manager: Manager = None, as_json: Json = False) -> None:
    """Whether the service is installed, as this version would write it, and whether a watcher runs. Exit 1: none is."""
    from mlos_sync.app import serving
    from mlos_sync.app.opening import workspace_of

    workspace = workspace_of(settings.folder)
    found = serving.state(workspace, serving.plan(workspace, manager))
    word = "installed" if found["current"] else "of another version or place: mlos-sync service install"
    lines = [
        f"service  {word if found['installed'] else 'not installed (mlos-sync service install)'}",
        f"file     {found['path']}",
        f"watcher  {'runs' if found['running'] else 'does not run'}",
        f"log      {found['log']}",
    ]
    say(lines, found, as_json)
    if not found["installed"]:
        raise typer.Exit(1)
