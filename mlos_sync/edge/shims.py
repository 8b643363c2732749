"""Our hooks in git's hooks folder: put there, looked at, taken away again.

Owns the four files and what stood in their place before, which is kept beside them and still runs. It never writes
through a link (a file is made beside and moved into place) and never changes `core.hooksPath`; which folder is git's
hooks folder is asked elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import NamedTuple

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


class Hook(NamedTuple):
    """One hook as it stands: `state` is installed, missing, outdated (ours, to be replaced) or foreign (not ours)."""

    name: str
    path: str
    state: str


def state(hooks_dir: str, python: str) -> list[Hook]:
    """How the four hooks stand. Ours is outdated if it is of another version, names another Python or cannot run."""
    return [Hook(name, path := os.path.join(hooks_dir, name), _state(path, python)) for name in NAMES]


def install(hooks_dir: str, templates_dir: str, python: str) -> list[Hook]:
    """Put our hooks in place, keep what stood there (renamed, bytes and mode untouched) and say how they stand now.

    Twice is once. Raises RefusedError, before anything is touched, if a foreign hook stands where another one is kept
    already, or if something that is no file stands there.
    """
    texts = {name: shim(_read(os.path.join(templates_dir, name)), python) for name in NAMES}
    before = state(hooks_dir, python)
    for hook in before:
        _refuse_what_cannot_be_kept(hook)
    try:
        os.makedirs(hooks_dir, exist_ok=True)
        for hook in before:
            if hook.state == FOREIGN:
                os.rename(hook.path, hook.path + KEPT)
            if hook.state != INSTALLED or _read(hook.path) != texts[hook.name]:
                _write(hook.path, texts[hook.name])
    except OSError as error:
        raise _unwritable(hooks_dir, error) from error
    return state(hooks_dir, python)


def uninstall(hooks_dir: str) -> list[Hook]:
    """Take our hooks away, put back what was kept, and say how the four stand now. Foreign hooks are left alone."""
    try:
        for name in NAMES:
            path = os.path.join(hooks_dir, name)
            if _is_ours(path):
                os.unlink(path)
            if os.path.lexists(path + KEPT) and not os.path.lexists(path):
                os.rename(path + KEPT, path)
    except OSError as error:
        raise _unwritable(hooks_dir, error) from error
    return state(hooks_dir, "")


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
    if not _is_ours(path):
        return FOREIGN
    text = _read(path)
    names_python = b"python='" + _in_quotes(python) + b"'\n" in text
    return INSTALLED if CURRENT in text and names_python and os.access(path, os.X_OK) else OUTDATED


def _is_ours(path: str) -> bool:
    """A plain file with our mark. A link is somebody's own arrangement, even if it leads to a hook of ours."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode) and MARK in _read(path)
    except OSError:  # gone, or not for us to read
        return False


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


def _write(path: str, text: bytes) -> None:
    """Beside, then moved into place: a link at `path` is replaced, not followed, and no half hook ever runs."""
    beside = f"{path}.{os.getpid()}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(beside, flags, 0o755)
    try:
        with open(descriptor, "wb") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o755)
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
