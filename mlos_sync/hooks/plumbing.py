"""Starting git and reading its bytes, with the least that does it.

Owns the arguments and the environment that every git process of a hook gets. The hook's own GIT_DIR, GIT_INDEX_FILE and
working directory are passed on untouched: `git commit -a` and `git commit PATH` name a temporary index in them, and in
a plain commit the name is relative. `subprocess` would do all this for 8 ms more of every commit.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # type checkers know the name; importing typing for it would cost every commit 6 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import BinaryIO

HEAD_BYTES = 65536
TOO_LONG_TO_SKIP = 1 << 20
"""More bytes than this are not read to be thrown away: a new git process (2 ms) is cheaper."""

# Ids are sent in groups that fit into the smallest pipe (4,096 bytes), and the next group only when the answers to the
# last one have been read. So git never waits for us with answers while we wait for it with questions.
GROUP = 48

_SETTINGS = {
    "GIT_OPTIONAL_LOCKS": "0",  # reading must not take the lock that the user's commit needs
    "GIT_NO_LAZY_FETCH": "1",  # a partial clone says what is missing instead of waiting for the network
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",  # what is committed are the objects, not their replacements
}


class GitError(Exception):
    """Git could not be run, or could not answer."""


class Process:
    """A running git: `output` is what it prints, `input` what it reads (if asked for). Close it in any case."""

    __slots__ = ("_pid", "input", "output")

    def __init__(self, *args: str, talk: bool = False, quiet: bool = False) -> None:
        to_parent, from_child = os.pipe()
        from_parent, to_child = os.pipe() if talk else (os.open(os.devnull, os.O_RDONLY), -1)
        actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_DUP2, from_parent, 0),
            (os.POSIX_SPAWN_DUP2, from_child, 1),
        ]
        if quiet:
            actions.append((os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0))
        try:
            # fsmonitor names a program; reading the index would start it
            argv = ("git", "-c", "core.fsmonitor=false", *args)
            self._pid = os.posix_spawn(git(), argv, {**os.environ, **_SETTINGS}, file_actions=actions)
        except BaseException:
            os.close(to_parent)
            if talk:
                os.close(to_child)
            raise
        finally:
            os.close(from_child)
            os.close(from_parent)
        self.output: BinaryIO = open(to_parent, "rb", HEAD_BYTES)  # noqa: SIM115 - closed by close()
        self.input = to_child

    def close(self) -> int:
        """Stop talking and wait for the end; the exit code (negative: a signal, as when it was still writing)."""
        self.output.close()
        if self.input >= 0:
            os.close(self.input)
            self.input = -1
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def git() -> str:
    """The git program: the first one in a folder of PATH that is named absolutely.

    Git puts its own folder first on the PATH of a hook. A relative entry would find a program of the workspace.
    """
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if os.path.isabs(folder):
            program = folder + "/git"
            if os.access(program, os.X_OK) and os.path.isfile(program):
                return program
    raise GitError("git is not on the PATH")


def output(*args: str, quiet: bool = False) -> tuple[int, bytes]:
    """Run git to its end: exit code and everything it printed. Its complaints go to our stderr unless `quiet`."""
    return finish(Process(*args, quiet=quiet))


def finish(process: Process) -> tuple[int, bytes]:
    """Read a running git to its end: exit code and everything it printed."""
    try:
        said = process.output.read()
    finally:
        code = process.close()
    return code, said


def fed(data: bytes, *args: str, quiet: bool = False) -> Generator[bytes]:
    """Run git with `data` as its input and hand out what it prints, block by block; `quiet` hides its complaints. Raises
    GitError if it fails."""
    import threading

    process = Process(*args, talk=True, quiet=quiet)
    feeder = threading.Thread(target=_feed, args=(process, data), daemon=True)  # git answers before it has read all
    feeder.start()
    code = 0
    try:
        while block := process.output.read(HEAD_BYTES):
            yield block
    finally:
        process.output.close()
        feeder.join()
        code = process.close()
    if code != 0:
        raise GitError(f"git {args[0]} failed with exit code {code}")


def _feed(process: Process, data: bytes) -> None:
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(process.input, rest) :]
    except BrokenPipeError:
        pass  # git ended early, and its exit code says why
    os.close(process.input)
    process.input = -1


def reader() -> Process:
    """A git that answers object ids with objects."""
    return Process("cat-file", "--batch", talk=True)


def contents(ids: list[bytes], wanted: Callable[[bytes], bool], process: Process | None = None) -> Generator[bytes]:
    """The blobs in the order of their ids: the first 64 KiB of each, and the rest if `wanted` says so of the head.

    One git process for all of them (`process`, if one is running already; it is closed here), but for one more after
    each long blob whose end nobody needs.
    """
    asked = 0
    try:
        for number, name in enumerate(ids):
            if process is None:
                process, asked = reader(), number
            if number == asked:
                group = ids[asked : asked + GROUP]
                _ask(process, group)
                asked += len(group)
            data, left = _answer(process.output, name, wanted)
            if left > TOO_LONG_TO_SKIP:
                process.close()
                process = None
            else:
                _read(process.output, left + 1)
            yield data
    finally:
        if process is not None:
            process.close()


def _ask(process: Process, group: list[bytes]) -> None:
    try:
        os.write(process.input, b"\n".join(group) + b"\n")
    except BrokenPipeError:
        raise GitError("git cat-file ended too early") from None


def _answer(output: BinaryIO, name: bytes, wanted: Callable[[bytes], bool]) -> tuple[bytes, int]:
    """One blob as far as it is wanted, and how many of its bytes have been left in the pipe."""
    header = output.readline().split()
    if len(header) != 3 or header[1] != b"blob":
        problem = header[1].decode("ascii", "replace") if len(header) > 1 else "unreadable"
        raise GitError(f"the object {name.decode('ascii', 'replace')} is {problem} (git fsck says more)")
    size = int(header[2])
    data = _read(output, min(size, HEAD_BYTES))
    if size > len(data) and wanted(data):
        data += _read(output, size - len(data))
    return data, size - len(data)


def _read(output: BinaryIO, size: int) -> bytes:
    data = output.read(size)
    if len(data) != size:
        raise GitError("git cat-file ended too early")
    return data
