"""Columns and rules that the tables are declared with: text, numbers, named CHECKs whose names are the messages."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Integer, Text, text
from sqlmodel import Field

NOW = "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"
UID = "lower(hex(randomblob(16)))"
TEXT_LIMIT = 262_144  # bytes in one text column; keeps a journal line bounded


def text_column(journal: Any = "value", *, required: bool = False, default: str = "", unique: bool = False) -> Any:
    """A TEXT column; `journal` says how it is journaled (see `edge/schema.py`), `default` is a word or an SQL expression."""
    server = text(f"({default})" if "(" in default else f"'{default}'") if default else None
    return Field(
        default=None,
        sa_column=Column(Text, nullable=not required, server_default=server, unique=unique, info={"journal": journal}),
    )


def integer_column(journal: Any = "value", *, required: bool = False, key: bool = False, default: str = "") -> Any:
    """An INTEGER column, likewise; `key` makes it the primary key."""
    server = text(default) if default else None
    column = Column(Integer, primary_key=key, nullable=not (required or key), server_default=server)
    column.info["journal"] = journal
    return Field(default=None, sa_column=column)


def is_text(table: str, *columns: str) -> list[CheckConstraint]:
    """Text only (a float would lose digits, a NUL would cut it in JSON), and of bounded size."""
    return [
        CheckConstraint(
            f"{c} IS NULL OR (typeof({c}) = 'text' AND instr({c}, char(0)) = 0 AND length({c}) <= {TEXT_LIMIT})",
            name=f"{table}.{c} is text without NUL, at most {TEXT_LIMIT} characters",
        )
        for c in columns
    ]


def one_of(table: str, column: str, words: tuple[str, ...], *, null: bool = False) -> CheckConstraint:
    """An enumeration."""
    listed = ", ".join(f"'{w}'" for w in words)
    absent = f"{column} IS NULL OR " if null else ""
    return CheckConstraint(f"{absent}{column} IN ({listed})", name=f"{table}.{column} is one of {', '.join(words)}")


DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
CLOCK = "T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]"


def is_time(table: str, *columns: str) -> list[CheckConstraint]:
    """A UTC time in the one form that sorts as text; it must be what SQLite reads it as (30 February is not)."""
    return [
        CheckConstraint(
            f"{c} IS NULL OR (typeof({c}) = 'text' AND {c} GLOB '{DAY}{CLOCK}*'"
            f" AND strftime('%Y-%m-%dT%H:%M:%S', substr({c}, 1, 19), '+0 days') IS substr({c}, 1, 19)"
            f" AND (substr({c}, 20) = 'Z' OR ({c} GLOB '*.[0-9]*Z'"
            f" AND substr({c}, 21, length({c}) - 21) NOT GLOB '*[^0-9]*' AND substr({c}, 20, 1) = '.')))",
            name=f"{table}.{c} is a UTC time such as 2026-11-20T10:00:00Z",
        )
        for c in columns
    ]


def is_day(table: str, column: str) -> CheckConstraint:
    """A date, alone or with a time behind it."""
    return CheckConstraint(
        f"{column} IS NULL OR (typeof({column}) = 'text' AND {column} GLOB '{DAY}*'"
        f" AND strftime('%Y-%m-%d', substr({column}, 1, 10), '+0 days') IS substr({column}, 1, 10)"
        f" AND (length({column}) = 10 OR {column} GLOB '{DAY}{CLOCK}*Z'))",
        name=f"{table}.{column} is a date such as 2026-11-20",
    )


def is_number(table: str) -> CheckConstraint:
    """An id that JSON carries unharmed."""
    return CheckConstraint("id BETWEEN 1 AND 9007199254740991", name=f"{table}.id is a whole number from 1 to 2^53 - 1")


def is_list(table: str, *columns: str) -> list[CheckConstraint]:
    """A JSON array."""
    return [
        CheckConstraint(
            f"{c} IS NULL OR (typeof({c}) = 'text' AND instr({c}, char(0)) = 0 AND json_valid({c})"
            f" AND json_type({c}) = 'array')",
            name=f"{table}.{c} is a JSON array of ids",
        )
        for c in columns
    ]


def is_priority(table: str) -> CheckConstraint:
    """1 (critical) to 5 (background)."""
    return CheckConstraint(
        "priority IS NULL OR (typeof(priority) = 'integer' AND priority BETWEEN 1 AND 5)",
        name=f"{table}.priority is a whole number from 1 (critical) to 5 (background)",
    )


def not_empty(table: str, column: str) -> CheckConstraint:
    """More than blanks."""
    blanks = "' ' || char(9, 10, 11, 12, 13)"
    return CheckConstraint(f"trim({column}, {blanks}) <> ''", name=f"{table}.{column} is not empty")


def is_uid(table: str) -> CheckConstraint:
    """A uid as we write it."""
    return CheckConstraint(
        "typeof(uid) = 'text' AND length(uid) = 32 AND length(CAST(uid AS BLOB)) = 32 AND uid NOT GLOB '*[^0-9a-f]*'",
        name=f"{table}.uid is 32 lower-case hex digits",
    )


def foreign_key(column: str, table: str) -> ForeignKeyConstraint:
    """A reference that becomes NULL when its target goes."""
    return ForeignKeyConstraint([column], [f"{table}.id"], ondelete="SET NULL", name=f"{column} names one of {table}")


RECORD = {"sqlite_autoincrement": True, "info": {"role": "record"}}
DERIVED = {"info": {"role": "derived"}}
LOCAL = {"info": {"role": "local"}}
