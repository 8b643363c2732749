"""The commit that is being made, as the environment of its hook tells it: which git directory, whether an editor opens,
and what git's configuration says. Git is asked only when somebody wants to know.

The hook's own GIT_DIR counts, and its GIT_CONFIG_PARAMETERS: `git -c core.commentChar=% commit` is told by nothing else.
"""

from __future__ import annotations

import os

from mlos_sync.app.messages import Making
from mlos_sync.hooks import pending, plumbing

_WANTED = r"^(core\.comment(char|string)|commit\.cleanup|i18n\.commitencoding|trailer\..*|branch\..*\.mlostask)$"


def making() -> Making:
    """What a hook of this process's git is called for."""
    # Git names no editor to a hook of a commit that opens none
    return Making(pending.git_dir(), os.environ.get("GIT_EDITOR") != ":", settings, branch)


def settings() -> list[tuple[str, str]]:
    """(key as git prints it, value) of what matters for messages, the last one counts."""
    _, said = plumbing.output("config", "--null", "--get-regexp", _WANTED, quiet=True)
    pairs = (entry.decode("utf-8", "surrogateescape").partition("\n") for entry in said.split(b"\0") if entry)
    return [(key, value) for key, _, value in pairs]


def branch() -> str:
    """The short name of the branch; empty where HEAD is detached."""
    _, said = plumbing.output("symbolic-ref", "--quiet", "--short", "HEAD", quiet=True)
    return os.fsdecode(said.rstrip(b"\n"))
