"""What the command line asks of a repository beside plumbing: to make one (GitPython, which only this module imports), and
who wrote a line.

Everything else speaks plumbing (`edge/git.py`): hooks cannot afford the import, GitPython's advisories of 2026 were
about unchecked arguments, and its own page advises against it in long-lived processes.
"""

from __future__ import annotations

import contextlib
import os

from mlos_sync.core.paths import from_bytes, to_bytes
from mlos_sync.edge import git as plumbing
from mlos_sync.errors import SurroundingsError


def make_repository(folder: str) -> None:
    """`git init` in an existing folder. Raises SurroundingsError with git's words."""
    # Else it would start whatever is called git in a folder of PATH that is named relatively.
    os.environ["GIT_PYTHON_GIT_EXECUTABLE"] = plumbing.program()
    import git as gitpython

    try:
        with contextlib.closing(gitpython.Repo.init(folder)):
            pass
    except (gitpython.GitCommandError, OSError) as error:
        raise SurroundingsError(
            f"git init failed in {folder}: {error}", "make the repository by hand: git init"
        ) from None


# What git says where there is no such line.
_NOTHING = ("has only", "invalid line number", "no such path", "bad revision", "unknown revision", "ambiguous argument")


def origin_of_line(root: str, path: str, line: int) -> tuple[str, str, int] | None:
    """(commit, the file's path in it, the line there) that a line of a tracked file in HEAD comes from, lines from 1; None
    when there is no such line. Raises SurroundingsError with git's words where git cannot tell."""
    # With a revision blame does not look at the work tree. Converting contents to text is its default, and a program's work.
    try:
        told = plumbing.run(
            root, "-c", "core.quotePath=true", "blame", "--porcelain", "--no-textconv", f"-L{line},{line}", "HEAD", "--",
            os.fsdecode(to_bytes(path)),
        )  # fmt: skip
    except SurroundingsError as error:
        if any(words in error.message for words in _NOTHING):
            return None
        raise
    head, *rest = told.split(b"\n")
    sha, before, *_ = head.decode("ascii").split(" ")
    name = next((row.removeprefix(b"filename ") for row in rest if row.startswith(b"filename ")), None)
    return sha, _unquoted(name) if name is not None else path, int(before)


def _unquoted(name: bytes) -> str:
    """A path as git prints it for people: in quotes, as in C, where it holds anything odd."""
    if not name.startswith(b'"'):
        return from_bytes(name)
    import ast  # for few names

    return from_bytes(ast.literal_eval(f"b{name.decode('ascii')}"))
