"""Files that are gone in such numbers that a transient state (a folder that is not mounted, a backup that is being put back) is
likelier than a wish."""

from __future__ import annotations

from collections.abc import Collection

from mlos_sync.app.opening import Index
from mlos_sync.core.changes import MASS, is_mass_disappearance
from mlos_sync.edge import git


def disappeared(index: Index, deleted: Collection[str], absent: Collection[str], *, is_known: bool) -> frozenset[str]:
    """Of what would be deleted, the files that are too many to be believed, or, where such `is_known` already, what is left of
    them. `absent` is what git's index has and nobody found. Git's own removals are no surprise: those paths are no longer in
    its index, and it keeps their contents."""
    if not is_known and (len(deleted) <= MASS or not is_mass_disappearance(len(deleted), _known(index))):
        return frozenset()
    blobs = dict(index.db.execute("SELECT file_path, blob FROM artifacts WHERE file_path IS NOT NULL").fetchall())
    kept = git.existing(
        index.workspace.root, [blobs[path] for path in deleted if path not in absent and blobs.get(path)]
    )
    surprising = frozenset(path for path in deleted if path in absent or blobs.get(path) not in kept)
    return surprising if is_known or is_mass_disappearance(len(surprising), len(blobs)) else frozenset()


def told(index: Index, lost: int) -> tuple[str, str]:
    """Message and hint."""
    return (
        f"{lost} of {_known(index)} artifacts have disappeared from disk, and git did not take them away",
        "bring the files back, or, if they are meant to be gone: mlos-sync sync --accept-deletes",
    )


def _known(index: Index) -> int:
    (known,) = index.db.execute("SELECT count(*) FROM artifacts WHERE file_path IS NOT NULL").fetchone()
    return int(known)
