"""What a watcher has yet to look at, and what hints mean for it: which paths, what lies beside the tree, or everything."""

from __future__ import annotations

import os
import time
from collections.abc import Set
from dataclasses import dataclass, field

from mlos_sync.app import covering
from mlos_sync.app.hearing import RULED, Hearing
from mlos_sync.app.standing import Standing
from mlos_sync.core.changes import EVERYWHERE, FEW, Reach, is_covered
from mlos_sync.core.paths import JOURNAL, from_text
from mlos_sync.edge import operations
from mlos_sync.edge.hints import Batch
from mlos_sync.edge.workspace import MARKER, Workspace
from mlos_sync.errors import MlosError

RULES = (".gitignore", ".mlosignore", ".gitattributes")
_MOVES = frozenset(("HEAD", "ORIG_HEAD", *operations.MARKS))


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
        return EVERYWHERE if self.reason else Reach(frozenset(self.paths), beside=self.beside)

    def all(self, reason: str) -> None:
        """All must be looked at."""
        self.reason = self.reason or reason
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

    def without(self, large: Set[str]) -> Pending:
        """Take out, and return, what leads to some files: they themselves or folders above them; where none of the paths does
        (they lie beside the tree), all but who waits."""
        theirs = {path for path in self.paths if any(is_covered(one, {path}) for one in large)}
        found = Pending(theirs, self.reason, git=self.git, began=self.began)
        if self.reason or not theirs:
            found.paths, found.beside = self.paths, self.beside
            self.reason, self.paths, self.beside = None, set(), False
        self.paths -= theirs
        return found


class Inbox:
    """Where hints become what is `pending`."""

    def __init__(self, hearing: Hearing, standing: Standing) -> None:
        self.pending = Pending()
        self._hearing, self._standing = hearing, standing
        self._covers = False  # whether what is to be watched is another than before

    def take(self) -> Pending:
        """All that is pending; from here on it is the caller's."""
        found, self.pending = self.pending, Pending()
        return found

    def rescan(self, workspace: Workspace, reason: str) -> None:
        """Hints were lost: watches may be missing, too."""
        self._rescan(reason)
        self._cover(workspace)

    def poll(self) -> None:
        """Look at what cannot be watched."""
        coverage = self._hearing.coverage
        self.pending.beside |= bool(coverage.unheard)
        if "" in coverage.polled or len(coverage.polled) > FEW:
            self.pending.all("what cannot be watched")
        elif coverage.polled:
            self._add(set(coverage.polled))

    def note(self, workspace: Workspace, batch: Batch) -> None:
        """Sort hints: paths of the tree, and what git did."""
        pending = self.pending
        pending.asked |= batch.asked
        pending.views |= batch.pressed
        if batch.asked and self._hearing.is_ruled_anew():  # what made no event is asked for all the same
            self._rescan(RULED)
        if batch.names is None:
            self._rescan(batch.lost)
        else:
            # A `.git` that comes or goes, also where it is a file, makes its folder a repository of its own, or none.
            folders = batch.folders | {name for name in batch.names if os.path.basename(name) == ".git"}
            if folders and not self._hearing.extend(workspace, folders):
                self._rescan("new folders could not be looked at")
            self._sort(workspace, batch.names)
        self._cover(workspace)
        if pending:
            pending.date(time.time() - (time.monotonic() - batch.began))

    def _sort(self, workspace: Workspace, names: frozenset[str]) -> None:
        pending, coverage = self.pending, self._hearing.coverage
        inside = set()
        for name in names:
            pending.beside |= coverage.is_private(name)
            base = os.path.basename(name)
            if covering.is_inside(workspace, name):
                inside.add(covering.owner(from_text(name[len(workspace.root) + 1 :])))
            elif base == "index" and os.path.dirname(name) == workspace.git_dir:
                inside |= self._retracked(workspace)
            elif name.startswith((workspace.git_dir, workspace.common_dir)):
                pending.beside = True
                # These git writes when it moves this tree; a commit, or `git add`, writes others.
                pending.git |= (base in _MOVES and os.path.dirname(name) == workspace.git_dir) or base == "stash"
                if base in ("config", "config.worktree", "exclude"):
                    pending.all("git's configuration changed")
                    self._covers = True
        self._add(inside)

    def _retracked(self, workspace: Workspace) -> frozenset[str]:
        """What git tracks may count or count no more without being written (`git add -f`, `git rm --cached`)."""
        before = self._hearing.coverage.forced
        try:
            now = covering.forced(workspace)
        except (MlosError, OSError) as error:  # an index that is damaged just now, a root that has gone
            self._standing.failed(str(error))
            now = frozenset()
        self._covers |= before != now
        if before - now:  # a look at some paths takes for granted that what is known counts
            self.pending.all("what counts was changed")
        return now - before

    def _add(self, paths: set[str]) -> None:
        pending = self.pending
        if "" in paths:
            self._rescan("the root changed")
        elif any(path == MARKER or path.rpartition("/")[2] in RULES for path in paths):
            pending.all("what counts was changed")
            self._covers = True
        elif not pending.reason:
            pending.beside |= any(path.startswith(JOURNAL) or f"{path}/" == JOURNAL for path in paths)
            pending.add({path for path in paths if not path.startswith(JOURNAL)})

    def _rescan(self, reason: str) -> None:
        self.pending.all(reason)
        self._standing.rescans[reason] = self._standing.rescans.get(reason, 0) + 1
        self._covers = True

    def _cover(self, workspace: Workspace) -> None:
        if self._covers:
            self._covers = False
            self._hearing.cover(workspace)
