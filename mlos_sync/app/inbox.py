"""What hints mean: which paths to look at, what lies beside the tree, or everything."""

from __future__ import annotations

import os
import time

from mlos_sync.app import covering
from mlos_sync.app.hearing import Hearing
from mlos_sync.app.pending import Pending
from mlos_sync.app.standing import Standing
from mlos_sync.core.changes import FEW
from mlos_sync.core.paths import JOURNAL, from_text
from mlos_sync.edge import operations
from mlos_sync.edge.headlog import HeadLog
from mlos_sync.edge.hints import Batch
from mlos_sync.edge.workspace import MARKER, Workspace
from mlos_sync.errors import MlosError

UNLISTED = "new folders could not be looked at"
RULES = (".gitignore", ".mlosignore", ".gitattributes")
_MOVES = frozenset(("HEAD", "ORIG_HEAD", *operations.MARKS))


class Inbox:
    """Where hints become what is `pending`."""

    def __init__(self, hearing: Hearing, standing: Standing, log: HeadLog) -> None:
        self.pending = Pending()
        self._hearing, self._standing, self._log = hearing, standing, log
        self._covers = False  # whether what is to be watched is another than before

    def take(self) -> Pending:
        """All that is pending; from here on it is the caller's."""
        found, self.pending = self.pending, Pending()
        return found

    def rescan(self, workspace: Workspace, reason: str) -> None:
        """Hints were lost: watches may be missing, too."""
        self._rescan(reason)
        self._cover(workspace)

    def poll(self, workspace: Workspace) -> None:
        """Look at what cannot be watched; and watch it where that can be done by now."""
        coverage = self._hearing.coverage
        self.pending.beside |= bool(coverage.unheard)
        if "" in coverage.polled or len(coverage.polled) > FEW:
            self.pending.all("what cannot be watched")
        elif coverage.polled:
            self._add(set(coverage.polled))
        if coverage.refused and not self._hearing.retry(workspace):
            self._rescan(UNLISTED)

    def note(self, workspace: Workspace, batch: Batch) -> None:
        """Sort hints: paths of the tree, and what git did."""
        pending = self.pending
        pending.asked |= batch.asked
        pending.views |= batch.pressed
        if batch.asked and (why := self._hearing.changed()):  # what made no event is asked for all the same
            self._rescan(why)
        if batch.names is None:
            self._rescan(batch.lost)
            self.pending.git |= self._log.has_moved()
        else:
            folders = batch.folders | {name for name in batch.names if covering.is_of_nested(workspace, name)}
            if folders and not self._hearing.extend(workspace, folders):
                self._rescan(UNLISTED)
            self._sort(workspace, batch.names)
        self._cover(workspace)
        if pending:
            pending.date(time.time() - (time.monotonic() - batch.began))

    def _sort(self, workspace: Workspace, names: frozenset[str]) -> None:
        pending, coverage = self.pending, self._hearing.coverage
        inside, is_index = set(), os.path.join(workspace.git_dir, "index") in names
        stash = os.path.join(workspace.common_dir, "refs", "stash")
        if any(name.startswith((workspace.git_dir, workspace.common_dir)) for name in names):
            pending.git |= self._log.has_moved()
        for name in names:
            pending.beside |= coverage.is_private(name)
            base = os.path.basename(name)
            if covering.is_inside(workspace, name):
                inside.add(covering.owner(from_text(name[len(workspace.root) + 1 :])))
            elif base == "index" and os.path.dirname(name) == workspace.git_dir:
                inside |= self._retracked(workspace)
                pending.beside = True  # views list what is tracked
            elif name.startswith((workspace.git_dir, workspace.common_dir)):
                pending.beside = True
                # These git writes when it moves this tree; a commit, or `git add`, writes others. All work trees share one
                # stash, each has an index.
                pending.git |= base in _MOVES and os.path.dirname(name) == workspace.git_dir
                pending.git |= name == stash and is_index
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
        is_other = self._hearing.is_retracked(workspace)
        self._covers |= is_other or before != now
        if is_other or before - now:  # a look at some paths takes for granted that what is known counts
            self.pending.all("what counts was changed")
        return now - before

    def _add(self, paths: set[str]) -> None:
        pending = self.pending
        if "" in paths:
            self._rescan("the root changed")
        elif any(MARKER.startswith(f"{path}/") or path == MARKER or path.rpartition("/")[2] in RULES for path in paths):
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
