"""Reads transcripts in a process of its own that never opens a database, and answers with rows.

Started as `python -I -S transcript_worker.py ROOT ALGORITHM PACKAGE_FOLDER` by `edge/transcribing`; standard library and
`core` only. Asked for a list of (file-system name, workspace path, SHA-256 as it was or ""), it answers for each a tuple
(format, sha256 of the bytes, sessions, claims, commits, problems), whose members are plain tuples in the order of `FIELDS`,
or a text that says why the file could not be read; the format is "" for what is no transcript, and `UNCHANGED` for one that
is as it was. Contents never leave this process: their hashes do.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys

TYPE_CHECKING = False  # typing takes longer to import than a small transcript to read
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from mlos_sync.core.transcripts.model import Claim, Fact

LONGEST_LINE = 64 << 20  # bytes: a longer line is read in pieces, which a reader of JSON lines names as broken
BUFFER = 1 << 20
UNCHANGED = "unchanged"  # in the place of the format
PROBLEMS = 100  # of one file; the rest is counted
FIELDS = {
    "sessions": (
        "session_id", "part", "tool", "model", "format", "title", "started_at", "ended_at", "turns", "subagent_turns",
        "version", "parent", "cwd", "branch", "base_commit",
    ),
    "claims": (
        "session_id", "part", "turn", "line", "at", "operation", "tool", "raw_path", "cwd", "subagent", "succeeded", "hashes",
        "blobs", "changes",
    ),
    "commits": ("session_id", "part", "turn", "line", "at", "sha", "subject"),
    "problems": ("line", "message"),
}  # fmt: skip


def read(root: int, name: bytes, path: str, algorithm: str, before: str = "") -> object:
    """One transcript as rows, or why there are none. An absolute name is one outside of the work tree."""
    from mlos_sync.core import transcripts

    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=root)
    except OSError as error:
        return error.strerror or "cannot be read"
    with io.BufferedReader(io.FileIO(descriptor), BUFFER) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return "not a regular file"
        sha = hashlib.sha256()
        try:
            if before and hashlib.file_digest(file, "sha256").hexdigest() == before:
                return UNCHANGED, before, [], [], [], []
            file.seek(0)
            reader = transcripts.recognise(file.peek(transcripts.HEAD_BYTES))
            rows = rows_of(_hashed(file, sha), path, reader, algorithm) if reader else ([], [], [], [])
        except OSError as error:
            return error.strerror or "cannot be read"
        except Exception as error:  # one bad file must not keep all others from being read; it is named
            return f"the reader failed ({type(error).__name__}: {error}); please report it"
    return reader or "", sha.hexdigest(), *rows


def rows_of(lines: Iterable[bytes], path: str, reader: str, algorithm: str) -> tuple[list[Any], ...]:
    """Sessions, claims, commits and problems in the lines of a transcript, each as a plain tuple."""
    from mlos_sync.core import transcripts
    from mlos_sync.core.transcripts.replay import follow

    return rows_of_facts(follow(transcripts.read(lines, path, reader)), algorithm)


def rows_of_facts(facts: Iterable[Fact], algorithm: str) -> tuple[list[Any], ...]:
    """The same of facts that were read already."""
    from mlos_sync.core.transcripts.model import Claim, CommitMade, Problem, Session

    found: dict[type, list[Any]] = {Session: [], Claim: [], CommitMade: [], Problem: []}
    more = line = 0
    for fact in facts:
        if isinstance(fact, Claim):
            found[Claim].append(_claim(fact, algorithm))
        elif not isinstance(fact, Problem):
            found[type(fact)].append(_plain(fact))
        elif len(found[Problem]) < PROBLEMS:
            found[Problem].append((fact.line, fact.message))
        else:
            more, line = more + 1, fact.line
    if more:
        found[Problem].append((line, f"and {more} more problems, the last here"))
    return tuple(found.values())


def _plain(fact: Fact) -> tuple[object, ...]:
    names = FIELDS["sessions" if hasattr(fact, "tool") else "commits"]
    return tuple(getattr(fact, name) for name in names)


def _claim(claim: Claim, algorithm: str) -> tuple[object, ...]:
    from mlos_sync.core.transcripts.replay import packed

    contents = with_line_ends(claim.contents)
    hashes = " ".join(hashlib.sha256(content).hexdigest() for content in contents)
    blobs = " ".join(blob_id(content, algorithm) for content in contents)
    changes = packed(claim.replacements) if claim.succeeded and not claim.contents else None
    return (
        claim.session_id, claim.part, claim.turn, claim.line, claim.at, claim.operation, claim.tool, claim.raw_path, claim.cwd,
        int(claim.subagent), int(claim.succeeded), hashes, blobs, changes,
    )  # fmt: skip


def with_line_ends(contents: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The candidates, and behind them each once more with the line ends of Windows: agents show text with LF, and write
    what the file or the system has."""
    return tuple(dict.fromkeys((*contents, *(one.replace(b"\n", b"\r\n") for one in contents if b"\r\n" not in one))))


def blob_id(content: bytes, algorithm: str) -> str:
    """Git's name for a content; `algorithm` is sha1 or sha256."""
    return hashlib.new(algorithm, b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _hashed(file: io.BufferedReader[io.FileIO], sha: hashlib._Hash) -> Iterator[bytes]:
    """The lines of a file; `sha` takes all of it, also what the reader did not want."""
    for line in iter(lambda: file.readline(LONGEST_LINE), b""):
        sha.update(line)
        yield line
    sha.update(file.read())


def main() -> None:
    """Answer lists until the input ends."""
    sys.path.insert(0, sys.argv[3])
    from mlos_sync.edge.answering import answer, questions

    root = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
    for wanted in questions():
        answer([read(root, name, path, sys.argv[2], before) for name, path, before in wanted])


if __name__ == "__main__":
    main()
