"""Where segments are: in HEAD's tree, in its history, on disk, in what other refs name; and reading those that are new.

A segment's name is the hash of its bytes, so one that was read whole is never read again, unless its file on disk
changed its stat: then it is read to tell whether somebody altered it (`app/reading`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mlos_sync.app.events import add_events
from mlos_sync.app.opening import Index
from mlos_sync.app.reading import Copies, Disk, read_copies, read_disk
from mlos_sync.core import journal
from mlos_sync.core.ids import derived_uid
from mlos_sync.edge import commits, git, ledger, store

RACY_NS = 2_000_000_000  # a folder that changed so lately may change again without another mtime


@dataclass(frozen=True, slots=True)
class Look:
    """Where the journal stands outside the index, each as a short text that changes when it does.

    `files` tells names that came or went, by the times of the folders; `stats` every file by its stat, which also tells
    one that was altered in place ("" where nobody asked). `refs` is "" where no event waits for what refs hold.
    """

    head: str
    tree: str
    files: str
    stats: str
    refs: str
    before: tuple[str, ...]  # what the index was brought up to when this was seen


def look(index: Index, *, thorough: bool = False) -> Look:
    """Look at HEAD, the journal in its tree, the journal on disk, and, where it matters, at refs. Takes no lock."""
    commit = tree = ""
    out = git.run(index.workspace.root, "rev-parse", "--quiet", "HEAD^{commit}", f"HEAD:{journal.FOLDER}", check=False)
    for line in out.decode().split("\n"):
        if len(line) in (40, 64) and not line.startswith("HEAD"):
            commit, tree = (line, tree) if not commit else (commit, line)
    refs = refs_text(index) if index.db.execute("SELECT 1 FROM events WHERE waiting = 1 LIMIT 1").fetchone() else ""
    folders, fresh = _folders(index)
    return Look(commit, tree, folders, _told(on_disk(index)) if thorough or fresh else "", refs, taken_in(index))


def taken_in(index: Index) -> tuple[str, ...]:
    """What the index was brought up to last, as looks tell it."""
    return tuple(store.get(index.db, f"journal_{key}") for key in ("head", "tree", "files", "stats"))


def are_current(index: Index, seen: Look) -> bool:
    """Whether HEAD, the journal in its tree, the journal on disk and the refs are as they were when they were taken in."""
    known = {key: store.get(index.db, f"journal_{key}") for key in ("head", "tree", "files", "stats")}
    if (seen.head, seen.tree, seen.files) != (known["head"], known["tree"], known["files"]):
        return False
    return seen.stats in ("", known["stats"]) and (not seen.refs or seen.refs == store.get(index.db, "refs"))


def _folders(index: Index) -> tuple[str, bool]:
    """The journal's folders by their times, and whether one of them is so fresh that its times may not tell the next
    change: then the files themselves must be asked."""
    base = os.path.join(index.workspace.root, journal.FOLDER)
    found = []
    newest = 0
    for folder in (base, *(entry.path for year in _entries(base) for entry in (year, *_entries(year.path)))):
        try:
            stat = os.stat(folder, follow_symlinks=False)
        except FileNotFoundError:
            continue
        newest = max(newest, stat.st_mtime_ns, stat.st_ctime_ns)
        found.append(f"{folder[len(base) :]} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino} {stat.st_mode}")
    return derived_uid(*found) if found else "", newest + RACY_NS > time.time_ns()


def _told(disk: Disk) -> str:
    return derived_uid(*(f"{name} {stat}" for name, (_, stat) in sorted(disk.items()))) if disk else "none"


def on_disk(index: Index) -> Disk:
    """Name -> (workspace path, stat as text), of the files in the work tree's journal folder. A file that has no
    segment's name stands under its path: nobody reads it, but it is named."""
    found: dict[str, tuple[str, str]] = {}
    base = os.path.join(index.workspace.root, journal.FOLDER)
    for year in _entries(base):
        for month in _entries(year.path):
            for entry in _entries(month.path):
                if entry.name.startswith(".mlos-"):
                    continue  # being written, or left by a process that was killed
                path = f"{journal.FOLDER}/{year.name}/{month.name}/{entry.name}"
                stat = entry.stat(follow_symlinks=False)
                seen = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_mode}"
                name = journal.name_of(path)
                found[path if name is None or name in found else name] = (path, seen)
    return found


def _entries(folder: str) -> list[os.DirEntry[str]]:
    if os.path.islink(folder):
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def take(index: Index, seen: Look) -> set[int]:
    """Read what is new and note where each segment is. Returns the events that this touches."""
    db, root = index.db, index.workspace.root
    if are_current(index, replace(seen, refs="")):
        return set()
    disk = on_disk(index)
    stats = _told(disk)
    copies = named(git.tree_files(root, seen.head, journal.FOLDER)) if seen.tree else {}
    head = set(copies)
    for name, places in _history(db).items():
        copies.setdefault(name, []).extend(place for place in places if place not in copies[name])
    strays = _set_strays_apart(disk, copies)
    suspect = {name for (name,) in db.execute("SELECT name FROM segments WHERE problem IS NOT NULL")}
    stats_of = dict(db.execute("SELECT name, stat FROM segments").fetchall())
    before = events_in(db, suspect | {name for name, (_, stat) in disk.items() if stat != stats_of.get(name)})
    changed = read_disk(index, disk, copies)
    read, complete = read_copies(index, {name: places for name, places in copies.items() if name not in disk})
    changed |= read
    for column, names in (("in_head", head), ("in_history", set(copies) - head), ("on_disk", set(disk))):
        changed |= _mark(db, column, names)
    # What git could not read now may be there the next time.
    tree = seen.tree if complete else "incomplete"
    for key, value in (("head", seen.head), ("tree", tree), ("files", seen.files), ("stats", stats)):
        store.put(db, f"journal_{key}", value)
    observe_damage(db, strays)
    return before | events_in(db, changed)


def _set_strays_apart(disk: Disk, copies: Copies) -> list[str]:
    """Take out of `disk` what is read as no segment: other names, and second files of one name. Where git has the name,
    its path is the right one."""
    strays = []
    for key in [key for key in disk if "/" in key]:
        path, seen = disk.pop(key)
        name = journal.name_of(path)
        if name in disk and path in [place for place, _ in copies.get(name, ())]:
            (disk[name], path) = ((path, seen), disk[name][0])
        strays.append(path)
    return strays


def named(files: dict[str, tuple[str, str]], folder: str = "") -> Copies:
    """Of a tree's files those that are segments: name -> [(workspace path, blob)]."""
    return {
        name: [(folder + path, blob)] for path, (_, blob) in files.items() if (name := journal.name_of(folder + path))
    }


def _history(db: store.Connection) -> Copies:
    """Segments that some commit reachable from HEAD added. A revert or a merge may have taken the file away since; the
    set of events only grows along history, so they count, and the next commit takes them again."""
    rows = db.execute(
        "SELECT path, blob FROM commit_changes WHERE path >= ?1 || '/' AND path < ?1 || '0' AND status <> 'D'"
        " ORDER BY path, commit_id",
        (journal.FOLDER,),
    )
    found: Copies = {}
    for path, blob in rows:
        if blob and (name := journal.name_of(path)):
            found.setdefault(name, []).append((path, blob))
    return found


def _mark(db: store.Connection, column: str, names: set[str]) -> set[str]:
    before = {name for (name,) in db.execute(f"SELECT name FROM segments WHERE {column} = 1")}
    db.executemany(f"UPDATE segments SET {column} = 0 WHERE name = ?", [(name,) for name in before - names])
    also = "" if column == "on_disk" else ", committed = 1"
    db.executemany(f"UPDATE segments SET {column} = 1{also} WHERE name = ?", [(name,) for name in names - before])
    return before ^ names


def observe_damage(db: store.Connection, strays: list[str]) -> None:
    """Name each damaged segment that is here, and each file that is none, until it is mended or goes."""
    found = db.execute("SELECT path, problem FROM segments WHERE problem IS NOT NULL AND (in_head = 1 OR on_disk = 1)")
    told = [
        (path, f"a second file of this segment, which is not read: rm -- {path}")
        if journal.name_of(path)
        else (path, "no segment has such a name: it is not read; move it away, or give it back its name")
        for path in strays
    ]
    store.observe(db, "journal", found.fetchall() + told)


def events_in(db: store.Connection, segments: Iterable[str]) -> set[int]:
    """The events that the given segments hold."""
    sql = "SELECT e.event FROM segments s JOIN segment_events e ON e.segment = s.number WHERE s.name = ?"
    return {event for name in segments for (event,) in db.execute(sql, (name,))}


def refs_text(index: Index) -> str:
    """What branches, tags and remote refs name, as one short text."""
    return derived_uid(*git.ref_tips(index.workspace.root))


def held_elsewhere(index: Index, seen: Look) -> set[int]:
    """Where events wait that no segment here holds, ask which refs hold them. Returns the events that it touches.

    One that counted here once and that no ref holds any more (a force-push, a deleted branch) goes into this clone's
    pending log: nobody else may have it. A closing does not: its commit makes it again wherever that is.
    """
    db, root = index.db, index.workspace.root
    waiting = {event for (event,) in db.execute("SELECT seq FROM events WHERE waiting = 1")}
    refs = (seen.refs or refs_text(index)) if waiting else ""
    if not waiting or refs == store.get(db, "refs"):
        return set()
    if not store.get(db, "refs"):
        _learn_unnamed(index)
    held: Copies = {}
    for tree in git.subtrees(root, git.ref_tips(root), journal.FOLDER):
        held |= named(git.tree_files(root, tree), journal.FOLDER + "/")
    read_copies(index, held)
    _mark(db, "held", set(held))
    store.put(db, "refs", refs)
    _adopt(index)
    return waiting


def _learn_unnamed(index: Index) -> None:
    """What was committed here once and taken back: an index that was made anew does not know it, and is to publish it
    under the names that it had (see `publishing`)."""
    found: Copies = {}
    for path, blob in commits.unnamed_files(index.workspace.root, journal.FOLDER):
        if name := journal.name_of(path):
            found.setdefault(name, []).append((path, blob))
    read_copies(index, found)
    index.db.executemany("UPDATE segments SET committed = 1 WHERE name = ?", [(name,) for name in found])


def _adopt(index: Index) -> None:
    lines = index.db.execute(
        'SELECT line FROM events WHERE waiting = 1 AND ledger = 0 AND line NOT LIKE \'%"door":"commit %\''
        " AND NOT EXISTS (SELECT 1 FROM segment_events e JOIN segments s ON s.number = e.segment"
        " WHERE e.event = events.seq AND (s.held OR s.in_head OR s.in_history OR s.on_disk))"
    ).fetchall()
    if lines:
        events = [journal.trusted(line) for (line,) in lines]
        ledger.append(index.workspace.common, events)
        add_events(index.db, events, in_ledger=True)
