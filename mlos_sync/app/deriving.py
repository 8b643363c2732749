"""What follows from files, transcripts, commits and records: derived edges, and the dates of artifacts.

The wanted set is computed whole and compared with what stands; only differences are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from mlos_sync.app import sessions
from mlos_sync.app.annotations import overlay
from mlos_sync.core import ids
from mlos_sync.core.provenance import PlacedClaim, stronger, weigh
from mlos_sync.edge import store

Edge = tuple[str, int, str, str, int]  # source type and id, relationship type, target type and id
Wanted = dict[Edge, tuple[str, dict[str, Any]]]  # evidence, metadata


# Three sorts of derived edges: from transcripts and frontmatter (written by sync, which reads files), from messages of
# commits, and from columns of records. The last two are brought up to date by every command.
_FROM_FILES = (
    "(relationship_type = 'produced' OR (relationship_type = 'consumed' AND metadata LIKE '%\"mode\": \"read\"%'))"
)
_FROM_COMMITS = "(source_type = 'commit' OR (source_type = 'artifact' AND relationship_type = 'derived_from'))"
_FROM_COLUMNS = f"source_type IN ('task', 'agent') AND NOT {_FROM_FILES}"
MANY = 500  # from so many records on, their edges are compared in one pass


def are_record_edges_current(db: store.Connection) -> bool:
    """Whether records and commits are as they were when edges were last derived from them."""
    if db.execute("SELECT 1 FROM underived LIMIT 1").fetchone():
        return False
    return store.get(db, "edges_at") == store.get(db, "population", "0")


def update_record_edges(db: store.Connection) -> None:
    """Derive the edges that follow from columns and commits, inside the caller's transaction with capture off."""
    if are_record_edges_current(db):
        return
    changed = db.execute("SELECT kind, uid FROM underived").fetchall()
    if any(kind == "annotation" for kind, _ in changed):
        overlay(db)
    came_or_went = any(kind == "agent" for kind, _ in changed) and sessions.update_agents(db)
    if came_or_went or store.get(db, "file_edges") == "cut":
        update_file_edges(db)
        store.put(db, "file_edges", "")
    if len(changed) > MANY:
        _make(db, _from_columns(db, "1", ()), _FROM_COLUMNS)
    else:
        for kind, uid in changed:
            row = db.execute(f"SELECT id FROM {kind}s WHERE uid = ?", (uid,)).fetchone()
            if row and kind in ("task", "agent"):
                which = f"{_FROM_COLUMNS} AND source_type = '{kind}' AND source_id = ?"
                _make(db, _from_columns(db, "t.id = ?", row, kind), which, row)
    db.execute("DELETE FROM underived")
    if store.get(db, "edges_at") != store.get(db, "population", "0"):
        _make(db, _from_commits(db), _FROM_COMMITS)
        store.put(db, "edges_at", store.get(db, "population", "0"))


def update_file_edges(db: store.Connection) -> None:
    """Derive the edges that follow from transcripts and frontmatter, likewise."""
    _make(db, (*_from_claims(db), *_from_frontmatter(db)), _FROM_FILES)


def _make(
    db: store.Connection, found: Iterable[tuple[Edge, str, dict[str, Any]]], which: str, values: tuple[int, ...] = ()
) -> None:
    """Make the derived edges of one sort what they should be; edges that somebody declared are left alone."""
    wanted: Wanted = {}
    for edge, evidence, metadata in found:
        if edge in wanted:
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


Found = Iterator[tuple[Edge, str, dict[str, Any]]]


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
    """A commit references what its message names; an artifact that it introduced is derived from its task."""
    introduced = (
        "SELECT a.id FROM commit_changes c JOIN artifacts a ON a.file_path = c.path"
        " WHERE c.commit_id = ? AND c.status = 'A'"
    )
    for number, sha, key, targets in db.execute(
        "SELECT c.id, c.sha, r.key, r.targets FROM commit_references r JOIN commits c ON c.id = r.commit_id"
        " WHERE r.targets IS NOT NULL"
    ).fetchall():
        for target in targets.split():
            kind, _, uid = target.partition(":")
            row = db.execute(f"SELECT id FROM {kind}s WHERE uid = ?", (uid,)).fetchone()
            if row is None:
                continue
            yield ("commit", number, "references", kind, row[0]), "declared", {"key": key}
            if kind == "task":
                for (artifact,) in db.execute(introduced, (number,)).fetchall():
                    yield ("artifact", artifact, "derived_from", "task", row[0]), "declared", {"commit": sha}


def session_agents(db: store.Connection) -> dict[str, tuple[str, int]]:
    """session id -> (the transcript that speaks for it, the agent row that stands for it)."""
    found = {}
    for path, session, *_ in db.execute(sessions.SPEAKING).fetchall():
        row = db.execute(
            "SELECT id FROM agents WHERE origin = 'record' AND session_transcript = ? ORDER BY id", (path,)
        ).fetchone()
        row = (
            row or db.execute("SELECT id FROM agents WHERE uid = ?", (ids.derived_uid("session", session),)).fetchone()
        )
        if row:
            found[session] = (path, row[0])
    return found


def placed_claims(
    db: store.Connection, session: str, transcript: str, operations: Iterable[str]
) -> dict[str, list[PlacedClaim]]:
    """A session's successful claims of the given operations, by workspace path, in the order they were made."""
    wanted = tuple(operations)
    found: dict[str, list[PlacedClaim]] = {}
    for path, operation, turn, line, at, hashes, blobs in db.execute(
        "SELECT path, operation, turn, line, at, hashes, blobs FROM claims WHERE transcript = ? AND succeeded = 1"
        f" AND path IS NOT NULL AND operation IN ({', '.join('?' * len(wanted))}) ORDER BY number",
        (transcript, *wanted),
    ):
        claim = PlacedClaim(
            session, transcript, path, operation, turn, line, at, tuple(hashes.split()), tuple(blobs.split())
        )
        found.setdefault(path, []).append(claim)
    return found


def introduced_blobs(db: store.Connection, path: str) -> dict[str, str]:
    """Blob -> the first commit that put it at `path`."""
    rows = db.execute(
        "SELECT c.blob, k.sha FROM commit_changes c JOIN commits k ON k.id = c.commit_id"
        " WHERE c.path = ? AND c.blob IS NOT NULL ORDER BY k.committed_at DESC, k.sha DESC",
        (path,),
    )
    return dict(rows.fetchall())


def _from_claims(db: store.Connection) -> Found:
    for session, (transcript, agent) in session_agents(db).items():
        for path, claims in placed_claims(db, session, transcript, sessions.WRITING).items():
            artifact = _artifact(db, path)
            if artifact is None:
                continue
            grounds = weigh(claims, artifact[1], introduced_blobs(db, path))
            if grounds is not None:
                metadata = {
                    "operations": list(grounds.operations), "transcript": grounds.transcript, "turn": grounds.turn,
                    "line": grounds.line,
                } | ({"commit": grounds.commit} if grounds.commit else {})  # fmt: skip
                yield ("agent", agent, "produced", "artifact", artifact[0]), grounds.evidence, metadata
        for path, claims in placed_claims(db, session, transcript, ("read",)).items():
            artifact = _artifact(db, path)
            if artifact is not None:
                about = {"mode": "read", "transcript": transcript, "turn": claims[0].turn, "line": claims[0].line}
                yield ("agent", agent, "consumed", "artifact", artifact[0]), "matched", about


def _artifact(db: store.Connection, path: str) -> tuple[int, str | None] | None:
    """(id, hash) of the artifact at a path, or of the one that was moved away from it."""
    row = db.execute("SELECT id, content_hash FROM artifacts WHERE file_path = ?", (path,)).fetchone()
    if row is None:
        from mlos_sync.app.naming import resolve

        number = resolve(db, f"artifact:{path}")
        row = (
            db.execute("SELECT id, content_hash FROM artifacts WHERE id = ?", (number,)).fetchone() if number else None
        )
    return (row[0], row[1]) if row else None


def _from_frontmatter(db: store.Connection) -> Found:
    """`source_transcript` in a file's frontmatter: that session is said to have made it."""
    by_path = dict(db.execute("SELECT path, session_id FROM transcripts WHERE session_id IS NOT NULL").fetchall())
    agents = session_agents(db)
    for artifact, source in db.execute(
        "SELECT id, source_transcript FROM artifacts WHERE source_transcript IS NOT NULL AND file_path IS NOT NULL"
    ).fetchall():
        session = by_path.get(source)
        if session in agents:
            yield (
                ("agent", agents[session][1], "produced", "artifact", artifact),
                "declared",
                {"frontmatter": "source_transcript"},
            )
