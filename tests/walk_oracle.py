"""What a random walk over clones is judged by: an oracle of the journal that shares no code with the program.

It reads segments from git and the work tree, the pending log from the git directory, and decides by the rules of the
design what counts where, which value of a field stands, and which lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gitrepo import git

JOURNAL = ".mlos/journal"
Event = dict[str, Any]
Record = tuple[str, str]  # kind, uid
SILENT = {"id", "created_at", "started_at", "updated_at"}  # two values of these are no conflict
ALIVE = "@alive"


class Truth:
    """Events by what holds them. Commits and segments never change, so each is read once."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Event]] = {}  # segment -> its events by id
        self.tree: dict[str, frozenset[str]] = {}  # commit -> segments in its tree
        self.along: dict[str, frozenset[str]] = {}  # commit -> segments in the tree of any commit reachable from it
        self.known: set[str] = set()  # events that any segment holds

    def learn(self, repo: Path, *tips: str) -> None:
        """Read what is new in the history of some commits."""
        if all(tip in self.tree for tip in tips):
            return
        for line in git(
            repo, "--no-replace-objects", "rev-list", "--parents", "--topo-order", "--reverse", *tips
        ).stdout.splitlines():
            commit, *parents = line.split()
            if commit not in self.tree:
                listed = git(repo, "ls-tree", "-r", "-z", "--name-only", commit, "--", f"{JOURNAL}/").stdout
                found = frozenset(path for path in listed.split("\0") if path.endswith(".jsonl"))
                for path in found - self.events.keys():
                    self._read(path, git(repo, "cat-file", "blob", f"{commit}:{path}").stdout)
                self.tree[commit] = found
                self.along[commit] = found.union(*(self.along[parent] for parent in parents))

    def _read(self, path: str, text: str) -> None:
        self.events[path] = {event["id"]: event for event in map(json.loads, text.split("\n")[1:-1])}
        self.known |= self.events[path].keys()

    def of(self, segments: Iterable[str]) -> dict[str, Event]:
        """The events of some segments."""
        return {name: event for path in segments for name, event in self.events[path].items()}

    def committed(self, repo: Path, commit: str) -> dict[str, Event]:
        """The events in a commit's tree."""
        self.learn(repo, commit)
        return self.of(self.tree[commit])

    def referred(self, repo: Path) -> dict[str, Event]:
        """The events in what branches, tags and remote refs name."""
        shown = "--format=%(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)"
        tips = sorted(set(git(repo, "for-each-ref", shown, "refs/heads", "refs/tags", "refs/remotes").stdout.split()))
        self.learn(repo, *tips)
        return self.of(frozenset().union(*(self.tree[tip] for tip in tips)))

    def visible(self, repo: Path) -> dict[str, Event]:
        """What counts in a work tree: history of HEAD, segments on disk, and what this clone made and no ref holds."""
        tip = git(repo, "rev-parse", "HEAD").stdout.strip()
        self.learn(repo, tip)
        found = self.of(self.along[tip])
        for file in sorted((repo / JOURNAL).glob("*/*/*.jsonl")):
            path = file.relative_to(repo).as_posix()
            if path not in self.events:
                self._read(path, file.read_text("utf-8"))
            found |= self.events[path]
        held = self.referred(repo)
        return found | {name: event for name, event in pending_log(repo).items() if name not in held}


def folders(repo: Path) -> tuple[Path, Path]:
    """Where the program keeps its index of a work tree, and what all work trees of the clone share."""
    git_dir = repo / ".git"
    if git_dir.is_dir():
        return git_dir / "mlos", git_dir / "mlos"
    linked = Path(git_dir.read_text("utf-8").removeprefix("gitdir: ").rstrip("\n"))
    return linked / "mlos", linked.parent.parent / "mlos"


def pending_log(repo: Path) -> dict[str, Event]:
    """Every event made in a clone, oldest first."""
    path = folders(repo)[1] / "ledger.jsonl"
    lines = path.read_text("utf-8").split("\n") if path.exists() else []
    return {event["id"]: event for event in map(json.loads, filter(None, lines))}


def record_of(event: Event) -> Record:
    """What an event is about."""
    return event["kind"], event["uid"]


def by_record(events: dict[str, Event]) -> dict[Record, dict[str, Event]]:
    """Events sorted by what they are about."""
    found: dict[Record, dict[str, Event]] = {}
    for name, event in events.items():
        found.setdefault(record_of(event), {})[name] = event
    return found


def ancestors(event: Event, known: dict[str, Event]) -> set[str]:
    """All that an event's author had seen of its record, by following `seen`; what is not known is a leaf."""
    found: set[str] = set()
    waiting = list(event["seen"])
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += known[one]["seen"] if one in known else []
    return found


def assigned(event: Event) -> Iterator[tuple[str, Any]]:
    """(field, value) that an event sets; each element of an array is a field."""
    if event["op"] in ("create", "recreate", "delete"):
        yield ALIVE, event["op"] != "delete"
    if event["op"] == "delete":
        return
    for name, value in event["fields"].items():
        if isinstance(value, dict):
            yield from ((f"{name}/{one}", False) for one in set(value.get("remove", ())) - set(value.get("add", ())))
            yield from ((f"{name}/{one}", True) for one in value.get("add", ()))
        else:
            yield name, value


def clocks(events: dict[str, Event]) -> dict[str, tuple[int, int]]:
    """Each event's clock, raised above all it has seen."""
    done: dict[str, tuple[int, int]] = {}

    def clock(name: str) -> tuple[int, int]:
        if name not in done:
            ms, count = max((clock(one) for one in events[name]["seen"] if one in events), default=(-1, 0))
            done[name] = max(tuple(events[name]["clock"]), (ms, count + 1))
        return done[name]

    return {name: clock(name) for name in events}


def judged(events: dict[str, Event]) -> tuple[dict[str, Any], set[tuple[str, str]]]:
    """(field -> value that stands, {(field, event that lost it)}) of one record's events."""
    seen = {name: ancestors(event, events) & events.keys() for name, event in events.items()}
    order = clocks(events)
    setters: dict[str, dict[str, Any]] = {}
    for name, event in events.items():
        for field, value in assigned(event):
            setters.setdefault(field, {})[name] = value
    standing, losses = {}, set()
    for field, found in setters.items():
        last = max(found, key=lambda name: (order[name], name))
        standing[field] = found[last]
        undecided = found.keys() - set().union(*(seen[name] for name in found))
        losses |= {(field, name) for name in undecided if found[name] != found[last] and field not in SILENT}
    for name, event in events.items():
        if event["op"] == "delete" and not any(name in others for others in seen.values()):
            edits = {other for other in events if events[other]["op"] == "update" and other not in seen[name]}
            losses |= {(ALIVE, other) for other in edits}
    return standing, losses


def tables_of(text: str) -> dict[str, list[dict[str, Any]]]:
    """A canonical dump taken apart: table -> rows."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in text.split("\n"):
        if line.startswith("# "):
            table = found.setdefault(line[2:], [])
        elif line:
            table.append(json.loads(line))
    return found
