"""The skeleton of SpecStory markdown: speaker lines, tool envelopes, and the fences inside an envelope.

Fences do not nest in these files and the writers close them early, so no fence ever hides a speaker line; only an
envelope does. An envelope ends at a line that is exactly a closing tag: quoted transcripts and numbered listings
contain the tags in the middle of a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CLOSING = ("</details></tool-use>", "</tool-use>")
LONGEST_SPEAKER = 400  # a speaker line holds a role, a model and a time

# `_**User (2026-02-16 13:04:52Z)**_` CLI, `_**Agent (model claude-opus-4.5, mode Agent)**_` editor extension,
# `_**Agent - sidechain (claude-haiku-4-5 2026-02-10 22:20:51Z)**_` CLI since v2.0, `_**User (sidechain)**_` CLI-1.
# G0 also has `_****_`: the assistant goes on, which is no new speaker.
_SPEAKER = re.compile(
    r"_\*\*(?P<role>User|Agent|Assistant)(?P<side> - sidechain)?"
    r"(?: \((?P<stamp>.*?)\))?(?P<side2> \(sidechain\))?\*\*_"
)
# `<tool-use data-tool-type="write" data-tool-name="Edit"><details>` CLI; without `<details>` editor extension
_OPENING = re.compile(r'<tool-use data-tool-type="(?P<kind>[^"]*)" data-tool-name="(?P<name>[^"]*)">(?P<rest>.*)')
# "```go", "````md": the run of backticks and the info string; a line with a backtick in the info is inline code
_FENCE = re.compile(r"(?P<run>`{3,})(?P<info>[^`]*)")


@dataclass(frozen=True, slots=True)
class Speaker:
    """One accepted speaker line, at `line` (from 1). `stamp` is what stands in the brackets."""

    line: int
    role: str
    stamp: str
    sidechain: bool


@dataclass(frozen=True, slots=True)
class Block:
    """One tool envelope. `lines[k]` is line `line + k` of the file, the opening tag being `lines[0]`.

    `summary_at` is the index of the summary, `body` the one behind it. Writers of version 2.0 put the result behind
    the closing tag; it is part of `lines` here. `extension` tells the editor extension's layout, which escapes HTML.
    `closed` is False for the block in which the file ends.
    """

    line: int
    kind: str
    name: str
    summary: str
    summary_at: int
    body: int
    lines: Sequence[str]
    extension: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced part of a block: `lines[start]` opens it, `lines[end]` closes it or is the end of the block."""

    start: int
    end: int
    run: str
    info: str


def walk(lines: Sequence[str]) -> Iterator[Speaker | Block]:
    """The speakers and envelopes of a file in order; what stands inside an envelope is never taken for either.

    Both follow a blank line. Every real one does, while a quoted one often stands behind a fence line.
    """
    behind = 0
    for index, line in enumerate(lines):
        if index < behind or line[:2] not in ("_*", "<t") or (index and lines[index - 1].strip()):
            continue
        speaker = _speaker(line, index + 1)
        if speaker is not None:
            yield speaker
        elif (match := _OPENING.match(line)) is not None:
            block = _block(lines, index, match)
            behind = index + len(block.lines)
            yield block


def fences(lines: Sequence[str], start: int) -> list[Fence]:
    """The fences from `start` on. A fence ends at the first line that repeats its run, as these writers mean it."""
    found = []
    opening: re.Match[str] | None = None
    began = 0
    for index in range(start, len(lines)):
        line = lines[index]
        if line[:3] != "```":
            continue
        line = line.rstrip()
        if opening is None:
            opening, began = _FENCE.fullmatch(line), index
        elif line == opening["run"]:
            found.append(Fence(began, index, opening["run"], opening["info"].strip()))
            opening = None
    if opening is not None:
        found.append(Fence(began, len(lines), opening["run"], opening["info"].strip()))
    return found


def _speaker(line: str, number: int) -> Speaker | None:
    if line[0] != "_" or len(line) > LONGEST_SPEAKER:
        return None
    match = _SPEAKER.fullmatch(line.rstrip())
    if match is None:
        return None
    stamp = match["stamp"] or ""
    sidechain = bool(match["side"] or match["side2"]) or stamp == "sidechain"
    return Speaker(number, match["role"], "" if stamp == "sidechain" else stamp, sidechain)


def _block(lines: Sequence[str], start: int, opening: re.Match[str]) -> Block:
    end, closed = _end(lines, start, opening["rest"])
    part = lines[start:end]
    summary, at, body = _summary(part)
    extension = not opening["rest"].startswith("<details>")
    return Block(start + 1, opening["kind"], opening["name"], summary, at, body, part, extension, closed)


def _end(lines: Sequence[str], start: int, rest: str) -> tuple[int, bool]:
    """The index behind the block that opens at `start`, and whether it closes at all."""
    if "</tool-use>" in rest:  # opened and closed on one line
        return start + 1, True
    for index in range(start + 1, len(lines)):
        if lines[index][:2] == "</" and lines[index].rstrip() in CLOSING:
            return _behind_trailing_fence(lines, index + 1), True
    return len(lines), False


def _behind_trailing_fence(lines: Sequence[str], index: int) -> int:
    """Version 2.0 wrote the result of a call right behind the closing tag; a blank line means there is none."""
    if index < len(lines) and lines[index].rstrip() == "```":
        for end in range(index + 1, len(lines)):
            if lines[end].rstrip() == "```":
                return end + 1
            if lines[end][:2] in ("_*", "<t"):
                break
    return index


def _summary(lines: Sequence[str]) -> tuple[str, int, int]:
    """The first line of the summary, its index, and the index of the first line behind it.

    `<summary>Tool use: **Edit**</summary>` CLI, `<details><summary>Tool use: **edit_file** • Edit file: a.py</summary>`
    editor extension. The summary of Cursor CLI's `MultiStrReplace` runs over several lines.
    """
    for index, line in enumerate(lines[:4]):
        before, tag, text = line.partition("<summary>")
        if tag and (index == 0 or before.strip() in ("", "<details>")):
            first, close, _ = text.partition("</summary>")
            return first.strip(), index, index + 1 if close else _behind_summary(lines, index)
    return "", 0, 1


def _behind_summary(lines: Sequence[str], start: int) -> int:
    for index in range(start + 1, len(lines)):
        if "</summary>" in lines[index]:
            return index + 1
    return start + 1
