"""Why a file exists: file -> agent session -> commit -> task -> need, each step with its evidence. Reads only."""

from __future__ import annotations

import json
from typing import Any

from mlos_sync.app import deriving, freshness, records, sessions
from mlos_sync.app.opening import Index
from mlos_sync.core import ids
from mlos_sync.core.provenance import weigh
from mlos_sync.edge import repo, store
from mlos_sync.errors import UsageError

Row = dict[str, Any]
HOPS = 100  # renames followed back


def why_path(index: Index, path: str, line: int | None = None) -> Row:
    """Everything known of the file at a workspace path; with `line`, commits are narrowed to the one of that line.

    Raises UsageError when the path is no artifact.
    """
    freshness.catch_up(index)
    db = index.db
    found = store.rows(db, "SELECT * FROM artifacts WHERE file_path = ?", (path,))
    if not found:
        found = store.rows(db, "SELECT * FROM artifacts WHERE last_path = ? AND file_path IS NULL", (path,))
    if not found:
        raise UsageError(f"there is no artifact at {path}", "run mlos-sync sync, or check the path")
    artifact = found[0]
    names = earlier_names(db, path)
    commits = [one for name in names for one in _commits(db, name)]
    if line is not None:
        sha = repo.commit_of_line(index.workspace.root, path, line)
        commits = [one for one in commits if one["sha"] == sha]
    tasks = _tasks(db, artifact["id"], commits)
    needs = _needs(db, artifact["id"], tasks, commits)
    return {
        "artifact": artifact,
        "sessions": _sessions(db, artifact, names, line is not None and {one["sha"] for one in commits}),
        "commits": commits,
        "tasks": tasks,
        "needs": needs,
    }


def earlier_names(db: store.Connection, path: str) -> list[str]:
    """The path and the ones that commits, or a move seen by sync, say it had before."""
    names = [path]
    row = db.execute(
        "SELECT last_path FROM artifacts WHERE file_path = ? AND last_path IS NOT NULL", (path,)
    ).fetchone()
    if row:
        names.append(row[0])
    for _ in range(HOPS):
        before = db.execute(
            "SELECT c.old_path FROM commit_changes c JOIN commits k ON k.id = c.commit_id"
            " WHERE c.path = ? AND c.status = 'R' ORDER BY k.committed_at DESC LIMIT 1",
            (names[-1],),
        ).fetchone()
        if not before or before[0] in names:
            break
        names.append(before[0])
    return names


def _commits(db: store.Connection, path: str) -> list[Row]:
    found = []
    for number, sha, subject, at, author, status in db.execute(
        "SELECT k.id, k.sha, k.subject, k.committed_at, k.author, c.status FROM commit_changes c"
        " JOIN commits k ON k.id = c.commit_id WHERE c.path = ? ORDER BY k.committed_at DESC, k.id",
        (path,),
    ).fetchall():
        linked = [name for _, name in _referenced(db, number, "task")]
        found.append(
            {
                "sha": sha, "subject": subject, "at": at, "author": author, "change": status, "tasks": linked,
                "evidence": "declared" if linked else "proved",
            }
        )  # fmt: skip
    return found


def _referenced(db: store.Connection, commit: int, kind: str) -> list[tuple[int, str]]:
    rows = db.execute(
        f"SELECT t.id, t.uid FROM relationships r JOIN {kind}s t ON t.id = r.target_id WHERE r.source_type = 'commit'"
        " AND r.source_id = ? AND r.target_type = ? ORDER BY t.id",
        (commit, kind),
    )
    return [(number, ids.shown(kind, uid)) for number, uid in rows]


def _sessions(db: store.Connection, artifact: Row, names: list[str], only: set[str] | bool) -> list[Row]:
    """Sessions with a successful operation on the file, or that frontmatter names, strongest evidence first."""
    found = []
    agents = deriving.session_agents(db)
    blobs: dict[str, str] = {}
    for name in names:
        blobs = deriving.introduced_blobs(db, name) | blobs
    declared = {
        row[0]
        for row in db.execute(
            "SELECT source_id FROM relationships WHERE target_type = 'artifact' AND target_id = ? AND source_type = 'agent'"
            " AND relationship_type = 'produced' AND (evidence = 'declared' OR metadata LIKE '%frontmatter%')",
            (artifact["id"],),
        )
    }
    for session, (transcript, agent) in agents.items():
        by_path = deriving.placed_claims(db, session, transcript, sessions.WRITING)
        claims = [claim for name in names for claim in by_path.get(name, [])]
        grounds = weigh(claims, artifact["content_hash"], blobs)
        if grounds is None and agent not in declared:
            continue
        if only is not False and (grounds is None or grounds.commit not in only):  # type: ignore[operator]
            continue
        row = records.row_of(db, "agent", db.execute("SELECT uid FROM agents WHERE id = ?", (agent,)).fetchone()[0])
        evidence = (
            grounds.evidence
            if grounds and grounds.evidence == "proved"
            else "declared"
            if agent in declared
            else "matched"
        )
        found.append(
            {
                "session_id": session, "agent": f"agent:{agent}", "tool": row["agent_type"], "model": row["model"],
                "operations": list(grounds.operations) if grounds else [],
                "first_at": claims[0].at if claims else None, "last_at": claims[-1].at if claims else None,
                "transcript": transcript, "turn": grounds.turn if grounds else None,
                "line": grounds.line if grounds else None, "commit": grounds.commit if grounds else None,
                "evidence": evidence,
            }
        )  # fmt: skip
    order = {"proved": 0, "declared": 1, "matched": 2}
    return sorted(found, key=lambda one: (order[one["evidence"]], one["first_at"] or "", one["session_id"]))


def _tasks(db: store.Connection, artifact: int, commits: list[Row]) -> list[Row]:
    numbers = {
        number
        for one in commits
        for (commit,) in db.execute("SELECT id FROM commits WHERE sha = ?", (one["sha"],))
        for number, _ in _referenced(db, commit, "task")
    }
    numbers |= _joined(db, artifact, "task")
    return [row for number in sorted(numbers) for row in store.rows(db, "SELECT * FROM tasks WHERE id = ?", (number,))]


def _joined(db: store.Connection, artifact: int, kind: str) -> set[int]:
    """Records of a kind that an edge, in either direction, ties to the artifact."""
    rows = db.execute(
        "SELECT source_id FROM relationships WHERE source_type = ?1 AND target_type = 'artifact' AND target_id = ?2"
        " UNION SELECT target_id FROM relationships WHERE target_type = ?1 AND source_type = 'artifact' AND source_id = ?2",
        (kind, artifact),
    )
    return {number for (number,) in rows}


def _needs(db: store.Connection, artifact: int, tasks: list[Row], commits: list[Row]) -> list[Row]:
    numbers = {row["need_id"] for row in tasks if row["need_id"] is not None} | _joined(db, artifact, "need")
    for one in commits:
        (commit,) = db.execute("SELECT id FROM commits WHERE sha = ?", (one["sha"],)).fetchone()
        numbers |= {number for number, _ in _referenced(db, commit, "need")}
    return [row for number in sorted(numbers) for row in store.rows(db, "SELECT * FROM needs WHERE id = ?", (number,))]


def why_record(index: Index, text: str) -> Row:
    """The other direction: what a need, task, agent or commit led to."""
    freshness.catch_up(index)
    db = index.db
    kind, key = records.find(db, text)
    row = records.row_of(db, kind, key)
    tasks = {
        "need": lambda: store.rows(db, "SELECT * FROM tasks WHERE need_id = ? ORDER BY id", (row["id"],)),
        "task": lambda: [row],
    }.get(kind, list)()
    needs = (
        [row]
        if kind == "need"
        else [n for t in tasks for n in store.rows(db, "SELECT * FROM needs WHERE id = ?", (t["need_id"],))]
    )
    commits = [row] if kind == "commit" else [c for t in tasks or [] for c in _commits_of(db, "task", t["id"])]
    commits += _commits_of(db, kind, row["id"]) if kind == "need" else []
    made = {("commit", one["id"]) for one in commits} | {(kind, row["id"])} | {("task", one["id"]) for one in tasks}
    artifacts = {path for end in made for path in _artifacts(db, *end)}
    return {"row": row, "needs": needs, "tasks": tasks, "commits": commits, "artifacts": sorted(artifacts)}


def _commits_of(db: store.Connection, kind: str, number: int) -> list[Row]:
    return store.rows(
        db,
        "SELECT k.* FROM relationships r JOIN commits k ON k.id = r.source_id WHERE r.source_type = 'commit'"
        " AND r.target_type = ? AND r.target_id = ? ORDER BY k.committed_at DESC",
        (kind, number),
    )


def _artifacts(db: store.Connection, kind: str, number: int) -> set[str]:
    if kind == "commit":
        rows = db.execute(
            "SELECT a.file_path FROM commit_changes c JOIN artifacts a ON a.file_path = c.path WHERE c.commit_id = ?",
            (number,),
        )
    else:
        rows = db.execute(
            "SELECT a.file_path FROM relationships r JOIN artifacts a ON a.id = CASE r.source_type WHEN 'artifact' THEN"
            " r.source_id ELSE r.target_id END WHERE a.file_path IS NOT NULL AND"
            " ((r.source_type = ?1 AND r.source_id = ?2 AND r.target_type = 'artifact')"
            " OR (r.target_type = ?1 AND r.target_id = ?2 AND r.source_type = 'artifact'))",
            (kind, number),
        )
    return {path for (path,) in rows}


def transcripts(index: Index) -> Row:
    """Sessions, one row each however many files render it, and what is wrong with transcripts."""
    freshness.catch_up(index)
    db = index.db
    found = []
    for path, session, tool, model, title, started, ended in db.execute(sessions.SPEAKING).fetchall():
        files = [
            name
            for (name,) in db.execute("SELECT path FROM transcripts WHERE session_id = ? ORDER BY path", (session,))
        ]
        (claims,) = db.execute("SELECT count(*) FROM claims WHERE transcript = ?", (path,)).fetchone()
        found.append(
            {
                "session_id": session, "tool": tool, "model": model, "title": title, "files": files,
                "started_at": started, "ended_at": ended, "claims": claims,
            }
        )  # fmt: skip
    problems = db.execute(
        "SELECT subject, message FROM observations WHERE kind = 'file' AND message LIKE 'transcript, line%'"
    )
    told = [
        {"file": path, "line": int(text.split(" line ")[1].split(":")[0]), "message": text} for path, text in problems
    ]
    return {"sessions": found, "problems": told}


def transcript_claims(index: Index, session: str) -> Row:
    """What one session did: its claims, each with the evidence that the index has for it."""
    freshness.catch_up(index)
    db = index.db
    known = {row[1]: row[0] for row in db.execute(sessions.SPEAKING) if row[1].startswith(session)}
    if len(known) != 1:
        raise UsageError(
            f"{'several sessions start' if known else 'no session starts'} with {session}",
            "list them: mlos-sync transcripts",
        )
    session, transcript = next(iter(known.items()))
    claims = []
    for row in store.rows(db, "SELECT * FROM claims WHERE transcript = ? ORDER BY number", (transcript,)):
        content = db.execute("SELECT content_hash FROM artifacts WHERE file_path = ?", (row["path"],)).fetchone()
        blobs = deriving.introduced_blobs(db, row["path"]) if row["path"] and row["blobs"] else {}
        commit = next((blobs[blob] for blob in row["blobs"].split() if blob in blobs), None)
        proved = commit is not None or (content is not None and content[0] in row["hashes"].split())
        evidence = "unknown" if not row["succeeded"] or row["path"] is None else "proved" if proved else "matched"
        claims.append(
            {name: row[name] for name in ("turn", "line", "at", "operation", "tool", "raw_path", "path")}
            | {"succeeded": bool(row["succeeded"]), "evidence": evidence, "commit": commit}
        )
    return {"session": session, "transcript": transcript, "claims": json.loads(json.dumps(claims))}
