"""Contents in bounded memory: the heads of many blobs; the whole of one blob, or of one file, in pieces."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Generator, Iterable, Iterator
from typing import IO

from mlos_sync.edge import git
from mlos_sync.errors import SurroundingsError

HEAD = 65_536
PIECE = 1 << 20


def heads(root: str, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """(object id, first 64 KiB) of each blob, in order, from one git process; the rest is passed over.

    Raises SurroundingsError when one is not here, as in a partial clone.
    """
    if not names:
        return
    process = subprocess.Popen(
        [git.program(), "cat-file", "--batch", "--buffer"],
        cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=git.environment(),
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None  # noqa: S101 - told by PIPE above
    feeder = _Feeder(process.stdin, "".join(name + "\n" for name in names).encode())
    feeder.start()
    try:
        for name in names:
            header = process.stdout.readline().split()
            if len(header) != 3:
                raise _missing(name)
            size = int(header[2])
            head = process.stdout.read(min(size, HEAD))
            _skip(process.stdout, size - len(head) + 1)
            yield name, head
    finally:
        process.stdout.close()
        feeder.join()
        process.wait()


def blobs(root: str, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """(object id, content) for each object that can be read, by one `cat-file --batch`; others are left out. Git dies on
    an object whose content is damaged: the next one then begins a new batch."""
    wanted = list(dict.fromkeys(names))
    while wanted:
        done = yield from _batch(root, wanted)
        wanted = wanted[done + 1 :]


def _batch(root: str, wanted: list[str]) -> Generator[tuple[str, bytes], None, int]:
    """One process; returns how many objects it answered for."""
    process = subprocess.Popen(
        [git.program(), "cat-file", "--batch", "--buffer"],
        cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=git.environment(),
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None  # noqa: S101 - told by PIPE above
    # The list is written in one go: it is far smaller than what git buffers before it answers (--buffer).
    feeder = _Feeder(process.stdin, "".join(name + "\n" for name in wanted).encode())
    feeder.start()
    answered = 0
    for name in wanted:
        header = process.stdout.readline().split()
        if len(header) == 3:
            size = int(header[2])
            data = process.stdout.read(size + 1)
            if len(data) <= size:
                break
            yield name, data[:-1]
        elif not header:
            break
        answered += 1
    feeder.join()
    process.stdout.close()
    process.wait()
    return answered


class _Feeder:
    """Writes to a pipe in a thread, so that reader and writer never wait for each other."""

    def __init__(self, pipe: IO[bytes], data: bytes) -> None:
        import threading

        self._thread = threading.Thread(target=self._feed, args=(pipe, data), daemon=True)
        self.start, self.join = self._thread.start, self._thread.join

    @staticmethod
    def _feed(pipe: IO[bytes], data: bytes) -> None:
        try:
            pipe.write(data)
            pipe.close()
        except BrokenPipeError:
            pass  # git ended early; the reader sees the end of its output


def pieces(root: str, name: str) -> Generator[bytes, None, None]:
    """A blob's bytes, a mebibyte at a time. Raises SurroundingsError when it is not here."""
    with Blobs(root) as blobs:
        yield from blobs.pieces(name)


class Blobs:
    """Whole blobs one after another from one git process, which is started by the first question and ends with the `with`.
    For a handful of files the processes of git, 2 to 3 ms each, were most of the time."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Blobs:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        """The process is given up wherever it is: nothing of ours waits for the rest of a large blob."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def pieces(self, name: str) -> Generator[bytes, None, None]:
        """A blob's bytes, a mebibyte at a time; one blob is read, or given up, before the next is asked for.

        Raises SurroundingsError when it is not here, as in a partial clone.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                [git.program(), "cat-file", "--batch"],
                cwd=self._root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=git.environment(),
            )  # fmt: skip
        source, sink = self._process.stdin, self._process.stdout
        assert source is not None and sink is not None  # noqa: S101 - told by PIPE above
        try:
            source.write(name.encode() + b"\n")
            source.flush()
        except BrokenPipeError:
            raise _missing(name) from None
        header = sink.readline().split()
        if len(header) != 3:
            raise _missing(name)
        left = int(header[2])
        try:
            while left and (piece := sink.read(min(left, PIECE))):
                left -= len(piece)
                yield piece
            if left or not sink.read(1):
                raise _missing(name)
        finally:
            if left:
                self._end()


def file_pieces(name: bytes) -> Iterator[bytes]:
    """A regular file's bytes, a mebibyte at a time, links not followed. Raises OSError."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        while piece := file.read(PIECE):
            yield piece


def _skip(pipe: IO[bytes], size: int) -> None:
    while size > 0:
        size -= len(pipe.read(min(size, PIECE))) or size


def _missing(name: str) -> SurroundingsError:
    return SurroundingsError(
        f"the object {name[:12]} is not in this clone", "fetch it: git fetch --refetch (git fsck says more)"
    )
