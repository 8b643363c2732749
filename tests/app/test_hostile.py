"""A repository that was made to run something: whatever its configuration names and whatever lies in it, no command and no
hook of ours starts it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli import add, head, need, opened, quick, run, save, workspace, write
from gitrepo import env_of, git

from mlos_sync.app import flagging
from mlos_sync.edge import files

CANARIES = {
    "core.fsmonitor": "fsmonitor",
    "core.pager": "pager",
    "core.editor": "editor",
    "core.askPass": "askpass",
    "core.sshCommand": "ssh",
    "core.gitProxy": "proxy",
    "core.alternateRefsCommand": "alternates",
    "sequence.editor": "sequence-editor",
    "credential.helper": "credentials",
    "gpg.program": "gpg",
    "gpg.ssh.program": "gpg-ssh",
    "gpg.ssh.defaultKeyCommand": "gpg-key",
    "diff.external": "external-diff",
    "diff.odd.textconv": "textconv",
    "diff.odd.command": "diff-command",
    "merge.odd.driver": "merge-driver",
    "filter.odd.clean": "clean",
    "filter.odd.smudge": "smudge",
    "filter.a=b.clean": "clean-of-an-odd-name",
    "filter.talks.process": "process",
    "filter.talks.clean": "clean-beside-process",
    "interactive.diffFilter": "diff-filter",
    "trailer.closes.command": "trailer-command",
    "trailer.task.cmd": "trailer-cmd",
    "pager.log": "pager-log",
    "pager.blame": "pager-blame",
    "pack.packObjectsHook": "pack",
    "uploadpack.packObjectsHook": "upload",
    "remote.origin.uploadpack": "remote-upload",
    "remote.origin.receivepack": "remote-receive",
    "remote.origin.vcs": "vcs",
    "submodule.sub.update": "!submodule",
    "browser.odd.cmd": "browser",
    "sendemail.smtpServer": "mail",
    "imap.tunnel": "imap",
    "alias.log": "!alias-log",
    "alias.blame": "!alias-blame",
    "alias.ls-files": "!alias-ls-files",
    "alias.rev-parse": "!alias-rev-parse",
    "alias.x": "!alias",
}
PLAIN = {
    "log.showSignature": "true", "commit.gpgSign": "false", "filter.odd.required": "true", "filter.a=b.required": "true",
    "core.attributesFile": "nowhere/attributes", "core.untrackedCache": "true", "submodule.recurse": "true",
    "protocol.ext.allow": "always", "remote.origin.url": "ext::canary %S", "remote.origin.promisor": "true",
}  # fmt: skip
HOOKS = """applypatch-msg commit-msg fsmonitor-watchman post-applypatch post-checkout post-commit post-index-change post-merge
post-receive post-rewrite post-update pre-applypatch pre-auto-gc pre-commit pre-merge-commit pre-push pre-rebase pre-receive
prepare-commit-msg proc-receive push-to-checkout reference-transaction sendemail-validate update"""
ODD = ("odd.md", "talks.md", "eq.md")
COMMANDS = (
    ["sync"], ["status"], ["why", "odd.md"], ["why", "odd.md:1"], ["why", "task:1"], ["log", "artifact:odd.md"],
    ["task", "set", "1", "--priority", "2"], ["compile"], ["verify", "--range", "HEAD~1..HEAD"], ["publish"],
    ["dump", "--canonical"], ["rebuild"], ["rebuild", "--check"], ["transcripts"], ["init"],
)  # fmt: skip


class Cage:
    """Programs that write down their name when they are started, and hand on what they are given."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "started"
        folder.mkdir()

    def canary(self, name: str) -> str:
        """A program of that name; its path."""
        program = self.folder / name
        program.write_text(f'#!/bin/sh\necho {name} >> "{self.log}"\nexec cat\n')
        program.chmod(0o755)
        return str(program)

    def started(self) -> set[str]:
        """Which of them were, since the last time."""
        names = set(self.log.read_text().split()) if self.log.exists() else set()
        self.log.unlink(missing_ok=True)
        return names


@pytest.fixture
def cage(tmp_path):
    """A cage beside the workspace."""
    return Cage(tmp_path / "cage")


@pytest.fixture
def hostile(tmp_path, cage):
    """A workspace with all that git can be told to start, and files that git has to look into each time it compares."""
    repo = workspace(tmp_path)
    task = add(repo, "task", description="Look")
    write(repo, ".gitattributes", "odd.* filter=odd diff=odd merge=odd\ntalks.* filter=talks\neq.* filter=a=b\n")
    for name in (*ODD, "note.md"):
        write(repo, name, "one\n")
    save(repo, "files")
    write(repo, "odd.md", "two\n")
    save(repo, f"two\n\nTask: task-{task['uid'][:16]}")
    for key, name in CANARIES.items():
        path = cage.canary(name.removeprefix("!"))
        git(repo, "config", key, f"!{path}" if name.startswith("!") else path)
    for key, value in PLAIN.items():
        git(repo, "config", key, value)
    make_racy(repo)
    cage.started()
    return repo


def make_racy(repo):
    """Files that look younger than git's index: it compares contents, and so runs a filter, whenever it asks or writes."""
    off = [
        f"filter.{name}={value}"
        for name, value in {"odd.clean": "", "odd.required": "false", "talks.process": "", "talks.clean": ""}.items()
    ]
    for name in ODD:
        os.utime(repo / name, (4_000_000_000, 4_000_000_000))
    git(repo, "-c", "core.fsmonitor=false", *(word for one in off for word in ("-c", one)), "add", *ODD, check=False)


def test_the_canaries_sing(hostile, cage):
    """Git itself starts them: else this file would prove nothing."""
    git(hostile, "status", check=False)
    assert {"fsmonitor", "clean"} <= cage.started()
    blob = git(hostile, "rev-parse", "HEAD:odd.md").stdout.strip()
    git(
        hostile,
        "-c",
        "core.fsmonitor=false",
        "update-index",
        "--index-info",
        stdin=f"100644 {blob}\tnew.md\n",
        check=False,
    )
    assert "clean" in cage.started()
    git(hostile, "-c", "core.fsmonitor=false", "blame", "HEAD", "--", "odd.md", check=False)
    assert "textconv" in cage.started()


def test_no_command_starts_what_is_configured(hostile, cage):
    """Each command of ours, with a record that waits."""
    for command in COMMANDS:
        done = quick(hostile, *command, ok=False)
        assert cage.started() == set(), command
        assert done.code in (0, 1), (command, done.err)


ARGUMENTS = {
    "commit-msg": ("{message}",), "prepare-commit-msg": ("{message}",), "post-checkout": ("{head}", "{head}", "1"),
    "post-merge": ("0",), "post-rewrite": ("rebase",), "pre-push": ("origin", "ext::canary"), "post-index-change": ("0", "0"),
}  # fmt: skip
INPUT = {"post-rewrite": "{head} {head}\n", "pre-push": "refs/heads/main {head} refs/heads/main " + "0" * 40 + "\n"}


def test_no_hook_starts_what_is_configured(hostile, cage):
    """Each hook that is installed, called as git calls it, with a record that waits and a closing in the message."""
    need(hostile, "Waits")
    words = {"head": head(hostile), "message": str(write(hostile, ".git/COMMIT_EDITMSG", "x\n\nCloses: 1\n"))}
    installed = [one["name"] for one in quick(hostile, "hooks", "status", "--json").json["hooks"]]
    assert {"pre-commit", "commit-msg", "post-commit"} <= set(installed)
    cage.started()
    for name in installed:
        hook = str(hostile / ".git" / "hooks" / name)
        arguments = [one.format(**words) for one in ARGUMENTS.get(name, ())]
        env = {**env_of(hostile), "GIT_INDEX_FILE": ".git/index", "GIT_DIR": ".git"}
        text = INPUT.get(name, "").format(**words)
        done = subprocess.run([hook, *arguments], cwd=hostile, env=env, input=text, capture_output=True, text=True)
        assert cage.started() == set(), name
        assert done.returncode == 0, (name, done.stderr)
    assert git(hostile, "-c", "core.fsmonitor=false", "diff", "--cached", "--name-only").stdout.startswith(
        ".mlos/journal/"
    )


STEPS = (
    ["commit", "-q", "-a", "-m", "x"], ["commit", "-q", "-m", "x\n\nCloses: 1", "note.md"], ["commit", "-q", "-a"],
    ["commit", "-q", "-a", "--amend", "--no-edit"], ["merge", "-q", "--no-ff", "--no-edit", "side"],
    ["cherry-pick", "--allow-empty", "side"], ["switch", "-q", "side"], ["rebase", "-q", "main"],
)  # fmt: skip


def test_git_itself_starts_no_more_for_our_hooks(hostile, cage):
    """What git starts for the user's own command, with our hooks and with others that do nothing: the same programs."""
    calm = ("-c", "core.fsmonitor=false")
    made = git(hostile, "commit-tree", "-p", "HEAD~1", "-m", "side", "HEAD~1^{tree}").stdout.strip()
    git(hostile, "branch", "side", made)
    quiet = Path(shutil.copytree(hostile, hostile.parent / "quiet", symlinks=True))
    for one in quick(hostile, "hooks", "status", "--json").json["hooks"]:
        (quiet / ".git" / "hooks" / one["name"]).write_text("#!/bin/sh\nexit 0\n")
    editor = {"GIT_EDITOR": cage.canary("editor")}
    for number, step in enumerate(STEPS):
        need(hostile, f"Waits {number}")
        told = {}
        for repo in (hostile, quiet):
            write(repo, "note.md", f"changed {number}\n")
            if step[0] != "commit":
                git(repo, *calm, "checkout", "-q", "note.md")
            make_racy(repo)
            cage.started()
            done = git(repo, *step, check=False, env=editor)
            told[repo] = (done.returncode, cage.started())
        assert told[hostile] == told[quiet], step


def real_git() -> str:
    """The git of this machine, by its whole name."""
    found = shutil.which("git")
    assert found
    return found


def test_programs_of_the_work_tree_are_not_found(tmp_path, cage):
    """133: PATH begins with the current folder, and in it lie programs by the names of those that we start."""
    repo = workspace(tmp_path)
    add(repo, "task", description="Close me")
    write(repo, "note.md", "one\n")
    for name in ("git", "python", "python3", Path(sys.executable).name, "sh", "env", "ps", "nice"):
        write(repo, name, Path(cage.canary(name)).read_text()).chmod(0o755)
    env = {"PATH": f".::{os.environ['PATH']}"}
    for command in (["sync"], ["why", "note.md:1"], ["publish"], ["rebuild"], ["hooks", "status"]):
        run(repo, *command, env=env)
    for arguments in (
        ["add", "-A"],
        ["commit", "-q", "-m", "x\n\nCloses: 1"],
        ["commit", "-q", "-m", "y", "--allow-empty"],
    ):
        done = subprocess.run(
            [real_git(), *arguments], cwd=repo, env={**env_of(repo), **env}, capture_output=True, text=True
        )
        assert done.returncode == 0 and done.stderr == "", done.stderr
    assert cage.started() == set()
    folder = tmp_path / "fresh"
    folder.mkdir()
    write(folder, "git", Path(cage.canary("git")).read_text()).chmod(0o755)
    run(folder, "init", "--git-init", env=env)
    assert cage.started() == set()


def test_names_that_look_like_options(tmp_path):
    """134: branches, tags, remotes and files that begin with a dash, and answers that are about them."""
    repo = workspace(tmp_path)
    names = ("-rf", "--output=stolen")
    for name in names:
        write(repo, name, f"{name}\n")
    save(repo, "odd")
    tip = head(repo)
    for ref in ("heads/-x", "tags/--output=stolen", "remotes/-r/--all", "heads/--not"):
        git(repo, "update-ref", f"refs/{ref}", "HEAD")
    git(repo, "symbolic-ref", "HEAD", "refs/heads/--not")
    need(repo, "Waits")
    quick(repo, "sync")
    for name in names:
        assert [one["sha"] for one in quick(repo, "why", "--json", "--", f"./{name}").json["commits"]] == [tip]
        assert [one["sha"] for one in quick(repo, "why", "--json", "--", f"./{name}:1").json["commits"]] == [tip]
    for range_ in ("-x..HEAD", "--output=stolen"):
        assert quick(repo, "verify", "--range", range_, ok=False).code == 2
    assert quick(repo, "why", "--", "commit:--output=stolen", ok=False).code == 2
    assert quick(repo, "rebuild", "--check", "--json").json["identical"]
    save(repo, "on a branch that looks like an option")
    assert {path.name for path in repo.iterdir()} >= set(names) and not (repo / "stolen").exists()


MODULES = (
    "sitecustomize.py", "usercustomize.py", "yaml.py", "typer.py", "sqlite3.py", "json/__init__.py", "os.py", "mlos.py",
    "mlos_sync.py", "mlos_sync/__init__.py", "mlos_sync/hooks/main.py", "mlos_sync/__main__.py",
)  # fmt: skip


def test_modules_of_the_work_tree_are_not_imported(tmp_path):
    """135: with the folder as current one, by the installed command, by the module, and by the hooks."""
    repo = workspace(tmp_path)
    add(repo, "task", description="Close me")
    for name in MODULES:
        write(repo, name, "open('/dev/stderr', 'w').write('imported by mistake')\n")
    installed = str(Path(sys.executable).parent / "mlos-sync")
    commands = ([installed, "sync"], [installed, "why", "yaml.py"], [sys.executable, "-I", "-m", "mlos_sync", "status"])
    for command in commands:
        done = subprocess.run(command, cwd=repo, env=env_of(repo), capture_output=True, text=True)
        assert done.returncode == 0 and "mistake" not in done.stderr, done.stderr
    for arguments in (
        ["add", "-A"],
        ["commit", "-q", "-m", "x\n\nCloses: 1"],
        ["commit", "-q", "-m", "y", "--allow-empty"],
    ):
        done = git(repo, *arguments)
        assert done.stderr == ""


def test_tools_of_the_shims_are_not_found_in_the_work_tree(tmp_path):
    """With the current folder first on PATH: the shims take their tools from the system's own path."""
    repo = workspace(tmp_path)
    log = tmp_path / "started"
    for name in ("grep", "cat", "cmp", "sed", "printf", "rm", "env", "dirname", "basename"):
        write(repo, name, f"#!/bin/sh\necho {name} >> '{log}'\nexit 1\n").chmod(0o755)
    env = {**env_of(repo), "PATH": f".:{env_of(repo)['PATH']}"}
    messages = ("x\n\nCloses: 1", "y", "z\n\nTask: 1")
    for arguments in (["add", "-A"], *(["commit", "-q", "--allow-empty", "-m", message] for message in messages)):
        subprocess.run([str(shutil.which("git")), *arguments], cwd=repo, env=env, check=True, capture_output=True)
    assert not log.exists(), log.read_text()


@pytest.mark.parametrize("name", [".mlosignore", ".mlos/config.toml", "PROBLEM.md", "notes/other.md"])
def test_a_second_name_of_the_database_costs_no_lock(tmp_path, name):
    """Hard links of its three files in places that we read: a transaction of ours keeps others out all the same."""
    repo = workspace(tmp_path)
    run(repo, "sync")
    (repo / "notes").mkdir()
    with opened(repo) as index:
        index.db.execute("BEGIN IMMEDIATE")
        index.db.execute("UPDATE meta SET value = value")
        for end in ("-shm", "-wal", ""):
            (repo / name).unlink(missing_ok=True)
            os.link(index.workspace.database + end, repo / name)
            files.ignore_rule(index.workspace)
            flagging.is_edited(index, name)
            found = files.read(index.workspace, name)
            code = (
                f"import sqlite3; sqlite3.connect({index.workspace.database!r}, timeout=0).execute('BEGIN IMMEDIATE')"
            )
            other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
            assert "database is locked" in other.stderr
            assert found is None
        index.db.execute("ROLLBACK")
