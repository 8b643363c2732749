"""Cursor's "Export chat" markdown: a session without claims, since the export leaves out every tool call.

Known from Cursor 1.1 (June 2025): `# Title`, then `_Exported on 6/30/2025 at 10:50:08 EDT from Cursor (1.1.3)_`, then
turns that begin with `**User**` or `**Cursor**` behind a rule. The time is that of the export, in the user's locale and
with a word for the zone, so that it dates nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from mlos_sync.core.transcripts.lines import texts
from mlos_sync.core.transcripts.model import Fact, Problem, Session
from mlos_sync.core.transcripts.sessions import named_session
from mlos_sync.core.transcripts.sound import sound_text

HEADER_LINES = 10
_EXPORTED = re.compile(r"_Exported on \S.{0,80} from Cursor(?: \((?P<version>[^()]{1,60})\))?_")
_TITLE = re.compile(r"# (?P<title>\S.*)")
_SPEAKERS = ("**User**", "**Cursor**")


def recognise(head: bytes) -> bool:
    """Whether the file begins with a title, if any, and the line that tells of the export."""
    text = head.decode("utf-8", "replace").removeprefix("\ufeff")
    return _exported(text.split("\n", HEADER_LINES)) is not None


def read(lines: Iterable[bytes], name: str) -> Iterator[Fact]:
    """The one session of the file, identified by `name`, behind what is wrong with its bytes."""
    broken: list[Problem] = []
    source = texts(lines, broken)
    head = list(islice(source, HEADER_LINES))
    exported = _exported(head)
    turns = _turns(chain(head, source))
    yield from broken
    if exported is None:
        yield Problem(1, "no export of Cursor")
        return
    title = next((sound_text(match["title"]) for line in head if (match := _TITLE.fullmatch(line.strip()))), None)
    yield Session(
        session_id=named_session(name), tool="Cursor", model=None, format="cursor-export", started_at=None,
        ended_at=None, title=title, turns=turns, version=exported["version"],
    )  # fmt: skip


def _exported(head: Sequence[str]) -> re.Match[str] | None:
    """The line of the export; only blank lines and one title may stand before it."""
    titles = 0
    for line in map(str.strip, head[:HEADER_LINES]):
        match = _EXPORTED.fullmatch(line)
        if match is not None:
            return match
        titles += _TITLE.fullmatch(line) is not None
        if line and (titles > 1 or not _TITLE.fullmatch(line)):
            return None
    return None


def _turns(lines: Iterable[str]) -> int:
    """How many turns there are: a speaker stands behind a rule, since a model may write bold words of its own."""
    turns = 0
    last = ""
    for line in lines:
        text = line.strip()
        turns += text in _SPEAKERS and last == "---"
        last = text or last
    return turns
