"""`watch` on a real work tree with real events: what changes is in the index, and who runs is known."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cli import need, opened, run, save, workspace, write
from gitrepo import env_of, git
from watched import Watcher, indexed, watching

from mlos_sync.app import awaiting, compiling, covering, opening, setup, standing, status, sync
from mlos_sync.app import watching as use_case
from mlos_sync.cli import syncing
from mlos_sync.core.changes import Changes
from mlos_sync.edge import operations
from mlos_sync.edge.hints import Hints
from mlos_sync.edge.workspace import find
from mlos_sync.errors import RefusedError, SurroundingsError


@pytest.fixture
def repo(tmp_path):
    """A committed workspace with a folder."""
    made = workspace(tmp_path)
    write(made, "notes/a.md", "one\n")
    save(made, "first")
    return made


def names(look):
    return [*look.get("added", []), *look.get("modified", []), *look.get("deleted", [])]


def test_new_changed_and_deleted_files_are_seen(repo):
    """Each change is in the index within a batch, in old and in new folders, and moves are moves."""
    with watching(repo) as watcher:
        watcher.started()
        (repo / "notes" / "b.md").write_text("two\n")
        assert watcher.until(lambda look: "notes/b.md" in names(look))["reason"] is None
        (repo / "notes" / "b.md").write_text("three\n")
        assert "notes/b.md" in watcher.until(names)["modified"]
        (repo / "fresh" / "deep").mkdir(parents=True)
        (repo / "fresh" / "deep" / "c.md").write_text("c\n")
        watcher.until(lambda look: "fresh/deep/c.md" in names(look))
        (repo / "fresh" / "deep" / "c.md").write_text("c again\n")
        watcher.until(lambda look: "fresh/deep/c.md" in look["modified"])
        (repo / "notes" / "b.md").unlink()
        assert "notes/b.md" in watcher.until(names)["deleted"]
        (repo / "fresh").rename(repo / "moved")
        found = watcher.until(lambda look: look["moved"])
        assert found["moved"] == [{"from": "fresh/deep/c.md", "to": "moved/deep/c.md"}]
        (repo / "moved" / "deep" / "c.md").write_text("and under its new name\n")
        watcher.until(lambda look: "moved/deep/c.md" in look["modified"])
        watcher.settled()
        assert not watcher.told()["rescans"]


def test_a_log_that_stays_open_is_seen(repo):
    """Transcripts are appended to by a process that never closes them."""
    with watching(repo) as watcher, (repo / "notes" / "log.jsonl").open("w") as log:
        watcher.started()
        for number in range(3):
            log.write(f'{{"n": {number}}}\n')
            log.flush()
            watcher.until(lambda look: "notes/log.jsonl" in names(look))
        watcher.settled()


def test_what_it_writes_itself_wakes_it_no_more(repo):
    """Hashing, the database, the lock, a compile: a quiet tree has no batches."""
    with watching(repo) as watcher:
        watcher.started()
        (repo / "notes" / "a.md").write_text("two\n")
        watcher.until(names)
        run(repo, "status")
        before = watcher.told()["batches"]
        time.sleep(3)  # longer than a beat: probes are no batches either
        assert watcher.told()["batches"] == before


def test_ignored_folders_are_not_watched(repo):
    """Neither those that git ignores, nor those of .mlosignore, nor repositories of their own; links are not followed."""
    for folder in ("node_modules/x/y", "build", "generated/deep", "sub/inner", "notes/empty/er"):
        (repo / folder).mkdir(parents=True)
    (repo / ".gitignore").write_text("node_modules/\nbuild\n")
    (repo / ".mlosignore").write_text("generated/\n")
    git(repo / "sub", "init", "-q")
    (repo / "link").symlink_to(repo / "notes")
    found = set(covering.folders(find(str(repo))))
    assert {"", "notes", "notes/empty", "notes/empty/er", ".mlos"} <= found
    assert not {
        path for path in found if path.startswith(("node_modules", "build", "generated", "sub", "link", ".git"))
    }


def test_a_rule_that_changes_changes_what_counts(repo):
    """A new line of .gitignore takes files away, and its end brings them back, with what was written meanwhile."""
    with watching(repo) as watcher:
        watcher.started()
        (repo / "build").mkdir()
        (repo / "build" / "x.md").write_text("x\n")
        watcher.until(lambda look: "build/x.md" in look["added"])
        (repo / ".gitignore").write_text("build/\n")
        watcher.until(lambda look: "build/x.md" in look["deleted"])
        (repo / "build" / "y.md").write_text("y\n")
        (repo / ".gitignore").write_text("\n")
        watcher.until(lambda look: "build/y.md" in look["added"])
        (repo / "build" / "y.md").write_text("watched again\n")
        watcher.until(lambda look: "build/y.md" in look["modified"])


def test_records_and_commits_are_picked_up(repo):
    """A commit is linked to its task without anybody asking."""
    run(repo, "need", "add", "Know why", "--status", "active")
    run(repo, "need", "set", "need:1", "--status", "actionable")
    with watching(repo) as watcher:
        watcher.started()
        (repo / "notes" / "a.md").write_text("two\n")
        git(repo, "commit", "-q", "-a", "-m", "second", "-m", "Closes: 1")
        head = git(repo, "rev-parse", "HEAD").stdout.strip()

        def linked():
            index = opening.open_index(str(repo))
            try:
                sql = "SELECT count(*) FROM relationships r JOIN commits c ON c.id = r.source_id WHERE c.sha = ?"
                return index.db.execute(sql + " AND source_type = 'commit'", (head,)).fetchone()[0]
            finally:
                index.db.close()

        watcher.eventually(linked)


def test_one_watcher_a_worktree_and_a_clean_stop(repo):
    """A second one is refused and says who watches; each signal stops it; status knows both; another worktree has its own."""
    git(repo, "worktree", "add", "-q", str(repo.parent / "other"))
    run(repo.parent / "other", "sync")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with watching(repo) as watcher, watching(repo.parent / "other") as other:
            watcher.started()
            other.started()
            second = run(repo, "watch", ok=False)
            assert second.code == 3 and f"process {watcher.process.pid}" in second.err and "kill" in second.err
            assert watcher.end(number) == 0
            index = opening.open_index(str(repo))
            assert status.status(index)["watcher"]["running"] is False
            index.db.close()


def test_after_a_kill_the_next_start_needs_no_questions(repo):
    """The lock dies with its process; what changed meanwhile is found."""
    with watching(repo) as watcher:
        watcher.started()
        watcher.send(signal.SIGKILL)
        watcher.process.wait()
    (repo / "notes" / "later.md").write_text("later\n")
    with watching(repo) as watcher:
        assert "notes/later.md" in watcher.until(names)["added"]


def test_a_hand_edit_of_a_view_is_flagged_and_left_alone(repo):
    """An observation and a line on the terminal; it goes when the edit goes."""
    run(repo, "compile")
    git(repo, "add", "--all")
    git(repo, "commit", "-q", "-m", "views")
    with watching(repo, "--compile") as watcher:
        watcher.started()
        edited = (repo / "PROBLEM.md").read_text() + "my own line\n"
        (repo / "PROBLEM.md").write_text(edited)
        watcher.until(lambda look: "PROBLEM.md" in look.get("edited", []))
        notes = run(repo, "status", "--json").json["observations"]
        assert [(one["kind"], one["subject"]) for one in notes] == [("view", "PROBLEM.md")]
        run(repo, "need", "add", "Know why", "--status", "active")
        time.sleep(2)
        assert (repo / "PROBLEM.md").read_text() == edited
        run(repo, "compile", "--discard")
        watcher.eventually(lambda: not run(repo, "status", "--json").json["observations"])


def test_a_view_does_not_wait_for_a_writer_that_never_rests():
    """Beside a log that is written all the time a batch ends when its view was quiet for as long as any batch needs."""
    hints = Hints()
    hints.urgent = frozenset({"/w/PROBLEM.md"})
    rest = threading.Event()

    def write():
        while not rest.wait(0.01):
            hints.add("/w/log")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        hints.add("/w/PROBLEM.md")
        assert "/w/PROBLEM.md" in hints.batch(quiet=0.1, most=3600, longest=3600).names
    finally:
        rest.set()
        writer.join()


def test_an_edit_while_a_view_is_made_durable_is_not_overwritten(repo, monkeypatch):
    """That takes as long as the disk takes."""
    run(repo, "compile")
    need(repo, "It makes the view stale", status="active")
    fsync, by_hand = os.fsync, (repo / "PROBLEM.md").read_bytes() + b"by hand\n"

    def slow(descriptor):
        (repo / "PROBLEM.md").write_bytes(by_hand)
        fsync(descriptor)

    with opened(repo) as index:
        monkeypatch.setattr(os, "fsync", slow)
        written, is_done = compiling.freshen(index, lambda: True)
        monkeypatch.undo()
    assert "PROBLEM.md" not in written and not is_done
    assert (repo / "PROBLEM.md").read_bytes() == by_hand
    assert not list(repo.glob(".mlos-*"))


@pytest.mark.parametrize("meanwhile", ["edit", "merge"])
def test_what_happens_while_it_compiles_is_not_overwritten(repo, monkeypatch, meanwhile):
    """To compile many views takes a second: an edit of that second is an edit, and git that begins then is not disturbed."""
    run(repo, "compile")
    need(repo, "It makes the view stale", status="active")
    before = (repo / "PROBLEM.md").read_bytes()
    by_hand = before + b"by hand\n"

    def compiled(source, view):
        if view.path != "PROBLEM.md":  # which was looked at
            if meanwhile == "edit":
                (repo / "PROBLEM.md").write_bytes(by_hand)
            else:
                (repo / ".git" / "MERGE_HEAD").write_text("0" * 40 + "\n")
        return compile_view(source, view)

    compile_view = compiling.compile_view
    monkeypatch.setattr(compiling, "compile_view", compiled)
    with opened(repo) as index:
        root, git_dir = index.workspace.root, index.workspace.git_dir
        written, is_done = compiling.freshen(index, lambda: operations.going_on(root, git_dir) is None)
        assert "PROBLEM.md" not in written and not is_done
        assert (repo / "PROBLEM.md").read_bytes() == (by_hand if meanwhile == "edit" else before)
        if meanwhile == "edit":
            (repo / "PROBLEM.md").write_bytes(before)
            with pytest.raises(RefusedError, match="changed meanwhile"):
                compiling.compile_views(index)
            assert (repo / "PROBLEM.md").read_bytes() == by_hand


def test_it_compiles_what_is_out_of_date_and_nothing_else(repo):
    """`--compile`: a changed record is in the view when the tree is quiet; a view that is not there is not made."""
    run(repo, "compile")
    (repo / ".mlos" / "INDEX.md").unlink()
    with watching(repo, "--compile") as watcher:
        watcher.started()
        run(repo, "need", "add", "A thing that is needed", "--status", "active")
        assert watcher.until(lambda look: look.get("compiled"))["compiled"] == ["PROBLEM.md"]
        assert "A thing that is needed" in (repo / "PROBLEM.md").read_text()
        assert not (repo / ".mlos" / "INDEX.md").exists()


def test_a_question_includes_what_was_written_before_it(repo):
    """`--wait` answers from the watcher where one runs, and by a sync where none does or it does not answer."""
    with watching(repo) as watcher:
        watcher.started()
        for number in range(20):
            (repo / "notes" / f"w{number}.md").write_text(f"{number}\n")
            found = run(repo, "why", f"notes/w{number}.md", "--wait", "--json").json
            assert found["artifact"]["file_path"] == f"notes/w{number}.md"
        assert run(repo, "status", "--wait", "--json").json["fresh"] is True
        index = opening.open_index(str(repo))
        assert awaiting.settle(index) == "watcher"
        watcher.send(signal.SIGSTOP)
        (repo / "notes" / "stopped.md").write_text("x\n")
        assert awaiting.settle(index, patience=0.5) == "sync"
        assert b"notes/stopped.md" in indexed(repo)
        if Path("/proc/self").exists():
            assert status.status(index)["watcher"]["state"] == "stopped"
            assert f"stopped (kill -CONT {watcher.process.pid}" in run(repo, "status").out
            watcher.send(signal.SIGCONT)
            watcher.eventually(lambda: watcher.told()["state"] == "live")
        watcher.end()
        assert awaiting.settle(index) == "sync"
        assert not list(Path(find(str(repo)).state, standing.COOKIES).glob("cookie-*"))
        index.db.close()


def test_a_file_that_goes_meanwhile_does_not_end_the_watch(repo, monkeypatch):
    """What the system refuses once is told, kept, and looked at again."""
    real = use_case.sync

    def refused_once(index, *given, **options):
        monkeypatch.setattr(use_case, "sync", real)
        raise FileNotFoundError(2, "No such file or directory", "gone.md")

    monkeypatch.setattr(use_case, "sync", refused_once)
    looks = use_case.looks(str(repo))
    first = next(looks)
    assert first.report is None and "gone.md" in first.problem.message
    (repo / "note.md").write_text("one\n")
    assert "note.md" in next(looks).report.changes.added
    looks.close()


def test_an_index_that_was_rebuilt_is_taken_up(repo):
    """The watcher keeps its database open; another file in its place is noticed before anything is written."""
    with watching(repo) as watcher:
        watcher.started()
        (repo / "notes" / "a.md").write_text("two\n")
        watcher.until(names)
        run(repo, "rebuild")
        (repo / "notes" / "a.md").write_text("three\n")
        watcher.until(names)
        watcher.settled()


def test_it_tells_the_service_manager_when_it_is_ready(repo, tmp_path):
    """sd_notify: one datagram, after the first look."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "mlos_sync", "-C", str(repo), "watch"],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert b"READY=1" in manager.recv(200)
        finally:
            process.terminate()
            assert process.wait(timeout=60) == 0


def test_ten_writers_at_once(repo):
    """Files written by many threads while the watcher starts: watch first, then look, so nothing falls between."""

    def write(number):
        for turn in range(40):
            (repo / "notes" / f"{number}-{turn}.md").write_text(f"{number} {turn}\n")
            time.sleep(0.01)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(10)]
    for one in writers:
        one.start()
    with watching(repo) as watcher:
        for one in writers:
            one.join()
        watcher.settled()
        assert isinstance(watcher, Watcher)


def test_uninstall_ends_the_watcher(repo):
    """Its lock has gone: it stops, says why, and writes nothing more."""
    with watching(repo) as watcher:
        watcher.started()
        setup.uninstall(str(repo))
        assert watcher.process.wait(timeout=60) == 3


def test_a_watcher_that_gives_no_sign_does_not_count_as_live(repo, monkeypatch):
    """One whose output nobody takes does nothing any more: `status` says so, and a question is not put to it."""
    index = opening.open_index(str(repo))
    with standing.only_one(index.workspace) as lock:
        said = standing.Standing(str(repo), state="live")
        lock.tell(said)
        assert status.watcher(index.workspace)["silent"] is None
        late = time.monotonic() + standing.SILENT + 5
        monkeypatch.setattr(time, "monotonic", lambda: late)
        assert status.watcher(index.workspace)["silent"] > standing.SILENT
        assert awaiting.settle(index) == "sync"
        lock.tell(said)
        assert status.watcher(index.workspace)["silent"] is None
    monkeypatch.undo()
    index.db.close()


def test_an_idle_watcher_gives_signs_of_life(repo, monkeypatch):
    """Also where nothing changes."""
    monkeypatch.setattr(standing, "SIGN", 0.1)
    end = threading.Event()
    thread = threading.Thread(target=lambda: list(use_case.looks(str(repo), ended=end.is_set)))
    thread.start()
    workspace_here = find(str(repo))
    while (standing.of(workspace_here) or {}).get("state") != "live":
        time.sleep(0.05)
    beats = set()
    while len(beats) < 3:
        beats.add((standing.of(workspace_here) or {})["beat"])
        time.sleep(0.05)
    end.set()
    thread.join()


@pytest.mark.parametrize("length", [10, 1000, 100_000])
def test_what_it_says_of_itself_fits(repo, length):
    """However much there is to tell, numbers and state are readable, and of the rest as much as there is room for."""
    with standing.only_one(find(str(repo))) as lock:
        said = standing.Standing(str(repo), state="live", batches=7)
        parts = [{"path": "\u00fc" * length, "reason": "watch limit"}] * 20
        said.coverage = {"folders": 30, "watched": 10, "polled": 20, "parts": parts, "cure": "raise it"}
        for number in range(5):
            said.failed(f"{number} " + "x" * length)
        lock.tell(said)
        found = standing.of(find(str(repo)))
        assert found is not None and (found["state"], found["batches"], found["coverage"]["polled"]) == ("live", 7, 20)
        assert len(found["coverage"]["parts"]) == {10: 20, 1000: 0, 100_000: 0}[length]
        assert found["errors"][0].split()[1] == "4"


def test_a_commit_of_before_the_workspace_is_told(repo):
    """`git checkout` of a commit without our marker: the terminal says so, and that it is back; so does `status`."""
    git(repo, "switch", "-q", "--orphan", "before")
    git(repo, "commit", "-q", "--allow-empty", "-m", "before")
    git(repo, "switch", "-q", "main")
    with watching(repo) as watcher:
        watcher.started()
        before = indexed(repo)
        git(repo, "switch", "-q", "before")
        watcher.eventually_noticed("this commit has no .mlos/config.toml")
        told = run(repo, "status", ok=False)
        assert told.code == 3 and "switch" in told.err
        git(repo, "switch", "-q", "main")
        assert watcher.until(lambda look: look["reason"] == "the workspace came back")
        assert indexed(repo) == before


def test_the_terminal_is_told_what_matters_alone(capsys):
    """Why all was looked at, but for what is routine and found nothing."""
    nothing = sync.Report(Changes((), (), (), (), 3), {}, 0.01)
    for reason in (*use_case.ROUTINE, None):
        syncing._tell(use_case.Look(nothing, reason=reason, git=True), as_json=False)
    assert capsys.readouterr().out == ""
    syncing._tell(use_case.Look(nothing, reason="no event came", git=True), as_json=False)
    assert capsys.readouterr().out.startswith("no event came: 0 added")


@pytest.mark.parametrize("options", [(), ("--json",), ("--log",)])
def test_what_it_prints_makes_it_print_no_more(repo, options):
    """Its output goes to a file of the workspace: what it says of that is said once."""
    out = repo / "watch.out"
    words = [*options, str(out)] if "--log" in options else options
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "mlos_sync", "-C", str(repo), "watch", *words],
            stdout=file, stderr=file, env=env_of(repo),
        )  # fmt: skip
    try:
        end = time.monotonic() + 60
        for name in ("one", "two", "three"):
            (repo / "notes" / f"{name}.md").write_text(f"{name}\n")
            while f"notes/{name}.md" not in out.read_text():
                assert time.monotonic() < end
                time.sleep(0.05)
        time.sleep(1.5)
        size = out.stat().st_size
        time.sleep(1)
        assert out.stat().st_size == size and len(out.read_text().splitlines()) < 30
    finally:
        process.terminate()
        process.wait()


def of_many(repo, every):
    """Most of its files in one folder, and the seconds between two looks at everything."""
    (repo / "many").mkdir()
    for number in range(120):
        (repo / "many" / f"{number}.md").write_text(f"{number}\n")
    config = repo / ".mlos" / "config.toml"
    config.write_text(config.read_text() + f"[watch]\nevery = {every}\n")


def test_a_mass_disappearance_holds_up_nothing_else(repo):
    """It is told on the terminal and in `status`; all else is recorded; when the files are back nothing is told any more."""
    of_many(repo, every=2)
    with watching(repo) as watcher:
        watcher.started()
        (repo / "many").rename(repo.parent / "many")
        look = watcher.until(lambda look: look["skipped"])
        assert look["deleted"] == [] and "--accept-deletes" in look["skipped"][0]["reason"]
        (repo / "notes" / "b.md").write_text("two\n")
        assert "notes/b.md" in watcher.until(names)["added"]
        assert "disappeared" in run(repo, "status").out and b"many/1.md" in indexed(repo)
        (repo.parent / "many").rename(repo / "many")
        watcher.eventually(lambda: "disappeared" not in run(repo, "status").out)


def test_files_that_came_back_are_no_longer_told_to_whoever_asks(repo):
    """However long it is until all is looked at by itself."""
    of_many(repo, every=3600)
    with watching(repo) as watcher:
        watcher.started()
        (repo / "many").rename(repo.parent / "many")
        watcher.until(lambda look: look["skipped"])
        (repo.parent / "many").rename(repo / "many")
        assert "disappeared" not in run(repo, "status", "--wait").out


def test_what_fails_again_is_told_once(repo, monkeypatch):
    """And each time in what it says of itself; nobody asks such a one."""
    calls = []

    def failing(*_, **__):
        calls.append(1)
        raise SurroundingsError("no room", "make some")

    monkeypatch.setattr(use_case, "sync", failing)
    found = list(use_case.looks(str(repo), ended=lambda: len(calls) == 3))
    assert [look.problem.message for look in found] == ["no room"]


def test_a_database_that_others_hold_is_waited_for(repo):
    """Another program's transaction is told and outlived; what was written meanwhile is found."""
    with watching(repo) as watcher:
        watcher.started()
        database = find(str(repo)).database
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            (repo / "notes" / "held.md").write_text("held\n")
            watcher.eventually(lambda: watcher.told()["errors"])
            assert watcher.told()["behind"]
            watcher.eventually(lambda: watcher.told()["state"] == "failing")
            assert "tries again what failed" in run(repo, "status").out
            other.execute("ROLLBACK")
        watcher.settled()
        watcher.eventually(lambda: watcher.told()["state"] == "live")
        assert watcher.process.poll() is None


def test_a_question_in_the_middle_of_a_merge_is_refused(repo):
    """Nothing is recorded until it is done, and an answer without it would be wrong."""
    git(repo, "switch", "-q", "-c", "other")
    (repo / "notes" / "a.md").write_text("theirs\n")
    git(repo, "commit", "-qam", "theirs")
    git(repo, "switch", "-q", "main")
    (repo / "notes" / "a.md").write_text("ours\n")
    git(repo, "commit", "-qam", "ours")
    git(repo, "merge", "-q", "other", check=False)
    before = indexed(repo)
    told = run(repo, "status", "--wait", ok=False)
    assert told.code == 3 and "a merge is going on" in told.err and indexed(repo) == before


def test_git_moves_a_tree_in_a_folder_called_like_ours(tmp_path):
    """The name of the folder says nothing of what happens in it."""
    made = workspace(tmp_path / "mlos")
    git(made, "switch", "-q", "-c", "other")
    (made / "b.md").write_text("b\n")
    git(made, "add", "--all")
    git(made, "commit", "-q", "-m", "b")
    with watching(made) as watcher:
        watcher.started()
        git(made, "switch", "-q", "main")
        assert watcher.until(names)["git"] is True
