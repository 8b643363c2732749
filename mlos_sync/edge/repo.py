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


def commit_of_line(root: str, path: str, line: int) -> str | None:
    """The commit that last touched a line of a tracked file in HEAD (1-based); None when blame does not know."""
    import git as gitpython

    with contextlib.closing(gitpython.Repo(root)) as repository:
        try:
            entries = list(repository.blame_incremental("HEAD", path, L=f"{line},{line}"))
        except (gitpython.GitCommandError, ValueError):
            return None
    return str(entries[0].commit.hexsha) if entries else None
