"""The tables of commits: those reachable from HEAD with what their messages say, and those that this clone knows besides."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Text, text
from sqlmodel import Field, SQLModel

from mlos_sync.edge.columns import DERIVED, LOCAL, integer_column, text_column


class Commit(SQLModel, table=True):
    """A commit reachable from HEAD; `parents` are names with a space between."""

    __tablename__ = "commits"
    __table_args__ = DERIVED
    id: int | None = integer_column(None, key=True)
    sha: str = text_column(None, required=True, unique=True)
    author: str = text_column(None, required=True)
    authored_at: str = text_column(None, required=True)
    committer: str = text_column(None, required=True)
    committed_at: str = text_column(None, required=True)
    subject: str = text_column(None, required=True)
    parents: str = text_column(None, required=True)


class CommitChange(SQLModel, table=True):
    """What a commit did to one path, against its first parent (merges list nothing)."""

    __tablename__ = "commit_changes"
    __table_args__ = (
        Index("commit_changes_by_commit", "commit_id"),
        Index("commit_changes_by_old_path", "old_path", sqlite_where=text("old_path IS NOT NULL")),
        {"sqlite_with_rowid": False, **DERIVED},
    )
    path: str = Field(sa_column=Column(Text, primary_key=True))
    commit_id: int = Field(sa_column=Column(Integer, primary_key=True))
    status: str = text_column(None, required=True)
    old_path: str | None = text_column(None)
    blob: str | None = text_column(None)


class CommitReference(SQLModel, table=True):
    """A reference that a commit message makes to a record: the trailer's key and value as they stand."""

    __tablename__ = "commit_references"
    __table_args__ = ({"sqlite_with_rowid": False, **DERIVED},)
    commit_id: int = Field(sa_column=Column(Integer, primary_key=True))
    key: str = Field(sa_column=Column(Text, primary_key=True))
    value: str = Field(sa_column=Column(Text, primary_key=True))
    targets: str | None = text_column(None)  # what it refers to, `task:<uid> ...`, once that was looked up and found


class CommitSession(SQLModel, table=True):
    """A session that a commit names: in a trailer of its message, by the trailer's key, or in a note of git-ai's."""

    __tablename__ = "commit_sessions"
    __table_args__ = (Index("commit_sessions_by_value", "value"), {"sqlite_with_rowid": False, **DERIVED})
    commit_id: int = Field(sa_column=Column(Integer, primary_key=True))
    key: str = Field(sa_column=Column(Text, primary_key=True))
    value: str = Field(sa_column=Column(Text, primary_key=True))


class CommitTrailer(SQLModel, table=True):
    """A trailer of a commit's message as git parses it, unfolded, in the order in which they stand."""

    __tablename__ = "commit_trailers"
    __table_args__ = ({"sqlite_with_rowid": False, **DERIVED},)
    commit_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    number: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    key: str = text_column(None, required=True)
    value: str = text_column(None, required=True)


class CommitRevert(SQLModel, table=True):
    """A commit that a commit says it reverts: the beginning of its name, and of a merge the parent that was gone back to
    ("" for any other)."""

    __tablename__ = "commit_reverts"
    __table_args__ = ({"sqlite_with_rowid": False, **DERIVED},)
    commit_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    sha: str = Field(sa_column=Column(Text, primary_key=True))
    mainline: str = Field(sa_column=Column(Text, primary_key=True))


class Stray(SQLModel, table=True):
    """A commit that this clone knows and HEAD did not reach when it was noted: rewritten, squashed, on another branch. Only
    those whose message refers to something, and those that came after one of them; kept when git has them no more."""

    __tablename__ = "strays"
    __table_args__ = ({"sqlite_with_rowid": False, **LOCAL},)
    sha: str = Field(sa_column=Column(Text, primary_key=True))
    author: str = text_column(None, required=True)
    authored_at: str = text_column(None, required=True)
    subject: str = text_column(None, required=True)
    parents: str = text_column(None, required=True)


class StrayChange(SQLModel, table=True):
    """What a stray did to one path: the blob that it put there, "" where it took the file away."""

    __tablename__ = "stray_changes"
    __table_args__ = (Index("stray_changes_by_content", "path", "blob"), {"sqlite_with_rowid": False, **LOCAL})
    sha: str = Field(sa_column=Column(Text, primary_key=True))
    path: str = Field(sa_column=Column(Text, primary_key=True))
    blob: str = text_column(None, required=True)


class StrayReference(SQLModel, table=True):
    """What a stray's message refers to, records and sessions: key and value as they stand."""

    __tablename__ = "stray_references"
    __table_args__ = ({"sqlite_with_rowid": False, **LOCAL},)
    sha: str = Field(sa_column=Column(Text, primary_key=True))
    key: str = Field(sa_column=Column(Text, primary_key=True))
    value: str = Field(sa_column=Column(Text, primary_key=True))


class Carried(SQLModel, table=True):
    """A reference of a stray that a commit of this history carries on, because it introduced the stray's content: `found` of
    the `sought` paths hold what the stray, or a later commit of its line, left there. `targets` as in `commit_references`."""

    __tablename__ = "carried"
    __table_args__ = ({"sqlite_with_rowid": False, **LOCAL},)
    commit_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    key: str = Field(sa_column=Column(Text, primary_key=True))
    value: str = Field(sa_column=Column(Text, primary_key=True))
    sha: str = Field(sa_column=Column(Text, primary_key=True))
    evidence: str = text_column(None, required=True)
    found: int = integer_column(None, required=True)
    sought: int = integer_column(None, required=True)
    targets: str | None = text_column(None)
