"""What does not hold yet: found by the other tests here, each with its cause."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cli import add, git_dir, listed, need, save, synced, workspace, write
from gitrepo import env_of, git

from mlos_sync.app import dumping, setup


def closed_on_a_branch(tmp_path):
    """Branch side: one commit that closes task 1, one more that publishes that closing. Main is checked out."""
    repo = workspace(tmp_path)
    add(repo, "task", description="Close me")
    save(repo, "start")
    git(repo, "switch", "-q", "-c", "side")
    write(repo, "one.md", "1\n")
    save(repo, "one\n\nCloses: 1")
    write(repo, "two.md", "2\n")
    save(repo, "two")
    git(repo, "switch", "-q", "main")
    synced(repo)
    return repo


def test_a_closing_that_another_branch_has_published_counts_where_its_commit_is(tmp_path):
    """An index made anew at the commit that closes, while an event waits for what refs hold: it knows the closing from the
    other branch's segment, and does not mark it as that commit's (history.closings looks only whether the id is known)."""
    repo = closed_on_a_branch(tmp_path)
    need(repo, "Waits, so that what refs hold is read")
    git(repo, "checkout", "-q", "side~1")
    synced(repo)
    assert [row["status"] for row in listed(repo, "task")] == ["completed"]
    assert "\n".join(setup.check_rebuild(str(repo))) == ""


def test_a_submodule_that_is_ignored_is_in_history_all_the_same(tmp_path):
    """`submodule.NAME.ignore` hides gitlinks from `git log --raw`: it needs --ignore-submodules=none."""
    repo = workspace(tmp_path)
    tip = git(repo, "rev-parse", "HEAD").stdout.strip()
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{tip},sub")
    write(repo, ".gitmodules", '[submodule "sub"]\n\tpath = sub\n\turl = ./\n')
    git(repo, "add", ".gitmodules")
    git(repo, "commit", "-q", "-m", "a submodule")
    synced(repo)
    expected = _dumped(repo)
    git(repo, "config", "submodule.sub.ignore", "all")
    for database in git_dir(repo).glob("mlos/index.db*"):
        database.unlink()
    synced(repo)
    assert dumping.differences(expected, _dumped(repo)) == []


def _dumped(repo):
    from cli import dump

    return dump(repo)


def test_programs_that_the_shims_use_are_not_found_in_the_work_tree(tmp_path):
    """With the current folder first on PATH the shims start what lies there under the names of their tools."""
    repo = workspace(tmp_path)
    log = tmp_path / "started"
    for name in ("grep", "cat", "sed", "printf", "rm", "env", "dirname", "basename"):
        write(repo, name, f"#!/bin/sh\necho {name} >> '{log}'\nexit 1\n").chmod(0o755)
    env = {**env_of(repo), "PATH": f".:{env_of(repo)['PATH']}"}
    for arguments in (
        ["add", "-A"],
        ["commit", "-q", "-m", "x\n\nCloses: 1"],
        ["commit", "-q", "--allow-empty", "-m", "y"],
    ):
        git_program = str(shutil.which("git"))
        subprocess.run([git_program, *arguments], cwd=repo, env=env, check=True, capture_output=True)
    assert not log.exists(), log.read_text()


def test_a_closing_goes_with_its_commit_also_where_a_later_commit_has_published_it(tmp_path):
    """A rebase drops the commit that closed, and keeps the next one, whose segment holds the closing: events that a segment
    holds count whether or not their commit is reachable (events._VERDICTS: `p.here OR …`)."""
    repo = closed_on_a_branch(tmp_path)
    git(repo, "rebase", "-q", "--onto", "main", "side~1", "side")
    assert "Closes" not in git(repo, "log", "--format=%B").stdout
    assert [row["status"] for row in listed(repo, "task")] == ["open"]
