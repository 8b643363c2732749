"""What may be kept of a value that anybody may have damaged: paths, short texts, JSON, bytes.

Every reader asks here, whatever its format, so that two logs of one session tell the same words for the same thing.
"""

from __future__ import annotations

import html
import json
import re
from typing import Any

LONGEST_PATH = 4096
LONGEST_TEXT = 300

_NO_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")  # control characters, no UTF-8, bytes lost before
# the same in a text, where `ESC[31m` and its like go as a whole
_NO_TEXT = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]|[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def sound_path(value: Any) -> str | None:
    """A path as written, or None for what can be none: no string, empty, endless, damaged, no UTF-8.

    Nothing is mended in a path, since a mended one would name another file.
    """
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_PATH or _NO_PATH.search(value):
        return None
    return value


def sound_text(value: Any) -> str | None:
    """A short text to keep, such as an id, a model or a title: in one line, without what UTF-8 cannot hold; or None."""
    if not isinstance(value, str):
        return None
    return " ".join(_NO_TEXT.sub(" ", value[:1000]).split())[:LONGEST_TEXT].rstrip() or None


def sound_json(text: str | bytes) -> Any:
    """The JSON value of a text; None for what is none, which `null` is too.

    Deep nesting and numbers of thousands of digits are refused by the parser, and so count as broken.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def unescaped(text: str) -> str:
    """The text with entities of HTML undone; as it stands where one has more digits than Python reads (`&#111…`)."""
    try:
        return html.unescape(text)
    except ValueError:
        return text


def encoded(text: str) -> bytes:
    """The bytes of a file with this text. Half a surrogate pair becomes U+FFFD, as the writers' runtimes write it."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text).encode()
