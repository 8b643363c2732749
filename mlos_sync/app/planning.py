"""What a walk found, what it means, and what has to be read for that: no lock is held, nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from mlos_sync.app import missing, statcache
from mlos_sync.app.opening import Index
from mlos_sync.core import transcripts
from mlos_sync.core.changes import (
    EMPTY,
    EVERYWHERE,
    FEW,
    Changes,
    Comparison,
    Hashed,
    Reach,
    compare,
    plan,
)
from mlos_sync.core.frontmatter import FrontmatterError
from mlos_sync.core.frontmatter import read as read_frontmatter
from mlos_sync.core.split import split
from mlos_sync.edge import files, git, hashing, operations, store
from mlos_sync.edge.hash_worker import LIMIT
from mlos_sync.edge.workspace import Workspace
from mlos_sync.errors import RefusedError, SurroundingsError, UsageError

Progress = Callable[[int, int], None]
# Bytes that may be read while somebody waits: 50 ms of hashing, a quarter of a second of transcripts.
AT_ONCE = 16 << 20
EACH = 8192  # bytes that could be read while a file is opened and recorded
# What was skipped where git had its index locked, so that what is missing was not believed to be gone.
AT_WORK = "index.lock"
ALL = "."  # what stands for the whole tree among what was skipped


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says of itself. `problem` names a frontmatter that was refused, with its line."""

    title: str | None = None
    description: str | None = None
    source_transcript: str | None = None
    is_transcript: bool = False
    problem: str | None = None


@dataclass(slots=True)
class Plan:
    """What a walk found and what it means; nothing is written yet.

    `skipped` holds what this walk could not look at, `problems` what is wrong with contents that were read.
    """

    generation: str
    changes: Changes
    hashed: dict[str, Hashed] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    # New path -> tracked path that is missing, of the same content.
    origins: dict[str, str] = field(default_factory=dict)
    # What was left out: what would have taken long to read, and what is gone and may be what could not be read.
    left: frozenset[str] = frozenset()
    moves: tuple[object, ...] = ()  # see `operations.moves`, before anything was looked at
    unsure: frozenset[str] = frozenset()  # what this walk missed and took for there, as git was at work


def describe(path: str, head: bytes) -> Document | None:
    """What the head of a file says; None for a file that says nothing."""
    if not head:
        return None
    block = split(head)
    if block is None:
        return Document(is_transcript=True) if transcripts.recognise(head) else None
    try:
        fields = read_frontmatter(bytes(block.text))
    except FrontmatterError as error:
        return Document(problem=f"frontmatter refused, line {error.line}: {error.message}")
    texts = {key: value for key, value in fields.items() if isinstance(value, str) and value.strip()}
    return Document(texts.get("title"), texts.get("desc") or texts.get("description"), texts.get("source_transcript"))


def survey(index: Index, reach: Reach = EVERYWHERE, *, trusting: bool = False) -> tuple[files.Observed, Comparison]:
    """Walk as far as the reach goes and compare by stat: what `status` shows and what `sync` hashes. `trusting` takes a
    stat's word even where the racy rule says to hash once more."""
    if reach.paths is None:
        observed, known = files.observe(index.workspace, lambda: statcache.every(index.db))
    else:
        known = statcache.at(index.db, reach.paths)
        counts = partial(statcache.has, known) if reach.heard else lambda _: False
        observed = files.observe_at(index.workspace, reach.paths, counts)
    if trusting:
        known = {
            folder: {name: (*stat[:4], abs(stat[4])) for name, stat in names.items()} for folder, names in known.items()
        }
    unknown = observed.unknown | observed.odd
    if observed.absent and files.is_git_at_work(index.workspace):
        count = len(observed.absent)
        observed.remarks[AT_WORK] = (
            f"git is at work, or its lock was left behind: {count} missing files were not looked for"
        )
        unknown = unknown | observed.absent
    return observed, compare(observed.files, known, unknown)


def prepare(
    index: Index,
    reach: Reach = EVERYWHERE,
    *,
    accept_deletes: bool = False,
    withholds: bool = False,
    progress: Progress | None = None,
    kept: hashing.Kept | None = None,
    at_most: int | None = None,
    before: Plan | None = None,
) -> Plan:
    """The plan of a sync. Reads and hashes files (by a worker that is `kept`, where there is one); writes nothing. Where that
    would be more than `at_most` bytes, the largest are left out. What a plan made `before` hashed, and what is unchanged since
    by its stat, is not read again. Raises RefusedError on a mass disappearance; one who `withholds` gets the plan without
    those files, and is told in `skipped`."""
    moves = operations.moves(index.workspace.git_dir)
    generation = store.get(index.db, "generation", "0")
    observed, comparison = survey(index, reach)
    result = Plan(generation, Changes(), moves=moves)
    stood = _skipped(index.db) if reach.paths is not None else {}  # what is not looked at now stands as it was
    result.skipped = {path: reason for path, reason in stood.items() if not reach.covers(path)}
    result.unsure = frozenset(observed.absent if AT_WORK in observed.remarks else ())
    seen = observed.unknown | observed.odd | observed.remarks
    result.skipped |= {path: reason for path, reason in seen.items() if reason != files.SPARSE}
    root, algorithm = index.workspace.root, object_format(index)
    known = _known_hashes(index.db, comparison)
    sizes = _unread(result, observed, comparison, before)
    left = _left(index, sizes, at_most)
    unread = set(left)
    wanted = [path for path in sizes if path not in left]
    total = len(wanted)
    for number, (path, answer) in enumerate(hashing.hash_files(root, wanted, algorithm, kept), 1):
        if not isinstance(answer, str):
            _take(result, path, answer)
        elif files.is_there(index.workspace, path):
            result.skipped[path] = answer
        else:  # it went meanwhile
            unread.add(path)
        if progress and number % 500 == 0:
            progress(number, total)
    result.changes = plan(comparison, result.hashed, known)
    result.left = left
    if not unread <= known.keys():  # what is gone may have gone there
        result.left |= set(result.changes.deleted)
        result.changes = replace(result.changes, deleted=())
    if result.changes.added:
        found = _origins(result, observed.absent | git.staged_away(root))
        old = git.blobs_at(root, "HEAD", found) if found else {}  # a file that was there before came from nowhere
        result.origins = {new: path for new, path in found.items() if new not in old}
    if not accept_deletes:
        _hold_back(index, result, observed, withholds=withholds, is_partial=reach.paths is not None)
    return result


def _unread(result: Plan, observed: files.Observed, comparison: Comparison, before: Plan | None) -> dict[str, int]:
    """Path -> what it costs, in bytes to read, of what must be hashed. What an earlier plan hashed, and is the same by its
    stat, goes into the plan as it is (a stat that the racy rule distrusts equals none that is seen)."""
    sizes = {}
    for path in comparison.suspect:
        folder, _, name = path.rpartition("/")
        seen = observed.files[folder][name]
        known = before.hashed.get(path) if before is not None else None
        if before is None or known is None or known.stat != seen:
            sizes[path] = EACH + (seen[0] if seen[0] <= LIMIT else 0)
            continue
        result.hashed[path] = known
        if path in before.documents:
            result.documents[path] = before.documents[path]
        if path in before.problems:
            result.problems[path] = before.problems[path]
    return sizes


def _left(index: Index, sizes: Mapping[str, int], at_most: int | None) -> frozenset[str]:
    """What is left out, so that what is read is `at_most` bytes: the largest files, or all where that are so many that all
    is looked at later anyhow; but no views, of whose edits somebody shall hear at once."""
    left, found = sum(sizes.values()), set()
    if at_most is None or left <= at_most:
        return frozenset()
    views = {view.path for view in index.workspace.config.views}
    for path in sorted(sizes.keys() - views, key=lambda path: sizes[path], reverse=True):
        if left <= at_most:
            break
        found.add(path)
        left -= sizes[path]
    return frozenset(found if len(found) <= FEW else sizes.keys() - views)


def _hold_back(index: Index, result: Plan, observed: files.Observed, *, withholds: bool, is_partial: bool) -> None:
    """Leave files out of what was deleted that nobody can believe to be, or refuse all. What was withheld once stays so until
    all is there, piece by piece as it may come back, or somebody has said that it went."""
    is_known = withholds and ALL in _skipped(index.db)
    missed = missing.disappeared(index, result.changes.deleted, observed.absent, is_known=is_known)
    if not missed:
        return
    words, hint = missing.told(index, len(missed))
    if not withholds:
        raise RefusedError(words, hint)
    result.changes = replace(result.changes, deleted=tuple(p for p in result.changes.deleted if p not in missed))
    if not (is_known and is_partial):  # some paths alone do not tell how many
        result.skipped[ALL] = f"{words}: nothing is taken for gone ({hint})"


def _take(result: Plan, path: str, answer: Hashed) -> None:
    """Put a file's hashes into a plan, and what its head says."""
    document = describe(path, answer.head)
    if document is not None:
        result.documents[path] = document
        if document.problem:
            result.problems[path] = document.problem
    result.hashed[path] = Hashed(answer.sha256, answer.blob, answer.stat, answer.when) if answer.head else answer


def of_written(index: Index, written: Mapping[str, bytes]) -> Plan | None:
    """The plan for files that we have just put into place ourselves, without a walk and without reading them again. None
    where the index does not know all of them (whether they count is for a walk to say), or one is another by now."""
    known = _known_hashes(index.db, Comparison(list(written)))
    hashed = dict(hashing.hash_written(index.workspace.root, written, object_format(index)))
    if not known.keys() == hashed.keys() == written.keys():
        return None
    result = Plan(store.get(index.db, "generation", "0"), Changes())
    result.skipped = _skipped(index.db)
    for path, answer in hashed.items():
        _take(result, path, answer)
    result.changes = plan(Comparison(list(written)), result.hashed, known)
    return result


def _skipped(db: store.Connection) -> dict[str, str]:
    return dict(db.execute("SELECT subject, message FROM observations WHERE kind = 'walk'").fetchall())


def _origins(result: Plan, gone: dict[str, str]) -> dict[str, str]:
    """Moves that no commit tells yet, seen without an index that knew the file before: a path of HEAD (with its blob) is
    gone, and a new file has its content. So an index made anew resolves the old path as the one before it did."""
    missing = {blob: path for path, blob in sorted(gone.items(), reverse=True)}
    return {
        path: missing[result.hashed[path].blob]
        for path in result.changes.added
        if result.hashed[path].blob in missing and result.hashed[path].sha256 != EMPTY
    }


def _known_hashes(db: store.Connection, comparison: Comparison) -> dict[str, str]:
    wanted = set(comparison.suspect) | set(comparison.gone)
    if not wanted:
        return {}
    sql = "SELECT file_path, content_hash FROM artifacts WHERE file_path"
    if len(wanted) <= FEW:
        return dict(row for path in wanted for row in db.execute(f"{sql} = ?", (path,)).fetchall())
    return {path: content for path, content in db.execute(f"{sql} IS NOT NULL") if path in wanted}


def object_format(index: Index) -> str:
    """sha1 or sha256, as git stores objects here; asked once."""
    known = store.get(index.db, "object_format")
    if known:
        return known
    return git.run(index.workspace.root, "rev-parse", "--show-object-format").decode().strip() or "sha1"


def check_scope(index: Index, scope: tuple[str, ...]) -> None:
    """Each path that sync was asked for is on disk or in the index. Raises UsageError."""
    known = "SELECT 1 FROM artifacts WHERE file_path = ?1 OR file_path GLOB ?2 LIMIT 1"
    for path in scope:
        below = path.replace("[", "[[]") + "/*"
        on_disk = not path or os.path.lexists(index.workspace.absolute(path))
        if not on_disk and not index.db.execute(known, (path, below)).fetchone():
            raise UsageError(f"there is no {path}, on disk or in the index", "check the path, or name none")


def check_root(workspace: Workspace) -> None:
    """The marker must still be there: a root that was unmounted is no mass deletion."""
    if files.read(workspace, ".mlos/config.toml") is None:
        raise SurroundingsError(".mlos/config.toml has gone", "mount or restore the workspace; nothing was changed")
