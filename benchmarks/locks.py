"""How long writers wait for each other: python benchmarks/locks.py [--processes 16] [--transactions 200] [--commands 100]

The crowd of tests/app/test_concurrency.py (tests/crowd.py) at one workspace in a temporary folder: processes that make
mixed reads and writes through the application's functions, commands in waves of 20, and programs with plain SQL, all at
the same time. For each class of process: the wait for a lock (the writers' lock, or SQLite's for plain SQL), how long it
was then held, and the whole transaction or command. A process that failed is named, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CROWD = ROOT / "tests" / "crowd.py"
SHARED = 5
TARGET = 250  # milliseconds, p99 of the wait for the writers' lock

CLASSES = {"app": "application's functions", "cli": "commands", "sql": "plain SQL (SQLite's lock)"}


def main() -> None:
    """Make the workspace, let the crowd loose, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, default=16, help="that use the application's functions")
    parser.add_argument("--transactions", type=int, default=200, help="of each of them")
    parser.add_argument("--commands", type=int, default=100, help="mlos-sync commands")
    parser.add_argument("--wave", type=int, default=20, help="commands at a time")
    parser.add_argument("--writers", type=int, default=2, help="programs with plain SQL")
    parser.add_argument("--statements", type=int, default=200, help="of each of them")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load before the start {os.getloadavg()[0]:.1f}, seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="mlos-sync-locks-") as temporary:
        top = Path(temporary)
        env = sealed(top)
        repo = make_workspace(top / "repo", env)
        (top / "notes").mkdir()
        began = time.perf_counter()
        failed = let_loose(repo, top / "notes", options, env)
        print(f"{time.perf_counter() - began:.1f} s in all")
        report(top / "notes")
        check = tool(repo, env, "rebuild", "--check", check=False).stdout.strip()
        print(f"rebuild --check: {check[:300]}")
    for what, words in failed:
        print(f"FAILED {what}: {words}")
    sys.exit(1 if failed or check != "identical" else 0)


def sealed(top: Path) -> dict[str, str]:
    """No configuration but the repository's own; the program from this source tree."""
    names = {f"GIT_{who}_{what}": "bench@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    outside = {"HOME": str(top), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "PYTHONPATH": str(ROOT)}
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **outside, **names}


def tool(repo: Path, env: dict[str, str], *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """One command of ours."""
    command = [sys.executable, "-m", "mlos_sync", *words]
    return subprocess.run(command, cwd=repo, env=env, check=check, capture_output=True, text=True)


def make_workspace(repo: Path, env: dict[str, str]) -> Path:
    """A workspace with five needs that everybody shares, committed."""
    repo.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=repo, env=env, check=True)
    tool(repo, env, "init")
    (repo / "note.md").write_text("one\n")
    for number in range(1, SHARED + 1):
        tool(repo, env, "need", "add", f"Shared {number}")
    for words in (["add", "-A"], ["commit", "-q", "-m", "shared"]):
        subprocess.run(["git", *words], cwd=repo, env=env, check=True)
    tool(repo, env, "sync")
    return repo


def command(number: int) -> list[str]:
    """What people type, in turn."""
    shared = number % SHARED + 1
    return [
        ["need", "add", f"By command {number}"],
        ["need", "list"],
        ["need", "set", str(shared), "--priority", str(number % 5 + 1)],
        ["link", "need:1", "blocks", f"need:{number // 6 % 4 + 2}"],
        ["log", f"need:{shared}"],
        ["status"],
    ][number % 6]


def let_loose(repo: Path, notes: Path, options: argparse.Namespace, env: dict[str, str]) -> list[tuple[str, str]]:
    """Run everybody to the end. Returns (what, its last words) of each that failed."""

    def start(kind: str, number: int, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(CROWD), kind, str(repo), str(notes / f"{kind}-{number:04}"), *words],
            env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ended(processes: list[subprocess.Popen[str]]) -> Iterator[tuple[str, str]]:
        for process in processes:
            words = process.communicate()[1].strip()
            if process.returncode or words:
                yield Path(str(process.args[4])).name, words.splitlines()[-1] if words else str(process.returncode)  # type: ignore[index]

    running = [start("app", n, str(options.seed + n), str(options.transactions)) for n in range(options.processes)] + [
        start("sql", n, str(options.seed - n), str(options.statements)) for n in range(options.writers)
    ]
    failed = []
    for first in range(0, options.commands, options.wave):
        last = min(first + options.wave, options.commands)
        failed += list(ended([start("cli", n, "--", *command(n)) for n in range(first, last)]))
    return failed + list(ended(running))


def report(notes: Path) -> None:
    """One line for each class and quantity, in milliseconds."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for file in notes.iterdir():
        for line in file.read_text().splitlines():
            note = json.loads(line)
            if "seconds" in note:
                found[file.name.partition("-")[0], note["did"]].append(note["seconds"] * 1000)
    for kind, name in CLASSES.items():
        for what in ("wait", "hold", "took"):
            times = sorted(found.get((kind, what), []))
            if times:
                p50, p99 = times[len(times) // 2], times[min(int(len(times) * 0.99), len(times) - 1)]
                aim = f"   (at most {TARGET})" if what == "wait" and kind != "sql" else ""
                print(
                    f"{name:26} {what:5} p50 {p50:8.1f}  p99 {p99:8.1f}  max {times[-1]:8.1f} ms  n={len(times)}{aim}"
                )


if __name__ == "__main__":
    main()
