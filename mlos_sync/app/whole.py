"""A look at everything in a process of its own: what it needs for a large tree (a map of all files, 200 MB for 100,000) is
given back when it ends, and the watcher stays small.

Started as `python -I -m mlos_sync.app.whole ROOT`; it prints one JSON object: the report's fields, or `error` with message,
hint and exit code.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import asdict
from typing import Any

from mlos_sync.app.opening import Index, open_index
from mlos_sync.app.sync import Report, TransientError, sync
from mlos_sync.core.changes import Changes
from mlos_sync.errors import MlosError, SurroundingsError

MANY = 3000  # files from which on it is worth a process
_ENTRY = 80  # bytes of git's index that an entry takes at least


def is_worth_it(index: Index) -> bool:
    """Whether the tree is large, by what git or the index knows of it."""
    (most,) = index.db.execute("SELECT max(id) FROM artifacts").fetchone()
    try:
        size = os.stat(os.path.join(index.workspace.git_dir, "index")).st_size
    except OSError:
        size = 0
    return (most or 0) > MANY or size > MANY * _ENTRY


def look(root: str) -> Report:
    """What `sync` in the background would report. Raises what it would raise. Ends with this process's interruption, and its
    own helpers with it."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "mlos_sync.app.whole", root],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0,
    )  # fmt: skip
    assert process.stdout and process.stdin  # noqa: S101 - both were asked for
    try:
        with process.stdin, process.stdout:  # the first stays open as long as we live
            out = process.stdout.read()
        process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    try:
        answer = json.loads(out)
    except ValueError:
        raise SurroundingsError("the process that looked at everything ended early", "it is tried again") from None
    if "transient" in answer:
        raise TransientError(*answer["transient"])
    if "error" in answer:
        raise _ToldError(*answer["error"])
    changes: dict[str, Any] = {name: _tupled(value) for name, value in answer["changes"].items()}
    return Report(Changes(**changes), answer["skipped"], answer["seconds"])


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


def _tupled(value: object) -> object:
    return tuple(_tupled(one) for one in value) if isinstance(value, list) else value


def main() -> None:
    """The other side. It ends, and its transaction is rolled back, when the one that asked has gone."""
    threading.Thread(target=_end_with_asker, daemon=True).start()
    try:
        report = sync(open_index(sys.argv[1]), in_background=True)
        found: dict[str, object] = asdict(report)
    except TransientError as error:
        found = {"transient": [error.message, error.hint]}
    except (MlosError, OSError, sqlite3.Error) as error:
        problem = told(error)
        found = {"error": [problem.message, problem.hint, problem.exit_code]}
    sys.stdout.write(json.dumps(found))


def _end_with_asker() -> None:
    os.read(0, 1)  # not by `sys.stdin`, whose lock this thread would still hold when the program ends
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
