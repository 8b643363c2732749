"""What a transcript yields, whatever its format: sessions, claims about files, commits made, problems. Standard library.

A reader takes the lines of one file and yields facts as it meets them, so that a long log is never held whole. A claim
names its session; the session itself is yielded when all of it is known, at the latest at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

OPERATIONS = ("create", "write", "edit", "patch", "delete", "move", "read")


@dataclass(frozen=True, slots=True)
class Session:
    """A session, or a part of one. Times are `2026-02-16T13:04:52Z`, or None where the file does not tell.

    `tool` is the writer's own word for the agent, `model` the one that spoke most in the main thread, `format` names
    the generation of the file, `turns` counts what was said in the main thread and `subagent_turns` what subagents said.
    A local time without a zone counts as not told. `part` is empty for the main thread, and names what
    one subagent did (`agent-<id>`, wherever it is told) or one note says: parts are joined, copies of one part are not.
    `parent` is the session that started this one.
    """

    session_id: str
    tool: str
    model: str | None
    format: str
    started_at: str | None
    ended_at: str | None
    title: str | None
    turns: int
    subagent_turns: int = 0
    version: str | None = None
    part: str = ""
    parent: str | None = None
    cwd: str | None = None
    branch: str | None = None
    base_commit: str | None = None


@dataclass(frozen=True, slots=True)
class Replacement:
    """One change of a text: `old` gives way to `new`, once, or `everywhere` it stands.

    A hunk of a patch is one too: its context and removed lines are `old`, its context and added lines `new`.
    An empty `old` stands for an empty or absent file.
    """

    old: bytes
    new: bytes
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """One operation on one file as the transcript tells it: evidence to weigh, not a fact.

    `line` (from 1) is the place that gave the path, or the result; `raw_path` stands as written there and is relative
    to `cwd` where that is told; `at` is the time of the turn, `subagent` whether a subagent did it. `succeeded` is False
    when the transcript shows that the operation failed or was refused. `contents` holds what the file may have held
    afterwards, the likeliest first; a hash decides among them. `replacements` holds, where no content is known, how it
    was changed, in order. `part` is that of the session it belongs to.
    """

    session_id: str
    turn: int
    line: int
    at: str | None
    operation: str
    tool: str
    raw_path: str
    succeeded: bool
    contents: tuple[bytes, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    cwd: str | None = None
    subagent: bool = False
    part: str = ""


@dataclass(frozen=True, slots=True)
class CommitMade:
    """A commit that the session's own `git commit` printed: `sha` is 7 to 40 hex digits, and may be stale by now."""

    session_id: str
    turn: int
    line: int
    at: str | None
    sha: str
    subject: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something malformed at a line (from 1); what could be read stands nevertheless."""

    line: int
    message: str


Fact = Session | Claim | CommitMade | Problem


@dataclass(slots=True)
class Transcript:
    """All that one file yields, gathered."""

    sessions: list[Session] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    commits: list[CommitMade] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def gather(facts: Iterable[Fact]) -> Transcript:
    """The facts, sorted into their kinds."""
    found = Transcript()
    kinds: dict[type, list] = {  # type: ignore[type-arg]
        Session: found.sessions, Claim: found.claims, CommitMade: found.commits, Problem: found.problems,
    }  # fmt: skip
    for fact in facts:
        kinds[type(fact)].append(fact)
    return found
