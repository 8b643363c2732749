"""Publish pending events as one new segment, complete from birth, into the commit that is being made.

Used by the pre-commit hook (`publish_for_commit`), by `mlos-sync publish`, and by post-commit (`repair`). Standard
library only: it runs inside `git commit`. Published are events whose record and whatever they have seen are in the
index being committed; the rest stays pending. A segment is never changed, renamed or appended to afterwards.
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass

from mlos_sync.app import freshness, passing
from mlos_sync.app.events import count
from mlos_sync.app.messages import CLOSING
from mlos_sync.app.opening import Index, open_index, writing
from mlos_sync.app.reading import add_segment
from mlos_sync.core import journal
from mlos_sync.core.times import iso
from mlos_sync.edge import files, git, ledger, objects, store
from mlos_sync.edge.workspace import MARKER, Workspace, git_folders

HOOK_PATIENCE = 0.05  # seconds; if the lock is not free by then the events stay pending and the commit goes on
REPAIR = "repair"
_COMPARING = (".pre-commit-config.yaml", ".pre-commit-config.yml", "prek.toml")


@dataclass(frozen=True, slots=True)
class Published:
    """What was put into the index: the segment's path (None: nothing was pending), its events, and every (path, blob)."""

    segment: str | None
    events: int
    staged: tuple[tuple[str, str], ...] = ()


def publish_for_commit() -> None:
    """Called in pre-commit: into the index that git is about to commit, wherever that is.

    Only the blob and the entry are made; the file appears in post-commit. So an aborted commit leaves no untracked file
    that a later merge or `stash pop` would stumble over. Where pre-commit or prek runs us, or runs after us, the file is
    written at once: they compare index and work tree, and refuse a commit in which a hook made them differ.

    On a branch of before the workspace the records wait: there is nothing to put them into.
    """
    if not (os.path.lexists(MARKER) or git.tracked_paths(os.getcwd(), MARKER)):  # git starts hooks at the root
        return
    index_file = os.environ.get("GIT_INDEX_FILE")
    absolute = os.path.abspath(index_file) if index_file else None
    index = open_index(os.getcwd(), patience=HOOK_PATIENCE)
    forget_closing(index.workspace)
    done = publish(index, index_file=absolute, patience=HOOK_PATIENCE, in_hook=True)
    if done.staged and _is_compared(index.workspace.root):
        _write_files(index.workspace.root, done.staged)


def _is_compared(root: str) -> bool:
    """Whether somebody compares index and work tree during this commit: what runs us says so in the environment, and what
    runs after us has its file there."""
    return bool(os.environ.get("PRE_COMMIT") or os.environ.get("PRE_COMMIT_RUNNING_LEGACY")) or any(
        os.path.lexists(os.path.join(root, name)) for name in _COMPARING
    )


def publish(
    index: Index, *, index_file: str | None = None, patience: float = store.PATIENCE, in_hook: bool = False
) -> Published:
    """Stage what is pending. Raises SurroundingsError when the lock is not free within `patience`."""
    root, db = index.workspace.root, index.db
    with writing(index, patience):
        freshness.refresh(index, edges=True)
        if passing.journal_links(index):
            freshness.refresh(index)
        staged = _staged(index, index_file)
        entries: list[tuple[str, str]] = []
        for name, (path, blob) in sorted(_unstaged(index, staged).items()):
            entries.append((path, blob))
            staged.add(name)
        events = _publishable(index, staged, _amended(root) if in_hook else None)
        count_of_events = len(events)
        for path, data in _known_segments(index, events, staged):
            entries.append((path, git.write_blob(root, data)))
            events = _without(events, data)
        if events:
            data = journal.segment_bytes(events, index.workspace.config.workspace, iso(events[-1].clock[0]))
            path = journal.segment_path(data, iso(max(event.clock[0] for event in events)))
            # Known from now on: should this commit be taken back before anybody looks, its events are published as the
            # same file again (see `_known_segments`).
            add_segment(db, journal.segment_name(data), path, data)
            entries.append((path, git.write_blob(root, data)))
        for entry in entries:
            git.stage_blob(root, *entry, index_file)
        if not in_hook:
            _write_files(root, entries)
        if in_hook and entries:
            with open(os.path.join(index.workspace.state, REPAIR), "a", encoding="utf-8") as note:
                note.writelines(f"\n{blob} {path}\n" for path, blob in entries)  # a cut line before must not swallow it
    return Published(entries[-1][0] if entries else None, count_of_events, tuple(entries))


def _known_segments(index: Index, events: list[journal.Event], staged: set[str]) -> list[tuple[str, bytes]]:
    """Segments that were made once (their commit was aborted, reset, amended away, force-pushed) and all of whose events are
    to be published again: (path, bytes). Equal events stay in equal files, else git may take one for a renamed other."""
    waiting = {event.id: event for event in events}
    found = []
    rows = index.db.execute(
        "SELECT s.name, s.path, group_concat(e.id) FROM segments s JOIN segment_events m ON m.segment = s.number"
        " JOIN events e ON e.seq = m.event WHERE s.number IN (SELECT m.segment FROM segment_events m JOIN events e"
        " ON e.seq = m.event WHERE e.pending = 1) GROUP BY s.number ORDER BY count(*) DESC, s.name"
    ).fetchall()
    for name, path, listed in rows:
        mine = [waiting.get(one) for one in listed.split(",")]
        whole = [event for event in mine if event is not None]
        if name in staged or len(whole) < len(mine):
            continue
        newest = iso(max(event.clock[0] for event in whole))
        data = journal.segment_bytes(whole, index.workspace.config.workspace, newest)
        if journal.segment_name(data) == name:
            found.append((path, data))
            waiting = {one: event for one, event in waiting.items() if event not in whole}
    return found


def _without(events: list[journal.Event], data: bytes) -> list[journal.Event]:
    """The events that a segment's bytes do not hold."""
    lines = set(data.decode("utf-8").split("\n"))
    return [event for event in events if event.line not in lines]


def _staged(index: Index, index_file: str | None) -> set[str]:
    out = git.run(index.workspace.root, "ls-files", "-z", "--", journal.FOLDER, index_file=index_file)
    paths = [name.decode("utf-8", "replace") for name in out.split(b"\0") if name]
    return {name for path in paths if (name := journal.name_of(path))}


def _unstaged(index: Index, staged: set[str]) -> dict[str, tuple[str, str]]:
    """Whole segments that belong to this branch but are not in this index: name -> (path, blob). They lie on disk (a
    commit that was taken back, `git commit PATH`), or a revert or a merge took them away."""
    found = {}
    root = index.workspace.root
    for name, path in index.db.execute(
        "SELECT name, path FROM segments WHERE problem IS NULL AND (on_disk = 1 OR in_history = 1) AND in_head = 0"
    ).fetchall():
        if name not in staged:
            data = files.read(index.workspace, path)
            if data is not None and journal.segment_name(data) == name:
                found[name] = (path, git.write_blob(root, data))
            else:
                blob = git.blob_in_history(root, path)
                if blob:
                    found[name] = (path, blob)
    return found


def _amended(root: str) -> str | None:
    """HEAD, if the commit being made replaces it: its closings would be published for a commit that nobody will have.

    Git tells a pre-commit hook nothing of `--amend`; the command line of the git that runs us does.
    """
    process = os.getppid()
    for _ in range(3):
        out = files.process_line(process)
        if out is None:
            return None
        process, arguments = out
        if any(len(word) > 3 and "--amend".startswith(word) for word in arguments):
            return git.head(root)
    return None


def _publishable(index: Index, staged: set[str], replaced: str | None) -> list[journal.Event]:
    """Visible events outside the staged segments, less closings of the commit that is being replaced, and less those
    that rest on something which would not be there."""
    db = index.db
    db.execute("CREATE TEMP TABLE IF NOT EXISTS staged(segment INTEGER PRIMARY KEY)")
    db.execute("DELETE FROM staged")
    db.executemany("INSERT INTO staged SELECT number FROM segments WHERE name = ?", [(name,) for name in staged])
    # What HEAD's tree has is in this index too, unless somebody took it out.
    missing = "SELECT number FROM segments WHERE in_head = 1 EXCEPT SELECT segment FROM staged"
    lines = db.execute(
        "SELECT line FROM events WHERE visible = 1"
        f" AND (pending = 1 OR seq IN (SELECT event FROM segment_events WHERE segment IN ({missing})))"
        " AND NOT EXISTS (SELECT 1 FROM segment_events s JOIN staged ON staged.segment = s.segment"
        " WHERE s.event = events.seq) ORDER BY line"
    ).fetchall()
    waiting = {event.id: event for (line,) in lines if (event := _sound(index, line)) is not None}
    waiting = {
        event: found for event, found in waiting.items() if replaced is None or found.door != f"commit {replaced}"
    }
    while True:
        stuck = [event for event in waiting.values() if not _rests_on_what_is_there(db, event, waiting)]
        if not stuck:
            return sorted(waiting.values(), key=lambda event: (event.clock, event.id))
        for event in stuck:
            del waiting[event.id]


def _sound(index: Index, line: str) -> journal.Event | None:
    """The event of a line of the index, checked as a stranger's would be: what a damaged disk made of it must not get
    into the journal. Where the pending log has it whole, that is taken; else it stays out, and is told."""
    try:
        return journal.decode(line.encode("utf-8", "surrogateescape"))
    except journal.BadLineError as error:
        known = {event.id: event for event in ledger.read(index.workspace.common, 0)[0]}
        found = next((known[one] for one in known if f'"id":"{one}"' in line), None)
        if found is None:
            store.observe(index.db, "event", [(line[:60], f"an event of the index is damaged, not published: {error}")])
        return found


def _rests_on_what_is_there(db: store.Connection, event: journal.Event, waiting: dict[str, journal.Event]) -> bool:
    """Whether the event's record is created, and all that it has seen stands, in staged segments or in this batch."""
    there = (
        "SELECT 1 FROM events e JOIN segment_events s ON s.event = e.seq JOIN staged ON staged.segment = s.segment"
        " WHERE {0} LIMIT 1"
    )
    for one in event.seen:
        if one not in waiting and not db.execute(there.format("e.id = ?"), (one,)).fetchone():
            return False
    if any(
        w.uid == event.uid and w.kind == event.kind and w.op in ("create", "recreate")
        for w in (event, *waiting.values())
    ):
        return True
    born = there.format(
        'e.kind = ? AND e.uid = ? AND (e.line LIKE \'%"op":"create"%\' OR e.line LIKE \'%"op":"recreate"%\')'
    )
    return db.execute(born, (event.kind, event.uid)).fetchone() is not None


def repair() -> None:
    """Called in post-commit when a note is there: segments that the commit took become files, and enter the real index
    too (`git commit PATH` commits a temporary one)."""
    root, git_dir, *_ = git_folders(os.getcwd())
    remove_leftovers(root)
    mend(root, os.path.join(git_dir, "mlos"), committed=True)


def remove_leftovers(root: str) -> None:
    """Take away half-written segments of processes that were killed."""
    for folder in {os.path.dirname(one) for one in glob.glob(f"{glob.escape(root)}/{journal.FOLDER}/*/*/.mlos-*")}:
        files.remove_leftovers(folder)


def is_unfinished(state: str) -> bool:
    """Whether there is a note, so that `mend` may have something to do."""
    return os.path.exists(os.path.join(state, REPAIR))


def mend(root: str, state: str, *, committed: bool = False) -> None:
    """The same for a work tree and our folder in its git directory; nothing happens without a note. What no commit took
    yet stays on the note until one is `committed`: its editor may still be open. Git's index is written, and so its lock
    taken, only where an entry is missing. Whoever is not the hook holds the writers' lock: a commit adds to the note."""
    note = os.path.join(state, REPAIR)
    try:
        with open(note, encoding="utf-8", errors="replace") as file:
            # A crash or a full disk may have cut a line, and what is cut names no segment.
            lines = (line.rstrip("\n").partition(" ") for line in file)
            wanted = {path: blob for blob, _, path in lines if journal.name_of(path) and _is_blob(blob)}
    except FileNotFoundError:
        return
    head = git.tree_files(root, "HEAD", journal.FOLDER) if wanted else {}
    taken = [(path, blob) for path, blob in wanted.items() if head.get(path, ("", ""))[1] == blob]
    staged = _blobs(root, [path for path, _ in taken])
    for path, blob in taken:
        if staged.get(path) != blob:
            git.stage_blob(root, path, blob)
    _write_files(root, taken)
    if committed or len(taken) == len(wanted):
        with contextlib.suppress(FileNotFoundError):  # a sync was quicker than the hook
            os.unlink(note)


def _blobs(root: str, segments: list[str]) -> dict[str, str]:
    """The blobs that git's index has of some segments."""
    out = git.run(root, "ls-files", "-s", "-z", "--", *segments) if segments else b""
    entries = (record.decode().partition("\t") for record in out.split(b"\0") if record)
    return {path: about.split(" ")[1] for about, _, path in entries}


def _write_files(root: str, entries: Iterable[tuple[str, str]]) -> None:
    """Segments that git has become files, where nothing stands yet."""
    missing = [entry for entry in entries if not os.path.lexists(os.path.join(root, entry[0]))]
    contents = dict(objects.blobs(root, [blob for _, blob in missing]))
    for path, blob in missing:
        if blob in contents:
            files.write(root, path, contents[blob])


def _is_blob(text: str) -> bool:
    return len(text) in (40, 64) and not set(text) - set("0123456789abcdef")


def forget_closing(workspace: Workspace) -> None:
    """The word was heard."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(workspace.state, CLOSING))


def pending(index: Index) -> int:
    """How many events no commit of this branch holds yet."""
    return count(index.db, "pending")
