"""Where the frontmatter of a document begins and ends: the one splitter, used by the guard and by the indexer.

Owns the fences and nothing between them. If two readers cut a document in two ways, a seal could be broken where the
other one does not look, so nobody else cuts. Standard library only, and none of the slow part of it: the commit waits.
"""

from __future__ import annotations

BOM = b"\xef\xbb\xbf"
LIMIT = 65536
"""A frontmatter has ended by this many bytes or it is none, so the first 64 KiB of any blob decide."""

_BLANK = b" \t\r"


class Block:
    """A frontmatter: `data[:start] + text + data[end:]` is the document, and its body starts at `body`."""

    __slots__ = ("body", "end", "start", "text")

    def __init__(self, start: int, end: int, text: bytes, body: int) -> None:
        self.start = start
        self.end = end
        self.text = text
        self.body = body

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Block(start={self.start}, end={self.end}, text={self.text!r}, body={self.body})"

    def _key(self) -> tuple[int, int, bytes, int]:
        return self.start, self.end, self.text, self.body


def split(data: bytes) -> Block | None:
    """The frontmatter of a document, or None.

    It starts in the first line, which is `---` (a UTF-8 byte order mark may come before, blanks and a CR after), and
    goes up to a line `---` or `...`. Both lines lie within the first 64 KiB: the answer for a document and for its
    first `LIMIT` bytes is the same.
    """
    first = len(BOM) if data.startswith(BOM) else 0
    if data[first : first + 3] != b"---":
        return None
    newline = data.find(b"\n", first, LIMIT)
    if newline < 0 or data[first + 3 : newline].strip(_BLANK):
        return None
    start = at = newline + 1
    while at < LIMIT:
        newline = data.find(b"\n", at, LIMIT)
        if newline < 0:
            if len(data) >= LIMIT:
                return None  # the line may go on behind the limit, so it cannot be called a fence
            newline = len(data)
        if data[at : at + 3] in (b"---", b"...") and not data[at + 3 : newline].strip(_BLANK):
            return Block(start, at, data[start:at], min(newline + 1, len(data)))
        at = newline + 1
        if at > len(data):
            return None
    return None
