"""Commit messages: a bare number in a trailer gains its uid while the commit is made, so that it lasts."""

from __future__ import annotations

import os
import re

from mlos_sync.app import publishing
from mlos_sync.app.opening import open_index
from mlos_sync.core import ids
from mlos_sync.edge import files

_LINE = re.compile(rb"^((?:task|need|closes|fixes|resolves)[ \t]*:[ \t]*)(\S[^\r\n]*)", re.IGNORECASE | re.MULTILINE)


def resolve(path: str) -> None:
    """Rewrite the message file that git is about to commit. Numbers that are unknown or ambiguous stay as they are."""
    with open(path, "rb") as file:
        before = file.read()
    index = open_index(os.getcwd())
    uid_of: dict[tuple[str, int], str] = {}
    for kind in ("need", "task"):
        found: dict[int, set[str]] = {}
        for number, uid in index.db.execute(f"SELECT id, uid FROM {kind}s"):
            found.setdefault(number, set()).add(uid)
        for number, uid in index.db.execute("SELECT claimed, uid FROM numbers WHERE kind = ?", (kind,)):
            found.setdefault(number, set()).add(uid)
        uid_of |= {(kind, number): next(iter(uids)) for number, uids in found.items() if len(uids) == 1}

    def named(match: re.Match[bytes]) -> bytes:
        key = match[1].decode().partition(":")[0].strip()
        try:
            value = match[2].decode("utf-8")
        except UnicodeDecodeError:
            return match[0]
        return match[1] + ids.with_uids(value, key, uid_of).encode("utf-8")

    after = _LINE.sub(named, before)
    if any(key.lower() in ids.CLOSING for key in _keys(after)):
        publishing.note_closing(index.workspace)
    if after != before:
        # In one step: killed in the middle, git would commit an emptied message.
        folder, name = os.path.split(os.path.abspath(path))
        files.write(folder, name, after)


def _keys(message: bytes) -> list[str]:
    return [match[1].decode().partition(":")[0].strip() for match in _LINE.finditer(message)]
