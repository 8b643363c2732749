"""Events of the file system on Linux, by the lower layer of watchdog: one watch for each folder that somebody asks for.

Its `Observer` watches whole trees, ignored folders too; it loses its reader's thread in a `KeyError` when folders are moved
and removed quickly, and tells nobody when the kernel's queue overflows or its watches run out (all seen with 7.1.0, see
docs/reliability.md). `InotifyFD` below it reads the kernel's events and says when they overflowed; what is kept of paths
here is a dictionary that forgives.
"""

from __future__ import annotations

import errno
import os
import signal
import warnings
from collections.abc import Set

from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyEvent, InotifyFD, Mask, WatchDescriptor

from mlos_sync.edge.hints import COOKIE, PROBE, Accept, Hints, everything

_C = InotifyConstants
# Open and read events of files would have our own hashing wake us for ever; IN_MODIFY is for logs that stay open, IN_ATTRIB for
# files that become readable, or get another time.
MASK = Mask(
    _C.IN_ATTRIB | _C.IN_CREATE | _C.IN_DELETE | _C.IN_MOVED_FROM | _C.IN_MOVED_TO | _C.IN_CLOSE_WRITE | _C.IN_MODIFY
    | _C.IN_DELETE_SELF | _C.IN_MOVE_SELF | _C.IN_ONLYDIR | _C.IN_DONT_FOLLOW | _C.IN_EXCL_UNLINK
)  # fmt: skip
_CAME_OR_WENT = _C.IN_CREATE | _C.IN_DELETE | _C.IN_MOVED_FROM | _C.IN_MOVED_TO
_SELF = _C.IN_DELETE_SELF | _C.IN_MOVE_SELF | _C.IN_UNMOUNT
_OURS = CallbackId(1)


class _Reader(InotifyFD):
    """Watchdog's reading thread, which tells when it ends."""

    def __init__(self, hints: Hints) -> None:
        super().__init__()
        self._told = hints

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            self._told.fail(f"{type(error).__name__}: {error}")
        else:
            self._told.fail("it was stopped")


class Inotify:
    """Folders by watch descriptor. A folder that is moved keeps its descriptor; the last name asked for counts."""

    def __init__(self, hints: Hints, cookies: str) -> None:
        self._hints, self._cookies = hints, cookies
        self._folders: dict[WatchDescriptor, tuple[str, Accept]] = {}
        self._descriptors: dict[str, WatchDescriptor] = {}
        self._reader = _Reader(hints)
        # Signals are for the main thread: one that this thread gets wakes nobody there.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            self._reader.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def add(self, folder: str, accept: Accept) -> None:
        """Watch a folder for the names in it that matter. Raises OSError."""
        mask = Mask(MASK | _C.IN_CLOSE_NOWRITE) if folder == self._cookies else MASK
        with warnings.catch_warnings():  # of one that is watched already it warns, and prints all that it knows of it
            warnings.simplefilter("ignore")
            wd = self._reader.add_callback(os.fsencode(folder), mask, self, _OURS)
        if wd == -1:  # watchdog raises every error but this one
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)
        before = self._folders.get(wd)
        if before is not None and before[0] != folder and self._descriptors.get(before[0]) == wd:
            del self._descriptors[before[0]]  # else that name is another folder's by now
        self._folders[wd] = (folder, accept)
        self._descriptors[folder] = wd

    def has(self, folder: str) -> bool:
        """Whether a folder is watched."""
        return folder in self._descriptors

    def remove(self, folder: str, keep: Set[str]) -> None:
        """Watch a folder and those below it no more, but for some."""
        below = folder + os.sep
        for name in [one for one in list(self._descriptors) if f"{one}{os.sep}".startswith(below) and one not in keep]:
            wd = self._descriptors.pop(name, None)
            if wd is not None and self._folders.pop(wd, None) is not None:
                self._reader.remove_callbacks([(wd, _OURS)])

    def folders(self) -> frozenset[str]:
        """What is watched."""
        return frozenset(self._descriptors)

    def probe(self, name: str) -> None:
        """Make an event in the folder of cookies: to open and close a file for reading writes nothing to a disk."""
        with open(name, "rb"):
            pass

    def close(self) -> None:
        """Watch nothing any more."""
        self._reader.stop()
        self._reader.join(timeout=2)

    # --- called by the reader's thread

    def on_event(self, event: InotifyEvent) -> None:
        """One event of the kernel's."""
        known = self._folders.get(event.wd)
        if known is None:
            return
        folder, accept = known
        if folder == self._cookies:
            self._on_cookie(os.fsdecode(event.name), event.mask)
        elif event.mask & _SELF:
            self._hints.add(folder, is_folder=True)
        elif event.name and accept(name := os.fsdecode(event.name)):
            is_folder = bool(event.mask & _C.IN_ISDIR and event.mask & _CAME_OR_WENT)
            self._hints.add(f"{folder}/{name}", is_folder=is_folder)

    def _on_cookie(self, name: str, mask: int) -> None:
        if name == PROBE:
            self._hints.prove()
        elif name.startswith(COOKIE) and mask & (_C.IN_CREATE | _C.IN_MOVED_TO):
            self._hints.ask(name)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """The folder has gone."""
        folder, _ = self._folders.pop(wd, ("", everything))
        if self._descriptors.get(folder) == wd:
            self._descriptors.pop(folder, None)

    def on_queue_overflow(self) -> None:
        """Events were lost."""
        self._hints.lose("the kernel's event queue overflowed")
