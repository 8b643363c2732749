"""`watch`: the same plan and apply as `sync`, whenever something may have changed, and all of it from time to time.

Hints say where to look (`edge/watch`); what is found there is found by `sync`. Nothing is recorded while git or a hook has
the work tree in its hands. Whether hints still come is proved by a probe every few seconds; where it fails, where the kernel
says that it lost some, where a folder cannot be watched, the watcher says so and looks for itself.
"""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mlos_sync.app import covering, flagging, notifying, presence, standing, whole
from mlos_sync.app.clocks import Clocks
from mlos_sync.app.hearing import RULED, Hearing
from mlos_sync.app.indexing import ALL
from mlos_sync.app.opening import Index, open_index
from mlos_sync.app.standing import Lock, Standing
from mlos_sync.app.sync import Report, TransientError, sync
from mlos_sync.core.changes import EVERYWHERE, FEW, Reach
from mlos_sync.core.paths import JOURNAL, from_text
from mlos_sync.core.times import iso
from mlos_sync.edge import operations
from mlos_sync.edge.hashing import Kept
from mlos_sync.edge.hints import Batch
from mlos_sync.edge.workspace import MARKER, Pace, Workspace
from mlos_sync.errors import MlosError

CACHE = 4000  # KiB of the database in memory: it is open as long as the watcher runs, and asks for little
# Seconds that it sleeps at most, to see whether it shall end: one of 300 signals raised where Python drops what is raised, and
# then this is how long the end takes; it shall be 2 s at most.
NAP = 1.8
MENDED = 5.0  # seconds after which what failed is tried again when something has changed
LONGEST = 1800.0  # seconds between two looks at everything, however long one takes
LONG = 5.0  # seconds that git works until those who watch hear of it
SOON = 0.1  # seconds until it is asked again whether git is done
CALM = 1.0  # seconds without a batch before views are compiled
REST = 2000  # a look at everything waits for so many times what the last one took: 0.05 % of a processor
ROUTINE = ("it was time", "what cannot be watched")  # reasons to look at everything of which nobody needs to hear
_MOVES = frozenset(("HEAD", "ORIG_HEAD", *operations.MARKS))
RULES = (".gitignore", ".mlosignore", ".gitattributes")


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the workspace: the sync's report, or why there is none this time; why all was looked at; whether git moved
    the tree, so that what changed is nobody's edit; and views that were edited by hand. Or a `notice`: nothing is looked at for
    now, and why."""

    report: Report | None
    problem: MlosError | None = None
    reason: str | None = None
    git: bool = False
    edited: tuple[str, ...] = ()
    compiled: tuple[str, ...] = ()
    notice: str | None = None


@dataclass(slots=True)
class _Pending:
    """What was not looked at yet."""

    paths: set[str] = field(default_factory=set)
    reason: str | None = None  # why all must be looked at
    beside: bool = False
    git: bool = False
    asked: set[str] = field(default_factory=set)
    began: float | None = None  # time.time() of the first

    def __bool__(self) -> bool:
        return bool(self.paths or self.reason or self.beside or self.asked)

    @property
    def reach(self) -> Reach:
        return EVERYWHERE if self.reason else Reach(frozenset(self.paths), beside=self.beside)

    def all(self, reason: str) -> None:
        """All must be looked at."""
        self.reason = self.reason or reason
        self.paths.clear()


def looks(
    start: str, *, pace: Pace | None = None, compiles: bool = False, ended: Callable[[], bool] = lambda: False
) -> Iterator[Look]:
    """Sync now, then after every batch of hints, until it is `ended` (asked every two seconds). Raises SurroundingsError
    when another watcher runs here, and when the workspace was replaced by another.

    A sync that fails (a lock held too long, a full disk) is told once, and tried again.
    """
    workspace = open_index(start).workspace
    with standing.only_one(workspace) as lock, contextlib.closing(_Watcher(workspace, lock, pace)) as watcher:
        watcher.compiles = compiles
        yield from watcher.looks(ended)


class _Watcher:
    """The loop and what it remembers between two looks."""

    def __init__(self, workspace: Workspace, lock: Lock, pace: Pace | None) -> None:
        self.workspace, self.lock, self.given = workspace, lock, pace
        self.compiles = False
        self.standing = Standing(workspace.root)
        self.pending = _Pending()
        self.hearing = Hearing(self.standing)
        self.clocks = Clocks()
        self.index: Index | None = None
        self.presence = presence.Presence(workspace, lock)
        self.identity: tuple[int, int] | None = None
        self.known: frozenset[str] = frozenset()  # views that are edited by hand and were told
        self.to_compile = False
        self.covers = False  # whether what is to be watched is another than before
        self.kept = Kept()
        self.next_all = self.next_poll = self.next_try = self.next_compile = 0.0
        self.next_notice = 0.0
        self.failures = 0
        self.problem: str | None = None  # what failed last; it is told once

    @property
    def pace(self) -> Pace:
        """As given, or as the config has it now."""
        return self.given or self.workspace.config.pace

    def close(self) -> None:
        """End the threads and processes that work for this one."""
        self.hearing.stop()
        self._close_index()
        self.kept.stop()

    def looks(self, ended: Callable[[], bool]) -> Iterator[Look]:
        """See the function of that name."""
        self.pending.all("the start")
        self._date(time.time())
        while not ended():
            notice = self._check_root()
            if notice:
                self.lock.tell(self.standing)
                yield Look(None, notice=notice)
            why = self.hearing.check(self.workspace) if self.standing.state != "away" else None
            if why:
                self._rescan(why)
            notifying.ready()
            look = self._act()
            self.lock.tell(self.standing)
            if look is not None:
                yield look
                continue
            self._take(self._wait())

    # --- what comes in

    def _wait(self) -> Batch | None:
        """Hints, or nothing until something else is due."""
        self.clocks.begin()
        if self.hearing.hints is None:
            time.sleep(SOON if self.standing.state == "away" else NAP)
            return None
        due = [self.hearing.next_beat]
        due += [self.next_all] if not self.pending.reason else []
        due += [self.next_poll] if self.hearing.coverage.polled else []
        due += [self.next_try] if self.pending else []
        due += [max(self.next_compile, self.next_try)] if self.to_compile and not self.pending else []
        left = max(0.0, min(due) - time.monotonic())
        return self.hearing.hints.batch(quiet=self.pace.quiet, most=self.pace.most, longest=min(left, NAP))

    def _take(self, batch: Batch | None) -> None:
        now = time.monotonic()
        if batch:
            self._note(batch)
        slept = self.clocks.gap()
        if slept:
            self._rescan(slept)
        if self.standing.state == "away":
            return
        if now >= self.next_poll:
            self._poll()
        if now >= self.next_all and not self.pending.reason:
            self.pending.all("it was time")
            self.hearing.cover(self.workspace)

    def _poll(self) -> None:
        """Look at what cannot be watched."""
        polled = self.hearing.coverage.polled
        self.next_poll = time.monotonic() + self.pace.poll
        self.pending.beside |= bool(self.hearing.coverage.unheard)
        if "" in polled or len(polled) > FEW:
            self.pending.all("what cannot be watched")
        elif polled:
            self._add(set(polled))

    def _note(self, batch: Batch) -> None:
        """Sort hints: paths of the tree, and what git did."""
        pending, workspace = self.pending, self.workspace
        pending.asked |= batch.asked
        if batch.asked:  # what made no event is asked for all the same
            self._poll()
            if self.hearing.is_ruled_anew():
                self._rescan(RULED)
        if batch.names is None:
            self._rescan(batch.lost)
        else:
            # A `.git` that comes or goes, also where it is a file, makes its folder a repository of its own, or none.
            folders = batch.folders | {name for name in batch.names if os.path.basename(name) == ".git"}
            if folders and not self.hearing.extend(workspace, folders):
                self._rescan("new folders could not be looked at")
            self._sort(batch.names)
        if self.covers:
            self.covers = False
            self.hearing.cover(workspace)
        if pending:
            self._date(time.time() - (time.monotonic() - batch.began))
            if self.failures:  # what failed may be mended
                self.next_try = min(self.next_try, time.monotonic() + MENDED)

    def _sort(self, names: frozenset[str]) -> None:
        pending, workspace, coverage = self.pending, self.workspace, self.hearing.coverage
        inside = set()
        for name in names:
            pending.beside |= coverage.is_private(name)
            base = os.path.basename(name)
            if covering.is_inside(workspace, name):
                inside.add(covering.owner(from_text(name[len(workspace.root) + 1 :])))
            elif base == "index" and os.path.dirname(name) == workspace.git_dir:
                inside |= self._retracked()
            elif name.startswith((workspace.git_dir, workspace.common_dir)):
                pending.beside = True
                # These git writes when it moves this tree; a commit, or `git add`, writes others.
                pending.git |= (base in _MOVES and os.path.dirname(name) == workspace.git_dir) or base == "stash"
                if base in ("config", "config.worktree", "exclude"):
                    pending.all("git's configuration changed")
                    self.covers = True
        self._add(inside)

    def _retracked(self) -> frozenset[str]:
        """What git tracks may count or count no more without being written (`git add -f`, `git rm --cached`)."""
        self.next_all = min(self.next_all, time.monotonic() + self.pace.every)
        before = self.hearing.coverage.forced
        try:
            now = covering.forced(self.workspace)
        except (MlosError, OSError) as error:  # an index that is damaged just now, a root that has gone
            self.standing.failed(str(error))
            now = frozenset()
        self.covers |= before != now
        if before - now:  # a look at some paths takes for granted that what is known counts
            self.pending.all("what counts was changed")
        return now - before

    def _date(self, began: float) -> None:
        """Since when something waits."""
        if self.pending.began is None:
            self.pending.began = began
            self.standing.behind = iso(int(began * 1000))

    def _add(self, paths: set[str]) -> None:
        pending = self.pending
        if "" in paths:
            self._rescan("the root changed")
        elif any(path == MARKER or path.rpartition("/")[2] in RULES for path in paths):
            pending.all("what counts was changed")
            self.covers = True
        elif not pending.reason:
            pending.beside |= any(path.startswith(JOURNAL) or f"{path}/" == JOURNAL for path in paths)
            pending.paths |= {path for path in paths if not path.startswith(JOURNAL)}
            if len(pending.paths) > FEW:
                pending.all("much changed at once")

    def _rescan(self, reason: str) -> None:
        """Hints were lost: watches may be missing, too."""
        self.pending.all(reason)
        self.standing.rescans[reason] = self.standing.rescans.get(reason, 0) + 1
        self.hearing.cover(self.workspace)

    # --- whether the workspace is there

    def _check_root(self) -> str | None:
        """Whether the workspace is there: while it is not, nothing is looked at, and that is said once."""
        found = self.presence.check(self.workspace)
        if found == presence.AWAY:
            if self.standing.state == "away":
                return None
            self.hearing.stop()
            self._close_index()
            self.standing.state, notice = "away", presence.told(self.workspace)
            self.standing.failed(notice)
            return notice
        if found == presence.ELSEWHERE:
            self.hearing.stop()  # its watches are on another folder
            self._rescan("the root is another folder")
        if self.standing.state == "away":
            self.standing.state = "live"
            self.pending.reason = "the workspace came back"  # whatever else there is
            self.pending.paths.clear()
        return None

    # --- what follows

    def _act(self) -> Look | None:
        pending, now = self.pending, time.monotonic()
        compiles = self.to_compile and not pending and now >= self.next_compile
        if self.standing.state == "away" or now < self.next_try or not (pending or compiles):
            return None
        waits_for = operations.going_on(self.workspace.root, self.workspace.git_dir)
        if waits_for:
            return self._waits(waits_for, now)
        self.standing.state = "live" if self.hearing.hints is not None else "polling"
        self.standing.waits_for = None
        self.lock.tell(self.standing)
        if compiles:
            return self._compile(now)
        self.pending = _Pending()
        try:
            look = self._look(pending)
        except TransientError:  # git began while we looked: nothing was recorded
            self.pending = pending
            return None
        if look.problem is None:
            self._done(pending, now, files_missing=look.report is not None and ALL in look.report.skipped)
            return look
        is_known, self.problem = self.problem == look.problem.message, look.problem.message
        self._again(pending, look.problem)
        return None if is_known else look

    def _waits(self, waits_for: str, now: float) -> Look | None:
        """Ask again soon; whoever watches hears of what does not end by itself."""
        if waits_for != self.standing.waits_for:
            self.next_notice = now + LONG
        self.pending.git |= waits_for not in operations.SHORT
        self.standing.state, self.standing.waits_for = "waiting", waits_for
        self.next_try = now + SOON
        if now < self.next_notice:
            return None
        self.next_notice = math.inf
        return Look(None, notice=f"{waits_for} is going on: nothing is recorded until it is done")

    def _look(self, pending: _Pending) -> Look:
        try:
            index = self._opened(anew=pending.reason is not None)
            if pending.reason and whole.is_worth_it(index):
                report = whole.look(self.workspace.root)
            else:
                report = sync(index, pending.reach, in_background=True, kept=self.kept)
            edited = frozenset(flagging.edited(index))
            fresh, self.known = edited - self.known, edited
            return Look(report, reason=pending.reason, git=pending.git, edited=tuple(sorted(fresh)))
        except TransientError:
            raise
        except (MlosError, OSError, sqlite3.Error) as error:
            return Look(None, whole.told(error))

    def _compile(self, now: float) -> Look | None:
        """Write the views that are out of date, now that the tree is quiet. What a compile says is wrong is told once."""
        from mlos_sync.app import compiling  # for those who want it: it takes 30 ms and 10 MB

        self.to_compile = False
        try:
            written, is_done = compiling.freshen(self._opened(anew=False), self._is_quiet)
        except (MlosError, OSError, sqlite3.Error) as error:
            problem = whole.told(error)
            self.standing.failed(problem.message)
            return Look(None, problem)
        self.to_compile = not is_done
        self.next_compile = time.monotonic() + max(CALM, 10 * (time.monotonic() - now))
        return Look(None, compiled=tuple(written)) if written else None

    def _is_quiet(self) -> bool:
        return operations.going_on(self.workspace.root, self.workspace.git_dir) is None

    def _again(self, pending: _Pending, problem: MlosError) -> None:
        """What was not looked at is looked at later, together with what comes until then."""
        self._close_index()
        self.failures += 1
        self.standing.state = "failing"
        self.standing.failed(f"{problem.message} ({problem.hint})")
        self.pending = pending
        self.next_try = time.monotonic() + min(60.0, 0.5 * 2 ** min(self.failures, 7))

    def _done(self, pending: _Pending, began: float, *, files_missing: bool) -> None:
        self.failures, self.problem = 0, None
        now = time.monotonic()
        if self.compiles and self.workspace.config.views:
            self.to_compile, self.next_compile = True, max(self.next_compile, now + CALM)
        if pending.reason:
            self.next_all = now + max(self.pace.every, min(LONGEST, REST * (now - began)))
        if files_missing:  # when they come back, their names alone do not tell that all are there
            self.next_all = min(self.next_all, now + self.pace.every)
        self.next_poll = max(self.next_poll, now + 20 * (now - began))
        self.standing.behind = None
        self.standing.synced = iso(int(time.time() * 1000))
        self.standing.batches += 1
        for name in pending.asked:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.workspace.state, standing.COOKIES, name))

    def _opened(self, *, anew: bool) -> Index:
        """The index, kept open from look to look. A database that was rebuilt meanwhile is another file; the config is read
        anew where all is looked at."""
        if self.index is not None and not anew and self.identity == presence.identity(self.workspace.database):
            return self.index
        self._close_index()
        self.index = open_index(self.workspace.root)
        self.index.db.execute(f"PRAGMA cache_size = -{CACHE}")
        before, self.workspace = self.workspace, self.index.workspace
        if before.config != self.workspace.config:  # before the look: what counts by it is heard of from here on
            self.hearing.cover(self.workspace)
        self.identity = presence.identity(self.workspace.database)
        return self.index

    def _close_index(self) -> None:
        if self.index is not None:
            self.index.db.close()
        self.index = None
