"""The program as its users start it, and its use cases in this process where a test needs many of them.

    run(repo, "need", "add", "Know why", "--json").json["uid"]     # a subprocess; fails unless it ends with 0
    run(repo, "need", "show", "9", ok=False).code                  # 2
    need(repo, "Know why"); titles(repo); dump(repo)               # in this process: tens of milliseconds less each

Nothing here reads the index behind the program's back but `ledger`, `segments` and `sql`, which say so.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copies import copied
from gitrepo import QUIET, env_of, git, make_repo
from spawner import spawner

from mlos_sync.app import conflicting, dumping, freshness, publishing, records, setup, sync
from mlos_sync.app.opening import Index, open_index, try_open
from mlos_sync.edge.workspace import find

PROCESS = ("/usr/bin/env",)  # in a process of its own
PATIENCE = 60  # seconds after which a command counts as hanging


@dataclass(frozen=True)
class Result:
    """What a command ended with and said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout, and nothing beside it."""
        assert self.out.count("\n") == 1 and self.out.endswith("\n"), f"not one line: {self.out!r} {self.err!r}"
        return json.loads(self.out)


def run(
    repo: Path | str,
    *args: str | bytes,
    ok: bool = True,
    stdin: str | None = None,
    env: dict[str, str] | None = None,
    before: tuple[str, ...] = (),
) -> Result:
    """Run `mlos-sync ARGS` in a folder. No end is ever a traceback; `ok` wants exit code 0.

    `before` is a program to start it through, such as setpriv (PROCESS for none). Without one, without input and with the
    same PATH the program runs in a copy of a process that has loaded it (`quick`): starting Python for each command took a
    third of the time of all tests. A copy closes nothing at its end. The program as its users start it is what the documentation's
    commands, the crash tests and the wheel are tested with.
    """
    if stdin is None and not before and "PATH" not in (env or {}) and all(isinstance(one, str) for one in args):
        return quick(repo, *(str(one) for one in args), ok=ok, env=env)
    done = subprocess.run(
        [*before, sys.executable, "-I", "-m", "mlos_sync", *args],
        cwd=repo, env={**os.environ, **(env or {})}, input=stdin or "", capture_output=True, timeout=PATIENCE,
        encoding="utf-8", errors="surrogateescape",
    )  # fmt: skip
    result = Result(done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in result.err and "this is a bug" not in result.err, f"{args!r}: {result.err}"
    assert not ok or result.code == 0, f"{args!r} -> {result.code}\n{result.out}{result.err}"
    return result


def quick(repo: Path | str, *args: str, ok: bool = True, env: dict[str, str] | None = None) -> Result:
    """`run` in a copy of a process that has loaded the program: without a new interpreter that does (0.3 s each)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code = spawner.run(os.fspath(repo), args, {**os.environ, **(env or {})}, out.fileno(), err.fileno())
        texts = [(file.seek(0), file.read().decode("utf-8", "surrogateescape"))[1] for file in (out, err)]
    result = Result(code, *texts)
    assert "Traceback" not in result.err and "this is a bug" not in result.err, f"{args!r}: {result.err}"
    assert not ok or result.code == 0, f"{args!r} -> {result.code}\n{result.out}{result.err}"
    return result


def workspace(tmp_path: Path, *options: str) -> Path:
    """A workspace with hooks, its files committed, on branch main. `options` go to `git init`. All that a process gets are
    copies of one."""
    return copied(another_workspace, tmp_path, *options) / "repo"


def another_workspace(tmp_path: Path, *options: str) -> Path:
    """The same, made here and now: with an id that no other has."""
    repo = make_repo(tmp_path, *options)
    setup.initialise(str(repo))
    save(repo, "the workspace")
    return repo


def with_one_need(tmp_path: Path, title: str) -> Path:
    """A workspace whose main branch has a note and one need, and nothing pending."""
    return copied(_with_one_need, tmp_path, title) / "repo"


def _with_one_need(tmp_path: Path, title: str) -> Path:
    repo = workspace(tmp_path)
    write(repo, "note.md", "one\n")
    need(repo, title)
    save(repo, "main")
    return repo


def with_one_task(tmp_path: Path) -> Path:
    """A workspace whose main branch has a file and one task, and nothing pending."""
    return copied(_with_one_task, tmp_path) / "repo"


def _with_one_task(tmp_path: Path) -> Path:
    repo = workspace(tmp_path)
    write(repo, "a.txt", "one\n")
    add(repo, "task", description="first")
    save(repo, "records")
    return repo


def with_two_files(tmp_path: Path) -> Path:
    """A workspace with a program and a page, committed: enough for the paths of a transcript to say where it was."""
    return copied(_with_two_files, tmp_path) / "repo"


def _with_two_files(tmp_path: Path) -> Path:
    repo = workspace(tmp_path)
    write(repo, "src/app/main.py", "one\n")
    write(repo, "docs/guide.md", "guide\n")
    save(repo, "files")
    return repo


def clone(origin: Path, name: str) -> Path:
    """A clone beside it, with index and hooks."""
    git(origin.parent, "clone", "-q", str(origin), name)
    repo = origin.parent / name
    git(repo, "config", *QUIET)
    setup.initialise(str(repo))
    return repo


def write(repo: Path, path: str, text: str | bytes) -> Path:
    """A file in a work tree, with the folders it needs."""
    target = repo / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(text.encode() if isinstance(text, str) else text)
    return target


def save(repo: Path, message: str, *options: str) -> str:
    """`git add -A` and `git commit`, hooks and all; the commit's name."""
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--allow-empty", "-m", message, *options)
    return head(repo)


def head(repo: Path, revision: str = "HEAD") -> str:
    """The name of a commit."""
    return git(repo, "rev-parse", revision).stdout.strip()


def changed(repo: Path) -> list[str]:
    """What `git status` shows: nothing when all is as committed."""
    return git(repo, "status", "--porcelain", "--untracked-files=all").stdout.splitlines()


@contextlib.contextmanager
def opened(repo: Path) -> Iterator[Index]:
    """The index as a command opens it: made when it is missing."""
    workspace = find(str(repo))
    index = try_open(workspace)
    if index is None:
        setup.rebuild(workspace)
        index = open_index(str(repo))
    try:
        yield index
    finally:
        index.db.close()


def add(repo: Path, kind: str, **columns: Any) -> dict[str, Any]:
    """A new record; its row."""
    with opened(repo) as index:
        return records.add(index, kind, [columns])[0]


def need(repo: Path, title: str, **columns: Any) -> dict[str, Any]:
    """A new need; its row."""
    return add(repo, "need", title=title, **columns)


def change(repo: Path, kind: str, ref: str, **columns: Any) -> dict[str, Any]:
    """Columns of a record set; its row."""
    with opened(repo) as index:
        return records.change(index, kind, ref, columns)


def delete(repo: Path, kind: str, ref: str) -> None:
    """A record deleted."""
    with opened(repo) as index:
        records.delete(index, kind, ref)


def link(repo: Path, source: str, kind: str, target: str, metadata: str | None = None) -> None:
    """An edge made."""
    with opened(repo) as index:
        records.link(index, source, kind, target, metadata)


def listed(repo: Path, kind: str) -> list[dict[str, Any]]:
    """All rows of a kind, brought up to date first."""
    with opened(repo) as index:
        return records.listed(index, kind, {})


def titles(repo: Path) -> list[str]:
    """The titles of all needs, sorted."""
    return sorted(row["title"] for row in listed(repo, "need"))


def conflicts(repo: Path) -> list[dict[str, Any]]:
    """Concurrent edits of one field."""
    with opened(repo) as index:
        return conflicting.conflicts(index)


def synced(repo: Path, **options: Any) -> sync.Report:
    """`sync`; what it did."""
    with opened(repo) as index:
        return sync.sync(index, **options)


def dump(repo: Path) -> str:
    """The shared state, brought up to date first, as `dump --canonical` prints it."""
    with opened(repo) as index:
        freshness.catch_up(index)
        return dumping.canonical(index.db)


def pending(repo: Path) -> int:
    """How many events `status` calls pending."""
    with opened(repo) as index:
        freshness.catch_up(index)
        return publishing.pending(index)


def published(repo: Path) -> str | None:
    """`publish`; the segment's path."""
    with opened(repo) as index:
        return publishing.publish(index).segment


def assert_rebuild_is_equal(repo: Path) -> None:
    """The index made anew from files, git and journal says what the live one says."""
    synced(repo)
    live = dump(repo)
    for database in sorted(git_dir(repo).glob("mlos/index.db*")):
        database.unlink()
    synced(repo)
    found = dumping.differences(live, dump(repo))
    assert not found, "\n".join(found)


def git_dir(repo: Path) -> Path:
    """The git directory of a work tree."""
    return Path(git(repo, "rev-parse", "--absolute-git-dir").stdout.strip())


def common_dir(repo: Path) -> Path:
    """The git directory that all work trees of a repository share."""
    return Path(git(repo, "rev-parse", "--path-format=absolute", "--git-common-dir").stdout.strip())


def sql(repo: Path, *statements: str, ok: bool = True) -> str:
    """Statements given to the `sqlite3` program, with foreign keys off as it has them."""
    done = subprocess.run(
        ["sqlite3", "-bail", str(git_dir(repo) / "mlos" / "index.db")], input=";\n".join(statements) + ";\n",
        capture_output=True, encoding="utf-8", errors="surrogateescape", timeout=PATIENCE,
    )  # fmt: skip
    assert not ok or done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def ledger(repo: Path) -> set[str]:
    """The ids of all events made in this clone, read from its pending log itself."""
    path = common_dir(repo) / "mlos" / "ledger.jsonl"
    return {json.loads(line)["id"] for line in path.read_bytes().split(b"\n") if line} if path.exists() else set()


def segments(repo: Path, treeish: str = "HEAD") -> dict[str, bytes]:
    """path -> bytes of the segments in a commit, read from git itself."""
    out = git(repo, "ls-tree", "-r", "-z", treeish, "--", ".mlos/journal/").stdout
    entries = (entry.partition("\t") for entry in out.split("\0"))
    blobs = {path: entry.split()[2] for entry, _, path in entries if path.endswith(".jsonl")}
    if not blobs:
        return {}
    given = "".join(f"{blob}\n" for blob in blobs.values()).encode()
    command = ["git", "cat-file", "--batch"]
    rest = subprocess.run(command, cwd=repo, env=env_of(repo), input=given, capture_output=True, check=True).stdout
    found = {}
    for path in blobs:
        said, _, rest = rest.partition(b"\n")
        size = int(said.split()[2])
        found[path], rest = rest[:size], rest[size + 1 :]
    return found


def committed(repo: Path, treeish: str = "HEAD") -> set[str]:
    """The ids of all events that a commit's segments hold."""
    lines = [line for data in segments(repo, treeish).values() for line in data.split(b"\n")[1:] if line]
    return {json.loads(line)["id"] for line in lines}


def assert_nothing_forgotten(repo: Path) -> None:
    """Each event made here is in a segment of HEAD or counted as pending, and not both."""
    waiting = pending(repo)
    missing = ledger(repo) - committed(repo)
    assert waiting == len(missing), f"{len(missing)} events are in no commit of this branch, {waiting} called pending"
