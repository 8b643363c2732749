"""What commit messages say of records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear import assert_linear

from mlos_sync.core import trailers
from mlos_sync.core.trailers import DEFAULT, OURS, Rules

ALL = Rules((*OURS, ("ticket", "task"), ("completes", "closes")), mentions=True, keywords=True)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("x\n\nTask: 12\n", [("task", "12")]),
        ("Task: 12", []),  # a subject is no trailer
        ("x\nTask: 12\n\nCo-Authored-By: A <a@b>\n", [("task", "12")]),
        ("x\n\nCLOSES: 1, need:2  \nNeed : 3\nAgent: agent-3f9a2c\n",
         [("closes", "1, need:2"), ("need", "3"), ("agent", "agent-3f9a2c")]),
        ("x\n\nTask: the door\nAgent: Claude Code\nSession: 12\n", []),
        ("x\n\nTicket: 4\nsee task-3f9a2c and fixes task:3", []),
    ],
)  # fmt: skip
def test_what_stands_in_a_message(message, found):
    """Lines of a known key whose whole value is references."""
    assert [(one.key, one.value) for one in trailers.mentions(message, DEFAULT)] == found


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("x\n\nTicket: 4\nCompletes: 5", [("ticket", "task", "4"), ("completes", "closes", "5")]),
        ("Fix the door, fixes task:3, need-3f9a2c and task:4 (task-3f9a2c)\n",
         [("closes", "closes", "task:3, need-3f9a2c and task:4 (task-3f9a2c)")]),
        ("see task-3f9a2c.", [("mention", "task", "task-3f9a2c")]),
        ("x\n\nTask: 1 (task-3f9a2c)", [("task", "task", "1 (task-3f9a2c)")]),
        ("fixes #12, fixes 12, prefixes task:3x, my-task-3f9a2c, task-3f9a2c-b, a/task-3f9a2c", []),
        ("Closed: task-3f9a2c", [("closes", "closes", "task-3f9a2c")]),
    ],
)  # fmt: skip
def test_what_a_workspace_may_ask_for(message, found):
    """Keys of its own, bare uids, the closing words of forges; each text counts once."""
    assert [(one.key, one.meaning, one.value) for one in trailers.mentions(message, ALL)] == found


@given(st.text("\n Tasknedclofixrv:,0123456789-abf()", max_size=80))
def test_spans_are_where_the_text_is(message):
    """The text of each mention stands at its span, spans do not overlap, and what is found is a reference."""
    last = 0
    for one in trailers.mentions(message, ALL):
        assert message[one.start : one.end] == one.value and one.start >= last
        assert list(one.references)
        last = one.end


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ('Revert "x"\n\nThis reverts commit ' + "a1" * 20 + ".\n", [("a1" * 20, None)]),
        ('Revert "m"\n\nThis reverts commit ' + "a1" * 20 + ", reversing\nchanges made to " + "b2" * 20 + ".\n",
         [("a1" * 20, "b2" * 20)]),
        ("x\n\nThis reverts commit a1b2c3d (x, 2026-11-20).\n", [("a1b2c3d", None)]),
        ("x\n\n> This reverts commit a1b2c3d.\nthis reverts commit a1b2c3d", []),
    ],
)  # fmt: skip
def test_reverts_as_git_writes_them(message, found):
    """`git revert`, of a merge, with --reference; a quotation is none."""
    assert trailers.reverted(message) == found


@pytest.mark.parametrize("piece", ["fixes ", "task-", "fixes task:1, ", "Task: 1,", "This reverts commit a", "a" * 30])
def test_no_message_is_slow(piece):
    """Every pattern takes linear time."""
    assert_linear(lambda times: trailers.mentions("x\n" + piece * times, ALL), 5_000)
    assert_linear(lambda times: trailers.reverted("x\n" + piece * times), 5_000)
