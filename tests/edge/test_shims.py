"""Our hooks beside other people's hooks: chained, replaced when old, given back byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gitrepo import ROOT, commit_file, env_of, git, make_repo

from mlos_sync.edge import shims
from mlos_sync.errors import RefusedError, SurroundingsError

TEMPLATES = str(ROOT / "hooks")
PYTHON = "/opt/it's here/python"
FOREIGN = b'#!/bin/sh\necho foreign "$@" >> ran\ncat >> ran\nexit ${FOREIGN_EXIT:-0}\n'


@pytest.fixture
def hooks(tmp_path):
    folder = tmp_path / "hooks"
    folder.mkdir()
    return folder


def states(hooks: list[shims.Hook]) -> set[str]:
    return {hook.state for hook in hooks}


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every entry with its mode and bytes; a link with its target."""
    return {
        path.name: (path.lstat().st_mode, os.readlink(path).encode() if path.is_symlink() else path.read_bytes())
        for path in sorted(folder.iterdir())
    }


def write(path: Path, content: bytes, mode: int = 0o755) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def test_install_and_uninstall(hooks):
    """Our hooks come and go; nothing is left behind."""
    assert states(shims.state(str(hooks), PYTHON)) == {"missing"}
    done = shims.install(str(hooks), TEMPLATES, PYTHON)
    assert [hook.name for hook in done] == list(shims.NAMES)
    assert states(done) == {"installed"}
    assert sorted(snapshot(hooks)) == sorted(shims.NAMES)
    assert all((hooks / name).stat().st_mode & 0o777 == 0o755 for name in shims.NAMES)
    assert states(shims.uninstall(str(hooks))) == {"missing"}
    assert snapshot(hooks) == {}


def test_twice_is_once(hooks):
    """A second install writes nothing."""
    shims.install(str(hooks), TEMPLATES, PYTHON)
    before = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in hooks.iterdir()}
    assert states(shims.install(str(hooks), TEMPLATES, PYTHON)) == {"installed"}
    assert {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in hooks.iterdir()} == before


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o644])
def test_what_stood_there_is_kept(hooks, mode):
    """A foreign hook keeps bytes and mode beside ours, and comes back the same."""
    for name in shims.NAMES:
        write(hooks / name, FOREIGN + name.encode(), mode)
    (hooks / "pre-receive").write_bytes(b"other")
    before = snapshot(hooks)
    assert states(shims.state(str(hooks), PYTHON)) == {"foreign"}
    assert states(shims.install(str(hooks), TEMPLATES, PYTHON)) == {"installed"}
    kept = snapshot(hooks)
    assert all(kept[name + shims.KEPT] == before[name] for name in shims.NAMES)
    shims.install(str(hooks), TEMPLATES, PYTHON)
    assert snapshot(hooks) == kept
    assert states(shims.uninstall(str(hooks))) == {"foreign"}
    assert snapshot(hooks) == before


def test_ours_is_mended(hooks):
    """An older version, another interpreter, a lost executable bit and a changed text are ours: outdated, replaced."""
    shims.install(str(hooks), TEMPLATES, PYTHON)
    good = snapshot(hooks)
    (hooks / "pre-commit").write_bytes(b"#!/bin/sh\n# mlos-sync hook v0\nexit 0\n")
    (hooks / "commit-msg").chmod(0o644)
    write(hooks / "post-commit", good["post-commit"][1].replace(b"/opt", b"/old"))
    found = {hook.name: hook.state for hook in shims.state(str(hooks), PYTHON)}
    assert {name for name, state in found.items() if state == "outdated"} == {"pre-commit", "commit-msg", "post-commit"}
    assert set(found.values()) == {"outdated", "installed"}
    (hooks / "pre-merge-commit").write_bytes(good["pre-merge-commit"][1] + b"# changed\n")
    assert states(shims.install(str(hooks), TEMPLATES, PYTHON)) == {"installed"}
    assert snapshot(hooks) == good


def test_links_are_not_followed(hooks, tmp_path):
    """A hook that is a link is kept as a link; what it leads to is not touched, even if it is a hook of ours."""
    outside = tmp_path / "outside"
    outside.mkdir()
    shims.install(str(outside), TEMPLATES, PYTHON)
    write(outside / "pre-commit", FOREIGN)
    before_outside = snapshot(outside)
    for name in ("pre-commit", "commit-msg"):
        (hooks / name).symlink_to(outside / name)
    (hooks / "post-commit").symlink_to("nowhere")
    before = snapshot(hooks)
    assert states(shims.install(str(hooks), TEMPLATES, PYTHON)) == {"installed"}
    assert not any((hooks / name).is_symlink() for name in shims.NAMES)
    assert snapshot(outside) == before_outside
    shims.uninstall(str(hooks))
    assert snapshot(hooks) == before
    assert snapshot(outside) == before_outside


def test_two_foreign_hooks_are_too_many(hooks):
    """If another tool has put its hook over ours, nothing is touched and the message says how to join the two."""
    write(hooks / "commit-msg", FOREIGN)
    shims.install(str(hooks), TEMPLATES, PYTHON)
    write(hooks / "commit-msg", b"#!/bin/sh\n# other tool\n")
    (hooks / "pre-commit").unlink()
    before = snapshot(hooks)
    with pytest.raises(RefusedError) as caught:
        shims.install(str(hooks), TEMPLATES, PYTHON)
    assert "hooks install" in caught.value.hint
    assert snapshot(hooks) == before
    shims.uninstall(str(hooks))
    assert (hooks / "commit-msg").read_bytes() == b"#!/bin/sh\n# other tool\n"
    assert (hooks / f"commit-msg{shims.KEPT}").read_bytes() == FOREIGN


def test_folders_and_files_in_the_way(hooks, tmp_path):
    """A folder named like a hook, and a file named like the hooks folder, are refused with words."""
    (hooks / "pre-commit").mkdir()
    with pytest.raises(RefusedError):
        shims.install(str(hooks), TEMPLATES, PYTHON)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SurroundingsError):
        shims.install(str(tmp_path / "file" / "hooks"), TEMPLATES, PYTHON)
    with pytest.raises(ValueError, match="absolute"):
        shims.install(str(hooks), TEMPLATES, "python3")


def test_a_missing_hooks_folder_is_made(tmp_path):
    """A repository made without templates has no hooks folder."""
    assert states(shims.install(str(tmp_path / "a" / "hooks"), TEMPLATES, PYTHON)) == {"installed"}


STOPPING = ("pre-commit", "pre-merge-commit", "prepare-commit-msg", "commit-msg", "pre-push")


@pytest.mark.parametrize("name", (*shims.NAMES, *shims.ON_REQUEST))
def test_the_kept_hook_runs_first(hooks, name, tmp_path):
    """The kept hook gets arguments and stdin, and its failure is the answer. It stops ours too where a hook may stop git;
    where the thing is done already, ours does its part all the same."""
    write(hooks / name, FOREIGN)
    witness = tmp_path / "python"
    write(witness, b"#!/bin/sh\necho ours >> ran\n")
    shims.install(str(hooks), TEMPLATES, str(witness))
    if name in shims.ON_REQUEST:
        write(hooks / (name + shims.KEPT), FOREIGN)
        write(hooks / name, shims.shim((ROOT / "hooks" / name).read_bytes(), str(witness)))
    state = tmp_path / ".git" / "mlos"
    state.mkdir(parents=True)
    (tmp_path / "message").write_bytes(b"x\n\nCloses : 3\n")

    def run(code: int) -> int:
        for left in (tmp_path / "ran", state / "notes"):
            left.unlink(missing_ok=True)
        for made in ("repair", "listening"):
            (state / made).touch()
        env = {"PATH": os.environ["PATH"], "FOREIGN_EXIT": str(code)}
        return subprocess.run([hooks / name, "message"], cwd=tmp_path, env=env, input=b"one two\n").returncode

    def said() -> tuple[str, bool]:
        text = (tmp_path / "ran").read_text() if (tmp_path / "ran").exists() else ""
        return text.replace("ours\n", ""), "ours\n" in text or (state / "notes").exists()

    kept = "foreign message\none two\n"
    assert run(0) == 0
    assert said()[0] == kept
    assert said()[1] or name == "prepare-commit-msg"  # what that one does depends on the message
    assert run(7) == 7
    assert said() == (kept, name not in STOPPING)
    (hooks / (name + shims.KEPT)).chmod(0o644)
    assert run(7) == 0
    assert said()[0] == ""


@pytest.mark.parametrize("name", shims.NAMES)
def test_a_sign_and_nothing_else(hooks, name, tmp_path):
    """Asked for a sign, a hook tries its interpreter and answers; neither the kept hook nor ours does anything."""
    write(hooks / name, FOREIGN)
    for code, word in ((0, "ok"), (1, "broken")):
        write(tmp_path / "python", b'#!/bin/sh\n[ "$2" = -c ] || touch ran\nexit %d\n' % code)
        shims.install(str(hooks), TEMPLATES, str(tmp_path / "python"))
        env = {"PATH": os.environ["PATH"], shims.PROBE: "1"}
        done = subprocess.run([hooks / name], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (code, f"mlos-sync {name} {word}\n", "")
        assert not (tmp_path / "ran").exists()
        assert shims.answers(str(hooks / name), name, str(tmp_path)) == (code == 0)
        assert not shims.answers(str(hooks / name), "another", str(tmp_path))


@pytest.mark.parametrize("ending", shims.MOVED)
def test_a_hook_that_was_moved_aside_goes_too(hooks, ending):
    """Another manager has put its hook in our place and ours beside it: ours goes, what we kept stands where it would."""
    write(hooks / "pre-commit", FOREIGN)
    shims.install(str(hooks), TEMPLATES, PYTHON)
    (hooks / "pre-commit").rename(hooks / f"pre-commit{ending}")
    write(hooks / "pre-commit", b"#!/bin/sh\n# another\n")
    shims.uninstall(str(hooks))
    assert {name: text for name, (_, text) in snapshot(hooks).items()} == {
        "pre-commit": b"#!/bin/sh\n# another\n",
        f"pre-commit{ending}": FOREIGN,
    }


@pytest.mark.parametrize(
    ("message", "starts"),
    [
        ("x\n\nTask: 12\n", True),
        ("closes :#3", True),
        ("FIXES: 1", True),
        ("x\n\nResolves:2", True),
        ("Need: 4", True),
        ("fix the task: 12", False),
        ("x\n\nTicket: 12", True),  # the config may have made it a key a moment ago
        ("x\n\nTask:\n 12", True),
        ("x\n\nTask: task-3f9a2c", True),
        ("fixes task:12 (task-3f9a2c4155d01e77)", True),
        ('Revert "x"\n\nThis reverts commit 0123456789.', True),
        ("x\n\nCo-Authored-By: Ada 2 <ada@example.org>\nDate: 2026-11-20\nRefs: #a", False),
        ("Task list of 12", False),
        ("x\n", False),
        ("", False),
    ],
)
def test_python_starts_only_for_trailers(hooks, tmp_path, message, starts):
    """commit-msg costs a grep unless a line may refer to something, whatever its key."""
    witness = tmp_path / "python"
    write(witness, b'#!/bin/sh\necho "$@" > ran\n')
    shims.install(str(hooks), TEMPLATES, str(witness))
    (tmp_path / "message").write_text(message)
    assert subprocess.run([hooks / "commit-msg", "message"], cwd=tmp_path).returncode == 0
    assert (tmp_path / "ran").exists() == starts
    if starts:
        assert (tmp_path / "ran").read_text() == "-I -m mlos_sync.hooks.main commit-msg message\n"


def test_post_commit_starts_only_for_repairs(tmp_path):
    """post-commit looks for one file in the git directory of this work tree, wherever that is."""
    repo = make_repo(tmp_path)
    commit_file(repo, "a", b"a")
    linked = tmp_path / "linked"
    git(repo, "worktree", "add", "-q", str(linked))
    witness = tmp_path / "python"
    write(witness, b"#!/bin/sh\necho said; touch ran\n")
    shims.install(str(repo / ".git" / "hooks"), TEMPLATES, str(witness))
    hook = str(repo / ".git" / "hooks" / "post-commit")
    for tree, folder in ((repo, repo / ".git"), (linked, repo / ".git" / "worktrees" / "linked")):
        subprocess.run([hook], cwd=tree, env=env_of(repo), check=True)
        assert not (tree / "ran").exists()
        (folder / "mlos").mkdir()
        (folder / "mlos" / "repair").touch()
        done = subprocess.run([hook], cwd=tree, env=env_of(repo), check=True, capture_output=True)
        assert (tree / "ran").exists()
        assert (done.stdout, done.stderr) == (b"", b"said\n")


@pytest.mark.parametrize("name", (*shims.NAMES, *shims.ON_REQUEST))
def test_the_shims_are_plain_shell(name):
    """The templates carry mark and placeholder, are executable, and every sh can parse them."""
    path = ROOT / "hooks" / name
    text = path.read_bytes()
    assert text.startswith(b"#!/bin/sh\n" + shims.CURRENT)
    assert text.count(shims.PLACEHOLDER) == 1
    assert text.isascii()
    assert os.access(path, os.X_OK)
    subprocess.run(["sh", "-n", str(path)], check=True)
