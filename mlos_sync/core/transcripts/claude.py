"""Claude Code's log, one JSON object a line: `~/.claude/projects/<folder>/<session>.jsonl` and `agent-<id>.jsonl`.

Known from 1.0.51 (July 2025) to 2.1.220 (2026); also the lines that `claude -p --output-format stream-json` prints,
which say `session_id` for `sessionId` and have no times. A file may hold several sessions (one that resumed another
copies its lines under its own id), lines twice, and lines of which only a part was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mlos_sync.core.transcripts.claude_claims import Call, answered, unanswered
from mlos_sync.core.transcripts.jsonl import (
    object_at,
    objects_at,
    outlines,
    parsed,
    shown,
    sound_text,
    stamp_at,
    text_at,
)
from mlos_sync.core.transcripts.model import Claim, CommitMade, Fact, Problem
from mlos_sync.core.transcripts.sessions import Course
from mlos_sync.core.transcripts.tools import kind_of

TOOL = "Claude Code"
FORMAT, STREAM = "claude-jsonl", "claude-stream-json"

# Kinds of lines that hold nothing this reader takes: the bulk of newer logs. `progress` (seen in 2.1.12 to 2.1.42) repeats the
# messages of subagents, which have their own files.
_IDLE = (
    *("progress", "file-history-snapshot", "queue-operation", "attachment", "permission-mode", "mode", "last-prompt"),
    *("agent-name", "worktree-state", "relocated", "frame-link", "pr-link", "bridge-session", "started", "result"),
    *("stream_event"),
)
_SPOKEN = ("user", "assistant")
_MARKS = (b'"sessionId"', b'"session_id"', b'"leafUuid"', b'"messageId"')  # no such log is without one of them
# The top-level members of a line up to its first object or list. A writer puts `type` among them for the idle kinds:
# `{"parentUuid":null,"isSidechain":false,"type":"progress","data":{…`; only `attachment` has its object first.
# No member before has an object for its value, so that the type found is the line's own, whatever its texts quote.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_IDLE_LINE = re.compile(
    rb'\{(?:(?!"type":|"attachment":\{)' + _STRING + rb":(?:" + _STRING + rb"|null|true|false|-?[0-9]++),)*+"
    rb'(?:"attachment":\{|"type":"(?:' + b"|".join(kind.encode() for kind in _IDLE) + rb')")',
    re.DOTALL,
)
_AGENT_FILE = re.compile(r"agent-[\w-]{1,100}")
_SESSION_ID = re.compile(r"[^\s/\\\x00-\x1f\ud800-\udfff]{1,200}")


@dataclass(slots=True)
class _Log:
    """What is known of a file so far. `seen` and `done` hold hashes: a long log has many lines to remember."""

    name: str
    courses: dict[str, Course] = field(default_factory=dict)
    agents: dict[str, set[str]] = field(default_factory=dict)  # by session: the ids of subagents that speak in it
    pending: dict[str, Call] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)  # uuids, message ids
    done: set[int] = field(default_factory=set)  # calls with a result
    summaries: dict[int, str] = field(default_factory=dict)  # by the uuid of the message that they end with
    current: str = ""


def recognise(head: bytes) -> bool:
    """Whether a file begins as such a log, judged by the keys of its first lines; see `jsonl.outlines`."""
    return any(mark in head for mark in _MARKS) and any(_is_line(keys) for keys in outlines(head))


def _is_line(keys: dict[str, str]) -> bool:
    """`{"type":"user","sessionId":…,"message":{…` and the kinds that may stand before the first of these."""
    kind = keys.get("type", "")
    session = keys.get("sessionId") or keys.get("session_id")
    if kind in _SPOKEN:
        return bool(session) and "message" in keys and ("uuid" in keys or "message.content" in keys)
    if kind == "system":
        return bool(session) and bool(keys.get("subtype"))
    if kind == "summary":
        return "summary" in keys and "leafUuid" in keys
    if kind == "file-history-snapshot":
        return "messageId" in keys
    return bool(session) and kind in (*_IDLE, "ai-title", "custom-title") and "projectHash" not in keys


def read(lines: Iterable[bytes], name: str) -> Iterator[Fact]:
    """The claims, commits and problems of a log as they come, its sessions at the end.

    `name` gives the id of a session only where no line has one, and tells the file of a subagent: `agent-<id>.jsonl`.
    A claim has the time of its result. What was called and never answered did not succeed.
    """
    log = _Log(name)
    for number, line in enumerate(lines, 1):
        if _IDLE_LINE.match(line) and b"}{" not in line and line.endswith((b"}\n", b"}\r\n", b"}")):
            continue
        for found in parsed(line, number):
            if isinstance(found, Problem):
                yield found
            else:
                yield from _line(log, found, number)
    for call in log.pending.values():
        yield from unanswered(call)
    for course in log.courses.values():
        course.part = _part(log, course)
        yield course.told()


def _line(log: _Log, entry: dict[str, Any], number: int) -> Iterator[Claim | CommitMade]:
    kind = text_at(entry, "type")
    if kind == "summary":
        _summary(log, entry)
    elif kind in ("ai-title", "custom-title"):
        title = sound_text(entry.get("aiTitle" if kind == "ai-title" else "customTitle"))
        _course(log, entry).titled(title, rank=1 if kind == "ai-title" else 2)
    elif kind == "system" and text_at(entry, "subtype") == "init":
        _circumstances(_course(log, entry), entry)
    elif kind in _SPOKEN and isinstance(entry.get("message"), dict) and _first_time(log.seen, entry.get("uuid")):
        yield from _message(log, entry, number)


def _message(log: _Log, entry: dict[str, Any], number: int) -> Iterator[Claim | CommitMade]:
    course = _course(log, entry)
    at = stamp_at(entry)
    course.passed(at)
    _circumstances(course, entry)
    summary = log.summaries.pop(hash(entry.get("uuid")), None) if isinstance(entry.get("uuid"), str) else None
    course.titled(summary)
    agent = _agent(log, entry)
    if agent:
        log.agents.setdefault(course.session_id, set()).add(agent)
    message = object_at(entry, "message")
    subagent = bool(agent) or entry.get("isSidechain") is True
    if entry["type"] == "assistant":
        if _first_time(log.seen, message.get("id")):
            course.turned(subagent)
            course.spoke(sound_text(message.get("model")), subagent)
        _calls(log, entry, course, subagent, number, at)
        return
    if _is_said(entry, message):
        course.turned(subagent)
    results = [block for block in objects_at(message, "content") if block.get("type") == "tool_result"]
    # The result in the form of the tool belongs to the line, so that it is clear only where one call is answered.
    details = entry.get("toolUseResult", entry.get("tool_use_result")) if len(results) == 1 else None
    for block in results:
        call = log.pending.pop(text_at(block, "tool_use_id"), None)
        if call is not None:
            log.done.add(hash(call.id))
            yield from answered(call, block, details, number, at)


def _calls(log: _Log, entry: dict[str, Any], course: Course, subagent: bool, number: int, at: str | None) -> None:
    """Remembers the calls in a message until their results come; a message that is streamed repeats its calls."""
    for block in objects_at(object_at(entry, "message"), "content"):
        identity, tool = text_at(block, "id"), text_at(block, "name")
        if block.get("type") != "tool_use" or not (kind_of(tool) or tool == "ExitPlanMode"):
            continue
        if identity in log.pending or hash(identity) in log.done:
            continue
        log.pending[identity or f"line {number}"] = Call(
            id=identity,
            tool=tool,
            arguments=object_at(block, "input"),
            session_id=course.session_id,
            turn=course.turn(subagent),
            line=number,
            at=at,
            cwd=_cwd(entry) or course.cwd,
            subagent=subagent,
        )


def _course(log: _Log, entry: dict[str, Any]) -> Course:
    """The session of a line; a line that names none belongs to the one before, or to the file."""
    identity = text_at(entry, "sessionId", "session_id")
    if not _SESSION_ID.fullmatch(identity):
        identity = log.current or (sound_text(_stem(log.name)) or "unnamed")
    log.current = identity
    course = log.courses.get(identity)
    if course is None:
        course = Course(identity, TOOL, FORMAT if "sessionId" in entry or "session_id" not in entry else STREAM)
        log.courses[identity] = course
    return course


def _circumstances(course: Course, entry: dict[str, Any]) -> None:
    """Where and with what the session began: the first line that tells counts, since a session may move."""
    course.cwd = course.cwd or _cwd(entry)
    branch = sound_text(entry.get("gitBranch"))
    course.branch = course.branch or (branch if branch != "HEAD" else None)  # HEAD: detached
    course.version = course.version or sound_text(entry.get("version", entry.get("claude_code_version")))
    if entry["type"] == "system":
        course.spoke(sound_text(entry.get("model")))


def _cwd(entry: dict[str, Any]) -> str | None:
    cwd = text_at(entry, "cwd")
    return cwd if cwd and sound_text(cwd) == cwd else None


def _summary(log: _Log, entry: dict[str, Any]) -> None:
    """`{"type":"summary","summary":"Title words","leafUuid":"…"}` (to 2.0.x): a title of the session that has the leaf.

    A file begins with the summaries of other sessions of the folder too, so that the leaf has to be in this file.
    """
    leaf, title = entry.get("leafUuid"), sound_text(entry.get("summary"))
    if not isinstance(leaf, str) or title is None:
        return
    if hash(leaf) in log.seen and log.current in log.courses:
        log.courses[log.current].titled(title)
    elif len(log.summaries) < 1000:
        log.summaries[hash(leaf)] = title


def _agent(log: _Log, entry: dict[str, Any]) -> str:
    """The subagent that a line belongs to, or nothing: by `agentId` (seen from 2.0.75), the file, or `parent_tool_use_id`."""
    agent = text_at(entry, "agentId")
    if agent and entry.get("isSidechain") is True:
        return "agent-" + (sound_text(agent) or "")
    stem = _stem(log.name)
    return stem if _AGENT_FILE.fullmatch(stem) else text_at(entry, "parent_tool_use_id")


def _part(log: _Log, course: Course) -> str:
    """`agent-<id>` where the file holds nothing of the session but what one subagent did."""
    agents = log.agents.get(course.session_id, set())
    agent = next(iter(agents)) if len(agents) == 1 else ""
    return agent if agent.startswith("agent-") and not course.turns else ""


def _is_said(entry: dict[str, Any], message: dict[str, Any]) -> bool:
    """Whether a user line is a turn: no result, nothing injected by the client, no summary of an earlier context."""
    if entry.get("isMeta") is True or entry.get("isCompactSummary") is True:
        return False
    blocks = objects_at(message, "content")
    if any(block.get("type") == "tool_result" for block in blocks):
        return False
    return bool(blocks) or bool(shown(message.get("content")))


def _first_time(seen: set[int], identity: Any) -> bool:
    """Whether an id has not been met; what has no id counts each time."""
    if not isinstance(identity, str) or not identity:
        return True
    known = hash(identity)
    if known in seen:
        return False
    seen.add(known)
    return True


def _stem(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2].removesuffix(".jsonl")
