"""Watches of folders: what happens directly in them is put into `hints`. How that is done depends on the system."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Set
from typing import Protocol

from mlos_sync.edge.hints import PROBE, Accept, Hints, everything


class Tree(Protocol):
    """What a system has to offer (`watch_linux`, `watch_elsewhere`)."""

    def add(self, folder: str, accept: Accept) -> None: ...
    def has(self, folder: str) -> bool: ...
    def remove(self, folder: str, keep: Set[str]) -> None: ...
    def folders(self) -> frozenset[str]: ...
    def probe(self, name: str) -> None: ...
    def close(self) -> None: ...


class Watch:
    """Watches of folders, each for the names directly in it.

    `cookies` is a folder of ours: a file that comes there is somebody's question, and one that is touched there answers a
    probe.
    """

    def __init__(self, hints: Hints, cookies: str) -> None:
        """Raises OSError where the system gives no more."""
        self._probe = os.path.join(cookies, PROBE)
        with open(self._probe, "ab"):
            pass
        self._tree = _tree(hints, cookies)
        try:
            self._tree.add(cookies, everything)
        except BaseException:
            self.close()
            raise

    def cover(self, folders: Iterable[str], accept: Accept = everything) -> dict[str, str]:
        """Watch folders: those that could not be watched, with the reason. One that has gone is none of them."""
        refused: dict[str, str] = {}
        is_full = False
        for folder in folders:
            try:
                if is_full:
                    refused[folder] = LIMIT
                else:
                    self._tree.add(folder, accept)
            except OSError as error:
                is_full = error.errno == errno.ENOSPC
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    refused[folder] = why(error)
        return refused

    def uncover(self, folder: str, *, keep: Set[str] = frozenset()) -> None:
        """Watch a folder and those below it no more, but for some: it was moved away, and its watches would go with it."""
        self._tree.remove(folder, keep)

    def has(self, folder: str) -> bool:
        """Whether a folder is watched."""
        return self._tree.has(folder)

    @property
    def covered(self) -> frozenset[str]:
        """The folders that are watched."""
        return self._tree.folders()

    def probe(self) -> None:
        """Make an event; `hints.is_proved` says whether it came."""
        self._tree.probe(self._probe)

    def close(self) -> None:
        """Watch nothing any more. Waits two seconds at most."""
        self._tree.close()


LIMIT, INSTANCES = "watch limit", "limit of watching programs"


def why(error: OSError) -> str:
    """The reason that a folder cannot be watched."""
    limits = {errno.ENOSPC: LIMIT, errno.EMFILE: INSTANCES}
    return limits.get(error.errno or 0) or error.strerror or "refused"


def _tree(hints: Hints, cookies: str) -> Tree:
    if sys.platform.startswith("linux"):
        from mlos_sync.edge.watch_linux import Inotify

        return Inotify(hints, cookies)
    from mlos_sync.edge.watch_elsewhere import Recursive

    return Recursive(hints, cookies)
