"""Patches in SpecStory tool envelopes: `apply_patch` of Codex, Copilot, Cursor and Droid, and in a shell's heredoc.

The marks and hunks are those of `patches`, but each path must keep the line that it stands on, and what surrounds an
envelope here (headings, fences, lists of results) is the writer's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlos_sync.core.transcripts.patches import BEGIN, FILE, MOVE, OPERATIONS
from mlos_sync.core.transcripts.sound import unescaped
from mlos_sync.core.transcripts.specstory_contents import added_file
from mlos_sync.core.transcripts.specstory_edits import hunks
from mlos_sync.core.transcripts.specstory_envelope import Fence
from mlos_sync.core.transcripts.specstory_parts import SHELLS, Found, Parts, clean, failed

# The words of the envelope, and the letters of Codex's list
_OPERATIONS = {**OPERATIONS, "A": "create", "M": "patch", "D": "delete"}

# "**Update: `docs/SUMMARY.md`**" Codex, behind the summary or a diff fence
_HEADING = re.compile(r"\*\*(?P<word>Add|Create|Update|Modify|Delete|Remove): `(?P<path>.+)`\*\*")
# `Success. Updated the following files:` then `M pkg/cmd/search.go` Codex
_SUCCESS = "Success. Updated the following files:"
_LISTED = re.compile(r"(?P<word>[AMD]) (?P<path>.+)")
# `Tool use: **apply_patch** • Apply patch for src/a.ts` Cursor
_APPLIED = re.compile(r"• Apply patch for (?P<path>.+)")


def patched(parts: Parts) -> tuple[Found, ...]:
    """Every file that the patch of this block names, each once; a list of updated files proves that it succeeded."""
    listed = {found.path: found for found in _listed(parts)}
    succeeded = bool(listed) or not failed(parts, whole_file=False)
    named: dict[str, Found] = {}
    for found in _named(parts):
        named.setdefault(found.path, found)
    result = {path: _judged(found, listed.get(path), succeeded) for path, found in named.items()}
    return tuple(result.values()) + tuple(found for path, found in listed.items() if path not in result)


def in_shell(parts: Parts) -> tuple[Found, ...]:
    """The files of a patch that a shell command holds as a heredoc; a patch in its output is only shown, not applied.

    The command is the first fence, tagged as shell: "```bash" then `apply_patch <<'EOF'` then `*** Begin Patch`.
    """
    if not parts.fences or parts.fences[0].info not in SHELLS:
        return ()
    fence = parts.fences[0]
    command = parts.block.lines[fence.start + 1 : fence.end]
    if not any("apply_patch" in line for line in command[:20]):
        return ()
    return patched(parts) if any(line.startswith(BEGIN) for line in command) else ()


def _judged(found: Found, listed: Found | None, succeeded: bool) -> Found:
    index = listed.index if listed else found.index
    if not succeeded:
        return Found(index, found.operation, found.path, False)
    return Found(index, found.operation, found.path, True, found.contents, found.replacements)


def _listed(parts: Parts) -> Iterator[Found]:
    for fence in parts.fences:
        if fence.info == "diff" or fence.info in SHELLS:
            continue
        lines = parts.block.lines
        start = next((k for k in range(fence.start, fence.end) if lines[k].strip() == _SUCCESS), None)
        for index in range(fence.end if start is None else start + 1, fence.end):
            match = _LISTED.fullmatch(lines[index].rstrip())
            path = clean(match["path"]) if match else None
            if match is None or path is None:
                break
            yield Found(index, _OPERATIONS[match["word"]], path)


def _named(parts: Parts) -> Iterator[Found]:
    by_start = {fence.start: fence for fence in parts.fences}
    for index, line in parts.prose:
        match = _HEADING.fullmatch(line)
        if match is not None:
            fence = by_start.get(index + 2) or by_start.get(index + 1)  # heading, blank line, fence
            yield from _section(parts, index, match, fence.start + 1 if fence else index, fence.end if fence else index)
    for fence in parts.fences:
        yield from _sections(parts, fence)
    applied = _APPLIED.search(parts.block.summary)
    path = clean(unescaped(applied["path"])) if applied else None
    if path:
        yield Found(parts.block.summary_at, "patch", path)


def _sections(parts: Parts, fence: Fence) -> Iterator[Found]:
    """The files of a raw patch: from one `*** … File:` line to the next line that begins with three stars."""
    lines = parts.block.lines
    marks = [k for k in range(fence.start + 1, fence.end) if lines[k][:4] == "*** " and not MOVE.match(lines[k])]
    for index, end in zip(marks, [*marks[1:], fence.end], strict=False):
        match = FILE.fullmatch(lines[index].rstrip())
        if match is not None:
            yield from _section(parts, index, match, index + 1, end)


def _section(parts: Parts, index: int, match: re.Match[str], start: int, end: int) -> Iterator[Found]:
    """One file of a patch, whose changes are the lines from `start` to `end`; a move gives both of its paths."""
    path = clean(match["path"])
    if path is None:
        return
    lines = [line.removesuffix("\r") for line in parts.block.lines[start:end]]
    moved = MOVE.fullmatch(lines[0].rstrip()) if lines else None
    target = clean(moved["path"]) if moved else None
    operation = _OPERATIONS[match["word"]]
    changes = hunks(lines[1:] if moved else lines, parts.block.extension) if operation == "patch" else ()
    if target:
        yield Found(start, "move", target, replacements=changes)
        yield Found(index, "delete", path)
    else:
        contents = added_file(lines, parts.block.extension) if operation == "create" else ()
        yield Found(index, operation, path, contents=contents, replacements=changes)
