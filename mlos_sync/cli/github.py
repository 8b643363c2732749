"""Findings as GitHub's workflow commands, which its runner shows beside the file.

Owns the escaping (https://docs.github.com/actions/reference/workflow-commands-for-github-actions, and the runner's
ActionCommand.cs): `%`, CR and LF everywhere, `:` and `,` in properties too. The runner takes any line for a command that
begins with `::`, and of the others any that holds `##[`: so with commands nothing else is printed, for names are strangers'
text. Each finding is an error, also a stale view: it fails the step, and a warning would hide why.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlos_sync.core.paths import shown

if TYPE_CHECKING:
    from mlos_sync.core.guard import Finding


def is_here() -> bool:
    """Whether GitHub runs us."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def error(found: Finding) -> str:
    """A finding as one line. The message names the path too, since the log does not show the properties."""
    return _command("error", found.path, found.kind, f"{found.path}: {found.message}\n{found.fix}")


def warning(path: str, message: str) -> str:
    """What fails nothing, and matters all the same."""
    return _command("warning", path, "not compiled", f"{path} {message}")


def _command(level: str, path: str, title: str, message: str) -> str:
    return f"::{level} file={_property(path)},title={_property(f'mlos-sync: {title}')}::{_data(message)}"


def _data(text: str) -> str:
    return shown(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
