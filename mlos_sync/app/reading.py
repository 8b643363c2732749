"""Read segments: take the whole copy where there is one, keep the good lines where there is none, name the damage.

Of one segment there may be a file in the work tree, a blob in HEAD and other blobs in older commits. Its name is the
hash of its bytes, so which of them is whole needs no guess. Nothing is repaired here; the message says how to.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlos_sync.app.events import place
from mlos_sync.app.opening import Index
from mlos_sync.core import journal
from mlos_sync.core.entries import entries_in
from mlos_sync.edge import objects, store
from mlos_sync.edge.decoding import Decoded, Found, decoded

Copies = dict[str, list[tuple[str, str]]]  # segment name -> (workspace path, blob id) of each copy that git has
Disk = dict[str, tuple[str, str]]  # segment name -> (workspace path, stat as text)


AT_ONCE = 100  # segments whose events are in memory together
Elsewhere = Callable[[str, str], list[tuple[str, str]]]  # (segment name, workspace path) -> copies that git has of it


def _nowhere(_name: str, _path: str) -> list[tuple[str, str]]:
    return []


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """What stands in the place of a segment, or why its bytes cannot be had."""

    reason: str


def read_disk(index: Index, files: Disk, elsewhere: Elsewhere) -> None:
    """Read files that came or were altered. `elsewhere` says where else there are copies of one that is not whole."""
    db = index.db
    doubtful: dict[str, bytes | _Unreadable] = {}

    def whole_ones() -> Iterator[Found]:
        for name, (path, _) in sorted(files.items()):
            data = content(os.path.join(index.workspace.root, path))
            if isinstance(data, bytes) and journal.segment_name(data) == name:
                yield name, path, data
            else:
                doubtful[name] = data

    _add_all(db, whole_ones(), len(files))
    whole = whole_copies(index, {name: elsewhere(name, files[name][0]) for name in doubtful})
    for name, data in doubtful.items():
        _take_doubtful(index, name, files[name][0], data, whole.get(name))
    db.executemany("UPDATE segments SET stat = ? WHERE name = ?", [(place[1], name) for name, place in files.items()])


def _add_all(db: store.Connection, found: Iterator[Found], count: int) -> None:
    """Take segments in, some at a time; `count` is how many there are at most."""
    batches = iter(lambda: list(itertools.islice(found, AT_ONCE)), [])
    for batch in decoded(batches, count):
        add_segments(db, batch)


def read_copies(index: Index, copies: Copies, elsewhere: Elsewhere = _nowhere) -> bool:
    """Read segments from git that the index does not know, or knows only as damaged. Returns whether git could read all
    that was asked for."""
    db = index.db
    sound = "SELECT 1 FROM segments WHERE name = ? AND problem IS NULL"
    wanted = {name: places for name, places in copies.items() if not db.execute(sound, (name,)).fetchone()}
    contents = dict(objects.blobs(index.workspace.root, [places[0][1] for places in wanted.values()]))
    doubtful: Copies = {}
    whole_ones: list[Found] = []
    for name, places in sorted(wanted.items()):
        path, blob = places[0]
        if blob in contents and journal.segment_name(contents[blob]) == name:
            whole_ones.append((name, path, contents[blob]))
        else:
            doubtful[name] = [*places, *elsewhere(name, path)]
    _add_all(db, iter(whole_ones), len(whole_ones))
    whole = whole_copies(index, doubtful)
    for name, places in doubtful.items():
        path, blob = places[0]
        gone = f"git cannot read its object {blob[:12]}: git fetch --refetch brings it back, git fsck says more"
        data = contents[blob] if blob in contents else _Unreadable(gone)
        _take_doubtful(index, name, path, data, whole.get(name))
    return all(places[0][1] in contents or name in whole for name, places in doubtful.items())


def _take_doubtful(
    index: Index, name: str, path: str, data: bytes | _Unreadable, whole: tuple[str, bytes] | None
) -> None:
    """Take a segment whose copy at `path` is not whole: from the whole one (blob, bytes) where git has it, else its good
    lines; and say what is wrong."""
    db = index.db
    if whole is not None:
        add_segment(db, name, path, whole[1])
    elif isinstance(data, bytes):
        add_segment(db, name, path, data)
    else:  # absence is not deletion: what it held when it could be read still counts
        db.execute("INSERT OR IGNORE INTO segments(name, path) VALUES (?, ?)", (name, path))
    problem = _problem(index, name, path, data, whole[0] if whole else None)
    db.execute("UPDATE segments SET problem = ? WHERE name = ?", (problem, name))


def whole_copies(index: Index, copies: Copies) -> dict[str, tuple[str, bytes]]:
    """Name -> (blob, bytes) of the first copy whose bytes fit the name, where git has one."""
    blobs = [blob for places in copies.values() for _, blob in places]
    contents = dict(objects.blobs(index.workspace.root, blobs))
    found = {}
    for name, places in copies.items():
        for _, blob in places:
            if blob in contents and journal.segment_name(contents[blob]) == name:
                found[name] = (blob, contents[blob])
                break
    return found


def content(path: str) -> bytes | _Unreadable:
    """A file's bytes; never waits, never follows a link, never reads what is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        link = os.path.islink(path)
        return _Unreadable(
            "it is a link, and links are not followed" if link else f"it cannot be read ({error.strerror})"
        )
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return _Unreadable("what stands in its place is no file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        return _Unreadable(f"it cannot be read ({error.strerror})")
    finally:
        os.close(descriptor)


def _problem(index: Index, name: str, path: str, data: bytes | _Unreadable, whole: str | None) -> str:
    """What is wrong with one copy, where, and the command that puts a whole one in its place."""
    if isinstance(data, _Unreadable):
        told = data.reason
    else:
        found = journal.read_segment(name, data).problems
        told = "; ".join(f"line {line}: {reason}" if line else reason for line, reason in (*found[1:3], *found[:1]))
    if whole is None:
        if isinstance(data, _Unreadable):
            return f"{told}; what it held when it was last read still counts"
        return (
            f"{told}; the other lines are kept, and no commit here has it whole: copy it from the clone that wrote it;"
            f" if that was this one, its pending log has the events: rm -- {path}"
        )
    return f"{told}; its events were taken from git; put it back: {restoring(index, path, whole)}"


def restoring(index: Index, path: str, blob: str) -> str:
    """The git command, for any folder of the work tree, that brings a path back as the blob that some commit has there."""
    row = index.db.execute(
        "SELECT k.sha FROM commit_changes c JOIN commits k ON k.id = c.commit_id WHERE c.path = ? AND c.blob = ?"
        " AND c.status <> 'D' ORDER BY k.id LIMIT 1",
        (path, blob),
    ).fetchone()
    source = row[0][:12] if row else "HEAD"
    return f"git restore --source={source} --staged --worktree -- :/{path}"


def add_segment(db: store.Connection, name: str, path: str, data: bytes) -> None:
    """Take one segment's good events into the index, and its damage as its problem."""
    add_segments(db, [(name, path, *entries_in(name, data))])


def add_segments(db: store.Connection, found: list[Decoded]) -> None:
    """The same for several that are decoded: statements for all of them at once take a third less than one by one."""
    db.executemany(
        "INSERT INTO segments(name, path, problem) VALUES (?, ?, ?)"
        " ON CONFLICT(name) DO UPDATE SET path = excluded.path, problem = excluded.problem, stat = NULL",
        [decoded[:3] for decoded in found],
    )
    number = "SELECT number FROM segments WHERE name = ?"
    numbers = [db.execute(number, (name,)).fetchone()[0] for name, *_ in found]
    places = place(db, [entries for *_, entries in found])
    db.executemany("DELETE FROM segment_events WHERE segment = ?", [(number,) for number in numbers])
    held = {
        (number, places[row[:2]]) for number, (*_, entries) in zip(numbers, found, strict=True) for row in entries.rows
    }
    db.executemany("INSERT INTO segment_events VALUES (?, ?)", sorted(held))
