"""Seals: how a compiled document shows that nobody edited it.

Owns the two lines `compiled_at: <time>` and `seal: sha256:<digest>` in its frontmatter. The digest covers the whole
document, with CRLF folded to LF (git may do that on checkout) and its own value replaced by a placeholder. A seal
stops accidents, not forgers: whoever can run this file can make one.
Standard library only; the digest is imported when there is something to digest.
"""

from __future__ import annotations

from mlos_sync.core.frontmatter import simple
from mlos_sync.core.split import Block, split

TYPE_CHECKING = False  # type checkers know the name; importing typing for it would cost the guard 6 ms
if TYPE_CHECKING:
    from typing import Final

KEY: Final = b"compiled_at"
PLACEHOLDER: Final = b"pending"

ABSENT: Final = "absent"
VALID: Final = "valid"
BROKEN: Final = "broken"

_SEAL = b"seal: "
_ALGORITHM = b"sha256:"
_HEX = b"0123456789abcdef"
_TIME = b"0000-00-00T00:00:00"
_BREAKS = (b"\r\n", b"\n", b"\r", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9")


class Verdict:
    """What a look at a seal found: `state` is absent, valid or broken; `reason` says why it is broken."""

    __slots__ = ("reason", "state")

    def __init__(self, state: str, reason: str = "") -> None:
        self.state = state
        self.reason = reason

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verdict) and (self.state, self.reason) == (other.state, other.reason)

    def __hash__(self) -> int:
        return hash((self.state, self.reason))

    def __repr__(self) -> str:
        return f"Verdict({self.state!r}, {self.reason!r})"


def make(text: bytes) -> bytes:
    """Seal a document whose frontmatter holds `compiled_at: <UTC time>` and the placeholder line `seal: pending`.

    Raises ValueError if it does not, or if the longer line would push the end of the frontmatter over its limit.
    """
    block = split(text)
    places = _values(text, block, _SEAL) if block else []
    if len(places) != 1 or text[slice(*places[0])] != PLACEHOLDER:
        raise ValueError("a document is sealed by replacing one frontmatter line `seal: pending`; it has none, or more")
    start, end = places[0]
    sealed = text[:start] + _digest(text, start, end) + text[end:]
    verdict = check(sealed)
    if verdict.state != VALID:
        raise ValueError(f"this document cannot be sealed: {verdict.reason or 'it does not carry compiled_at'}")
    return sealed


def check(data: bytes) -> Verdict:
    """Absent if the document cannot carry `compiled_at`; else valid, or broken with the reason."""
    block = split(data)
    if block is None or not _claims(block.text):
        return Verdict(ABSENT)
    times = _values(data, block, KEY + b": ")
    if len(times) != 1 or not _is_utc(data[slice(*times[0])]):
        return Verdict(BROKEN, "compiled_at is not written as the compiler writes it")
    places = _values(data, block, _SEAL)
    if len(places) != 1:
        return Verdict(BROKEN, "it has no seal" if not places else "it has more than one seal")
    start, end = places[0]
    value = data[start:end]
    if value == PLACEHOLDER:
        return Verdict(BROKEN, "its seal is still pending")
    if not value.startswith(_ALGORITHM) or len(value) != 71 or value[7:].strip(_HEX):
        return Verdict(BROKEN, "its seal is not a SHA-256 seal")
    if _digest(data, start, end) != value:
        return Verdict(BROKEN, "its contents do not match its seal")
    return Verdict(VALID)


def digest_of(data: bytes) -> str:
    """What a whole seal says, `sha256:...`; "" where there is none."""
    if check(data).state != VALID:
        return ""
    ((start, end),) = _values(data, split(data), _SEAL)
    return data[start:end].decode("ascii")


def may_claim(data: bytes) -> bool:
    """Whether the frontmatter might carry a key `compiled_at`, in any spelling that YAML allows, at any depth.

    Wrong in one direction only: a frontmatter that merely mentions the word may be taken for a claim, a claim is never
    overlooked. The body never counts.
    """
    block = split(data)
    return block is not None and _claims(block.text)


def _claims(block: bytes) -> bool:
    if KEY not in block and (b"\\" not in block or KEY not in _unescaped(block)):
        return False
    # The word is there. In a block of simple lines it is known where: a title may speak of compiled_at.
    try:
        fields = simple(block.decode("utf-8"))
    except UnicodeDecodeError:
        return True
    return fields is None or KEY.decode("ascii") in fields


def _unescaped(block: bytes) -> bytes:
    """The block with the escapes of double quotes undone everywhere, as far as they can spell an ASCII key.

    Read left to right, a backslash and what belongs to it at a time. Inside double quotes that is what YAML does;
    outside of them nothing is an escape, so undoing one can only make a claim out of none.
    """
    out = []
    at = 0
    while (found := block.find(b"\\", at)) >= 0:
        out.append(block[at:found])
        mark = block[found + 1 : found + 2]
        width = {b"x": 2, b"u": 4, b"U": 8}.get(mark, 0)
        digits = block[found + 2 : found + 2 + width]
        at = found + 2
        if width and len(digits) == width and not digits.lower().strip(_HEX):
            at += width
            code = int(digits, 16)
            out.append(bytes([code]) if code < 128 else b"?")
            continue
        after = next((found + 1 + len(b) for b in _BREAKS if block.startswith(b, found + 1)), 0)
        if after:  # an escaped line break joins the lines and eats the blanks that follow
            while block[after : after + 1] in (b" ", b"\t"):
                after += 1
            at = after
        else:
            out.append(mark)
    out.append(block[at:])
    return b"".join(out)


def _values(data: bytes, block: Block | None, prefix: bytes) -> list[tuple[int, int]]:
    """Where the values of the frontmatter lines stand that begin with `prefix`, without their line endings."""
    places: list[tuple[int, int]] = []
    if block is None:
        return places
    at = block.start
    for line in block.text.split(b"\n"):
        if line.startswith(prefix):
            places.append((at + len(prefix), at + len(line) - line.endswith(b"\r")))
        at += len(line) + 1
    return places


def _digest(data: bytes, start: int, end: int) -> bytes:
    import hashlib

    neutral = data[:start] + PLACEHOLDER + data[end:]
    return _ALGORITHM + hashlib.sha256(neutral.replace(b"\r\n", b"\n")).hexdigest().encode("ascii")


def _is_utc(value: bytes) -> bool:
    """`2026-01-31T12:00:00Z`, with or without a fraction of a second."""
    shape = bytes(48 if 48 <= byte <= 57 else byte for byte in value[:19])
    fraction = value[19:-1]
    whole = not fraction or (fraction[:1] == b"." and fraction[1:].isdigit())
    return value.endswith(b"Z") and shape == _TIME and whole
