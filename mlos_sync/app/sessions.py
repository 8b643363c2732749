"""Transcripts into the index: read those that changed, place their paths, and keep one `agents` row per session.

Several files may render one session (a renamed slug, two writers); the fullest speaks for it, the others are kept as
files. A row that `agent start` made for the same transcript stays the session's row; else a derived one stands for it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from mlos_sync.app.indexing import Plan, object_format
from mlos_sync.app.opening import Index
from mlos_sync.core import transcripts
from mlos_sync.core.ids import derived_uid
from mlos_sync.edge import files, store

if TYPE_CHECKING:
    from mlos_sync.core.transcripts.model import Transcript

WRITING = ("create", "write", "edit", "patch", "move")


def update(index: Index, plan: Plan) -> bool:
    """Read the transcripts that the plan brings, inside the caller's transaction. Returns whether anything changed."""
    db, changes = index.db, plan.changes
    gone = [*changes.deleted, *(old for old, _ in changes.moved)]
    came = [*changes.added, *changes.modified, *(new for _, new in changes.moved)]
    found = [path for path in came if path in plan.documents and plan.documents[path].is_transcript]
    found += [path for path in outdated(db) if path not in found]
    known = [path for (path,) in db.execute("SELECT path FROM transcripts")]
    stale = (set(gone) | set(came)) & set(known)
    for path in sorted(stale):
        _forget(db, path)
    for path in sorted(found):
        _read(index, path, plan.problems)
    changed = bool(stale or found)
    if changed or changes.added:
        _place(db, everything=changed)
    return update_agents(db, everything=changed) or changed


def outdated(db: store.Connection) -> list[str]:
    """Transcripts that an older reader read."""
    rows = db.execute("SELECT path FROM transcripts WHERE reader <> ?", (transcripts.READER_VERSION,))
    return [path for (path,) in rows]


def _forget(db: store.Connection, path: str) -> None:
    db.execute("DELETE FROM transcripts WHERE path = ?", (path,))
    db.execute("DELETE FROM claims WHERE transcript = ?", (path,))


def _read(index: Index, path: str, problems: dict[str, str]) -> None:
    db = index.db
    data = files.read(index.workspace, path)
    transcript = transcripts.read(data) if data is not None else None
    if data is None or transcript is None:
        return
    _forget(db, path)
    session = transcript.session
    about: tuple[Any, ...] = (None, None, None, None, None, None, 0)
    if session is not None:
        about = (
            session.session_id, session.tool, session.model, session.title, session.started_at, session.ended_at, session.turns,
        )  # fmt: skip
    sha = hashlib.sha256(data).hexdigest()
    db.execute(
        "INSERT INTO transcripts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (path, sha, transcripts.READER_VERSION, *about)
    )
    db.executemany(
        "INSERT INTO claims(transcript, number, turn, line, at, operation, tool, raw_path, succeeded, hashes, blobs)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        _claims(path, transcript, object_format(index)),
    )
    if transcript.problems:
        first = transcript.problems[0]
        more = f" (and {len(transcript.problems) - 1} more)" if len(transcript.problems) > 1 else ""
        problems[path] = f"transcript, line {first.line}: {first.message}{more}"


def _claims(path: str, transcript: Transcript, algorithm: str) -> list[tuple[Any, ...]]:
    rows = []
    for number, claim in enumerate(transcript.claims):
        hashes = " ".join(hashlib.sha256(content).hexdigest() for content in claim.contents)
        blobs = " ".join(blob_id(content, algorithm) for content in claim.contents)
        rows.append(
            (
                path,
                number,
                claim.turn,
                claim.line,
                claim.at,
                claim.operation,
                claim.tool,
                claim.raw_path,
                int(claim.succeeded),
                hashes,
                blobs,
            )
        )
    return rows


def blob_id(content: bytes, algorithm: str) -> str:
    """Git's name for a content."""
    return hashlib.new(algorithm, b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _place(db: store.Connection, *, everything: bool) -> None:
    """Map the claims' raw paths to workspace paths, session by session; `everything` also those placed before."""
    unplaced = "" if everything else " WHERE path IS NULL AND succeeded = 1"
    todo = [path for (path,) in db.execute(f"SELECT DISTINCT transcript FROM claims{unplaced}")]
    if not todo:
        return
    from mlos_sync.core.mapping import map_paths

    known = {path for (path,) in db.execute("SELECT file_path FROM artifacts WHERE file_path IS NOT NULL")}
    known |= {path for (path,) in db.execute("SELECT DISTINCT path FROM commit_changes")}
    for transcript in todo:
        raw = [
            path for (path,) in db.execute("SELECT DISTINCT raw_path FROM claims WHERE transcript = ?", (transcript,))
        ]
        # A relative path starts where the session ran, and that is where the writer keeps its `.specstory` folder.
        base = transcript.partition(".specstory/")[0].rstrip("/") if ".specstory/" in transcript else ""
        placed = map_paths(raw, known, base)
        db.executemany(
            "UPDATE claims SET path = ? WHERE transcript = ? AND raw_path = ? AND path IS NOT ?",
            [(path, transcript, name, path) for name, path in placed.items()],
        )


SPEAKING = """
SELECT path, session_id, tool, model, title, started_at, ended_at FROM (
    SELECT t.*, row_number() OVER (
        PARTITION BY session_id
        ORDER BY (SELECT count(*) FROM claims c WHERE c.transcript = t.path) DESC, turns DESC, path
    ) AS place
    FROM transcripts t WHERE session_id IS NOT NULL
) WHERE place = 1 ORDER BY session_id
"""


def update_agents(db: store.Connection, *, everything: bool = False) -> bool:
    """Keep one derived row for each session that no record stands for; also where a record took a row's number or came
    to stand for a session. Returns whether rows came or went; `everything` brings the others up to date too."""
    wanted = {}
    for path, session, tool, model, title, started, ended in db.execute(SPEAKING).fetchall():
        joined = db.execute(
            "SELECT 1 FROM agents WHERE origin = 'record' AND session_transcript = ?", (path,)
        ).fetchone()
        if not joined:
            wanted[derived_uid("session", session)] = (tool, "completed", model, path, started, ended, title)
    standing = {uid for (uid,) in db.execute("SELECT uid FROM agents WHERE origin = 'derived'")}
    if standing == set(wanted) and not everything:
        return False
    db.executemany("DELETE FROM agents WHERE uid = ?", [(uid,) for uid in sorted(standing - set(wanted))])
    db.executemany(
        "INSERT INTO agents(uid, origin, agent_type, status, model, session_transcript, started_at, completed_at,"
        " result_summary) VALUES (?, 'derived', ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(uid) DO UPDATE SET"
        " agent_type = excluded.agent_type, model = excluded.model, session_transcript = excluded.session_transcript,"
        " started_at = excluded.started_at, completed_at = excluded.completed_at, result_summary = excluded.result_summary",
        [(uid, *values) for uid, values in sorted(wanted.items())],
    )
    return standing != set(wanted)
