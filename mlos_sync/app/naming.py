"""What names mean here: keys of the journal (`need:<uid>`, `artifact:<path>`, `commit:<sha>`) and what somebody typed."""

from __future__ import annotations

from collections.abc import Callable

from mlos_sync.app.numbering import MANY, ROW_KINDS
from mlos_sync.core import ids
from mlos_sync.core.vocabulary import TABLE_OF
from mlos_sync.edge.store import Connection
from mlos_sync.errors import RefusedError, UsageError

Resolve = Callable[[object], int | None]


def resolver(db: Connection, count: int) -> Resolve:
    """`resolve` for the rows as they stand now; for many records from tables read whole."""
    if count <= MANY:
        return lambda key: resolve(db, key)
    known = {f"{kind}:{uid}": n for kind in ROW_KINDS for uid, n in db.execute(f"SELECT uid, id FROM {TABLE_OF[kind]}")}

    def look_up(key: object) -> int | None:
        text = str(key)
        return known.get(text) if text.startswith(("need:", "task:", "agent:")) else resolve(db, text)

    return look_up


def resolve(db: Connection, key: object) -> int | None:
    """The id of what a journal key names (`need:<uid>`, `artifact:<path>`, `commit:<sha>`), or None."""
    kind, _, name = str(key).partition(":")
    if kind not in TABLE_OF or kind == "relationship":
        return None
    if kind == "artifact":
        return artifact_at(db, name)
    column = "sha" if kind == "commit" else "uid"
    row = db.execute(f"SELECT id FROM {TABLE_OF[kind]} WHERE {column} = ?", (name,)).fetchone()
    return row[0] if row else None


def artifact_at(db: Connection, path: str, since: str | None = None) -> int | None:
    """The artifact at a path; where the file was renamed, the one it became (renames known from commits first). With
    `since`, a time, the file that was there then: one renamed later is followed, whatever has its name today."""
    at = _followed(db, path, since) if since is not None else path
    for _ in range(100):
        row = db.execute("SELECT id FROM artifacts WHERE file_path = ?", (at,)).fetchone()
        if row:
            return int(row[0])
        following = db.execute(
            "SELECT c.path FROM commit_changes c JOIN commits k ON k.id = c.commit_id WHERE c.old_path = ?"
            " AND c.status = 'R' ORDER BY k.committed_at DESC, k.sha LIMIT 1",
            (at,),
        ).fetchone()
        if not following:
            break
        at = following[0]
    moved = "SELECT id FROM artifacts WHERE last_path IN (?, ?) AND file_path IS NOT NULL ORDER BY id LIMIT 1"
    row = db.execute(moved, (at, path)).fetchone()
    return int(row[0]) if row else None


def _followed(db: Connection, path: str, since: str) -> str:
    """The path that commits from a time on gave to the file at a path."""
    for _ in range(100):
        row = db.execute(
            "SELECT c.path, k.committed_at FROM commit_changes c JOIN commits k ON k.id = c.commit_id WHERE c.old_path = ?"
            " AND c.status = 'R' AND k.committed_at >= ? ORDER BY k.committed_at, k.sha LIMIT 1",
            (path, since),
        ).fetchone()
        if not row or row[0] == path:
            break
        path, since = row
    return path


def find_record(db: Connection, reference: ids.Reference) -> tuple[str, str]:
    """(kind, uid) of the one need, task or agent that a reference names. Raises UsageError when there is none and
    RefusedError when there are several."""
    kind = reference.kind
    if kind not in ids.RECORD_KINDS:
        raise UsageError(
            "the reference does not say whether it is a need, a task or an agent", "write need:3, task:12 or agent:5"
        )
    table = f"{kind}s"
    if reference.number is not None:
        # The number a record carries wins; one that it was created with stays as an alias.
        found = db.execute(f"SELECT uid, id FROM {table} WHERE id = ?", (reference.number,)).fetchall()
        aliases = "SELECT t.uid, t.id FROM numbers n JOIN {0} t ON t.uid = n.uid WHERE n.kind = ? AND n.claimed = ?"
        found += db.execute(aliases.format(table), (kind, reference.number)).fetchall()
        named = f"{kind}:{reference.number}"
    else:
        found = db.execute(f"SELECT uid, id FROM {table} WHERE uid GLOB ?", (f"{reference.prefix}*",)).fetchall()
        named = f"{kind}-{reference.prefix}"
    distinct = dict(found)
    if not distinct:
        raise UsageError(f"there is no {named}", f"list them: mlos-sync {kind} list")
    if len(distinct) > 1:
        choices = ", ".join(f"{kind}:{number} ({ids.shown(kind, uid, 12)})" for uid, number in distinct.items())
        raise RefusedError(f"{named} is ambiguous: {choices}", "use one of these uids")
    return kind, next(iter(distinct))
