"""A watcher among people and agents at work: python benchmarks/soak.py [--seconds 300] [--check 30] [--seed 1]

Seven writers (an editor that saves beside and renames, an editor that truncates, a log that stays open, a tool that makes and
removes folders, one that moves files about, one of files so large that they are looked at apart, one that puts another folder
or a link in a folder's place), git every thirty seconds
(commit, branch, merge, rebase, stash, reset), with pauses. At every check the writers stop, and the index must come to equal
a naive walk; what the watcher uses is noted. In the end memory, descriptors and threads must be as they were after the first
check. Exit 1 where that is not so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import naive
from gitrepo import git, make_repo
from watched import Watcher, indexed

GROWTH = 16.0  # MB that memory may grow: Python's pools and SQLite's cache fill
GIT_EVERY = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--check", type=float, default=30, help="seconds of work between two checks")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlos-sync-soak-") as folder:
        repo = prepared(Path(folder))
        watcher = Watcher(repo)
        try:
            code = soak(repo, watcher, given.seconds, given.check, random.Random(given.seed))
        finally:
            watcher.kill()
    sys.exit(code)


def prepared(folder: Path) -> Path:
    repo = make_repo(folder)
    for number in range(300):
        place = repo / f"d{number % 12}" / "notes"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.md").write_text(f"{number}\n" * 20)
    (repo / ".gitignore").write_text("*.swp\nbuild/\n")
    subprocess.run([sys.executable, "-I", "-m", "mlos_sync", "init"], cwd=repo, check=True, capture_output=True)
    git(repo, "add", "--all")
    git(repo, "commit", "-q", "-m", "first")
    return repo


def soak(repo: Path, watcher: Watcher, seconds: float, every: float, dice: random.Random) -> int:
    watcher.started()
    end, checks, wrong, first = time.monotonic() + seconds, 0, 0, None
    git_at = time.monotonic() + GIT_EVERY
    while time.monotonic() < end:
        git_at = work(repo, min(every, end - time.monotonic()), git_at, dice)
        checks += 1
        began = time.monotonic()
        try:
            watcher.settled()
        except AssertionError as error:
            wrong += 1
            print(f"check {checks}: NOT EQUAL: {str(error)[:500]}", flush=True)
            missing = set(naive.files(repo).items()) ^ set(indexed(repo).items())
            print(sorted(name for name, _ in missing)[:10], flush=True)
        used = usage(watcher.process.pid)
        first = first or used
        told = watcher.told()
        print(
            f"check {checks}: equal after {time.monotonic() - began:.2f} s, {json.dumps(used)}, batches {told['batches']},"
            f" rescans {json.dumps(told['rescans'])}, errors {len(told['errors'])}",
            flush=True,
        )
        watcher.seen.clear()
        while not watcher.looks.empty():
            watcher.looks.get()
    last = usage(watcher.process.pid)
    assert first is not None
    flat = (
        last["MB"] - first["MB"] <= GROWTH
        and last["descriptors"] <= first["descriptors"] + 2
        and last["threads"] <= first["threads"]
    )
    print(f"{checks} checks, {wrong} wrong, {first} -> {last}, {'flat' if flat else 'GROWN'}")
    return 0 if flat and not wrong else 1


def usage(process: int) -> dict[str, float]:
    status = Path(f"/proc/{process}/status").read_text().split("\n")
    resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return {
        "MB": round(resident / 1024, 1),
        "descriptors": len(os.listdir(f"/proc/{process}/fd")),
        "threads": len(os.listdir(f"/proc/{process}/task")),
    }


def work(repo: Path, seconds: float, git_at: float, dice: random.Random) -> float:
    """Let the seven write for a while, and git work now and then. Returns when git is to work next."""
    stop = threading.Event()
    writers = [
        threading.Thread(target=writing, args=(job, repo, stop, random.Random(dice.random())))
        for job in (renames, truncates, logs, folders, moves, large, replaces)
    ]
    for one in writers:
        one.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.2)
        if time.monotonic() >= git_at:
            operate(repo, dice)
            git_at = time.monotonic() + GIT_EVERY
    stop.set()
    for one in writers:
        one.join()
    return git_at


def writing(job: Callable[[Path, random.Random], None], repo: Path, stop: threading.Event, dice: random.Random) -> None:
    while not stop.is_set():
        with contextlib.suppress(OSError):  # another one was faster
            job(repo, dice)
        stop.wait(dice.choice([0.001, 0.01, 0.05, 0.2, 2.0]))


def note(repo: Path, dice: random.Random) -> Path:
    return repo / f"d{dice.randrange(12)}" / "notes" / f"{dice.randrange(300)}.md"


def renames(repo: Path, dice: random.Random) -> None:
    path = note(repo, dice)
    beside = path.with_name(f".{path.name}.swp")
    beside.write_text(f"{dice.random()}\n" * dice.randrange(1, 200))
    beside.replace(path)


def truncates(repo: Path, dice: random.Random) -> None:
    with note(repo, dice).open("w") as file:
        for _ in range(dice.randrange(1, 6)):
            file.write(f"{dice.random()}\n")
            file.flush()


def logs(repo: Path, dice: random.Random) -> None:
    with (repo / "d0" / "log.jsonl").open("a") as file:
        for _ in range(20):
            file.write(json.dumps({"n": dice.random()}) + "\n")
            file.flush()
            time.sleep(0.02)


def folders(repo: Path, dice: random.Random) -> None:
    top = repo / "made" / f"m{dice.randrange(4)}"
    if dice.random() < 0.5:
        place = top / f"n{dice.randrange(3)}" / "deep"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(dice.randrange(20)):
            (place / f"{number}.md").write_text(f"{dice.random()}\n")
    elif top.exists():
        subprocess.run(["rm", "-rf", str(top)], check=False)


def moves(repo: Path, dice: random.Random) -> None:
    one, other = note(repo, dice), note(repo, dice)
    if dice.random() < 0.1:
        one.parent.rename(repo / "d0" / f"moved{dice.randrange(3)}")
    else:
        other.parent.mkdir(parents=True, exist_ok=True)
        one.rename(other)


def large(repo: Path, dice: random.Random) -> None:
    if dice.random() < 0.1:
        path = repo / "d1" / f"large{dice.randrange(2)}.bin"
        beside = path.with_name(f".{path.name}.swp")  # to cut a file that `git add` has mapped kills git (SIGBUS)
        with beside.open("wb") as file:
            file.truncate(dice.randrange(17, 64) << 20)  # beyond `watching.AT_ONCE`
            file.seek(dice.randrange(16 << 20))
            file.write(dice.randbytes(100))
        beside.replace(path)


def replaces(repo: Path, dice: random.Random) -> None:
    """A folder with nothing but ignored files, with rules of its own, with a `.git` that is none, or a link, where another one
    was; then something is written there."""
    place = repo / "turned" / f"t{dice.randrange(4)}"
    if dice.random() < 0.3:
        beside = repo / "build" / f"b{dice.random()}"
        (beside / "in").mkdir(parents=True)
        kind = dice.randrange(5)
        (beside / "in" / "x.swp").write_text("ignored\n")
        if kind > 1:
            (beside / "x.md").write_text(f"{dice.random()}\n")
        if kind == 3:
            (beside / ".gitignore").write_text(dice.choice(["*", "in/", "x.md"]) + "\n")
        if kind == 4:
            (beside / ".git").mkdir()
        place.parent.mkdir(exist_ok=True)
        if place.exists() or place.is_symlink():
            place.rename(repo / "build" / f"old{dice.random()}")
        if kind == 0:
            place.symlink_to(beside)
        else:
            beside.rename(place)
    else:
        (place / dice.choice(["x.md", "in/y.md", "in/z.md"])).write_text(f"{dice.random()}\n")


def operate(repo: Path, dice: random.Random) -> None:
    """One of the things that people do with git; whatever fails is given up."""

    def run(*words: str) -> bool:
        return git(repo, *words, check=False).returncode == 0

    what = dice.randrange(6)
    run("add", "--all")
    run("commit", "-q", "-m", f"work {dice.random()}")
    branch = f"b{dice.randrange(4)}"
    if what == 0:
        run("checkout", "-q", "-B", branch) or run("checkout", "-q", "-f", "main")
    elif what == 1:
        if not run("merge", "-q", "--no-edit", "-X", "ours", branch):
            time.sleep(2)
            run("merge", "--abort") or run("reset", "-q", "--hard")
    elif what == 2:
        run("rebase", "-q", branch) or run("rebase", "--abort")
    elif what == 3:
        run("stash", "push", "-q", "-u") and run("stash", "pop", "-q")
    elif what == 4:
        run("reset", "-q", "--hard", "HEAD~1")
    else:
        run("checkout", "-q", "-f", "main")
    # Writers go on meanwhile, and what they wrote may keep git from giving up: then the operation is dropped as it is.
    if (repo / ".git" / "rebase-merge").exists() or (repo / ".git" / "rebase-apply").exists():
        run("rebase", "--abort") or run("rebase", "--quit")
    if (repo / ".git" / "MERGE_HEAD").exists():
        run("merge", "--abort") or run("reset", "-q", "--hard")


if __name__ == "__main__":
    main()
