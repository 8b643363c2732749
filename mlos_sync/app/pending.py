"""What a watcher has yet to look at."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from mlos_sync.core.changes import EVERYWHERE, FEW, Reach


@dataclass(slots=True)
class Pending:
    """What was not looked at yet."""

    paths: set[str] = field(default_factory=set)
    reason: str | None = None  # why all must be looked at
    beside: bool = False
    git: bool = False  # git moved the tree: what changed is nobody's edit
    views: bool = False  # a view may have been edited
    asked: set[str] = field(default_factory=set)  # cookies: who waits for it
    began: float | None = None  # time.time() of the first

    def __bool__(self) -> bool:
        return bool(self.paths or self.reason or self.beside or self.asked)

    @property
    def reach(self) -> Reach:
        """How far the sync looks that looks at it."""
        return EVERYWHERE if self.reason else Reach(frozenset(self.paths), beside=self.beside, heard=True)

    def all(self, reason: str) -> None:
        """All must be looked at, also the views."""
        self.reason = self.reason or reason
        self.views = True
        self.paths.clear()

    def add(self, paths: Set[str]) -> None:
        """These must be looked at."""
        if not self.reason:
            self.paths |= paths
            if len(self.paths) > FEW:
                self.all("much changed at once")

    def join(self, other: Pending) -> None:
        """What another held is pending here, too; the other is not used any more."""
        if other.reason:
            self.all(other.reason)
        self.add(other.paths)
        self.beside |= other.beside
        self.git |= other.git
        self.views |= other.views
        self.asked |= other.asked
        self.date(other.began)

    def date(self, began: float | None) -> None:
        """Since when something waits, where nothing did before."""
        self.began = min((one for one in (self.began, began) if one is not None), default=None)
