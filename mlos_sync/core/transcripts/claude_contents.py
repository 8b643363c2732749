"""What a file held after Claude Code changed it, from the result of the tool (`toolUseResult`)."""

from __future__ import annotations

import re
from typing import Any

from mlos_sync.core.transcripts.jsonl import line_ends, objects_at, text_at
from mlos_sync.core.transcripts.model import Replacement
from mlos_sync.core.transcripts.tools import replacements_in

_MOST_EDITS = 200  # of one call; each is looked for in the whole text
_LONGEST = 16_000_000  # characters: a replacement made everywhere may let a text grow beyond all bounds
_TABS = re.compile(r"^\t+")
_BLANKS = re.compile(r"^(?:  )+")


def written(told: dict[str, Any]) -> tuple[bytes, ...]:
    """The candidates after a `Write`: `{"type":"create","filePath":…,"content":…}`."""
    content = told.get("content")
    return line_ends(content) if isinstance(content, str) else ()


def edited(told: dict[str, Any]) -> tuple[tuple[bytes, ...], tuple[Replacement, ...]]:
    """The candidates after an edit, or its replacements where the previous text is not given.

    `Edit`: `{"oldString","newString","originalFile","structuredPatch","userModified","replaceAll"}`; `MultiEdit`:
    `{"edits":[{"old_string",…}],"originalFileContents",…}` (1.0.x); `NotebookEdit`: `{"updated_file"}`, in some
    versions. When the user changed the proposal (`userModified`), only the structured patch has what was written.
    """
    updated = told.get("updated_file")
    if isinstance(updated, str):
        return line_ends(updated), ()
    replacements = replacements_in(told)
    original = told.get("originalFile", told.get("originalFileContents"))
    by_user = told.get("userModified") is True
    if original is None and told.get("oldString") == "" and isinstance(told.get("newString"), str) and not by_user:
        return line_ends(told["newString"]), ()  # a new file
    if not isinstance(original, str):
        return (), () if by_user else replacements
    texts = [] if by_user else [_replaced(original, told)]
    if by_user or texts == [None]:
        texts = [_patched(original, told)]
    known = [text for text in texts if text is not None]
    return line_ends(*known), () if known or by_user else replacements


def _replaced(original: str, told: dict[str, Any]) -> str | None:
    """The previous text with the replacements made, or None where one of them does not fit it."""
    edits = objects_at(told, "edits") or [told]
    text = original
    for edit in edits if len(edits) <= _MOST_EDITS else ():
        old, new = text_at(edit, "oldString", "old_string"), text_at(edit, "newString", "new_string")
        if not old:
            if text:
                return None
            text = new
        elif old not in text:
            return None
        else:
            if not new and not old.endswith("\n") and old + "\n" in text:
                old += "\n"  # a deletion of whole lines takes their last line feed along
            everywhere = edit.get("replaceAll") is True or edit.get("replace_all") is True
            times = text.count(old) if everywhere else 1
            if len(text) + times * (len(new) - len(old)) > _LONGEST:
                return None
            text = text.replace(old, new, times)
    return text if len(edits) <= _MOST_EDITS else None


def _patched(original: str, told: dict[str, Any]) -> str | None:
    """The previous text with the structured patch applied, or None where it does not fit.

    `{"oldStart":3,"oldLines":1,"newStart":3,"newLines":2,"lines":[" a","-b","+c","+d"]}`. The patch is made for showing,
    with two blanks for every tab that a line begins with; where the file has such tabs, added lines get them back.
    """
    lines = original.split("\n")
    result: list[str] = []
    position = 0
    hunks = objects_at(told, "structuredPatch")
    if not hunks:
        return None
    for hunk in hunks:
        start, marked = hunk.get("oldStart"), hunk.get("lines")
        if (
            not isinstance(start, int)
            or not isinstance(marked, list)
            or not position <= max(start - 1, 0) <= len(lines)
        ):
            return None
        result += lines[position : max(start - 1, 0)]
        position = max(start - 1, 0)
        tabs = any(line.startswith("\t") for line in lines[position : position + len(marked)])
        for line in marked:
            if not isinstance(line, str) or line[:1] not in (" ", "-", "+", "\\"):
                return None
            if line[0] in " -":
                if position == len(lines) or line[1:] not in (lines[position], _as_shown(lines[position])):
                    return None
                result += lines[position : position + 1] if line[0] == " " else []
                position += 1
            elif line[0] == "+":
                result.append(_BLANKS.sub(lambda found: "\t" * (len(found[0]) // 2), line[1:]) if tabs else line[1:])
    return "\n".join(result + lines[position:])


def _as_shown(line: str) -> str:
    return _TABS.sub(lambda found: "  " * len(found[0]), line)
