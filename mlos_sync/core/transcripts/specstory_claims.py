"""Tool envelopes of SpecStory markdown -> claims: which operation on which path, and whether it succeeded.

Decided by the tool's name, since the type in the tag is the writer's guess and shifts between versions. A write block
without a path is normal. Every pattern stands with a line that it matches and the writer of that line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlos_sync.core.transcripts.model import Claim, CommitMade
from mlos_sync.core.transcripts.shell import claimed, located
from mlos_sync.core.transcripts.sound import sound_json, sound_text, unescaped
from mlos_sync.core.transcripts.specstory_contents import in_parameters, written_file
from mlos_sync.core.transcripts.specstory_edits import by_path, edited
from mlos_sync.core.transcripts.specstory_envelope import Block
from mlos_sync.core.transcripts.specstory_parts import (
    Found,
    Parts,
    clean,
    failed,
    first_text,
    refused,
    result_fence,
    take_apart,
)
from mlos_sync.core.transcripts.specstory_patch import in_shell, patched
from mlos_sync.core.transcripts.specstory_shell import (
    command_line,
    command_of,
    commits,
    directory,
    ended_badly,
    ended_well,
)
from mlos_sync.core.transcripts.tools import bare, kind_named

_PLAN = "exitplanmode"  # Claude Code
_BY_TYPE = {"write": "edit", "shell": "shell", "bash": "shell"}  # the last: version 2.0

# `The file /Users/x/a.go has been updated successfully.` and `… has been overwritten successfully.` Claude Code
_UPDATED = re.compile(r"The file (?P<path>.+?) has been (?:updated|overwritten|created|modified)\b")
# `File created successfully at: /Users/x/a.go (file state is current in your context …)` Claude Code
_CREATED = re.compile(r"File created successfully at: (?P<path>.+)")
# `Applied 3 edits to /Users/x/a.go:` Claude Code MultiEdit
_APPLIED = re.compile(r"Applied \d+ edits? to (?P<path>.+?):?")
# `Your plan has been saved to: /home/x/.claude/plans/a-b.md` Claude Code, behind `User has approved your plan. …`
_APPROVED = "User has approved your plan"
_SAVED = re.compile(r"Your plan has been saved to: (?P<path>.+)")
# `Tool use: **edit_file** • Edit file: src/a b.ts` Cursor, HTML escaped
_BULLET = re.compile(r" • (?:Edit|Read|Write|Create|Delete) file: (?P<path>.+)")
# `Read file: src/a.ts` editor extension in G0 and G1, with `undefined` where it lost the path
_READ_FILE = re.compile(r"Read file: (?P<path>.+)")
# "Tool use: **Write** `src/a.py`" Cursor CLI, "Tool use: **read_file** `a.py`" Gemini CLI
_TICKED = re.compile(r"\*\* `(?P<path>[^`]+)`$")
# "Path: `src/a.py`" Gemini CLI, Factory Droid, DeepSeek TUI, Antigravity
_PATH = re.compile(r"Path: `(?P<path>.+)`")
# "Edit file: `./src/a.ts`" the one line of an `Edit` of Claude Code whose result is not shown; `Read` likewise
_SHOWN_FILE = re.compile(r"(?:Edit|Read) file: `(?P<path>.+)`")
# "- filePath: `c:\Users\x\a.yml`" VS Code Copilot
_INPUT = re.compile(r"- (?:filePath|file_path|targetFile|target_file|path): `(?P<path>.+)`")
# " `./pkg/a.go`" Claude Code MultiEdit and Read, the line behind the summary
_LINE = re.compile(r" ?`(?P<path>[^`]+)`")
# `  "relativeWorkspacePath": "src/a.ts",` Cursor under `Parameters:`; `"filePath"`, `"fsPath"` VS Code
_JSON_KEYS = ("relativeWorkspacePath", "filePath", "file_path", "targetFile", "target_file", "fsPath")
_JSON = re.compile(rf'\s{{1,40}}"(?:{"|".join(_JSON_KEYS)})": (?P<text>"(?:[^"\\]|\\.)*"),?\s*')
# `- replacements: [map[explanation:… filePath:/x/a.py newString:…` VS Code Copilot before 2.7, a Go map
_GO_MAP = re.compile(r"\bfilePath:(?P<path>.{1,400}?) (?:newString|oldString|explanation|replacements):")
# `<tool_use_error>File does not exist.</tool_use_error>`, `EISDIR: illegal operation on a directory, read` Claude Code
_UNREAD = re.compile(
    r"<tool_use_error>|File does not exist|File content \(.{1,40}\) exceeds|EISDIR|ENOENT|Error reading"
    r"|The user doesn't"
)
# `[](file:///c%3A/Users/x/a.ts#1-1)` editor extension, VS Code reads
_LINK = re.compile(r"\[[^\]\[]{0,200}\]\((?P<path>file://[^)\s#]{1,1000})[^)\s]{0,40}\)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block stands: the session, the ordinal of its speaker line, that line's time and who speaks."""

    session_id: str
    turn: int
    at: str | None
    subagent: bool

    def claim(self, block: Block, item: Found) -> Claim:
        """The claim of an operation found in a block."""
        return Claim(
            session_id=self.session_id, turn=self.turn, line=block.line + item.index, at=self.at,
            operation=item.operation, tool=sound_text(block.name) or "", raw_path=item.path, succeeded=item.succeeded,
            contents=item.contents, replacements=item.replacements, cwd=item.cwd, subagent=self.subagent,
        )  # fmt: skip

    def commit(self, block: Block, index: int, sha: str, subject: str) -> CommitMade:
        """The commit that a line of a block names."""
        return CommitMade(self.session_id, self.turn, block.line + index, self.at, sha, subject)


def kind_of(block: Block) -> str | None:
    """What sort of tool this is: an operation of the model, `shell` or `plan`; None for tools that touch no file.

    A move is told by the type in the tag at best, as no writer shows both of its paths.
    """
    if bare(block.name) == _PLAN:
        return "plan"
    kind = kind_named(block.name)
    return _BY_TYPE.get(block.kind) if kind in (None, "move") else kind


def facts_of(block: Block, place: Place, answered: bool = True) -> tuple[Claim | CommitMade, ...]:
    """The claims of one block in the order of its lines, no path twice, and the commits that its command made.

    `answered` tells whether the session went on behind the block.
    """
    kind = kind_of(block)
    if kind is None:
        return ()
    parts = take_apart(block)
    if kind == "shell":
        command = command_of(parts)
        found = _by_patch(parts) or _by_command(parts, command, answered)
        made = tuple(commits(parts, command)) if command else ()
    else:
        reader = _READERS.get(kind)
        found, made = tuple(reader(parts) if reader else _changed(parts, answered)), ()
    once = {item.path: item for item in reversed(found)}
    told: list[Claim | CommitMade] = [
        place.claim(block, item) for item in sorted(once.values(), key=lambda item: item.index)
    ]
    told += [place.commit(block, index, sha, subject) for index, sha, subject in made]
    return tuple(told)


def _by_patch(parts: Parts) -> tuple[Found, ...]:
    """The files of a patch that the command holds; none was changed if the command failed."""
    found = in_shell(parts)
    if not found or not ended_badly(parts):
        return found
    return tuple(Found(item.index, item.operation, item.path, False) for item in found)


def _by_command(parts: Parts, command: str | None, answered: bool) -> tuple[Found, ...]:
    """What the command itself did to files, where it is simple enough to be sure and is known to have ended well."""
    if not command or not ended_well(parts, answered):
        return ()
    index, base = command_line(parts), directory(parts)
    found = []
    for change in claimed(command):
        path, cwd = located(change, base)
        path = clean(path) or ""
        if path:
            found.append(Found(index, change.operation, path, True, change.contents, change.replacements, cwd))
    return tuple(found)


def _changed(parts: Parts, answered: bool) -> Iterator[Found]:
    """The file that a write, edit or delete tool names, in the result or in its input."""
    kind = kind_of(parts.block) or "edit"
    whole_file = kind in ("write", "create")
    confirmed = _confirmed(parts, kind)
    if confirmed is not None:
        yield confirmed
        return
    succeeded = not failed(parts, whole_file) and (answered or not _unconfirmed(parts))
    contents: tuple[bytes, ...] = ()
    if whole_file and succeeded:
        elsewhere = next(_in_summary(parts), None) or next(_in_prose(parts), None)
        contents = written_file(parts) if elsewhere else in_parameters(parts)
    replacements = edited(parts) if succeeded and kind == "edit" else ()
    each = by_path(parts) if succeeded and kind == "edit" else {}
    operation = "create" if kind == "write" and _says_created(parts) else kind
    for index, path in _paths(parts):
        yield Found(index, operation, path, succeeded, contents, each.get(path, replacements))


def _confirmed(parts: Parts, kind: str) -> Found | None:
    """The file that Claude Code's result names: its `Edit` and `Write` show no path elsewhere, and none on failure."""
    whole_file = kind in ("write", "create")
    fence = result_fence(parts, whole_file)
    if fence is None:
        return None
    index, text = first_text(parts, fence)
    created = _CREATED.fullmatch(text)
    match = created or _UPDATED.match(text) or _APPLIED.fullmatch(text)
    path = clean(re.split(r" \((?:file state|note:)", match["path"], maxsplit=1)[0]) if match else None
    if path is None:
        return None
    return Found(index, "create" if created else kind, path, True, written_file(parts) if whole_file else ())


def _unconfirmed(parts: Parts) -> bool:
    """Whether this is a call of Claude Code without the result that tells of every success and failure.

    If the session ends there, it was cut. Such a call shows its path in backticks alone; no other writer's do.
    """
    first = parts.block.lines[parts.block.body].rstrip() if parts.block.body < len(parts.block.lines) else ""
    early = parts.block.early and _TICKED.search(parts.block.summary)
    return bool(early or _LINE.fullmatch(first) or _SHOWN_FILE.fullmatch(first)) and not parts.fences


def _says_created(parts: Parts) -> bool:
    """`Result: Successfully created and wrote to new file: a.py.` Gemini CLI"""
    return any(line.startswith("Result: Successfully created") for _, line in parts.prose)


def _read(parts: Parts) -> Iterator[Found]:
    """The file that was read; its text is no result to judge by, so only the sentences of a refusal count."""
    fence = result_fence(parts, whole_file=False)
    unread = fence is not None and _UNREAD.match(first_text(parts, fence)[1])
    succeeded = not unread and not refused(parts)
    for index, path in _paths(parts):
        yield Found(index, "read", path, succeeded)


def _planned(parts: Parts) -> Iterator[Found]:
    """The file that holds a plan which the user approved; a refused one names none."""
    fence = result_fence(parts, whole_file=False)
    if fence is None:
        return
    first, text = first_text(parts, fence)
    for index in range(first + 1, min(first + 4, fence.end) if text.startswith(_APPROVED) else 0):
        match = _SAVED.fullmatch(parts.block.lines[index].rstrip())
        path = clean(match["path"]) if match else None
        if path:
            yield Found(index, "write", path)
            return


def _early_read(parts: Parts) -> str | None:
    """The path of `Read file: src/a.ts`, which stands alone in its part of the text: G0 and G1."""
    if not parts.block.early or any(line for _, line in parts.prose) or parts.fences:
        return None
    match = _READ_FILE.fullmatch(parts.block.summary)
    return match["path"] if match else None


def _paths(parts: Parts) -> tuple[tuple[int, str], ...]:
    """The paths that the input of a call names, from the first place that has any, with the index of each line."""
    for place in (_in_summary, _in_prose, _in_json, _in_diff, _in_links):
        found = tuple((index, path) for index, text in place(parts) if (path := clean(text)))
        if found:
            return found
    return ()


def _in_summary(parts: Parts) -> Iterator[tuple[int, str]]:
    bullet = _BULLET.search(parts.block.summary)
    ticked = None if bullet else _TICKED.search(parts.block.summary)
    early = _early_read(parts)
    if early:
        yield 0, early
    elif bullet:
        yield parts.block.summary_at, unescaped(bullet["path"])
    elif ticked:
        yield parts.block.summary_at, ticked["path"]


def _in_prose(parts: Parts) -> Iterator[tuple[int, str]]:
    for index, line in parts.prose:
        match = _PATH.fullmatch(line) or _INPUT.fullmatch(line) or _SHOWN_FILE.fullmatch(line)
        if match is None and index == parts.block.body:
            match = _LINE.fullmatch(line)
        if match is not None:
            yield index, match["path"]
        elif line.startswith("- replacements: "):
            yield from ((index, item["path"]) for item in _GO_MAP.finditer(line))


def _in_json(parts: Parts) -> Iterator[tuple[int, str]]:
    """Paths among the parameters of a call, which are shown as JSON: a key a line, or all on one line."""
    for fence in parts.fences:
        for index in range(fence.start + 1, fence.end if fence.info in ("", "json") else 0):
            line = parts.block.lines[index]
            if line[:2] not in ("  ", '{"') and line[:1] != "\t":
                continue
            line = unescaped(line) if parts.block.extension else line
            match = _JSON.fullmatch(line)
            if match is not None:
                yield index, _json_text(match["text"])
            elif line[:2] == '{"':
                value = sound_json(line)
                found = [value.get(key) for key in _JSON_KEYS] if isinstance(value, dict) else []
                yield from ((index, text) for text in found if isinstance(text, str))


def _json_text(text: str) -> str:
    value = sound_json(text)  # None where a backslash escapes nothing
    return value if isinstance(value, str) else ""


def _in_diff(parts: Parts) -> Iterator[tuple[int, str]]:
    """`--- src/a.py` and `+++ src/a.py` at the head of a diff fence: Cursor CLI `StrReplace`."""
    for fence in parts.fences:
        head = [line.rstrip() for line in parts.block.lines[fence.start + 1 : min(fence.start + 3, fence.end)]]
        if fence.info == "diff" and len(head) == 2 and head[0][:4] == "--- " and head[1] == "+++ " + head[0][4:]:
            yield fence.start + 2, head[1][4:]


def _in_links(parts: Parts) -> Iterator[tuple[int, str]]:
    for index, line in parts.prose[:20]:
        yield from ((index, match["path"]) for match in _LINK.finditer(line[:2000]))


_READERS: dict[str, Callable[[Parts], Iterator[Found] | tuple[Found, ...]]] = {
    "patch": patched,
    "shell": in_shell,
    "read": _read,
    "plan": _planned,
}
