"""What compiling costs: python benchmarks/views.py [--needs 1000] [--tasks 5000] [--pairs 9]

Makes a workspace of files, needs, tasks and edges with the four kinds of views in a temporary folder, then measures whole
processes in pairs with a two-command Typer program: `compile` of all views from nothing, `compile` after one need has
changed, and `compile --check` with nothing new. Medians, and what is above that program.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import TWO_COMMANDS

SCOPES = ("alpha", "beta")
VIEWS = """
[[view]]
path = "views/alpha.md"
kind = "problem"
scope = "alpha"

[[view]]
path = "STATUS.md"
kind = "status"

[[view]]
path = "views/pack.md"
kind = "context_pack"
need = "NEED"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--needs", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=9)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlos-sync-bench-") as folder:
        repo = Path(folder) / "repo"
        make(repo, given.needs, given.tasks, given.files)
        measure(repo, Path(folder) / "two.py", given.pairs)


def ours(repo: Path, *words: str, stdin: str | None = None) -> None:
    argv = [sys.executable, "-I", "-m", "mlos_sync", "-C", str(repo), *words]
    subprocess.run(argv, check=True, capture_output=True, input=stdin, text=True)


def said(repo: Path, *words: str) -> str:
    argv = [sys.executable, "-I", "-m", "mlos_sync", "-C", str(repo), *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def git(repo: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(repo), *words], check=True, capture_output=True)


def make(repo: Path, needs: int, tasks: int, files: int) -> None:
    os.environ.update(GIT_AUTHOR_NAME="Ada", GIT_AUTHOR_EMAIL="a@example.org", GIT_COMMITTER_NAME="Ada")
    os.environ.update(GIT_COMMITTER_EMAIL="a@example.org")
    (repo / "notes").mkdir(parents=True)
    git(repo, "init", "-q", "-b", "main")
    for number in range(files):
        (repo / "notes" / f"{number}.md").write_text(f"---\ntitle: Note {number}\n---\ntext {number}\n" * 20)
    ours(repo, "init")
    config = repo / ".mlos" / "config.toml"
    config.write_text(config.read_text() + VIEWS)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "files")
    ours(repo, "sync")
    rows = [
        {
            "title": f"Need {n} of *many*",
            "description": f"Why {n}\n\nmore",
            "priority": n % 5 + 1,
            "scope": SCOPES[n % 2],
        }
        for n in range(needs)
    ]
    ours(repo, "need", "add", "--from", "-", stdin="".join(json.dumps(row) + "\n" for row in rows))
    first = json.loads(said(repo, "need", "show", "need:1", "--json"))["row"]["uid"]
    config.write_text(config.read_text().replace('"NEED"', f'"need-{first[:12]}"'))
    rows = [{"description": f"Task {n}", "need_id": n % needs + 1} for n in range(tasks)]
    ours(repo, "task", "add", "--from", "-", stdin="".join(json.dumps(row) + "\n" for row in rows))
    for n in range(20):
        ours(repo, "link", f"need:{n % 3 + 1}", "references", f"artifact:notes/{n}.md")
        ours(repo, "link", f"task:{n + 1}", "blocks", f"task:{n + 100}")
    ours(repo, "compile")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "records")


def timed(action, *arguments) -> float:
    start = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - start


def measure(repo: Path, two: Path, pairs: int) -> None:
    two.write_text(TWO_COMMANDS)
    views = [repo / name for name in ("PROBLEM.md", ".mlos/INDEX.md", "views/alpha.md", "STATUS.md", "views/pack.md")]
    parts: dict[str, list[tuple[float, float]]] = {}
    for number in range(pairs + 1):
        for name in ("all views from nothing", "after one changed need", "nothing new, --check"):
            base = timed(subprocess.run, [sys.executable, "-I", str(two), "one"], -1, None, None, subprocess.DEVNULL)
            if name.startswith("all"):
                for view in views:
                    view.unlink()
            elif name.startswith("after"):
                ours(repo, "need", "set", f"need:{number + 5}", "--title", f"Changed {number} {time.time()}")
            took = timed(ours, repo, "compile", *(["--check"] if name.endswith("--check") else []))
            if number:  # the first round warms the disk
                parts.setdefault(name, []).append((took, base))
    print("compile, whole process: median (least to most), above a two-command Typer program; seconds")
    for name, found in parts.items():
        took = [one for one, _ in found]
        above = statistics.median(one - base for one, base in found)
        print(f"{name:26} {statistics.median(took):.3f} ({min(took):.3f} to {max(took):.3f})  +{above:.3f}")


if __name__ == "__main__":
    main()
