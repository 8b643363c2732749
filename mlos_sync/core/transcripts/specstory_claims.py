"""Tool envelopes of SpecStory markdown -> claims: which operation on which path, and whether it succeeded.

Decided by the tool's name, since the type in the tag is the writer's guess and shifts between versions. A write block
without a path is normal. Every pattern stands with a line that it matches and the writer of that line.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator

from mlos_sync.core.transcripts.model import Claim
from mlos_sync.core.transcripts.specstory_contents import written_file
from mlos_sync.core.transcripts.specstory_envelope import Block
from mlos_sync.core.transcripts.specstory_parts import (
    Found,
    Parts,
    clean,
    failed,
    first_text,
    result_fence,
    take_apart,
)
from mlos_sync.core.transcripts.specstory_patch import in_shell, patched

# Names without case, `_`, `-` and VS Code's prefix `copilot_`; by writer where only one has the name.
_KINDS = {
    **dict.fromkeys(("write", "writefile", "writetofile"), "write"),  # the last: Antigravity
    **dict.fromkeys(("create", "createfile"), "create"),  # Factory Droid, VS Code Copilot
    **dict.fromkeys(("edit", "multiedit", "notebookedit"), "edit"),  # Claude Code, Factory Droid
    **dict.fromkeys(("replace", "smartedit"), "edit"),  # Gemini CLI
    **dict.fromkeys(("searchreplace", "editfile", "editfilev2", "editnotebook", "reapply"), "edit"),  # Cursor
    **dict.fromkeys(("strreplace", "multistrreplace"), "edit"),  # Cursor CLI
    **dict.fromkeys(("replacestring", "multireplacestring", "insertedit", "editnotebookfile"), "edit"),  # VS Code
    **dict.fromkeys(("replacestringinfile", "multireplacestringinfile", "inserteditintofile"), "edit"),  # VS Code
    **dict.fromkeys(("replacefilecontent", "multireplacefilecontent"), "edit"),  # Antigravity
    "applypatch": "patch",
    **dict.fromkeys(("delete", "deletefile"), "delete"),  # Cursor
    **dict.fromkeys(("read", "readfile", "readfilev2", "viewfile"), "read"),
    **dict.fromkeys(("bash", "shell", "shellcommand", "execcommand", "execute", "runinterminal"), "shell"),
}

# `The file /Users/x/a.go has been updated successfully.` and `… has been overwritten successfully.` Claude Code
_UPDATED = re.compile(r"The file (?P<path>.+?) has been (?:updated|overwritten|created|modified)\b")
# `File created successfully at: /Users/x/a.go (file state is current in your context …)` Claude Code
_CREATED = re.compile(r"File created successfully at: (?P<path>.+)")
# `Applied 3 edits to /Users/x/a.go:` Claude Code MultiEdit
_APPLIED = re.compile(r"Applied \d+ edits? to (?P<path>.+?):?")
# `Tool use: **edit_file** • Edit file: src/a b.ts` Cursor, HTML escaped
_BULLET = re.compile(r" • (?:Edit|Read|Write|Create|Delete) file: (?P<path>.+)")
# "Tool use: **Write** `src/a.py`" Cursor CLI, "Tool use: **read_file** `a.py`" Gemini CLI
_TICKED = re.compile(r"\*\* `(?P<path>[^`]+)`$")
# "Path: `src/a.py`" Gemini CLI, Factory Droid, DeepSeek TUI, Antigravity
_PATH = re.compile(r"Path: `(?P<path>.+)`")
# "- filePath: `c:\Users\x\a.yml`" VS Code Copilot
_INPUT = re.compile(r"- (?:filePath|file_path|targetFile|target_file|path): `(?P<path>.+)`")
# " `./pkg/a.go`" Claude Code MultiEdit and Read, the line behind the summary
_LINE = re.compile(r" ?`(?P<path>[^`]+)`")
# `  "relativeWorkspacePath": "src/a.ts",` Cursor under `Parameters:`; `"filePath"`, `"fsPath"` VS Code
_JSON = re.compile(
    r'\s*"(?:relativeWorkspacePath|filePath|file_path|targetFile|target_file|fsPath)": (?P<text>"(?:[^"\\]|\\.)*"),?\s*'
)
# `- replacements: [map[explanation:… filePath:/x/a.py newString:…` VS Code Copilot before 2.7, a Go map
_GO_MAP = re.compile(r"\bfilePath:(?P<path>.{1,400}?) (?:newString|oldString|explanation|replacements):")
# `<tool_use_error>File does not exist.</tool_use_error>`, `EISDIR: illegal operation on a directory, read` Claude Code
_UNREAD = re.compile(
    r"<tool_use_error>|File does not exist|File content \(.{1,40}\) exceeds|EISDIR|ENOENT|Error reading"
    r"|The user doesn't"
)
# `[](file:///c%3A/Users/x/a.ts#1-1)` editor extension, VS Code reads
_LINK = re.compile(r"\[[^\]\[]{0,200}\]\((?P<path>file://[^)\s#]{1,1000})[^)\s]{0,40}\)")


def kind_of(block: Block) -> str | None:
    """What sort of tool this is: an operation of the model or `shell`; None for tools that touch no file."""
    name = block.name.lower().replace("_", "").replace("-", "").replace(" ", "").removeprefix("copilot")
    return _KINDS.get(name) or ("edit" if block.kind == "write" else None)


def claims_of(block: Block, turn: int, at: str | None) -> tuple[Claim, ...]:
    """The claims of one envelope, in the order of its lines, no path twice."""
    kind = kind_of(block)
    if kind is None or (kind == "shell" and not any(line.startswith("*** Begin Patch") for line in block.lines)):
        return ()
    parts = take_apart(block)
    found = _READERS.get(kind, _changed)(parts)
    once = {item.path: item for item in reversed(tuple(found))}
    return tuple(
        Claim(turn, block.line + item.index, at, item.operation, block.name, item.path, item.succeeded, item.contents)
        for item in sorted(once.values(), key=lambda item: item.index)
    )


def _changed(parts: Parts) -> Iterator[Found]:
    """The file that a write, edit or delete tool names, in the result or in its input."""
    kind = kind_of(parts.block) or "edit"
    whole_file = kind in ("write", "create")
    confirmed = _confirmed(parts, kind)
    if confirmed is not None:
        yield confirmed
        return
    succeeded = not failed(parts, whole_file)
    contents = written_file(parts) if whole_file and succeeded else ()
    operation = "create" if kind == "write" and _says_created(parts) else kind
    for index, path in _paths(parts):
        yield Found(index, operation, path, succeeded, contents)


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


def _says_created(parts: Parts) -> bool:
    """`Result: Successfully created and wrote to new file: a.py.` Gemini CLI"""
    return any(line.startswith("Result: Successfully created") for _, line in parts.prose)


def _read(parts: Parts) -> Iterator[Found]:
    """The file that was read; its text is no result to judge by, so only the sentences of a refusal count."""
    fence = result_fence(parts, whole_file=False)
    succeeded = fence is None or not _UNREAD.match(first_text(parts, fence)[1])
    for index, path in _paths(parts):
        yield Found(index, "read", path, succeeded)


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
    if bullet:
        yield parts.block.summary_at, html.unescape(bullet["path"])
    elif ticked:
        yield parts.block.summary_at, ticked["path"]


def _in_prose(parts: Parts) -> Iterator[tuple[int, str]]:
    for index, line in parts.prose:
        match = _PATH.fullmatch(line) or _INPUT.fullmatch(line)
        if match is None and index == parts.block.body:
            match = _LINE.fullmatch(line)
        if match is not None:
            yield index, match["path"]
        elif line.startswith("- replacements: "):
            yield from ((index, item["path"]) for item in _GO_MAP.finditer(line))


def _in_json(parts: Parts) -> Iterator[tuple[int, str]]:
    for fence in parts.fences:
        for index in range(fence.start + 1, fence.end if fence.info in ("", "json") else 0):
            line = parts.block.lines[index]
            match = _JSON.fullmatch(html.unescape(line) if parts.block.extension else line)
            if match is not None:
                yield index, _json_text(match["text"])


def _json_text(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:  # a backslash that escapes nothing
        return ""
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
}
