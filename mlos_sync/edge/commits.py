"""Commits and what they changed, streamed from git's plumbing."""

from __future__ import annotations

import contextlib
import fcntl
import secrets
from collections.abc import Iterable, Iterator
from subprocess import Popen
from typing import IO, NamedTuple

from mlos_sync.core.paths import from_bytes, from_text
from mlos_sync.edge.git import run, stream
from mlos_sync.errors import SurroundingsError

# One path of a commit's raw diff against its first parent: the path, git's letter for what happened, the blob after it (None
# where the file went), the path before a rename or copy (else None). A bare tuple: there are millions of them, and to name
# their parts took a third of the time that reading them does.
LoggedChange = tuple[str, str, str | None, str | None]


class LoggedCommit(NamedTuple):
    """A commit as git tells it: `parents` are object names with a space between, times are seconds since 1970, `trailers`
    lines `Key: value` as git parses them, unfolded. Text that is no UTF-8 has replacement characters."""

    sha: str
    parents: str
    authored: int
    committed: int
    author: str
    committer: str
    subject: str
    trailers: str
    message: str


Logged = tuple[LoggedCommit, list[LoggedChange]]

# Fields end with NUL, which no commit can hold; each commit begins with a word that nobody can know beforehand, so that no
# path and no message can be taken for a beginning.
_FORMAT = "{}%H%x00%P%x00%at%x00%ct%x00%an <%ae>%x00%cn <%ce>%x00%s%x00%(trailers:only,unfold)%x00%B"
_FIELDS = 9
# `git log`, held to what `rev-list | diff-tree --stdin` prints, byte by byte: whatever a setting could add, leave out or run
# is said here or in `edge/git`. It reads each commit once where those two read it twice, a fifth of git's time.
_LOG = (
    *("log", "-z", "--raw", "--no-abbrev", "--root", "-l1000", "--ignore-submodules=none", "--encoding=UTF-8"),
    *("--no-diff-merges", "--no-ext-diff", "--no-textconv", "--no-relative", "--no-show-signature"),
    *("--no-mailmap", "--no-decorate", "--no-notes", "--no-color"),
)

ANCESTORS_FIRST = ("--reverse", "--date-order")
NEWEST_FIRST = ()  # as git walks: what is before a damaged commit is told before git meets the damage


def log(root: str, *revisions: str, renames: str = "-M", order: tuple[str, ...] = ANCESTORS_FIRST) -> Iterator[Logged]:
    """Commits and their changes, streamed from git, which begins at once; merges list no changes. Nothing is held but what
    one commit says. The caller reads to the end, or closes the iterator.

    `renames` is git's option: `-M` compares contents, `-M100%` object ids only, which a partial clone can still do.
    Raises SurroundingsError, after the last commit that could be read, with git's words.
    """
    beginning = f"\x01{secrets.token_hex(8)}"
    printed = f"--format={_FORMAT.format(beginning)}"
    return _streamed(stream(root, *_LOG, *order, renames, printed, *revisions, "--"), beginning)


def _streamed(process: Popen[bytes], beginning: str) -> Iterator[Logged]:
    assert process.stdout is not None  # noqa: S101 - told by PIPE
    _widen(process.stdout)
    try:
        for block in _blocks(process.stdout, beginning):
            yield from _parsed(block, beginning)
    finally:
        process.stdout.close()
        code, words = _end(process)
    if code:
        raise SurroundingsError(f"git log failed: {words}", "run git fsck; the rest of the index is kept")


def _widen(pipe: IO[bytes], size: int = 1 << 20) -> None:
    """Let git go on while we are busy with what it said: a pipe of 64 KiB has the two wait for each other in turn. (Linux;
    elsewhere, and where the limit for a user is lower, it stays as it is.)"""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)


def _end(process: Popen[bytes]) -> tuple[int, str]:
    """Exit code and words on stderr of a process whose output was read, or is read no further."""
    assert process.stderr is not None  # noqa: S101 - told by PIPE
    words = process.stderr.read().decode("utf-8", "replace").strip()
    process.stderr.close()
    return process.wait(), words


def _blocks(pipe: IO[bytes], beginning: str, size: int = 1 << 18) -> Iterator[str]:
    """What git says, cut before a commit, as text in which bytes that are no UTF-8 are halves of surrogates. Cut and decoded
    by blocks: to read field by field took three times as long."""
    rest = b""
    while block := pipe.read(size):
        whole, nul, rest = (rest + block).rpartition(b"\0" + beginning.encode())
        if nul:
            yield whole.decode("utf-8", "surrogateescape")
            rest = nul[1:] + rest
    if rest:
        yield rest.decode("utf-8", "surrogateescape")


def _parsed(said: str, beginning: str) -> Iterator[Logged]:
    """Of each commit a header of nine fields, then the raw diff: `:old-mode new-mode old-id new-id status`, path, and for a
    rename another path (git-diff-tree(1), raw output format)."""
    fields = said.split("\0")
    at, count, skip, plain = 0, len(fields), len(beginning), said.isascii()
    while at < count:
        _, parents, authored, committed, *rest = fields[at : at + _FIELDS]
        sha = fields[at][skip:]
        if not plain:
            rest = [one if one.isascii() else _whole(one) for one in rest]
        new = 16 + len(sha)  # where the new id stands in a raw line: that depends on the hash
        end = new + len(sha)
        at += _FIELDS
        changes: list[LoggedChange] = []
        while at < count:
            line = fields[at]
            first = line[:1]
            if first == "\x01":  # the next commit: what is left of a diff begins with a colon
                break
            if first != ":":
                line = line.lstrip("\n")  # before the first one
                if not line:
                    at += 1
                    continue
            status, path = line[end + 1], fields[at + 1]
            if not plain:
                path = from_text(path)
            if status == "R" or status == "C":
                changes.append((from_text(fields[at + 2]), status, line[new:end], path))
                at += 3
            else:
                changes.append((path, status, None if status == "D" else line[new:end], None))
                at += 2
        yield LoggedCommit(sha, parents, int(authored), int(committed), *rest), changes


def _whole(text: str) -> str:
    """Text in which bytes that are no UTF-8 are replaced, as SQLite takes no halves of characters."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def merged_files(root: str, *revisions: str, paths: Iterable[str] = ()) -> list[tuple[str, str, str]]:
    """(commit, path, blob) of each file that a merge commit has and none of its parents: what a diff against the first
    parent passes over. Of all files, or of those at or below `paths`."""
    wanted = [f":(literal){path}" for path in paths]
    out = run(
        root, "log", "--merges", "--full-history", "-c", "--raw", "-z", "--no-abbrev", "--no-renames", "--no-show-signature",
        "--no-relative", "--ignore-submodules=none", "--format=%x01%H", *revisions, "--", *wanted, check=False,
    )  # fmt: skip
    found, sha = [], ""
    fields = iter(out.split(b"\0"))
    for field in fields:
        if field.startswith(b"\x01"):
            sha = field[1:].decode("ascii")
        elif field.lstrip(b"\n").startswith(b"::"):
            words = field.split(b" ")
            path = from_bytes(next(fields))
            if set(words[-1]) == set(b"A"):
                found.append((sha, path, words[-2].decode("ascii")))
    return found


def unnamed_files(root: str, folder: str) -> list[tuple[str, str]]:
    """(path, blob) of each file below `folder` that a commit added which only reflogs still name: taken back, amended,
    rebased, force-pushed over."""
    out = run(
        root, "log", "--reflog", "--not", "--branches", "--tags", "--remotes", "--not", "--full-history", "-m", "--raw",
        "--no-renames", "--diff-filter=AM", "--no-abbrev", "--no-show-signature", "--format=", "--", folder, check=False,
    )  # fmt: skip
    found = []
    for line in out.decode("utf-8", "surrogateescape").split("\n"):
        about, tab, path = line.partition("\t")
        if tab:
            found.append((path, about.split(" ")[3]))
    return sorted(set(found))
