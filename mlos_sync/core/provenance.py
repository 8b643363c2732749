"""From claims and commits to graded evidence: what ties a session to a file and to a commit. Pure.

Grades, strongest first: *proved* (what the session wrote, or what its changes make of a content that git has, hashes to
the artifact, or to a blob that a commit put at that path), *declared* (somebody said so: frontmatter, a trailer, a note,
a link), *matched* (a successful operation on that path, no more). Time alone proves nothing; it only says which of
several commits cannot have taken a content from the session: one that was made before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

STRENGTH = {"proved": 3, "declared": 2, "matched": 1, "unknown": 0}
SLACK = timedelta(minutes=5)  # by which the clocks of a session and of a commit may differ


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
    number: int = 0
    declared: bool = False  # a note says so, rather than a log of what was done


@dataclass(frozen=True, slots=True)
class Introduced:
    """A commit that put a blob at a path."""

    sha: str
    at: str


@dataclass(frozen=True, slots=True)
class Grounds:
    """Why a session and a file belong together: the best evidence, all operations, and where to look. `commit` took the
    content from the session; `is_current` says that the file holds that content now."""

    evidence: str
    operations: tuple[str, ...]
    transcript: str
    turn: int
    line: int
    at: str | None
    commit: str | None
    is_current: bool


@dataclass(frozen=True, slots=True)
class Proof:
    """What one claim's contents are known as: whether they prove it, and the commit that took them."""

    proved: bool
    commit: str | None
    is_current: bool


def prove(
    claim: PlacedClaim, content: str | None, blob: str | None, introduced: Mapping[str, Sequence[Introduced]]
) -> Proof:
    """Look a claim's contents up: `content` and `blob` are the artifact's SHA-256 and git's name for the same;
    `introduced` maps each blob that commits put at that path to these commits, oldest first."""
    is_current = (content is not None and content in claim.hashes) or (blob is not None and blob in claim.blobs)
    known = [one for one in claim.blobs if one in introduced]
    commit = None
    for name in known:
        commit = next((one.sha for one in introduced[name] if could_follow(claim.at, one.at)), None)
        if commit is not None:
            break
    return Proof(is_current or bool(known), commit, is_current)


def could_follow(at: str | None, committed: str) -> bool:
    """Whether a commit can hold what was written at a time: it was not made before. Unknown times forbid nothing."""
    if at is None:
        return True
    try:
        return datetime.fromisoformat(committed) >= datetime.fromisoformat(at) - SLACK
    except (ValueError, TypeError, OverflowError):
        return True


def weigh(judged: Iterable[tuple[PlacedClaim, Proof]]) -> Grounds | None:
    """The grounds for one session and one file; None when there are no claims. A later claim of the same strength
    explains the present better than an earlier one."""
    best: tuple[tuple[int, int, int], PlacedClaim, Proof] | None = None
    operations: list[str] = []
    for claim, proof in judged:
        operations.append(claim.operation)
        grade = "proved" if proof.proved else "declared" if claim.declared else "matched"
        rank = (STRENGTH[grade], int(proof.is_current), int(proof.commit is not None))
        if best is None or rank >= best[0]:
            best = (rank, claim, proof)
    if best is None:
        return None
    (strength, *_), claim, proof = best
    evidence = next(word for word, value in STRENGTH.items() if value == strength)
    return Grounds(
        evidence, tuple(dict.fromkeys(operations)), claim.transcript, claim.turn, claim.line, claim.at, proof.commit,
        proof.is_current,
    )  # fmt: skip


def stronger(one: str, other: str) -> str:
    """The better of two grades."""
    return one if STRENGTH[one] >= STRENGTH[other] else other
