"""The tables, declared once with SQLModel: DDL, rules and the generated triggers all come from here.

The five tables of the ML OS seed carry exactly its column names; what we add is said beside each column. The
`info` of a table tells its role, and `edge/ddl.py` and the tests act on it:

    record   rows that people and agents make: captured by triggers, journaled, folded back
    derived  can be computed again from files, git and the journal
    local    true of this clone only (stat cache, outbox, observations); never in the canonical dump

The `info` of a record's column tells how it is journaled: "value", ("ref", kind), ("refs", kind), or nothing.
`edge/commit_tables.py` and `edge/bookkeeping.py` declare the tables that we add. Only `edge/ddl.py` imports these
modules: SQLModel costs 0.3 s to import, so it runs when a database is created.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from mlos_sync.core.vocabulary import (
    AGENT_STATUSES,
    ANNOTATED,
    ARTIFACT_TYPES,
    ENDPOINTS,
    EVIDENCE,
    NEED_STATUSES,
    ORIGINS,
    RELATIONSHIP_TYPES,
    TASK_STATUSES,
)
from mlos_sync.edge.columns import (
    DERIVED,
    NOW,
    RECORD,
    UID,
    foreign_key,
    integer_column,
    is_day,
    is_list,
    is_number,
    is_priority,
    is_text,
    is_time,
    is_uid,
    not_empty,
    one_of,
    text_column,
)

SCHEMA_VERSION = 5


class Need(SQLModel, table=True):
    """A persistent, evolving state that the system must satisfy. Added: closed_by (the commit that closed it), uid, origin."""

    __tablename__ = "needs"
    __table_args__ = (
        one_of("needs", "status", NEED_STATUSES),
        one_of("needs", "origin", ORIGINS),
        is_priority("needs"),
        not_empty("needs", "title"),
        is_uid("needs"),
        is_number("needs"),
        *is_text("needs", "title", "description", "scope", "source_transcript"),
        *is_time("needs", "created_at", "updated_at"),
        CheckConstraint("parent_need_id <> id", name="needs.parent_need_id names another need"),
        foreign_key("parent_need_id", "needs"),
        RECORD,
    )
    id: int | None = integer_column(key=True)
    title: str = text_column(required=True)
    description: str | None = text_column()
    status: str = text_column(required=True, default="identified")
    priority: int | None = integer_column()
    scope: str | None = text_column()
    created_at: str | None = text_column(default=NOW)
    updated_at: str | None = text_column(None, default=NOW)
    source_transcript: str | None = text_column()
    parent_need_id: int | None = integer_column(("ref", "need"))
    closed_by: str | None = text_column(None)
    uid: str = text_column(None, required=True, default=UID, unique=True)
    origin: str = text_column(None, required=True, default="record")


class Task(SQLModel, table=True):
    """A concrete action derived from a need. Added: closed_by (the commit that closed it), uid, origin."""

    __tablename__ = "tasks"
    __table_args__ = (
        one_of("tasks", "status", TASK_STATUSES),
        one_of("tasks", "origin", ORIGINS),
        is_priority("tasks"),
        not_empty("tasks", "description"),
        is_uid("tasks"),
        is_number("tasks"),
        *is_text("tasks", "description", "result", "source_transcript"),
        *is_time("tasks", "created_at", "updated_at"),
        is_day("tasks", "assigned_date"),
        foreign_key("need_id", "needs"),
        foreign_key("assigned_agent_id", "agents"),
        Index("tasks_by_need", "need_id"),
        RECORD,
    )
    id: int | None = integer_column(key=True)
    need_id: int | None = integer_column(("ref", "need"))
    description: str = text_column(required=True)
    status: str = text_column(required=True, default="open")
    priority: int | None = integer_column()
    assigned_agent_id: int | None = integer_column(("ref", "agent"))
    result: str | None = text_column()
    created_at: str | None = text_column(default=NOW)
    updated_at: str | None = text_column(None, default=NOW)
    assigned_date: str | None = text_column()
    source_transcript: str | None = text_column()
    closed_by: str | None = text_column(None)
    uid: str = text_column(None, required=True, default=UID, unique=True)
    origin: str = text_column(None, required=True, default="record")


class Agent(SQLModel, table=True):
    """One invocation of an agent. Added: model, uid, origin. Derived rows are sessions read from transcripts."""

    __tablename__ = "agents"
    __table_args__ = (
        one_of("agents", "status", AGENT_STATUSES),
        one_of("agents", "origin", ORIGINS),
        not_empty("agents", "agent_type"),
        is_uid("agents"),
        is_number("agents"),
        *is_text("agents", "agent_type", "kernel_version", "session_transcript", "result_summary", "model"),
        *is_list("agents", "provisioned_artifacts", "assigned_tasks", "monitored_needs"),
        *is_time("agents", "started_at", "completed_at"),
        RECORD,
    )
    id: int | None = integer_column(key=True)
    agent_type: str = text_column(required=True)
    status: str = text_column(required=True, default="provisioning")
    kernel_version: str | None = text_column()
    provisioned_artifacts: str | None = text_column(("refs", "artifact"))
    assigned_tasks: str | None = text_column(("refs", "task"))
    monitored_needs: str | None = text_column(("refs", "need"))
    session_transcript: str | None = text_column()
    started_at: str | None = text_column(default=NOW)
    completed_at: str | None = text_column()
    result_summary: str | None = text_column()
    model: str | None = text_column()
    uid: str = text_column(None, required=True, default=UID, unique=True)
    origin: str = text_column(None, required=True, default="record")


class Relationship(SQLModel, table=True):
    """An edge between any two entities. Added: evidence, uid (of source, type and target), origin."""

    __tablename__ = "relationships"
    __table_args__ = (
        one_of("relationships", "source_type", ENDPOINTS),
        one_of("relationships", "target_type", ENDPOINTS),
        one_of("relationships", "relationship_type", RELATIONSHIP_TYPES),
        one_of("relationships", "evidence", EVIDENCE),
        one_of("relationships", "origin", ORIGINS),
        is_uid("relationships"),
        is_number("relationships"),
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
        *is_text("relationships", "metadata"),
        *is_time("relationships", "created_at"),
        Index("relationships_by_target", "target_type", "target_id"),
        RECORD,
    )
    id: int | None = integer_column(None, key=True)
    source_type: str = text_column("end", required=True)
    source_id: int = integer_column("end", required=True)
    target_type: str = text_column("end", required=True)
    target_id: int = integer_column("end", required=True)
    relationship_type: str = text_column("end", required=True)
    # `metadata` is a reserved attribute of declarative classes; the column keeps the seed's name.
    meta: str | None = Field(default=None, sa_column=Column("metadata", Text, info={"journal": "value"}))
    created_at: str | None = text_column(default=NOW)
    evidence: str = text_column(None, required=True, default="declared")
    uid: str = text_column(None, required=True, default=UID, unique=True)
    origin: str = text_column(None, required=True, default="record")


class Artifact(SQLModel, table=True):
    """A file known to the index. Added: last_path (file_path is NULL once the file has gone), blob, own (what the file says
    of itself, a JSON object), annotated (whether somebody said more), made_in (the transcript of the session that made it,
    as far as evidence goes: what source_transcript tells where nobody said otherwise), uid, origin."""

    __tablename__ = "artifacts"
    __table_args__ = (
        one_of("artifacts", "artifact_type", ARTIFACT_TYPES),
        CheckConstraint(
            "content_hash IS NULL OR (length(content_hash) = 64 AND content_hash NOT GLOB '*[^0-9a-f]*')",
            name="artifacts.content_hash is a SHA-256 in hex",
        ),
        UniqueConstraint("file_path", name="one artifact per path"),
        {"sqlite_autoincrement": True, **DERIVED},
    )
    id: int | None = integer_column(None, key=True)
    title: str = text_column(None, required=True)
    description: str | None = text_column(None)
    file_path: str | None = text_column(None)
    artifact_type: str | None = text_column(None)
    content_hash: str | None = text_column(None)
    created_at: str | None = text_column(None)
    updated_at: str | None = text_column(None)
    source_transcript: str | None = text_column(None)
    last_path: str | None = text_column(None)
    blob: str | None = text_column(None)
    own: str | None = text_column(None)
    annotated: int = integer_column(None, required=True, default="0")
    made_in: str | None = text_column(None)
    uid: str = text_column(None, required=True, unique=True)
    origin: str = text_column(None, required=True, default="derived")


class Annotation(SQLModel, table=True):
    """What somebody said of a file: a live UPDATE of `artifacts` becomes one of these, and `mlos-sync artifact set` makes
    them. Known by the path, so its uid is that of the artifact at that path."""

    __tablename__ = "annotations"
    __table_args__ = (
        one_of("annotations", "artifact_type", ARTIFACT_TYPES, null=True),
        one_of("annotations", "origin", ORIGINS),
        not_empty("annotations", "title"),
        not_empty("annotations", "path"),
        is_uid("annotations"),
        is_number("annotations"),
        *is_text("annotations", "path", *ANNOTATED),
        *is_time("annotations", "created_at", "updated_at"),
        UniqueConstraint("path", name="one annotation per path"),
        RECORD,
    )
    id: int | None = integer_column(None, key=True)
    path: str = text_column(required=True)
    title: str | None = text_column()
    description: str | None = text_column()
    artifact_type: str | None = text_column()
    source_transcript: str | None = text_column()
    created_at: str | None = text_column(default=NOW)
    updated_at: str | None = text_column(None, default=NOW)
    uid: str = text_column(None, required=True, unique=True)
    origin: str = text_column(None, required=True, default="record")


class Fact(SQLModel, table=True):
    """What a transcript that git ignores tells of one file, without its words: so that a clone, which has no such
    transcript, still answers `why`. Known by session and path; `operations` and `blobs` (git's names for the contents
    that the session left there) are separated by spaces. `path` is empty for what concerns the session as a whole."""

    __tablename__ = "facts"
    __table_args__ = (
        one_of("facts", "origin", ORIGINS),
        not_empty("facts", "session_id"),
        is_uid("facts"),
        is_number("facts"),
        *is_text("facts", "session_id", "tool", "model", "path", "operations", "blobs"),
        *is_time("facts", "started_at", "ended_at", "first_at", "last_at", "created_at", "updated_at"),
        UniqueConstraint("session_id", "path", name="one fact per session and path"),
        RECORD,
    )
    id: int | None = integer_column(None, key=True)
    session_id: str = text_column(required=True)
    path: str = text_column(required=True)
    tool: str | None = text_column()
    model: str | None = text_column()
    started_at: str | None = text_column()
    ended_at: str | None = text_column()
    operations: str | None = text_column()
    blobs: str | None = text_column()
    first_at: str | None = text_column()
    last_at: str | None = text_column()
    created_at: str | None = text_column(default=NOW)
    updated_at: str | None = text_column(None, default=NOW)
    uid: str = text_column(None, required=True, unique=True)
    origin: str = text_column(None, required=True, default="record")
