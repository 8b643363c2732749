"""`sync`, `watch`, `status`: the index against the work tree, once, continuously, and how it stands."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlos_sync.cli import hooks
from mlos_sync.cli.common import Json, open_here, say, settings, silence, takes

if TYPE_CHECKING:
    from mlos_sync.app.sync import Report
    from mlos_sync.app.watching import Look


def register(app: typer.Typer) -> None:
    """Hang these commands on the program."""
    for command in (sync, watch, status):
        app.command()(command)


def sync(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH]...", help="Only these files and folders.")
    ] = None,
    accept_deletes: Annotated[bool, typer.Option(help="Take a mass disappearance for what it is.")] = False,
    as_json: Json = False,
) -> None:
    """Bring the index to the state of the files, transcripts, commits and journal. Exit 1: something was skipped."""
    from mlos_sync.app import sync as use_case
    from mlos_sync.cli.common import inside, progress

    index = open_here()
    with progress("hashing") as told:
        scope = tuple(inside(index.workspace, path) for path in paths or ())
        report = use_case.sync(index, use_case.reach_of(index, scope), accept_deletes=accept_deletes, progress=told)
    result = _result(report)
    say(_lines(result), result, as_json)
    if report.skipped:
        raise typer.Exit(1)


def watch(
    compiles: Annotated[
        bool, typer.Option("--compile", help="Also write views that are out of date, when the tree is quiet.")
    ] = False,
    log: Annotated[
        str | None, typer.Option("--log", metavar="FILE", help="Write there instead of to the terminal, at most 2 MB.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Sync continuously, in the foreground: now, after every batch of changes, and all of it from time to time."""
    import signal

    from mlos_sync.app import watching

    if log is not None:
        from mlos_sync.cli.bounded import to_log

        to_log(log)
    index = open_here()  # a missing index is built
    index.db.close()
    came: list[int] = []

    def interrupt(number: int, _: object) -> None:
        came.append(number)  # also for the loop: what is raised while an object is freed, Python drops
        raise KeyboardInterrupt

    # TERM and HUP end it as Ctrl-C does; a transaction that was open is rolled back. `nohup` has HUP ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        for look in watching.looks(settings.folder, compiles=compiles, ended=lambda: bool(came)):
            if not _is_echo(look, index.workspace.absolute):
                with contextlib.suppress(OSError):  # a full disk below our output is no reason to stop
                    _tell(look, as_json=as_json)
    except KeyboardInterrupt:
        pass
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends already
    for stream in (sys.stdout, sys.stderr):
        if not takes(stream):  # a full pipe, a terminal after Ctrl-S: whoever waits there would wait for ever
            silence(stream)
    say("stopped", error=True)


def status(
    wait: Annotated[
        bool,
        typer.Option("--wait", help="First wait until everything written before is in the index; sync if need be."),
    ] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 when the index is behind the files.")] = False,
    as_json: Json = False,
) -> None:
    """How the index stands: freshness, counts, watcher, hooks, pending events, observations. Changes nothing."""
    from mlos_sync.app import status as use_case

    index = open_here()
    if wait:
        settle(index)
    found = use_case.status(index)
    changes = found["changes"]
    behind = ", ".join(f"{len(changes[key])} {key}" for key in changes if changes[key])
    lines = [
        f"index     {'fresh' if found['fresh'] else f'behind: {behind} (run mlos-sync sync)'}",
        f"head      {(found['head'] or 'unborn')[:12]}",
        "counts    " + ", ".join(f"{found[k]} {k}" for k in ("artifacts", "needs", "tasks", "agents", "relationships")),
        f"pending   {found['pending_events']} events in no commit of this branch yet"
        + (
            f", {found['unnamed_events']} of them only in commits that nothing names" if found["unnamed_events"] else ""
        ),
        *_watcher_lines(found["watcher"]),
        f"hooks     {found['hooks_missing'] or hooks.told(found['hooks'])}",
        f"conflicts {found['conflicts']}",
        *(f"note      {one['subject']}: {one['message']}" for one in found["observations"]),
    ]
    say(lines, found, as_json)
    if exit_code and not found["fresh"]:
        raise typer.Exit(1)


def settle(index: Any) -> None:
    """Wait until everything written before is in the index."""
    from mlos_sync.app import awaiting

    awaiting.settle(index)


def _watcher_lines(found: dict[str, Any]) -> list[str]:
    """What the watcher says of itself: since when, what it waits for, what it does not see and the cure, its last errors."""
    if not found["running"]:
        return ["watcher   none (mlos-sync watch; not needed, every command looks for itself)"]
    state = {
        "live": "live",
        "waiting": f"waits for {found['waits_for']}",
        "away": "the workspace went away",
        "failing": "tries again what failed",
        "polling": "hears of nothing, looks from time to time",
        "stopped": f"stopped (kill -CONT {found['pid']} lets it go on)",
    }
    line = f"watcher   {state.get(found['state'] or '', 'starting')}, process {found['pid']} since {found['since']}"
    line += f", behind since {found['behind']}" if found["behind"] else ""
    if found["silent"]:
        line += f", no sign of it for {found['silent']} s: at work on something large, or nobody takes its output"
    coverage = found["coverage"] or {}
    lines = [line]
    if coverage.get("polled"):
        lines.append(
            f"          watches {coverage['watched']} of {coverage['folders']} folders, looks at the rest from time to time"
        )
        lines += [f"          {one['path'] or 'all'}: {one['reason']}" for one in coverage.get("parts", [])[:5]]
        lines += [f"          {coverage['cure']}"] if coverage.get("cure") else []
    rescans = found["rescans"] or {}
    if rescans:
        told = ", ".join(f"{reason} ({count})" for reason, count in sorted(rescans.items()))
        lines.append(f"          looked at everything again: {told}")
    return [*lines, *(f"          {words}" for words in (found["errors"] or [])[:2])]


def _is_echo(look: Look, absolute: Callable[[str], bytes]) -> bool:
    """Whether nothing but the file that our own lines go to has changed (`watch > log` in the workspace): a line about that
    would make another one, for ever."""
    changes = look.report.changes if look.report is not None else None
    if changes is None or len(changes.modified) != 1 or changes.added or changes.moved or changes.deleted:
        return False
    try:
        return os.path.samestat(os.stat(absolute(changes.modified[0])), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):
        return False


def _tell(look: Look, *, as_json: bool) -> None:
    from mlos_sync.app import watching

    if look.problem is not None:
        say([f"mlos-sync: {look.problem.message}", f"  hint: {look.problem.hint}"], error=True)
    elif look.report is not None:
        result = _result(look.report) | {"git": look.git, "reason": look.reason, "edited": look.edited}
        reason = look.reason if look.reason not in watching.ROUTINE else None
        if as_json or look.report.changes or reason or look.edited:
            lines = _lines(result)
            why = ([reason] if reason else []) + (["git moved the tree"] if look.git and look.report.changes else [])
            lines[-1] = f"{', '.join(why)}: {lines[-1]}" if why else lines[-1]
            say([*_edited(look), *lines], result, as_json)
    elif look.edited:
        say(_edited(look), {"edited": look.edited}, as_json)
    if look.notice:
        say(look.notice, {"notice": look.notice}, as_json)
    if look.compiled:
        say([f"compiled {path}" for path in look.compiled], {"compiled": look.compiled}, as_json)


def _edited(look: Look) -> list[str]:
    return [f"edited by hand: {path} (mlos-sync adopt, or compile --discard)" for path in look.edited]


def _result(report: Report) -> dict[str, Any]:
    changes = report.changes
    return {
        "added": changes.added, "modified": changes.modified, "moved": [{"from": a, "to": b} for a, b in changes.moved],
        "deleted": changes.deleted, "unchanged": changes.unchanged,
        "skipped": skipped(report),
        "seconds": round(report.seconds, 3),
    }  # fmt: skip


def skipped(report: Report) -> list[dict[str, str]]:
    """What could not be taken in whole, for JSON."""
    return [{"path": path, "reason": reason} for path, reason in report.skipped.items()]


def _lines(result: dict[str, Any], most: int = 20) -> list[str]:
    lines = []
    for mark, key in (("+", "added"), ("~", "modified"), ("-", "deleted")):
        lines += [f"{mark} {path}" for path in result[key][:most]]
        if len(result[key]) > most:
            lines.append(f"{mark} … and {len(result[key]) - most} more")
    lines += [f"> {one['from']} -> {one['to']}" for one in result["moved"][:most]]
    lines += [f"! {one['path']}: {one['reason']}" for one in result["skipped"]]
    counts = ", ".join(f"{len(result[key])} {key}" for key in ("added", "modified", "moved", "deleted"))
    left_out = f", {len(result['skipped'])} skipped" if result["skipped"] else ""
    return [*lines, f"{counts}, {result['unchanged']} unchanged{left_out} ({result['seconds']:.2f} s)"]
