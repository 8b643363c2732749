"""Transcripts of agent sessions: recognised by content, read without ever raising, one reader per format."""

from __future__ import annotations

from collections.abc import Callable

from mlos_sync.core.transcripts import specstory
from mlos_sync.core.transcripts.model import Transcript

READER_VERSION = 1  # rises when the same bytes would yield something else, so that caches know
HEAD_BYTES = 4096

_READERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], Transcript]], ...] = (
    (specstory.recognise, specstory.read),
)


def recognise(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a transcript. Only the first 4 KiB are looked at."""
    return any(recognises(head[:HEAD_BYTES]) for recognises, _ in _READERS)


def read(data: bytes) -> Transcript | None:
    """The transcript in these bytes, or None when they are none. Never raises, and takes linear time."""
    for recognises, reads in _READERS:
        if recognises(data[:HEAD_BYTES]):
            return reads(data)
    return None
