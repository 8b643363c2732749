"""Hooks as guests: beside other hooks and managers ours run, theirs go on running, and every byte comes back."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli import changed, need, run, save, segments, write
from gitrepo import ROOT, git, make_repo, sealed_env
from guests import CONFIGS, GENERATED, TEAM, git_is, hook, husky8, husky9, snapshot

from mlos_sync.app import firing, hooking, setup
from mlos_sync.core import blocks, snippets
from mlos_sync.edge import managers, shims
from mlos_sync.edge.workspace import find
from mlos_sync.errors import RefusedError, SurroundingsError, UsageError

old_git = pytest.mark.skipif(git_is(2, 54), reason="git's own configuration is the way of a git that new")
new_git = pytest.mark.skipif(not git_is(2, 54), reason="NOT TESTED: configured hooks, as they need git 2.54")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A workspace with no hook installed, made once."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("fresh")
        for name, value in sealed_env(home / "home").items():
            patch.setenv(name, value)
        repo = make_repo(home)
        setup.initialise(str(repo))
        hooking.uninstall(str(repo))
        save(repo, "the workspace")
    return repo


@pytest.fixture
def repo(tmp_path, fresh):
    """A workspace with no hook installed yet: what a fresh clone is, with somebody's hooks to come."""
    shutil.copytree(fresh, tmp_path / "repo", symlinks=True)
    return tmp_path / "repo"


def states(repo: Path) -> dict[str, str]:
    return {one.name: one.state for one in firing.quick(find(str(repo)))}


def install(repo: Path, way: str = "auto", *, yes: bool = False) -> hooking.Outcome:
    return hooking.install(find(str(repo)), way, consent=yes)


def guarded(repo: Path, **options) -> bool:
    """Whether our guard stops a commit that it must stop."""
    write(repo, "forged.md", "---\ncompiled_at: 2026-01-01T00:00:00Z\n---\nMine.\n")
    git(repo, "add", "forged.md")
    done = git(repo, "commit", "-q", "-m", "forged", check=False, **options)
    refused = done.returncode != 0 and "commit refused" in done.stderr + done.stdout
    assert refused or done.returncode == 0, done.stderr
    git(repo, *(["reset", "-q", "--soft", "HEAD~1"] if not refused else ["reset", "-q"]))
    git(repo, "rm", "-q", "--cached", "--ignore-unmatch", "forged.md")
    (repo / "forged.md").unlink()
    return refused


def team_ran(repo: Path) -> int:
    """How often the team's own hook has run since the last question."""
    ran = repo / "ran"
    count = len(ran.read_text().splitlines()) if ran.exists() else 0
    ran.unlink(missing_ok=True)
    return count


# --- the repository's own folder -----------------------------------------------------------------------------------


def test_without_a_manager_what_is_there_is_chained(repo):
    """No question asked: the hook that is there runs first, ours after it, and uninstall gives it back (case 82)."""
    mine = hook(repo / ".git" / "hooks" / "pre-commit")
    before = snapshot(repo / ".git" / "hooks")
    outcome = install(repo)
    assert outcome.active and not outcome.snippet
    assert set(states(repo).values()) == {"installed"}
    assert guarded(repo) and team_ran(repo) == 1
    assert mine.with_name("pre-commit.before-mlos-sync").read_bytes() == TEAM
    hooking.uninstall(str(repo))
    assert snapshot(repo / ".git" / "hooks") == before


def test_twice_an_older_one_and_a_lost_bit(repo):
    """init twice writes nothing, another version's hook is replaced and does not run beside ours, a lost executable bit
    comes back (case 83)."""
    install(repo)
    hooks = repo / ".git" / "hooks"
    before = snapshot(hooks)
    assert run(repo, "init").code == 0
    assert snapshot(hooks) == before
    hook(hooks / "pre-commit", b"#!/bin/sh\n# mlos-sync hook v0\necho old >> ran\n")
    (hooks / "commit-msg").chmod(0o644)
    assert states(repo)["pre-commit"] == states(repo)["commit-msg"] == "outdated"
    assert "commit-msg" in run(repo, "status").out
    assert run(repo, "hooks", "install").code == 0
    assert snapshot(hooks) == before
    assert guarded(repo) and not (repo / "ran").exists()


def test_a_folder_named_by_hand_that_is_gits_own_is_our_own(repo):
    """Some tools set core.hooksPath to where it is anyway."""
    git(repo, "config", "core.hooksPath", str(repo / ".git" / "hooks"))
    assert install(repo).active
    assert states(repo)["pre-commit"] == "installed"


@old_git
@pytest.mark.parametrize("manager", GENERATED)
def test_a_generated_hook_is_left_alone(repo, manager):
    """The file that a manager wrote stays as it is, the other hooks are put beside it, and the text for the manager's own
    file is printed; once it is there, the hook counts as started by that manager."""
    written = hook(repo / ".git" / "hooks" / "pre-commit", GENERATED[manager])
    config = write(repo, CONFIGS[manager], "# nothing yet: mlos/hooks/pre-commit\n")
    before = config.read_bytes()
    done = run(repo, "hooks", "install", ok=False)
    assert done.code == 1 and "hint:" in done.err
    assert written.read_bytes() == GENERATED[manager] and config.read_bytes() == before
    assert states(repo) == {name: "foreign" if name == "pre-commit" else "installed" for name in shims.NAMES}
    assert CONFIGS[manager] in done.err and "mlos/hooks/" in done.err
    found = {one["name"]: one for one in hooking.status(str(repo))["hooks"]}
    assert found["pre-commit"]["fires"] is False and not (repo / "ran").exists()
    config.write_text("\n".join(install(repo).snippet) + "\n")
    assert states(repo)["pre-commit"] == f"by {manager}"
    assert run(repo, "hooks", "install").code == 0
    found = {one["name"]: one for one in hooking.status(str(repo))["hooks"]}
    assert found["pre-commit"]["fires"] is None and not (repo / "ran").exists()
    hooking.uninstall(str(repo))
    assert written.read_bytes() == GENERATED[manager]
    assert [path.name for path in (repo / ".git" / "hooks").iterdir() if shims.MARK in path.read_bytes()] == []


def test_a_hook_that_a_manager_moves_aside(repo):
    """`pre-commit install` after us keeps ours as pre-commit.legacy and runs it first: it is active there, the hook that we
    kept runs too, and uninstall leaves what would be there without us."""
    hooks = repo / ".git" / "hooks"
    hook(hooks / "pre-commit")
    install(repo, "chain")
    (hooks / "pre-commit").rename(hooks / "pre-commit.legacy")
    hook(hooks / "pre-commit", b'#!/bin/sh\n# File generated by pre-commit: x\nexec "$0.legacy" "$@"\n')
    assert states(repo)["pre-commit"] == "by pre-commit"
    assert guarded(repo) and team_ran(repo) == 1
    (hooks / "pre-commit.legacy").write_bytes((hooks / "pre-commit.legacy").read_bytes() + b"# of another version\n")
    assert states(repo)["pre-commit"] == "outdated"
    if not git_is(2, 54):
        assert run(repo, "hooks", "install").code == 0
        assert states(repo)["pre-commit"] == "by pre-commit"
    hooking.uninstall(str(repo))
    assert (hooks / "pre-commit.legacy").read_bytes() == TEAM
    assert b"File generated" in (hooks / "pre-commit").read_bytes()


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_a_hooks_folder_that_is_a_link(repo, tmp_path, where):
    """.git/hooks may lead into the work tree, or to a folder of several repositories: not ours to fill unasked."""
    folder = repo / "tools" if where == "inside" else tmp_path / "tools"
    hook(folder / "pre-commit")
    shutil.rmtree(repo / ".git" / "hooks")
    (repo / ".git" / "hooks").symlink_to(folder)
    before = snapshot(folder)
    assert run(repo, "init").code == 0
    assert snapshot(folder) == before
    assert install(repo, "block", yes=True).active and guarded(repo)
    hooking.uninstall(str(repo))
    assert snapshot(folder) == before


# --- husky, and a folder of somebody's own -------------------------------------------------------------------------


@old_git
@pytest.mark.parametrize("husky", [husky9, husky8])
def test_husky(repo, husky):
    """Without consent nothing of the team's is touched; with it the block runs once, before the team's hook and whatever
    that ends with, HUSKY=0 skips both, and all comes back byte for byte."""
    team = husky(repo)
    team.chmod(team.stat().st_mode | 0o040)
    save(repo, "husky", "--no-verify")
    before = snapshot(repo / ".husky")
    done = run(repo, "hooks", "install", ok=False)
    assert done.code == 1 and "# >>> mlos-sync" in done.err and "hooks install --yes" in done.err
    assert changed(repo) == [] and team.read_bytes() == before[team.name][1]
    assert run(repo, "hooks", "install", "--yes").code == 0
    assert team.stat().st_mode == before[team.name][0]
    assert {states(repo)[name] for name in ("pre-commit", "commit-msg")} == {"block"}
    assert set(states(repo).values()) <= {"block", "installed"}, "what husky does not run stands in its own folder"
    assert guarded(repo) and team_ran(repo) == 0
    save(repo, "good")
    assert team_ran(repo) == 1
    assert not guarded(repo, env={"HUSKY": "0"})
    again = snapshot(repo / ".husky")
    assert run(repo, "init").code == 0 and install(repo).active
    assert snapshot(repo / ".husky") == again
    hooking.uninstall(str(repo))
    assert snapshot(repo / ".husky") == before


def test_the_block_runs_once_under_husky_8(repo):
    """husky 8 starts the same file twice: ours counts one."""
    husky8(repo)
    install(repo, "block", yes=True)
    hook(repo / ".git" / "mlos" / "hooks" / "pre-commit", b"#!/bin/sh\necho ours >> ran\n")
    git(repo, "commit", "-q", "--allow-empty", "-m", "x")
    assert (repo / "ran").read_text() == "ours\nteam\n"


def test_in_a_clone_without_mlos_sync_the_block_does_nothing(repo, tmp_path):
    """The committed hook of the team works as before where nobody has installed us; init there needs no consent, for
    nothing of the team's changes."""
    husky9(repo)
    install(repo, "block", yes=True)
    save(repo, "husky with our block")
    team_ran(repo)
    git(tmp_path, "clone", "-q", str(repo), "other")
    other = tmp_path / "other"
    shutil.copytree(repo / ".husky" / "_", other / ".husky" / "_")
    git(other, "config", "core.hooksPath", ".husky/_")
    assert not guarded(other) and team_ran(other) == 1
    setup.initialise(str(other))
    assert states(other)["pre-commit"] == "block" and not firing.line(firing.quick(find(str(other))))
    assert guarded(other) and changed(other) == []
    hooking.uninstall(str(other))
    assert changed(other) == [], "the team's own file is not ours to change"


@old_git
def test_asked_on_a_terminal(repo):
    """The change is shown line by line, and no means no."""
    team = husky9(repo)
    before = team.read_bytes()
    for answer in (b"n\n", b"y\n"):
        parent, child = pty.openpty()
        command = [sys.executable, "-I", "-m", "mlos_sync", "hooks", "install"]
        process = subprocess.Popen(command, cwd=repo, stdin=child, stdout=child, stderr=child)
        os.close(child)
        os.write(parent, answer)
        said = b""
        with contextlib.suppress(OSError):  # how a terminal ends
            while block := os.read(parent, 4096):
                said += block
        os.close(parent)
        assert b"+++ " + os.fsencode(repo / ".husky" / "pre-commit") in said
        assert b"+# >>> mlos-sync" in said and b"not ours" in said
        assert process.wait() == (1 if answer == b"n\n" else 0)
        assert (team.read_bytes() == before) == (answer == b"n\n")


@old_git
def test_husky_that_was_not_installed_here(repo):
    """core.hooksPath leads to a folder that npm makes: nothing of ours is put there before."""
    git(repo, "config", "core.hooksPath", ".husky/_")
    done = run(repo, "hooks", "install", ok=False)
    assert done.code == 1 and "npm install" in done.err
    assert not (repo / ".husky").exists()


@pytest.mark.parametrize(
    "text",
    [
        TEAM,
        b"#!/bin/bash\nset -eu\necho team >> ran\nexec true\n",
        b"#!/bin/sh\necho team >> ran; exit 0",
        b"echo team >> ran\n",
    ],
    ids=["plain", "exec", "no end", "no first line"],
)
def test_a_folder_of_somebodys_own(repo, text):
    """Hooks in a tracked folder get our block, with consent; what is changed around it later stays."""
    team = hook(repo / ".githooks" / "pre-commit", text, 0o700)
    git(repo, "config", "core.hooksPath", ".githooks")
    save(repo, "hooks", "--no-verify")
    before = snapshot(repo / ".githooks")
    assert not install(repo, "block").active and snapshot(repo / ".githooks") == before
    assert install(repo, "block", yes=True).active
    assert guarded(repo) and team_ran(repo) == 0
    save(repo, "fine")
    assert team_ran(repo) == 1
    assert team.stat().st_mode & 0o777 == 0o700
    team.write_bytes(team.read_bytes() + b"# more\n")
    hooking.uninstall(str(repo))
    after = snapshot(repo / ".githooks")
    assert list(after) == ["pre-commit"]
    assert after["pre-commit"] == (before["pre-commit"][0], text + b"# more\n")


def test_what_is_no_shell_script_is_left_alone(repo, tmp_path):
    """A hook in another language, or a link: we say how it can start ours, and see it when it does."""
    hook(repo / ".githooks" / "pre-commit", b"#!/usr/bin/env python3\nprint('team')\n")
    hook(tmp_path / "elsewhere", TEAM)
    (repo / ".githooks" / "commit-msg").symlink_to(tmp_path / "elsewhere")
    git(repo, "config", "core.hooksPath", ".githooks")
    before = snapshot(repo / ".githooks")
    outcome = install(repo, "block", yes=True)
    told = [note for note in outcome.notes if "no script for sh" in note]
    assert len(told) == 2 and all("mlos/hooks/" in note for note in told)
    after = snapshot(repo / ".githooks")
    assert {name: after[name] for name in before} == before
    hook(
        repo / ".githooks" / "pre-commit",
        b"#!/usr/bin/env python3\nimport os, subprocess, sys\n"
        b"sys.exit(subprocess.call(['.git/mlos/hooks/pre-commit', *sys.argv[1:]]))\n",
    )
    assert states(repo)["pre-commit"] == "by hand"
    assert guarded(repo)


def test_a_hook_that_git_skips(repo):
    """A file that is not executable is told: git starts neither it nor our block."""
    hook(repo / ".githooks" / "pre-commit", TEAM, 0o644)
    git(repo, "config", "core.hooksPath", ".githooks")
    outcome = install(repo, "block", yes=True)
    assert not outcome.active
    assert any("not executable" in note for note in outcome.notes)
    assert (repo / ".githooks" / "pre-commit").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", blocks.READ_STDIN)
@pytest.mark.parametrize("lines", [b"", b"a b c d\n", b"no end", b"x\n" * 50000], ids=["none", "one", "no end", "many"])
def test_both_hooks_read_the_same_input(repo, name, lines, tmp_path):
    """What git tells on standard input reaches ours and theirs, byte for byte."""
    hook(repo / ".git" / "mlos" / "hooks" / name, b'#!/bin/sh\ncat > "$1.ours"\nexit ${OURS:-0}\n')
    file = hook(tmp_path / "theirs", blocks.with_block(b'#!/bin/sh\ncat > "$1.theirs"\n', name))
    for code in ("0", "3"):
        done = subprocess.run([file, str(tmp_path / code)], cwd=repo, input=lines, env={**os.environ, "OURS": code})
        assert done.returncode == int(code)
        assert (tmp_path / f"{code}.ours").read_bytes() == lines
    assert (tmp_path / "0.theirs").read_bytes() == lines
    assert not (tmp_path / "3.theirs").exists()


# --- a folder that other repositories use too ----------------------------------------------------------------------


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A global core.hooksPath with a hook in it."""
    folder = tmp_path / "everybody"
    hook(folder / "pre-commit")
    config = tmp_path / "gitconfig"
    config.write_text(f"[core]\n\thooksPath = {folder}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    return folder


@old_git
def test_a_global_hooks_path_is_never_changed(repo, shared, monkeypatch):
    """Nothing is written there unless the block is asked for by name and with consent; the setting is never touched; and a
    block that is there does nothing in other repositories."""
    from gitrepo import env_of

    theirs = {**env_of(repo), "GIT_CONFIG_GLOBAL": os.environ["GIT_CONFIG_GLOBAL"]}
    config = Path(theirs["GIT_CONFIG_GLOBAL"])
    before, setting = snapshot(shared), config.read_bytes()
    local = (repo / ".git" / "config").read_bytes()
    for words in (
        ("init",),
        ("hooks", "install"),
        ("hooks", "install", "--yes"),
        ("hooks", "install", "--way", "block"),
    ):
        done = run(repo, *words, ok=False)
        assert done.code == (0 if words == ("init",) else 1)
        assert "global" in done.err or "--way block" in done.err
        assert snapshot(shared) == before and config.read_bytes() == setting
    with pytest.raises(RefusedError, match="other repositories"):
        install(repo, "chain", yes=True)
    assert run(repo, "hooks", "install", "--way", "block", "--yes").code == 0
    assert guarded(repo, env=theirs) and team_ran(repo) == 0
    assert config.read_bytes() == setting
    added = set((repo / ".git" / "config").read_bytes().split(b"\n")) - set(local.split(b"\n"))
    assert len(added) == 3 and all(
        any(word in line for word in (b"mlos-sync-view", b"merge-view", b"recursive")) for line in added
    )
    elsewhere = make_repo(repo.parent / "b")
    git(elsewhere, "commit", "-q", "--allow-empty", "-m", "x", env=theirs)
    assert team_ran(elsewhere) == 1
    hooking.uninstall(str(repo))
    assert snapshot(shared) == before and (repo / ".git" / "config").read_bytes() == local


# --- git's configuration ---------------------------------------------------------------------------------------------


@old_git
def test_configured_hooks_need_a_new_git(repo):
    """Said with both versions, before anything is written."""
    before = snapshot(repo / ".git")
    done = run(repo, "hooks", "install", "--way", "config", ok=False)
    assert done.code == 3 and "2.54" in done.err and "hint:" in done.err
    assert snapshot(repo / ".git") == before
    with pytest.raises(UsageError):
        install(repo, "by magic")


@new_git
@pytest.mark.parametrize("husky", [husky9, husky8, None])
def test_git_starts_ours_from_its_configuration(repo, husky):
    """Where somebody else has the hooks folder, ours is started beside it without a file being changed; uninstall takes out
    exactly our keys; an event or a hook that is switched off is told."""
    if husky:
        husky(repo)
    else:
        hook(repo / ".git" / "hooks" / "pre-commit", GENERATED["lefthook"])
        install(repo, "chain")
    save(repo, "theirs", "--no-verify")
    git(repo, "config", "hook.linter.event", "pre-commit")
    git(repo, "config", "hook.linter.command", "echo linter >> ran")
    if not husky:
        hooking.uninstall(str(repo))
    before, files = (repo / ".git" / "config").read_bytes(), snapshot(repo / ".husky")
    assert install(repo).active and set(states(repo).values()) == {"config"}
    assert guarded(repo)
    found = hooking.status(str(repo))
    assert {one["fires"] for one in found["hooks"]} == {True}
    assert [one["name"] for one in found["configured"]] == ["linter"]
    (repo / "ran").unlink(missing_ok=True)
    save(repo, "good")
    assert (repo / "ran").read_text().split() == ["linter", "team"]
    moved = repo.rename(repo.with_name("moved"))
    assert guarded(moved), "no path of the repository is written down"
    moved.rename(repo)
    git(repo, "config", "hook.mlos-sync-pre-commit.enabled", "false")
    assert states(repo)["pre-commit"] != "config" and not guarded(repo)
    hooking.uninstall(str(repo))
    assert (repo / ".git" / "config").read_bytes() == before and snapshot(repo / ".husky") == files


@new_git
def test_nothing_runs_twice_when_the_way_changes(repo):
    """From the folder to the configuration and back: each time one way."""
    install(repo)
    install(repo, "config")
    assert set(states(repo).values()) == {"config"}
    assert not any(path.read_bytes().find(shims.MARK) >= 0 for path in (repo / ".git" / "hooks").iterdir())
    install(repo, "chain")
    assert set(states(repo).values()) == {"installed"}
    assert "mlos-sync" not in (repo / ".git" / "config").read_text()


def test_the_hooks_of_gits_configuration_are_read_as_git_reads_them(repo):
    """Several events, an empty value that clears them, the last command, switched off, and a hook without a command."""
    config = repo / ".git" / "config"
    with config.open("a") as file:
        file.write(
            '[hook "a"]\n\tevent = pre-push\n\tevent =\n\tevent = pre-commit\n\tevent = commit-msg\n'
            '\tcommand = one\n\tcommand = two\n[hook "b.c"]\n\tevent = pre-commit\n\tcommand = x\n\tenabled = no\n'
            '[hook "d"]\n\tevent = pre-commit\n[hook]\n\tjobs = 2\n'
        )
    found = managers.configured_hooks(managers.asked(str(repo)))
    assert [(one.name, one.events, one.command, one.scope, one.enabled) for one in found] == [
        ("a", ("pre-commit", "commit-msg"), "two", "local", True),
        ("b.c", ("pre-commit",), "x", "local", False),
    ]


# --- several ways, one after the other -------------------------------------------------------------------------------


def test_uninstall_after_several_ways(repo):
    """Chained in git's own folder, then husky, then a folder of hooks elsewhere: everything comes back, wherever
    core.hooksPath leads when it is taken away."""
    mine = hook(repo / ".git" / "hooks" / "pre-commit")
    before = snapshot(repo / ".git" / "hooks")
    install(repo, "chain")
    husky9(repo)
    team = hook(repo / ".githooks" / "pre-commit")
    files = {folder: snapshot(repo / folder) for folder in (".husky", ".githooks")}
    install(repo, "block", yes=True)
    git(repo, "config", "core.hooksPath", ".githooks")
    install(repo, "block", yes=True)
    assert blocks.find(team.read_bytes()) and guarded(repo)
    git(repo, "config", "--unset", "core.hooksPath")
    run(repo, "hooks", "uninstall")
    assert {folder: snapshot(repo / folder) for folder in files} == files
    assert snapshot(repo / ".git" / "hooks") == before and mine.read_bytes() == TEAM


def test_uninstalling_all_of_it_takes_blocks_too(repo):
    """`mlos-sync uninstall` leaves no block behind."""
    husky9(repo)
    before = snapshot(repo / ".husky")
    install(repo, "block", yes=True)
    removed = run(repo, "uninstall", "--json").json["removed"]
    assert snapshot(repo / ".husky") == before
    assert any(path.endswith(".husky/pre-commit") for path in removed)


# --- proof -------------------------------------------------------------------------------------------------------------


def test_status_proves_that_hooks_fire(repo):
    """Each is started as git would start it and gives a sign; nobody else's hook runs for that; when it last ran is told."""
    hook(repo / ".git" / "hooks" / "pre-commit")
    install(repo, "chain")
    (repo / ".git" / "mlos" / "fired-pre-commit").touch()
    os.utime(repo / ".git" / "mlos" / "fired-pre-commit", (1_780_000_000, 1_780_000_000))
    found = {one["name"]: one for one in run(repo, "hooks", "status", "--json").json["hooks"]}
    assert {one["fires"] for one in found.values()} == {True}
    assert found["pre-commit"]["fired_at"].startswith("2026-05-28T20:26:40")
    assert found["post-commit"]["fired_at"] is None
    assert not (repo / "ran").exists(), "the kept hook is not ours to start"
    assert "fires" in run(repo, "hooks", "status").out


def test_a_hook_whose_python_has_gone_does_not_fire(repo, tmp_path):
    """The proof is of what would happen, not of what the file looks like: here Python has lost the package."""
    bare = tmp_path / "bare" / "bin" / "python"
    hook(bare, b"#!/bin/sh\nexit 1\n")
    install(repo)
    for name in shims.NAMES:
        file = repo / ".git" / "hooks" / name
        file.write_bytes(file.read_bytes().replace(os.fsencode(sys.executable), os.fsencode(bare)))
    assert set(states(repo).values()) == {"outdated"}
    python = str(bare)
    templates = str(ROOT / "hooks")
    shims.install(str(repo / ".git" / "hooks"), templates, python)
    assert not shims.answers(str(repo / ".git" / "hooks" / "pre-commit"), "pre-commit", str(repo))


def test_a_changed_hook_of_ours_is_not_started(repo):
    """What is not ours byte for byte may be somebody's code: it is not tried."""
    install(repo)
    file = repo / ".git" / "hooks" / "pre-commit"
    file.write_bytes(file.read_bytes().replace(b"#!/bin/sh\n", b"#!/bin/sh\ntouch started\n"))
    file.write_bytes(file.read_bytes().replace(b"touch started\n" + shims.CURRENT, shims.CURRENT + b"touch started\n"))
    found = {one["name"]: one for one in hooking.status(str(repo))["hooks"]}
    assert found["pre-commit"]["fires"] is None and not (repo / "started").exists()


def test_blocks_are_proved_through_the_file_that_git_starts(repo):
    """Where our block comes first it answers and nothing after it runs; where a command comes first, nothing is started."""
    team = hook(repo / ".githooks" / "pre-commit")
    git(repo, "config", "core.hooksPath", ".githooks")
    install(repo, "block", yes=True)
    found = {one["name"]: one for one in hooking.status(str(repo))["hooks"]}
    assert {one["fires"] for one in found.values()} == {True} and team_ran(repo) == 0
    nowhere = {"TMPDIR": "/nowhere", "MLOS_SYNC_PROBE": "1"}
    for name in ("pre-commit", *blocks.READ_STDIN):
        asked = hook(repo / "asked", blocks.with_block(TEAM, name))
        subprocess.run([asked], cwd=repo, env={**os.environ, **nowhere}, stdin=subprocess.DEVNULL, check=True)
        shutil.move(repo / ".git" / "mlos" / "hooks", repo / "away")
        subprocess.run([asked], cwd=repo, env={**os.environ, **nowhere}, stdin=subprocess.DEVNULL, check=True)
        shutil.move(repo / "away", repo / ".git" / "mlos" / "hooks")
    assert team_ran(repo) == 0, "even where ours cannot answer"
    team.write_bytes(team.read_bytes().replace(b"#!/bin/sh\n", b"#!/bin/sh\necho first >> ran\n"))
    found = {one["name"]: one for one in hooking.status(str(repo))["hooks"]}
    assert found["pre-commit"]["fires"] is None and found["pre-commit"]["state"] == "block" and team_ran(repo) == 0


def test_a_launcher_that_nobody_looked_at_is_not_started(repo):
    """husky's own launcher comes before our block: only one that is known is started for a proof."""
    husky9(repo)
    install(repo, "block", yes=True)
    found = hooking.status(str(repo))["hooks"]
    assert {one["fires"] for one in found if one["state"] == "block"} == {None}
    assert {one["state"] for one in found if one["fires"]} <= {"installed"}


def test_linked_work_trees(repo, tmp_path):
    """A relative core.hooksPath leads nowhere in a work tree without that folder: told there, and from the other one (case
    54)."""
    hook(repo / ".githooks" / "pre-commit")
    (repo / ".gitignore").write_text(".githooks\n")
    git(repo, "config", "core.hooksPath", ".githooks")
    install(repo, "block", yes=True)
    save(repo, "hooks that git ignores")
    linked = tmp_path / "linked"
    git(repo, "worktree", "add", "-q", str(linked))
    trees = {one["path"]: one for one in hooking.status(str(repo))["worktrees"]}
    assert trees[str(repo)]["active"] and not trees[str(linked)]["active"]
    assert "no such folder" in trees[str(linked)]["reason"]
    assert f"hooks not active in the worktree {linked}" in run(repo, "hooks", "status").out
    assert "hooks not active in this worktree" in run(linked, "hooks", "status").out
    assert "not active in this worktree" in run(linked, "status").out
    git(repo, "config", "--unset", "core.hooksPath")
    install(repo)
    assert all(one["active"] for one in hooking.status(str(linked))["worktrees"])
    assert guarded(linked)


def test_work_trees_that_are_broken_or_elsewhere(repo, tmp_path):
    """A removed work tree is not named, a broken one is with git's words, and a submodule is a work tree of its own."""
    for name in ("gone", "broken"):
        git(repo, "worktree", "add", "-q", "--detach", str(tmp_path / name))
    shutil.rmtree(tmp_path / "gone")
    (tmp_path / "broken" / ".git").write_text("gitdir: /nowhere\n")
    install(repo, "chain")
    trees = {one["path"]: one for one in hooking.status(str(repo))["worktrees"]}
    assert trees[str(repo)]["active"] and not trees[str(tmp_path / "broken")]["active"]
    assert set(trees) == {str(repo), str(tmp_path / "broken")}
    above = make_repo(tmp_path / "above")
    git(above, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(repo), "sub")
    inner = above / "sub"
    setup.initialise(str(inner))
    found = hooking.status(str(inner))
    assert [(one["path"], one["active"], one["here"]) for one in found["worktrees"]] == [(str(inner), True, True)]
    assert {one["fires"] for one in found["hooks"]} == {True}
    for where in (repo, inner):
        assert set(run(where, "hooks", "uninstall", "--json").json["hooks"][0].values()) >= {"missing"}


@pytest.mark.parametrize("value", ["/dev/null", "a file"])
def test_hooks_path_to_no_folder(repo, value):
    """core.hooksPath=/dev/null switches hooks off: told by status, and no way puts a file there."""
    (repo / "a file").write_bytes(b"")
    git(repo, "config", "core.hooksPath", value)
    done = run(repo, "hooks", "status")
    assert "hooks not active in this worktree" in done.out and "runs no hook files" in done.out
    with pytest.raises(SurroundingsError, match="runs no hook files"):
        install(repo, "block", yes=True)
    if not git_is(2, 54):
        assert run(repo, "hooks", "install", ok=False).code == 1
        assert run(repo, "init").code == 0


def test_a_folder_that_cannot_run_programs(tmp_path):
    """On a file system mounted noexec the hook is there and git cannot start it."""
    script = f"""
    set -e
    mount -t tmpfs -o noexec none {tmp_path}
    cd {tmp_path}
    git init -q -b main repo && cd repo
    {sys.executable} -I -m mlos_sync init >/dev/null 2>&1
    {sys.executable} -I -m mlos_sync hooks status
    """
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("NOT TESTED: a noexec file system, as mount namespaces are not allowed here")
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "noexec" in done.stdout and "does not fire" in done.stdout


def test_a_clone_without_hooks_is_told(repo):
    """One line, with the command that helps; and none when all is well."""
    assert "mlos-sync hooks install" in run(repo, "status").out
    assert "mlos-sync hooks install" in run(repo, "rebuild").err
    install(repo)
    assert "hooks install" not in run(repo, "status").out
    assert "hooks install" not in run(repo, "rebuild").err


# --- a git that is too old ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("init",), ("hooks", "install"), ("status",)])
def test_a_git_that_is_too_old(repo, tmp_path, words):
    """Said when it matters, with both versions, and not inside a hook at commit time (case 70)."""
    old = tmp_path / "old"
    hook(
        old / "git",
        b'#!/bin/sh\nfor word; do [ "$word" = version ] && echo "git version 2.20.1" && exit 0; done\n'
        b"echo --path-format=absolute\n",
    )
    done = run(repo, *words, ok=False, env={"PATH": f"{old}:{os.environ['PATH']}"})
    assert done.code == 3
    assert "mlos-sync needs git 2.31 or later, found 2.20.1" in done.err and "hint:" in done.err


# --- texts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", shims.NAMES)
@pytest.mark.parametrize(("manager", "file"), [(one, file) for one, files in managers.FILES.items() for file in files])
def test_a_snippet_is_found_again(manager, file, name):
    """What we print for a manager is what we look for in its file, for that hook alone."""
    text = "\n".join(snippets.snippet(manager, file, [name]))
    assert file in text.split("\n")[0] or manager == "overcommit"
    assert snippets.calls_ours(text, name)
    assert not any(snippets.calls_ours(text, other) for other in shims.NAMES if other != name)
    commented = "\n".join(f"# {line}" for line in text.split("\n"))
    assert not snippets.calls_ours(commented, name)


def test_segments_are_files_at_once_under_a_framework(repo, monkeypatch):
    """pre-commit and prek compare index and work tree after each hook; without them the file waits for the commit."""
    install(repo, "chain")
    for told in ({}, {"PRE_COMMIT": "1"}):
        need(repo, "Know why")
        git(
            repo, "-c", "core.editor=false", "commit", "--allow-empty", check=False, env={"GIT_EDITOR": "false", **told}
        )
        waiting = [line for line in changed(repo) if ".jsonl" in line]
        assert waiting and all(line.startswith("A " if told else "AD") for line in waiting)
        save(repo, "the record")
        assert changed(repo) == [] and segments(repo)
