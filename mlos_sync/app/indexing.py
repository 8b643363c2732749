"""Files into the index: a plan is carried out, in one transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from mlos_sync.app import dating, statcache
from mlos_sync.app.opening import Index, writing
from mlos_sync.app.planning import Document, Plan, object_format
from mlos_sync.core.changes import is_covered
from mlos_sync.core.ids import derived_uid
from mlos_sync.core.paths import artifact_type
from mlos_sync.core.times import iso
from mlos_sync.edge import git, store


def apply(index: Index, result: Plan) -> None:
    """Write a plan's changes, inside the caller's transaction with capture off."""
    db, changes = index.db, result.changes
    now = iso(int(time.time() * 1000))
    for old, new in changes.moved:
        _move(db, old, new)
    changed = [*changes.modified, *(new for _, new in changes.moved)]
    db.executemany(
        "INSERT INTO artifact_versions(artifact_id, content_hash, until)"
        " SELECT id, content_hash, ? FROM artifacts WHERE file_path = ? AND content_hash IS NOT NULL AND content_hash <> ?",
        [(now, path, result.hashed[path].sha256) for path in changes.modified],
    )
    db.executemany(
        "INSERT INTO artifacts(uid, file_path, title, description, source_transcript, artifact_type, content_hash, blob,"
        " created_at, updated_at, own) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(uid) DO UPDATE SET"
        " file_path = excluded.file_path, title = excluded.title, description = excluded.description,"
        " source_transcript = coalesce(excluded.source_transcript, made_in), artifact_type = excluded.artifact_type,"
        " content_hash = excluded.content_hash, blob = excluded.blob, created_at = excluded.created_at,"
        " updated_at = excluded.updated_at, own = excluded.own",
        _rows(index, result, [*changes.added, *changed, *changes.touched]),
    )
    db.executemany(
        "UPDATE artifacts SET last_path = ? WHERE file_path = ?", [(old, new) for new, old in result.origins.items()]
    )
    db.executemany(
        "UPDATE artifacts SET last_path = file_path, file_path = NULL WHERE file_path = ?",
        [(p,) for p in changes.deleted],
    )
    fresh = (*changes.added, *changes.modified, *changes.touched, *(new for _, new in changes.moved))
    gone = (*changes.deleted, *(old for old, _ in changes.moved))
    statcache.update(db, ((path, result.hashed[path].stat) for path in fresh), gone)
    if result.hashed or changes:
        store.put(db, "object_format", object_format(index))
        store.bump(db, "generation")


def _rows(index: Index, result: Plan, paths: list[str]) -> Iterator[tuple[str | None, ...]]:
    nothing = Document()
    known = dating.dates(index.workspace.root, index.db, paths)
    odd = {
        path: result.hashed[path].blob for path, found in known.items() if result.hashed[path].blob not in found.blobs
    }
    committed = dating.is_committed(index.workspace.root, odd)
    for path in paths:
        hashed = result.hashed[path]
        document = result.documents.get(path, nothing)
        dated = known.get(path)
        if dated is None:
            first = last = iso(hashed.when * 1000)
        else:
            first, last = dated.first, dated.last
            if hashed.blob not in dated.blobs and path not in committed:
                last = max(last, iso(hashed.when * 1000))
        kind = "transcript" if document.is_transcript else artifact_type(path)
        yield (
            derived_uid("artifact", path), path, document.title or path.rpartition("/")[2], document.description,
            document.source_transcript, kind, hashed.sha256, hashed.blob, first, last, _own(document, kind),
        )  # fmt: skip


def _own(document: Document, kind: str) -> str:
    """What a file says of itself, as JSON; what it does not say may be said by an annotation."""
    said = {
        "title": document.title,
        "description": document.description,
        "source_transcript": document.source_transcript,
    }
    told = {name: value for name, value in said.items() if value is not None}
    return json.dumps(told | {"artifact_type": kind}, ensure_ascii=False, sort_keys=True)


def _move(db: store.Connection, old: str, new: str) -> None:
    uid = derived_uid("artifact", new)
    db.execute("DELETE FROM artifacts WHERE uid = ? AND file_path IS NULL", (uid,))
    db.execute("UPDATE artifacts SET file_path = ?, last_path = ?, uid = ? WHERE file_path = ?", (new, old, uid, old))


def take_over(index: Index, old: Index) -> None:
    """Bring from an old index what a new walk could not look at: nothing is known to have gone there, and what a sparse
    checkout leaves out is not on disk at all."""
    unread = {subject for (subject,) in index.db.execute("SELECT subject FROM observations WHERE kind = 'walk'")}
    here = {path for (path,) in index.db.execute("SELECT file_path FROM artifacts WHERE file_path IS NOT NULL")}
    rows = store.rows(old.db, "SELECT * FROM artifacts WHERE file_path IS NOT NULL")
    rows = [row for row in rows if row["file_path"] not in here]
    entries = git.tracked(index.workspace.root) if rows else {}
    sparse = {row["file_path"] for row in rows if (e := entries.get(row["file_path"])) is not None and e.tag == "S"}
    kept = [row for row in rows if row["file_path"] in sparse or is_covered(row["file_path"], unread)]
    if not kept:
        return
    with writing(index), store.capture(index.db, on=False):
        for row in kept:
            values = {name: value for name, value in row.items() if name != "id"}
            marks = ", ".join("?" * len(values))
            index.db.execute(
                f"INSERT OR IGNORE INTO artifacts({', '.join(values)}) VALUES ({marks})", list(values.values())
            )
        before, now = statcache.every(old.db), statcache.every(index.db)
        for folder, _, name in (row["file_path"].rpartition("/") for row in kept):
            if name in before.get(folder, {}):
                now.setdefault(folder, {})[name] = before[folder][name]
                statcache.put(index.db, folder, now[folder])
