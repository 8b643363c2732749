"""History rewritten, thrown away or left half way: what no branch, tag or remote ref holds is pending again, and nothing
else is. (Resets, stashes, switches, reverts and worktrees: test_branches.py.)"""

from __future__ import annotations

import pytest
from cli import (
    add,
    assert_nothing_forgotten,
    assert_rebuild_is_equal,
    change,
    changed,
    clone,
    committed,
    common_dir,
    dump,
    head,
    ledger,
    need,
    pending,
    run,
    save,
    segments,
    synced,
    titles,
    with_one_need,
    write,
)
from gitrepo import git


@pytest.fixture
def repo(tmp_path):
    """A workspace whose main branch has one need, nothing pending."""
    return with_one_need(tmp_path, "On main")


@pytest.fixture
def remote(repo):
    """A bare repository that `repo` pushes to, and a second clone of it."""
    git(repo.parent, "clone", "-q", "--bare", str(repo), "remote.git")
    git(repo, "remote", "add", "origin", str(repo.parent / "remote.git"))
    git(repo, "fetch", "-q")
    git(repo, "branch", "-q", "--set-upstream-to", "origin/main")
    return clone(repo.parent / "remote.git", "other")


def assert_sound(repo, *wanted):
    """These needs, each event accounted for, and the same from a rebuild."""
    assert titles(repo) == sorted(wanted)
    assert_nothing_forgotten(repo)
    assert_rebuild_is_equal(repo)


def forget_everything_unnamed(repo):
    """No reflog, no object that nothing names."""
    git(repo, "reflog", "expire", "--expire=now", "--all")
    git(repo, "gc", "-q", "--prune=now")


def test_a_force_push_over_my_commit_gives_my_records_back(repo, remote):
    """Somebody pushes over what I had pushed; I take theirs with reset --hard: my records wait, and go out again."""
    need(repo, "Mine")
    save(repo, "mine")
    git(repo, "push", "-q", "origin", "main")
    need(remote, "Theirs")
    save(remote, "theirs")
    git(remote, "push", "-q", "--force", "origin", "main")
    git(repo, "fetch", "-q")
    assert titles(repo) == ["Mine", "On main"]
    git(repo, "reset", "-q", "--hard", "origin/main")
    assert_sound(repo, "Mine", "On main", "Theirs")
    assert pending(repo) == 1
    forget_everything_unnamed(repo)
    write(repo, "note.md", "again\n")
    save(repo, "again")
    git(repo, "push", "-q", "origin", "main")
    git(remote, "pull", "-q", "--ff-only")
    synced(repo)
    synced(remote)
    assert dump(repo) == dump(remote) and pending(repo) == pending(remote) == 0


def test_a_pull_with_rebase_over_a_force_push_keeps_both(repo, remote):
    """My unpushed commits are made anew on theirs, the dropped one is theirs to bring back."""
    need(repo, "Mine, pushed")
    save(repo, "pushed")
    git(repo, "push", "-q", "origin", "main")
    need(repo, "Mine, not pushed")
    write(repo, "mine.md", "x\n")
    save(repo, "not pushed")
    need(remote, "Theirs")
    save(remote, "theirs")
    git(remote, "push", "-q", "--force", "origin", "main")
    git(repo, "pull", "-q", "--rebase")
    assert_sound(repo, "Mine, not pushed", "Mine, pushed", "On main", "Theirs")


def test_a_branch_that_the_remote_dropped_gives_its_records_back(repo, remote):
    """The only ref that held them is pruned: they are pending, in every clone that made them."""
    git(repo, "switch", "-q", "-c", "side")
    need(repo, "On side")
    save(repo, "side")
    git(repo, "push", "-q", "origin", "side")
    git(repo, "switch", "-q", "main")
    git(repo, "branch", "-q", "-D", "side")
    assert titles(repo) == ["On main"] and pending(repo) == 0
    git(remote, "push", "-q", "origin", ":side")
    git(repo, "fetch", "-q", "--prune")
    assert_sound(repo, "On main", "On side")


@pytest.mark.parametrize("way", ["reset", "rebase", "branch", "detached", "amend"])
def test_what_gc_has_taken_is_still_pending(repo, way):
    """No commit, no reflog, no object is left of it: the pending log has it."""
    if way == "detached":
        git(repo, "switch", "-q", "--detach")
    elif way == "branch":
        git(repo, "switch", "-q", "-c", "side")
    row = need(repo, "Second")
    change(repo, "need", row["uid"], priority=2)
    write(repo, "note.md", "two\n")
    save(repo, "second")
    if way == "reset":
        git(repo, "reset", "-q", "--hard", "HEAD~1")
    elif way == "rebase":
        write(repo, "third.md", "x\n")
        save(repo, "third")
        git(repo, "rebase", "-q", "--onto", "HEAD~2", "HEAD~1")
    elif way == "amend":
        git(repo, "reset", "-q", "--soft", "HEAD~1")
        git(repo, "restore", "--staged", "--worktree", ".mlos", "note.md")
        git(repo, "clean", "-q", "-fd", ".mlos")
        git(repo, "commit", "-q", "--amend", "--no-verify", "-m", "instead")
    else:
        git(repo, "switch", "-q", "main")
        git(repo, "branch", "-q", "-D", "side", check=False)
    forget_everything_unnamed(repo)
    assert_sound(repo, "On main", "Second")
    assert pending(repo) == 2
    write(repo, "note.md", "three\n")
    save(repo, "three")
    assert ledger(repo) <= committed(repo) and changed(repo) == []


def conflicting(repo):
    """Branch `side` and main change one line; both have a need of their own."""
    git(repo, "switch", "-q", "-c", "side")
    need(repo, "On side")
    write(repo, "note.md", "side\n")
    side = save(repo, "side")
    git(repo, "switch", "-q", "main")
    need(repo, "Later on main")
    write(repo, "note.md", "main\n")
    save(repo, "later")
    need(repo, "Pending")
    return side


HALF_WAY = {
    "merge": (["merge", "side"], ["merge", "--abort"]),
    "rebase": (["rebase", "side"], ["rebase", "--abort"]),
    "rebase --apply": (["rebase", "--apply", "side"], ["rebase", "--abort"]),
    "cherry-pick": (["cherry-pick", "side"], ["cherry-pick", "--abort"]),
    "revert": (["revert", "--no-edit", "HEAD~1"], ["revert", "--abort"]),
    "am": (["am", "-q", "../side.patch"], ["am", "--abort"]),
}


@pytest.mark.parametrize("name", HALF_WAY)
@pytest.mark.parametrize("look", [False, True], ids=["at-once", "after-a-look"])
def test_what_stops_half_way_and_is_aborted_changes_nothing(repo, name, look):
    """A conflict in the middle, a look at the records or none, and back: rows, pending events and git as before."""
    conflicting(repo)
    (repo.parent / "side.patch").write_bytes(
        git(repo, "format-patch", "-1", "--stdout", "--binary", "side").stdout.encode()
    )
    if name == "revert":
        write(repo, "note.md", "on top\n")
        git(repo, "commit", "-q", "-a", "--no-verify", "-m", "on top")
    synced(repo)
    before, at, waiting = dump(repo), head(repo), pending(repo)
    begin, back = HALF_WAY[name]
    assert git(repo, *begin, check=False).returncode != 0
    if look:
        assert "Pending" in titles(repo)
    git(repo, *back)
    synced(repo)
    assert (dump(repo), head(repo), pending(repo), changed(repo)) == (before, at, waiting, [])
    write(repo, "note.md", "good\n")
    save(repo, "good")
    assert pending(repo) == 0 and ledger(repo) <= committed(repo) | committed(repo, "side")


@pytest.mark.parametrize("name", ["rebase", "cherry-pick", "merge"])
def test_what_stops_half_way_and_is_concluded_has_it_all(repo, name):
    """Records made while it stands still are in none of its commits or in one, and nowhere twice."""
    conflicting(repo)
    git(repo, *HALF_WAY[name][0], check=False)
    need(repo, "In the middle")
    write(repo, "note.md", "both\n")
    git(repo, "add", "note.md")
    git(repo, "-c", "core.editor=true", name, "--continue")
    assert changed(repo) == []
    assert_sound(repo, "In the middle", "Later on main", "On main", "On side", "Pending")
    write(repo, "note.md", "good\n")
    save(repo, "good")
    assert pending(repo) == 0 and ledger(repo) <= committed(repo)


def test_a_branch_that_is_unborn_again_has_everything_pending(repo):
    """git update-ref -d HEAD: no commit is left, the work tree stands."""
    add(repo, "task", description="Do it", need_id=1)
    git(repo, "update-ref", "-d", "HEAD")
    git(repo, "rm", "-r", "-q", "--cached", ".")
    git(repo, "clean", "-q", "-fd", ".mlos/journal")
    assert titles(repo) == ["On main"] and pending(repo) == 2
    assert_rebuild_is_equal(repo)
    save(repo, "first again")
    assert ledger(repo) <= committed(repo) and pending(repo) == 0


def test_a_forced_checkout_over_an_uncommitted_segment_loses_nothing(repo):
    """switch -f throws the index away, checkout -f the file."""
    git(repo, "branch", "-q", "side")
    need(repo, "Second")
    write(repo, "note.md", "two\n")
    git(repo, "commit", "-a", env={"GIT_EDITOR": "false"}, check=False)
    git(repo, "switch", "-q", "-f", "side")
    assert_sound(repo, "On main", "Second")
    git(repo, "checkout", "-q", "-f", "main")
    assert_sound(repo, "On main", "Second")
    assert pending(repo) == 1


def test_renaming_and_moving_refs_changes_nothing(repo):
    """A branch under another name, a tag instead of a branch, packed refs: the same commits are held."""
    git(repo, "switch", "-q", "-c", "side")
    need(repo, "On side")
    save(repo, "side")
    git(repo, "switch", "-q", "main")
    for command in (
        ["branch", "-m", "side", "renamed"],
        ["pack-refs", "--all"],
        ["tag", "kept", "renamed"],
        ["branch", "-D", "renamed"],
        ["tag", "-a", "-m", "kept", "kept2", "kept"],
        ["tag", "-d", "kept"],
        ["update-ref", "refs/remotes/somewhere/main", "kept2^{commit}"],
        ["tag", "-d", "kept2"],
    ):
        git(repo, *command)
        assert (titles(repo), pending(repo)) == (["On main"], 0), command
    assert_rebuild_is_equal(repo)
    git(repo, "update-ref", "-d", "refs/remotes/somewhere/main")
    assert_sound(repo, "On main", "On side")


@pytest.mark.parametrize("name", ["refs/stash", "refs/notes/x", "refs/original/main", "refs/replace/x"])
def test_other_refs_hold_nothing(repo, name):
    """A stash, notes and what tools keep under names of their own are no places that anybody merges."""
    need(repo, "Second")
    kept = save(repo, "second")
    git(repo, "update-ref", name if "replace" not in name else f"refs/replaced/{kept}", kept)
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    assert_sound(repo, "On main", "Second")
    assert pending(repo) == 1


@pytest.mark.parametrize("index", ["kept", "lost"])
def test_a_commit_taken_back_before_anybody_looked_is_published_as_it_was(repo, index):
    """Its events go into the same file again. In another one, with newer events, they would be a second file much like the
    first, and git may take the one for the other, renamed."""
    for number in range(4):
        need(repo, f"Taken back {number}")
    git(repo, "commit", "-q", "--allow-empty", "-m", "taken back")
    (first,) = segments(repo).keys() - segments(repo, "HEAD~1").keys()
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    if index == "lost":
        (common_dir(repo) / "mlos" / "index.db").unlink()
        assert run(repo, "rebuild").code == 0
    need(repo, "Newer")
    git(repo, "commit", "-q", "--allow-empty", "-m", "anew")
    made = segments(repo).keys() - segments(repo, "HEAD~1").keys()
    assert first in made and len(made) == 2
    assert_sound(repo, "On main", "Newer", *(f"Taken back {number}" for number in range(4)))


def test_two_reverts_of_what_was_taken_back_and_made_anew_merge(repo):
    """The rename/delete conflict that git reported where one segment repeated the events of another."""
    here = clone(repo, "here")
    for number in range(8):
        need(repo, f"Taken back {number}")
    git(repo, "commit", "-q", "--allow-empty", "-m", "first")
    there = clone(repo, "there")
    git(here, "pull", "-q", "--no-edit")
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    need(repo, "Newer")
    git(repo, "commit", "-q", "--allow-empty", "-m", "anew")
    git(here, "revert", "--no-edit", "HEAD")
    git(here, "pull", "-q", "--no-rebase", "--no-edit")
    git(there, "revert", "--no-edit", "HEAD", env={"GIT_COMMITTER_NAME": "Another"})
    write(there, "there.md", "there\n")
    git(there, "add", "there.md")
    git(there, "commit", "-q", "--no-verify", "-m", "there")
    git(there, "pull", "-q", "--no-rebase", "--no-edit", str(here), "main")
    assert changed(there) == []
    assert titles(there) == sorted(["On main", "Newer", *(f"Taken back {number}" for number in range(8))])
    assert_rebuild_is_equal(there)


def test_an_aborted_commit_made_nothing_that_was_committed(repo):
    """Its segment is known from then on, but no commit ever had it."""
    need(repo, "Waits")
    git(repo, "commit", "-q", "--allow-empty", env={"GIT_EDITOR": "false"}, check=False)
    told = run(repo, "status", "--json").json
    assert told["pending_events"] == 1 and told["unnamed_events"] == 0
