"""How fast transcripts are read, what the readers find in a folder of real ones, and how much of a repository they
explain.

    python benchmarks/transcripts.py speed                   # MB/s of each reader, memory, 250 transcripts from nothing
    python benchmarks/transcripts.py speed --corpus DIR      # the same on real files, repeated
    python benchmarks/transcripts.py table DIR               # a folder of real transcripts, by format and generation
    python benchmarks/transcripts.py explain REPOSITORY...   # plain clones: artifacts and commits by evidence

Figures are medians of rounds in which what is compared takes turns.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mlos_sync.core import transcripts
from mlos_sync.core.transcripts.model import Claim, Transcript, gather

ROUNDS = 5
WRITES = ("create", "write", "edit", "patch", "move")
WHOLE = ("create", "write")


def main() -> None:
    """Do what was asked, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    speed = commands.add_parser("speed")
    speed.add_argument("--corpus", type=Path)
    commands.add_parser("table").add_argument("folder", type=Path)
    commands.add_parser("explain").add_argument("repositories", type=Path, nargs="+")
    given = parser.parse_args()
    if given.command == "speed":
        measure(given.corpus)
    elif given.command == "table":
        tabulate(given.folder)
    else:
        for repository in given.repositories:
            explain(repository)


# --- speed


def measure(corpus: Path | None) -> None:
    """MB/s by reader, memory of a long log, and a whole index from nothing."""
    random.seed(1)
    markdown, log = _real(corpus) if corpus else (_markdown(0, 20 << 20), _log(0, 40 << 20))
    for name, data in (("markdown", markdown), ("JSON lines", log)):
        lines = data.splitlines(keepends=True)
        reader = transcripts.recognise(data[: transcripts.HEAD_BYTES])
        rates = [
            len(data) / 1e6 / _seconds(lambda lines=lines, reader=reader: _drain(lines, reader)) for _ in range(ROUNDS)
        ]
        print(
            f"{name}: {statistics.median(rates):.0f} MB/s ({min(rates):.0f}-{max(rates):.0f}), {reader}, {len(data) >> 20} MB"
        )
    with tempfile.TemporaryDirectory(prefix="mlos-bench-") as folder:
        _memory(Path(folder), log)
        _from_nothing(Path(folder))


def _drain(lines: Iterable[bytes], reader: str) -> None:
    for _ in transcripts.read(lines, "bench", reader):
        pass


def _seconds(do: Any) -> float:
    start = time.process_time()
    do()
    return time.process_time() - start


def _real(corpus: Path) -> tuple[bytes, bytes]:
    """The largest real pages and logs, one behind the other."""
    pages = sorted((corpus / "specstory").rglob("*.md"), key=lambda path: path.stat().st_size)[-8:]
    logs = sorted((corpus / "claude").rglob("*.jsonl"), key=lambda path: path.stat().st_size)[-8:]
    return b"\n".join(path.read_bytes() for path in pages), b"".join(path.read_bytes() for path in logs) * 8


def _memory(folder: Path, log: bytes) -> None:
    """What the process that reads needs at its peak for a small log and for one of 200 MB (from /proc, so on Linux)."""
    script = (
        "import sys, os\nfrom mlos_sync.edge.transcript_worker import read\n"
        "read(os.open('/', os.O_RDONLY), os.fsencode(sys.argv[1]), 'x', 'sha1')\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    figures = {}
    for size in (4 << 20, 200 << 20):
        path = folder / f"{size}.jsonl"
        with path.open("wb") as file:
            while file.tell() < size:
                file.write(log[: 4 << 20].rpartition(b"\n")[0] + b"\n")
        done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
        figures[size >> 20] = int(done.stdout) // 1024
        path.unlink()
    print("memory: " + ", ".join(f"{mb} MB for a log of {size} MB" for size, mb in figures.items()))


def _from_nothing(folder: Path) -> None:
    """A rebuild with 250 transcripts (60 MB), and one of the same files without, in turns; a sync that finds nothing new."""
    bare, full = _workspace(folder / "bare"), _workspace(folder / "full")
    for n in range(250):
        page = full / f".specstory/history/2026-02-16_13-{n // 60:02}-{n % 60:02}Z.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_bytes(_markdown(n, 60_000_000 // 250))
    times: dict[str, list[float]] = defaultdict(list)
    for repo in (bare, full):
        subprocess.run("git add -A && git commit -qm all", shell=True, cwd=repo, check=True)
    for _ in range(ROUNDS):
        times["full"].append(_program(full, "rebuild"))
        times["bare"].append(_program(bare, "rebuild"))
        times["idle"].append(_program(full, "sync"))
    more = statistics.median(a - b for a, b in zip(times["full"], times["bare"], strict=True))
    print(
        f"250 transcripts, 60 MB, from nothing: +{more:.2f} s (rebuild {statistics.median(times['full']):.2f} s against"
        f" {statistics.median(times['bare']):.2f} s without); nothing new: {statistics.median(times['idle']):.2f} s"
    )


def _workspace(repo: Path) -> Path:
    """A workspace of 400 files."""
    repo.mkdir()
    for command in (["git", "init", "-q"], ["git", "config", "user.name", "x"], ["git", "config", "user.email", "x@x"]):
        subprocess.run(command, cwd=repo, check=True)
    for n in range(400):
        target = repo / f"src/pkg{n % 20}/file{n}.py"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"content {n}\n" * 40)
    _program(repo, "init")
    return repo


def _program(repo: Path, *arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-m", "mlos_sync", *arguments], cwd=repo, capture_output=True, check=True)
    return time.perf_counter() - start


def _words(count: int) -> str:
    return " ".join(
        random.choices(("reader", "the", "of", "session", "file", "git", "why", "`x`", "and", "\n"), k=count)
    )


def _markdown(number: int, size: int) -> bytes:
    """A page of SpecStory's CLI with writes, edits, reads and commands."""
    at = "2026-02-16 13:04:52Z"
    parts = [
        f"<!-- Generated by SpecStory, Markdown v2.1.0 -->\n\n# {at}\n\n<!-- Claude Code Session s-{number:04} ({at}) -->\n"
    ]
    while sum(map(len, parts)) < size:
        n = random.randrange(400)
        path = f"/Users/x/p/src/pkg{n % 20}/file{n}.py"
        body = {
            "Write": f"\n```\n{_words(300)}\n```\n\n```text\nFile created successfully at: {path}\n```\n",
            "Edit": f"\n```text\nThe file {path} has been updated successfully.\n```\n",
            "Read": f" `{path}`\n\n```text\n{_words(2000)}\n```\n",
            "Bash": f"\n`go test ./...`\n\n```text\n{_words(900)}\n```\n",
        }
        for name, text in body.items():
            kind = {"Write": "write", "Edit": "write", "Read": "read", "Bash": "shell"}[name]
            parts.append(
                f'\n---\n\n_**Agent (claude-opus-4-6 {at})**_\n\n{_words(60)}\n\n<tool-use data-tool-type="{kind}"'
                f' data-tool-name="{name}"><details>\n<summary>Tool use: **{name}**</summary>\n{text}\n</details></tool-use>\n'
            )
    return "".join(parts).encode()


def _log(number: int, size: int) -> bytes:
    """A log of Claude Code with edits, reads, progress and what was said."""
    about = {
        "sessionId": f"s-{number}",
        "cwd": "/Users/x/p",
        "version": "2.1.7",
        "gitBranch": "main",
        "isSidechain": False,
    }
    lines: list[str] = []
    total = 0
    while total < size:
        n = random.randrange(400)
        path, before = f"/Users/x/p/src/pkg{n % 20}/file{n}.py", _words(1500) + "old"
        use = {"type": "tool_use", "id": f"t{len(lines)}", "name": "Edit", "input": {"file_path": path}}
        answer = {"type": "tool_result", "tool_use_id": use["id"], "content": "ok"}
        details = {
            "filePath": path,
            "oldString": "old",
            "newString": "new",
            "originalFile": before,
            "structuredPatch": [],
        }
        said = {"role": "assistant", "model": "claude-opus-4-5", "content": [{"type": "text", "text": _words(500)}]}
        entries: list[dict[str, Any]] = [
            {"type": "assistant", "message": said},
            {"type": "progress", "data": {"type": "bash_progress", "output": _words(1200)}},
            {"type": "assistant", "message": {**said, "content": [use]}},
            {"type": "user", "message": {"role": "user", "content": [answer]}, "toolUseResult": details},
        ]
        for entry in entries:
            line = (
                json.dumps({**about, **entry, "uuid": f"u{len(lines)}", "timestamp": "2026-02-16T13:04:52.000Z"}) + "\n"
            )
            lines.append(line)
            total += len(line)
    return "".join(lines).encode()


# --- what is found


def tabulate(folder: Path) -> None:
    """One line a format and tool: files, sessions, claims, failures, problems, paths and contents of what was written."""
    rows: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    sessions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path, found in _read_all(folder):
        for key in {(one.format, one.tool) for one in found.sessions} or {("no session", "")}:
            mine = {one.session_id for one in found.sessions if (one.format, one.tool) == key}
            sessions[key] |= mine
            row = rows[key]
            row["files"] += 1
            row["problems"] += len(found.problems)
            row["commits"] += sum(1 for one in found.commits if one.session_id in mine)
            row.update(_counted(claim for claim in found.claims if claim.session_id in mine))
        del path
    names = ("writes", "failed", "reads", "whole", "shown", "changes", "commits", "problems")
    print("| format | tool | files | sessions | " + " | ".join(names) + " |")
    print("|---" * (4 + len(names)) + "|")
    for (form, tool), row in sorted(rows.items()):
        figures = " | ".join(str(row[name]) for name in names)
        print(f"| {form} | {tool} | {row['files']} | {len(sessions[form, tool])} | {figures} |")


def _read_all(folder: Path) -> Iterator[tuple[Path, Transcript]]:
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        reader = transcripts.recognise(data[: transcripts.HEAD_BYTES]) if data else None
        if reader is not None:
            yield path, gather(transcripts.read(data.splitlines(keepends=True), path.name, reader))


def _counted(claims: Iterable[Claim]) -> Counter[str]:
    """Successful writes, failed ones, reads; of the successful the whole-file ones, and those that show content or change."""
    found: Counter[str] = Counter()
    for claim in claims:
        if claim.operation == "read":
            found["reads"] += 1
        elif not claim.succeeded:
            found["failed"] += 1
        else:
            found["writes"] += claim.operation in WRITES
            found["whole"] += claim.operation in WHOLE
            found["shown"] += bool(claim.contents)
            found["changes"] += bool(claim.replacements)
    return found


# --- what is explained


def explain(repository: Path) -> None:
    """A plain clone made anew: seconds, sessions, artifacts by evidence, whole-file writes that were proved."""
    with tempfile.TemporaryDirectory(prefix="mlos-bench-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", repository, clone], check=True)
        _program(clone, "init")
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-I", "-m", "mlos_sync", "rebuild"], cwd=clone, capture_output=True, check=False
        )
        seconds = time.perf_counter() - start
        out = subprocess.run(
            [sys.executable, "-I", "-m", "mlos_sync", "transcripts", "--json"],
            cwd=clone,
            capture_output=True,
            check=True,
        ).stdout
        found = json.loads(out)
        months = found["health"]["coverage"]
        size = sum(path.stat().st_size for one in found["sessions"] for path in _here(clone, one["files"]))
        print(
            f"{repository}: {seconds:.1f} s, {len(found['sessions'])} sessions in {size / 1e6:.0f} MB of files,"
            f" {sum(one['claims'] for one in found['sessions'])} claims; artifacts: {found['health']['evidence']};"
            f" commits with a session: {sum(m['commits_with_session'] for m in months)} of {sum(m['commits'] for m in months)};"
            f" whole-file writes: {_proved(clone)}"
        )


def _here(clone: Path, files: list[str]) -> list[Path]:
    return [clone / name for name in files if (clone / name).is_file()]


def _proved(clone: Path) -> str:
    """Of the successful whole-file writes to files of the workspace, each file of each session once: how many are proved."""
    import sqlite3

    with sqlite3.connect(clone / ".git/mlos/index.db") as db:
        placed, proved = db.execute(
            "SELECT count(*), sum(ok) FROM (SELECT max(EXISTS (SELECT 1 FROM commit_changes k WHERE k.path = c.path AND"
            " k.blob IS NOT NULL AND instr(c.blobs, k.blob))) AS ok FROM claims c JOIN session_files f ON f.transcript ="
            " c.transcript AND f.session_id = c.session_id AND f.part = c.part WHERE f.speaks = 1 AND c.succeeded = 1 AND"
            " c.operation IN ('create', 'write') AND c.path IN (SELECT path FROM commit_changes)"
            " GROUP BY c.session_id, c.path)"
        ).fetchone()
    return f"{proved or 0} of {placed} proved"


if __name__ == "__main__":
    main()
