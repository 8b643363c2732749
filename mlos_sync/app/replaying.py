"""Changes whose base only git knows: replayed on the blobs that commits put at that path. What comes out is remembered,
with the bases that were tried, and tried again only when there are others. Callers are in a transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from mlos_sync.core.provenance import PlacedClaim, could_follow
from mlos_sync.core.transcripts.replay import replayed, unpacked
from mlos_sync.edge import git, store
from mlos_sync.edge.transcript_worker import blob_id
from mlos_sync.errors import SurroundingsError

BASES = 16  # blobs that are tried for one file of one session: the newest that were there before
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
    rows = {
        (claim.transcript, claim.number): db.execute(
            "SELECT changes, bases FROM claim_changes WHERE transcript = ? AND number = ?",
            (claim.transcript, claim.number),
        ).fetchone()
        for claim in claims
    }
    bases = _bases(db, path, claims[-1].at)
    told = " ".join(bases)
    if all(row[1] == told for row in rows.values()) or not bases:
        return False
    try:
        contents = [data for _, data in git.blobs(root, bases) if len(data) <= LARGEST]
    except SurroundingsError:  # a partial clone: what is not here cannot be tried
        contents = []
    results = replayed(contents, [unpacked(row[0]) for row in rows.values()])
    algorithm = "sha1" if len(bases[0]) == 40 else "sha256"
    for key, found in zip(rows, results, strict=True):
        hashes = " ".join(hashlib.sha256(content).hexdigest() for content in found)
        blobs = " ".join(blob_id(content, algorithm) for content in found)
        db.execute(
            "UPDATE claim_changes SET bases = ?, hashes = ?, blobs = ? WHERE transcript = ? AND number = ?",
            (told, hashes, blobs, *key),
        )
    return True


def _bases(db: store.Connection, path: str, at: str | None) -> list[str]:
    """Blobs that commits put at the path, newest first, those that were surely not there yet when the session ended with
    it left out."""
    from mlos_sync.app.weighing import names_before

    found: dict[str, str] = {}
    for name in names_before(db, path):
        for blob, committed in db.execute(
            "SELECT c.blob, min(k.committed_at) FROM commit_changes c JOIN commits k ON k.id = c.commit_id"
            " WHERE c.path = ? AND c.blob IS NOT NULL GROUP BY c.blob",
            (name,),
        ):
            # What was committed after the last change may hold it already; before, it can be what was changed.
            if at is None or not could_follow(at, committed) or committed <= at:
                found.setdefault(blob, committed)
    return sorted(found, key=lambda blob: (found[blob], blob), reverse=True)[:BASES]
