"""What follows from files, transcripts, commits and records: derived edges.

The wanted set, of a record or of a session, is computed whole and compared with what stands; only differences are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mlos_sync.app.annotations import overlay
from mlos_sync.app.passing import CARRIED, is_unlinked
from mlos_sync.app.referring import SAID
from mlos_sync.core.vocabulary import TABLE_OF
from mlos_sync.edge import store

if TYPE_CHECKING:
    from mlos_sync.app.weighing import Edge, Found


# Three sorts of derived edges: from the evidence of sessions, from messages of commits, and from columns of records. All
# are brought up to date by every command; only sync reads files.
_FROM_FILES = (
    "(relationship_type = 'produced' OR (relationship_type = 'consumed' AND metadata LIKE '%\"mode\": \"read\"%'))"
)
_FROM_COMMITS = "(source_type = 'commit' OR (source_type = 'artifact' AND relationship_type = 'derived_from'))"
_FROM_COLUMNS = f"source_type IN ('task', 'agent') AND NOT {_FROM_FILES}"
MANY = 500  # from so many records on, their edges are compared in one pass


def are_edges_current(db: store.Connection) -> bool:
    """Whether records, commits and evidence are as they were when edges were last derived from them."""
    if db.execute("SELECT 1 FROM underived UNION ALL SELECT 1 FROM unweighed LIMIT 1").fetchone():
        return False
    return store.get(db, "edges_at") == store.get(db, "population", "0")


def update_edges(db: store.Connection, root: str) -> None:
    """Derive the edges that follow from columns, commits and evidence, inside the caller's transaction with capture off.
    `root` is the work tree, for contents that only git has."""
    if are_edges_current(db):
        return
    changed = db.execute("SELECT kind, uid FROM underived").fetchall()
    _follow_records(db, changed)
    if len(changed) > MANY:
        _make(db, _from_columns(db, "1", ()), _FROM_COLUMNS)
    else:
        for kind, uid in changed:
            row = db.execute(f"SELECT id FROM {TABLE_OF[kind]} WHERE uid = ?", (uid,)).fetchone()
            if row and kind in ("task", "agent"):
                which = f"{_FROM_COLUMNS} AND source_type = '{kind}' AND source_id = ?"
                _make(db, _from_columns(db, "t.id = ?", row, kind), which, row)
    db.execute("DELETE FROM underived")
    _weigh(db, root)
    if store.get(db, "edges_at") != store.get(db, "population", "0"):
        _make(db, _from_commits(db), _FROM_COMMITS)
        store.put(db, "edges_at", store.get(db, "population", "0"))


def _follow_records(db: store.Connection, changed: list[tuple[str, str]]) -> None:
    """Records that files and sessions follow: annotations, facts, agents that stand for a session."""
    kinds = {kind for kind, _ in changed} & {"annotation", "fact", "agent"}
    if not kinds and store.get(db, "file_edges") != "cut":
        return
    from mlos_sync.app import sessions, sharing, weighing  # for few commands: it takes 15 ms

    if "annotation" in kinds:
        overlay(db)
        sources = "SELECT path FROM annotations WHERE uid = ?"
        paths = [row for kind, uid in changed if kind == "annotation" for row in db.execute(sources, (uid,)).fetchall()]
        weighing.unsettle_paths(db, [path for (path,) in paths])
    if "fact" in kinds:
        weighing.unsettle(db, sharing.take(db))
    if kinds & {"agent", "fact"}:
        weighing.unsettle(db, sessions.update_agents(db))
    if store.get(db, "file_edges") == "cut":  # an agent's number moved, and the edges of its sessions with it
        weighing.unsettle(db, sessions.speaking(db))
        store.put(db, "file_edges", "")


def _weigh(db: store.Connection, root: str) -> None:
    """Weigh again the sessions that ask for it, and tell files where they came from."""
    waiting = [session for (session,) in db.execute("SELECT session_id FROM unweighed ORDER BY session_id").fetchall()]
    if not waiting:
        return
    from mlos_sync.app import sessions, weighing

    said, rows = weighing.said_sources(db), sessions.agents(db)
    touched: set[int] = set()
    which = f"{_FROM_FILES} AND source_type = 'agent' AND source_id = ?"
    for agent in _with_evidence(db) - set(rows.values()):  # a record that stands for a session no more
        touched |= _produced(db, agent)
        _make(db, (), which, (agent,))
    for session in waiting:
        if session in rows:
            agent = rows[session]
            touched |= _produced(db, agent)
            found = weighing.edges(db, root, session, agent, said)
            _make(db, found, which, (agent,))
            touched |= _produced(db, agent)
    db.execute("DELETE FROM unweighed")
    weighing.tell_origins(db, sorted(touched | _made_elsewhere(db)))


def _with_evidence(db: store.Connection) -> set[int]:
    sql = f"SELECT DISTINCT source_id FROM relationships WHERE source_type = 'agent' AND origin = 'derived' AND {_FROM_FILES}"
    return {agent for (agent,) in db.execute(sql)}


def _produced(db: store.Connection, agent: int) -> set[int]:
    rows = db.execute(
        "SELECT target_id FROM relationships WHERE source_type = 'agent' AND source_id = ? AND target_type = 'artifact'"
        " AND relationship_type = 'produced' AND origin = 'derived'",
        (agent,),
    )
    return {number for (number,) in rows}


def _made_elsewhere(db: store.Connection) -> set[int]:
    """Artifacts that no edge says any more were made where their row says: a session went, and its edges with it."""
    sql = (
        "SELECT id FROM artifacts a WHERE made_in IS NOT NULL AND NOT EXISTS (SELECT 1 FROM relationships r WHERE"
        " r.target_type = 'artifact' AND r.target_id = a.id AND r.relationship_type = 'produced'"
        " AND json_extract(r.metadata, '$.transcript') = a.made_in)"
    )
    return {number for (number,) in db.execute(sql)}


def _make(
    db: store.Connection, found: Iterable[tuple[Edge, str, dict[str, Any]]], which: str, values: tuple[int, ...] = ()
) -> None:
    """Make the derived edges of one sort what they should be; edges that somebody declared are left alone."""
    wanted: dict[Edge, tuple[str, dict[str, Any]]] = {}  # evidence, metadata
    for edge, evidence, metadata in found:
        if edge in wanted:
            from mlos_sync.core.provenance import stronger  # 3 ms, for edges that two sources tell

            before, kept = wanted[edge]
            first = stronger(before, evidence) == before
            wanted[edge] = (stronger(before, evidence), metadata | kept if first else kept | metadata)
        elif edge[0] != edge[3] or edge[1] != edge[4]:
            wanted[edge] = (evidence, metadata)
    ends = "source_type, source_id, relationship_type, target_type, target_id"
    standing = {
        tuple(row[:5]): (row[5], row[6])
        for row in db.execute(
            f"SELECT {ends}, evidence, metadata FROM relationships WHERE origin = 'derived' AND {which}", values
        )
    }
    for edge in sorted(set(standing) - set(wanted)):
        db.execute(
            "DELETE FROM relationships WHERE source_type = ? AND source_id = ? AND relationship_type = ?"
            " AND target_type = ? AND target_id = ?",
            edge,
        )
    rows = []
    for edge, (evidence, metadata) in sorted(wanted.items(), key=lambda item: item[0]):
        text = json.dumps(metadata, ensure_ascii=False, sort_keys=True) if metadata else None
        if standing.get(edge) != (evidence, text):
            rows.append((*edge, evidence, text))
    if rows:
        db.executemany(
            f"INSERT INTO relationships({ends}, evidence, metadata, origin, created_at)"
            f" VALUES (?, ?, ?, ?, ?, ?, ?, 'derived', NULL) ON CONFLICT({ends}) DO UPDATE SET"
            " evidence = excluded.evidence, metadata = excluded.metadata WHERE origin = 'derived'",
            rows,
        )


def _from_columns(db: store.Connection, where: str, values: tuple[int, ...], kind: str = "") -> Found:
    """Foreign keys and arrays are the truth; the edges that say the same follow them. Of the rows `t` that `where` says,
    of one kind or of both."""
    if kind in ("", "task"):
        sql = f"SELECT t.id, t.need_id FROM tasks t WHERE t.need_id IS NOT NULL AND {where}"
        for task, need in db.execute(sql, values):
            yield ("task", task, "derived_from", "need", need), "declared", {}
    if kind in ("", "agent"):
        arrays = f"SELECT t.id, j.value FROM agents t, json_each(t.{{0}}) j WHERE t.{{0}} IS NOT NULL AND {where}"
        for agent, need in db.execute(arrays.format("monitored_needs"), values):
            yield ("agent", agent, "monitors", "need", need), "declared", {}
        for agent, artifact in db.execute(arrays.format("provisioned_artifacts"), values):
            yield ("agent", agent, "consumed", "artifact", artifact), "declared", {"mode": "provisioned"}


def _from_commits(db: store.Connection) -> Found:
    """A commit references what its message names, or what it carries on from a rewritten one; an artifact that it introduced
    is derived from its task."""
    for number, sha, key, targets, evidence, carried in db.execute(
        f"SELECT c.id, c.sha, r.key, r.targets, r.evidence, r.carried FROM {SAID} r JOIN commits c ON c.id = r.commit_id"
        " WHERE r.targets IS NOT NULL ORDER BY c.committed_at DESC, c.sha, r.carried, r.key, r.value"
    ).fetchall():
        for target in targets.split():
            kind, _, uid = target.partition(":")
            row = db.execute(f"SELECT id FROM {kind}s WHERE uid = ?", (uid,)).fetchone()
            if row is None or (carried and is_unlinked(db, f"commit:{sha}", "references", target)):
                continue
            about = {"key": key} | ({CARRIED: carried} if carried else {})
            yield ("commit", number, "references", kind, row[0]), evidence, about
            if kind == "task":
                yield from _introduced(db, number, sha, row[0], evidence)
    for number, sha, task, evidence in db.execute(
        "SELECT c.id, c.sha, r.target_id, r.evidence FROM relationships r JOIN commits c ON c.id = r.source_id WHERE"
        " r.source_type = 'commit' AND r.relationship_type = 'references' AND r.target_type = 'task' AND r.origin = 'record'"
        f" AND r.metadata LIKE '%\"{CARRIED}\"%'"
    ).fetchall():
        yield from _introduced(db, number, sha, task, evidence)


def _introduced(db: store.Connection, commit: int, sha: str, task: int, evidence: str) -> Found:
    sql = (
        "SELECT a.id FROM commit_changes c JOIN artifacts a ON a.file_path = c.path"
        " WHERE c.commit_id = ? AND c.status = 'A'"
    )
    for (artifact,) in db.execute(sql, (commit,)).fetchall():
        yield ("artifact", artifact, "derived_from", "task", task), evidence, {"commit": sha}
