"""Which folders a watcher watches, why some cannot be, and which file systems tell nothing of changes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from mlos_sync.core.paths import JOURNAL, from_text
from mlos_sync.edge import excluding, files, git, mounts, nested, operations
from mlos_sync.edge.hints import everything
from mlos_sync.edge.ledger import NAME as LEDGER
from mlos_sync.edge.watch import INSTANCES, LIMIT, Watch
from mlos_sync.edge.workspace import Workspace

_LISTED = 20  # folders that are named where some are not watched
# What else lies in the git directory changes with every command that only reads, or says nothing of the tree.
_GIT_NAMES = frozenset(
    ("HEAD", "ORIG_HEAD", "packed-refs", "shallow", "config", "config.worktree", "index", *operations.MARKS)
)


@dataclass(slots=True)
class Coverage:
    """What is watched and what is not: `refused` folder -> reason; `silent` mount point -> its file system."""

    wanted: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    unheard: dict[str, str] = field(default_factory=dict)  # folders beside the tree that cannot be watched -> why
    private: tuple[str, ...] = ()  # where transcripts lie that git ignores, or that are outside
    rules: tuple[str, ...] = ()  # the user's files, anywhere, by which git decides what counts
    forced: frozenset[str] = frozenset()  # paths that are tracked though a rule excludes them
    nested: set[str] = field(default_factory=set)  # folders that have a `.git`, or are submodules
    tracked: dict[str, str] = field(default_factory=dict)  # how git's index stands to these
    heads: tuple[str, ...] = ()  # files by which the first are repositories

    @property
    def polled(self) -> list[str]:
        """The workspace paths that must be looked at from time to time ("" is all)."""
        return sorted({*self.refused, *self.silent})

    def is_private(self, name: str) -> bool:
        """Whether an absolute name is where private transcripts lie, or on the way there."""
        return any(f"{one}/".startswith(f"{name}/") or name.startswith(f"{one}/") for one in self.private)

    def cover_private(self, watch: Watch) -> set[str]:
        """Watch the folders of private transcripts, and where one is not there yet, the nearest that is. Returns them."""
        found: set[str] = set()
        for folder in self.private:
            there = ""
            while there != (there := _nearest(folder)):  # one that came meanwhile made no event
                for one in _folders_below(there) if there == folder else (there,):
                    self.unheard |= watch.cover([one])  # also where a repository was watched for its `.git` alone
                    found.add(one)
        return found

    def count(self, watch: Watch, workspace: Workspace) -> None:
        """How many folders of the tree there are to be watched."""
        self.wanted = len(self.refused) + sum(1 for one in watch.covered if is_inside(workspace, one))

    def told(self) -> dict[str, object]:
        """For `status`: numbers, what is polled instead, why, and the cure."""
        said: dict[str, object] = {"folders": self.wanted, "watched": self.wanted - len(self.refused)}
        parts = {**self.refused, **self.silent, **self.unheard}
        polled = [{"path": path, "reason": reason} for path, reason in sorted(parts.items())]
        cures = [cure() for reason, cure in _CURES.items() if reason in {one["reason"] for one in polled}]
        return {**said, "polled": len(polled), "parts": polled[:_LISTED], "cure": " ".join(cures) or None}


def _limit_cure() -> str:
    name = "fs.inotify.max_user_watches"
    try:
        with open("/proc/sys/fs/inotify/max_user_watches") as file:
            wanted = max(2 * int(file.read()), 524_288)
    except (OSError, ValueError):
        wanted = 524_288
    return f"raise the limit: sudo sysctl -w {name}={wanted} (to keep it: a line {name}={wanted} in /etc/sysctl.d)"


def _instances_cure() -> str:
    return "raise the limit: sudo sysctl -w fs.inotify.max_user_instances=1024, or end other programs that watch"


_CURES: dict[str, Callable[[], str]] = {LIMIT: _limit_cure, INSTANCES: _instances_cure}


def cover(watch: Watch, workspace: Workspace) -> Coverage:
    """Watch all that matters: the tree, the git directory, private transcripts. What is watched already stays, but for folders
    of the tree that are ignored by now."""
    found = Coverage(private=tuple(private_folders(workspace)), nested=excluding.submodules(workspace.root))
    for folder in dict.fromkeys((workspace.git_dir, workspace.common_dir, workspace.common)):
        found.unheard |= watch.cover([folder], _accept(workspace, folder))
    found.unheard |= watch.cover([os.path.join(workspace.common_dir, "info")], "exclude".__eq__)
    found.unheard |= watch.cover(_folders_below(os.path.join(workspace.common_dir, "refs")))
    before = {one for one in watch.covered if is_inside(workspace, one)}
    wanted = _cover_tree(watch, workspace, ("",), found)
    private = found.cover_private(watch)
    for folder in before - wanted - private:
        watch.uncover(folder, keep=private)
    found.count(watch, workspace)
    found.rules, found.forced = tuple(_rules(workspace)), forced(workspace)
    found.silent = {_path(workspace, place): kind for place, kind in mounts.silent(workspace.root).items()}
    if "" not in found.silent:  # else all is polled
        for folder in (workspace.git_dir, workspace.common_dir, *found.private):
            found.unheard |= mounts.silent(folder)
    return found


def extend(watch: Watch, workspace: Workspace, names: Iterable[str], coverage: Coverage) -> None:
    """Watch folders that came, by their absolute names, and what is in them; those that went are watched no more."""
    came = []
    for name in sorted(names):
        if is_inside(workspace, name):
            path = owner(_path(workspace, name))
            name = _name(workspace, path)
            if name != workspace.root:
                watch.uncover(name)  # one in the place of another, or a repository of its own by now
            if os.path.isdir(name) and not os.path.islink(name):
                came.append(path)
        elif name.startswith(os.path.join(workspace.common_dir, "refs") + os.sep):
            watch.cover(_folders_below(name))
    for path in [path for path in coverage.refused if not os.path.isdir(_name(workspace, path))]:
        del coverage.refused[path]
    if came:
        _cover_tree(watch, workspace, tuple(came), coverage)
    coverage.cover_private(watch)
    coverage.count(watch, workspace)


def retry(watch: Watch, workspace: Workspace, coverage: Coverage) -> None:
    """Watch folders that could not be watched, and what is in them, where they can be by now."""
    names = [_name(workspace, path) for path in sorted(coverage.refused)]
    refused = watch.cover(names)
    if came := tuple(_path(workspace, name) for name in names if name not in refused):
        _cover_tree(watch, workspace, came, coverage)
        coverage.count(watch, workspace)


def owner(path: str) -> str:
    """The folder whose standing a path decides: what happens to `sub/.git` makes `sub` a repository of its own, or none."""
    parts = path.split("/")
    return "/".join(parts[: parts.index(".git")]) if ".git" in parts else path


def is_of_nested(workspace: Workspace, name: str) -> bool:
    """Whether an absolute name is of a `.git` in the tree: where one comes, goes or becomes whole, also where it is a file, its
    folder becomes a repository of its own, or none."""
    return is_inside(workspace, name) and ".git" in name[len(workspace.root) :].split(os.sep)


def _note_nested(workspace: Workspace, coverage: Coverage) -> None:
    coverage.tracked = excluding.tracked_as(workspace.root, coverage.nested)
    heads = []
    for path in sorted(coverage.nested):
        with contextlib.suppress(OSError, ValueError):
            heads.append(nested.head_of(_name(workspace, path)))
    coverage.heads = tuple(heads)


def is_retracked(workspace: Workspace, coverage: Coverage) -> bool:
    """Whether git's index stands otherwise to a repository in the tree: then git lists what is in it, or does so no more."""
    return excluding.tracked_as(workspace.root, coverage.nested) != coverage.tracked


def forced(workspace: Workspace) -> frozenset[str]:
    """The paths that are tracked though a rule excludes them."""
    return frozenset(git.forced_paths(workspace.root))


def _rules(workspace: Workspace) -> list[str]:
    inside = [os.path.join(workspace.common_dir, "info", one) for one in ("exclude", "attributes")]
    return git.rule_files(workspace.root) + inside


def private_folders(workspace: Workspace) -> list[str]:
    """Where transcripts lie that git ignores, or that are outside: absolute names."""
    named = [one for one in git.config_values(workspace.root, "mlos-sync.transcripts") if one]
    folders = [os.path.join(workspace.root, os.path.expanduser(one)) for one in named]
    folders += [os.path.join(workspace.root, one) for one in workspace.config.transcripts.folders]
    return [os.path.normpath(one) for one in folders]


def _accept(workspace: Workspace, folder: str) -> Callable[[str], bool]:
    if folder == workspace.common:
        return LEDGER.__eq__
    if folder in (workspace.git_dir, workspace.common_dir):
        return _GIT_NAMES.__contains__
    return everything


def _cover_tree(watch: Watch, workspace: Workspace, below: tuple[str, ...], found: Coverage) -> set[str]:
    """Watch the folders at or below some; their absolute names. Each is watched before it is listed: a folder that comes
    meanwhile is in the list, or makes an event."""
    covered = set()
    for path, is_other in _walk(workspace, below, lambda path: _hear(watch, workspace, path, found), found.nested):
        name = _name(workspace, path)
        covered.add(name)
        if is_other:  # a repository of its own; without its .git it is a folder like any
            watch.cover([name], ".git".__eq__)
    _note_nested(workspace, found)
    return covered


def _hear(watch: Watch, workspace: Workspace, path: str, found: Coverage) -> None:
    found.refused.pop(path, None)
    for reason in watch.cover([_name(workspace, path)]).values():
        found.refused[path] = reason


def folders(workspace: Workspace, below: str = "") -> Iterator[str]:
    """The folders at or below one, as workspace paths, that a walk looks into: neither ignored nor a repository of its own,
    no link."""
    return (path for path, is_other in _walk(workspace, (below,), lambda _: None, set()) if not is_other)


def _walk(
    workspace: Workspace, below: tuple[str, ...], before: Callable[[str], None], repositories: set[str]
) -> Iterator[tuple[str, bool]]:
    """(folder, whether it is a repository of its own) at or below some; `before` is called with each before it is listed.
    Those that have a `.git` are put into `repositories`."""
    ignored = _ignored(workspace, below)
    keep = _prune(workspace)
    waiting = [path for path in below if not _is_ignored(path, ignored)]
    while waiting:  # a level at a time, so that git is asked once of all repositories of one
        for path in waiting:
            before(path)
        listed = {path: _folders_in(workspace, path) for path in waiting}
        having = {path for path, one in listed.items() if one.git}
        repositories |= having
        own = {path for path in having if listed[path].is_repository}
        # Where the index has files below one, git looks into it whatever is there.
        own -= {path for path, kind in excluding.tracked_as(workspace.root, own).items() if kind == "files"}
        waiting = []
        for path, one in listed.items():
            yield path, path in own
            if path not in own:
                waiting += [name for name in one.folders if name not in ignored and keep(name)]


def _ignored(workspace: Workspace, below: tuple[str, ...]) -> set[str]:
    """The folders at or below some that a rule of git's excludes. Of those that merely hold nothing that counts, git says the
    same: there it is asked of what is in them, by one git for one level, two, four ..."""
    excluded: set[str] = set()
    seen: set[str] = set()  # git names a folder and some of those in it
    last, levels = excluding.unlisted_folders(workspace.root, *(path for path in below if path)), 1
    while last:
        asked = last
        for _ in range(levels - 1):
            seen.update(last)
            last = _below(workspace, last, seen)
            asked = asked + last
        excluded |= excluding.excluded_folders(workspace.root, asked)
        seen.update(last)
        last, levels = _below(workspace, [path for path in last if path not in excluded], seen), 2 * levels
    return excluded


def _below(workspace: Workspace, paths: list[str], seen: set[str]) -> list[str]:
    """The folders in some that were not seen, but those in repositories of their own."""
    listed = (_folders_in(workspace, path) for path in paths)
    return [path for one in listed if not one.is_repository for path in one.folders if path not in seen]


def _prune(workspace: Workspace) -> Callable[[str], bool]:
    """Which folders our own patterns leave in. Where one of them takes files back in (`!*.md`), all are."""
    text = (files.read(workspace, files.IGNORE_FILE) or b"").decode("utf-8", "replace")
    if any(line.startswith("!") for line in [*text.split("\n"), *workspace.config.ignore]):
        return lambda _: True
    keep, _ = files.ignore_rule(workspace)
    return lambda path: f"{path}/".startswith(JOURNAL) or bool(keep([f"{path}/"]))


def _is_ignored(path: str, ignored: set[str]) -> bool:
    while path:
        if path in ignored:
            return True
        path = path.rpartition("/")[0]
    return False


class _Listed(NamedTuple):
    """The folders in a folder, whether it has a `.git`, and whether that makes it a repository. A `.git` that does not is one of
    the folders: it may become whole."""

    folders: list[str]
    git: bool = False
    is_repository: bool = False


def _folders_in(workspace: Workspace, path: str) -> _Listed:
    """What lies in a folder; nothing where it cannot be read, or has gone: to watch it says so."""
    found, is_git = [], False
    try:
        with os.scandir(_name(workspace, path)) as entries:
            for entry in entries:
                if entry.name == ".git":
                    is_git = bool(path)
                if entry.is_dir(follow_symlinks=False) and (entry.name != ".git" or path):
                    found.append(f"{path}/{from_text(entry.name)}" if path else from_text(entry.name))
    except OSError:
        return _Listed([])
    if not is_git or not nested.is_repository(_name(workspace, path)):
        return _Listed(found, is_git)
    return _Listed([one for one in found if not one.endswith("/.git")], True, True)


def _nearest(folder: str) -> str:
    """A folder, or where it is not there, the one above it in which it, or the way to it, would appear."""
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return folder


def _folders_below(top: str) -> Iterator[str]:
    """A folder and those in it, or the one that a file is in. Each is to be watched before the next is asked for: then it is
    listed."""
    waiting = [os.path.dirname(top) if os.path.isfile(top) else top]
    while waiting:
        folder = waiting.pop()
        yield folder
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            waiting += [one.path for one in entries if one.is_dir(follow_symlinks=False) and one.name != ".git"]


def is_inside(workspace: Workspace, name: str) -> bool:
    """Whether an absolute name is of the tree, not of the git directory."""
    top = workspace.root + os.sep
    # The work tree may lie in the git directory, too: many have work trees inside a bare repository.
    gits = tuple(one + os.sep for one in (workspace.git_dir, workspace.common_dir) if one.startswith(top))
    return name == workspace.root or (name.startswith(top) and not f"{name}{os.sep}".startswith(gits))


def _name(workspace: Workspace, path: str) -> str:
    return os.fsdecode(workspace.absolute(path)) if path else workspace.root


def _path(workspace: Workspace, name: str) -> str:
    return "" if name == workspace.root else from_text(name[len(workspace.root) + 1 :])
