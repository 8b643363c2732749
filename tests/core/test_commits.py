"""Commits that git printed: one rule for all logs, and no text that makes it slow."""

from __future__ import annotations

import pytest
from linear import assert_linear
from specstory import CLI, cli

from mlos_sync.core.transcripts.commits import commit_in, commits, makes_commits
from mlos_sync.core.transcripts.specstory import read


@pytest.mark.parametrize(
    ("command", "makes"),
    [
        ("git commit -m x", True),
        ("cd a && git -C b -c user.name=x commit", True),
        ("GIT_EDITOR=true git --no-pager revert HEAD", True),
        ("if true; then git rebase main; fi", True),
        ("(git pull)", True),
        ("git commit-tree abc", False),
        ("grep 'git commit' log", False),
        ("echo git commit", False),
        ("git log", False),
    ],
)
def test_only_a_command_that_runs_git_makes_commits(command, makes):
    """The words stand where a command begins, and are whole."""
    assert makes_commits(command) is makes


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("[main abc1234] A subject", ("abc1234", "A subject")),
        ("[a/b#1 (root-commit) 1e58101] Real\r", ("1e58101", "Real")),
        ("[detached HEAD 0a1b2c3] x", ("0a1b2c3", "x")),
        ("[losgelöster HEAD (Root-Commit) 0a1b2c3] x", ("0a1b2c3", "x")),
        ("[main abc1234]", ("abc1234", "")),
        ("[10:04:01 abc1234] a log", None),
        ("[[x] abc1234] a log", None),
        ("[main abc1234]x", None),
        (" [main abc1234] x", None),
    ],
)
def test_a_commit_is_the_line_that_git_prints(line, made):
    """In any language of git; a log with a time in brackets looks like it, but no branch has such a name."""
    assert commit_in(line) == made


def test_a_commit_counts_once_with_its_first_subject():
    """Git prints one again when it is amended by nothing."""
    output = "[main abc1234] one\n 1 file changed\n[main abc1234] two\n[main abc1235] three\n"
    assert commits("git commit", output) == (("abc1234", "one"), ("abc1235", "three"))


def test_copies_of_a_session_agree_on_the_subject():
    """The markdown of a session tells the subject as its log does: in one line, cut at the same place."""
    line = "[main abc1234] two  blanks\tand " + "x" * 600
    block = cli("shell", "Bash", f"`git commit -m x`\n\n```text\n{line}\n```")
    facts = read(iter((CLI + block).encode().splitlines(keepends=True)), "a.md")
    (made,) = [(fact.sha, fact.subject) for fact in facts if hasattr(fact, "sha")]
    assert commits("git commit -m x", line) == (made,)


@pytest.mark.parametrize(
    "piece", ["git -c ", "git --a=git ", "git  ", "x git commit ", "a=b git commit-x ", "then git -c x "]
)
def test_no_command_makes_the_search_slow(piece):
    """Options without end took a hundred times as long for ten times the text."""
    assert makes_commits("x " + piece * 100) is False
    assert_linear(lambda times: makes_commits("x " + piece * times), 5_000)
