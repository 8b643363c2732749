"""Why a file exists: file -> agent session -> commit -> task -> need, each step with its evidence; and from each of these
to the others. Reads only."""

from __future__ import annotations

import json
from typing import Any

from mlos_sync.app import freshness, noting, records, sessions, weighing
from mlos_sync.app.opening import Index
from mlos_sync.core import ids
from mlos_sync.core.provenance import STRENGTH, PlacedClaim, Proof
from mlos_sync.core.transcripts.replay import WRITING
from mlos_sync.edge import repo, store
from mlos_sync.errors import RefusedError, UsageError

Row = dict[str, Any]
Only = set[str] | None  # commits that an answer is narrowed to; None for all


def why_path(index: Index, path: str, line: int | None = None) -> Row:
    """Everything known of the file at a workspace path; with `line`, narrowed to the commit of that line and to the
    sessions whose content it took. Raises UsageError when the path is no artifact."""
    freshness.catch_up(index)
    db = index.db
    found = store.rows(db, "SELECT * FROM artifacts WHERE file_path = ?", (path,))
    if not found:
        found = store.rows(db, "SELECT * FROM artifacts WHERE last_path = ? AND file_path IS NULL", (path,))
    if not found:
        raise UsageError(f"there is no artifact at {path}", "run mlos-sync sync, or check the path")
    artifact = found[0]
    names = weighing.names_before(db, path)
    commits = [one for name in names for one in _commits(db, name, names)]
    only: Only = None
    origin = None
    if line is not None:
        origin = repo.origin_of_line(index.workspace.root, path, line)
        commits = [one for one in commits if origin and one["sha"] == origin[0]]
        only = {origin[0]} if origin else set()
        if origin is None and (line < 1 or any(one["sha"] for one in _commits(db, path, names))):
            raise UsageError(f"HEAD has no line {line} of {path}", "lines are those of the last commit, from 1")
    tasks = _tasks(db, artifact["id"], commits)
    return {
        "artifact": artifact,
        "sessions": _by_note(index, _sessions(db, artifact["id"], only), origin),
        "commits": commits,
        "tasks": tasks,
        "needs": _needs(db, artifact["id"], tasks, commits),
    }


def why_record(index: Index, text: str) -> Row:
    """The other directions: what a need, a task, an agent's session or a commit led to, and what led to it."""
    freshness.catch_up(index)
    db = index.db
    kind, key = records.find(db, text)
    row = records.row_of(db, kind, key)
    number = row["id"]
    if kind == "agent":
        commits = [_commit_row(db, commit) | about for commit, about in _made(db, number, "commit")]
    elif kind == "commit":
        commits = [row]
    else:
        commits = []
    tasks = _tasks_of(db, kind, row, commits)
    if kind in ("need", "task"):
        commits = [one for task in tasks for one in _commits_of(db, "task", task["id"])]
        commits += _commits_of(db, "need", number) if kind == "need" else []
    commits = list({one["sha"]: one for one in commits}.values())
    needs = {n["id"]: n for t in tasks for n in store.rows(db, "SELECT * FROM needs WHERE id = ?", (t["need_id"],))}
    needs |= {number: row} if kind == "need" else {}
    for one in commits if kind in ("agent", "commit") else ():
        needs |= {n: record_row(db, "need", n) for n, *_ in _referenced(db, one["id"], "need")}
    files = _files(db, kind, number, commits, tasks)
    agents = {number} if kind == "agent" else {agent for one in commits for agent, *_ in _makers(db, one["id"])}
    return {
        "row": row,
        "sessions": [one for agent in sorted(agents) for one in _told(db, agent)],
        "needs": [needs[n] for n in sorted(needs)],
        "tasks": tasks,
        "commits": commits,
        "artifacts": sorted(files),
        "files": [{"path": path, **files[path]} for path in sorted(files)],
    }


def session_agent(index: Index, text: str) -> str:
    """The agent reference of the one session whose id begins so. Raises UsageError and RefusedError."""
    freshness.catch_up(index)
    found = sorted(one for one in sessions.agents(index.db).items() if one[0].startswith(text))
    exact = [one for one in found if one[0] == text] or found
    if not exact:
        raise UsageError(f"no session starts with {text}", "list them: mlos-sync transcripts")
    if len(exact) > 1:
        raise RefusedError(f"several sessions start with {text}", "list them: mlos-sync transcripts")
    return f"agent:{exact[0][1]}"


# --- sessions of a file


def _by_note(index: Index, found: list[Row], origin: tuple[str, str, int] | None) -> list[Row]:
    """Sessions of a line, narrowed to the one that a note says wrote it, where a note says anything of that line."""
    told = noting.writers_of_line(index, *origin) if origin else []
    return [one for one in found if one["session_id"] in told or one["evidence"] == "proved"] if told else found


def _sessions(db: store.Connection, artifact: int, only: Only) -> list[Row]:
    """Agents and sessions that an edge ties to the file, strongest evidence first."""
    by_agent = sessions.of_agents(db)
    found = []
    for agent, evidence, metadata in db.execute(
        "SELECT source_id, evidence, metadata FROM relationships WHERE source_type = 'agent' AND relationship_type ="
        " 'produced' AND target_type = 'artifact' AND target_id = ? ORDER BY source_id",
        (artifact,),
    ).fetchall():
        about = json.loads(metadata) if metadata else {}
        session = by_agent.get(agent)
        row = _session_row(db, agent, session, evidence, about)
        if only is not None and not _narrow(db, row, artifact, agent, only):
            continue
        found.append(row)
    return sorted(found, key=lambda one: (-STRENGTH[one["evidence"]], one["first_at"] or "~", one["session_id"] or ""))


def _session_row(db: store.Connection, agent: int, session: str | None, evidence: str, about: Row) -> Row:
    (told,) = store.rows(db, "SELECT agent_type, model, session_transcript FROM agents WHERE id = ?", (agent,))
    speaker = sessions.speaking(db).get(session) if session else None
    return {
        "session_id": session, "agent": f"agent:{agent}", "tool": speaker.tool if speaker else told["agent_type"],
        "model": told["model"], "operations": about.get("operations", []), "first_at": about.get("first_at"),
        "last_at": about.get("last_at"), "transcript": about.get("transcript") or told["session_transcript"],
        "turn": about.get("turn"), "line": about.get("line"), "commit": about.get("commit"), "evidence": evidence,
        "declared_by": about.get("frontmatter") or about.get("trailer") or (None if about else "link"),
    }  # fmt: skip


def _narrow(db: store.Connection, row: Row, artifact: int, agent: int, only: set[str]) -> bool:
    """Whether one of the commits took this file's content from the session, or names it; the row then says how."""
    session = row["session_id"]
    claims = weighing.claims_of(db, session) if session else []
    mine = [pair for one in weighing.judge(db, claims) if one.artifact == artifact for pair in one.claims]
    took = [(claim, "proved") for claim, proof in mine if proof.commit in only]
    took = took or [(claim, "matched") for claim, proof in mine if proof.likely in only]
    if took:
        claim, row["evidence"] = took[-1]
        row |= {"commit": next(iter(only)), "turn": claim.turn, "line": claim.line, "transcript": claim.transcript}
        return True
    for commit, about in _made(db, agent, "commit"):
        sha = _commit_row(db, commit)["sha"]
        if sha in only and "paths" not in about["about"]:  # it printed or is named by the commit: whatever is in it
            row |= {"commit": sha, "evidence": "declared" if about["evidence"] == "declared" else row["evidence"]}
            return True
    return False


def _told(db: store.Connection, agent: int) -> list[Row]:
    """An agent as a session, without any file."""
    by_agent = sessions.of_agents(db)
    row = _session_row(db, agent, by_agent.get(agent), "declared", {})
    return [{name: row[name] for name in ("session_id", "agent", "tool", "model", "transcript")}]


# --- edges


def _made(db: store.Connection, agent: int, kind: str) -> list[tuple[int, Row]]:
    """(id, evidence and what it rests on) of what an agent produced; commits also where their message names it."""
    rows = db.execute(
        "SELECT target_id, evidence, metadata FROM relationships WHERE source_type = 'agent' AND source_id = ?1"
        " AND relationship_type = 'produced' AND target_type = ?2 UNION ALL"
        " SELECT source_id, evidence, metadata FROM relationships WHERE target_type = 'agent' AND target_id = ?1"
        " AND relationship_type = 'references' AND source_type = ?2 AND ?2 = 'commit' ORDER BY 1, 2",
        (agent, kind),
    ).fetchall()
    return [
        (number, {"evidence": evidence, "about": json.loads(text) if text else {}}) for number, evidence, text in rows
    ]


def _makers(db: store.Connection, commit: int) -> list[tuple[int, str, Row]]:
    """(agent, evidence, what it rests on) of those that produced a commit, or that its message names."""
    rows = db.execute(
        "SELECT source_id, evidence, metadata FROM relationships WHERE source_type = 'agent' AND relationship_type ="
        " 'produced' AND target_type = 'commit' AND target_id = ?1 UNION ALL"
        " SELECT target_id, evidence, metadata FROM relationships WHERE source_type = 'commit' AND source_id = ?1"
        " AND relationship_type = 'references' AND target_type = 'agent' ORDER BY 1, 2",
        (commit,),
    )
    return [(agent, evidence, json.loads(text) if text else {}) for agent, evidence, text in rows]


def _commit_row(db: store.Connection, number: int) -> Row:
    return store.rows(db, "SELECT * FROM commits WHERE id = ?", (number,))[0]


def record_row(db: store.Connection, kind: str, number: int) -> Row:
    """The row of a need or task."""
    return store.rows(db, f"SELECT * FROM {kind}s WHERE id = ?", (number,))[0]


def _commits(db: store.Connection, path: str, names: list[str]) -> list[Row]:
    """The commits that changed a path: that they did is proved by git. `sessions` are those that are tied to what the commit
    did to this file, under any of its names; `session_evidence` says how well."""
    found = []
    by_agent = sessions.of_agents(db)
    for number, sha, subject, at, author, status in db.execute(
        "SELECT k.id, k.sha, k.subject, k.committed_at, k.author, c.status FROM commit_changes c"
        " JOIN commits k ON k.id = c.commit_id WHERE c.path = ? ORDER BY k.committed_at DESC, k.id DESC",
        (path,),
    ).fetchall():
        linked = {ids.shown("task", uid): grade for _, uid, grade in _referenced(db, number, "task")}
        makers = {
            by_agent.get(agent) or f"agent:{agent}": evidence
            for agent, evidence, about in _makers(db, number)
            if "paths" not in about or "printed" in about or "trailer" in about or set(names) & set(about["paths"])
        }
        found.append(
            {
                "sha": sha, "subject": subject, "at": at, "author": author, "change": status, "tasks": list(linked),
                "task_evidence": linked, "sessions": list(makers), "session_evidence": makers,
                "evidence": "declared" if "declared" in linked.values() else "proved",
            }
        )  # fmt: skip
    return found


def _referenced(db: store.Connection, commit: int, kind: str) -> list[tuple[int, str, str]]:
    """(number, uid, evidence) of the records of a kind that a commit's message names, or that it carries on."""
    rows = db.execute(
        f"SELECT t.id, t.uid, r.evidence FROM relationships r JOIN {kind}s t ON t.id = r.target_id WHERE r.source_type = 'commit'"
        " AND r.source_id = ? AND r.target_type = ? ORDER BY t.id",
        (commit, kind),
    )
    return rows.fetchall()


def _tasks(db: store.Connection, artifact: int, commits: list[Row]) -> list[Row]:
    numbers = {
        number
        for one in commits
        for (commit,) in db.execute("SELECT id FROM commits WHERE sha = ?", (one["sha"],))
        for number, *_ in _referenced(db, commit, "task")
    }
    numbers |= _joined(db, artifact, "task")
    return [record_row(db, "task", number) for number in sorted(numbers)]


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
        numbers |= {number for number, *_ in _referenced(db, commit, "need")}
    return [record_row(db, "need", number) for number in sorted(numbers)]


def _tasks_of(db: store.Connection, kind: str, row: Row, commits: list[Row]) -> list[Row]:
    if kind == "need":
        return store.rows(db, "SELECT * FROM tasks WHERE need_id = ? ORDER BY id", (row["id"],))
    if kind == "task":
        return [row]
    numbers = {number for one in commits for number, *_ in _referenced(db, one["id"], "task")}
    if kind == "agent":
        assigned = db.execute("SELECT id FROM tasks WHERE assigned_agent_id = ?", (row["id"],))
        numbers |= {number for (number,) in assigned}
    return [record_row(db, "task", number) for number in sorted(numbers)]


def _commits_of(db: store.Connection, kind: str, number: int) -> list[Row]:
    return store.rows(
        db,
        "SELECT k.* FROM relationships r JOIN commits k ON k.id = r.source_id WHERE r.source_type = 'commit'"
        " AND r.target_type = ? AND r.target_id = ? ORDER BY k.committed_at DESC",
        (kind, number),
    )


def _files(
    db: store.Connection, kind: str, number: int, commits: list[Row], tasks: list[Row]
) -> dict[str, dict[str, Any]]:
    """Path -> evidence and operations, of the files that belong to a record: by an edge, or by a commit of its own."""
    found: dict[str, dict[str, Any]] = {}
    if kind == "agent":
        for artifact, about in _made(db, number, "artifact"):
            for (path,) in db.execute("SELECT file_path FROM artifacts WHERE id = ? AND file_path <> ''", (artifact,)):
                found[path] = {"evidence": about["evidence"], "operations": about["about"].get("operations", [])}
        return found
    ends = {(kind, number)} | {("task", one["id"]) for one in tasks if kind != "commit"}
    for end in ends - {("commit", number)}:
        for path, evidence in db.execute(
            "SELECT a.file_path, r.evidence FROM relationships r JOIN artifacts a ON a.id = CASE r.source_type WHEN"
            " 'artifact' THEN r.source_id ELSE r.target_id END WHERE a.file_path IS NOT NULL AND"
            " ((r.source_type = ?1 AND r.source_id = ?2 AND r.target_type = 'artifact')"
            " OR (r.target_type = ?1 AND r.target_id = ?2 AND r.source_type = 'artifact'))",
            end,
        ):
            found[path] = {"evidence": evidence, "operations": []}
    for one in commits:
        for path in _changed(db, one["id"]):
            found.setdefault(path, {"evidence": "proved", "operations": []})
    return found


def _changed(db: store.Connection, commit: int) -> list[str]:
    """The files of today that a commit changed."""
    from mlos_sync.app.naming import artifact_at

    paths = db.execute("SELECT path FROM commit_changes WHERE commit_id = ?", (commit,)).fetchall()
    numbers = {artifact_at(db, path) for (path,) in paths}
    rows = [
        db.execute("SELECT file_path FROM artifacts WHERE id = ?", (n,)).fetchone() for n in numbers if n is not None
    ]
    return [row[0] for row in rows if row and row[0]]


def transcript_claims(index: Index, session: str) -> Row:
    """What one session did: its claims, each with the evidence that the index has for it."""
    agent = session_agent(index, session)
    db = index.db
    session = next(one for one, number in sessions.agents(db).items() if f"agent:{number}" == agent)
    judged: dict[tuple[str, int], tuple[PlacedClaim, Proof]] = {}
    for one in weighing.judge(db, weighing.claims_of(db, session, (*WRITING, "delete", "read"))):
        judged |= {(claim.transcript, claim.number): (claim, proof) for claim, proof in one.claims}
    claims = []
    for row in store.rows(
        db,
        "SELECT c.* FROM claims c JOIN session_files f USING (transcript, session_id, part)"
        " WHERE c.session_id = ? AND f.speaks = 1 GROUP BY c.transcript, c.number ORDER BY f.part <> '', c.transcript,"
        " c.number",
        (session,),
    ):
        evidence, commit = "unknown", None
        if (row["transcript"], row["number"]) in judged:
            claim, proof = judged[row["transcript"], row["number"]]
            evidence = "proved" if proof.proved else "declared" if claim.declared else "matched"
            commit = proof.commit
        claims.append(
            {name: row[name] for name in ("turn", "line", "at", "operation", "tool", "raw_path", "path", "transcript")}
            | {"succeeded": bool(row["succeeded"]), "subagent": bool(row["subagent"]), "evidence": evidence}
            | {"commit": commit, "choices": (row["choices"] or "").split("\n") if row["choices"] else []}
        )
    return {
        "session": session,
        "agent": agent,
        "transcript": sessions.speaking(db)[session].transcript,
        "claims": claims,
    }
