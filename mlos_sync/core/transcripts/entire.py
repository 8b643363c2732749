"""Entire's checkpoints (branch `entire/checkpoints/v1`, CLI of January and February 2026): what their metadata says.

A checkpoint has one `metadata.json` for itself and one in a folder for each of its sessions, beside the transcript in
the agent's own format. Fields came and went between versions: each may be missing, null or of another type, and then
counts as not told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mlos_sync.core.transcripts.sound import sound_json, sound_path, sound_text
from mlos_sync.core.transcripts.stamps import moment

# `2026-01-05-4555072a-e039-4937-b6ea-dcb86152dd55`: a date before the agent's own id, until January 2026
_DATED_ID = re.compile(r"\d{4}-\d\d-\d\d-(?P<id>[0-9a-fA-F]{8}-[0-9a-fA-F-]{4,60})", re.ASCII)
_CHECKPOINT_ID = re.compile(r"[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a session's metadata says about the part of it that a commit holds.

    `session_id` is the agent's own, which its log has too; `entire_id` is the id as written, which had a date before it
    in early versions. `first_line` counts the lines (or messages) of the transcript that belong to earlier checkpoints.
    `branch` and `agent` are None in early versions; `agent` is the writer's word, "Claude Code" or "Gemini CLI".
    """

    checkpoint_id: str | None
    session_id: str
    entire_id: str
    agent: str | None
    created_at: str | None
    branch: str | None
    files_touched: tuple[str, ...]
    first_line: int
    transcript_path: str | None


@dataclass(frozen=True, slots=True)
class Root:
    """What the metadata of a checkpoint itself says; `sessions` are the paths of its sessions' metadata in the tree."""

    checkpoint_id: str | None
    branch: str | None
    files_touched: tuple[str, ...]
    sessions: tuple[str, ...]


def checkpoint(metadata: bytes) -> Checkpoint | None:
    """A session's `metadata.json`, or None where it is no JSON object or names no session."""
    value = sound_json(metadata.removeprefix(b"\xef\xbb\xbf"))
    entire_id = sound_text(value.get("session_id")) if isinstance(value, dict) else None
    if entire_id is None:
        return None
    return Checkpoint(
        checkpoint_id=_checkpoint_id(value), session_id=native_id(entire_id), entire_id=entire_id,
        agent=_agent(value.get("agent")), created_at=moment(value.get("created_at")), branch=sound_text(value.get("branch")),
        files_touched=_paths(value.get("files_touched")), first_line=_first_line(value),
        transcript_path=sound_path(value.get("transcript_path")),
    )  # fmt: skip


def root(metadata: bytes) -> Root | None:
    """A checkpoint's own `metadata.json`, or None where it is no JSON object. Sessions' paths have no leading slash."""
    value = sound_json(metadata.removeprefix(b"\xef\xbb\xbf"))
    if not isinstance(value, dict):
        return None
    listed = value.get("sessions")
    entries = [item.get("metadata") for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return Root(
        checkpoint_id=_checkpoint_id(value), branch=sound_text(value.get("branch")),
        files_touched=_paths(value.get("files_touched")),
        sessions=tuple(path.lstrip("/") for path in _paths(entries)),
    )  # fmt: skip


def native_id(entire_id: str) -> str:
    """The id of the session in the agent's own log: without the date that early versions put before it."""
    match = _DATED_ID.fullmatch(entire_id)
    return match["id"] if match else entire_id


def _checkpoint_id(value: dict[str, Any]) -> str | None:
    found = sound_text(value.get("checkpoint_id"))
    return found if found and _CHECKPOINT_ID.fullmatch(found) else None


def _agent(value: Any) -> str | None:
    """The agent's name; `Agent` is what a version wrote that did not know it."""
    found = sound_text(value)
    return None if found == "Agent" else found


def _first_line(value: dict[str, Any]) -> int:
    """`checkpoint_transcript_start`, or its older name, which stands beside it in February 2026; 0 if not told."""
    for key in ("checkpoint_transcript_start", "transcript_lines_at_start"):
        found = value.get(key)
        if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 1 << 53:
            return found
    return 0


def _paths(value: Any) -> tuple[str, ...]:
    """The paths of a list, each once; what is no path is left out."""
    found = [path for item in value if (path := sound_path(item))] if isinstance(value, list) else []
    return tuple(dict.fromkeys(found))
