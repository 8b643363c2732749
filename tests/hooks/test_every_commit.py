"""What a commit may not do to views, by every way in which git makes a commit: the hook refuses it, or `verify` and the
push find it. The rows and the ways are in `ways`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli import quick
from gitrepo import git, sealed_env
from viewed import make_workspace, root
from ways import ACCEPTED, NEWER, NOTE, PASSED, REFUSED, SOMETIMES, STOPPED, VIEW, Rows, before, put, save

from mlos_sync.app import verifying
from mlos_sync.core.guard import quoted
from mlos_sync.core.paths import to_bytes
from mlos_sync.edge.workspace import Workspace, find


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Twice a workspace with our hooks, the state before, and a remote that has it: made once, copied for each test."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sealed_env(folder / "home").items():
            patch.setenv(name, value)
        for name, rows in (("refused", REFUSED), ("accepted", ACCEPTED)):
            repo = root(make_workspace(folder / name))
            save(repo, {**before(rows), "note.md": NOTE}, "before")
            git(repo, "init", "-q", "--bare", "../up")
            git(repo, "remote", "add", "up", "../up")
            git(repo, "push", "-q", "--no-verify", "up", "main")
    return folder


def copied(made: Path, tmp_path: Path) -> tuple[Workspace, Path, str]:
    """Place, work tree, commit."""
    shutil.copytree(made, tmp_path, symlinks=True, dirs_exist_ok=True)
    place = find(str(tmp_path / "repo"))
    return place, root(place), git(root(place), "rev-parse", "HEAD").stdout.strip()


def wanted(rows: Rows) -> dict[str, str]:
    return {path: kind for path, (_, _, kind) in rows.items() if kind}


def kinds(findings) -> dict[str, str]:
    """Paths as the system writes them, so that they compare."""
    return {to_bytes(found.path).decode("utf-8", "surrogateescape"): found.kind for found in findings}


@pytest.mark.parametrize("route", STOPPED)
def test_the_hook_refuses_every_row_and_nothing_else(made, tmp_path, route):
    """HEAD stays, and each path is named."""
    _, repo, _ = copied(made / "refused", tmp_path)
    done = STOPPED[route](repo, REFUSED)
    assert done.returncode != 0 and f"{len(wanted(REFUSED))} files cannot be committed" in done.stderr, done.stderr
    assert [path for path in wanted(REFUSED) if quoted(path) not in done.stderr] == []
    assert done.stderr.isascii()
    assert git(repo, "log", "-1", "--format=%s").stdout.strip() not in ("try", "Merge branch 'side'")


@pytest.mark.parametrize("route", STOPPED)
def test_the_hook_lets_every_genuine_row_pass(made, tmp_path, route):
    """Without a word; and what came of it verifies and is pushed."""
    place, repo, _ = copied(made / "accepted", tmp_path)
    done = STOPPED[route](repo, ACCEPTED)
    assert done.returncode == 0 and "mlos-sync" not in done.stderr, done.stderr
    assert verifying.verify(place) == []
    assert {path for path, (_, new, _) in ACCEPTED.items() if new is None}.isdisjoint(tracked(repo))
    assert git(repo, "show", "HEAD:recompiled.md").stdout.encode() == NEWER


def tracked(repo: Path) -> set[str]:
    return set(git(repo, "ls-tree", "-r", "-z", "--name-only", "HEAD").stdout.split("\0"))


@pytest.mark.parametrize("route", PASSED)
def test_what_no_hook_sees_is_found_by_verify_and_by_the_push(made, tmp_path, route):
    """By the tree that came of it, by the range, by the command, and before it leaves this clone."""
    place, repo, start = copied(made / "refused", tmp_path)
    PASSED[route](repo, REFUSED)
    assert kinds(verifying.verify(place)) == wanted(REFUSED)
    in_range = verifying.verify_range(place, f"{start}..HEAD")
    assert set(kinds(in_range)) == set(wanted(REFUSED))
    assert quick(repo, "verify", "--range", f"{start}..HEAD", ok=False).code == 1
    pushed = git(repo, "push", "-q", "up", "HEAD:main", check=False)
    assert pushed.returncode != 0 and "mlos-sync" in pushed.stderr and "20 files cannot" not in pushed.stderr
    assert [path for path in wanted(REFUSED) if quoted(path) not in pushed.stderr] == []


@pytest.mark.parametrize("route", PASSED)
def test_what_no_hook_sees_and_is_genuine_is_clean(made, tmp_path, route):
    """Nothing to say, anywhere."""
    place, repo, _ = copied(made / "accepted", tmp_path)
    PASSED[route](repo, ACCEPTED)
    assert verifying.verify(place) == []
    assert verifying.verify_range(place, "HEAD~1..HEAD") == []
    if route != "revert":  # its history holds the state before, with a view that is mended only now
        assert git(repo, "push", "-q", "up", "HEAD:main", check=False).returncode == 0


@pytest.mark.parametrize("route", SOMETIMES)
def test_what_goes_on_after_a_conflict_is_refused_or_found(made, tmp_path, route):
    """Where git runs the guard the commit is refused; where it does not, the commit is found."""
    place, repo, start = copied(made / "refused", tmp_path)
    done = SOMETIMES[route](repo, REFUSED)
    if done.returncode:
        assert f"{len(wanted(REFUSED))} files cannot be committed" in done.stderr, done.stderr
    else:
        assert kinds(verifying.verify(place)) == wanted(REFUSED)
        assert set(kinds(verifying.verify_range(place, f"{start}..HEAD"))) == set(wanted(REFUSED))
        assert git(repo, "push", "-q", "up", "HEAD:main", check=False).returncode != 0


@pytest.mark.parametrize("route", SOMETIMES)
def test_what_goes_on_after_a_conflict_and_is_genuine_passes(made, tmp_path, route):
    """Without a word."""
    place, repo, _ = copied(made / "accepted", tmp_path)
    done = SOMETIMES[route](repo, ACCEPTED)
    assert done.returncode == 0 and "mlos-sync" not in done.stderr, done.stderr
    assert verifying.verify(place) == []


TWICE = VIEW.replace(b"line 3\n", b"line three\n").replace(b"line 55\n", b"line fifty-five\n")


@pytest.mark.parametrize("answers", ["y\nn\n", "n\ny\n", "y\ny\n"])
def test_a_hunk_of_an_edit_is_refused(made, tmp_path, answers):
    """`git commit -p` stages a part of the edit for itself; `git add -p` for the next commit."""
    _, repo, _ = copied(made / "accepted", tmp_path)
    put(repo, {"recompiled.md": TWICE})
    done = git(repo, "commit", "-q", "-m", "try", "-p", "--", "recompiled.md", check=False, stdin=answers)
    assert done.returncode != 0 and "edited by hand" in done.stderr, done.stderr
    git(repo, "add", "-p", "--", "recompiled.md", stdin=answers)
    done = git(repo, "commit", "-q", "-m", "try", check=False)
    assert done.returncode != 0 and "edited by hand" in done.stderr, done.stderr


def test_hunks_that_are_left_out_do_not_matter(made, tmp_path):
    """An edit on the disk alone passes in each form that does not take it; so do all hunks of a genuine compile."""
    place, repo, _ = copied(made / "accepted", tmp_path)
    put(repo, {"recompiled.md": TWICE, "note.md": b"more\n"})
    assert git(repo, "commit", "-q", "-m", "try", "-p", stdin="y\nq\n", check=False).returncode == 0
    for number, form in enumerate((["--", "note.md"], ["--only", "note.md"], ["--include", "note.md"], ["--amend"])):
        put(repo, {"note.md": b"again %d\n" % number})
        git(repo, "add", "note.md")
        assert git(repo, "commit", "-q", "-m", "try", *form, check=False).returncode == 0, form
    put(repo, {"recompiled.md": NEWER})
    git(repo, "commit", "-q", "-m", "try", "-p", "--", "recompiled.md", stdin="y\ny\n")
    assert git(repo, "show", "HEAD:recompiled.md").stdout.encode() == NEWER
    assert "mended.md" in kinds(verifying.verify(place))  # which the state before has broken


@pytest.mark.parametrize("route", ["amend", "by path", "merge", "merge continue", "picked and committed"])
def test_an_index_that_is_garbage_decides_nothing_in_any_form(made, tmp_path, route):
    """What is bad is refused, and the index has no part in it."""
    _, repo, _ = copied(made / "refused", tmp_path)
    for file in (repo / ".git/mlos").glob("index.db*"):
        file.unlink()
    (repo / ".git/mlos/index.db").write_bytes(b"garbage" * 1000)
    done = STOPPED[route](repo, REFUSED)
    assert done.returncode != 0 and f"{len(wanted(REFUSED))} files cannot be committed" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
