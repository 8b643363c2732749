"""What edits leave behind: contents followed through a session, and changes replayed on contents that git has.

An edit that shows what it replaced can be applied to what the file held before: to what the session itself wrote there
(`follow`), or to a blob that git has at that path (`replayed`). A result proves nothing by itself; its hash may.
"""

from __future__ import annotations

import marshal
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from mlos_sync.core.transcripts.model import Claim, Fact, Replacement

FEW = 4  # candidates that are followed: each edit would be applied to all of them
MEMORY = 32 << 20  # bytes of contents that are followed at one time; the file untouched longest is given up
LARGEST = 8 << 20  # bytes of changes that are kept of one claim
WRITING = ("create", "write", "edit", "patch", "move")


def follow(facts: Iterable[Fact]) -> Iterator[Fact]:
    """The same facts; an edit whose base is known from the session itself has gained its contents.

    Holds at most `MEMORY` bytes of contents, whatever the length of the session.
    """
    held: OrderedDict[tuple[str, str], tuple[bytes, ...]] = OrderedDict()
    size = 0
    for fact in facts:
        if not isinstance(fact, Claim) or not fact.succeeded or fact.operation == "read":
            yield fact
            continue
        key = (fact.session_id, fact.raw_path)
        before = held.pop(key, ())
        size -= sum(map(len, before))
        after = fact.contents[:FEW]
        if not after and fact.replacements and before:
            after = tuple(dict.fromkeys(_results(before, fact.replacements)))
            fact = replace(fact, contents=after, replacements=() if after else fact.replacements)
        yield fact
        if after:
            held[key] = after
            size += sum(map(len, after))
            while size > MEMORY:
                size -= sum(map(len, held.popitem(last=False)[1]))


def replayed(steps: Iterable[tuple[bytes | None, Sequence[Replacement]]]) -> list[tuple[bytes, ...]]:
    """For each of the successive changes of one file, with what the file held in git when it was made (None: not known),
    the contents that it leads to: from what the changes before it left, or from that; none where it fits nothing."""
    states: tuple[bytes, ...] = ()
    found = []
    for base, change in steps:
        start = () if base is None else (base,)
        states = tuple(dict.fromkeys((*_results(states, change), *_results(start, change))))[:FEW]
        found.append(states)
    return found


def applied(content: bytes, replacements: Iterable[Replacement]) -> bytes | None:
    """The content after the replacements in order, or None where one does not fit.

    Hunks of a patch stand in the order of the file, so each is looked for behind the one before it first. Text that
    stands in several places is replaced in the first: which was meant is for a hash to say.
    """
    behind = 0
    for one in replacements:
        old, new = one.old, one.new
        if not old:
            if content:
                return None
            content, behind = new, len(new)
        elif one.everywhere:
            if old not in content:
                return None
            content, behind = content.replace(old, new), 0
        else:
            at = content.find(old, behind)
            at = content.find(old) if at < 0 and behind else at
            if at < 0:
                return None
            content = content[:at] + new + content[at + len(old) :]
            behind = at + len(new)
    return content


def packed(replacements: Sequence[Replacement]) -> bytes | None:
    """Replacements as bytes to keep; None for none, or for too much."""
    if not replacements or sum(len(one.old) + len(one.new) for one in replacements) > LARGEST:
        return None
    return zlib.compress(marshal.dumps([(one.old, one.new, one.everywhere) for one in replacements], 4), 1)


def unpacked(data: bytes) -> tuple[Replacement, ...]:
    """The replacements that `packed` kept; none where the bytes are not its own (another Python wrote them)."""
    try:
        return tuple(Replacement(*one) for one in marshal.loads(zlib.decompress(data)))  # noqa: S302 - our own cache
    except (zlib.error, ValueError, EOFError, TypeError):
        return ()


def _results(contents: Iterable[bytes], replacements: Sequence[Replacement]) -> Iterator[bytes]:
    """What the replacements make of each content that they fit, as written or with the line ends of the content."""
    for content in contents:
        result = applied(content, replacements)
        if result is None:
            result = next(filter(None, (applied(content, other) for other in _variants(content, replacements))), None)
        if result is not None and result != content:
            yield result


def _variants(content: bytes, replacements: Sequence[Replacement]) -> Iterator[Sequence[Replacement]]:
    """The replacements with CRLF for a content that has it, and without the newline that a last line does not have."""
    if b"\r\n" in content and not any(b"\r\n" in one.old for one in replacements):
        yield [Replacement(_crlf(one.old), _crlf(one.new), one.everywhere) for one in replacements]
    if not content.endswith(b"\n") and replacements[-1].old.endswith(b"\n"):
        last = replacements[-1]
        shorter = Replacement(last.old[:-1], last.new.removesuffix(b"\n"), last.everywhere)
        yield [*replacements[:-1], shorter]


def _crlf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
