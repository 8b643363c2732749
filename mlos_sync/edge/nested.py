"""Repositories inside a work tree: what lies in them is not of it."""

from __future__ import annotations

import os
import re

_HEAD = re.compile(rb"ref:\s*refs/|[0-9a-f]{40}\s*|[0-9a-f]{64}\s*")
_MUCH = 1 << 20  # bytes that are read of a file that shall name a folder


def head_of(folder: str) -> str:
    """The file by which a folder with a `.git` stands or falls as a repository: where that comes or goes, it is another one. It
    may lie anywhere."""
    place = os.path.join(folder, ".git")
    named = _named(place) if os.path.isfile(place) else place
    return os.path.join(named or place, "HEAD")


def _named(place: str) -> str | None:
    """The folder that a `.git` names that is a file. Raises OSError where it cannot be read."""
    with open(place, "rb") as file:
        words = file.read(_MUCH)
    named = os.fsdecode(words.removeprefix(b"gitdir: ").rstrip(b"\r\n"))
    return os.path.join(os.path.dirname(place), named) if words.startswith(b"gitdir: ") else None


def is_repository(folder: str) -> bool:
    """Whether git takes a folder for a repository of its own: its `.git` is a git directory, or a file that names one (or
    cannot be read). Else it is a folder like any (git's `is_nonbare_repository_dir` and `is_git_directory` in setup.c, 2.39)."""
    place = os.path.join(folder, ".git")
    if not os.path.isfile(place):
        return _is_git_dir(place)
    try:
        named = _named(place)
    except OSError:
        return True
    return named is not None and _is_git_dir(named)


def _is_git_dir(place: str) -> bool:
    head = os.path.join(place, "HEAD")
    try:
        if os.path.islink(head):
            is_head = os.readlink(head).startswith("refs/")
        else:
            with open(head, "rb") as file:
                is_head = _HEAD.match(file.read(256)) is not None
    except (OSError, ValueError):  # a NUL in its name
        return False
    common = place
    try:
        with open(os.path.join(place, "commondir"), "rb") as file:
            common = os.path.join(place, os.fsdecode(file.read(_MUCH).rstrip(b"\r\n")))
    except OSError:
        pass
    return is_head and all(os.access(os.path.join(common, one), os.X_OK) for one in ("objects", "refs"))
