"""Commits by a loop beside everything of ours that runs by itself: python benchmarks/beside.py [--commits 1000]

In a temporary workspace with our hooks: `mlos-sync watch` in the background, a loop of `mlos-sync status` that adds a need
now and then, and a loop of commits in every form (-m, -a, PATH, -i, --amend, branches, merges, rebases, stashes, reverts,
closings) as fast as git goes. Nobody else takes a lock of git here, so every failure of git is one of ours; each is
printed, and every word that a hook says. In the end the index must be what git says: the exit code is 1 if it is not, or
if anything failed.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Told:
    """What happened. `failures` of git, `words` of our hooks, `complaints` of our commands, `wrong` in the end; and how
    often a commit did not wait for one of our commands that was writing, and `left` its records pending."""

    commits: int = 0
    commands: int = 0
    looks: int = 0
    needs: int = 0
    batches: int = 0
    left: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether nothing at all went wrong."""
        return not (self.failures or self.words or self.complaints or self.wrong)


class Place:
    """A workspace, and git and our program in it."""

    def __init__(self, top: Path) -> None:
        self.repo = top / "repo"
        self.repo.mkdir(parents=True)
        names = {
            f"GIT_{who}_{what}": "bench@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        outside = {"HOME": str(top), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_EDITOR": "true"}
        self.env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), **outside, **names}
        self.told = Told()
        self.texts = itertools.count()
        self.git("init", "-q", "-b", "main")
        self.git("config", "gc.auto", "0")
        self.tool("init")
        for number in range(10):
            (self.repo / f"file-{number}.md").write_text("one\n")
        for number in range(3):
            self.tool("task", "add", f"Task {number}")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "the workspace")
        self.tool("sync")

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A command of ours that goes on."""
        command = [sys.executable, "-m", "mlos_sync", *words]
        return subprocess.Popen(
            command, cwd=self.repo, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def tool(self, *words: str, codes: tuple[int, ...] = (0,)) -> str:
        """One command of ours; what it printed. One that fails is remembered."""
        process = self.start(*words)
        out, err = process.communicate()
        if process.returncode not in codes:
            self.told.complaints.append(f"mlos-sync {' '.join(words)} -> {process.returncode}: {err.strip()}")
        return out

    def git(self, *words: str) -> str:
        """One git command; what it printed. One that fails, and what our hooks say, is remembered."""
        done = subprocess.run(["git", *words], cwd=self.repo, env=self.env, capture_output=True, text=True, check=False)
        self.told.commands += 1
        if done.returncode:
            self.told.failures.append(f"git {' '.join(words)} -> {done.returncode}: {done.stderr.strip()}")
        elif "another mlos-sync is writing" in done.stderr:
            self.told.left += 1
        elif "mlos-sync" in done.stderr:
            self.told.words.append(f"git {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def edit(self, number: int) -> str:
        """Another content of one of the files; its name."""
        name = f"file-{number % 10}.md"
        (self.repo / name).write_text(f"{next(self.texts)}\n")
        return name


def form(place: Place, number: int) -> None:
    """One of the forms of a commit, in turn."""
    git, branch = place.git, f"branch-{number}"
    kind = number % 11
    if kind == 0:
        place.edit(number)
        git("add", "-A")
        git("commit", "-q", "-m", f"plain {number}")
    elif kind == 1:
        place.edit(number)
        git("commit", "-q", "-a", "-m", f"all {number}")
    elif kind == 2:
        git("commit", "-q", "-m", f"a path {number}", place.edit(number))
    elif kind == 3:
        place.edit(number)
        git("commit", "-q", "-a", "--amend", "-m", f"amended {number}")
    elif kind == 4:
        git("checkout", "-q", "-b", branch)
        place.edit(number)
        git("commit", "-q", "-a", "-m", f"on a branch {number}")
        git("checkout", "-q", "main")
        git("merge", "-q", "--no-ff", "--no-edit", branch)
    elif kind == 5:
        rebased(place, number, branch)
    elif kind == 6:
        place.edit(number)
        git("stash", "push", "-q")
        git("stash", "pop", "-q")
        git("commit", "-q", "-a", "-m", f"stashed before {number}")
    elif kind == 7:
        git("commit", "-q", "--allow-empty", "-m", f"closing {number}\n\nCloses: {number % 3 + 1}")
    elif kind == 8:
        (place.repo / f"new-{number}.md").write_text("new\n")
        git("add", "-A")
        git("commit", "-q", "-m", f"included {number}", "-i", place.edit(number))
    elif kind == 9:
        git("revert", "--no-edit", "HEAD")
    else:
        place.edit(number)
        git("commit", "-q", "-a", "--no-verify", "-m", f"past the hooks {number}")
        git("reset", "-q", "--soft", "HEAD~1")
        git("commit", "-q", "-m", f"softly again {number}")


def rebased(place: Place, number: int, branch: str) -> None:
    """A branch and main go on, and the branch is rebased."""
    git = place.git
    git("switch", "-q", "-c", branch)
    git("commit", "-q", "-m", f"to be rebased {number}", place.edit(number))
    git("switch", "-q", "main")
    place.edit(number + 1)
    git("commit", "-q", "-a", "-m", f"meanwhile {number}")
    git("rebase", "-q", "main", branch)
    git("switch", "-q", "main")
    git("merge", "-q", "--ff-only", branch)
    git("branch", "-q", "-d", branch)


def look(place: Place, done: threading.Event) -> None:
    """Ask for the status, again and again, and add a need at each fifth look."""
    for number in itertools.count():
        if done.is_set():
            return
        place.tool("status", "--json")
        place.told.looks += 1
        if number % 5 == 4:
            place.tool("need", "add", f"Need {number}")
            place.told.needs += 1


def count(place: Place, watcher: subprocess.Popen[str]) -> None:
    """Read what the watcher tells."""
    assert watcher.stdout is not None
    with watcher.stdout:
        for line in watcher.stdout:
            place.told.batches += 1
            if "problem" in json.loads(line):
                place.told.complaints.append(f"watch: {line.strip()}")


def commit_beside(top: Path, commits: int) -> Told:
    """The whole of it: at least so many commits. Returns what happened."""
    place, done = Place(top), threading.Event()
    watcher = place.start("watch", "--json")
    threads = [threading.Thread(target=look, args=(place, done)), threading.Thread(target=count, args=(place, watcher))]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    number = 0
    while place.told.commits < commits and not place.told.failures:
        number += 1
        form(place, number)
        place.told.commits = int(place.git("rev-list", "--count", "--all"))
    place.told.seconds = time.monotonic() - began
    done.set()
    threads[0].join()
    while not place.told.batches and time.monotonic() - began < 120:  # while git worked it had to wait
        time.sleep(0.05)
    watcher.send_signal(signal.SIGTERM)
    threads[1].join()
    assert watcher.stderr is not None
    words = watcher.stderr.read().strip()
    if watcher.wait() or words != "stopped":
        place.told.complaints.append(f"watch -> {watcher.returncode}: {words}")
    watcher.stderr.close()
    check(place)
    return place.told


def check(place: Place) -> None:
    """Whether the index is what git says, once more made up to date."""
    wrong = place.told.wrong
    place.tool("sync")
    if not json.loads(place.tool("rebuild", "--check", "--json") or "{}").get("identical"):
        wrong.append("an index made anew differs")
    tables: dict[str, list[dict[str, str]]] = {"# needs": []}
    name = ""
    for line in place.tool("dump", "--canonical").splitlines():
        if line.startswith("# "):
            tables[name := line] = []
        else:
            tables[name].append(json.loads(line))
    if {one["sha"] for one in tables["# commits"]} != set(place.git("rev-list", "HEAD").split()):
        wrong.append("the commits are not those of git rev-list")
    names = [name for name in place.git("ls-files", "-z").split("\0") if name and not name.startswith(".mlos/journal/")]
    files = {name: hashlib.sha256((place.repo / name).read_bytes()).hexdigest() for name in names}
    if {one["file_path"]: one["content_hash"] for one in tables["# artifacts"]} != files:
        wrong.append("the artifacts are not the files")
    if len(tables["# needs"]) != place.told.needs:
        wrong.append(f"{place.told.needs} needs were added, {len(tables['# needs'])} are there")
    if left := place.git("status", "--porcelain"):
        wrong.append(f"git status: {left}")
    place.git("fsck", "--strict")


def main() -> None:
    """Do it and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commits", type=int, default=1000)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load before the start {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="mlos-sync-beside-") as temporary:
        told = commit_beside(Path(temporary), options.commits)
    print(f"{told.commits} commits by {told.commands} git commands in {told.seconds:.0f} s")
    print(f"beside them {told.looks} times status, {told.needs} needs added, {told.batches} batches of the watcher")
    print(f"{told.left} times a commit left its records pending rather than wait for the writers' lock")
    for title, lines in {
        "failures of git": told.failures, "words of our hooks": told.words, "complaints of our commands": told.complaints,
        "wrong in the end": told.wrong,
    }.items():  # fmt: skip
        print(f"{title}: {len(lines)}")
        for line in lines[:20]:
            print(f"  {line}")
    sys.exit(0 if told.is_well else 1)


if __name__ == "__main__":
    main()
