"""Reads and hashes files, in a process of its own that never opens a database.

Closing any descriptor of a SQLite file drops all POSIX locks that the process holds on it, so a process with the
index open must not read files that might be it, through a link or otherwise. Started as
`python -I -S hash_worker.py ROOT ALGORITHM PACKAGE_FOLDER`; standard library only.

Asked (see `answering`) ("stat" or "hash", list of path bytes), it answers, for "stat", one (size, mtime_ns, ctime_ns,
inode, mode) or errno per path; for "hash" a tuple
(sha256, blob id, stat, mtime in seconds, head) or a text that says why not, where the stat's mode is negative if the
racy rule says not to trust it. No link is followed, neither at the end of a path nor on the way: what is behind one is
another file, which may lie outside, and the one that was asked for is not there (so says git: `has_symlink_leading_path`).
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
import time

TYPE_CHECKING = False  # typing takes longer to import than a small walk
if TYPE_CHECKING:
    from typing import Any

CHUNK = 1 << 20
HEAD = 65_536
LIMIT = 4 * 1024**3  # larger files are named, not hashed
# File times come from the kernel's coarse clock (4 or 10 ms behind); see git's racy-git document for the rule.
RACE_NS = 20_000_000


def stats(root: int, names: list[bytes]) -> list[object]:
    """lstat each name: its numbers, or the error's. A link is no folder: ENOTDIR for what is behind one."""
    found: list[object] = []
    real: dict[bytes, bool] = {}
    before, is_there = b"", True
    for name in names:
        folder = name[: name.rfind(b"/") + 1]
        if folder != before:
            before, is_there = folder, is_real(root, folder, real)
        if not is_there:
            found.append(errno.ENOTDIR)
            continue
        try:
            s = os.lstat(name, dir_fd=root)
            found.append((s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_mode))
        except OSError as error:
            found.append(error.errno)
    return found


def is_real(root: int, folder: bytes, known: dict[bytes, bool]) -> bool:
    """Whether no link is on the way to what is in a folder (its name, with `/` at the end, as all in `known`: what was found
    so far, so that each folder is looked at once, and not with each of its files)."""
    below = []
    while folder and folder not in known:
        below.append(folder)
        folder = folder[: folder.rfind(b"/", 0, -1) + 1]
    found = known[folder] if folder else True
    for one in reversed(below):
        found = known[one] = found and not _is_link(root, one[:-1])
    return found


def _is_link(root: int, name: bytes) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(name, dir_fd=root).st_mode)
    except OSError:  # what is wrong, the look at the file itself says
        return False


def hashes(root: int, names: list[bytes], algorithm: str) -> list[object]:
    """What `look` says of each name; of what is behind a link, that it is not there."""
    real: dict[bytes, bool] = {}
    behind = os.strerror(errno.ENOTDIR)
    return [
        look(root, name, algorithm) if is_real(root, name[: name.rfind(b"/") + 1], real) else behind for name in names
    ]


def look(root: int, name: bytes, algorithm: str) -> object:
    """One file's hashes; text when it cannot be hashed. The folders on the way are taken for real ones."""
    global hashlib
    import hashlib

    try:
        return _stable(root, name, algorithm) or _stable(root, name, algorithm) or "busy: it changes while it is read"
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):  # what O_NOFOLLOW says of a link
            return _link(root, name, algorithm)
        return error.strerror or "cannot be read"


def written(root: int, name: bytes, data: bytes, algorithm: str) -> object:
    """The hashes of a file that holds `data`, as far as its size says; None where it is another one. It is as young as can
    be, so the racy rule has the next walk look at its bytes."""
    global hashlib
    import hashlib

    seen = os.lstat(name, dir_fd=root)
    if not stat.S_ISREG(seen.st_mode) or seen.st_size != len(data):
        return None
    began = max(seen.st_mtime_ns, seen.st_ctime_ns)
    return _result(hashlib.sha256(data).hexdigest(), _blob(algorithm, data), seen, began, _head(name, data[:HEAD]))


def _link(root: int, name: bytes, algorithm: str) -> object:
    try:
        began = time.time_ns()
        data = os.readlink(name, dir_fd=root)
        seen = os.lstat(name, dir_fd=root)
    except OSError as error:
        return error.strerror or "cannot be read"
    return _result(hashlib.sha256(data).hexdigest(), _blob(algorithm, data), seen, began, b"")


def _stable(root: int, name: bytes, algorithm: str) -> object:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=root)
    try:
        began = time.time_ns()
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return "not a regular file"
        size = before.st_size
        if size > LIMIT:
            return f"not hashed: larger than {LIMIT >> 30} GiB"
        # Asking for no more than there is spares an allocation of a megabyte a file.
        data = os.read(descriptor, min(size, CHUNK)) if size else b""
        sha = hashlib.sha256(data)
        blob = hashlib.new(algorithm, b"blob %d\0" % size, usedforsecurity=False)
        blob.update(data)
        total = len(data)
        head = data[:HEAD]
        while total < size and (data := os.read(descriptor, CHUNK)):
            sha.update(data)
            blob.update(data)
            total += len(data)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if total != size or (after.st_size, after.st_mtime_ns, after.st_ctime_ns) != (
        size,
        before.st_mtime_ns,
        before.st_ctime_ns,
    ):
        return None
    return _result(sha.hexdigest(), blob.hexdigest(), after, began, _head(name, head))


# What a transcript in markdown has in its first 4 KiB, and one in JSON in its first 64: without one of these it is none.
_MARKDOWN = (b"SpecStory", b" Session ", b"# aider chat started at ", b"_Exported on ")
_JSON = (
    b'"sessionId"', b'"session_id"', b'"session_meta"', b'"record_type"', b'"instructions"', b'"thread.started"', b'"role"',
    b'"conversations"', b'"conversation_id"', b'"messages"',
)  # fmt: skip


def _head(name: bytes, data: bytes) -> bytes:
    """What of a file's first 64 KiB says something of it: the frontmatter of markdown, the beginning of what may be a
    transcript, whatever its name."""
    markdown = name.lower().endswith((b".md", b".markdown"))
    if markdown and data.startswith((b"---", b"\xef\xbb\xbf---")):
        block = split(data)
        return data[: block.body] if block else b""
    first = data[:1]
    if first in b"{[\xef \n\r\t" and data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return data if any(mark in data for mark in _JSON) else b""
    if markdown or first in b"<#_\xef":
        start = data[:4096]
        return start if any(mark in start for mark in _MARKDOWN) else b""
    return b""


def _blob(algorithm: str, data: bytes) -> str:
    return hashlib.new(algorithm, b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _result(sha: str, blob: str, s: os.stat_result, began: int, head: bytes) -> object:
    racy = max(s.st_mtime_ns, s.st_ctime_ns) >= began - RACE_NS
    seen = (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, -s.st_mode if racy else s.st_mode)
    return sha, blob, seen, s.st_mtime_ns // 1_000_000_000, head


def split(data: bytes) -> Any:
    """The frontmatter block (see `core/split`), loaded on first use: most batches hold no markdown."""
    from mlos_sync.core.split import split as splitter

    globals()["split"] = splitter
    return splitter(data)


def main() -> None:
    """Answer lists until the input ends."""
    sys.path.insert(0, sys.argv[3])
    from mlos_sync.edge.answering import answer, questions

    root = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
    for job, names in questions():
        answer(stats(root, names) if job == "stat" else hashes(root, names, sys.argv[2]))


if __name__ == "__main__":
    main()
