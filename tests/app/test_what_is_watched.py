"""Each folder into which a walk looks is watched, whatever its contents, its neighbours or its past are."""

from __future__ import annotations

import os
import random
from pathlib import Path

import naive
import pytest
from cli import run, save, workspace, write
from gitrepo import git, shell
from watched import indexed, watching

from mlos_sync.app import covering
from mlos_sync.edge.workspace import find


@pytest.fixture
def repo(tmp_path):
    """A committed workspace whose `.gitignore` has what most have."""
    made = workspace(tmp_path)
    shell(made, r"printf '*.log\n__pycache__/\nnode_modules/\n' > .gitignore; mkdir sub; echo one > sub/a.md")
    save(made, "first")
    return made


# What stands before the watcher starts, and what is done while it runs, with time to settle after each.
CASES = {
    "one with nothing but ignored files": ("mkdir logs; echo x > logs/a.log", ["echo n > logs/n.md"]),
    "one that comes with nothing but ignored files": ("", ["mkdir run; echo x > run/a.log", "echo n > run/n.md"]),
    "one in which nothing but an ignored folder is left": (
        "git switch -qc other; mkdir pkg; echo a > pkg/a.py; git add -A; git commit -qm pkg; mkdir pkg/__pycache__;"
        "echo c > pkg/__pycache__/a.pyc; git switch -q main",
        ["git switch -q other", "echo more >> pkg/a.py; git commit -qam more"],
    ),
    "one that lost all that counts before the rules changed": (
        "mkdir r; echo x > r/a.log; echo n > r/n.md; git add -A; git commit -qm r",
        ["git rm -q r/n.md; git commit -qm gone", "echo '*.tmp' >> .gitignore", "echo n > r/n.md"],
    ),
    "one below some that hold nothing that counts": ("mkdir -p a/b/c; echo x > a/b/c/x.log", ["echo n > a/b/c/n.md"]),
    "one whose .git is a file that names nothing": (
        "mkdir x; echo 'gitdir: /nowhere' > x/.git; echo 1 > x/f", ["echo 2 > x/f", "echo n > x/n.md"],
    ),
    "one whose .git is an empty folder": ("mkdir -p x/.git; echo 1 > x/f", ["echo 2 > x/f", "echo n > x/n.md"]),
    "one whose .git becomes a repository's": (
        "mkdir -p x/.git; echo 1 > x/f", ["git init -q elsewhere; mv elsewhere/.git/* x/.git", "echo 2 > x/f"],
    ),
    "one that is a repository of its own no more": (
        "git init -q x; echo 1 > x/f", ["rm -rf x/.git", "echo 2 > x/f; mkdir x/y; echo 3 > x/y/z"],
    ),
}  # fmt: skip


def asked_after_each(repo, before, steps):
    """The watcher, each time that a step was done and somebody has asked with --wait."""
    shell(repo, before)
    with watching(repo) as watcher:
        watcher.started()
        watcher.settled()
        for step in steps:
            shell(repo, step)
            run(repo, "status", "--wait", "--json")
            yield watcher


@pytest.mark.parametrize("case", CASES)
def test_it_is_watched(repo, case):
    """What is asked with --wait holds it, and the next full look is far away."""
    for watcher in asked_after_each(repo, *CASES[case]):
        watcher.settled()


def test_what_is_ignored_is_not_watched(repo):
    """Neither where it lies alone in a folder that is not."""
    shell(repo, "mkdir -p web/node_modules/one/two web/empty sub/__pycache__; echo x > web/node_modules/one/two/x.js")
    with watching(repo) as watcher:
        watcher.started()
        watched = watcher.told()["coverage"]["watched"]
        assert watched == len([repo, ".mlos", ".mlos/journal", "sub", "web", "web/empty"])
        shell(repo, "mkdir -p api/node_modules/three; echo x > api/node_modules/three/x.js")
        watcher.eventually(lambda: watcher.told()["coverage"]["watched"] == watched + 1)


RULES = ["*.log", "/a", "b/", "c/*", "!c/keep", "d/e", "**/build", "*", "!*/", "!*.md", "cache", "!a/b"]


@pytest.mark.parametrize("seed", range(20))
def test_it_is_watched_where_a_new_file_would_count(repo, seed):
    """Random trees and rules; git itself is asked what it would say of a new file in each folder."""
    chance = random.Random(seed)
    names = ["a", "b", "c", "d", "e", "keep", "build", "cache", ":(top)x", "s*r"]
    folders = {""}
    for _ in range(40):
        path = os.path.join(chance.choice(sorted(folders)), chance.choice(names))
        (repo / path).mkdir(exist_ok=True)
        folders.add(path)
        if chance.random() < 0.5:
            (repo / path / chance.choice(["x.log", "x.md", "x"])).write_text("x")
        if chance.random() < 0.15:
            (repo / path / ".gitignore").write_text("\n".join(chance.sample(RULES, 2)) + "\n")
        if chance.random() < 0.1:
            chance.choice(
                [lambda place: git(place, "init", "-q"), lambda place: (place / ".git").mkdir(exist_ok=True)]
            )(repo / path)
        if chance.random() < 0.2:
            git(repo, "add", "--force", "--", f":(literal){path}", check=False)
    (repo / ".gitignore").write_text("\n".join(chance.sample(RULES, 3)) + "\n")
    everywhere = set(covering.folders(find(str(repo))))
    for folder in everywhere:
        below = {one for one in everywhere if f"{one}/".startswith(f"{folder}/") or not folder}
        assert set(covering.folders(find(str(repo)), folder)) == below
    watched = {one for one in everywhere if ".git" not in one.split("/")}
    assert would_count(repo) <= watched
    tracked = {str(one) for path in git(repo, "ls-files", "-z").stdout.split("\0") for one in Path(path).parents}
    asked = "".join(f"./{one}\0" for one in watched - tracked if one)
    assert git(repo, "check-ignore", "--no-index", "-z", "--stdin", stdin=asked, check=False).stdout == ""


def would_count(repo):
    """The folders in which a new file counts for git."""
    for folder, inside, _ in os.walk(repo):
        inside[:] = [one for one in inside if one != ".git"]
        Path(folder, "new.md").write_text("new")
    said = git(repo, "ls-files", "-o", "-z", "--exclude-standard").stdout.split("\0")
    return {one.removesuffix("new.md").removesuffix("/") for one in said if f"/{one}".endswith("/new.md")}


def test_a_work_tree_inside_its_bare_repository(tmp_path):
    """As many who use work trees have it."""
    first = workspace(tmp_path)
    save(first, "first")
    shell(tmp_path, "git clone -q --bare repo proj.git; git -C proj.git worktree add -q main main")
    tree = tmp_path / "proj.git" / "main"
    run(tree, "init")
    with watching(tree) as watcher:
        watcher.started()
        shell(tree, "mkdir new; echo n > new/n.md")
        run(tree, "status", "--wait", "--json")
        watcher.settled()
        shell(tree, "git add -A; git commit -qm new")
        watcher.settled()


# What makes a folder a repository of its own, or none, without an event in it.
ELSEWHERE = {
    "its files are taken out of the index": ("git init -q sub", ["git rm -rq --cached sub"]),
    "it is taken into the index": ("", ["git init -q sub", "git rm -rq --cached sub; git -C sub add -A; git -C sub commit -qm x"]),
    "a submodule that is not there is taken out of the index": (
        "git init -q other; git -C other commit -qm x --allow-empty;"
        "git -c protocol.file.allow=always submodule --quiet add ./other mod; git commit -qm mod; git submodule -q deinit -f mod;"
        "mkdir mod/new; echo 1 > mod/a.md; echo 2 > mod/new/b.md",
        ["git rm -q --cached mod", "echo 3 > mod/new/c.md"],
    ),
    "a work tree that is forgotten": ("git worktree add -q wt", ["mv wt wt2", "git worktree prune", "echo n > wt2/sub/n.md"]),
    "a link to a git directory that is moved away": (
        "git init -q ../store; mkdir wt; echo 1 > wt/a.md; ln -s ../../store/.git wt/.git", ["mv ../store ../gone", "echo 2 > wt/a.md"],
    ),
    "its HEAD goes and comes back": (
        "git init -q wt; echo 1 > wt/a.md", ["mv wt/.git/HEAD wt/.git/X", "echo 2 > wt/a.md", "mv wt/.git/X wt/.git/HEAD"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ELSEWHERE)
def test_what_makes_it_a_repository_lies_elsewhere(repo, case):
    """It is looked at with each question, and every few seconds."""
    for _ in asked_after_each(repo, *ELSEWHERE[case]):
        assert indexed(repo) == naive.files(repo)


def test_a_thousand_folders_in_one_another(repo):
    """One with nothing but an ignored file at its end: not one git for each."""
    shell(repo, "d=$(printf 'd/%.0s' $(seq 900)); mkdir -p $d; echo x > ${d}x.log")
    with watching(repo) as watcher:
        watcher.started()
        path = Path(*["d"] * 900, "n.md")
        write(repo, str(path), "n\n")
        watcher.until(lambda look: str(path) in look["added"])
