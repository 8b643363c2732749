"""Bring records and commits up to date: what every command does first, cheaply, before it answers."""

from __future__ import annotations

from mlos_sync.app import dating, deriving, events, history, journaling, looking, referring
from mlos_sync.app.folding import refold
from mlos_sync.app.opening import Index, writing
from mlos_sync.edge import store


def catch_up(index: Index, *, thorough: bool = False) -> None:
    """Records, commits and the edges between them as of now. Takes the writer's lock only when something may have
    changed; `thorough` also looks for segments that were altered in place."""
    seen = looking.look(index, thorough=thorough)
    if is_current(index, seen) and deriving.are_edges_current(index.db):
        return
    with writing(index):
        refresh(index, seen, edges=True)


def is_current(index: Index, seen: looking.Look) -> bool:
    """Whether nothing has changed since the last time, by cheap looks only."""
    return journaling.is_current(index, seen) and history.are_rules_current(index)


def refresh(index: Index, seen: looking.Look | None = None, *, edges: bool = False) -> looking.Look:
    """Records and commits, and the dates that commits give to files, inside the caller's lock and transaction; with
    `edges` also those between them, where the caller writes nothing more.

    `seen` is what the caller saw before it had the lock; where it is not what the index was brought up to, somebody may
    have come between, and it is looked for again. Returns what the index is brought up to.
    """
    db = index.db
    if seen is None or (seen.before != looking.taken_in(index) and not looking.are_current(index, seen)):
        seen = looking.look(index, thorough=bool(seen and seen.stats))
    current = is_current(index, seen) and referring.is_current(db, seen.head)
    if not current or edges:
        with store.capture(db, on=False):
            if not current:
                _absorb(index, seen)
            if edges:
                deriving.update_edges(db, index.workspace.root)
    return seen


def _absorb(index: Index, seen: looking.Look) -> None:
    """Commits first: a segment that HEAD's history holds counts. Capture is off."""
    db = index.db
    moved = store.get(db, "head") != seen.head
    paths = history.update(index, seen.head)
    moved |= bool(paths)
    journaling.absorb(index, seen, paths)
    if moved or not referring.are_references_current(db):
        dirty = events.update_visibility(db, events.closings(db)) if moved else set()
        dirty |= referring.look_up(index)
        if moved:
            dating.settle_moves(index.workspace.root, db, paths)
            dirty |= records_naming_files(db)
        refold(db, dirty)
    dating.update(index.workspace.root, db, paths)
    if moved:
        _follow_history(index, paths)
    journaling.count_pending(db)


def _follow_history(index: Index, paths: set[str]) -> None:
    """What the changed history of these paths means for sessions: a path may be known now, a content may be proved; and what
    new commits say of sessions, though they change nothing."""
    db = index.db
    if not db.execute("SELECT 1 FROM session_files LIMIT 1").fetchone():
        return
    from mlos_sync.app import placing, weighing  # for few commands: it takes 10 ms

    here = {path for (path,) in db.execute("SELECT file_path FROM artifacts WHERE file_path IS NOT NULL")}
    weighing.unsettle(db, placing.place(db, index.workspace.root, placing.affected(db, paths - here)))
    weighing.unsettle_paths(db, paths)
    if db.execute("SELECT 1 FROM transcripts WHERE kept = 'git' LIMIT 1").fetchone():
        from mlos_sync.app import noting

        noting.name_commits(db)
    after = (int(store.get(db, "commits_after", "0")),)
    named = (
        "SELECT DISTINCT f.session_id FROM commit_sessions s JOIN session_files f ON s.value IN (f.session_id, f.part)"
    )
    weighing.unsettle(db, [session for (session,) in db.execute(f"{named} WHERE s.commit_id > ?", after).fetchall()])
    printed = (
        "SELECT DISTINCT c.session_id FROM session_commits c JOIN commits k ON k.sha >= c.sha AND k.sha < c.sha || 'g'"
    )
    weighing.unsettle(db, [session for (session,) in db.execute(f"{printed} WHERE k.id > ?", after).fetchall()])


def records_naming_files(db: store.Connection) -> set[tuple[str, str]]:
    """Records that name a file by its path, or a commit: a file may have been renamed, a commit may have come or gone."""
    return set(
        db.execute(
            "SELECT DISTINCT kind, uid FROM mentions WHERE target >= 'artifact:' AND target < 'artifact;'"
            " OR target >= 'commit:' AND target < 'commit;'"
        ).fetchall()
    )
