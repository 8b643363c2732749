"""The tables that we add to the seed's five: transcripts, journal, and what is true of this clone only."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from mlos_sync.edge.columns import DERIVED, LOCAL, integer_column, text_column


class ArtifactVersion(SQLModel, table=True):
    """A content that an artifact had before its present one, as this clone saw it."""

    __tablename__ = "artifact_versions"
    __table_args__ = (Index("artifact_versions_by_artifact", "artifact_id"), LOCAL)
    id: int | None = integer_column(None, key=True)
    artifact_id: int = integer_column(None, required=True)
    content_hash: str = text_column(None, required=True)
    until: str = text_column(None, required=True)


class Folder(SQLModel, table=True):
    """Stat cache, a row a folder: name -> (size, mtime_ns, ctime_ns, inode, mode), marshalled.

    What a path looked like when its content was hashed. Packed by folder because every command that walks loads all
    of it: 100,000 rows of six columns took 110 ms to fetch, 500 packed rows take 30.
    """

    __tablename__ = "folders"
    __table_args__ = ({"sqlite_with_rowid": False, **LOCAL},)
    path: str = Field(sa_column=Column(Text, primary_key=True))
    stats: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class TranscriptFile(SQLModel, table=True):
    """A transcript as last read: its hash and reader version say when it must be read again. `kept` says where it is: a
    `file` of the work tree, one that git ignores (`private`; `stat` tells whether it changed), `git` (a note or a branch
    of checkpoints; the hash is git's), or the `journal` (facts)."""

    __tablename__ = "transcripts"
    __table_args__ = ({"sqlite_with_rowid": False, **DERIVED},)
    path: str = Field(sa_column=Column(Text, primary_key=True))
    content_hash: str = text_column(None, required=True)
    reader: int = integer_column(None, required=True)
    format: str = text_column(None, required=True)
    kept: str = text_column(None, required=True)
    stat: str | None = text_column(None)


class SessionFile(SQLModel, table=True):
    """What one transcript says of one session, or of the part of it that one subagent did. `claims` counts its claims;
    `speaks` is 1 for the fullest copy of each part of a session, whose claims count."""

    __tablename__ = "session_files"
    __table_args__ = (Index("session_files_by_session", "session_id"), {"sqlite_with_rowid": False, **DERIVED})
    transcript: str = Field(sa_column=Column(Text, primary_key=True))
    session_id: str = Field(sa_column=Column(Text, primary_key=True))
    part: str = Field(sa_column=Column(Text, primary_key=True))
    tool: str = text_column(None, required=True)
    model: str | None = text_column(None)
    format: str = text_column(None, required=True)
    title: str | None = text_column(None)
    started_at: str | None = text_column(None)
    ended_at: str | None = text_column(None)
    turns: int = integer_column(None, required=True)
    subagent_turns: int = integer_column(None, required=True)
    version: str | None = text_column(None)
    parent: str | None = text_column(None)
    cwd: str | None = text_column(None)
    branch: str | None = text_column(None)
    base_commit: str | None = text_column(None)
    claims: int = integer_column(None, required=True)
    speaks: int = integer_column(None, required=True, default="0")


class ClaimRow(SQLModel, table=True):
    """What a transcript says was done to a file; `path` is the workspace path when it could be placed, `choices` the
    paths, a line each, between which it could not be decided."""

    __tablename__ = "claims"
    __table_args__ = (
        Index("claims_by_path", "path"),
        Index("claims_by_session", "session_id"),
        Index("claims_by_name", "name"),
        {"sqlite_with_rowid": False, **DERIVED},
    )
    transcript: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(sa_column=Column(Integer, primary_key=True))
    session_id: str = text_column(None, required=True)
    part: str = text_column(None, required=True)
    turn: int = integer_column(None, required=True)
    line: int = integer_column(None, required=True)
    at: str | None = text_column(None)
    operation: str = text_column(None, required=True)
    tool: str = text_column(None, required=True)
    raw_path: str = text_column(None, required=True)
    name: str = text_column(None, required=True)  # the last component of the raw path, without case
    cwd: str | None = text_column(None)
    subagent: int = integer_column(None, required=True)
    path: str | None = text_column(None)
    choices: str | None = text_column(None)
    succeeded: int = integer_column(None, required=True)
    hashes: str = text_column(None, required=True)  # SHA-256 of each candidate content, separated by spaces
    blobs: str = text_column(None, required=True)  # git blob ids of the same


class ClaimChange(SQLModel, table=True):
    """The changes of a claim whose result only a base content can tell, packed (see `core/transcripts/replay`); the bases
    that were tried, and what came out: SHA-256s and blob ids."""

    __tablename__ = "claim_changes"
    __table_args__ = ({"sqlite_with_rowid": False, **LOCAL},)
    transcript: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(sa_column=Column(Integer, primary_key=True))
    changes: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    bases: str = text_column(None, required=True)
    hashes: str = text_column(None, required=True)
    blobs: str = text_column(None, required=True)


class SessionCommit(SQLModel, table=True):
    """A commit that a session's own `git commit` printed: a prefix of its name, and its subject."""

    __tablename__ = "session_commits"
    __table_args__ = (Index("session_commits_by_session", "session_id"), {"sqlite_with_rowid": False, **DERIVED})
    transcript: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(sa_column=Column(Integer, primary_key=True))
    session_id: str = text_column(None, required=True)
    part: str = text_column(None, required=True)
    turn: int = integer_column(None, required=True)
    line: int = integer_column(None, required=True)
    at: str | None = text_column(None)
    sha: str = text_column(None, required=True)
    subject: str = text_column(None, required=True)


class TranscriptProblem(SQLModel, table=True):
    """What is malformed in a transcript."""

    __tablename__ = "transcript_problems"
    __table_args__ = ({"sqlite_with_rowid": False, **DERIVED},)
    transcript: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(sa_column=Column(Integer, primary_key=True))
    line: int = integer_column(None, required=True)
    message: str = text_column(None, required=True)


class Unweighed(SQLModel, table=True):
    """Sessions whose evidence must be weighed again: their transcript, a file they claim, or its history changed."""

    __tablename__ = "unweighed"
    __table_args__ = ({"sqlite_with_rowid": False, **LOCAL},)
    session_id: str = Field(sa_column=Column(Text, primary_key=True))


class Event(SQLModel, table=True):
    """One immutable line of the journal, and where it stands here (see app/journaling). Two lines under one id (one of
    them forged) are two rows, so that each goes with what holds it.

    visible: it counts. pending: it counts, and no segment of HEAD's tree has it. waiting: it is in the pending log or
    counted here once, and no segment here has it, so that only refs can tell. stood: it counted here once.
    """

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("id", "sum"),
        Index("events_by_record", "kind", "uid"),
        Index("events_pending", "pending", sqlite_where=text("pending = 1")),
        Index("events_waiting", "waiting", sqlite_where=text("waiting = 1")),
        Index("events_closing", "closing", sqlite_where=text("closing IS NOT NULL")),
        DERIVED,
    )
    seq: int | None = integer_column(None, key=True)
    id: str = text_column(None, required=True)
    sum: str = text_column(None, required=True)
    kind: str = text_column(None, required=True)
    uid: str = text_column(None, required=True)
    clock_ms: int = integer_column(None, required=True)
    clock_n: int = integer_column(None, required=True)
    line: str = text_column(None, required=True)
    ledger: int = integer_column(None, required=True, default="0")
    closing: str | None = text_column(None)  # the commit that makes this closing, while only git log shows it
    visible: int = integer_column(None, required=True, default="0")
    pending: int = integer_column(None, required=True, default="0")
    waiting: int = integer_column(None, required=True, default="0")
    stood: int = integer_column(None, required=True, default="0")


class Mention(SQLModel, table=True):
    """Which records have an event that names a record, a file or a commit: `target` is as the journal writes it. Only
    ever grows, so it may say too much and never too little."""

    __tablename__ = "mentions"
    __table_args__ = ({"sqlite_with_rowid": False, **DERIVED},)
    target: str = Field(sa_column=Column(Text, primary_key=True))
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    uid: str = Field(sa_column=Column(Text, primary_key=True))


class Segment(SQLModel, table=True):
    """A segment by name, and where it is: in HEAD's tree, in HEAD's history (a revert or a merge took it away), on disk,
    in what a branch, tag or remote ref names; and whether a commit ever had it, or it was only made for one. `stat` tells
    an altered file on disk."""

    __tablename__ = "segments"
    __table_args__ = DERIVED
    number: int | None = integer_column(None, key=True)
    name: str = text_column(None, required=True, unique=True)
    path: str = text_column(None, required=True)
    in_head: int = integer_column(None, required=True, default="0")
    in_history: int = integer_column(None, required=True, default="0")
    on_disk: int = integer_column(None, required=True, default="0")
    held: int = integer_column(None, required=True, default="0")
    committed: int = integer_column(None, required=True, default="0")
    stat: str | None = text_column(None)
    problem: str | None = text_column(None)


class SegmentEvent(SQLModel, table=True):
    """Which events a segment holds."""

    __tablename__ = "segment_events"
    __table_args__ = (Index("segment_events_by_event", "event"), {"sqlite_with_rowid": False, **DERIVED})
    segment: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    event: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))


class Held(SQLModel, table=True):
    """A record whose events are known but that cannot stand as a row yet, and why."""

    __tablename__ = "held"
    __table_args__ = ({"sqlite_with_rowid": False, **DERIVED},)
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    uid: str = Field(sa_column=Column(Text, primary_key=True))
    reason: str = text_column(None, required=True)
    state: str = text_column(None, required=True)


class Conflict(SQLModel, table=True):
    """Concurrent edits of one field: who won, who lost, both values."""

    __tablename__ = "conflicts"
    __table_args__ = ({"sqlite_with_rowid": False, **DERIVED},)
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    uid: str = Field(sa_column=Column(Text, primary_key=True))
    field: str = Field(sa_column=Column(Text, primary_key=True))
    loser: str = Field(sa_column=Column(Text, primary_key=True))
    winner: str = text_column(None, required=True)


class Number(SQLModel, table=True):
    """The number each record was created with and the one it carries; the first stays as an alias."""

    __tablename__ = "numbers"
    __table_args__ = (
        Index("numbers_by_claim", "kind", "claimed"),
        Index("numbers_moved", "kind", "number", sqlite_where=text("number <> claimed")),
        {"sqlite_with_rowid": False, **DERIVED},
    )
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    uid: str = Field(sa_column=Column(Text, primary_key=True))
    claimed: int = integer_column(None, required=True)
    born: str = text_column(None, required=True)  # effective clock of the creation, sortable
    number: int = integer_column(None, required=True)


class Underived(SQLModel, table=True):
    """Records whose row changed since edges were last derived from it."""

    __tablename__ = "underived"
    __table_args__ = ({"sqlite_with_rowid": False, **LOCAL},)
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    uid: str = Field(sa_column=Column(Text, primary_key=True))


class RecordKey(SQLModel, table=True):
    """Shadow of (kind, id, uid): tells a REPLACE from an insert, and keeps the ids of the dead from being reused."""

    __tablename__ = "record_keys"
    __table_args__ = (Index("record_keys_by_uid", "kind", "uid", "dead"), {"sqlite_with_rowid": False, **LOCAL})
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(sa_column=Column(Integer, primary_key=True))
    uid: str = text_column(None, required=True)
    dead: int = integer_column(None, required=True, default="0")


class Outbox(SQLModel, table=True):
    """Changes of record rows that triggers wrote down, in the transaction that made them, until they are flushed."""

    __tablename__ = "outbox"
    __table_args__ = {"sqlite_autoincrement": True, **LOCAL}
    seq: int | None = integer_column(None, key=True)
    event: str = text_column(None, required=True)
    at: str = text_column(None, required=True)
    kind: str = text_column(None, required=True)
    uid: str = text_column(None, required=True)
    op: str = text_column(None, required=True)
    old: str | None = text_column(None)
    new: str | None = text_column(None)
    actor: str | None = text_column(None)
    door: str = text_column(None, required=True)
    tx: str | None = text_column(None)
    note: str | None = text_column(None)


class Context(SQLModel, table=True):
    """Who is writing, inside one transaction only: COMMIT fails while the row is there (deferred key to `never`)."""

    __tablename__ = "context"
    __table_args__ = (
        CheckConstraint("id = 1", name="context has one row"),
        ForeignKeyConstraint(["latch"], ["never.id"], deferrable=True, initially="DEFERRED"),
        LOCAL,
    )
    id: int | None = integer_column(None, key=True)
    capture: int = integer_column(None, required=True)
    actor: str | None = text_column(None)
    door: str = text_column(None, required=True)
    tx: str | None = text_column(None)
    note: str | None = text_column(None)  # a JSON object: what goes into the record's history beside its columns
    latch: int = integer_column(None, required=True, default="1")


class Never(SQLModel, table=True):
    """Always empty: what the latch of `context` points at."""

    __tablename__ = "never"
    __table_args__ = (CheckConstraint("0", name="never stays empty"), LOCAL)
    id: int | None = integer_column(None, key=True)


class Captured(SQLModel, table=True):
    """How each column of a record is journaled: the database describes itself, so no hot path imports this module."""

    __tablename__ = "captured"
    __table_args__ = ({"sqlite_with_rowid": False, **LOCAL},)
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    column: str = Field(sa_column=Column(Text, primary_key=True))
    form: str = text_column(None, required=True)
    target: str | None = text_column(None)


class Observation(SQLModel, table=True):
    """Something worth telling that is no error: an unresolved reference, a file that could not be read."""

    __tablename__ = "observations"
    __table_args__ = ({"sqlite_with_rowid": False, **LOCAL},)
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    subject: str = Field(sa_column=Column(Text, primary_key=True))
    message: str = text_column(None, required=True)


class Meta(SQLModel, table=True):
    """Small facts: HEAD as indexed, ledger size, generation of the file index."""

    __tablename__ = "meta"
    __table_args__ = ({"sqlite_with_rowid": False, **LOCAL},)
    key: str = Field(sa_column=Column(Text, primary_key=True))
    value: str = text_column(None, required=True)
