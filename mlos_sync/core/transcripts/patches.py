"""Patches as agents write them -> changes of files: the `*** Begin Patch` envelope, and unified diffs.

Pure text to values. The envelope is that of Codex CLI (its `apply_patch`, known since the first release in April 2025),
taken over by Copilot, Cursor, Factory Droid and others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlos_sync.core.transcripts.model import Replacement
from mlos_sync.core.transcripts.sound import encoded, sound_path

# `*** Update File: src/a.py`; `Modify`, `Create` and `Remove` are seen from models that paraphrase
FILE = re.compile(r"\*\*\* (?P<word>Add|Create|Update|Modify|Delete|Remove) File: (?P<path>.+)")
# `*** Move to: src/new.py`, the line behind `*** Update File: src/old.py`
MOVE = re.compile(r"\*\*\* Move to: (?P<path>.+)")
OPERATIONS = {
    **dict.fromkeys(("Add", "Create"), "create"),
    **dict.fromkeys(("Update", "Modify"), "patch"),
    **dict.fromkeys(("Delete", "Remove"), "delete"),
}
BEGIN = "*** Begin Patch"
_END = "*** End Patch"
_END_OF_FILE = "*** End of File"
# `@@ -10,6 +10,8 @@ def main():` of a unified diff
_RANGE = re.compile(r"@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@")


@dataclass(frozen=True, slots=True)
class Change:
    """One operation on one file. `directory` is where a relative path starts, when it is not where the call ran."""

    operation: str
    path: str
    contents: tuple[bytes, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    directory: str = ""


def changes(patch: str) -> tuple[Change, ...]:
    """The changes of the first patch envelope in a text, in order; none where there is no envelope.

    An added file has contents, an updated one replacements; a moved one is a move to its target and a deletion of its
    source. Lines keep a CR that they end with. A path that can be none is left out.
    """
    lines = patch.split("\n")
    start = next((index for index, line in enumerate(lines) if line.strip() == BEGIN), None)
    if start is None:
        return ()
    found: list[Change] = []
    section: list[str] = []
    for line in lines[start + 1 :]:
        bare = line.strip()
        if bare == _END:
            break
        if FILE.fullmatch(bare) and line.startswith("*** "):
            found += _section(section)
            section = []
        section.append(line)
    return tuple(found + list(_section(section)))


def hunks(lines: Sequence[str]) -> tuple[Replacement, ...]:
    """The replacements of a run of diff lines, one for each stretch between `@@` lines that changes anything.

    All or nothing: where one stretch has a line that no hunk has, there are none, since a part of a change leads to a
    file that never was. A stretch of added lines alone has an empty `old`, which fits an empty file and no other.
    """
    found: list[Replacement] = []
    hunk: list[str] = []
    for line in [*lines, "@@"]:
        if not line.startswith("@@"):
            if line.rstrip() != _END_OF_FILE:
                hunk.append(line)
            continue
        if any(text.strip() for text in hunk):
            replacement = _replacement(hunk)
            if replacement is None:
                return ()
            if replacement.old != replacement.new:
                found.append(replacement)
        hunk = []
    return tuple(found)


def unified(diff: str) -> tuple[Replacement, ...]:
    """The replacements of the unified diff of one file, with or without its `---` and `+++` lines."""
    lines = diff.removesuffix("\n").split("\n")
    start = next((index for index, line in enumerate(lines) if _RANGE.match(line)), len(lines))
    return hunks(lines[start:])


def _section(lines: Sequence[str]) -> Iterator[Change]:
    """The changes of one file: its `*** … File:` line and what follows it."""
    match = FILE.fullmatch(lines[0].strip()) if lines else None
    path = sound_path(match["path"].strip()) if match else None
    if match is None or path is None:
        return
    operation = OPERATIONS[match["word"]]
    body = lines[1:]
    moved = next((found for line in body if (found := MOVE.fullmatch(line.strip())) and line[:1] == "*"), None)
    target = sound_path(moved["path"].strip()) if moved else None
    body = [line for line in body if line[:4] != "*** " or line.rstrip() == _END_OF_FILE]
    if operation == "create":
        yield Change("create", path, contents=_added(body))
    elif operation == "delete":
        yield Change("delete", path)
    elif target is not None:
        yield Change("move", target, replacements=hunks(body))
        yield Change("delete", path)
    else:
        yield Change("patch", path, replacements=hunks(body))


def _added(lines: Sequence[str]) -> tuple[bytes, ...]:
    """The content of an added file, every line of which begins with `+`; it always ends with a newline."""
    lines = [line for line in lines if line.strip() and line.rstrip() != _END_OF_FILE]
    if any(line[:1] != "+" for line in lines):
        return ()
    return (encoded("".join(line[1:] + "\n" for line in lines)),)


def _replacement(lines: Sequence[str]) -> Replacement | None:
    """A hunk as one replacement; None where it holds lines that no hunk has.

    A line without any mark is an empty line of context, whose blank was lost. `\\ No newline at end of file` takes the
    newline from the line before.
    """
    old: list[str] = []
    new: list[str] = []
    cut: set[str] = set()
    last = ""
    end = len(lines)
    while end and not lines[end - 1]:
        end -= 1  # blank lines between hunks; as context they would stand on both sides, so that nothing is lost
    for line in lines[:end]:
        mark = line[:1] or " "
        if mark not in " +-\\":
            return None
        if mark == "\\":
            cut |= {"+", "-"} if last == " " else {last}
            continue
        if mark in " -":
            old.append(line[1:])
        if mark in " +":
            new.append(line[1:])
        last = mark
    return Replacement(encoded(_joined(old, "-" in cut)), encoded(_joined(new, "+" in cut)))


def _joined(lines: Sequence[str], cut: bool) -> str:
    text = "".join(line + "\n" for line in lines)
    return text.removesuffix("\n") if cut else text
