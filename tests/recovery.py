"""What must hold after a command was cut short: the commands that users type next succeed, and lead where it would have
led, or to where it never ran.

    program = Program(env)                      # the program, warm: a process that forks for each command
    expected = (before, after)                  # outcome(...) of repositories where it never ran, and where it ran once
    troubles(program, repo, expected, done)     # [] or what is wrong, in words

Only the command line is asked, and files and git's objects are looked at as they lie there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli import Result, changed, committed, segments
from gitrepo import git

# The program is imported once; each command is a fork of that, with its own output, as a process of its own would be.
_SERVER = """
import gc, importlib, json, os, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
from mlos_sync.cli import main as program

def command(job, out, err):
    os.chdir(job["folder"])
    for number, target in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(number, target)
    sys.stdin, sys.stdout, sys.stderr = (open(n, m, encoding="utf-8", closefd=False) for n, m in enumerate("rww"))
    sys.argv = ["mlos-sync", *job["args"]]
    try:
        program.main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    gc.collect()  # closes what the command left open, as the end of a process does
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

gc.freeze()
for line in sys.stdin:
    job = json.loads(line)
    files = [os.memfd_create(name) for name in ("out", "err")]
    pid = os.fork()
    if pid == 0:
        command(job, *files)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    said = []
    for number in files:
        with open(number, encoding="utf-8", errors="surrogateescape") as file:
            file.seek(0)
            said.append(file.read())
    print(json.dumps([code, *said]), flush=True)
"""
_WARM = ("app.sync", "app.setup", "app.status", "app.records", "app.publishing", "app.dumping", "edge.ddl", "cli.main")


class Program:
    """`mlos-sync` at a fifth of its price: most of a command's time is Python's start."""

    def __init__(self, env: dict[str, str]) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-I", "-c", _SERVER, *(f"mlos_sync.{name}" for name in _WARM)],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip

    def run(self, repo: Path, *args: str) -> Result:
        """Run one command in a folder."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps({"folder": str(repo), "args": args}) + "\n")
        self._server.stdin.flush()
        return Result(*json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        """End it."""
        for pipe in (self._server.stdin, self._server.stdout):
            assert pipe is not None
            pipe.close()
        self._server.wait()


@contextlib.contextmanager
def warm(env: dict[str, str]) -> Iterator[Program]:
    """A Program that ends with the block."""
    program = Program(env)
    try:
        yield program
    finally:
        program.close()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a repository stands after a sync: its shared state, what `git status` shows of the user's files, and our
    files in the git directory."""

    dump: str
    status: tuple[str, ...]
    files: tuple[str, ...]


_TOKEN = re.compile(r"[0-9a-f]{16,64}|\b\d{13},\d+\b|\b\d{16}:\d{8}\b|\d{4}-\d\d-\d\dT[\d:.]+Z")  # clocks too


def tokens(text: str) -> set[str]:
    """All ids, hashes and times in a dump."""
    return set(_TOKEN.findall(text))


def shape(text: str, known: set[str]) -> str:
    """A dump with each id, hash and time that is not known from before replaced by a star: what two runs share."""
    lines, table = [], ""
    for line in text.split("\n"):
        table = line if line.startswith("# ") else table
        lines.append(f"{table} {_TOKEN.sub(lambda found: found[0] if found[0] in known else '*', line)}")
    return "\n".join(sorted(lines))


def outcome(program: Program, repo: Path, known: set[str]) -> Outcome:
    """Where a healthy repository stands, once it is synced."""
    assert program.run(repo, "sync").code == 0
    text = program.run(repo, "dump", "--canonical").out
    return Outcome(shape(text, known), users(repo), ours(repo))


def users(repo: Path) -> tuple[str, ...]:
    """What `git status` shows but segments that wait for the next commit (AD: a commit was aborted after its hook)."""
    waiting = re.compile(r"(A |AD|\?\?) \.mlos/journal/\d{4}/\d\d/[0-9a-f]{64}\.jsonl")
    return tuple(line for line in changed(repo) if not waiting.fullmatch(line))


# What a hook leaves for the hook after it, or, if there is none, for the next commit
NOTES = {"closing", "repair", "message-seen", "message-prepared", "message-added", "message-offered"} | {
    "notes",
    "notes.taken",
}


def ours(repo: Path) -> tuple[str, ...]:
    """The files in our folder of the git directory, but notes."""
    return tuple(sorted(path.name for path in (repo / ".git/mlos").iterdir() if path.name not in NOTES))


def troubles(
    program: Program, repo: Path, expected: tuple[Outcome, Outcome], known: set[str], *, done: bool | None
) -> list[str]:
    """What is wrong with a repository in which a command was cut short. `done` tells whether the command must have had
    its effect (True), must not (False), or may have (None)."""
    found: list[str] = []
    for args in (("sync",), ("status", "--json"), ("rebuild", "--check")):
        result = program.run(repo, *args)
        if result.code or result.err:
            found.append(f"{' '.join(args)} ends with {result.code}: {result.out[-400:]}{result.err}")
        elif args[0] == "status":
            found += _seen_by_status(result.json)
    found += _unlocked(program, repo)
    allowed = expected if done is None else expected[1:] if done else expected[:1]
    found += _elsewhere(program, repo, allowed, known)
    found += _unsound(repo)
    return found + _not_once(program, repo)


def _seen_by_status(status: dict[str, Any]) -> list[str]:
    found = [] if status["fresh"] else [f"not fresh after a sync: {status['changes']}"]
    return found + [f"status observes {one}" for one in status["observations"]]


def _elsewhere(program: Program, repo: Path, allowed: tuple[Outcome, ...], known: set[str]) -> list[str]:
    """How the state differs from all that are allowed; the differences to the nearest one."""
    text = program.run(repo, "dump", "--canonical").out
    here = Outcome(shape(text, known), users(repo), ours(repo))
    if here in allowed:
        return []
    return min((_difference(here, one) for one in allowed), key=len)


def _difference(here: Outcome, there: Outcome) -> list[str]:
    mine, theirs = Counter(here.dump.split("\n")), Counter(there.dump.split("\n"))
    found = [f"too much: {line[:300]}" for line in mine - theirs] + [f"missing: {line[:300]}" for line in theirs - mine]
    if here.status != there.status:
        found.append(f"git status shows {here.status}, not {there.status}")
    if here.files != there.files:
        found.append(f"in .git/mlos are {here.files}, not {there.files}")
    return found


def _unsound(repo: Path) -> list[str]:
    """Damage in git's objects, and lines of the pending log that are no events."""
    found = []
    fsck = git(repo, "fsck", "--no-dangling", "--no-progress", check=False)
    if fsck.returncode or fsck.stdout or fsck.stderr:
        found.append(f"git fsck: {fsck.stdout}{fsck.stderr}")
    ids = []
    for line in (repo / ".git/mlos/ledger.jsonl").read_bytes().split(b"\n"):
        try:
            ids += [json.loads(line)["id"]] if line else []
        except ValueError:
            found.append(f"a damaged line in the pending log: {line[:80]!r}")
    return found + [f"the pending log has {one} {count} times" for one, count in Counter(ids).items() if count > 1]


def _not_once(program: Program, repo: Path) -> list[str]:
    """Published and committed, each event of this clone is in exactly one segment, and nothing else is left over."""
    result = program.run(repo, "publish", "--json")
    if result.code or result.err:
        return [f"publish ends with {result.code}: {result.err}"]
    user = [line for line in changed(repo) if line[1] != " " and ".mlos/journal" not in line]
    git(repo, "commit", "-q", "--no-verify", "--allow-empty", "-m", "all that waited")
    here, found = committed(repo), []
    for path, data in segments(repo).items():
        if Path(path).stem != hashlib.sha256(data).hexdigest():
            found.append(f"{path} does not hold what its name says")
    times = Counter(
        json.loads(line)["id"] for data in segments(repo).values() for line in data.split(b"\n")[1:] if line
    )
    found += [f"{count} segments hold {one}" for one, count in times.items() if count > 1]
    mine = {json.loads(line)["id"] for line in (repo / ".git/mlos/ledger.jsonl").read_bytes().split(b"\n") if line}
    found += [f"in no commit: {one}" for one in sorted(mine - here)]
    if (repo / ".git/mlos/repair").exists():
        found.append("after a commit, the note of what post-commit has to bring back is still there")
    left = [line[1:] for line in changed(repo)]
    if left != [line[1:] for line in user]:
        found.append(f"git status shows {left} after a commit, not {user}")
    return found


def _unlocked(program: Program, repo: Path) -> list[str]:
    """Git that was killed leaves its lock, and tells its users to remove it: so do we, by name. What had to wait for
    the lock is done by the next sync."""
    locks = sorted((repo / ".git").rglob("*.lock"))
    found = []
    if repo / ".git/index.lock" in locks:
        refused = program.run(repo, "publish")
        if refused.code != 3 or "index.lock" not in refused.err or "hint:" not in refused.err:
            found.append(f"with index.lock in the way, publish ends with {refused.code}: {refused.err}")
    for lock in locks:
        lock.unlink()
    again = program.run(repo, "sync") if locks else None
    return found + ([f"unlocked, sync ends with {again.code}: {again.err}"] if again and again.code else [])
