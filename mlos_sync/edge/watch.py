"""Events of the file system as hints: "something happened", batched. The only module that imports watchdog.

An event is never believed, only taken as a reason to look. Watchdog may lose events, run out of watches or lose its
reader thread without saying so (all seen with 7.1), so whoever iterates must also look from time to time on its own:
`batches` hands out an empty batch when `longest` seconds have passed without one.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Iterator

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

# Reading a file makes "opened" and "closed_no_write" events: with those, our own hashing would wake us for ever.
KINDS = frozenset({"created", "modified", "moved", "deleted", "closed"})


class _Hints(FileSystemEventHandler):
    """Puts the paths of events that matter into a queue."""

    def __init__(self, into: queue.SimpleQueue[str]) -> None:
        self._into = into

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in KINDS and not (event.is_directory and event.event_type == "modified"):
            self._into.put(os.fsdecode(event.dest_path or event.src_path))


def batches(root: str, git_dir: str, *, quiet: float, most: float, longest: float) -> Iterator[frozenset[str]]:
    """Sets of absolute paths that may have changed under `root`, and, for commits, directly in `git_dir`.

    A batch ends after `quiet` seconds without an event, or `most` seconds after its first. The first batch is empty
    and comes at once: by then the watches stand, so a look that begins now misses nothing.
    """
    into: queue.SimpleQueue[str] = queue.SimpleQueue()
    observer, handler = Observer(), _Hints(into)
    watched: set[str] = set()
    observer.schedule(handler, root, recursive=False)
    observer.schedule(handler, git_dir, recursive=False)
    _watch_folders(observer, handler, root, watched)
    observer.start()
    try:
        yield frozenset()
        while True:
            found = _gather(into, quiet, most, longest)
            if any(os.path.dirname(path) == root for path in found):
                _watch_folders(observer, handler, root, watched)
            yield found
    finally:
        observer.stop()
        observer.join(timeout=2)


def _watch_folders(observer: BaseObserver, handler: _Hints, root: str, watched: set[str]) -> None:
    """Watch every top-level folder but git's own, whose object store is large and says nothing."""
    with os.scandir(root) as entries:
        folders = {entry.path for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name != ".git"}
    for path in sorted(folders - watched):
        observer.schedule(handler, path, recursive=True)
    watched.clear()
    watched.update(folders)


def _gather(into: queue.SimpleQueue[str], quiet: float, most: float, longest: float) -> frozenset[str]:
    found: set[str] = set()
    deadline = time.monotonic() + longest
    while True:
        wait = min(quiet, deadline - time.monotonic()) if found else deadline - time.monotonic()
        try:
            path = into.get(timeout=max(wait, 0))
        except queue.Empty:
            return frozenset(found)
        if not found:
            deadline = time.monotonic() + most
        found.add(path)
        if time.monotonic() >= deadline:
            return frozenset(found)
