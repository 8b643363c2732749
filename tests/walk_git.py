"""Steps of a random walk in git and around the index, each ending in no half-done state."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cli
from gitrepo import git
from hypothesis import strategies as st
from walk_oracle import JOURNAL, folders
from walking import PICK, Ground, owner, step

from mlos_sync.app import setup

GUARD = "published journal segment"
FORMS = (
    "plain",
    "plain",
    "all",
    "path",
    "include",
    "amend",
    "no-verify",
    "publish",
    "empty",
    "closing",
    "closing",
    "bare closing",
)


def unmerged(repo: Path) -> dict[str, set[str]]:
    """path -> stages of what git could not merge; anything of the journal is a failure."""
    found: dict[str, set[str]] = {}
    for entry in git(repo, "ls-files", "-u", "-z").stdout.split("\0"):
        if entry:
            about, path = entry.split("\t", 1)
            found.setdefault(path, set()).add(about.split()[2])
    assert not any(path.startswith(JOURNAL) for path in found), f"a git conflict in the journal: {found}"
    return found


def odd_states(repo: Path) -> list[str]:
    """What `git status` says of the journal."""
    return git(
        repo, "status", "--porcelain", "--no-renames", "--untracked-files=all", "--", JOURNAL
    ).stdout.splitlines()


def settle_files(repo: Path) -> bool:
    """Ordinary files that conflict are settled as ours. Returns whether there were any."""
    found = unmerged(repo)
    for path, stages in found.items():
        if "2" in stages:
            git(repo, "checkout", "-q", "--ours", "--", path)
            git(repo, "add", "--", path)
        else:
            git(repo, "rm", "-q", "--cached", "-f", "--", path)
            (repo / path).unlink(missing_ok=True)
    return bool(found)


def commit(repo: Path, *args: str) -> bool:
    """`git commit`; where the guard refuses because the index lacks a segment, its advice is followed once. Returns
    whether that was needed."""
    done = git(repo, "commit", "-q", *args, check=False)
    refused = done.returncode != 0 and GUARD in done.stderr
    if refused:
        git(repo, "restore", "--source=HEAD", "--staged", "--worktree", "--", JOURNAL)
        done = git(repo, "commit", "-q", *args, check=False)
    assert done.returncode == 0, f"git commit {args!r}\n{done.stdout}{done.stderr}"
    return refused


def in_progress(repo: Path) -> str | None:
    """The command that git is in the middle of."""
    folder = folders(repo)[0].parent
    for name, command in (
        ("rebase-merge", "rebase"), ("rebase-apply", "rebase"), ("MERGE_HEAD", "merge"),
        ("CHERRY_PICK_HEAD", "cherry-pick"), ("REVERT_HEAD", "revert"),
    ):  # fmt: skip
        if (folder / name).exists():
            return command
    return None


def attempt(repo: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """A git command that may stop: at ordinary files that conflict (settled, and gone on with), at ordinary files that
    are in the way (given up), never for the journal's sake."""
    staged = odd_states(repo)
    done = git(repo, *args, check=False)
    unmerged(repo)
    command = in_progress(repo)
    if command:
        _CARRY_ON[command](repo)
        assert in_progress(repo) is None, f"still in the middle of {command}: {args!r}\n{done.stdout}{done.stderr}"
    elif done.returncode and not staged:
        assert JOURNAL not in done.stdout + done.stderr, f"git {args!r} stops at the journal: {done.stderr}"
    return done


def _merge(repo: Path) -> None:
    settle_files(repo)
    commit(repo, "--no-edit")


def _rebase(repo: Path) -> None:
    for _ in range(30):
        settle_files(repo)
        if git(repo, "rebase", "--continue", check=False).returncode and not unmerged(repo):
            git(repo, "rebase", "--skip", check=False)
        if in_progress(repo) != "rebase":
            return
    git(repo, "rebase", "--abort")


def _give_up(command: str) -> Callable[[Path], None]:
    return lambda repo: git(repo, command, "--abort") and None


_CARRY_ON = {
    "merge": _merge, "rebase": _rebase, "cherry-pick": _give_up("cherry-pick"), "revert": _give_up("revert"),
}  # fmt: skip


def refs(place: Path, *folders: str) -> list[str]:
    """Full names of refs, sorted; of branches the short ones."""
    out = git(place, "for-each-ref", "--format=%(refname)", *folders).stdout.splitlines()
    return [name.removeprefix("refs/heads/").removeprefix("refs/tags/") for name in out if not name.endswith("/HEAD")]


class GitSteps(Ground):
    """Git, as people use it."""

    def file(self, place: Path) -> str:
        """A new file of this clone, staged."""
        path = f"{owner(place)}/f{self.count}.md"
        cli.write(place, path, self.token("text") + "\n")
        git(place, "add", "--", path)
        return path

    def edit(self, place: Path, number: int) -> str:
        """A tracked file of this clone, changed."""
        found = git(place, "ls-files", "-z", f"{owner(place)}/").stdout.split("\0")[:-1]
        path = found[number % len(found)] if found else self.file(place)
        cli.write(place, path, self.token("edit") + "\n")
        return path

    @step(12, form=st.sampled_from(FORMS), number=PICK)
    def commit(self, place: Path, form: str, number: int) -> None:
        """A commit of any form. With hooks nothing of the journal is left over."""
        message = self.token("commit")
        if form in ("all", "path", "include"):
            path = self.edit(place, number)
            commit(place, "-m", message, *{"all": ("-a",), "path": (path,), "include": ("-i", path)}[form])
        elif form == "publish":
            cli.published(place)
            if not git(place, "diff", "--cached", "--quiet", check=False).returncode:
                return
            commit(place, "-m", message)
        elif form == "amend":
            if git(place, "rev-parse", "-q", "--verify", "HEAD~1", check=False).returncode:
                return
            self.file(place)
            commit(place, "--amend", *(("--no-edit",) if number & 1 else ("-m", message)))
        elif form in ("closing", "bare closing"):
            hooks = ("--no-verify",) if form == "bare closing" else ()  # then a number stays as it was typed
            commit(place, "--allow-empty", "-m", f"{message}\n\n{self.trailer(place, number)}", *hooks)
        elif form == "empty":
            commit(place, "--allow-empty", "-m", message)
        else:
            self.file(place)
            commit(place, "-m", message, *(("--no-verify",) if form == "no-verify" else ()))
        if form not in ("no-verify", "bare closing") and place not in self.undone:
            assert odd_states(place) == []

    @step(number=PICK)
    def move(self, place: Path, number: int) -> None:
        """A tracked file renamed, as it is, and committed."""
        path = self.edit(place, number)
        git(place, "restore", "--", path)
        git(place, "mv", "--", path, f"{owner(place)}/m{self.count}.md")
        commit(place, "-m", self.token("move"))

    def trailer(self, place: Path, number: int) -> str:
        """A trailer that closes a task or a need, by number or by uid."""
        kind = ("task", "need")[number % 2]
        uid = self.pick(place, kind, number // 4)
        row = self.rows(place)[kind].get(uid or "")
        if row is None:
            return "Closes: 999"
        return f"Closes: {kind}:{row['id']}" if number & 2 else f"Fixes: {kind}-{uid[:16]}"

    @step()
    def publish(self, place: Path) -> None:
        """A segment staged, and no commit yet."""
        cli.published(place)

    @step(3, force=st.sampled_from([False, False, False, True]))
    def push(self, place: Path, force: bool) -> None:
        """To the branch of the same name; refused where the other side has more."""
        git(place, "push", "-q", "origin", "HEAD", *(("--force",) if force else ()), check=False)

    @step(prune=st.booleans())
    def fetch(self, place: Path, prune: bool) -> None:
        """What the others pushed."""
        git(place, "fetch", "-q", *(("--prune",) if prune else ()))

    @step(4, rebase=st.booleans())
    def pull(self, place: Path, rebase: bool) -> None:
        """The shared main branch, merged or rebased upon."""
        attempt(place, "pull", "-q", "--no-edit", "--rebase" if rebase else "--no-rebase", "origin", "main")

    @step(other=PICK)
    def merge_other(self, place: Path, other: int) -> None:
        """What another work tree has checked out, without the bare repository between."""
        source = self.places[other % len(self.places)]
        attempt(place, "pull", "-q", "--no-edit", "--no-rebase", f"../{source.name}", "HEAD")

    @step(number=PICK, no_ff=st.booleans())
    def merge_branch(self, place: Path, number: int, no_ff: bool) -> None:
        """A branch of this clone, or a remote one."""
        names = refs(place, "refs/heads", "refs/remotes")
        attempt(place, "merge", "-q", "--no-edit", *(("--no-ff",) if no_ff else ()), names[number % len(names)])

    @step(1, number=PICK)
    def squash(self, place: Path, number: int) -> None:
        """Another branch in one commit that does not name it."""
        names = refs(place, "refs/heads", "refs/remotes")
        attempt(place, "merge", "-q", "--squash", names[number % len(names)])
        settle_files(place)
        if git(place, "diff", "--cached", "--quiet", check=False).returncode:
            commit(place, "-m", self.token("squash"))

    @step(back=st.integers(0, 3))
    def revert(self, place: Path, back: int) -> None:
        """One of the last commits taken back."""
        parents = git(place, "rev-list", "--parents", "-1", f"HEAD~{back}", check=False).stdout.split()[1:]
        if parents:
            mainline = ("-m", "1") if len(parents) > 1 else ()
            attempt(place, "revert", "--no-edit", *mainline, f"HEAD~{back}")

    @step(number=PICK, back=st.integers(0, 2))
    def cherry_pick(self, place: Path, number: int, back: int) -> None:
        """A commit of another branch."""
        names = refs(place, "refs/heads", "refs/remotes")
        commit = f"{names[number % len(names)]}~{back}"
        parents = git(place, "rev-list", "--parents", "-1", commit, check=False).stdout.split()[1:]
        if len(parents) == 1:
            attempt(place, "cherry-pick", commit)

    @step(action=st.sampled_from(["create", "switch", "switch", "delete", "detach"]), number=PICK)
    def branch(self, place: Path, action: str, number: int) -> None:
        """A branch made, changed to, or deleted."""
        names = refs(place, "refs/heads")
        name = names[number % len(names)]
        if action == "create":
            git(place, "switch", "-q", "-c", f"{owner(place)}-{self.count}")
        elif action == "detach":
            git(place, "switch", "-q", "--detach")
        elif action == "switch":
            attempt(place, "switch", "-q", name)
        elif name != "main":
            git(place, "branch", "-q", "-D", name, check=False)

    @step(1, number=PICK, delete=st.booleans())
    def tag(self, place: Path, number: int, delete: bool) -> None:
        """A tag made or deleted."""
        names = refs(place, "refs/tags")
        if delete and names:
            git(place, "tag", "-d", names[number % len(names)])
        elif not delete:
            git(place, "tag", "-a", "-m", "kept", f"t{self.count}")

    @step(mode=st.sampled_from(["--hard", "--soft"]))
    def reset(self, place: Path, mode: str) -> None:
        """The last commit undone."""
        git(place, "reset", "-q", mode, "HEAD~1", check=False)
        self.undone |= {place} if mode == "--soft" else set()

    @step(pop=st.booleans(), number=PICK)
    def stash(self, place: Path, pop: bool, number: int) -> None:
        """Changes put aside, untracked files with them, or taken back."""
        if not pop:
            self.edit(place, number)
            cli.write(place, f"{owner(place)}/untracked{self.count}.md", "untracked\n")
            git(place, "stash", "push", "-q", "-u")
        elif attempt(place, "stash", "pop", "-q").returncode:
            settle_files(place)

    @step(1)
    def clean(self, place: Path) -> None:
        """Untracked files removed."""
        git(place, "clean", "-q", "-f", "-d", "-x")

    @step(1)
    def add_worktree(self, place: Path) -> None:
        """A linked work tree with a branch of its own, beside the clone."""
        if len(self.places) < 7:
            name = f"{owner(place)}-w{self.count}"
            git(place, "worktree", "add", "-q", "-b", name, f"../{name}")
            self.places.append(self.base / name)

    @step(1)
    def copy(self, place: Path) -> None:
        """A copy of the whole clone, which then goes its own way."""
        single = git(place, "worktree", "list").stdout.count("\n") == 1
        if single and len(self.places) < 7:
            name = f"c{5 + self.count}"
            shutil.copytree(place, self.base / name, symlinks=True)
            self.places.append(self.base / name)

    @step(1)
    def remove_worktree(self, place: Path) -> None:
        """A linked work tree goes, with its index; what was captured there by SQL is flushed before."""
        if "-" in place.name:
            cli.pending(place)
            git(self.base / owner(place), "worktree", "remove", "--force", str(place))
            self.places.remove(place)


class IndexSteps(Ground):
    """The index, which can go at any time."""

    @step(1)
    def lose_index(self, place: Path) -> None:
        """The database deleted, after what SQL captured was flushed."""
        cli.pending(place)
        for file in sorted(folders(place)[0].glob("index.db*")):
            file.unlink()

    @step(1)
    def rebuild(self, place: Path) -> None:
        """The database made anew while there is one."""
        with cli.opened(place) as index:
            workspace = index.workspace
        setup.rebuild(workspace)

    @step(1)
    def sync(self, place: Path) -> None:
        """Files as well."""
        cli.synced(place)
