"""Whether there is something to publish: asked before every commit, so asked cheaply.

Owns two questions to the index database and one to the size of the ledger; it writes nothing, takes no lock that anyone
waits for, and starts no git where the environment of a hook says where the git directory is.
"""

from __future__ import annotations

import os

from mlos_sync.hooks import plumbing

PATIENCE = 0.05
"""Seconds to wait for a writer. What is pending stays pending; the commit does not wait."""


def something_pending() -> bool:
    """Whether the outbox holds a row, an event is pending, or the ledger is not as long as the database knows it.

    False if there is no database or it cannot be read: a broken index never stops a commit.
    """
    folder = git_dir()
    database = os.path.join(folder, "mlos", "index.db")
    if not folder or not os.path.isfile(database):
        return False
    if os.path.exists(os.path.join(folder, "mlos", "closing")):
        return True  # the last commit closed something, and no command has looked since
    return _asks(database, os.path.join(common_dir(folder), "mlos", "ledger.jsonl"))


def git_dir() -> str:
    """The git directory of this work tree: from the environment, else `.git` right here, else by asking git."""
    folder = os.environ.get("GIT_DIR") or ".git"
    if os.path.isfile(os.path.join(folder, "HEAD")):
        return folder
    code, said = plumbing.output("rev-parse", "--git-dir", quiet=True)
    return os.fsdecode(said.rstrip(b"\n")) if code == 0 else ""


def common_dir(folder: str) -> str:
    """The directory that all work trees share: git writes its place into the file `commondir` of a linked one."""
    named = os.environ.get("GIT_COMMON_DIR")
    if named:
        return named
    try:
        with open(os.path.join(folder, "commondir"), "rb") as file:
            return os.path.join(folder, os.fsdecode(file.read().strip()))
    except OSError:
        return folder


def _asks(database: str, ledger: str) -> bool:
    import sqlite3

    try:
        connection = sqlite3.connect(_uri(database), uri=True, timeout=PATIENCE)
        try:
            if connection.execute("SELECT 1 FROM outbox LIMIT 1").fetchone():
                return True
            rows = connection.execute("SELECT key, value FROM meta WHERE key IN ('pending', 'ledger_seen')")
            meta = {str(key): str(value) for key, value in rows}
        finally:
            connection.close()
    except sqlite3.Error:
        return False
    return meta.get("pending", "0") != "0" or meta.get("ledger_seen", "0") != str(_size(ledger))


def _uri(path: str) -> str:
    """A read-only SQLite address; any byte of a path survives as %XX."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"
    name = "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in os.fsencode(path))
    return f"file:{name}?mode=ro"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
