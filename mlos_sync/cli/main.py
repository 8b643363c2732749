"""The command line: parse, call, print. Nothing else is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlos_sync import __version__
from mlos_sync.cli import adopt, agents, current, data, edges, hooks, imports, past, service, syncing, views
from mlos_sync.cli.common import Json, open_here, put, say, settings, silence
from mlos_sync.cli.narrowing import only_what_is_asked_for, quiet_first
from mlos_sync.cli.syncing import skipped
from mlos_sync.errors import MlosError

if TYPE_CHECKING:
    pass

app = typer.Typer(
    name="mlos-sync",
    help="Git-native file-sync indexer: every file says why it exists, every record survives a clone.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Options are named like columns, with dashes; somebody who types a column's name means it.
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: name.replace("_", "-"),
    },
)
data.register(app)
current.register(data.GROUPS["task"])
edges.register(app)
past.register(app)
views.register(app)
adopt.register(app)
imports.register(app)
hooks.register(app)
syncing.register(app)
service.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"mlos-sync {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    folder: Annotated[str, typer.Option("-C", metavar="DIR", help="Work as if started in DIR.")] = ".",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results only, no progress or notes.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    settings.folder = folder
    settings.quiet = quiet


@app.command()
def init(
    folder: Annotated[
        str | None, typer.Argument(metavar="[DIR]", help="The repository; default is the current one.")
    ] = None,
    git_init: Annotated[bool, typer.Option("--git-init", help="Outside a repository: make one first.")] = False,
    with_agents: Annotated[
        bool, typer.Option("--agents", help="Also let Claude Code ask before it edits a compiled file; shown first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --agents: change its settings without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Make a git repository a workspace: .mlos/, database, hooks. Running it again changes nothing that stands. Exit 1: the
    settings of an agent are not changed yet."""
    from mlos_sync.app import agent_hooks, setup

    where = folder or settings.folder
    wanted = agent_hooks.plan(where) if with_agents else None  # refuses before anything is made
    made = setup.initialise(where, make_repository=git_init or _offer_repository(where))
    states = [{"name": h.name, "path": h.path, "state": h.state} for h in made.hooks]
    result: dict[str, Any] = {"workspace": made.workspace.root, "database": made.workspace.database, "hooks": states}
    lines = [f"workspace  {made.workspace.root}", f"database   {made.workspace.database}"]
    lines += [f"wrote      {path}" for path in made.wrote]
    lines += [f"hook       {h.name}: {h.state}" for h in made.hooks]
    for note in made.notes:
        say(note, error=True)
    if wanted is not None:
        result["agents"] = agents.settle(made, wanted, yes=yes, as_json=as_json)
        lines.append(f"agents     {result['agents']['path']}: {result['agents']['state']}")
    say([*lines, "next: mlos-sync sync, then commit .mlos and .gitattributes"], result, as_json)
    if wanted is not None and result["agents"]["state"] == agent_hooks.PROPOSED:
        raise typer.Exit(1)


def _offer_repository(folder: str) -> bool:
    from mlos_sync.app import setup

    if setup.is_in_repository(folder) or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return typer.confirm(f"{folder} is in no git repository. Run git init there?", err=True)


@app.command()
def uninstall(as_json: Json = False) -> None:
    """Give back every byte but the journal: hooks, marked lines, database, config."""
    from mlos_sync.app import setup

    removed = setup.uninstall(settings.folder)
    kept = [] if ".mlos/journal" in removed else ["kept     .mlos/journal"]
    say([f"removed  {path}" for path in removed] + kept, {"removed": removed}, as_json)


@app.command()
def rebuild(
    check: Annotated[bool, typer.Option("--check", help="Only compare a new index with the live one.")] = False,
    with_hooks: Annotated[bool, typer.Option("--hooks", help="Install the git hooks of this clone too.")] = False,
    accept_deletes: Annotated[bool, typer.Option(help="Take a mass disappearance for what it is.")] = False,
    as_json: Json = False,
) -> None:
    """Make the database anew beside the old one and swap it in. Works right after `git clone`."""
    from mlos_sync.app import setup
    from mlos_sync.cli.common import progress

    if check:
        differences = setup.check_rebuild(settings.folder)
        result: dict[str, Any] = {"identical": not differences, "differences": differences}
        say(differences or ["identical"], result, as_json)
        raise typer.Exit(1 if differences else 0)
    with progress("hashing") as told:
        artifacts, events, report, missing = setup.rebuild_here(
            settings.folder, with_hooks=with_hooks, accept_deletes=accept_deletes, progress=told
        )
    for kept in setup.damaged_indexes(settings.folder):
        say(f"an old index that could not be saved in whole is kept: {kept}", error=True)
    if missing:
        say(f"hooks {missing}", error=True)
    left_out = skipped(report)
    result = {"artifacts": artifacts, "events": events, "skipped": left_out, "seconds": round(report.seconds, 3)}
    lines = [f"! {one['path']}: {one['reason']}" for one in left_out]
    say([*lines, f"{artifacts} artifacts, {events} events ({report.seconds:.2f} s)"], result, as_json)
    if left_out:
        raise typer.Exit(1)


@app.command()
def dump(
    canonical: Annotated[bool, typer.Option("--canonical", help="Every shared table as sorted, stable text.")] = False,
) -> None:
    """Print the shared state. Equal text means equal state."""
    from mlos_sync.app import dumping, freshness
    from mlos_sync.errors import UsageError

    if not canonical:
        raise UsageError("there is one form of dump", "mlos-sync dump --canonical")
    index = open_here()
    freshness.catch_up(index)
    put(sys.stdout, dumping.canonical(index.db))


@app.command()
def publish(as_json: Json = False) -> None:
    """Write pending events as a segment and stage it, for a commit of records alone."""
    from mlos_sync.app import publishing

    done = publishing.publish(open_here())
    text = (
        f"staged {done.segment} with {done.events} events; git commit takes it"
        if done.segment
        else "nothing is pending"
    )
    say([text], {"segment": done.segment, "events": done.events}, as_json)


def main() -> None:
    """Run the program; the one place that turns errors into messages and exit codes."""
    _open_closed_streams()
    sys.argv[1:] = quiet_first(sys.argv[1:])
    try:
        only_what_is_asked_for(app, sys.argv[1:])()
        sys.stdout.flush()
    except MlosError as error:
        _fail(error.message, error.hint, error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted; what was written is whole", "", 130)
    except Exception as error:
        if os.environ.get("MLOS_SYNC_DEBUG"):
            raise
        told = _told(error)
        silence(sys.stdout)
        _fail(*told)


def _open_closed_streams() -> None:
    """A caller may have closed our descriptors (`>&-`): what we open next must not become our output."""
    for number, name, mode in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_WRONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, mode)
            if descriptor != number:
                os.dup2(descriptor, number)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8"))


def _told(error: Exception) -> tuple[str, str, int]:
    """Message, hint and exit code of an error that is not ours."""
    import sqlite3

    from mlos_sync.core.journal import BadLineError

    if isinstance(error, BadLineError):
        return f"the index: {error}", "run mlos-sync rebuild", 3
    if isinstance(error, sqlite3.DatabaseError) or (
        isinstance(error, UnicodeDecodeError) and error.encoding == "utf-8"
    ):
        return f"the index: {error}", "if it happens again: mlos-sync rebuild", 3
    if isinstance(error, OSError):
        return f"{error.filename or 'the system'}: {error.strerror or error}", "mend the cause, then run it again", 3
    return (
        f"this is a bug: {type(error).__name__}: {error}",
        "please report it with the output of MLOS_SYNC_DEBUG=1",
        70,
    )


def _fail(message: str, hint: str, code: int) -> None:
    try:
        say(f"mlos-sync: {message}", error=True)
        if hint:
            say(f"  hint: {hint}", error=True)
    except OSError:
        silence(sys.stderr)  # a full disk, say: the exit code still tells, if nothing is left to be flushed at the end
    sys.exit(code)


if __name__ == "__main__":
    main()
