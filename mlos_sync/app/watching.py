"""`watch`: the same plan and apply as `sync`, whenever something may have changed, and all of it from time to time.

Hints say where to look (`edge/watch`); what is found there is found by `sync`. Nothing is recorded while git or a hook has
the work tree in its hands. Whether hints still come is proved by a probe every few seconds; where it fails, where the kernel
says that it lost some, where a folder cannot be watched, the watcher says so and looks for itself.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mlos_sync.app import covering, flagging, standing, whole
from mlos_sync.app.clocks import Clocks
from mlos_sync.app.covering import Coverage
from mlos_sync.app.opening import Index, open_index
from mlos_sync.app.standing import Lock, Standing
from mlos_sync.app.sync import Report, sync
from mlos_sync.core.changes import EVERYWHERE, Reach
from mlos_sync.core.paths import JOURNAL, from_text
from mlos_sync.core.times import iso
from mlos_sync.edge import operations
from mlos_sync.edge.hashing import Kept
from mlos_sync.edge.hints import MOST, Batch, Hints
from mlos_sync.edge.watch import Watch, why
from mlos_sync.edge.workspace import MARKER, Pace, Workspace
from mlos_sync.errors import MlosError, SurroundingsError

CACHE = 4000  # KiB of the database in memory: it is open as long as the watcher runs, and asks for little
BEAT = 2.0  # seconds between two proofs that hints still come
NAP = 1.0  # seconds that it sleeps at most, to see whether it shall end
ANSWER = 1.0  # seconds that a proof may take
SOON = 0.25  # seconds until it is asked again whether git is done
CALM = 1.0  # seconds without a batch before views are compiled
REST = 2000  # a look at everything waits for so many times what the last one took: 0.05 % of a processor
RULES = (".gitignore", ".mlosignore", ".gitattributes")


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the workspace: the sync's report, or why there is none this time; why all was looked at; whether git moved
    the tree, so that what changed is nobody's edit; and views that were edited by hand."""

    report: Report | None
    problem: MlosError | None = None
    reason: str | None = None
    git: bool = False
    edited: tuple[str, ...] = ()
    compiled: tuple[str, ...] = ()


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
    """Sync now, then after every batch of hints, until it is `ended` (asked once a second). Raises SurroundingsError when another
    watcher runs here, and when the workspace was replaced by another.

    A sync that fails (a lock held too long, a mass disappearance) is told and tried again.
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
        self.coverage = Coverage()
        self.clocks = Clocks()
        self.hints: Hints | None = None
        self.watch: Watch | None = None
        self.index: Index | None = None
        self.identity: tuple[int, int] | None = None
        self.known: frozenset[str] = frozenset()  # views that are edited by hand and were told
        self.to_compile = False
        self.kept = Kept()
        self.next_all = self.next_poll = self.next_try = self.next_beat = self.next_compile = 0.0
        self.failures = 0

    @property
    def pace(self) -> Pace:
        """As given, or as the config has it now."""
        return self.given or self.workspace.config.pace

    def close(self) -> None:
        """End the threads and processes that work for this one."""
        self._stop_watching()
        self._close_index()
        self.kept.stop()

    def looks(self, ended: Callable[[], bool]) -> Iterator[Look]:
        """See the function of that name."""
        self.pending.all("the start")
        while not ended():
            self._check_root()
            self._check_hints()
            look = self._act()
            self.lock.tell(self.standing)
            if look is not None:
                yield look
                continue
            self._take(self._wait())

    # --- what comes in

    def _wait(self) -> Batch | None:
        """Hints, or nothing until something else is due."""
        if self.hints is None:
            time.sleep(SOON if self.standing.state == "away" else NAP)
            return None
        due = [self.next_beat, self.next_all]
        due += [self.next_poll] if self.coverage.polled else []
        due += [self.next_try] if self.pending else []
        due += [self.next_compile] if self.to_compile and not self.pending else []
        left = max(0.0, min(due) - time.monotonic())
        return self.hints.batch(quiet=self.pace.quiet, most=self.pace.most, longest=min(left, NAP))

    def _take(self, batch: Batch | None) -> None:
        now = time.monotonic()
        if batch:
            self._note(batch)
        slept = self.clocks.gap()
        if slept:
            self._rescan(slept)
        if self.standing.state == "away":
            return
        if self.coverage.polled and now >= self.next_poll:
            self.next_poll = now + self.pace.poll
            if "" in self.coverage.polled or len(self.coverage.polled) > MOST:
                self.pending.all("what cannot be watched")
            else:
                self._add(set(self.coverage.polled))
        if now >= self.next_all and not self.pending.reason:
            self.pending.all("it was time")
            self._cover()

    def _note(self, batch: Batch) -> None:
        """Sort hints: paths of the tree, and what git did."""
        pending, workspace = self.pending, self.workspace
        pending.asked |= batch.asked
        if batch.names is None:
            self._rescan(batch.lost)
            self._date(batch)
            return
        if self.watch is not None and batch.folders:
            self._extend(batch.folders)
        inside = set()
        for name in batch.names:
            pending.beside |= self.coverage.is_private(name)
            if covering.is_inside(workspace, name):
                inside.add(covering.owner(from_text(name[len(workspace.root) + 1 :])))
            elif name.startswith((workspace.git_dir, workspace.common_dir)):
                pending.beside = True
                pending.git |= "/mlos/" not in name
                if os.path.basename(name) in ("config", "config.worktree"):
                    pending.all("git's configuration changed")
        self._add(inside)
        self._date(batch)

    def _date(self, batch: Batch) -> None:
        """Since when something waits."""
        pending = self.pending
        if pending and pending.began is None:
            pending.began = time.time() - (time.monotonic() - batch.began)
            self.standing.behind = iso(int(pending.began * 1000))

    def _add(self, paths: set[str]) -> None:
        pending = self.pending
        if "" in paths:
            self._rescan("the root changed")
        elif any(path == MARKER or path.rpartition("/")[2] in RULES for path in paths):
            pending.all("what counts was changed")
            self._cover()
        elif not pending.reason:
            pending.beside |= any(path.startswith(JOURNAL) or f"{path}/" == JOURNAL for path in paths)
            pending.paths |= {path for path in paths if not path.startswith(JOURNAL)}
            if len(pending.paths) > MOST:
                pending.all("much changed at once")

    def _rescan(self, reason: str) -> None:
        """Hints were lost: watches may be missing, too."""
        self.pending.all(reason)
        self.standing.rescans[reason] = self.standing.rescans.get(reason, 0) + 1
        self._cover()

    # --- whether hints come

    def _check_hints(self) -> None:
        now = time.monotonic()
        if self.standing.state == "away" or (
            self.hints is not None and now < self.next_beat and not self.hints.failure
        ):
            return
        self.next_beat = now + BEAT
        if self.hints is not None and self.watch is not None:
            why = self.hints.failure or ("" if self._is_answered() else "no event came")
            if not why:
                return
            self.standing.failed(f"watching ended ({why}) and was begun again")
            self.standing.rescans["watching had ended"] = self.standing.rescans.get("watching had ended", 0) + 1
            self.pending.all("watching had ended")
            self._stop_watching()
        self._start_watching()

    def _is_answered(self) -> bool:
        assert self.hints is not None and self.watch is not None  # noqa: S101 - the caller looked
        try:
            self.watch.probe()
        except OSError:
            return False
        return self.hints.is_proved(ANSWER)

    def _start_watching(self) -> None:
        hints = Hints()
        try:
            self.watch = Watch(hints, os.path.join(self.workspace.state, standing.COOKIES))
        except OSError as error:
            self.coverage = Coverage(wanted=1, refused={"": why(error)})
            self.standing.coverage = self.coverage.told()
            if self.standing.state != "polling":
                self.standing.failed(f"nothing can be watched: {why(error)}")
            self.standing.state = "polling"
            return
        self.hints = hints
        self._cover()

    def _cover(self) -> None:
        if self.watch is None:
            return
        try:
            self.coverage = covering.cover(self.watch, self.workspace)
        except (MlosError, OSError) as error:
            self.standing.failed(str(error))
        self.standing.coverage = self.coverage.told()

    def _extend(self, folders: frozenset[str]) -> None:
        assert self.watch is not None  # noqa: S101 - the caller looked
        try:
            covering.extend(self.watch, self.workspace, folders, self.coverage)
        except (MlosError, OSError) as error:  # a folder that went again meanwhile, say
            self.standing.failed(str(error))
            self._rescan("new folders could not be looked at")
        self.standing.coverage = self.coverage.told()

    def _stop_watching(self) -> None:
        if self.watch is not None:
            self.watch.close()
        self.watch = self.hints = None

    def _check_root(self) -> None:
        """That the workspace is still the one whose lock we hold. Where it has gone we wait for it to come back."""
        there = os.path.lexists(os.path.join(self.workspace.root, MARKER))
        if there and self.lock.is_ours():
            if self.standing.state == "away":
                self.standing.state = "live"
                self.pending.all("the workspace came back")
            return
        if os.path.isdir(self.workspace.git_dir) and not os.path.lexists(self.lock.name):
            raise SurroundingsError(
                "the git directory is another one now, or mlos-sync was taken out of it",
                "if it shall be a workspace: mlos-sync init, then start the watcher again",
            )
        if there and os.path.lexists(self.lock.name):
            raise SurroundingsError(
                "the workspace was replaced by another copy of itself", "start the watcher again: mlos-sync watch"
            )
        if self.standing.state != "away":
            self._stop_watching()
            self._close_index()
            self.standing.state = "away"
            self.standing.failed(f"{self.workspace.root} went away")

    # --- what follows

    def _act(self) -> Look | None:
        pending, now = self.pending, time.monotonic()
        compiles = self.to_compile and not pending and now >= self.next_compile
        if self.standing.state == "away" or now < self.next_try or not (pending or compiles):
            return None
        waits_for = operations.going_on(self.workspace.root, self.workspace.git_dir)
        if waits_for:
            pending.git = True
            self.standing.state, self.standing.waits_for = "waiting", waits_for
            self.next_try = now + SOON
            return None
        self.standing.state, self.standing.waits_for = "live" if self.hints is not None else "polling", None
        if compiles:
            return self._compile(now)
        self.pending = _Pending()
        look = self._look(pending)
        if look.problem is not None:
            self._again(pending, look.problem)
        else:
            self._done(pending, now)
        return look

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
        except MlosError as error:
            return Look(None, error)
        except OSError as error:  # a file that went while it was looked at is no reason to stop watching
            words = f"{error.filename or 'the system'}: {error.strerror or error}"
            return Look(None, SurroundingsError(words, "it is tried again"))

    def _compile(self, now: float) -> Look | None:
        """Write the views that are out of date, now that the tree is quiet. What a compile says is wrong is told once."""
        from mlos_sync.app import compiling  # for those who want it: it takes 30 ms and 10 MB

        self.to_compile = False
        try:
            written = compiling.freshen(self._opened(anew=False))
        except MlosError as error:
            self.standing.failed(error.message)
            return Look(None, error)
        self.next_compile = time.monotonic() + 10 * (time.monotonic() - now)
        return Look(None, compiled=tuple(written)) if written else None

    def _again(self, pending: _Pending, problem: MlosError) -> None:
        """What was not looked at is looked at later, together with what comes until then."""
        self._close_index()
        self.failures += 1
        self.standing.failed(problem.message)
        self.pending = pending
        self.next_try = time.monotonic() + min(60.0, 0.5 * 2**self.failures)

    def _done(self, pending: _Pending, began: float) -> None:
        self.failures = 0
        now = time.monotonic()
        if self.compiles and self.workspace.config.views:
            self.to_compile, self.next_compile = True, max(self.next_compile, now + CALM)
        if pending.reason:
            self.next_all = now + max(self.pace.every, REST * (now - began))
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
        if self.index is not None and not anew and self.identity == _identity(self.workspace):
            return self.index
        self._close_index()
        self.index = open_index(self.workspace.root)
        self.index.db.execute(f"PRAGMA cache_size = -{CACHE}")
        self.workspace = self.index.workspace
        self.identity = _identity(self.workspace)
        return self.index

    def _close_index(self) -> None:
        if self.index is not None:
            self.index.db.close()
        self.index = None


def _identity(workspace: Workspace) -> tuple[int, int] | None:
    try:
        found = os.stat(workspace.database, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino
