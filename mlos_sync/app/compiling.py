"""Write compiled views: plan (what each would be, against what stands), then act (only what changed).

A view shows what `git add` of the work tree as it stands would commit: the files that git tracks, with the contents
that git would store for them, so that clones with other line ends or LFS settings compile the same bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from mlos_sync.app import viewing
from mlos_sync.app.annotations import by_path, described
from mlos_sync.app.gathering import Content, File, Records, Source, digest, document_of, file_of, note_of
from mlos_sync.app.opening import Index
from mlos_sync.app.viewing import compile_view, is_withheld
from mlos_sync.core import seal, views
from mlos_sync.core.guard import has_conflict_markers, quoted
from mlos_sync.core.paths import shown
from mlos_sync.core.times import iso
from mlos_sync.edge import files, git, objects, settings
from mlos_sync.edge.git import Tracked
from mlos_sync.edge.memory import without_cycle_search
from mlos_sync.edge.workspace import View, own_template
from mlos_sync.errors import RefusedError, SurroundingsError, UsageError

CURRENT, STALE, MISSING, EDITED, WITHHELD = "current", "stale", "missing", "edited", "withheld"
DISCARDED = "discarded"
SEALS = "compiled"
KEPT_SEALS = 4096
_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A view as it should be and as it stands: current, stale (sealed, older), missing, edited (not ours to overwrite
    without a word), or withheld (its template may not run here, so what it should be is not known: `data` is None).
    `unlisted` are files that it would list if git tracked them."""

    path: str
    data: bytes | None
    on_disk: bytes | None
    state: str
    unlisted: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """What a compile did: path -> bytes written, paths left alone, and the files that no index lists yet."""

    written: dict[str, bytes]
    unchanged: list[str]
    unlisted: list[str]


def plan(index: Index, names: Iterable[str] = (), *, writes: bool = False) -> list[Compiled]:
    """Every view of the config, or those whose paths are named, against what stands on disk. Writes nothing; where the caller
    `writes`, compiled templates may be kept.

    The caller has brought the index up to date. Raises UsageError for a name that no view has.
    """
    chosen = _chosen(index.workspace.config.views, tuple(names))
    if not chosen:
        return []
    with source_of(index, writes=writes) as source, without_cycle_search():
        return [
            replace(
                _compared(index, source, view, None if is_withheld(source, view) else compile_view(source, view)),
                unlisted=viewing.unlisted(source, view),
            )
            for view in chosen
        ]


def compile_views(index: Index, names: Iterable[str] = (), discard: bool = False, *, resolve: bool = False) -> Outcome:
    """Write the views whose bytes change.

    Raises RefusedError, before anything is written, when one was edited by hand; `discard` overwrites it and keeps
    the edit in the git directory; `resolve` does that with those that a merge left in conflict, and tells git that they are
    merged. One that somebody edits in the meantime is left to him, and the error comes when the others are written.
    """
    planned = plan(index, names, writes=True)
    unmerged = _unmerged(index, planned) if resolve else set()
    edited = [one for one in planned if one.state == EDITED]
    _refuse_unless(edited, lambda one: discard or one.path in unmerged)
    for one in planned:
        if one in edited or one.path in unmerged:
            keep(index, one)
    written, refused = {}, None
    for one in planned:
        if one.data is None or (one.state == CURRENT and one.path not in unmerged):
            continue
        try:
            written[one.path] = write(index, one)
        except RefusedError as error:
            refused = error
            continue
        if one.path in unmerged:
            git.stage_blob(index.workspace.root, one.path, git.write_blob(index.workspace.root, one.data))
    if refused is not None:
        raise refused
    return Outcome(
        written,
        [one.path for one in planned if one.state == CURRENT and one.path not in unmerged],
        sorted({path for one in planned for path in one.unlisted}),
    )


def freshen(index: Index, may_write: Callable[[], bool]) -> tuple[list[str], bool]:
    """Write the views that are out of date, and no other: neither one that was edited by hand, also while we compile, nor one
    that is not there; and none any more once `may_write`, which is asked before each, says no. Returns their paths, and
    whether all were written. For a watcher, which asks nobody."""
    stale = [one for one in plan(index, writes=True) if one.state == STALE]
    written: list[str] = []
    for one in stale:
        if not may_write():
            return written, False
        with contextlib.suppress(RefusedError):  # somebody was faster
            write(index, one)
            written.append(one.path)
    return written, len(written) == len(stale)


def _unmerged(index: Index, planned: Iterable[Compiled]) -> set[str]:
    """The views that a merge left in conflict, also those that were marked as merged with the conflict still in them."""
    tracked = git.tracked(index.workspace.root)
    return {
        one.path
        for one in planned
        if (one.path in tracked and tracked[one.path].tag == "M")
        or (one.on_disk is not None and has_conflict_markers(one.on_disk))
    }


def _refuse_unless(edited: list[Compiled], may_go: Callable[[Compiled], bool]) -> None:
    """Raises RefusedError for views that are not ours to write over."""
    for one in edited:
        if one.on_disk is None:
            raise RefusedError(f"{shown(one.path)} is no regular file", "move it away, then run mlos-sync compile")
        if one.data is None:
            raise RefusedError(f"{shown(one.path)} was edited by hand, and {viewing.WITHHELD}", viewing.ALLOW)
    left = [one for one in edited if not may_go(one)]
    if not left:
        return
    listed = ", ".join(shown(one.path) for one in left)
    if any(has_conflict_markers(one.on_disk or b"") for one in left):
        raise RefusedError(
            f"in conflict after a merge, nothing was written: {listed}",
            "write them anew, a copy is kept: mlos-sync compile --resolve",
        )
    raise RefusedError(
        f"edited by hand, nothing was written: {listed}",
        f"put the edit into the records: mlos-sync adopt {quoted(left[0].path)}; or drop it: mlos-sync compile --discard"
        " (a copy is kept in the git directory)",
    )


def _ended_alike(data: bytes, before: bytes | None) -> bytes:
    """A view's bytes with the line ends of the file that stands there: where git writes CRLF, an editor shows no mixture."""
    crlf = before is not None and 0 < before.count(b"\r\n") == before.count(b"\n")
    return data.replace(b"\n", b"\r\n") if crlf else data


def note_compiled(common: str, *made: bytes) -> None:
    """Remember the seals of what was compiled in this repository, so that a commit can tell an older compile from a forgery.
    `common` is our folder in the common git directory; the last few thousand are kept."""
    name = os.path.join(common, SEALS)
    known = seals(common)
    new = [one for one in map(seal.digest_of, made) if one not in known]
    if len(known) > 2 * KEPT_SEALS:
        files.write(common, SEALS, "".join(f"{one}\n" for one in [*known[-KEPT_SEALS:], *new]).encode(), mode=0o600)
    elif new:
        with open(os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "a") as file:
            file.write("".join(f"{one}\n" for one in new))


def seals(common: str) -> list[str]:
    """The seals of what was compiled in this repository, oldest first."""
    try:
        with open(os.path.join(common, SEALS), encoding="ascii", errors="replace") as file:
            return file.read().split("\n")[:-1]
    except FileNotFoundError:
        return []


def withheld(index: Index, names: Iterable[str] = ()) -> list[str]:
    """The views, of those named or of all, that are not compiled because the tree's own template may not run here."""
    chosen = _chosen(index.workspace.config.views, tuple(names))
    if not any(os.path.lexists(index.workspace.absolute(own_template(view.kind))) for view in chosen):
        return []  # as nearly everywhere, and git need not list its index for that
    own = _own_templates(index, git.tracked(index.workspace.root))
    return [view.path for view in chosen if own.get(view.kind, "") is None]


def _chosen(views: tuple[View, ...], names: tuple[str, ...]) -> list[View]:
    by_path = {view.path: view for view in views}
    unknown = [name for name in names if name not in by_path]
    if unknown:
        listed = ", ".join(shown(path) for path in by_path) or "none; add a [[view]] to .mlos/config.toml"
        raise UsageError(f"there is no view {shown(unknown[0])}", f"views are: {listed}")
    return [view for view in views if not names or view.path in names]


def _compared(index: Index, source: Source, view: View, data: bytes | None) -> Compiled:
    on_disk = files.read(index.workspace, view.path)
    if on_disk is None:
        there = os.path.lexists(index.workspace.absolute(view.path))
        if not there and view.path in source.sparse:
            return Compiled(view.path, data, None, CURRENT)  # somebody wants it out of the work tree
        state = EDITED if there else MISSING if data is not None else WITHHELD
        return Compiled(view.path, data, None, state)
    if on_disk.replace(b"\r\n", b"\n") == data:  # git may write CRLF on checkout; the seal reads it the same way
        return Compiled(view.path, data, on_disk, CURRENT)
    sealed = seal.check(on_disk).state == seal.VALID
    return Compiled(view.path, data, on_disk, EDITED if not sealed else STALE if data is not None else WITHHELD)


def write(index: Index, one: Compiled) -> bytes:
    """Put a view whose `data` is known where it belongs. Returns the file's bytes. Raises RefusedError where the file is no
    longer the one that was looked at: to compile many takes a second, and an edit of that second is an edit like any."""
    data = one.data or b""
    note_compiled(index.workspace.common, data)  # first: what stands on disk is known to be ours
    ended = _ended_alike(data, one.on_disk)

    def check() -> None:
        if files.read(index.workspace, one.path) != one.on_disk:
            raise RefusedError(f"{shown(one.path)} was changed meanwhile, it was not written", "run it again")

    files.write(index.workspace.root, one.path, ended, check=check)
    return ended


def keep(index: Index, one: Compiled) -> str:
    """Put a hand edit beside the database, under a name that nothing else has. Returns the copy's absolute path."""
    stamp = iso(int(time.time() * 1000)).replace(":", "")
    stem = f"{DISCARDED}/{stamp}-{one.path.rpartition('/')[2]}"
    name, number = stem, 1
    while os.path.lexists(os.path.join(index.workspace.state, name)):
        name, number = f"{stem}.{number}", number + 1
    files.write(index.workspace.state, name, one.on_disk or b"", mode=0o600)
    return os.path.join(index.workspace.state, name)


@contextlib.contextmanager
def source_of(index: Index, *, writes: bool = False) -> Iterator[Source]:
    """The live index as a source of views: tracked files only, with the contents that git would store; where only a program
    of somebody's could say what that is, or git was told not to look at the work tree, with those that it has stored."""
    db, root = index.db, index.workspace.root
    tracked = git.tracked(root)
    said = by_path(db)
    found: dict[str, File] = {}
    blobs: dict[str, str | None] = {}
    untracked: list[str] = []
    for path, own, blob in db.execute("SELECT file_path, own, blob FROM artifacts WHERE file_path IS NOT NULL"):
        if path in tracked:
            told = described(path, json.loads(own or "{}"), said.get(path, {}))
            note = note_of(tracked[path].mode)
            found[path] = File(told["title"], told["description"] or "", told["artifact_type"], note)
            blobs[path] = blob
        else:
            untracked.append(path)
    as_stored = _as_stored(index, tracked, blobs)
    found |= as_stored
    blobs = {path: blob for path, blob in blobs.items() if path not in as_stored}
    own = _own_templates(index, tracked)
    sparse = frozenset(path for path, entry in tracked.items() if entry.tag == "S")
    state = index.workspace.state
    cache = views.Cache(state, grows=writes and os.access(state, os.W_OK))
    with objects.Blobs(root) as stored:
        read = _reader(index, stored, tracked, blobs)
        yield Source(Records(db), index.workspace.config, found, read, own, cache, sparse, tuple(untracked))


def _own_templates(index: Index, tracked: Mapping[str, Tracked]) -> dict[str, str | None]:
    """The workspace's own templates as git would store them, by kind of view; None where this clone runs none."""
    found: dict[str, str | None] = {}
    for kind in dict.fromkeys(view.kind for view in index.workspace.config.views):
        path = own_template(kind)
        there = os.path.lexists(index.workspace.absolute(path))
        if not there:
            continue
        data = files.read(index.workspace, path)
        if data is None:
            raise UsageError(f"{path} is no regular file", "a template is a file; links are not followed")
        if path not in tracked:
            raise UsageError(f"{path} is not tracked, so no other clone would compile the same", f"git add {path}")
        found[kind] = text_of_template(path, data) if settings.allows_templates(index.workspace.root) else None
    return found


def text_of_template(path: str, data: bytes) -> str:
    """A template's text, line ends as git stores them. Raises UsageError where it is no UTF-8."""
    try:
        return data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start})", "save the file as UTF-8") from None


def _as_stored(index: Index, tracked: Mapping[str, Tracked], blobs: Mapping[str, str | None]) -> dict[str, File]:
    """The files that are told by git's index, as the work tree (`blobs`) differs and does not say what git would store: left
    out by a sparse checkout, marked skip-worktree or assume-unchanged, or behind a filter, `ident` or an encoding."""
    root = index.workspace.root
    marked = {path for path, entry in tracked.items() if entry.tag == "S" or entry.assumed}
    absent = [path for path in marked if path not in blobs]
    differing = [path for path, blob in blobs.items() if blob != tracked[path].blob]
    paths = files.ignore_rule(index.workspace)[0](absent) if absent else []
    paths += [path for path in differing if path in marked]
    paths += git.converted(root, [path for path in differing if path not in marked])
    names = list(dict.fromkeys(tracked[path].blob for path in paths if tracked[path].mode != "120000"))
    heads = dict(objects.heads(root, names)) if paths else {}
    said = by_path(index.db) if paths else {}
    documents = {path: document_of(path, heads.get(tracked[path].blob, b"")) for path in paths}
    return {path: file_of(path, tracked[path].mode, documents[path], said.get(path, {})) for path in paths}


def _reader(
    index: Index, stored: objects.Blobs, tracked: Mapping[str, Tracked], blobs: Mapping[str, str | None]
) -> Callable[[str], Content | None]:
    """Contents as git would store them: where the work tree differs from git's index by line ends or by an LFS
    pointer alone, git's version stands for the file."""
    workspace = index.workspace

    def read(path: str) -> Content | None:
        entry = tracked[path]
        if blobs.get(path, entry.blob) == entry.blob:
            return digest(stored.pieces(entry.blob))
        try:
            work = digest(objects.file_pieces(workspace.absolute(path)))
        except OSError:
            return None
        try:
            staged = digest(stored.pieces(entry.blob))
        except SurroundingsError:
            return work
        return staged if staged.folded == work.folded or is_pointer_to(staged.head, work.sha256) else work

    return read


def is_pointer_to(data: bytes, sha256: str) -> bool:
    """Whether these bytes are what Git LFS stores in place of a file with that hash."""
    return data.startswith(_POINTER) and b"oid sha256:" + sha256.encode() in data
