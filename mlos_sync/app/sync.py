"""One-shot reconcile: records, commits, files, transcripts and all that follows from them. One path for `sync`,
`rebuild` (the same against an empty index) and `watch`; `status` shows its plan."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from mlos_sync.app import collecting, deriving, flagging, freshness, indexing, looking, passing, planning, publishing
from mlos_sync.app.annotations import overlay
from mlos_sync.app.collecting import Collected
from mlos_sync.app.folding import refold
from mlos_sync.app.opening import Index, actor, alone
from mlos_sync.app.planning import Plan, Progress
from mlos_sync.core.changes import EVERYWHERE, FEW, Changes, Reach
from mlos_sync.core.vocabulary import ANNOTATED
from mlos_sync.edge import files, hashing, operations, store
from mlos_sync.edge.memory import without_cycle_search
from mlos_sync.edge.workspace import MARKER
from mlos_sync.errors import SurroundingsError

LOCKED = 64 << 20  # bytes that are read while others wait for the lock
LATER = "not read while others wait for the lock: the next sync reads it"
_Found = tuple[Plan, Collected]


class TransientError(SurroundingsError):
    """Git, or a hook that it runs, has the work tree in its hands: in the background nothing is recorded from that. Or the
    index is another one by now."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a sync did. `skipped` names each path that could not be taken in whole, with the reason."""

    changes: Changes
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    left: Reach | None = None  # what was not looked at, as it would have taken long
    unsure: frozenset[str] = frozenset()  # what is missing and may come back, as git was at work


def sync(
    index: Index,
    reach: Reach = EVERYWHERE,
    *,
    accept_deletes: bool = False,
    progress: Progress | None = None,
    in_background: bool = False,
    kept: hashing.Kept | None = None,
    at_most: int | None = None,
    patience: float = store.PATIENCE,
) -> Report:
    """Bring the index to the state of the work tree and the repository, as far as the reach goes. In the background git's
    index is left alone also where a hook that was killed did not finish its work on it: the lock may be what the user's
    next command needs; and a mass disappearance, about which nobody is there to be asked, keeps only itself from being
    recorded. `kept` is a hashing process that outlives this sync. Where more than `at_most` bytes would be read, the largest
    files are `left`. Raises BusyError where others write for longer than `patience` seconds."""
    with without_cycle_search():
        if not in_background:
            _finish_commits(index)
        prepare = partial(
            planning.prepare, index, reach,
            accept_deletes=accept_deletes, withholds=in_background, progress=progress, kept=kept,
        )  # fmt: skip

        def look(reads: int | None, before: _Found | None = None) -> _Found:
            old, read = before or (None, None)
            plan = prepare(at_most=reads, before=old)
            return plan, collecting.collect(index, plan, beside=reach.beside, at_most=reads, before=read)

        return _sync(index, reach, at_most, look, _refuse_transient if in_background else None, patience)


def reach_of(index: Index, scope: tuple[str, ...]) -> Reach:
    """What a user asked for: these files and folders, or everything (so many that a walk is cheaper, too). Raises UsageError
    for one that is nowhere."""
    planning.check_scope(index, scope)
    is_all = not scope or "" in scope or len(scope) > FEW
    return EVERYWHERE if is_all else Reach(frozenset(path.rstrip("/") for path in scope))


def _finish_commits(index: Index) -> None:
    """What a post-commit hook had to do, where it was killed."""
    workspace = index.workspace
    if publishing.is_unfinished(workspace.state):
        with (
            contextlib.suppress(SurroundingsError),  # git or a commit is at work: the note stays for the next time
            store.writer_lock(workspace.common, publishing.HOOK_PATIENCE),
        ):
            publishing.mend(workspace.root, workspace.state)


def register(index: Index, written: Mapping[str, bytes]) -> None:
    """Take in files that we have just written ourselves: the same way, less the walk, and less the look at commits and
    records that the sync before it took; the next command takes one of its own."""
    plan = planning.of_written(index, written)
    if plan is None:
        sync(index, Reach(frozenset(written), beside=False))
    else:
        with alone(index):
            if not store.is_replaced(index.db):  # else a file that we wrote is one as any
                with store.transaction(index.db):
                    _apply(index, plan, Collected())


def _refuse_transient(index: Index) -> None:
    going_on = operations.going_on(index.workspace.root, index.workspace.git_dir)
    if going_on:
        raise TransientError(f"{going_on} is going on", "it is tried again when that is done")


def _sync(
    index: Index,
    reach: Reach,
    at_most: int | None,
    look: Callable[..., _Found],
    check: Callable[[Index], None] | None,
    patience: float,
) -> Report:
    began = time.monotonic()
    publishing.remove_leftovers(index.workspace.root)
    files.remove_leftovers(index.workspace.state)  # of a rebuild
    for view in index.workspace.config.views:
        files.remove_leftovers(os.path.dirname(os.path.join(index.workspace.root, view.path)))
    planning.check_root(index.workspace)
    plan, collected = look(at_most)
    if is_settled(index, plan, collected, beside=reach.beside):
        return _report(index, plan, collected, began)
    # Where somebody else synced while we read, what was planned may be older than what stands. Plan again, and read only what
    # has changed since: now, while nobody waits for us, and once more, but little, where that was not enough.
    if _is_outdated(index, plan) or (plan.left and at_most is None):
        plan, collected = look(at_most, (plan, collected))
    with alone(index, patience):
        if store.is_replaced(index.db):
            raise TransientError("the index was rebuilt meanwhile", "run the command again")
        if _is_outdated(index, plan):
            plan, collected = look(LOCKED if at_most is None else at_most, (plan, collected))
            if at_most is None:
                _postpone(index, plan)
        if check is not None:
            check(index)  # git may have begun while we read
        with store.transaction(index.db):
            if reach.beside:
                freshness.refresh(index, looking.look(index, thorough=True))
            _apply(index, plan, collected)
            _carry_along(index, plan)
            if collected or plan.changes.added or MARKER in plan.changes.modified:
                _share(index)
            if passing.journal_links(index):
                freshness.refresh(index, edges=True)
    return _report(index, plan, collected, began)


def _is_outdated(index: Index, plan: Plan) -> bool:
    """Whether somebody else has synced since, or git has moved something, also where it is done with that by now."""
    is_other = store.get(index.db, "generation", "0") != plan.generation
    return is_other or operations.moves(index.workspace.git_dir) != plan.moves


def _postpone(index: Index, plan: Plan) -> None:
    """What cannot be read while others wait is told."""
    there = (path for path in plan.left if files.is_there(index.workspace, path))
    plan.skipped |= dict.fromkeys(there, LATER)


def _report(index: Index, plan: Plan, collected: Collected, began: float) -> Report:
    left = Reach(plan.left, beside=collected.left) if plan.left or collected.left else None
    return Report(plan.changes, problems(index), time.monotonic() - began, left, plan.unsure)


def _share(index: Index) -> None:
    """Journal what private transcripts tell, where the workspace wants that."""
    with store.capture(index.db, on=True, actor=actor(index.workspace), door="sync"):
        changed = collecting.share(index)
    if changed:
        freshness.refresh(index, edges=True)


def _carry_along(index: Index, plan: Plan) -> None:
    """A file that no commit knows was moved, and somebody's edge names it, or said something of it: no history will ever
    tell where it went, so that is made anew in the journal. (No other clone has the file, so nobody else does the same.)"""
    db = index.db
    known = "SELECT 1 FROM commit_changes WHERE path = ? LIMIT 1"
    moved = [(old, new) for old, new in plan.changes.moved if not db.execute(known, (old,)).fetchone()]
    paths = [new for _, new in moved]
    ends = "source_type, source_id, relationship_type, target_type, target_id, metadata"
    edges = [
        row
        for path in paths
        for row in db.execute(
            f"SELECT r.id, {ends} FROM relationships r JOIN artifacts a ON a.file_path = ? WHERE r.origin = 'record'"
            # One that names the new path already was carried by a sync that was killed before its commit.
            " AND NOT EXISTS (SELECT 1 FROM mentions m WHERE m.target = 'artifact:' || a.file_path"
            " AND m.kind = 'relationship' AND m.uid = r.uid) AND"
            " ((source_type = 'artifact' AND source_id = a.id) OR (target_type = 'artifact' AND target_id = a.id))",
            (path,),
        ).fetchall()
    ]
    said = [pair for pair in moved if db.execute("SELECT 1 FROM annotations WHERE path = ?", pair[:1]).fetchone()]
    if not edges and not said:
        return
    with store.capture(db, on=True, actor=actor(index.workspace), door="sync"):
        for old, new in said:
            db.execute(
                f"INSERT INTO annotations(uid, path, {', '.join(ANNOTATED)})"
                f" SELECT a.uid, a.file_path, {', '.join(f'n.{name}' for name in ANNOTATED)} FROM artifacts a"
                " JOIN annotations n ON n.path = ? WHERE a.file_path = ?"
                " AND NOT EXISTS (SELECT 1 FROM annotations WHERE path = a.file_path)",
                (old, new),
            )
            db.execute("DELETE FROM annotations WHERE path = ?", (old,))
        db.executemany("DELETE FROM relationships WHERE id = ?", [(row[0],) for row in edges])
        db.executemany(f"INSERT INTO relationships({ends}) VALUES (?, ?, ?, ?, ?, ?)", [row[1:] for row in edges])
    freshness.refresh(index)


def is_settled(index: Index, plan: Plan, collected: Collected, *, beside: bool) -> bool:
    """Whether nothing at all would be written: same files, same transcripts, same records, same commits, same problems."""
    if plan.hashed or plan.changes or collected:
        return False
    if beside and not freshness.is_current(index, looking.look(index, thorough=True)):
        return False
    if not deriving.are_edges_current(index.db) or passing.alone(index):
        return False
    seen = index.db.execute("SELECT subject, message FROM observations WHERE kind = 'walk' ORDER BY subject").fetchall()
    return seen == sorted(plan.skipped.items())


def problems(index: Index) -> dict[str, str]:
    """Everything that could not be taken in whole and is still so: path -> reason."""
    kinds = "('walk', 'file', 'journal', 'ledger')"
    return dict(index.db.execute(f"SELECT subject, message FROM observations WHERE kind IN {kinds} ORDER BY subject"))


def _apply(index: Index, plan: Plan, collected: Collected) -> None:
    """Write a plan of files and everything that follows from it, inside the caller's lock and transaction."""
    db, changes = index.db, plan.changes
    with store.capture(db, on=False):
        indexing.apply(index, plan)
        flagging.flag(index, plan)
        collecting.apply(index, plan, collected)
        if changes.added or changes.deleted or changes.moved:
            refold(db, freshness.records_naming_files(db))
        if changes or plan.hashed:  # a row is written anew also where only a file's time changed
            overlay(db)
        if changes.added or changes.deleted or changes.moved:
            store.put(db, "edges_at", "")  # a commit's task is said of the artifacts that are there
        deriving.update_edges(db, index.workspace.root)
        _remember_problems(db, plan)


def _remember_problems(db: store.Connection, plan: Plan) -> None:
    """What a walk could not see is told anew each time; a bad content stays bad until it is read again or goes."""
    changes = plan.changes
    settled = [*plan.hashed, *changes.deleted, *(old for old, _ in changes.moved)]
    db.executemany("DELETE FROM observations WHERE kind = 'file' AND subject = ?", [(path,) for path in settled])
    db.executemany("INSERT OR REPLACE INTO observations VALUES ('file', ?, ?)", sorted(plan.problems.items()))
    store.observe(db, "walk", sorted(plan.skipped.items()))
