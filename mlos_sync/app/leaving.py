"""Taking our hooks away again, from every place where one may stand, byte for byte.

Owns the note of where we have put something, and the search for what is left of us: `core.hooksPath` may have changed, another
manager may have moved a hook aside, and several ways may have been used one after the other.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable

from mlos_sync.app import firing, merging
from mlos_sync.core import blocks
from mlos_sync.edge import git, managers, settings, shims
from mlos_sync.edge.workspace import Workspace, git_folders
from mlos_sync.errors import SurroundingsError

RECORD = "places.json"
KEY = "hook.mlos-sync-"


def remove(workspace: Workspace) -> list[str]:
    """Take away every hook of ours; the files and configuration keys that held something of ours."""
    around = firing.facts(workspace)
    removed: list[str] = []
    recorded = _remembered(workspace)
    for folder in dict.fromkeys([*folders(workspace), *map(os.path.dirname, recorded)]):
        if os.path.isdir(folder):
            before = set(shims.remains(folder))
            shims.uninstall(folder)
            removed += sorted(path for path in before - set(shims.remains(folder)) if not path.endswith(shims.KEPT))
    for path in dict.fromkeys([*recorded, *_hook_files(workspace)]):
        if (path in recorded or not _is_tracked(workspace, path)) and cut(path):
            removed.append(path)
    for one in around.configured:
        if one.name.startswith("mlos-sync-") and one.scope in settings.OWN_SCOPES:
            unset(workspace.root, one.name.removeprefix("mlos-sync-"))
            removed.append(f"git config hook.{one.name}")
    removed += merging.remove(workspace)
    if os.path.isdir(around.ours_dir):
        shutil.rmtree(around.ours_dir)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(workspace.common, RECORD))
    return removed


def folders(workspace: Workspace) -> list[str]:
    """Every folder of this repository in which a hook of ours may stand: where git looks from each work tree, and where it
    would look. A folder that other repositories use too is left alone: there only what is on our note is ours."""
    trees = settings.trees(workspace.root)
    looked = [workspace.hooks_dir, os.path.join(workspace.common_dir, "hooks")]
    for one in trees:
        with contextlib.suppress(SurroundingsError):  # a work tree that is broken runs no hooks
            looked.append(git_folders(one)[3])
    inside = tuple(os.path.realpath(one) + os.sep for one in (workspace.common_dir, workspace.root, *trees))
    return [one for one in dict.fromkeys(looked) if os.path.realpath(one).startswith(inside)]


def _hook_files(workspace: Workspace) -> Iterable[str]:
    """Every file in which a block of ours may stand: other managers move a file aside, block and all."""
    for folder in folders(workspace):
        husky = managers.husky(folder)
        for place in {folder, husky.folder if husky else folder}:
            for name in shims.NAMES:
                yield from (os.path.join(place, name + ending) for ending in ("", *shims.MOVED, shims.KEPT))


def _is_tracked(workspace: Workspace, path: str) -> bool:
    """Whether a hook file with our block is the team's: without our copies the block does nothing, so it may stay."""
    if blocks.find(managers.read(path)) is None or path.startswith(workspace.common_dir + os.sep):
        return False
    return bool(git.run(os.path.dirname(path), "ls-files", "-z", "--", os.path.basename(path), check=False))


def cut(path: str) -> bool:
    """Take our block out of a file; a file that only we have written goes. Returns whether there was one."""
    text = managers.read(path)
    if os.path.islink(path) or blocks.find(text) is None:
        return False
    rest = blocks.without_block(text)
    if rest is None:
        os.unlink(path)
    else:
        shims.rewrite(path, rest)
    return True


def unset(root: str, name: str) -> None:
    """Take our hook of that name out of the repository's own configuration."""
    for key in ("event", "command", "enabled"):
        settings.drop(root, f"{KEY}{name}.{key}")


def remember(workspace: Workspace, *paths: str) -> None:
    """Note where something of ours was put: `core.hooksPath` may lead elsewhere when it is to be taken out again."""
    known = _remembered(workspace)
    if set(paths) - set(known):
        os.makedirs(workspace.common, mode=0o700, exist_ok=True)
        noted = json.dumps(list(dict.fromkeys([*known, *paths]))).encode("ascii")
        shims.rewrite(os.path.join(workspace.common, RECORD), noted, 0o600)


def _remembered(workspace: Workspace) -> list[str]:
    try:
        with open(os.path.join(workspace.common, RECORD), "rb") as file:
            found = json.loads(file.read())
    except (OSError, ValueError):
        return []
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []
