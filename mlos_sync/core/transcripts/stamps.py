"""What the readers of text formats share: times brought to UTC, paths, names, and JSON that may hold anything.

A time without a zone is local to somebody and thus unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from mlos_sync.core.transcripts.model import Problem

# `2026-02-16 13:04:52Z` CLI, `2026-02-11 04:01Z` editor extension, `2025-12-06_19-04-39Z` CLI v2.0 session comment,
# `2026-01-13T16:35:28.160Z` CLI 0.17, `2026-01-25 10:00:00-0700` CLI --local-time-zone, `2025-05-01 11:41:12` G1 local
TIME = (
    r"(?P<date>\d{4}-\d\d-\d\d)[ T_](?P<hour>\d\d)[:-](?P<minute>\d\d)"
    r"(?:[:-](?P<second>\d\d)(?:\.\d{1,9})?)?(?P<zone>Z|[+-]\d\d:?\d\d)?"
)
LONGEST_PATH = 4096

LONGEST_WORD = 200
LONGEST_TITLE = 500

_DATED = re.compile(r"\d{4}-\d\d-\d\d(?!\d)", re.ASCII)
_WHOLE = re.compile(TIME, re.ASCII)
_CONTROL = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]|[\x00-\x1f\x7f-\x9f]")  # `ESC[31m` and its like go as a whole
_NO_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, halves of a surrogate pair
_AT_END = re.compile(r"(?:^| )(?P<time>" + TIME + r")$", re.ASCII)


def to_utc(text: str) -> str | None:
    """The time as `2026-02-16T13:04:52Z`, or None when it is no time, no possible one, or has no zone."""
    match = _WHOLE.fullmatch(text.strip())
    if match is None or match["zone"] is None:
        return None
    clock = f"{match['date']}T{match['hour']}:{match['minute']}:{match['second'] or '00'}"
    try:
        moment = datetime.fromisoformat(clock).replace(tzinfo=_zone(match["zone"])).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment.year >= 1970 else None


def is_time(text: str) -> bool:
    """Whether the text is a time and nothing else, with or without a zone."""
    return _WHOLE.fullmatch(text.strip()) is not None


def split_time(text: str) -> tuple[str, str | None]:
    """The text without a time at its end, and that time: models and titles hold blanks, so it is cut from the right."""
    match = _AT_END.search(text)
    if match is None:
        return text.strip(), None
    return text[: match.start()].strip(), match["time"]


def usable_path(text: str) -> bool:
    """Whether the text can be a path at all: not empty, not endless, UTF-8 without control characters."""
    return bool(text.strip()) and len(text) <= LONGEST_PATH and _NO_PATH.search(text) is None


def most_common(counts: dict[str, int]) -> str | None:
    """The name counted most often, the first of several; None where there is none."""
    return max(counts, key=lambda name: counts[name]) if counts else None


def plain(text: str) -> str:
    """Text to be shown on one line: without control characters, and cut where nobody reads on."""
    return _CONTROL.sub("", text[: 4 * LONGEST_TITLE]).strip()[:LONGEST_TITLE]


def word(value: Any) -> str | None:
    """A name or id from JSON: text of some length that can be stored and shown, or None for anything else."""
    return value.strip() if isinstance(value, str) and len(value) <= LONGEST_WORD and usable_path(value) else None


def path_of(value: Any) -> str | None:
    """A path from JSON as written, or None for what can be none."""
    return value if isinstance(value, str) and usable_path(value) and "\ufffd" not in value else None


def moment(value: Any) -> str | None:
    """A time from JSON in UTC, or None for what is no text, no time, or has no zone."""
    return to_utc(value) if isinstance(value, str) and len(value) <= LONGEST_WORD else None


def parsed(text: str | bytes) -> Any:
    """The JSON value of a text; None for what is none, which `null` is too.

    Deep nesting and numbers of thousands of digits are refused by the parser, and so count as broken.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def stem_of(name: str) -> str:
    """The name of a file without its folders and without `.md`."""
    return name.rpartition("/")[2].removesuffix(".md")


def named_session(name: str) -> str:
    """The session of a file that names none: its stem where that begins with a date, else its path.

    `2025-03-04_06-17-fixing-a-bug.md` is the same session wherever the file lies; `untitled.md` may be anybody's.
    """
    return stem if _DATED.match(stem := stem_of(name)) else name


def texts(lines: Iterable[bytes], broken: list[Problem]) -> Iterator[str]:
    """The lines as text, without byte order mark and line feed; a carriage return before it stays.

    Bytes that are no UTF-8 (the CLI of SpecStory cuts text at 200 bytes, through a character) become U+FFFD, and the
    first line that has any is put into `broken`.
    """
    damaged = False
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("utf-8", "replace")
            if not damaged:
                broken.append(Problem(number, "bytes that are no UTF-8 text"))
                damaged = True
        if number == 1:
            text = text.removeprefix("\ufeff")
        yield text.removesuffix("\n")


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[-2:])))
