"""A workspace worth damaging, and what must hold however it was damaged.

repo = a_workspace(tmp_path)                        # a copy; the first call in a process builds the original
segment(repo)                                       # the path of a committed segment of four events
DAMAGE["flipped"].apply(data)                       # what git, an editor, a disk or a person may do to a file
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cli import add, change, dump, git_dir, head, link, need, run, save, segments, synced, workspace, write
from copies import copied
from gitrepo import env_of, git

from mlos_sync.app import setup
from mlos_sync.core import journal
from mlos_sync.edge.workspace import find

NO_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")


def a_workspace(tmp_path: Path) -> Path:
    """A copy of a synced workspace: three commits with a segment each, and two events that are pending."""
    return copied(_build, tmp_path) / "repo"


def _build(place: Path) -> Path:
    repo = workspace(place)
    for name in ("First", "Second", "Third"):
        row = need(repo, name)
        if name != "Third":
            task = add(repo, "task", description=f"{name} task", need_id=row["uid"])
        if name == "Second":
            link(repo, f"task:{task['id']}", "blocks", "task:1")
            change(repo, "need", row["uid"], priority=2)
        write(repo, "note.md", f"{name}\n")
        save(repo, name)
    pending = need(repo, "Pending")
    change(repo, "need", pending["uid"], priority=5)
    synced(repo)
    return repo


def segment(repo: Path) -> str:
    """The committed segment that has four events, on lines 2 to 5: need, task, edge, change of the need."""
    (path,) = (path for path, data in segments(repo).items() if b'"Second"' in data)
    return path


def forge(line: bytes, **fields: object) -> bytes:
    """A line with other fields whose checksum fits."""
    body = json.loads(line)
    del body["sum"]
    body["fields"] |= fields
    return journal.canonical(body | {"sum": journal.checksum(journal.canonical(body))}).encode()


@dataclass(frozen=True)
class Damage:
    """What is done to a segment's lines, the line numbers that may be named for it, and the lines (as they were
    numbered) whose events are still good. `lines` is empty where nothing in the file itself tells a place."""

    alter: Callable[[list[bytes]], list[bytes]]
    lines: frozenset[int]
    good: frozenset[int]
    end: bytes = b"\n"

    def apply(self, data: bytes) -> bytes:
        """The damaged bytes."""
        return b"".join(line + self.end for line in self.alter(data.split(b"\n")[:-1])).removesuffix(_NO_END)


_NO_END = b"\0no end\n"
_ALL = frozenset({2, 3, 4, 5})


def _damage(alter: Callable[[list[bytes]], list[bytes]], lines: set[int], lost: set[int], end: bytes = b"\n") -> Damage:
    return Damage(alter, frozenset(lines), _ALL - lost, end)


def _change(number: int, old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    def alter(lines: list[bytes]) -> list[bytes]:
        assert old in lines[number - 1], "the damage hits nothing"
        return [*lines[: number - 1], lines[number - 1].replace(old, new), *lines[number:]]

    return alter


DAMAGE: dict[str, Damage] = {
    "cut": _damage(lambda one: [*one[:3], one[3][:40] + _NO_END[:-1]], {4}, {4, 5}),
    "line lost": _damage(lambda one: one[:4], set(), {5}),
    "empty": _damage(lambda one: [], {1}, {2, 3, 4, 5}),
    "flipped": _damage(_change(3, b"Second task", b"Sekond task"), {3}, {3}),
    "header": _damage(_change(1, b'"mlos"', b'"mlot"'), {1}, set()),
    "markers": _damage(
        lambda one: [*one[:2], b"<<<<<<< HEAD", one[2], b"=======", one[2], b">>>>>>> side", *one[3:]], {3}, set()
    ),
    "CRLF": _damage(lambda one: one, {1, 2}, {2, 3, 4, 5}, b"\r\n"),
    "BOM": _damage(lambda one: [b"\xef\xbb\xbf" + one[0], *one[1:]], {1}, set()),
    "twice": _damage(lambda one: [*one[:3], one[2], *one[3:]], {4}, set()),
    "reordered": _damage(lambda one: [*one[:2], one[3], one[2], one[4]], {3, 4}, set()),
    "NUL tail": _damage(lambda one: [*one, b"\0" * 512 + _NO_END[:-1]], {6}, set()),
    "NUL block": _damage(lambda one: [*one[:2], b"\0" * len(one[2]), *one[3:]], {3}, {3}),
    "deep": _damage(lambda one: [*one[:3], b"[" * 100_000, *one[3:]], {4}, set()),
    "deep and closed": _damage(lambda one: [*one[:3], b'{"a":' * 100_000 + b"1" + b"}" * 100_000, *one[3:]], {4}, set()),
    "NaN": _damage(_change(5, b'"priority":2', b'"priority":NaN'), {5}, {5}),
    "10 MB title": _damage(_change(2, b'"Second"', b'"' + b"S" * 10_000_000 + b'"'), {2}, {2}),
    "forged": _damage(lambda one: [one[0], forge(one[1], title="zzz forged"), *one[2:]], set(), {2}),
}  # fmt: skip


def commit_damage(repo: Path, path: str, data: bytes) -> None:
    """A commit that holds a damaged segment, past all hooks, checked out."""
    scratch = repo.parent / "damaged.blob"
    scratch.write_bytes(data)
    blob = git(repo, "hash-object", "-w", "--no-filters", str(scratch)).stdout.strip()
    git(repo, "update-index", "--cacheinfo", f"100644,{blob},{path}")
    tree = git(repo, "write-tree").stdout.strip()
    git(repo, "reset", "-q", "--hard", git(repo, "commit-tree", tree, "-p", head(repo), "-m", "damage").stdout.strip())


def told(repo: Path) -> dict[str, str]:
    """What `sync` could not take in whole: path -> reason."""
    return synced(repo).skipped


def told_by_command(repo: Path) -> dict[str, str]:
    """The same from the command line, started in any folder; its exit code says whether there is anything."""
    done = run(repo, "sync", "--json", ok=False)
    found = {one["path"]: one["reason"] for one in done.json["skipped"]}
    assert done.code == (1 if found else 0), done
    return found


def strange_clone(repo: Path, back: int) -> Path:
    """A clone that has never had the last `back` commits, of any ref, and an index of the rest."""
    git(repo.parent, "clone", "-q", str(repo), "copy")
    copy = repo.parent / "copy"
    git(copy, "reset", "-q", "--hard", f"HEAD~{back}")
    git(copy, "remote", "remove", "origin")
    setup.initialise(str(copy))
    return copy


def lines_named(reason: str) -> set[int]:
    """The line numbers in a message."""
    return {int(number) for number in re.findall(r"\bline (\d+)", reason)}


def command_in(reason: str) -> str:
    """The git command in a message that restores something."""
    found = re.search(r"git (?:-C \S+ )?(?:restore|checkout)\b[^;\n]*", reason)
    assert found, f"no git command that restores: {reason}"
    return found[0]


def typed(folder: Path, command: str, repo: Path) -> subprocess.CompletedProcess[str]:
    """A command as somebody types it into a shell."""
    return subprocess.run(["sh", "-c", command], cwd=folder, env=env_of(repo), capture_output=True, text=True)


def kept(repo: Path) -> dict[str, list[str]]:
    """The records and their events as the canonical dump tells them, table by table."""
    tables = {part.partition("\n")[0]: part.split("\n")[1:-1] for part in dump(repo).split("# ")[1:]}
    return {name: tables[name] for name in ("needs", "tasks", "agents", "relationships", "events", "held", "conflicts")}


def snapshot(repo: Path) -> dict[str, object]:
    """Every byte under `.mlos`, the pending log, git's index, refs and status."""
    found: dict[str, object] = {}
    for place in [*sorted((repo / ".mlos").rglob("*")), git_dir(repo) / "mlos" / "ledger.jsonl"]:
        name = str(place)
        if place.is_symlink():
            found[name] = os.readlink(place)
        elif place.is_file():
            readable = os.access(place, os.R_OK)
            found[name] = place.read_bytes() if readable else "unreadable"
        elif place.exists():
            found[name] = place.stat().st_mode
    for command in (["status", "--porcelain", "-uall"], ["ls-files", "-s"], ["show-ref", "--head"]):
        found[command[0]] = git(repo, *command).stdout
    return found


def rebuilt(repo: Path) -> None:
    """A rebuild, whatever is damaged."""
    setup.rebuild(find(str(repo)))
