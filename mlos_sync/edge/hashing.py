"""Hash and stat many files in worker processes (see `hash_worker`): bounded memory, results as they come."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from mlos_sync.core.changes import Hashed
from mlos_sync.core.paths import to_bytes
from mlos_sync.edge.child import Child, ending

BATCH = 400
MANY = 20_000
OURS = 0.4  # of the walk: the other process has to start and its answer to travel, but we have the cache to load
SMALL = 200  # up to so many files one worker is enough; a second costs more than it saves


def hash_files(
    root: str, paths: list[str], algorithm: str, kept: Kept | None = None
) -> Iterator[tuple[str, Hashed | str]]:
    """(path, its hashes or why it has none), in no order. `algorithm` is git's object format, sha1 or sha256. A few are left
    to a worker that is `kept`, where there is one."""
    if not paths:
        return
    if kept is not None and len(paths) <= SMALL:
        yield from zip(paths, map(_answered, kept.ask(root, paths, algorithm)), strict=True)
        return
    count = 1 if len(paths) <= SMALL else min(4, os.cpu_count() or 1)
    batches = [paths[n : n + BATCH] for n in range(0, len(paths), BATCH)]
    workers = [_Worker(root, algorithm) for _ in range(count)]
    with ThreadPoolExecutor(count) as threads, ending(workers):
        todo = iter(batches)
        running: dict[Future[list[object]], tuple[_Worker, list[str]]] = {}
        for worker, batch in zip(workers, islice(todo, count), strict=False):
            running[threads.submit(worker.job, batch)] = (worker, batch)
        while running:
            done = next(iter(running))
            worker, batch = running.pop(done)
            answers = done.result()
            if following := next(todo, None):
                running[threads.submit(worker.job, following)] = (worker, following)
            for path, answer in zip(batch, answers, strict=True):
                yield path, _answered(answer)


def hash_written(root: str, contents: Mapping[str, bytes], algorithm: str) -> Iterator[tuple[str, Hashed]]:
    """(path, its hashes) of files that we have just moved into place, from what we wrote: nothing is read, so nothing that
    might be a database is closed. A file that is another by now is left out."""
    from mlos_sync.edge import hash_worker

    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for path, data in contents.items():
            answer = hash_worker.written(descriptor, to_bytes(path), data, algorithm)
            if answer is not None:
                yield path, Hashed(*answer)  # type: ignore[misc]
    finally:
        os.close(descriptor)


def stat_files(root: str, paths: list[str], meanwhile: Callable[[], None] = lambda: None) -> list[object]:
    """For each path its (size, mtime_ns, ctime_ns, inode, mode), or the errno of the failure; links are not followed, also
    not on the way: ENOTDIR. `meanwhile` is called once, while the other process walks.

    A walk is lstat calls, and they do not run beside each other in threads: with many paths a part goes to a process.
    """
    if len(paths) <= MANY:
        meanwhile()
        return _stats(root, paths)
    share = int(len(paths) * OURS)
    worker = _Worker(root, "sha1")
    with ThreadPoolExecutor(1) as other, ending([worker]):
        theirs = other.submit(worker.job, paths[share:], "stat")
        meanwhile()
        ours = _stats(root, paths[:share])
        return ours + theirs.result()


def _stats(root: str, paths: list[str]) -> list[object]:
    from mlos_sync.edge.hash_worker import stats

    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return stats(descriptor, _names(paths))
    finally:
        os.close(descriptor)


def _names(paths: list[str]) -> list[bytes]:
    """File-system names. Most paths are ASCII, and one conversion of all is ten times faster than one each."""
    joined = "\0".join(paths)
    return joined.encode().split(b"\0") if paths and joined.isascii() else [to_bytes(path) for path in paths]


class Kept:
    """A hashing process that outlives one sync: to start one takes 20 ms, which a watcher would spend at each edit."""

    def __init__(self) -> None:
        self._worker: _Worker | None = None
        self._for = ("", "", 0, 0)

    def ask(self, root: str, paths: list[str], algorithm: str) -> list[object]:
        """Hash one batch. Raises SurroundingsError when the process has ended; the next question starts another."""
        found = os.stat(root)  # the process holds the folder, not its name
        wanted = (root, algorithm, found.st_dev, found.st_ino)
        if self._for != wanted:
            self.stop()
        if self._worker is None:
            self._worker, self._for = _Worker(root, algorithm), wanted
        try:
            return self._worker.job(paths)
        except BaseException:
            self._worker.kill()
            self.stop()
            raise

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._worker is not None:
            self._worker.stop()
        self._worker = None


def _answered(answer: object) -> Hashed | str:
    return answer if isinstance(answer, str) else Hashed(*answer)  # type: ignore[misc]


class _Worker(Child):
    """One hashing process."""

    def __init__(self, root: str, algorithm: str) -> None:
        super().__init__("hash_worker.py", root, algorithm)

    def job(self, paths: list[str], kind: str = "hash") -> list[object]:
        """Hash or stat one batch."""
        self.ask((kind, _names(paths)))
        return list(self.answer())
