"""GitPython, where it is safe and fast enough: making a repository, and who wrote a line. The only module that imports it.

Everything else speaks plumbing (`edge/git.py`): hooks cannot afford the import, GitPython's advisories of 2026 were
about unchecked arguments, and its own page advises against it in long-lived processes.
"""

from __future__ import annotations

import contextlib

from mlos_sync.errors import SurroundingsError


def make_repository(folder: str) -> None:
    """`git init` in an existing folder. Raises SurroundingsError with git's words."""
    import git as gitpython

    try:
        with contextlib.closing(gitpython.Repo.init(folder)):
            pass
    except (gitpython.GitCommandError, OSError) as error:
        raise SurroundingsError(
            f"git init failed in {folder}: {error}", "make the repository by hand: git init"
        ) from None


def origin_of_line(root: str, path: str, line: int) -> tuple[str, str, int] | None:
    """(commit, the file's path in it, the line there) that a line of a tracked file in HEAD comes from, lines from 1; None
    when blame does not know."""
    import git as gitpython

    with contextlib.closing(gitpython.Repo(root)) as repository:
        try:
            told = repository.git.blame("--porcelain", f"-L{line},{line}", "HEAD", "--", path)
        except (gitpython.GitCommandError, ValueError):
            return None
    head, *rest = told.split("\n")
    sha, before, *_ = head.split(" ")
    name = next((row.removeprefix("filename ") for row in rest if row.startswith("filename ")), path)
    return sha, name, int(before)
