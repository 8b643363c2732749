"""The real hook managers, where this machine has them: real commits and pushes through each, with what we print for it.

pre-commit and prek come with the tools of `make test`; lefthook and husky are used when they are found, or named by
TEST_LEFTHOOK, TEST_HUSKY (version 9) and TEST_HUSKY8.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli import changed, need, run, save, segments, write
from gitrepo import ROOT, env_of, git, make_repo
from guests import git_is, program

from mlos_sync.app import firing, hooking, setup
from mlos_sync.edge.workspace import find
from mlos_sync.hooks import main

ANOTHER = """\
repos:
- repo: local
  hooks:
  - id: another
    name: another
    entry: sh -c 'echo team >> .git/ran'
    language: system
    stages: [pre-commit]
    always_run: true
    pass_filenames: false
"""


def tool(repo: Path, *words: str) -> str:
    """Run a manager in the sealed environment of the repository; what it said."""
    done = subprocess.run(words, cwd=repo, env=env_of(repo), capture_output=True, text=True, input="")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def states(repo: Path) -> dict[str, str]:
    return {one.name: one.state for one in firing.quick(find(str(repo)))}


def team_ran(repo: Path) -> int:
    ran = repo / ".git" / "ran"
    count = len(ran.read_text().split()) if ran.exists() else 0
    ran.unlink(missing_ok=True)
    return count


def assert_a_record_travels(repo: Path) -> None:
    """A record, and a file of which only one of two changes is staged, are committed; the other change is still there."""
    write(repo, "note.md", "one\n")
    save(repo, "a note")
    before = set(segments(repo))
    team_ran(repo)
    need(repo, "Know why")
    write(repo, "note.md", "one\ntwo\n")
    git(repo, "add", "note.md")
    write(repo, "note.md", "one\ntwo\nthree\n")
    git(repo, "commit", "-q", "-m", "two lines")
    assert set(segments(repo)) > before
    assert changed(repo) == [" M note.md"]
    assert git(repo, "show", "HEAD:note.md").stdout == "one\ntwo\n"
    assert (repo / "note.md").read_text() == "one\ntwo\nthree\n"
    assert team_ran(repo) == 1
    save(repo, "three lines")


def assert_the_guard_refuses(repo: Path) -> None:
    """A forged view is refused in our words, through whatever started us; nothing is left of it."""
    write(repo, "forged.md", "---\ncompiled_at: 2026-01-01T00:00:00Z\n---\nMine.\n")
    git(repo, "add", "forged.md")
    done = git(repo, "commit", "-m", "forged", check=False)
    assert done.returncode != 0 and "commit refused" in done.stdout + done.stderr, done.stdout + done.stderr
    git(repo, "rm", "-q", "-f", "--cached", "forged.md")
    (repo / "forged.md").unlink()
    team_ran(repo)


@pytest.fixture
def repo(tmp_path):
    return make_repo(tmp_path)


@pytest.mark.parametrize("name", ["pre-commit", "prek"])
def test_the_printed_text_works(repo, name):
    """Their hook, our text in their file: records travel with a half-staged file, the guard refuses, a number gains its
    uid. A new git starts ours from its configuration instead, and their files stay as they are."""
    manager = program(name)
    config = write(repo, ".pre-commit-config.yaml", ANOTHER)
    save(repo, "their configuration")
    tool(repo, manager, "install", "-t", "pre-commit", "-t", "commit-msg")
    setup.initialise(str(repo))
    assert config.read_text() == ANOTHER
    if git_is(2, 54):
        assert set(states(repo).values()) == {"config"}
    else:
        outcome = hooking.install(find(str(repo)))
        assert not outcome.active
        config.write_text(ANOTHER + "\n".join(outcome.snippet) + "\n")
        assert run(repo, "hooks", "install").code == 0
        assert states(repo)["pre-commit"] == states(repo)["commit-msg"] == f"by {name}"
    save(repo, "the workspace")
    team_ran(repo)
    assert_a_record_travels(repo)
    assert_the_guard_refuses(repo)
    run(repo, "task", "add", "Look")
    git(repo, "commit", "-q", "--allow-empty", "-m", "x\n\nTask: 1")
    assert "Task: 1 (task-" in git(repo, "log", "-1", "--format=%B").stdout


@pytest.mark.parametrize("name", ["pre-commit", "prek"])
def test_installed_after_us(repo, name):
    """They move ours aside and go on running it: it is told as theirs to run, records travel, the guard refuses, and what
    each of us leaves behind when it goes is what was there."""
    manager = program(name)
    mine = write(repo, ".git/hooks/pre-commit", "#!/bin/sh\necho mine >> .git/ran\n")
    mine.chmod(0o755)
    text = mine.read_bytes()
    write(repo, ".pre-commit-config.yaml", ANOTHER.replace("echo team >> .git/ran", "true"))
    setup.initialise(str(repo))
    save(repo, "the workspace")
    tool(repo, manager, "install")
    assert states(repo)["pre-commit"] == f"by {name}"
    save(repo, "their configuration")
    team_ran(repo)
    assert_a_record_travels(repo)
    assert_the_guard_refuses(repo)
    hooking.uninstall(str(repo))
    assert (repo / ".git/hooks/pre-commit.legacy").read_bytes() == text
    tool(repo, manager, "uninstall")
    assert mine.read_bytes() == text


@pytest.mark.skipif(git_is(2, 54), reason="a new git starts ours from its configuration")
def test_prek_with_its_own_file(repo):
    """prek.toml is another language: the text for it is tried too."""
    manager = program("prek")
    theirs = (
        '[[repos]]\nrepo = "local"\n[[repos.hooks]]\nid = "another"\nname = "another"\nlanguage = "system"\n'
        "entry = \"sh -c 'echo team >> .git/ran'\"\nalways_run = true\npass_filenames = false\n"
    )
    config = write(repo, "prek.toml", theirs)
    save(repo, "their configuration")
    tool(repo, manager, "install")
    setup.initialise(str(repo))
    config.write_text(theirs + "\n".join(hooking.install(find(str(repo))).snippet) + "\n")
    assert states(repo)["pre-commit"] == "by prek"
    save(repo, "the workspace")
    team_ran(repo)
    assert_a_record_travels(repo)
    assert_the_guard_refuses(repo)


@pytest.mark.parametrize("name", ["pre-commit", "prek"])
def test_the_hooks_for_their_users(repo, name, tmp_path, monkeypatch):
    """`.pre-commit-hooks.yaml` by `repo:` and `rev:`, every hook that we have, through a whole commit and a push. The
    framework's own installation of a package needs a network, so the program is the one that is installed here."""
    manager = program(name)
    source = make_repo(tmp_path / "source")
    text = (ROOT / ".pre-commit-hooks.yaml").read_text()
    write(source, ".pre-commit-hooks.yaml", text)
    revision = save(source, "the hooks")
    offered = [event for event in main._HOOKS if f"id: mlos-sync-{event}\n" in text]
    assert {"pre-commit", "pre-merge-commit", "commit-msg"} <= set(offered)
    lines = [f"  - id: mlos-sync-{event}\n    language: system\n" for event in offered]
    config = ANOTHER + f"- repo: {source}\n  rev: {revision}\n  hooks:\n" + "".join(lines)
    write(repo, ".pre-commit-config.yaml", config)
    setup.initialise(str(repo))
    hooking.uninstall(str(repo))
    tool(repo, manager, "install", *(word for event in offered for word in ("-t", event)))
    assert {states(repo)[event] for event in offered} == {f"by {name}"}
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    save(repo, "the workspace")
    team_ran(repo)
    hooking.install(find(str(repo)))
    assert_a_record_travels(repo)
    assert_the_guard_refuses(repo)
    run(repo, "task", "add", "Look")
    git(repo, "commit", "-q", "--allow-empty", "-m", "x\n\nTask: 1")
    assert "Task: 1 (task-" in git(repo, "log", "-1", "--format=%B").stdout
    far = make_repo(tmp_path / "far", "--bare")
    for _ in range(2):  # all of it, then one commit more
        git(repo, "push", "-q", str(far), "main")
        git(repo, "commit", "-q", "--allow-empty", "-m", "more")


@pytest.mark.parametrize("name", ["pre-commit", "prek"])
def test_verify_by_hand_and_in_ci(repo, name, tmp_path, monkeypatch):
    """`mlos-sync-verify` runs when it is asked for, never at a commit, and fails with the findings."""
    manager = program(name)
    source = make_repo(tmp_path / "source")
    write(source, ".pre-commit-hooks.yaml", (ROOT / ".pre-commit-hooks.yaml").read_text())
    revision = save(source, "the hooks")
    hook = "  - id: mlos-sync-verify\n    language: system\n"
    write(repo, ".pre-commit-config.yaml", f"repos:\n- repo: {source}\n  rev: {revision}\n  hooks:\n{hook}")
    setup.initialise(str(repo))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    git(repo, "add", "-A")  # the index lists what git tracks
    run(repo, "compile")
    save(repo, "compiled")
    asked = (manager, "run", "--hook-stage", "manual", "mlos-sync-verify")
    assert "Passed" in tool(repo, *asked)
    write(repo, "PROBLEM.md", (repo / "PROBLEM.md").read_text() + "mine\n")
    save(repo, "bad", "--no-verify")
    done = subprocess.run(asked, cwd=repo, env=env_of(repo), capture_output=True, text=True, input="")
    assert done.returncode == 1 and "edited    PROBLEM.md" in done.stdout


LEFTHOOK = {
    "lefthook.yml": "pre-commit:\n  commands:\n    team:\n      run: echo team >> .git/ran\n",
    "lefthook.toml": '[pre-commit.commands.team]\nrun = "echo team >> .git/ran"\n',
    "lefthook.json": '{"pre-commit": {"commands": {"team": {"run": "echo team >> .git/ran"}}}}',
}


@pytest.mark.skipif(git_is(2, 54), reason="a new git starts ours from its configuration")
@pytest.mark.parametrize("file", LEFTHOOK)
def test_lefthook(repo, file):
    """Our text in lefthook-local, in the language of their file: both run, records travel, the guard refuses."""
    manager = program("lefthook")
    write(repo, file, LEFTHOOK[file])
    write(repo, ".gitignore", "lefthook-local.*\n")
    save(repo, "their configuration")
    tool(repo, manager, "install")
    setup.initialise(str(repo))
    assert states(repo)["pre-commit"] == "foreign"
    snippet = hooking.install(find(str(repo))).snippet
    write(repo, "lefthook-local." + file.rpartition(".")[2], "\n".join(snippet[1:]) + "\n")
    assert states(repo)["pre-commit"] == "by lefthook"
    save(repo, "the workspace")
    team_ran(repo)
    assert_a_record_travels(repo)
    assert_the_guard_refuses(repo)


def test_lefthook_installed_after_us(repo):
    """It moves ours to pre-commit.old, where nothing runs it: told at once."""
    manager = program("lefthook")
    write(repo, "lefthook.yml", LEFTHOOK["lefthook.yml"])
    setup.initialise(str(repo))
    assert states(repo)["pre-commit"] == "installed"
    tool(repo, manager, "install")
    assert states(repo)["pre-commit"] == "foreign"
    assert "mlos-sync hooks install" in run(repo, "status").out
    hooking.uninstall(str(repo))
    assert not (repo / ".git/hooks/pre-commit.old").exists()


@pytest.mark.parametrize(("name", "words"), [("husky", ()), ("husky8", ("install",))])
def test_husky(repo, name, words):
    """The real husky: the block in the team's file, proof through its launcher, and every byte back."""
    manager = program(name)
    write(repo, ".husky/pre-commit", "echo team >> .git/ran\n")
    if words:
        write(
            repo, ".husky/pre-commit", '#!/usr/bin/env sh\n. "$(dirname -- "$0")/_/husky.sh"\necho team >> .git/ran\n'
        )
    (repo / ".husky/pre-commit").chmod(0o755)
    tool(repo, manager, *words)
    save(repo, "husky", "--no-verify")
    before = (repo / ".husky/pre-commit").read_bytes()
    setup.initialise(str(repo))
    assert (repo / ".husky/pre-commit").read_bytes() == before
    assert hooking.install(find(str(repo)), "block", consent=True).active
    found = run(repo, "hooks", "status", "--json").json["hooks"]
    assert {one["fires"] for one in found} == {True} and team_ran(repo) == 0
    save(repo, "the workspace")
    tool(repo, manager, *words)
    team_ran(repo)
    assert_a_record_travels(repo)
    assert_the_guard_refuses(repo)
    hooking.uninstall(str(repo))
    assert (repo / ".husky/pre-commit").read_bytes() == before
    assert [path.name for path in (repo / ".husky").iterdir() if path.is_file()] == ["pre-commit"]
