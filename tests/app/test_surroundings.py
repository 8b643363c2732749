"""What surrounds a workspace: other repositories, other work trees, locks, filters, clones that lack something, owners.

Each test names the case; what must be seen is asserted, and what must never happen is refuted.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli import (
    add,
    another_workspace,
    assert_rebuild_is_equal,
    change,
    changed,
    clone,
    committed,
    dump,
    git_dir,
    head,
    ledger,
    listed,
    need,
    opened,
    pending,
    quick,
    save,
    segments,
    synced,
    titles,
    workspace,
    write,
)
from copies import copied
from gitrepo import commit_file, env_of, git, make_repo

from mlos_sync.app import publishing, setup, sync


@pytest.fixture
def repo(tmp_path):
    """A workspace with two notes, committed, and one need that waits."""
    return copied(with_notes, tmp_path) / "repo"


def with_notes(folder):
    repo = workspace(folder)
    write(repo, "note.md", "one\n")
    write(repo, "docs/guide.md", "guide\n")
    save(repo, "notes")
    need(repo, "Know why")
    synced(repo)


def files(repo):
    """path -> SHA-256, of the artifacts that are there."""
    return {one["file_path"]: one["content_hash"] for one in listed(repo, "artifact") if one["file_path"]}


def sha(data: bytes) -> str:
    """What the index says of a content."""
    return hashlib.sha256(data).hexdigest()


def test_a_reset_beside_watch_stays(repo):
    """50: the watcher brings back neither files nor HEAD, and follows."""
    write(repo, "note.md", "two\n")
    before, after = head(repo), save(repo, "two")
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-m", "mlos_sync", "-C", str(repo), "watch", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert watcher.stdout.readline()
        git(repo, "reset", "-q", "--hard", before)
        while "note.md" not in watcher.stdout.readline():
            pass
        assert head(repo) == before != after and (repo / "note.md").read_text() == "one\n" and changed(repo) == []
    finally:
        watcher.send_signal(signal.SIGTERM)
        watcher.communicate(timeout=30)
    assert watcher.returncode == 0
    assert files(repo)["note.md"] == sha(b"one\n") and titles(repo) == ["Know why"]


def test_each_linked_work_tree_has_an_index_of_its_own(repo, tmp_path):
    """53: commits and edits in both; the hooks work in both; no file of one is deleted by the other."""
    git(repo, "worktree", "add", "-q", "-b", "side", "../linked")
    linked = tmp_path / "linked"
    write(linked, "only-there.md", "there\n")
    write(repo, "only-here.md", "here\n")
    need(linked, "From the other one")
    for place in (repo, linked, repo, linked):
        synced(place)
    assert (
        git_dir(repo) / "mlos/index.db" != git_dir(linked) / "mlos/index.db"
        and (git_dir(linked) / "mlos/index.db").exists()
    )
    assert "only-there.md" in files(linked) and "only-there.md" not in files(repo)
    assert "only-here.md" in files(repo) and "only-here.md" not in files(linked)
    first, second = set(committed(repo)), save(linked, "in the linked one")
    assert committed(linked) - first and changed(linked) == []
    save(repo, "in the first one")
    assert head(repo) != second and changed(repo) == []
    assert quick(linked, "status", "--json").json["head"] == second
    for place in (repo, linked):
        assert all(one["state"] == "installed" for one in quick(place, "hooks", "status", "--json").json["hooks"])
        assert_rebuild_is_equal(place)


def with_submodule(repo, tmp_path):
    """A workspace as a submodule of a workspace; the inner one."""
    other = another_workspace(tmp_path / "elsewhere")
    write(other, "inside.md", "x\n")
    save(other, "inside")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "sub")
    save(repo, "with a submodule")
    setup.initialise(str(repo / "sub"))
    return repo / "sub"


def test_a_submodule_is_another_repository(repo, tmp_path):
    """55: a commit inside it, and the step of the gitlink: each with its own records and index."""
    sub = with_submodule(repo, tmp_path)
    outer, inner = set(ledger(repo)), set(ledger(sub))
    need(sub, "Of the submodule")
    write(sub, "inside.md", "y\n")
    save(sub, "inside again")
    assert len(committed(sub) - inner) == 1 and ledger(repo) == outer
    need(repo, "Of the outer one")
    done = git(repo, "commit", "-q", "-a", "-m", "the gitlink moves")
    assert done.stderr == "" and changed(repo) == [] and changed(sub) == []
    assert titles(repo) == ["Know why", "Of the outer one"] and titles(sub) == ["Of the submodule"]
    assert ledger(repo) <= committed(repo) and not ledger(sub) & committed(repo)
    synced(repo)
    assert "sub" not in files(repo) and not [path for path in files(repo) if path.startswith("sub/")]
    assert_rebuild_is_equal(repo)


def test_a_repository_inside_runs_nothing_and_is_not_entered(repo, tmp_path):
    """56: a nested repository, and a bare one committed as plain files whose configuration names a program."""
    trap = tmp_path / "trap"
    program = write(tmp_path, "program", f"#!/bin/sh\ntouch '{trap}'\n")
    program.chmod(0o755)
    nested = make_repo(repo / "nested")
    commit_file(nested, "inside.md", b"x\n")
    git(repo, "init", "-q", "--bare", "embedded.git")
    for inside in (nested, repo / "embedded.git"):
        for key in (
            "core.fsmonitor",
            "core.sshCommand",
            "diff.external",
            "core.pager",
            "core.hooksPath",
            "core.editor",
        ):
            git(inside, "config", key, str(program))
    for part in ("objects/x", "refs/heads/x"):
        write(repo, f"embedded.git/{part}", "x\n")
    git(repo, "config", "-f", "embedded.git/config", "core.bare", "false")
    git(repo, "config", "-f", "embedded.git/config", "core.worktree", "..")
    save(repo, "with a bare one")
    quick(repo, "sync")
    assert "embedded.git/config" in files(repo) and not [one for one in files(repo) if one.startswith("nested/")]
    for place in ("embedded.git", "embedded.git/objects", "nested/repo"):
        quick(repo / place, "sync", ok=False)
    assert_rebuild_is_equal(repo)
    assert not trap.exists()


@pytest.mark.parametrize("patterns", [["--no-cone", "/*", "!/docs/"], ["--cone", ".mlos"]], ids=["no-cone", "cone"])
def test_what_a_sparse_checkout_leaves_out_is_kept(repo, patterns):
    """57: not deleted by sync, by an index made anew beside the old one, or by a commit; and back when it is back."""
    before = files(repo)
    git(repo, "sparse-checkout", "set", *patterns)
    assert not (repo / "docs/guide.md").exists()
    report = quick(repo, "sync", "--json").json
    assert report["deleted"] == report["skipped"] == [] and files(repo) == before
    assert quick(repo, "status", "--json").json["fresh"]
    write(repo, "note.md", "two\n")
    git(repo, "commit", "-q", "-a", "-m", "two")
    quick(repo, "rebuild")
    assert files(repo) == before | {"note.md": sha(b"two\n")}
    assert setup.check_rebuild(str(repo)) == []
    git(repo, "sparse-checkout", "disable")
    synced(repo)
    assert files(repo) == before | {"note.md": sha(b"two\n")}
    git(repo, "rm", "-q", "docs/guide.md")
    assert synced(repo).changes.deleted == ("docs/guide.md",)
    assert_rebuild_is_equal(repo)


class Remote:
    """A bare repository behind a program that writes down each time it is asked for anything."""

    def __init__(self, repo: Path, tmp_path: Path) -> None:
        self.log = tmp_path / "asked"
        self.bare = tmp_path / "origin.git"
        git(tmp_path, "clone", "-q", "--bare", str(repo), str(self.bare))
        git(self.bare, "config", "uploadpack.allowFilter", "true")
        git(self.bare, "config", "uploadpack.allowAnySHA1InWant", "true")
        self.program = write(
            tmp_path, "upload-pack", f"#!/bin/sh\necho asked >> '{self.log}'\nexec git-upload-pack \"$@\"\n"
        )
        self.program.chmod(0o755)

    def clone(self, name: str, *options: str) -> Path:
        """A clone that would ask this program from now on."""
        where = self.bare.parent / name
        git(self.bare.parent, "clone", "-q", *options, f"file://{self.bare}", str(where))
        git(where, "config", "remote.origin.uploadpack", str(self.program))
        git(where, "config", "gc.auto", "0")
        return where

    @property
    def was_asked(self) -> bool:
        """Whether anybody did."""
        return self.log.exists()


def grown(repo):
    """A history: a file that moves with an edit, one that is deleted, tasks that are closed."""
    add(repo, "task", description="Close me")
    text = "".join(f"line {number}\n" for number in range(40))
    write(repo, "old.md", text)
    write(repo, "gone.md", "gone\n")
    save(repo, "before")
    git(repo, "mv", "old.md", "new.md")
    git(repo, "rm", "-q", "gone.md")
    write(repo, "new.md", text + "more\n")
    save(repo, "moved\n\nCloses: 1")
    save(repo, "publishes")
    synced(repo)


@pytest.mark.parametrize("options", [["--depth=1"], ["--filter=tree:0"]], ids=lambda one: one[0])
def test_a_clone_that_lacks_something_never_asks_for_it(repo, tmp_path, options):
    """58: shallow and partial clones: every command answers or says at once what is missing; nobody asks the remote."""
    grown(repo)
    remote = Remote(repo, tmp_path)
    there = remote.clone("there", *options)
    quick(there, "rebuild", "--hooks", ok=False)
    for command in (["sync"], ["why", "new.md:1"], ["verify"], ["rebuild", "--check"], ["log", "artifact:new.md"]):
        done = quick(there, *command, ok=False)
        assert done.code in (0, 1) or (done.code == 3 and "fetch" in done.err), (command, done.err)
    assert [row["status"] for row in listed(there, "task")] == ["completed"]
    assert {name: files(there).get(name) for name in files(repo)} == files(repo)
    need(there, "Made there")
    write(there, "note.md", "there\n")
    done = git(there, "commit", "-q", "-a", "-m", "made there\n\nTask: 1")
    assert done.stderr == "" and ledger(there) <= committed(there)
    assert not remote.was_asked
    remote.bare.rename(tmp_path / "away")
    assert quick(there, "need", "list", "--json").json["rows"][-1]["title"] == "Made there"


def test_a_remote_is_not_asked_by_gits_that_know_no_other_way(repo, tmp_path, monkeypatch):
    """58: GIT_NO_LAZY_FETCH is younger than partial clones: an object that is missing is asked for by no protocol."""
    from mlos_sync.edge import git as plumbing
    from mlos_sync.edge import objects

    grown(repo)
    remote = Remote(repo, tmp_path)
    there = remote.clone("there", "--filter=blob:none", "--no-checkout")
    environment = plumbing.environment

    def older(*arguments):
        return {name: value for name, value in environment(*arguments).items() if name != "GIT_NO_LAZY_FETCH"}

    monkeypatch.setattr(plumbing, "environment", older)
    blob = git(repo, "rev-parse", "HEAD~1:new.md").stdout.strip()
    assert dict(objects.blobs(str(there), [blob])) == {} and not remote.was_asked
    git(there, "cat-file", "blob", blob)
    assert remote.was_asked


def test_a_repository_of_long_names(tmp_path):
    """59: SHA-256: all hooks, every form of commit, closings, merges, why of a line, verify, publish, a clone."""
    repo = workspace(tmp_path, "--object-format=sha256")
    task = add(repo, "task", description="Close me")
    write(repo, "note.md", "one\n")
    save(repo, "one")
    git(repo, "switch", "-q", "-c", "side")
    write(repo, "side.md", "side\n")
    closing = save(repo, "two\n\nCloses: 1")
    assert f"task-{task['uid'][:16]}" in git(repo, "log", "-1", "--format=%B").stdout
    git(repo, "switch", "-q", "main")
    need(repo, "Waits")
    write(repo, "note.md", "two\n")
    git(repo, "commit", "-q", "-m", "a path", "note.md")
    git(repo, "merge", "-q", "--no-edit", "side")
    assert len(closing) == 64 and changed(repo) == [] and ledger(repo) <= committed(repo)
    synced(repo)
    found = quick(repo, "why", "side.md:1", "--json").json
    assert [one["sha"] for one in found["commits"]] == [closing] and found["tasks"][0]["status"] == "completed"
    assert quick(repo, "why", f"commit:{closing[:50]}", "--json").json["commits"][0]["sha"] == closing
    change(repo, "task", "1", priority=3)
    assert quick(repo, "publish", "--json").json["events"] == 2
    git(repo, "commit", "-q", "-m", "records")
    write(repo, "PROBLEM.md", "---\ncompiled_at: 2026-01-01T00:00:00Z\nseal: x\n---\n")
    git(repo, "add", "-A")
    assert "commit refused" in git(repo, "commit", "-m", "by hand", check=False).stderr
    git(repo, "reset", "-q", "--hard")
    assert quick(repo, "verify", "--range", "HEAD~2..HEAD").code == 0
    there = clone(repo, "there")
    assert quick(there, "rebuild", "--check", "--json").json["identical"]
    assert [row["priority"] for row in listed(there, "task")] == [3]
    assert_rebuild_is_equal(repo)


def test_the_variables_of_another_repository_mislead_nobody(repo, tmp_path):
    """62: a command of ours in a hook of another repository, and a hook of ours in a commit that such a hook makes."""
    other = another_workspace(tmp_path / "other")
    need(other, "Of the other")
    strange = {
        "GIT_DIR": str(git_dir(other)), "GIT_WORK_TREE": str(other), "GIT_INDEX_FILE": str(git_dir(other) / "index"),
        "GIT_OBJECT_DIRECTORY": str(git_dir(other) / "objects"), "GIT_COMMON_DIR": str(git_dir(other)), "GIT_PREFIX": "x/",
    }  # fmt: skip
    before = (git_dir(other) / "index").read_bytes(), ledger(other)
    quick(repo, "need", "add", "Of this one", env=strange)
    quick(repo, "sync", env=strange)
    quick(repo, "publish", env=strange)
    assert ((git_dir(other) / "index").read_bytes(), ledger(other)) == before
    assert titles(repo) == ["Know why", "Of this one"] and titles(other) == ["Of the other"]
    chained = git_dir(other) / "hooks" / "post-commit.before-mlos-sync"
    names = " ".join(f"-u {name}" for name in (*strange, "GIT_EXEC_PATH"))
    chained.write_text(f"#!/bin/sh\nenv {names} git -C '{repo}' commit -q --allow-empty -m 'by a hook of another'\n")
    chained.chmod(0o755)
    save(other, "and another commits")
    assert git(repo, "log", "-1", "--format=%s").stdout == "by a hook of another\n"
    assert ledger(repo) <= committed(repo) and ledger(other) <= committed(other)
    assert not ledger(repo) & committed(other) and not ledger(other) & committed(repo)


def test_no_hook_leaves_a_process_behind(repo):
    """63: whoever waits for the end of a commit's output does not wait for us; nothing runs on."""
    write(repo, "note.md", "two\n")
    reading, writing = os.pipe()
    process = subprocess.Popen(
        ["git", "commit", "-a", "-m", "x\n\nTask: 1"], cwd=repo, env=env_of(repo), stdout=writing, stderr=writing
    )
    os.close(writing)
    assert process.wait(60) == 0
    ended = time.monotonic()
    with open(reading, "rb") as pipe:
        pipe.read()
    assert time.monotonic() - ended < 30  # a process that runs on would hold it for ever
    assert not [one for one in Path("/proc").glob("[0-9]*/cwd") if _target(one) == str(repo)]


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def test_a_lock_of_git_is_neither_taken_nor_waited_for(repo):
    """64: somebody holds index.lock: our commands answer, none removes it, and the work is made up for afterwards."""
    lock = git_dir(repo) / "index.lock"
    lock.write_bytes(b"somebody's")
    write(repo, "note.md", "two\n")
    for command in (["sync"], ["status"], ["need", "add", "Another"], ["why", "note.md"], ["verify"]):
        assert quick(repo, *command).code == 0
    done = quick(repo, "publish", ok=False)
    assert done.code == 3 and "index.lock" in done.err
    assert lock.read_bytes() == b"somebody's" and titles(repo) == ["Another", "Know why"]
    lock.unlink()
    git(repo, "commit", "-q", "-a", "-m", "two")
    assert ledger(repo) <= committed(repo) and changed(repo) == []


def test_the_watcher_leaves_gits_index_alone(repo):
    """64: a post-commit hook was killed before it had told the index of a segment: sync does, what runs by itself does not."""
    (git_dir(repo) / "hooks" / "post-commit").unlink()
    write(repo, "note.md", "two\n")
    git(repo, "commit", "-q", "-m", "a path", "note.md")
    assert len(changed(repo)) == 1
    index = (git_dir(repo) / "index").read_bytes()
    with opened(repo) as ours:
        sync.sync(ours, in_background=True)
    assert (git_dir(repo) / "index").read_bytes() == index
    synced(repo)
    assert changed(repo) == [] and set(segments(repo)) == {
        str(p.relative_to(repo)) for p in repo.glob(".mlos/journal/*/*/*.jsonl")
    }


def test_a_sync_that_is_quicker_than_the_hook_upsets_nobody(repo, monkeypatch):
    """64: both find the note that the index lacks a segment, and one of them has done with it while the other works."""
    hook = git_dir(repo) / "hooks" / "post-commit"
    hook.rename(hook.with_name("kept"))
    write(repo, "note.md", "two\n")
    git(repo, "commit", "-q", "-m", "a path", "note.md")
    note = git_dir(repo) / "mlos" / publishing.REPAIR
    writing = publishing._write_files

    def meanwhile(*arguments):
        writing(*arguments)
        note.unlink()

    monkeypatch.setattr(publishing, "_write_files", meanwhile)
    monkeypatch.chdir(repo)
    publishing.repair()
    assert changed(repo) == [] and not note.exists()


def test_line_ends_and_idents_are_one_content_on_every_clone(repo, tmp_path):
    """66: a clone that has other bytes in its work tree, with a clean status, has the same versions of the same blobs."""
    write(repo, ".gitattributes", (repo / ".gitattributes").read_text() + "*.txt text\n*.id ident\n")
    write(repo, "lines.txt", "one\ntwo\n")
    write(repo, "marked.id", "$Id$\n")
    save(repo, "text")
    synced(repo)
    git(tmp_path, "clone", "-q", "-c", "core.autocrlf=true", str(repo), "there")
    there = tmp_path / "there"
    quick(there, "rebuild", "--hooks")
    assert (there / "lines.txt").read_bytes() == b"one\r\ntwo\r\n" and b"$Id: " in (there / "marked.id").read_bytes()
    assert changed(there) == [] and quick(there, "status", "--json").json["fresh"]
    rows = {one["file_path"]: one for one in listed(there, "artifact")}
    assert rows["lines.txt"]["content_hash"] == sha(b"one\r\ntwo\r\n")  # of the bytes that are there
    blobs = {name: git(repo, "rev-parse", f"HEAD:{name}").stdout.strip() for name in ("lines.txt", "marked.id")}
    told = {one["path"]: one["blob"] for one in _table(there, "commit_changes") if one["path"] in blobs}
    assert told == blobs
    need(there, "Made there")
    write(there, "note.md", "three\r\n")
    git(there, "commit", "-q", "-a", "-m", "there")
    assert changed(there) == [] and quick(there, "verify").code == 0
    assert_rebuild_is_equal(there)


def _table(repo, name):
    from walk_oracle import tables_of

    return tables_of(dump(repo))[name]


def test_times_alone_are_no_change(repo):
    """67: every file touched, as a checkout does it: no version, no event, and fresh again."""
    before, events = dump(repo), pending(repo)
    for path in repo.rglob("*"):
        if path.is_file() and ".git" not in path.parts:
            os.utime(path, (1_000_000_000, 1_000_000_000))
    report = synced(repo)
    assert not report.changes.modified and not report.changes.added and not report.changes.deleted
    assert dump(repo) == before and pending(repo) == events
    with opened(repo) as index:
        assert index.db.execute("SELECT count(*) FROM artifact_versions").fetchone() == (0,)
    assert quick(repo, "status", "--json").json["fresh"]


@pytest.mark.skipif(
    os.geteuid() != 0, reason="NOT TESTED: a repository of somebody else, as only root can give one away"
)
def test_a_repository_of_somebody_else(repo, tmp_path):
    """69: git's own words and its cure, exit 3; and with the cure everything works. We never cure it ourselves."""
    for path in (repo, *repo.rglob("*")):
        os.lchown(path, 12345, 12345)
    settings = tmp_path / "gitconfig"
    settings.write_text("")
    env = {"GIT_CONFIG_GLOBAL": str(settings)}
    for command in (["status"], ["init"], ["rebuild"]):
        done = quick(repo, *command, ok=False, env=env)
        assert done.code == 3, done
        assert "dubious ownership" in done.err and f"git config --global --add safe.directory {repo}" in done.err
    assert settings.read_text() == ""
    git(repo, "config", "--global", "--add", "safe.directory", str(repo), env=env)
    assert quick(repo, "status", "--json", env=env).json["needs"] == 1
    given = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": str(repo)}
    assert quick(repo, "publish", "--json", env=given).json["events"] == 1


def test_a_configuration_that_git_cannot_read_is_told_in_its_words(repo):
    """70: not "this is no repository", which it is."""
    with open(git_dir(repo) / "config", "a") as file:
        file.write("[broken\n")
    for command in (["status"], ["init"]):
        done = quick(repo, *command, ok=False)
        assert done.code == 3 and "bad config line" in done.err
