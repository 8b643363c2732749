"""What a transcript yields, whatever its format: one session, claims about files, problems. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

OPERATIONS = ("create", "write", "edit", "patch", "delete", "move", "read")


@dataclass(frozen=True, slots=True)
class Session:
    """The session that the file renders. Times are `2026-02-16T13:04:52Z`, or None where the file does not tell.

    `tool` is the writer's own word for the agent, `model` the one that spoke most in the main thread, `format` names
    the generation of the file, `turns` counts the speaker lines. A local time without a zone counts as not told.
    """

    session_id: str
    tool: str
    model: str | None
    format: str
    started_at: str | None
    ended_at: str | None
    title: str | None
    turns: int


@dataclass(frozen=True, slots=True)
class Claim:
    """One operation on one file as the transcript tells it: evidence to weigh, not a fact.

    `line` (from 1) is the place that gave the path, `raw_path` stands as written there, `at` is the time of the turn.
    `succeeded` is False when the transcript shows that the operation failed or was refused. `contents` holds, for
    whole-file writes only, what the file may have held afterwards, the likeliest first; a hash decides among them.
    """

    turn: int
    line: int
    at: str | None
    operation: str
    tool: str
    raw_path: str
    succeeded: bool
    contents: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something malformed at a line (from 1); what could be read stands nevertheless."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that one file yields. `session` is None where the file names no session id."""

    session: Session | None
    claims: tuple[Claim, ...] = ()
    problems: tuple[Problem, ...] = ()
