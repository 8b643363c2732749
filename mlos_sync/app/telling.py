"""History told: the events of a record or of the workspace, the versions of an artifact, the changes of a commit."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

from mlos_sync.app import finding, freshness, weighing
from mlos_sync.app.filtering import since_ms
from mlos_sync.app.opening import Index
from mlos_sync.core import ids, journal
from mlos_sync.core.times import iso
from mlos_sync.edge import objects, store
from mlos_sync.errors import UsageError

Row = dict[str, Any]
_OPS = {"A": "added", "M": "modified", "D": "deleted", "R": "renamed", "C": "copied", "T": "retyped"}


def history(index: Index, text: str | None = None, since: str | None = None, limit: int | None = None) -> list[Row]:
    """What happened, oldest first: the last `limit` of it, nothing before `since`.

    `text` names a record (also a deleted one), an artifact (also one that has gone) or a commit; without it, all
    records. Raises UsageError for what never was here.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"{limit} is no number of events", "give --limit a number from 1")
    after = since_ms(since) if since else 0
    freshness.catch_up(index)
    reference = ids.parse(text, "artifact") if text is not None else None
    if text is None:
        return _events(index.db, None, after, limit)
    if reference is not None and reference.kind == "artifact" and reference.path:
        return _latest(_versions(index, reference.path), after, limit)
    if reference is not None and reference.kind == "commit":
        return _latest(_changes(index.db, finding.found(index.db, text)[1]), after, limit)
    return _events(index.db, finding.ever(index.db, text), after, limit)


def _events(db: store.Connection, record: tuple[str, str] | None, after: int, limit: int | None) -> list[Row]:
    where, values = (" AND kind = ? AND uid = ?", record) if record else ("", ())
    rows = db.execute(
        f"SELECT line FROM events WHERE visible = 1 AND clock_ms >= ?{where} ORDER BY clock_ms DESC, clock_n DESC, id DESC"
        " LIMIT ?",
        (after, *values, -1 if limit is None else limit),
    ).fetchall()
    width = {kind: finding.digits(db, kind) for kind in ids.RECORD_KINDS}
    found = []
    for (line,) in reversed(rows):
        event = journal.trusted(line)
        found.append(
            {
                "id": event.id, "at": iso(event.clock[0]), "kind": event.kind, "uid": event.uid,
                "ref": ids.shown(event.kind, event.uid, width.get(event.kind, ids.SHORTEST)), "op": event.op,
                "fields": event.fields, "actor": event.actor, "door": event.door,
            }
        )  # fmt: skip
    return found


def _latest(found: list[Row], after: int, limit: int | None) -> list[Row]:
    kept = [one for one in found if one["at"] >= iso(after)]
    return kept if limit is None else kept[-limit:]


def _versions(index: Index, path: str) -> list[Row]:
    """Each content that the file at a path had: since when and until when, by which commit and, where that is proved, by
    which sessions; work that no commit holds is
    among them. Contents are compared by hash, so a version that git has is told once."""
    db = index.db
    artifact = store.rows(db, "SELECT * FROM artifacts WHERE file_path = ?", (path,)) or store.rows(
        db, "SELECT * FROM artifacts WHERE last_path = ? AND file_path IS NULL", (path,)
    )
    found = _committed(index, path)
    if not artifact and not found:
        finding.found(db, f"artifact:{path}")  # raises, with the nearest names
    found += _uncommitted(db, artifact[0], {one["hash"] for one in found}) if artifact else []
    found.sort(key=lambda one: (one["at"], one["until"] or "9"))
    for one, following in pairwise(found):
        one["until"] = one["until"] or following["since"] or following["at"]
    makers = weighing.makers_of_contents(db, artifact[0]["id"]) if artifact else {}
    for one in found:
        one["sessions"] = sorted(makers.get(one["hash"], set()) | makers.get(one["blob"], set()))
    return found


def _committed(index: Index, path: str) -> list[Row]:
    rows = _commits_of(index.db, path)
    blobs = {row["blob"] for row in rows if row["blob"]}
    hashes = {
        name: hashlib.sha256(data).hexdigest() for name, data in objects.blobs(index.workspace.root, sorted(blobs))
    }
    return [
        {
            "at": row["committed_at"], "kind": "artifact", "ref": f"artifact:{row['path']}",
            "op": _OPS.get(row["status"][:1], row["status"]), "hash": hashes.get(row["blob"]), "blob": row["blob"],
            "since": row["committed_at"], "until": None, "old_path": row["old_path"], "commit": row["sha"],
            "subject": row["subject"], "actor": row["author"], "door": f"commit {row['sha']}",
        }
        for row in rows
    ]  # fmt: skip


def _commits_of(db: store.Connection, path: str) -> list[Row]:
    """Commits that changed the file under this name, and before each rename under the name it had then; oldest first."""
    found: list[Row] = []
    followed: set[str] = set()
    name, before = path, "9"
    while True:
        rows = store.rows(
            db,
            "SELECT k.*, c.path, c.status, c.old_path, c.blob FROM commit_changes c JOIN commits k ON k.id = c.commit_id"
            " WHERE c.path = ? AND k.committed_at <= ? ORDER BY k.committed_at DESC, k.id DESC",
            (name, before),
        )
        last = next((n for n, row in enumerate(rows) if row["status"][:1] == "R" and row["old_path"]), None)
        if last is None or rows[last]["sha"] in followed:
            return (found + rows)[::-1]
        found += rows[: last + 1]
        followed.add(rows[last]["sha"])
        name, before = rows[last]["old_path"], rows[last]["committed_at"]


def _uncommitted(db: store.Connection, artifact: Row, known: set[str | None]) -> list[Row]:
    """Contents that only this clone saw, by the time at which the next one was seen; and the present one."""
    rows = db.execute(
        "SELECT content_hash, until FROM artifact_versions WHERE artifact_id = ? ORDER BY id", (artifact["id"],)
    ).fetchall()
    place = artifact["file_path"] or artifact["last_path"]
    common = {"kind": "artifact", "ref": f"artifact:{place}", "blob": None, "old_path": None, "commit": None,
              "subject": None, "actor": None, "door": "sync"}  # fmt: skip
    found: list[Row] = []
    since = None
    for content, until in rows:
        if content not in known:
            found.append({"at": since or until, "op": "seen", "hash": content, "since": since, "until": until} | common)
        since = until
    if artifact["file_path"] and artifact["content_hash"] and artifact["content_hash"] not in known:
        at = since or artifact["updated_at"] or artifact["created_at"] or ""
        found.append({"at": at, "op": "seen", "hash": artifact["content_hash"], "since": at, "until": None} | common)
    return found


def _changes(db: store.Connection, sha: str) -> list[Row]:
    """What a commit did, path by path."""
    rows = store.rows(
        db,
        "SELECT k.*, c.path, c.status, c.old_path, c.blob FROM commits k LEFT JOIN commit_changes c ON c.commit_id = k.id"
        " WHERE k.sha = ? ORDER BY c.path",
        (sha,),
    )
    return [
        {
            "at": row["committed_at"], "kind": "commit", "ref": f"artifact:{row['path']}" if row["path"] else f"commit:{sha}",
            "op": _OPS.get((row["status"] or "")[:1], "commit"), "blob": row["blob"], "old_path": row["old_path"],
            "commit": sha, "subject": row["subject"], "actor": row["author"], "door": f"commit {sha}",
        }
        for row in rows
    ]  # fmt: skip
