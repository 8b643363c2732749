"""init, rebuild, uninstall: the workspace's own files, and a database made anew beside the old one."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from mlos_sync.app import (
    agent_hooks,
    collecting,
    dumping,
    firing,
    freshness,
    hooking,
    indexing,
    journaling,
    leaving,
    merging,
    planning,
    serving,
)
from mlos_sync.app.firing import Standing
from mlos_sync.app.opening import Index, has_database, open_index, try_open
from mlos_sync.app.planning import Progress
from mlos_sync.app.sync import Report, sync
from mlos_sync.core import journal
from mlos_sync.core.times import iso
from mlos_sync.edge import files, git, ledger, objects, repo, settings, store
from mlos_sync.edge.workspace import MARKER, Workspace, find, git_folders
from mlos_sync.errors import MlosError, SurroundingsError

T = TypeVar("T")

ATTRIBUTES = ".gitattributes"
JOURNAL_ATTRIBUTES = f"{journal.FOLDER}/{ATTRIBUTES}"
_BEGIN, _END = "# >>> mlos-sync", "# <<< mlos-sync"
_GAP = " (the line before had no end)"

CONFIG = """\
# The workspace's id and birth: the same in every clone. Do not change them.
workspace = "{workspace}"
created = "{created}"

# Patterns, as in .gitignore, of files that are no artifacts (.mlosignore says the same).
ignore = []

# Compiled views. kind is problem (needs and tasks; scope = "..." for one scope), status (what is ready and what is
# blocked; scope, too), index (the files of a folder; folder = "notes") or context_pack (need = "need-3f9a2c").
[[view]]
path = "PROBLEM.md"
kind = "problem"

[[view]]
path = ".mlos/INDEX.md"
kind = "index"
"""


@dataclass(frozen=True, slots=True)
class Made:
    """What `init` found or made."""

    workspace: Workspace
    hooks: list[Standing] = field(default_factory=list)
    wrote: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def initialise(folder: str, *, make_repository: bool = False) -> Made:
    """Make `.mlos/`, the marked lines in `.gitattributes`, hooks and database. Idempotent: what stands is kept."""
    settings.require()
    wrote: list[str] = []
    if make_repository:
        repo.make_repository(folder)
    root = git_folders(folder)[0]
    if files_missing(root, MARKER):
        _put(root, MARKER, _tracked_config(root) or _new_config(), wrote)
    if files_missing(root, JOURNAL_ATTRIBUTES):
        # A segment's bytes are its name: nothing may change them on the way in or out, and nothing is to merge.
        _put(root, JOURNAL_ATTRIBUTES, b"* -text -filter -ident -merge !working-tree-encoding\n", wrote)
    workspace = find(root)
    _mark_views(workspace, wrote)
    named = merging.is_configured(workspace)
    hooks = hooking.install(workspace)
    wrote += [] if named else [f"git config {merging.KEY}"]
    if not has_database(workspace):
        # Records and commits at once; files are the business of the first sync, which shows its progress.
        _replace_database(workspace, freshness.catch_up)
    return Made(workspace, hooks.hooks, wrote, [*hooks.notes, *hooks.snippet])


def _tracked_config(root: str) -> bytes | None:
    """The config that git's index holds: where one is merely not on disk, another would be another workspace."""
    entry = git.tracked(root).get(MARKER)
    return dict(objects.blobs(root, [entry.blob])).get(entry.blob) if entry else None


def _new_config() -> bytes:
    return CONFIG.format(workspace=secrets.token_hex(16), created=iso(int(time.time() * 1000))).encode()


def files_missing(root: str, path: str) -> bool:
    """Whether nothing at all stands at a path."""
    return not os.path.lexists(os.path.join(root, path))


def _put(root: str, path: str, data: bytes, wrote: list[str]) -> None:
    files.write(root, path, data)
    wrote.append(path)


def _mark_views(workspace: Workspace, wrote: list[str]) -> None:
    """Marked lines in `.gitattributes`: which files are generated, for a forge, and who merges them, for git."""
    lines = [*(merging.attributes(view.path) for view in workspace.config.views), _END]
    old = files.read(workspace, ATTRIBUTES) or b""
    kept = without_marks(old)
    begin = f"\n{_BEGIN}{_GAP}" if kept and not kept.endswith(b"\n") else _BEGIN
    new = kept + "".join(line + "\n" for line in (begin, *lines)).encode()
    if new != old:
        _put(workspace.root, ATTRIBUTES, new, wrote)


def without_marks(data: bytes) -> bytes:
    """A file's bytes without our marked lines, and without the line end that they needed before them."""
    end = (_END + "\n").encode()
    for begin in (f"\n{_BEGIN}{_GAP}\n".encode(), f"{_BEGIN}\n".encode()):
        start, stop = data.find(begin), data.find(end)
        if 0 <= start < stop:
            return data[:start] + data[stop + len(end) :]
    return data


def rebuild(
    workspace: Workspace, *, accept_deletes: bool = False, progress: Progress | None = None
) -> tuple[int, int, Report]:
    """Make the database anew beside the old one and swap it in. Returns (artifacts, events, the sync's report).

    Absence is no deletion here either: a mass disappearance is refused, and what lies below a folder that cannot be
    read is taken over from the old index.
    """
    old = try_open(workspace)
    try:
        if old is not None and not _bears(planning.prepare, old, accept_deletes=accept_deletes):
            old.db.close()
            old = None

        def fill(index: Index) -> tuple[int, int, Report]:
            report = sync(index, accept_deletes=True, progress=progress)
            if old is not None and _bears(indexing.take_over, index, old):
                _bears(collecting.take_over, index, old)
            (artifacts,) = index.db.execute("SELECT count(*) FROM artifacts WHERE file_path IS NOT NULL").fetchone()
            (events,) = index.db.execute("SELECT count(*) FROM events WHERE visible = 1").fetchone()
            return artifacts, events, report

        return _replace_database(workspace, fill)
    finally:
        if old is not None:
            old.db.close()


def _bears(look: Callable[..., object], *arguments: object, **options: object) -> bool:
    """Look into an old index; whether it could be read to the end, or is damaged."""
    try:
        look(*arguments, **options)
        return True
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if not store.is_damage(error):
            raise
        return False


def _replace_database(workspace: Workspace, fill: Callable[[Index], T]) -> T:
    """Make a database, fill it, and move it to its place.

    What only the old one has (captured changes not flushed yet) is written to the ledger first; an old one that is too
    damaged for that is kept beside the new. Until the swap the old one stays in use; an interrupted run leaves at most
    a file that the next sync removes.
    """
    os.makedirs(workspace.common, mode=0o700, exist_ok=True)
    fresh = os.path.join(workspace.state, f".mlos-{os.getpid()}-index.db")
    with store.writer_lock(workspace.common):
        _rescue(workspace)
        files.remove_leftovers(workspace.state)
    index = Index(workspace, store.create(fresh, for_everybody=False))
    store.put(index.db, "workspace", workspace.config.workspace)
    try:
        result = fill(index)
        with store.writer_lock(workspace.common):
            if not _rescue(workspace, into=index):
                _set_aside(workspace)
            _swap(index, fresh)
    finally:
        index.db.close()
        for ending in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh + ending)
    return result


def _swap(index: Index, fresh: str) -> None:
    """Move the new database to its place; a reader of the old one keeps what it has open."""
    workspace, database = index.workspace, index.workspace.database
    store.settle(index.db, fresh)
    for ending in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(database + ending)
    os.replace(fresh, database)
    ledger.sync_folder(workspace.state)


def _rescue(workspace: Workspace, *, into: Index | None = None) -> bool:
    """Write out what only the old database has, whatever its version; with `into`, the new one, also close the old to
    writers that still have it open. Returns whether nothing is left in it that is nowhere else."""
    if not os.path.lexists(workspace.database):
        return True
    has_database(workspace)  # raises where it is sound and only cannot be opened now
    db = None
    try:
        db = store.connect_any(workspace.database)
        if store.get(db, "workspace", workspace.config.workspace) != workspace.config.workspace:
            return False
        with store.transaction(db):
            _empty(Index(workspace, db), into)
            ledger.settle(workspace.common)
            if into is not None:
                store.close_to_writers(db)
        db.execute("PRAGMA main.wal_checkpoint(TRUNCATE)").fetchone()
    except (sqlite3.Error, MlosError, KeyError, ValueError):
        return False
    finally:
        if db is not None:
            db.close()
    return True


def _empty(old: Index, into: Index | None) -> None:
    """Write out captured changes, and, where the database is of our schema and has looked at a journal before, events that
    no ref holds any more and events that the pending log has lost."""
    if old.db.execute("PRAGMA user_version").fetchone()[0] != store.VERSION:
        appended, _, _ = ledger.read(old.workspace.common, 0)
        journaling.flush(old, {event.id for event in appended})
        return
    if old.db.execute("SELECT 1 FROM outbox UNION ALL SELECT 1 FROM events LIMIT 1").fetchone():
        freshness.refresh(old)
    if into is not None:
        known = {event for (event,) in into.db.execute("SELECT id FROM events")}
        if lost := journaling.lost_lines(old.db, known):
            ledger.append(old.workspace.common, lost)
            with store.transaction(into.db):
                freshness.refresh(into)


def _set_aside(workspace: Workspace) -> None:
    """Keep a database that could not be emptied, under a name of its own."""
    kept = next(name for n in itertools.count(1) if not os.path.lexists(name := f"{workspace.database}.damaged-{n}"))
    for ending in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(workspace.database + ending, kept + ending)


def damaged_indexes(start: str) -> list[str]:
    """Old databases of the workspace that holds `start`, set aside because not all of them could be saved."""
    workspace = find(start)
    if not os.path.isdir(workspace.state):
        return []
    names = sorted(
        name for name in os.listdir(workspace.state) if ".damaged-" in name and not name.endswith(("-wal", "-shm"))
    )
    return [os.path.join(workspace.state, name) for name in names]


def uninstall(start: str) -> list[str]:
    """Give back everything but the journal: the service, hooks, agents' settings, marked lines, database, pending log,
    config. Raises SurroundingsError while this clone holds events that no commit has."""
    workspace = find(start)
    _refuse_while_pending(workspace)
    removed = serving.remove(workspace) + leaving.remove(workspace) + agent_hooks.remove(workspace)
    attributes = files.read(workspace, ATTRIBUTES)
    if attributes is not None and without_marks(attributes) != attributes:
        removed.append(ATTRIBUTES)
        if kept := without_marks(attributes):
            files.write(workspace.root, ATTRIBUTES, kept)
        else:
            os.unlink(os.path.join(workspace.root, ATTRIBUTES))
    for folder in dict.fromkeys((workspace.state, workspace.common)):
        if os.path.isdir(folder):
            shutil.rmtree(folder)
            removed.append(folder)
    os.unlink(os.path.join(workspace.root, MARKER))
    removed.append(MARKER)
    _remove_empty_journal(workspace, removed)
    return removed


def _remove_empty_journal(workspace: Workspace, removed: list[str]) -> None:
    """A journal without a segment is no memory of anything: its folder goes too."""
    base = os.path.join(workspace.root, journal.FOLDER)
    if os.path.isdir(base) and os.listdir(base) == [ATTRIBUTES]:
        os.unlink(os.path.join(base, ATTRIBUTES))
        os.rmdir(base)
        removed.append(journal.FOLDER)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(base))


def _refuse_while_pending(workspace: Workspace) -> None:
    index = try_open(workspace)
    if index is None:
        # The pending log may hold what nobody else has: only an index can tell.
        rebuild(workspace)
        index = Index(workspace, store.connect(workspace.database, workspace.config.workspace))
    try:
        freshness.catch_up(index)
        waiting = journaling.count_unwritten(index.db)
    finally:
        index.db.close()
    if waiting:
        raise SurroundingsError(
            f"{waiting} events are in no commit yet", "run mlos-sync publish and git commit, then uninstall"
        )


def is_in_repository(folder: str) -> bool:
    """Whether `folder` is in a git work tree."""
    try:
        git_folders(folder)
    except SurroundingsError:
        return False
    return True


def build_missing_index(start: str) -> bool:
    """Make the index of the workspace that holds `start` where there is none of our schema. Returns whether it had to."""
    workspace = find(start)
    if has_database(workspace):
        return False
    rebuild(workspace)
    return True


def rebuild_here(
    start: str, *, with_hooks: bool, accept_deletes: bool = False, progress: Progress | None = None
) -> tuple[int, int, Report, str]:
    """`rebuild` for the workspace that holds `start`; also says what this clone lacks of its hooks (empty: nothing)."""
    workspace = find(start)
    if with_hooks:
        hooking.install(workspace)
    artifacts, events, report = rebuild(workspace, accept_deletes=accept_deletes, progress=progress)
    return artifacts, events, report, firing.line(firing.quick(workspace))


def check_rebuild(start: str) -> list[str]:
    """What would differ between the live index and one made anew; nothing is kept."""
    live = open_index(start)
    sync(live)
    fresh = Index(live.workspace, store.create(":memory:", for_everybody=False))
    sync(fresh)
    indexing.take_over(fresh, live)
    collecting.take_over(fresh, live)
    found = dumping.differences(dumping.canonical(live.db), dumping.canonical(fresh.db))
    live.db.close()
    fresh.db.close()
    return found
