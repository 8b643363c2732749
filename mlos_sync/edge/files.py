"""The work tree: which files count, what they look like, and writing a file so that it is old or new, never half.

Git decides what is ignored (`.gitignore`, nested ones, excludes, sparse checkouts): its own walk is exact and in C.
`.mlosignore` and the config's `ignore`, in the same syntax, then take more away. Names with a leading dot count.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat as modes
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from mlos_sync.core.changes import Stat, Stats, by_folder, is_covered
from mlos_sync.core.paths import from_text, indexed, to_bytes
from mlos_sync.edge import git, hashing
from mlos_sync.edge.workspace import MARKER, Workspace
from mlos_sync.errors import SurroundingsError

T = TypeVar("T")

_KIND = 0o170000  # the part of a mode that tells files, links and folders apart
IGNORE_FILE = ".mlosignore"
SPARSE = "not checked out (sparse checkout)"


@dataclass(frozen=True, slots=True)
class Observed:
    """The work tree as one walk saw it."""

    files: Stats
    absent: dict[str, str]  # in git's index, should be on disk, looked at and not there: path -> blob
    unknown: dict[str, str]  # path or folder -> why nothing can be said of it (nothing below it counts as deleted)
    odd: dict[str, str]  # path -> why it is no artifact (a pipe, a socket)
    remarks: dict[str, str]  # file -> what is wrong with it that is no matter of its own content (a bad pattern)


def observe(workspace: Workspace, meanwhile: Callable[[], T]) -> tuple[Observed, T]:
    """Walk the work tree: two runs of git (its index, its untracked files) and one lstat a file.

    `meanwhile` is called while another process walks, and its result is handed back.
    """
    if not os.path.isdir(workspace.root):
        raise SurroundingsError(f"{workspace.root} has gone", "mount or restore the workspace; nothing was changed")
    with ThreadPoolExecutor(2) as threads:
        index = threads.submit(git.tracked_paths, workspace.root)
        untracked = threads.submit(git.untracked_paths, workspace.root)
        keep, bad_patterns = ignore_rule(workspace)
        done: list[T] = []
        files, absent, unknown, odd = _look(workspace.root, keep(index.result()), lambda: done.append(meanwhile()))
        others, closed = untracked.result()
    more, _, unknown_too, odd_too = _look(workspace.root, keep(others))
    files += more
    unknown |= unknown_too | dict.fromkeys(closed, "this folder cannot be read")
    missing, sparse = _absent(git.tracked(workspace.root), absent) if absent else ({}, {})
    return Observed(by_folder(files), missing, unknown | sparse, odd | odd_too, bad_patterns), done[0]


def observe_at(workspace: Workspace, paths: Collection[str], counts: Callable[[str], bool]) -> Observed:
    """The same for some paths and what is below them. Git is not asked of files of which the caller says that each `counts`
    still: it knows them, and has heard that no rules changed. What it heard of folders are paths themselves; what is below one
    is looked at as a part of it, known or not, since it may be another one by now (with rules of its own, a repository, a
    link)."""
    root = workspace.root
    named = frozenset(paths)
    ordered = sorted(path for path in named if not is_covered(path.rpartition("/")[0], named))
    there = {
        path: found for path, found in zip(ordered, hashing.stat_files(root, ordered), strict=True)
        if isinstance(found, tuple) or found not in (errno.ENOENT, errno.ENOTDIR)
    }  # fmt: skip
    known = [path for path in there if counts(path) and not _is_folder(there[path])]
    new = [path for path in there if path not in set(known)]
    tracked = git.tracked_paths(root, *new) if new else []
    others, closed = git.untracked_paths(root, *new) if new else ([], [])
    keep, bad_patterns = ignore_rule(workspace)
    files, absent, unknown, odd = _look(root, list(dict.fromkeys(known + keep(tracked + others))))
    unknown |= dict.fromkeys(closed, "this folder cannot be read")
    gone = [path for path in ordered if path not in there] + sorted(absent)
    entries = git.tracked(root, *gone) if gone else {}
    missing, sparse = _absent(entries, entries.keys() - {path for path, _ in files})
    return Observed(by_folder(files), missing, unknown | sparse, odd, bad_patterns)


def _is_folder(found: object) -> bool:
    return isinstance(found, tuple) and modes.S_ISDIR(found[4])


def _absent(entries: Mapping[str, git.Tracked], absent: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Of what git's index has and nobody found: path -> blob; and what a sparse checkout leaves out, path -> why."""
    sparse = {path: SPARSE for path in absent if path in entries and entries[path].tag == "S"}
    missing = {path: entries[path].blob for path in absent if path in entries and path not in sparse}
    return missing, sparse  # the others are gitlinks: submodules


def ignore_rule(workspace: Workspace) -> tuple[Callable[[list[str]], list[str]], dict[str, str]]:
    """(what keeps the paths that count, patterns that are none: file -> what is wrong). Journal segments never count, nor what
    lies in the git directory: git lists that where it is in the tree under another name than `.git`."""
    gits = tuple(_gits_inside(workspace))

    def counting(paths: list[str]) -> list[str]:
        return [path for path in indexed(paths) if not path.startswith(gits)] if gits else indexed(paths)

    data = read(workspace, IGNORE_FILE) or b""
    sources = [(IGNORE_FILE, data.decode("utf-8", "replace").split("\n")), (MARKER, list(workspace.config.ignore))]
    wanted = [
        (name, number, line.rstrip("\r"))
        for name, lines in sources
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]
    if not wanted:
        return counting, {}
    from pathspec import GitIgnoreSpec

    good, bad = [], {}
    for name, number, line in wanted:
        try:
            GitIgnoreSpec.from_lines([line])
            good.append(line)
        except (ValueError, re.error):
            bad[name] = f"line {number}: {line!r} is no pattern; the others count"
    spec = GitIgnoreSpec.from_lines(good)
    return lambda paths: [path for path in counting(paths) if not spec.match_file(path)], bad


def _gits_inside(workspace: Workspace) -> Iterator[str]:
    """Beginnings of paths of what is git's own (`git init --separate-git-dir`)."""
    for place in {workspace.git_dir, workspace.common_dir}:
        path = os.path.relpath(place, workspace.root)
        if ".git" not in path.split(os.sep) and not path.startswith(os.pardir):
            yield f"{from_text(path)}/"


def _look(
    root: str, paths: list[str], meanwhile: Callable[[], None] = lambda: None
) -> tuple[list[tuple[str, Stat]], set[str], dict[str, str], dict[str, str]]:
    """lstat each path: (files and links, absent ones, ones that could not be looked at, ones of another kind). What is behind
    a link is absent."""
    files: list[tuple[str, Stat]] = []
    absent: set[str] = set()
    unknown: dict[str, str] = {}
    odd: dict[str, str] = {}
    for path, found in zip(paths, hashing.stat_files(root, paths, meanwhile), strict=True):
        if isinstance(found, tuple):
            kind = found[4] & _KIND
            if kind == modes.S_IFREG or kind == modes.S_IFLNK:
                files.append((path, found))
            elif kind == modes.S_IFDIR:
                absent.add(path)
            else:
                odd[path] = "not a regular file"
        elif found in (errno.ENOENT, errno.ENOTDIR):
            absent.add(path)
        else:
            unknown[path] = os.strerror(found) if isinstance(found, int) else "cannot be looked at"
    return files, absent, unknown, odd


def is_there(workspace: Workspace, path: str) -> bool:
    """Whether a walk would find something at a path."""
    return isinstance(hashing.stat_files(workspace.root, [path])[0], tuple)


def is_git_at_work(workspace: Workspace) -> bool:
    """Whether git holds its index lock: what is missing just now may be about to be written."""
    return os.path.exists(os.path.join(workspace.git_dir, "index.lock"))


def read(workspace: Workspace, path: str) -> bytes | None:
    """A regular file's bytes, links not followed; None when there is none.

    One that is a second name of the database is none: to close it again would drop the locks that SQLite holds in this
    process (sqlite.org/howtocorrupt.html, 2.2).
    """
    if _is_database(workspace, path):
        return None
    try:
        descriptor = os.open(workspace.absolute(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    if not modes.S_ISREG(os.fstat(descriptor).st_mode):  # of a folder Python would make no file
        os.close(descriptor)
        return None
    with open(descriptor, "rb") as file:
        return file.read()


def _is_database(workspace: Workspace, path: str) -> bool:
    with contextlib.suppress(OSError):
        found = os.lstat(workspace.absolute(path))
        if found.st_nlink > 1:
            return any(
                os.path.lexists(one) and os.path.samestat(found, os.stat(one))
                for one in (workspace.database + end for end in ("", "-wal", "-shm"))
            )
    return False


def write(root: str, path: str, data: bytes, mode: int = 0o644, *, check: Callable[[], None] = lambda: None) -> None:
    """Write a file beside its place, make it durable and move it in; an existing file's mode is kept. `check` is called in
    the moment before, and what it raises leaves the place as it is.

    Raises SurroundingsError when a folder on the way is a link (nothing is written outside) or the disk refuses.
    """
    target = os.path.join(os.fsencode(root), to_bytes(path))
    folder = os.path.dirname(target)
    try:
        _make_folders(os.fsencode(root), os.path.dirname(to_bytes(path)))
        with contextlib.suppress(FileNotFoundError):
            found = os.lstat(target).st_mode
            mode = modes.S_IMODE(found) if modes.S_ISREG(found) else mode
        descriptor, temporary = tempfile.mkstemp(prefix=b".mlos-%d-" % os.getpid(), dir=folder)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            check()
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        folder_descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder_descriptor)
        os.close(folder_descriptor)
    except OSError as error:
        raise SurroundingsError(
            f"{path} could not be written: {error.strerror}", "free space or mend the folder's rights"
        ) from None


def remove_leftovers(folder: str) -> None:
    """Take away what `write` left beside its place when its process was killed."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        process = name.removeprefix(".mlos-").partition("-")[0]
        if name.startswith(".mlos-") and process.isdecimal() and not is_alive(int(process)):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, name))


def signature(name: str) -> object:
    """What tells that a file is not as it was; None where there is none to be seen. Links are followed."""
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def is_alive(process: int) -> bool:
    """Whether a process runs on this machine. One that was killed and that nobody has asked for yet does not; only Linux
    tells."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return process_state(process) not in ("Z", "X")


def process_state(process: int) -> str:
    """The letter of proc(5) for what a process does (R, S, T stopped, Z ended and not asked for); "" where the system does
    not tell."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return ""


def process_line(process: int) -> tuple[int, list[str]] | None:
    """(parent, arguments) of a running process: exact from procfs, elsewhere as `ps` prints them; None where neither can
    tell."""
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            arguments = os.fsdecode(file.read()).split("\0")
        with open(f"/proc/{process}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1]), arguments
    except (OSError, ValueError, IndexError):
        pass
    ps = shutil.which("ps", path="/bin:/usr/bin")
    if ps is None:
        return None
    done = subprocess.run([ps, "-o", "ppid=,args=", "-p", str(process)], capture_output=True, check=False)
    parent, _, line = done.stdout.decode("utf-8", "replace").strip().partition(" ")
    return (int(parent), line.split()) if parent.isdecimal() else None


def _make_folders(root: bytes, below: bytes) -> None:
    current = root
    for part in below.split(b"/") if below else []:
        current = os.path.join(current, part)
        if os.path.islink(current):
            raise SurroundingsError(
                f"{os.fsdecode(current)} is a symbolic link", "make it a real folder; links are not followed"
            )
        with contextlib.suppress(FileExistsError):
            os.mkdir(current)
