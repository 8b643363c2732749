"""The guard's check and a recompile, on a committed tree: what CI runs, because hooks can be skipped.

Reads objects only: neither the work tree nor the index database, so their state decides nothing. A seal stops
accidents; whoever recomputes one is found here, because every view is compiled again from the tree's own journal,
config and files, in a database in memory, by the code that `compile` uses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from mlos_sync.app.annotations import by_path
from mlos_sync.app.compiling import text_of_template
from mlos_sync.app.folding import refold
from mlos_sync.app.gathering import Content, File, Records, Source, digest, document_of, file_of
from mlos_sync.app.planning import Document
from mlos_sync.app.reading import add_segment
from mlos_sync.app.viewing import again, compile_view, is_withheld
from mlos_sync.core import guard, journal, seal
from mlos_sync.core.guard import Finding
from mlos_sync.core.paths import shown, to_bytes
from mlos_sync.edge import files, git, objects, settings, store
from mlos_sync.edge.workspace import MARKER, Config, View, Workspace, git_folders, own_template, parse_config
from mlos_sync.errors import MlosError, SurroundingsError, UsageError

STALE, MISSING = "stale", "missing"
SYMLINK = "120000"
GROUP = 64  # files that are read by one process, and held at once

Tree = Mapping[str, tuple[str, str]]  # path -> mode, blob


@dataclass(slots=True)
class _Known:
    """What the blobs that were looked at say, by object id: a range looks at each of them once."""

    claims: dict[str, bool] = field(default_factory=dict)
    documents: dict[str, Document | None] = field(default_factory=dict)


def verify(workspace: Workspace, revision: str = "HEAD") -> list[Finding]:
    """Everything wrong with the tracked tree of a revision, by path. An unborn HEAD has nothing wrong with it.

    Raises UsageError for an unknown revision, SurroundingsError where git's objects are missing.
    """
    sha = _commit(workspace.root, revision)
    if sha is None:
        if revision == "HEAD":
            return []
        raise UsageError(f"there is no commit {shown(revision)}", "list them: git log --oneline")
    return _findings(workspace, sha, _Known())


def verify_range(workspace: Workspace, revisions: str) -> list[Finding]:
    """The same for each commit of `A..B`, oldest first; every message begins with its commit."""
    try:
        if revisions.startswith("-"):
            raise SurroundingsError("an option is no range")
        out = git.run(workspace.root, "rev-list", "--reverse", "--topo-order", revisions, "--")
    except SurroundingsError as error:
        raise UsageError(
            f"{shown(revisions)} is no range of commits ({error.message})", "write it as git does: origin/main..HEAD"
        ) from None
    known = _Known()
    return [
        Finding(found.path, found.kind, f"commit {sha[:12]}: {found.message}", found.fix)
        for sha in out.decode().split()
        for found in _findings(workspace, sha, known)
    ]


def withheld(workspace: Workspace, revision: str = "HEAD") -> list[str]:
    """The views of a revision of which only the seal was checked: the tree's own template may not run here."""
    sha = _commit(workspace.root, revision)
    tree = git.tree_files(workspace.root, sha) if sha else {}
    config, _ = _config(workspace.root, tree)
    if config is None:
        return []
    own = _own_templates(workspace.root, config, tree)
    return [view.path for view in config.views if view.path in tree and own.get(view.kind, "") is None]


def compiled_from(start: str, tree_id: str, paths: Iterable[str]) -> dict[str, bytes]:
    """Those of the views that a tree declares, as they are compiled from it, whether or not it is in a commit yet. Left out
    are paths that are no views, and those that may not or cannot be compiled here. Raises SurroundingsError where the config
    cannot be read or a segment is damaged."""
    root, git_dir, common_dir, hooks_dir = git_folders(start)
    tree = git.tree_files(root, tree_id)
    config, problem = _config(root, tree)
    if problem is not None:
        raise SurroundingsError(problem.message, problem.fix)
    wanted = [view for view in config.views if view.path in set(paths)] if config else []
    if config is None or not wanted:
        return {}
    known, found = _Known(), {}
    _look(root, tree, known)
    with contextlib.closing(store.create(":memory:", for_everybody=False)) as db:
        if damaged := _fold_journal(db, root, tree):
            raise SurroundingsError(f"{damaged[0].path}: {damaged[0].message}", damaged[0].fix)
        workspace = Workspace(root, git_dir, common_dir, hooks_dir, config)
        with _source(db, workspace, config, tree, known) as source:
            for view in wanted:
                with contextlib.suppress(MlosError):  # `verify` names it
                    found[view.path] = compile_view(source, view)
    return found


def outdated(start: str, sha: str) -> list[Finding]:
    """Views of a commit that are stale or missing, told by that commit alone: the work tree at `start` may hold another
    one, or no workspace."""
    root, git_dir, common_dir, hooks_dir = git_folders(start)
    tree = git.tree_files(root, sha)
    config, problem = _config(root, tree)
    if config is None or not any(view.path in tree for view in config.views):
        return [problem] if problem else []
    found = _findings(Workspace(root, git_dir, common_dir, hooks_dir, config), sha, _Known())
    return [one for one in found if one.kind in (STALE, MISSING)]


def _commit(root: str, revision: str) -> str | None:
    if revision.startswith("-"):
        return None
    out = git.run(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", check=False)
    return out.decode().strip() or None


def _findings(workspace: Workspace, sha: str, known: _Known) -> list[Finding]:
    root = workspace.root
    tree = git.tree_files(root, sha)
    # With a shallow clone's edge git names no parents: nothing older is here to compare with.
    parents = git.run(root, "rev-list", "--parents", "--max-count=1", sha).decode().split()[1:]
    before = git.tree_files(root, parents[0]) if parents else {}
    findings = [found for parent in parents for found in _lost_segments(root, tree, parent)]
    config, problem = _config(root, tree)
    findings += [problem] if problem else []
    views = {view.path: view for view in config.views} if config else {}
    _look(root, tree, known)
    changed = {path: entry for path, entry in before.items() if path in tree and tree[path] != entry}
    _look(root, changed, known)
    findings += _broken_seals(root, {path: entry for path, entry in tree.items() if path not in views}, changed, known)
    if config is not None:
        with contextlib.closing(store.create(":memory:", for_everybody=False)) as db:
            findings += _fold_journal(db, root, tree)
            with _source(db, workspace, config, tree, known) as source:
                findings += _compare(source, root, tree)
    return sorted(set(findings), key=lambda found: (found.path, found.kind, found.message))


def _look(root: str, tree: Tree, known: _Known) -> None:
    """Read the heads of blobs that are new to us: do they claim to be compiled, and what does a document say?"""
    wanted: dict[str, str] = {}
    for path, (mode, blob) in tree.items():
        document = path.lower().endswith((".md", ".markdown"))
        new = blob not in known.claims or (document and blob not in known.documents)
        if mode != SYMLINK and new and (document or blob not in wanted):
            wanted[blob] = path
    for blob, head in objects.heads(root, list(wanted)):
        known.claims[blob] = seal.may_claim(head)
        if wanted[blob].lower().endswith((".md", ".markdown")):
            known.documents[blob] = document_of(wanted[blob], head)


def _broken_seals(root: str, tree: Tree, changed: Tree, known: _Known) -> Iterator[Finding]:
    """What the guard would have refused, among files that are no views of the config."""
    suspects = []
    for path, (mode, blob) in tree.items():
        link = mode == SYMLINK
        old_mode, old_blob = changed.get(path, ("", ""))
        was = old_mode not in ("", SYMLINK) and known.claims[old_blob]
        if was or (not link and known.claims[blob]):
            suspects.append((path, old_blob if was else None, None if link else blob))
    for start in range(0, len(suspects), GROUP):
        group = suspects[start : start + GROUP]
        found = _blobs(root, [name for _, *names in group for name in names if name])
        for path, old, new in group:
            finding = _judge(path, found[old] if old else None, found[new] if new else b"", is_link=new is None)
            if finding is not None:
                yield finding


def _judge(path: str, old: bytes | None, new: bytes, *, is_link: bool) -> Finding | None:
    """The guard's verdict. It takes names as the system writes them, and its words name the very bytes."""
    found = guard.judge(_named(path), old, new, new_is_symlink=is_link)
    return Finding(path, found.kind, found.message, found.fix) if found else None


def _named(path: str) -> str:
    return to_bytes(path).decode("utf-8", "surrogateescape")


def _blob(root: str, name: str) -> bytes:
    return _blobs(root, [name])[name]


def _blobs(root: str, names: list[str]) -> dict[str, bytes]:
    found = dict(objects.blobs(root, names))
    for name in names:
        if name not in found:
            raise SurroundingsError(f"the object {name[:12]} is not in this clone", "fetch it: git fetch --refetch")
    return found


def _lost_segments(root: str, tree: Tree, parent: str) -> Iterator[Finding]:
    """Segments of a parent that this commit deletes or alters. Each parent counts: a merge may lose the other side's."""
    for path, (mode, blob) in git.tree_files(root, parent, journal.FOLDER).items():
        now = tree.get(path)
        if now == (mode, blob):
            continue
        status = "D" if now is None else "T" if now[0] == SYMLINK or mode == SYMLINK else "M"
        if status == "M" and now is not None and now[1] == blob:
            continue
        found = guard.judge_segment(path, status, _blob(root, now[1]) if status == "M" and now is not None else None)
        if found is not None:
            fix = (
                f"put it back:        git restore --source={parent[:12]} --staged --worktree -- {guard.pathspec(path)}"
            )
            yield Finding(path, found.kind, found.message, fix)


def _fold_journal(db: store.Connection, root: str, tree: Tree) -> list[Finding]:
    """Fill a new store with the records that the tree's segments fold to. Returns what is damaged."""
    segments: dict[str, list[str]] = {}
    for path, (mode, blob) in tree.items():
        if mode != SYMLINK and journal.name_of(path):
            segments.setdefault(blob, []).append(path)
    with store.transaction(db), store.capture(db, on=False):
        for blob, data in objects.blobs(root, segments):
            for path in segments[blob]:
                add_segment(db, journal.name_of(path) or "", path, data)
        db.execute("UPDATE segments SET in_head = 1")
        db.execute("UPDATE events SET visible = 1")
        refold(db, db.execute("SELECT DISTINCT kind, uid FROM events").fetchall())
    return [
        Finding(path, guard.JOURNAL, f"this segment is damaged: {problem}", _mend(root, path))
        for path, problem in db.execute("SELECT path, problem FROM segments WHERE problem IS NOT NULL")
    ]


def _mend(root: str, path: str) -> str:
    """The command that puts back the bytes of the newest commit that has the segment whole."""
    out = git.run(root, "log", "--format=%H", "--diff-filter=AM", "--", path, check=False).decode()
    for sha in out.split():
        blob = git.blobs_at(root, sha, [path]).get(path, "")
        if guard.is_whole(path, dict(objects.blobs(root, [blob])).get(blob, b"")):
            return f"put it back:        git restore --source={sha[:12]} --staged --worktree -- {guard.pathspec(path)}"
    return "no commit here has it whole: copy it from the clone that wrote it"


def _config(root: str, tree: Tree) -> tuple[Config | None, Finding | None]:
    """The tree's own config; none in a tree that is no workspace (before `init`, after `uninstall`)."""
    if MARKER not in tree:
        return None, None
    try:
        return parse_config(_blob(root, tree[MARKER][1])), None
    except UsageError as error:
        return None, Finding(MARKER, MISSING, f"no view can be checked: {error.message}", error.hint)


@contextlib.contextmanager
def _source(db: store.Connection, workspace: Workspace, config: Config, tree: Tree, known: _Known) -> Iterator[Source]:
    root = workspace.root
    keep, _ = files.ignore_rule(_elsewhere(workspace, config, root, tree))
    said = by_path(db)
    found: dict[str, File] = {}
    for path in keep(list(tree)):
        mode, blob = tree[path]
        document = known.documents.get(blob) if _is_document(path, mode) else None
        found[path] = file_of(path, mode, document, said.get(path, {}))

    with objects.Blobs(root) as stored:

        def read(path: str) -> Content | None:
            return digest(stored.pieces(tree[path][1]))

        yield Source(Records(db), config, found, read, _own_templates(root, config, tree))


def _own_templates(root: str, config: Config, tree: Tree) -> dict[str, str | None]:
    """The tree's own templates by kind of view; None where this clone runs none."""
    kinds = dict.fromkeys(view.kind for view in config.views if own_template(view.kind) in tree)
    if not kinds or not settings.allows_templates(root):
        return dict.fromkeys(kinds)
    return {kind: text_of_template(own_template(kind), _blob(root, tree[own_template(kind)][1])) for kind in kinds}


def _is_document(path: str, mode: str) -> bool:
    return mode != SYMLINK and path.lower().endswith((".md", ".markdown"))


def _elsewhere(workspace: Workspace, config: Config, root: str, tree: Tree) -> Workspace:
    """A workspace whose rule of what to ignore is the tree's: it names a folder that does not exist, so that the
    `.mlosignore` of the work tree is not read, and takes the lines of the tree's into its config."""
    mode, blob = tree.get(files.IGNORE_FILE, ("", ""))
    text = _blob(root, blob).decode("utf-8", "replace") if blob and mode != SYMLINK else ""
    lines = tuple(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    return replace(
        workspace, root=f"{workspace.git_dir}/mlos/no-work-tree", config=replace(config, ignore=config.ignore + lines)
    )


def _compare(source: Source, root: str, tree: Tree) -> Iterator[Finding]:
    tracked = [view for view in source.config.views if view.path in tree]
    for view in tracked:
        found = _compare_one(source, view, root, tree[view.path])
        if found is not None:
            yield found
    for view in source.config.views:
        if tracked and view.path not in tree:
            message = "this view of the config is not tracked, while others are"
            fix = f"mlos-sync compile   then   git add -- {guard.pathspec(_named(view.path))}"
            yield Finding(view.path, MISSING, message, fix)


def _seal_alone(view: View, data: bytes, *, is_link: bool) -> Finding | None:
    """What can be said of a view that is not compiled again here."""
    verdict = seal.check(data)
    if is_link or verdict.state == seal.ABSENT:
        return Finding(view.path, guard.STRIPPED, "this compiled view has no seal", guard.restore(_named(view.path)))
    if verdict.state == seal.BROKEN:
        message = f"this compiled view was edited by hand: {verdict.reason}"
        return Finding(view.path, guard.EDITED, message, guard.restore(_named(view.path)))
    return None


def _compare_one(source: Source, view: View, root: str, entry: tuple[str, str]) -> Finding | None:
    link = entry[0] == SYMLINK
    data = b"" if link else _blob(root, entry[1])
    if is_withheld(source, view):
        return _seal_alone(view, data, is_link=link)
    try:
        wanted = compile_view(source, view)
    except MlosError as error:
        return Finding(view.path, STALE, f"this view cannot be compiled again: {error.message}", error.hint)
    found = _judge(view.path, wanted, data, is_link=link)
    if found is not None:  # it is in a commit already: to go back to HEAD would change nothing
        fix = (
            f"keep what it says:  mlos-sync adopt {guard.quoted(_named(view.path))}   then   git add and commit\n"
            f"or drop the edit:   mlos-sync compile --discard {guard.quoted(_named(view.path))}   then   git add and commit"
        )
        return Finding(found.path, found.kind, found.message, fix)
    if data.replace(b"\r\n", b"\n") == wanted:
        return None
    message = "its seal is whole, but it is not what the records and files of this commit compile to"
    return Finding(view.path, STALE, message, again(_named(view.path)))
