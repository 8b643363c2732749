"""What indexing a history costs against `git log --name-status`: python benchmarks/history.py REPOSITORY [--rounds 7]

Works on a clone in a temporary folder. In each round the parts take turns: git's own log, the first index of all commits
(inside a running process: from the first question to git until the transaction is written to disk), an idle look, and the
whole processes `mlos-sync init` on a clone without an index and `mlos-sync task list` with nothing new, Python's start
and the making of the tables included. Medians, and the ratio to git's log of the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("repository")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(json.dumps(first_and_idle(given.repository)))
        return
    with tempfile.TemporaryDirectory(prefix="mlos-sync-bench-") as folder:
        repo = Path(folder) / "repo"
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", given.repository, str(repo)], check=True)
        command("init", repo)
        measure(repo, given.rounds)


def command(name: str, repo: Path, *more: str) -> None:
    argv = [sys.executable, "-I", "-m", "mlos_sync", "-C", str(repo), name, *more]
    subprocess.run(argv, check=True, capture_output=True)


def timed(action, *arguments) -> float:
    start = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - start


def log(repo: Path) -> None:
    with open(os.devnull, "wb") as nothing:
        subprocess.run(["git", "-C", str(repo), "log", "--name-status"], check=True, stdout=nothing)


def measure(repo: Path, rounds: int) -> None:
    state = repo / ".git" / "mlos"
    parts: dict[str, list[float]] = {}
    for n in range(rounds + 1):
        one = {"git log --name-status": timed(log, repo)}
        out = subprocess.run(
            [sys.executable, __file__, "--worker", str(repo)], check=True, capture_output=True, text=True
        )
        one |= json.loads(out.stdout)
        shutil.rmtree(state)
        one["mlos-sync init, the whole process"] = timed(command, "init", repo)
        one["mlos-sync task list, nothing new"] = timed(command, "task", repo, "list")
        if n:  # the first round warms the disk
            for name, seconds in one.items():
                parts.setdefault(name, []).append(seconds)
    commits = subprocess.run(["git", "-C", str(repo), "rev-list", "--count", "HEAD"], capture_output=True, text=True)
    print(f"{commits.stdout.strip()} commits, {rounds} rounds, seconds: median (least to most), ratio to git log")
    base = parts["git log --name-status"]
    for name, found in parts.items():
        ratio = statistics.median(a / b for a, b in zip(found, base, strict=True))
        print(f"{name:40} {statistics.median(found):.3f} ({min(found):.3f} to {max(found):.3f})  {ratio:.2f}")


def first_and_idle(repo: str) -> dict[str, float]:
    """In this process, with everything imported: a new database on disk, filled, then looked at again."""
    from mlos_sync.app import freshness, referring, strays
    from mlos_sync.app.opening import Index
    from mlos_sync.edge import store
    from mlos_sync.edge.workspace import find

    assert referring and strays
    with tempfile.TemporaryDirectory(prefix="mlos-sync-bench-") as folder:
        index = Index(find(repo), store.create(os.path.join(folder, "index.db"), for_everybody=False))
        first = timed(freshness.catch_up, index)
        idle = timed(freshness.catch_up, index)
        index.db.close()
    return {"first index of the commits": first, "idle look": idle}


if __name__ == "__main__":
    main()
