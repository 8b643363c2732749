"""From claims and commits to graded evidence: what ties a session to a file. Pure.

Grades, strongest first: *proved* (the content that the session wrote hashes to the artifact, or to a blob that a
commit put at that path), *declared* (somebody said so: frontmatter, a trailer, a link), *matched* (a successful
operation on that path, no more). Time alone proves nothing and is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

STRENGTH = {"proved": 3, "declared": 2, "matched": 1, "unknown": 0}


@dataclass(frozen=True, slots=True)
class PlacedClaim:
    """A successful claim at a workspace path; `hashes` and `blobs` name the contents it may have left there."""

    session: str
    transcript: str
    path: str
    operation: str
    turn: int
    line: int
    at: str | None
    hashes: tuple[str, ...]
    blobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grounds:
    """Why a session and a file belong together: the best evidence, all operations, and where to look."""

    evidence: str
    operations: tuple[str, ...]
    transcript: str
    turn: int
    line: int
    commit: str | None  # the commit that introduced the proved content


def weigh(claims: Iterable[PlacedClaim], content: str | None, introduced: Mapping[str, str]) -> Grounds | None:
    """The grounds for one session and one file; None when the claims are none.

    `content` is the artifact's SHA-256, `introduced` maps each blob that a commit put at that path to the commit.
    """
    best: tuple[int, PlacedClaim, str | None] | None = None
    operations: list[str] = []
    for claim in claims:
        operations.append(claim.operation)
        commit = next((introduced[blob] for blob in claim.blobs if blob in introduced), None)
        proved = commit is not None or (content is not None and content in claim.hashes)
        strength = STRENGTH["proved" if proved else "matched"]
        # A later claim of the same strength explains the present content better than an earlier one.
        if best is None or strength >= best[0]:
            best = (strength, claim, commit)
    if best is None:
        return None
    strength, claim, commit = best
    evidence = "proved" if strength == STRENGTH["proved"] else "matched"
    return Grounds(evidence, tuple(dict.fromkeys(operations)), claim.transcript, claim.turn, claim.line, commit)


def stronger(one: str, other: str) -> str:
    """The better of two grades."""
    return one if STRENGTH[one] >= STRENGTH[other] else other
