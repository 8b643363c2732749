"""The splitter that guard and indexer share."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlos_sync.core.split import LIMIT, Block, split

LINES = st.lists(
    st.sampled_from([b"---", b"...", b"--- ", b"---\t\r", b"---x", b"a: b", b"", b"\r", b"\xff\x00", b"- a"])
)
PIECES = st.builds(
    lambda bom, lines, end: bom + b"\n".join(lines) + end,
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    LINES,
    st.sampled_from([b"", b"\n", b"\r\n"]),
)
DOCUMENTS = st.one_of(st.binary(max_size=200), PIECES)


@given(DOCUMENTS)
def test_split_and_join_is_the_identity(data):
    """What lies before, in and after the block is the document, byte for byte."""
    block = split(data)
    if block is not None:
        assert data[: block.start] + block.text + data[block.end :] == data
        assert block.start <= block.end < block.body <= len(data)
        assert data[block.end : block.end + 3] in (b"---", b"...")


@given(st.binary(max_size=30), st.integers(-8, 8), st.sampled_from([b"---", b"---\n", b"---x", b"...\r\nmore"]))
@example(b"", 0, b"---")
def test_the_head_decides_for_the_whole(filler, shift, tail):
    """A document and its first 64 KiB give the same answer, wherever the limit cuts."""
    head = b"---\nx: "
    data = head + b"y" * (LIMIT - len(head) - 1 + shift) + b"\n" + tail + filler
    assert split(data) == split(data[:LIMIT])


@pytest.mark.parametrize(
    ("data", "text", "body"),
    [
        (b"---\na: b\n---\nbody", b"a: b\n", b"body"),
        (b"\xef\xbb\xbf---\na: b\n---\nbody", b"a: b\n", b"body"),
        (b"---\r\na: b\r\n---\r\nbody", b"a: b\r\n", b"body"),
        (b"--- \t\na: b\n...  \nbody", b"a: b\n", b"body"),
        (b"---\n---\n", b"", b""),
        (b"---\na: b\n---", b"a: b\n", b""),
        (b"---\na: b\n---x\n ---\n----\n---\nbody\n---\n", b"a: b\n---x\n ---\n----\n", b"body\n---\n"),
        (b"---\na: \x00\xff\n---\n", b"a: \x00\xff\n", b""),
    ],
)
def test_what_is_frontmatter(data, text, body):
    """The fences may carry blanks and CR, the end may be dots or the end of the file."""
    block = split(data)
    assert block is not None
    assert (block.text, data[block.body :]) == (text, body)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"---",
        b"---\n",
        b"---\na: b\n",
        b"---\na: b\n--- x\n",
        b"--- a\nb: c\n---\n",
        b"\n---\na: b\n---\n",
        b" ---\na: b\n---\n",
        b"+++\na = 1\n+++\n",
        b'{"a": 1}\n',
        b"----\na: b\n----\n",
        b"\xff\xfe-\x00-\x00-\x00\n\x00",
        b"---\n" + b"a: b\n" * LIMIT + b"---\n",
        b"\xef\xbb\xbf\xef\xbb\xbf---\na: b\n---\n",
    ],
)
def test_what_is_not(data):
    """No closing fence, another first line, other dialects, other encodings and 5 MB of fields are a body alone."""
    assert split(data) is None


def test_blocks_are_values():
    """Two equal blocks are equal, hash alike and can be read."""
    one, two = Block(4, 8, b"a: b", 12), Block(4, 8, b"a: b", 12)
    assert one == two and len({one, two}) == 1 and one != b"a: b"
    assert repr(one) == "Block(start=4, end=8, text=b'a: b', body=12)"
