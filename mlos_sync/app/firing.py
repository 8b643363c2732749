"""How our hooks stand in a work tree, and whether git really starts them.

Owns the answer of `hooks status`, and the quick look that `status` and `rebuild` take. Nobody else's hook is ever started:
a file is asked for a sign only where it is ours byte for byte, or where our block comes first in it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mlos_sync.core import blocks, snippets
from mlos_sync.core.times import iso
from mlos_sync.edge import managers, settings, shims
from mlos_sync.edge.settings import OWN_SCOPES
from mlos_sync.edge.workspace import Workspace, git_folders, shipped
from mlos_sync.errors import SurroundingsError

BLOCK, CONFIG, BY = "block", "config", "by "
BY_HAND = BY + "hand"
OWN, LOCAL, SHARED, NOWHERE = "own", "local", "shared", "nowhere"


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is around our hooks in one work tree.

    `place` tells what git's hooks folder is: this repository's own, another one inside it that somebody has set (local),
    one that other repositories use too (shared), or no folder at all (nowhere).
    """

    workspace: Workspace
    place: str
    path: managers.HooksPath | None
    husky: managers.Husky | None
    guests: list[managers.Manager]
    configured: list[managers.Configured]

    @property
    def hooks_dir(self) -> str:
        """Where git looks for hooks here."""
        return self.workspace.hooks_dir

    @property
    def default_dir(self) -> str:
        """Where git would look if nobody had set another folder."""
        return os.path.join(self.workspace.common_dir, "hooks")

    @property
    def ours_dir(self) -> str:
        """Our own copies, which blocks, managers and git's configuration start."""
        return os.path.join(self.workspace.common, "hooks")

    def file(self, name: str) -> str:
        """The file in which somebody keeps the hook of that name: husky 9 keeps it beside the one that git starts."""
        if self.husky and self.husky.version == 9 and managers.starts_husky(os.path.join(self.hooks_dir, name)):
            return os.path.join(self.husky.folder, name)
        return os.path.join(self.hooks_dir, name)


class Standing(NamedTuple):
    """One hook: `state` is installed, block, config, `by MANAGER` or `by hand` where it is active; else missing, outdated
    (ours, to be written anew) or foreign (not ours). `note` says more where something is wrong."""

    name: str
    path: str
    state: str
    note: str = ""


class Proof(NamedTuple):
    """Whether git starts it (None: not tried, somebody else's code comes first) and when it last did."""

    fires: bool | None
    fired_at: str | None


class Tree(NamedTuple):
    """A work tree of the repository, whether our hooks are active in it, and why not."""

    path: str
    active: bool
    reason: str


def facts(workspace: Workspace) -> Facts:
    """Look around: one question to git, the rest are files."""
    found = managers.asked(workspace.root)
    path = managers.hooks_path(found)
    place = _place(workspace, path)
    husky = managers.husky(workspace.hooks_dir) if path else None
    return Facts(
        workspace, place, path, husky, managers.configured_for(workspace.root), managers.configured_hooks(found)
    )


def _place(workspace: Workspace, path: managers.HooksPath | None) -> str:
    """The folder may be a link: what counts is where it leads."""
    folder, common = os.path.realpath(workspace.hooks_dir), os.path.realpath(workspace.common_dir)
    if folder == os.path.join(common, "hooks"):
        return OWN
    if os.path.lexists(folder) and not os.path.isdir(folder):
        return NOWHERE
    inside = folder.startswith((os.path.realpath(workspace.root) + os.sep, common + os.sep))
    return LOCAL if inside and (path is None or path.scope in OWN_SCOPES) else SHARED


def is_active(state: str) -> bool:
    """Whether a hook in that state is started by git, as far as can be told by looking."""
    return state in (shims.INSTALLED, BLOCK, CONFIG) or state.startswith(BY)


def quick(workspace: Workspace) -> list[Standing]:
    """How our hooks stand, by looking only."""
    return stand(facts(workspace))


def stand(around: Facts) -> list[Standing]:
    """How each of our hooks stands."""
    python = sys.executable
    placed = {hook.name: hook.state for hook in shims.state(around.hooks_dir, python)}
    own = {hook.name: hook.state for hook in shims.state(around.ours_dir, python)}
    configured = _configured(around)
    return [
        Standing(name, os.path.join(around.ours_dir, name), _as_good(own[name], CONFIG))
        if name in configured
        else _standing(around, name, placed[name], own[name])
        for name in shims.NAMES
    ]


def _configured(around: Facts) -> set[str]:
    """The events for which git's configuration starts our hook."""
    found = {
        name
        for one in around.configured
        for name in shims.NAMES
        if one.name == f"mlos-sync-{name}" and name in one.events and one.enabled
    }
    return found if found and settings.version() >= settings.CONFIGURED_HOOKS else set()


def _standing(around: Facts, name: str, placed: str, own: str) -> Standing:
    started, path = os.path.join(around.hooks_dir, name), around.file(name)
    if around.place == NOWHERE:
        return Standing(name, started, shims.MISSING, f"core.hooksPath is {around.hooks_dir}: git runs no hook files")
    text = managers.read(path)
    if blocks.find(text) is not None:
        return _with_block(name, path, text, own, by_husky=path != started)
    if not shims.is_ours(path) and snippets.calls_ours(text.decode("utf-8", "replace"), name) == snippets.THROUGH_COPY:
        return Standing(name, path, _as_good(own, BY_HAND))
    if path != started:  # husky runs nothing for this name, or only what the team has there
        return Standing(name, path, shims.FOREIGN if os.path.lexists(path) else shims.MISSING)
    if placed != shims.FOREIGN:
        return Standing(name, path, placed, _why_outdated(path) if placed == shims.OUTDATED else "")
    manager = managers.writer_of(path)
    how = managers.calling(around.workspace.root, manager, name) if manager else ""
    if how:
        return Standing(name, path, BY + manager if how == snippets.BY_ITSELF else _as_good(own, BY + manager))
    if manager in (snippets.PRE_COMMIT, snippets.PREK) and shims.is_ours(path + shims.MOVED[0]):
        current = managers.read(path + shims.MOVED[0]) == _texts()[name]
        return Standing(name, path, BY + manager if current else shims.OUTDATED, f"{manager} runs {name}.legacy")
    note = f"{manager} wrote it, and does not call ours" if manager else ""
    return Standing(name, path, shims.FOREIGN, note)


def _with_block(name: str, path: str, text: bytes, own: str, *, by_husky: bool) -> Standing:
    """A block does its work where the file can be started, and where our own copy is in order."""
    if not by_husky and not os.access(path, os.X_OK):
        return Standing(name, path, shims.FOREIGN, f"{why_not_started(path)}, so git starts neither it nor ours")
    if not blocks.is_current(text, name):
        return Standing(name, path, shims.OUTDATED)
    return Standing(name, path, _as_good(own, BLOCK))


def _as_good(own: str, state: str) -> str:
    """The state of a hook that leads to our own copy: no better than the copy is."""
    return state if own == shims.INSTALLED else shims.OUTDATED


def _why_outdated(path: str) -> str:
    return "" if os.access(path, os.X_OK) else why_not_started(path)


def why_not_started(path: str) -> str:
    """What keeps git from starting a file that is there."""
    try:
        executable = os.stat(path).st_mode & 0o111
        noexec = os.statvfs(path).f_flag & os.ST_NOEXEC
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return "it is not executable" if not executable or not noexec else "its file system is mounted noexec"


def _texts() -> dict[str, bytes]:
    return shims.texts(shipped("hooks"), sys.executable)


def prove(around: Facts, standings: Sequence[Standing]) -> list[Proof]:
    """Ask each hook for a sign, through what git would start for it."""
    texts = _texts()
    return [Proof(_fires(around, one, texts[one.name]), fired_at(around.workspace, one.name)) for one in standings]


def _fires(around: Facts, one: Standing, text: bytes) -> bool | None:
    root, ours = around.workspace.root, os.path.join(around.ours_dir, one.name)
    started = os.path.join(around.hooks_dir, one.name)
    if one.state in (shims.MISSING, shims.FOREIGN):
        return False
    if one.state == shims.INSTALLED:
        return shims.answers(started, one.name, root) if managers.read(started) == text else None
    if one.state == CONFIG and managers.read(ours) == text:
        listed = settings.hooks_listed(root, one.name)
        return f"mlos-sync-{one.name}" in listed and shims.answers(ours, one.name, root)
    if one.state == BLOCK and managers.read(ours) == text and blocks.comes_first(managers.read(one.path)):
        if one.path == started:
            return shims.answers(started, one.name, root)
        if managers.is_known_launcher(os.path.join(around.hooks_dir, "h")):
            return shims.answers(started, one.name, root, managers.NO_INIT)
    if one.state == shims.OUTDATED and not os.access(one.path, os.X_OK):
        return False
    return None


def fired_at(workspace: Workspace, name: str) -> str | None:
    """When the hook last ran in this work tree, as it noted itself."""
    try:
        return iso(int(os.stat(os.path.join(workspace.state, f"fired-{name}")).st_mtime * 1000))
    except OSError:
        return None


def trees(workspace: Workspace) -> list[Tree]:
    """All work trees of the repository."""
    return [_tree(workspace, path) for path in settings.trees(workspace.root)]


def _tree(workspace: Workspace, path: str) -> Tree:
    try:
        root, git_dir, common_dir, hooks_dir = git_folders(path)
    except SurroundingsError as error:
        return Tree(path, False, error.message)
    around = facts(Workspace(root, git_dir, common_dir, hooks_dir, workspace.config))
    idle = [one for one in stand(around) if not is_active(one.state)]
    return Tree(path, not idle, _reason(around, idle))


def _reason(around: Facts, idle: list[Standing]) -> str:
    if not idle:
        return ""
    if around.place == NOWHERE:
        return idle[0].note
    if around.path and not os.path.isdir(around.hooks_dir):
        more = f" (make it as in the other one: {_HUSKY_MAKES})" if around.husky else ""
        return f"core.hooksPath is {around.path.value}, and there is no such folder here{more}"
    states: dict[str, list[str]] = {}
    for one in idle:
        states.setdefault(one.state, []).append(one.name)
    return "; ".join(f"{state}: {', '.join(names)}" for state, names in states.items())


_HUSKY_MAKES = "npm install"


def line(standings: Sequence[Standing]) -> str:
    """One line for people who have not asked: nothing where all is well, else what is wrong and what to type."""
    idle = [one.name for one in standings if not is_active(one.state)]
    if not idle:
        return ""
    which = "" if len(idle) == len(standings) else f" ({', '.join(idle)})"
    return f"not active in this worktree{which}: mlos-sync hooks install"
