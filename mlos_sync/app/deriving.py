"""What follows from files, transcripts, commits and records: derived edges, and the dates of artifacts.

The wanted set is computed whole and compared with what stands; only differences are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from mlos_sync.app import sessions
from mlos_sync.app.history import find_record
from mlos_sync.core import ids
from mlos_sync.core.provenance import PlacedClaim, stronger, weigh
from mlos_sync.edge import store
from mlos_sync.errors import MlosError

Edge = tuple[str, int, str, str, int]  # source type and id, relationship type, target type and id
Wanted = dict[Edge, tuple[str, dict[str, Any]]]  # evidence, metadata


# Edges that follow from transcripts and frontmatter: written by sync, which reads files. The others follow from
# records and commits alone and are brought up to date by every command.
_FROM_FILES = (
    "(relationship_type = 'produced' OR (relationship_type = 'consumed' AND metadata LIKE '%\"mode\": \"read\"%'))"
)


def are_record_edges_current(db: store.Connection) -> bool:
    """Whether records and commits are as they were when edges were last derived from them."""
    return store.get(db, "edges_at") == store.get(db, "revision", "0")


def update_record_edges(db: store.Connection) -> None:
    """Derive the edges that follow from columns and commits, inside the caller's transaction with capture off."""
    if not are_record_edges_current(db):
        if sessions.update_agents(db):
            update_file_edges(db)
        _make(db, (*_from_columns(db), *_from_commits(db)), f"NOT {_FROM_FILES}")
        store.put(db, "edges_at", store.get(db, "revision", "0"))


def update_file_edges(db: store.Connection) -> None:
    """Derive the edges that follow from transcripts and frontmatter, likewise."""
    _make(db, (*_from_claims(db), *_from_frontmatter(db)), _FROM_FILES)


def _make(db: store.Connection, found: Iterable[tuple[Edge, str, dict[str, Any]]], which: str) -> None:
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
            f"SELECT {ends}, evidence, metadata FROM relationships WHERE origin = 'derived' AND {which}"
        )
    }
    db.executemany(
        "DELETE FROM relationships WHERE source_type = ? AND source_id = ? AND relationship_type = ?"
        " AND target_type = ? AND target_id = ?",
        sorted(set(standing) - set(wanted)),
    )
    rows = []
    for edge, (evidence, metadata) in sorted(wanted.items(), key=lambda item: item[0]):
        text = json.dumps(metadata, ensure_ascii=False, sort_keys=True) if metadata else None
        if standing.get(edge) != (evidence, text):
            rows.append((*edge, evidence, text))
    db.executemany(
        f"INSERT INTO relationships({ends}, evidence, metadata, origin, created_at)"
        f" VALUES (?, ?, ?, ?, ?, ?, ?, 'derived', NULL) ON CONFLICT({ends}) DO UPDATE SET"
        " evidence = excluded.evidence, metadata = excluded.metadata WHERE origin = 'derived'",
        rows,
    )


Found = Iterator[tuple[Edge, str, dict[str, Any]]]


def _from_columns(db: store.Connection) -> Found:
    """Foreign keys and arrays are the truth; the edges that say the same follow them."""
    for task, need in db.execute("SELECT id, need_id FROM tasks WHERE need_id IS NOT NULL"):
        yield ("task", task, "derived_from", "need", need), "declared", {}
    arrays = "SELECT a.id, j.value FROM agents a, json_each(a.{0}) j WHERE a.{0} IS NOT NULL"
    for agent, need in db.execute(arrays.format("monitored_needs")):
        yield ("agent", agent, "monitors", "need", need), "declared", {}
    for agent, artifact in db.execute(arrays.format("provisioned_artifacts")):
        yield ("agent", agent, "consumed", "artifact", artifact), "declared", {"mode": "provisioned"}


def _from_commits(db: store.Connection) -> Found:
    """A commit references what its message names; an artifact that it introduced is derived from its task."""
    for number, sha, key, value in db.execute(
        "SELECT c.id, c.sha, r.key, r.value FROM commit_references r JOIN commits c ON c.id = r.commit_id"
    ).fetchall():
        for reference, _ in ids.in_trailer(key, value):
            try:
                kind, uid = find_record(db, reference)
            except MlosError:
                continue
            (record,) = db.execute(f"SELECT id FROM {kind}s WHERE uid = ?", (uid,)).fetchone()
            yield ("commit", number, "references", kind, record), "declared", {"key": key}
            if kind == "task":
                introduced = (
                    "SELECT a.id FROM commit_changes c JOIN artifacts a ON a.file_path = c.path"
                    " WHERE c.commit_id = ? AND c.status = 'A'"
                )
                for (artifact,) in db.execute(introduced, (number,)).fetchall():
                    yield ("artifact", artifact, "derived_from", "task", record), "declared", {"commit": sha}


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
        from mlos_sync.app.folding import resolve

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
