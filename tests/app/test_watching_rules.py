"""What changes what counts, or comes without an event of its own, reaches a watcher and those who ask it at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli import run, save, sql, workspace, write
from gitrepo import env_of, git
from transcribed import markdown, wrote
from watched import indexed, listen, spent, watching

from mlos_sync.app import clocks, standing
from mlos_sync.app import watching as watching_here
from mlos_sync.app.pending import Pending
from mlos_sync.edge import operations
from mlos_sync.edge.hints import Hints
from mlos_sync.edge.workspace import Pace, find
from mlos_sync.errors import SurroundingsError


@pytest.fixture
def repo(tmp_path):
    """A committed workspace with a folder."""
    made = workspace(tmp_path)
    write(made, "notes/a.md", "one\n")
    save(made, "first")
    return made


def test_a_folder_that_the_config_takes_in_is_heard_of(repo):
    """From the look on that reads the new config, not from the next one."""
    config = repo / ".mlos" / "config.toml"
    before = config.read_text()
    assert "\nignore = []\n" in before
    config.write_text(before.replace("\nignore = []\n", '\nignore = ["build/"]\n'))
    (repo / "build").mkdir()
    (repo / "build" / "a.md").write_text("a\n")
    with watching(repo) as watcher:
        watcher.started()
        config.write_text(before)
        watcher.until(lambda look: "build/a.md" in look["added"])
        (repo / "build" / "b.md").write_text("b\n")
        assert watcher.until(lambda look: "build/b.md" in look["added"])["reason"] is None


def test_what_git_tracks_against_its_rules_is_found_at_once(repo):
    """`git add -f` and `git rm --cached` write no file of the tree: they are heard of by git's index, and folders are watched."""
    (repo / ".gitignore").write_text("*.out\nbuild/\n")
    (repo / "x.out").write_text("x\n")
    (repo / "build").mkdir()
    (repo / "build" / "y.md").write_text("y\n")
    with watching(repo) as watcher:
        watcher.started()
        git(repo, "add", "-f", "x.out", "build/y.md")
        assert run(repo, "status", "--wait", "--json").json["fresh"] is True
        assert {b"x.out", b"build/y.md"} <= indexed(repo).keys()
        (repo / "build" / "y.md").write_text("y again\n")
        assert watcher.until(lambda look: "build/y.md" in look["modified"])["reason"] is None
        git(repo, "rm", "-q", "--cached", "x.out")
        run(repo, "status", "--wait")
        assert b"x.out" not in indexed(repo)


def test_a_work_tree_without_its_git_file_is_heard_of(repo):
    """A `.git` that is a file makes a repository of its own, too; without it the folder is one of ours."""
    git(repo, "worktree", "add", "-q", "plain", "-b", "plain")
    with watching(repo) as watcher:
        watcher.started()
        (repo / "plain" / ".git").unlink()
        watcher.until(lambda look: "plain/notes/a.md" in look["added"])
        (repo / "plain" / "new.md").write_text("new\n")
        (repo / "plain" / "notes" / "b.md").write_text("new\n")
        watcher.eventually(lambda: {b"plain/new.md", b"plain/notes/b.md"} <= indexed(repo).keys())
        assert watcher.told()["batches"] <= 4  # by events, not by a look at everything


@pytest.mark.parametrize("place", ["home", "info", "linked", "ignored", "named-later"])
def test_rules_of_the_users_own_are_heard_of(repo, tmp_path, place):
    """The user's ignore file, wherever it lies: also behind a link, in a folder that is ignored, or that came later."""
    file = Path(env_of(repo)["XDG_CONFIG_HOME"]) / "git" / "ignore"
    (repo / "a.tmp").write_text("a\n")
    if place == "info":
        file = repo / ".git" / "info" / "exclude"
        for one in file.parent.iterdir():
            one.unlink()
        file.parent.rmdir()
    if place == "linked":
        (tmp_path / "dotfiles").mkdir()
        (tmp_path / "dotfiles" / "ignore").write_text("")
        file.parent.mkdir(parents=True)
        file.symlink_to(tmp_path / "dotfiles" / "ignore")
        file = tmp_path / "dotfiles" / "ignore"
    if place == "ignored":
        (repo / ".gitignore").write_text("/mine/\n")
        file = repo / "mine" / "rules"
        git(repo, "config", "core.excludesFile", str(file))
    with watching(repo) as watcher:
        watcher.started()
        assert b"a.tmp" in indexed(repo)
        if place == "named-later":
            file = tmp_path / "named"
            git(repo, "config", "core.excludesFile", str(file))
            watcher.until(lambda look: look["reason"] == "git's configuration changed")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("*.tmp\n")
        if place == "home":  # whoever asks need not wait for the next beat
            run(repo, "status", "--wait")
            assert b"a.tmp" not in indexed(repo)
        else:
            assert "a.tmp" in watcher.until(lambda look: look["deleted"])["deleted"]


PRIVATE = "SELECT count(*) FROM transcripts WHERE kept = 'private'"


def test_private_transcripts_are_heard_of_under_any_name_of_their_folder(repo, tmp_path):
    """With a slash at its end, as a shell completes it; and in a repository of its own."""
    folder = tmp_path / "logs"
    (folder / "p").mkdir(parents=True)
    git(repo, "config", "mlos-sync.transcripts", f"{folder}/")
    own = repo / ".specstory" / "history"
    own.mkdir(parents=True)
    (repo / ".gitignore").write_text(".specstory/\n")
    git(own, "init", "-q")
    with watching(repo) as watcher:
        watcher.started()
        for number, place in enumerate((folder / "p", own), 1):
            name = f"2026-02-1{number}_13-04-52Z-plan.md"
            (place / name).write_text(
                markdown(f"0b6f3f0e-52f0-4a6b-9a39-5a7f0f3c1d1{number}", wrote("/p/notes/a.md", "0\n"))
            )
            watcher.eventually(lambda number=number: sql(repo, PRIVATE).strip() == str(number))
        assert watcher.told()["rescans"] == {}


def test_a_git_that_fails_ends_nothing(repo):
    """An index that is damaged for a while, a syntax error in git's configuration: told, and outlived."""
    index = repo / ".git" / "index"
    whole = index.read_bytes()
    with watching(repo) as watcher:
        watcher.started()
        index.write_bytes(b"garbage")
        watcher.eventually(lambda: watcher.told()["errors"])
        index.write_bytes(whole)
        config = repo / ".git" / "config"
        before = config.read_text()
        config.write_text(before + "[broken\n")
        time.sleep(1)
        config.write_text(before)
        (repo / "new").mkdir()
        (repo / "new" / "a.md").write_text("a\n")
        watcher.settled()
        watcher.eventually(lambda: watcher.told()["state"] == "live")
        (repo / "new" / "b.md").write_text("b\n")
        watcher.settled()


def test_a_root_that_was_deleted_is_waited_for(repo, tmp_path):
    """Nothing but that is said; put back from a copy it is another workspace, whose lock nobody holds."""
    with watching(repo) as watcher:
        watcher.started()
        shutil.copytree(repo, tmp_path / "copy", symlinks=True)
        shutil.rmtree(repo)
        watcher.eventually_noticed("the workspace went away")
        (tmp_path / "copy").rename(repo)
        assert watcher.process.wait(timeout=60) == 3
        assert "replaced by another copy" in "".join(watcher.complaints)


def test_it_does_not_spin_where_views_wait_for_git(repo):
    """With `--compile`, while a commit's hook works and nothing else is to be done."""
    hooks = repo.parent / "hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\nsleep 3.5\n")
    (hooks / "pre-commit").chmod(0o755)
    run(repo, "compile")
    with watching(repo, "--compile") as watcher:
        watcher.started()
        (repo / "notes" / "a.md").write_text("edited\n")
        watcher.until(lambda look: look.get("modified"))
        command = ["git", "-c", f"core.hooksPath={hooks}", "commit", "-q", "-a", "-m", "x"]
        process = subprocess.Popen(command, cwd=repo, env=env_of(repo))
        time.sleep(1.2)
        before = spent(watcher.process.pid)
        time.sleep(1.5)
        assert spent(watcher.process.pid) - before < 0.6  # one that spins takes all of it
        assert process.wait() == 0


def test_a_hook_that_asks_is_answered(repo):
    """Git waits for it: to wait for git would be for ever."""
    hooks = repo.parent / "hooks"
    hooks.mkdir()
    words = f"'{sys.executable}' -I -m mlos_sync why notes/a.md --wait"
    (hooks / "pre-commit").write_text(f"#!/bin/sh\n{words} >'{repo.parent}/said' || exit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    with watching(repo) as watcher:
        watcher.started()
        git(repo, "-c", f"core.hooksPath={hooks}", "commit", "-q", "--allow-empty", "-m", "x")
        assert "notes/a.md" in (repo.parent / "said").read_text()


def test_a_head_that_another_work_tree_moves_is_none_of_this_one(repo):
    """The work trees of a repository share a folder, in which the first one's HEAD lies."""
    git(repo, "branch", "topic")
    git(repo, "worktree", "add", "-q", str(repo.parent / "linked"), "-b", "linked")
    linked = repo.parent / "linked"
    run(linked, "sync")
    with watching(linked) as watcher:
        watcher.started()
        git(repo, "switch", "-q", "topic")
        (linked / "notes" / "a.md").write_text("by hand\n")
        assert watcher.until(lambda look: look["modified"])["git"] is False


def test_failures_without_end_are_borne(repo):
    """A full disk over the week-end."""
    here = find(str(repo))
    with standing.only_one(here) as lock:
        watcher = watching_here._Watcher(here, lock, None)
        for _ in range(1100):
            watcher._failed(SurroundingsError("full", "wait"), Pending())
        assert watcher.times.next_try <= time.monotonic() + 60
        watcher.close()


def test_a_batch_of_git_alone_claims_nothing(repo):
    """Neither `git add` nor a commit moves the tree: an edit before and after is an edit; a checkout is git's."""
    git(repo, "branch", "other")
    with watching(repo) as watcher:
        watcher.started()
        (repo / "n.md").write_text("n\n")
        git(repo, "add", "--all")
        assert watcher.until(lambda look: look["added"])["git"] is False
        git(repo, "commit", "-q", "-m", "n")
        time.sleep(1)
        (repo / "notes" / "a.md").write_text("edited\n")
        assert watcher.until(lambda look: look["modified"])["git"] is False
        git(repo, "commit", "-q", "-a", "-m", "edited")
        git(repo, "switch", "-q", "other")
        assert watcher.until(lambda look: look["modified"])["git"] is True


def test_a_long_quiet_time_is_no_standing_still(repo, monkeypatch):
    """Nor does it keep the watcher from its proofs. (Seven seconds count as standing still; here two.)"""
    monkeypatch.setattr(clocks, "LATE", 0.2)
    seen = []
    for look in watching_here.looks(str(repo), pace=Pace(quiet=3, most=6), ended=lambda: len(seen) == 2):
        seen.append(look)
        (repo / "notes" / "a.md").write_text(f"edited {len(seen)}\n")
    assert [look.reason for look in seen] == ["the start", None] and seen[1].report.changes.modified == ("notes/a.md",)


def test_hints_are_kept_where_a_wait_ends_before_they_do():
    """What has come stays for the next call."""
    hints = Hints()
    hints.add("/w/a")
    assert hints.batch(quiet=0.2, most=9, longest=0.01) is None
    assert hints.batch(quiet=0.2, most=9, longest=9).names == {"/w/a"}
    assert hints.batch(quiet=0.2, most=9, longest=0.01) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_one_whose_output_nobody_takes_ends_all_the_same(repo, number):
    """Both streams are one pipe, and it is full: there is nobody to say goodbye to."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "mlos_sync", "-C", str(repo), "watch"],
        stdout=writing, stderr=writing, env=env_of(repo), preexec_fn=listen,
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while b"the start" not in os.read(reading, 1 << 16):
            assert time.monotonic() < end
        os.set_blocking(writing, False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(writing, b"x" * 512)
        os.set_blocking(writing, True)
        (repo / "notes" / "b.md").write_text("a line about this finds no room\n")
        while b"notes/b.md" not in indexed(repo):
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reading)
        os.close(writing)


def test_a_full_disk_below_its_output_is_no_reason_to_stop(repo):
    """It goes on; whoever asks hears of it by `status`."""
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "mlos_sync", "-C", str(repo), "watch"],
            stdout=full,
            stderr=full,
            env=env_of(repo),
        )
    try:
        end = time.monotonic() + 60
        for name in ("one", "two"):
            (repo / "notes" / f"{name}.md").write_text("x\n")
            while f"notes/{name}.md".encode() not in indexed(repo):
                assert process.poll() is None and time.monotonic() < end
                time.sleep(0.05)
    finally:
        process.terminate()
        process.wait()


LINUX = pytest.mark.skipif(not Path("/proc/self").exists(), reason="NOT TESTED: only Linux tells what processes do")


@LINUX
@pytest.mark.parametrize("form", ["exec", "env"])
def test_a_hook_in_whatever_form_is_known(repo, form):
    """One that became another program, and one whose name comes late among its words."""
    hooks = repo.parent / "hooks"
    hooks.mkdir()
    (hooks / "work.py").write_text("import time\ntime.sleep(1.5)\n")
    first = "#!/usr/bin/env -S python3 -B -s -E -u\nimport time\ntime.sleep(1.5)\n"
    text = first if form == "env" else f"#!/bin/sh\nexec python3 {hooks}/work.py\n"
    (hooks / "pre-commit").write_text(text)
    (hooks / "pre-commit").chmod(0o755)
    command = ["git", "-c", f"core.hooksPath={hooks}", "commit", "-q", "--allow-empty", "-m", "log"]
    process = subprocess.Popen(command, cwd=repo, env=env_of(repo))
    seen = set()
    while process.poll() is None:
        seen.add(operations.going_on(str(repo), str(repo / ".git")))
        time.sleep(0.02)
    assert process.returncode == 0 and "git commit" in seen


@LINUX
@pytest.mark.parametrize(
    ("words", "program"),
    [
        (["-c", "core.pager=sleep 2; true", "-p", "log"], "GIT_PAGER"),
        (["difftool", "-y", "-x", "sleep 2; true", "hooks/pre-commit"], "GIT_EXTERNAL_DIFF"),
        (["commit", "--allow-empty", "-q"], "GIT_EDITOR"),
        (["-p", "-c", "core.pager=sleep 2; true", "log"], "GIT_INDEX_FILE"),
    ],
)
def test_git_that_waits_for_somebody_to_read_or_write_holds_up_nothing(repo, words, program):
    """A log in its pager, a file named like a hook in a tool, an editor that is open for an hour; with a lock left behind."""
    (repo / "hooks").mkdir()
    (repo / "hooks" / "pre-commit").write_text("one\n")
    git(repo, "add", "--all")
    git(repo, "commit", "-q", "-m", "hooks")
    (repo / "hooks" / "pre-commit").write_text("two\n")
    lock = repo / ".git" / "index.lock"
    env = env_of(repo) | ({"GIT_EDITOR": "sleep 2; echo said >"} if program == "GIT_EDITOR" else {})
    if program == "GIT_INDEX_FILE":
        env[program] = ".git/index"
    if program == "GIT_PAGER":
        lock.touch()
        old = time.time() - operations.PATIENCE - 1
        os.utime(lock, (old, old))
    terminal, other = os.openpty()  # git starts a pager for nothing else
    process = subprocess.Popen(["git", *words], cwd=repo, env=env, stdin=other, stdout=other, stderr=other)
    time.sleep(0.7)
    seen = set()
    while process.poll() is None:
        if program == "GIT_EDITOR" and (lock.exists() or (repo / ".git" / "COMMIT_EDITMSG").read_text() == "said\n"):
            continue
        seen.add(operations.going_on(str(repo), str(repo / ".git")))
        time.sleep(0.05)
    os.close(terminal)
    os.close(other)
    assert seen == {None}


@LINUX
def test_what_git_does_is_told_in_its_own_words(repo):
    """`git stash` has others do its work, with an index of its own: no hook runs, and nobody shall read of one."""
    filtered = "#!/bin/sh\nsleep 1\ncat\n"
    (repo / ".git" / "slow").write_text(filtered)
    (repo / ".git" / "slow").chmod(0o755)
    git(repo, "config", "filter.slow.clean", str(repo / ".git" / "slow"))
    (repo / ".git" / "info" / "attributes").write_text("*.slow filter=slow\n")
    write(repo, "one.slow", "one\n")
    process = subprocess.Popen(["git", "stash", "-q", "-u"], cwd=repo, env=env_of(repo))
    seen = set()
    while process.poll() is None:
        seen.add(operations.going_on(str(repo), str(repo / ".git")))
        time.sleep(0.02)
    assert process.returncode == 0
    assert "git stash" in seen and seen <= {None, "git stash", operations.LOCKED}
