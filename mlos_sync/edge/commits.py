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


class LoggedChange(NamedTuple):
    """One path of a commit's raw diff against its first parent: status letter, blob after it, the path before a rename."""

    path: str
    status: str
    blob: str | None
    old_path: str | None


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
_DIFF = (
    *(
        "diff-tree",
        "--stdin",
        "-r",
        "-z",
        "--raw",
        "--no-abbrev",
        "--root",
        "--always",
        "--no-ext-diff",
        "--no-textconv",
    ),
    *("-l1000", "--ignore-submodules=none", "--encoding=UTF-8"),
)
# Settings that would change what is printed, though neither command is meant to heed any of them.
_PLAIN = ("-c", "trailer.separators=:", "-c", "diff.orderFile=/dev/null", "-c", "diff.relative=false")


ANCESTORS_FIRST = ("--reverse", "--date-order")
NEWEST_FIRST = ()  # as git walks: what is before a damaged commit is told before git meets the damage


def log(root: str, *revisions: str, renames: str = "-M", order: tuple[str, ...] = ANCESTORS_FIRST) -> Iterator[Logged]:
    """Commits and their changes, streamed from `git rev-list | git diff-tree --stdin`; merges list no changes. Nothing is
    held but what one commit says.

    `renames` is git's option: `-M` compares contents, `-M100%` object ids only, which a partial clone can still do.
    Raises SurroundingsError, after the last commit that could be read, with git's words.
    """
    listing = stream(root, "rev-list", *order, *revisions, "--")
    beginning = f"\x01{secrets.token_hex(8)}"
    diffing = stream(root, *_PLAIN, *_DIFF, renames, f"--format={_FORMAT.format(beginning)}", source=listing.stdout)
    assert listing.stdout is not None and diffing.stdout is not None  # noqa: S101 - told by PIPE
    listing.stdout.close()  # diff-tree has it now, and sees its end
    _widen(diffing.stdout)
    try:
        yield from map(_parsed, _commits(diffing.stdout, beginning))
    finally:
        diffing.stdout.close()
        said = [_end(process) for process in (listing, diffing)]
    for name, code, words in zip(("rev-list", "diff-tree"), *zip(*said, strict=True), strict=True):
        if code:
            raise SurroundingsError(f"git {name} failed: {words}", "run git fsck; the rest of the index is kept")


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


def _commits(pipe: IO[bytes], beginning: str, size: int = 1 << 18) -> Iterator[str]:
    """What is said of each commit, without its beginning, as text in which bytes that are no UTF-8 are halves of surrogates.
    Cut by commits and decoded by blocks: to read field by field took three times as long."""
    rest = b""
    while block := pipe.read(size):
        whole, nul, rest = (rest + block).rpartition(b"\0" + beginning.encode())
        if nul:
            yield from whole.decode("utf-8", "surrogateescape").removeprefix(beginning).split(f"\0{beginning}")
    if rest:
        yield rest.decode("utf-8", "surrogateescape").removeprefix(beginning)


def _parsed(said: str) -> Logged:
    """A header of nine fields, then the raw diff: `:old-mode new-mode old-id new-id status`, path, and for a rename another
    path (git-diff-tree(1), raw output format)."""
    fields = said.split("\0")
    sha, parents, authored, committed, *rest = fields[:_FIELDS]
    if not said.isascii():
        rest = [one if one.isascii() else _whole(one) for one in rest]
    new = 16 + len(sha)  # where the new id stands in a raw line: that depends on the hash
    end = new + len(sha)
    changes: list[LoggedChange] = []
    at, count = _FIELDS, len(fields)
    while at < count:
        line = fields[at]
        if line[:1] != ":":
            line = line.lstrip("\n")  # before the first one
            if not line:
                at += 1
                continue
        status, path = line[end + 1], fields[at + 1]
        path = path if path.isascii() else from_text(path)
        if status == "R" or status == "C":
            changes.append(LoggedChange(from_text(fields[at + 2]), status, line[new:end], path))
            at += 3
        else:
            changes.append(LoggedChange(path, status, None if status == "D" else line[new:end], None))
            at += 2
    return LoggedCommit(sha, parents, int(authored), int(committed), *rest), changes


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
