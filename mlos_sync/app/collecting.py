"""Which transcripts must be read, and reading them: those of the work tree that a plan brings, those that git ignores,
and those that git keeps beside the branches. Takes no lock and writes nothing; `apply` then takes in what was read.

A transcript is read when its content or the version of the readers changed, and only then.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlos_sync.app.opening import Index, writing
from mlos_sync.app.planning import Plan, object_format
from mlos_sync.core import transcripts
from mlos_sync.edge import git, store, transcribing
from mlos_sync.edge.transcribing import Kept
from mlos_sync.edge.transcript_worker import UNCHANGED
from mlos_sync.edge.workspace import Transcripts

if TYPE_CHECKING:
    from mlos_sync.app.noting import Notes

NOTES = "refs/notes/ai"  # of git-ai
CHECKPOINTS = "entire/checkpoints/v1"  # the branch of Entire
FACTS = "facts"  # the value of `transcripts.share` by which facts of private transcripts are journaled


@dataclass(slots=True)
class Collected:
    """What changed among transcripts: read, gone, moved (old path, new path), and why some could not be read, or folders of
    private ones not listed; private ones whose stat alone is another now."""

    read: list[Kept] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    moved: list[tuple[str, str]] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    unlisted: dict[str, str] = field(default_factory=dict)
    touched: dict[str, str] = field(default_factory=dict)
    notes: Notes | None = None
    left: bool = False  # whether some were left out, as they would have taken long to read

    def __bool__(self) -> bool:
        return bool(self.read or self.gone or self.moved or self.notes or self.touched)


def collect(
    index: Index, plan: Plan, *, beside: bool = True, before: Collected | None = None, at_most: int | None = None
) -> Collected:
    """Find and read the transcripts that a plan has changed, and, where it is looked `beside` the work tree, an ignored folder
    or a ref of git's. Where that would be more than `at_most` bytes beyond what the plan read, those are left out. What was
    collected `before`, for an earlier plan, is not read again: what changed since is found by the next look."""
    db, root = index.db, index.workspace.root
    found = Collected()
    places = _of_plan(db, plan, found)
    private = dict(_private(index, found)) if beside else {}
    stats = _of_private(db, private, plan, found) if beside else {}
    places += [(path, private[path][0], _hash_of(db, path)) for path in stats]
    wanted = {path for path, *_ in places}
    found.read += (
        [one for one in before.read if one.path in wanted and _is_same(one, plan)] if before is not None else []
    )
    wanted -= {one.path for one in found.read}
    unread = [name for path, name, _ in places if path in wanted and path not in plan.hashed]
    if at_most is not None and sum(map(_size, (os.path.join(root, name) for name in unread))) > at_most:
        found.left = True
        wanted &= plan.hashed.keys()
    places = [place for place in places if place[0] in wanted]
    for path, read in transcribing.read_files(root, places, object_format(index)):
        if isinstance(read, str):
            found.unreadable[path] = f"transcript: {read}"
        elif read.format == UNCHANGED:
            found.touched[path] = stats[path]
        elif path in stats:
            found.read.append(Kept(path, "private", read, stats[path]))
        elif read.format:
            found.read.append(Kept(path, "file", read))
        else:
            found.gone.append(path)  # a newer reader knows that it is none
    found.notes = _noted(index) if beside else None
    return found


def _is_same(one: Kept, plan: Plan) -> bool:
    """Whether what was read is what the plan has. (A private one has its stat from before: by that it is looked at again.)"""
    hashed = plan.hashed.get(one.path)
    return hashed is None or hashed.sha256 == one.read.sha256


def _size(name: str) -> int:
    try:
        return os.lstat(name).st_size
    except OSError:  # it went meanwhile
        return 0


def _noted(index: Index) -> Notes | None:
    """What git keeps beside the branches, where that is not as it was when it was taken in."""
    names = (NOTES, f"refs/heads/{CHECKPOINTS}", f"refs/remotes/*/{CHECKPOINTS}")
    tips = git.tips(index.workspace.root, *names)
    before = store.get(index.db, "notes")
    if not tips and not before:
        return None
    reachable = git.head(index.workspace.root) if NOTES in tips else ""
    seen = " ".join(
        (*(f"{name} {sha}" for name, sha in sorted(tips.items())), str(reachable), str(transcripts.READER_VERSION))
    )
    if seen == before:
        return None
    from mlos_sync.app import noting

    return noting.collect(index, tips, seen)


def _outdated(db: store.Connection) -> list[str]:
    """Transcripts of the work tree that an older reader read."""
    sql = "SELECT path FROM transcripts WHERE reader <> ? AND kept = 'file'"
    return [path for (path,) in db.execute(sql, (transcripts.READER_VERSION,))]


def _of_plan(db: store.Connection, plan: Plan, found: Collected) -> list[transcribing.Place]:
    """Files of the work tree. One that was only moved says what it said, unless its name is all its identity."""
    changes = plan.changes
    known = dict(db.execute("SELECT path, content_hash FROM transcripts WHERE kept = 'file'").fetchall())
    came = [*changes.added, *changes.modified]
    for old, new in changes.moved:
        if known.get(old) == plan.hashed[new].sha256 and not _is_named_by_path(db, old):
            found.moved.append((old, new))
        else:
            came.append(new)
            found.gone += [old] if old in known else []
    came += [path for path in _outdated(db) if path not in came]
    gone = {*changes.deleted, *changes.modified} & known.keys()
    wanted = [path for path in came if path in known or _is_transcript(plan, path)]
    wanted = [path for path in wanted if path not in changes.modified or _is_transcript(plan, path)]
    found.gone += sorted(gone - set(wanted))
    return [(path, path, "") for path in sorted(set(wanted))]


def _is_transcript(plan: Plan, path: str) -> bool:
    return path in plan.documents and plan.documents[path].is_transcript


def _is_named_by_path(db: store.Connection, path: str) -> bool:
    """Whether a session of this transcript takes its id from the file's name, as old formats do."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    rows = db.execute("SELECT session_id FROM session_files WHERE transcript = ?", (path,))
    return any(stem in session or session in path for (session,) in rows)


def _private(index: Index, found: Collected) -> Iterator[tuple[str, tuple[str, str]]]:
    """(path, (name on disk, stat)) of each file in the folders of private transcripts: those of the config, in the work
    tree, and those that `git config mlos-sync.transcripts` names, anywhere. A path outside is told from the home on.

    A folder that somebody named and that cannot be listed is put into `unlisted`: what it held is not known to be gone.
    """
    root = index.workspace.root
    usual = Transcripts().folders
    folders = [(os.path.join(root, one), one not in usual) for one in index.workspace.config.transcripts.folders]
    named = git.config_values(root, "mlos-sync.transcripts")
    folders += [(os.path.join(root, os.path.expanduser(one)), True) for one in named if one]
    for folder, is_wanted in folders:
        for name, seen in _files(folder, found, is_wanted, lambda name: _path_of(name, root)):
            yield _path_of(name, root), (name, f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ino}")


def _path_of(name: str, root: str) -> str:
    """How a private transcript is called: by its path in the work tree, or from the home, or from the root."""
    path = os.path.relpath(name, root)
    if not path.startswith(".."):
        return path
    home = os.path.expanduser("~")
    return f"~{name[len(home) :]}" if name.startswith(home + os.sep) else name


def _files(
    folder: str, found: Collected, is_wanted: bool, told: Callable[[str], str]
) -> Iterator[tuple[str, os.stat_result]]:
    """The regular files of a folder and those below, links not followed, what git keeps there left out; of a file itself."""
    waiting = [folder]
    while waiting:
        name = waiting.pop()
        try:
            seen = os.lstat(name)
            if stat.S_ISDIR(seen.st_mode):
                waiting += sorted((os.path.join(name, one) for one in os.listdir(name) if one != ".git"), reverse=True)
            elif stat.S_ISREG(seen.st_mode):
                yield name, seen
            elif name == folder and is_wanted:
                found.unlisted[told(name)] = "neither a folder nor a file"
        except OSError as error:
            if name != folder or is_wanted or not isinstance(error, FileNotFoundError):
                found.unlisted[told(name)] = error.strerror or "cannot be read"


def _of_private(
    db: store.Connection, private: dict[str, tuple[str, str]], plan: Plan, found: Collected
) -> dict[str, str]:
    """Private transcripts that changed: path -> stat. What the index of files has is none of them."""
    rows = db.execute("SELECT path, stat, reader FROM transcripts WHERE kept = 'private'").fetchall()
    if not private and not rows and not found.unlisted:
        return {}
    known = {path: (seen, reader) for path, seen, reader in rows}
    ours = {path for path in (*private, *known) if _is_artifact(db, plan, path)}
    hidden = tuple(f"{folder}/" for folder in found.unlisted)
    gone = [path for path in known if path not in private and path not in ours]
    found.gone += sorted(path for path in gone if path not in found.unlisted and not path.startswith(hidden))
    plan.skipped.update({path: f"transcripts: {reason}" for path, reason in found.unlisted.items()})
    current = transcripts.READER_VERSION
    return {
        path: seen for path, (_, seen) in private.items() if path not in ours and known.get(path) != (seen, current)
    }


def _hash_of(db: store.Connection, path: str) -> str:
    """The hash of a transcript as this version's reader last read it, or "" for none."""
    sql = "SELECT content_hash FROM transcripts WHERE path = ? AND reader = ? AND kept = 'private'"
    row = db.execute(sql, (path, transcripts.READER_VERSION)).fetchone()
    return row[0] if row else ""


def _is_artifact(db: store.Connection, plan: Plan, path: str) -> bool:
    """Whether a path is that of an artifact once the plan is carried out."""
    if path in plan.hashed:
        return True
    known = db.execute("SELECT 1 FROM artifacts WHERE file_path = ?", (path,)).fetchone()
    return known is not None and path not in plan.changes.deleted


def apply(index: Index, plan: Plan, found: Collected) -> None:
    """Take in what was collected and what the plan's files mean for claims, inside the caller's transaction, capture off."""
    db, changes = index.db, plan.changes
    plan.problems.update(found.unreadable)
    if not found and not db.execute("SELECT 1 FROM transcripts LIMIT 1").fetchone():
        return  # no transcript, no claim; what follows costs 25 ms of modules
    from mlos_sync.app import noting, placing, sessions, weighing

    touched: set[str] = set()
    for path in found.gone:
        touched |= sessions.forget(db, path)
    for old, new in found.moved:
        touched |= sessions.rename(db, old, new)
    for one in found.read:
        touched |= sessions.take(db, one)
    db.executemany(
        "UPDATE transcripts SET stat = ? WHERE path = ?", [(seen, path) for path, seen in found.touched.items()]
    )
    if found.notes:
        touched |= noting.take(index, found.notes)
    sessions.choose(db, touched)
    if touched:
        touched |= sessions.update_agents(db)
    weighing.unsettle(db, touched)
    told = [one.path for one in found.read] + [path for pair in found.moved for path in pair]
    weighing.unsettle_names(db, [*told, *found.gone])
    moved = [path for pair in changes.moved for path in pair]
    came = {*changes.added, *changes.deleted, *moved}
    again = {one.path for one in found.read} | {new for _, new in found.moved} | placing.affected(db, came)
    again |= set(found.notes.transcripts) if found.notes else set()
    weighing.unsettle(db, placing.place(db, index.workspace.root, again))
    weighing.unsettle_paths(db, {*came, *changes.modified})
    for path in sorted({one.path for one in found.read} | {new for _, new in found.moved}):
        plan.problems.update(_malformed(db, path))


def _malformed(db: store.Connection, path: str) -> dict[str, str]:
    """The first problem of a transcript, in words, by its path. A last line that is being written is none for a sync."""
    from mlos_sync.core.transcripts.jsonl import UNFINISHED

    rows = db.execute(
        "SELECT line, message FROM transcript_problems WHERE transcript = ? AND message <> ? ORDER BY number",
        (path, UNFINISHED),
    ).fetchall()
    if not rows:
        return {}
    more = f" (and {len(rows) - 1} more: mlos-sync transcripts)" if len(rows) > 1 else ""
    return {path: f"transcript, line {rows[0][0]}: {rows[0][1]}{more}"}


def take_over(index: Index, old: Index) -> None:
    """Bring from an old index what transcripts told that could not be read now, and whose files are not known to be gone."""
    here = {path for (path,) in index.db.execute("SELECT path FROM transcripts")}
    files = {path for (path,) in index.db.execute("SELECT file_path FROM artifacts WHERE file_path IS NOT NULL")}
    kept = [path for (path,) in old.db.execute("SELECT path FROM transcripts WHERE kept = 'file'")]
    kept = [path for path in kept if path in files and path not in here]
    if not kept:
        return
    from mlos_sync.app import deriving, placing, sessions, weighing

    with writing(index), store.capture(index.db, on=False):
        for path in kept:
            for table, key in (("transcripts", "path"), *((table, "transcript") for table in sessions.TABLES)):
                for row in store.rows(old.db, f"SELECT * FROM {table} WHERE {key} = ?", (path,)):
                    marks = ", ".join("?" * len(row))
                    sql = f"INSERT OR REPLACE INTO {table}({', '.join(row)}) VALUES ({marks})"
                    index.db.execute(sql, list(row.values()))
        marks = ", ".join("?" * len(kept))
        told = index.db.execute(f"SELECT DISTINCT session_id FROM session_files WHERE transcript IN ({marks})", kept)
        touched = {session for (session,) in told}
        sessions.choose(index.db, touched)
        weighing.unsettle(
            index.db, touched | sessions.update_agents(index.db) | placing.place(index.db, index.workspace.root, kept)
        )
        deriving.update_edges(index.db, index.workspace.root)


def share(index: Index) -> bool:
    """Journal the facts of private transcripts, where the config says so: in the caller's transaction, capture on."""
    if index.workspace.config.transcripts.share != FACTS:
        return False
    from mlos_sync.app import sharing

    return sharing.publish(index.db)
