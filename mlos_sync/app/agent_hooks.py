"""Coding agents ask our hook before they edit: the entry in `.claude/settings.json`, with consent, and away again.

Plan, then act: `plan` looks and refuses, `carry_out` writes what the plan shows. The file is the user's, and mostly
tracked, so what it held before is kept in this clone until `uninstall`, which gives those bytes back where nobody has
changed the file since, and takes out our entry alone where somebody has.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass

from mlos_sync.core import agent_entry
from mlos_sync.edge import files, shims
from mlos_sync.edge.workspace import Workspace, git_folders
from mlos_sync.errors import RefusedError, SurroundingsError

PATH = ".claude/settings.json"
RECORD = "agents.json"
PROGRAM = "mlos-sync-hook"

INSTALLED, UNCHANGED, PROPOSED = "installed", "unchanged", "proposed"
_BY_HAND = "mend the file and run mlos-sync init --agents again, or add to it by hand what `docs/hooks.md` shows"


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of an agent as they are (None: no file) and as they are to be."""

    old: bytes | None
    new: bytes

    @property
    def asks(self) -> bool:
        """Whether anything changes."""
        return self.old != self.new

    @property
    def diff(self) -> list[str]:
        """The change as a unified diff; a file without a line end is marked as git marks it."""
        old, new = ((data or b"").decode("utf-8").splitlines(keepends=True) for data in (self.old, self.new))
        before = "/dev/null" if self.old is None else f"a/{PATH}"
        lines = []
        for line in difflib.unified_diff(old, new, before, f"b/{PATH}"):
            lines.append(line.rstrip("\r\n"))
            if not line.endswith("\n"):
                lines.append("\\ No newline at end of file")
        return lines


def plan(folder: str) -> Plan:
    """What `init --agents` would change in the work tree that holds `folder`, or in `folder` itself where git has none yet.
    Changes nothing. Raises RefusedError for settings that are a link, no file, or no JSON that can take the entry."""
    try:
        root = git_folders(folder)[0]
    except SurroundingsError:
        root = folder
    old = _settings(root)
    try:
        return Plan(old, agent_entry.with_entry(old))
    except ValueError as error:
        raise RefusedError(f"{PATH} was not changed: {error}", _BY_HAND) from None


def carry_out(workspace: Workspace, wanted: Plan, *, consent: bool) -> str:
    """Write what a plan shows, with consent; returns installed, unchanged or proposed. Raises RefusedError where the file
    has changed since the plan was made."""
    if not wanted.asks:
        return UNCHANGED
    if not consent:
        return PROPOSED
    if _settings(workspace.root) != wanted.old:
        raise RefusedError(f"{PATH} has changed meanwhile and was not written", "mlos-sync init --agents")
    _remember(workspace, wanted)
    files.write(workspace.root, PATH, wanted.new)
    return INSTALLED


def is_found() -> bool:
    """Whether an agent that is started from here finds the program: without it the entry does nothing, and says nothing."""
    return shutil.which(PROGRAM) is not None


def remove(workspace: Workspace) -> list[str]:
    """Give back the settings as they were, or take out our entry where they have changed since. Settings that cannot be
    read are left alone: the entry does nothing without us. Returns what was changed."""
    try:
        data = _settings(workspace.root)
        rest = None if data is None else agent_entry.without_entry(data)
    except (RefusedError, ValueError):
        return []
    if data is None or rest == data:
        return []
    kept = _remembered(workspace)
    if kept.get("after") == hashlib.sha256(data).hexdigest():
        before = kept.get("before")
        rest = before.encode("utf-8") if isinstance(before, str) else None
    if rest is not None:
        files.write(workspace.root, PATH, rest)
        return [PATH]
    os.unlink(os.path.join(workspace.root, PATH))
    if kept.get("folder", True):
        with contextlib.suppress(OSError):  # somebody else's files are in it
            os.rmdir(os.path.join(workspace.root, os.path.dirname(PATH)))
    return [PATH]


def _settings(root: str) -> bytes | None:
    """The bytes of the settings, None where there are none. Raises RefusedError for a link and for what is no file."""
    for part in (os.path.dirname(PATH), PATH):
        place = os.path.join(root, part)
        if os.path.islink(place):
            raise RefusedError(
                f"{part} is a symbolic link; links are not followed",
                f"add the entry to the file that it leads to ({os.path.realpath(place)}), as docs/hooks.md shows it",
            )
    if not os.path.lexists(place):
        return None
    if not os.path.isfile(place):
        raise RefusedError(f"{PATH} is not a file", "move it away, then: mlos-sync init --agents")
    try:
        with open(place, "rb") as file:
            return file.read()
    except OSError as error:
        raise RefusedError(f"{PATH} cannot be read: {error.strerror}", "mend its rights, then try again") from None


def _remember(workspace: Workspace, wanted: Plan) -> None:
    """Before the file is written: if we are killed in between, it is as it was, and the note says nothing of it."""
    folder = not os.path.lexists(os.path.join(workspace.root, os.path.dirname(PATH)))
    before = None if wanted.old is None else wanted.old.decode("utf-8")
    noted = {"before": before, "after": hashlib.sha256(wanted.new).hexdigest(), "folder": folder}
    os.makedirs(workspace.state, mode=0o700, exist_ok=True)
    shims.rewrite(os.path.join(workspace.state, RECORD), json.dumps(noted).encode("ascii"), 0o600)


def _remembered(workspace: Workspace) -> dict[str, object]:
    try:
        with open(os.path.join(workspace.state, RECORD), "rb") as file:
            found = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
