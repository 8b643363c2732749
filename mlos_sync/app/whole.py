"""A look at everything in a process of its own: what it needs for a large tree (a map of all files, 200 MB for 100,000) is
given back when it ends, and the watcher stays small.

Started as `python -I -m mlos_sync.app.whole ROOT`; it prints one JSON object: the report's fields, or `error` with message,
hint and exit code.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from mlos_sync.app.opening import Index, open_index
from mlos_sync.app.sync import Report, sync
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
        [sys.executable, "-I", "-m", "mlos_sync.app.whole", root], stdout=subprocess.PIPE, process_group=0
    )
    try:
        out, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    try:
        told = json.loads(out)
    except ValueError:
        raise SurroundingsError("the process that looked at everything ended early", "it is tried again") from None
    if "error" in told:
        raise _ToldError(*told["error"])
    changes: dict[str, Any] = {name: _tupled(value) for name, value in told["changes"].items()}
    return Report(Changes(**changes), told["skipped"], told["seconds"])


class _ToldError(MlosError):
    """An error of the other process."""

    def __init__(self, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code


def _tupled(value: object) -> object:
    return tuple(_tupled(one) for one in value) if isinstance(value, list) else value


def main() -> None:
    """The other side."""
    try:
        report = sync(open_index(sys.argv[1]), in_background=True)
        told: dict[str, object] = asdict(report)
    except MlosError as error:
        told = {"error": [error.message, error.hint, error.exit_code]}
    except OSError as error:  # a file that went while it was looked at
        told = {"error": [f"{error.filename or 'the system'}: {error.strerror or error}", "it is tried again", 3]}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
