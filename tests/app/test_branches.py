"""No event is forgotten unless a branch, tag or remote ref has it, and rows follow the branch."""

from __future__ import annotations

import shutil

import pytest
from cli import (
    add,
    assert_nothing_forgotten,
    assert_rebuild_is_equal,
    change,
    changed,
    clone,
    committed,
    delete,
    dump,
    head,
    ledger,
    link,
    listed,
    need,
    pending,
    published,
    run,
    save,
    segments,
    synced,
    titles,
    with_one_need,
    write,
)
from gitrepo import git

from mlos_sync.app import dumping


@pytest.fixture
def repo(tmp_path):
    """A workspace whose main branch has one need, and nothing pending."""
    return with_one_need(tmp_path, "On main")


def switch(repo, *args):
    git(repo, "switch", "-q", *args)


def counts(repo):
    return {kind: len(listed(repo, kind)) for kind in ("need", "task", "agent")}


def test_rows_follow_the_branch(repo):
    """A record committed on a branch is there on that branch, and on the others it is not."""
    switch(repo, "-c", "side")
    need(repo, "On side")
    save(repo, "side")
    assert titles(repo) == ["On main", "On side"]
    switch(repo, "main")
    assert titles(repo) == ["On main"] and pending(repo) == 0
    assert_rebuild_is_equal(repo)
    switch(repo, "side")
    assert titles(repo) == ["On main", "On side"]
    assert_rebuild_is_equal(repo)


def test_pending_records_come_along_on_a_switch(repo):
    """As uncommitted changes do; committed elsewhere they belong to that branch."""
    switch(repo, "-c", "side")
    need(repo, "Undecided")
    switch(repo, "main")
    assert titles(repo) == ["On main", "Undecided"] and pending(repo) == 1
    assert_rebuild_is_equal(repo)
    save(repo, "here")
    switch(repo, "side")
    assert titles(repo) == ["On main"]
    assert_nothing_in_doubt(repo)


def assert_nothing_in_doubt(repo):
    """Each event made here is in this branch, in some other ref, or pending."""
    refs = git(repo, "for-each-ref", "--format=%(objectname)", "refs/heads", "refs/tags", "refs/remotes").stdout.split()
    held = {event for ref in refs for event in committed(repo, ref)}
    assert pending(repo) >= len(ledger(repo) - held - committed(repo))
    missing = ledger(repo) - held - committed(repo)
    lines = run(repo, "log", "--json").json["events"]
    assert missing <= {event["id"] for event in lines}


def test_a_pending_change_of_a_record_that_this_branch_lacks_waits(repo):
    """The change is neither lost nor published without its record, and it stands again where the record is."""
    switch(repo, "-c", "side")
    row = need(repo, "On side")
    save(repo, "side")
    change(repo, "need", row["uid"], priority=1)
    switch(repo, "main")
    assert titles(repo) == ["On main"]
    save(repo, "main goes on")
    assert segments(repo).keys() < segments(repo, "side").keys()
    assert_rebuild_is_equal(repo)
    switch(repo, "side")
    assert [one["priority"] for one in listed(repo, "need")] == [1, None]
    save(repo, "published at last")
    assert pending(repo) == 0
    assert_rebuild_is_equal(repo)


def test_references_of_pending_records_survive_a_switch_and_back(repo):
    """A pending task of a need that only the other branch has: cut there, whole again here."""
    switch(repo, "-c", "side")
    row = need(repo, "On side")
    child = need(repo, "Other on side")
    agent = add(repo, "agent", agent_type="janitor")
    save(repo, "side")
    add(repo, "task", description="Do it", need_id=row["uid"], assigned_agent_id=agent["uid"])
    need(repo, "Below", parent_need_id=row["uid"])
    add(repo, "agent", agent_type="watcher", monitored_needs=[row["uid"], child["uid"]])
    link(repo, f"need:{child['id']}", "blocks", "need:1", '{"why": "order"}')
    link(repo, f"need:{row['id']}", "enables", f"need:{child['id']}")
    before = dump(repo)
    assert_rebuild_is_equal(repo)
    switch(repo, "main")
    assert [one["need_id"] for one in listed(repo, "task")] == [None]
    assert_rebuild_is_equal(repo)
    switch(repo, "side")
    assert dumping.differences(without_files(before), without_files(dump(repo))) == []
    assert_rebuild_is_equal(repo)


def test_references_survive_a_switch_that_no_rebuild_interrupts(repo):
    """The same with nothing but the live index: there and back is where it was."""
    switch(repo, "-c", "side")
    row = need(repo, "On side")
    save(repo, "side")
    add(repo, "task", description="Do it", need_id=row["uid"])
    need(repo, "Below", parent_need_id=row["uid"])
    link(repo, f"need:{row['id']}", "blocks", "need:1", '{"why": "order"}')
    before = without_files(dump(repo))
    switch(repo, "main")
    titles(repo)
    switch(repo, "side")
    assert dumping.differences(before, without_files(dump(repo))) == []
    assert_rebuild_is_equal(repo)


def without_files(text):
    """A dump less the tables that only sync brings up to date."""
    parts = text.split("# ")
    return "# ".join(part for part in parts if not part.startswith(("artifacts\n", "claims\n", "transcripts\n")))


def test_reset_hard_gives_records_back_to_the_pending(repo):
    """No branch has the segment any more, so its events wait for the next commit; no row goes."""
    need(repo, "Second")
    save(repo, "second")
    before = counts(repo)
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    assert counts(repo) == before == {"need": 2, "task": 0, "agent": 0}
    assert pending(repo) == 1 and changed(repo) == []
    assert_nothing_forgotten(repo)
    assert_rebuild_is_equal(repo)
    write(repo, "note.md", "two\n")
    save(repo, "again")
    assert ledger(repo) <= committed(repo)


def test_reset_hard_while_a_tag_holds_the_commit(repo):
    """A tag is a ref: the records are there, not here, and come back with it."""
    need(repo, "Second")
    save(repo, "second")
    git(repo, "tag", "-a", "-m", "kept", "kept")
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    assert titles(repo) == ["On main"]
    git(repo, "merge", "-q", "kept")
    assert titles(repo) == ["On main", "Second"]
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    git(repo, "tag", "-d", "kept")
    assert titles(repo) == ["On main", "Second"] and pending(repo) == 1


def test_stash_does_not_hold_events(repo):
    """stash -u takes a published, uncommitted segment away: its events are pending, and stay when the stash is dropped."""
    need(repo, "Second")
    published(repo)
    git(repo, "stash", "push", "-q", "-u")
    assert titles(repo) == ["On main", "Second"]
    assert_nothing_forgotten(repo)
    git(repo, "stash", "drop", "-q")
    assert titles(repo) == ["On main", "Second"]
    assert_nothing_forgotten(repo)
    write(repo, "note.md", "two\n")
    save(repo, "two")
    assert ledger(repo) <= committed(repo)
    assert_rebuild_is_equal(repo)


@pytest.mark.parametrize("how", ["published", "aborted"])
def test_stash_pop_brings_no_conflict_and_no_second_record(repo, how):
    """The same events published once more meanwhile: stash pop works, and each record is there once."""
    need(repo, "Second")
    write(repo, "note.md", "two\n")
    if how == "published":
        published(repo)
    else:
        git(repo, "commit", "-a", env={"GIT_EDITOR": "false"}, check=False)
    git(repo, "stash", "push", "-q", "-u")
    write(repo, "third.md", "three\n")
    save(repo, "meanwhile")
    git(repo, "stash", "pop", "-q")
    assert (repo / "note.md").read_text() == "two\n"
    assert titles(repo) == ["On main", "Second"]
    save(repo, "popped")
    assert ledger(repo) <= committed(repo)
    assert_rebuild_is_equal(repo)


def test_clean_takes_no_record(repo):
    """clean -fdx removes an unstaged segment; the events are pending again."""
    need(repo, "Second")
    published(repo)
    git(repo, "reset", "-q")
    git(repo, "clean", "-q", "-fdx")
    assert titles(repo) == ["On main", "Second"]
    assert_nothing_forgotten(repo)
    write(repo, "note.md", "two\n")
    save(repo, "two")
    assert ledger(repo) <= committed(repo)


def test_a_deleted_journal_folder_loses_nothing(repo):
    """Committed segments are in git, the others in the pending log."""
    need(repo, "Second")
    published(repo)
    git(repo, "reset", "-q")
    shutil.rmtree(repo / ".mlos" / "journal")
    assert titles(repo) == ["On main", "Second"]
    assert_rebuild_is_equal(repo)
    git(repo, "checkout", "-q", "--", ".mlos")
    assert titles(repo) == ["On main", "Second"]


def test_a_deleted_branch_gives_its_records_back(repo):
    """branch -D of what was never merged: its events are pending here, rows and all."""
    switch(repo, "-c", "side")
    row = need(repo, "On side", status="actionable")
    save(repo, "side")
    change(repo, "need", row["uid"], priority=2)
    save(repo, "more")
    before = counts(repo)
    switch(repo, "main")
    assert counts(repo) == {"need": 1, "task": 0, "agent": 0}
    git(repo, "branch", "-q", "-D", "side")
    assert counts(repo) == before
    assert_nothing_forgotten(repo)
    write(repo, "note.md", "two\n")
    save(repo, "two")
    assert ledger(repo) <= committed(repo)
    assert_rebuild_is_equal(repo)


def test_a_branch_that_moves_away_gives_its_records_back(repo):
    """branch -f and update-ref run no hook: the next command sees it all the same."""
    switch(repo, "-c", "side")
    need(repo, "On side")
    save(repo, "side")
    switch(repo, "main")
    assert titles(repo) == ["On main"]
    git(repo, "branch", "-q", "-f", "side", "main")
    assert titles(repo) == ["On main", "On side"]
    assert_nothing_forgotten(repo)


def test_revert_takes_no_record(repo):
    """git revert deletes the segment of the commit; its events are published again."""
    need(repo, "Second")
    write(repo, "note.md", "two\n")
    save(repo, "second")
    before = counts(repo)
    git(repo, "revert", "--no-edit", "HEAD")
    assert len(segments(repo)) == 1
    assert counts(repo) == before
    assert_nothing_forgotten(repo)
    write(repo, "note.md", "three\n")
    save(repo, "three")
    assert ledger(repo) <= committed(repo)
    assert_rebuild_is_equal(repo)


def test_revert_takes_no_record_while_another_branch_has_it(repo):
    """The set of events only grows along history, whatever else points at the old commit."""
    need(repo, "Second")
    save(repo, "second")
    git(repo, "branch", "-q", "elsewhere")
    git(repo, "revert", "--no-edit", "HEAD")
    assert titles(repo) == ["On main", "Second"]
    write(repo, "note.md", "three\n")
    save(repo, "three")
    assert ledger(repo) <= committed(repo)
    assert_rebuild_is_equal(repo)


def test_revert_takes_no_record_that_came_from_somebody_else(repo):
    """A clone that reverts what it only pulled has no pending log of it: history has the events."""
    other = clone(repo, "other")
    need(repo, "From the other side")
    save(repo, "theirs")
    git(other, "pull", "-q")
    assert titles(other) == ["From the other side", "On main"]
    git(other, "revert", "--no-edit", "HEAD")
    assert titles(other) == ["From the other side", "On main"]
    write(other, "note.md", "mine\n")
    save(other, "mine")
    assert committed(repo) <= committed(other)
    assert_rebuild_is_equal(other)


def test_a_merge_that_was_reverted_can_be_merged_again(repo):
    """Main merges side, reverts the merge, side goes on and is merged again: every event of side is on main."""
    switch(repo, "-c", "side")
    row = need(repo, "On side")
    write(repo, "side.md", "one\n")
    save(repo, "side")
    switch(repo, "main")
    git(repo, "merge", "-q", "--no-ff", "--no-edit", "side")
    assert titles(repo) == ["On main", "On side"]
    git(repo, "revert", "--no-edit", "-m", "1", "HEAD")
    switch(repo, "side")
    change(repo, "need", row["uid"], title="On side, later")
    write(repo, "side.md", "two\n")
    save(repo, "side goes on")
    switch(repo, "main")
    git(repo, "merge", "-q", "--no-edit", "side", check=False)
    git(repo, "checkout", "-q", "--theirs", "--", "side.md", check=False)
    save(repo, "merged again")
    assert titles(repo) == ["On main", "On side, later"]
    save(repo, "and published")
    assert committed(repo, "side") <= committed(repo)
    assert_rebuild_is_equal(repo)


def test_a_merge_that_takes_ours_only_takes_no_record(repo):
    """merge -s ours drops the other side's segments from the tree while its history becomes ours."""
    switch(repo, "-c", "side")
    need(repo, "On side")
    save(repo, "side")
    switch(repo, "main")
    git(repo, "merge", "-q", "-s", "ours", "--no-edit", "side")
    git(repo, "branch", "-q", "-D", "side")
    assert titles(repo) == ["On main", "On side"]
    assert_nothing_forgotten(repo)


def test_a_removed_worktree_loses_nothing(repo):
    """Its records were pending in the common git directory, or are on its branch."""
    other = repo.parent / "other"
    git(repo, "worktree", "add", "-q", "-b", "side", str(other))
    need(other, "Committed there")
    write(other, "there.md", "x\n")
    save(other, "there")
    need(other, "Pending there")
    git(repo, "worktree", "remove", "--force", str(other))
    assert titles(repo) == ["On main", "Pending there"]
    assert_rebuild_is_equal(repo)
    git(repo, "merge", "-q", "side")
    assert titles(repo) == ["Committed there", "On main", "Pending there"]
    assert_rebuild_is_equal(repo)
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    git(repo, "branch", "-q", "-D", "side")
    assert titles(repo) == ["Committed there", "On main", "Pending there"]
    assert_nothing_forgotten(repo)


def test_worktrees_never_give_out_one_number_twice(repo):
    """Numbers are the repository's: one made on a branch is not made again on another."""
    other = repo.parent / "other"
    git(repo, "worktree", "add", "-q", "-b", "side", str(other))
    first = need(other, "There")
    save(other, "there")
    second = need(repo, "Here")
    switch(repo, "-c", "third", "main~1")
    third = need(repo, "On a third branch")
    assert len({1, first["id"], second["id"], third["id"]}) == 4


def test_a_number_is_not_used_again_when_the_index_is_lost(repo):
    """What another branch holds keeps its number also from an index that was made anew."""
    switch(repo, "-c", "side")
    first = need(repo, "There")
    save(repo, "there")
    switch(repo, "main")
    run(repo, "rebuild")
    assert need(repo, "Here")["id"] != first["id"]


def test_detached_heads_lose_nothing(repo):
    """Commits on no branch are on no ref: left behind, their records are pending."""
    switch(repo, "--detach")
    need(repo, "Detached")
    write(repo, "note.md", "two\n")
    save(repo, "on no branch")
    assert ledger(repo) <= committed(repo) and changed(repo) == []
    switch(repo, "main")
    assert titles(repo) == ["Detached", "On main"]
    assert_nothing_forgotten(repo)
    assert_rebuild_is_equal(repo)


def test_a_copied_clone_and_its_original_merge(repo):
    """cp -r copies pending events, database and clock: both publish them, and each record is there once."""
    need(repo, "Pending in both")
    copy = repo.parent / "copy"
    shutil.copytree(repo, copy, symlinks=True)
    need(copy, "Only in the copy")
    need(repo, "Only in the original")
    write(copy, "copy.md", "x\n")
    write(repo, "original.md", "x\n")
    save(copy, "copy")
    save(repo, "original")
    git(repo, "pull", "-q", "--no-rebase", "--no-edit", str(copy), "main")
    git(copy, "pull", "-q", str(repo), "main")
    everything = ["On main", "Only in the copy", "Only in the original", "Pending in both"]
    assert titles(repo) == titles(copy) == everything
    assert head(repo) == head(copy) and changed(repo) == changed(copy) == []
    synced(repo)
    synced(copy)
    assert dump(repo) == dump(copy)
    assert_rebuild_is_equal(copy)


def test_an_aborted_commit_does_not_stop_a_merge(repo):
    """A copy published the same events: nothing that an aborted commit left behind makes git refuse to merge."""
    need(repo, "Pending in both")
    copy = repo.parent / "copy"
    shutil.copytree(repo, copy, symlinks=True)
    write(repo, "note.md", "two\n")
    git(repo, "commit", "-a", env={"GIT_EDITOR": "false"}, check=False)
    write(copy, "copy.md", "x\n")
    save(copy, "copy")
    done = git(repo, "pull", "-q", "--no-rebase", "--no-edit", str(copy), "main", check=False)
    assert done.returncode == 0, done.stderr
    assert titles(repo) == ["On main", "Pending in both"]


@pytest.mark.parametrize("arguments", [["--merge"], ["--apply"]])
def test_a_rebase_keeps_every_event(repo, arguments):
    """Segments are files of their commits and travel with them."""
    switch(repo, "-c", "side")
    for number in range(3):
        need(repo, f"Side {number}")
        write(repo, "side.md", f"{number}\n")
        save(repo, f"side {number}")
    switch(repo, "main")
    need(repo, "Later on main")
    write(repo, "main.md", "x\n")
    save(repo, "later")
    switch(repo, "side")
    git(repo, "rebase", "-q", *arguments, "main")
    assert titles(repo) == ["Later on main", "On main", "Side 0", "Side 1", "Side 2"]
    assert ledger(repo) <= committed(repo) and changed(repo) == []
    assert_rebuild_is_equal(repo)


def test_a_cherry_picked_change_without_its_record_waits(repo):
    """An update whose creation is on the other branch only: kept aside and told, and whole once the rest arrives."""
    switch(repo, "-c", "side")
    row = need(repo, "On side")
    save(repo, "side")
    change(repo, "need", row["uid"], title="On side, later")
    write(repo, "side.md", "x\n")
    picked = save(repo, "change")
    switch(repo, "main")
    git(repo, "cherry-pick", picked)
    assert titles(repo) == ["On main"]
    notes = run(repo, "status", "--json").json["observations"]
    assert [one["subject"] for one in notes if one["kind"] == "held"] == [f"need:{row['uid']}"]
    assert_rebuild_is_equal(repo)
    git(repo, "merge", "-q", "--no-edit", "side")
    assert titles(repo) == ["On main", "On side, later"]
    assert_rebuild_is_equal(repo)


def test_a_deletion_follows_the_branch(repo):
    """A tombstone on one branch takes the row there only; merged, it takes it everywhere."""
    switch(repo, "-c", "side")
    delete(repo, "need", "1")
    save(repo, "gone")
    assert titles(repo) == []
    switch(repo, "main")
    assert titles(repo) == ["On main"]
    assert_rebuild_is_equal(repo)
    git(repo, "merge", "-q", "side")
    assert titles(repo) == []
    assert_rebuild_is_equal(repo)
    assert need(repo, "Next")["id"] == 2


def test_a_bisect_through_history_and_back_changes_nothing(repo):
    """Every commit of the past shows its own records, and at the end all is as before."""
    for number in range(4):
        need(repo, f"Number {number}")
        write(repo, "note.md", f"{number}\n")
        save(repo, f"{number}")
    synced(repo)
    before = dump(repo)
    for back in (4, 2, 3, 1):
        switch(repo, "--detach", f"main~{back}")
        assert len(titles(repo)) == 5 - back
    switch(repo, "main")
    synced(repo)
    assert dump(repo) == before
    assert_rebuild_is_equal(repo)


def test_an_uncommitted_journal_survives_a_switch_back_and_forth(repo):
    """Nothing of ours stops git checkout, staged or not."""
    switch(repo, "-c", "side")
    write(repo, "side.md", "x\n")
    save(repo, "side")
    need(repo, "Staged")
    published(repo)
    switch(repo, "main")
    assert titles(repo) == ["On main", "Staged"]
    switch(repo, "side")
    assert titles(repo) == ["On main", "Staged"]
    save(repo, "kept")
    assert_nothing_forgotten(repo)
