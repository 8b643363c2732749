"""Publishing: whatever the form of the commit, what is pending goes into it or stays pending, and git sees nothing odd."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import sqlite3
import time

import pytest
from cli import (
    assert_nothing_forgotten,
    assert_rebuild_is_equal,
    changed,
    committed,
    common_dir,
    dump,
    git_dir,
    head,
    ledger,
    need,
    pending,
    published,
    run,
    save,
    segments,
    titles,
    workspace,
    write,
)
from copies import copied
from gitrepo import git

FAILING = {"GIT_EDITOR": "false"}


@pytest.fixture
def repo(tmp_path):
    """A workspace with one committed note, and one need that is pending."""
    return copied(with_a_need_that_waits, tmp_path) / "repo"


def with_a_need_that_waits(folder):
    repo = workspace(folder)
    write(repo, "note.md", "one\n")
    write(repo, "other.md", "one\n")
    save(repo, "notes")
    need(repo, "Know why")


def edit(repo, text="two\n"):
    write(repo, "note.md", text)


def commit(repo, form, *options, **more):
    """A commit of note.md in one of the forms that git knows."""
    if form in ("plain", "amend"):
        git(repo, "add", "note.md")
    arguments = {"plain": [], "all": ["-a"], "include": ["-i", "note.md"], "path": ["note.md"], "amend": ["--amend"]}
    return git(repo, "commit", *options, *arguments[form], **more)


def assert_all_committed(repo):
    assert ledger(repo) and ledger(repo) <= committed(repo)
    assert pending(repo) == 0
    assert changed(repo) == []


FORMS = ["plain", "all", "include", "path", "amend"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_commit_takes_what_is_pending(repo, form):
    """Plain, -a, -i, a path and --amend: the events are in the commit's tree and git status is clean."""
    edit(repo)
    done = commit(repo, form, "-q", "-m", "two")
    assert done.stdout + done.stderr == ""
    assert_all_committed(repo)
    assert git(repo, "show", "HEAD:note.md").stdout == "two\n"


@pytest.mark.parametrize("form", FORMS)
def test_a_second_commit_of_the_same_form_keeps_the_first_segment(repo, form):
    """What one commit published, the next one neither deletes nor publishes again."""
    edit(repo)
    commit(repo, form, "-q", "-m", "two")
    first = segments(repo)
    need(repo, "Second")
    edit(repo, "three\n")
    commit(repo, form, "-q", "-m", "three")
    assert first.items() <= segments(repo).items()
    assert len(segments(repo)) == len(first) + 1
    edit(repo, "four\n")
    commit(repo, form, "-q", "-m", "four")
    assert len(segments(repo)) == len(first) + 1
    assert_all_committed(repo)


def test_a_commit_in_a_subfolder_publishes_too(repo):
    """The hook is started in the root, git commit anywhere below it."""
    write(repo, "deep/er/file.md", "x\n")
    git(repo / "deep", "add", ".")
    git(repo / "deep" / "er", "commit", "-q", "-m", "below")
    assert_all_committed(repo)


def test_a_segment_is_named_by_its_bytes_and_stands_in_its_month(repo):
    """The name is the SHA-256 of the bytes, in git and on disk, in a folder of year and month."""
    edit(repo)
    commit(repo, "all", "-q", "-m", "two")
    for path, data in segments(repo).items():
        match = re.fullmatch(r"\.mlos/journal/\d{4}/\d{2}/([0-9a-f]{64})\.jsonl", path)
        assert match and match[1] == hashlib.sha256(data).hexdigest()
        assert (repo / path).read_bytes() == data


def test_no_verify_leaves_events_pending_for_the_next_commit(repo):
    """A commit that skips the hooks is not disturbed, and the next one takes the events."""
    edit(repo)
    commit(repo, "all", "-q", "-m", "two", "--no-verify")
    assert segments(repo) == {} and pending(repo) == 1 and changed(repo) == []
    edit(repo, "three\n")
    commit(repo, "all", "-q", "-m", "three")
    assert_all_committed(repo)


def diverge(repo):
    """Branch `side` with a file of its own; main one commit further; events pending."""
    git(repo, "switch", "-q", "-c", "side")
    write(repo, "side.md", "side\n")
    git(repo, "add", "side.md")
    git(repo, "commit", "-q", "--no-verify", "-m", "side")
    git(repo, "switch", "-q", "main")
    write(repo, "main.md", "main\n")
    git(repo, "add", "main.md")
    git(repo, "commit", "-q", "--no-verify", "-m", "main")


@pytest.mark.parametrize(
    "operation",
    [
        ["merge", "-q", "--no-edit", "side"],
        ["merge", "-q", "--no-edit", "--no-ff", "side"],
        ["cherry-pick", "side"],
        ["revert", "--no-edit", "HEAD"],
        ["rebase", "-q", "side"],
        ["rebase", "-q", "--apply", "side"],
        ["pull", "-q", "--no-rebase", "--no-edit", ".", "side"],
    ],
    ids=lambda words: "-".join(words[:2]).replace("---", "-"),
)
def test_what_runs_no_precommit_hook_leaves_events_pending(repo, operation):
    """Merge, cherry-pick, revert and rebase add nothing and lose nothing; the next commit publishes."""
    diverge(repo)
    git(repo, *operation)
    assert changed(repo) == []
    assert_nothing_forgotten(repo)
    edit(repo)
    commit(repo, "all", "-q", "-m", "two")
    assert_all_committed(repo)


def test_a_fast_forward_leaves_events_pending(repo):
    """A merge that only moves the branch runs no hook before it."""
    diverge(repo)
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    git(repo, "merge", "-q", "--ff-only", "side")
    assert changed(repo) == []
    assert_nothing_forgotten(repo)
    edit(repo)
    commit(repo, "all", "-q", "-m", "two")
    assert_all_committed(repo)


def test_a_squashed_merge_publishes_with_its_commit(repo):
    """merge --squash commits nothing; the commit that follows is a plain one."""
    diverge(repo)
    git(repo, "merge", "-q", "--squash", "side")
    git(repo, "commit", "-q", "-m", "squashed")
    assert_all_committed(repo)


def test_a_merge_with_conflicts_publishes_when_it_is_concluded(repo):
    """Its commit is made by git commit, which runs pre-commit."""
    for branch in ("side", "main"):
        git(repo, "switch", "-q", *(["-c", "side"] if branch == "side" else ["main"]))
        edit(repo, f"{branch}\n")
        git(repo, "commit", "-q", "-a", "--no-verify", "-m", branch)
    git(repo, "merge", "side", check=False)
    edit(repo, "both\n")
    git(repo, "add", "note.md")
    git(repo, "commit", "-q", "--no-edit")
    assert len(git(repo, "rev-list", "--parents", "-1", "HEAD").stdout.split()) == 3
    assert_all_committed(repo)


def test_an_aborted_merge_leaves_everything_as_it_was(repo):
    """Nothing of ours lies in the way of `merge --abort`."""
    diverge(repo)
    before = changed(repo)
    git(repo, "merge", "-q", "--no-commit", "--no-ff", "side")
    git(repo, "merge", "--abort")
    assert changed(repo) == before
    assert_nothing_forgotten(repo)


def test_the_first_commit_of_a_repository_publishes(tmp_path):
    """A branch that is not born yet has no tree to compare with."""
    repo = tmp_path / "new"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    run(repo, "init")
    need(repo, "Know why")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "first")
    assert_all_committed(repo)


def test_the_first_commit_of_an_orphan_branch_publishes_what_is_whole(repo):
    """Events whose records are committed elsewhere rest there; what is pending comes along."""
    git(repo, "switch", "-q", "--orphan", "fresh")
    git(repo, "checkout", "-q", "main", "--", ".mlos", ".gitattributes")
    save(repo, "fresh")
    assert_all_committed(repo)


def test_a_commit_in_a_linked_worktree_publishes_to_its_branch(repo):
    """Pending events are the repository's: a linked worktree's commit takes them, and main's next one does as well."""
    other = repo.parent / "other"
    git(repo, "worktree", "add", "-q", "-b", "side", str(other))
    need(other, "Second")
    write(other, "note.md", "two\n")
    git(other, "commit", "-q", "-a", "-m", "there")
    assert ledger(repo) == ledger(other) <= committed(repo, "side")
    assert changed(other) == [] and changed(repo) == []


def test_ignored_segments_are_committed_all_the_same(repo):
    """`*.jsonl` in .gitignore hides logs, not the journal."""
    write(repo, ".gitignore", "*.jsonl\n.mlos/journal/\n")
    git(repo, "add", ".gitignore")
    git(repo, "commit", "-q", "-m", "ignore")
    assert_all_committed(repo)
    need(repo, "Second")
    edit(repo)
    commit(repo, "path", "-q", "-m", "two")
    assert_all_committed(repo)


def test_a_clean_filter_does_not_change_a_segment(repo):
    """Attributes that somebody sets for all files stop at the journal's folder."""
    git(repo, "config", "filter.loud.clean", "tr a-z A-Z")
    git(repo, "config", "core.autocrlf", "true")
    write(repo, ".gitattributes", (repo / ".gitattributes").read_text() + "*.jsonl filter=loud text eol=crlf\n")
    git(repo, "add", ".gitattributes")
    git(repo, "commit", "-q", "-m", "filters")
    assert_all_committed(repo)
    for path, data in segments(repo).items():
        assert hashlib.sha256(data).hexdigest() in path
        (repo / path).unlink()
        git(repo, "checkout", "--", path)
        assert (repo / path).read_bytes() == data


@pytest.mark.parametrize(
    "patterns", [["/*", "!/.mlos/journal/"], ["/*", "!/other.md"], ["/note.md", "/.mlos/config.toml"]]
)
def test_sparse_checkouts_publish(repo, patterns):
    """A segment goes into the commit whether or not the sparse patterns would check it out."""
    git(repo, "sparse-checkout", "set", "--no-cone", *patterns)
    edit(repo)
    commit(repo, "all", "-q", "-m", "two")
    assert ledger(repo) <= committed(repo)
    need(repo, "Second")
    edit(repo, "three\n")
    commit(repo, "path", "-q", "-m", "three")
    assert_all_committed(repo)
    assert "other.md" in git(repo, "ls-tree", "--name-only", "HEAD").stdout


def test_a_sparse_checkout_without_the_workspace_stops_no_commit(repo):
    """Where .mlos itself is not checked out the commit goes on, and the events wait."""
    git(repo, "sparse-checkout", "set", "--no-cone", "/note.md")
    edit(repo)
    assert commit(repo, "all", "-q", "-m", "two").returncode == 0
    git(repo, "sparse-checkout", "disable")
    assert_nothing_forgotten(repo)
    assert changed(repo) == []


ABORTS = {
    "empty-message": ("plain", ["--cleanup=strip", "-m", ""], {}),
    "plain": ("plain", [], FAILING),
    "all": ("all", [], FAILING),
    "include": ("include", [], FAILING),
    "path": ("path", [], FAILING),
    "amend": ("amend", [], FAILING),
}


@pytest.mark.parametrize("look", [False, True], ids=["at-once", "after-a-look"])
@pytest.mark.parametrize("how", ABORTS)
def test_an_aborted_commit_is_made_good_by_the_next_one(repo, how, look):
    """The segment of a commit that was not made is in the next one, also when a command has looked in between."""
    form, options, env = ABORTS[how]
    edit(repo)
    before = head(repo)
    assert commit(repo, form, *options, env=env, check=False).returncode != 0
    assert head(repo) == before
    if look:
        assert titles(repo) == ["Know why"]
    edit(repo, "three\n")
    commit(repo, "plain", "-q", "-m", "good")
    assert ledger(repo) <= committed(repo), changed(repo)
    assert_all_committed(repo)


@pytest.mark.parametrize("how", ABORTS)
def test_after_an_aborted_commit_the_events_count_as_pending(repo, how):
    """An event that no commit holds is pending, wherever its segment lies."""
    form, options, env = ABORTS[how]
    edit(repo)
    commit(repo, form, *options, env=env, check=False)
    assert_nothing_forgotten(repo)


@pytest.mark.parametrize("look", [False, True], ids=["at-once", "after-a-look"])
@pytest.mark.parametrize("mode", ["--soft", "--mixed"])
def test_a_commit_that_is_taken_back_is_made_good_by_the_next_one(repo, mode, look):
    """git reset HEAD~1 leaves the segment in the work tree; the commit made anew holds it again."""
    edit(repo)
    commit(repo, "all", "-q", "-m", "two")
    git(repo, "reset", "-q", mode, "HEAD~1")
    if look:
        assert titles(repo) == ["Know why"]
    commit(repo, "plain", "-q", "-m", "again")
    assert_all_committed(repo)


def test_a_published_segment_that_was_unstaged_comes_with_the_next_commit(repo):
    """publish, then git reset: the segment is untracked, and the next commit takes it."""
    assert published(repo)
    git(repo, "reset", "-q")
    assert titles(repo) == ["Know why"]
    edit(repo)
    commit(repo, "all", "-q", "-m", "two")
    assert_all_committed(repo)


def test_records_alone_are_committed_after_publish(repo):
    """publish stages one segment, says so, has nothing to do the second time, and git commit takes it."""
    first = run(repo, "publish", "--json").json
    assert first["events"] == 1
    assert changed(repo) == [f"A  {first['segment']}"]
    second = run(repo, "publish", "--json").json
    assert (second["segment"], second["events"]) == (None, 0)
    git(repo, "commit", "-q", "-m", "records")
    assert list(segments(repo)) == [first["segment"]]
    assert_all_committed(repo)


def test_a_commit_with_nothing_but_records_succeeds_the_second_time(repo):
    """git looks for something to commit before the hook stages the segment: at the latest the next try takes it."""
    git(repo, "commit", "-q", "-m", "records", check=False)
    git(repo, "commit", "-q", "-m", "records", check=False)
    assert_all_committed(repo)


def test_an_idle_repository_makes_no_new_segments(repo):
    """Commit after commit without records: the journal stays as it is."""
    edit(repo)
    commit(repo, "all", "-q", "-m", "two")
    before = segments(repo)
    for number in range(3):
        edit(repo, f"{number}\n")
        commit(repo, "all", "-q", "-m", "on")
        titles(repo)
    assert segments(repo) == before


def test_a_held_lock_leaves_events_pending_and_the_commit_goes_on(repo):
    """Fifty milliseconds are all that a commit waits for another writer."""
    descriptor = os.open(common_dir(repo) / "mlos" / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    edit(repo)
    began = time.monotonic()
    commit(repo, "all", "-q", "-m", "two")
    took = time.monotonic() - began
    os.close(descriptor)
    assert segments(repo) == {} and changed(repo) == [] and took < 3
    assert_nothing_forgotten(repo)
    edit(repo, "three\n")
    commit(repo, "all", "-q", "-m", "three")
    assert_all_committed(repo)


def test_an_open_transaction_of_another_program_does_not_hold_up_a_commit(repo):
    """Somebody's sqlite3 shell in the middle of a transaction knows nothing of our lock."""
    other = sqlite3.connect(git_dir(repo) / "mlos" / "index.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    edit(repo)
    began = time.monotonic()
    commit(repo, "all", "-q", "-m", "two")
    took = time.monotonic() - began
    other.execute("ROLLBACK")
    other.close()
    assert changed(repo) == []
    assert_nothing_forgotten(repo)
    assert took < 3


def damage_nothing(database):
    """Delete the database and what belongs to it."""
    for path in database.parent.glob("index.db*"):
        path.unlink()


def damage_all(database):
    """Put something else in its place."""
    damage_nothing(database)
    database.write_bytes(b"this is no database, but it is long enough to be one\n" * 400)


def damage_empty(database):
    """Cut it to nothing."""
    damage_nothing(database)
    database.write_bytes(b"")


def damage_table(database, table="events"):
    """Overwrite one table's first page: the database opens, and fails where that table is read."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    connection.close()
    data = database.read_bytes()
    damage_nothing(database)
    database.write_bytes(data[: (page - 1) * size] + b"\xa5" * size + data[page * size :])


def damage_outbox(database):
    """The same where captured changes wait to be flushed."""
    damage_table(database, "outbox")


def damage_folder(database):
    """Put a folder in its place."""
    damage_nothing(database)
    database.mkdir()


DAMAGE = [damage_nothing, damage_all, damage_empty, damage_table, damage_outbox, damage_folder]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda one: one.__name__)
def test_a_broken_index_stops_no_commit_and_rebuild_mends_it(repo, damage):
    """The commit goes on whatever became of the database, and rebuild brings everything back."""
    before = dump(repo)
    damage(git_dir(repo) / "mlos" / "index.db")
    edit(repo)
    commit(repo, "all", "-q", "-m", "two\n\nTask: 1")
    assert git(repo, "show", "HEAD:note.md").stdout == "two\n"
    assert changed(repo) == []
    run(repo, "rebuild")
    assert titles(repo) == ["Know why"]
    assert_nothing_forgotten(repo)
    assert before.split("# events")[1].split("# held")[0] in dump(repo)
    edit(repo, "three\n")
    commit(repo, "all", "-q", "-m", "three")
    assert_all_committed(repo)


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda one: one.__name__)
def test_a_broken_index_is_an_error_with_a_way_out_or_is_made_anew(repo, damage):
    """Any other command either answers from an index made anew or says what to type."""
    damage(git_dir(repo) / "mlos" / "index.db")
    done = run(repo, "need", "list", "--json", ok=False)
    if done.code:
        assert done.code == 3 and "rebuild" in done.err
    else:
        assert [row["title"] for row in done.json["rows"]] == ["Know why"]


def test_events_written_by_another_program_are_published(repo):
    """A row that came by plain SQL goes into the very next commit, without a command of ours in between."""
    with sqlite3.connect(git_dir(repo) / "mlos" / "index.db") as other:
        other.execute("INSERT INTO needs(title) VALUES ('By hand')")
    other.close()
    edit(repo)
    commit(repo, "all", "-q", "-m", "two")
    assert_all_committed(repo)
    assert titles(repo) == ["By hand", "Know why"]
    assert_rebuild_is_equal(repo)
