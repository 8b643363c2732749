"""What the hooks add to `git commit`: python benchmarks/guard.py [--files 100000] [--staged 20] [--pairs 15]

Makes a repository of small committed files in a temporary folder and commits the same kind of change with no hook, with
hooks that do nothing (what git and the shell cost in any case), and with ours: pre-commit, commit-msg and post-commit
beside an idle database. The three take turns, the repository is reset in between, and the medians of the differences
within each turn are printed. Standard library only; the hooks run in a fresh virtual environment that holds mlos-sync
alone.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mlos_sync.edge import shims  # noqa: E402

PER_FOLDER = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000, help="files in the repository")
    parser.add_argument("--staged", type=int, default=20, help="files changed in each commit")
    parser.add_argument("--pairs", type=int, default=15, help="turns")
    parser.add_argument("--no-database", action="store_true", help="as before the first mlos-sync command")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlos-sync-bench-") as temporary:
        top = Path(temporary)
        env = sealed(top)
        repo = make_repository(top / "repo", options.files, env)
        if not options.no_database:
            make_database(repo / ".git" / "mlos")
        arms = {"none": top / "none", "empty": top / "empty", "ours": top / "ours"}
        make_hooks(arms, make_interpreter(top / "venv"))
        report(measure(repo, arms, options, env))


def sealed(top: Path) -> dict[str, str]:
    """No configuration but the repository's own."""
    home = top / "home"
    home.mkdir()
    names = {f"GIT_{who}_{what}": "bench@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    outside = {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **outside, **names}


def run(repo: Path, env: dict[str, str], *args: str) -> None:
    subprocess.run(["git", "-C", str(repo), *args], env=env, check=True, stdout=subprocess.DEVNULL)


def path_of(number: int) -> str:
    return f"notes/{number // PER_FOLDER // 50:03d}/{number // PER_FOLDER % 50:02d}/note-{number:06d}.md"


def text_of(number: int, turn: str) -> bytes:
    return f"---\ntitle: note {number}\nstatus: open\n---\n\nThe text of note {number} {turn}\n".encode()


def make_repository(repo: Path, files: int, env: dict[str, str]) -> Path:
    repo.mkdir()
    run(repo, env, "init", "-q")
    run(repo, env, "config", "gc.auto", "0")
    process = subprocess.Popen(["git", "-C", str(repo), "fast-import", "--quiet"], env=env, stdin=subprocess.PIPE)
    assert process.stdin is not None
    write = process.stdin.write
    write(b"commit refs/heads/base\ncommitter bench <bench@example.com> 1700000000 +0000\ndata 4\nbase\n")
    for number in range(files):
        text = text_of(number, "at first")
        write(b"M 100644 inline %s\ndata %d\n%s\n" % (path_of(number).encode(), len(text), text))
    process.stdin.close()
    assert process.wait() == 0
    run(repo, env, "checkout", "-q", "--detach", "base")
    return repo


def make_database(folder: Path) -> None:
    """An index with nothing to publish, in the mode that the product uses."""
    folder.mkdir(parents=True)
    connection = sqlite3.connect(folder / "index.db")
    connection.executescript(
        "PRAGMA journal_mode=WAL; CREATE TABLE outbox(event TEXT); CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT);"
        "INSERT INTO meta VALUES ('pending', '0'), ('ledger_size', '0');"
    )
    connection.close()


def make_interpreter(folder: Path) -> str:
    """A virtual environment which can import mlos_sync and nothing else."""
    venv.create(folder, symlinks=True)
    packages = next((folder / "lib").glob("python*/site-packages"))
    (packages / "mlos_sync.pth").write_text(f"{ROOT}\n", "utf-8")
    return str(folder / "bin" / "python")


def make_hooks(arms: dict[str, Path], python: str) -> None:
    arms["none"].mkdir()
    arms["empty"].mkdir()
    for name in ("pre-commit", "commit-msg", "post-commit"):
        hook = arms["empty"] / name
        hook.write_text("#!/bin/sh\nexit 0\n", "ascii")
        hook.chmod(0o755)
    shims.install(str(arms["ours"]), str(ROOT / "hooks"), python)


def measure(
    repo: Path, arms: dict[str, Path], options: argparse.Namespace, env: dict[str, str]
) -> dict[str, list[float]]:
    step = max(1, options.files // options.staged)
    numbers = range(0, options.files, step)
    taken: dict[str, list[float]] = {arm: [] for arm in arms}
    for turn in range(options.pairs + 1):
        order = list(arms) if turn % 2 else list(arms)[::-1]
        for arm in order:
            run(repo, env, "reset", "-q", "--hard", "base")
            for number in numbers:
                (repo / path_of(number)).write_bytes(text_of(number, f"in turn {turn} {arm}"))
            run(repo, env, "add", "--", *(path_of(number) for number in numbers))
            start = time.perf_counter()
            run(repo, env, "-c", f"core.hooksPath={arms[arm]}", "commit", "-q", "-m", "Change some notes")
            if turn:  # the first turn fills caches
                taken[arm].append((time.perf_counter() - start) * 1000)
    return taken


def report(taken: dict[str, list[float]]) -> None:
    for arm, times in taken.items():
        print(f"{arm:6} hooks: median {statistics.median(times):6.1f} ms   min {min(times):6.1f}   n={len(times)}")
    for arm, other in (("empty", "none"), ("ours", "none"), ("ours", "empty")):
        differences = [one - two for one, two in zip(taken[arm], taken[other], strict=True)]
        low, middle, high = statistics.quantiles(differences, n=4)
        print(f"{arm} - {other}: median {middle:+.1f} ms   (quartiles {low:+.1f} .. {high:+.1f})")


if __name__ == "__main__":
    main()
