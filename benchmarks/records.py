"""Records at size: python benchmarks/records.py [--events 100000] [--rounds 9] [--keep DIR]

A committed journal of so many events in segments of 20 (needs, tasks, edges, changes of them), then:

- `rebuild` as a whole process, and in it the fold: every record's state from its events, and its rows;
- catch-up with 100 new events in 5 segments, in the process: as untracked files, and as a commit;
- `need add` as a whole process against `--help` of a two-command Typer program, taking turns.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from run import TWO_COMMANDS, run

from mlos_sync.app import freshness, journaling, setup
from mlos_sync.app.opening import open_index
from mlos_sync.core import journal
from mlos_sync.core.ids import derived_uid
from mlos_sync.core.times import iso
from mlos_sync.edge.workspace import find

SEGMENT = 20
BORN = 1_760_000_000_000
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.hooksPath=/dev/null"]


class Writer:
    """Writes events as a team of clones would: each record's history is a chain."""

    def __init__(self, repo: Path, chance: random.Random, first: int, clock: int) -> None:
        self.repo, self.chance, self.clock, self.number = repo, chance, clock, first
        self.workspace = find(str(repo)).config.workspace
        self.heads: dict[str, str] = {}
        self.records: dict[str, list[str]] = {"need": [], "task": []}
        self.batch: list[journal.Event] = []

    def write(self, count: int) -> None:
        """So many events, in whole segments."""
        for _ in range(count):
            kind, uid, op, fields = self._next()
            self.clock += 100
            seen = (self.heads[uid],) if uid in self.heads else ()
            event = journal.make(
                id=self.chance.randbytes(16).hex(), clock=(self.clock, 0), seen=seen, kind=kind, uid=uid, op=op,
                fields=fields, actor="Ada <ada@example.com>", door="cli", tx=self.chance.randbytes(16).hex(),
            )  # fmt: skip
            self.heads[uid] = event.id
            self.batch.append(event)
            if len(self.batch) == SEGMENT:
                self._end_segment()

    def _next(self) -> tuple[str, str, str, dict[str, Any]]:
        """Of ten events one creates a need, two or three a task, one or two an edge; the others change something."""
        what, chance = self.chance.random(), self.chance
        needs, tasks = self.records["need"], self.records["task"]
        if what < 0.1 or len(needs) < 2:
            return self._create("need", title=f"need {self.number}", scope=f"s{self.number % 7}")
        if what < 0.35 or len(tasks) < 2:
            return self._create("task", description=f"task {self.number}", need_id=f"need:{chance.choice(needs)}")
        if what < 0.5:
            source, target = (f"task:{uid}" for uid in chance.sample(tasks, 2))
            uid = derived_uid("edge", source, "blocks", target)
            if uid not in self.heads:
                return "relationship", uid, "create", {"source": source, "type": "blocks", "target": target}
        if what < 0.8:
            return "task", chance.choice(tasks), "update", {"status": chance.choice(["open", "assigned"])}
        return "need", chance.choice(needs), "update", {"priority": chance.randint(1, 5)}

    def _create(self, kind: str, **fields: Any) -> tuple[str, str, str, dict[str, Any]]:
        uid = self.chance.randbytes(16).hex()
        self.records[kind].append(uid)
        self.number += 1
        status = "identified" if kind == "need" else "open"
        return kind, uid, "create", {"id": self.number, "status": status, "created_at": iso(self.clock), **fields}

    def _end_segment(self) -> None:
        newest = iso(self.batch[-1].clock[0])
        data = journal.segment_bytes(self.batch, self.workspace, newest)
        path = self.repo / journal.segment_path(data, newest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.batch.clear()


def main() -> None:
    """Make the workspace, measure, print one line a figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--keep", help="use this folder and keep it")
    given = parser.parse_args()
    folder = Path(given.keep or tempfile.mkdtemp(prefix="mlos-bench-"))
    os.environ.update({f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")})
    try:
        repo = folder / "records"
        tool = [sys.executable, "-I", "-m", "mlos_sync"]
        if not repo.exists():
            repo.mkdir(parents=True)
            subprocess.run(["git", "init", "-q"], cwd=repo, check=True)
            run([*tool, "init"], repo)
            Writer(repo, random.Random(1), 0, BORN).write(given.events)
            commit(repo)
        told("rebuild", [run([*tool, "rebuild"], repo) * 1000 for _ in range(3)], None)
        told("  the fold in it", [fold(repo) for _ in range(3)], 5000)
        for how, then in (("untracked files", lambda _: None), ("a commit", commit)):
            told(f"catch-up with 100 events, {how}", catch_up(repo, given.rounds, then), 100)
        script = folder / "two.py"
        script.write_text(TWO_COMMANDS)
        pairs = [
            run([*tool, "need", "add", "x"], repo) - run([sys.executable, str(script), "--help"], repo)
            for _ in range(given.rounds * 2)
        ]
        told("need add, less a two-command program", [seconds * 1000 for seconds in pairs], 120)
    finally:
        if not given.keep:
            shutil.rmtree(folder)


def commit(repo: Path) -> None:
    """Everything there is, without our hooks."""
    for words in (["add", "-A"], ["commit", "-q", "-m", "events"]):
        subprocess.run([*GIT, *words], cwd=repo, check=True, stdout=subprocess.DEVNULL)


def fold(repo: Path) -> float:
    """Milliseconds that a rebuild spends on the fold."""
    spent: list[float] = []
    folding = journaling.refold

    def timed(*arguments: Any) -> None:
        began = time.perf_counter()
        folding(*arguments)
        spent.append((time.perf_counter() - began) * 1000)

    journaling.refold = timed
    try:
        setup.rebuild(find(str(repo)))
    finally:
        journaling.refold = folding
    return sum(spent)


def catch_up(repo: Path, rounds: int, then: Callable[[Path], None]) -> list[float]:
    """Milliseconds of each catch-up."""
    index = open_index(str(repo))
    freshness.catch_up(index)
    first = index.db.execute("SELECT max(number) FROM numbers").fetchone()[0] + 1000
    writer = Writer(repo, random.Random(first), first, int(time.time() * 1000))
    found = []
    for _ in range(rounds):
        writer.write(100)
        then(repo)
        began = time.perf_counter()
        freshness.catch_up(index)
        found.append((time.perf_counter() - began) * 1000)
    index.db.close()
    return found


def told(what: str, found: list[float], most: float | None) -> None:
    """One line: median and range in milliseconds, and what was aimed at."""
    aim = f"; at most {most:.0f}" if most else ""
    print(
        f"{what:44} {statistics.median(found):8.0f} ms  ({min(found):.0f} to {max(found):.0f}{aim})  n={len(found)}",
        flush=True,
    )


if __name__ == "__main__":
    main()
