"""`dump --canonical`: every shared table as sorted, stable text. Equal text means equal state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mlos_sync.app.records import named
from mlos_sync.core import ids
from mlos_sync.core.paths import sort_key
from mlos_sync.edge import store

# Shared tables and how each is told; ids of derived rows, dates of this clone and gone files are local.
# A test holds this list against the schema, so that a new table is told here or declared local.
OF_COMMITS = ("commit_changes", "commit_references", "commit_sessions", "commit_trailers", "commit_reverts")
SHARED = (
    "needs", "tasks", "agents", "relationships", "annotations", "facts", "artifacts", "commits", *OF_COMMITS,
    "transcripts", "session_files", "claims", "session_commits", "transcript_problems", "events", "held",
    "conflicts", "numbers",
)  # fmt: skip
# Derived tables that say how this clone came to know the above: which segment held an event, which refs have it.
BOOKKEEPING = ("segments", "segment_events", "mentions")


def canonical(db: store.Connection) -> str:
    """The whole shared state, one JSON object a line, each table under a line `# name`."""
    parts = []
    for table in SHARED:
        lines = sorted(json.dumps(row, ensure_ascii=False, sort_keys=True) for row in _rows(db, table))
        parts.append(f"# {table}\n" + "".join(line + "\n" for line in lines))
    return "".join(parts)


def _rows(db: store.Connection, table: str) -> Iterator[dict[str, Any]]:
    if table == "relationships":
        yield from _edges(db)
    elif table in OF_COMMITS:
        for row in store.rows(db, f"SELECT k.sha, t.* FROM {table} t JOIN commits k ON k.id = t.commit_id"):
            yield {name: value for name, value in row.items() if name not in ("commit_id", "targets")}
    elif table == "artifacts":
        for row in store.rows(db, "SELECT * FROM artifacts WHERE file_path IS NOT NULL"):
            yield {name: value for name, value in row.items() if name not in ("id", "last_path")}
    elif table == "events":
        yield from store.rows(db, "SELECT id, line FROM events WHERE visible = 1")
    elif table == "agents":
        for row in store.rows(db, "SELECT * FROM agents"):
            yield _named_arrays(db, {n: v for n, v in row.items() if n != "id" or row["origin"] == "record"})
    else:
        for row in store.rows(db, f"SELECT * FROM {table}"):
            yield {name: value for name, value in row.items() if name != "id" or table in ("needs", "tasks")}


def _edges(db: store.Connection) -> Iterator[dict[str, Any]]:
    for row in store.rows(db, "SELECT * FROM relationships"):
        yield {
            "source": _lasting(db, row["source_type"], row["source_id"]),
            "type": row["relationship_type"],
            "target": _lasting(db, row["target_type"], row["target_id"]),
            **{name: row[name] for name in ("metadata", "evidence", "origin", "created_at")},
        }


def _lasting(db: store.Connection, kind: str, number: int) -> str:
    """An end by what lasts: uid, path or object name."""
    if kind in ids.RECORD_KINDS:
        (uid,) = db.execute(f"SELECT uid FROM {kind}s WHERE id = ?", (number,)).fetchone()
        return f"{kind}:{uid}"
    return named(db, kind, number)


def _named_arrays(db: store.Connection, row: dict[str, Any]) -> dict[str, Any]:
    for column, kind in (
        ("provisioned_artifacts", "artifact"),
        ("assigned_tasks", "task"),
        ("monitored_needs", "need"),
    ):
        if row[column]:
            row[column] = sorted((_lasting(db, kind, number) for number in json.loads(row[column])), key=sort_key)
    return row


def differences(one: str, other: str, limit: int = 20) -> list[str]:
    """The first lines that only one of two dumps has, with their table: `- tasks {...}`, `+ tasks {...}`."""
    mine, theirs = _told(one), _told(other)
    lines = [f"- {line}" for line in sorted(mine - theirs)] + [f"+ {line}" for line in sorted(theirs - mine)]
    return lines[:limit]


def _told(text: str) -> set[str]:
    found, table = set(), ""
    for line in text.split("\n"):
        if line.startswith("# "):
            table = line[2:]
        elif line:
            found.add(f"{table} {line}")
    return found
