"""Cells of somebody else's SQLite table as values of ours: text, times, and a JSON form from which nothing is missing.

A cell is None, an int, a float, text, a blob (`bytes`), or text whose bytes are no UTF-8 (`Undecoded`). In JSON

    NULL                   left out                     a blob                {"blob": "<base64>"}
    a number, text         as it stands                 text that is no UTF-8 {"text": "<base64>"}
    an infinite number     {"real": "inf"}              what is too long      {"cut": <its beginning>, "length": n,
                                                                               "sha256": <of the whole>}
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from mlos_sync.core.journal import canonical

TEXT_LIMIT = 262_144  # characters that a text column of ours takes (a test holds it equal to edge/columns.py)
ROW_LIMIT = 4 * 1024 * 1024  # bytes that one row takes in a line of the journal, which may have four times as many


class Undecoded(bytes):
    """Text of a database whose bytes are no UTF-8."""


Cell = None | int | float | str | bytes


def text_of(value: Cell) -> str | None:
    """A cell as text that a column of ours takes: no NUL, nothing that is no UTF-8, not too long."""
    if isinstance(value, Undecoded):
        value = value[: TEXT_LIMIT * 4].decode("utf-8", "backslashreplace")
    elif isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            value = f"(a blob of {len(value)} bytes, kept in the history)"
    if value is None:
        return None
    text = str(value)
    return (text.strip()[:TEXT_LIMIT] if len(text) > TEXT_LIMIT else text).replace("\0", "␀")


def is_long(value: Cell, limit: int = TEXT_LIMIT) -> bool:
    """Whether only the beginning of a value is kept."""
    return isinstance(value, (str, bytes)) and len(value) > limit


_STAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?\s?(Z|UTC|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)
_EPOCH = re.compile(r"(\d{9,17})(?:\.\d*)?", re.ASCII)


def time_of(value: Cell) -> str | None:
    """A cell as a UTC time to the second; a day begins at midnight. None for a form that is not read.

    Read are ISO dates and times (a time without a zone is UTC, as SQLite's own are) and seconds, milliseconds or
    microseconds since 1970 from 9 digits on: fewer could be a year, a day of a month or a Julian day.
    """
    text = (text_of(value) or "").strip()
    if match := _EPOCH.fullmatch(text):
        number = int(match[1])
        thousands = (number >= 10**11) + (number >= 10**14)
        return _utc(datetime(1970, 1, 1, tzinfo=UTC), seconds=number // 1000**thousands)
    match = _STAMP.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        at = datetime(year, month, day, hour, minute, second, tzinfo=_zone(match[7]))
    except ValueError:
        return None
    return _utc(at)


def _zone(text: str | None) -> timezone:
    if not text or text[0] not in "+-":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _utc(at: datetime, seconds: int = 0) -> str | None:
    try:
        return (at + timedelta(seconds=seconds)).astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    except OverflowError:
        return None


def date_of(value: Cell) -> str | None:
    """A cell as a day where it says no more, else as a UTC time; None for a form that is not read."""
    text = (text_of(value) or "").strip()
    at = time_of(value)
    return text if at and re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else at


def json_of(value: Cell, limit: int = TEXT_LIMIT) -> Any:
    """A cell as a value that JSON carries, without loss up to `limit` characters or bytes."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"real": str(value)}
    if not isinstance(value, (str, bytes)):
        return value
    form: Any = value[:limit]
    if isinstance(value, bytes):
        form = {"text" if isinstance(value, Undecoded) else "blob": base64.b64encode(form).decode()}
    if len(value) <= limit:
        return form
    whole = value.encode("utf-8") if isinstance(value, str) else value
    return {"cut": form, "length": len(value), "sha256": hashlib.sha256(whole).hexdigest()}


def key_of(cells: tuple[Cell, ...]) -> Any:
    """What tells a row from others, as a JSON value: that of its one column, or a list."""
    parts = [json_of(cell, 1000) for cell in cells]
    return parts[0] if len(parts) == 1 else parts


def imported_text(about: Mapping[str, Any], cells: Mapping[str, Cell]) -> tuple[str, int] | None:
    """Canonical JSON of a row (`about` and, as `row`, all that is not NULL), and the length at which values were cut so
    that it fits into a line of the journal. None where it never does."""
    said = {name: value for name, value in cells.items() if value is not None}
    sizes = [len(value) if isinstance(value, (str, bytes)) else 1 for value in said.values()]
    names = sum(map(len, said))
    limit = TEXT_LIMIT
    while limit >= 64:
        # What is too long before it is written as JSON need not be written.
        if names + sum(min(size, limit) for size in sizes) <= ROW_LIMIT:
            text = canonical({**about, "row": {name: json_of(value, limit) for name, value in said.items()}})
            # In an event the text is a JSON string once more: quotes and backslashes double.
            if len(text) * 8 <= ROW_LIMIT or len(json.dumps(text, ensure_ascii=False).encode("utf-8")) <= ROW_LIMIT:
                return text, limit
        limit //= 2
    return None
