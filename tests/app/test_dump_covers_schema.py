"""The canonical dump tells all that is shared: a new table is told there or declared to be of this clone only."""

from __future__ import annotations

import json
import sqlite3

import pytest
from sqlmodel import SQLModel

from mlos_sync.app import dumping
from mlos_sync.core.vocabulary import TABLE_OF
from mlos_sync.edge import ddl, store

# Columns that a dump leaves out or tells in another way: ids of derived rows, what this clone saw of a gone file,
# edges by what lasts of their ends, and how an event came to be known here.
TOLD_OTHERWISE = {
    "artifacts": {"id", "last_path"},
    "commits": {"id"},
    "commit_changes": {"commit_id"},
    "commit_references": {"commit_id", "targets"},  # targets: looked up from key, value and records
    "commit_sessions": {"commit_id"},
    "commit_trailers": {"commit_id"},
    "commit_reverts": {"commit_id"},
    "facts": {"id"},  # known by session and path
    "annotations": {"id"},  # known by their path; the id is local
    "relationships": {"id", "uid", "source_type", "source_id", "target_type", "target_id", "relationship_type"},
    "events": {
        "kind",
        "uid",
        "clock_ms",
        "clock_n",
        "ledger",
        "closing",
        "visible",
        "seq",
        "sum",
        "pending",
        "waiting",
        "stood",
    },
}


def test_every_table_is_told_or_declared_local():
    """Each table of the schema is in the dump, is bookkeeping, or has the role local; and nothing else is listed."""
    roles = ddl.roles()
    assert set(roles) == {table.name for table in SQLModel.metadata.sorted_tables}
    told = set(dumping.SHARED) | set(dumping.BOOKKEEPING)
    local = {name for name, role in roles.items() if role == "local"}
    assert told | local == set(roles), f"neither told nor local: {set(roles) - told - local}"
    assert not told & local and not set(dumping.SHARED) & set(dumping.BOOKKEEPING)
    assert len(dumping.SHARED) == len(set(dumping.SHARED))


def test_every_record_table_and_every_kind_is_told():
    """What people made is never bookkeeping."""
    records = {table.name for table in ddl.record_tables()}
    assert records < set(dumping.SHARED) and set(TABLE_OF.values()) <= set(dumping.SHARED)


@pytest.fixture
def db() -> sqlite3.Connection:
    """One row with a telling value in each column of each shared table."""
    made = store.create(":memory:")
    made.execute("PRAGMA foreign_keys = OFF")
    fixed = {
        "status": {"needs": "active", "tasks": "open", "agents": "active"}, "origin": "record", "evidence": "declared",
        "relationship_type": "blocks", "source_type": "need", "target_type": "task", "artifact_type": "document",
        "priority": 3, "parent_need_id": None, "metadata": '{"told": 1}', "assigned_date": "2026-11-20",
        "provisioned_artifacts": "[7]", "assigned_tasks": "[7]", "monitored_needs": "[7]", "content_hash": "a" * 64,
        "uid": "b" * 32, "visible": 1, "line": "told",
    }  # fmt: skip
    with store.transaction(made), store.capture(made, on=False):
        for table in dumping.SHARED:
            names, values = [], []
            for _, name, kind, *_ in made.execute(f"PRAGMA table_info({table})").fetchall():
                value = fixed.get(name, 7 if kind == "INTEGER" else f"told {table}.{name}")
                value = value[table] if isinstance(value, dict) and table in value else value
                value = f"told {table}.{name}" if isinstance(value, dict) else value
                names.append(name)
                values.append("2026-11-20T10:00:00Z" if name.endswith("_at") else value)
            marks = ", ".join("?" * len(names))
            made.execute(f"INSERT INTO {table}({', '.join(names)}) VALUES ({marks})", values)
    return made


@pytest.mark.parametrize("table", dumping.SHARED)
def test_every_column_of_a_shared_table_is_told(db, table):
    """A new column of a shared table is in the dump, or is named above with its reason."""
    columns = {row[1] for row in db.execute(f"PRAGMA table_info({table})")} - TOLD_OTHERWISE.get(table, set())
    block = dumping.canonical(db).split(f"# {table}\n")[1].split("\n# ")[0]
    (row,) = [json.loads(line) for line in block.splitlines()]
    assert columns <= set(row), f"not told: {columns - set(row)}"
    db.close()


def test_the_dump_is_the_same_whatever_the_order_of_rows():
    """Two databases with the same rows, put in the other way round, have one dump; one row more makes another."""
    dumps = []
    for words in (["one", "two"], ["two", "one"], ["one", "two", "three"]):
        made = store.create(":memory:")
        for word in words:
            sql = "INSERT INTO needs(id, title, uid, created_at, updated_at) VALUES (?, ?, ?, ?, ?)"
            at = "2026-11-20T10:00:00Z"
            made.execute(sql, (len(word) + ord(word[0]), word, f"{ord(word[0]) + len(word):032x}", at, at))
        dumps.append(dumping.canonical(made))
        made.close()
    assert dumps[0] == dumps[1] != dumps[2]
    assert dumping.differences(dumps[0], dumps[1]) == []
    assert [line[:8] for line in dumping.differences(dumps[0], dumps[2])] == ["+ needs "]
    assert [line[:8] for line in dumping.differences(dumps[2], dumps[0])] == ["- needs "]
