"""The commits reachable from HEAD, their changes, and what their messages say of tasks and needs.

Incremental: what HEAD gained is read from one `git log`, what it lost (reset, amend, rebase) is forgotten; nothing is
read again when HEAD has not moved. A closing trailer becomes an event whose id is made from commit and record, so
that every clone derives the same one; it counts while its commit is reachable, and is published by a later commit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mlos_sync.app import segments
from mlos_sync.app.events import add_events
from mlos_sync.app.folding import Record, iso
from mlos_sync.app.opening import Index
from mlos_sync.core import ids, journal
from mlos_sync.core.fold import fold
from mlos_sync.edge import git, store
from mlos_sync.edge.git import LoggedCommit
from mlos_sync.edge.workspace import MARKER
from mlos_sync.errors import RefusedError, SurroundingsError, UsageError

BATCH = 500
# An agent's footer often puts its co-author line into a paragraph of its own, and git then sees no other trailer
# ("Task: 12", blank line, "Co-Authored-By: …"): a line of a known key whose whole value is a reference counts too.
_LINE = re.compile(r"^(task|need|closes|fixes|resolves)[ \t]*:[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)


def update(index: Index) -> set[str]:
    """Bring the commit tables to HEAD, inside the caller's transaction. Returns the paths whose history changed."""
    db, root = index.db, index.workspace.root
    now, before = git.head(root), store.get(db, "head") or None
    if now == before:
        return set()
    known = before is not None and _exists(root, before)
    if before is not None and not known:
        for table in ("commits", "commit_changes", "commit_references"):
            db.execute(f"DELETE FROM {table}")
    paths: set[str] = set()
    if now is None:
        paths |= _forget(db, [sha for (sha,) in db.execute("SELECT sha FROM commits")])
    else:
        if known and before is not None:
            paths |= _forget(db, git.run(root, "rev-list", before, f"^{now}").decode().split())
        paths |= _read(index, [now, *([f"^{before}"] if known else [])])
    store.put(db, "head", now or "")
    store.bump(db, "revision")
    return paths


def _read(index: Index, revisions: list[str]) -> set[str]:
    """Take in commits. Where contents are missing (a partial clone, damage), renames are told by object id alone; where
    even that fails, what could be read is kept and the rest is named."""
    db, root = index.db, index.workspace.root
    store.observe(db, "history", [])
    try:
        return _add(index, git.log(root, *revisions))
    except SurroundingsError as error:
        store.observe(db, "history", [("git log", f"renames with edits are not told: {error.message}")])
    try:
        return _add(index, git.log(root, *revisions, renames="-M100%"))
    except SurroundingsError as error:
        store.observe(db, "history", [("git log", f"older commits could not be read ({error.message}); run git fsck")])
    return {path for (path,) in db.execute("SELECT DISTINCT path FROM commit_changes")}


def _exists(root: str, sha: str) -> bool:
    return git.run(root, "cat-file", "-t", sha, check=False).strip() == b"commit"


def _forget(db: store.Connection, shas: list[str]) -> set[str]:
    paths: set[str] = set()
    for sha in shas:
        row = db.execute("SELECT id FROM commits WHERE sha = ?", (sha,)).fetchone()
        if row:
            paths.update(path for (path,) in db.execute("SELECT path FROM commit_changes WHERE commit_id = ?", row))
            db.execute("DELETE FROM commit_changes WHERE commit_id = ?", row)
            db.execute("DELETE FROM commit_references WHERE commit_id = ?", row)
            db.execute("DELETE FROM relationships WHERE source_type = 'commit' AND source_id = ?", row)
            db.execute("DELETE FROM commits WHERE id = ?", row)
    return paths


def _add(index: Index, commits: Iterable[LoggedCommit]) -> set[str]:
    db = index.db
    paths: set[str] = set()
    mentioned: dict[str, tuple[int | None, list[tuple[str, str]]]] = {}
    for commit in commits:
        times = (iso(commit.authored * 1000), iso(commit.committed * 1000))
        cursor = db.execute(
            "INSERT OR IGNORE INTO commits(sha, author, authored_at, committed_at, subject) VALUES (?, ?, ?, ?, ?)",
            (commit.sha, commit.author, *times, commit.subject),
        )
        if cursor.rowcount:
            number = cursor.lastrowid
            db.executemany(
                "INSERT OR REPLACE INTO commit_changes(path, commit_id, status, old_path, blob) VALUES (?, ?, ?, ?, ?)",
                [(c.path, number, c.status, c.old_path, c.blob) for c in commit.changes],
            )
            if found := mentions(commit):
                mentioned[commit.sha] = (number, found)
            paths.update(change.path for change in commit.changes)
            paths.update(change.old_path for change in commit.changes if change.old_path)
    # "Fixes: 12" from before there was a workspace means somebody else's number 12.
    for sha in git.having(index.workspace.root, mentioned, MARKER):
        number, found = mentioned[sha]
        db.executemany("INSERT OR IGNORE INTO commit_references VALUES (?, ?, ?)", [(number, *one) for one in found])
    return paths


def mentions(commit: LoggedCommit) -> list[tuple[str, str]]:
    """(key in lower case, value) of each trailer or trailer-like line that refers to a record."""
    found = [(key.lower(), value) for key, value in commit.trailers if key.lower() in ids.TRAILERS]
    if ":" in commit.message.partition("\n")[2]:
        found += [(match[1].lower(), match[2].strip()) for match in _LINE.finditer(commit.message.partition("\n")[2])]
    return [pair for pair in dict.fromkeys(found) if any(True for _ in ids.in_trailer(*pair))]


def closings(index: Index) -> set[Record]:
    """Make the closing events of commits that have none yet, and look up what messages refer to.

    Runs in the caller's transaction, capture off, after records are up to date. Returns the records to fold again.
    """
    db = index.db
    dirty: set[Record] = set()
    unresolved = []
    rows = db.execute(
        "SELECT c.id, c.sha, c.author, r.key, r.value, c.committed_at FROM commit_references r"
        " JOIN commits c ON c.id = r.commit_id ORDER BY c.committed_at, c.sha, r.key, r.value"
    ).fetchall()
    for _number, sha, author, key, value, at in rows:
        for reference, closes in ids.in_trailer(key, value):
            try:
                kind, uid = find_record(db, reference)
            except (UsageError, RefusedError) as error:
                unresolved.append((f"commit {sha[:12]}", f"{key}: {value}: {error.message}"))
                continue
            event = ids.derived_uid("closing", sha, uid)
            if closes and not db.execute("SELECT 1 FROM events WHERE id = ?", (event,)).fetchone():
                add_events(db, [_closing(index, event, kind, uid, sha, author, at)], closing=sha)
                db.execute("UPDATE events SET visible = 1 WHERE id = ?", (event,))
                store.bump(db, "revision")
                dirty.add((kind, uid))
    by_commit: dict[str, list[str]] = {}
    for commit, message in unresolved:
        by_commit.setdefault(commit, []).append(message)
    store.observe(db, "references", [(commit, "; ".join(messages)) for commit, messages in by_commit.items()])
    return dirty


def _closing(index: Index, event: str, kind: str, uid: str, sha: str, author: str, at: str) -> journal.Event:
    """It has seen the journal of its commit's own tree: what was decided there it overrules, what came later overrules it."""
    from datetime import datetime

    db, root = index.db, index.workspace.root
    places = segments.named(git.tree_files(root, sha, journal.FOLDER))
    segments.read_blobs(index, places)
    held = ", ".join("?" * len(places))
    lines = db.execute(
        "SELECT DISTINCT e.line FROM events e JOIN segment_events s ON s.event = e.id"
        f" WHERE e.kind = ? AND e.uid = ? AND s.segment IN ({held})",
        (kind, uid, *places),
    ).fetchall()
    seen = fold(journal.trusted(line) for (line,) in lines).heads if lines else ()
    status = "completed" if kind == "task" else "resolved"
    return journal.make(
        id=event, clock=(int(datetime.fromisoformat(at).timestamp()) * 1000, 0), seen=seen, kind=kind, uid=uid, op="update",
        fields={"status": status}, actor=author, door=f"commit {sha}", tx=sha,
    )  # fmt: skip


def find_record(db: store.Connection, reference: ids.Reference) -> tuple[str, str]:
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
