"""The same where the system watches whole trees by itself (macOS), by watchdog's `Observer`. Not tested on one yet."""

from __future__ import annotations

import os
from collections.abc import Set

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import ObservedWatch

from mlos_sync.edge.hints import COOKIE, PROBE, Accept, Hints

KINDS = frozenset({"created", "modified", "moved", "deleted", "closed"})


class Recursive(FileSystemEventHandler):
    """One recursive watch for each folder that no other one holds; what nobody asked for is dropped here."""

    def __init__(self, hints: Hints, cookies: str) -> None:
        self._hints, self._cookies = hints, cookies
        self._accept: dict[str, Accept] = {}
        self._tops: dict[str, ObservedWatch] = {}
        self._observer = Observer()
        self._observer.start()

    def add(self, folder: str, accept: Accept) -> None:
        """Watch a folder for the names in it that matter. Raises OSError."""
        if not os.path.isdir(folder):
            raise FileNotFoundError(folder)
        if not any(folder == top or folder.startswith(top + os.sep) for top in self._tops):
            self._tops[folder] = self._observer.schedule(self, folder, recursive=True)
        self._accept[folder] = accept

    def has(self, folder: str) -> bool:
        """Whether a folder is watched."""
        return folder in self._accept

    def remove(self, folder: str, keep: Set[str]) -> None:
        """Drop what happens in a folder and those below it, but for some."""
        below = folder + os.sep
        for name in [one for one in self._accept if f"{one}{os.sep}".startswith(below) and one not in keep]:
            del self._accept[name]

    def folders(self) -> frozenset[str]:
        """What is watched."""
        return frozenset(self._accept)

    def probe(self, name: str) -> None:
        """Make an event in the folder of cookies."""
        os.utime(name)

    def close(self) -> None:
        """Watch nothing any more."""
        self._observer.stop()  # type: ignore[no-untyped-call,unused-ignore]
        self._observer.join(timeout=2)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """One event of watchdog's."""
        if event.event_type not in KINDS or (event.is_directory and event.event_type == "modified"):
            return
        for name in filter(None, (os.fsdecode(event.src_path), os.fsdecode(event.dest_path))):
            folder, _, base = name.rpartition("/")
            if folder == self._cookies:
                if base == PROBE:
                    self._hints.prove()
                elif base.startswith(COOKIE) and event.event_type in ("created", "moved"):
                    self._hints.ask(base)
            elif name in self._tops:
                self._hints.add(name, is_folder=True)
            elif self._accept.get(folder, lambda _: False)(base):  # type: ignore[no-untyped-call]
                self._hints.add(name, is_folder=event.is_directory)
