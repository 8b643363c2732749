"""A SpecStory tool envelope taken apart: fences, prose between them, the result, and whether it tells of a failure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlos_sync.core.transcripts.model import Replacement
from mlos_sync.core.transcripts.sound import sound_path
from mlos_sync.core.transcripts.specstory_envelope import Block, Fence, fences

SHELLS = ("bash", "sh", "shell", "zsh", "powershell")  # tags of a fence that holds a command


# Lines that say what became of a call, outside of any fence:
# `**Apply failed**`, `Status: **error**`, `User decision: **rejected**`, `**Error:**` Cursor, VS Code Copilot;
# `Incorrect tool arguments` Cursor;
# `Output (error): No match`, `Output (error):` Factory Droid
_REFUSED = re.compile(
    r"\*\*Apply failed\*\*|Status: \*\*(?!completed|success)\w|User decision: \*\*(?!accepted|approved)\w"
    r"|\*\*Error:\*\*|Error:$|Incorrect tool arguments$|Output \(error\):"
)
# `Result: Successfully modified file: a.py` Gemini, `Output: ok` Droid, DeepSeek, Antigravity; `**Result:**` VS Code
_LABEL = re.compile(r"(?:Result|Output(?: \(error\))?):(?P<text>.*)|\*\*(?:Result|Error):\*\*$")
# How a failed or refused call begins its result:
# `<tool_use_error>File has not been read yet. Read it first …` and `The user doesn't want to proceed …` Claude Code,
# `apply_patch verification failed: Failed to find …` and `Exit code: 1` Codex, `Failed to edit, 0 occurrences …` Gemini
_FAILED = re.compile(
    r"<tool_use_error>|error\b|failed\b|failure\b|invalid\b|abort(?:ed|ing)\b"
    r"|\[?(?:operation |request )?cancell?ed\b"
    r"|apply_patch verification failed|patch (?:failed|rejected)|tool execution (?:denied|failed)|denied\b|rejected\b"
    r"|the user (?:doesn't|does not|rejected|declined|denied|chose not)|user (?:rejected|denied|declined|cancelled)"
    r"|the tool call was (?:rejected|cancelled)|string(?: to)? replace(?:ment)? (?:not found|failed)|no such file"
    r"|(?:could not|cannot|can't|unable to|permission denied|no changes)\b|exit code: (?!0\b)"
    r"|file (?:not found|does not exist|must be read|has not been read|has been (?:unexpectedly )?modified)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Parts:
    """A block with its fences and the (index, line) pairs outside of them, line ends and trailing blanks cut."""

    block: Block
    fences: tuple[Fence, ...]
    prose: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """An operation on a path, found at `block.lines[index]`; `cwd` is where a relative one starts, if that is told."""

    index: int
    operation: str
    path: str
    succeeded: bool = True
    contents: tuple[bytes, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    cwd: str | None = None


def take_apart(block: Block) -> Parts:
    """The parts of a block, in one pass over its lines."""
    inside = fences(block.lines, block.body)
    prose: list[tuple[int, str]] = []
    index = block.body
    for fence in inside:
        prose += [(k, block.lines[k].rstrip()) for k in range(index, fence.start)]
        index = fence.end + 1
    prose += [(k, block.lines[k].rstrip()) for k in range(index, len(block.lines))]
    return Parts(block, tuple(inside), tuple(prose))


def clean(path: str) -> str | None:
    """A path that stands in a line, or None for what can be none; `undefined` and `null` are variables without value.

    Blanks around it belong to the line, unlike those of a path that stands as a value of JSON.
    """
    path = path.strip()
    return None if path in ("undefined", "null") else sound_path(path)


def first_text(parts: Parts, fence: Fence) -> tuple[int, str]:
    """The first line with text in a fence, and its index; an empty fence gives an empty line."""
    for index in range(fence.start + 1, fence.end):
        text = parts.block.lines[index].strip()
        if text:
            return index, text
    return fence.start, ""


def result_fence(parts: Parts, whole_file: bool) -> Fence | None:
    """The fence that holds the result: the labelled one, else the first plain one behind a written file's content.

    VS Code and Cursor label their results and fence other things besides, so there no other fence can be meant.
    """
    for fence in reversed(parts.fences):
        if _label_before(parts, fence):
            return fence
    if "•" in parts.block.summary or any(line == "**Input:**" for _, line in parts.prose):
        return None
    behind = parts.fences[1 if whole_file else 0 :]
    return next((fence for fence in behind if fence.info in ("", "text")), None)


def failed(parts: Parts, whole_file: bool) -> bool:
    """Whether the block tells that the operation failed, was refused or never ended. Silence is no failure."""
    bare = parts.block.name == "Delete"  # Cursor CLI writes the result of this one tool without label or fence
    for _, line in parts.prose:
        label = _LABEL.match(line)
        if bare and _FAILED.match(line):
            return True
        if _REFUSED.match(line) or (label and label["text"] and _FAILED.match(label["text"].strip())):
            return True
    fence = result_fence(parts, whole_file)
    if fence is None:
        return False
    start = [line.strip() for line in parts.block.lines[fence.start + 1 : min(fence.end, fence.start + 4)]]
    return bool(_FAILED.match(first_text(parts, fence)[1])) or any(line.startswith('"rejected":') for line in start)


def refused(parts: Parts) -> bool:
    """Whether a line before the first fence tells of a refusal; behind it a file may be shown."""
    first = parts.fences[0].start if parts.fences else len(parts.block.lines)
    return any(_REFUSED.match(line) for index, line in parts.prose if index < first)


def last_label(parts: Parts) -> int:
    """The index of the last result label in the block, or the length of the block when it has none.

    Looked for in every line: Gemini CLI fences content with three backticks whatever it holds.
    """
    lines = parts.block.lines
    for index in range(len(lines) - 1, parts.block.body, -1):
        if lines[index][:1] in ("R", "O", "*") and _LABEL.match(lines[index].rstrip()):
            return index
    return len(lines)


def _label_before(parts: Parts, fence: Fence) -> bool:
    before = [parts.block.lines[k].rstrip() for k in range(max(fence.start - 2, parts.block.body), fence.start)]
    return any(_LABEL.fullmatch(line) or line == "Error:" for line in before)
