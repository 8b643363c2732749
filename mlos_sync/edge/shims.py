"""Our hooks in git's hooks folder, or in a folder of our own: put there, looked at, tried, taken away again.

Owns our files and what stood in their place before, which is kept beside them and still runs. It never writes through a
link (a file is made beside and moved into place) and never changes `core.hooksPath`; which folder is git's hooks folder
is asked elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from collections.abc import Iterable
from typing import NamedTuple

from mlos_sync.edge import git
from mlos_sync.errors import RefusedError, SurroundingsError

NAMES = (
    *("pre-commit", "pre-merge-commit", "prepare-commit-msg", "commit-msg"),
    *("post-commit", "post-merge", "post-checkout", "post-rewrite", "pre-push"),
)
ON_REQUEST = ("post-index-change",)
"""Shipped and not installed: git starts it several times for each commit, and nothing waits for it (docs/hooks.md)."""
KEPT = ".before-mlos-sync"
PLACEHOLDER = b"@PYTHON@"
MARK = b"# mlos-sync hook v"
CURRENT = MARK + b"2\n"

INSTALLED = "installed"
MISSING = "missing"
OUTDATED = "outdated"
FOREIGN = "foreign"

MOVED = (".legacy", ".old")
"""Where other managers put a hook that they find: pre-commit and prek go on running it, lefthook does not."""

PROBE = "MLOS_SYNC_PROBE"
PATIENCE = 10  # seconds; a hook that is asked for a sign and hangs has not answered


class Hook(NamedTuple):
    """One hook as it stands: `state` is installed, missing, outdated (ours, to be replaced) or foreign (not ours)."""

    name: str
    path: str
    state: str


def state(hooks_dir: str, python: str) -> list[Hook]:
    """How our hooks stand. Ours is outdated if it is of another version, names another Python or cannot run."""
    return [Hook(name, path := os.path.join(hooks_dir, name), _state(path, python)) for name in NAMES]


def texts(templates_dir: str, python: str) -> dict[str, bytes]:
    """What each of our hooks says, for an interpreter."""
    return {name: shim(_read(os.path.join(templates_dir, name)), python) for name in NAMES}


def install(hooks_dir: str, templates_dir: str, python: str, names: Iterable[str] = NAMES) -> list[Hook]:
    """Put our hooks in place, keep what stood there (renamed, bytes and mode untouched) and say how they stand now.

    Twice is once. Raises RefusedError, before anything is touched, if a foreign hook stands where another one is kept
    already, or if something that is no file stands there.
    """
    wanted = texts(templates_dir, python)
    before = [hook for hook in state(hooks_dir, python) if hook.name in set(names)]
    for hook in before:
        _refuse_what_cannot_be_kept(hook)
    try:
        os.makedirs(hooks_dir, exist_ok=True)
        for hook in before:
            if hook.state == FOREIGN:
                os.rename(hook.path, hook.path + KEPT)
            if hook.state != INSTALLED or _read(hook.path) != wanted[hook.name]:
                _write(hook.path, wanted[hook.name])
    except OSError as error:
        raise _unwritable(hooks_dir, error) from error
    return state(hooks_dir, python)


def uninstall(hooks_dir: str, names: Iterable[str] = NAMES) -> list[Hook]:
    """Take our hooks away, put back what was kept, and say how they stand now. Foreign hooks are left alone.

    Where another manager has moved ours aside, what was kept takes that place: there it would be without us.
    """
    try:
        for name in names:
            path = os.path.join(hooks_dir, name)
            for place in (path, *(path + ending for ending in MOVED)):
                if is_ours(place):
                    os.unlink(place)
                    if os.path.lexists(path + KEPT):
                        os.rename(path + KEPT, place)
            if os.path.lexists(path + KEPT) and not os.path.lexists(path):
                os.rename(path + KEPT, path)
    except OSError as error:
        raise _unwritable(hooks_dir, error) from error
    return state(hooks_dir, "")


def remains(hooks_dir: str) -> list[str]:
    """Files in a hooks folder that are ours, or that we keep for somebody."""
    return [
        place
        for name in NAMES
        for ending in ("", *MOVED, KEPT)
        if is_ours(place := os.path.join(hooks_dir, name + ending)) or (ending == KEPT and os.path.lexists(place))
    ]


def is_ours(path: str) -> bool:
    """A plain file with our mark. A link is somebody's own arrangement, even if it leads to a hook of ours."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode) and MARK in _read(path)
    except OSError:  # gone, or not for us to read
        return False


def rewrite(path: str, text: bytes, new_mode: int = 0o755) -> None:
    """Give a file another text: its mode stays, and no half file is ever run or read. One that is not there yet is made,
    with `new_mode`. Raises SurroundingsError."""
    try:
        mode = stat.S_IMODE(os.lstat(path).st_mode) if os.path.lexists(path) else new_mode
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(path, text, mode)
    except OSError as error:
        raise _unwritable(os.path.dirname(path), error) from error


def answers(path: str, name: str, root: str, more: dict[str, str] | None = None) -> bool:
    """Start a hook as git would and ask it for a sign: whether ours answered, and said that it can run.

    The caller knows that our code comes first in that file; else somebody else's hook would run.
    """
    env = {**git.environment(), PROBE: "1", **(more or {})}
    if "HOME" in (more or {}):  # the user's configuration is still git's: it says whose repositories are safe
        env.setdefault("GIT_CONFIG_GLOBAL", os.path.expanduser("~/.gitconfig"))
    try:
        done = subprocess.run(
            [path], cwd=root, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and f"mlos-sync {name} ok".encode() in done.stdout.split(b"\n")


def shim(template: bytes, python: str) -> bytes:
    """A hook from its template: the path of the interpreter, quoted for the shell."""
    if "\0" in python or not os.path.isabs(python):
        raise ValueError(f"a hook names its interpreter by an absolute path, not {python!r}")
    return template.replace(PLACEHOLDER, _in_quotes(python))


def _in_quotes(python: str) -> bytes:
    """The path for the inside of single quotes in a shell."""
    return os.fsencode(python).replace(b"'", b"'\\''")


def _state(path: str, python: str) -> str:
    if not os.path.lexists(path):
        return MISSING
    if not is_ours(path):
        return FOREIGN
    text = _read(path)
    names_python = b"python='" + _in_quotes(python) + b"'\n" in text
    return INSTALLED if CURRENT in text and names_python and os.access(path, os.X_OK) else OUTDATED


def _refuse_what_cannot_be_kept(hook: Hook) -> None:
    if hook.state != FOREIGN:
        return
    if os.path.lexists(hook.path + KEPT):
        raise RefusedError(
            f"{hook.path} is not ours, and an earlier hook is kept as {hook.name}{KEPT} already",
            f"join the two in {hook.name}{KEPT}, remove {hook.path}, then: mlos-sync hooks install",
        )
    if not stat.S_ISREG(os.lstat(hook.path).st_mode) and not os.path.islink(hook.path):
        raise RefusedError(f"{hook.path} is not a file", "move it away, then: mlos-sync hooks install")


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _write(path: str, text: bytes, mode: int = 0o755) -> None:
    """Beside, then moved into place: a link at `path` is replaced, not followed, and no half hook ever runs."""
    beside = f"{path}.{os.getpid()}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(beside, flags, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        raise


def _unwritable(hooks_dir: str, error: OSError) -> SurroundingsError:
    return SurroundingsError(
        f"the hooks in {hooks_dir} cannot be changed: {error.strerror}",
        "mend its rights, then run mlos-sync hooks install",
    )
