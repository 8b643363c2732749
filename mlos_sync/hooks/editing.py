"""What a coding agent is told before it changes a file: nothing, or why not and what to change instead.

Owns the agents' contract. Claude Code gives a PreToolUse hook one JSON object on stdin (`hook_event_name`, `tool_name`,
`tool_input`, `cwd`) and reads `hookSpecificOutput` with `permissionDecision` and `permissionDecisionReason` from stdout at
exit 0; the reason of a denial is shown to the agent, and no output leaves the call to its usual rules
(https://code.claude.com/docs/en/hooks, PreToolUse). Factory's Droid has the same shape, with a tool `Create`
(https://docs.factory.ai/reference/hooks-reference): a tool that we do not know counts by what it is given.

Nothing here may deny by mistake, for the guard stands at the commit: what cannot be told is passed over. Standard
library and the stdlib-only core; an ordinary edit costs JSON, two small reads and no git.
"""

from __future__ import annotations

import json
import os

from mlos_sync.core import guard, seal
from mlos_sync.core.split import LIMIT

TYPE_CHECKING = False  # type checkers know the name; importing typing for it would cost every edit 6 ms
if TYPE_CHECKING:
    from typing import Any

EVENT = "PreToolUse"
TOOLS = ("Edit", "Write", "MultiEdit", "NotebookEdit")
MOST = 32 << 20
"""Bytes of a question, or of a file that claims to be compiled, beyond which nothing is said."""
CONFIG = ".mlos/config.toml"
SHOWN = 8
"""Records named in a reason; the rest is counted."""

_COMPILE = "mlos-sync compile"
_PARTS = {
    "title": "mlos-sync need set {0} --title ...",
    "facts": "mlos-sync need set {0} --status ... --priority ...",
    "description": "mlos-sync need set {0} --description ...",
    "links": "mlos-sync link {0} TYPE artifact:PATH   (or unlink)",
    "task": "mlos-sync task set {0} --description ... --status ... --priority ...",
}


class Change:
    """What an agent is about to do: to which file, by which replacements (`pairs`), or with which whole `content`."""

    __slots__ = ("content", "pairs", "path")

    def __init__(self, path: str, content: str | None, pairs: list[tuple[str, str]]) -> None:
        self.path = path
        self.content = content
        self.pairs = pairs


def answer(asked: bytes) -> bytes:
    """The JSON that denies a call, or nothing. Whatever input makes it raise is none of ours: the caller stays silent."""
    if len(asked) > MOST:
        return b""
    change = change_of(json.loads(asked))
    reason = refusal(change) if change is not None else ""
    if not reason:
        return b""
    said = {"hookEventName": EVENT, "permissionDecision": "deny", "permissionDecisionReason": reason}
    return json.dumps({"hookSpecificOutput": said}).encode("ascii") + b"\n"


def change_of(asked: Any) -> Change | None:
    """The change that a question is about; None for another event, another kind of tool, and what has another shape."""
    if not isinstance(asked, dict) or asked.get("hook_event_name") != EVENT:
        return None
    given = asked.get("tool_input")
    if not isinstance(given, dict) or not (asked.get("tool_name") in TOOLS or _writes(given)):
        return None
    path = given.get("file_path") or given.get("notebook_path")
    if not isinstance(path, str) or not path or "\0" in path:
        return None
    folder = asked.get("cwd")
    if not isinstance(folder, str) or not os.path.isabs(folder):
        folder = os.getcwd()
    edits = given.get("edits")
    pairs = [_pair(one) for one in [given, *(edits if isinstance(edits, list) else [])] if isinstance(one, dict)]
    content = given.get("content")
    return Change(
        os.path.join(folder, path), content if isinstance(content, str) else None, [pair for pair in pairs if pair[0]]
    )


def _writes(given: dict[str, Any]) -> bool:
    """Whether a tool is given what only one that writes needs: reading tools name a file too."""
    texts = any(isinstance(given.get(name), str) for name in ("content", "new_string", "new_source"))
    return texts or isinstance(given.get("edits"), list)


def _pair(given: dict[str, Any]) -> tuple[str, str]:
    old, new = given.get("old_string"), given.get("new_string")
    return (old, new if isinstance(new, str) else "") if isinstance(old, str) else ("", "")


def refusal(change: Change) -> str:
    """Why a change must not be made, and what to do instead; empty where there is no reason. A link counts by its own
    name, which may be a view's, and by the file it leads to."""
    named = os.path.join(os.path.realpath(os.path.dirname(change.path)), os.path.basename(change.path))
    for place in dict.fromkeys((named, os.path.realpath(change.path))):
        root = _workspace(os.path.dirname(place))
        path = os.path.relpath(place, root) if root else ""
        if path and not path.startswith((".git/", "../")) and (reason := _judged(root, path, change)):
            return reason
    return ""


def _workspace(folder: str) -> str:
    """The work tree that holds a folder, if it is a workspace: a repository inside another one is its own."""
    while not os.path.lexists(os.path.join(folder, ".git")):
        above = os.path.dirname(folder)
        if above == folder:
            return ""
        folder = above
    return folder if os.path.isfile(os.path.join(folder, CONFIG)) else ""


def _judged(root: str, path: str, change: Change) -> str:
    if guard.is_segment(path):
        return (
            f"{guard.quoted(path)} is a segment of the journal of mlos-sync: segments are never edited, and only mlos-sync"
            " adds one. Change the record instead:\n  mlos-sync need set REF ...   or   mlos-sync task set REF ..."
        )
    data = _read(os.path.join(root, path))
    kind = _declared(root, path)
    found = seal.Verdict(seal.ABSENT) if data is None else seal.check(data)
    if data is not None and found.state == seal.VALID:
        return _compiled(path, kind, data, change)
    if data is not None and found.state == seal.BROKEN and (kind or b"\nseal: sha256:" in data[:LIMIT]):
        return _broken(path, data, found.reason)
    if kind:
        return _declaration(path, kind, exists=data is not None)
    content = b"" if change.content is None else change.content.encode("utf-8", "surrogatepass")
    claimed = seal.check(content)
    return _claim(path, claimed.reason) if claimed.state == seal.BROKEN else ""


def _read(place: str) -> bytes | None:
    """A plain file's bytes, as far as they matter: all of them only where the head claims `compiled_at`. None where there
    is none, or none for us to read."""
    descriptor = -1
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        if os.fstat(descriptor).st_mode & 0o170000 != 0o100000:  # a pipe, a device: reading it could wait for ever
            return None
        with open(descriptor, "rb", closefd=False) as file:
            head = file.read(LIMIT)
            data = head + file.read(MOST) if seal.may_claim(head) else head
    except OSError:
        return None
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return data if len(data) < MOST else None


def _declared(root: str, path: str) -> str:
    """The kind of the view that the config declares at a path; empty for none, and for a config that is no config."""
    config = _read(os.path.join(root, CONFIG)) or b""
    # Reading TOML takes 10 ms, which most edits need not wait for: their name is nowhere in it, nor can it be spelt.
    if os.fsencode(os.path.basename(path)) not in config and b"\\" not in config:
        return ""
    import tomllib

    try:
        views = tomllib.loads(config.decode("utf-8")).get("view", [])
        declared = {os.path.normpath(one["path"]): str(one["kind"]) for one in views}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return ""
    return declared.get(path, "")


def _compiled(path: str, kind: str, data: bytes, change: Change) -> str:
    from mlos_sync.core import sections

    text = data.decode("utf-8", "surrogateescape")
    head = f"{guard.quoted(path)} is compiled by mlos-sync: an edit of it is refused by the guard of commits, and lost."
    lines = sections.lines(text)
    numbers = [sections.changed_line(text, old, new) for old, new in change.pairs]
    here = [lines[number] for number in numbers if number is not None]
    told = list(dict.fromkeys(said for one in here if (said := _said_of(one, path))))
    if not told:
        told = [_said_of_all(sections.records(text), kind)]
    end = f"then: {_COMPILE}" if kind else f"then: {_COMPILE}, or, where no [[view]] declares it, mlos-sync pack"
    return "\n".join([head, *told, end])


def _said_of(line: Any, path: str) -> str:
    """What to change for one line of a view."""
    if line.record:
        return f"this line belongs to {line.record}: " + _PARTS[line.part].format(line.record)
    if not line.link:
        return ""
    from urllib.parse import unquote_to_bytes

    file = unquote_to_bytes(line.link).decode("utf-8", "surrogateescape")
    file = guard.quoted(os.path.normpath(os.path.join(os.path.dirname(path), file)))
    return f"this line tells of {file}: change that file's frontmatter, or mlos-sync artifact set {file} --title ..."


def _said_of_all(records: list[str], kind: str) -> str:
    """What to change for a view as a whole."""
    if kind == "index":
        return "change the frontmatter (title, desc) of the file that is listed, or mlos-sync artifact set PATH --title ..."
    if not records:
        return "change the record that it shows: mlos-sync need set REF ...   or   mlos-sync task set REF ..."
    more = f" and {len(records) - SHOWN} more" if len(records) > SHOWN else ""
    first = records[0]
    return (
        f"it shows {', '.join(records[:SHOWN])}{more}; change the record, as in: mlos-sync"
        f" {first.partition('-')[0]} set {first} --{'title' if first.startswith('need') else 'description'} ..."
    )


def _broken(path: str, data: bytes, reason: str) -> str:
    name = guard.quoted(path)
    if guard.has_conflict_markers(data):
        way = guard.resolve(path)
        return f"{name} is a compiled view with conflict markers in it; it is compiled again, not edited: {way}"
    return (
        f"{name} is a compiled view that was edited already ({reason}): a commit of it is refused. Do not edit it further.\n"
        f"to keep the edit, as changes of records:  mlos-sync adopt {name}\n"
        f"to drop the edit:                         {_COMPILE} --discard {name}"
    )


def _claim(path: str, reason: str) -> str:
    way = (
        "If it is a template, begin it with a line {# a comment #}."
        if path.endswith(".j2")
        else "Leave the line compiled_at out; a document that is to be compiled is declared as [[view]] in"
        f" {CONFIG} and written by `{_COMPILE}`."
    )
    return (
        f"what is to be written to {guard.quoted(path)} claims to be compiled (compiled_at in its frontmatter), but"
        f" {reason}: a commit of it is refused. {way}"
    )


def _declaration(path: str, kind: str, *, exists: bool) -> str:
    name = guard.quoted(path)
    how = f"{_COMPILE} --discard {name}" if exists else f"{_COMPILE} {name}"
    what = "files' frontmatter" if kind == "index" else "records (mlos-sync need set ..., mlos-sync task set ...)"
    return f"{name} is declared as a compiled view in {CONFIG}; it is not written by hand. Change {what}, then: {how}"
