"""The commits reachable from HEAD, their changes, and what their messages say of tasks and needs.

Incremental: what HEAD gained is read from one `git log`, what it lost (reset, amend, rebase) is forgotten; nothing is
read again when HEAD has not moved. A closing trailer becomes an event whose id is made from commit and record, so
that every clone derives the same one; it counts while its commit is reachable, and is published by a later commit.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlos_sync.app import looking, reading, segments
from mlos_sync.app.events import add_events, update_visibility
from mlos_sync.app.folding import iso
from mlos_sync.app.numbering import Record, is_contested, uid_in
from mlos_sync.app.opening import Index
from mlos_sync.core import ids, journal, trailers
from mlos_sync.core.fold import heads
from mlos_sync.core.trailers import Rules
from mlos_sync.edge import commits, git, store
from mlos_sync.edge.commits import LoggedCommit
from mlos_sync.edge.workspace import MARKER
from mlos_sync.errors import RefusedError, SurroundingsError, UsageError

BATCH = 500


def update(index: Index, head: str) -> set[str]:
    """Bring the commit tables to the commit `head` ("": none yet), inside the caller's transaction. Returns the paths
    whose history changed."""
    db, root = index.db, index.workspace.root
    now, before, ends = head or None, store.get(db, "head") or None, looking.shallow(index)
    deeper = ends != store.get(db, "shallow")
    if now == before and not deeper:
        return set()
    lost = git.reachable_only(root, before, now or before) if before is not None and not deeper else None
    store.put(db, "shallow", ends)
    paths: set[str] = set()
    if before is not None and lost is None:
        paths |= {path for (path,) in db.execute("SELECT DISTINCT path FROM commit_changes")}
        for table in ("commits", "commit_changes", "commit_references", "commit_sessions"):
            db.execute(f"DELETE FROM {table}")
        db.execute("DELETE FROM relationships WHERE target_type = 'commit' AND origin = 'derived'")
    if now is None:
        paths |= _forget(db, [sha for (sha,) in db.execute("SELECT sha FROM commits")])
    else:
        paths |= _forget(db, lost or [])
        (last,) = db.execute("SELECT coalesce(max(id), 0) FROM commits").fetchone()
        store.put(db, "commits_after", str(last))  # those with a higher number are new
        paths |= _read(index, [now, *([f"^{before}"] if before is not None and lost is not None else [])])
    store.put(db, "head", now or "")
    store.bump(db, "population")
    return paths


def _read(index: Index, revisions: list[str]) -> set[str]:
    """Take in commits. Where contents are missing (a partial clone, damage), renames are told by object id alone; where
    even that fails, what could be read is kept and the rest is named."""
    db, root = index.db, index.workspace.root
    store.observe(db, "history", [])
    try:
        return _add(index, commits.log(root, *revisions), revisions)
    except SurroundingsError as error:
        store.observe(db, "history", [("git log", f"renames with edits are not told: {error.message}")])
    try:
        return _add(index, commits.log(root, *revisions, renames="-M100%"), revisions)
    except SurroundingsError as error:
        store.observe(db, "history", [("git log", f"older commits could not be read ({error.message}); run git fsck")])
    return {path for (path,) in db.execute("SELECT DISTINCT path FROM commit_changes")}


def _forget(db: store.Connection, shas: list[str]) -> set[str]:
    paths: set[str] = set()
    for sha in shas:
        row = db.execute("SELECT id FROM commits WHERE sha = ?", (sha,)).fetchone()
        if row:
            paths.update(path for (path,) in db.execute("SELECT path FROM commit_changes WHERE commit_id = ?", row))
            db.execute("DELETE FROM commit_changes WHERE commit_id = ?", row)
            db.execute("DELETE FROM commit_references WHERE commit_id = ?", row)
            db.execute("DELETE FROM commit_sessions WHERE commit_id = ?", row)
            db.execute("DELETE FROM relationships WHERE source_type = 'commit' AND source_id = ?", row)
            db.execute(
                "DELETE FROM relationships WHERE target_type = 'commit' AND target_id = ? AND origin = 'derived'", row
            )
            db.execute("DELETE FROM commits WHERE id = ?", row)
    return paths


def _add(index: Index, logged: Iterable[LoggedCommit], revisions: list[str]) -> set[str]:
    db, rules = index.db, index.workspace.config.commits.rules
    paths: set[str] = set()
    merges = False
    mentioned: dict[str, tuple[int | None, list[tuple[str, str]]]] = {}
    for commit in logged:
        merges |= commit.is_merge
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
            if found := mentions(commit, rules):
                mentioned[commit.sha] = (number, found)
            db.executemany(
                "INSERT OR IGNORE INTO commit_sessions VALUES (?, ?, ?)",
                [(number, *one) for one in named_sessions(commit, rules)],
            )
            paths.update(change.path for change in commit.changes)
            paths.update(change.old_path for change in commit.changes if change.old_path)
    # "Fixes: 12" from before there was a workspace means somebody else's number 12.
    for sha in git.having(index.workspace.root, mentioned, MARKER):
        number, found = mentioned[sha]
        db.executemany(
            "INSERT OR IGNORE INTO commit_references(commit_id, key, value) VALUES (?, ?, ?)",
            [(number, *one) for one in found],
        )
    return paths | _add_merged(index, revisions) if merges else paths


def _add_merged(index: Index, revisions: list[str]) -> set[str]:
    """Segments that a merge commit itself added (a merge that stopped, or was amended): they count like all others."""
    rows = commits.merged_files(index.workspace.root, *revisions, folder=journal.FOLDER)
    index.db.executemany(
        "INSERT OR IGNORE INTO commit_changes(path, commit_id, status, blob) SELECT ?, id, 'A', ? FROM commits WHERE sha = ?",
        [(path, blob, sha) for sha, path, blob in rows],
    )
    return {path for _, path, _ in rows}


def mentions(commit: LoggedCommit, rules: Rules) -> list[tuple[str, str]]:
    """(key in lower case, value) of each trailer, trailer-like line or word that refers to a record."""
    found = [(key.lower(), value) for key, value in commit.trailers if rules.meaning(key) not in (None, "session")]
    found = [pair for pair in found if any(True for _ in ids.in_trailer(str(rules.meaning(pair[0])), pair[1]))]
    found += [(one.key, one.value) for one in trailers.mentions(commit.message, rules)]
    return list(dict.fromkeys(found))


def named_sessions(commit: LoggedCommit, rules: Rules) -> list[tuple[str, str]]:
    """(key in lower case, session or checkpoint) of each trailer that names one; of a link its last part."""
    found = [(key.lower(), value) for key, value in commit.trailers if rules.meaning(key) == "session"]
    return [(key, value.rstrip("/").rpartition("/")[2]) for key, value in found if value]


def is_current(db: store.Connection, head: str) -> bool:
    """Whether the commits up to `head` are taken in, and what their messages name was looked up since records changed."""
    return store.get(db, "head") == head and are_references_current(db)


def are_references_current(db: store.Connection) -> bool:
    """Whether records and commits are as they were when the references in messages were last looked up."""
    return store.get(db, "references_at") == store.get(db, "population", "0")


def closings(index: Index) -> set[Record]:
    """Look up what messages refer to, where that is not known (any more), and make the closing events of their commits.

    Runs in the caller's transaction, capture off, after records are up to date. Returns the records to fold again.
    """
    db, rules = index.db, index.workspace.config.commits.rules
    dirty: set[Record] = set()
    unresolved: dict[str, list[str]] = {}
    rows = db.execute(
        "SELECT c.id, c.sha, c.author, r.key, r.value, c.committed_at FROM commit_references r"
        " JOIN commits c ON c.id = r.commit_id WHERE r.targets IS NULL ORDER BY c.committed_at, c.sha, r.key, r.value"
    ).fetchall()
    for number, sha, author, key, value, at in rows:
        targets: list[str] = []
        references = list(ids.in_trailer(rules.meaning(key) or key, value))
        for reference, closes in references:
            try:
                kind, uid = _named_by(index, reference, sha)
            except (UsageError, RefusedError) as error:
                unresolved.setdefault(f"commit {sha[:12]}", []).append(f"{key}: {value}: {error.message}")
                continue
            targets.append(f"{kind}:{uid}")
            event = ids.derived_uid("closing", sha, uid)
            if closes and not db.execute("SELECT 1 FROM events WHERE id = ?", (event,)).fetchone():
                made = add_events(db, [_closing(index, event, kind, uid, sha, author, at)], closing=sha)
                dirty |= update_visibility(db, made)
        if len(targets) == len(references):
            where = "commit_id = ? AND key = ? AND value = ?"
            db.execute(
                f"UPDATE commit_references SET targets = ? WHERE {where}", (" ".join(targets), number, key, value)
            )
        dirty |= _forget_other_closings(db, number, sha)
    store.observe(db, "references", [(commit, "; ".join(messages)) for commit, messages in unresolved.items()])
    store.put(db, "references_at", store.get(db, "population", "0"))
    return dirty


def _named_by(index: Index, reference: ids.Reference, sha: str) -> Record:
    """The record that a message names. A bare number means what it meant in the commit's own tree: where two clones gave
    it out, or it moved since, the records of that tree decide, never what came later."""
    db, number = index.db, reference.number
    if number is None or reference.kind is None or not is_contested(db, reference.kind, number):
        return find_record(db, reference)
    places = segments.named(git.tree_files(index.workspace.root, sha, journal.FOLDER))
    reading.read_copies(index, places)
    uid = uid_in(db, reference.kind, number, places)
    return (reference.kind, uid) if uid is not None else find_record(db, reference)


def _forget_other_closings(db: store.Connection, commit: int, sha: str) -> set[Record]:
    """A closing that was made for what the message meant once, before that became ambiguous, and that nobody published."""
    told = db.execute("SELECT targets FROM commit_references WHERE commit_id = ? AND targets IS NOT NULL", (commit,))
    meant = {target for (targets,) in told.fetchall() for target in targets.split()}
    stale = [
        (seq, kind, uid)
        for seq, kind, uid in db.execute(
            "SELECT seq, kind, uid FROM events WHERE closing = ? AND ledger = 0"
            " AND NOT EXISTS (SELECT 1 FROM segment_events m JOIN segments s ON s.number = m.segment"
            " WHERE m.event = events.seq AND s.committed)",
            (sha,),
        ).fetchall()
        if f"{kind}:{uid}" not in meant
    ]
    for seq, _, _ in stale:
        # A segment that was made for a commit which nobody made held it, perhaps: it is read again should it come back.
        holding = "SELECT segment FROM segment_events WHERE event = ?"
        db.execute(f"DELETE FROM segments WHERE number IN ({holding})", (seq,))
        db.execute(f"DELETE FROM segment_events WHERE segment IN ({holding})", (seq,))
        db.execute("DELETE FROM events WHERE seq = ?", (seq,))
    return {(kind, uid) for _, kind, uid in stale}


def _closing(index: Index, event: str, kind: str, uid: str, sha: str, author: str, at: str) -> journal.Event:
    """It has seen the journal of its commit's own tree: what was decided there it overrules, what came later overrules it."""
    from datetime import datetime

    db, root = index.db, index.workspace.root
    places = segments.named(git.tree_files(root, sha, journal.FOLDER))
    reading.read_copies(index, places)
    held = ", ".join("?" * len(places))
    lines = db.execute(
        "SELECT DISTINCT e.line FROM events e JOIN segment_events m ON m.event = e.seq JOIN segments s"
        f" ON s.number = m.segment WHERE e.kind = ? AND e.uid = ? AND s.name IN ({held})",
        (kind, uid, *places),
    ).fetchall()
    seen = heads(journal.trusted(line) for (line,) in lines)
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
