"""Filters of `list`, as conditions in SQL: what an option such as `--status open --created-at 2026-11` asks for.

A filter names a column. Several values of one are alternatives; an empty text asks for rows that have nothing there.
Text for people is searched, times match by what they begin with or as a range, references name what they mean, and
everything else is compared as a whole.
"""

from __future__ import annotations

import re
from typing import Any

from mlos_sync.app.finding import id_of, like
from mlos_sync.app.records import ARRAYS, REFERENCES, TIMES, utc
from mlos_sync.core.vocabulary import AGENT_STATUSES, ARTIFACT_TYPES, NEED_STATUSES, TASK_STATUSES
from mlos_sync.edge import store
from mlos_sync.errors import UsageError

WORDS = {
    ("need", "status"): NEED_STATUSES,
    ("task", "status"): TASK_STATUSES,
    ("agent", "status"): AGENT_STATUSES,
    ("artifact", "artifact_type"): ARTIFACT_TYPES,
}
SEARCHED = ("title", "description", "result", "result_summary")
DATED = (*TIMES, "assigned_date")
_MOMENT = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")


def condition(db: store.Connection, kind: str, name: str, wanted: Any) -> tuple[str, list[Any]]:
    """(SQL over the columns of a kind's table, its values) for one filter. Raises UsageError for what cannot be meant."""
    parts: list[str] = []
    values: list[Any] = []
    for value in wanted if isinstance(wanted, (list, tuple)) else [wanted]:
        sql, bound = _one(db, kind, name, value)
        parts.append(sql)
        values += bound
    return f"({' OR '.join(parts)})", values


def _one(db: store.Connection, kind: str, name: str, value: Any) -> tuple[str, list[Any]]:
    if value is None or value == "":
        return f"({name} IS NULL OR {name} IN ('', '[]'))", []
    known = WORDS.get((kind, name))
    if known and value not in known:
        raise UsageError(f"no {kind} has the {name} {str(value)[:40]}", f"it is one of {', '.join(known)}")
    if name in REFERENCES:
        return f"{name} = ?", [id_of(db, value, REFERENCES[name]) if isinstance(value, str) else value]
    if name in ARRAYS:
        number = id_of(db, value, ARRAYS[name]) if isinstance(value, str) else value
        return f"EXISTS (SELECT 1 FROM json_each({name}) WHERE value = ?)", [number]
    if name in DATED:
        return _time(name, str(value))
    if name == "file_path":  # the file, all below a folder, or a pattern
        text = str(value)
        below = re.sub(r"[*?[]", r"[\g<0>]", text.rstrip("/")) + "/*"
        return f"({name} = ? OR {name} GLOB ? OR {name} GLOB ?)", [text, below, text.replace("[", "[[]")]
    if name == "content_hash":
        return f"{name} LIKE ? ESCAPE '\\'", [f"{like(str(value))}%"]
    if name in SEARCHED:
        return f"{name} LIKE ? ESCAPE '\\'", [f"%{like(str(value))}%"]
    return f"{name} = ?", [value]


def _time(name: str, text: str) -> tuple[str, list[Any]]:
    """`2026`, `2026-11`, `2026-11-20`, a whole time, or `FROM..TO` of those, either left out."""
    first, dots, last = text.partition("..")
    if not dots:
        return f"{name} LIKE ?", [f"{_moment(text)}%"]
    parts, values = [f"{name} IS NOT NULL"], []
    if first:
        parts.append(f"{name} >= ?")
        values.append(_moment(first))
    if last:
        parts.append(f"{name} <= ?")
        values.append(_moment(last) + "~")  # after every time that begins so
    return f"({' AND '.join(parts)})", values


def _moment(text: str) -> str:
    return text if _MOMENT.fullmatch(text) else utc(text).removesuffix("Z")


def since_ms(text: str) -> int:
    """A time or a date as milliseconds since 1970."""
    from datetime import datetime

    return int(datetime.fromisoformat(utc(text)).timestamp() * 1000)
