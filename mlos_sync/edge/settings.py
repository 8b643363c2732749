"""Git itself: which version it is, how it is configured and by whom, and the work trees of a repository.

Owns the questions to `git version`, `git config` and `git worktree`, and the two keys a hook that is written in git's
configuration. It never changes anything but the repository's own configuration, and there only keys it is given.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from mlos_sync.edge import git
from mlos_sync.errors import SurroundingsError

NEEDED = (2, 31)
"""`rev-parse --path-format=absolute` came with 2.31."""

CONFIGURED_HOOKS = (2, 54)
"""`hook.<name>.event` and `.command` came with 2.54."""

OWN_SCOPES = ("local", "worktree")
"""Where a setting is this repository's own; every other scope (system, global) is shared with others."""


class Setting(NamedTuple):
    """One value as git's configuration holds it: the scope that git names, the file it stands in, key and value."""

    scope: str
    origin: str
    key: str
    value: str


def version() -> tuple[int, int]:
    """(major, minor) of the git that we run; (0, 0) if it does not say."""
    return _number(_said())


def require() -> None:
    """Raises SurroundingsError if git is older than we need."""
    said = _said()
    if _number(said) < NEEDED:
        number = said.removeprefix("git version ").split(" ")[0]
        found = number if said.startswith("git version ") else "one that does not tell its version"
        raise SurroundingsError(
            f"mlos-sync needs git {NEEDED[0]}.{NEEDED[1]} or later, found {found}",
            f"install a newer git, and make sure it comes first on PATH (now: {git.program()})",
        )


def _said() -> str:
    return git.run("/", "version", check=False).decode("utf-8", "replace").strip()


def _number(said: str) -> tuple[int, int]:
    match = re.match(r"git version (\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def matching(root: str, pattern: str) -> list[Setting]:
    """Every setting whose key matches, in the order in which git reads them: of equal keys the last one counts."""
    out = git.run(root, "config", "-z", "--show-scope", "--show-origin", "--get-regexp", pattern, check=False)
    parts = os.fsdecode(out).split("\0")
    found = []
    for scope, origin, pair in zip(parts[0::3], parts[1::3], parts[2::3], strict=False):
        key, _, value = pair.partition("\n")
        found.append(Setting(scope, origin.removeprefix("file:"), key, value))
    return found


def put(root: str, key: str, value: str) -> None:
    """Set one key of the repository's own configuration."""
    git.run(root, "config", "--local", "--replace-all", key, value)


def drop(root: str, key: str) -> None:
    """Take one key out of the repository's own configuration; with its last key a section goes too."""
    git.run(root, "config", "--local", "--unset-all", key, check=False)


def hooks_listed(root: str, event: str) -> list[str]:
    """What git would start for an event, by name, in order (git 2.54 and later). Nothing is started."""
    out = git.run(root, "hook", "list", "-z", event, check=False)
    return [name for name in os.fsdecode(out).split("\0") if name]


def trees(root: str) -> list[str]:
    """The roots of all work trees of the repository that are there, `root` among them: where its git directory lies
    elsewhere (a submodule), git names that as the main one."""
    out = git.run(root, "worktree", "list", "--porcelain", "-z", check=False)
    lines = os.fsdecode(out).split("\0")
    if not out:  # -z came with 2.36
        lines = os.fsdecode(git.run(root, "worktree", "list", "--porcelain", check=False)).split("\n")
    named = [line.removeprefix("worktree ") for line in lines if line.startswith("worktree ")]
    found = [path for path in named if os.path.lexists(os.path.join(path, ".git"))]
    return found if os.path.realpath(root) in map(os.path.realpath, found) else [root, *found]


def allows_templates(root: str) -> bool:
    """Whether this clone runs templates that come with its tree (`mlos-sync.templates`, in its own configuration only: what
    is allowed for one repository says nothing of another)."""
    out = git.run(root, "config", "--local", "--type=bool", "--get", "mlos-sync.templates", check=False)
    return out.strip() == b"true"
