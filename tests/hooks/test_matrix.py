"""The hook matrix: whatever git did, and whichever of our hooks it ran for it, the very next command answers correctly.

Each row is something that people do with git, in a workspace with all hooks, where a record waits for a commit and
nobody watches. Afterwards the questions are asked, another one first in each row; the answers come from a naive walk,
`git rev-list` and the messages themselves (tests/naive.py).
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import naive
from cli import add, dump, listed, need, opened, run, save, synced, write
from cli import workspace as new_workspace
from gitrepo import git
from walk_oracle import Truth, tables_of

from mlos_sync.app import records, setup, status, sync
from mlos_sync.core.paths import to_bytes

JOURNAL = Truth()  # of all rows: their histories begin alike


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a workspace, a bare remote of it, and branches to do something with. Copied for each row.

    start  the workspace and four tasks
    main   start, note.md changed, main.md
    side   start, side-1.md (Closes: 1), side-2.md
    third  start, third.md (Closes: 2)
    clash  start, note.md changed otherwise (Closes: 3)
    ahead  main, ahead.md (Closes: 4)
    """
    top = tmp_path_factory.mktemp("world")
    repo = new_workspace(top, "--template=")
    for number in range(1, 5):
        add(repo, "task", description=f"Task {number}")
    write(repo, "note.md", "".join(f"line {number}\n" for number in range(20)))
    write(repo, "docs/guide.md", "guide\n")
    save(repo, "start")
    git(repo, "tag", "start")
    branch(repo, "side", {"side-1.md": "1\n"}, "side one\n\nCloses: 1")
    write(repo, "side-2.md", "2\n")
    save(repo, "side two")
    branch(repo, "third", {"third.md": "3\n"}, "third\n\nCloses: 2")
    branch(repo, "clash", {"note.md": "theirs\n"}, "clash\n\nCloses: 3")
    git(repo, "switch", "-q", "main")
    write(repo, "note.md", "ours\n")
    write(repo, "main.md", "main\n")
    save(repo, "main")
    git(repo, "switch", "-q", "-c", "ahead")
    write(repo, "ahead.md", "ahead\n")
    save(repo, "ahead\n\nCloses: 4")
    git(repo, "switch", "-q", "main")
    git(top, "clone", "-q", "--template=", "--bare", str(repo), "origin.git")
    git(repo, "remote", "add", "origin", "../origin.git")
    git(repo, "fetch", "-q")
    assert {one["status"] for one in listed(repo, "task")} == {"open"}
    need(repo, "Waits for a commit")
    for folder in (repo, top / "origin.git"):  # few files, as each row copies them
        git(folder, "gc", "-q")
    return top


def branch(repo, name, files, message):
    git(repo, "switch", "-q", "-c", name, "start")
    for path, text in files.items():
        write(repo, path, text)
    save(repo, message)


@pytest.fixture
def repo(world, tmp_path):
    """A copy of the workspace, as it is in use: synced, with one need that no commit has yet."""
    shutil.copytree(world, tmp_path / "world", symlinks=True)
    repo = tmp_path / "world" / "repo"
    git(repo, "update-index", "-q", "--refresh")
    synced(repo)
    return repo


# --- questions


def hashes(index):
    """path -> SHA-256, as `artifact list` has it."""
    rows = records.listed(index, "artifact", {})
    return {to_bytes(one["file_path"]): one["content_hash"] for one in rows if one["file_path"]}


def ask_tasks(repo, truth):
    """Completed is what a commit closes that HEAD reaches; and the need that waits is there in any case."""
    with opened(repo) as index:
        rows = records.listed(index, "task", {})
        needs = records.listed(index, "need", {})
    assert {one["id"] for one in rows} == truth.tasks
    assert {one["id"] for one in rows if one["status"] == "completed"} == truth.closed
    assert [one["title"] for one in needs] == (["Waits for a commit"] if repo.name != "clone" else [])


def ask_commits(repo, truth):
    """The commits of the index are those of `git rev-list HEAD`."""
    assert {one["sha"] for one in tables_of(dump(repo))["commits"]} == truth.commits


def ask_status(repo, truth):
    """`status` names HEAD and what is pending, and never says that nothing changed when something did."""
    with opened(repo) as index:
        told = status.status(index)
        assert told["head"] == truth.head
        assert told["pending_events"] == truth.pending
        assert not told["fresh"] or hashes(index) == truth.files


def ask_sync(repo, truth):
    """`sync` and `artifact list` are the naive walk, and then the index is fresh."""
    with opened(repo) as index:
        sync.sync(index)
        assert hashes(index) == truth.files
        told = status.status(index)
    assert told["fresh"] and told["head"] == truth.head


QUESTIONS = [ask_tasks, ask_commits, ask_status, ask_sync]


def ask_everything(repo, first):
    """All questions, one of them first, and then an index made anew."""
    truth = naive.look(repo, JOURNAL)
    for question in QUESTIONS[first % 4 :] + QUESTIONS[: first % 4]:
        question(repo, truth)
    assert setup.check_rebuild(str(repo)) == []


# --- what people do


def file(path, text):
    """A file written."""
    return lambda repo: write(repo, path, text) and None


def edit(repo):
    """Another content of a tracked file."""
    write(repo, "docs/guide.md", "edited\n")


def resolve(repo):
    """A conflict settled by hand."""
    write(repo, "note.md", "both\n")
    git(repo, "add", "note.md")


def elsewhere(path):
    """The place to ask is another one than the workspace that was worked in; its index is made on the way."""

    def there(repo):
        other = repo.parent / path
        setup.build_missing_index(str(other))
        return other

    return there


def todo(repo):
    """An interactive rebase that squashes the second commit into the first and drops nothing."""
    editor = write(repo.parent, "todo", "#!/bin/sh\nsed -i '2s/^pick/fixup/' \"$1\"\n")
    editor.chmod(0o755)
    git(repo, "rebase", "-q", "-i", "start", env={"GIT_SEQUENCE_EDITOR": str(editor)})


def patches(repo):
    """Side's two commits as mail."""
    git(repo, "format-patch", "-q", "-o", "../patches", "start..side")


def bisected(repo):
    """Bisect by a command, to its end but for the reset."""
    git(repo, "bisect", "run", "sh", "-c", "! test -e ahead.md")


def pushed_from_a_clone(repo):
    """Somebody pushes into the branch that is checked out here, as it lies (receive.denyCurrentBranch)."""
    git(repo, "config", "receive.denyCurrentBranch", "updateInstead")
    git(repo.parent, "clone", "-q", "-b", "ahead", "repo", "pusher")
    git(repo.parent / "pusher", "push", "-q", "origin", "ahead:main")


def moved_origin(branch):
    """The remote's main is now another branch's commit."""
    return lambda repo: (
        git(repo.parent / "origin.git", "update-ref", "refs/heads/main", f"refs/heads/{branch}") and None
    )


def linked_commit(repo):
    """A commit in a linked work tree, by the hooks that both share."""
    git(repo, "worktree", "add", "-q", "../linked", "side")
    write(repo.parent / "linked", "more.md", "more\n")
    git(repo.parent / "linked", "add", "-A")
    git(repo.parent / "linked", "commit", "-q", "-m", "in the linked one\n\nCloses: 3")


CLOSING = "commit -q --allow-empty -m 'closing\n\nCloses: 2'"
COMMIT = {
    "plain": [edit, "add -A", "commit -q -m two"],
    "-a": [edit, "commit -q -a -m two"],
    "PATH": [edit, file("other.md", "x\n"), "add other.md", "commit -q -m two docs/guide.md"],
    "-i PATH": [edit, file("other.md", "x\n"), "add other.md", "commit -q -m two -i docs/guide.md"],
    "closing": [CLOSING],
    "closing --no-verify": [CLOSING + " --no-verify"],
    "--no-verify": [edit, "commit -q -a --no-verify -m two"],
    "--amend": [edit, "commit -q -a --amend --no-edit"],
    "--amend of a closing": [CLOSING, "commit -q --allow-empty --amend -m 'closes nothing'"],
    "--amend --no-verify into a closing": ["commit -q --amend --no-verify -m 'closing\n\nCloses: 1'"],
    "--fixup": [edit, "commit -q -a --fixup HEAD"],
    "refused by the guard": [
        file("PROBLEM.md", "---\ncompiled_at: 2026-01-01T00:00:00Z\nseal: x\n---\n"),
        "add -A",
        "? commit -q -m two",
    ],
    "aborted in the editor": [edit, "? -c core.editor=false commit -q -a"],
    "by plumbing": [edit, "add -A", lambda repo: by_plumbing(repo)],
    "from a subfolder": [edit, "-C docs commit -q -a -m two"],
    "on a detached HEAD": ["checkout -q --detach", CLOSING],
    "on an orphan branch": ["checkout -q --orphan fresh", "commit -q -m 'fresh\n\nCloses: 1'"],
    "on an empty orphan branch": [
        "switch -q --orphan fresh",
        "checkout -q main -- .mlos .gitattributes",
        "commit -q -m fresh",
    ],
    "in a linked work tree": [linked_commit, elsewhere("linked")],
}
MERGE = {
    "ff": ["merge -q --ff-only ahead"],
    "true": ["merge -q --no-edit side"],
    "--no-ff": ["merge -q --no-ff --no-edit ahead"],
    "--no-commit": ["merge -q --no-commit side"],
    "--squash": ["merge -q --squash ahead"],
    "--squash and commit": ["merge -q --squash ahead", "commit -q -m squashed"],
    "octopus": ["merge -q --no-edit side third"],
    "-s ours": ["merge -q --no-edit -s ours clash"],
    "stopped by a conflict": ["? merge -q clash"],
    "conflict then commit": ["? merge -q clash", resolve, "commit -q --no-edit"],
    "conflict then --continue": ["? merge -q clash", resolve, "-c core.editor=true merge --continue"],
    "--abort": ["? merge -q clash", "merge --abort"],
    "of a tag": ["tag -a -m kept v1 side", "merge -q --no-edit v1"],
    "of an unrelated history": [
        "switch -q --orphan fresh", file("a.md", "a\n"), "add -A", "commit -q -m 'fresh\n\nCloses: 1'",
        "switch -q main", "merge -q --no-edit --allow-unrelated-histories fresh",
    ],
}  # fmt: skip
PICK = {
    "cherry-pick": ["cherry-pick side~1"],
    "cherry-pick -x of two": ["cherry-pick -x start..side"],
    "cherry-pick -n": ["cherry-pick -n third"],
    "cherry-pick -n and commit": ["cherry-pick -n third", "commit -q -m picked"],
    "cherry-pick stopped": ["? cherry-pick clash"],
    "cherry-pick --continue": ["? cherry-pick clash", resolve, "-c core.editor=true cherry-pick --continue"],
    "cherry-pick --abort": ["? cherry-pick clash", "cherry-pick --abort"],
    "cherry-pick --skip": ["? cherry-pick clash side~1", "cherry-pick --skip"],
    "revert": ["revert --no-edit HEAD"],
    "revert -n": ["revert -n HEAD"],
    "revert of a merge": ["switch -q --detach start", "merge -q --no-ff --no-edit main", "revert --no-edit -m 1 HEAD"],
    "revert --abort": ["cherry-pick side~1 side", file("side-1.md", "more\n"), "commit -q -a -m more", "? revert HEAD~2",
                       "revert --abort"],
    "am": [patches, "am -q ../patches/0001-side-one.patch ../patches/0002-side-two.patch"],
    "am --abort": ["format-patch -q -o ../patches start..clash", "? am -q ../patches/0001-clash.patch", "am --abort"],
    "apply": [patches, "apply ../patches/0001-side-one.patch"],
    "apply --index": [patches, "apply --index ../patches/0001-side-one.patch"],
}  # fmt: skip
REBASE = {
    "merge backend": ["switch -q side", "rebase -q main"],
    "apply backend": ["switch -q side", "rebase -q --apply main"],
    "of a branch that is not checked out": ["rebase -q main side"],
    "--onto": ["rebase -q --onto third start side"],
    "-i with fixup": ["switch -q side", todo],
    "--exec": ["switch -q side", "rebase -q --exec 'git status -s' main"],
    "--root": ["switch -q side", "rebase -q --root --onto third"],
    "--autosquash": [
        edit, "commit -q -a --fixup HEAD", "-c sequence.editor=true rebase -q -i --autosquash start",
    ],
    "with several picks": ["cherry-pick start..side", "rebase -q third"],
    "of merges": ["switch -q side", "merge -q --no-edit third", "rebase -q --rebase-merges main"],
    "stopped by a conflict": ["? rebase -q main clash"],
    "--continue": ["? rebase -q main clash", resolve, "-c core.editor=true rebase --continue"],
    "--skip": ["? rebase -q main clash", "rebase --skip"],
    "--abort": ["? rebase -q main clash", "rebase --abort"],
    "--abort of the apply backend": ["? rebase -q --apply main clash", "rebase --abort"],
    "with --autostash": ["switch -q side", edit, "rebase -q --autostash main"],
    "that drops what is there already": ["switch -q side", "cherry-pick main", "rebase -q main"],
}  # fmt: skip
LOOK = {
    "checkout a branch": ["checkout -q ahead"],
    "checkout -b": ["checkout -q -b fresh"],
    "checkout files": ["checkout -q side -- side-1.md"],
    "checkout -f": [edit, "checkout -q -f"],
    "checkout away and back": ["checkout -q ahead", "checkout -q -"],
    "switch": ["switch -q side"],
    "switch -m with an edit": [edit, "switch -q -m side"],
    "restore": [edit, "restore ."],
    "restore --source": ["restore --source clash note.md"],
    "restore --staged": [edit, "add -A", "restore --staged ."],
    "worktree add": ["worktree add -q ../linked side", elsewhere("linked")],
    "worktree add --no-checkout": ["worktree add -q --no-checkout ../linked side"],
    "worktree add, then ask the first": ["worktree add -q ../linked side"],
    "worktree move": ["worktree add -q ../linked side", "worktree move ../linked ../moved", elsewhere("moved")],
    "clone": ["clone -q . ../clone", elsewhere("clone")],
    "clone --branch": ["clone -q -b ahead ../origin.git ../clone", elsewhere("clone")],
    "bisect": ["bisect start ahead start", bisected],
    "bisect reset": ["bisect start ahead start", bisected, "bisect reset"],
}
PULL = {
    "ff": [moved_origin("ahead"), "pull -q --ff-only origin main"],
    "merge": [moved_origin("side"), "pull -q --no-rebase --no-edit origin main"],
    "rebase": [moved_origin("side"), "pull -q --rebase origin main"],
    "of a force-pushed branch": [moved_origin("third"), "fetch -q", "reset -q --hard origin/main"],
    "fetch": [moved_origin("side"), "fetch -q"],
    "fetch into a branch": [moved_origin("ahead"), "switch -q side", "fetch -q origin main:main", "switch -q main"],
    "push": [CLOSING, "push -q origin main"],
    "push with updateInstead": [pushed_from_a_clone],
}
SILENT = {
    "reset --hard": ["reset -q --hard HEAD~1"],
    "reset --hard to another branch": ["reset -q --hard side"],
    "reset --soft": [CLOSING, "reset -q --soft HEAD~1"],
    "reset --mixed": ["reset -q --mixed HEAD~1"],
    "reset --keep": ["reset -q --keep ahead"],
    "reset --merge": ["reset -q --merge HEAD~1"],
    "stash push": [edit, "stash push -q"],
    "stash push -u": [edit, file("new.md", "n\n"), "stash push -q -u"],
    "stash pop": [edit, "stash push -q", "stash pop -q"],
    "stash branch": [edit, "stash push -q", "stash branch fresh"],
    "clean": [file("new.md", "n\n"), lambda repo: synced(repo) and None, "clean -q -fdx"],
    "rm": ["rm -q note.md"],
    "rm --cached": ["rm -q --cached note.md"],
    "mv": ["mv note.md moved.md"],
    "mv and commit": ["mv note.md moved.md", "commit -q -m moved"],
    "sparse-checkout": ["sparse-checkout set --no-cone '/*' '!/docs/'"],
    "sparse-checkout disable": ["sparse-checkout set --no-cone '/*' '!/docs/'", "sparse-checkout disable"],
    "read-tree -u": ["read-tree -m -u HEAD ahead"],
    "read-tree --reset -u": ["read-tree --reset -u side"],
    "checkout-index": [edit, "checkout-index -q -f -a"],
    "update-index --skip-worktree": ["update-index --skip-worktree note.md", file("note.md", "hidden\n")],
    "update-index --assume-unchanged": ["update-index --assume-unchanged note.md", file("note.md", "hidden\n")],
    "update-ref": ["update-ref refs/heads/main side"],
    "update-ref HEAD": ["update-ref HEAD ahead"],
    "symbolic-ref": ["symbolic-ref HEAD refs/heads/side"],
    "branch -f": ["switch -q --detach", "branch -f main side", "symbolic-ref HEAD refs/heads/main"],
    "branch -m": ["branch -m main trunk"],
    "branch -D": ["merge -q --no-edit side", "branch -q -D side"],
    "filter-branch": ["filter-branch --msg-filter 'sed s/main/trunk/' start..main"],
    "filter-branch that adds a closing": ["filter-branch --msg-filter 'cat; echo; echo Closes: 1' start..main"],
    "fast-import": [lambda repo: imported(repo)],
    "replace": ["replace main side", "replace start~1 side"],
    "gc": [CLOSING, "reset -q --hard HEAD~1", "reflog expire --expire=now --all", "gc -q --prune=now"],
    "notes": ["notes add -m remark"],
    "submodule add": ["-c protocol.file.allow=always submodule --quiet add ../origin.git sub"],
}


def by_plumbing(repo):
    """A commit that runs no hook at all."""
    tree = git(repo, "write-tree").stdout.strip()
    made = git(repo, "commit-tree", "-p", "HEAD", "-m", "plumbing\n\nCloses: 3", tree).stdout.strip()
    git(repo, "update-ref", "HEAD", made)


def imported(repo):
    """A commit from a stream, on the branch that is checked out."""
    who = "Ada <ada@example.org> 1700000000 +0000"
    message = "stream\n\nCloses: 3\n"
    git(
        repo, "fast-import", "--quiet", "--force",
        stdin=f"commit refs/heads/main\ncommitter {who}\ndata {len(message)}\n{message}\nfrom refs/heads/main^0\n\n",
    )  # fmt: skip


TABLE = {
    f"{group} {name}".strip(): steps
    for group, rows in {
        "commit": COMMIT, "merge": MERGE, "": PICK, "rebase": REBASE, " ": LOOK, "pull": PULL, "  ": SILENT,
    }.items()
    for name, steps in rows.items()
}  # fmt: skip


def do(repo, steps):
    """Carry out a row; the work tree to ask. A step is a git command (`?` before one that must fail), or a function."""
    place = repo
    for step in steps:
        if callable(step):
            place = step(repo) or place
        else:
            words = shlex.split(step.removeprefix("? "))
            done = git(repo, *words, check=not step.startswith("? "), env={"FILTER_BRANCH_SQUELCH_WARNING": "1"})
            assert (done.returncode != 0) == step.startswith("? "), f"{step}: {done.stdout}{done.stderr}"
    return place


# Other forms of what a row before them does: looked at with MLOS_SYNC_EXHAUSTIVE=1 (make soak).
SELDOM = """commit -i PATH/commit --amend of a closing/commit --fixup/commit aborted in the editor/commit from a subfolder
commit on an empty orphan branch/merge --no-ff/merge --no-commit/merge -s ours/merge conflict then --continue/merge of a tag
merge of an unrelated history/cherry-pick -n and commit/cherry-pick stopped/cherry-pick --skip/revert -n/revert --abort
am --abort/apply --index/rebase --exec/rebase --root/rebase --autosquash/rebase of merges/rebase --skip
rebase --abort of the apply backend/rebase with --autostash/rebase that drops what is there already/checkout -f
rebase of a branch that is not checked out/checkout away and back/switch -m with an edit/restore --source/restore --staged
worktree add, then ask the first/worktree move/clone --branch/bisect reset/pull fetch/pull fetch into a branch/pull push
reset --keep/reset --merge/stash branch/rm --cached/mv/mv and commit/sparse-checkout disable/read-tree --reset -u
checkout-index/update-index --assume-unchanged/update-ref HEAD/symbolic-ref/branch -m/branch -D
filter-branch that adds a closing/fast-import/notes/submodule add"""
ALL = bool(os.environ.get("MLOS_SYNC_EXHAUSTIVE"))
CHOSEN = [name for name in TABLE if ALL or name not in SELDOM.replace("\n", "/").split("/")]


def test_the_table_is_whole():
    """What is looked at seldom is in the table too."""
    assert set(SELDOM.replace("\n", "/").split("/")) < set(TABLE) and len(TABLE) > 100


@pytest.mark.parametrize(("number", "name"), list(enumerate(CHOSEN)), ids=CHOSEN)
def test_the_next_command_answers_correctly(repo, number, name):
    """A row of the matrix."""
    ask_everything(do(repo, TABLE[name]), number)


@pytest.mark.parametrize("name", ["commit PATH", "rebase merge backend", "reset --hard"])
def test_so_does_the_command_itself(repo, name):
    """Some rows with the real program: what a user types next."""
    do(repo, TABLE[name])
    truth = naive.look(repo, JOURNAL)
    told = run(repo, "status", "--json").json
    assert told["head"] == truth.head and told["pending_events"] == truth.pending
    rows = run(repo, "task", "list", "--json").json["rows"]
    assert {one["id"] for one in rows if one["status"] == "completed"} == truth.closed
    assert run(repo, "why", f"commit:{truth.head}", "--json").json["commits"][0]["sha"] == truth.head
    run(repo, "sync")
    rows = [one for one in run(repo, "artifact", "list", "--json").json["rows"] if one["file_path"]]
    assert {to_bytes(one["file_path"]): one["content_hash"] for one in rows} == truth.files
    assert run(repo, "rebuild", "--check", "--json").json["identical"]
