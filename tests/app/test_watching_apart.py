"""What takes long is looked at apart: by a process of its own, which holds up nothing and ends with the watcher."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import naive
import pytest
from cli import PROCESS, opened, run, save, workspace, write
from gitrepo import git
from watched import called, family, indexed, watching

from mlos_sync.app import apart, collecting, planning
from mlos_sync.app import sync as syncing
from mlos_sync.app import watching as watching_here
from mlos_sync.app.sync import TransientError, sync
from mlos_sync.core import changes
from mlos_sync.core.changes import Reach
from mlos_sync.edge import files, hashing, store, transcribing
from mlos_sync.edge.workspace import find

APART = "mlos_sync.app.apart"
SESSION = (
    '{"type":"user","sessionId":"5e55","cwd":"/w","timestamp":"2026-01-02T03:04:05Z","uuid":"u1",'
    '"message":{"role":"user","content":"hello"}}\n'
)


@pytest.fixture
def repo(tmp_path):
    """A committed workspace with a view."""
    made = workspace(tmp_path)
    write(made, "notes/a.md", "one\n")
    run(made, "compile")
    save(made, "first")
    return made


def large(repo, name="large.bin"):
    """A file that takes half a second to hash, and no room."""
    with (repo / name).open("wb") as file:
        file.truncate(1 << 29)


@contextlib.contextmanager
def held_up(watcher):
    """The process that hashes for the other one stands still, so that this takes as long as we want."""
    worker = watcher.eventually(
        lambda: [one for other in called(watcher.process.pid, APART) for one in called(other, "hash_worker.py")]
    )
    signalled(worker, signal.SIGSTOP)
    yield
    signalled(worker, signal.SIGCONT)


def signalled(processes, number):
    """Send each a signal, where it still runs."""
    for one in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(one), number)


def many(repo):
    """So many files that a look at everything is one of a large tree."""
    (repo / "many").mkdir()
    for number in range(apart.MANY + 1):
        (repo / "many" / f"{number}.md").touch()
    run(repo, "sync")


@pytest.mark.parametrize("when", ["later", "at the start", "at the start of many"])
def test_while_a_large_file_is_hashed_all_else_goes_on(repo, when):
    """A view that is edited by hand is told, a note is recorded, before the large file is; then that, too."""
    if when == "at the start of many":
        many(repo)
    if when != "later":
        large(repo)
    with watching(repo) as watcher:
        if when == "later":
            watcher.started()
            large(repo)
        with held_up(watcher):
            (repo / "PROBLEM.md").write_text((repo / "PROBLEM.md").read_text() + "my own line\n")
            write(repo, "notes/b.md", "two\n")
            watcher.until(lambda look: "PROBLEM.md" in look.get("edited", []))
            watcher.eventually(lambda: b"notes/b.md" in indexed(repo))
            assert b"large.bin" not in indexed(repo) and watcher.told()["behind"]
        watcher.until(lambda look: "large.bin" in look.get("added", []))
        watcher.settled()
        watcher.eventually(lambda: watcher.told()["behind"] is None)
        assert [one["subject"] for one in run(repo, "status", "--json").json["observations"]] == ["PROBLEM.md"]


def test_a_view_is_told_before_all_is_looked_at_again(repo):
    """Also where so much came at once that one by one is too much, while another look goes on."""
    many(repo)
    large(repo)
    with watching(repo) as watcher:
        with held_up(watcher):
            for number in range(1200):
                write(repo, f"notes/{number}.md", "three\n")
            (repo / "PROBLEM.md").write_text((repo / "PROBLEM.md").read_text() + "my own line\n")
            watcher.until(lambda look: "PROBLEM.md" in look.get("edited", []))
            assert b"large.bin" not in indexed(repo)
        watcher.settled()


def test_a_view_is_told_before_it_can_be_recorded(repo):
    """While the other process writes all that it found nobody else can; the line on the terminal waits for none of it."""
    with watching(repo) as watcher:
        watcher.started()
        large(repo)
        with held_up(watcher), store.writer_lock(find(str(repo)).common):  # in the place of that process
            (repo / "PROBLEM.md").write_text((repo / "PROBLEM.md").read_text() + "my own line\n")
            watcher.until(lambda look: "PROBLEM.md" in look.get("edited", []))
            assert not observed(repo)
        watcher.eventually(lambda: observed(repo) == ["PROBLEM.md"])
        watcher.settled()
    assert sum("PROBLEM.md" in look.get("edited", []) for look in watcher.seen) == 1


def observed(repo):
    """Of views, as any program reads them."""
    with contextlib.closing(sqlite3.connect(f"file:{find(str(repo)).database}?mode=ro", uri=True)) as db:
        return [path for (path,) in db.execute("SELECT subject FROM observations WHERE kind = 'view'")]


def test_a_question_includes_a_large_file(repo):
    """Whoever waits is answered when it is hashed, however much is recorded meanwhile."""
    with watching(repo) as watcher:
        watcher.started()
        large(repo)
        with held_up(watcher):
            write(repo, "notes/b.md", "two\n")
            asked = threading.Thread(target=run, args=(repo, "status", "--wait"), kwargs={"before": PROCESS})
            asked.start()
            watcher.eventually(lambda: b"notes/b.md" in indexed(repo))
            assert asked.is_alive()
        asked.join()
        assert {b"large.bin", b"notes/b.md"} <= indexed(repo).keys()


def test_a_large_file_that_changes_meanwhile_is_looked_at_again(repo):
    """And one that goes meanwhile is gone."""
    with watching(repo) as watcher:
        watcher.started()
        large(repo)
        large(repo, "other.bin")
        with held_up(watcher):
            (repo / "large.bin").write_bytes(b"small\n")
            (repo / "other.bin").unlink()
        watcher.settled()
        watcher.eventually(lambda: watcher.told()["behind"] is None)


def test_what_is_begun_apart_is_not_recorded_amid_git(repo):
    """A merge that begins while a large file is hashed: nothing is recorded until it is done."""
    git(repo, "checkout", "-q", "-b", "side")
    write(repo, "notes/a.md", "side\n")
    git(repo, "commit", "-qam", "side")
    git(repo, "checkout", "-q", "main")
    write(repo, "notes/a.md", "main\n")
    git(repo, "commit", "-qam", "main")
    with watching(repo) as watcher:
        watcher.started()
        large(repo)
        with held_up(watcher):
            git(repo, "merge", "side", check=False)
            watcher.eventually(lambda: watcher.told()["waits_for"])
        watcher.eventually(lambda: not called(watcher.process.pid, APART))
        assert b"large.bin" not in indexed(repo)
        git(repo, "merge", "--abort")
        watcher.settled()


def test_one_that_is_killed_is_begun_again(repo):
    """By the system, for its memory, say: it is told, and tried again."""
    with watching(repo) as watcher:
        watcher.started()
        large(repo)
        with held_up(watcher):
            signalled(called(watcher.process.pid, APART), signal.SIGKILL)
        watcher.eventually(lambda: "ended early" in "".join(watcher.complaints))
        watcher.settled()


@pytest.mark.parametrize("size", ["large tree", "large file"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_watcher(repo, size, number):
    """At once, with the process that hashes for it; the next start is as any."""
    if size == "large tree":
        many(repo)
    large(repo)
    with watching(repo) as watcher:
        with held_up(watcher):
            mine = family(watcher.process.pid)
            if number == signal.SIGTERM:
                assert watcher.end() == 0
            watcher.kill()
        end = time.monotonic() + 60
        while any(files.is_alive(int(one)) for one in mine):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert b"large.bin" not in indexed(repo)  # it was not waited for
    (repo / "large.bin").unlink()
    with watching(repo) as watcher:
        watcher.settled()


def test_what_is_large_is_moved_as_a_whole(repo):
    """Old name and new are looked at together: what somebody said of the files stays."""
    write(repo, "small.txt", "small\n")
    (repo / "large.bin").write_bytes(os.urandom(1 << 20) * 20)
    run(repo, "sync")
    for name in ("small.txt", "large.bin"):
        run(repo, "link", name, "references", "notes/a.md")
    with watching(repo) as watcher:
        watcher.started()
        (repo / "large.bin").rename(repo / "huge.bin")
        (repo / "small.txt").rename(repo / "tiny.txt")
        moved = [one for _ in range(2) for one in watcher.until(lambda look: look.get("moved"))["moved"]]
        assert [(one["from"], one["to"]) for one in moved] == [("small.txt", "tiny.txt"), ("large.bin", "huge.bin")]
        assert not any(look.get("added") or look.get("deleted") for look in watcher.seen)
        watcher.eventually(lambda: watcher.told()["behind"] is None)
    links = run(repo, "links", "notes/a.md").out
    assert "huge.bin" in links and "tiny.txt" in links


def test_a_folder_that_is_moved_is_not_missed(repo):
    """Most of the workspace, and too large for the loop: neither told as a mass disappearance, nor there twice."""
    (repo / "d").mkdir()
    for number in range(60):
        (repo / "d" / f"{number}").write_bytes(os.urandom(400_000))
    run(repo, "sync")
    with watching(repo) as watcher:
        watcher.started()
        (repo / "d").rename(repo / "e")
        watcher.settled()
        watcher.eventually(lambda: watcher.told()["behind"] is None)
        run(repo, "need", "add", "the last look is told by now")
        watcher.until(lambda look: sum(len(one.get("moved", ())) for one in (*watcher.seen, look)) >= 60)
        assert not any(look.get("skipped") for look in watcher.seen)


def test_what_waited_alone_waits_no_more(repo):
    """A large file and nothing else: then the index is behind no longer, by its own words."""
    with watching(repo) as watcher:
        watcher.started()
        large(repo)
        watcher.until(lambda look: "large.bin" in look.get("added", []))
        watcher.eventually(lambda: watcher.told()["behind"] is None)


def test_a_process_that_cannot_be_had_is_tried_again(repo, monkeypatch):
    """Told once; all else goes on."""
    begin, tries = apart.Apart.begin, []

    def fails(self, workspace):
        tries.append(workspace)
        if len(tries) < 3:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        begin(self, workspace)

    monkeypatch.setattr(apart.Apart, "begin", fails)
    (repo / "large.bin").write_bytes(os.urandom(1 << 20) * 20)
    looks = watching_here.looks(str(repo))
    said = []
    for look in looks:
        said.append(look)
        if look.report is not None and "large.bin" in look.report.changes.added:
            break
    looks.close()
    assert [look.problem.message for look in said if look.problem] == ["the system: Resource temporarily unavailable"]
    assert len(tries) == 3


def test_an_index_that_was_rebuilt_meanwhile_is_written_no_more(repo, monkeypatch):
    """What was planned for the old one is not recorded there, where nobody would ever see it."""
    write(repo, "notes/b.md", "two\n")
    prepare = planning.prepare

    def rebuilt(index, *more, **options):
        plan = prepare(index, *more, **options)
        monkeypatch.setattr(planning, "prepare", prepare)
        run(repo, "rebuild")
        return plan

    monkeypatch.setattr(planning, "prepare", rebuilt)
    with opened(repo) as index, pytest.raises(TransientError, match="rebuilt"):
        sync(index)
    assert indexed(repo) == naive.files(repo)


def test_a_rebuild_beside_it_costs_nothing(repo):
    """What is written while the new index is made, and what is looked at apart then, is in the new one."""
    with watching(repo) as watcher:
        watcher.started()
        large(repo)
        rebuild = subprocess.Popen(
            [sys.executable, "-I", "-m", "mlos_sync", "rebuild"], cwd=repo, stdout=subprocess.DEVNULL
        )
        with held_up(watcher):
            write(repo, "notes/b.md", "two\n")
            assert rebuild.wait() == 0
        watcher.settled()
        assert run(repo, "status", "--wait", "--json").json["fresh"]


def overtaken(repo, monkeypatch, change):
    """The next sync is overtaken by another one after each of its looks but the last, the one under the lock; before that
    `change` is called with the number of the look."""
    collect, calls = collecting.collect, []

    def meanwhile(index, plan, **options):
        calls.append(plan)
        if len(calls) < 3:
            change(len(calls))
            path = f"notes/c{len(calls)}.md"
            write(repo, path, "four\n")
            subprocess.run([sys.executable, "-I", "-m", "mlos_sync", "sync", path], cwd=repo, check=True)
        return collect(index, plan, **options)

    monkeypatch.setattr(collecting, "collect", meanwhile)


def test_what_is_large_is_not_read_while_others_wait(repo, monkeypatch):
    """Two syncs at once, again and again: what changed is read under the lock at last, but no large file, which is named."""
    monkeypatch.setattr(syncing, "LOCKED", 1 << 20)
    (repo / "large.bin").write_bytes(os.urandom(2 << 20))
    write(repo, "notes/b.md", "two\n")

    def again(time):
        (repo / "large.bin").write_bytes(os.urandom(2 << 20))
        write(repo, "notes/b.md", f"{time} times\n")

    overtaken(repo, monkeypatch, again)
    with opened(repo) as index:
        report = sync(index)
    assert report.skipped == {"large.bin": syncing.LATER} and report.left.paths == {"large.bin"}
    found, there = indexed(repo), naive.files(repo)
    assert {name: there[name] for name in found} == found and there.keys() - found.keys() == {b"large.bin"}
    run(repo, "sync")
    assert indexed(repo) == there


def test_a_move_is_whole_where_a_sync_plans_again(repo, monkeypatch):
    """What the first plan hashed, and what came since and is too large to be read under the lock."""
    monkeypatch.setattr(syncing, "LOCKED", 1 << 20)
    write(repo, "small.txt", "small\n")
    run(repo, "sync")
    run(repo, "link", "small.txt", "references", "notes/a.md")
    (repo / "small.txt").rename(repo / "tiny.txt")
    time.sleep(0.1)
    overtaken(repo, monkeypatch, lambda time: (repo / f"large{time}.bin").write_bytes(os.urandom(2 << 20)))
    with opened(repo) as index:
        sync(index)
    run(repo, "sync")
    assert "tiny.txt" in run(repo, "links", "notes/a.md").out and indexed(repo) == naive.files(repo)


def test_what_goes_on_while_it_is_read_is_a_move_still(repo):
    """A large file that is renamed, and renamed again before it was looked at; and nothing is told of what went."""
    (repo / "a.bin").write_bytes(os.urandom(1 << 20) * 200)
    run(repo, "sync")
    run(repo, "link", "a.bin", "references", "notes/a.md")
    with watching(repo) as watcher:
        watcher.started()
        (repo / "a.bin").rename(repo / "b.bin")
        write(repo, "gone.bin", "x" * (17 << 20))
        with held_up(watcher):
            (repo / "b.bin").rename(repo / "c.bin")
            (repo / "gone.bin").unlink()
            time.sleep(1)
        watcher.until(lambda look: look.get("moved") == [{"from": "a.bin", "to": "c.bin"}])
        watcher.settled()
        assert not run(repo, "status", "--wait", "--json").json["observations"]
    assert "c.bin" in run(repo, "links", "notes/a.md").out


def test_a_transcript_that_grows_between_two_plans_is_read_again(repo, monkeypatch):
    """Its rows are of the bytes whose hash the artifact has, or no later sync would look at it."""
    write(repo, "talk.jsonl", SESSION)
    prepare, plans = planning.prepare, []

    def meanwhile(*more, **options):
        if plans:
            write(repo, "talk.jsonl", SESSION + SESSION.replace("5e55", "aaaa").replace("u1", "u2"))
        plans.append(prepare(*more, **options))
        return plans[-1]

    read_files = transcribing.read_files

    def followed(root, places, *more):
        found = list(read_files(root, places, *more))
        if len(plans) == 1:
            write(repo, "notes/b.md", "two\n")
            run(repo, "sync", "notes/b.md")
        return iter(found)

    monkeypatch.setattr(planning, "prepare", meanwhile)
    monkeypatch.setattr(transcribing, "read_files", followed)
    with opened(repo) as index:
        sync(index)
    assert indexed(repo) == naive.files(repo)
    assert {one["session_id"] for one in run(repo, "transcripts", "--json").json["sessions"]} == {"5e55", "aaaa"}


def test_git_that_begins_and_ends_while_files_are_read(repo, monkeypatch):
    """What was there for a moment is not recorded, though nothing goes on by the time of the writing."""
    git(repo, "branch", "other")
    write(repo, "notes/a.md", "of the moment\n")
    prepare, plans = planning.prepare, []

    def meanwhile(*more, **options):
        plans.append(prepare(*more, **options))
        if len(plans) == 1:
            git(repo, "stash")
        return plans[-1]

    monkeypatch.setattr(planning, "prepare", meanwhile)
    with opened(repo) as index:
        sync(index, in_background=True)
        assert not index.db.execute("SELECT 1 FROM artifact_versions").fetchone()
    assert indexed(repo) == naive.files(repo)


def test_what_was_missing_while_git_had_its_lock_is_looked_for_again(repo, monkeypatch):
    """A file was moved in the instant in which git had its index locked, and git wrote nothing: no event will tell."""
    at_work, answers = files.is_git_at_work, [True]
    monkeypatch.setattr(files, "is_git_at_work", lambda workspace: answers.pop() if answers else at_work(workspace))
    end = time.monotonic() + 60
    looks = watching_here.looks(str(repo), ended=lambda: time.monotonic() > end)
    next(looks)
    (repo / "notes" / "a.md").unlink()
    assert next(look for look in looks if look.report)
    assert not answers and b"notes/a.md" in indexed(repo)
    assert next(look.report.changes.deleted for look in looks if look.report.changes) == ("notes/a.md",)
    looks.close()


def test_while_others_write_it_listens(repo):
    """A note that waits for the lock keeps no view from being told."""
    with watching(repo) as watcher:
        watcher.started()
        with store.writer_lock(find(str(repo)).common):
            write(repo, "notes/b.md", "two\n")
            time.sleep(0.8)
            (repo / "PROBLEM.md").write_text((repo / "PROBLEM.md").read_text() + "my own line\n")
            watcher.until(lambda look: "PROBLEM.md" in look.get("edited", []))
        watcher.settled()
        assert not watcher.complaints


def test_a_burst_is_left_as_a_whole(repo):
    """So many that all is looked at anyhow: to read a part of it first would be to read twice."""
    (repo / "PROBLEM.md").write_text((repo / "PROBLEM.md").read_text() + "x")
    (repo / "many").mkdir()
    for number in range(changes.FEW + 10):
        (repo / "many" / f"{number}.md").touch()
    with opened(repo) as index:
        plan = planning.prepare(index, at_most=9 * planning.EACH)
    assert len(plan.left) == changes.FEW + 10 and "PROBLEM.md" in plan.hashed


def test_views_are_left_to_nobody(repo):
    """However large: of their edits somebody shall hear at once."""
    (repo / "PROBLEM.md").write_text((repo / "PROBLEM.md").read_text() + "x" * 5000)
    write(repo, "notes/b.md", "x" * 100)
    with opened(repo) as index:
        plan = planning.prepare(index, at_most=planning.EACH)
    assert plan.left == {"notes/b.md"} and "PROBLEM.md" in plan.hashed


def test_what_two_syncs_read_at_once_is_read_once(repo, monkeypatch):
    """The one that comes later plans again, while others wait for it; what it hashed and read before counts."""
    write(repo, "talk.jsonl", SESSION)
    write(repo, "notes/b.md", "two\n")
    hashed, read = [], []
    hash_files, read_files = hashing.hash_files, transcribing.read_files

    def counted(root, paths, *more):
        hashed.extend(paths)
        return hash_files(root, paths, *more)

    def followed(root, places, *more):
        read.extend(path for path, *_ in places)
        if places and len(read) == 1:  # somebody else is faster
            time.sleep(0.1)
            write(repo, "notes/b.md", "other\n")
            with opened(repo) as index:
                sync(index, Reach(frozenset({"notes/b.md"})))
        return read_files(root, places, *more)

    time.sleep(0.1)  # younger files are distrusted
    monkeypatch.setattr(hashing, "hash_files", counted)
    monkeypatch.setattr(transcribing, "read_files", followed)
    with opened(repo) as index:
        sync(index)
    assert hashed.count("talk.jsonl") == 1 and read.count("talk.jsonl") == 1
    assert indexed(repo) == naive.files(repo)
    assert [one["session_id"] for one in run(repo, "transcripts", "--json").json["sessions"]] == ["5e55"]


def test_how_much_is_read_is_known_before_it_is_read(repo, tmp_path):
    """The largest files are named, as few as it takes; of private transcripts, that there are too many."""
    for number, size in enumerate((10, 3000, 20, 2000)):
        write(repo, f"f{number}", "x" * size)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "talk.jsonl").write_text(SESSION)
    git(repo, "config", "mlos-sync.transcripts", str(tmp_path / "elsewhere"))
    with opened(repo) as index:
        plan = planning.prepare(index, at_most=4 * planning.EACH + 2500)
        assert plan.left == {"f1"} and plan.hashed.keys() == {"f0", "f2", "f3"}
        assert planning.prepare(index, at_most=0).left == {"f0", "f1", "f2", "f3"}
        plan = planning.prepare(index)
        found = collecting.collect(index, plan, at_most=10)
        assert found.left and not found.read
        found = collecting.collect(index, plan)
        assert found.read and not found.left
