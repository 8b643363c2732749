"""What git's post hooks noted for the next command: one line each, appended by the shims (see `hooks/`).

    commit
    merge 0
    checkout <old> <new> 1
    rewrite amend
    <old> <new>

Only what git tells nobody afterwards is of use: which commit became which (lines of two names below `rewrite`).
"""

from __future__ import annotations

import contextlib
import os

NAME = "notes"
TAKEN = "notes.taken"
MOST = 1 << 24  # bytes; more than 200,000 rewritten commits


def take(state: str) -> list[str]:
    """The lines noted since the last time, in our folder of the git directory; they are moved aside, and come again if
    whoever took them was killed before the next one asks. Lines that a writer cut are left out by the reader's checks."""
    taken, noted = os.path.join(state, TAKEN), os.path.join(state, NAME)
    lines = _read(taken)
    with contextlib.suppress(FileNotFoundError):
        os.replace(noted, taken)
        return lines + _read(taken)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(taken)
    return lines


def rewritten(lines: list[str]) -> list[tuple[str, str]]:
    """(old name, new name) of each rewritten commit."""
    pairs = (line.split(" ") for line in lines)
    return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2 and all(_is_name(one) for one in pair)]


def _is_name(text: str) -> bool:
    return len(text) in (40, 64) and not set(text) - set("0123456789abcdef")


def _read(path: str) -> list[str]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return []
    with open(descriptor, "rb") as file:
        return file.read(MOST).decode("ascii", "replace").splitlines()
