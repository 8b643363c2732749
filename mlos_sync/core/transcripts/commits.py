"""Commits that a session made, from what its own `git` printed."""

from __future__ import annotations

import re

from mlos_sync.core.transcripts.sound import sound_text

# `git commit -m x`, `git -C dir commit`, `git -c user.name=x commit`; also what makes commits without that word
_COMMAND = re.compile(
    r"git(?:\s++(?:-[cC]\s++\S++|--?[\w-]++(?:=\S++)?))*+\s++(?:commit|merge|cherry-pick|revert|rebase|am|pull)(?![\w-])"
)
_BEFORE = re.compile(r"(?:^|[;&|({\n]|\b(?:then|do|else|sudo|time)\b)[ \t]*(?:\w+=\S*[ \t]+){0,5}$")
# `[main abc1234] subject`, `[main (root-commit) abc1234] subject`, `[detached HEAD abc1234] subject`
_PRINTED = re.compile(
    r"^\[[^\s\]]{1,250}(?: HEAD)?(?: \([^()\n]{1,40}\))? (?P<sha>[0-9a-f]{7,40})\] (?P<subject>[^\r\n]*)", re.MULTILINE
)


def commits(command: str, output: str) -> tuple[tuple[str, str], ...]:
    """The (sha, subject) of each commit that the output of a command shows, if the command runs git to make any.

    The words must stand where a command begins: a search for `git commit` in other logs prints the same lines.
    """
    if "git" not in command or "[" not in output or not _makes_commits(command):
        return ()
    found = {match["sha"]: match["subject"] for match in _PRINTED.finditer(output)}
    return tuple((sha, sound_text(subject) or "") for sha, subject in found.items())


def _makes_commits(command: str) -> bool:
    for match in _COMMAND.finditer(command):
        start = max(0, match.start() - 200)
        if _BEFORE.search(("" if start == 0 else "x") + command[start : match.start()]):
            return True
    return False
