"""Killed at any system call that changes a file: what was acknowledged is there, the next commands succeed and lead
where the command would have led, or to where it never ran.

Each command runs once under strace and stands still after each such call (see `strace.py`). What lies on disk then is
what a kill of all its processes would leave, so a copy of the repository made at that moment is put to the test: one run
shows all kill points. Real SIGKILLs, of all processes, of the program alone, of a git that it started, or of a commit's
hooks, follow at some of them. MLOS_SYNC_EXHAUSTIVE=1 takes all of them instead of a seeded sample.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import random
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cli import changed, write
from gitrepo import env_of, git
from recovery import warm
from strace import Stop, Traced, unusable
from trials import COMMANDS, HERE, Trial, World, make_world, trial

SEED = 3
ALL = bool(os.environ.get("MLOS_SYNC_EXHAUSTIVE"))
WELL_TRODDEN = 0.02  # of the states between two page writes of SQLite or two of git's own writes
Victims = Callable[[Traced, Stop], list[int]]

pytestmark = pytest.mark.skipif(unusable() is not None, reason=str(unusable()))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Made once for all tests here."""
    base = tmp_path_factory.mktemp("crashes")
    with warm(env_of(base / "any")) as program:
        yield make_world(base, program)


@dataclass
class Points:
    """The kill points of one command, counted, and what was wrong at some."""

    name: str
    calls: list[str] = field(default_factory=list)
    tested: int = 0
    found: list[str] = field(default_factory=list)

    def judge(self) -> None:
        print(f"{self.name}: {len(self.calls)} kill points, {self.tested} states tested, seed {SEED}")
        assert self.tested
        assert not self.found, f"seed {SEED}:\n" + "\n".join(self.found)


def contents(repo: Path) -> bytes:
    """A hash of all that lies in a repository, but SQLite's shared memory, which nobody reads after a crash."""
    state = hashlib.sha256()
    for path in sorted(repo.rglob("*")):
        if path.is_file() and not path.name.endswith("-shm"):
            state.update(f"{path}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return state.digest()


@dataclass(frozen=True)
class State:
    """What lay on disk after a call, and how far the command had come."""

    call: str
    repo: Path
    done: bool | None
    said: str
    found: list[str]  # what was wrong there and then


def walk(this: Trial, is_wanted: Callable[[Path, Stop], bool]) -> Points:
    """Run the command once; put each wanted state of the disk to the test, once all its processes have gone. States that
    are alike are tested once."""
    points = Points(this.command)
    repo, run = this.start("repo")
    before, states = contents(repo), [State("the start", repo, None, "", [])]
    for stop in run.stops():
        if not stop.is_in(repo) and not this.is_result(stop):
            continue
        points.calls.append(stop.told(repo))
        if not is_wanted(repo, stop):
            continue
        state, done = contents(repo), this.is_done(repo)
        if (state, done) != (before, states[-1].done):
            before = state
            call = f"{len(points.calls)}. {points.calls[-1]}"
            found = spoilt_message(repo) if stop.program == "commit-msg hook" else []
            states.append(State(call, this.world.copy(repo, f"after {len(states)}"), done, this.said(), found))
    assert run.end() == 0, (this.world.base / "out/stderr").read_text("utf-8")
    for one in states[1:]:
        points.tested += 1
        found = one.found + this.troubles(one.repo, one.done, one.said)
        points.found += [f"after {one.call}: {problem}" for problem in found]
        shutil.rmtree(one.repo)
    return points


def ends_transaction(repo: Path, stop: Stop) -> bool:
    """Whether the call wrote the last page of a transaction: the head of its frame in SQLite's log says so."""
    page = re.search(r"index\.db-wal>, .*, (\d+), (\d+)\) = ", stop.text)
    if page is None or page[1] == "24" or page[2] == "0":
        return False
    with (repo / ".git/mlos/index.db-wal").open("rb") as log:
        log.seek(int(page[2]) - 24)
        return log.read(8)[4:] != bytes(4)


def spoilt_message(repo: Path) -> list[str]:
    """What has become of the message of a commit."""
    text = (repo / ".git/COMMIT_EDITMSG").read_text("utf-8")
    return [] if text.startswith("Done\n\nCloses: 1") else [f"the message has become {text!r}"]


@pytest.mark.parametrize("command", COMMANDS)
def test_killed_with_all_its_children_at_any_call(world, command):
    """All states of the disk in which a kill of the whole process tree can leave it."""
    chance = random.Random(SEED)

    def is_wanted(repo: Path, stop: Stop) -> bool:
        well_trodden = ("index.db" in stop.text and not ends_transaction(repo, stop)) or stop.program == "git commit"
        return ALL or not well_trodden or chance.random() < WELL_TRODDEN

    points = walk(trial(world, command), is_wanted)
    points.found += [f"acknowledged before it was durable: {path}" for path in written_late(points.calls)]
    points.judge()


def written_late(calls: list[str]) -> list[str]:
    """Files (but SQLite's) that the program had written or named, and not made durable, when it printed its result."""
    waiting: set[str] = set()
    for call in (call.removeprefix("mlos-sync: ") for call in calls if call.startswith("mlos-sync: ")):
        name, opened = call.partition("(")[0], re.search(r"<(.*?)>", call)
        if call.startswith("write(1<"):
            return sorted(waiting)
        if name == "write" and opened:
            waiting.add(opened[1])
        elif name in ("fsync", "fdatasync") and opened:
            waiting.discard(opened[1])
        elif name.startswith(("rename", "link")):
            waiting.add(os.path.dirname(re.findall(r'"(.*?)"', call)[1]))
    return []


# Whose calls are struck (as Stop.told begins), how many unless all are, and who is killed: the program waits for the git
# that stands still.
KILLS: dict[str, tuple[str, str, int, Victims]] = {
    "all of publish": ("publish", "", 1, lambda run, stop: [run.root, *run.below(run.root)]),
    "publish without its git": ("publish", "git ", 1, lambda run, stop: [run.root]),
    "git hash-object of publish": ("publish", "git hash-object", 1, lambda run, stop: [stop.pid]),
    "git update-index of publish": ("publish", "git update-index", 1, lambda run, stop: [stop.pid]),
    "the hooks of a commit": ("commit", "(?!git commit)", 2, lambda run, stop: run.below(run.root)),
}


@pytest.mark.parametrize("kill", KILLS)
def test_really_killed(world, kill):
    """SIGKILL to some of the processes; those that are left do as they do."""
    command, whose, most, victims = KILLS[kill]
    this = trial(world, command)
    points = Points(kill, all_calls(this))
    wanted = [n for n, call in enumerate(points.calls) if re.match(whose, call) and (ALL or "index.db" not in call)]
    random.Random(SEED).shuffle(wanted)
    for number in wanted:
        code, call = strike(this, victims, number) if ALL or points.tested < most else (0, "")
        if call:
            points.tested += 1
            repo = world.base / "repo"
            found = [*_ending(this, code, call), *this.troubles(repo, this.is_done(repo), this.said())]
            points.found += [f"after {number}. {call}: {one}" for one in found]
    points.judge()


@functools.cache
def all_calls(this: Trial) -> list[str]:
    """The calls of a whole run."""
    repo, run = this.start("repo")
    return [stop.told(repo) for stop in run.stops() if stop.is_in(repo)]


def strike(this: Trial, victims: Victims, number: int) -> tuple[int, str]:
    """Run the command and kill at the given call. Returns how it ended, and the call; no call if there were not so many
    this time."""
    repo, run = this.start("repo")
    count = itertools.count()
    struck = ""
    for stop in run.stops():
        if stop.is_in(repo) and next(count) == number:
            struck = stop.told(repo)
            run.kill(*sorted(victims(run, stop), key=lambda pid: pid == stop.pid))
    return run.end(), struck


def _ending(this: Trial, code: int, call: str) -> list[str]:
    """What is wrong with how a command ended of whose processes some were killed."""
    err = (this.world.base / "out/stderr").read_text("utf-8")
    wrong = [f"ends with {code}: {err}"]
    if "Traceback" in err or "this is a bug" in err:
        return wrong
    if this.command != "commit":
        refused = code == 3 and "mlos-sync: " in err and "hint: " in err and not this.said()
        return [] if code in (0, 137) or refused else wrong
    repo = this.world.base / "repo"
    if this.is_done(repo):
        message = git(repo, "log", "-1", "--format=%B").stdout
        return [] if message.startswith("Done\n\nCloses: 1") else [f"the message has become {message!r}"]
    return ([] if code == 1 else wrong) + (spoilt_message(repo) if call.startswith("commit-msg") else [])


@pytest.mark.parametrize("form", ["-a", "notes/changed.md"])
def test_a_sync_while_a_commit_is_being_written(world, form):
    """Between pre-commit and post-commit, with the editor open, somebody syncs: the commit ends as it would have."""
    repo = world.copy(world.base / "commit", "repo")
    editor = write(world.base, "editor", f'#!/bin/sh\n{shlex.join(HERE)} sync >&2 && echo Done > "$1"\n')
    editor.chmod(0o755)
    git(repo, "commit", "-q", form, env={"GIT_EDITOR": str(editor)})
    assert changed(repo) == ["?? draft.md"]


def test_an_error_that_cannot_be_printed_keeps_its_exit_code(world):
    """stderr is on a full disk."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*HERE, "need", "show", "99"], cwd=world.base / "template", env=world.env(), stderr=full)
    assert done.returncode == 2
