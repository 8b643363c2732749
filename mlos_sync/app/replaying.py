"""Changes whose base only git knows: replayed on the blob that the path had when they were made, for on any other a change
would prove what never was. What comes out is remembered with its base, and tried again only when that is another.
Callers are in a transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from mlos_sync.core.provenance import PlacedClaim
from mlos_sync.core.transcripts.replay import replayed, unpacked
from mlos_sync.edge import objects, store
from mlos_sync.edge.transcript_worker import blob_id
from mlos_sync.errors import SurroundingsError

LARGEST = 4 << 20  # bytes of a blob that is tried

Key = tuple[str, int]  # of a claim: transcript, number


def replay(db: store.Connection, root: str, claims: Iterable[PlacedClaim]) -> bool:
    """Replay the changes of one session's claims. Returns whether any gave another result than before."""
    waiting: dict[tuple[str, str], list[PlacedClaim]] = {}
    for claim in claims:
        row = db.execute(
            "SELECT 1 FROM claim_changes WHERE transcript = ? AND number = ?", (claim.transcript, claim.number)
        ).fetchone()
        if row:
            waiting.setdefault((claim.transcript, claim.path), []).append(claim)
    changed = False
    for (_, path), mine in waiting.items():
        changed |= _replay(db, root, path, mine)
    return changed


def _replay(db: store.Connection, root: str, path: str, claims: list[PlacedClaim]) -> bool:
    rows = [
        db.execute(
            "SELECT changes, bases FROM claim_changes WHERE transcript = ? AND number = ?",
            (claim.transcript, claim.number),
        ).fetchone()
        for claim in claims
    ]
    bases = _bases(db, path, claims)
    if all(row[1] == (base or "") for row, base in zip(rows, bases, strict=True)):
        return False
    try:
        contents = dict(objects.blobs(root, [base for base in bases if base]))
    except SurroundingsError:  # a partial clone: what is not here cannot be tried, and will be when it is
        contents = {}
    contents = {name: data for name, data in contents.items() if len(data) <= LARGEST}
    results = replayed((contents.get(base or ""), unpacked(row[0])) for row, base in zip(rows, bases, strict=True))
    algorithm = "sha256" if any(base and len(base) == 64 for base in bases) else "sha1"
    for claim, base, found in zip(claims, bases, results, strict=True):
        hashes = " ".join(hashlib.sha256(content).hexdigest() for content in found)
        blobs = " ".join(blob_id(content, algorithm) for content in found)
        tried = base if base in contents else ""
        db.execute(
            "UPDATE claim_changes SET bases = ?, hashes = ?, blobs = ? WHERE transcript = ? AND number = ?",
            (tried, hashes, blobs, claim.transcript, claim.number),
        )
    return True


def _bases(db: store.Connection, path: str, claims: list[PlacedClaim]) -> list[str | None]:
    """For each claim the blob that git had at the path when it was made: of the commits before it the last one's."""
    from mlos_sync.app.weighing import names_before

    history = sorted(
        row
        for name in names_before(db, path)
        for row in db.execute(
            "SELECT k.committed_at, k.authored_at, coalesce(c.blob, '') FROM commit_changes c"
            " JOIN commits k ON k.id = c.commit_id WHERE c.path = ?",
            (name,),
        )
    )
    found = []
    for claim in claims:
        before = [blob for committed, _, blob in history if claim.since is not None and committed < claim.since]
        found.append((before[-1] or None) if before else None)
    return found
