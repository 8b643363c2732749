"""Transcripts of agent sessions: recognised by content, read without ever raising, one reader per format.

A reader is imported when the first bytes hold its words: a walk that meets no transcript pays for none.
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


READER_VERSION = 5  # rises when the same bytes would yield something else, so that caches know
HEAD_BYTES = 65_536

# Each module has `recognise(head: bytes) -> bool` and `read(lines, name) -> Iterator[Fact]`. The words are those without
# which a head is none of its: they choose the readers that are asked, and thus imported, in this order.
_MARKDOWN = {
    "specstory": (b"SpecStory", b" Session "),
    "aider": (b"# aider chat started at ",),
    "cursor_export": (b"_Exported on ",),
}
_JSON = {
    "claude": (b'"sessionId"', b'"session_id"', b'"leafUuid"', b'"messageId"'),
    "codex": (b'"payload"', b'"record_type"', b'"instructions"', b'"thread.started"'),
    "gemini": (b'"projectHash"',),
    "cursor": (b'"role"',),
    "droid": (b'"session_start"',),
    "windsurf": (b'"user_input"', b'"planner_response"', b'"code_action"', b'"view_file"', b'"run_command"'),
    "agent_trace": (b"agent-trace", b'"conversations"', b'"timestamp"'),
}


def recognise(head: bytes) -> str | None:
    """The name of the reader for a file that begins with these bytes (64 KiB are enough), or None."""
    head = head[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf")
    readers = _JSON if head.lstrip()[:1] in (b"{", b"[") else _MARKDOWN
    asked = (name for name, words in readers.items() if any(word in head for word in words))
    return next((name for name in asked if _reader(name).recognise(head)), None)


def read(lines: Iterable[bytes], name: str, reader: str) -> Iterator[Fact]:
    """The facts in a file, given line by line with line ends, as `reader` (of `recognise`) understands it.

    `name` is the path of the file in the workspace: the identity of what has no other. Never raises, takes linear
    time, and holds no more than the file's longest block or line (a document is one) and, of a log, the calls that wait
    for their result and a number for each id that was met.
    """
    return _reader(reader).read(lines, name)


def _reader(name: str) -> Reader:
    return cast("Reader", import_module(f"mlos_sync.core.transcripts.{name}"))
