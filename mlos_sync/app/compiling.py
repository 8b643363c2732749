"""Write compiled views: plan (what each would be, against what stands), then act (only what changed).

A view shows what `git add` of the work tree as it stands would commit: the files that git tracks, with the contents
that git would store for them, so that clones with other line ends or LFS settings compile the same bytes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mlos_sync.app.annotations import by_path, described
from mlos_sync.app.gathering import Content, File, Source, digest, document_of, file_of, note_of
from mlos_sync.app.opening import Index
from mlos_sync.app.viewing import compile_view
from mlos_sync.core import seal
from mlos_sync.core.guard import quoted
from mlos_sync.core.paths import shown
from mlos_sync.core.times import iso
from mlos_sync.edge import files, git, objects
from mlos_sync.edge.git import Tracked
from mlos_sync.edge.workspace import View
from mlos_sync.errors import RefusedError, SurroundingsError, UsageError

CURRENT, STALE, MISSING, EDITED = "current", "stale", "missing", "edited"
DISCARDED = "discarded"
_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A view as it should be and as it stands: current, stale (sealed, older), missing, or edited (not ours to
    overwrite without a word)."""

    path: str
    data: bytes
    on_disk: bytes | None
    state: str


def plan(index: Index, names: Iterable[str] = ()) -> list[Compiled]:
    """Every view of the config, or those whose paths are named, against what stands on disk. Writes nothing.

    The caller has brought the index up to date. Raises UsageError for a name that no view has.
    """
    chosen = _chosen(index.workspace.config.views, tuple(names))
    source = source_of(index) if chosen else None
    return [_compared(index, view, compile_view(source, view)) for view in chosen if source]


def compile_views(
    index: Index, names: Iterable[str] = (), discard: bool = False, *, resolve: bool = False
) -> tuple[list[str], list[str]]:
    """Write the views whose bytes change: (paths written, paths left alone).

    Raises RefusedError, before anything is written, when one was edited by hand; `discard` overwrites it and keeps
    the edit in the git directory; `resolve` overwrites those that a merge left unmerged (git keeps both sides).
    """
    planned = plan(index, names)
    edited = [one for one in planned if one.state == EDITED]
    if resolve and edited:
        tracked = git.tracked(index.workspace.root)
        edited = [one for one in edited if one.path not in tracked or tracked[one.path].tag != "M"]
    for one in edited:
        if one.on_disk is None:
            raise RefusedError(f"{shown(one.path)} is no regular file", "move it away, then run mlos-sync compile")
    if edited and not discard:
        listed = ", ".join(shown(one.path) for one in edited)
        raise RefusedError(
            f"edited by hand, nothing was written: {listed}",
            f"put the edit into the records: mlos-sync adopt {quoted(edited[0].path)}; or drop it: mlos-sync compile --discard"
            " (a copy is kept in the git directory)",
        )
    for one in edited:
        keep(index, one)
    written = [one for one in planned if one.state != CURRENT]
    for one in written:
        write(index, one)
    return [one.path for one in written], [one.path for one in planned if one.state == CURRENT]


def _chosen(views: tuple[View, ...], names: tuple[str, ...]) -> list[View]:
    by_path = {view.path: view for view in views}
    unknown = [name for name in names if name not in by_path]
    if unknown:
        listed = ", ".join(shown(path) for path in by_path) or "none; add a [[view]] to .mlos/config.toml"
        raise UsageError(f"there is no view {shown(unknown[0])}", f"views are: {listed}")
    return [view for view in views if not names or view.path in names]


def _compared(index: Index, view: View, data: bytes) -> Compiled:
    on_disk = files.read(index.workspace, view.path)
    if on_disk is None:
        there = os.path.lexists(index.workspace.absolute(view.path))
        return Compiled(view.path, data, None, EDITED if there else MISSING)
    if on_disk.replace(b"\r\n", b"\n") == data:  # git may write CRLF on checkout; the seal reads it the same way
        return Compiled(view.path, data, on_disk, CURRENT)
    sealed = seal.check(on_disk).state == seal.VALID
    return Compiled(view.path, data, on_disk, STALE if sealed else EDITED)


def write(index: Index, one: Compiled) -> None:
    """Put a view where it belongs, whatever stands there."""
    files.write(index.workspace.root, one.path, one.data)


def keep(index: Index, one: Compiled) -> str:
    """Put a hand edit beside the database, under a name that nothing else has. Returns the copy's absolute path."""
    stamp = iso(int(time.time() * 1000)).replace(":", "")
    stem = f"{DISCARDED}/{stamp}-{one.path.rpartition('/')[2]}"
    name, number = stem, 1
    while os.path.lexists(os.path.join(index.workspace.state, name)):
        name, number = f"{stem}.{number}", number + 1
    files.write(index.workspace.state, name, one.on_disk or b"", mode=0o600)
    return os.path.join(index.workspace.state, name)


def source_of(index: Index) -> Source:
    """The live index as a source of views: tracked files only, with the contents that git would store."""
    db, root = index.db, index.workspace.root
    tracked = git.tracked(root)
    said = by_path(db)
    found: dict[str, File] = {}
    blobs: dict[str, str | None] = {}
    for path, own, blob in db.execute("SELECT file_path, own, blob FROM artifacts WHERE file_path IS NOT NULL"):
        if path in tracked:
            told = described(path, json.loads(own or "{}"), said.get(path, {}))
            note = note_of(tracked[path].mode)
            found[path] = File(told["title"], told["description"] or "", told["artifact_type"], note)
            blobs[path] = blob
    found |= _left_out(index, tracked, found)
    return Source(db, index.workspace.config, found, _reader(index, tracked, blobs))


def _left_out(index: Index, tracked: Mapping[str, Tracked], found: Mapping[str, File]) -> dict[str, File]:
    """Files that a sparse checkout leaves out are in the tree all the same."""
    sparse = [path for path, entry in tracked.items() if entry.tag == "S" and path not in found]
    paths = files.ignore_rule(index.workspace)[0](sparse) if sparse else []
    names = list(dict.fromkeys(tracked[path].blob for path in paths if tracked[path].mode != "120000"))
    heads = dict(objects.heads(index.workspace.root, names)) if paths else {}
    said = by_path(index.db) if paths else {}
    documents = {path: document_of(path, heads.get(tracked[path].blob, b"")) for path in paths}
    return {path: file_of(path, tracked[path].mode, documents[path], said.get(path, {})) for path in paths}


def _reader(
    index: Index, tracked: Mapping[str, Tracked], blobs: Mapping[str, str | None]
) -> Callable[[str], Content | None]:
    """Contents as git would store them: where the work tree differs from git's index by line ends or by an LFS
    pointer alone, git's version stands for the file."""
    workspace = index.workspace

    def read(path: str) -> Content | None:
        entry = tracked[path]
        if blobs.get(path, entry.blob) == entry.blob:
            return digest(objects.pieces(workspace.root, entry.blob))
        try:
            work = digest(objects.file_pieces(workspace.absolute(path)))
        except OSError:
            return None
        try:
            staged = digest(objects.pieces(workspace.root, entry.blob))
        except SurroundingsError:
            return work
        return staged if staged.folded == work.folded or is_pointer_to(staged.head, work.sha256) else work

    return read


def is_pointer_to(data: bytes, sha256: str) -> bool:
    """Whether these bytes are what Git LFS stores in place of a file with that hash."""
    return data.startswith(_POINTER) and b"oid sha256:" + sha256.encode() in data
