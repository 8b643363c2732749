"""What git's post hooks noted for the next command: one line each, appended by the shims (docs/hooks.md has the form).

They say that something happened, for whoever watches the folder. Commands find out by themselves what has changed, and
take no word of a note: an index that is made anew has none, and must come to the same.
"""

from __future__ import annotations

import contextlib
import os

NAME = "notes"


def forget(state: str) -> None:
    """Take the notes away, in our folder of the git directory: what they told of was looked at."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(state, NAME))
