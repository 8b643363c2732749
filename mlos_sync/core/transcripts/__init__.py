"""Transcripts of agent sessions: recognised by content, read without ever raising, one reader per format.

Readers are imported when the first bytes are looked at: a walk that meets no new markdown does not pay for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlos_sync.core.transcripts.model import Transcript

    Reader = tuple[Callable[[bytes], bool], Callable[[bytes], Transcript]]

READER_VERSION = 1  # rises when the same bytes would yield something else, so that caches know
HEAD_BYTES = 4096


def _readers() -> tuple[Reader, ...]:
    from mlos_sync.core.transcripts import specstory

    return ((specstory.recognise, specstory.read),)


def recognise(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a transcript. Only the first 4 KiB are looked at."""
    return any(recognises(head[:HEAD_BYTES]) for recognises, _ in _readers())


def read(data: bytes) -> Transcript | None:
    """The transcript in these bytes, or None when they are none. Never raises, and takes linear time."""
    for recognises, reads in _readers():
        if recognises(data[:HEAD_BYTES]):
            return reads(data)
    return None
