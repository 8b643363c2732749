r"""Paths of other machines -> paths of this workspace, by votes. Nothing is ever guessed: what is not clear is None.

A transcript names files as `/Users/x/project/src/a.py` or `c:\Users\x\project\src\a.py`, by a worktree, a WSL mount or
a percent-encoded URI. Where the end of such a path is a known file, what stands before it is probably the root of the
workspace over there; the root that most known files speak for maps every path below it, known or not, if they are
proof enough: many projects have a `src/index.ts` and a `README.md`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

STRONG = 2  # components that a known path must share with a foreign one: a base name alone proves little
CLONE = 3  # known files that a second clone must have
LONGEST = 4096  # characters of a path, as on Linux; what is longer is none

_DRIVE = re.compile(r"/?([A-Za-z]):(?:/|$)")
_MOUNTED_DRIVE = re.compile(r"/(?:(?:mnt|cygdrive)/([A-Za-z])(?=/)|([A-Za-z])(?=/Users/))")  # WSL, Cygwin; Git Bash
_ENCODED_DRIVE = re.compile(r"/[A-Za-z]%3A/", re.IGNORECASE)
_WSL_SHARE = re.compile(r"//wsl(?:\.localhost|\$)/[^/]+(?=/)", re.IGNORECASE)  # `\\wsl.localhost\Ubuntu\home\x`
_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://[^/]*(?P<path>/[^?#]*)?")
_FILE_SCHEMES = ("file", "vscode-remote")  # `vscode-remote://wsl%2Bubuntu/home/x/a.py`

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # `vscode-userdata:/Users/x`, `untitled:Dear boss`; no drive
_VARIABLE = re.compile(r"(?:\$(?:env:)?\w+|\$\{[^}]*\}|%\w+%)(?:[/\\]|$)", re.IGNORECASE)  # what it holds nobody told

Raw = tuple[str, str | None]  # a path as a transcript gives it, and the folder it is relative to, if that is told


@dataclass(frozen=True, slots=True)
class Place:
    """Where a raw path is in the workspace (relative, POSIX); None where that is not clear, and then `choices` are the
    files of the workspace that it may mean."""

    path: str | None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Foreign:
    """A path in components: `root` is "" for a relative one, "/" or a drive such as "c:" for an absolute one."""

    root: str
    parts: tuple[str, ...]


class Known:
    """The paths of a workspace as they are or were; also told by a spelling that differs in case alone, if one does."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = paths if isinstance(paths, frozenset) else frozenset(paths)
        self._folded: dict[str, str | None] | None = None

    def __contains__(self, path: str | None) -> bool:
        return path in self._paths

    def spelled(self, path: str, any_case: bool) -> str | None:
        """The path as it is known, or None. With `any_case` one that differs in case alone is the same, if it is the
        only one."""
        if path in self._paths:
            return path
        if not any_case:
            return None
        if self._folded is None:
            self._folded = {}
            for one in self._paths:
                key = one.casefold()
                self._folded[key] = None if key in self._folded else one
        return self._folded.get(path.casefold())


def map_paths(
    raw_paths: Iterable[Raw], known: Known, base: str | None = "", *, here: str | None = None
) -> dict[Raw, Place]:
    """Each raw path with its place in the workspace.

    Relative raw paths are taken from their folder, or, where none is told, from `base`, a folder of the workspace;
    with `None`, of a transcript outside of the workspace, they have no place.
    `here` is where the workspace lies, for a log of this machine: what lies there is the workspace, and a folder that
    the session was told to be in is no reason to take its project for this one. Takes a few look-ups in `known` for each
    raw path, however many paths are known.
    """
    foreign = {raw: _absolute(*raw) for raw in raw_paths}
    rooted = {path for path in foreign.values() if path is not None and path.root}
    root = _root_here(rooted, here) or _voted_root(rooted, _folders(foreign) if here is None else set(), known)
    clones = _clones(rooted, root, known) if root is not None else []
    return {raw: _mapped(raw, path, root, clones, known, base) for raw, path in foreign.items()}


def _root_here(paths: set[_Foreign], here: str | None) -> _Foreign | None:
    """The workspace itself, if one of the paths lies in it."""
    root = _parse(here) if here else None
    return root if root is not None and any(_is_below(path, root) for path in paths) else None


def _folders(raw_paths: Iterable[Raw]) -> set[_Foreign]:
    """The absolute folders that raw paths are told with; for a worktree inside a repository, the repository."""
    parsed = [_parse(folder) for folder in {folder for _, folder in raw_paths if folder}]
    roots = [_candidate(folder, 0) for folder in parsed if folder is not None and folder.root]
    return {_folded(root) for root in roots if root is not None}


def _absolute(raw: str, folder: str | None) -> _Foreign | None:
    """A raw path taken apart; a relative one joined to the absolute folder it is told with."""
    path = _parse(raw)
    start = _parse(folder) if folder and path is not None and not path.root else None
    if path is None or start is None or not start.root:
        return path
    parts = _collapsed((*start.parts, *path.parts))
    return _Foreign(start.root, parts) if parts else None


def _mapped(
    raw: Raw, path: _Foreign | None, root: _Foreign | None, clones: list[_Foreign], known: Known, base: str | None
) -> Place:
    if base == "" and raw[1] is None and raw[0] in known:  # whatever it looks like: a backslash may be part of a name
        return Place(raw[0])
    if path is None:
        return Place(None)
    if not path.root:
        return Place(None) if base is None else Place("/".join(_collapsed((*base.split("/"), *path.parts))) or None)
    if root is not None and _is_below(path, root):
        return Place(_below(path, root, known))
    return _elsewhere(path, root, clones, known)


def _below(path: _Foreign, root: _Foreign, known: Known) -> str | None:
    """The path below the root. A worktree inside the workspace stands for the workspace itself.

    `.claude/worktrees/fix-a/src/a.py` and `.worktrees/fix-a/src/a.py` are `src/a.py`, unless known as they stand.
    """
    parts = path.parts[len(root.parts) :]
    for names in (parts, parts[_worktree(parts) :]):
        if spelled := known.spelled("/".join(names), _any_case(path)):
            return spelled
    return "/".join(parts[_worktree(parts) :]) or None


def _elsewhere(path: _Foreign, root: _Foreign | None, clones: list[_Foreign], known: Known) -> Place:
    """A path outside the voted root, such as one in a second clone or in another project beside this one.

    Below the root of a second clone everything is clear. Elsewhere nothing is: other projects have a `src/main.py` too,
    so that long known ends are choices, and, where no root won, so is a base name. What lies in a home folder itself
    belongs to the person, `~/.claude/settings.json` say, whatever is known here; and a folder around the workspace is
    not the workspace.
    """
    for clone in clones:
        if _is_below(path, clone):
            return Place(_below(path, clone, known))
    choices: list[str] = []
    for index in range(len(path.parts)):
        folder = _Foreign(path.root, path.parts[:index])
        if _is_home(folder.parts) or (root is not None and _is_below(root, folder)):
            continue
        if len(path.parts) - index < STRONG and (choices or root is not None):
            continue
        spelled = known.spelled("/".join(path.parts[index:]), _any_case(path))
        choices += [spelled] if spelled is not None else []
    return Place(None, tuple(choices))


def _clones(paths: set[_Foreign], root: _Foreign, known: Known) -> list[_Foreign]:
    """Roots beside the voted one that hold this project too (a worktree, a copy): at least `CLONE` files are known here
    by a long end, and three quarters of all paths below are known. Of a project that merely resembles it few are."""
    outside = sorted({_folded(path) for path in paths if not _is_below(path, root)}, key=_order)
    ends: dict[_Foreign, set[str]] = defaultdict(set)
    for path in outside:
        matched, end = _known_end(path, known)
        candidate = _candidate(path, matched) if matched >= STRONG else None
        if candidate is not None and not _is_below(root, candidate):
            ends[candidate].add(end)
    possible = {candidate for candidate, files in ends.items() if len(files) >= CLONE}
    below: Counter[_Foreign] = Counter()
    known_below: Counter[_Foreign] = Counter()
    for path in outside if possible else ():
        for length in range(1, len(path.parts)):
            folder = _Foreign(path.root, path.parts[:length])
            if folder in possible:
                below[folder] += 1
                known_below[folder] += _below(path, folder, known) in known
    return sorted((clone for clone in possible if 4 * known_below[clone] >= 3 * below[clone]), key=_order)


def _voted_root(paths: set[_Foreign], folders: set[_Foreign], known: Known) -> _Foreign | None:
    """The root that most distinct known files speak for, if they are proof enough.

    A base name alone speaks only for a folder that the session was told to be in. Where there is nothing better, two
    of them are enough if all paths of the session lie below one root and are known there.
    """
    strong: dict[_Foreign, set[str]] = defaultdict(set)
    weak: dict[_Foreign, set[str]] = defaultdict(set)
    spelling: dict[_Foreign, _Foreign] = {}  # of roots that differ in case alone on a system where that is one folder
    for path in sorted(paths, key=_order):
        matched, end = _known_end(path, known)
        root = _candidate(path, matched) if matched else None
        if root is None:
            continue
        votes = strong if matched >= STRONG or _folded(root) in folders else weak
        votes[spelling.setdefault(_folded(root), root)].add(end)
    if strong:
        first = _winner({root: len(files) for root, files in strong.items()})
        if first is None or _folded(first) in folders:
            return first
        return first if _is_supported(first, len(strong[first]), len(strong) == 1, paths, known) else None
    single = next(iter(weak)) if len(weak) == 1 else None
    if single is None or len(weak[single]) < 2:
        return None
    return single if all(_is_below(path, single) and _below(path, single, known) in known for path in paths) else None


def _is_supported(root: _Foreign, files: int, alone: bool, paths: set[_Foreign], known: Known) -> bool:
    """Whether so many known files prove a root: several, if they are a third of the files below it; a single one, if
    no file below it is unknown and no other root has any."""
    below = {_below(_folded(path), root, known) for path in paths if _is_below(path, root)} - {None}
    if files > 1:
        return 3 * files >= len(below)
    return alone and all(path in known for path in below)


def _any_case(path: _Foreign) -> bool:
    """Whether names that differ in case alone are one there: on a drive, and in a home of macOS."""
    return path.root != "/" or (path.parts[:1] != () and path.parts[0].casefold() == "users")


def _folded(path: _Foreign) -> _Foreign:
    return _Foreign(path.root, tuple(part.casefold() for part in path.parts)) if _any_case(path) else path


def _winner(votes: dict[_Foreign, int]) -> _Foreign | None:
    """The first in the poll; of several that tie none, unless one holds the others: the workspace around them."""
    most = max(votes.values())
    first = sorted((root for root, count in votes.items() if count == most), key=lambda root: len(root.parts))
    return first[0] if all(_is_below(root, first[0]) for root in first) else None


def _order(path: _Foreign) -> tuple[str, tuple[str, ...]]:
    return path.root, path.parts


def _known_end(path: _Foreign, known: Known) -> tuple[int, str]:
    """How many components the longest known end of a path has, and that end as it is known; 0 where none is."""
    for index in range(len(path.parts)):
        if spelled := known.spelled("/".join(path.parts[index:]), _any_case(path)):
            return len(path.parts) - index, spelled
    return 0, ""


def _candidate(path: _Foreign, matched: int) -> _Foreign | None:
    """The root that a path votes for: what stands before its known end, the repository rather than a worktree in it.

    A drive, the file system or somebody's home is no root: each would claim files that are not the project's.
    """
    parts = path.parts[: len(path.parts) - matched]
    for length in (3, 2):
        if _worktree(parts[-length:]) == length and not _is_home(parts[:-length]):
            parts = parts[:-length]
            break
    return None if _is_home(parts) else _Foreign(path.root, parts)


def _worktree(parts: tuple[str, ...]) -> int:
    """How many components at the start lead into a worktree: `.claude/worktrees/fix-a`, `.worktrees/fix-a`, or 0."""
    if len(parts) > 2 and parts[0][:1] == "." and parts[1] == "worktrees":
        return 3
    return 2 if len(parts) > 1 and parts[0] == ".worktrees" else 0


def _is_below(path: _Foreign, root: _Foreign) -> bool:
    """Whether a path is in a folder."""
    head, tail = path.parts[: len(root.parts)], root.parts
    if path.root != root.root or len(head) < len(tail):
        return False
    return head == tail or (_any_case(path) and [x.casefold() for x in head] == [x.casefold() for x in tail])


def _is_home(parts: tuple[str, ...]) -> bool:
    """Whether an absolute folder is a home or above all homes: `/Users/x`, `c:/Users`, `~`, `/root`, `/`."""
    return not parts or parts in (("~",), ("root",)) or (len(parts) <= 2 and parts[0].lower() in ("home", "users"))


def _parse(raw: str) -> _Foreign | None:
    """The components of a raw path, or None for what is no path: blank, a URL, one that starts with a variable or
    climbs above its root."""
    text = _plain(raw.strip())
    if not text or len(text) > LONGEST or "\0" in text:
        return None
    drive = _DRIVE.match(text) or _MOUNTED_DRIVE.match(text)
    if drive is not None:
        root, rest = drive[drive.lastindex or 1].lower() + ":", text[drive.end() :]
    else:
        root, rest = "/" if text[0] == "/" or text.startswith("~/") else "", text
    parts = _collapsed(tuple(rest.split("/")), floor=bool(root))
    return _Foreign(root, parts) if parts else None


def _plain(text: str) -> str:
    """The path with slashes only and nothing encoded: URIs decoded, backslashes of Windows turned, WSL shares local."""
    uri = _URI.match(text)
    if uri is not None:
        text = unquote(uri["path"] or "", errors="replace") if uri["scheme"].lower() in _FILE_SCHEMES else ""
    elif text[:6].lower() == "file:/":
        text = unquote(text[5:], errors="replace")
    elif _SCHEME.match(text) or _VARIABLE.match(text):
        return ""
    elif _ENCODED_DRIVE.match(text):
        text = unquote(text, errors="replace")
    if "\\" in text and ("/" not in text or _DRIVE.match(text.replace("\\", "/"))):
        text = text.replace("\\", "/")
    return _WSL_SHARE.sub("", text, count=1)


def _collapsed(parts: tuple[str, ...], floor: bool = True) -> tuple[str, ...]:
    """Components without empty ones, `.` and `..`. With a floor, nothing remains of a path that climbs out of it."""
    kept: list[str] = []
    for part in parts:
        if part != "..":
            kept += [part] if part not in ("", ".") else []
        elif kept and kept[-1] != "..":
            kept.pop()
        elif floor:
            return ()
        else:
            kept.append(part)
    return tuple(kept)
