"""Whole-process benchmarks as ratios, measured in pairs in one run. `make bench`; options with --help.

Each figure is the median over rounds in which the command and what it is compared with take turns, so that a machine
whose speed drifts cannot favour either side. The repository is made in a temporary folder: text, code and markdown
with frontmatter, sizes exponentially distributed around 10 KB.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENDINGS = ["md", "py", "txt", "json", "md", "yaml", "rs", "md", "csv", "ts"]
TWO_COMMANDS = """
import typer
app = typer.Typer()
@app.command()
def one(name: str = "x") -> None:
    "First."
    print(name)
@app.command()
def two(name: str = "x") -> None:
    "Second."
    print(name)
app()
"""


def main() -> None:
    """Make the repository, measure, print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", help="use this folder and keep it")
    given = parser.parse_args()
    folder = Path(given.keep or tempfile.mkdtemp(prefix="mlos-bench-"))
    try:
        repo = folder / "repo"
        if not repo.exists():
            make(repo, given.files)
        measure(repo, folder, given.rounds)
    finally:
        if not given.keep:
            shutil.rmtree(folder)


def make(repo: Path, count: int) -> None:
    """A committed repository of `count` files."""
    random.seed(1)
    noise = os.urandom(1 << 20).hex()
    for n in range(count):
        folder = repo / f"dir{n // 5000:02d}" / f"sub{n // 200:03d}"
        if n % 200 == 0:
            folder.mkdir(parents=True)
        ending = ENDINGS[n % 10]
        size, start = int(random.expovariate(1 / 10_000)) + 50, random.randrange(1 << 20)
        head = (
            f'---\nid: note-{n}\ntitle: "Note number {n}"\ndesc: About {n % 200}\ntags: a, b\n---\n'
            if ending == "md"
            else ""
        )
        (folder / f"file{n % 200:03d}.{ending}").write_text(f"{head}{n}\n{noise[start : start + size]}\n")
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all"],
    ):
        subprocess.run(["git", *command], cwd=repo, check=True)


def measure(repo: Path, folder: Path, rounds: int) -> None:
    """Print each ratio."""
    tool = [sys.executable, "-I", "-m", "mlos_sync"]
    run([*tool, "init"], repo)
    database = repo / ".git" / "mlos" / "index.db"
    sums = ["sh", "-c", "git ls-files -z | xargs -0 -P2 sha256sum"]

    def forget() -> None:
        database.unlink(missing_ok=True)
        run([*tool, "init"], repo)

    run(sums, repo)
    told("first sync / sha256sum of all files", pairs([*tool, "sync"], sums, repo, rounds, before=forget), 3)
    print(
        f"{'':44} peak memory of one process {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB (at most 300)"
    )
    run([*tool, "sync"], repo)
    told("idle sync / git status", pairs([*tool, "sync"], ["git", "status", "--short"], repo, rounds * 3), 4)
    script = folder / "two.py"
    script.write_text(TWO_COMMANDS)
    told(
        "--help / a two-command Typer program's",
        pairs([*tool, "--help"], [sys.executable, str(script), "--help"], repo, rounds * 3),
        2,
    )


def pairs(ours: list[str], theirs: list[str], repo: Path, rounds: int, before=None) -> list[tuple[float, float]]:
    """(our seconds, their seconds) of each round, taking turns."""
    found = []
    for _ in range(rounds):
        if before:
            before()
        mine = run(ours, repo)
        found.append((mine, run(theirs, repo)))
    return found


def run(command: list[str], repo: Path) -> float:
    """Wall seconds of one whole process."""
    began = time.perf_counter()
    subprocess.run(command, cwd=repo, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - began


def told(what: str, found: list[tuple[float, float]], most: float) -> None:
    """One line: median seconds of both sides, median and range of the ratio, and what was aimed at."""
    ratios = sorted(a / b for a, b in found)
    a, b = (statistics.median(side) for side in zip(*found, strict=True))
    print(
        f"{what:44} {statistics.median(ratios):5.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f}; at most {most})  "
        f"{a:.3f} s against {b:.3f} s, {len(found)} pairs",
        flush=True,
    )


if __name__ == "__main__":
    main()
