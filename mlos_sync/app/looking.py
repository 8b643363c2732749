"""Where the journal stands outside the index: HEAD, the journal in its tree, the files on disk, what refs name.

A look takes no lock and reads no segment. What every command asks is cheap (the times of the folders); names are listed
only where those times cannot tell, and every file's stat only where somebody asked for a thorough look.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field

from mlos_sync.app.opening import Index
from mlos_sync.core import journal
from mlos_sync.core.ids import derived_uid
from mlos_sync.edge import git, graph, store

# A folder that changed so lately may change again without another mtime: the kernel's clock goes in steps of up to 10 ms,
# and some filesystems store whole seconds, or even ones.
RACY_NS, COARSE_NS = 20_000_000, 2_000_000_000
INCOMPLETE = "incomplete"  # in the place of what git could not read in whole: it is asked again
_KEYS = ("head", "tree", "files", "names", "stats")

# Workspace path -> what is known of the file: its inode, and behind it, after a thorough look, its size, times and mode.
Listing = dict[str, str]


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen, each as a short text that changes when it does.

    `files` tells names that came or went by the times of the folders, `names` by the names ("" where the times are
    enough), `stats` also a file that was altered in place ("" where nobody asked). `refs` is "" where no event waits for
    what refs hold.
    """

    head: str
    tree: str
    files: str
    names: str
    stats: str
    refs: str
    before: tuple[str, ...]  # what the index was brought up to when this was seen
    listing: Listing | None = field(compare=False)  # where files were listed for `names` or `stats`


def look(index: Index, *, thorough: bool = False) -> Look:
    """Look at HEAD, the journal in its tree, the journal on disk, and, where it matters, at refs. Takes no lock."""
    before = taken_in(index)  # first: if somebody takes in more while we look, what we saw is known to be older
    commit = tree = ""
    out = git.run(index.workspace.root, "rev-parse", "--quiet", "HEAD^{commit}", f"HEAD:{journal.FOLDER}", check=False)
    for line in out.decode().split("\n"):
        if len(line) in (40, 64) and not line.startswith("HEAD"):
            commit, tree = (line, tree) if not commit else (commit, line)
    refs = refs_text(index) if index.db.execute("SELECT 1 FROM events WHERE waiting = 1 LIMIT 1").fetchone() else ""
    folders, fresh = _folders(index)
    # What was taken in while the times could not tell is compared by its names from then on.
    fresh = fresh or before[_KEYS.index("files")] == f"~{folders}"
    folders = f"~{folders}" if fresh else folders
    listing = list_files(index, stats=thorough) if thorough or fresh else None
    names = _told(listing) if listing is not None and not thorough else ""
    stats = _told(listing) if listing is not None and thorough else ""
    return Look(commit, tree, folders, names, stats, refs, before, listing)


def taken_in(index: Index) -> tuple[str, ...]:
    """What the index was brought up to last, as looks tell it."""
    known = dict(index.db.execute("SELECT key, value FROM meta WHERE key GLOB 'journal_*'").fetchall())
    return tuple(known.get(f"journal_{key}", "") for key in _KEYS)


def are_current(index: Index, seen: Look) -> bool:
    """Whether HEAD, the journal in its tree, the journal on disk and the refs are as they were when they were taken in."""
    head, tree, files, names, stats = taken_in(index)
    if (seen.head, seen.tree, seen.files) != (head, tree, files):
        return False
    if seen.names not in ("", names) or seen.stats not in ("", stats):
        return False
    return not seen.refs or seen.refs == store.get(index.db, "refs")


def remember(index: Index, seen: Look, listing: Listing | None, *, complete: bool) -> None:
    """Note what the index is brought up to now; `listing` is what was listed for it, None where the files are as they
    were. What git could not read now may be there the next time."""
    db = index.db
    for key, value in (("head", seen.head), ("tree", seen.tree if complete else INCOMPLETE), ("files", seen.files)):
        store.put(db, f"journal_{key}", value)
    if listing is not None:
        inodes = listing if not seen.stats else {path: stat.partition(" ")[0] for path, stat in listing.items()}
        store.put(db, "journal_names", seen.names or _told(inodes))
        store.put(db, "journal_stats", seen.stats)


def refs_text(index: Index) -> str:
    """What branches, tags and remote refs name, as one short text."""
    return derived_uid(*graph.ref_tips(index.workspace.root))


def shallow(index: Index) -> str:
    """Where the history of a shallow clone ends, as a short text; "" for a whole one. `git fetch --unshallow` moves no ref."""
    try:
        stat = os.stat(os.path.join(os.path.dirname(index.workspace.common), "shallow"))
    except OSError:
        return ""
    return f"shallow {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"


def _told(listing: Listing) -> str:
    return derived_uid(*(f"{path} {stat}" for path, stat in sorted(listing.items()))) if listing else "none"


def _folders(index: Index) -> tuple[str, bool]:
    """The journal's folders by their times, and whether one of them is so fresh that its times may not tell the next
    change: then the files themselves must be asked."""
    base = os.path.join(index.workspace.root, journal.FOLDER)
    found = []
    newest = 0
    for folder in sorted([base, *(entry.path for year in _entries(base) for entry in (year, *_entries(year.path)))]):
        try:
            stat = os.stat(folder, follow_symlinks=False)
        except FileNotFoundError:
            continue
        newest = max(newest, stat.st_mtime_ns, stat.st_ctime_ns)
        found.append(f"{folder[len(base) :]} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino} {stat.st_mode}")
    found.append(shallow(index))
    step = RACY_NS if newest % 1_000_000_000 else COARSE_NS
    return derived_uid(*found) if any(found) else "", newest + step > time.time_ns()


def list_files(index: Index, *, stats: bool) -> Listing:
    """The files in the work tree's journal folder. Inodes come with the names; each stat is a call of its own (40 ms for
    5,000 files), so `stats` is for those who ask whether a file was altered in place."""
    found: Listing = {}
    base = os.path.join(index.workspace.root, journal.FOLDER)
    for year in _entries(base):
        for month in _entries(year.path):
            folder = f"{journal.FOLDER}/{year.name}/{month.name}/"
            for entry in _entries(month.path):
                if entry.name.startswith(".mlos-"):
                    continue  # being written, or left by a process that was killed
                with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                    found[folder + entry.name] = stat_text(entry) if stats else str(entry.inode())
    return found


def stat_text(file: os.DirEntry[str] | str) -> str:
    """What tells an altered file. Raises OSError for one that has gone."""
    stat = os.lstat(file) if isinstance(file, str) else file.stat(follow_symlinks=False)
    return f"{stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_mode}"


def is_same(known: str | None, seen: str) -> bool:
    """Whether a file is as it was known, as far as the look that saw it can tell."""
    return known == seen or (known is not None and " " not in seen and known.partition(" ")[0] == seen)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    if os.path.islink(folder):
        return []
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
