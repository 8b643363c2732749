"""What differs between the work tree and the index, by content hash. Pure: the planner of sync, status and rebuild."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from mlos_sync.core.paths import sort_key

# size, mtime_ns, ctime_ns, inode, mode
Stat = tuple[int, int, int, int, int]
Stats = dict[str, dict[str, Stat]]  # folder ("" is the root) -> name -> stat
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing: proves no move
FEW = 1000  # names that are looked at one by one; for more, all is looked at
MASS = 50  # more disappearances than this, and more than half of all, need a word from the user


@dataclass(frozen=True, slots=True)
class Hashed:
    """A file's content as hashed: SHA-256, git blob id, the stat it had, and the head where it may say something.

    The mode in `stat` is negative when the file changed so recently that the stat must not vouch for the content next
    time (git's racy rule): it then equals nothing that a walk sees. `when` is the modification time in seconds. `head`
    holds up to 64 KiB of a markdown file that starts with frontmatter or looks like a transcript, else it is empty.
    """

    sha256: str
    blob: str
    stat: Stat
    when: int
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a sync looks: `paths` are files and folders of the workspace (what is below them too), None for all of it;
    `beside` also at commits, the journal, and transcripts that are no files of the work tree. `heard`: who names the paths has
    heard of all that happened (other rules, another folder in a folder's place), so that a file of which the index knows that
    it counts need not be asked for."""

    paths: frozenset[str] | None = None
    beside: bool = True
    heard: bool = False

    def covers(self, path: str) -> bool:
        """Whether a path is looked at."""
        return self.paths is None or is_covered(path, self.paths)


EVERYWHERE = Reach()


@dataclass(frozen=True, slots=True)
class Changes:
    """A plan: paths in the order of `sort_key`. `moved` is (from, to)."""

    added: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    moved: tuple[tuple[str, str], ...] = ()
    deleted: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()  # same content under another stat
    unchanged: int = 0

    def __bool__(self) -> bool:
        """Whether anything differs in content or place."""
        return bool(self.added or self.modified or self.moved or self.deleted)


@dataclass(slots=True)
class Comparison:
    """The first half of a plan: what the stats alone can tell."""

    suspect: list[str] = field(default_factory=list)  # must be hashed
    gone: list[str] = field(default_factory=list)
    unchanged: int = 0


def compare(seen: Stats, known: Stats, unknown: Iterable[str]) -> Comparison:
    """Stats seen on disk against stats in the index.

    `unknown` are paths of which nothing can be said, or folders (they cover what is below); a known path that was not
    seen is gone unless one of them covers it.
    """
    result = Comparison()
    for folder, names in seen.items():
        before = known.get(folder, {})
        if names == before:  # one comparison in C for a folder in which nothing happened
            result.unchanged += len(names)
            continue
        for name, stat in names.items():
            if before.get(name) == stat:
                result.unchanged += 1
            else:
                result.suspect.append(joined(folder, name))
    if sum(map(len, known.values())) > result.unchanged:
        covered = set(unknown)
        missing = (
            joined(folder, name)
            for folder, names in known.items()
            for name in names
            if name not in seen.get(folder, {})
        )
        result.gone = sorted((path for path in missing if not is_covered(path, covered)), key=sort_key)
    result.suspect.sort(key=sort_key)
    return result


def joined(folder: str, name: str) -> str:
    """The path of a name in a folder; the root is the empty text."""
    return f"{folder}/{name}" if folder else name


def by_folder(stats: Iterable[tuple[str, Stat]]) -> Stats:
    """(path, stat) pairs as a tree of folders."""
    tree: Stats = {}
    for path, stat in stats:
        folder, _, name = path.rpartition("/")
        names = tree.get(folder)
        if names is None:
            names = tree[folder] = {}
        names[name] = stat
    return tree


def is_covered(path: str, unknown: Set[str]) -> bool:
    """Whether a path, or a folder above it, is one of a set ("" is the root)."""
    if not unknown:
        return False
    if path in unknown or "" in unknown:
        return True
    while "/" in path:
        path = path.rpartition("/")[0]
        if path in unknown:
            return True
    return False


def plan(comparison: Comparison, hashed: Mapping[str, Hashed], known: Mapping[str, str]) -> Changes:
    """The changes, given the hashes of the suspects and the index's hash of every suspect or gone path."""
    added: list[str] = []
    modified: list[str] = []
    touched: list[str] = []
    for path in comparison.suspect:
        new = hashed.get(path)
        if new is None:
            continue
        old = known.get(path)
        (added if old is None else touched if old == new.sha256 else modified).append(path)
    moved = _moves(comparison.gone, added, known, hashed)
    sources, targets = {old for old, _ in moved}, {new for _, new in moved}
    return Changes(
        added=tuple(path for path in added if path not in targets),
        modified=tuple(modified),
        moved=tuple(moved),
        deleted=tuple(path for path in comparison.gone if path not in sources),
        touched=tuple(touched),
        unchanged=comparison.unchanged + len(touched),
    )


def _moves(
    gone: list[str], added: list[str], known: Mapping[str, str], hashed: Mapping[str, Hashed]
) -> list[tuple[str, str]]:
    """Pairs of a path that went and one that came with the same bytes; the same base name is preferred."""
    if not gone or not added:
        return []
    waiting: dict[str, list[str]] = {}
    for path in gone:
        if (content := known.get(path)) and content != EMPTY:
            waiting.setdefault(content, []).append(path)
    pairs: list[tuple[str, str]] = []
    for same_name in (True, False):
        for path in added:
            sources = waiting.get(hashed[path].sha256, []) if path not in {new for _, new in pairs} else []
            base = path.rpartition("/")[2]
            old = next((one for one in sources if not same_name or one.rpartition("/")[2] == base), None)
            if old is not None:
                sources.remove(old)
                pairs.append((old, path))
    return pairs


def is_mass_disappearance(lost: int, known: int) -> bool:
    """More than half and more than fifty: a transient state is likelier than a wish."""
    return lost > MASS and lost * 2 > known
