"""Uids, references and the references in commit messages: pure text, standard library only.

A reference is `need:3`, `need-3f9a2c…` (kind and uid prefix of at least six digits), `artifact:PATH`, `commit:SHA`,
or, where the kind is clear, a bare number, uid prefix or path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

RECORD_KINDS = ("need", "task", "agent")
SHORTEST = 6
LASTING = 16  # digits of a uid where it must last, such as in a commit message
CLOSING = ("closes", "fixes", "resolves")

_REFERENCE = re.compile(r"^(?:(need|task|agent|artifact|commit):(.+)|(need|task|agent)-([0-9a-f]{6,32}))\Z", re.DOTALL)
# What a trailer's value may hold: `12`, `task:12`, `task-3f9a2c`, `12 (task-3f9a2c4155d01e77)`. Not `#12`: that is the
# forge's number.
_IN_TRAILER = re.compile(
    r"(?:(?P<kind>need|task|agent):)?(?P<number>[0-9]{1,15})(?:\s*\((?P<named>(?:need|task|agent)-[0-9a-f]{6,32})\))?"
    r"|(?P<uid>(?:need|task|agent)-[0-9a-f]{6,32})"
)
_PARTS = re.compile(r"(,|(?<=\s)and(?=\s))")  # no repetition in it, so that a long value takes linear time


@dataclass(frozen=True, slots=True)
class Reference:
    """What somebody typed, taken apart. `kind` is None when only the place where it stands tells it."""

    kind: str | None
    number: int | None = None
    prefix: str | None = None  # of a uid or a commit
    path: str | None = None


def parse(text: str, default: str | None = None) -> Reference | None:
    """A typed reference, or None when it has no form of ours. `default` is the kind that the place implies."""
    match = _REFERENCE.match(text)
    if match:
        return _of_kind(match[1], match[2]) if match[1] else Reference(match[3], prefix=match[4])
    if default in ("artifact", "commit"):
        return _of_kind(default, text)
    if text.isdecimal() and text.isascii():
        return Reference(default, number=int(text)) if len(text) < 18 else None
    if re.fullmatch(r"[0-9a-f]{6,32}", text):
        return Reference(default, prefix=text)
    return None


def _of_kind(kind: str, rest: str) -> Reference | None:
    if kind == "artifact":
        return Reference(kind, path=rest)
    if kind == "commit":
        return Reference(kind, prefix=rest) if re.fullmatch(r"[0-9a-f]{4,64}", rest) else None
    if rest.isdecimal() and rest.isascii() and len(rest) < SHORTEST + 12:
        return Reference(kind, number=int(rest))
    return Reference(kind, prefix=rest) if re.fullmatch(r"[0-9a-f]{6,32}", rest) else None


def in_trailer(key: str, value: str) -> Iterator[tuple[Reference, bool]]:
    """(reference, closes) for each reference in a trailer; nothing when any part of the value is prose."""
    word = key.lower()
    default = _default(word)
    found = []
    for part in _PARTS.split(value)[::2]:
        match = _IN_TRAILER.fullmatch(part.strip())
        if match is None:
            return
        named = match["named"] or match["uid"]
        if named:
            kind, _, prefix = named.partition("-")
            found.append(Reference(kind, prefix=prefix))
        else:
            found.append(Reference(match["kind"] or default, number=int(match["number"])))
    yield from ((reference, word in CLOSING) for reference in found)


def _default(word: str) -> str:
    """The kind that a bare number has behind a key."""
    return word if word in ("need", "agent") else "task"


def with_uids(value: str, key: str, uid_of: dict[tuple[str, int], str]) -> str:
    """A trailer's value in which each bare number has gained its uid: `12` -> `12 (task-3f9a2c4155d01e77)`."""
    default = _default(key.lower())

    def named(match: re.Match[str]) -> str:
        kind = match["kind"] or default
        uid = uid_of.get((kind, int(match["number"]))) if match["number"] and not match["named"] else None
        return f"{match[0]} ({kind}-{uid[:LASTING]})" if uid else match[0]

    parts = _PARTS.split(value)
    if not all(_IN_TRAILER.fullmatch(part.strip()) for part in parts[::2]):
        return value  # prose
    for n in range(0, len(parts), 2):
        bare = parts[n].strip()
        parts[n] = parts[n].replace(bare, _IN_TRAILER.sub(named, bare))
    return "".join(parts)


def derived_uid(*parts: str) -> str:
    """The uid of something known by what it is: a path, a session, an edge's ends."""
    import hashlib  # 2 ms to load, which a hook that reads a message needs not

    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def shown(kind: str, uid: str, digits: int = SHORTEST) -> str:
    """`task-3f9a2c`."""
    return f"{kind}-{uid[:digits]}"
