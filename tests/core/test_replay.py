"""Contents followed through a session, and changes replayed on other contents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlos_sync.core.transcripts import replay
from mlos_sync.core.transcripts.model import Claim, Problem, Replacement
from mlos_sync.core.transcripts.replay import applied, follow, packed, replayed, unpacked


def claim(operation="edit", path="a.py", succeeded=True, contents=(), replacements=(), session="s-1"):
    return Claim(session, 1, 1, None, operation, "Edit", path, succeeded, tuple(contents), tuple(replacements))


def change(old: bytes, new: bytes, everywhere: bool = False) -> Replacement:
    return Replacement(old, new, everywhere)


@pytest.mark.parametrize(
    ("content", "changes", "result"),
    [
        (b"one two one", [change(b"one", b"1")], b"1 two one"),
        (b"one two one", [change(b"one", b"1", everywhere=True)], b"1 two 1"),
        (b"one two one", [change(b"two", b"2"), change(b"one", b"1")], b"one 2 1"),  # hunks stand in order
        (b"b a", [change(b"a", b"A"), change(b"b", b"B")], b"B A"),  # or not
        (b"", [change(b"", b"new")], b"new"),
        (b"x", [change(b"", b"new")], None),  # the file was not empty
        (b"x", [change(b"y", b"z")], None),
        (b"x", [change(b"y", b"z", everywhere=True)], None),
        (b"abc", [change(b"abc", b"")], b""),
    ],
)
def test_replacements_are_applied_in_order(content, changes, result):
    """Each once, from behind the one before; None where one does not fit."""
    assert applied(content, changes) == result


def test_an_edit_gains_the_content_that_the_session_wrote():
    """A write, an edit of what was written, an edit of that; another file and another session are their own."""
    facts = [
        claim("write", contents=[b"one\n", b"one"]),
        claim(replacements=[change(b"one", b"two")]),
        claim(path="b.py", replacements=[change(b"one", b"two")]),
        claim(session="s-2", replacements=[change(b"one", b"two")]),
        claim(replacements=[change(b"two", b"three")]),
        Problem(1, "x"),
    ]
    found = list(follow(facts))
    assert found[1].contents == (b"two\n", b"two") and found[4].contents == (b"three\n", b"three")
    assert not found[1].replacements and found[2] == facts[2] and found[3] == facts[3] and found[5] == facts[5]


@pytest.mark.parametrize("between", [claim("edit"), claim("delete"), claim("edit", replacements=[change(b"9", b"8")])])
def test_what_is_not_known_ends_the_chain(between):
    """An edit that shows nothing, a deletion, a change that does not fit: what the file holds then is not known."""
    last = claim(replacements=[change(b"one", b"two")])
    assert list(follow([claim("write", contents=[b"one\n"]), between, last]))[2] == last


def test_reads_and_failures_change_nothing():
    """They are passed on, and the chain goes on."""
    facts = [
        claim("write", contents=[b"one\n"]),
        claim("read"),
        claim(succeeded=False, replacements=[change(b"one", b"9")]),
        claim(replacements=[change(b"one", b"two")]),
    ]
    assert list(follow(facts))[3].contents == (b"two\n",)


def test_memory_is_bounded(monkeypatch):
    """The file untouched longest is given up."""
    monkeypatch.setattr(replay, "MEMORY", 100)
    facts = [claim("write", path=f"{n}.py", contents=[b"x" * 60]) for n in range(3)]
    facts += [claim(path=f"{n}.py", replacements=[change(b"x", b"y")]) for n in range(3)]
    assert [bool(one.contents) for one in list(follow(facts))[3:]] == [False, False, True]


def test_changes_are_replayed_on_their_base_and_on_each_other():
    """The second change fits only what the first left; the third only what git had by then."""
    steps = [
        (b"one\n", [change(b"one", b"two")]),
        (b"one\n", [change(b"two", b"three")]),
        (b"uno", [change(b"uno", b"dos")]),
    ]
    assert replayed(steps) == [(b"two\n",), (b"three\n",), (b"dos",)]
    assert replayed((None, changes) for _, changes in steps) == [(), (), ()]


def test_line_ends_are_those_of_the_content():
    """A patch is written with LF whatever the file has, and ends its last line even where the file does not."""
    assert replayed([(b"a\r\nb\r\n", [change(b"a\nb\n", b"a\nc\n")])]) == [(b"a\r\nc\r\n",)]
    assert replayed([(b"a\nb", [change(b"b\n", b"c\n")])]) == [(b"a\nc",)]


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20), st.booleans()), min_size=1, max_size=5))
def test_what_is_packed_comes_back(changes):
    """And what is not its own is nothing."""
    wanted = tuple(Replacement(*one) for one in changes)
    assert unpacked(packed(wanted)) == wanted
    assert unpacked(b"junk") == () and packed(()) is None


@given(
    st.binary(max_size=60), st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=4), st.booleans()), max_size=4)
)
def test_any_change_of_any_content_raises_nothing(content, changes):
    """A result, or None."""
    result = applied(content, [Replacement(*one) for one in changes])
    assert result is None or isinstance(result, bytes)
