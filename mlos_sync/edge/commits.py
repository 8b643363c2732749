"""Commits and what they changed, streamed from `git log`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from mlos_sync.core.paths import from_bytes
from mlos_sync.edge.git import records, run, stream
from mlos_sync.errors import SurroundingsError


class LoggedChange(NamedTuple):
    """One path of a commit's raw diff against its first parent: status letter, blob after it, the path before a rename."""

    path: str
    status: str
    blob: str | None
    old_path: str | None


@dataclass(frozen=True, slots=True)
class LoggedCommit:
    """A commit as `git log` tells it; times are seconds since 1970, `trailers` as git parses them."""

    sha: str
    is_merge: bool
    author: str
    authored: int
    committed: int
    subject: str
    trailers: tuple[tuple[str, str], ...]
    message: str
    changes: tuple[LoggedChange, ...]


_FORMAT = "%x01%H%x02%P%x02%an <%ae>%x02%at%x02%ct%x02%s%x02%(trailers:only,unfold)%x02%B"


def log(root: str, *revisions: str, renames: str = "-M") -> Iterator[LoggedCommit]:
    """Commits and their changes, newest first, streamed from one `git log`; merges list no changes.

    `renames` is git's option: `-M` compares contents, `-M100%` object ids only, which a partial clone can still do.
    """
    process = stream(
        root, "-c", "diff.renameLimit=1000", "log", "-z", "--raw", "--no-abbrev", renames, "--root", "--no-ext-diff",
        "--no-textconv", "--no-show-signature", "--encoding=UTF-8", f"--format={_FORMAT}", *revisions, "--",
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None  # noqa: S101 - told by PIPE
    stream_of = records(process.stdout)
    header: bytes | None = None
    changes: list[LoggedChange] = []
    for record in stream_of:
        if record[:1] == b"\x01":
            if header is not None:
                yield _commit(header, changes)
            header, changes = record, []
        elif record[:1] == b":" or record[:2] == b"\n:":
            about = record.decode("ascii").split(" ")
            status = about[4][0]
            path = from_bytes(next(stream_of))
            if status in "RC":
                changes.append(LoggedChange(from_bytes(next(stream_of)), status, about[3], path))
            else:
                changes.append(LoggedChange(path, status, None if status == "D" else about[3], None))
    if header is not None:
        yield _commit(header, changes)
    words = process.stderr.read().decode("utf-8", "replace").strip()
    process.stdout.close()
    process.stderr.close()
    if process.wait():
        raise SurroundingsError(f"git log failed: {words}", "run git fsck; the rest of the index is kept")


def merged_files(root: str, *revisions: str, folder: str) -> list[tuple[str, str, str]]:
    """(commit, path, blob) of each file below `folder` that a merge commit has and none of its parents has like that:
    what a plain `git log` passes over."""
    out = run(
        root, "log", "--merges", "--full-history", "-c", "--raw", "--no-abbrev", "--no-show-signature", "--format=%x01%H",
        *revisions, "--", folder, check=False,
    )  # fmt: skip
    found, sha = [], ""
    for line in out.decode("utf-8", "surrogateescape").split("\n"):
        if line.startswith("\x01"):
            sha = line[1:]
        elif line.startswith("::"):
            about, _, path = line.partition("\t")
            words = about.split(" ")
            if not words[-1].endswith("D"):
                found.append((sha, path, words[-2]))
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


def _commit(header: bytes, changes: list[LoggedChange]) -> LoggedCommit:
    sha, parents, author, authored, committed, subject, trailers, message = (
        header[1:].decode("utf-8", "replace").split("\x02", 7)
    )
    pairs = (line.partition(":") for line in trailers.split("\n") if line)
    return LoggedCommit(
        sha, " " in parents, author, int(authored), int(committed), subject,
        tuple((key.strip(), value.strip()) for key, _, value in pairs), message, tuple(changes),
    )  # fmt: skip
