"""Logs of one JSON object a line: their lines read without ever raising, and what a reader may ask of any value.

Nothing here knows a writer. Values come from files that anybody may have damaged, so every question states the type
that it expects and answers with nothing for any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mlos_sync.core.transcripts.model import Problem
from mlos_sync.core.transcripts.sound import encoded, sound_json
from mlos_sync.core.transcripts.stamps import moment

_BOM = b"\xef\xbb\xbf"
_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\r\n]*")
# A token of JSON as far as an outline needs it: a string, one that is cut off, a bracket, a comma, another scalar.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?P<end>"?+)(?P<colon>\s*+:)?|[{}\[\],]|[^\s"{}\[\],:]++', re.DOTALL)


UNFINISHED = "the last line is not finished"  # a copy that was cut, or a session that is still being written


def objects(lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """Each object with the number of its line (from 1), and a problem for whatever is none; blank lines are nothing."""
    for number, line in enumerate(lines, 1):
        for found in parsed(line, number):
            yield number, found


def parsed(line: bytes, number: int) -> Iterator[dict[str, Any] | Problem]:
    """The objects of one line: one, or several where a writer lost a line feed; a problem for what stands between.

    `{"type":"user",…}{"type":"file-history-snapshot","messageId` is seen in Claude Code 2.1.7: two writers at once.
    """
    try:
        text = line.removeprefix(_BOM if number == 1 else b"").decode()
    except UnicodeDecodeError:
        yield Problem(number, "bytes that are no UTF-8 text")
        text = line.decode("utf-8", "replace")
    position = _after_blanks(text, 0)
    while position < len(text):
        try:
            value, position = _DECODER.raw_decode(text, position)
        except RecursionError:
            yield Problem(number, "JSON nested too deep to read")
            return
        except ValueError:
            yield Problem(number, "no complete JSON value" if line.endswith(b"\n") else UNFINISHED)
            return
        yield value if isinstance(value, dict) else Problem(number, "a JSON value that is no object")
        position = _after_blanks(text, position)
        if position < len(text):
            yield Problem(number, "more than one JSON value in a line")


def outlines(head: bytes, most: int = 200) -> Iterator[dict[str, str]]:
    """The first lines of a file by their keys, for recognition: `{"type": "user", "message": "", "message.role": …}`.

    Keys are those of the object and, behind a dot, of the objects in it; a value is given where it is a string. Works
    on a line that is cut off, and on a document that spans the lines of the head.
    """
    lines = head.split(b"\n", most)[:most]
    for line in lines:
        if line.strip():
            yield _outline(line.decode("utf-8", "replace"))[0]
    if lines and not _outline(lines[0].decode("utf-8", "replace"))[1]:
        yield _outline(head.decode("utf-8", "replace"))[0]


def _outline(text: str) -> tuple[dict[str, str], bool]:
    """The keys of the first object in a text, and whether it ends within."""
    keys: dict[str, str] = {}
    stack: list[str] = []  # for each open bracket the key path that its members get, "[" where they get none
    key = ""
    for match in _TOKEN.finditer(text):
        mark = match[0]
        if mark in ("{", "["):
            stack.append("[" if mark == "[" or len(stack) > 1 else key + "." if stack else "")
            if len(stack) == 1 and mark == "[":
                return keys, False
        elif mark in ("}", "]"):
            if stack:
                stack.pop()
            if not stack:
                return keys, True
        elif match["colon"] and stack and stack[-1] != "[":
            key = stack[-1] + mark.rpartition('"')[0][1:]
            keys[key] = ""
        elif not stack:
            return keys, False
        elif mark[0] == '"' and match["end"] and key in keys and stack[-1] == _owner(key):
            keys[key] = mark[1:-1]
    return keys, False


def _owner(key: str) -> str:
    return key.rpartition(".")[0] + "." if "." in key else ""


def _after_blanks(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def text_at(value: Any, *keys: str) -> str:
    """The string that stands under the first of these keys that has one; empty where none does."""
    if isinstance(value, dict):
        for key in keys:
            found = value.get(key)
            if isinstance(found, str):
                return found
    return ""


def object_at(value: Any, key: str) -> dict[str, Any]:
    """The object under a key, or an empty one."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def objects_at(value: Any, key: str) -> list[dict[str, Any]]:
    """The objects in the list under a key; whatever else the list holds is left out."""
    found = value.get(key) if isinstance(value, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def arguments_of(value: Any) -> dict[str, Any]:
    """The arguments of a call, which Codex and others write as JSON in a string: `"{\\"cmd\\":\\"ls\\"}"`."""
    value = sound_json(value) if isinstance(value, str) else value
    return value if isinstance(value, dict) else {}


def shown(value: Any) -> str:
    """The text of a message or of a result: a string, or the texts of a list of blocks, one below the other."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return text_at(value, "text", "output", "content")
    return "\n".join(filter(None, (text_at(item, "text") for item in value))) if isinstance(value, list) else ""


def stamp_at(value: Any, key: str = "timestamp") -> str | None:
    """The time under a key as `2026-02-16T13:04:52Z`, or None."""
    return moment(value.get(key)) if isinstance(value, dict) else None


def line_ends(*texts: str) -> tuple[bytes, ...]:
    """Each text as the bytes of a file, and behind them all once more with the line ends of Windows.

    Agents normalise what they read to LF and restore the CRLF of the file when they write, which no log shows.
    """
    variants = [*texts, *(text.replace("\n", "\r\n") for text in texts if "\n" in text and "\r\n" not in text)]
    return tuple(dict.fromkeys(encoded(text) for text in variants))
