"""A task, a need and a session stay linked when the messages that named them are gone: by the content that a commit
introduces. And what went nowhere is told."""

from __future__ import annotations

import json
import shutil

import pytest
from cli import (
    add,
    assert_rebuild_is_equal,
    clone,
    dump,
    git_dir,
    head,
    link,
    listed,
    need,
    opened,
    pending,
    save,
    synced,
    workspace,
    write,
)
from copies import copied
from gitrepo import git

from mlos_sync.app import freshness, records
from mlos_sync.edge import store


@pytest.fixture
def repo(tmp_path):
    """A workspace on main with a need and two tasks, all committed."""
    return copied(with_two_tasks, tmp_path) / "repo"


def with_two_tasks(folder):
    repo = workspace(folder)
    write(repo, "a.txt", "one\n")
    need(repo, "Know why")
    add(repo, "task", description="first")
    add(repo, "task", description="second")
    save(repo, "records")


LATER = {"GIT_AUTHOR_DATE": "2040-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2040-01-01T00:00:00Z"}


def links(repo, sha=None):
    """(target, evidence, origin, the rewritten commit) of what a commit references."""
    with opened(repo) as index:
        freshness.catch_up(index)
        rows = index.db.execute(
            "SELECT t.id, r.target_type, r.evidence, r.origin, r.metadata FROM relationships r JOIN commits c ON c.id = r.source_id"
            " LEFT JOIN tasks t ON r.target_type = 'task' AND t.id = r.target_id"
            " WHERE r.source_type = 'commit' AND r.relationship_type = 'references' AND c.sha = ? ORDER BY 2, 1",
            (sha or head(repo),),
        ).fetchall()
    return [
        (f"{kind}:{n or 1}", grade, origin, json.loads(about or "{}").get("carried"))
        for n, kind, grade, origin, about in rows
    ]


def statuses(repo):
    return {row["id"]: row["status"] for row in listed(repo, "task")}


def notes(repo, kind):
    with opened(repo) as index:
        freshness.catch_up(index)
        return index.db.execute("SELECT subject, message FROM observations WHERE kind = ?", (kind,)).fetchall()


def feature(repo, *commits):
    """A branch `feature` from here with the given (path, text, message); the names of its commits."""
    git(repo, "checkout", "-q", "-b", "feature")
    made = []
    for path, text, message in commits:
        write(repo, path, text)
        made.append(save(repo, message))
    return made


def squash(repo, message="All of it", how="later"):
    """The branch squashed onto main, its messages gone."""
    git(repo, "checkout", "-q", "main")
    git(repo, "merge", "-q", "--squash", "feature")
    git(repo, "commit", "-q", "-m", message, env=LATER if how == "later" else None)
    return head(repo)


@pytest.mark.parametrize("look", [True, False], ids=["looked", "not looked"])
@pytest.mark.parametrize("branch", ["kept", "deleted", "gone"])
def test_a_squashed_branch_stays_linked(repo, look, branch):
    """Whether anybody looked at the branch before or not; the evidence says whose content it is. One task is closed."""
    first, second = feature(repo, ("f.txt", "1\n", "F\n\nTask: 1"), ("g.txt", "2\n", "G\n\nCloses: 2\nNeed: 1"))
    if look:
        freshness_of(repo)
    sha = squash(repo)
    if branch != "kept":
        git(repo, "branch", "-q", "-D", "feature")
    if branch == "gone" and look:
        git(repo, "reflog", "expire", "--expire=all", "--all")
        git(repo, "gc", "-q", "--prune=now")
        assert git(repo, "cat-file", "-e", first, check=False).returncode
    elif branch == "gone":
        return
    assert links(repo, sha) == [
        ("need:1", "proved", "derived", second), ("task:1", "proved", "derived", first),
        ("task:2", "proved", "derived", second),
    ]  # fmt: skip
    assert statuses(repo) == {1: "open", 2: "completed"}
    assert {row["id"]: row["closed_by"] for row in listed(repo, "task")} == {1: None, 2: sha}
    if branch == "deleted" and not look:
        assert_rebuild_is_equal(repo)


def freshness_of(repo):
    with opened(repo) as index:
        freshness.catch_up(index)


def test_what_only_this_clone_can_show_is_journaled(repo, tmp_path):
    """`sync` makes records of the links; the next commit publishes them, and a clone that never saw the branch knows."""
    first, second = feature(repo, ("f.txt", "1\n", "F\n\nTask: 1"), ("g.txt", "2\n", "G\n\nCloses: 2"))
    sha = squash(repo)
    before = pending(repo)
    synced(repo)
    assert links(repo, sha) == [("task:1", "proved", "record", first), ("task:2", "proved", "record", second)]
    assert pending(repo) == before + 2
    synced(repo)
    assert pending(repo) == before + 2  # once is enough
    git(repo, "branch", "-q", "-D", "feature")
    save(repo, "next")
    other = clone(repo, "other")
    assert links(other, sha) == [("task:1", "proved", "record", first), ("task:2", "proved", "record", second)]
    assert statuses(other) == {1: "open", 2: "completed"}
    assert_rebuild_is_equal(repo)
    shutil.rmtree(git_dir(repo) / "logs")
    git(repo, "gc", "-q", "--prune=now")
    assert_rebuild_is_equal(repo)


def test_the_commit_after_a_squash_publishes_what_is_known_by_then(repo):
    """Nobody ran a command in between: the closing travels with the next commit of the branch all the same."""
    feature(repo, ("g.txt", "2\n", "G\n\nCloses: 2"))
    squash(repo)
    freshness_of(repo)
    write(repo, "next.txt", "n\n")
    save(repo, "next")
    other = clone(repo, "other")
    assert statuses(other)[2] == "completed"


def test_others_can_show_what_a_remote_has(repo, tmp_path):
    """A branch that was pushed is no secret of this clone: nothing is journaled while the remote ref stands."""
    git(repo.parent, "init", "-q", "--bare", "-b", "main", "hub")
    git(repo, "remote", "add", "origin", str(repo.parent / "hub"))
    feature(repo, ("f.txt", "1\n", "F\n\nTask: 1"))
    git(repo, "push", "-q", "--no-verify", "origin", "main", "feature")
    sha = squash(repo)
    synced(repo)
    assert [origin for _, _, origin, _ in links(repo, sha)] == ["derived"]
    git(repo, "push", "-q", "--no-verify", "origin", ":feature")
    git(repo, "branch", "-q", "-D", "feature")
    synced(repo)
    assert [origin for _, _, origin, _ in links(repo, sha)] == ["record"]


def test_later_commits_of_the_line_count(repo):
    """What the first commit wrote was overwritten by a later one that names nothing: the squash has the later content."""
    first, *_ = feature(repo, ("f.txt", "1\n", "F\n\nTask: 1"), ("f.txt", "2\n", "more"), ("f.txt", "3\n", "and more"))
    sha = squash(repo)
    assert links(repo, sha) == [("task:1", "proved", "derived", first)]


def test_a_part_is_matched_and_closes_nothing(repo):
    """Main has changed one of two files meanwhile: the squash holds the other one as it was. It is linked and told, not closed."""
    write(repo, "both.txt", "".join(f"{n}\n" for n in range(30)))
    save(repo, "both")
    text = "".join(f"{n}\n" for n in range(29)) + "changed\n"
    git(repo, "checkout", "-q", "-b", "feature")
    write(repo, "both.txt", text)
    write(repo, "f.txt", "f\n")
    old = save(repo, "F\n\nCloses: 1")
    git(repo, "checkout", "-q", "main")
    write(repo, "both.txt", "first\n" + "".join(f"{n}\n" for n in range(1, 30)))
    save(repo, "main goes on")
    sha = squash(repo)
    assert links(repo, sha) == [("task:1", "matched", "derived", old)]
    assert statuses(repo)[1] == "open"
    ((subject, message),) = notes(repo, "rewritten")
    assert subject == f"commit {old[:12]}" and "1 of its 2 files" in message
    synced(repo)
    assert links(repo, sha)[0][2] == "derived"  # what is not proved is not journaled


def test_fixups_melt_into_one_commit(repo):
    """`rebase -i` with fixups: the first message stays, the others are gone, their tasks are not."""
    base = head(repo)
    write(repo, "f.txt", "1\n")
    save(repo, "F\n\nTask: 1")
    git(repo, "commit", "-q", "--amend", "--no-edit", env={"GIT_COMMITTER_DATE": "2040-01-01T00:00:00Z"})
    write(repo, "g.txt", "2\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "G\n\nCloses: 2", env=LATER)
    second = head(repo)
    git(repo, "rebase", "-q", "-i", base, env=LATER | {"GIT_SEQUENCE_EDITOR": "sed -i 2s/pick/fixup/"})
    assert git(repo, "rev-list", "--count", f"{base}..HEAD").stdout == "1\n"
    assert links(repo) == [("task:1", "declared", "derived", None), ("task:2", "proved", "derived", second)]
    assert statuses(repo)[2] == "completed"
    assert_rebuild_is_equal(repo)


@pytest.mark.parametrize("way", ["amend", "reword"])
def test_what_somebody_took_out_of_a_message_stays_out(repo, way):
    """An amended or reworded message is an answer: the content is the same, the link is gone. The file may change too."""
    write(repo, "f.txt", "1\n")
    save(repo, "F\n\nCloses: 1")
    assert statuses(repo)[1] == "completed"
    if way == "amend":
        git(repo, "commit", "-q", "--amend", "-m", "F")
    else:
        editor = "printf 'F\\n' >"
        git(
            repo,
            "rebase",
            "-q",
            "-i",
            "HEAD~1",
            env={"GIT_SEQUENCE_EDITOR": "sed -i 1s/pick/reword/", "GIT_EDITOR": editor},
        )
    assert links(repo) == [] and statuses(repo)[1] == "open" and notes(repo, "rewritten") == []
    assert_rebuild_is_equal(repo)


@pytest.mark.parametrize("way", ["rebase", "cherry-pick", "amend"])
def test_messages_that_are_kept_say_it_themselves(repo, way):
    """A replayed commit has its own message; nothing is carried."""
    write(repo, "f.txt", "1\n")
    feature(repo, ("f.txt", "2\n", "F\n\nCloses: 1"))
    git(repo, "checkout", "-q", "main")
    write(repo, "other.txt", "o\n")
    save(repo, "main goes on")
    if way == "rebase":
        git(repo, "checkout", "-q", "feature")
        git(repo, "rebase", "-q", "main")
    elif way == "cherry-pick":
        git(repo, "cherry-pick", "feature")
    else:
        git(repo, "checkout", "-q", "feature")
        git(repo, "commit", "-q", "--amend", "--no-edit", env={"GIT_COMMITTER_DATE": "2040-01-01T00:00:00Z"})
    assert links(repo) == [("task:1", "declared", "derived", None)] and statuses(repo)[1] == "completed"
    assert notes(repo, "rewritten") == []
    assert_rebuild_is_equal(repo)


def test_what_went_nowhere_is_told(repo):
    """A commit that a reset took away, with no content of it left: named with its reference, once, while git knows it."""
    write(repo, "f.txt", "1\n")
    old = save(repo, "F\n\nCloses: 1")
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    write(repo, "h.txt", "h\n")
    save(repo, "another")
    ((subject, message),) = notes(repo, "rewritten")
    assert subject == f"commit {old[:12]}" and "closes: 1 (task-" in message and "mlos-sync link" in message
    git(repo, "branch", "kept", old)
    write(repo, "i.txt", "i\n")
    save(repo, "one more")
    assert notes(repo, "rewritten") == []  # a branch has it


def test_a_link_that_somebody_took_away_stays_away(repo):
    """`unlink` of a journaled link is an answer too."""
    feature(repo, ("f.txt", "1\n", "F\n\nTask: 1"))
    sha = squash(repo)
    synced(repo)
    with opened(repo) as index:
        records.unlink(index, f"commit:{sha}", "references", "task:1")
    write(repo, "n.txt", "n\n")
    save(repo, "next")
    synced(repo)
    assert links(repo, sha) == []
    assert_rebuild_is_equal(repo)


def test_a_claim_about_contents_is_checked(repo):
    """Metadata that says a commit carries contents which it does not hold proves nothing."""
    sha = head(repo)
    about = {"carried": "a" * 40, "content": {"f.txt": "b" * 40}}
    link(repo, f"commit:{sha}", "references", "task:1", json.dumps(about))
    assert [(target, grade) for target, grade, *_ in links(repo, sha)] == [("task:1", "declared")]


def test_empty_and_deleted_files_prove_nothing(repo):
    """Everybody has an empty file somewhere, and a file that is gone is gone in many ways."""
    git(repo, "checkout", "-q", "-b", "feature")
    write(repo, "__init__.py", "")
    (repo / "a.txt").unlink()
    save(repo, "F\n\nTask: 1")
    git(repo, "checkout", "-q", "main")
    write(repo, "__init__.py", "")
    (repo / "a.txt").unlink()
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "alike", env=LATER)
    assert links(repo) == []


def test_a_commit_from_before_the_work_carries_nothing_of_it(repo):
    """The same content was in history long before the other commit was written."""
    git(repo, "checkout", "-q", "-b", "feature")
    write(repo, "f.txt", "1\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "F\n\nTask: 1", env=LATER)
    git(repo, "checkout", "-q", "main")
    write(repo, "f.txt", "1\n")
    save(repo, "long ago")
    assert links(repo) == []


def test_another_workspaces_number_is_not_ours(tmp_path):
    """A commit from before the workspace says "Fixes: 1" of somebody else's list, also when it was squashed."""
    from gitrepo import commit_file, make_repo

    from mlos_sync.app import setup

    repo = make_repo(tmp_path)
    commit_file(repo, "a", b"a")
    git(repo, "checkout", "-q", "-b", "feature")
    commit_file(repo, "f", b"f", "F\n\nFixes: 1")
    git(repo, "checkout", "-q", "main")
    setup.initialise(str(repo))
    add(repo, "task", description="first")
    save(repo, "workspace")
    squash(repo)
    assert links(repo) == [] and statuses(repo) == {1: "open"}


def test_a_rename_is_a_change_of_two_paths(repo):
    """The squash of a branch that moves a file holds the new name and lacks the old."""
    write(repo, "long.txt", "line\n" * 50)
    save(repo, "long")
    git(repo, "checkout", "-q", "-b", "feature")
    git(repo, "mv", "long.txt", "moved.txt")
    old = save(repo, "M\n\nTask: 1")
    sha = squash(repo)
    assert links(repo, sha) == [("task:1", "proved", "derived", old)]


def test_a_compiled_view_need_not_be_the_same(repo):
    """PROBLEM.md is made anew after a squash; that says nothing of the work."""
    write(repo, "PROBLEM.md", "compiled\n")
    git(repo, "checkout", "-q", "-b", "feature")
    write(repo, "f.txt", "1\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--no-verify", "-m", "F\n\nCloses: 1")
    old = head(repo)
    git(repo, "checkout", "-q", "main")
    git(repo, "merge", "-q", "--squash", "feature")
    write(repo, "PROBLEM.md", "compiled otherwise\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--no-verify", "-m", "all", env=LATER)
    assert links(repo) == [("task:1", "proved", "derived", old)]


def test_a_session_stays_linked(repo):
    """The agent of a session that the squashed commit named is tied to the squash."""
    from specstory import CLI

    write(repo, ".specstory/history/2026-01-01_00-00-00Z-x.md", CLI)
    save(repo, "transcript")
    synced(repo)
    with opened(repo) as index:
        ((session,),) = index.db.execute("SELECT DISTINCT session_id FROM session_files").fetchall()
    feature(repo, ("f.txt", "1\n", f"F\n\nSession: {session}"))
    sha = squash(repo)
    with opened(repo) as index:
        freshness.catch_up(index)
        rows = store.rows(
            index.db,
            "SELECT r.evidence, r.metadata FROM relationships r JOIN commits c ON c.id = r.target_id WHERE c.sha = ?"
            " AND r.target_type = 'commit' AND r.source_type = 'agent'",
            (sha,),
        )
    assert [row["evidence"] for row in rows] == ["proved"]
    assert_rebuild_is_equal(repo)
    assert "proved" in dump(repo)
