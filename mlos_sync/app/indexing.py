"""Files into the index: plan (walk, compare, hash: no lock held), then apply (one transaction)."""

from __future__ import annotations

import json
import marshal
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from mlos_sync.app import dating, missing
from mlos_sync.app.opening import Index, writing
from mlos_sync.core import transcripts
from mlos_sync.core.changes import (
    EMPTY,
    EVERYWHERE,
    FEW,
    Changes,
    Comparison,
    Hashed,
    Reach,
    Stat,
    Stats,
    by_folder,
    compare,
    is_covered,
    plan,
)
from mlos_sync.core.frontmatter import FrontmatterError
from mlos_sync.core.frontmatter import read as read_frontmatter
from mlos_sync.core.ids import derived_uid
from mlos_sync.core.paths import artifact_type
from mlos_sync.core.split import split
from mlos_sync.core.times import iso
from mlos_sync.edge import files, git, hashing, store
from mlos_sync.edge.workspace import Workspace
from mlos_sync.errors import RefusedError, SurroundingsError, UsageError

GONE: Stat = (0, 0, 0, 0, 0)
Progress = Callable[[int, int], None]
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
    origins: dict[str, str] = field(
        default_factory=dict
    )  # new path -> tracked path that is missing, of the same content


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
        observed, known = files.observe(index.workspace, lambda: known_stats(index.db))
    else:
        known = _known_at(index.db, reach.paths)
        observed = files.observe_at(index.workspace, reach.paths, partial(_has, known))
    if trusting:
        known = {
            folder: {name: (*stat[:4], abs(stat[4])) for name, stat in names.items()} for folder, names in known.items()
        }
    unknown = observed.unknown | observed.odd
    if observed.absent and files.is_git_at_work(index.workspace):
        count = len(observed.absent)
        observed.remarks["index.lock"] = (
            f"git is at work, or its lock was left behind: {count} missing files were not looked for"
        )
        unknown = unknown | observed.absent
    return observed, compare(observed.files, known, unknown)


def known_stats(db: store.Connection) -> Stats:
    """The stat cache. A folder whose row cannot be read (another Python wrote it) counts as unknown: hashed again."""
    return {folder: _unpacked(data) for folder, data in db.execute("SELECT path, stats FROM folders")}


def _known_at(db: store.Connection, paths: Iterable[str]) -> Stats:
    """The stat cache of some files, and of all below some folders."""
    found: Stats = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        row = db.execute("SELECT stats FROM folders WHERE path = ?", (folder,)).fetchone()
        if row and name in (names := _unpacked(row[0])):
            found.setdefault(folder, {})[name] = names[name]
        below = "SELECT path, stats FROM folders WHERE path = ?1 OR (path > ?1 || '/' AND path < ?1 || '0')"
        for inside, data in db.execute(below, (path,)):
            found.setdefault(inside, {}).update(_unpacked(data))
    return found


def _has(known: Stats, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return name in known.get(folder, {})


def _unpacked(data: bytes) -> dict[str, Stat]:
    try:
        found = marshal.loads(data)  # noqa: S302 - our own cache, in a database that only its owner can write
    except (ValueError, EOFError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def prepare(
    index: Index,
    reach: Reach = EVERYWHERE,
    *,
    accept_deletes: bool = False,
    withholds: bool = False,
    progress: Progress | None = None,
    kept: hashing.Kept | None = None,
) -> Plan:
    """The plan of a sync. Reads and hashes files (by a worker that is `kept`, where there is one); writes nothing. Raises
    RefusedError on a mass disappearance; one who `withholds` gets the plan without those files, and is told in `skipped`."""
    generation = store.get(index.db, "generation", "0")
    observed, comparison = survey(index, reach)
    result = Plan(generation, Changes())
    before = _skipped(index.db) if reach.paths is not None else {}  # what is not looked at now stands as it was
    result.skipped = {path: reason for path, reason in before.items() if not reach.covers(path)}
    seen = observed.unknown | observed.odd | observed.remarks
    result.skipped |= {path: reason for path, reason in seen.items() if reason != files.SPARSE}
    root, algorithm = index.workspace.root, object_format(index)
    total = len(comparison.suspect)
    for number, (path, answer) in enumerate(hashing.hash_files(root, comparison.suspect, algorithm, kept), 1):
        if isinstance(answer, str):
            result.skipped[path] = answer
        else:
            _take(result, path, answer)
        if progress and number % 500 == 0:
            progress(number, total)
    result.changes = plan(comparison, result.hashed, _known_hashes(index.db, comparison))
    if result.changes.added:
        found = _origins(result, observed.absent | git.staged_away(root))
        old = git.blobs_at(root, "HEAD", found) if found else {}  # a file that was there before came from nowhere
        result.origins = {new: path for new, path in found.items() if new not in old}
    if not accept_deletes:
        _hold_back(index, result, observed, withholds=withholds, is_partial=reach.paths is not None)
    return result


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


def apply(index: Index, result: Plan) -> None:
    """Write a plan's changes, inside the caller's transaction with capture off."""
    db, changes = index.db, result.changes
    now = iso(int(time.time() * 1000))
    for old, new in changes.moved:
        _move(db, old, new)
    changed = [*changes.modified, *(new for _, new in changes.moved)]
    db.executemany(
        "INSERT INTO artifact_versions(artifact_id, content_hash, until)"
        " SELECT id, content_hash, ? FROM artifacts WHERE file_path = ? AND content_hash IS NOT NULL AND content_hash <> ?",
        [(now, path, result.hashed[path].sha256) for path in changes.modified],
    )
    db.executemany(
        "INSERT INTO artifacts(uid, file_path, title, description, source_transcript, artifact_type, content_hash, blob,"
        " created_at, updated_at, own) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(uid) DO UPDATE SET"
        " file_path = excluded.file_path, title = excluded.title, description = excluded.description,"
        " source_transcript = coalesce(excluded.source_transcript, made_in), artifact_type = excluded.artifact_type,"
        " content_hash = excluded.content_hash, blob = excluded.blob, created_at = excluded.created_at,"
        " updated_at = excluded.updated_at, own = excluded.own",
        _rows(index, result, [*changes.added, *changed, *changes.touched]),
    )
    db.executemany(
        "UPDATE artifacts SET last_path = ? WHERE file_path = ?", [(old, new) for new, old in result.origins.items()]
    )
    db.executemany(
        "UPDATE artifacts SET last_path = file_path, file_path = NULL WHERE file_path = ?",
        [(p,) for p in changes.deleted],
    )
    _stats(db, result)
    if result.hashed or changes:
        store.put(db, "object_format", object_format(index))
        store.bump(db, "generation")


def _rows(index: Index, result: Plan, paths: list[str]) -> Iterator[tuple[str | None, ...]]:
    nothing = Document()
    known = dating.dates(index.workspace.root, index.db, paths)
    odd = {
        path: result.hashed[path].blob for path, found in known.items() if result.hashed[path].blob not in found.blobs
    }
    committed = dating.is_committed(index.workspace.root, odd)
    for path in paths:
        hashed = result.hashed[path]
        document = result.documents.get(path, nothing)
        dated = known.get(path)
        if dated is None:
            first = last = iso(hashed.when * 1000)
        else:
            first, last = dated.first, dated.last
            if hashed.blob not in dated.blobs and path not in committed:
                last = max(last, iso(hashed.when * 1000))
        kind = "transcript" if document.is_transcript else artifact_type(path)
        yield (
            derived_uid("artifact", path), path, document.title or path.rpartition("/")[2], document.description,
            document.source_transcript, kind, hashed.sha256, hashed.blob, first, last, _own(document, kind),
        )  # fmt: skip


def _own(document: Document, kind: str) -> str:
    """What a file says of itself, as JSON; what it does not say may be said by an annotation."""
    said = {
        "title": document.title,
        "description": document.description,
        "source_transcript": document.source_transcript,
    }
    told = {name: value for name, value in said.items() if value is not None}
    return json.dumps(told | {"artifact_type": kind}, ensure_ascii=False, sort_keys=True)


def _move(db: store.Connection, old: str, new: str) -> None:
    uid = derived_uid("artifact", new)
    db.execute("DELETE FROM artifacts WHERE uid = ? AND file_path IS NULL", (uid,))
    db.execute("UPDATE artifacts SET file_path = ?, last_path = ?, uid = ? WHERE file_path = ?", (new, old, uid, old))


def _stats(db: store.Connection, result: Plan) -> None:
    """Bring the stat cache up to date: one row per folder that something happened in."""
    changes = result.changes
    fresh = (*changes.added, *changes.modified, *changes.touched, *(new for _, new in changes.moved))
    tree = by_folder((path, result.hashed[path].stat) for path in fresh)
    for path in (*changes.deleted, *(old for old, _ in changes.moved)):
        folder, _, name = path.rpartition("/")
        tree.setdefault(folder, {})[name] = GONE
    for folder, names in tree.items():
        row = db.execute("SELECT stats FROM folders WHERE path = ?", (folder,)).fetchone()
        kept = {name: stat for name, stat in ((_unpacked(row[0]) if row else {}) | names).items() if stat != GONE}
        if kept:
            db.execute("INSERT OR REPLACE INTO folders VALUES (?, ?)", (folder, marshal.dumps(kept)))
        else:
            db.execute("DELETE FROM folders WHERE path = ?", (folder,))


def check_scope(index: Index, scope: tuple[str, ...]) -> None:
    """Each path that sync was asked for is on disk or in the index. Raises UsageError."""
    known = "SELECT 1 FROM artifacts WHERE file_path = ?1 OR file_path GLOB ?2 LIMIT 1"
    for path in scope:
        below = path.replace("[", "[[]") + "/*"
        on_disk = not path or os.path.lexists(index.workspace.absolute(path))
        if not on_disk and not index.db.execute(known, (path, below)).fetchone():
            raise UsageError(f"there is no {path}, on disk or in the index", "check the path, or name none")


def take_over(index: Index, old: Index) -> None:
    """Bring from an old index what a new walk could not look at: nothing is known to have gone there, and what a sparse
    checkout leaves out is not on disk at all."""
    unread = {subject for (subject,) in index.db.execute("SELECT subject FROM observations WHERE kind = 'walk'")}
    here = {path for (path,) in index.db.execute("SELECT file_path FROM artifacts WHERE file_path IS NOT NULL")}
    rows = store.rows(old.db, "SELECT * FROM artifacts WHERE file_path IS NOT NULL")
    rows = [row for row in rows if row["file_path"] not in here]
    entries = git.tracked(index.workspace.root) if rows else {}
    sparse = {row["file_path"] for row in rows if (e := entries.get(row["file_path"])) is not None and e.tag == "S"}
    kept = [row for row in rows if row["file_path"] in sparse or is_covered(row["file_path"], unread)]
    if not kept:
        return
    with writing(index), store.capture(index.db, on=False):
        for row in kept:
            values = {name: value for name, value in row.items() if name != "id"}
            marks = ", ".join("?" * len(values))
            index.db.execute(
                f"INSERT OR IGNORE INTO artifacts({', '.join(values)}) VALUES ({marks})", list(values.values())
            )
        before, now = known_stats(old.db), known_stats(index.db)
        for folder, _, name in (row["file_path"].rpartition("/") for row in kept):
            if name in before.get(folder, {}):
                now.setdefault(folder, {})[name] = before[folder][name]
                index.db.execute("INSERT OR REPLACE INTO folders VALUES (?, ?)", (folder, marshal.dumps(now[folder])))


def check_root(workspace: Workspace) -> None:
    """The marker must still be there: a root that was unmounted is no mass deletion."""
    if files.read(workspace, ".mlos/config.toml") is None:
        raise SurroundingsError(".mlos/config.toml has gone", "mount or restore the workspace; nothing was changed")
