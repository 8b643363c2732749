"""Claude Code's log, one JSON object a line: `~/.claude/projects/<folder>/<session>.jsonl` and `agent-<id>.jsonl`.

Known from 1.0.51 (July 2025) to 2.1.220 (2026); also the lines that `claude -p --output-format stream-json` prints,
which say `session_id` for `sessionId` and have no times. A file may hold several sessions (one that resumed another
copies its lines under its own id), lines twice, and lines of which only a part was written.

What a subagent does stands in up to three places: in a file of its own, on sidechain lines of the session's file, and in
`progress` lines there. Each is read as the part `agent-<id>` of the session, so that it is the same wherever it is told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mlos_sync.core.transcripts.claude_claims import Call, answered, unanswered
from mlos_sync.core.transcripts.jsonl import object_at, objects_at, outlines, parsed, shown, stamp_at, text_at
from mlos_sync.core.transcripts.model import Claim, CommitMade, Fact, Problem, Session
from mlos_sync.core.transcripts.sessions import Course
from mlos_sync.core.transcripts.sound import sound_text
from mlos_sync.core.transcripts.tools import kind_of

TOOL = "Claude Code"
FORMAT, STREAM = "claude-jsonl", "claude-stream-json"

# Kinds of lines that hold nothing this reader takes, the bulk of newer logs; but see `_PROGRESS`.
_IDLE = (
    *("progress", "file-history-snapshot", "queue-operation", "attachment", "permission-mode", "mode", "last-prompt"),
    *("agent-name", "worktree-state", "relocated", "frame-link", "pr-link", "bridge-session", "started", "result"),
    "stream_event",
)
# `"type":"progress","data":{"message":{"type":"assistant",…},"normalizedMessages":[],"type":"agent_progress","agentId":…`
# (seen in 2.1.12 to 2.1.42): a message of a subagent, whose own file need not be there. `bash_progress`, `hook_progress`
# and others hold no message. The writer spells a word in one way, so that a line without this one has none either; that
# a line has it, be it in a text, costs but the time to read the line.
_PROGRESS = b'"agent_progress"'
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
_PART = re.compile(r"agent-[\w-]{1,100}")
_SESSION_ID = re.compile(r"[^\s/\\\x00-\x1f\ud800-\udfff]{1,200}")


@dataclass(slots=True)
class _Log:
    """What is known of a file so far. `seen` and `done` hold hashes: a long log has many lines to remember."""

    name: str
    part: str  # of all lines, where the file is a subagent's
    courses: dict[tuple[str, str], Course] = field(default_factory=dict)  # by session and part
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
    A claim has the time of its result. What was called and never answered did not succeed. For each session and part
    that the file tells there is one `Session`; `subagent_turns` of the main one counts those of all its parts too.
    """
    stem = _stem(name)
    log = _Log(name, stem if _PART.fullmatch(stem) else "")
    for number, line in enumerate(lines, 1):
        if _IDLE_LINE.match(line) and _PROGRESS not in line and _is_whole(line):
            continue
        for found in parsed(line, number):
            if isinstance(found, Problem):
                yield found
            else:
                yield from _line(log, found, number)
    for call in log.pending.values():
        yield from unanswered(call)
    yield from _sessions(log)


def _is_whole(line: bytes) -> bool:
    """Whether a line seems to be one object, neither cut nor glued to another."""
    return b"}{" not in line and line.endswith((b"}\n", b"}\r\n", b"}"))


def _sessions(log: _Log) -> Iterator[Session]:
    """The sessions and their parts, in the order in which they began in the file."""
    turns: Counter[str] = Counter()
    for course in log.courses.values():
        turns[course.session_id] += course.turns if course.part else 0
    for course in log.courses.values():
        course.subagent_turns += 0 if course.part else turns[course.session_id]
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
    elif kind == "progress":
        yield from _progress(log, entry, number)
    elif kind in _SPOKEN and isinstance(entry.get("message"), dict) and _first_time(log.seen, entry.get("uuid")):
        yield from _message(log, entry, number)


def _progress(log: _Log, entry: dict[str, Any], number: int) -> Iterator[Claim | CommitMade]:
    """A message of a subagent, told by the line of the thread that waits for it: read as the sidechain line that it was.

    The message has its own `uuid` and `timestamp`; the line around it has the circumstances. `normalizedMessages`
    repeats all messages before (to 2.1.15), each of which had a line.
    """
    data = object_at(entry, "data")
    message = object_at(data, "message")
    if text_at(data, "type") != "agent_progress" or text_at(message, "type") not in _SPOKEN:
        return
    _circumstances(_course(log, entry), entry)
    told: dict[str, Any] = {"timestamp": entry.get("timestamp"), **message}
    told |= {key: entry[key] for key in ("sessionId", "cwd", "gitBranch", "version") if key in entry}
    told |= {"isSidechain": True, "agentId": data.get("agentId")}
    yield from _line(log, told, number)


def _message(log: _Log, entry: dict[str, Any], number: int) -> Iterator[Claim | CommitMade]:
    course = _course(log, entry)
    at = stamp_at(entry)
    course.passed(at)
    _circumstances(course, entry)
    summary = log.summaries.pop(hash(entry.get("uuid")), None) if isinstance(entry.get("uuid"), str) else None
    course.titled(summary)
    message = object_at(entry, "message")
    # In a part of its own a subagent is the one whose turns count; elsewhere it is told apart from the main thread.
    subagent = not course.part and (entry.get("isSidechain") is True or bool(text_at(entry, "parent_tool_use_id")))
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
            part=course.part,
            turn=course.turn(subagent),
            line=number,
            at=at,
            cwd=_cwd(entry) or course.cwd,
            subagent=subagent or bool(course.part),
        )


def _course(log: _Log, entry: dict[str, Any]) -> Course:
    """The session and part of a line; a line that names no session belongs to the one before, or to the file."""
    identity = text_at(entry, "sessionId", "session_id")
    if not _SESSION_ID.fullmatch(identity):
        identity = log.current or (sound_text(_stem(log.name)) or "unnamed")
    log.current = identity
    place = (identity, _part(log, entry))
    course = log.courses.get(place)
    if course is None:
        form = FORMAT if "sessionId" in entry or "session_id" not in entry else STREAM
        course = Course(identity, TOOL, form, part=place[1])
        log.courses[place] = course
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
    if hash(leaf) in log.seen and (log.current, log.part) in log.courses:
        log.courses[log.current, log.part].titled(title)
    elif len(log.summaries) < 1000:
        log.summaries[hash(leaf)] = title


def _part(log: _Log, entry: dict[str, Any]) -> str:
    """The part of a line: `agent-<id>` of the subagent it belongs to, by `agentId` (seen from 2.0.75) or by the file."""
    agent = text_at(entry, "agentId")
    if agent and entry.get("isSidechain") is True and _PART.fullmatch("agent-" + agent):
        return "agent-" + agent
    return log.part


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
