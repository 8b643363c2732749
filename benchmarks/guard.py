"""What the hooks add to `git commit`: python benchmarks/guard.py [--files 100000] [--staged 20] [--pairs 15]

Makes a workspace of small committed files in a temporary folder and commits the same kind of change with no hook, with
hooks that do nothing (what git and the shell cost in any case), and with all that `init` installs. Three kinds of commit:
an ordinary one; one whose message has a trailer, which needs the index; one that carries a new record. The three ways
take turns, and the medians of the differences within each turn are printed: of the time that passes, and of the
processor's, which says the same on a busy machine. The hooks run in a fresh virtual environment
that holds mlos-sync alone; the commands in between run in the Python that runs this, which has to have mlos-sync.
"""

from __future__ import annotations

import argparse
import os
import resource
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
Taken = tuple[float, float]  # milliseconds that passed, milliseconds of the processor
KINDS = {"ordinary": "Change some notes", "trailer": "Change some notes\n\nTask: 1", "records": "Change some notes"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000, help="files in the repository")
    parser.add_argument("--staged", type=int, default=20, help="files changed in each commit")
    parser.add_argument("--pairs", type=int, default=15, help="turns")
    parser.add_argument("--kind", choices=KINDS, action="append", help="this kind of commit only; may be repeated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlos-sync-bench-") as temporary:
        top = Path(temporary)
        env = sealed(top)
        repo = make_repository(top / "repo", options.files, env)
        arms = {"none": top / "none", "empty": top / "empty", "ours": top / "ours"}
        make_hooks(arms, make_interpreter(top / "venv"))
        run(repo, env, "config", "core.hooksPath", str(arms["none"]))
        make_workspace(repo, env)
        for kind in options.kind or KINDS:
            report(kind, measure(repo, arms, kind, options, env))


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


def product(repo: Path, env: dict[str, str], *args: str) -> None:
    """An mlos-sync command."""
    command = [sys.executable, "-m", "mlos_sync", *args]
    subprocess.run(command, cwd=repo, env={**env, "PYTHONPATH": str(ROOT)}, check=True, stdout=subprocess.DEVNULL)


def make_workspace(repo: Path, env: dict[str, str]) -> None:
    """With one task, which trailers name, committed; so the index is there and nothing is pending."""
    product(repo, env, "init")
    product(repo, env, "task", "add", "A task")
    commit_records(repo, env)


def commit_records(repo: Path, env: dict[str, str]) -> None:
    """Put what is pending into a commit, past all hooks: then the next commit carries what it is given, and no more."""
    product(repo, env, "publish")
    run(repo, env, "add", "--", ".mlos", ".gitattributes")
    run(repo, env, "commit", "-q", "--no-verify", "--allow-empty", "-m", "Records")
    product(repo, env, "task", "list")  # takes the commit in


def make_interpreter(folder: Path) -> str:
    """A virtual environment which can import mlos_sync and nothing else."""
    venv.create(folder, symlinks=True)
    packages = next((folder / "lib").glob("python*/site-packages"))
    (packages / "mlos_sync.pth").write_text(f"{ROOT}\n", "utf-8")
    return str(folder / "bin" / "python")


def make_hooks(arms: dict[str, Path], python: str) -> None:
    arms["none"].mkdir()
    arms["empty"].mkdir()
    for name in shims.NAMES:
        hook = arms["empty"] / name
        hook.write_text("#!/bin/sh\nexit 0\n", "ascii")
        hook.chmod(0o755)
    shims.install(str(arms["ours"]), str(ROOT / "hooks"), python)


def measure(
    repo: Path, arms: dict[str, Path], kind: str, options: argparse.Namespace, env: dict[str, str]
) -> dict[str, list[Taken]]:
    """What the commits of one kind take, in each way."""
    step = max(1, options.files // options.staged)
    numbers = range(0, options.files, step)
    taken: dict[str, list[Taken]] = {arm: [] for arm in arms}
    for turn in range(options.pairs + 1):
        order = list(arms) if turn % 2 else list(arms)[::-1]
        for arm in order:
            if kind == "records":
                commit_records(repo, env)
                product(repo, env, "task", "add", f"A task of turn {turn}")
            for number in numbers:
                (repo / path_of(number)).write_bytes(text_of(number, f"in turn {turn} {kind} {arm}"))
            run(repo, env, "add", "--", *(path_of(number) for number in numbers))
            start, used = time.perf_counter(), processor()
            run(repo, env, "-c", f"core.hooksPath={arms[arm]}", "commit", "-q", "-m", KINDS[kind])
            if turn:  # the first turn fills caches
                taken[arm].append(((time.perf_counter() - start) * 1000, processor() - used))
    return taken


def processor() -> float:
    """Milliseconds that all processes below us have used that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def report(kind: str, taken: dict[str, list[Taken]]) -> None:
    for number, what in enumerate(("passed", "processor")):
        times = {arm: [one[number] for one in all_of_them] for arm, all_of_them in taken.items()}
        told = ", ".join(f"{arm} {statistics.median(some):.0f}" for arm, some in times.items())
        print(f"{kind}, {what}: medians {told} ms, {len(times['none'])} turns")
        for arm, other in (("empty", "none"), ("ours", "none"), ("ours", "empty")):
            differences = [one - two for one, two in zip(times[arm], times[other], strict=True)]
            low, middle, high = statistics.quantiles(differences, n=4)
            print(f"    {arm} - {other}: {middle:+.0f} ms (quartiles {low:+.0f} .. {high:+.0f})")


if __name__ == "__main__":
    main()
