"""Patches of agents: which files they change, and how."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlos_sync.core.transcripts.model import Replacement
from mlos_sync.core.transcripts.patches import Change, changes, hunks, unified


def wrapped(*lines: str) -> str:
    return "\n".join(["*** Begin Patch", *lines, "*** End Patch"]) + "\n"


def test_every_operation_of_a_patch():
    """Added files have contents, updated ones replacements, a move has both of its paths."""
    patch = wrapped(
        *("*** Add File: docs/a b.md", "+# A", "+", "+end"),
        *("*** Update File: src/x.py", "@@ def f():", " a", "-b", "+c", " d", "@@", "-e"),
        *("*** Delete File: old.py",),
        *("*** Update File: from.py", "*** Move to: to.py", "@@", "-1", "+2"),
    )
    assert changes(patch) == (
        Change("create", "docs/a b.md", contents=(b"# A\n\nend\n",)),
        Change("patch", "src/x.py", replacements=(Replacement(b"a\nb\nd\n", b"a\nc\nd\n"), Replacement(b"e\n", b""))),
        Change("delete", "old.py"),
        Change("move", "to.py", replacements=(Replacement(b"1\n", b"2\n"),)),
        Change("delete", "from.py"),
    )


def test_a_pure_addition_replaces_nothing_or_its_context():
    """A hunk of added lines alone has an empty `old`; one with context has the context on both sides."""
    (change,) = changes(wrapped("*** Update File: a", "@@", "+x", "@@", " y", "+z", "*** End of File"))
    assert change.replacements == (Replacement(b"", b"x\n"), Replacement(b"y\n", b"y\nz\n"))


def test_a_hunk_that_is_damaged_takes_the_others_with_it():
    """A part of a change would lead to a file that never was."""
    lines = ["@@", "-a", "+b", "@@", "-c", "... [truncated]", "@@", "-e", "+f"]
    assert hunks(lines) == ()
    assert changes(wrapped("*** Update File: a", *lines)) == (Change("patch", "a"),)
    assert hunks([*lines[:3], *lines[6:]]) == (Replacement(b"a\n", b"b\n"), Replacement(b"e\n", b"f\n"))


def test_lines_that_lost_their_blank_are_context():
    """Models leave the blank of an empty context line away; blank lines between hunks are nothing."""
    (change,) = changes(wrapped("*** Update File: a", "@@", " x", "", "-y", "+z", "", ""))
    assert change.replacements == (Replacement(b"x\n\ny\n", b"x\n\nz\n"),)


def test_carriage_returns_stay():
    """A patch of a file with Windows line ends keeps them, though not in the paths."""
    (change,) = changes(wrapped("*** Update File: a.py\r", "@@\r", "-y\r", "+z\r"))
    assert (change.path, change.replacements) == ("a.py", (Replacement(b"y\r\n", b"z\r\n"),))


def test_marks_inside_of_content_are_content():
    """A line that begins with `+`, `-` or a blank is content, whatever it looks like behind that."""
    (change,) = changes(wrapped("*** Add File: a.md", "+*** Begin Patch", "+*** Delete File: b", "+*** End Patch"))
    assert change.contents == (b"*** Begin Patch\n*** Delete File: b\n*** End Patch\n",)


def test_a_patch_that_is_cut_off_gives_what_it_has():
    """Without its end, and without its beginning nothing."""
    assert [change.path for change in changes("*** Begin Patch\n*** Delete File: a\n*** Delete File: b")] == ["a", "b"]
    assert changes("*** Delete File: a\n*** End Patch") == ()
    assert changes("") == ()


def test_lines_that_no_hunk_has_make_it_unknown():
    """The path is still known."""
    assert changes(wrapped("*** Update File: a", "@@", "?x", "+y")) == (Change("patch", "a"),)
    assert changes(wrapped("*** Add File: a", "+x", "y")) == (Change("create", "a"),)


def test_paths_that_are_none_are_left_out():
    """Control characters, half surrogates, nothing at all."""
    assert changes(wrapped("*** Delete File: a\x00b", "*** Delete File: \ud800", "*** Delete File:  ")) == ()


def test_a_unified_diff():
    """With its head or without; the newline at the end of the file may be missing on either side."""
    diff = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@ def f():\n a\n-b\n\\ No newline at end of file\n+c\n"
    assert unified(diff) == (Replacement(b"a\nb", b"a\nc\n"),)
    assert unified("@@ -1 +1 @@\n-b\n+c\n\\ No newline at end of file\n") == (Replacement(b"b\n", b"c"),)
    assert unified("@@ -1 +1,2 @@\n b\n\\ No newline at end of file\n") == ()
    assert unified("Binary files differ\n") == unified("") == ()


MARKS = [" a", "-b", "+c", "@@", "\\", "", "*** Update File: x", "*** Move to: y", "*** Add File: z", "*** End of File"]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(MARKS), max_size=20))
def test_any_arrangement_is_survived(lines):
    """Every change has a path that stood there, and every replacement changes something."""
    for change in changes(wrapped(*lines)):
        assert change.path in ("x", "y", "z")
        assert all(replacement.old != replacement.new for replacement in change.replacements)


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=300))
def test_any_text_is_survived(text):
    """As a patch, in a patch, as a diff."""
    changes(text)
    changes(wrapped("*** Update File: a", text))
    unified("@@ -1 +1 @@\n" + text)


@pytest.mark.parametrize("line", ["", "@@", "+x", "*** Update File: x", "*** Move to: y", " ", "*** Begin Patch"])
def test_reading_takes_linear_time(line):
    """Four times the lines take about four times as long."""

    def seconds(times: int) -> float:
        text = wrapped("*** Update File: a", *[line] * times)
        start = time.process_time()
        changes(text)
        return time.process_time() - start

    few = min(seconds(5_000) for _ in range(3))
    assert min(seconds(20_000) for _ in range(3)) < 9 * few + 0.05
