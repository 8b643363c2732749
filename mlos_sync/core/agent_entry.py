"""Our entry in a coding agent's settings: put into somebody's JSON and taken out again, every other byte as it was.

Owns the entry (one for PreToolUse, the same in every clone, for the file is usually tracked) and where it goes. The text is
never written anew: a value is inserted behind the last one of its list or object, in the indentation found there, and
cut out with the comma that it needed. Pure: bytes in, bytes out; standard library only.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

CALL = "mlos-sync-hook agent-pre-edit"
# Silent where the program is missing; and an older one, which does not know the name, ends with 2: that would deny.
COMMAND = f"command -v mlos-sync-hook >/dev/null 2>&1 && {CALL} || true"
EVENT = "PreToolUse"
ENTRY = {"matcher": "Edit|Write|MultiEdit|NotebookEdit", "hooks": [{"type": "command", "command": COMMAND}]}

_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class _Item:
    """A member or an element: from `start` (its name, if it has one) to `end`; its value begins at `at`."""

    name: str | None
    start: int
    at: int
    end: int
    value: Any


def with_entry(data: bytes | None) -> bytes:
    """The settings with our entry; the same bytes where they have one. None makes a file. Raises ValueError with what is
    wrong with settings that cannot take it."""
    if data is None:
        return (json.dumps({"hooks": {EVENT: [ENTRY]}}, indent=2) + "\n").encode()
    text, root = _parsed(data)
    hooks = root.get("hooks", {})
    if not isinstance(hooks, dict):
        raise ValueError("`hooks` is no object")
    groups = hooks.get(EVENT, [])
    if not isinstance(groups, list):
        raise ValueError(f"`hooks.{EVENT}` is no list")
    if _ours(groups) is not None:
        return data
    place = _root(text)
    if "hooks" not in root:
        return _inserted(text, place, "hooks", {EVENT: [ENTRY]}).encode()
    place = _member(text, place, "hooks").at
    if EVENT not in hooks:
        return _inserted(text, place, EVENT, [ENTRY]).encode()
    return _inserted(text, _member(text, place, EVENT).at, None, ENTRY).encode()


def without_entry(data: bytes) -> bytes | None:
    """The settings without any entry of ours, and without what was left empty by that; None where nothing else is in them.
    Raises ValueError as `with_entry` does."""
    text, root = _parsed(data)
    while True:
        hooks = root.get("hooks")
        groups = hooks.get(EVENT) if isinstance(hooks, dict) else None
        found = _ours(groups) if isinstance(groups, list) else None
        if found is None:
            return text.encode()
        cut = _cut(text, *found)
        if cut is None:
            return None
        text, root = _parsed(cut.encode())


def _parsed(data: bytes) -> tuple[str, dict[str, Any]]:
    try:
        text = data.decode("utf-8")
        root = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"it is not valid JSON: {error}") from None
    if not isinstance(root, dict):
        raise ValueError("it is no JSON object")
    return text, root


def _ours(groups: list[Any]) -> tuple[int, int | None] | None:
    """(number of a group, number of our command in it; None where it has no other command), or None."""
    for number, group in enumerate(groups):
        commands = group.get("hooks") if isinstance(group, dict) else None
        for inner, one in enumerate(commands if isinstance(commands, list) else []):
            command = one.get("command") if isinstance(one, dict) else None
            if isinstance(command, str) and CALL in command:
                return number, inner if len(commands or ()) > 1 else None
    return None


def _root(text: str) -> int:
    return _end_of_blanks(text, 0)


def _end_of_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return found.end() if found else at


def _items(text: str, at: int) -> tuple[list[_Item], int]:
    """What stands in the object or list that begins at `at`, and where its closing bracket is. The text is valid."""
    items: list[_Item] = []
    named = text[at] == "{"
    at = _end_of_blanks(text, at + 1)
    while text[at] not in "}]":
        start, name = at, None
        if named:
            name, at = _DECODER.raw_decode(text, at)
            at = _end_of_blanks(text, _end_of_blanks(text, at) + 1)
        value, end = _DECODER.raw_decode(text, at)
        items.append(_Item(name, start, at, end, value))
        at = _end_of_blanks(text, end)
        if text[at] == ",":
            at = _end_of_blanks(text, at + 1)
    return items, at


def _member(text: str, at: int, name: str) -> _Item:
    """The member that counts: of several with one name that is the last."""
    return [one for one in _items(text, at)[0] if one.name == name][-1]


def _inserted(text: str, at: int, name: str | None, value: Any) -> str:
    """The text with one more member or element at the end of the object or list that begins at `at`."""
    items, closing = _items(text, at)
    label = f"{json.dumps(name)}: " if name else ""
    if "\n" not in text[at:closing] if items else "\n" not in text.strip():
        new = label + json.dumps(value)
        return f"{text[: items[-1].end]}, {new}{text[items[-1].end :]}" if items else _between(text, at, closing, new)
    end = "\r\n" if "\r\n" in text else "\n"
    first = _items(text, _root(text))[0][0].start if text[_root(text) + 1 :].strip()[:1] != "}" else 0
    unit = _blanks_before(text, first) or "  "
    outer = _blanks_before(text, _end_of_blanks(text, text.rfind("\n", 0, at) + 1))
    inner = _blanks_before(text, items[0].start) if items else outer + unit
    new = label + (end + inner).join(json.dumps(value, indent=unit).split("\n"))
    if items:
        return f"{text[: items[-1].end]},{end}{inner}{new}{text[items[-1].end :]}"
    return _between(text, at, closing, f"{end}{inner}{new}{end}{outer}")


def _between(text: str, at: int, closing: int, new: str) -> str:
    return text[: at + 1] + new + text[closing:]


def _blanks_before(text: str, at: int) -> str:
    """The indentation of what begins at `at`; empty where something else stands before it on its line."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line if not line.strip() else ""


def _cut(text: str, group: int, command: int | None) -> str | None:
    """The text without a group, or without one command of it; what is left empty goes too, None: everything."""
    places = [_items(text, _root(text))[0]]
    steps = []
    for name in ("hooks", EVENT):
        item = [one for one in places[-1] if one.name == name][-1]
        steps.append(places[-1].index(item))
        places.append(_items(text, item.at)[0])
    steps.append(group)
    if command is not None:
        inside = _items(text, places[-1][group].at)[0]
        item = [one for one in inside if one.name == "hooks"][-1]
        places.append(_items(text, item.at)[0])
        steps.append(command)
    for items, number in zip(reversed(places), reversed(steps), strict=False):
        if number:
            return text[: items[number - 1].end] + text[items[number].end :]
        if len(items) > 1:
            return text[: items[0].start] + text[items[1].start :]
    return None
