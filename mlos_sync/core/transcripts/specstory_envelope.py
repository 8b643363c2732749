"""The skeleton of SpecStory markdown: speaker lines, tool envelopes, and the fences inside an envelope.

Fences do not nest in these files and the writers close them early, so no fence ever hides a speaker line; only an
envelope does. An envelope ends at a line that is exactly a closing tag: quoted transcripts and numbered listings
contain the tags in the middle of a line. Generations before 2.0 have no envelopes: their calls begin right behind a
speaker line or a rule and reach to the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

CLOSING = ("</details></tool-use>", "</tool-use>")
LONGEST_SPEAKER = 400  # a speaker line holds a role, a model and a time
LONGEST_BLOCK = 1 << 26  # characters of one block that are kept; what an unclosed one holds beyond them is dropped

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
# "Tool use: **Edit**", "Tool use: **Read** `./src/a.ts`": CLI-0 and CLI-1, the first line of an agent's turn
_CALL = re.compile(r"Tool use: \*\*(?P<name>[^*]{1,200})\*\*.*")
_MARKS = frozenset(("_*", "<t"))
_EARLY_MARKS = frozenset(("_*", "<t", "To", "Re", "``"))

Numbered = Iterator[tuple[int, str]]


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
    `closed` is False for the block in which the file ends. A call of a generation without envelopes is `early`: its
    first line is its summary.
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
    early: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """Text behind the last block of a file, at whose end `line` it stands: the session went on behind that block."""

    line: int


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced part of a block: `lines[start]` opens it, `lines[end]` closes it or is the end of the block."""

    start: int
    end: int
    run: str
    info: str


def walk(lines: Iterable[str], early: bool = False) -> Iterator[Speaker | Block | Words]:
    """The speakers and envelopes of a file in order; what stands inside an envelope is never taken for either.

    Lines come without line feeds, and no more of them is held than the block at hand. Speakers and envelopes follow a
    blank line: every real one does, while a quoted one often stands behind a fence line. `early` allows for the calls
    of generations without envelopes.
    """
    source = enumerate(lines, 1)
    marks = _EARLY_MARKS if early else _MARKS
    before = previous = ""
    number = behind = 0  # the line at hand, and the first behind the last block
    for first in source:
        entry: tuple[int, str] | None = first
        while entry is not None:  # what a block gives back, its next line, is looked at like any other
            number, line = entry
            entry = None
            if line[:2] in marks and not previous.strip():
                block: Block | None = None
                speaker = _speaker(line, number)
                if speaker is not None:
                    behind = 0
                    yield speaker
                elif (match := _OPENING.match(line)) is not None:
                    block, previous, entry = _envelope(source, number, match)
                elif early and (name := _early_name(line, before)):
                    block, entry = _early(source, number, line, name)
                    previous = ""
                if block is not None:
                    yield block
                    behind = block.line + len(block.lines)
                    continue
            before, previous = previous, line
    if behind and number >= behind and previous.strip() not in ("", "---"):
        yield Words(number)


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


def _envelope(source: Numbered, number: int, opening: re.Match[str]) -> tuple[Block, str, tuple[int, str] | None]:
    """The block that opens here, its last line, and the first line behind it (None at the end of the file)."""
    kept = [opening.string]
    closed = "</tool-use>" in opening["rest"]  # opened and closed on one line
    size = 0
    entry: tuple[int, str] | None = None
    previous = opening.string
    if not closed:
        for _, line in source:
            size += len(line)
            if size <= LONGEST_BLOCK:
                kept.append(line)
            if line[:2] == "</" and line.rstrip() in CLOSING:
                closed = True
                break
        previous, entry = _trailing(source, kept) if closed else ("", None)
    summary, at, body = _summary(kept)
    extension = not opening["rest"].startswith("<details>")
    block = Block(number, opening["kind"], opening["name"], summary, at, body, kept, extension, closed)
    return block, previous, entry


def _trailing(source: Numbered, kept: list[str]) -> tuple[str, tuple[int, str] | None]:
    """Adds what version 2.0 wrote right behind the closing tag, the result's fence; a blank line means there is none.

    A speaker or an envelope ends the search, as in a file whose fence never closes. Returns as `_envelope` does.
    """
    entry = next(source, None)
    if entry is None or entry[1].rstrip() != "```":
        return kept[-1], entry
    trail, size, previous = [entry[1]], 0, entry[1]
    for number, line in source:
        if line[:2] in _MARKS:
            return previous, (number, line)
        size += len(line)
        if size <= LONGEST_BLOCK:
            trail.append(line)
        if line.rstrip() == "```":
            kept += trail
            return line, next(source, None)
        previous = line
    return previous, None


def _early_name(line: str, before: str) -> str | None:
    """The name of the call that begins with this line of a generation without envelopes, if one does.

    It stands alone behind a speaker line or a rule: what the model said stands there too, but begins with no such line.
    `Read file: src/a.ts` and a shell fence are how the editor extension wrote reads and commands in G0 and G1.
    """
    boundary = before.rstrip()
    call = _CALL.fullmatch(line.rstrip()) if boundary[:7] == "_**Agen" else None
    if call is not None:
        return call["name"] if _SPEAKER.fullmatch(boundary) else None
    if boundary not in ("---", "_****_") and boundary[:11] != "_**Assistan":
        return None
    if line.startswith("Read file: "):
        return "read_file"
    return "run_terminal_cmd" if line.rstrip() in ("```bash", "```sh", "```shell") else None


def _early(source: Numbered, number: int, first: str, name: str) -> tuple[Block, tuple[int, str] | None]:
    """The call that begins here, and the first line behind it: a speaker line, or for the editor a rule as well."""
    kept = [first]
    size = 0
    rules = ("---", "_****_") if first[:4] != "Tool" else ()
    entry: tuple[int, str] | None = None
    previous = first
    for entry in source:
        line = entry[1]
        if line[:2] in ("_*", "--") and not previous.strip() and (line.rstrip() in rules or _speaker(line, 0)):
            break
        size += len(line)
        if size <= LONGEST_BLOCK:
            kept.append(line)
        previous = line
        entry = None
    body = 0 if first[:1] == "`" else 1
    summary = first.rstrip() if body else ""
    return Block(number, "", name, summary, 0, body, kept, False, True, early=True), entry


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
