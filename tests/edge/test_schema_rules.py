"""Any door is a good door: each rule of the schema, broken once through the `sqlite3` program and once through Python."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import SQLModel

from mlos_sync.core import vocabulary as words
from mlos_sync.edge import columns, ddl, schema, store

PROGRAM = shutil.which("sqlite3")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "seeds" / "000_45d761a4511e6f7d.txt"
U = "abcdef0123456789abcdef012345678"  # 31 digits: one more makes a uid

FILLING = f"""
INSERT INTO needs(title, uid) VALUES ('one', '{U}1'), ('two', '{U}2'), ('three', '{U}3');
INSERT INTO tasks(description, need_id, uid) VALUES ('do it', 1, '{U}1'), ('again', NULL, '{U}2');
INSERT INTO agents(agent_type, uid) VALUES ('janitor', '{U}1');
INSERT INTO relationships(source_type, source_id, target_type, target_id, relationship_type, uid)
VALUES ('need', 1, 'need', 2, 'blocks', '{U}1');
UPDATE needs SET parent_need_id = 1 WHERE id = 3;
INSERT INTO needs(title, uid) VALUES ('dead', '{U}f'); DELETE FROM needs WHERE title = 'dead';
"""
DERIVED = f"""
INSERT INTO artifacts(title, file_path, artifact_type, uid, own) VALUES ('a file', 'notes/a.md', 'document', '{U}1',
'{{"title": "a file", "description": "d", "source_transcript": "t", "artifact_type": "document"}}');
INSERT INTO artifacts(title, file_path, artifact_type, uid) VALUES ('plain.txt', 'plain.txt', 'document', '{U}3');
INSERT INTO artifacts(title, last_path, uid) VALUES ('gone', 'gone.txt', '{U}4');
INSERT INTO annotations(uid, path, title) VALUES ('{U}1', 'notes/a.md', 'said');
INSERT INTO facts(uid, session_id, path, tool) VALUES ('{U}f', 's-1', 'notes/a.md', 'Claude Code');
INSERT INTO commits(sha, parents, author, authored_at, committer, committed_at, subject) VALUES ('{"a" * 40}', '', 'Ada', '', 'Ada', '', 's');
INSERT INTO agents(agent_type, status, uid, origin) VALUES ('session', 'completed', '{U}d', 'derived');
INSERT INTO relationships(source_type, source_id, target_type, target_id, relationship_type, uid, origin)
VALUES ('agent', 2, 'artifact', 1, 'produced', '{U}d', 'derived');
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a few rows of each kind, derived ones among them."""
    path = str(tmp_path_factory.mktemp("rules") / "index.db")
    db = store.create(path)
    for statement in FILLING.split(";"):
        db.execute(statement)
    with store.transaction(db), store.capture(db, on=False):
        for statement in DERIVED.split(";"):
            db.execute(statement)
    db.execute("PRAGMA journal_mode = DELETE")
    db.close()
    return path


@pytest.fixture
def path(filled: str, tmp_path: Path) -> str:
    """A copy of its own for each test."""
    return shutil.copy(filled, tmp_path / "index.db")


@pytest.fixture
def db(path: str) -> Iterator[sqlite3.Connection]:
    """A stranger's connection: SQLite's defaults, foreign keys off."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = OFF")
    yield connection
    connection.close()


@pytest.fixture
def program() -> str:
    """The `sqlite3` program; without it the half of this file that speaks through it is skipped, and says so."""
    if PROGRAM is None:
        pytest.skip("THE sqlite3 PROGRAM IS MISSING: the rules were not tried through the shell; install sqlite3")
    return PROGRAM


def shell(program: str, path: str, sql: str) -> subprocess.CompletedProcess[str]:
    """Type SQL into the sqlite3 program, without the user's settings."""
    return subprocess.run(
        [program, "-init", os.devnull, "-batch", "-bail", path], input=sql, capture_output=True, text=True
    )


def contents(path: str) -> list[str]:
    """Everything that stands in the database but the next free ids."""
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return [line for line in lines if "sqlite_sequence" not in line]


def need(names: str, values: str) -> str:
    return f"INSERT INTO needs({names}) VALUES ({values})"


def edge(*values: object, more: str = "", value: str = "") -> str:
    shown = ", ".join(f"'{one}'" if isinstance(one, str) else str(one) for one in values)
    ends = "source_type, source_id, relationship_type, target_type, target_id"
    return (
        f"INSERT INTO relationships({ends}{', ' + more if more else ''}) VALUES ({shown}{', ' + value if more else ''})"
    )


LONG = f"replace(hex(zeroblob({columns.TEXT_LIMIT // 2 + 1})), '00', 'ab')"
HEX = f"'{U}a'"

# what is broken -> (statement, what the message must name)
BROKEN: dict[str, tuple[str, str]] = {
    # needs
    "need without title": ("INSERT INTO needs(scope) VALUES ('x')", "needs.title"),
    "need with null title": (need("title", "NULL"), "needs.title"),
    "need with empty title": (need("title", "''"), "needs.title is not empty"),
    "need with blank title": (need("title", "'   '"), "needs.title is not empty"),
    "need with a title of other blanks": (need("title", "char(9) || char(10)"), "needs.title is not empty"),
    "need with a status of another world": ("UPDATE needs SET status = 'bogus' WHERE id = 1", "needs.status is one of"),
    "need emptied": ("UPDATE needs SET title = '' WHERE id = 1", "needs.title is not empty"),
    "need with unknown status": (need("title, status", "'t', 'done'"), "needs.status is one of identified, active"),
    "need with status in capitals": (need("title, status", "'t', 'Active'"), "needs.status is one of"),
    "need with null status": (need("title, status", "'t', NULL"), "needs.status"),
    "need with numeric status": (need("title, status", "'t', 1"), "needs.status is one of"),
    "need with blob status": (need("title, status", "'t', x'616374697665'"), "needs.status is one of"),
    "need set to unknown status": ("UPDATE needs SET status = 'x' WHERE id = 1", "needs.status"),
    "need of priority 0": (need("title, priority", "'t', 0"), "needs.priority is a whole number from 1"),
    "need of priority 6": (need("title, priority", "'t', 6"), "needs.priority is a whole number"),
    "need of priority -1": (need("title, priority", "'t', -1"), "needs.priority is a whole number"),
    "need of priority 1.5": (need("title, priority", "'t', 1.5"), "needs.priority is a whole number"),
    "need of infinite priority": (need("title, priority", "'t', 9e999"), "needs.priority is a whole number"),
    "need of wordy priority": (need("title, priority", "'t', 'high'"), "needs.priority is a whole number"),
    "need of blob priority": (need("title, priority", "'t', x'31'"), "needs.priority is a whole number"),
    "need changed to priority 9": ("UPDATE needs SET priority = 9 WHERE id = 1", "needs.priority is a whole number"),
    "need with blob title": (need("title", "x'6162'"), "needs.title is text"),
    "need with NUL in title": (need("title", "'a' || char(0) || 'b'"), "needs.title is text without NUL"),
    "need with NUL in description": (need("title, description", "'t', char(0)"), "needs.description is text without NUL"),
    "need with blob description": (need("title, description", "'t', x'00'"), "needs.description is text"),
    "need with blob scope": (need("title, scope", "'t', x'00'"), "needs.scope is text"),
    "need with blob transcript": (need("title, source_transcript", "'t', x'00'"), "needs.source_transcript is text"),
    "need with endless title": (need("title", LONG), "needs.title is text without NUL, at most"),
    "need with endless description": (need("title, description", f"'t', {LONG}"), "needs.description is text"),
    "need with a date for created_at": (need("title, created_at", "'t', '2026-11-20'"), "needs.created_at is a UTC time"),
    "need with local time": (need("title, created_at", "'t', '2026-11-20T10:00:00+02:00'"), "needs.created_at is a UTC time"),
    "need with blank in time": (need("title, created_at", "'t', '2026-11-20 10:00:00Z'"), "needs.created_at is a UTC time"),
    "need in month 13": (need("title, created_at", "'t', '2026-13-20T10:00:00Z'"), "needs.created_at is a UTC time"),
    "need on 30 February": (need("title, created_at", "'t', '2026-02-30T10:00:00Z'"), "needs.created_at is a UTC time"),
    "need at 25 o'clock": (need("title, created_at", "'t', '2026-11-20T25:00:00Z'"), "needs.created_at is a UTC time"),
    "need at 24 o'clock": (need("title, created_at", "'t', '2026-11-20T24:00:00Z'"), "needs.created_at is a UTC time"),
    "need with blanks before Z": (need("title, created_at", "'t', '2026-11-20T10:00:00  Z'"), "needs.created_at is a UTC time"),
    "need with time as number": (need("title, created_at", "'t', 1795168800"), "needs.created_at is a UTC time"),
    "need with time as blob": (need("title, created_at", "'t', x'323032'"), "needs.created_at is a UTC time"),
    "need with wordy updated_at": (need("title, updated_at", "'t', 'today'"), "needs.updated_at is a UTC time"),
    "need made now": (need("title, created_at", "'t', 'now'"), "needs.created_at is a UTC time"),
    "need redated": ("UPDATE needs SET updated_at = 'x' WHERE id = 1", "needs.updated_at is a UTC time"),
    "need its own parent": ("UPDATE needs SET parent_need_id = 1 WHERE id = 1", "needs.parent_need_id: a need cannot be part of itself"),
    "new need its own parent": ("INSERT INTO needs(id, title, parent_need_id) VALUES (9, 't', 9)", "needs.parent_need_id names"),
    "need with unknown parent": (need("title, parent_need_id", "'t', 99"), "needs.parent_need_id names a need that does not"),
    "need moved to unknown parent": ("UPDATE needs SET parent_need_id = 99 WHERE id = 1", "needs.parent_need_id names a need"),
    "need with dead parent": (need("title, parent_need_id", "'t', 4"), "needs.parent_need_id names a need"),
    "need with wordy parent": (need("title, parent_need_id", "'t', 'one'"), "needs.parent_need_id names a need"),
    "need with fractional parent": (need("title, parent_need_id", "'t', 1.5"), "needs.parent_need_id names a need"),
    "need with short uid": (need("title, uid", "'t', 'abc'"), "needs.uid is 32 lower-case hex digits"),
    "need with uid in capitals": (need("title, uid", f"'t', '{U.upper()}A'"), "needs.uid is 32 lower-case hex digits"),
    "need with wordy uid": (need("title, uid", f"'t', '{'x' * 32}'"), "needs.uid is 32 lower-case hex digits"),
    "need with null uid": (need("title, uid", "'t', NULL"), "needs.uid"),
    "need with blob uid": (need("title, uid", f"'t', CAST({HEX} AS BLOB)"), "needs.uid is 32 lower-case hex digits"),
    "need with NUL after uid": (need("title, uid", f"'t', {HEX} || char(0) || 'x'"), "needs.uid is 32 lower-case hex digits"),
    "need with a uid that is taken": (need("title, uid", f"'t', '{U}1'"), "needs.uid"),
    "need with an id that is taken": (need("id, title", "1, 't'"), "needs"),
    "need with id 0": (need("id, title", "0, 't'"), "needs.id"),
    "need with negative id": (need("id, title", "-5, 't'"), "needs.id"),
    "need with an id beyond JSON": (need("id, title", "9007199254740992, 't'"), "needs.id"),
    "need with the greatest id": (need("id, title", "9223372036854775807, 't'"), "needs.id"),
    "need with a wordy id": (need("id, title", "'x', 't'"), "mismatch"),
    "need with an id of the dead": (need("id, title", "4, 't'"), "use UPDATE, not REPLACE, and let ids be given"),
    "need with a uid of the dead": (need("title, uid", f"'t', '{U}f'"), "use UPDATE, not REPLACE, and let ids be given"),
    "need called derived": (need("title, origin", "'t', 'derived'"), "needs: derived rows are made by mlos-sync"),
    "need of other origin": (need("title, origin", "'t', 'x'"), "needs"),
    "need given another uid": (f"UPDATE needs SET uid = {HEX} WHERE id = 1", "needs: id, uid and origin never change"),
    "need given another id": ("UPDATE needs SET id = 9 WHERE id = 1", "needs: id, uid and origin never change"),
    "need given another origin": ("UPDATE needs SET origin = 'derived' WHERE id = 1", "needs: id, uid and origin never change"),
    # tasks
    "task without description": ("INSERT INTO tasks(result) VALUES ('x')", "tasks.description"),
    "task with empty description": ("INSERT INTO tasks(description) VALUES (' ')", "tasks.description is not empty"),
    "task with unknown status": ("INSERT INTO tasks(description, status) VALUES ('t', 'done')", "tasks.status is one of open"),
    "task with null status": ("INSERT INTO tasks(description, status) VALUES ('t', NULL)", "tasks.status"),
    "task with unknown need": ("INSERT INTO tasks(description, need_id) VALUES ('t', 99)", "tasks.need_id names a need that does not"),
    "task moved to unknown need": ("UPDATE tasks SET need_id = 99 WHERE id = 1", "tasks.need_id names a need"),
    "task with unknown agent": ("INSERT INTO tasks(description, assigned_agent_id) VALUES ('t', 9)", "tasks.assigned_agent_id names a"),
    "task given to unknown agent": ("UPDATE tasks SET assigned_agent_id = 9 WHERE id = 1", "tasks.assigned_agent_id names a"),
    "task of priority 7": ("INSERT INTO tasks(description, priority) VALUES ('t', 7)", "tasks.priority is a whole number"),
    "task with blob result": ("UPDATE tasks SET result = x'00' WHERE id = 1", "tasks.result is text"),
    "task with NUL in result": ("UPDATE tasks SET result = 'a' || char(0) WHERE id = 1", "tasks.result is text without NUL"),
    "task with blob description": ("INSERT INTO tasks(description) VALUES (x'61')", "tasks.description is text"),
    "task with blob transcript": ("UPDATE tasks SET source_transcript = x'00' WHERE id = 1", "tasks.source_transcript is text"),
    "task with endless result": (f"UPDATE tasks SET result = {LONG} WHERE id = 1", "tasks.result is text"),
    "task with wordy created_at": ("INSERT INTO tasks(description, created_at) VALUES ('t', 'x')", "tasks.created_at is a UTC time"),
    "task with wordy updated_at": ("INSERT INTO tasks(description, updated_at) VALUES ('t', 'x')", "tasks.updated_at is a UTC time"),
    "task assigned at no date": ("UPDATE tasks SET assigned_date = 'soon' WHERE id = 1", "tasks.assigned_date is a date"),
    "task assigned on 31 April": ("UPDATE tasks SET assigned_date = '2026-04-31' WHERE id = 1", "tasks.assigned_date is a date"),
    "task assigned in month 13": ("UPDATE tasks SET assigned_date = '2026-13-01' WHERE id = 1", "tasks.assigned_date is a date"),
    "task assigned at a number": ("UPDATE tasks SET assigned_date = 20261120 WHERE id = 1", "tasks.assigned_date is a date"),
    "task with short uid": ("INSERT INTO tasks(description, uid) VALUES ('t', 'ab')", "tasks.uid is 32 lower-case hex digits"),
    "task with blob uid": (f"INSERT INTO tasks(description, uid) VALUES ('t', CAST({HEX} AS BLOB))", "tasks.uid is 32"),
    "task with a uid that is taken": (f"INSERT INTO tasks(description, uid) VALUES ('t', '{U}1')", "tasks.uid"),
    "task with negative id": ("INSERT INTO tasks(id, description) VALUES (-1, 't')", "tasks.id"),
    "task called derived": ("INSERT INTO tasks(description, origin) VALUES ('t', 'derived')", "tasks: derived rows are made"),
    "task given another uid": (f"UPDATE tasks SET uid = {HEX} WHERE id = 1", "tasks: id, uid and origin never change"),
    # agents
    "agent without type": ("INSERT INTO agents(model) VALUES ('x')", "agents.agent_type"),
    "agent with empty type": ("INSERT INTO agents(agent_type) VALUES ('')", "agents.agent_type is not empty"),
    "agent with unknown status": ("INSERT INTO agents(agent_type, status) VALUES ('a', 'idle')", "agents.status is one of provisioning"),
    "agent set to unknown status": ("UPDATE agents SET status = 'idle' WHERE id = 1", "agents.status is one of"),
    "agent with wordy started_at": ("INSERT INTO agents(agent_type, started_at) VALUES ('a', 'x')", "agents.started_at is a UTC time"),
    "agent with wordy completed_at": ("UPDATE agents SET completed_at = 'x' WHERE id = 1", "agents.completed_at is a UTC time"),
    "agent with blob kernel": ("UPDATE agents SET kernel_version = x'00' WHERE id = 1", "agents.kernel_version is text"),
    "agent with blob type": ("INSERT INTO agents(agent_type) VALUES (x'61')", "agents.agent_type is text"),
    "agent with blob model": ("UPDATE agents SET model = x'00' WHERE id = 1", "agents.model is text"),
    "agent with blob summary": ("UPDATE agents SET result_summary = x'00' WHERE id = 1", "agents.result_summary is text"),
    "agent with NUL in transcript": ("UPDATE agents SET session_transcript = char(0) WHERE id = 1", "agents.session_transcript is text"),
    "agent with short uid": ("INSERT INTO agents(agent_type, uid) VALUES ('a', 'ab')", "agents.uid is 32 lower-case hex digits"),
    "agent with blob uid": (f"INSERT INTO agents(agent_type, uid) VALUES ('a', CAST({HEX} AS BLOB))", "agents.uid is 32"),
    "agent with negative id": ("INSERT INTO agents(id, agent_type) VALUES (-1, 't')", "agents.id"),
    "agent called derived": ("INSERT INTO agents(agent_type, origin) VALUES ('t', 'derived')", "agents: derived rows are made"),
    "agent given another uid": (f"UPDATE agents SET uid = {HEX} WHERE id = 1", "agents: id, uid and origin never change"),
    "derived agent changed": ("UPDATE agents SET model = 'x' WHERE id = 2", "agents: this row is derived"),
    "derived agent deleted": ("DELETE FROM agents WHERE id = 2", "agents: this row is derived"),
    # relationships
    "edge from unknown kind": (edge("file", 1, "blocks", "need", 2), "relationships"),
    "edge to unknown kind": (edge("need", 1, "blocks", "file", 2), "relationships"),
    "edge of unknown type": (edge("need", 1, "likes", "need", 3), "relationships.relationship_type is one of derived_from"),
    "edge of null type": (edge("need", 1, "likes", "need", 3).replace("'likes'", "NULL"), "relationships.relationship_type"),
    "edge from nowhere": (edge("need", 99, "blocks", "need", 2), "relationships.source_id names a source that does not exist"),
    "edge to nowhere": (edge("need", 1, "blocks", "need", 99), "relationships.target_id names a target that does not exist"),
    "edge to a null end": (edge("need", 1, "blocks", "need", "x").replace("'x'", "NULL"), "relationships.target_id"),
    "edge to a dead need": (edge("need", 1, "blocks", "need", 4), "relationships.target_id names a target"),
    "edge to no artifact": (edge("need", 1, "references", "artifact", 99), "relationships.target_id names a target"),
    "edge to no commit": (edge("need", 1, "references", "commit", 99), "relationships.target_id names a target"),
    "edge with id 0": (edge("need", 1, "enables", "need", 3, more="id", value="0"), "relationships.id is a whole number"),
    "edge to itself": (edge("need", 1, "blocks", "need", 1), "relationships join two different ends"),
    "edge twice": (edge("need", 1, "blocks", "need", 2), "relationships.relationship_type"),
    "edge with metadata no JSON": (edge("need", 1, "enables", "need", 2, more="metadata", value="'{'"), "relationships.metadata is a JSON object"),
    "edge with an array": (edge("need", 1, "enables", "need", 2, more="metadata", value="'[]'"), "relationships.metadata is a JSON object"),
    "edge with a number": (edge("need", 1, "enables", "need", 2, more="metadata", value="5"), "relationships.metadata is a JSON object"),
    "edge with blob metadata": (edge("need", 1, "enables", "need", 2, more="metadata", value="x'7b7d'"), "relationships.metadata is text"),
    "edge with NUL in metadata": (edge("need", 1, "enables", "need", 2, more="metadata", value="'{}' || char(0)"), "relationships.metadata"),
    "edge with wordy created_at": (edge("need", 1, "enables", "need", 2, more="created_at", value="'x'"), "relationships.created_at is a UTC time"),
    "edge of unknown evidence": (edge("need", 1, "enables", "need", 2, more="evidence", value="'x'"), "relationships.evidence is one of declared"),
    "edge with short uid": (edge("need", 1, "enables", "need", 2, more="uid", value="'ab'"), "relationships.uid is 32"),
    "edge with blob uid": (edge("need", 1, "enables", "need", 2, more="uid", value=f"CAST({HEX} AS BLOB)"), "relationships.uid is 32"),
    "edge called derived": (edge("need", 1, "enables", "need", 2, more="origin", value="'derived'"), "relationships: derived rows are made"),
    "edge turned": ("UPDATE relationships SET target_id = 3 WHERE id = 1", "relationships: an edge is its ends and type"),
    "edge retyped": ("UPDATE relationships SET relationship_type = 'enables' WHERE id = 1", "relationships: an edge is its ends and type"),
    "edge given other evidence": ("UPDATE relationships SET evidence = 'proved' WHERE id = 1", "relationships: an edge is its ends and type"),
    "edge given another uid": (f"UPDATE relationships SET uid = {HEX} WHERE id = 1", "relationships: an edge is its ends and type"),
    "derived edge changed": ("UPDATE relationships SET metadata = '{}' WHERE origin = 'derived'", "relationships: this row is derived"),
    "derived edge deleted": ("DELETE FROM relationships WHERE origin = 'derived'", "relationships: this row is derived"),
    # artifacts
    "artifact inserted": ("INSERT INTO artifacts(title, uid) VALUES ('x', 'y')", "artifacts are indexed from files"),
    "artifact's hash changed": ("UPDATE artifacts SET content_hash = NULL, blob = 'x'", "artifacts are indexed from files"),
    "artifact's own title changed": ("UPDATE artifacts SET title = 'x' WHERE id = 1", "artifacts.title stands in the frontmatter"),
    "artifact's own description changed": ("UPDATE artifacts SET description = 'x' WHERE id = 1", "artifacts.description stands in the frontmatter"),
    "artifact's own transcript changed": ("UPDATE artifacts SET source_transcript = 'x' WHERE id = 1", "artifacts.source_transcript stands in"),
    "artifact that has gone": ("UPDATE artifacts SET title = 'x' WHERE id = 3", "artifacts: this file has gone"),
    "artifact given a wrong type": ("UPDATE artifacts SET artifact_type = 'poem' WHERE id = 2", "artifacts.artifact_type is one of"),
    "artifact given no title": ("UPDATE artifacts SET title = ' ' WHERE id = 2", "annotations.title is not empty"),
    "annotation of nothing": (f"INSERT INTO annotations(uid, path) VALUES ('{U}9', 'nowhere')", "annotations: annotate a file by"),
    "annotation under another uid": (f"INSERT INTO annotations(uid, path) VALUES ({HEX}, 'plain.txt')", "annotations: annotate a file by"),
    "annotation without a path": (f"INSERT INTO annotations(uid, path) VALUES ('{U}9', NULL)", "annotations"),
    "annotation moved": ("UPDATE annotations SET path = 'x'", "annotations: id, uid and origin never change"),
    "annotation of a wrong type": ("UPDATE annotations SET artifact_type = 'poem'", "annotations.artifact_type is one of"),
    "fact moved": ("UPDATE facts SET path = 'x'", "facts: id, uid and origin never change"),
    "fact of another session": ("UPDATE facts SET session_id = 'x'", "facts: id, uid and origin never change"),
    "fact told twice": (f"INSERT INTO facts(uid, session_id, path) VALUES ('{U}e', 's-1', 'notes/a.md')", "facts"),
    "fact of no session": (f"INSERT INTO facts(uid, session_id, path) VALUES ('{U}e', '', 'x')", "facts.session_id is not empty"),
    "annotation's title empty": ("UPDATE annotations SET title = ''", "annotations.title is not empty"),
    "annotation's title a number": ("UPDATE annotations SET title = x'00'", "annotations.title is text"),
    "annotation's description with NUL": ("UPDATE annotations SET description = 'a' || char(0)", "annotations.description is text"),
    "annotation's transcript too long": ("UPDATE annotations SET source_transcript = hex(zeroblob(140000))", "annotations.source_transcript is text"),
    "annotation's time": ("UPDATE annotations SET created_at = 'now'", "annotations.created_at is a UTC time"),
    "annotation's other time": ("UPDATE annotations SET updated_at = 'now'", "annotations.updated_at is a UTC time"),
    "annotation called derived": (f"INSERT INTO annotations(uid, path, origin) VALUES ('{U}3', 'plain.txt', 'derived')", "annotations: derived rows are made by mlos-sync"),
    "need part of its part": ("UPDATE needs SET parent_need_id = 3 WHERE id = 1", "needs.parent_need_id: a need cannot be part of itself"),
    "artifact deleted": ("DELETE FROM artifacts", "artifacts are indexed from files"),
    "artifact replaced": (f"REPLACE INTO artifacts(title, uid) VALUES ('x', '{U}1')", "artifacts are indexed from files"),
    # replace and upsert
    "need replaced by id": ("INSERT OR REPLACE INTO needs(id, title) VALUES (1, 'other')", "needs: this id or uid belongs to another record"),
    "need replaced by uid": (f"REPLACE INTO needs(title, uid) VALUES ('other', '{U}1')", "needs: this id or uid belongs to another record"),
    "need replaced by id and uid": (f"REPLACE INTO needs(id, title, uid) VALUES (2, 'other', '{U}1')", "needs: this id or uid belongs"),
    "need replaced by itself": (f"REPLACE INTO needs(id, title, uid) VALUES (1, 'other', '{U}1')", "use UPDATE, not REPLACE"),
    "task replaced": ("REPLACE INTO tasks(id, description) VALUES (1, 'other')", "tasks: this id or uid belongs to another record"),
    "task replaced by itself": (f"REPLACE INTO tasks(id, description, uid) VALUES (1, 'x', '{U}1')", "use UPDATE, not REPLACE"),
    "agent replaced": ("REPLACE INTO agents(id, agent_type) VALUES (1, 'other')", "agents: this id or uid belongs to another record"),
    "derived agent replaced": ("REPLACE INTO agents(id, agent_type) VALUES (2, 'other')", "agents: this id or uid belongs"),
    "edge replaced by another": (edge("need", 2, "enables", "need", 3, more="id", value="1").replace("INSERT", "REPLACE"), "relationships: this id"),
    "derived edge replaced": (edge("agent", 2, "produced", "artifact", 1).replace("INSERT", "REPLACE"), "relationships"),
    "need updated over another": ("UPDATE OR REPLACE needs SET id = 2 WHERE id = 1", "needs: id, uid and origin never change"),
    "need updated to another's uid": (f"UPDATE OR REPLACE needs SET uid = '{U}2' WHERE id = 1", "needs: id, uid and origin never change"),
    "upsert with a bad value": (f"INSERT INTO needs(title, uid) VALUES ('t', '{U}1') ON CONFLICT(uid) DO UPDATE SET priority = 9", "needs.priority"),
    "upsert over a lifecycle": (f"INSERT INTO needs(title, uid) VALUES ('t', '{U}1') ON CONFLICT(uid) DO UPDATE SET status = 'resolved'", "needs.status"),
    "upsert of an identity": (f"INSERT INTO needs(title, uid) VALUES ('t', '{U}1') ON CONFLICT(uid) DO UPDATE SET id = 9", "never change"),
    # our own tables
    "a second context": ("INSERT INTO context(id, capture, door) VALUES (2, 0, 'x')", "context has one row"),
    "a row in never": ("INSERT INTO never(id) VALUES (1)", "never stays empty"),
}  # fmt: skip

ARRAYS = ("provisioned_artifacts", "assigned_tasks", "monitored_needs")
BAD_ARRAYS = {
    "no JSON": "'x'", "half": "'[1'", "object": "'{}'", "number": "5", "text": "'\"a\"'", "null": "'null'",
    "unknown id": "'[99]'", "one unknown id": "'[1,99]'", "word": "'[\"x\"]'", "fraction": "'[1.5]'",
    "list in list": "'[[1]]'", "object in list": "'[{\"a\":1}]'", "null in list": "'[null]'", "null beside an id": "'[1,null]'",
    "id as text": "'[\"1\"]'", "true": "'[true]'", "float": "'[1.0]'", "an id twice": "'[1,1]'",
    "blob": "x'5b315d'", "NUL behind": "'[1]' || char(0) || 'x'",
}  # fmt: skip
for _column in ARRAYS:
    for _name, _value in BAD_ARRAYS.items():
        if _column == "monitored_needs" or _name in ("no JSON", "unknown id", "word"):
            statement = f"INSERT INTO agents(agent_type, {_column}) VALUES ('a', {_value})"
            BROKEN[f"{_column}: {_name} in insert"] = (statement, f"agents.{_column}")
            BROKEN[f"{_column}: {_name} in update"] = (
                f"UPDATE agents SET {_column} = {_value} WHERE id = 1",
                f"agents.{_column}",
            )


@pytest.mark.parametrize("name", BROKEN)
def test_the_shell_is_refused(program, path, name):
    """Typed into the sqlite3 program, the statement fails, names its rule and leaves no trace."""
    statement, rule = BROKEN[name]
    before = contents(path)
    done = shell(program, path, f"BEGIN; {statement}; COMMIT;")
    assert done.returncode != 0, f"accepted: {statement}"
    assert rule in done.stderr
    assert contents(path) == before


@pytest.mark.parametrize("name", BROKEN)
def test_another_program_is_refused(db, path, name):
    """Through a driver with foreign keys off, each statement fails by itself as an integrity error and names its rule."""
    statement, rule = BROKEN[name]
    before = contents(path)
    with pytest.raises(sqlite3.IntegrityError) as caught:
        db.execute(statement)
    assert rule in str(caught.value)
    assert contents(path) == before


def test_or_ignore_lets_nothing_bad_in(db):
    """INSERT OR IGNORE either says no or does nothing: no row, and nothing in the outbox."""
    count = "SELECT sum(n) FROM (SELECT count(*) n FROM {0} UNION ALL SELECT count(*) FROM outbox)"
    for name, (statement, _) in BROKEN.items():
        if statement.startswith("INSERT INTO") and "ON CONFLICT" not in statement and _is_refused(db, statement):
            table = statement.split("(")[0].split()[-1]
            before = db.execute(count.format(table)).fetchone()
            db.execute("BEGIN")
            with contextlib.suppress(sqlite3.Error):
                db.execute(statement.replace("INSERT INTO", "INSERT OR IGNORE INTO", 1))
            assert db.execute(count.format(table)).fetchone() == before, name
            db.execute("ROLLBACK")


def _is_refused(db: sqlite3.Connection, statement: str) -> bool:
    """Whether the plain statement fails."""
    db.execute("BEGIN")
    try:
        db.execute(statement)
    except sqlite3.Error:
        return True
    finally:
        db.execute("ROLLBACK")
    return False


def test_every_check_of_the_schema_is_broken_above():
    """A new CHECK fails here until a statement that breaks it is in the table."""
    live = {"needs", "tasks", "agents", "relationships", "annotations", "context", "never"}
    rules = " | ".join(rule for _, rule in BROKEN.values())
    for table in SQLModel.metadata.sorted_tables:
        for constraint in table.constraints:
            name = str(constraint.name or "")
            if table.name in live and type(constraint).__name__ == "CheckConstraint":
                column = name.split(" ")[0]
                if column.partition(".")[2] in ("origin", "source_type", "target_type", "path", "id", "uid") and (
                    table.name == "annotations" or column.partition(".")[2] not in ("path", "id", "uid")
                ):
                    continue  # a trigger is there before it
                assert column in rules or name in rules, f"no statement breaks: {name}"


def test_the_checks_that_triggers_stand_before_hold_by_themselves(db):
    """With capture off, as our own writes are, the constraints still bound what a fold may put in."""
    for statement, rule in [
        (need("title, origin", "'t', 'x'"), "needs.origin is one of record, derived"),
        ("INSERT INTO tasks(description, origin) VALUES ('t', 'x')", "tasks.origin is one of"),
        ("INSERT INTO agents(agent_type, origin) VALUES ('t', 'x')", "agents.origin is one of"),
        (edge("need", 1, "enables", "need", 3, more="origin", value="'x'"), "relationships.origin is one of"),
        (edge("file", 1, "enables", "need", 3), "relationships.source_type is one of"),
        (edge("need", 1, "enables", "file", 3), "relationships.target_type is one of"),
        (
            "INSERT INTO artifacts(title, uid, artifact_type) VALUES ('t', 'u', 'x')",
            "artifacts.artifact_type is one of",
        ),
        (
            "INSERT INTO artifacts(title, uid, content_hash) VALUES ('t', 'u', 'x')",
            "artifacts.content_hash is a SHA-256",
        ),
        ("INSERT INTO artifacts(title, uid, file_path) VALUES ('t', 'u', 'notes/a.md')", "artifacts.file_path"),
    ]:
        db.execute("BEGIN")
        db.execute("INSERT INTO context(id, capture, door) VALUES (1, 0, 'test')")
        with pytest.raises(sqlite3.IntegrityError) as caught:
            db.execute(statement)
        assert rule in str(caught.value)
        db.execute("ROLLBACK")


TIME = "'2026-11-20T10:00:00Z'"
ACCEPTED: dict[str, str] = {
    "needs": "INSERT INTO needs(title, description, status, priority, scope, created_at, source_transcript, parent_need_id)"
    f" VALUES ('t', 'd', 'active', 5, 's', {TIME}, 'x.md', 1)",
    "tasks": "INSERT INTO tasks(need_id, description, status, priority, assigned_agent_id, result, created_at, assigned_date,"
    f" source_transcript) VALUES (1, 'd', 'completed', 1, 2, 'r', {TIME}, '2026-11-20', 'x.md')",
    "agents": "INSERT INTO agents(agent_type, status, kernel_version, provisioned_artifacts, assigned_tasks, monitored_needs,"
    " session_transcript, started_at, completed_at, result_summary, model) VALUES ('my own type', 'failed', '1.10', '[1]',"
    f" '[2,1]', '[]', 'x.md', {TIME}, '2026-11-20T10:00:00.123Z', 's', 'm')",
    "relationships": edge("need", 1, "references", "commit", 1, more="metadata", value="'{\"why\": 1.5}'"),
    "artifacts": f"INSERT INTO artifacts(title, uid, content_hash) VALUES ('t', 'u', '{'0' * 64}')",
    "annotations": f"INSERT INTO annotations(uid, path, title, artifact_type) VALUES ('{U}3', 'plain.txt', 't', 'schema')",
    "artifact_versions": "INSERT INTO artifact_versions(artifact_id, content_hash, until) VALUES (1, 'x', 'y')",
    "folders": "INSERT INTO folders VALUES ('notes', x'00')",
    "commits": "INSERT INTO commits(sha, parents, author, authored_at, committer, committed_at, subject)"
    " VALUES ('s', '', 'a', '', 'a', '', '')",
    "commit_changes": "INSERT INTO commit_changes(path, commit_id, status) VALUES ('a', 1, 'A')",
    "commit_references": "INSERT INTO commit_references(commit_id, key, value) VALUES (1, 'task', '12')",
    "facts": f"INSERT INTO facts(uid, session_id, path, first_at) VALUES ('{U}e', 's-2', 'x.py', '2026-11-20T10:00:00Z')",
    "commit_trailers": "INSERT INTO commit_trailers VALUES (1, 0, 'Task', '12')",
    "commit_reverts": "INSERT INTO commit_reverts VALUES (1, 'abc1234', '')",
    "strays": "INSERT INTO strays VALUES ('s', 'a', '', '', '')",
    "stray_changes": "INSERT INTO stray_changes VALUES ('s', 'a', '')",
    "stray_references": "INSERT INTO stray_references VALUES ('s', 'task', '12')",
    "carried": "INSERT INTO carried(commit_id, key, value, sha, evidence, found, sought)"
    " VALUES (1, 'task', '12', 's', 'proved', 1, 1)",
    "commit_sessions": "INSERT INTO commit_sessions VALUES (1, 'session', 's')",
    "transcripts": "INSERT INTO transcripts VALUES ('a', 'h', 1, 'claude', 'file', NULL)",
    "session_files": "INSERT INTO session_files(transcript, session_id, part, tool, format, turns, subagent_turns, claims)"
    " VALUES ('a', 's', '', 'Claude Code', 'claude', 1, 0, 0)",
    "claims": "INSERT INTO claims(transcript, number, session_id, part, turn, line, operation, tool, raw_path, name, subagent,"
    " succeeded, hashes, blobs) VALUES ('t', 1, 's', '', 1, 1, 'write', 'x', 'p', 'p', 0, 1, '', '')",
    "claim_changes": "INSERT INTO claim_changes VALUES ('t', 1, x'00', '', '', '')",
    "session_commits": "INSERT INTO session_commits VALUES ('t', 1, 's', '', 1, 1, NULL, 'abc1234', 'subject')",
    "transcript_problems": "INSERT INTO transcript_problems VALUES ('t', 1, 1, 'm')",
    "unweighed": "INSERT INTO unweighed VALUES ('s')",
    "events": "INSERT INTO events(id, sum, kind, uid, clock_ms, clock_n, line) VALUES ('i', 's', 'need', 'u', 1, 0, '{}')",
    "segments": "INSERT INTO segments(name, path) VALUES ('n', 'p')",
    "segment_events": "INSERT INTO segment_events VALUES (1, 1)",
    "mentions": "INSERT INTO mentions VALUES ('need:u', 'task', 'u')",
    "underived": "INSERT INTO underived VALUES ('task', 'u')",
    "held": "INSERT INTO held VALUES ('need', 'u', 'because', '{}')",
    "conflicts": "INSERT INTO conflicts(kind, uid, field, loser, winner) VALUES ('need', 'u', 'title', 'a', 'b')",
    "numbers": "INSERT INTO numbers(kind, uid, claimed, born, number) VALUES ('need', 'u', 1, '', 2)",
    "record_keys": "INSERT INTO record_keys(kind, number, uid) VALUES ('need', 77, 'u')",
    "outbox": "INSERT INTO outbox(event, at, kind, uid, op, door) VALUES ('e', '', 'need', 'u', 'update', 'x')",
    "captured": "INSERT INTO captured VALUES ('need', 'new', 'value', NULL)",
    "observations": "INSERT INTO observations VALUES ('walk', 's', 'm')",
    "meta": "INSERT INTO meta VALUES ('k', 'v')",
    "context": "INSERT INTO context(id, capture, door) VALUES (1, 1, 'x')",
    "never": "",  # nothing is ever accepted
}  # fmt: skip


def test_every_table_is_in_the_list_of_what_is_accepted():
    """A new table fails here until a row of it is tried."""
    assert {table.name for table in SQLModel.metadata.sorted_tables} - set(ACCEPTED) == set()


@pytest.mark.parametrize("table", [table for table, statement in ACCEPTED.items() if statement])
def test_a_good_row_of_each_table_is_accepted(program, path, db, table):
    """Rules that refused everything would pass the tests above."""
    live = table in ("needs", "tasks", "agents", "relationships")
    context = "" if live or table == "context" else "INSERT INTO context(id, capture, door) VALUES (1, 0, 'test');"
    clear = "" if live or table == "context" else "DELETE FROM context;"
    done = shell(program, path, f"BEGIN; {context} {ACCEPTED[table]}; {clear} COMMIT;")
    assert (done.returncode, done.stderr) == (0, "")
    assert db.execute("SELECT count(*) FROM outbox").fetchone()[0] >= live
    assert "ok" in db.execute("PRAGMA integrity_check").fetchone()


def test_bare_minimums_are_accepted_and_filled_in(db):
    """What is not given gets the seed's beginnings, a uid and a time."""
    db.execute("INSERT INTO needs(title) VALUES ('t')")
    db.execute("INSERT INTO tasks(description) VALUES ('t')")
    db.execute("INSERT INTO agents(agent_type) VALUES ('t')")
    for table, status, at in (
        ("needs", "identified", "created_at"),
        ("tasks", "open", "created_at"),
        ("agents", "provisioning", "started_at"),
    ):
        row = db.execute(f"SELECT status, uid, origin, {at} FROM {table} ORDER BY id DESC LIMIT 1").fetchone()
        assert row[0] == status and re.fullmatch("[0-9a-f]{32}", row[1]) and row[2] == "record"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[3])


@pytest.mark.parametrize("kind", words.ENDPOINTS)
@pytest.mark.parametrize("relationship", words.RELATIONSHIP_TYPES)
def test_any_pair_of_ends_may_carry_any_relationship(db, relationship, kind):
    """The seed leaves the pairs open; only the ends must exist and differ."""
    db.execute(edge("need", 3, relationship, kind, 1))
    assert db.execute("SELECT count(*) FROM relationships WHERE source_id = 3").fetchone() == (1,)


def walk_of_needs(before: str, after: str) -> bool:
    """Whether a need may take a step, told a second time from the design."""
    line = ["identified", "active", "actionable", "in_progress", "resolved"]
    if before == after:
        return True
    if before in line and after in line:
        return line.index(after) == line.index(before) + 1 or (before, after) == ("resolved", "active")
    return "resolved" not in (before, after)


def walk_of_tasks(before: str, after: str) -> bool:
    """Whether a task may take a step."""
    return before == after or before in ("open", "assigned", "in_progress") or after == "open"


STEPS = [
    (table, column, before, after, rule(before, after))
    for table, column, statuses, rule in (
        ("needs", "title", words.NEED_STATUSES, walk_of_needs),
        ("tasks", "description", words.TASK_STATUSES, walk_of_tasks),
        ("agents", "agent_type", words.AGENT_STATUSES, lambda before, after: True),
    )
    for before in statuses
    for after in statuses
]


@pytest.mark.parametrize(("table", "column", "before", "after", "allowed"), STEPS)
def test_each_step_of_a_status(db, table, column, before, after, allowed):
    """Every pair of statuses, each allowed or refused as the design says; a record may be made in any state."""
    made = db.execute(f"INSERT INTO {table}({column}, status) VALUES ('t', ?)", (before,)).lastrowid
    update = f"UPDATE {table} SET status = ? WHERE id = ?"
    if allowed:
        db.execute(update, (after, made))
    else:
        with pytest.raises(sqlite3.IntegrityError, match=rf"{table}\.status: "):
            db.execute(update, (after, made))
    (now,) = db.execute(f"SELECT status FROM {table} WHERE id = ?", (made,)).fetchone()
    assert now == (after if allowed else before)


@pytest.mark.parametrize(("before", "after"), [(b, a) for t, _, b, a, ok in STEPS if t == "needs" and not ok][:4])
def test_the_shell_takes_no_forbidden_step(program, path, before, after):
    """The same through the sqlite3 program, in bulk."""
    shell(program, path, f"INSERT INTO needs(title, status) VALUES ('walk', '{before}'), ('walk', '{before}');")
    done = shell(program, path, f"UPDATE needs SET status = '{after}' WHERE title = 'walk';")
    assert done.returncode and "needs.status: one step at a time" in done.stderr


def test_our_own_writes_may_walk_several_steps(db):
    """A closing in a commit is history: with capture off the lifecycle does not apply, the words still do."""
    db.execute("BEGIN")
    db.execute("INSERT INTO context(id, capture, door) VALUES (1, 0, 'test')")
    db.execute("UPDATE needs SET status = 'resolved' WHERE id = 1")
    with pytest.raises(sqlite3.IntegrityError, match=r"needs\.status is one of"):
        db.execute("UPDATE needs SET status = 'x' WHERE id = 1")
    db.execute("ROLLBACK")


@pytest.mark.parametrize("keys", ["ON", "OFF"])
@pytest.mark.parametrize(
    ("table", "column", "gone"),
    [("needs", "parent_need_id", "needs"), ("tasks", "need_id", "needs"), ("tasks", "assigned_agent_id", "agents")],
)
def test_deleting_what_is_referred_to_leaves_nothing_dangling(db, keys, table, column, gone):
    """With foreign keys on or off: the reference is emptied with the row, or the deletion is refused."""
    db.execute(f"PRAGMA foreign_keys = {keys}")
    db.execute(f"UPDATE {table} SET {column} = 1 WHERE id = 2")
    try:
        db.execute(f"DELETE FROM {gone} WHERE id = 1")
    except sqlite3.IntegrityError as error:
        assert column in str(error) or gone in str(error)
    dangling = f"SELECT count(*) FROM {table} WHERE {column} IS NOT NULL AND {column} NOT IN (SELECT id FROM {gone})"
    assert db.execute(dangling).fetchone() == (0,)
    db.execute("UPDATE tasks SET result = 'still writable'")


@pytest.mark.parametrize(("column", "table"), [("assigned_tasks", "tasks"), ("monitored_needs", "needs")])
def test_deleting_what_an_array_names_leaves_nothing_dangling(db, column, table):
    """An id in an agent's array goes with its row, or the deletion is refused."""
    db.execute(f"UPDATE agents SET {column} = '[1,2]' WHERE id = 1")
    try:
        db.execute(f"DELETE FROM {table} WHERE id = 1")
    except sqlite3.IntegrityError as error:
        assert column in str(error) or table in str(error)
    dangling = f"SELECT j.value FROM agents, json_each({column}) j WHERE j.value NOT IN (SELECT id FROM {table})"
    assert db.execute(dangling).fetchall() == []
    db.execute("UPDATE agents SET model = 'still writable' WHERE id = 1")


def test_edges_go_with_their_ends(db):
    """No edge is left that names a need that is not there."""
    db.execute(edge("need", 3, "blocks", "need", 1))
    db.execute("DELETE FROM needs WHERE id = 1")
    assert db.execute("SELECT count(*) FROM relationships WHERE source_type = 'need'").fetchone() == (0,)


def test_every_table_has_a_role_and_every_record_is_captured():
    """A table without a role, a record table without its triggers or a record column without a form fails here."""
    roles = {table.name: table.info.get("role") for table in SQLModel.metadata.sorted_tables}
    assert set(roles.values()) == {"record", "derived", "local"}, roles
    assert roles == ddl.roles()
    assert {name for name, role in roles.items() if role == "record"} == {
        *("needs", "tasks", "agents", "relationships", "annotations", "facts")
    }
    triggers = [statement for statement in ddl.statements() if statement.startswith("CREATE TRIGGER")]
    for table in ddl.record_tables():
        for event in ("INSERT", "UPDATE", "DELETE"):
            found = [t for t in triggers if f" AFTER {event} ON {table.name} " in t and "INSERT INTO outbox" in t]
            assert len(found) == 1, f"{event} on {table.name} is captured {len(found)} times"
        for column in table.columns:
            if column.info.get("journal") is None:
                known = ("id", "uid", "origin", "updated_at", "evidence", "closed_by")
                assert column.name in known, f"{table.name}.{column.name}"


def test_each_journaled_column_reaches_the_outbox_when_it_changes(db):
    """A column of a record that changes alone is captured: none is forgotten in the triggers."""
    other = {
        "status": "active", "priority": 4, "created_at": "2020-01-01T00:00:00Z", "started_at": "2020-01-01T00:00:00Z",
        "completed_at": "2020-01-01T00:00:00Z", "ended_at": "2020-01-01T00:00:00Z",
        "first_at": "2020-01-01T00:00:00Z", "last_at": "2020-01-01T00:00:00Z", "assigned_date": "2020-01-01", "metadata": '{"a":1}',
        "parent_need_id": 2, "need_id": 2, "assigned_agent_id": 1, "artifact_type": "schema",
        "provisioned_artifacts": "[1]", "assigned_tasks": "[1]", "monitored_needs": "[1]",
    }  # fmt: skip
    for table in ddl.record_tables():
        for column in table.columns:
            form = column.info.get("journal")
            if form is None or form == "end" or column.name in ("id", "path", "session_id"):
                continue  # never change
            db.execute("DELETE FROM outbox")
            value = "assigned" if (table.name, column.name) == ("tasks", "status") else other.get(column.name, "text")
            db.execute(f"UPDATE {table.name} SET {column.name} = ? WHERE id = 1", (value,))
            rows = db.execute("SELECT op, old, new FROM outbox").fetchall()
            assert len(rows) == 1 and rows[0][0] == "update", f"{table.name}.{column.name}"
            assert f'"{column.name}"' in rows[0][2] and rows[0][1] != rows[0][2]


def test_versions_agree(path):
    """The store opens what the schema makes."""
    assert schema.SCHEMA_VERSION == store.VERSION
    store.connect(path, "").close()


def test_the_seeds_columns_are_all_there(db):
    """The five tables carry the seed's columns under its names, in its order, before ours."""
    seed = {
        "needs": "id title description status priority scope created_at updated_at source_transcript parent_need_id",
        "tasks": "id need_id description status priority assigned_agent_id result created_at updated_at assigned_date"
        " source_transcript",
        "artifacts": "id title description file_path artifact_type content_hash created_at updated_at source_transcript",
        "relationships": "id source_type source_id target_type target_id relationship_type metadata created_at",
        "agents": "id agent_type status kernel_version provisioned_artifacts assigned_tasks monitored_needs"
        " session_transcript started_at completed_at result_summary",
    }
    for table, listed in seed.items():
        found = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        assert found[: len(listed.split())] == listed.split()


SEED_QUERIES = [
    """SELECT n.title, n.description, n.status, n.priority
FROM needs n
WHERE n.scope = :scope AND n.status NOT IN ('resolved', 'deferred')
ORDER BY n.priority ASC, n.updated_at DESC;""",
    """SELECT a.file_path, a.title, a.description, a.artifact_type
FROM artifacts a
JOIN relationships r ON r.target_type = 'artifact' AND r.target_id = a.id
JOIN needs n ON r.source_type = 'need' AND r.source_id = n.id
WHERE n.id IN (:assigned_need_ids)
ORDER BY a.artifact_type, a.title;""",
    """SELECT a.title, a.description, a.file_path, a.artifact_type, a.updated_at
FROM artifacts a
WHERE a.file_path LIKE :scope_path || '%'
ORDER BY a.updated_at DESC;""",
]


def answers(db: sqlite3.Connection, queries: list[str]) -> list[list[tuple]]:
    """What the seed's queries say of a small world."""
    db.execute(need("title, scope, priority, status", "'urgent', 'here', 1, 'active'"))
    db.execute(need("title, scope, priority, status", "'later', 'here', 4, 'identified'"))
    db.execute(need("title, scope, status", "'over', 'here', 'resolved'"))
    db.execute(need("title, scope", "'elsewhere', 'there'"))
    db.execute(edge("need", 1, "references", "artifact", 1))
    values = {"scope": "here", "assigned_need_ids": 1, "scope_path": "notes/"}
    return [db.execute(query, values).fetchall() for query in queries]


EXPECTED = [
    [("urgent", None, "active", 1), ("later", None, "identified", 4)],
    [("notes/a.md", "a file", None, "document")],
    [("a file", None, "notes/a.md", "document", None)],
]


def test_the_seeds_queries_run_as_written(db):
    """The three queries of the seed, kept here letter by letter."""
    assert answers(db, SEED_QUERIES) == EXPECTED


def test_the_queries_in_the_seed_itself_run_as_written(db):
    """The same taken from the seed's own text, which also shows that the copy above is faithful."""
    if not SHARED.is_file():
        pytest.skip(f"THE SEED IS NOT HERE: its queries were tried from the copy only ({SHARED.name})")
    queries = [block.strip() for block in re.findall(r"```sql\n(.*?)```", SHARED.read_text("utf-8"), re.DOTALL)]
    assert queries == SEED_QUERIES
    assert answers(db, queries) == EXPECTED


def test_two_databases_have_the_same_schema_text(tmp_path):
    """What is made is a function of the code alone."""
    assert ddl.statements() == ddl.statements()
    made = []
    for name in ("one.db", "two.db"):
        store.create(str(tmp_path / name)).close()
        connection = sqlite3.connect(tmp_path / name)
        made.append(connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY rowid").fetchall())
        connection.close()
    assert made[0] == made[1]
    assert os.stat(tmp_path / "one.db").st_mode & 0o777 == 0o600
