"""The shims of messages: what starts Python and what does not, what they leave behind, and that they never stand in the way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cli import add, git_dir, run, save, sql, workspace, write
from gitrepo import ROOT, env_of, git, make_repo

from mlos_sync.app import messages
from mlos_sync.app.current import FILE
from mlos_sync.edge import shims

NAMES = ("prepare-commit-msg", "commit-msg")


@pytest.fixture(scope="module")
def template(tmp_path_factory, request):
    patch = pytest.MonkeyPatch()
    request.addfinalizer(patch.undo)
    for name in ("AUTHOR", "COMMITTER"):
        patch.setenv(f"GIT_{name}_NAME", "Ada")
        patch.setenv(f"GIT_{name}_EMAIL", "ada@example.org")
    repo = workspace(tmp_path_factory.mktemp("template"))
    add(repo, "task", description="Mend the door")
    write(repo, "note.md", "one\n")
    save(repo, "a task")
    return repo


@pytest.fixture
def repo(template, tmp_path):
    """A workspace whose hooks for messages tell when they start their Python."""
    repo = Path(shutil.copytree(template, tmp_path / "repo", symlinks=True))
    witness = write(tmp_path, "python", f'#!/bin/sh\necho "$4" >> "{tmp_path}/started"\nexec "{sys.executable}" "$@"\n')
    witness.chmod(0o755)
    for name in NAMES:
        text = shims.shim((ROOT / "hooks" / name).read_bytes(), str(witness))
        write(repo, f".git/hooks/{name}", text)
    return repo


def started(repo: Path) -> list[str]:
    """Which hooks have started Python since this was asked last."""
    path = repo.parent / "started"
    found = [line for line in path.read_text().split("\n") if line] if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def left(repo: Path) -> set[str]:
    """What lies in our folder of the git directory of what hooks leave there; it is taken away."""
    folder = git_dir(repo) / "mlos"
    names = {"closing", "message-seen", "message-prepared", "message-added", *(f"fired-{name}" for name in NAMES)}
    used = folder / "message-prepared"  # emptied once it was compared with
    found = {name for name in names if (folder / name).exists() and (folder / name != used or used.stat().st_size)}
    for name in names:
        (folder / name).unlink(missing_ok=True)
    return found


def uid(repo: Path) -> str:
    return sql(repo, "SELECT uid FROM tasks WHERE id = 1").strip()


FIRED = {f"fired-{name}" for name in NAMES}


@pytest.mark.parametrize(
    ("text", "starts", "leaves"),
    [
        ("x", [], set()),
        ("x\n\nbody 12 task 1\n\nCo-Authored-By: Ada <a1@b>\nDate: 2026-11-20", [], set()),
        ("x\n\nTask: 1", ["prepare-commit-msg"], set()),
        ("x\n\nCloses: 1", ["prepare-commit-msg"], {"closing"}),
        ("x\n\nTask: task-{uid}", ["commit-msg"], set()),
        ("x\n\nFixes: 1 (task-{uid})", ["commit-msg"], {"closing"}),
        ("x\n\nThis reverts commit 0123456789.", ["commit-msg"], {"closing"}),
        ("x\n\nCloses: 99", ["prepare-commit-msg"], {"closing"}),
        ("x\n\nfixes task:1", ["prepare-commit-msg"], set()),
    ],
)  # fmt: skip
def test_python_starts_once_where_there_is_something_to_do(repo, text, starts, leaves):
    """Not for prose and other trailers; not again where prepare-commit-msg has seen to it. post-commit hears that the message
    was looked at, and leaves no word of its own."""
    left(repo)
    git(repo, "commit", "-q", "--allow-empty", "-m", text.replace("{uid}", uid(repo)[:16]))
    assert started(repo) == starts
    assert left(repo) == leaves | FIRED


def test_python_starts_for_tasks_to_name_and_to_offer(repo):
    """A current task, the config's wish, an editor; and not for a commit whose message is somebody else's."""
    (git_dir(repo) / "mlos" / FILE).write_text(f"task-{uid(repo)}\n")
    git(repo, "commit", "-q", "--allow-empty", "-m", "x")
    assert started(repo) == ["prepare-commit-msg"]
    git(repo, "commit", "-q", "--allow-empty", "--amend", "--no-edit")
    assert started(repo) == ["commit-msg"]  # its trailer is a reference
    for number in range(3):
        write(repo, f"{number}.md", "x")
        save(repo, f"{number}")
    started(repo)
    git(repo, "rebase", "-q", "--force-rebase", "HEAD~3")
    assert started(repo) == []
    (git_dir(repo) / "mlos" / FILE).unlink()
    git(repo, "commit", "-q", "--allow-empty", env={"GIT_EDITOR": 'sed -i "1s/.*/x/"'})
    assert started(repo) == ["prepare-commit-msg"]
    with (repo / ".mlos/config.toml").open("a") as file:
        file.write('\n[commits]\ncurrent = ["branch"]\n')
    git(repo, "commit", "-q", "--allow-empty", "-m", "x")
    assert started(repo) == ["prepare-commit-msg"]


def test_what_was_prepared_once_is_no_excuse_later(repo):
    """The same message after something has changed: a stale note does not keep commit-msg from looking."""
    git(repo, "commit", "-q", "--allow-empty", "-m", "x", "-m", "Fixes: 2")
    left(repo)
    add(repo, "task", description="the second")
    git(repo, "commit", "-q", "--allow-empty", "-m", "x", "-m", "Fixes: 2")
    assert "Fixes: 2 (task-" in git(repo, "log", "-1", "--format=%B").stdout
    with (repo / ".mlos/config.toml").open("a") as file:
        file.write('\n[commits]\nunknown = "refuse"\n')
    started(repo)
    assert git(repo, "commit", "-q", "--allow-empty", "-m", "x", "-m", "Fixes: 3", check=False).returncode == 1
    assert started(repo)[:2] == ["prepare-commit-msg", "commit-msg"]


def test_no_verify_leaves_no_word_that_somebody_looked(repo):
    """post-commit has to look itself then."""
    left(repo)
    git(repo, "commit", "-q", "--no-verify", "--allow-empty", "-m", "x", "-m", "Closes: 1 (task-0123456789abcdef)")
    assert left(repo) == {"fired-prepare-commit-msg", "closing"}


def test_a_squash_is_looked_at_by_the_next_commit(repo):
    """Its message need not say what it closes: nobody has seen that yet."""
    git(repo, "checkout", "-q", "-b", "side")
    write(repo, "side.md", "s\n")
    save(repo, "side")
    git(repo, "checkout", "-q", "main")
    git(repo, "merge", "-q", "--squash", "side")
    left(repo)
    git(repo, "commit", "-q", "-m", "all of it")
    assert left(repo) == FIRED | {"closing"}


@pytest.mark.parametrize("name", NAMES)
def test_the_probe_runs_nothing_else(repo, name):
    """It says whether the interpreter has what the hook needs; the kept hook and the marks stay as they are."""
    hook = repo / ".git/hooks" / name
    kept = write(repo, f".git/hooks/{name}{shims.KEPT}", "#!/bin/sh\nexit 7\n")
    kept.chmod(0o755)
    left(repo)

    def probe() -> tuple[int, str, str]:
        env = {**env_of(repo), "MLOS_SYNC_PROBE": "1"}
        done = subprocess.run([hook, "message"], cwd=repo, env=env, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    assert probe() == (0, f"mlos-sync {name} ok\n", "")
    hook.write_bytes(hook.read_bytes().replace(str(repo.parent / "python").encode(), b"/nowhere/python"))
    assert probe() == (1, f"mlos-sync {name} broken\n", "")
    assert left(repo) == set()


@pytest.mark.parametrize("trouble", ["gone", "no package", "no folder", "read-only"])
def test_they_are_silent_where_they_can_do_nothing(repo, trouble, as_user):
    """The interpreter or the package has gone, there is no workspace, or nothing can be written: the commit is as it was."""
    python = str(repo.parent / "python")
    if trouble == "gone":
        os.unlink(python)
    elif trouble == "no package":
        Path(python).write_text("#!/bin/sh\necho no module >&2\nexit 1\n")
    elif trouble == "no folder":
        shutil.rmtree(git_dir(repo) / "mlos")
        (repo / ".mlos/config.toml").unlink()
    else:
        (git_dir(repo) / "mlos").chmod(0o500)
    hooks = repo / ".git/hooks"
    for name in ("pre-commit", "post-commit"):
        (hooks / name).unlink()
    command = [*as_user, "git", "commit", "-q", "--allow-empty", "-m", "x", "-m", "Task: 9"]
    done = subprocess.run(command, cwd=repo, env=env_of(repo), capture_output=True, text=True)
    (git_dir(repo) / "mlos").exists() and (git_dir(repo) / "mlos").chmod(0o700)
    assert done.returncode == 0, done.stderr
    assert git(repo, "log", "-1", "--format=%B").stdout == "x\n\nTask: 9\n\n"
    assert done.stderr == "" or trouble == "read-only"


def test_a_kept_hook_that_fails_stops_the_commit(repo):
    """Its answer is the answer, and what it writes is what we find."""
    kept = write(repo, f".git/hooks/prepare-commit-msg{shims.KEPT}", '#!/bin/sh\nprintf "\\nTask: 1\\n" >> "$1"\n')
    kept.chmod(0o755)
    git(repo, "commit", "-q", "--allow-empty", "-m", "x")
    assert f"Task: 1 (task-{uid(repo)[:16]})" in git(repo, "log", "-1", "--format=%B").stdout
    kept.write_text("#!/bin/sh\nexit 3\n")
    assert git(repo, "commit", "-q", "--allow-empty", "-m", "x", check=False).returncode != 0


def test_a_repository_without_workspace_is_left_alone(tmp_path):
    """Hooks that a folder for all repositories brings: nothing is made, nothing is said."""
    repo = make_repo(tmp_path)
    for name in NAMES:
        write(repo, f".git/hooks/{name}", shims.shim((ROOT / "hooks" / name).read_bytes(), sys.executable)).chmod(0o755)
    done = git(repo, "commit", "-q", "--allow-empty", "-m", "x", "-m", "Fixes: 12")
    assert done.stderr == "" and git(repo, "log", "-1", "--format=%B").stdout == "x\n\nFixes: 12\n\n"
    assert not (repo / ".git/mlos").exists()


def test_a_branch_of_before_the_workspace_is_left_alone(repo):
    """Records wait; a commit there is as one without us, and says nothing."""
    add(repo, "task", description="Wait")
    git(repo, "switch", "-q", "--orphan", "before")
    done = git(repo, "commit", "-q", "--allow-empty", "-m", "x", "-m", "Fixes: 12")
    assert done.stderr == "" and git(repo, "log", "-1", "--format=%B").stdout == "x\n\nFixes: 12\n\n"
    git(repo, "switch", "-q", "main")
    assert run(repo, "status", "--json").json["pending_events"] == 1


def test_messages_load_little():
    """The standard library and what they need: neither third parties nor what starts processes."""
    code = "import sys; import mlos_sync.hooks.making; print(' '.join(sys.modules))"
    loaded = set(subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True).stdout.split())
    assert "mlos_sync.app.messages" in loaded
    ours = {name for name in loaded if name.startswith("mlos_sync.app.")}
    assert ours == {"mlos_sync.app.messages", "mlos_sync.app.current"}
    assert not loaded & {"subprocess", "typer", "sqlmodel", "pydantic", "git", "jinja2", "yaml", "urllib.parse"}


def test_shim_and_program_agree_on_what_git_is_in_the_middle_of():
    """The names of git's files stand in both."""
    (line,) = re.findall(r"for name in (.*); do", (ROOT / "hooks/prepare-commit-msg").read_text())
    assert tuple(line.split()) == messages._AT_WORK


def test_closing_reaches_the_next_commit(repo):
    """Without a command between: the mark that a message leaves is heard by the next commit."""
    git(repo, "commit", "-q", "--allow-empty", "-m", "x", "-m", "Closes: 1")
    assert run(repo, "task", "show", "1", "--json").json["row"]["status"] == "completed"
