"""Catching up costs what has changed, and still ends where an index that is made anew begins: what could not be read is
read when it can be, one of two copies may go, history may grow at its far end, the pending log may lose what it had."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from cli import (
    assert_rebuild_is_equal,
    clone,
    common_dir,
    git_dir,
    head,
    ledger,
    link,
    need,
    opened,
    pending,
    run,
    save,
    segments,
    titles,
    with_one_need,
    write,
)
from gitrepo import git

from mlos_sync.app import freshness, looking, records
from mlos_sync.core.journal import BadLineError
from mlos_sync.edge import decoding
from mlos_sync.edge.child import Child
from mlos_sync.errors import SurroundingsError


@pytest.fixture
def repo(tmp_path):
    """A workspace with one need in a commit."""
    return with_one_need(tmp_path, "First")


def commit(repo, message, *options):
    git(repo, "commit", "-q", "--allow-empty", "-m", message, *options)


def status_of_task(repo):
    return run(repo, "task", "list", "--json").json["rows"][0]["status"]


def test_a_tree_that_could_not_be_read_is_read_when_it_can_be(repo):
    """A folder of the journal is missing among git's objects, and not on disk either; then it is back."""
    need(repo, "Second")
    commit(repo, "second")
    folder = next(iter(segments(repo))).rpartition("/")[0]
    tree = head(repo, f"HEAD:{folder}")
    place = git_dir(repo) / "objects" / tree[:2] / tree[2:]
    git(repo, "sparse-checkout", "set", "--no-cone", "/.mlos/config.toml")
    aside = place.rename(repo.parent / "aside")
    run(repo, "rebuild", ok=False)
    run(repo, "need", "list", ok=False)
    aside.rename(place)
    assert titles(repo) == ["First", "Second"]
    assert need(repo, "Third")["id"] == 3


def test_a_branch_that_could_not_be_read_still_holds_what_it_has(repo):
    """Nothing is taken for given up because its branch cannot be read now."""
    git(repo, "switch", "-q", "-c", "side")
    need(repo, "Aside")
    commit(repo, "aside")
    folder = next(iter(segments(repo))).rpartition("/")[0]
    tree = head(repo, f"side:{folder}")
    git(repo, "switch", "-q", "main")
    assert titles(repo) == ["First"] and pending(repo) == 0
    place = git_dir(repo) / "objects" / tree[:2] / tree[2:]
    aside = place.rename(repo.parent / "aside")
    git(repo, "branch", "another")
    run(repo, "need", "list")
    aside.rename(place)
    assert titles(repo) == ["First"] and pending(repo) == 0


def test_one_of_two_paths_of_a_segment_may_go(repo):
    """Somebody committed a copy of a segment in another folder, and took it away again."""
    (path,) = segments(repo)
    other = write(repo, f".mlos/journal/2026/01/{path.rpartition('/')[2]}", segments(repo)[path])
    git(repo, "add", ".mlos")
    commit(repo, "twice", "--no-verify")
    assert titles(repo) == ["First"]
    git(repo, "rm", "-q", str(other))
    commit(repo, "once", "--no-verify")
    assert titles(repo) == ["First"] and pending(repo) == 0


def test_history_that_is_fetched_later_counts(repo):
    """A shallow clone learns what lies below its end: a need whose segment a revert took away."""
    need(repo, "Reverted")
    commit(repo, "more")
    git(repo, "revert", "--no-edit", "HEAD")
    git(repo, "-c", "core.hooksPath=/dev/null", "commit", "-q", "--allow-empty", "-m", "later")
    git(repo.parent, "clone", "-q", "--depth", "1", f"file://{repo}", "shallow")
    there = repo.parent / "shallow"
    run(there, "init")
    assert titles(there) == ["First"]
    git(there, "fetch", "-q", "--unshallow")
    assert titles(there) == ["First", "Reverted"] == titles(repo)
    assert_rebuild_is_equal(there)


def test_what_a_detached_head_saw_is_taken_along(repo):
    """A commit that no ref names holds a need; HEAD leaves it, and no ref changes by that."""
    git(repo, "switch", "-q", "--detach")
    other = clone(repo, "other")
    git(other, "switch", "-q", "-c", "theirs")
    need(other, "Theirs")
    commit(other, "theirs")
    need(repo, "Pending")
    assert titles(repo) == ["First", "Pending"]
    git(repo, "fetch", "-q", str(other), "theirs")
    git(repo, "switch", "-q", "--detach", "FETCH_HEAD")
    assert titles(repo) == ["First", "Pending", "Theirs"]
    git(repo, "switch", "-q", "main")
    assert titles(repo) == ["First", "Pending", "Theirs"]


@pytest.mark.parametrize("title", ["Other", "Longer than it was"])
def test_a_log_that_lost_its_end_with_the_power(repo, title):
    """The index is ahead of the pending log, and another work tree has written where its end was."""
    git(repo, "worktree", "add", "-q", "-b", "side", "../tree")
    tree = repo.parent / "tree"
    run(tree, "rebuild")
    log = common_dir(repo) / "mlos" / "ledger.jsonl"
    size = log.stat().st_size
    need(repo, "Ahead")
    os.truncate(log, size)
    need(tree, title)
    assert titles(repo) == sorted(["First", "Ahead", title])
    need(repo, "Next")
    assert len(ledger(repo)) == 4
    assert_rebuild_is_equal(repo)


@pytest.mark.parametrize("way", ["aborted", "reset"])
def test_a_task_reopened_after_a_closing_that_is_amended_away(repo, way):
    """Its closing was published for a commit that was not made, or is no more; the reopening has seen it, and goes into the
    next commit with it."""
    run(repo, "task", "add", "Do it")
    commit(repo, "task")
    write(repo, "note.md", "two\n")
    git(repo, "commit", "-q", "-a", "-m", "work\n\nCloses: task:1")
    write(repo, "note.md", "three\n")
    if way == "aborted":
        git(repo, "commit", "-q", "-a", env={"GIT_EDITOR": "false"}, check=False)
        git(repo, "checkout", "-q", "note.md")
    else:
        run(repo, "publish")
        git(repo, "commit", "-q", "-a", "-m", "more")
        git(repo, "reset", "-q", "--hard", "HEAD~1")
    run(repo, "task", "set", "1", "--status", "open")
    git(repo, "commit", "-q", "--amend", "-m", "work without closing")
    write(repo, "note.md", "four\n")
    git(repo, "commit", "-q", "-a", "-m", "more")
    assert run(repo, "status", "--json").json["pending_events"] == 0
    assert status_of_task(repo) == "open"
    assert_rebuild_is_equal(repo)


def test_a_look_that_others_overtook_is_taken_again(repo, monkeypatch):
    """Between a look and the lock another command takes in a newer commit: the older look must not lead back."""
    run(repo, "task", "add", "Do it")
    folders = looking._folders

    def overtaken(index):
        monkeypatch.setattr(looking, "_folders", folders)
        commit(repo, "done\n\nCloses: task:1")
        assert status_of_task(repo) == "completed"
        return folders(index)

    with opened(repo) as index:
        freshness.catch_up(index)
        monkeypatch.setattr(looking, "_folders", overtaken)
        records.add(index, "need", [{"title": "Second"}])
        assert records.row_of(index.db, "task", records.find(index.db, "task:1")[1])["status"] == "completed"


def test_edges_that_a_rename_made_one(repo):
    """Two edges come to say the same: always the same one stands, and the other comes back when it goes."""
    write(repo, "a.md", "a\n" * 20)
    save(repo, "a")
    git(repo, "switch", "-q", "-c", "side")
    git(repo, "mv", "a.md", "b.md")
    save(repo, "renamed")
    run(repo, "sync")
    link(repo, "need:1", "references", "artifact:b.md", '{"v":2}')
    commit(repo, "side")
    git(repo, "switch", "-q", "main")
    run(repo, "sync")
    link(repo, "need:1", "references", "artifact:a.md", '{"v":1}')
    commit(repo, "main")
    git(repo, "merge", "-q", "--no-edit", "side")
    run(repo, "sync")

    def edge():
        rows = run(repo, "links", "need:1", "--json").json["edges"]
        return [row["metadata"]["v"] for row in rows if not row.get("cut")]

    (stands,) = edge()
    for number in range(3):
        commit(repo, f"later {number}")
        assert edge() == [stands]
    assert_rebuild_is_equal(repo)
    run(repo, "unlink", "need:1", "references", "artifact:b.md")
    assert edge() == [3 - stands]
    assert_rebuild_is_equal(repo)


def test_a_message_that_names_a_record_to_come(repo):
    """The commit is older than the record that its number means here; live and made anew say the same."""
    commit(repo, "early\n\nCloses: task:1")
    run(repo, "sync")
    run(repo, "task", "add", "Late")
    assert_rebuild_is_equal(repo)


def test_a_number_that_another_clone_gave_out_too(repo):
    """A bare number in a message means two records once the other clone's comes: nobody guesses, live or made anew."""
    there = clone(repo, "there")
    run(repo, "task", "add", "Here")
    git(repo, "-c", "core.hooksPath=/dev/null", "commit", "-q", "--allow-empty", "-m", "done\n\nCloses: task:1")
    run(repo, "sync")
    run(there, "task", "add", "There")
    commit(there, "there")
    git(repo, "pull", "-q", "--no-rebase", "--no-edit", str(there), "main")
    run(repo, "sync")
    assert_rebuild_is_equal(repo)


def test_a_process_that_ended_early_is_named():
    """Not the broken pipe that comes of it; and no process is left."""
    child = Child("decode_worker.py")
    child._process.kill()
    child._process.wait()
    with pytest.raises(SurroundingsError, match="ended early"):
        try:
            child.ask(("read", [("name", b"x" * 1_000_000)]))
        finally:
            child.stop()
    assert child._process.returncode == -signal.SIGKILL


def test_an_interrupt_is_the_parents_to_tell(capfd):
    """Ctrl-C reaches all processes of a terminal; ours that work for another say nothing of it."""
    child = Child("decode_worker.py")
    child.ask(("read", []))
    assert child.answer() == []
    child._process.send_signal(signal.SIGINT)
    child.ask(("fold", []))
    assert child.answer() == []
    child.stop()
    assert capfd.readouterr().err == ""


def test_two_processes_make_what_one_makes(repo, monkeypatch):
    """Segments decoded and records folded beside this process, some at a time, and a damaged line told as ever."""
    for number in range(5):
        need(repo, f"need {number}")
        commit(repo, f"commit {number}")
    with opened(repo) as index:
        lines = index.db.execute("SELECT uid, line FROM events WHERE kind = 'need' ORDER BY uid").fetchall()
    asked = [(("need", uid), [line]) for uid, line in lines]
    found = [(path.rpartition("/")[2].removesuffix(".jsonl"), path, data) for path, data in segments(repo).items()]
    batches = [found[:2], found[2:3], found[3:]]
    alone = dict(decoding.folded(iter(asked), 0)), list(decoding.decoded(batches, 0))
    for name, value in (("SEGMENTS", 1), ("RECORDS", 1), ("AT_ONCE", 2)):
        monkeypatch.setattr(decoding, name, value)
    both = dict(decoding.folded(iter(asked), len(asked))), list(decoding.decoded(batches, len(found)))
    assert both[0] == alone[0] and len(both[0]) == 6
    assert [one for batch in both[1] for one in batch] == [one for batch in alone[1] for one in batch]
    with pytest.raises(BadLineError):
        dict(decoding.folded(iter([(("need", "x"), ["{"]), *asked]), len(asked)))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="only Linux tells")
def test_what_a_killed_process_left_goes_before_its_parent_has_asked_for_it(repo):
    """A zombie runs no more: its half-written segment is taken away by the next sync."""
    dead = subprocess.Popen(["true"])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    left = write(repo, f"{next(iter(segments(repo))).rpartition('/')[0]}/.mlos-{dead.pid}-x", "half")
    run(repo, "sync")
    assert not left.exists()
    dead.wait()
