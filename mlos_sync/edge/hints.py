"""What a watcher's thread tells the one that works: names that something happened to, in bounded memory.

A hint is never believed, only taken as a reason to look. The reader's thread adds (a few instructions each, and it wakes
nobody but for the first of a batch: 10,000 files written at once are 40,000 events); `batch` waits for quiet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from mlos_sync.core.changes import FEW

PROBE = "alive"  # the file that is touched to see whether events come
COOKIE = "cookie-"  # how the names of files begin that are somebody's questions

Accept = Callable[[str], bool]  # which names in a folder matter


def everything(_: str) -> bool:
    """Every name matters."""
    return True


class Batch(NamedTuple):
    """What happened until it was quiet: `names` are absolute, None where there were too many or some were lost; `folders`
    are those of them that came or went; `lost` says why all must be looked at; `asked` are cookies; `pressed`: an urgent name
    was among them, or may have been."""

    names: frozenset[str] | None
    folders: frozenset[str]
    lost: str
    asked: frozenset[str]
    began: float  # time.monotonic() of the first hint
    pressed: bool = False

    def __bool__(self) -> bool:
        return bool(self.names or self.names is None or self.asked)


class Hints:
    """Between the two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._proved = threading.Event()
        self.urgent: frozenset[str] = frozenset()  # names that are not made to wait for others
        self.failure: str = ""  # why the reader's thread ended
        self._clear()

    def _clear(self) -> None:
        self._names: set[str] = set()
        self._folders: set[str] = set()
        self._asked: set[str] = set()
        self._lost = ""
        self._first = self._last = self._pressed = 0.0

    def add(self, name: str, *, is_folder: bool = False) -> None:
        """Something happened to a name; `is_folder`: a folder came or went."""
        with self._lock:
            if not self._lost:
                self._names.add(name)
                if is_folder:
                    self._folders.add(name)
                if len(self._names) > FEW:
                    self._lose("more changed at once than is worth looking at one by one")
            self._note()
            if name in self.urgent and not self._pressed:
                self._pressed = self._last

    def lose(self, why: str) -> None:
        """Hints were lost, or may have been."""
        with self._lock:
            self._lose(why)
            self._note()

    def ask(self, cookie: str) -> None:
        """Somebody waits for all that happened before this."""
        with self._lock:
            self._asked.add(cookie)
            self._note()
            self._hurry.set()

    def fail(self, why: str) -> None:
        """The reader's thread ends: nothing will be told any more."""
        self.failure = why or "it ended without a word"
        self._hurry.set()
        self._wake.set()

    def prove(self) -> None:
        """The answer to a probe came."""
        self._proved.set()

    def is_proved(self, seconds: float) -> bool:
        """Whether a probe was answered within that time; the next one begins anew."""
        found = self._proved.wait(seconds)
        self._proved.clear()
        return found

    def batch(self, *, quiet: float, most: float, longest: float) -> Batch | None:
        """What happened until nothing did for `quiet` seconds, or `most` seconds since its first, or `quiet`
        seconds since the first of an urgent name. One that somebody waits for ends at once. None where `longest` seconds bring
        no end: what has come by then is kept."""
        give_up = time.monotonic() + longest
        if not self._wake.wait(longest):
            return None
        while not self._hurry.is_set():
            with self._lock:
                ends = [self._last + quiet, self._first + most]
                ends += [self._pressed + quiet] if self._pressed else []
            now = time.monotonic()
            if min(ends) <= now:
                break
            if give_up <= now:
                return None
            self._hurry.wait(min(*ends, give_up) - now)
        with self._lock:
            lost = bool(self._lost)
            found = Batch(
                None if lost else frozenset(self._names), frozenset(self._folders), self._lost, frozenset(self._asked),
                self._first or time.monotonic(), lost or bool(self._pressed),
            )  # fmt: skip
            self._clear()
            if not self.failure:
                self._wake.clear()
                self._hurry.clear()
            return found

    def _lose(self, why: str) -> None:
        self._lost = self._lost or why
        self._names.clear()
        self._folders.clear()

    def _note(self) -> None:
        self._last = time.monotonic()
        if not self._first:
            self._first = self._last
            self._wake.set()
