"""From claims and commits to graded evidence: what ties a session to a file and to a commit. Pure.

Grades, strongest first: *proved* (what the session wrote, or what its changes make of a content that git has, hashes to
the artifact, or to a blob that a commit put at that path), *declared* (somebody said so: frontmatter, a trailer, a note,
a link), *matched* (a successful operation on that path, no more). Time alone proves nothing; it only says which of
several commits cannot have taken a content from the session: one that was made before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

STRENGTH = {"proved": 3, "declared": 2, "matched": 1, "unknown": 0}
WINDOW = timedelta(days=14)  # after which an edit that no commit of its path took is taken to have been given up


@dataclass(frozen=True, slots=True)
class PlacedClaim:
    """A successful claim at a workspace path; `hashes` and `blobs` name the contents it may have left there. `since` is when
    it was made as far as that can be told: its own time, else that of the commit which the session made next, else the
    session's beginning."""

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
    since: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A commit that changed a path: when it was written and committed, and the blob it put there (None: it deleted)."""

    sha: str
    authored: str
    committed: str
    blob: str | None


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
    """What one claim's contents are known as: whether they prove it, and the commit that took them. `likely` is the
    commit that changed the path next, which proves nothing."""

    proved: bool
    commit: str | None
    is_current: bool
    likely: str | None = None


def prove(claim: PlacedClaim, content: str | None, blob: str | None, changes: Sequence[Change]) -> Proof:
    """Look a claim's contents up: `content` and `blob` are the artifact's SHA-256 and git's name for the same; `changes`
    are those of its path in history, in the order in which they were committed. A blob that history has only from before
    the claim proves nothing."""
    is_current = (content is not None and content in claim.hashes) or (blob is not None and blob in claim.blobs)
    took = _first(claim.since, [one for one in changes if one.blob is not None and one.blob in claim.blobs])
    likely = None if took else _first(claim.since, changes, within=WINDOW)
    return Proof(is_current or took is not None, took, is_current, likely)


def _first(at: str | None, changes: Iterable[Change], within: timedelta | None = None) -> str | None:
    """The first of the commits that can hold what was written at a time: none that was committed before. One that was
    written later counts from then (a rebase commits many at once), one that was written before from when it was
    committed (an amend keeps the date of writing)."""
    wrote = moment(at)
    if wrote is None:
        return None
    best: tuple[datetime, str] | None = None
    for one in changes:
        authored, committed = moment(one.authored), moment(one.committed)
        if authored is None or committed is None or committed < wrote:
            continue
        since = authored if authored >= wrote else committed
        if (within is None or since <= wrote + within) and (best is None or since < best[0]):
            best = (since, one.sha)
    return best[1] if best else None


def could_follow(at: str | None, committed: str) -> bool:
    """Whether a commit can hold what was written at a time: it was not made before. Unknown times forbid nothing."""
    wrote, made = moment(at), moment(committed)
    return wrote is None or made is None or made >= wrote


def moment(at: str | None) -> datetime | None:
    """A time as `2026-02-16T13:04:52Z`, or None for none and for what is no time."""
    try:
        return datetime.fromisoformat(at) if at else None
    except (ValueError, OverflowError):
        return None


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
