"""Calls of file tools -> the changes that they ask for, whichever agent offers the tool.

The agents share a handful of tools whose names and parameters differ in spelling only. What became of a call is told
elsewhere in a log, in the form of its writer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlos_sync.core.transcripts.jsonl import line_ends, objects_at, text_at
from mlos_sync.core.transcripts.model import Replacement
from mlos_sync.core.transcripts.patches import BEGIN, Change, changes
from mlos_sync.core.transcripts.sound import encoded, sound_path

# Names without case, `_`, `-` and blanks, `write_file` -> `writefile`; by writer where only one has the name.
_KINDS = {
    **dict.fromkeys(("write", "writefile", "writetofile"), "write"),  # Claude Code, Cursor; Gemini, MCP; Antigravity
    **dict.fromkeys(("create", "createfile"), "create"),  # Factory Droid, Cursor, VS Code Copilot
    **dict.fromkeys(("edit", "multiedit", "notebookedit", "update"), "edit"),  # Claude Code, Factory Droid
    **dict.fromkeys(("replace", "smartedit"), "edit"),  # Gemini CLI
    **dict.fromkeys(("searchreplace", "editfile", "editfilev2", "editnotebook", "reapply"), "edit"),  # Cursor
    **dict.fromkeys(("strreplace", "multistrreplace"), "edit"),  # Cursor CLI
    **dict.fromkeys(("replacestring", "multireplacestring", "insertedit", "editnotebookfile"), "edit"),  # VS Code
    **dict.fromkeys(("replacestringinfile", "multireplacestringinfile", "inserteditintofile"), "edit"),  # VS Code
    **dict.fromkeys(("replacefilecontent", "multireplacefilecontent"), "edit"),  # Antigravity
    "applypatch": "patch",  # Codex CLI, Cursor, Factory Droid, VS Code Copilot
    **dict.fromkeys(("delete", "deletefile"), "delete"),  # Cursor
    "movefile": "move",  # MCP filesystem
    **dict.fromkeys(("read", "readfile", "readfilev2", "readtextfile", "viewfile", "view"), "read"),
    **dict.fromkeys(("bash", "shell", "shellcommand", "execcommand", "execute", "runinterminal"), "shell"),
    **dict.fromkeys(("runterminalcmd", "runterminalcommand", "runterminalcommandv2"), "shell"),  # Cursor
    **dict.fromkeys(("runcommand", "runshellcommand", "execshell"), "shell"),  # Antigravity, Gemini CLI, DeepSeek
}
# Servers whose files are those of the workspace: others delete and update by path as well, in places of their own.
_FILE_SERVERS = ("filesystem", "acp")  # the reference server; Claude Code in an editor, since late 2025
# `file_path` Claude Code, Gemini CLI, Cursor's search_replace; `path` Cursor, MCP; `target_file` Cursor's edit_file and
# delete_file; `absolute_path` Gemini CLI's read_file of 2025; `notebook_path` Claude Code; `target_notebook` Cursor
_PATHS = (
    "file_path",
    "path",
    "target_file",
    "absolute_path",
    "notebook_path",
    "target_notebook",
    "filePath",
    "filename",
)
_CONTENTS = ("content", "contents", "file_text")  # Claude Code, Gemini CLI; Cursor; others
_OLD = ("old_string", "oldString", "old_str", "oldText")
_NEW = ("new_string", "newString", "new_str", "newText")
_PATCHES = ("input", "patch", "patch_text")


def kind_of(name: str) -> str | None:
    """What sort of tool this is: an operation of the model or `shell`; None for tools that touch no file."""
    if name.startswith("mcp__"):
        server, _, name = name.removeprefix("mcp__").partition("__")
        if server not in _FILE_SERVERS:
            return None
    return kind_named(name)


def kind_named(name: str) -> str | None:
    """The same for a tool that no server offers, by its name in any spelling; VS Code's begin with `copilot_`."""
    return _KINDS.get(bare(name))


def bare(name: str) -> str:
    """The name of a tool as it is written in every spelling: `copilot_createFile` -> `createfile`."""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "").removeprefix("copilot")


def intended(name: str, arguments: Mapping[str, Any] | str) -> tuple[Change, ...]:
    """The changes that a call of a file tool asks for; none for other tools and where no path is to be found.

    `arguments` is a string where a tool takes nothing but a patch.
    """
    kind = kind_of(name)
    if kind == "patch":
        return changes(_patch(arguments))
    if kind is None or kind == "shell" or isinstance(arguments, str):
        return ()
    if kind == "move":
        source, target = sound_path(arguments.get("source")), sound_path(arguments.get("destination"))
        return (Change("move", target), Change("delete", source)) if source and target else ()
    path = path_in(arguments)
    if path is None:
        return ()
    if kind in ("write", "create"):
        text = next((arguments[key] for key in _CONTENTS if isinstance(arguments.get(key), str)), None)
        return (Change(kind, path, contents=() if text is None else line_ends(text)),)
    return (Change(kind, path, replacements=replacements_in(arguments) if kind == "edit" else ()),)


def path_in(arguments: Mapping[str, Any]) -> str | None:
    """The path that the arguments of a call name."""
    return next((path for key in _PATHS if (path := sound_path(arguments.get(key)))), None)


def command_in(arguments: Mapping[str, Any] | str) -> Any:
    """The command of a shell tool: a string, or a list of words; None where there is neither."""
    if isinstance(arguments, str):
        return arguments
    found = arguments.get("command", arguments.get("cmd"))
    return found if isinstance(found, (str, list)) else None


def replacements_in(arguments: Mapping[str, Any]) -> tuple[Replacement, ...]:
    """The replacements of an edit, single or several under `edits`; none where one of them is incomplete."""
    edits = objects_at(arguments, "edits") or [dict(arguments)]
    found = tuple(replacement for edit in edits if (replacement := _replacement(edit)))
    return found if len(found) == len(edits) else ()


def _replacement(edit: Mapping[str, Any]) -> Replacement | None:
    old = next((edit[key] for key in _OLD if isinstance(edit.get(key), str)), None)
    new = next((edit[key] for key in _NEW if isinstance(edit.get(key), str)), None)
    if old is None or new is None or old == new:
        return None
    everywhere = edit.get("replace_all", edit.get("replaceAll", edit.get("allow_multiple"))) is True
    return Replacement(encoded(old), encoded(new), everywhere)


def _patch(arguments: Mapping[str, Any] | str) -> str:
    if isinstance(arguments, str):
        return arguments
    return next((text for key in _PATCHES if BEGIN in (text := text_at(arguments, key))), "")
