"""Where segments are: in HEAD's tree, in its history, on disk, in what other refs name; and reading those that are new.

A segment's name is the hash of its bytes, so one that was read whole is never read again, unless its file on disk
changed its stat: then it is read to tell whether somebody altered it. Events of an altered file are taken from git.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from mlos_sync.app.events import add_events
from mlos_sync.app.opening import Index
from mlos_sync.core import journal
from mlos_sync.core.ids import derived_uid
from mlos_sync.edge import git, store

LEDGER_ONLY = (
    "SELECT id FROM events WHERE ledger = 1 AND NOT EXISTS (SELECT 1 FROM segment_events e JOIN segments s"
    " ON s.name = e.segment WHERE e.event = events.id AND (s.in_head = 1 OR s.in_history = 1 OR s.on_disk = 1))"
)
Places = dict[str, tuple[str, str]]  # segment name -> (workspace path, blob id)


def are_current(index: Index) -> bool:
    """Whether HEAD, the journal in its tree and the journal on disk are as they were when they were taken in."""
    seen = tuple(store.get(index.db, key) for key in ("head", "journal_tree", "journal_files"))
    return _sources(index, on_disk(index)) == seen


def _sources(index: Index, disk: dict[str, tuple[str, str]]) -> tuple[str, str, str]:
    """HEAD, the journal's tree in it, and the listing on disk: texts that change when they do."""
    commit = tree = ""
    out = git.run(index.workspace.root, "rev-parse", "--quiet", "HEAD^{commit}", f"HEAD:{journal.FOLDER}", check=False)
    for line in out.decode().split("\n"):
        if len(line) in (40, 64) and not line.startswith("HEAD"):
            commit, tree = (line, tree) if not commit else (commit, line)
    listing = derived_uid(*(f"{name} {stat}" for name, (_, stat) in sorted(disk.items()))) if disk else ""
    return commit, tree, listing


def on_disk(index: Index) -> dict[str, tuple[str, str]]:
    """Name -> (workspace path, stat as text), of the files in the work tree's journal folder. A file that has no
    segment's name stands under its path: nobody reads it, but it is named."""
    found: dict[str, tuple[str, str]] = {}
    base = os.path.join(index.workspace.root, journal.FOLDER)
    for year in _entries(base):
        for month in _entries(year.path):
            for entry in _entries(month.path):
                path = f"{journal.FOLDER}/{year.name}/{month.name}/{entry.name}"
                stat = entry.stat(follow_symlinks=False)
                seen = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_mode}"
                found[journal.name_of(path) or path] = (path, seen)
    return found


def _entries(folder: str) -> list[os.DirEntry[str]]:
    if os.path.islink(folder):
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def take(index: Index) -> set[str]:
    """Read what is new and note where each segment is. Returns the ids of the events that this touches."""
    db, root = index.db, index.workspace.root
    disk = on_disk(index)
    now = _sources(index, disk)
    strays = [disk.pop(name)[0] for name in list(disk) if "/" in name]
    if now == tuple(store.get(db, key) for key in ("journal_head", "journal_tree", "journal_files")):
        return set()
    head = named(git.tree_files(root, now[0], journal.FOLDER)) if now[1] else {}
    history = _history(db)
    reread = _read_disk(index, disk, head | history)
    reread |= read_blobs(index, {name: place for name, place in (history | head).items() if name not in disk})
    changed = reread
    for column, names in (("in_head", set(head)), ("in_history", set(history)), ("on_disk", set(disk))):
        changed |= _mark(db, column, names)
    for key, value in zip(("journal_head", "journal_tree", "journal_files"), now, strict=True):
        store.put(db, key, value)
    observe_damage(db, strays)
    return events_in(db, changed)


def named(files: dict[str, tuple[str, str]], folder: str = "") -> Places:
    """Of a tree's files those that are segments: name -> (workspace path, blob)."""
    return {
        name: (folder + path, blob) for path, (_, blob) in files.items() if (name := journal.name_of(folder + path))
    }


def _history(db: store.Connection) -> Places:
    """Segments that some commit reachable from HEAD added. A revert or a merge may have taken the file away since; the
    set of events only grows along history, so they count, and the next commit takes them again."""
    rows = db.execute(
        "SELECT path, blob FROM commit_changes WHERE path >= ?1 || '/' AND path < ?1 || '0' AND status <> 'D'",
        (journal.FOLDER,),
    )
    return {name: (path, blob) for path, blob in rows if blob and (name := journal.name_of(path))}


def _mark(db: store.Connection, column: str, names: set[str]) -> set[str]:
    before = {name for (name,) in db.execute(f"SELECT name FROM segments WHERE {column} = 1")}
    db.executemany(f"UPDATE segments SET {column} = 0 WHERE name = ?", [(name,) for name in before - names])
    db.executemany(f"UPDATE segments SET {column} = 1 WHERE name = ?", [(name,) for name in names - before])
    return before ^ names


def _read_disk(index: Index, disk: dict[str, tuple[str, str]], blobs: Places) -> set[str]:
    """Read the files whose stat is new. Returns the segments that were read."""
    db = index.db
    known = dict(db.execute("SELECT name, stat FROM segments WHERE stat IS NOT NULL").fetchall())
    fresh = {name: place for name, place in disk.items() if known.get(name) != place[1]}
    altered: Places = {}
    for name, (path, _) in sorted(fresh.items()):
        data = _content(os.path.join(index.workspace.root, path))
        if name in blobs and journal.segment_name(data) != name:
            altered[name] = (path, blobs[name][1])
        else:
            add_segment(db, name, path, data)
    read_blobs(index, altered, again=True)
    for name, (path, _) in altered.items():
        text = f"its file was altered; its events were taken from git; restore it: git restore -- {path}"
        db.execute("UPDATE segments SET problem = ? WHERE name = ?", (text, name))
    db.executemany("UPDATE segments SET stat = ? WHERE name = ?", [(place[1], name) for name, place in fresh.items()])
    return set(fresh)


def _content(path: str) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            return file.read()
    except OSError:
        return b""


def read_blobs(index: Index, places: Places, *, again: bool = False) -> set[str]:
    """Read segments from git that the index does not know, or knows only as damaged. Returns those that were read."""
    db = index.db
    known = set() if again else {name for (name,) in db.execute("SELECT name FROM segments WHERE problem IS NULL")}
    wanted = {name: place for name, place in places.items() if name not in known}
    contents = dict(git.blobs(index.workspace.root, [blob for _, blob in wanted.values()]))
    for name, (path, blob) in sorted(wanted.items()):
        if blob in contents:
            add_segment(db, name, path, contents[blob])
    return {name for name, (_, blob) in wanted.items() if blob in contents}


def add_segment(db: store.Connection, name: str, path: str, data: bytes) -> None:
    """Take one segment's good events into the index, and its damage as its problem."""
    segment = journal.read_segment(name, data)
    problem = None
    if segment.problems:
        places = "; ".join(f"line {line}: {reason}" if line else reason for line, reason in segment.problems[:3])
        problem = f"{places}; the rest is kept; git log -- {path} shows whether a commit has it whole"
    db.execute(
        "INSERT INTO segments(name, path, problem) VALUES (?, ?, ?)"
        " ON CONFLICT(name) DO UPDATE SET path = excluded.path, problem = excluded.problem, stat = NULL",
        (name, path, problem),
    )
    add_events(db, segment.events)
    db.execute("DELETE FROM segment_events WHERE segment = ?", (name,))
    db.executemany("INSERT OR IGNORE INTO segment_events VALUES (?, ?)", [(name, event.id) for event in segment.events])


def observe_damage(db: store.Connection, strays: list[str]) -> None:
    """Name each damaged segment that is here, and each file that is none, until it is mended or goes."""
    found = db.execute("SELECT path, problem FROM segments WHERE problem IS NOT NULL AND (in_head = 1 OR on_disk = 1)")
    told = [
        (path, "no segment has such a name: it is not read; move it away, or give it back its name") for path in strays
    ]
    store.observe(db, "journal", found.fetchall() + told)


def events_in(db: store.Connection, segments: Iterable[str]) -> set[str]:
    """The ids of the events that the given segments hold."""
    found: set[str] = set()
    for name in segments:
        found.update(event for (event,) in db.execute("SELECT event FROM segment_events WHERE segment = ?", (name,)))
    return found


def refs_text(index: Index) -> str:
    """What branches, tags and remote refs name, as one short text."""
    return derived_uid(*git.ref_tips(index.workspace.root))


def held_elsewhere(index: Index) -> set[str]:
    """Where ledger events are in no segment here, ask which refs hold them. Returns the ids that it touches."""
    db, root = index.db, index.workspace.root
    waiting = {event for (event,) in db.execute(LEDGER_ONLY)}
    refs = refs_text(index) if waiting else ""
    if not waiting or refs == store.get(db, "refs"):
        return waiting
    held: Places = {}
    for tree in git.subtrees(root, git.ref_tips(root), journal.FOLDER):
        held |= named(git.tree_files(root, tree), journal.FOLDER + "/")
    read_blobs(index, held)
    _mark(db, "held", set(held))
    store.put(db, "refs", refs)
    return waiting
