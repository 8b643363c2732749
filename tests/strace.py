"""Recipes of strace: stand still at every system call that changes a file, or let such a call fail.

    for stop in Traced(argv, repo, env, out).stops():   # every process of the tree stands still meanwhile
        run.kill(*run.pids())                           # for real, at exactly that call

Strace counts injections per process, so `signal=KILL:when=N` cannot name one call of a tree of processes. So each call
gets SIGSTOP instead, and whoever walks decides. Measured with strace 6.1: an injected SIGKILL strikes before the call
takes effect, an injected SIGSTOP after it. So a kill at the stop after call N is a kill before call N + 1, and the
stops of one run are all the states in which a killed program can leave its files.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 60  # seconds after which a process counts as hanging
# A name with ? is passed over where the machine has no such call.
CHANGING = (
    "write", "pwrite64", "writev", "?pwritev", "fsync", "fdatasync", "?rename", "renameat", "renameat2", "?link", "linkat",
    "?unlink", "unlinkat", "ftruncate", "truncate", "fallocate", "?open", "openat", "?creat", "?mkdir", "mkdirat", "?rmdir",
    "?symlink", "symlinkat", "?chmod", "fchmod", "fchmodat", "sendfile", "copy_file_range",
)  # fmt: skip
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')


@functools.cache
def unusable() -> str | None:
    """Why nothing can be traced here; None when it can."""
    if shutil.which("strace") is None:
        return "NOT TESTED: crashes at each system call, as strace is missing"
    options = ["-f", "-qqq", "-o", os.devnull, *_inject(",".join(CHANGING), "signal=SIGCONT")]
    tried = subprocess.run(["strace", *options, "true"], capture_output=True, text=True)
    if tried.returncode == 0:
        return None
    return f"NOT TESTED: crashes at each system call, as strace cannot do it here: {tried.stderr}"


def _inject(calls: str, what: str) -> list[str]:
    return ["-e", f"trace=execve,{calls}", "-e", f"inject={calls}:{what}"]


@dataclass(frozen=True, slots=True)
class Stop:
    """A process that stands still, right after a system call: `text` is the call as strace prints it."""

    pid: int
    program: str
    text: str

    def is_in(self, root: Path) -> bool:
        """Whether the call did, or made durable, something below a folder. (Git names paths relative to it.)"""
        name = self.text.partition("(")[0]
        if " = -1 " in self.text or (name.startswith("open") and not re.search("O_CREAT|O_TRUNC", self.text)):
            return False
        if name in ("write", "pwrite64", "writev"):
            return f"<{root}/" in self.text.partition(",")[0]
        path = _WORD.search(self.text)
        return str(root) in self.text or (path is not None and not path[1].startswith("/"))

    def told(self, root: Path) -> str:
        """The call without what differs from run to run."""
        call = self.text.replace(f"{root}/", "").replace(str(root), ".")
        if call.startswith(("write", "pwrite")):
            call = re.sub(r'"(?:[^"\\]|\\.)*"(\.\.\.)?', "…", call)
        return f"{self.program}: {call[:150]}"


class Traced:
    """A program under strace, with stdout and stderr in the files `out`/stdout and `out`/stderr."""

    def __init__(self, argv: list[str], folder: Path, env: dict[str, str], out: Path) -> None:
        out.mkdir(exist_ok=True)
        self._fifo = out / "strace"
        self._fifo.unlink(missing_ok=True)
        os.mkfifo(self._fifo)
        self._reader = os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK)
        options = ["-f", "-qq", "-y", "-s", "60", "-o", str(self._fifo)]
        options += _inject(",".join(CHANGING), "signal=SIGSTOP")
        self.root = 0
        self.names: dict[int, str] = {}
        with (out / "stdout").open("wb") as stdout, (out / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                ["strace", *options, *argv], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                start_new_session=True,
            )  # fmt: skip

    def stops(self) -> Iterator[Stop]:
        """Each stop in turn; the process goes on when the next one is asked for. All end if it never is."""
        lines = self._lines()
        try:
            yield from self._told(lines)
        except BaseException:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise
        finally:
            lines.close()
            self._process.wait(PATIENCE)

    def _told(self, lines: Iterator[str]) -> Iterator[Stop]:
        calls: dict[int, str] = {}
        halves: dict[int, str] = {}
        for line in lines:
            number, _, text = line.partition(" ")
            pid, text = int(number), text.lstrip()
            self.root = self.root or pid
            if text.startswith("--- stopped by SIGSTOP"):
                yield Stop(pid, self.names.get(pid, "a new process"), calls.get(pid, "?"))
                _send(pid, signal.SIGCONT)
            elif text.endswith("<unfinished ...>"):
                halves[pid] = text.removesuffix("<unfinished ...>")
            elif not text.startswith(("---", "+++")):
                resumed = re.match(r"<\.\.\. \w+ resumed>", text)
                calls[pid] = halves.pop(pid, "") + text[resumed.end() :] if resumed else text
                if calls[pid].startswith("execve(") and calls[pid].endswith(" = 0"):
                    self.names[pid] = _program(calls[pid])

    def _lines(self) -> Generator[str]:
        rest = b""
        try:
            while True:
                assert select.select([self._reader], [], [], PATIENCE)[0], f"hangs after {rest!r}"
                block = os.read(self._reader, 65536)
                if not block:
                    return
                *whole, rest = (rest + block).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in whole)
        finally:
            os.close(self._reader)

    def kill(self, *pids: int) -> None:
        """SIGKILL, in this order: those that wait first, the one that stands still last, so that none goes on."""
        while _stat(self._process.pid)[:1] in (["R"], ["D"]):
            os.sched_yield()  # strace has told of the stop and is about to wait: it must find the process until then
        for pid in pids:
            _send(pid, signal.SIGKILL)

    def below(self, pid: int) -> list[int]:
        """The living children of a process, theirs after them, and so on."""
        found = [child for child in self.names if _stat(child)[1:2] == [str(pid)]]
        return found + [further for child in found for further in self.below(child)]

    def end(self) -> int:
        """How the program ended, once it has: the exit code, as a shell tells it."""
        code = self._process.wait(PATIENCE)
        return 128 - code if code < 0 else code


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _stat(pid: int) -> list[str]:
    """The state of a process, its parent, and more; nothing when it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def _program(text: str) -> str:
    """`git update-index`, `pre-commit hook`, `mlos-sync`: a name for what an execve started."""
    words = _WORD.findall(text.partition("[")[2])
    if "mlos_sync.hooks.main" in words:
        return f"{words[words.index('mlos_sync.hooks.main') + 1]} hook"
    if words[0].rpartition("/")[2] == "git":
        plain = [word for before, word in itertools.pairwise(words) if word != "-c" and before != "-c"]
        return f"git {plain[0] if plain else ''}".rstrip()
    return "mlos-sync" if "mlos_sync" in words else str(words[0].rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class Failed:
    """How a program ended in which calls failed, and the calls that did."""

    code: int
    out: str
    err: str
    calls: tuple[str, ...]


def failing(
    argv: list[str], folder: Path, env: dict[str, str], out: Path, fault: str, *paths: Path, follow: bool
) -> Failed:
    """Run a program in which a call fails (`fsync:error=EIO:when=2`), only on some paths if any are named; with `follow`
    in each of its processes, else in its own first thread."""
    log = out / "strace.log"
    out.mkdir(exist_ok=True)
    options = ["-f", "--seccomp-bpf"] if follow else []
    options += ["-qqq", "-y", "-s", "60", "-o", str(log), "-e", "signal=none", *(f"-P{path}" for path in paths)]
    done = subprocess.run(
        ["strace", *options, *_inject(*fault.split(":", 1)), *argv],
        cwd=folder, env=env, input="", capture_output=True, encoding="utf-8", errors="replace", timeout=PATIENCE,
    )  # fmt: skip
    return Failed(done.returncode, done.stdout, done.stderr, _injected(log))


def _injected(log: Path) -> tuple[str, ...]:
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    return tuple(line for line in text.split("\n") if line.endswith("(INJECTED)"))


def failing_git(argv: list[str], folder: Path, env: dict[str, str], out: Path, fault: str, command: str) -> Failed:
    """Run a program that finds a git in which a call fails, when it is this command of git."""
    git, log = shutil.which("git", path=env["PATH"]), out / "strace.log"
    shim = out / "bin/git"
    shim.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    traced = shlex.join(["strace", "-qq", "-y", "-o", str(log), *_inject(*fault.split(":", 1)), str(git)])
    text = f'#!/bin/sh\ncase " $* " in *" {command} "*) exec {traced} "$@";; *) exec {git} "$@";; esac\n'
    shim.write_text(text, "utf-8")
    shim.chmod(0o755)
    done = subprocess.run(
        argv, cwd=folder, env={**env, "PATH": f"{shim.parent}:{env['PATH']}"}, input="", capture_output=True,
        encoding="utf-8", errors="replace", timeout=PATIENCE,
    )  # fmt: skip
    return Failed(done.returncode, done.stdout, done.stderr, _injected(log))
