"""A look in a process of its own, beside the watcher: one that has much to read (a large tree, a large file) keeps nobody
waiting, and what it needs (a map of all files, 200 MB for 100,000) is given back when it ends.

Started as `python -I -m mlos_sync.app.apart ROOT`. It is told its reach in one line of JSON, and prints one JSON object: the
report's fields, or `error` with message, hint and exit code.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from typing import Any

from mlos_sync.app.opening import Index, open_index
from mlos_sync.app.pending import Pending
from mlos_sync.app.sync import Report, TransientError, sync
from mlos_sync.app.timetable import later
from mlos_sync.core.changes import EVERYWHERE, Changes, Reach
from mlos_sync.edge.workspace import Workspace
from mlos_sync.errors import MlosError, SurroundingsError

MANY = 3000  # files from which on a look at everything is worth a process
_ENTRY = 80  # bytes of git's index that an entry takes at least
_PIPE = 60_000  # bytes that a pipe takes though nobody reads yet: Linux's holds 65,536, macOS's grows to as many


def is_large(index: Index) -> bool:
    """Whether the tree has many files, by what git or the index knows of it."""
    (most,) = index.db.execute("SELECT max(id) FROM artifacts").fetchone()
    try:
        size = os.stat(os.path.join(index.workspace.git_dir, "index")).st_size
    except OSError:
        size = 0
    return (most or 0) > MANY or size > MANY * _ENTRY


class Apart:
    """What is looked at by another process: one look after the other, of all that came until then."""

    def __init__(self) -> None:
        self.waiting = Pending()
        self.under_way: Pending | None = None
        self.began = 0.0  # time.monotonic() of the look that goes on
        self._process: _Process | None = None
        self._next_try = self._rested = 0.0
        self._failures = 0

    @property
    def is_due(self) -> bool:
        """Whether a look shall begin. A large file that is written all the time takes half of a processor at most, but nobody
        who asks is made to wait for that."""
        now = time.monotonic()
        is_rested = now >= self._rested or bool(self.waiting.asked or self.waiting.reason)
        return self.under_way is None and bool(self.waiting) and now >= self._next_try and is_rested

    def begin(self, workspace: Workspace) -> None:
        """Look at what waits. Raises OSError where no process can be had."""
        self._process = _Process(workspace, self.waiting.reach)
        self.under_way, self.waiting, self.began = self.waiting, Pending(), time.monotonic()

    def report(self) -> Report | None:
        """What the look found, None while it goes on, or none does. Raises what `sync` would raise; then what it looked at
        waits again, as it does after `abandon`."""
        if self._process is None or self.under_way is None or not self._process.has_ended():
            return None
        try:
            report = self._process.report()
        except TransientError:
            self.abandon()
            raise
        except BaseException:
            self.failed()
            raise
        if not self.under_way.reason:
            self.rest(time.monotonic() - self.began)
        self._process, self.under_way, self._failures = None, None, 0
        return report

    def rest(self, seconds: float) -> None:
        """Begin no look for so long, unless somebody asks."""
        self._rested = max(self._rested, time.monotonic() + seconds)

    def abandon(self) -> None:
        """End the look that goes on."""
        if self._process is not None:
            self._process.stop()
        if self.under_way is not None:
            self.waiting.join(self.under_way)
        self._process = self.under_way = None

    def failed(self) -> None:
        """It is tried again, later each time."""
        self.abandon()
        self._failures += 1
        self._next_try = time.monotonic() + later(self._failures)


class _Process:
    """It. It ends, and its transaction is rolled back, when this one does."""

    def __init__(self, workspace: Workspace, reach: Reach) -> None:
        line = _line(reach)
        if len(line) > _PIPE:
            line = _line(EVERYWHERE)  # too many to be told: to look at more is no harm
        self._answer = tempfile.TemporaryFile(dir=workspace.state)  # noqa: SIM115 - closed by `stop`
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "mlos_sync.app.apart", workspace.root],
                stdin=subprocess.PIPE, stdout=self._answer, process_group=0,
            )  # fmt: skip
        except BaseException:
            self._answer.close()
            raise
        assert self._process.stdin is not None  # noqa: S101 - asked for
        with contextlib.suppress(OSError):  # it has ended already, and what it reports is told
            self._process.stdin.write(line)
            self._process.stdin.flush()  # and stays open as long as we live

    def has_ended(self) -> bool:
        """Whether there is a report, or an error."""
        return self._process.poll() is not None

    def report(self) -> Report:
        """What `sync` in the background reports. Raises what it raises."""
        self._answer.seek(0)
        said = self._answer.read()
        self.stop()
        try:
            answer = json.loads(said)
        except ValueError:
            raise SurroundingsError("the process that looked ended early", "it is tried again") from None
        if "transient" in answer:
            raise TransientError(*answer["transient"])
        if "error" in answer:
            raise _ToldError(*answer["error"])
        changes: dict[str, Any] = {name: _tupled(value) for name, value in answer["changes"].items()}
        left = Reach(frozenset(answer["left"]), beside=False) if answer["left"] else None
        return Report(Changes(**changes), answer["skipped"], answer["seconds"], left, frozenset(answer["unsure"]))

    def stop(self) -> None:
        """End it, wherever it is, and its own helpers with it: they outlive it where the system has killed it."""
        if self._process.returncode != 0:
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        assert self._process.stdin is not None  # noqa: S101 - asked for
        with contextlib.suppress(OSError):  # what could not be written
            self._process.stdin.close()
        self._process.wait()
        self._answer.close()


def told(error: Exception) -> MlosError:
    """An error of ours as it is; what is none and may pass, in words: a file that went meanwhile, a full disk, a database that
    others hold."""
    if isinstance(error, MlosError):
        return error
    if isinstance(error, OSError):
        return SurroundingsError(f"{error.filename or 'the system'}: {error.strerror or error}", "it is tried again")
    return SurroundingsError(f"the index: {error}", "it is tried again")


class _ToldError(MlosError):
    """An error of the other process."""

    def __init__(self, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code


def _line(reach: Reach) -> bytes:
    paths = None if reach.paths is None else sorted(reach.paths)
    return json.dumps({"paths": paths, "beside": reach.beside}).encode() + b"\n"


def _tupled(value: object) -> object:
    return tuple(_tupled(one) for one in value) if isinstance(value, list) else value


def main() -> None:
    """The other side."""
    line = sys.stdin.buffer.readline()
    if not line:  # who asked has gone already
        return
    asked = json.loads(line)
    threading.Thread(target=_end_with_asker, daemon=True).start()
    paths = None if asked["paths"] is None else frozenset(asked["paths"])
    try:
        report = sync(open_index(sys.argv[1]), Reach(paths, beside=asked["beside"]), in_background=True)
        left = sorted(report.left.paths or ()) if report.left is not None else []
        found: dict[str, object] = asdict(report) | {"left": left, "unsure": sorted(report.unsure)}
    except TransientError as error:
        found = {"transient": [error.message, error.hint]}
    except (MlosError, OSError, sqlite3.Error) as error:
        problem = told(error)
        found = {"error": [problem.message, problem.hint, problem.exit_code]}
    try:
        sys.stdout.write(json.dumps(found))
        sys.stdout.flush()
    except OSError:  # a full disk: what was recorded is found by the next look
        os._exit(1)


def _end_with_asker() -> None:
    os.read(0, 1)  # not by `sys.stdin`, whose lock this thread would still hold when the program ends
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
