"""What a push would publish that nobody should: broken seals and broken segments in commits which the remote lacks.

Owns the choice of commits and of the changes in them that matter; the verdict is `core.guard`'s, as in the guard and in
`verify`. A change is told of the commit that makes it, once. Git's objects are all it reads: no work tree, no index
database. Where nothing compiled or journaled is pushed, the application is not loaded.
"""

from __future__ import annotations

import os

from mlos_sync.core import guard, seal
from mlos_sync.core.guard import Finding
from mlos_sync.hooks import plumbing
from mlos_sync.hooks.guard import Entry, entry_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Commits = dict[str, list[str]]  # commit -> its parents, oldest first
    Settings = dict[str, tuple[bool, frozenset[str]]]  # commit of a workspace -> (verified when pushed, paths of views)

CONFIG = ".mlos/config.toml"
SWITCH = "mlos-sync.prePush"
OFF = (b"off", b"false", b"no", b"0")  # git's own words for it; anything else switches on
NOTHING: tuple[bool, frozenset[str]] = (True, frozenset())

# With two ids on a line the second is taken for the parent, so each parent of a merge is asked for by itself; --always
# answers also where nothing differs, so that answers can be counted.
_DIFF = (
    *("diff-tree", "--stdin", "--always", "--root", "--raw", "-z", "-r", "--no-abbrev", "--no-renames"),
    *("--no-ext-diff", "--no-textconv", "--no-relative"),
)


class Change:
    """One path that a commit changes against `parent` (empty for the first commit); `introduced` if it has it from no
    parent at all."""

    __slots__ = ("commit", "entry", "introduced", "parent", "path")

    def __init__(self, commit: str, parent: str, entry: Entry, introduced: bool) -> None:
        self.commit = commit
        self.parent = parent
        self.entry = entry
        self.introduced = introduced
        self.path = entry.path.decode("utf-8", "surrogateescape")

    def finding(self, found: Finding) -> Finding:
        """A verdict as it is told of a commit: HEAD holds the mistake, its parent what was right."""
        fix = found.fix.replace("--source=HEAD", f"--source={self.parent[:12]}") if self.parent else found.fix
        return Finding(found.path, found.kind, f"commit {self.commit[:12]}: {found.message}", fix)


class Push:
    """What goes to one remote: `tips` are the commits that its refs will name, `known` those that they name now."""

    __slots__ = ("known", "remote", "tips")

    def __init__(self, arguments: list[str], lines: bytes) -> None:
        name, url = (*arguments, "", "")[:2]
        self.remote = "" if name == url else name  # a remote without a name: what any remote has has been published
        local, remote = refs(lines)
        self.tips = list(dict.fromkeys(_objects([f"{oid}^{{commit}}" for oid in local], "commit").values()))
        self.known = list(dict.fromkeys(_objects([f"{oid}^{{commit}}" for oid in remote], "commit").values()))

    def commits(self, tips: list[str]) -> Commits:
        """The commits below `tips` that the remote lacks."""
        if not tips:
            return {}
        asked = "".join([*(f"{tip}\n" for tip in tips), *(f"^{oid}\n" for oid in self.known)])
        published = f"--remotes={self.remote}" if self.remote else "--remotes"
        options = ("--topo-order", "--reverse", "--parents", "--stdin", "--not", published)
        out = b"".join(plumbing.fed(asked.encode("ascii"), "rev-list", *options))
        lines = [line.split() for line in out.decode("ascii").split("\n") if line]
        return {commit: parents for commit, *parents in lines}


def check(arguments: list[str], lines: bytes) -> tuple[list[Finding], list[Finding]]:
    """(what must not be pushed, what is told and pushed), by the arguments and the input of a pre-push hook. The second is
    looked for only where there is nothing of the first: views that are not up to date, and segments that the tips lack. A
    revert takes these away, and nothing is lost by that: history has them, and the next commit takes them again.

    Raises GitError if git cannot tell.
    """
    switch = plumbing.output("config", "--get", SWITCH, quiet=True)[1].strip().lower()
    if switch in OFF:
        return [], []
    push = Push(arguments, lines)
    configs = _objects([f"{tip}:{CONFIG}" for tip in push.tips], "blob")
    tips = [tip for tip in push.tips if f"{tip}:{CONFIG}" in configs]
    candidates = what_matters(push.commits(tips), set(configs.values()))
    if not candidates:
        return [], []
    settings = _settings({*tips, *(one for change in candidates for one in (change.commit, change.parent) if one)})
    wanted = tips if switch else [tip for tip in tips if settings[tip][0]]
    if wanted != tips:
        commits = push.commits(wanted)
        candidates = [change for change in candidates if change.commit in commits]
    candidates = [change for change in candidates if change.commit in settings]
    refused = [*judge_segments(candidates), *judge_files(candidates, settings)]
    if refused:
        return list(dict.fromkeys(refused)), []
    return [], list(dict.fromkeys([*_lost_segments(wanted, candidates), *_outdated(push, wanted, candidates)]))


def refs(lines: bytes) -> tuple[list[str], list[str]]:
    """(object ids that are pushed, object ids that the remote's refs have). A deleted ref has none of both that matters."""
    local, remote = [], []
    for line in lines.split(b"\n"):
        words = line.rsplit(b" ", 3)  # `<local ref> <id> <remote ref> <id>`; the first may be `main@{1 day ago}`
        if len(words) == 4 and words[1].strip(b"0"):
            local.append(words[1].decode("ascii"))
            if words[3].strip(b"0"):
                remote.append(words[3].decode("ascii"))
    return local, remote


def what_matters(commits: Commits, configs: set[str]) -> list[Change]:
    """The changes that can be wrong: of segments, of the config, of its views, and of what says that it was compiled.
    `configs` are the blobs of the config that the tips have."""
    changes = []
    for change in changes_of(commits):
        if guard.is_segment(change.path):
            if change.introduced or change.entry.status != "A":
                changes.append(change)
        elif change.introduced and (change.entry.ids or change.entry.new_is_symlink or change.entry.status == "D"):
            changes.append(change)
            if change.path == CONFIG:
                configs |= {name.decode("ascii") for name in change.entry.ids}
    names = list(dict.fromkeys(name for change in changes for name in change.entry.ids))
    claims = {
        name
        for name, head in zip(names, plumbing.contents(names, lambda _: False), strict=True)
        if seal.may_claim(head)
    }
    text = b"\n".join(plumbing.contents([name.encode("ascii") for name in sorted(configs)], lambda _: True))
    escapes = b"\\" in text  # then a path may be written in another way than it is

    def matters(change: Change) -> bool:
        if guard.is_segment(change.path) or change.path == CONFIG or not claims.isdisjoint(change.entry.ids):
            return True
        return change.path.endswith(".md") and (escapes or change.entry.path in text)

    return [change for change in changes if matters(change)]


def changes_of(commits: Commits) -> Iterator[Change]:
    """Every change of every commit, for each of its parents."""
    asked = "".join(f"{commit} {parent}\n" for commit, parents in commits.items() for parent in parents or [""])
    answers = _answers(plumbing.fed(asked.replace(" \n", "\n").encode("ascii"), *_DIFF))
    for commit, parents in commits.items():
        differences = [next(answers) for _ in parents or [""]]
        everywhere = set.intersection(*({entry.path for entry in entries} for entries in differences))
        for parent, entries in zip(parents or [""], differences, strict=True):
            first = parent == (parents or [""])[0]
            for entry in entries:
                yield Change(commit, parent, entry, first and entry.path in everywhere)


def _answers(output: Iterable[bytes]) -> Iterator[list[Entry]]:
    """The entries that diff-tree prints after each id it was asked for."""
    entries: list[Entry] | None = None
    header = b""
    for field in _fields(output):
        if header:
            entry = entry_of(header, field)
            header = b""
            if entry is not None and entries is not None:
                entries.append(entry)
        elif field.startswith(b":"):
            header = field
        else:
            if entries is not None:
                yield entries
            entries = []
    if entries is not None:
        yield entries


def _fields(output: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in output:
        *whole, rest = (rest + block).split(b"\0")
        yield from whole


def judge_segments(changes: list[Change]) -> Iterator[Finding]:
    """Segments are only ever added, and whole: every line of them too."""
    changes = [change for change in changes if guard.is_segment(change.path) and change.entry.status != "D"]
    contents = plumbing.contents([change.entry.new for change in changes if change.entry.new], lambda _: True)
    for change in changes:
        new = next(contents) if change.entry.new else None
        found = guard.judge_segment(change.path, change.entry.status, new) or _damage(change.path, new)
        if found is not None:
            yield change.finding(found)


def _lost_segments(tips: list[str], changes: list[Change]) -> Iterator[Finding]:
    """Segments that a commit took away, and that one of the tips does not have again."""
    gone = [change for change in changes if guard.is_segment(change.path) and change.entry.status == "D"]
    there = _objects([f"{tip}:{change.path}" for change in gone for tip in tips], "blob")
    for change in gone:
        found = guard.judge_segment(change.path, "D")
        if found is not None and not all(f"{tip}:{change.path}" in there for tip in tips):
            yield change.finding(found)


def _damage(path: str, data: bytes | None) -> Finding | None:
    from mlos_sync.core import journal

    name = journal.name_of(path)
    problems = journal.read_segment(name, data).problems if name and data is not None else ()
    if not problems:
        return None
    told = "; ".join(f"line {line}: {reason}" if line else reason for line, reason in problems[:2])
    return Finding(path, guard.JOURNAL, f"this segment is damaged: {told}", "copy it from the clone that wrote it")


def judge_files(changes: list[Change], settings: Settings) -> Iterator[Finding]:
    """What the guard refuses, and views of the config without a seal, also those that it only now calls views."""
    touched = {(change.commit, change.path) for change in changes}
    named = [
        (change, path)
        for change in changes if change.path == CONFIG
        for path in sorted(settings[change.commit][1] - settings.get(change.parent, NOTHING)[1])
        if (change.commit, path) not in touched and "\n" not in path
    ]  # fmt: skip
    blobs = _objects([f"{change.commit}:{path}" for change, path in named], "blob")
    changes = [change for change in changes if change.introduced and not guard.is_segment(change.path)]
    for change, path in named:
        if name := blobs.get(f"{change.commit}:{path}"):
            entry = Entry(os.fsencode(path), "M", b"", name.encode("ascii"), False)
            changes.append(Change(change.commit, change.parent, entry, True))
    contents = plumbing.contents([name for change in changes for name in change.entry.ids], seal.may_claim)
    # A path that the config calls a view is judged as if any view had stood there before.
    a_view = seal.make(b"---\ncompiled_at: 2000-01-01T00:00:00Z\nseal: pending\n---\n")
    for change in changes:
        new = next(contents) if change.entry.new else b""
        old = next(contents) if change.entry.old else None
        if change.path in settings[change.commit][1]:
            old = a_view
        found = guard.judge(change.path, old, new, new_is_symlink=change.entry.new_is_symlink)
        if found is not None and change.entry.status != "D":
            yield change.finding(found)


def _settings(commits: Iterable[str]) -> Settings:
    """What the config of each commit says; a commit without one is of no workspace, and left out."""
    from mlos_sync.app import opening

    names = {commit: f"{commit}:{CONFIG}" for commit in commits}
    blobs = _objects(list(names.values()), "blob")
    distinct = sorted(set(blobs.values()))
    contents = plumbing.contents([blob.encode("ascii") for blob in distinct], lambda _: True)
    said = {blob: opening.said_of_pushes(data) for blob, data in zip(distinct, contents, strict=True)}
    return {commit: said[blobs[name]] for commit, name in names.items() if name in blobs}


def _outdated(push: Push, tips: list[str], candidates: list[Change]) -> list[Finding]:
    """Views of the tips that are stale or missing, where something changed that a view may show. Views that nobody
    compiled between two commits of a push are nobody's concern."""
    commits = {change.commit for change in candidates}
    changed = [tip for tip in tips if len(tips) == 1 or not commits.isdisjoint(push.commits([tip]))]
    try:
        from mlos_sync.app import verifying

        return [found for tip in changed for found in verifying.outdated(os.getcwd(), tip)]
    except ImportError:  # an interpreter without third parties runs hooks, and compiles nothing
        return []


def _objects(names: list[str], kind: str) -> dict[str, str]:
    """Name -> object id, of those that name an object of this kind here."""
    asked = b"".join(os.fsencode(name) + b"\n" for name in names)
    form = "--batch-check=%(objecttype) %(objectname)"
    out = (
        b"".join(plumbing.fed(asked, "cat-file", form, quiet=True)) if names else b""
    )  # a tag may name what is no commit
    lines = [line.split(b" ") for line in out.split(b"\n")]
    wanted = kind.encode("ascii")
    return {
        name: words[1].decode("ascii")
        for name, words in zip(names, lines, strict=False)
        if len(words) == 2 and words[0] == wanted
    }
