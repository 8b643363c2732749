"""Which commit introduced what a rewritten commit had made: by content, blob ids per path. Pure.

A squash, a rebase that melts commits together or a forge's merge button leave a commit whose message no longer says what
the old ones said. Where it puts the very contents at the very paths that an old commit (or a later one of its line) left
there, it is where that work went.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

# The empty file in SHA-1 and SHA-256 repositories: everybody's, so it shows nothing.
EMPTY_BLOBS = frozenset(
    {"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813"}
)
GONE = ""


@dataclass(frozen=True, slots=True)
class Known:
    """A commit by what it did: times as `2026-11-20T10:00:00Z`, `changes` path -> blob id, GONE where it took the file
    away."""

    sha: str
    parents: tuple[str, ...]
    author: str
    authored: str
    subject: str
    committed: str = ""
    changes: Mapping[str, str] = field(default_factory=dict)


class Placement(NamedTuple):
    """Where a commit's work went: the commit that introduced it, and how many of the paths that it changed (`sought`)
    hold there what it, or a later commit of its line, left (`found`)."""

    sha: str
    evidence: str
    found: int
    sought: int


def line_after(sha: str, children: Mapping[str, Collection[str]]) -> list[str]:
    """The commits that came after one in its line, nearest first; `children` names those of each."""
    seen = {sha}
    queue = [sha]
    for one in queue:
        for child in sorted(children.get(one, ())):
            if child not in seen:
                seen.add(child)
                queue.append(child)
    return queue[1:]


def children_of(commits: Iterable[Known]) -> dict[str, list[str]]:
    """Commit -> the commits that were made on top of it."""
    found: dict[str, list[str]] = {}
    for commit in commits:
        for parent in commit.parents:
            found.setdefault(parent, []).append(commit.sha)
    return found


def is_successor(old: Known, new: Known) -> bool:
    """Whether a commit is another one as somebody amended, reworded or replayed it: git keeps author and time of writing
    then. What its message no longer says was taken out by hand."""
    if (old.author, old.authored) != (new.author, new.authored):
        return False
    return old.subject == new.subject or old.changes.keys() == new.changes.keys()


def place(
    old: Known, after: Sequence[Known], candidates: Iterable[Known], *, ignored: Collection[str] = ()
) -> Placement | None:
    """The candidate that introduced most of what `old` made, the earliest of several; `after` are the commits that came
    after it in its line. `ignored` are paths that are made anew each time (compiled views).

    *proved*: every path holds what the line left there. *matched*: some paths do. A commit that was made before the old
    one was written is neither.
    """
    best: tuple[tuple[int, str, str], Placement] | None = None
    sought = {path: {blob} for path, blob in old.changes.items() if path not in ignored}
    for later in after:
        for path in sought.keys() & later.changes.keys():
            sought[path].add(later.changes[path])
    for one in candidates:
        if one.committed < old.authored:
            continue
        held = {path: one.changes.get(path) for path in sought}
        found = [path for path, blob in held.items() if blob in sought[path]]
        if not any(held[path] != GONE and held[path] not in EMPTY_BLOBS for path in found):
            continue  # files that are gone, or empty, are so in many commits
        evidence = "proved" if len(found) == len(sought) else "matched"
        rank = (-len(found), one.committed, one.sha)
        if best is None or rank < best[0]:
            best = rank, Placement(one.sha, evidence, len(found), len(sought))
    return best[1] if best else None
