"""Merges of compiled views: git asks us instead of comparing lines, and a merge commits what its own tree compiles to.

`init` and `hooks install` name us in the repository's configuration as the merge driver of the views that
`.gitattributes` lists (gitattributes(5), "Defining a custom merge driver"). While `git merge` works, the tree that it will
make is not there yet; `git merge-tree --write-tree` (git 2.38) makes the same one beside it, and the view is compiled from
that. A rebase, a cherry-pick, a revert or an older git do not tell us the other commit: then our side stays, which is a
whole view and at worst a stale one.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping

from mlos_sync.core import seal
from mlos_sync.core.paths import shown
from mlos_sync.edge import files, git, settings
from mlos_sync.edge.workspace import Workspace, find
from mlos_sync.errors import MlosError, SurroundingsError

DRIVER = "mlos-sync-view"
INNER = "MLOS_SYNC_MERGING"  # set for the merge that we ask git for: there every view stays as it is
_HEAD = re.compile(r"GITHEAD_([0-9a-f]{40}|[0-9a-f]{64})")
KEY = f"merge.{DRIVER}.driver"
INSIDE = f"merge.{DRIVER}.recursive"


def configure(workspace: Workspace) -> None:
    """Name ourselves as the driver in the repository's own configuration; not for the merges that git makes of common
    ancestors (criss-cross): there the final view would be taken for what both sides came from, and one side's be lost."""
    for key, value in _wanted().items():
        if git.config(workspace.root, key) != value:
            settings.put(workspace.root, key, value)


def is_configured(workspace: Workspace) -> bool:
    """Whether git would ask us, by this interpreter."""
    return all(git.config(workspace.root, key) == value for key, value in _wanted().items())


def remove(workspace: Workspace) -> list[str]:
    """Take that away again; the keys that were there."""
    there = [key for key in reversed(_wanted()) if git.config(workspace.root, key) is not None]
    for key in there:
        settings.drop(workspace.root, key)
    return [f"git config {key}" for key in there]


def _wanted() -> dict[str, str]:
    """The driver first: where the other keys stand without it, git dies in each merge of such a file."""
    command = f"{shlex.quote(sys.executable)} -I -m mlos_sync.hooks.main merge-view %O %A %B %L %P"
    return {KEY: command, INSIDE: "binary"}


def attributes(path: str) -> str:
    """The line of `.gitattributes` for a view."""
    return f"{_pattern(path)} linguist-generated=true merge={DRIVER}"


def unmarked(workspace: Workspace) -> list[str]:
    """The views of the config that `.gitattributes` does not name: git does not ask us about them."""
    lines = set((files.read(workspace, ".gitattributes") or b"").decode("utf-8", "replace").splitlines())
    return [view.path for view in workspace.config.views if attributes(view.path) not in lines]


def _pattern(path: str) -> str:
    """A path as a pattern of .gitattributes that matches it and nothing else: anchored at the top, what a glob would read
    escaped, and quoted as C does where blanks, quotes or backslashes ask for it (gitattributes(5))."""
    pattern = "/" + re.sub(r"([*?\[\\])", r"\\\1", path)
    if not re.search(r'[\s"\\\x00-\x1f\x7f]', pattern):
        return pattern
    escaped = pattern.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda one: f"\\{ord(one[0]):03o}", escaped) + '"'


def merge(base: str, ours: str, theirs: str, marker_size: str, path: str) -> tuple[int, str]:
    """Merge one view: the names are of files with the three versions, the result goes into `ours`. Returns git's answer, 0
    for a merged view, 1 for a conflict that a person has to solve, because one side is no whole view; and what to say."""
    if os.environ.get(INNER):
        return 0, ""
    sides = [_read(ours), _read(theirs)]
    if any(seal.check(side).state != seal.VALID for side in sides):
        named = ("-L", "ours", "-L", "base", "-L", "theirs")
        done = git.attempt(os.getcwd(), "merge-file", f"--marker-size={marker_size}", *named, ours, base, theirs)
        return (1 if done.returncode else 0), ""
    try:
        made = _compiled(path)
    except MlosError as error:
        return 0, f"mlos-sync: {shown(path)} keeps our side: {error.message} ({error.hint})"
    if made is not None and made != sides[0]:
        with open(ours, "wb") as file:
            file.write(made)
    return 0, ""


def _read(name: str) -> bytes:
    with open(name, "rb") as file:
        return file.read()


def _compiled(path: str) -> bytes | None:
    """The view as the merged tree compiles to it; None where that tree is not known."""
    from mlos_sync.app import compiling, verifying

    others = [match[1] for match in map(_HEAD.fullmatch, os.environ) if match]
    head = git.head(os.getcwd())
    if head is None or len(others) != 1:
        return None
    os.environ[INNER] = "1"
    # Drivers of others would be started twice for one merge; what their files hold matters to no view but by a title.
    off = _no_drivers(os.getcwd())
    done = git.attempt(os.getcwd(), "merge-tree", "--write-tree", head, others[0], settings=off)
    tree = done.stdout.split(b"\n")[0].decode("ascii", "replace").strip("\0")
    if done.returncode not in (0, 1) or not re.fullmatch("[0-9a-f]{40,64}", tree):
        return None
    made = verifying.compiled_from(os.getcwd(), tree, [path]).get(path)
    if made is None:
        raise SurroundingsError("it cannot be compiled here", "mlos-sync compile says why")
    compiling.note_compiled(find(os.getcwd()).common, made)
    return made


def _no_drivers(root: str) -> Mapping[str, str]:
    found = settings.matching(root, r"^merge\..*\.driver$")
    return {one.key: "true" for one in found if one.key != KEY}
