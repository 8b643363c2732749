"""Context packs for agents: the needs, what is linked to them, and copies of the files, in a folder of its own.

A pack is made for one invocation of an agent, which is registered with it: what it was given and what it watches.
Unlike a tracked view it shows the work tree as it stands, untracked files too.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from typing import Any

from mlos_sync.app import freshness, records
from mlos_sync.app.gathering import Content, File, Records, Source, digest
from mlos_sync.app.opening import Index
from mlos_sync.app.viewing import pack_page
from mlos_sync.core import ids, views
from mlos_sync.core.paths import sort_key, to_bytes
from mlos_sync.edge import files, objects, store
from mlos_sync.edge.workspace import shipped
from mlos_sync.errors import SurroundingsError, UsageError

PACK = "CONTEXT_PACK.md"
FILES = "files"

# The seed's query; `relationship_type` says in the pack why a file is in it, `blob` and `id` are for the record.
_LINKED = """
SELECT a.file_path, a.title, a.description, a.artifact_type, a.id, n.uid, r.relationship_type
FROM artifacts a
JOIN relationships r ON r.target_type = 'artifact' AND r.target_id = a.id
JOIN needs n ON r.source_type = 'need' AND r.source_id = n.id
WHERE n.uid IN (SELECT value FROM json_each(?)) AND a.file_path IS NOT NULL
ORDER BY a.artifact_type, a.title, a.file_path, n.uid, r.relationship_type
"""


def pack(index: Index, needs: list[tuple[str, str]], agent_type: str | None, out_dir: str) -> dict[str, Any]:
    """Write a pack for `needs` ((kind, uid) each) into an empty or new folder, and register the agent it is for.

    Returns {"agent": the agent's row, "files": paths below the folder}. Raises UsageError for a folder that is not
    empty and for what is no need; then, and when anything fails later, nothing is left behind.
    """
    uids = _needs(index, needs)
    kind = agent_type or "agent"
    new = _check_empty(out_dir)
    agent = secrets.token_hex(16)
    try:
        written, provisioned = _assemble(index, uids, f"{kind} ({ids.shown('agent', agent)})", out_dir)
        row = _register(index, agent, kind, provisioned, uids)
    except BaseException:
        _clear(out_dir, new)
        raise
    return {"agent": row, "files": written}


def changed(index: Index, out_dir: str) -> list[dict[str, str]]:
    """What the pack in a folder says that is so no more: {"path", "state"} of files changed or gone since."""
    base = os.path.join(os.fsencode(out_dir), FILES.encode())
    if not os.path.isfile(os.path.join(out_dir, PACK)):
        raise UsageError(f"{out_dir} holds no {PACK}", "name the folder that mlos-sync pack --out wrote")
    now = dict(index.db.execute("SELECT file_path, content_hash FROM artifacts WHERE file_path IS NOT NULL"))
    by_name = {to_bytes(path): (path, content) for path, content in now.items()}
    found = []
    for name in sorted(_below(base)):
        path, content = by_name.get(name, (os.fsdecode(name), None))
        if content != digest(objects.file_pieces(os.path.join(base, name))).sha256:
            found.append({"path": path, "state": "changed" if content else "gone"})
    return found


def _below(base: bytes) -> Iterator[bytes]:
    for folder, _, inside in os.walk(base):
        for name in inside:
            yield os.path.relpath(os.path.join(folder, name), base)


def _needs(index: Index, needs: list[tuple[str, str]]) -> list[str]:
    if not needs:
        raise UsageError("a pack is for one need at least", "name it: --need need-3f9a2c")
    for kind, uid in needs:
        if kind != "need" or not index.db.execute("SELECT 1 FROM needs WHERE uid = ?", (uid,)).fetchone():
            raise UsageError(f"there is no need {ids.shown(kind, uid)}", "list them: mlos-sync need list")
    return list(dict.fromkeys(uid for _, uid in needs))


def _check_empty(out_dir: str) -> bool:
    """Whether the folder is new. Raises UsageError when something is in it."""
    try:
        inside = os.listdir(out_dir)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise UsageError(f"{out_dir} cannot be used: {error.strerror}", "name a new or empty folder") from None
    if inside:
        raise UsageError(f"{out_dir} is not empty", "name a new or empty folder with --out")
    return False


def _assemble(index: Index, uids: list[str], agent: str, out_dir: str) -> tuple[list[str], list[int]]:
    """Copy the files and write the document. Returns (paths below the folder, ids of the artifacts provided)."""
    known = Records(index.db)
    shown = known.names("need")
    found: dict[str, File] = {}
    linked: dict[str, list[str]] = {}
    contents: dict[str, Content | None] = {}
    provisioned: list[int] = []
    for path, title, description, kind, number, need, edge in index.db.execute(_LINKED, (json.dumps(uids),)):
        linked.setdefault(path, []).append(f"{shown[need]} {edge}")
        if path not in found:
            found[path] = File(title, description or "", kind)
            provisioned.append(number)
    try:
        os.makedirs(out_dir, exist_ok=True)
        for path in sorted(found, key=sort_key):
            contents[path] = _copy(index, path, out_dir)
    except OSError as error:
        raise SurroundingsError(
            f"{out_dir} cannot be written: {error.strerror}", "free space or name another folder"
        ) from None
    source = Source(known, index.workspace.config, found, contents.get)
    listed = ", ".join(shown[uid] for uid in uids)
    page = pack_page(
        source, PACK, uids, linked, title=f"Context pack for {listed}",
        desc=f"What an agent that works on {listed} has to know.", agent=agent, folder=FILES + "/",
    )  # fmt: skip
    files.write(out_dir, PACK, views.render_shipped(shipped("templates"), "context_pack", page))
    return [PACK, *(f"{FILES}/{path}" for path, content in contents.items() if content)], provisioned


def _copy(index: Index, path: str, out_dir: str) -> Content | None:
    """Copy one file and say what was copied; None for what is no regular file."""
    target = os.path.join(os.fsencode(out_dir), FILES.encode(), to_bytes(path))
    source = objects.file_pieces(index.workspace.absolute(path))
    try:
        first = next(source, b"")
    except OSError:
        return None
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "xb") as file:

        def pieces() -> Iterator[bytes]:
            piece: bytes | None = first
            while piece:
                file.write(piece)
                yield piece
                piece = next(source, None)

        return digest(pieces())


def _register(index: Index, uid: str, kind: str, artifacts: list[int], needs: list[str]) -> dict[str, Any]:
    def insert(db: store.Connection) -> None:
        rows = db.execute("SELECT id FROM needs WHERE uid IN (SELECT value FROM json_each(?))", (json.dumps(needs),))
        db.execute(
            "INSERT INTO agents(uid, agent_type, status, provisioned_artifacts, monitored_needs)"
            " VALUES (?, ?, 'provisioning', ?, ?)",
            (uid, kind, json.dumps(sorted(artifacts)), json.dumps(sorted(number for (number,) in rows))),
        )

    records.write(index, insert)
    freshness.catch_up(index)
    return records.row_of(index.db, "agent", uid)


def _clear(out_dir: str, new: bool) -> None:
    """Take away what a failed pack has written into a folder that was empty."""
    if new:
        shutil.rmtree(out_dir, ignore_errors=True)
        return
    shutil.rmtree(os.path.join(out_dir, FILES), ignore_errors=True)
    if os.path.lexists(os.path.join(out_dir, PACK)):
        os.unlink(os.path.join(out_dir, PACK))
