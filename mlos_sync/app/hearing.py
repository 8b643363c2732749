"""Whether hints come: the watches, the probe that proves them, and what is not covered."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from mlos_sync.app import covering, presence, standing
from mlos_sync.app.covering import Coverage
from mlos_sync.app.standing import Standing
from mlos_sync.edge import files, mounts
from mlos_sync.edge.hints import Hints
from mlos_sync.edge.watch import Watch, why
from mlos_sync.edge.workspace import Workspace
from mlos_sync.errors import MlosError

BEAT = 1.8  # seconds between two proofs that hints still come; as long as the watcher sleeps, or it would wake for each
ANSWER = 1.0  # seconds that a proof may take
ENDED = "watching had ended"
RULED = "git's rules changed"
NESTED = "a repository in the tree became one, or is none by now"
MOVED = "a folder of private transcripts is another one"
BEGUN = "watching could begin"
OWED = "what is to be watched could be asked again"
MOUNTED = "a file system was mounted or taken away"


class Hearing:
    """The watches of one worktree; `hints` is None while there are none. What is wrong is said in `standing`."""

    def __init__(self, standing: Standing) -> None:
        self.hints: Hints | None = None
        self.coverage = Coverage()
        self.next_beat = 0.0
        self._standing = standing
        self._watch: Watch | None = None
        self._mounts = ""
        self._seen: tuple[list[object], ...] = ([], [], [])
        self._owes = False  # git or the system failed while folders were asked for

    def check(self, workspace: Workspace) -> str | None:
        """Begin to watch, and every few seconds prove that hints come. Returns why all must be looked at."""
        now = time.monotonic()
        if self.hints is not None and now < self.next_beat and not self.hints.failure:
            return None
        self.next_beat = now + BEAT
        if self.hints is None:
            was_blind = "" in self.coverage.refused
            self._start(workspace)
            return BEGUN if was_blind and self.hints is not None else None
        words = self.hints.failure or ("" if self._is_answered(self.hints) else "no event came")
        if words:
            self._standing.failed(f"watching ended ({words}) and was begun again")
            self.stop()
            self._start(workspace)
            return ENDED
        if self._owes:
            self.cover(workspace)
            return None if self._owes else OWED
        return MOUNTED if self._is_mounted_anew(workspace) else self.changed()

    def _is_mounted_anew(self, workspace: Workspace) -> bool:
        """Whether the table of mounts has changed where it matters here."""
        before, self._mounts = self._mounts, mounts.table()
        places = (workspace.root, workspace.git_dir, workspace.common_dir, *self.coverage.private)
        return before != self._mounts and mounts.near(before, places) != mounts.near(self._mounts, places)

    def changed(self) -> str | None:
        """Why all must be looked at though no event told so. The user's files of git's rules may lie anywhere, in folders that
        are ignored, unreadable, or behind links; folders of private transcripts are not watched from above. So they are looked
        at: a dozen calls."""
        before, self._seen = self._seen, self._look()
        found = zip((RULED, MOVED, NESTED), before, self._seen, strict=True)
        return next((why for why, then, now in found if then != now), None)

    def is_retracked(self, workspace: Workspace) -> bool:
        """Whether git's index stands otherwise to a repository in the tree."""
        try:
            return covering.is_retracked(workspace, self.coverage)
        except (MlosError, OSError) as error:  # as an index that is damaged just now
            self._standing.failed(str(error))
            return False

    def cover(self, workspace: Workspace) -> None:
        """Watch all that matters now."""
        if self._watch is None:
            return
        try:
            self.coverage = covering.cover(self._watch, workspace)
            if self.hints is not None:  # who edits a view by hand shall hear of it while he is at it
                self.hints.urgent = frozenset(
                    os.path.join(workspace.root, view.path) for view in workspace.config.views
                )
            self._seen, self._owes = self._look(), False
        except (MlosError, OSError) as error:
            self._owes = True
            self._standing.failed(str(error))
        self._standing.coverage = self.coverage.told()

    def extend(self, workspace: Workspace, folders: frozenset[str]) -> bool:
        """Watch folders that came, and no more those that went. Whether that could be done."""
        return self._try(lambda watch: covering.extend(watch, workspace, folders, self.coverage))

    def retry(self, workspace: Workspace) -> bool:
        """Watch what could not be watched, where it can be by now. Whether that could be tried."""
        return self._watch is None or self._try(lambda watch: covering.retry(watch, workspace, self.coverage))

    def _try(self, what: Callable[[Watch], None]) -> bool:
        assert self._watch is not None  # noqa: S101 - see the callers
        try:
            what(self._watch)
        except (MlosError, OSError) as error:  # a folder that went again meanwhile, say
            self._standing.failed(str(error))
            return False
        self._seen = (self._seen[0], *self._look()[1:])
        self._standing.coverage = self.coverage.told()
        return True

    def stop(self) -> None:
        """Watch nothing any more."""
        if self._watch is not None:
            self._watch.close()
        self._watch = self.hints = None

    def _look(self) -> tuple[list[object], ...]:
        """Files of rules as they are, which folders have the names of the private ones, what makes repositories in the tree."""
        rules: list[object] = [files.signature(name) for name in self.coverage.rules]
        private: list[object] = [presence.identity(name) for name in self.coverage.private]
        return rules, private, [os.path.lexists(name) for name in self.coverage.heads]

    def _is_answered(self, hints: Hints) -> bool:
        assert self._watch is not None  # noqa: S101 - the caller has its hints
        try:
            self._watch.probe()
        except OSError:
            return False
        return hints.is_proved(ANSWER)

    def _start(self, workspace: Workspace) -> None:
        hints = Hints()
        folder = os.path.join(workspace.state, standing.COOKIES)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self._watch = Watch(hints, folder)
        except OSError as error:
            self.coverage = Coverage(wanted=1, refused={"": why(error)})
            self._standing.coverage = self.coverage.told()
            if self._standing.state != "polling":
                self._standing.failed(f"nothing can be watched: {why(error)}")
            self._standing.state = "polling"
            return
        self.hints, self._mounts = hints, mounts.table()
        self.cover(workspace)
