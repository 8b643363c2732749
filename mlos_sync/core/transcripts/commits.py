"""Commits that a session made, from what its own `git` printed."""

from __future__ import annotations

import re

from mlos_sync.core.transcripts.sound import sound_text

# `git commit -m x`, `git -C dir commit`, `git -c user.name=x commit`; also what makes commits without that word.
# The number of options is bounded: in `git -c git -c git …` each word begins a search of its own.
_COMMAND = re.compile(
    r"git(?:\s++(?:-[cC]\s++\S++|--?[\w-]++(?:=\S++)?)){0,16}+"
    r"\s++(?:commit|merge|cherry-pick|revert|rebase|am|pull)(?![\w-])"
)
# `cd a && git …`, `GIT_EDITOR=true git …`, `if x; then git …`: what may stand before a command
_BEFORE = re.compile(r"(?:^|[;&|({\n]|\b(?:then|do|else|sudo|time)\b)[ \t]*(?:\w+=\S*[ \t]+){0,5}$")
_WINDOW = 200  # characters before a command that are looked at
# `[main abc1234] subject`, `[main (root-commit) abc1234] subject`, `[detached HEAD abc1234] subject`: git since 1.7,
# which translates the words; the name is one that a branch can have, so that `[10:04:01 abc1234] x` of a log is none
_PRINTED = re.compile(
    r"^\[[^\s\[\]~^:?*\\]{1,250}+(?: HEAD)?(?: \([^()\n]{1,40}\))? (?P<sha>[0-9a-f]{7,40})\]"
    r"(?P<subject>(?: [^\r\n]*)?)(?=[\r\n]|\Z)",
    re.MULTILINE,
)


def commits(command: str, output: str) -> tuple[tuple[str, str], ...]:
    """The (sha, subject) of each commit that the output of a command shows, once, if the command runs git to make any."""
    if "[" not in output or not makes_commits(command):
        return ()
    found: dict[str, str] = {}
    for match in _PRINTED.finditer(output):
        found.setdefault(match["sha"], sound_text(match["subject"]) or "")
    return tuple(found.items())


def commit_in(line: str) -> tuple[str, str] | None:
    """The sha and the subject of the commit that git printed on this line, or None."""
    match = _PRINTED.match(line) if line[:1] == "[" else None
    return (match["sha"], sound_text(match["subject"]) or "") if match else None


def makes_commits(command: str) -> bool:
    """Whether a command runs git so that it may make a commit.

    The words must stand where a command begins: a search for `git commit` in other logs prints the same lines.
    """
    if "git" not in command:
        return False
    for match in _COMMAND.finditer(command):
        start = max(0, match.start() - _WINDOW)
        if _BEFORE.search(("" if start == 0 else "x") + command[start : match.start()]):
            return True
    return False
