"""While git or a hook has the work tree in its hands the watcher records nothing; then one batch says that git moved it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli import workspace
from gitrepo import env_of, git
from watched import indexed, watching

from mlos_sync.app import standing
from mlos_sync.edge import operations
from mlos_sync.edge.workspace import find


@pytest.fixture
def repo(tmp_path):
    """Two branches that change one file, and one file besides."""
    made = workspace(tmp_path)
    write(made, "x.md", "one\n")
    write(made, "y.md", "y\n")
    commit(made, "first")
    git(made, "switch", "-q", "-c", "other")
    write(made, "x.md", "theirs\n")
    commit(made, "theirs")
    git(made, "switch", "-q", "main")
    write(made, "x.md", "ours\n")
    commit(made, "ours")
    return made


def write(repo, name, text):
    (repo / name).write_text(text)


def commit(repo, message):
    git(repo, "add", "--all")
    git(repo, "commit", "-q", "-m", message)


STOPS = {
    "a merge": (["merge", "-q", "other"], ["merge", "--abort"]),
    "a rebase": (["rebase", "-q", "other"], ["rebase", "--abort"]),
    "a cherry-pick": (["cherry-pick", "other"], ["cherry-pick", "--abort"]),
    "a bisect": (["bisect", "start", "HEAD", "HEAD~1"], ["bisect", "reset"]),
}


@pytest.mark.parametrize("what", STOPS)
def test_nothing_is_recorded_from_what_git_has_not_finished(repo, what):
    """Conflict markers, half-applied commits, files edited meanwhile: only what stands afterwards is in the index."""
    begin, end = STOPS[what]
    with watching(repo) as watcher:
        watcher.started()
        before = indexed(repo)
        git(repo, *begin, check=False)
        assert operations.going_on(str(repo), str(repo / ".git")) == what
        write(repo, "meanwhile.md", "m\n")
        watcher.eventually(lambda: watcher.told()["state"] == "waiting" and watcher.told()["waits_for"] == what)
        assert watcher.told()["behind"]
        time.sleep(1)
        if what == "a merge":  # which does not end by itself
            watcher.eventually(lambda: watcher.notices)
        assert indexed(repo) == before
        git(repo, *end)
        look = watcher.until(lambda one: "meanwhile.md" in one["added"])
        assert look["git"] is True
        watcher.settled()
        assert watcher.told()["state"] == "live" and watcher.told()["behind"] is None
        assert watcher.notices in ([], [f"{what} is going on: nothing is recorded until it is done"])


def test_git_moved_the_tree_is_one_batch(repo):
    """A checkout of three hundred files: one transaction, and it is said whose change it is."""
    git(repo, "switch", "-q", "-c", "large")
    for number in range(300):
        write(repo, f"l{number}.md", f"{number}\n")
    commit(repo, "large")
    git(repo, "switch", "-q", "main")
    with watching(repo) as watcher:
        watcher.started()
        git(repo, "switch", "-q", "large")
        look = watcher.until(lambda one: one["added"])
        assert len(look["added"]) == 300 and look["git"] is True
        git(repo, "switch", "-q", "main")
        look = watcher.until(lambda one: one["deleted"])
        assert len(look["deleted"]) == 300 and look["git"] is True
        write(repo, "mine.md", "an edit of somebody\n")
        assert watcher.until(lambda one: one["added"])["git"] is False


def test_a_lock_that_was_left_behind_is_waited_for_and_no_longer(repo):
    """The index lock of a git that was killed stands for ever; after a while the tree is taken as it is."""
    (repo / ".git" / "index.lock").touch()
    with watching(repo) as watcher:
        watcher.eventually(lambda: (standing.of(find(str(repo))) or {}).get("waits_for") == operations.LOCKED)
        old = time.time() - operations.PATIENCE - 1
        os.utime(repo / ".git" / "index.lock", (old, old))
        watcher.started()
        watcher.settled()


@pytest.mark.parametrize("place", [".git/hooks/pre-commit.before-mlos-sync", ".husky/_/pre-commit"])
def test_edits_that_a_hook_put_aside_are_not_seen_as_gone(repo, place):
    """What hook runners do: unstaged edits go away while hooks run, and come back. Behind our hook, and without it."""
    hook = repo / place
    if ".husky" in place:
        if not Path("/proc/self").exists():
            pytest.skip("NOT TESTED: only Linux tells whose child a process is")
        hook.parent.mkdir(parents=True)
        write(repo, ".gitignore", ".husky\n")
        git(repo, "config", "core.hooksPath", ".husky/_")
    hook.write_text(
        "#!/usr/bin/env sh\ngit diff --binary --output=../aside && git checkout -q -- . && sleep 3 && git apply ../aside\n"
    )
    hook.chmod(0o755)
    with watching(repo) as watcher:
        watcher.started()
        write(repo, "y.md", "staged\n")
        git(repo, "add", "y.md")
        write(repo, "x.md", "unstaged edit\n")
        watcher.settled()
        known = indexed(repo)[b"x.md"]
        process = subprocess.Popen(["git", "commit", "-q", "-m", "hooks"], cwd=repo, env=env_of(repo))
        watcher.eventually(lambda: (repo / "x.md").read_text() == "ours\n")
        seen = set()
        while process.poll() is None:
            seen.add(indexed(repo)[b"x.md"])
            time.sleep(0.05)
        assert process.returncode == 0 and seen == {known}
        watcher.settled()
        assert indexed(repo)[b"x.md"] == known


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="NOT TESTED: only Linux tells whose child a process is")
def test_hooks_of_other_trees_are_none_of_ours(repo):
    """A commit in a work tree, and in a repository, that lies below ours; and one in ours from a folder below."""
    git(repo, "worktree", "add", "-q", "below", "other")
    write(repo, ".gitignore", "below\n")
    (repo / "sub").mkdir()
    hooks = repo.parent / "hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\nsleep 1\n")
    (hooks / "pre-commit").chmod(0o755)

    def seen(place, *words):
        command = ["git", *words, "-c", f"core.hooksPath={hooks}", "commit", "-q", "--allow-empty", "-m", "x"]
        process = subprocess.Popen(command, cwd=place, env=env_of(repo))
        found = set()
        while process.poll() is None:
            found.add(operations.going_on(str(repo), str(repo / ".git")))
            time.sleep(0.02)
        assert process.returncode == 0
        return found

    assert "git commit" in seen(repo)
    assert "git commit" in seen(repo / "sub")
    assert "git commit" in seen(repo.parent, "-C", str(repo))
    assert seen(repo / "below") == {None}


def test_a_patch_of_pre_commit_is_known(repo, tmp_path, monkeypatch):
    """Where our own hook is not there: its cache has the patch of a process that lives and works here."""
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("PRE_COMMIT_HOME", str(cache))
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=repo)
    patch = cache / f"patch{int(time.time())}-{process.pid}"
    patch.touch()
    try:
        assert operations.going_on(str(repo), str(repo / ".git")) == operations.HOOKS
        assert operations.going_on(str(tmp_path), str(repo / ".git")) is None
    finally:
        process.communicate(b"\n")
    assert operations.going_on(str(repo), str(repo / ".git")) is None


def test_a_commit_that_failed_is_over(repo):
    """Its process has gone, whatever it noted."""
    Path(repo, ".git", "mlos", "fired-pre-commit").write_text("4194303\n")
    assert operations.going_on(str(repo), str(repo / ".git")) is None
