"""What the guard cannot tell from a seal: whether a staged view is what the commit's own tree compiles to.

Runs as a second process of pre-commit, only when views are staged, after the pending events have gone into the index: the
tree is the one that is about to be committed. A view that differs was compiled from something else, which is no harm and is
said (stale), or nobody compiled it and somebody made a seal for it (forged), which is refused. To tell the two apart there
is the note of what was compiled in this repository, and git: what a commit holds at that path has passed a guard before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from mlos_sync.app import compiling, verifying
from mlos_sync.app.viewing import again
from mlos_sync.core import guard, seal
from mlos_sync.core.guard import Finding
from mlos_sync.edge import git, objects
from mlos_sync.edge.workspace import git_folders

_OTHER_SIDES = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD")


def judge(start: str, paths: Iterable[str], index_file: str | None = None) -> list[Finding]:
    """What is wrong with staged views whose seals are whole: kind forged or stale. `index_file` is the index of the commit
    that is being made, where it is not the usual one."""
    root, _, common_dir, _ = git_folders(start)
    tree = git.write_tree(root, index_file)
    made = verifying.compiled_from(root, tree, paths)
    blobs = git.blobs_at(root, tree, made)
    staged = dict(objects.blobs(root, blobs.values()))
    known = set(compiling.seals(os.path.join(common_dir, "mlos")))
    findings = []
    for path, blob in sorted(blobs.items()):
        data = staged[blob]
        if data.replace(b"\r\n", b"\n") == made[path]:
            continue
        if seal.digest_of(data) in known or _is_committed(root, path, blob):
            message = "this view is out of date: it is not what the records and files of this commit compile to"
            findings.append(Finding(path, verifying.STALE, message, again(path)))
        else:
            message = "its seal is whole, but nothing here compiled it: somebody made a seal for an edit"
            findings.append(Finding(path, guard.FORGED, message, again(path)))
    return findings


def _is_committed(root: str, path: str, blob: str) -> bool:
    """Whether some commit that this clone knows has the blob at that path: what comes from the other side of a merge, from
    another branch, from before. The tips first; the search of all history is for what is about to be refused."""
    fetched = _fetched(root)
    tips = ["HEAD", *_OTHER_SIDES, *fetched]
    if any(git.blobs_at(root, tip, [path]).get(path) == blob for tip in tips):
        return True
    found = git.run(
        root, "log", "--all", "--reflog", *fetched, "--max-count=1", "--format=%H", f"--find-object={blob}",
        "--no-show-signature", "--no-ext-diff", "--no-textconv", "--", f":(top,literal){path}", check=False,
    )  # fmt: skip
    return bool(found.strip())


def _fetched(root: str) -> list[str]:
    """The commits that the last fetch brought: a pull request taken by its address is named by no ref and no reflog."""
    name = (
        git.run(root, "rev-parse", "--git-path", "FETCH_HEAD", check=False).decode("utf-8", "surrogateescape").strip()
    )
    try:
        with open(os.path.join(root, name), encoding="utf-8", errors="replace") as file:
            ids = [line.split("\t")[0] for line in file]
    except OSError:
        return []
    return sorted(git.existing(root, [one for one in ids if re.fullmatch("[0-9a-f]{40,64}", one)]))
