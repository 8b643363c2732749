"""Times as transcripts write them, brought to UTC. One without a zone is local to somebody and thus unknown."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

# `2026-02-16 13:04:52Z` CLI, `2026-02-11 04:01Z` editor extension, `2025-12-06_19-04-39Z` CLI v2.0 session comment,
# `2026-01-13T16:35:28.160Z` CLI 0.17, `2026-01-25 10:00:00-0700` CLI --local-time-zone, `2025-05-01 11:41:12` G1 local
TIME = (
    r"(?P<date>\d{4}-\d\d-\d\d)[ T_](?P<hour>\d\d)[:-](?P<minute>\d\d)"
    r"(?:[:-](?P<second>\d\d)(?:\.\d{1,9})?)?(?P<zone>Z|[+-]\d\d:?\d\d)?"
)
LONGEST_TIME = 60

_WHOLE = re.compile(TIME, re.ASCII)
_USUAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d(?:\.\d{1,9})?Z", re.ASCII)  # nearly every line of a log has one
_AT_END = re.compile(r"(?:^| )(?P<time>" + TIME + r")$", re.ASCII)


def to_utc(text: str) -> str | None:
    """The time as `2026-02-16T13:04:52Z`, or None when it is no time, no possible one, or has no zone."""
    match = _WHOLE.fullmatch(text.strip())
    if match is None or match["zone"] is None:
        return None
    clock = f"{match['date']}T{match['hour']}:{match['minute']}:{match['second'] or '00'}"
    try:
        when = datetime.fromisoformat(clock).replace(tzinfo=_zone(match["zone"])).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return when.strftime("%Y-%m-%dT%H:%M:%SZ") if when.year >= 1970 else None


def moment(value: Any) -> str | None:
    """A time from JSON in UTC, as `to_utc` gives it; None also for what is no text."""
    if not isinstance(value, str) or len(value) > LONGEST_TIME:
        return None
    if _USUAL.fullmatch(value):  # the calendar is asked once for the lines of a minute
        return f"{value[:19]}Z" if _is_minute(value[:16]) else None
    return to_utc(value)


def is_time(text: str) -> bool:
    """Whether the text is a time and nothing else, with or without a zone."""
    return _WHOLE.fullmatch(text.strip()) is not None


def split_time(text: str) -> tuple[str, str | None]:
    """The text without a time at its end, and that time: models and titles hold blanks, so it is cut from the right."""
    match = _AT_END.search(text)
    if match is None:
        return text.strip(), None
    return text[: match.start()].strip(), match["time"]


@lru_cache(maxsize=64)
def _is_minute(text: str) -> bool:
    return to_utc(text + "Z") is not None


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[-2:])))
