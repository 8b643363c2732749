"""What commit messages say of records: trailers, and, where the workspace wants it, words in the text. Pure.

A trailer is `Key: value`, in the last paragraph as git parses it (git-interpret-trailers(1)). An agent's footer often
puts its co-author line into a paragraph of its own, and git then sees no other trailer ("Task: 12", blank line,
"Co-Authored-By: …"): so a line of a known key whose whole value is references counts wherever it stands below the
subject. Prose is not data: a value with any other word in it refers to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mlos_sync.core import ids

MEANINGS = ("task", "need", "closes", "agent", "session")
"""What a trailer key may mean: it refers to a task, to a need, it closes one of these, it names an agent, a session."""

# `Entire-Session:` and `Entire-Checkpoint:` of entireio/cli; `Claude-Session: https://…/session_…`
OURS = (
    *(("task", "task"), ("need", "need"), ("agent", "agent"), ("session", "session")),
    *(("closes", "closes"), ("fixes", "closes"), ("resolves", "closes")),
    *(("entire-session", "session"), ("entire-checkpoint", "session"), ("claude-session", "session")),
)
MENTION = "mention"  # the key of a bare `task-3f9a2c` in the text
KEYWORD = "closes"  # the key of `fixes task:12` in the text

_UID = r"(?:need|task)-[0-9a-f]{6,32}"
_NAMED = rf"(?:(?:need|task):[0-9]{{1,15}}(?:\s?\({_UID}\))?|{_UID})"
_BARE = re.compile(rf"(?<![\w/.:-]){_UID}(?![\w-])")
# The closing words of the forges: https://docs.github.com "Linking a pull request to an issue using a keyword"
_CLOSING = re.compile(
    rf"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?[ \t]+({_NAMED}(?:(?:,[ \t]?|[ \t]and[ \t]){_NAMED})*)(?![\w-])",
    re.IGNORECASE,
)
# What `git revert` writes (sequencer.c); of a merge with the parent that is gone back to; with --reference a short name.
_REVERTS = re.compile(
    r"^This reverts commit ([0-9a-f]{7,64})(?:,\s+reversing\s+changes\s+made\s+to\s+([0-9a-f]{7,64}))?", re.M
)


@dataclass(frozen=True, slots=True)
class Rules:
    """How messages are read: `keys` are trailer keys in lower case with their meaning; `mentions` says whether a bare
    `task-3f9a2c` in the text is a reference, `keywords` whether `fixes task:12` in the text closes."""

    keys: tuple[tuple[str, str], ...] = OURS
    mentions: bool = False
    keywords: bool = False

    def meaning(self, key: str) -> str | None:
        """What a key means, whatever its case; None for one that is not known."""
        return _meanings(self.keys).get(key.lower()) or ("task" if key == MENTION else None)


DEFAULT = Rules()


class Mention(NamedTuple):
    """References in a message: where their text starts and ends, the key in lower case, its meaning, the text."""

    start: int
    end: int
    key: str
    meaning: str
    value: str

    @property
    def references(self) -> Iterator[tuple[ids.Reference, bool]]:
        """(reference, closes) of each."""
        return ids.in_trailer(self.meaning, self.value)


class Reverted(NamedTuple):
    """A commit that a message says it reverts, by a prefix of its name; of a merge also the parent gone back to."""

    commit: str
    mainline: str | None


def mentions(message: str, rules: Rules) -> list[Mention]:
    """The references in a message to needs, tasks and agents, in the order in which they stand."""
    body = message.find("\n") + 1 or len(message)
    found = []
    for match in _line(rules.keys).finditer(message, body):
        meaning = rules.meaning(match[1])
        value = match[2].rstrip()
        if meaning not in (None, "session") and any(True for _ in ids.in_trailer(str(meaning), value)):
            found.append(Mention(match.start(2), match.start(2) + len(value), match[1].lower(), str(meaning), value))
    if rules.keywords:
        found += [Mention(*match.span(1), KEYWORD, "closes", match[1]) for match in _CLOSING.finditer(message)]
    if rules.mentions:
        found += [Mention(*match.span(), MENTION, "task", match[0]) for match in _BARE.finditer(message)]
    found.sort(key=lambda one: (one.start, -one.end))  # stable: of two readings of one text the trailer comes first
    kept: list[Mention] = []
    for one in found:
        if not kept or one.start >= kept[-1].end:
            kept.append(one)
    return kept


def may_mention(message: str, rules: Rules) -> bool:
    """Whether `mentions` may find anything, told quickly."""
    return rules.mentions or rules.keywords or (":" in message and _line(rules.keys).search(message) is not None)


def reverted(message: str) -> list[Reverted]:
    """The commits that a message says it reverts."""
    return [Reverted(match[1], match[2]) for match in _REVERTS.finditer(message)] if "This reverts" in message else []


@lru_cache(maxsize=16)
def _meanings(keys: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return dict(keys)


@lru_cache(maxsize=16)
def _line(keys: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    names = "|".join(re.escape(key) for key, _ in keys)
    return re.compile(rf"^({names})[ \t]*:[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)
