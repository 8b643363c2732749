"""Repositories that are made once in a process and copied for each test that asks for one.

    repo = copied(make, tmp_path) / "repo"      # what make(folder) makes in an empty folder, now in tmp_path

Making a workspace takes a dozen processes, copying it two. Two copies are to the program what two copies of a folder are:
the same workspace, with the same ids. A test that wants a second one makes it (`cli.another_workspace`).
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Hashable
from functools import cache
from pathlib import Path
from unittest import mock

from gitrepo import IDENTITY, git, sealed_env


def copied(make: Callable[..., object], tmp_path: Path, *args: Hashable) -> Path:
    """Put a copy of what `make(folder, *args)` makes into `tmp_path`; returns that. The repositories lie in the folder itself;
    where one names another, as a clone its origin, the copy names the copy."""
    template = _template(make, *args)
    tmp_path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", f"{template}/.", str(tmp_path)], check=True)
    for config in tmp_path.glob("*/.git/config"):
        text = config.read_bytes()
        if (old := os.fsencode(template)) in text:
            config.write_bytes(text.replace(old, os.fsencode(tmp_path)))
        # To git's index a copy is a file that may have changed: let it look now, as it had in the template.
        git(config.parent.parent, "update-index", "-q", "--refresh", check=False)
    return tmp_path


@cache
def _template(make: Callable[..., object], *args: Hashable) -> Path:
    """Made in a sealed world of its own: the test that asks first may not have sealed one, or changed something in it."""
    base = Path(tempfile.mkdtemp(prefix="mlos-sync-tests-"))
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    (base / "made").mkdir()
    with mock.patch.dict(os.environ, {**sealed_env(base / "home"), **IDENTITY}, clear=True):
        make(base / "made", *args)
    shutil.rmtree(base / "made" / "home", ignore_errors=True)  # the one that `git` makes beside a repository
    return base / "made"
