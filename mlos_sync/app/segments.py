"""Where segments are: in HEAD's tree, in its history, on disk, in what other refs name; and reading those that are new.

A segment's name is the hash of its bytes, so one that was read whole is never read again, unless its file on disk
changed its stat: then it is read to tell whether somebody altered it (`app/reading`). Only what came, went or was
altered since the last time is asked for: a catch-up costs what has changed, not what there is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from mlos_sync.app.events import add_events
from mlos_sync.app.looking import (
    INCOMPLETE,
    Listing,
    Look,
    are_current,
    is_same,
    list_files,
    refs_text,
    remember,
    stat_text,
)
from mlos_sync.app.opening import Index
from mlos_sync.app.reading import Copies, Disk, read_copies, read_disk
from mlos_sync.core import journal
from mlos_sync.edge import commits, git, graph, ledger, store


@dataclass(slots=True)
class _Changes:
    """What changed in one place where segments can be: copies in git that came, files that came or were altered, names
    that went, and files that are no segments. What could not be read has not gone."""

    came: Copies = field(default_factory=dict)
    files: Disk = field(default_factory=dict)
    went: set[str] = field(default_factory=set)
    strays: list[str] = field(default_factory=list)
    complete: bool = True  # whether all of the place could be read

    def names(self) -> set[str]:
        return self.came.keys() | self.files.keys() | self.went


def take(index: Index, seen: Look, paths: set[str]) -> set[int]:
    """Read what is new and note where each segment is; `paths` are those whose history changed. Returns the events that
    this touches."""
    db = index.db
    if are_current(index, replace(seen, refs="")) and not paths:
        return set()
    suspect = dict(db.execute("SELECT name, path FROM segments WHERE problem IS NOT NULL").fetchall())
    listing = _listing(index, seen, again=bool(suspect))
    disk = _changes_on_disk(index, listing) if listing is not None else _Changes()
    tree = _changes_of_tree(index, seen)
    history = _changes_of_history(db, paths, tree)
    names = disk.names() | tree.names() | history.names() | suspect.keys()
    before = events_in(db, names)

    def elsewhere(name: str, path: str) -> list[tuple[str, str]]:
        return _places(index, seen.head, path)

    read_disk(index, disk.files, elsewhere)
    again = {name: places for name, path in suspect.items() if (places := elsewhere(name, path))}
    wanted = again | history.came | tree.came
    complete = read_copies(index, {n: places for n, places in wanted.items() if n not in disk.files}, elsewhere)
    for column, changes in (("on_disk", disk), ("in_head", tree), ("in_history", history)):
        _mark(db, column, changes.came.keys() | changes.files.keys(), changes.went)
    remember(index, seen, listing, complete=complete and tree.complete)
    observe_damage(db, disk.strays if listing is not None else [])
    return before | events_in(db, names)


def _listing(index: Index, seen: Look, *, again: bool) -> Listing | None:
    """The files, where one of them may have changed; None where not. What is damaged, or no segment, is looked at each
    time."""
    if seen.listing is not None:
        return seen.listing
    told = index.db.execute("SELECT 1 FROM observations WHERE kind = 'journal' LIMIT 1").fetchone()
    if again or told or seen.files != store.get(index.db, "journal_files"):
        return list_files(index, stats=False)
    return None


def _changes_on_disk(index: Index, listing: Listing) -> _Changes:
    """Files that came, went, or were altered as far as the listing tells. Of two files of one segment the one is read
    whose path git knows."""
    db = index.db
    sql = "SELECT path, name, CASE WHEN problem IS NULL THEN stat END FROM segments WHERE on_disk = 1"
    known = {path: (name, stat) for path, name, stat in db.execute(sql)}
    found = _Changes()
    here: dict[str, str] = {}
    candidates = []
    for path, seen in listing.items():
        name, stat = known.pop(path, (None, None))
        if name is not None and is_same(stat, seen):
            here[name] = path
        else:
            candidates.append(path)
    found.went = {name for name, _ in known.values()}
    by_git = "SELECT 1 FROM commit_changes WHERE path = ? LIMIT 1"
    for path in sorted(candidates, key=lambda path: (db.execute(by_git, (path,)).fetchone() is None, path)):
        name = journal.name_of(path)
        if name is None or name in here:
            found.strays.append(path)
            continue
        try:
            found.files[name] = (path, stat_text(os.path.join(index.workspace.root, path)))
            here[name] = path
        except OSError:
            continue  # gone since it was listed
    found.went -= found.files.keys()
    return found


def _changes_of_tree(index: Index, seen: Look) -> _Changes:
    """Segments that came into, or went from, the journal of HEAD's tree."""
    db, root = index.db, index.workspace.root
    before = store.get(db, "journal_tree")
    if before == seen.tree:
        return _Changes()
    changed = git.changes_of_tree(root, before, seen.tree) if before not in ("", INCOMPLETE) and seen.tree else None
    # A path that went may have been one of two of its segment: only the whole tree tells.
    if changed is not None and None not in changed.values():
        return _Changes(came=named({path: entry for path, entry in changed.items() if entry}, journal.FOLDER + "/"))
    files, complete = git.readable_files(root, seen.tree) if seen.tree else ({}, True)
    came = named(files, journal.FOLDER + "/")
    here = {name for (name,) in db.execute("SELECT name FROM segments WHERE in_head = 1")}
    return _Changes(
        {n: p for n, p in came.items() if n not in here},
        went=here - came.keys() if complete else set(),
        complete=complete,
    )


def _changes_of_history(db: store.Connection, paths: set[str], tree: _Changes) -> _Changes:
    """Segments that some commit reachable from HEAD added and that HEAD's tree does not have: a revert or a merge took the
    file away. The set of events only grows along history, so they count, and the next commit takes them again."""
    known = {name: path for path in paths if (name := journal.name_of(path))}
    standing = "SELECT path, in_head FROM segments WHERE name = ?"
    found = _Changes()
    for name in known.keys() | tree.names():
        path, in_head = db.execute(standing, (name,)).fetchone() or (known.get(name, ""), 0)
        in_head = name in tree.came or (bool(in_head) and name not in tree.went)
        places = [] if in_head else _in_commits(db, {path, known.get(name, path)})
        if places:
            found.came[name] = places
        else:
            found.went.add(name)
    return found


def _in_commits(db: store.Connection, paths: set[str]) -> list[tuple[str, str]]:
    """(path, blob) of what commits reachable from HEAD put at the paths, the oldest first."""
    sql = "SELECT path, blob FROM commit_changes WHERE path = ? AND status <> 'D' AND blob <> '' ORDER BY commit_id"
    return [place for path in sorted(paths) for place in db.execute(sql, (path,)).fetchall()]


def _places(index: Index, head: str, path: str) -> list[tuple[str, str]]:
    """(path, blob) of each copy that git has of the segment at a path: HEAD's first."""
    here = git.blobs_at(index.workspace.root, head, [path]) if head else {}
    return list(dict.fromkeys([*here.items(), *_in_commits(index.db, {path})]))


def named(files: dict[str, tuple[str, str]], folder: str = "") -> Copies:
    """Of a tree's files those that are segments: name -> [(workspace path, blob)]."""
    return {
        name: [(folder + path, blob)] for path, (_, blob) in files.items() if (name := journal.name_of(folder + path))
    }


def _mark(db: store.Connection, column: str, here: Iterable[str], gone: Iterable[str]) -> None:
    also = "" if column == "on_disk" else ", committed = 1"
    db.executemany(f"UPDATE segments SET {column} = 1{also} WHERE name = ?", [(name,) for name in here])
    db.executemany(f"UPDATE segments SET {column} = 0 WHERE name = ?", [(name,) for name in gone])


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


def held_elsewhere(index: Index, seen: Look) -> set[int]:
    """Where events wait that no segment here holds, ask which refs hold them. Returns the events that it touches.

    One that counted here once and that no ref holds any more (a force-push, a deleted branch) goes into this clone's
    pending log: nobody else may have it. A closing does not: its commit makes it again wherever that is.
    """
    db = index.db
    if not db.execute("SELECT 1 FROM events WHERE waiting = 1 LIMIT 1").fetchone():
        return set()
    refs = seen.refs or refs_text(index)
    if refs == store.get(db, "refs"):
        return _adopt(index)
    waiting = {event for (event,) in db.execute("SELECT seq FROM events WHERE waiting = 1")}
    if not store.get(db, "refs"):
        _learn_unnamed(index)
    held, complete = _held(index, seen.tree)
    before = {name for (name,) in db.execute("SELECT name FROM segments WHERE held = 1")}
    _mark(db, "held", held - before, before - held if complete else set())
    store.put(db, "refs", refs if complete else INCOMPLETE)
    return waiting | (_adopt(index) if complete else set())


def _held(index: Index, tree: str) -> tuple[set[str], bool]:
    """Segments in the trees of branches, tags and remote refs, and whether git could read them all. Each is compared with
    HEAD's journal `tree`: most are like it. What is new is read."""
    root = index.workspace.root
    here = {name for (name,) in index.db.execute("SELECT name FROM segments WHERE in_head = 1")}
    held: set[str] = set()
    whole = True
    for other in git.subtrees(root, graph.ref_tips(root), journal.FOLDER):
        changed, complete = git.changes_of_tree(root, tree, other) if tree else None, True
        if changed is None:
            files, complete = git.readable_files(root, other)
        else:
            files = {path: entry for path, entry in changed.items() if entry is not None}
        came = named(files, journal.FOLDER + "/")
        complete &= read_copies(index, came)
        gone = {journal.name_of(f"{journal.FOLDER}/{path}") for path in changed or ()} - came.keys()
        held |= came.keys() if changed is None else (here - gone) | came.keys()
        whole &= complete
    return held, whole


def _learn_unnamed(index: Index) -> None:
    """What was committed here once and taken back: an index that was made anew does not know it, and is to publish it
    under the names that it had (see `publishing`)."""
    found: Copies = {}
    for path, blob in commits.unnamed_files(index.workspace.root, journal.FOLDER):
        if name := journal.name_of(path):
            found.setdefault(name, []).append((path, blob))
    read_copies(index, found)
    index.db.executemany("UPDATE segments SET committed = 1 WHERE name = ?", [(name,) for name in found])


def _adopt(index: Index) -> set[int]:
    """Take what some commit had, and nobody holds any more, into the pending log. What only ever lay on disk goes with
    whoever took it away. Returns the events."""
    lines = index.db.execute(
        'SELECT line FROM events WHERE waiting = 1 AND ledger = 0 AND line NOT LIKE \'%"door":"commit %\''
        " AND NOT EXISTS (SELECT 1 FROM segment_events e JOIN segments s ON s.number = e.segment"
        " WHERE e.event = events.seq AND (s.held OR s.in_head OR s.in_history OR s.on_disk))"
        " AND EXISTS (SELECT 1 FROM segment_events e JOIN segments s ON s.number = e.segment"
        " WHERE e.event = events.seq AND s.committed)"
    ).fetchall()
    if not lines:
        return set()
    events = [journal.trusted(line) for (line,) in lines]
    ledger.append(index.workspace.common, events, durable=False)  # see `opening.writing`
    return add_events(index.db, events, in_ledger=True)
