"""Transcripts of agent sessions: recognised by content, read without ever raising, one reader per format.

Readers are imported when the first bytes are looked at: a walk that meets no transcript does not pay for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing import Protocol

    from mlos_sync.core.transcripts.model import Fact

    class Reader(Protocol):
        """A module that reads one format."""

        def recognise(self, head: bytes) -> bool:
            """Whether a file begins so."""

        def read(self, lines: Iterable[bytes], name: str) -> Iterator[Fact]:
            """The facts in its lines."""


READER_VERSION = 3  # rises when the same bytes would yield something else, so that caches know
HEAD_BYTES = 65_536

# Each module has `recognise(head: bytes) -> bool` and `read(lines, name) -> Iterator[Fact]`. Markdown first.
_MARKDOWN = ("specstory", "aider", "cursor_export")
_JSON = ("claude", "codex", "gemini", "cursor", "droid", "windsurf", "agent_trace")


def recognise(head: bytes) -> str | None:
    """The name of the reader for a file that begins with these bytes (64 KiB are enough), or None."""
    head = head[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf")
    names = _JSON if head.lstrip()[:1] in (b"{", b"[") else _MARKDOWN
    return next((name for name in names if _reader(name).recognise(head)), None)


def read(lines: Iterable[bytes], name: str, reader: str) -> Iterator[Fact]:
    """The facts in a file, given line by line with line ends, as `reader` (of `recognise`) understands it.

    `name` is the path of the file in the workspace: the identity of what has no other. Never raises, takes linear
    time, and holds no more than the file's longest block or line and the contents that edits build on.
    """
    return _reader(reader).read(lines, name)


def _reader(name: str) -> Reader:
    return cast("Reader", import_module(f"mlos_sync.core.transcripts.{name}"))
