"""A disk that fails, or is full, or a process that may open no more files, at any such call: the command says what is
wrong and what to do, acknowledges nothing that is not there, and the next run is clean.

The Nth call fails, for N from 1 until there are not so many. MLOS_SYNC_EXHAUSTIVE=1 takes every N, else a seeded choice.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gitrepo import env_of
from recovery import warm
from strace import Failed, failing, failing_git, unusable
from trials import COMMANDS, Trial, World, make_world, trial

SEED = 3
ALL = bool(os.environ.get("MLOS_SYNC_EXHAUSTIVE"))
FAULTS = {"fsync": "EIO", "fdatasync": "EIO", "write": "ENOSPC", "pwrite64": "ENOSPC", "openat": "EMFILE"}
CAUSES = ("Out of diskspace",
    "Input/output error", "disk I/O error", "No space left on device", "database or disk is full", "Too many open files",
    "unable to open database file", "readonly database", "unable to write", "Unable to create",
    "not a git repository",  # so git says when it cannot open .git/HEAD
)  # fmt: skip
MOST = {"pwrite64": 60, "openat": 12}  # up to where numbers are chosen from, where not all are taken

pytestmark = pytest.mark.skipif(unusable() is not None, reason=str(unusable()))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Made once for all tests here."""
    base = tmp_path_factory.mktemp("faults")
    with warm(env_of(base / "any")) as program:
        yield make_world(base, program)


@pytest.mark.parametrize("call", FAULTS)
@pytest.mark.parametrize("command", ["need add", "publish", "sync"])
def test_a_call_fails(world, command, call):
    """Each N in turn; a write or an fsync is the program's own, any process may be short of files."""

    def attempt(repo: Path, number: int) -> Failed:
        paths = _ours(repo) if call == "openat" else ()
        fault = f"{call}:error={FAULTS[call]}:when={number}"
        out = world.base / "out"
        return failing(COMMANDS[command], repo, world.env(), out, fault, *paths, follow=call == "openat")

    _try_all(trial(world, command), call, attempt)


@pytest.mark.parametrize("call", ["write", "openat"])
@pytest.mark.parametrize("git", ["hash-object", "update-index"])
def test_a_call_of_git_fails(world, git, call):
    """The disk is full, or there are no more descriptors, when git writes the object or the index for us."""

    def attempt(repo: Path, number: int) -> Failed:
        fault = f"{call}:error={FAULTS[call]}:when={number}"
        out = world.base / "out"
        return failing_git(COMMANDS["publish"], repo, world.env(), out, fault, git)

    _try_all(trial(world, "publish"), call, attempt)


def _try_all(this: Trial, call: str, attempt: Callable[[Path, int], Failed]) -> None:
    """Let the Nth call fail: for all N, or for one by choice (the first, if there are not so many)."""
    chance = random.Random(f"{SEED} {this.command} {call}")
    found, tried = [], 0
    for number in itertools.count(1) if ALL else [chance.randrange(1, MOST.get(call, 4)), 1]:
        repo = this.world.copy(this.world.base / this.command, "repo")
        end = attempt(repo, number)
        if end.calls:
            tried += 1
            found += [f"{number}. {end.calls}: {one}" for one in _wrong(this, repo, end)]
        if bool(end.calls) != ALL:
            break  # there are not so many; or this one was enough
    print(f"{this.command}, {call}: {tried} faults, seed {SEED}")
    assert tried
    assert not found, "\n".join(found)


def _ours(repo: Path) -> list[Path]:
    """What the program and its git open to write, or to make a name in it durable."""
    files = [repo / ".git/mlos", *(repo / ".git/mlos" / name for name in os.listdir(repo / ".git/mlos"))]
    files += [repo / f".git/mlos/index.db{ending}" for ending in ("-wal", "-shm")]
    files += [Path(".git/index"), Path(".git/index.lock")]
    return files + [path for path in (repo / ".mlos/journal").rglob("*") if path.is_dir()]


def _wrong(this: Trial, repo: Path, end: Failed) -> list[str]:
    """What is wrong with how the command ended, and with what it left."""
    (this.world.base / "out/stdout").write_text(end.out, "utf-8")
    wrong = []
    if "Traceback" in end.err or "this is a bug" in end.err or end.code not in (0, 3):
        wrong.append(f"ends with {end.code}: {end.out}{end.err}")
    said = "mlos-sync: " in end.err and "hint: " in end.err and any(cause in end.err for cause in CAUSES)
    if end.code == 3 and not said:
        wrong.append(f"does not say what is wrong and what to do: {end.err}")
    if end.code == 0 and any(call.startswith("fsync(") for call in end.calls):
        wrong.append("goes on after an fsync that failed, and says that it is done")
    if end.code != 0 and end.out:
        wrong.append(f"ends with {end.code} and says: {end.out}")
    return wrong + this.troubles(repo, this.is_done(repo), this.said())
