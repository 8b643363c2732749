"""Codex CLI's rollouts, one JSON object a line: `~/.codex/sessions/YYYY/MM/DD/rollout-<time>-<id>.jsonl`.

Lines are `{timestamp, type, payload}` since mid-September 2025; before, the first is the bare
`{id, timestamp, instructions, git}` and the others are bare response items without times. Known to 0.146 (August 2026).
What `codex exec --json` prints is read by `codex_exec`, which this module recognises and hands over to.

One operation may be told three times: by the call (`function_call`, `custom_tool_call`), by the event about it
(`patch_apply_end`, `exec_command_end`, `item_completed`), and by the output. The first that tells the outcome counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mlos_sync.core.transcripts import codex_exec
from mlos_sync.core.transcripts.codex_claims import Call, answered, applied, executed, unanswered
from mlos_sync.core.transcripts.jsonl import arguments_of, object_at, outlines, parsed, shown, stamp_at, text_at
from mlos_sync.core.transcripts.model import Claim, CommitMade, Fact, Problem
from mlos_sync.core.transcripts.sessions import Course, stem_of
from mlos_sync.core.transcripts.sound import sound_text
from mlos_sync.core.transcripts.tools import kind_of

TOOL = "Codex CLI"
_ENVELOPES = ("session_meta", "turn_context", "response_item", "event_msg", "compacted", "world_state")
_BARE = ("message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "reasoning")
# Lines without anything for this reader, by the bytes they begin with: `{"timestamp":"…","type":"compacted",…`
_IDLE_LINE = re.compile(
    rb'\{"timestamp":"[^"\\]{0,60}",(?:"ordinal":\d{1,18},)?"type":(?:"(?:compacted|world_state)"'
    rb'|"event_msg","payload":\{"type":"(?:token_count|agent_reasoning[a-z_]*|agent_message_delta|exec_command_output_delta)"'
    rb'|"response_item","payload":\{"type":"(?:reasoning|ghost_snapshot)")'
)
# How a user message begins that the client wrote: `<environment_context>`, `<user_instructions>`, `# AGENTS.md …`
_INJECTED = re.compile(r"\s*(?:<[a-z_]+>|# AGENTS\.md instructions)")
_CWD = re.compile(r"\s*<environment_context>.{0,2000}?(?:<cwd>|Current working directory: )(?P<cwd>[^<\n]+)", re.DOTALL)
_CALLS = ("function_call", "custom_tool_call", "local_shell_call")
_OUTPUTS = ("function_call_output", "custom_tool_call_output", "local_shell_call_output")
_SHELLS = ("container.exec", "local_shell", "unified_exec", "shell")


@dataclass(slots=True)
class _Log:
    """What is known of a rollout so far; `cwd` is that of the turn. `said` is the last text of each role, by hash."""

    course: Course
    cwd: str | None = None
    pending: dict[str, Call] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    said: dict[str, tuple[int, set[str]]] = field(default_factory=dict)
    known: bool = False


def recognise(head: bytes) -> bool:
    """Whether a file begins as a rollout of either age, or as the output of `codex exec --json`."""
    return any(_is_line(keys) for keys in outlines(head, most=3)) or codex_exec.recognise(head)


def _is_line(keys: dict[str, str]) -> bool:
    """`{"timestamp":…,"type":"session_meta","payload":{…`; `{"id":…,"timestamp":…,"instructions":…` without a type."""
    if keys.get("type") in _ENVELOPES:
        return any(key.startswith("payload.") for key in keys)
    if "type" not in keys:
        return keys.get("record_type") == "state" or {"id", "timestamp", "instructions"} <= keys.keys()
    return False


def read(lines: Iterable[bytes], name: str) -> Iterator[Fact]:
    """The claims, commits and problems of a rollout as they come, its session at the end.

    A file that was forked from another begins with the lines of that one, told once more as part of this session. A
    subagent's file is a session of its own, with a parent. `name` gives the id only where no line does.
    """
    iterator = iter(enumerate(lines, 1))
    log = _Log(Course(_identity_of(name), TOOL, "codex-rollout"))
    for number, line in iterator:
        if _IDLE_LINE.match(line) and b"}{" not in line and line.endswith((b"}\n", b"}\r\n", b"}")):
            continue
        for found in parsed(line, number):
            if isinstance(found, Problem):
                yield found
            elif not (log.known or log.course.settled) and codex_exec.is_line(found):
                yield from codex_exec.read(iterator, found, name)
                return
            else:
                yield from _line(log, found, number)
    for call in log.pending.values():
        yield from unanswered(call)
    if log.known or log.course.turns or log.course.settled:
        yield log.course.told()


def _line(log: _Log, entry: dict[str, Any], number: int) -> Iterator[Claim | CommitMade]:
    kind, at = text_at(entry, "type"), stamp_at(entry)
    payload = entry["payload"] if isinstance(entry.get("payload"), dict) else None
    log.course.passed(at)
    if kind == "session_meta" and payload is not None:
        _began(log, payload)
    elif kind == "turn_context" and payload is not None:
        log.cwd = _directory(payload) or log.cwd
        log.course.cwd = log.course.cwd or log.cwd
        log.course.spoke(sound_text(payload.get("model")))
    elif kind == "response_item" and payload is not None:
        yield from _item(log, payload, number, at)
    elif kind == "event_msg" and payload is not None:
        yield from _event(log, payload, number, at)
    elif kind in _BARE and payload is None:
        yield from _item(log, entry, number, at)
    elif not kind and "record_type" not in entry and "id" in entry and "timestamp" in entry:
        log.course.format = "codex-rollout-legacy"
        _began(log, entry)


def _began(log: _Log, meta: dict[str, Any]) -> None:
    """The session by its first line of that kind; later ones belong to the sessions that a fork copied."""
    if log.known:
        return
    log.known = True
    course, git = log.course, object_at(meta, "git")
    course.identified(sound_text(meta.get("id")) or sound_text(meta.get("session_id")))
    course.version = sound_text(meta.get("cli_version"))
    course.cwd = log.cwd = _directory(meta)
    course.branch = sound_text(git.get("branch"))
    course.base_commit = sound_text(git.get("commit_hash"))
    course.passed(stamp_at(meta))
    spawn = object_at(object_at(object_at(meta, "source"), "subagent"), "thread_spawn")
    course.parent = sound_text(spawn.get("parent_thread_id")) or sound_text(meta.get("parent_thread_id"))


def _item(log: _Log, item: dict[str, Any], number: int, at: str | None) -> Iterator[Claim | CommitMade]:
    kind = text_at(item, "type")
    if kind == "message" or (not kind and "role" in item):
        _said(log, text_at(item, "role"), shown(item.get("content")), "item")
    elif kind in _CALLS:
        _called(log, item, number, at)
    elif kind in _OUTPUTS:
        call = log.pending.pop(text_at(item, "call_id"), None)
        if call is not None:
            log.done.add(hash(call.id))
            yield from answered(call, item.get("output"), number, at)


def _event(log: _Log, event: dict[str, Any], number: int, at: str | None) -> Iterator[Claim | CommitMade]:
    kind = text_at(event, "type")
    if kind in ("user_message", "agent_message"):
        _said(log, "user" if kind == "user_message" else "assistant", text_at(event, "message"), "event")
    elif kind == "item_completed":
        item = object_at(event, "item")
        yield from _completed(log, item, text_at(item, "type"), number, at)
    elif kind in ("patch_apply_end", "exec_command_end"):
        yield from _completed(log, event, kind, number, at)


def _completed(log: _Log, item: dict[str, Any], kind: str, number: int, at: str | None) -> Iterator[Claim | CommitMade]:
    """The end of a patch or of a command, as an event or (from 2026) as an item; its call need not be in the log."""
    patch = kind in ("patch_apply_end", "FileChange")
    if kind in ("UserMessage", "AgentMessage"):
        _said(log, "user" if kind == "UserMessage" else "assistant", shown(item.get("content")), "completed")
    if not (patch or kind in ("exec_command_end", "CommandExecution")):
        return
    identity = text_at(item, "call_id", "id")
    if hash(identity) in log.done:
        return
    call = log.pending.get(identity) or _call(log, identity, "apply_patch" if patch else "exec_command", number, at)
    found = tuple(applied(call, item, number, at) if patch else executed(call, item, number, at) or ())
    if found:
        log.pending.pop(identity, None)
        log.done.add(hash(identity))
    yield from found


def _called(log: _Log, item: dict[str, Any], number: int, at: str | None) -> None:
    """Remembers a call until its end is told. `arguments` is JSON in a string, `input` of a custom tool is free text."""
    tool = text_at(item, "name") or "local_shell"
    identity = text_at(item, "call_id", "id") or f"line {number}"
    if not (kind_of(tool) or tool in _SHELLS) or identity in log.pending or hash(identity) in log.done:
        return
    arguments: dict[str, Any] | str = arguments_of(item.get("arguments", item.get("action")))
    free = item.get("input")
    if isinstance(free, str):
        arguments = free if kind_of(tool) == "patch" else arguments_of(free)
    log.pending[identity] = _call(log, identity, tool, number, at, arguments)


def _call(
    log: _Log, identity: str, tool: str, number: int, at: str | None, arguments: dict[str, Any] | str = ""
) -> Call:
    course = log.course
    course.settled = True
    return Call(identity, tool, arguments, course.session_id, course.turns, number, at, log.cwd)


def _said(log: _Log, role: str, text: str, source: str) -> None:
    """Counts a turn, once for all the lines that tell it: item, event and completed item follow each other."""
    if role not in ("user", "assistant") or not text:
        return
    if role == "user" and _INJECTED.match(text):
        found = _CWD.match(text) if log.cwd is None else None
        if found is not None and sound_text(found["cwd"]) == found["cwd"].strip():
            log.cwd = log.course.cwd = found["cwd"].strip()
        return
    last = log.said.get(role)
    if last is not None and last[0] == hash(text) and source not in last[1]:
        last[1].add(source)
        return
    log.said[role] = (hash(text), {source})
    log.course.turned(subagent=False)


def _directory(value: dict[str, Any]) -> str | None:
    cwd = text_at(value, "cwd")
    return cwd if cwd and sound_text(cwd) == cwd else None


def _identity_of(name: str) -> str:
    """The id in `rollout-2025-12-29T11-54-27-019b6b08-58f3-7580-9dca-fe3f30a10650.jsonl`, else the name itself."""
    stem = stem_of(name, ".jsonl")
    match = re.fullmatch(r"rollout-[\dT-]{19}-(.{1,100})", stem)
    return sound_text(match[1] if match else stem) or "unnamed"
