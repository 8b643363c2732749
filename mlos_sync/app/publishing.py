"""Publish pending events as one new segment, complete from birth, into the commit that is being made.

Used by the pre-commit hook (`publish_for_commit`), by `mlos-sync publish`, and by post-commit (`repair`). Standard
library only: it runs inside `git commit`. Published are events whose record and whatever they have seen are in the
index being committed; the rest stays pending. A segment is never changed, renamed or appended to afterwards.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from mlos_sync.app import freshness, journaling
from mlos_sync.app.folding import iso
from mlos_sync.app.opening import Index, open_index
from mlos_sync.core import journal
from mlos_sync.edge import files, git, store
from mlos_sync.edge.workspace import git_folders

HOOK_PATIENCE = 0.05  # seconds; if the lock is not free by then the events stay pending and the commit goes on
REPAIR = "repair"


@dataclass(frozen=True, slots=True)
class Published:
    """What was put into the index: the segment's path (None: nothing was pending) and its events."""

    segment: str | None
    events: int


def publish_for_commit() -> None:
    """Called in pre-commit: into the index that git is about to commit, wherever that is."""
    index_file = os.environ.get("GIT_INDEX_FILE")
    absolute = os.path.abspath(index_file) if index_file else None
    index = open_index(os.getcwd())
    publish(index, index_file=absolute, patience=HOOK_PATIENCE)


def publish(index: Index, *, index_file: str | None = None, patience: float = store.PATIENCE) -> Published:
    """Write and stage what is pending. Raises SurroundingsError when the lock is not free within `patience`."""
    with store.writer_lock(index.workspace.common, patience), store.transaction(index.db):
        freshness.refresh(index)
        staged = _staged(index, index_file)
        for name, path in sorted(_unstaged(index, staged).items()):
            _stage(index, path, None, index_file)
            staged[name] = path
        events = _publishable(index, staged)
        if not events:
            return Published(None, 0)
        data = journal.segment_bytes(events, index.workspace.config.workspace, iso(events[-1].clock[0]))
        path = journal.segment_path(data, iso(max(event.clock[0] for event in events)))
        files.write(index.workspace.root, path, data)
        _stage(index, path, data, index_file)
    return Published(path, len(events))


def _staged(index: Index, index_file: str | None) -> dict[str, str]:
    out = git.run(index.workspace.root, "ls-files", "-z", "--", journal.FOLDER, index_file=index_file)
    paths = [name.decode("utf-8", "replace") for name in out.split(b"\0") if name]
    return {name: path for path in paths if (name := journal.name_of(path))}


def _unstaged(index: Index, staged: dict[str, str]) -> dict[str, str]:
    """Whole segments that lie in the work tree but not in this index (an aborted commit, `git commit PATH`)."""
    found = index.db.execute("SELECT name, path FROM segments WHERE present = 1 AND problem IS NULL")
    return {name: path for name, path in found if name not in staged and files.read(index.workspace, path) is not None}


def _publishable(index: Index, staged: dict[str, str]) -> list[journal.Event]:
    """Visible events outside the staged segments, less those that rest on something which would not be there."""
    db = index.db
    db.execute("CREATE TEMP TABLE IF NOT EXISTS staged(name TEXT PRIMARY KEY)")
    db.execute("DELETE FROM staged")
    db.executemany("INSERT INTO staged VALUES (?)", [(name,) for name in staged])
    lines = db.execute(
        "SELECT id, line FROM events WHERE visible = 1 AND NOT EXISTS (SELECT 1 FROM segment_events s"
        " JOIN staged ON staged.name = s.segment WHERE s.event = events.id)"
    ).fetchall()
    waiting = {event: journal.trusted(line) for event, line in lines}
    while True:
        stuck = [event for event in waiting.values() if not _rests_on_what_is_there(db, event, waiting)]
        if not stuck:
            return sorted(waiting.values(), key=lambda event: (event.clock, event.id))
        for event in stuck:
            del waiting[event.id]


def _rests_on_what_is_there(db: store.Connection, event: journal.Event, waiting: dict[str, journal.Event]) -> bool:
    """Whether the event's record is created, and all that it has seen stands, in staged segments or in this batch."""
    there = (
        "SELECT 1 FROM events e JOIN segment_events s ON s.event = e.id JOIN staged ON staged.name = s.segment"
        " WHERE {0} LIMIT 1"
    )
    for one in event.seen:
        if one not in waiting and not db.execute(there.format("e.id = ?"), (one,)).fetchone():
            return False
    if any(w.uid == event.uid and w.kind == event.kind and w.op == "create" for w in (event, *waiting.values())):
        return True
    born = there.format('e.kind = ? AND e.uid = ? AND e.line LIKE \'%"op":"create"%\'')
    return db.execute(born, (event.kind, event.uid)).fetchone() is not None


def _stage(index: Index, path: str, data: bytes | None, index_file: str | None) -> None:
    content = data if data is not None else files.read(index.workspace, path) or b""
    blob = git.stage(index.workspace.root, path, content, index_file)
    if index_file and os.path.basename(index_file).startswith("next-index"):
        # `git commit PATH` commits a temporary index and then keeps its own: post-commit puts the entry there too.
        with open(os.path.join(index.workspace.state, REPAIR), "a", encoding="utf-8") as note:
            note.write(f"{blob} {path}\n")


def repair() -> None:
    """Called in post-commit when a note is there: put segments that the commit took into the real index as well."""
    root, git_dir, *_ = git_folders(os.getcwd())
    note = os.path.join(git_dir, "mlos", REPAIR)
    with open(note, encoding="utf-8") as file:
        wanted = [line.rstrip("\n").partition(" ") for line in file]
    committed = git.tree_files(root, "HEAD", journal.FOLDER)
    for blob, _, path in wanted:
        if committed.get(path, ("", ""))[1] == blob:
            git.stage_blob(root, path, blob)
    os.unlink(note)


def pending(index: Index) -> int:
    """How many events no commit of this branch holds yet."""
    return int(index.db.execute(f"SELECT count(*) FROM ({journaling.PENDING})").fetchone()[0])
