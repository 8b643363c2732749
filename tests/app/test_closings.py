"""A closing follows the branch, a revert takes it back, and causality decides, whatever the clocks say."""

from __future__ import annotations

import pytest
from cli import (
    add,
    assert_rebuild_is_equal,
    change,
    clone,
    dump,
    head,
    listed,
    need,
    opened,
    save,
    synced,
    with_one_task,
    write,
)
from gitrepo import git

from mlos_sync.app import freshness


@pytest.fixture
def repo(tmp_path):
    """A workspace on main with one need and one task, committed."""
    return with_one_task(tmp_path)


def task(repo, number=1):
    """(status, the commit that closed it)."""
    return next((row["status"], row["closed_by"]) for row in listed(repo, "task") if row["id"] == number)


def closing(repo, path="f.txt", text="f\n", ref="1", **env):
    write(repo, path, text)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", f"work\n\nCloses: {ref}", env=env)
    return head(repo)


def test_the_row_says_which_commit_closed_it(repo):
    """Completed where that commit is reachable, open where it is not, with and without a command in between."""
    git(repo, "checkout", "-q", "-b", "feature")
    sha = closing(repo)
    assert task(repo) == ("completed", sha)
    git(repo, "checkout", "-q", "main")
    assert task(repo) == ("open", None)
    git(repo, "merge", "-q", "feature")
    assert task(repo) == ("completed", sha)
    save(repo, "publish")
    other = clone(repo, "other")
    assert task(other) == ("completed", sha)
    assert_rebuild_is_equal(repo)


def test_closed_by_hand_is_closed_by_nobodys_commit(repo):
    """A status that somebody set names no commit, also after a commit had set it."""
    sha = closing(repo)
    assert task(repo) == ("completed", sha)
    change(repo, "task", "1", status="open")
    assert task(repo) == ("open", None)
    change(repo, "task", "1", status="completed")
    assert task(repo) == ("completed", None)


@pytest.mark.parametrize("published", [False, True], ids=["not published", "published"])
def test_a_reverted_closing_reopens(repo, published):
    """Revert, revert of the revert, and the revert of that; each travels to a clone with the next commit."""
    sha = closing(repo)
    if published:
        write(repo, "n.txt", "n\n")
        save(repo, "next")
    expected = ("completed", sha)
    reverted = sha
    for n in range(3):
        assert task(repo) == expected
        git(repo, "revert", "--no-edit", reverted)
        reverted = head(repo)
        expected = ("open", None) if n % 2 == 0 else ("completed", reverted)
        assert task(repo) == expected
        if published:
            write(repo, f"n{n}.txt", "n\n")
            save(repo, "next")
    assert_rebuild_is_equal(repo)
    write(repo, "last.txt", "n\n")
    save(repo, "last")
    other = clone(repo, "other")
    assert task(other) == expected


def test_reverts_at_once_without_a_look(repo):
    """All of it happens before any command runs, in one second."""
    sha = closing(repo)
    git(repo, "revert", "--no-edit", sha)
    first = head(repo)
    git(repo, "revert", "--no-edit", first)
    again = head(repo)
    assert task(repo) == ("completed", again)
    git(repo, "revert", "--no-edit", again)
    assert task(repo) == ("open", None)
    third = closing(repo, "g.txt")
    assert task(repo) == ("completed", third)
    assert_rebuild_is_equal(repo)


def test_a_revert_follows_the_branch(repo):
    """Reverted on one branch, done on the other."""
    sha = closing(repo)
    git(repo, "checkout", "-q", "-b", "release")
    git(repo, "revert", "--no-edit", "HEAD")
    assert task(repo) == ("open", None)
    git(repo, "checkout", "-q", "main")
    assert task(repo) == ("completed", sha)
    git(repo, "merge", "-q", "--no-edit", "release")
    assert task(repo) == ("open", None)


def test_a_need_that_is_reverted_is_active_again(repo):
    """Resolved by a commit, active once that is taken back."""
    need(repo, "Know why", status="active")
    save(repo, "need")
    closing(repo, ref="need:1")
    assert [(row["status"], row["closed_by"]) for row in listed(repo, "need")] == [("resolved", head(repo))]
    git(repo, "revert", "--no-edit", "HEAD")
    assert [(row["status"], row["closed_by"]) for row in listed(repo, "need")] == [("active", None)]


@pytest.mark.parametrize("form", ["merge", "range", "reference"])
def test_every_form_of_revert(repo, form):
    """A merge takes back all that it brought; several commits at once; the short form with --reference."""
    add(repo, "task", description="second")
    save(repo, "second")
    base = head(repo)
    git(repo, "checkout", "-q", "-b", "feature")
    closing(repo, "f.txt")
    closing(repo, "g.txt", ref="2")
    git(repo, "checkout", "-q", "main")
    if form == "merge":
        git(repo, "merge", "-q", "--no-ff", "--no-edit", "feature")
        git(repo, "revert", "--no-edit", "-m", "1", "HEAD")
    else:
        git(repo, "merge", "-q", "feature")
        options = ["--reference"] if form == "reference" else []
        git(repo, "revert", "--no-edit", *options, f"{base}..HEAD")
    assert task(repo, 1) == ("open", None) and task(repo, 2) == ("open", None)
    assert_rebuild_is_equal(repo)


def test_a_revert_takes_back_only_what_that_commit_decided(repo):
    """Another closing stands; what somebody said after the closing stands; a revert of a mere link does nothing."""
    first = closing(repo)
    second = closing(repo, "g.txt")
    git(repo, "revert", "--no-edit", first)
    assert task(repo)[0] == "completed"
    git(repo, "revert", "--no-edit", second)
    assert task(repo) == ("open", None)
    change(repo, "task", "1", status="cancelled")
    save(repo, "cancelled")
    third = closing(repo, "h.txt")
    assert task(repo)[0] == "completed"
    change(repo, "task", "1", status="open")
    change(repo, "task", "1", status="failed")
    save(repo, "failed")
    git(repo, "revert", "--no-edit", third)
    assert task(repo) == ("failed", None)
    write(repo, "link.txt", "l\n")
    sha = save(repo, "linked\n\nTask: 1")
    git(repo, "revert", "--no-edit", sha)
    assert task(repo) == ("failed", None)


def test_what_was_decided_after_a_revert_stands(repo):
    """Somebody completes it by hand after the revert, and has seen it."""
    sha = closing(repo)
    git(repo, "revert", "--no-edit", sha)
    assert task(repo) == ("open", None)
    change(repo, "task", "1", status="completed")
    write(repo, "n.txt", "n\n")
    save(repo, "next")
    assert task(repo) == ("completed", None)
    assert_rebuild_is_equal(repo)


def test_a_revert_of_a_rewritten_commit(repo):
    """The message names the commit as it was before a rebase; the one that it has become is meant."""
    git(repo, "checkout", "-q", "-b", "feature")
    old = closing(repo)
    assert task(repo) == ("completed", old)
    git(repo, "checkout", "-q", "main")
    write(repo, "m.txt", "m\n")
    save(repo, "main goes on")
    git(repo, "checkout", "-q", "feature")
    git(repo, "rebase", "-q", "main")
    assert task(repo) == ("completed", head(repo)) and head(repo) != old
    (repo / "f.txt").unlink()
    save(repo, f'Revert "work"\n\nThis reverts commit {old}.')
    assert task(repo) == ("open", None)


def test_a_message_that_reverts_what_is_to_come_or_itself(repo):
    """Words alone do nothing."""
    save(repo, "x\n\nThis reverts commit " + "a" * 40 + ".")
    sha = closing(repo)
    save(
        repo,
        f"y\n\nThis reverts commit {sha[:3]}.\n\nThis reverts commit {'0' * 40}, reversing\nchanges made to {sha}.",
    )
    assert task(repo) == ("completed", sha)


def test_a_squashed_revert_and_a_squashed_closing(repo):
    """Both in one squash: the content is not there, so nothing is closed."""
    git(repo, "checkout", "-q", "-b", "feature")
    closing(repo)
    git(repo, "revert", "--no-edit", "HEAD")
    write(repo, "g.txt", "g\n")
    save(repo, "g")
    git(repo, "checkout", "-q", "main")
    git(repo, "merge", "-q", "--squash", "feature")
    git(
        repo,
        "commit",
        "-q",
        "-m",
        "all",
        env={"GIT_AUTHOR_DATE": "2040-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2040-01-01T00:00:00Z"},
    )
    assert task(repo) == ("open", None)


# --- what was published


def closed_on_a_branch(repo):
    """A branch: one commit that closes the task, one more that publishes that. Main is checked out."""
    git(repo, "switch", "-q", "-c", "side")
    sha = closing(repo)
    write(repo, "two.md", "2\n")
    save(repo, "two")
    git(repo, "switch", "-q", "main")
    synced(repo)
    return sha


def test_a_closing_that_another_branch_has_published_counts_where_its_commit_is(repo):
    """An index made anew at the commit that closes, while an event waits for what refs hold, knows the closing from the
    other branch's segment."""
    sha = closed_on_a_branch(repo)
    need(repo, "Waits, so that what refs hold is read")
    git(repo, "checkout", "-q", "side~1")
    assert task(repo) == ("completed", sha)
    assert_rebuild_is_equal(repo)


def test_a_published_closing_outlives_its_commit_and_that_is_told(repo):
    """A rebase drops the commit that closed and keeps the next one, whose segment holds the closing: the journal of the tree
    says closed, in every clone alike, and `status` says that the commit and its content are gone."""
    sha = closed_on_a_branch(repo)
    git(repo, "rebase", "-q", "--onto", "main", "side~1", "side")
    assert "Closes" not in git(repo, "log", "--format=%B").stdout
    assert task(repo) == ("completed", sha)
    with opened(repo) as index:
        freshness.catch_up(index)
        rows = index.db.execute("SELECT subject, message FROM observations WHERE kind = 'rewritten'").fetchall()
    assert [subject for subject, _ in rows] == [f"commit {sha[:12]}"] and "closes: 1" in rows[0][1]


# --- causality


def test_an_amend_after_a_reopening_closes(repo):
    """Work on Monday, reopened by hand on Tuesday, amended with `Closes:` on Wednesday: amend keeps the author's date, and
    the closing has seen what its commit's tree says, so it counts."""
    write(repo, "f.txt", "1\n")
    git(repo, "add", "-A")
    monday = {"GIT_AUTHOR_DATE": "2020-01-06T10:00:00Z", "GIT_COMMITTER_DATE": "2020-01-06T10:00:00Z"}
    git(repo, "commit", "-q", "-m", "work", env=monday)
    change(repo, "task", "1", status="completed")
    change(repo, "task", "1", status="open")
    git(repo, "commit", "-q", "--amend", "-m", "work\n\nCloses: 1", env={"GIT_COMMITTER_DATE": "2020-01-08T10:00:00Z"})
    assert task(repo) == ("completed", head(repo))
    assert_rebuild_is_equal(repo)


def test_an_old_branch_does_not_close_what_was_reopened_since(repo):
    """A branch closed it long ago; main merged that, reopened it, and merges an older commit of the branch again."""
    git(repo, "checkout", "-q", "-b", "old")
    closing(repo)
    git(repo, "checkout", "-q", "main")
    git(repo, "merge", "-q", "--no-ff", "--no-edit", "old")
    assert task(repo)[0] == "completed"
    change(repo, "task", "1", status="open")
    write(repo, "n.txt", "n\n")
    save(repo, "reopened")
    git(repo, "checkout", "-q", "old")
    write(repo, "o.txt", "o\n")
    save(repo, "the branch goes on, and publishes its closing")
    git(repo, "checkout", "-q", "main")
    git(repo, "merge", "-q", "--no-edit", "old")
    assert task(repo) == ("open", None)
    assert_rebuild_is_equal(repo)


@pytest.mark.parametrize("year", ["1971", "2090"])
def test_a_skewed_clock_does_not_turn_causality_round(repo, year):
    """The machine that closed was years off: who reopens has seen the closing, who closes has seen the reopening."""
    env = {"GIT_AUTHOR_DATE": f"{year}-01-01T00:00:00Z", "GIT_COMMITTER_DATE": f"{year}-01-01T00:00:00Z"}
    sha = closing(repo, **env)
    assert task(repo) == ("completed", sha)
    change(repo, "task", "1", status="open")
    write(repo, "n.txt", "n\n")
    save(repo, "reopened")
    assert task(repo) == ("open", None)
    again = closing(repo, "g.txt", **env)
    assert task(repo) == ("completed", again)
    git(repo, "revert", "--no-edit", again)
    assert task(repo) == ("open", None)
    assert_rebuild_is_equal(repo)
    assert task(clone(repo, "other")) == ("open", None)


def test_two_clones_derive_the_same(repo):
    """Each clone makes the events by itself, and their dumps are equal, before and after each publishes."""
    sha = closing(repo)
    git(repo, "revert", "--no-edit", sha)
    other = clone(repo, "other")
    synced(repo)
    synced(other)
    assert [line for line in dump(repo).split("\n") if '"line"' in line] == [
        line for line in dump(other).split("\n") if '"line"' in line
    ]
    write(other, "o.txt", "o\n")
    save(other, "other publishes")
    write(repo, "r.txt", "r\n")
    save(repo, "so does the first")
    git(repo, "pull", "-q", "--no-rebase", "--no-edit", str(other), "main")
    assert task(repo) == ("open", None)
    assert_rebuild_is_equal(repo)


def test_observations_of_unknown_and_ambiguous_references(repo):
    """No error: told in `status`, and gone once the record appears or the commit goes."""
    save(repo, "x\n\nCloses: 99\nTask: task-000000")
    with opened(repo) as index:
        freshness.catch_up(index)
        ((subject, message),) = index.db.execute(
            "SELECT subject, message FROM observations WHERE kind = 'references'"
        ).fetchall()
    assert subject == f"commit {head(repo)[:12]}" and "task:99" in message and "task-000000" in message
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    with opened(repo) as index:
        freshness.catch_up(index)
        assert not index.db.execute("SELECT 1 FROM observations WHERE kind = 'references'").fetchall()
