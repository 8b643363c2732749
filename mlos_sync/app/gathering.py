"""The data of compiled views: files and contents as a source offers them, records and edges as the journal tells them.

A view is a pure function of the tree that it is committed with. So this reads the visible events, the rows that they
fold to, and the config; never `git log`, a clock, a date of a file, or a number (a merge may move it). An edge is
taken from its events and not from its row: rows follow renames, which only the history of commits can tell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from mlos_sync.app.annotations import Said, described
from mlos_sync.app.planning import Document, describe
from mlos_sync.core import ids, views
from mlos_sync.core.fold import fold
from mlos_sync.core.journal import Event, trusted
from mlos_sync.core.paths import artifact_type, to_bytes
from mlos_sync.core.times import iso
from mlos_sync.core.vocabulary import RELATIONSHIP_TYPES
from mlos_sync.edge import hash_worker
from mlos_sync.edge.store import Connection
from mlos_sync.edge.workspace import MARKER, Config
from mlos_sync.errors import UsageError

Record = tuple[str, str]  # kind, uid
LINK = "not shown, a symbolic link"


@dataclass(frozen=True, slots=True)
class File:
    """A file that counts: `note` says why its content is not shown, whatever it is."""

    title: str
    description: str
    kind: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """A file's content as far as a view needs it. `folded` is the hash with CRLF as LF."""

    sha256: str
    folded: str
    size: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Source:
    """Where views come from: records, files by path, a reader of contents (None: it cannot be read), and the templates that
    the tree brings along."""

    records: Records
    config: Config
    files: Mapping[str, File]
    read: Callable[[str], Content | None]
    templates: Mapping[str, str | None] = field(default_factory=dict)  # the tree's own, by kind; None: not allowed here
    cache: views.Cache | None = None
    sparse: frozenset[str] = frozenset()  # what a sparse checkout leaves out
    untracked: tuple[str, ...] = ()  # files that are there, but that git does not track: in no view


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge between a need and a file that somebody made; `outward`: from the need. Gone ones are not `alive`."""

    uid: str
    need: str
    path: str
    type: str
    outward: bool
    alive: bool


def digest(pieces: Iterable[bytes]) -> Content:
    """The content that arrives in pieces."""
    plain, folded = hashlib.sha256(), hashlib.sha256()
    size, head, carry = 0, b"", b""
    for piece in pieces:
        plain.update(piece)
        size += len(piece)
        if len(head) <= views.TEXT_LIMIT:
            head += piece[: views.TEXT_LIMIT + 1 - len(head)]
        whole = carry + piece
        carry = b"\r" if whole.endswith(b"\r") else b""
        folded.update(whole[: len(whole) - len(carry)].replace(b"\r\n", b"\n"))
    folded.update(carry)
    return Content(plain.hexdigest(), folded.hexdigest(), size, head)


def file_of(path: str, mode: str, document: Document | None, said: Said) -> File:
    """A file of git's index or of a tree as the index of files would describe it, with what somebody said of it."""
    own = document or Document()
    kind = "transcript" if own.is_transcript else artifact_type(path)
    told = described(path, {"title": own.title, "description": own.description, "artifact_type": kind}, said)
    return File(told["title"], told["description"] or "", told["artifact_type"], note_of(mode))


def note_of(mode: str) -> str:
    """Why a file of a mode of git's is not shown; "" where it is."""
    return LINK if mode == "120000" else ""


def document_of(path: str, head: bytes) -> Document | None:
    """What the first 64 KiB of a blob say of it, by the rule for files of the work tree."""
    return describe(path, hash_worker._head(to_bytes(path), head))


def front(
    source: Source,
    view_id: str,
    title: str,
    desc: str,
    records: Iterable[Record],
    tags: Iterable[str] = (),
    origin: str = "",
) -> views.Front:
    """The frontmatter; its times are those of the first and the newest event of any of the records."""
    born = _born(source.config)
    spans = source.records.spans
    found = [spans[record] for record in set(records) if record in spans]
    first = iso(min(span[0] for span in found)) if found else born
    newest = iso(max(span[1] for span in found)) if found else born
    listed = ", ".join(views.clip(tag, 200) for tag in tags)
    return views.Front(view_id, title, first, newest, desc, listed, origin, max(born, newest))


def _born(config: Config) -> str:
    try:
        moment = datetime.fromisoformat(config.created)
        aware = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{MARKER}: `created` is no time such as 2026-11-20T10:00:00Z", f"restore it: git restore {MARKER}"
        ) from None
    return aware.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Need:
    """A need as it is shown, and what places it: its uid, its parent's, and its scope as it stands."""

    uid: str
    item: views.NeedItem
    parent: str | None
    scope: str | None


class Records:
    """Records and edges as a store and its visible events tell them, each thing read once for all views that show it. The
    store does not change meanwhile."""

    def __init__(self, db: Connection) -> None:
        self.db = db

    def names(self, kind: str) -> dict[str, str]:
        """uid -> `need-3f9a2c`, for needs or tasks."""
        return self._need_names if kind == "need" else self._task_names

    @cached_property
    def _need_names(self) -> dict[str, str]:
        return names(self.db, "need")

    @cached_property
    def _task_names(self) -> dict[str, str]:
        return names(self.db, "task")

    @property
    def spans(self) -> dict[Record, tuple[int, int]]:
        """Record -> clock of its first and of its newest event, in ms."""
        return self._scan[0]

    @property
    def tasks_ever_of(self) -> dict[str, set[str]]:
        """Need -> the tasks that are or were its own."""
        return self._scan[1]

    @property
    def needs_ever_in(self) -> dict[str, set[str]]:
        """Scope -> the needs that are or were in it."""
        return self._scan[2]

    @cached_property
    def _scan(self) -> tuple[dict[Record, tuple[int, int]], dict[str, set[str]], dict[str, set[str]]]:
        """All visible events, once. Fields by SQLite's JSON: to read the events themselves took ten times as long."""
        spans: dict[Record, tuple[int, int]] = {}
        tasks: dict[str, set[str]] = {}
        scopes: dict[str, set[str]] = {}
        rows = self.db.execute(
            "SELECT kind, uid, clock_ms, CASE kind WHEN 'task' THEN json_extract(line, '$.fields.need_id')"
            " WHEN 'need' THEN json_extract(line, '$.fields.scope') END FROM events WHERE visible = 1"
        )
        for kind, uid, clock, said in rows:
            span = spans.get((kind, uid))
            if span is None:
                spans[kind, uid] = (clock, clock)
            elif not span[0] <= clock <= span[1]:
                spans[kind, uid] = (min(span[0], clock), max(span[1], clock))
            if isinstance(said, str):
                if kind == "need":
                    scopes.setdefault(said, set()).add(uid)
                elif said.startswith("need:"):
                    tasks.setdefault(said.removeprefix("need:"), set()).add(uid)
        return spans, tasks, scopes

    def ever(self, kind: str) -> set[str]:
        """The uids of all records of a kind that there ever were, deleted ones too."""
        return {uid for one, uid in self.spans if one == kind}

    def edges_with(self, words: Iterable[str]) -> dict[str, list[Event]]:
        """Edge -> those of its visible events whose line holds one of the words."""
        found: dict[str, list[Event]] = {}
        for word in words:
            rows = self.db.execute(
                "SELECT line FROM events WHERE kind = 'relationship' AND visible = 1 AND instr(line, ?)", (word,)
            )
            for event in (trusted(line) for (line,) in rows):
                found.setdefault(event.uid, []).append(event)
        return found

    @cached_property
    def need_edges(self) -> list[Edge]:
        """Every edge between a need and a file that somebody made, gone ones too, as the journal tells it."""
        found = []
        for uid, first in sorted(self.edges_with(['"artifact:']).items()):
            if not any('"need:' in event.line for event in first):
                continue
            state = fold(_all_events(self.db, uid))
            source, target = str(state.fields.get("source")), str(state.fields.get("target"))
            outward = source.startswith("need:")
            need, file = (source, target) if outward else (target, source)
            kind = state.fields.get("type")
            if need.startswith("need:") and file.startswith("artifact:") and kind in RELATIONSHIP_TYPES:
                path = file.removeprefix("artifact:")
                found.append(Edge(uid, need.removeprefix("need:"), path, str(kind), outward, state.alive))
        return found

    def of(self, needs: set[str]) -> list[Record]:
        """The given needs, the tasks that are or were theirs, and their edges to files."""
        return [
            *(("need", uid) for uid in needs),
            *(("task", uid) for need in needs for uid in self.tasks_ever_of.get(need, ())),
            *(("relationship", edge.uid) for edge in self.need_edges if edge.need in needs),
        ]

    @cached_property
    def tasks_by_need(self) -> dict[str | None, list[views.TaskItem]]:
        """Need (None for none) -> its tasks, most urgent first."""
        found: dict[str | None, list[views.TaskItem]] = {}
        for need, uid in self._tasks[1]:
            found.setdefault(need, []).append(self.tasks[uid])
        return found

    @property
    def tasks(self) -> dict[str, views.TaskItem]:
        """Task -> as it is shown."""
        return self._tasks[0]

    @cached_property
    def _tasks(self) -> tuple[dict[str, views.TaskItem], list[tuple[str | None, str]]]:
        shown, items, order = self._task_names, {}, []
        for uid, need, text, status, priority in self.db.execute(
            "SELECT t.uid, n.uid, t.description, t.status, t.priority FROM tasks t LEFT JOIN needs n ON n.id = t.need_id"
            " ORDER BY t.priority IS NULL, t.priority, t.created_at, t.uid"
        ):
            items[uid] = views.TaskItem(shown[uid], text, status, priority)
            order.append((need, uid))
        return items, order

    @cached_property
    def needs(self) -> list[Need]:
        """All needs in the order of the seed's query for PROBLEM.md."""
        shown, tasks = self._need_names, self.tasks_by_need
        found = []
        for uid, title, description, status, priority, scope, parent, origin in self.db.execute(
            "SELECT n.uid, n.title, n.description, n.status, n.priority, n.scope, p.uid, n.source_transcript"
            " FROM needs n LEFT JOIN needs p ON p.id = n.parent_need_id"
            " ORDER BY n.priority IS NULL, n.priority ASC, n.updated_at DESC, n.uid"
        ):
            item = views.NeedItem(
                shown[uid], title, description or "", status, priority, scope or None, origin or "",
                tasks=tuple(tasks.get(uid, ())),
            )  # fmt: skip
            found.append(Need(uid, item, parent, scope))
        return found

    def open_needs(self, scope: str | None) -> list[Need]:
        """The seed's query for PROBLEM.md: needs of a scope (None: of all) that are neither resolved nor deferred."""
        return [
            need
            for need in self.needs
            if scope in (None, need.scope) and need.item.status not in ("resolved", "deferred")
        ]


def names(db: Connection, kind: str) -> dict[str, str]:
    """uid -> `need-3f9a2c`: the shortest prefix, of six digits at least, that no other record of the kind has."""
    ordered = [uid for (uid,) in db.execute(f"SELECT uid FROM {kind}s ORDER BY uid")]
    found = {}
    for before, uid, after in zip(["", *ordered], ordered, [*ordered[1:], ""], strict=False):
        digits = ids.SHORTEST
        while before[:digits] == uid[:digits] or after[:digits] == uid[:digits]:
            digits += 1
        found[uid] = ids.shown(kind, uid, digits)
    return found


def _all_events(db: Connection, uid: str) -> list[Event]:
    rows = db.execute("SELECT line FROM events WHERE kind = 'relationship' AND uid = ? AND visible = 1", (uid,))
    return [trusted(line) for (line,) in rows]
