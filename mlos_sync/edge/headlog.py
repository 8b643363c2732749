"""What git did to HEAD, by its own log: `git revert` writes files and leaves no other sign that a commit would not leave."""

from __future__ import annotations

import os

# How the messages of those begin that write files of the tree (git 2.39: builtin/*.c and sequencer.c set them). Those of
# `commit`, `branch` and a push do not.
_MOVES = (b"revert", b"cherry-pick", b"merge", b"pull", b"rebase", b"reset", b"checkout", b"am:")
_MUCH = 1 << 16  # bytes of the log that are read: some hundred moves


class HeadLog:
    """The reflog of one work tree's HEAD, from here on; `git_dir` is that of the work tree."""

    def __init__(self, git_dir: str) -> None:
        self._name = os.path.join(git_dir, "logs", "HEAD")
        self._read = 0
        self.has_moved()

    def has_moved(self) -> bool:
        """Whether git has moved the tree since the last call; False where it keeps no log (`core.logAllRefUpdates`)."""
        try:
            with open(self._name, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                before, self._read = self._read, size
                if size < before:  # old entries were taken out of it
                    return False
                file.seek(max(before, size - _MUCH))
                lines = file.read().splitlines()
        except OSError:
            return False
        return any(line.partition(b"\t")[2].startswith(_MOVES) for line in lines)
