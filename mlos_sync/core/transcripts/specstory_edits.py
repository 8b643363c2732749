"""How an edit changed its file, as far as SpecStory markdown shows the whole of it: replacements, in order.

All or nothing: a block with one line that no diff has, a chunk whose lines are not as many as its header says, or a
change that could stand anywhere gives none, since a part of a change leads to a file that never was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlos_sync.core.transcripts import patches
from mlos_sync.core.transcripts.model import Replacement
from mlos_sync.core.transcripts.sound import encoded, sound_json, unescaped
from mlos_sync.core.transcripts.specstory_envelope import Fence
from mlos_sync.core.transcripts.specstory_parts import Parts, last_label

# `@@ -5,7 +5,7 @@`: the head of a chunk of Cursor, with the numbers of its lines before and after
_HEAD = re.compile(r"@@ -(?P<start>\d{1,9})(?:,(?P<old>\d{1,9}))? \+\d{1,9}(?:,(?P<new>\d{1,9}))? @@.*")
_LABELS = ("oldString", "newString")
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|#\d{2,5}|#x[0-9a-fA-F]{2,4});")


def hunks(lines: Sequence[str], escaped: bool = False) -> tuple[Replacement, ...]:
    """The replacements of one file's part of a patch, as `patches.hunks` reads it. `escaped` undoes the editor's HTML."""
    return patches.hunks(_unescaped(lines, escaped))


def edited(parts: Parts) -> tuple[Replacement, ...]:
    """The replacements of one file that an edit block shows before its result.

    Chunks of Cursor, old and new text as a diff, or old and new text under their labels.
    """
    labelled = _labelled(parts)
    if labelled is not None:
        return labelled
    behind = last_label(parts)
    shown = [fence for fence in parts.fences if fence.info == "diff" and fence.start < behind]
    if not shown or any(fence.end >= len(parts.block.lines) for fence in shown):
        return ()
    found: list[Replacement] = []
    for fence in shown:
        lines = _unescaped(parts.block.lines[fence.start + 1 : fence.end], parts.block.extension)
        one = _chunk(lines) if lines and lines[0][:3] == "@@ " else _pair(parts, fence, lines)
        if one is None:
            return ()
        found.append(one)
    return tuple(found)


def by_path(parts: Parts) -> dict[str, tuple[Replacement, ...]]:
    """The replacements in several files, which VS Code Copilot lists as JSON behind "- replacements:" since 2.7."""
    label = next((index for index, line in parts.prose if line == "- replacements:"), None)
    fence = next((fence for fence in parts.fences if label is not None and label < fence.start <= label + 2), None)
    value = sound_json("\n".join(parts.block.lines[fence.start + 1 : fence.end])) if fence else None
    found: dict[str, list[Replacement]] = {}
    damaged: set[str] = set()
    for item in value if isinstance(value, list) else ():
        path, old, new = (item.get(key) for key in ("filePath", *_LABELS)) if isinstance(item, dict) else (None,) * 3
        if not isinstance(path, str):
            continue
        if not isinstance(old, str) or not isinstance(new, str) or not old:
            damaged.add(path)
        found.setdefault(path, []).append(Replacement(encoded(str(old)), encoded(str(new))))
    return {path: tuple(changes) for path, changes in found.items() if path not in damaged}


def _labelled(parts: Parts) -> tuple[Replacement, ...] | None:
    """The texts behind "- oldString:" and "- newString:" of VS Code Copilot; None where the block has no such label.

    Each stands in backticks on the line of the label, or in a fence of its own.
    """
    texts = [_text(parts, key) for key in _LABELS]
    if all(text is None for text in texts):
        return None
    old, new = texts
    return (Replacement(encoded(old), encoded(new)),) if old and new is not None and old != new else ()


def _text(parts: Parts, key: str) -> str | None:
    inline = f"- {key}: `"
    for index, line in parts.prose:
        if line.startswith(inline) and line.endswith("`") and len(line) > len(inline):
            return line[len(inline) : -1]
        if line == f"- {key}:":
            fence = next((fence for fence in parts.fences if index < fence.start <= index + 2), None)
            if fence is None or fence.end >= len(parts.block.lines):
                return None
            return "\n".join(line.removesuffix("\r") for line in parts.block.lines[fence.start + 1 : fence.end])
    return None


def _chunk(lines: Sequence[str]) -> Replacement | None:
    """One chunk of Cursor: a head with the numbers of lines, then lines marked by `+ `, `- ` or two blanks.

    The blank behind the mark is Cursor's own; should a version leave it out, one mark is tried as well. The numbers in
    the head decide whether the chunk is whole. The lines are those between line feeds: a file that ends with one has an
    empty last line, so that they are joined without another. Nothing but a new file begins with nothing.
    """
    head = _HEAD.fullmatch(lines[0].rstrip())
    if head is None or any(line[:3] == "@@ " for line in lines[1:]):
        return None
    body = list(lines[1:])
    if _count(body, "-") != int(head["old"] or 1) or _count(body, "+") != int(head["new"] or 1):
        return None
    width = 2 if all(line[1:2] in ("", " ") for line in body) else 1
    old = "\n".join(line[width:] for line in body if line[:1] != "+")
    new = "\n".join(line[width:] for line in body if line[:1] != "-")
    if any(line[:1] not in ("+", "-", " ", "") for line in body) or (not old and int(head["start"]) > 1) or old == new:
        return None
    return Replacement(encoded(old), encoded(new))


def _count(lines: Sequence[str], mark: str) -> int:
    return sum(line[:1] in (mark, " ", "") for line in lines)


def _pair(parts: Parts, fence: Fence, lines: Sequence[str]) -> Replacement | None:
    """Old and new text as `-` lines and then `+` lines: Cursor CLI `StrReplace`, Factory Droid, DeepSeek, Antigravity.

    The texts are pieces of a file, not lines of it, so they end without a line feed. Gemini CLI tags the new text
    alone as a diff; it has no marks and is no pair.
    """
    if parts.block.early:
        return None
    if len(lines) > 2 and lines[0][:4] == "--- " and lines[1][:4] == "+++ ":
        lines = lines[2:]
    removed = [line[1:] for line in lines if line[:1] == "-"]
    marks = "".join(line[:1] or "?" for line in lines)
    if not removed or marks != "-" * len(removed) + "+" * (len(lines) - len(removed)):
        return None
    old = "\n".join(removed)
    new = "\n".join(line[1:] for line in lines[len(removed) :])
    return Replacement(encoded(old), encoded(new)) if old and old != new else None


def _unescaped(lines: Sequence[str], escaped: bool) -> list[str]:
    """The lines without carriage returns at their ends, and as they were before the editor extension escaped HTML.

    It escapes every `&`; one that begins no entity tells that these lines were never escaped.
    """
    bare = [line.removesuffix("\r") for line in lines]
    text = "\n".join(bare)
    if not escaped or "&" not in text or text.count("&") != sum(1 for _ in _ENTITY.finditer(text)):
        return bare
    return unescaped(text).split("\n")
