r"""Paths of other machines -> paths of this workspace, by votes. Nothing is ever guessed: what is not clear is None.

A transcript names files as `/Users/x/project/src/a.py` or `c:\Users\x\project\src\a.py`, by a worktree, a WSL mount or
a percent-encoded URI. Where the end of such a path is a known file, what stands before it is probably the root of the
workspace over there; the root with the most such evidence maps every path below it, known or not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass
from urllib.parse import unquote

STRONG = 2  # components that a known path must share with a foreign one: a base name alone proves little
LONGEST = 4096  # characters of a path, as on Linux; what is longer is none

_DRIVE = re.compile(r"/?([A-Za-z]):(?:/|$)")
_MOUNTED_DRIVE = re.compile(r"/(?:mnt/|cygdrive/)?([A-Za-z])(?=/)")  # `/mnt/c/Users` WSL, `/c/Users` Git Bash
_ENCODED_DRIVE = re.compile(r"/[A-Za-z]%3A/", re.IGNORECASE)
_WSL_SHARE = re.compile(r"//wsl(?:\.localhost|\$)/[^/]+(?=/)", re.IGNORECASE)  # `\\wsl.localhost\Ubuntu\home\x`
_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://[^/]*(?P<path>/[^?#]*)?")
_FILE_SCHEMES = ("file", "vscode-remote")  # `vscode-remote://wsl%2Bubuntu/home/x/a.py`


@dataclass(frozen=True, slots=True)
class _Foreign:
    """A path in components: `root` is "" for a relative one, "/" or a drive such as "c:" for an absolute one."""

    root: str
    parts: tuple[str, ...]


def map_paths(raw_paths: Iterable[str], known: Container[str], base: str = "") -> dict[str, str | None]:
    """Each raw path with its path in the workspace (relative, POSIX), or None where that is not clear.

    `known` holds the paths of the workspace as they are or were. Relative raw paths are taken from `base`, a folder
    of the workspace. Takes a few look-ups in `known` for each raw path, however many paths are known.
    """
    foreign = {raw: _parse(raw) for raw in raw_paths}
    root = _voted_root({path for path in foreign.values() if path is not None and path.root}, known)
    return {raw: _mapped(raw, path, root, known, base) for raw, path in foreign.items()}


def _mapped(raw: str, path: _Foreign | None, root: _Foreign | None, known: Container[str], base: str) -> str | None:
    if not base and raw in known:  # whatever it looks like: a backslash may be part of a name
        return raw
    if path is None:
        return None
    if not path.root:
        return "/".join(_collapsed((*base.split("/"), *path.parts))) or None
    if root is not None and _is_below(path, root):
        return _below(path.parts[len(root.parts) :], known)
    return _elsewhere(path, root, known)


def _below(parts: tuple[str, ...], known: Container[str]) -> str | None:
    """The path below the root. A worktree inside the workspace stands for the workspace itself.

    `.claude/worktrees/fix-a/src/a.py` and `.worktrees/fix-a/src/a.py` are `src/a.py`, unless known as they stand.
    """
    path = "/".join(parts)
    if path in known:
        return path
    return "/".join(parts[_worktree(parts) :]) or None


def _elsewhere(path: _Foreign, root: _Foreign | None, known: Container[str]) -> str | None:
    """A path outside the voted root, such as one in a second clone: clear if one long end of it alone is known.

    What lies in a home folder itself belongs to the person, `~/.claude/settings.json` say, whatever is known here;
    and a folder around the workspace is not the workspace.
    """
    ends = [index for index in range(len(path.parts) - STRONG + 1) if "/".join(path.parts[index:]) in known]
    if len(ends) != 1 or _is_home(path.parts[: ends[0]]):
        return None
    if root is not None and _is_below(root, _Foreign(path.root, path.parts[: ends[0]])):
        return None
    return "/".join(path.parts[ends[0] :])


def _voted_root(paths: set[_Foreign], known: Container[str]) -> _Foreign | None:
    """The root with the most matched components behind it.

    Matches by base name alone count only when there are no others, agree on one root, and no path lies outside it.
    """
    strong: Counter[_Foreign] = Counter()
    weak: set[_Foreign] = set()
    for path in paths:
        matched = _matched(path, known)
        root = _candidate(path, matched) if matched else None
        if root is None:
            continue
        if matched >= STRONG:
            strong[root] += matched
        else:
            weak.add(root)
    if strong:
        return _winner(strong)
    single = weak.pop() if len(weak) == 1 else None
    return single if single and all(_is_below(path, single) for path in paths) else None


def _winner(votes: Counter[_Foreign]) -> _Foreign | None:
    """The first in the poll; of several that tie none, unless one holds the others: the workspace around them."""
    most = max(votes.values())
    first = sorted((root for root, count in votes.items() if count == most), key=lambda root: len(root.parts))
    return first[0] if all(_is_below(root, first[0]) for root in first) else None


def _matched(path: _Foreign, known: Container[str]) -> int:
    """How many components the longest known end of a path has."""
    for index in range(len(path.parts)):
        if "/".join(path.parts[index:]) in known:
            return len(path.parts) - index
    return 0


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
    """Whether a path is in a folder. On a drive, letters of either case are the same."""
    head, tail = path.parts[: len(root.parts)], root.parts
    if path.root != root.root or len(head) < len(tail):
        return False
    return head == tail or (path.root != "/" and [x.casefold() for x in head] == [x.casefold() for x in tail])


def _is_home(parts: tuple[str, ...]) -> bool:
    """Whether an absolute folder is a home or above all homes: `/Users/x`, `c:/Users`, `~`, `/root`, `/`."""
    return not parts or parts in (("~",), ("root",)) or (len(parts) <= 2 and parts[0].lower() in ("home", "users"))


def _parse(raw: str) -> _Foreign | None:
    """The components of a raw path, or None for what is no path: blank, a URL, one that climbs above its root."""
    text = _plain(raw.strip())
    if not text or len(text) > LONGEST or "\0" in text:
        return None
    drive = _DRIVE.match(text) or _MOUNTED_DRIVE.match(text)
    if drive is not None:
        root, rest = drive[1].lower() + ":", text[drive.end() :]
    else:
        root, rest = "/" if text[0] == "/" or text.startswith("~/") else "", text
    parts = _collapsed(tuple(rest.split("/")), floor=bool(root))
    return _Foreign(root, parts) if parts else None


def _plain(text: str) -> str:
    """The path with slashes only and nothing encoded: URIs decoded, backslashes of Windows turned, WSL shares local."""
    uri = _URI.match(text)
    if uri is not None:
        text = unquote(uri["path"] or "", errors="replace") if uri["scheme"].lower() in _FILE_SCHEMES else ""
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
