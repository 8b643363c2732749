"""A running watcher, as its users start it, and what it says.

with watching(repo) as watcher:                   # a process; lines of JSON are read as they come
    watcher.until(lambda look: "a.md" in look["added"])
    watcher.settled()                             # the index equals a naive walk, or the test fails after PATIENCE
    watcher.told()["rescans"]                     # what it says of itself
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import naive
from gitrepo import env_of

from mlos_sync.app import standing
from mlos_sync.edge.workspace import find

PATIENCE = 60  # seconds after which something counts as never: no test asks for a time


def listen() -> None:
    """`nohup make test &` has these ignored, and so would we."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Watcher:
    """The process and its reports."""

    def __init__(self, repo: Path, *options: str, before: tuple[str, ...] = ()) -> None:
        self.repo = repo
        self.process = subprocess.Popen(
            [*before, sys.executable, "-I", "-m", "mlos_sync", "-C", str(repo), "watch", "--json", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env_of(repo),
            preexec_fn=listen,
        )  # fmt: skip
        self.looks: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.seen: list[dict[str, Any]] = []
        self.notices: list[str] = []
        self.complaints: list[str] = []
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._read, self._listen)]
        for one in self._threads:
            one.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            look = json.loads(line)
            if "notice" in look:
                self.notices.append(look["notice"])
            else:
                self.looks.put(look)
        self.looks.put(None)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        self.complaints += iter(self.process.stderr)

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next report of which `wanted` is true."""
        end = time.monotonic() + PATIENCE
        while True:
            look = self.looks.get(timeout=max(0.1, end - time.monotonic()))
            assert look is not None, f"the watcher ended: {''.join(self.complaints)}"
            self.seen.append(look)
            if wanted(look):
                return look

    def started(self) -> None:
        """The first look is done: from now on hints count."""
        self.until(lambda look: look.get("reason") == "the start")

    def told(self) -> dict[str, Any]:
        """What it says of itself."""
        found = standing.of(find(str(self.repo)))
        assert found is not None, f"no watcher runs: {''.join(self.complaints)}"
        return found

    def eventually(self, question: Callable[[], Any]) -> Any:
        """The first answer that is true."""
        end = time.monotonic() + PATIENCE
        while not (answer := question()):
            assert time.monotonic() < end, f"never: {self.told()} {''.join(self.complaints)}"
            time.sleep(0.05)
        return answer

    def eventually_noticed(self, words: str) -> None:
        """It says that nothing is looked at for now, and why."""
        end = time.monotonic() + PATIENCE
        while not any(words in one for one in self.notices):
            assert time.monotonic() < end, f"{self.notices} {''.join(self.complaints)}"
            time.sleep(0.05)

    def settled(self) -> None:
        """The index comes to say what a naive walk says."""
        self.eventually(lambda: indexed(self.repo) == naive.files(self.repo))

    def send(self, number: int) -> None:
        """A signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Whatever it does."""
        self.process.kill()
        self.process.wait()
        for one in self._threads:
            one.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Stop it; its exit code."""
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE)


def spent(process: int) -> float:
    """Processor seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(process: int | str) -> list[str]:
    """The processes that another one has started and that still run."""
    try:
        return Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []


def family(process: int | str) -> list[str]:
    """The processes below another one, whoever started them."""
    below = children(process)
    return [*below, *(one for child in below for one in family(child))]


def called(process: int | str, word: str) -> list[str]:
    """Those of its family whose command line has a word."""
    found = []
    for one in family(process):
        with contextlib.suppress(OSError):
            found += [one] if word.encode() in Path(f"/proc/{one}/cmdline").read_bytes() else []
    return found


def indexed(repo: Path) -> dict[bytes, str]:
    """Path -> hash, as the database says; read as any program would."""
    state = Path(find(str(repo)).database)
    with contextlib.closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT file_path, content_hash FROM artifacts WHERE file_path IS NOT NULL")
        return {os.fsencode(path): content for path, content in rows}


@contextlib.contextmanager
def watching(repo: Path, *options: str, before: tuple[str, ...] = ()) -> Iterator[Watcher]:
    """A watcher, killed at the end whatever happened."""
    watcher = Watcher(repo, *options, before=before)
    try:
        yield watcher
    finally:
        watcher.kill()
