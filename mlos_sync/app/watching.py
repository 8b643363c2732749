"""`watch`: the same plan and apply as `sync`, whenever something may have changed, and all of it from time to time.

Hints say where to look (`edge/watch`); what is found there is found by `sync`. Nothing is recorded while git or a hook has
the work tree in its hands. Whether hints still come is proved by a probe every few seconds; where it fails, where the kernel
says that it lost some, where a folder cannot be watched, the watcher says so and looks for itself.

The loop takes hints, looks, and waits; what would keep it from that is looked at apart, by another process.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlos_sync.app import flagging, notifying, planning, presence, standing
from mlos_sync.app.apart import Apart, is_large, told
from mlos_sync.app.clocks import Clocks
from mlos_sync.app.hearing import Hearing
from mlos_sync.app.inbox import Inbox
from mlos_sync.app.opening import Index, open_index
from mlos_sync.app.pending import Pending
from mlos_sync.app.planning import ALL, AT_ONCE
from mlos_sync.app.standing import Lock, Standing
from mlos_sync.app.sync import Report, TransientError, sync
from mlos_sync.app.timetable import LONG, SOON, Timetable
from mlos_sync.core.times import iso
from mlos_sync.edge import operations
from mlos_sync.edge.hashing import Kept
from mlos_sync.edge.headlog import HeadLog
from mlos_sync.edge.hints import Batch
from mlos_sync.edge.store import BusyError
from mlos_sync.edge.workspace import Pace, Workspace
from mlos_sync.errors import MlosError

CACHE = 4000  # KiB of the database in memory: it is open as long as the watcher runs, and asks for little
# Seconds that it sleeps at most, to see whether it shall end: one of 300 signals raised where Python drops what is raised, and
# then this is how long the end takes; it shall be 2 s at most.
NAP = 1.8
PATIENCE = 0.3  # seconds that the loop waits for others who write, before it listens again
# What was skipped where files are gone that nobody believes to be, or may say so.
UNSEEN = frozenset((ALL, planning.AT_WORK))
PASSING = (MlosError, OSError, sqlite3.Error)  # a look that ends so is tried again
RETURNED = "files that had gone may be back"
# Reasons to look at everything of which nobody needs to hear.
ROUTINE = ("it was time", "what cannot be watched", RETURNED)


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
        self.compiles = self.to_compile = False
        self.standing = Standing(workspace.root)
        self.hearing = Hearing(self.standing)
        self.inbox = Inbox(self.hearing, self.standing, HeadLog(workspace.git_dir))
        self.clocks = Clocks()
        self.index: Index | None = None
        self.presence = presence.Presence(workspace, lock)
        self.identity: tuple[int, int] | None = None
        self.known: frozenset[str] = frozenset()  # views that are edited by hand and were told
        self.misses = False  # files have gone that nobody believes to be
        self.kept = Kept()
        self.apart = Apart()
        self.times = Timetable()
        self.busy: float | None = None  # since when others write
        self.problem: str | None = None  # what failed last; it is told once

    @property
    def pace(self) -> Pace:
        """As given, or as the config has it now."""
        return self.given or self.workspace.config.pace

    def close(self) -> None:
        """End the threads and processes that work for this one."""
        self.apart.abandon()
        self.hearing.stop()
        self._close_index()
        self.kept.stop()

    def looks(self, ended: Callable[[], bool]) -> Iterator[Look]:
        """See the function of that name."""
        self.inbox.pending.all("the start")
        self.inbox.pending.date(time.time())
        while not ended():
            notice = self._check_root()
            if notice:
                self._tell()
                yield Look(None, notice=notice)
            why = self.hearing.check(self.workspace) if self.standing.state != "away" else None
            if why:
                self.inbox.rescan(self.workspace, why)
            notifying.ready()
            look = self._act()
            self._tell()
            if look is not None:
                yield look
                continue
            self._take(self._wait())

    # --- what comes in

    def _wait(self) -> Batch | None:
        """Hints, or nothing until something else is due."""
        self.clocks.begin()
        if self.hearing.hints is None:
            time.sleep(SOON if self.standing.state == "away" or self.apart.under_way or self.apart.is_due else NAP)
            return None
        pending, times = self.inbox.pending, self.times
        due = [self.hearing.next_beat, time.monotonic() + (SOON if self.apart.under_way else NAP)]
        due += [times.next_all] if self._may_look_at_all() else []
        due += [times.next_poll] if self.hearing.coverage.polled else []
        due += [times.next_try] if pending or self.apart.is_due else []
        due += [max(times.next_compile, times.next_try)] if self._may_compile() else []
        left = max(0.0, min(due) - time.monotonic())
        return self.hearing.hints.batch(quiet=self.pace.quiet, most=self.pace.most, longest=left)

    def _take(self, batch: Batch | None) -> None:
        now = time.monotonic()
        if batch:
            if batch.asked:
                self._poll()
                if self.misses:
                    self.inbox.pending.all(RETURNED)
            self.inbox.note(self.workspace, batch)
            if self.inbox.pending:
                self.times.changed(time.monotonic())
        slept = self.clocks.gap()
        if slept:
            self.inbox.rescan(self.workspace, slept)
        if self.standing.state == "away":
            return
        if now >= self.times.next_poll:
            self._poll()
        if now >= self.times.next_all and self._may_look_at_all():
            self.inbox.pending.all("it was time")
            self.hearing.cover(self.workspace)

    def _may_look_at_all(self) -> bool:
        """Whether that is not to be done anyhow."""
        there = (self.inbox.pending, self.apart.waiting, self.apart.under_way)
        return not any(one.reason for one in there if one)

    def _poll(self) -> None:
        self.times.polled(time.monotonic(), self.pace.poll)
        self.inbox.poll(self.workspace)

    def _check_root(self) -> str | None:
        """Whether the workspace is there: while it is not, nothing is looked at, and that is said once."""
        found = self.presence.check(self.workspace)
        if found == presence.AWAY:
            if self.standing.state == "away":
                return None
            self.apart.abandon()
            self.hearing.stop()
            self._close_index()
            self.standing.state, notice = "away", presence.told(self.workspace)
            self.standing.failed(notice)
            return notice
        if found == presence.ELSEWHERE:
            self.apart.abandon()
            self.hearing.stop()  # its watches are on another folder
            self.inbox.rescan(self.workspace, "the root is another folder")
        if self.standing.state == "away":
            self.standing.state = "live"
            self.inbox.pending.reason = None  # whatever else there is
            self.inbox.pending.all("the workspace came back")
        return None

    # --- what follows

    def _act(self) -> Look | None:
        now = time.monotonic()
        if self.standing.state == "away":
            return None
        look = self._ended()
        if look is not None:
            return look
        may_try = now >= self.times.next_try
        is_due = may_try and (self.inbox.pending or (self._may_compile() and now >= self.times.next_compile))
        begins = self.apart.is_due and (may_try or self.times.failures)  # also while the loop waits to try again
        if not (is_due or begins):
            return None
        waits_for = self._going_on()
        if waits_for:
            return self._waits(waits_for, now)
        self.standing.state = "live" if self.hearing.hints is not None else "polling"
        self.standing.waits_for = None
        self._tell()
        waits = self.apart.waiting.began
        is_late = waits is not None and time.time() - waits > self.pace.most  # small looks one after the other
        if begins and (is_late or not (is_due and self.inbox.pending)):
            return self._begin()
        return self._look(self.inbox.take(), now) if self.inbox.pending else self._compile(now)

    def _going_on(self) -> str | None:
        return operations.going_on(self.workspace.root, self.workspace.git_dir)

    def _waits(self, waits_for: str, now: float) -> Look | None:
        """Ask again soon; whoever watches hears of what does not end by itself."""
        shall_tell = self.times.waits(now, anew=waits_for != self.standing.waits_for)
        if waits_for in operations.LASTING:  # what is looked at meanwhile may be what is there for a moment
            self.inbox.pending.git = True
            self.apart.abandon()
        self.standing.state, self.standing.waits_for = "waiting", waits_for
        return (
            Look(None, notice=f"{waits_for} is going on: nothing is recorded until it is done") if shall_tell else None
        )

    def _look(self, pending: Pending, now: float) -> Look | None:
        """Look at what is pending; at what is large apart, and then at the views first: whoever edits one by hand shall hear of
        it while he is at it."""
        try:
            index = self._opened(anew=pending.reason is not None)
            if pending.views and (self.apart.under_way or self.busy) and (seen := self._seen_edited(index)):
                self.inbox.pending.join(pending)
                return Look(None, edited=seen)
            if pending.reason and is_large(index):
                views = Pending({view.path for view in self.workspace.config.views if pending.views})
                pending.views = False
                self.apart.waiting.join(pending)
                look = self._small_look(index, views, now) if views else None
                return look if look and look.report and (look.edited or look.report.changes) else None
            return self._small_look(index, pending, now)
        except PASSING as error:
            return self._failed(error, pending)

    def _small_look(self, index: Index, pending: Pending, now: float) -> Look:
        report = sync(index, pending.reach, in_background=True, kept=self.kept, at_most=AT_ONCE, patience=PATIENCE)
        self.busy = None
        if report.left is not None:
            paths, beside = set(report.left.paths or ()), report.left.beside
            self.apart.waiting.join(Pending(paths, beside=beside, git=pending.git, began=pending.began))
        behind = self.apart.waiting or self.apart.under_way
        if behind:  # some of what was written before they asked may be there
            behind.asked, pending.asked = behind.asked | pending.asked, set()
        return self._judged(report, pending, now)

    def _begin(self) -> Look | None:
        """Have another process look at what waits for one."""
        try:
            self.apart.begin(self.workspace)
            return None
        except OSError as error:
            self.apart.failed()
            return self._complaint(error)

    def _ended(self) -> Look | None:
        """What was looked at apart, when that is done."""
        pending, began = self.apart.under_way, self.apart.began
        try:
            report = self.apart.report()
            if report is None or pending is None:
                return None
            if report.left and report.left.paths:  # it went on to somewhere else, of which we are still to hear
                self.apart.waiting.join(Pending(set(report.left.paths), began=pending.began))
                self.apart.rest(self.pace.most)
            return self._judged(report, pending, began if pending.reason else time.monotonic())
        except TransientError:
            return None
        except PASSING as error:
            return self._complaint(error)

    def _seen_edited(self, index: Index) -> tuple[str, ...]:
        """Views that are edited by hand and were not told: to be told before that is recorded, which may have to wait for all
        that the other process writes."""
        views = {view.path for view in self.workspace.config.views} - self.known
        found = tuple(sorted(path for path in views if flagging.is_edited(index, path)))
        self.known |= set(found)
        return found

    def _judged(self, report: Report, pending: Pending, began: float) -> Look:
        """What a look found, for those who watch."""
        edited = frozenset(flagging.edited(self._opened(anew=False)))
        fresh, self.known = edited - self.known, edited
        self._again(report, pending)
        self._done(pending, began, misses=not UNSEEN.isdisjoint(report.skipped))
        git = pending.git or (pending.reason is not None and self.inbox.pending.git)  # it came while we looked
        return Look(report, reason=pending.reason, git=git, edited=tuple(sorted(fresh)))

    def _again(self, report: Report, pending: Pending) -> None:
        """What was missing while git had its lock is looked for again as soon as git has given it back; nobody is told
        before that all is there."""
        if report.unsure and not operations.has_left_lock(self.workspace.root, self.workspace.git_dir):
            again = Pending(asked=pending.asked, began=pending.began)
            again.add(report.unsure)
            self.inbox.pending.join(again)
            self.times.next_try = time.monotonic() + SOON
            pending.asked = set()

    def _failed(self, error: Exception, pending: Pending) -> Look | None:
        """What was not looked at is looked at later, together with what comes until then. Told where it was not before."""
        self.inbox.pending.join(pending)
        if isinstance(error, TransientError):  # git began while we looked: nothing was recorded
            return None
        if isinstance(error, BusyError):
            now = time.monotonic()
            self.busy = self.busy or now
            if self.apart.under_way or now < self.busy + LONG:
                self.times.next_try = now + SOON
                return None
        self._close_index()
        self.times.failed(time.monotonic())
        return self._complaint(error)

    def _complaint(self, error: Exception) -> Look | None:
        """That something failed, told once; in the standing each time."""
        problem = told(error)
        self.standing.state = "failing"
        self.standing.failed(f"{problem.message} ({problem.hint})")
        is_known, self.problem = self.problem == problem.message, problem.message
        return None if is_known else Look(None, problem)

    def _done(self, pending: Pending, began: float, *, misses: bool) -> None:
        now, every, is_all = time.monotonic(), self.pace.every, pending.reason is not None
        self.times.looked(began, now)
        if is_all:
            self.times.looked_at_all(began, now, every)
        if misses:
            self.times.misses(now, every, at_all=is_all)
        self.misses = misses
        if not self.apart.waiting and not self.apart.under_way:  # else what failed may be what is tried again there
            self.problem = None
        if self.compiles and self.workspace.config.views:
            self.to_compile = True
            self.times.written(now)
        self.standing.synced = iso(int(time.time() * 1000))
        self.standing.batches += 1
        for name in pending.asked:  # all is in the index that was written before they asked
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.workspace.state, standing.COOKIES, name))

    def _tell(self) -> None:
        """Say in the lock how this one stands."""
        waiting = (self.inbox.pending, self.apart.waiting, self.apart.under_way)
        began = min((one.began for one in waiting if one and one.began is not None), default=None)
        self.standing.behind = None if began is None else iso(int(began * 1000))
        self.lock.tell(self.standing)

    # --- views

    def _may_compile(self) -> bool:
        return self.to_compile and self._may_look_at_all() and not self.inbox.pending

    def _compile(self, now: float) -> Look | None:
        """Write the views that are out of date, now that the tree is quiet. What a compile says is wrong is told once."""
        from mlos_sync.app import compiling  # for those who want it: it takes 30 ms and 10 MB

        self.to_compile = False
        try:
            written, is_done = compiling.freshen(self._opened(anew=False), lambda: self._going_on() is None)
        except PASSING as error:
            self.standing.failed(told(error).message)
            return Look(None, told(error))
        self.to_compile = not is_done
        self.times.compiled(now, time.monotonic())
        return Look(None, compiled=tuple(written)) if written else None

    # --- the index

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
        now = presence.identity(self.workspace.database)
        if self.identity not in (None, now):  # what was recorded while it was being made may lack there
            self.inbox.pending.all("the index was rebuilt")
        self.identity = now
        return self.index

    def _close_index(self) -> None:
        if self.index is not None:
            self.index.db.close()
        self.index = None
