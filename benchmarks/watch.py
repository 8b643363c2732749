"""What the watcher costs: python benchmarks/watch.py [--files 100000] [--edits 1000] [--idle 60] [--views 20] [--keep DIR]

On a committed workspace of small files, with a watcher as its users start it:

- latency: from the close of one edited file until its new hash is in the database, read by another connection, beyond the
  configured quiet time; median, 99 of 100, and most;
- burst: 10,000 files written at once, and a checkout that swaps 10,000 files: until the index equals the new state, against a
  plain `sync` of the same change in a copy (in turns);
- views: from a hand edit of a view, while a file of 1.5 GB is hashed (a workspace of its own), until the observation is in the
  database; as often as `--views` says;
- idle: processor time and resident memory over a while without a change (`--idle 3600` for an hour).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import run

QUIET = 0.3  # mlos_sync.app.watching.Pace.quiet
TOOL = [sys.executable, "-I", "-m", "mlos_sync"]
BURST = 10_000
CLEANUP = contextlib.ExitStack()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--edits", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="of bursts")
    parser.add_argument("--idle", type=float, default=60, help="seconds")
    parser.add_argument("--views", type=int, default=20, help="edits of a view while a large file is hashed")
    parser.add_argument("--keep", help="use this folder and keep it")
    given = parser.parse_args()
    os.environ.update(GIT_AUTHOR_NAME="Ada", GIT_AUTHOR_EMAIL="a@example.org", GIT_COMMITTER_NAME="Ada")
    os.environ.update(GIT_COMMITTER_EMAIL="a@example.org")
    with CLEANUP as stack:
        folder = Path(given.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="mlos-sync-bench-")))
        repo = prepared(folder / "repo", given.files)
        watcher = started(repo)
        try:
            latency(repo, given.edits)
            idle(watcher, given.idle)
        finally:
            ended(watcher)
        burst(repo, given.rounds)
        with tempfile.TemporaryDirectory(prefix="mlos-sync-bench-") as beside:
            views(Path(beside) / "repo", given.views)


def prepared(repo: Path, files: int) -> Path:
    if not repo.exists():
        run.make(repo, files)
        subprocess.run([*TOOL, "init"], cwd=repo, check=True, capture_output=True)
        git(repo, "add", "--all")
        git(repo, "commit", "-q", "-m", "workspace")
    sync(repo)
    return repo


def git(repo: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=repo, check=True, capture_output=True)


def sync(repo: Path) -> None:
    subprocess.run([*TOOL, "sync", "--accept-deletes"], cwd=repo, check=False, capture_output=True)


def started(repo: Path) -> subprocess.Popen[str]:
    """A watcher whose first look is done."""
    process = subprocess.Popen([*TOOL, "watch", "--json"], cwd=repo, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    json.loads(process.stdout.readline())
    threading.Thread(target=process.stdout.read, daemon=True).start()  # or the watcher waits for somebody to read
    return process


def ended(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait()


def opened(repo: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{repo}/.git/mlos/index.db?mode=ro", uri=True, isolation_level=None)


def latency(repo: Path, edits: int) -> None:
    paths = subprocess.run(["git", "ls-files"], cwd=repo, capture_output=True, text=True, check=True).stdout.split()
    paths = [path for path in paths if not path.startswith(".")][:: max(1, len(paths) // edits)][:edits]
    db, beyond = opened(repo), []
    sql = "SELECT content_hash FROM artifacts WHERE file_path = ?"
    for number, path in enumerate(paths):
        before = db.execute(sql, (path,)).fetchone()
        with (repo / path).open("a") as file:
            file.write(f"edit {number} {time.time()}\n")
        closed = time.perf_counter()
        while db.execute(sql, (path,)).fetchone() == before:
            time.sleep(0.001)
            if time.perf_counter() - closed > 30:
                raise SystemExit(f"{path} was never seen")
        beyond.append(1000 * (time.perf_counter() - closed - QUIET))
        time.sleep(0.02)
    db.close()
    git(repo, "checkout", "-q", "--", ".")
    ordered = sorted(beyond)
    print(
        f"latency beyond the quiet time of {QUIET} s, {len(beyond)} edits: median {statistics.median(beyond):.0f} ms,"
        f" 99 of 100 within {ordered[int(len(ordered) * 0.99) - 1]:.0f} ms, most {ordered[-1]:.0f} ms"
    )


def views(repo: Path, edits: int) -> None:
    repo.mkdir()
    git(repo, "init", "-q")
    subprocess.run([*TOOL, "init"], cwd=repo, check=True, capture_output=True)
    subprocess.run([*TOOL, "compile"], cwd=repo, check=True, capture_output=True)
    clean, large = (repo / "PROBLEM.md").read_text(), repo / "large.bin"
    process, took, late = started(repo), [], 0
    CLEANUP.callback(ended, process)
    with contextlib.closing(opened(repo)) as db:

        def row(sql: str) -> tuple[str] | None:
            found: tuple[str] | None = db.execute(f"SELECT {sql}").fetchone()
            return found

        of_large = "content_hash FROM artifacts WHERE file_path = 'large.bin'"
        for number in range(edits):
            before = row(of_large)
            with large.open("wb") as file:
                file.truncate((1536 << 20) + number)
            time.sleep(0.6)  # it is being hashed
            (repo / "PROBLEM.md").write_text(clean + "by hand\n")
            began = time.perf_counter()
            while row("subject FROM observations WHERE kind = 'view'") is None:
                time.sleep(0.002)
            took.append(time.perf_counter() - began)
            late += row(of_large) != before
            (repo / "PROBLEM.md").write_text(clean)
            subprocess.run([*TOOL, "status", "--wait"], cwd=repo, check=True, capture_output=True)
    ended(process)
    print(
        f"a view edited while 1.5 GB are hashed, {edits} edits: flagged after {statistics.median(took):.2f} s (median),"
        f" most {max(took):.2f} s; {late} of them when that was hashed"
    )


def idle(process: subprocess.Popen[str], seconds: float) -> None:
    time.sleep(min(30, seconds))  # the checkout that ended the edits
    before, began = used(process.pid), time.monotonic()
    time.sleep(seconds)
    took, passed = used(process.pid) - before, time.monotonic() - began
    print(
        f"idle for {passed:.0f} s: {100 * took / passed:.3f} % of a core, {resident(process.pid):.0f} MB resident"
        f" ({resident(process.pid, 'VmHWM'):.0f} at most), {len(os.listdir(f'/proc/{process.pid}/fd'))} descriptors,"
        f" {len(os.listdir(f'/proc/{process.pid}/task'))} threads"
    )


def used(process: int) -> float:
    """Processor seconds of a process, and of its children that have ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def resident(process: int, name: str = "VmRSS") -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


def burst(repo: Path, rounds: int) -> None:
    """Each change twice in a round: once for the watcher, once for a plain sync; undone in between."""
    found: dict[str, list[tuple[float, float]]] = {"written": [], "checkout": []}
    git(repo, "checkout", "-q", "-B", "swapped")
    for number in range(BURST):
        swap(repo, number).write_text(f"swapped {number}\n")
    git(repo, "add", "--all")
    git(repo, "commit", "-q", "-m", "swap")
    git(repo, "checkout", "-q", "-B", "plain", "HEAD~1")
    for _ in range(rounds):
        sync(repo)
        process = started(repo)
        CLEANUP.callback(ended, process)
        live = timed(repo, write, BURST)
        undo(repo)
        settle(repo)
        swapped = timed(repo, lambda where: git(where, "checkout", "-q", "swapped"), BURST, "swapped")
        git(repo, "checkout", "-q", "plain")
        settle(repo)
        ended(process)
        sync(repo)
        write(repo)
        plain = clocked(repo)
        undo(repo)
        sync(repo)
        git(repo, "checkout", "-q", "swapped")
        other = clocked(repo)
        git(repo, "checkout", "-q", "plain")
        found["written"].append((live, plain))
        found["checkout"].append((swapped, other))
    for name, pairs in found.items():
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        ours, theirs = (statistics.median(pair[n] for pair in pairs) for n in (0, 1))
        print(f"burst of {BURST} files, {name}: {ours:.2f} s to converge, plain sync {theirs:.2f} s, ratio {ratio:.2f}")


def swap(repo: Path, number: int) -> Path:
    return repo / f"dir{number // 5000:02d}" / f"sub{number // 200:03d}" / f"swap{number % 200:03d}.txt"


def write(repo: Path) -> None:
    for number in range(BURST):
        folder = repo / "burst" / f"{number // 500}"
        if number % 500 == 0:
            folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.md").write_text(f"{number}\n")


def undo(repo: Path) -> None:
    subprocess.run(["rm", "-rf", "burst"], cwd=repo, check=True)


def settle(repo: Path) -> None:
    done = subprocess.run([*TOOL, "status", "--wait"], cwd=repo, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    while count(repo, "burst/*") or count(repo, "*/swap*"):
        time.sleep(0.05)


def count(repo: Path, pattern: str) -> int:
    with contextlib.closing(opened(repo)) as db:
        return int(db.execute("SELECT count(*) FROM artifacts WHERE file_path GLOB ?", (pattern,)).fetchone()[0])


def timed(repo: Path, change, files: int, kind: str = "burst") -> float:
    """Seconds from the end of a change until all of its files are in the index."""
    change(repo)
    began = time.perf_counter()
    pattern = "burst/*" if kind == "burst" else "*/swap*"
    while count(repo, pattern) < files:
        time.sleep(0.02)
        if time.perf_counter() - began > 120:
            raise SystemExit("it never converged")
    return time.perf_counter() - began


def clocked(repo: Path) -> float:
    began = time.perf_counter()
    sync(repo)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
