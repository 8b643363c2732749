"""Sessions, one row each however many files render them, and how well transcripts and history explain each other."""

from __future__ import annotations

from typing import Any

from mlos_sync.app import freshness, sessions
from mlos_sync.app.opening import Index
from mlos_sync.core.transcripts.replay import WRITING
from mlos_sync.edge import store

Row = dict[str, Any]


def transcripts(index: Index) -> Row:
    """All sessions, what is malformed in their files, and the health of the whole."""
    freshness.catch_up(index)
    db = index.db
    agents = sessions.agents(db)
    copies: dict[str, list[Row]] = {}
    for row in store.rows(db, "SELECT * FROM session_files ORDER BY transcript"):
        copies.setdefault(row["session_id"], []).append(row)
    found = []
    for session, (_, tool, model, title, started, ended, kept) in sorted(sessions.speaking(db).items()):
        mine = [row for row in copies[session] if row["speaks"]]
        found.append(
            {
                "session_id": session, "agent": f"agent:{agents[session]}", "tool": tool, "model": model, "title": title,
                "files": list(dict.fromkeys(row["transcript"] for row in copies[session])), "kept": kept,
                "started_at": started, "ended_at": ended, "turns": sum(row["turns"] for row in mine),
                "claims": sum(row["claims"] for row in mine), "format": mine[0]["format"], "version": mine[0]["version"],
                "parent": mine[0]["parent"],
            }
        )  # fmt: skip
    return {"sessions": found, "problems": _problems(db), "health": _health(db, copies)}


def _problems(db: store.Connection) -> list[Row]:
    found = store.rows(
        db, "SELECT transcript AS file, line, message FROM transcript_problems ORDER BY transcript, number"
    )
    unread = "SELECT subject, message FROM observations WHERE kind = 'file' AND message LIKE 'transcript: %' ORDER BY subject"
    return found + [{"file": path, "line": None, "message": message} for path, message in db.execute(unread)]


def _health(db: store.Connection, copies: dict[str, list[Row]]) -> Row:
    return {
        "duplicates": _duplicates(copies),
        "truncated": _truncated(copies),
        "ambiguous": _ambiguous(db),
        "edits_without_artifact": _without_artifact(db),
        "artifacts_without_session": _without_session(db),
        "evidence": _evidence(db),
        "coverage": _coverage(db),
    }


def _duplicates(copies: dict[str, list[Row]]) -> list[Row]:
    """Sessions that several files render, checkpoints and notes not counted."""
    found = []
    for session, rows in sorted(copies.items()):
        files = sorted(
            {row["transcript"] for row in rows if not row["part"] and row["format"] not in ("entire", "facts")}
        )
        if len(files) > 1:
            found.append({"session_id": session, "files": files})
    return found


def _truncated(copies: dict[str, list[Row]]) -> list[Row]:
    """Copies that tell less than the one that speaks: an older snapshot, or a file that was cut."""
    found = []
    for session, rows in sorted(copies.items()):
        full = {row["part"]: row for row in rows if row["speaks"]}
        for row in rows:
            best = full.get(row["part"]) if not row["part"] else None  # logs tell of subagents without what they said
            if best is not None and not row["speaks"] and row["format"] != "facts" and row["turns"] < best["turns"]:
                found.append(
                    {
                        "session_id": session, "file": row["transcript"], "turns": row["turns"], "of": best["turns"],
                        "fullest": best["transcript"],
                    }
                )  # fmt: skip
    return found


_EDITS = (
    "FROM claims c JOIN session_files f USING (transcript, session_id, part)"
    f" WHERE f.speaks = 1 AND c.succeeded = 1 AND c.operation IN ({', '.join('?' * len(WRITING))})"
)


def _ambiguous(db: store.Connection) -> list[Row]:
    rows = db.execute(
        f"SELECT DISTINCT c.session_id, c.raw_path, c.choices {_EDITS} AND c.choices IS NOT NULL ORDER BY 1, 2", WRITING
    )
    return [{"session_id": s, "raw_path": raw, "choices": choices.split("\n")} for s, raw, choices in rows]


def _without_artifact(db: store.Connection) -> list[Row]:
    """Files that a session changed and that are no artifacts: deleted since, outside of the workspace, not clear."""
    from mlos_sync.app.naming import artifact_at

    rows = db.execute(
        f"SELECT c.session_id, c.raw_path, c.path, count(*) {_EDITS} GROUP BY 1, 2, 3 ORDER BY 1, 2", WRITING
    ).fetchall()
    return [
        {"session_id": session, "raw_path": raw, "path": path, "edits": count}
        for session, raw, path, count in rows
        if path is None or artifact_at(db, path) is None
    ]


def _without_session(db: store.Connection) -> Row:
    """Artifacts that no session is known to have made or changed, transcripts themselves left out."""
    rows = db.execute(
        "SELECT file_path FROM artifacts a WHERE file_path IS NOT NULL AND artifact_type IS NOT 'transcript' AND NOT EXISTS"
        " (SELECT 1 FROM relationships r WHERE r.target_type = 'artifact' AND r.target_id = a.id"
        " AND r.relationship_type = 'produced') ORDER BY file_path"
    ).fetchall()
    return {"count": len(rows), "paths": [path for (path,) in rows]}


def _evidence(db: store.Connection) -> dict[str, int]:
    """How many artifacts each grade explains, by the strongest edge of each; `unknown` are the others."""
    best: dict[int, str] = {}
    order = ("proved", "declared", "matched")
    for number, evidence in db.execute(
        "SELECT r.target_id, r.evidence FROM relationships r JOIN artifacts a ON a.id = r.target_id"
        " WHERE r.target_type = 'artifact' AND r.relationship_type = 'produced' AND a.file_path IS NOT NULL"
        " AND a.artifact_type IS NOT 'transcript'"
    ):
        if number not in best or order.index(evidence) < order.index(best[number]):
            best[number] = evidence
    (all_of_them,) = db.execute(
        "SELECT count(*) FROM artifacts WHERE file_path IS NOT NULL AND artifact_type IS NOT 'transcript'"
    ).fetchone()
    counts = {grade: sum(1 for one in best.values() if one == grade) for grade in order}
    return counts | {"unknown": all_of_them - len(best)}


def _coverage(db: store.Connection) -> list[Row]:
    """By month: sessions that began, commits, and commits that a session is tied to."""
    began = (
        "SELECT DISTINCT session_id, substr(started_at, 1, 7) FROM session_files WHERE speaks = 1 AND started_at <> ''"
    )
    made = "SELECT id, substr(committed_at, 1, 7) FROM commits"
    tied = {
        number
        for (number,) in db.execute(
            "SELECT DISTINCT target_id FROM relationships WHERE target_type = 'commit' AND source_type = 'agent'"
        )
    }
    months: dict[str, Row] = {}

    def count(month: str, name: str) -> None:
        row = months.setdefault(month, {"month": month, "sessions": 0, "commits": 0, "commits_with_session": 0})
        row[name] += 1

    for _, month in db.execute(began):
        count(month, "sessions")
    for number, month in db.execute(made):
        count(month, "commits")
        if number in tied:
            count(month, "commits_with_session")
    return [months[month] for month in sorted(months)]
