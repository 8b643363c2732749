"""The file of a commit message, read as git reads it: git itself is the judge."""

from __future__ import annotations

import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear import assert_linear

from mlos_sync.core import draft
from mlos_sync.core.draft import PLAIN, Reading
from mlos_sync.core.trailers import OURS, Rules

ALL = Rules((*OURS, ("ticket", "task")), mentions=True, keywords=True)
UIDS = {("task", n): f"{n:032x}" for n in range(10)} | {("agent", 5): "a" * 32, ("need", 3): "b" * 32}
TASK = "Task: 9 (task-0000000000000000)"


def numbered(text: str, reading: Reading = PLAIN) -> str:
    return draft.numbered(text, draft.mentions(text, ALL, reading), UIDS)


def parsed(text: str, *config: str) -> list[str]:
    """The trailers that git's own parser sees."""
    command = [
        "git",
        *(word for one in config for word in ("-c", one)),
        "interpret-trailers",
        "--parse",
        "--no-divider",
    ]
    done = subprocess.run(command, input=text.encode("utf-8", "surrogateescape"), capture_output=True, check=True)
    return done.stdout.decode("utf-8", "surrogateescape").splitlines()


def uid(number: int) -> str:
    return f"(task-{number:016d})"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x\n\nTask: 1\n", "x\n\nTask: 1 (task-0000000000000000)\n"),
        ("x\n\nTask: 1, 2 and need:3\r\n", "x\n\nTask: 1 {0}, 2 {0} and need:3 (need-bbbbbbbbbbbbbbbb)\r\n"),
        ("x\n\nAgent: 5\nTicket: 4\n", "x\n\nAgent: 5 (agent-aaaaaaaaaaaaaaaa)\nTicket: 4 {0}\n"),
        ("x\n\nTask: 1,\n  2\n", "x\n\nTask: 1 {0},\n  2 {0}\n"),
        ("x\r\n\r\nTask:\r\n\t2\r\n", "x\r\n\r\nTask:\r\n\t2 {0}\r\n"),
        ("It fixes task:1, need:3.\n", "It fixes task:1 {0}, need:3 (need-bbbbbbbbbbbbbbbb).\n"),
        ("\n\n# c\nsubject\n\nTask: 1", "\n\n# c\nsubject\n\nTask: 1 {0}"),
        ("x\n\nTask: 1 {0}, 2\n", "x\n\nTask: 1 {0}, 2 {0}\n"),
        ("\udce9t\udce9\n\nTask: 1\n", "\udce9t\udce9\n\nTask: 1 {0}\n"),
    ],
)  # fmt: skip
def test_numbers_gain_their_uid(before, after):
    """In trailers, folded ones, several on a line, and in words; every other byte stays."""
    short = "(task-0000000000000000)"
    assert numbered(before.replace("{0}", short)) == after.replace("{0}", short)


@pytest.mark.parametrize(
    "text",
    [
        "x\n\nTask: 77\n", "Task: 1\n", "\n\nTask: 1\n\nbody\n", "# fixes task:1\nx\n", "x\n\nTask: the 1\n", "x\n\nTask: 1 door",
        f"x\n\n# {draft.SCISSORS}\n Task: 1\nTask: 1\n+fixes task:1\n", f"# {draft.SCISSORS}\nx\n\nTask: 1\n",
        "x\n\nbody\nis text,\n  1\n", "",
    ],
)  # fmt: skip
def test_what_stays_as_it_is(text):
    """Unknown numbers, subjects, comments, what is below the cut line, prose."""
    assert numbered(text) == text


@pytest.mark.parametrize(
    ("text", "configured", "sign"),
    [
        ("x\n", ["#"], "#"), ("x\n\n; Please\n;\n", ["auto"], ";"), (f"x\n% {draft.SCISSORS}\n% y\n+z\n", ["auto"], "%"),
        ("x\n\ny\n", ["auto"], "#"), ("x\n", ["//"], "//"), ("x\n\n// Please\n", ["//", "#"], "//"),
        ("x\n\n# Please\n", ["//", "#"], "#"), (f"x\n# {draft.SCISSORS}\n//\n", ["//", "#"], "#"), ("#x\n", [";"], ";"),
    ],
)  # fmt: skip
def test_the_sign_of_a_comment(text, configured, sign):
    """As configured; of `auto`, the one that git's own comments show."""
    assert draft.comment_sign(text, configured) == sign


@pytest.mark.parametrize("sign", ["#", ";", "//"])
def test_comments_of_any_sign(sign):
    """What begins with it is no part of the message."""
    text = f"{sign} fixes task:1\nx\n\nfixes task:2\n{sign} Task: 3\n"
    assert numbered(text, Reading(sign)) == text.replace("task:2", f"task:2 {uid(0)}")


PIECES = (
    *("x", "\n", "\n\n", "body text\n", "Key: value\n", "Task: 1\n", " folded\n", "# comment\n", "#\n", "Signed-off-by: A <a>\n"),
    *("(cherry picked from commit a1)\n", "Conflicts:\n", "\tpath\n", "---\n", "Bug 12\n", "Bug: 3\n", "a=b\n", ": x\n", "\r\n", "K :v\n"),
    f"# {draft.SCISSORS}\n",
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
def test_what_is_put_in_is_a_trailer_for_git(text):
    """It stands behind those that git saw before, which it sees still, and nothing else of the text changes."""
    whole = "Subject\n" + text
    after = draft.inserted(whole, [TASK], PLAIN)
    assert parsed(after) == [*parsed(whole), TASK]
    assert after.replace(TASK + "\n", "", 1).replace(TASK + "\r\n", "", 1).split() == whole.split()


def test_a_configured_trailer_makes_a_block_of_text():
    """Git calls a mixed paragraph trailers where its configuration knows one of them: ours goes there, too."""
    text = "x\n\nsome prose\nBug: 3\n"
    with_tokens = draft.inserted(text, [TASK], Reading("#", ("bug",)))
    assert parsed(with_tokens, "trailer.bug.ifexists=add") == ["Bug: 3", TASK]
    assert with_tokens == text + TASK + "\n"
    assert draft.inserted(text, [TASK], PLAIN) == text + "\n" + TASK + "\n"


def test_before_a_message_that_is_still_to_be_typed():
    """The first line stays free; what is typed there is the subject, and ours a trailer."""
    after = draft.inserted("\n# Please enter\n", [TASK, "#" + TASK], PLAIN)
    assert after == f"\n\n{TASK}\n#{TASK}\n\n# Please enter\n"
    assert parsed("Subject" + after) == [TASK]
    assert parsed("Subject" + after.replace("#T", "T")) == [TASK, TASK]
    assert draft.inserted("", [TASK], PLAIN) == f"\n\n{TASK}\n"


def test_an_ending_of_lines_is_kept():
    """CRLF behind CRLF, and a last line without an end gets one."""
    assert draft.inserted("x\r\n", [TASK], PLAIN) == f"x\r\n\r\n{TASK}\r\n"
    assert draft.inserted("x", [TASK], PLAIN) == f"x\n\n{TASK}\n"


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_what_is_kept_stands_in_its_place(text):
    """So that places in it are places in the text; and it shows no comment, and nothing below the cut line."""
    found = draft.kept(text, PLAIN)
    assert len(found) == len(text.partition(f"# {draft.SCISSORS}\n")[0]) or "x# -" in text
    assert not re.search("^#", found, re.MULTILINE)
    assert all(text[n] == c for n, c in enumerate(found) if not c.isspace())


@pytest.mark.parametrize("piece", ["# c\n", " folded\n", "Key: v\n", "\n", "x", "# c\n y\n"])
def test_no_message_is_slow(piece):
    """Linear time, whatever is repeated."""
    assert_linear(lambda times: draft.kept("Task: 1\n\nK: v\n" + piece * times, PLAIN), 2_000)
    assert_linear(lambda times: draft.inserted("x\n\nK: v\n" + piece * times, [TASK], PLAIN), 2_000)
