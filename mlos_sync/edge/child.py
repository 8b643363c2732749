"""A process of our own that answers questions: length-prefixed marshalled values over its pipes, both ways (the other
side is `answering`). A question is answered before the next is asked, so neither ever waits for the other to read."""

from __future__ import annotations

import contextlib
import marshal
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from mlos_sync.errors import SurroundingsError


class Child:
    """A running script of this package, which is given `arguments` and then the folder that packages are in."""

    def __init__(self, script: str, *arguments: str) -> None:
        here = os.path.dirname(os.path.abspath(__file__))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", os.path.join(here, script), *arguments, os.path.dirname(os.path.dirname(here))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, question: Any) -> None:
        """Ask; `answer` brings what comes of it. Raises SurroundingsError when the process has ended."""
        assert self._process.stdin is not None  # noqa: S101 - told by PIPE above
        data = marshal.dumps(question)
        try:
            self._process.stdin.write(len(data).to_bytes(8, "big") + data)
            self._process.stdin.flush()
        except OSError:
            raise _ended() from None

    def answer(self) -> Any:
        """The answer to the last question, waited for. Raises SurroundingsError when the process has ended."""
        assert self._process.stdout is not None  # noqa: S101 - told by PIPE above
        try:
            size = int.from_bytes(self._process.stdout.read(8), "big")
            return marshal.loads(self._process.stdout.read(size))  # noqa: S302 - our own child wrote it
        except (OSError, EOFError, ValueError):
            raise _ended() from None

    def kill(self) -> None:
        """End the process whatever it is at; whoever waits for its answer is told."""
        self._process.kill()

    def stop(self) -> None:
        """End the process and wait for it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # it has ended, and what was to be asked cannot be flushed
                    pipe.close()
        self._process.wait()


@contextlib.contextmanager
def ending(children: Sequence[Child]) -> Iterator[None]:
    """Children that end with the block; at once where it does not come to its end, so that Ctrl-C waits for no large file and
    no thread for an answer."""
    try:
        yield
    except BaseException:
        for one in children:
            one.kill()
        raise
    finally:
        for one in children:
            one.stop()


def _ended() -> SurroundingsError:
    return SurroundingsError("a process that works for this one ended early", "run the command again")
