"""The tables, declared once with SQLModel: DDL, rules and the generated triggers all come from here.

The five tables of the ML OS seed carry exactly its column names; what we add is said beside each column. The
`info` of a table tells its role, and `edge/ddl.py` and the tests act on it:

    record   rows that people and agents make: captured by triggers, journaled, folded back
    derived  can be computed again from files, git and the journal
    local    true of this clone only (stat cache, outbox, observations); never in the canonical dump

The `info` of a record's column tells how it is journaled: "value", ("ref", kind), ("refs", kind), or nothing.
Only `edge/ddl.py` imports this module: SQLModel costs 0.3 s to import, so it runs when a database is created.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Index, Integer, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from mlos_sync.core.vocabulary import (
    AGENT_STATUSES,
    ARTIFACT_TYPES,
    ENDPOINTS,
    EVIDENCE,
    NEED_STATUSES,
    ORIGINS,
    RELATIONSHIP_TYPES,
    TASK_STATUSES,
)

SCHEMA_VERSION = 1
NOW = "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"
UID = "lower(hex(randomblob(16)))"
TEXT_LIMIT = 262_144  # bytes in one text column; keeps a journal line bounded


def _text(journal: Any = "value", *, required: bool = False, default: str = "", unique: bool = False) -> Any:
    server = text(f"({default})" if "(" in default else f"'{default}'") if default else None
    return Field(
        default=None,
        sa_column=Column(Text, nullable=not required, server_default=server, unique=unique, info={"journal": journal}),
    )


def _integer(journal: Any = "value", *, required: bool = False, key: bool = False, default: str = "") -> Any:
    server = text(default) if default else None
    column = Column(Integer, primary_key=key, nullable=not (required or key), server_default=server)
    column.info["journal"] = journal
    return Field(default=None, sa_column=column)


def _is_text(table: str, *columns: str) -> list[CheckConstraint]:
    return [
        CheckConstraint(
            f"{c} IS NULL OR (typeof({c}) = 'text' AND instr({c}, char(0)) = 0 AND length({c}) <= {TEXT_LIMIT})",
            name=f"{table}.{c} is text without NUL, at most {TEXT_LIMIT} characters",
        )
        for c in columns
    ]


def _one_of(table: str, column: str, words: tuple[str, ...], *, null: bool = False) -> CheckConstraint:
    listed = ", ".join(f"'{w}'" for w in words)
    absent = f"{column} IS NULL OR " if null else ""
    return CheckConstraint(f"{absent}{column} IN ({listed})", name=f"{table}.{column} is one of {', '.join(words)}")


def _is_time(table: str, *columns: str) -> list[CheckConstraint]:
    return [
        CheckConstraint(
            f"{c} IS NULL OR (typeof({c}) = 'text' AND julianday({c}) IS NOT NULL AND {c} GLOB '????-??-??T??:??:??*Z')",
            name=f"{table}.{c} is a UTC time such as 2026-11-20T10:00:00Z",
        )
        for c in columns
    ]


def _is_list(table: str, *columns: str) -> list[CheckConstraint]:
    return [
        CheckConstraint(
            f"{c} IS NULL OR (json_valid({c}) AND json_type({c}) = 'array')", name=f"{table}.{c} is a JSON array of ids"
        )
        for c in columns
    ]


def _priority(table: str) -> CheckConstraint:
    return CheckConstraint(
        "priority IS NULL OR (typeof(priority) = 'integer' AND priority BETWEEN 1 AND 5)",
        name=f"{table}.priority is a whole number from 1 (critical) to 5 (background)",
    )


def _not_empty(table: str, column: str) -> CheckConstraint:
    return CheckConstraint(f"trim({column}) <> ''", name=f"{table}.{column} is not empty")


def _uid(table: str) -> CheckConstraint:
    return CheckConstraint(
        "length(uid) = 32 AND uid NOT GLOB '*[^0-9a-f]*'", name=f"{table}.uid is 32 lower-case hex digits"
    )


def _foreign(column: str, table: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint([column], [f"{table}.id"], ondelete="SET NULL", name=f"{column} names one of {table}")


RECORD = {"sqlite_autoincrement": True, "info": {"role": "record"}}
DERIVED = {"info": {"role": "derived"}}
LOCAL = {"info": {"role": "local"}}


class Need(SQLModel, table=True):
    """A persistent, evolving state that the system must satisfy. Added: uid, origin."""

    __tablename__ = "needs"
    __table_args__ = (
        _one_of("needs", "status", NEED_STATUSES),
        _one_of("needs", "origin", ORIGINS),
        _priority("needs"),
        _not_empty("needs", "title"),
        _uid("needs"),
        *_is_text("needs", "title", "description", "scope", "source_transcript"),
        *_is_time("needs", "created_at", "updated_at"),
        CheckConstraint("parent_need_id <> id", name="needs.parent_need_id names another need"),
        _foreign("parent_need_id", "needs"),
        RECORD,
    )
    id: int | None = _integer(key=True)
    title: str = _text(required=True)
    description: str | None = _text()
    status: str = _text(required=True, default="identified")
    priority: int | None = _integer()
    scope: str | None = _text()
    created_at: str | None = _text(default=NOW)
    updated_at: str | None = _text(None, default=NOW)
    source_transcript: str | None = _text()
    parent_need_id: int | None = _integer(("ref", "need"))
    uid: str = _text(None, required=True, default=UID, unique=True)
    origin: str = _text(None, required=True, default="record")


class Task(SQLModel, table=True):
    """A concrete action derived from a need. Added: uid, origin."""

    __tablename__ = "tasks"
    __table_args__ = (
        _one_of("tasks", "status", TASK_STATUSES),
        _one_of("tasks", "origin", ORIGINS),
        _priority("tasks"),
        _not_empty("tasks", "description"),
        _uid("tasks"),
        *_is_text("tasks", "description", "result", "source_transcript"),
        *_is_time("tasks", "created_at", "updated_at"),
        CheckConstraint(
            "assigned_date IS NULL OR (typeof(assigned_date) = 'text' AND julianday(assigned_date) IS NOT NULL"
            " AND assigned_date GLOB '????-??-??*')",
            name="tasks.assigned_date is a date such as 2026-11-20",
        ),
        _foreign("need_id", "needs"),
        _foreign("assigned_agent_id", "agents"),
        Index("tasks_by_need", "need_id"),
        RECORD,
    )
    id: int | None = _integer(key=True)
    need_id: int | None = _integer(("ref", "need"))
    description: str = _text(required=True)
    status: str = _text(required=True, default="open")
    priority: int | None = _integer()
    assigned_agent_id: int | None = _integer(("ref", "agent"))
    result: str | None = _text()
    created_at: str | None = _text(default=NOW)
    updated_at: str | None = _text(None, default=NOW)
    assigned_date: str | None = _text()
    source_transcript: str | None = _text()
    uid: str = _text(None, required=True, default=UID, unique=True)
    origin: str = _text(None, required=True, default="record")


class Agent(SQLModel, table=True):
    """One invocation of an agent. Added: model, uid, origin. Derived rows are sessions read from transcripts."""

    __tablename__ = "agents"
    __table_args__ = (
        _one_of("agents", "status", AGENT_STATUSES),
        _one_of("agents", "origin", ORIGINS),
        _not_empty("agents", "agent_type"),
        _uid("agents"),
        *_is_text("agents", "agent_type", "kernel_version", "session_transcript", "result_summary", "model"),
        *_is_list("agents", "provisioned_artifacts", "assigned_tasks", "monitored_needs"),
        *_is_time("agents", "started_at", "completed_at"),
        RECORD,
    )
    id: int | None = _integer(key=True)
    agent_type: str = _text(required=True)
    status: str = _text(required=True, default="provisioning")
    kernel_version: str | None = _text()
    provisioned_artifacts: str | None = _text(("refs", "artifact"))
    assigned_tasks: str | None = _text(("refs", "task"))
    monitored_needs: str | None = _text(("refs", "need"))
    session_transcript: str | None = _text()
    started_at: str | None = _text(default=NOW)
    completed_at: str | None = _text()
    result_summary: str | None = _text()
    model: str | None = _text()
    uid: str = _text(None, required=True, default=UID, unique=True)
    origin: str = _text(None, required=True, default="record")


class Relationship(SQLModel, table=True):
    """An edge between any two entities. Added: evidence, uid (of source, type and target), origin."""

    __tablename__ = "relationships"
    __table_args__ = (
        _one_of("relationships", "source_type", ENDPOINTS),
        _one_of("relationships", "target_type", ENDPOINTS),
        _one_of("relationships", "relationship_type", RELATIONSHIP_TYPES),
        _one_of("relationships", "evidence", EVIDENCE),
        _one_of("relationships", "origin", ORIGINS),
        _uid("relationships"),
        CheckConstraint(
            "metadata IS NULL OR (json_valid(metadata) AND json_type(metadata) = 'object')",
            name="relationships.metadata is a JSON object",
        ),
        CheckConstraint(
            "source_type <> target_type OR source_id <> target_id", name="relationships join two different ends"
        ),
        UniqueConstraint(
            "source_type",
            "source_id",
            "relationship_type",
            "target_type",
            "target_id",
            name="one edge per ends and type",
        ),
        *_is_text("relationships", "metadata"),
        *_is_time("relationships", "created_at"),
        Index("relationships_by_target", "target_type", "target_id"),
        RECORD,
    )
    id: int | None = _integer(None, key=True)
    source_type: str = _text("end", required=True)
    source_id: int = _integer("end", required=True)
    target_type: str = _text("end", required=True)
    target_id: int = _integer("end", required=True)
    relationship_type: str = _text("end", required=True)
    # `metadata` is a reserved attribute of declarative classes; the column keeps the seed's name.
    meta: str | None = Field(default=None, sa_column=Column("metadata", Text, info={"journal": "value"}))
    created_at: str | None = _text(default=NOW)
    evidence: str = _text(None, required=True, default="declared")
    uid: str = _text(None, required=True, default=UID, unique=True)
    origin: str = _text(None, required=True, default="record")


class Artifact(SQLModel, table=True):
    """A file known to the index. Added: last_path (file_path is NULL once the file has gone), blob, uid, origin."""

    __tablename__ = "artifacts"
    __table_args__ = (
        _one_of("artifacts", "artifact_type", ARTIFACT_TYPES),
        CheckConstraint(
            "content_hash IS NULL OR (length(content_hash) = 64 AND content_hash NOT GLOB '*[^0-9a-f]*')",
            name="artifacts.content_hash is a SHA-256 in hex",
        ),
        UniqueConstraint("file_path", name="one artifact per path"),
        {"sqlite_autoincrement": True, **DERIVED},
    )
    id: int | None = _integer(None, key=True)
    title: str = _text(None, required=True)
    description: str | None = _text(None)
    file_path: str | None = _text(None)
    artifact_type: str | None = _text(None)
    content_hash: str | None = _text(None)
    created_at: str | None = _text(None)
    updated_at: str | None = _text(None)
    source_transcript: str | None = _text(None)
    last_path: str | None = _text(None)
    blob: str | None = _text(None)
    uid: str = _text(None, required=True, unique=True)
    origin: str = _text(None, required=True, default="derived")


class ArtifactVersion(SQLModel, table=True):
    """A content that an artifact had before its present one, as this clone saw it."""

    __tablename__ = "artifact_versions"
    __table_args__ = (Index("artifact_versions_by_artifact", "artifact_id"), LOCAL)
    id: int | None = _integer(None, key=True)
    artifact_id: int = _integer(None, required=True)
    content_hash: str = _text(None, required=True)
    until: str = _text(None, required=True)


class File(SQLModel, table=True):
    """Stat cache: what a path looked like when its content was hashed (git's racy rule decides who is trusted)."""

    __tablename__ = "files"
    __table_args__ = ({"sqlite_with_rowid": False, **LOCAL},)
    path: str = Field(sa_column=Column(Text, primary_key=True))
    size: int = _integer(None, required=True)
    mtime_ns: int = _integer(None, required=True)
    ctime_ns: int = _integer(None, required=True)
    inode: int = _integer(None, required=True)
    mode: int = _integer(None, required=True)


class Commit(SQLModel, table=True):
    """A commit reachable from HEAD."""

    __tablename__ = "commits"
    __table_args__ = DERIVED
    id: int | None = _integer(None, key=True)
    sha: str = _text(None, required=True, unique=True)
    author: str = _text(None, required=True)
    authored_at: str = _text(None, required=True)
    committed_at: str = _text(None, required=True)
    subject: str = _text(None, required=True)


class CommitChange(SQLModel, table=True):
    """What a commit did to one path, against its first parent (merges list nothing)."""

    __tablename__ = "commit_changes"
    __table_args__ = (Index("commit_changes_by_commit", "commit_id"), {"sqlite_with_rowid": False, **DERIVED})
    path: str = Field(sa_column=Column(Text, primary_key=True))
    commit_id: int = Field(sa_column=Column(Integer, primary_key=True))
    status: str = _text(None, required=True)
    old_path: str | None = _text(None)
    blob: str | None = _text(None)


class CommitReference(SQLModel, table=True):
    """A reference that a commit message makes to a record: the trailer's key and value as they stand."""

    __tablename__ = "commit_references"
    __table_args__ = ({"sqlite_with_rowid": False, **DERIVED},)
    commit_id: int = Field(sa_column=Column(Integer, primary_key=True))
    key: str = Field(sa_column=Column(Text, primary_key=True))
    value: str = Field(sa_column=Column(Text, primary_key=True))


class TranscriptFile(SQLModel, table=True):
    """A transcript as last read: its hash and reader version say when it must be read again."""

    __tablename__ = "transcripts"
    __table_args__ = ({"sqlite_with_rowid": False, **DERIVED},)
    path: str = Field(sa_column=Column(Text, primary_key=True))
    content_hash: str = _text(None, required=True)
    reader: int = _integer(None, required=True)
    session_id: str | None = _text(None)
    tool: str | None = _text(None)
    model: str | None = _text(None)
    title: str | None = _text(None)
    started_at: str | None = _text(None)
    ended_at: str | None = _text(None)
    turns: int = _integer(None, required=True)


class ClaimRow(SQLModel, table=True):
    """What a transcript says was done to a file; `path` is the workspace path when it could be placed."""

    __tablename__ = "claims"
    __table_args__ = (Index("claims_by_path", "path"), {"sqlite_with_rowid": False, **DERIVED})
    transcript: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(sa_column=Column(Integer, primary_key=True))
    turn: int = _integer(None, required=True)
    line: int = _integer(None, required=True)
    at: str | None = _text(None)
    operation: str = _text(None, required=True)
    tool: str = _text(None, required=True)
    raw_path: str = _text(None, required=True)
    path: str | None = _text(None)
    succeeded: int = _integer(None, required=True)
    hashes: str = _text(None, required=True)  # SHA-256 of each candidate content, separated by spaces
    blobs: str = _text(None, required=True)  # git blob ids of the same


class Event(SQLModel, table=True):
    """One immutable line of the journal, and whether it counts here (see app/journaling)."""

    __tablename__ = "events"
    __table_args__ = (Index("events_by_record", "kind", "uid"), {"sqlite_with_rowid": False, **DERIVED})
    id: str = Field(sa_column=Column(Text, primary_key=True))
    kind: str = _text(None, required=True)
    uid: str = _text(None, required=True)
    clock_ms: int = _integer(None, required=True)
    clock_n: int = _integer(None, required=True)
    line: str = _text(None, required=True)
    ledger: int = _integer(None, required=True, default="0")
    closing: str | None = _text(None)  # the commit that makes this closing, while only git log shows it
    visible: int = _integer(None, required=True, default="0")


class Segment(SQLModel, table=True):
    """A segment by name: present in HEAD's tree or the work tree, held by a branch, tag or remote ref."""

    __tablename__ = "segments"
    __table_args__ = ({"sqlite_with_rowid": False, **DERIVED},)
    name: str = Field(sa_column=Column(Text, primary_key=True))
    path: str = _text(None, required=True)
    present: int = _integer(None, required=True, default="0")
    held: int = _integer(None, required=True, default="0")
    problem: str | None = _text(None)


class SegmentEvent(SQLModel, table=True):
    """Which events a segment holds."""

    __tablename__ = "segment_events"
    __table_args__ = (Index("segment_events_by_event", "event"), {"sqlite_with_rowid": False, **DERIVED})
    segment: str = Field(sa_column=Column(Text, primary_key=True))
    event: str = Field(sa_column=Column(Text, primary_key=True))


class Held(SQLModel, table=True):
    """A record whose events are known but that cannot stand as a row yet, and why."""

    __tablename__ = "held"
    __table_args__ = ({"sqlite_with_rowid": False, **DERIVED},)
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    uid: str = Field(sa_column=Column(Text, primary_key=True))
    reason: str = _text(None, required=True)
    state: str = _text(None, required=True)


class Conflict(SQLModel, table=True):
    """Concurrent edits of one field: who won, who lost, both values."""

    __tablename__ = "conflicts"
    __table_args__ = ({"sqlite_with_rowid": False, **DERIVED},)
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    uid: str = Field(sa_column=Column(Text, primary_key=True))
    field: str = Field(sa_column=Column(Text, primary_key=True))
    loser: str = Field(sa_column=Column(Text, primary_key=True))
    winner: str = _text(None, required=True)


class Number(SQLModel, table=True):
    """The number each record was created with and the one it carries; the first stays as an alias."""

    __tablename__ = "numbers"
    __table_args__ = (Index("numbers_by_claim", "kind", "claimed"), {"sqlite_with_rowid": False, **DERIVED})
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    uid: str = Field(sa_column=Column(Text, primary_key=True))
    claimed: int = _integer(None, required=True)
    born: str = _text(None, required=True)  # effective clock of the creation, sortable
    number: int = _integer(None, required=True)


class RecordKey(SQLModel, table=True):
    """Shadow of (kind, id, uid): tells a REPLACE from an insert, and keeps the ids of the dead from being reused."""

    __tablename__ = "record_keys"
    __table_args__ = (Index("record_keys_by_uid", "kind", "uid"), {"sqlite_with_rowid": False, **LOCAL})
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(sa_column=Column(Integer, primary_key=True))
    uid: str = _text(None, required=True)
    dead: int = _integer(None, required=True, default="0")


class Outbox(SQLModel, table=True):
    """Changes of record rows that triggers wrote down, in the transaction that made them, until they are flushed."""

    __tablename__ = "outbox"
    __table_args__ = {"sqlite_autoincrement": True, **LOCAL}
    seq: int | None = _integer(None, key=True)
    event: str = _text(None, required=True)
    at: str = _text(None, required=True)
    kind: str = _text(None, required=True)
    uid: str = _text(None, required=True)
    op: str = _text(None, required=True)
    old: str | None = _text(None)
    new: str | None = _text(None)
    actor: str | None = _text(None)
    door: str = _text(None, required=True)
    tx: str | None = _text(None)


class Context(SQLModel, table=True):
    """Who is writing, inside one transaction only: COMMIT fails while the row is there (deferred key to `never`)."""

    __tablename__ = "context"
    __table_args__ = (
        CheckConstraint("id = 1", name="context has one row"),
        ForeignKeyConstraint(["latch"], ["never.id"], deferrable=True, initially="DEFERRED"),
        LOCAL,
    )
    id: int | None = _integer(None, key=True)
    capture: int = _integer(None, required=True)
    actor: str | None = _text(None)
    door: str = _text(None, required=True)
    tx: str | None = _text(None)
    latch: int = _integer(None, required=True, default="1")


class Never(SQLModel, table=True):
    """Always empty: what the latch of `context` points at."""

    __tablename__ = "never"
    __table_args__ = (CheckConstraint("0", name="never stays empty"), LOCAL)
    id: int | None = _integer(None, key=True)


class Captured(SQLModel, table=True):
    """How each column of a record is journaled: the database describes itself, so no hot path imports this module."""

    __tablename__ = "captured"
    __table_args__ = ({"sqlite_with_rowid": False, **LOCAL},)
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    column: str = Field(sa_column=Column(Text, primary_key=True))
    form: str = _text(None, required=True)
    target: str | None = _text(None)


class Observation(SQLModel, table=True):
    """Something worth telling that is no error: an unresolved reference, a file that could not be read."""

    __tablename__ = "observations"
    __table_args__ = ({"sqlite_with_rowid": False, **LOCAL},)
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    subject: str = Field(sa_column=Column(Text, primary_key=True))
    message: str = _text(None, required=True)


class Meta(SQLModel, table=True):
    """Small facts: HEAD as indexed, ledger size, generation of the file index."""

    __tablename__ = "meta"
    __table_args__ = ({"sqlite_with_rowid": False, **LOCAL},)
    key: str = Field(sa_column=Column(Text, primary_key=True))
    value: str = _text(None, required=True)
