"""The journal's file format, version 1: events as lines, segments as files. Standard library only; pure.

A segment is `.mlos/journal/YYYY/MM/<sha256 of its bytes>.jsonl`, so `sha256sum` alone verifies it; year and month are
those of its newest event. Its first line is the header

    {"created":"2026-11-20T10:00:00Z","format":1,"journal":"mlos","workspace":"<32 hex>"}

and each further line is one event: canonical JSON (sorted keys, no blanks, UTF-8, no floats, null apart from absent),
ended by one LF, with

    id      32 hex digits                     clock   [milliseconds since 1970 UTC, counter]  (hybrid logical clock)
    kind    need, task, agent, relationship,  seen    ids of the record's heads that the author knew
            annotation (of a file)
    uid     of the record, 32 hex digits      op      create, update, delete, recreate, redact
    fields  column -> value; a reference is "need:<uid>", "artifact:<path>" or "commit:<sha>";
            an array is {"add": [...], "remove": [...]}
    tx      groups events of one transaction  actor, door  who wrote it, through what
    sum     first 16 hex digits of SHA-256 over the canonical line without `sum`

Unknown keys, kinds and operations of newer versions are kept as they stand and passed on (`Event.line`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

FORMAT = 1
FOLDER = ".mlos/journal"
LINE_LIMIT = 16 * 1024 * 1024
DEPTH = 32  # far below what the parser bears, so that a line that was accepted once is read from any depth of the stack


class BadLineError(ValueError):
    """A line that is no event of ours; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one record. `line` is its text without the final LF, exactly as stored."""

    id: str
    clock: tuple[int, int]
    seen: tuple[str, ...]
    kind: str
    uid: str
    op: str
    fields: dict[str, Any]
    actor: str | None
    door: str
    tx: str | None
    line: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment's events in file order, and what was wrong with it: (line number, reason)."""

    name: str
    workspace: str | None
    events: tuple[Event, ...]
    problems: tuple[tuple[int, str], ...]


# No look for cycles: what comes from JSON has none, and a too deep value raises RecursionError all the same.
_ENCODE = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
).encode


def canonical(value: Any) -> str:
    """The one JSON text of a value."""
    return _ENCODE(value)


def make(
    *,
    id: str,  # noqa: A002 - the field's name in the format
    clock: tuple[int, int],
    seen: Iterable[str],
    kind: str,
    uid: str,
    op: str,
    fields: dict[str, Any],
    actor: str | None,
    door: str,
    tx: str | None,
) -> Event:
    """An event with its canonical, checksummed line."""
    heads = tuple(sorted(seen))
    body: dict[str, Any] = {
        "id": id, "clock": list(clock), "seen": list(heads), "kind": kind, "uid": uid, "op": op,
        "fields": fields, "actor": actor, "door": door, "tx": tx,
    }  # fmt: skip
    text = canonical(body)
    body["sum"] = checksum(text)
    return Event(id, clock, heads, kind, uid, op, fields, actor, door, tx, canonical(body))


def checksum(text: str) -> str:
    """The `sum` of a canonical line without its `sum`."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def decode(line: bytes) -> Event:
    """One line without its LF. Raises BadLineError with the reason; never anything else, whatever the bytes."""
    body, text = _object(line)
    if "sum" not in body:
        raise BadLineError("no checksum")
    if body["sum"] != checksum(_without_sum(body, text)):
        raise BadLineError("the checksum does not fit: the line was altered")
    try:
        ms, counter = body["clock"]
        event = Event(
            id=_hex(body["id"]),
            clock=(_natural(ms), _natural(counter)),
            seen=tuple(_hex(one) for one in _listed(body["seen"])),
            kind=_word(body["kind"]),
            uid=_hex(body["uid"]),
            op=_word(body["op"]),
            fields=_mapping(body["fields"]),
            actor=_words_or_none(body.get("actor")),
            door=_word(body["door"]),
            tx=_words_or_none(body.get("tx")),
            line=text,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadLineError(f"not an event: {error}") from None
    if text.encode("utf-8") != line:
        raise BadLineError("the line is not in canonical form")
    return event


def _without_sum(body: dict[str, Any], text: str) -> str:
    """The canonical text of a line's object less its `sum`. Cut out of the text where that is safe: inside a string the
    quotes would be escaped, so a single find is the key itself. Encoding once instead of twice: 8 us less a line."""
    item = f'"sum":"{body["sum"]}",'
    if text.count('"sum":') == 1 and text.count(item) == 1:
        return text.replace(item, "")
    return canonical({name: value for name, value in body.items() if name != "sum"})


def trusted(line: str) -> Event:
    """An event from a line that `decode` has accepted before (the database holds no others). Raises BadLineError for one
    that a damaged disk has made something else of, as far as that shows. What is asked for again and again (the events of
    a record that everybody changes) is remembered, so nobody may change an event's fields."""
    return _remembered(line) if len(line) <= _SHORT else _parsed(line)


_SHORT = 2048  # characters of a line that is worth remembering: 2,048 of them take some 8 MB


def _parsed(line: str) -> Event:
    try:
        body = _DECODE_TRUSTED(line)
        ms, counter = body["clock"]
        return Event(
            body["id"], (ms, counter), tuple(body["seen"]), body["kind"], body["uid"], body["op"], body["fields"],
            body.get("actor"), body["door"], body.get("tx"), line,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise BadLineError(f"an event in the index is damaged: {error}") from None


_remembered = lru_cache(maxsize=2048)(_parsed)


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"floats are not allowed ({text[:20]})")


# Made once: json.loads and json.dumps make a new coder for every call that has options, a fifth of a line's time.
# A key that stands twice needs no hook: the canonical text then differs from the line.
_DECODE = json.JSONDecoder(parse_float=_no_float, parse_constant=_no_float).decode
_DECODE_TRUSTED = json.JSONDecoder().decode


def _object(line: bytes) -> tuple[dict[str, Any], str]:
    """A line as an object, and the canonical text of it. Raises BadLineError."""
    if len(line) > LINE_LIMIT:
        raise BadLineError(f"longer than {LINE_LIMIT} bytes")
    try:
        body = _DECODE(line.decode("utf-8"))
        text = canonical(body)
        text.encode("utf-8")
    except RecursionError:
        raise BadLineError("nested too deeply") from None
    except UnicodeError:
        raise BadLineError("not UTF-8") from None
    except ValueError as error:
        raise BadLineError(f"not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadLineError("not a JSON object")
    # What has few brackets is not deep: the walk over every value is for the few lines that have many.
    if line.count(b"{") + line.count(b"[") > DEPTH and _is_deeper(body, DEPTH):
        raise BadLineError("nested too deeply")
    return body, text


_HEX = re.compile(r"[0-9a-f]{32}").fullmatch


def _hex(value: Any) -> str:
    if not isinstance(value, str) or not _HEX(value):
        raise ValueError(f"{str(value)[:40]!r} is not 32 hex digits")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{str(value)[:40]!r} is not a word")
    return value


def _natural(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError(f"{str(value)[:40]!r} is not a natural number")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("fields are not an object")
    return value


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{str(value)[:40]!r} is not a list")
    return value


def _words_or_none(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{str(value)[:40]!r} is not text")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether containers are nested more than `levels` deep."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)


def segment_bytes(events: Iterable[Event], workspace: str, created: str) -> bytes:
    """A whole segment: header, then the events ordered by clock and id."""
    header = canonical({"journal": "mlos", "format": FORMAT, "workspace": workspace, "created": created})
    ordered = sorted(events, key=lambda event: (event.clock, event.id))
    return "".join(line + "\n" for line in (header, *(event.line for event in ordered))).encode("utf-8")


def segment_name(data: bytes) -> str:
    """The name that its content gives a segment, without the folder."""
    return hashlib.sha256(data).hexdigest()


def segment_path(data: bytes, newest: str) -> str:
    """Workspace path; `newest` is the ISO time of the newest event."""
    return f"{FOLDER}/{newest[:4]}/{newest[5:7]}/{segment_name(data)}.jsonl"


_SEGMENT = re.compile(re.escape(FOLDER) + r"/[^/]+/[^/]+/([0-9a-f]{64})\.jsonl").fullmatch


def name_of(path: str) -> str | None:
    """The segment name in a workspace path, or None when the path is no segment's."""
    match = _SEGMENT(path)
    return match[1] if match else None


def read_segment(name: str, data: bytes) -> Segment:
    """Every good event of a segment, and every damaged place; nothing is repaired."""
    problems: list[tuple[int, str]] = []
    if segment_name(data) != name:
        problems.append((0, "the content does not fit the name: the file was altered or cut"))
    lines = data.split(b"\n")
    if lines[-1] != b"":
        problems.append((len(lines), "the last line has no end: the file was cut"))
    else:
        lines.pop()
    if not lines:
        problems.append((1, "there is no header: the file is empty"))
    workspace = None
    events: list[Event] = []
    for number, line in enumerate(lines, 1):
        try:
            if number == 1:
                workspace = _header(line)
            else:
                event = decode(line)
                if events and (event.clock, event.id) <= (events[-1].clock, events[-1].id):
                    problems.append((number, "the line stands twice or is out of order"))
                events.append(event)
        except BadLineError as error:
            problems.append((number, str(error)))
    return Segment(name, workspace, tuple(events), tuple(problems))


def _header(line: bytes) -> str:
    body, _ = _object(line)
    if body.get("journal") != "mlos" or not isinstance(body.get("workspace"), str):
        raise BadLineError("the first line is not the header of a journal segment")
    if body.get("format") != FORMAT:
        raise BadLineError(f"format {body.get('format')!r} is newer than this program reads")
    return str(body["workspace"])


def later(clock: tuple[int, int], now_ms: int) -> tuple[int, int]:
    """The next hybrid logical clock after `clock`, at physical time `now_ms` (Kulkarni et al. 2014)."""
    return (now_ms, 0) if now_ms > clock[0] else (clock[0], clock[1] + 1)
