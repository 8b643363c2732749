"""Commands that explain and compile: why, transcripts, compile, verify, pack."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlos_sync.cli.common import Json, inside, open_here, say, settings, table
from mlos_sync.cli.syncing import settle

transcripts = typer.Typer(help="Agent sessions, as their transcripts tell them.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Hang these commands on the program."""
    app.add_typer(transcripts, name="transcripts")
    app.command()(why)
    app.command("compile")(compile_views)
    app.command()(verify)
    app.command()(pack)


def why(
    subject: Annotated[str, typer.Argument(metavar="PATH|PATH:LINE|REF")],
    wait: Annotated[
        bool,
        typer.Option("--wait", help="First wait until everything written before is in the index; sync if need be."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Why a file exists: session, commit, task, need, each with its evidence. A record: what it led to."""
    from mlos_sync.app import finding
    from mlos_sync.app import why as use_case
    from mlos_sync.core.ids import parse
    from mlos_sync.errors import UsageError

    index = open_here()
    if wait:
        settle(index)
    if subject.startswith("session:"):
        subject = use_case.session_agent(index, subject.removeprefix("session:"))
    reference = parse(subject)
    if reference is not None and reference.kind in ("need", "task", "agent", "commit"):
        found = use_case.why_record(index, finding.lasting(index, subject))
        say(_record_lines(found), found, as_json)
        return
    text = subject.removeprefix("artifact:")
    name, colon, last = text.rpartition(":")
    line = int(last) if colon and last.isdecimal() else None
    path = inside(index.workspace, name if line is not None else text)
    try:
        found = use_case.why_path(index, path, line)
    except UsageError:
        finding.found(index.db, f"artifact:{path}")  # raises with the nearest names
        raise
    say(_path_lines(found, line), found, as_json)


def _path_lines(found: dict[str, Any], line: int | None = None) -> list[str]:
    artifact = found["artifact"]
    place = artifact["file_path"] or f"{artifact['last_path']} (gone)"
    lines = [f"{place}  {artifact['artifact_type']}  {(artifact['content_hash'] or '')[:12]}"]
    for one in found["sessions"]:
        when = f" at {one['last_at']}" if one["last_at"] else ""
        by = {"link": "linked by hand", "source_transcript": "named in frontmatter"}.get(
            one["declared_by"] or "", f"named by a commit ({one['declared_by']})"
        )
        did = ", ".join(one["operations"]) or by
        lines.append(f"  session  {_session_name(one)}: {did}{when}  [{one['evidence']}]")
        where = [_place(one)] if one["transcript"] else []
        where += [f"commit {one['commit'][:12]}"] if one["commit"] else []
        lines += [f"           {'; '.join(where)}"] if where else []
    if not found["sessions"]:
        known = "no session is known for this line" if line else "no transcript here claims this file"
        lines.append(f"  session  unknown: {known}")
    for one in found["commits"]:
        linked = f" -> {', '.join(one['tasks'])}" if one["tasks"] else ""
        lines.append(f"  commit   {one['sha'][:12]} {one['change']} {one['subject']}{linked}  [{one['evidence']}]")
        carried = {name: how for name, how in one["task_evidence"].items() if how != "declared"}
        lines += [f"           {name}, by content of a rewritten commit  [{how}]" for name, how in carried.items()]
        lines += [f"           of session {name}  [{how}]" for name, how in one["session_evidence"].items()]
    if not found["commits"]:
        lines.append("  commit   none yet")
    return lines + _task_and_need_lines(found)


def _session_name(one: dict[str, Any]) -> str:
    model = f" ({one['model']})" if one["model"] else ""
    return f"{one['tool']}{model} {one['session_id'] or one['agent']}"


def _place(one: dict[str, Any]) -> str:
    """Where to look: the transcript, the line of the result, the turn."""
    line = f":{one['line']}" if one["line"] else ""
    return f"{one['transcript']}{line}" + (f", turn {one['turn']}" if one["turn"] else "")


def _task_and_need_lines(found: dict[str, Any]) -> list[str]:
    from mlos_sync.core.ids import shown

    def line(kind: str, row: dict[str, Any], words: str) -> str:
        closed = f" by {row['closed_by'][:12]}" if row["closed_by"] else ""
        return f"  {kind:8} {shown(kind, row['uid'])} ({kind}:{row['id']}) {row['status']}{closed}: {words}"

    lines = [line("task", task, task["description"]) for task in found["tasks"]]
    return lines + [line("need", need, need["title"]) for need in found["needs"]]


def _record_lines(found: dict[str, Any]) -> list[str]:
    lines = [f"  session  {_session_name(one)}" for one in found["sessions"]]
    lines += _task_and_need_lines(found)
    lines += [f"  commit   {c['sha'][:12]} {c['subject']}" for c in found["commits"]]
    for one in found["files"]:
        did = f": {', '.join(one['operations'])}" if one["operations"] else ""
        lines.append(f"  file     {one['path']}{did}  [{one['evidence']}]")
    return lines or ["nothing is known to follow from it yet"]


@transcripts.callback()
def transcripts_list(context: typer.Context, as_json: Json = False) -> None:
    """List sessions, one row each however many files render it, and the health of transcripts."""
    from mlos_sync.app import health

    if context.invoked_subcommand is not None:
        return
    found = health.transcripts(open_here())
    rows = [
        [s["session_id"], s["tool"], s["model"], s["started_at"], len(s["files"]), s["claims"], s["title"]]
        for s in found["sessions"]
    ]
    lines = (
        table(rows, ["session", "tool", "model", "started", "files", "claims", "title"]) if rows else ["no sessions"]
    )
    lines += [f"! {p['file']}{':' + str(p['line']) if p['line'] else ''}: {p['message']}" for p in found["problems"]]
    say(lines + (_health_lines(found["health"]) if rows else []), found, as_json)


def _health_lines(health: dict[str, Any]) -> list[str]:
    """The health of transcripts in a few lines; `--json` has it whole."""
    grades = ", ".join(f"{count} {grade}" for grade, count in health["evidence"].items())
    lines = ["", f"artifacts by evidence: {grades}"]
    counts = {
        "sessions in several files": len(health["duplicates"]),
        "shorter copies": len(health["truncated"]),
        "paths that are not clear": len(health["ambiguous"]),
        "edited files that are no artifacts": len(health["edits_without_artifact"]),
        "artifacts without a session": health["artifacts_without_session"]["count"],
    }
    lines.append("; ".join(f"{name}: {count}" for name, count in counts.items()))
    rows = [[m["month"], m["sessions"], m["commits"], m["commits_with_session"]] for m in health["coverage"]]
    return [*lines, "", *table(rows[-12:], ["month", "sessions", "commits", "of them with a session"])]


@transcripts.command("show")
def transcripts_show(session: Annotated[str, typer.Argument(metavar="SESSION")], as_json: Json = False) -> None:
    """What one session did, claim by claim."""
    from mlos_sync.app import why as use_case

    found = use_case.transcript_claims(open_here(), session)
    names = ["turn", "at", "operation", "path", "result", "evidence"]
    rows = [
        [
            c["turn"],
            c["at"],
            c["operation"],
            c["path"] or c["raw_path"],
            "ok" if c["succeeded"] else "failed",
            c["evidence"],
        ]
        for c in found["claims"]
    ]
    say(table(rows, names) if rows else ["no claims"], found, as_json)


def compile_views(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[VIEW]...", help="Paths of views; default is all.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say which would change. Exit 1 if any.")] = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="Overwrite hand edits; they are kept in the git directory.")
    ] = False,
    resolve: Annotated[
        bool,
        typer.Option("--resolve", help="After a merge: also those in conflict, and tell git that they are merged."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the compiled views that changed. Stops at one that was edited by hand."""
    from mlos_sync.app import compiling, merging, sync
    from mlos_sync.app.viewing import ALLOW, WITHHELD

    index = open_here()
    sync.sync(index)
    chosen = tuple(inside(index.workspace, name) for name in names or ())
    for path in compiling.withheld(index, chosen):
        say([f"{path} {WITHHELD} ({ALLOW})"], None, False, error=True)
    if check:
        plan = compiling.plan(index, chosen)
        stale = [one.path for one in plan if one.state in ("stale", "missing")]
        edited = [one.path for one in plan if one.state == "edited"]
        say(
            [f"stale   {p}" for p in stale] + [f"edited  {p}" for p in edited] or ["all views are current"],
            {"stale": stale, "edited": edited},
            as_json,
        )
        raise typer.Exit(1 if stale or edited else 0)
    written, unchanged, unlisted = compiling.compile_views(index, chosen, discard=discard, resolve=resolve)
    if written:
        sync.register(index, written)
        for path in merging.unmarked(index.workspace):
            say([f"{path} is not marked in .gitattributes, so merges of it may conflict: mlos-sync init"], error=True)
    say(
        [f"wrote      {p}" for p in written] + [f"unchanged  {p}" for p in unchanged],
        {"written": list(written), "unchanged": unchanged, "unlisted": unlisted},
        as_json,
    )
    if unlisted:
        one = len(unlisted) == 1
        who = f"{unlisted[0]} is" if one else f"{unlisted[0]} and {len(unlisted) - 1} more are"
        say(f"{who} not listed, as git does not track {'it' if one else 'them'} yet: git add, then compile", error=True)


def verify(
    between: Annotated[str | None, typer.Option("--range", metavar="A..B", help="Each commit of a range.")] = None,
    for_github: Annotated[
        bool | None,
        typer.Option(
            "--github/--no-github",
            help="Print findings as GitHub's workflow commands, which it shows beside the file; by itself where"
            " GITHUB_ACTIONS is true.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """The guard's check and a recompile, on the tracked tree (HEAD). For CI: exit 1 on findings."""
    from mlos_sync.app import verifying
    from mlos_sync.app.opening import workspace_of
    from mlos_sync.app.viewing import ALLOW, WITHHELD
    from mlos_sync.cli import github

    workspace = workspace_of(settings.folder)
    findings = verifying.verify(workspace) if between is None else verifying.verify_range(workspace, between)
    withheld = verifying.withheld(workspace, between.rpartition("..")[2] or "HEAD" if between else "HEAD")
    told = [{"path": f.path, "kind": f.kind, "message": f.message, "fix": f.fix} for f in findings]
    if not as_json and (for_github or (for_github is None and github.is_here())):
        lines = [github.warning(path, f"{WITHHELD} ({ALLOW})") for path in withheld]
        lines += [github.error(found) for found in findings]
    else:
        for path in withheld:
            say([f"{path} {WITHHELD} ({ALLOW})"], None, False, error=True)
        lines = []
        for found in findings:
            lines.append(f"{found.kind:9} {found.path}: {found.message}")
            lines += [f"          {line}" for line in found.fix.splitlines()]
    say(lines or ["ok"], {"ok": not findings, "findings": told}, as_json)
    if findings:
        raise typer.Exit(1)


def pack(
    needs: Annotated[
        list[str] | None, typer.Option("--need", metavar="REF", help="A need the pack is for; may repeat.")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="DIR", help="An empty or new folder.")] = None,
    agent: Annotated[str, typer.Option("--agent", metavar="TYPE", help="The agent's type.")] = "agent",
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="DIR", help="Say which files of a pack have changed since. Exit 1 if any."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Assemble a context pack and register the agent it is for; or say what has changed since one was made."""
    from mlos_sync.app import packing, records, sync
    from mlos_sync.errors import UsageError

    index = open_here()
    sync.sync(index)
    if status is not None:
        found = packing.changed(index, status)
        say([f"{one['state']:8} {one['path']}" for one in found] or ["as it was"], {"changed": found}, as_json)
        raise typer.Exit(1 if found else 0)
    if not needs or out is None:
        raise UsageError("a pack needs --need and --out", "mlos-sync pack --need need:1 --out ../pack")
    result = packing.pack(index, [records.find(index.db, ref, "need") for ref in needs], agent, out)
    say([f"agent:{result['agent']['id']}  {out}", *(f"  {path}" for path in result["files"])], result, as_json)
