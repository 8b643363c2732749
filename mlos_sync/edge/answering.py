"""In a process that `child` started: the questions, and how they are answered. Standard library only, and little of it: a
process of ours shall start fast."""

from __future__ import annotations

import marshal
import os
import signal
import sys

TYPE_CHECKING = False  # typing takes longer to import than a small walk
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def questions() -> Iterator[Any]:
    """Each question until the input ends. Ctrl-C is the parent's to tell of: it ends, and with it the input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source = sys.stdin.buffer
    while length := source.read(8):
        yield marshal.loads(source.read(int.from_bytes(length, "big")))  # noqa: S302 - our own parent wrote it


def answer(value: Any) -> None:
    """Answer the last question."""
    data = marshal.dumps(value)
    try:
        sys.stdout.buffer.write(len(data).to_bytes(8, "big") + data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(0)  # the parent was killed: nobody is left to be told
