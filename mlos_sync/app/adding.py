"""Many records or edges at once, from lines of JSON: all of them or none.

A line holds columns and values as the table takes them, references as text or ids, arrays as lists. A line with a `uid`
names a record for good, so rows that `list --json` printed can be fed back:

- the record stands here: its columns are set to the line's; where nothing differs, nothing is written;
- it was deleted, or never was here: it is created under that uid, and under the line's `id` where that number is free.

`id` and `origin` beside a `uid` are no columns to set. Derived rows (sessions read from transcripts) are passed over.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mlos_sync.app import finding, freshness, records
from mlos_sync.app.opening import Index
from mlos_sync.core import ids
from mlos_sync.core.vocabulary import RELATIONSHIP_TYPES, TABLE_OF
from mlos_sync.edge import store
from mlos_sync.errors import MlosError, RefusedError, UsageError

Row = dict[str, Any]
Line = tuple[str, Row]  # its place in the file, such as `line 3`, and what it says
T = TypeVar("T")
_MENDING = "nothing was written; mend the line and run it again"


@dataclass(slots=True)
class Added:
    """What became of the lines: the rows in their order, and how many were added, changed, left as they were, passed over."""

    rows: list[Row] = field(default_factory=list)
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    skipped: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {"added": self.added, "changed": self.changed, "unchanged": self.unchanged, "skipped": self.skipped}

    @property
    def text(self) -> str:
        """The same in words."""
        return ", ".join(f"{number} {what}" for what, number in self.counts.items() if number or what == "added")


def add_lines(index: Index, kind: str, source: str, lines: list[Line]) -> Added:
    """Create or set the records of a kind that the lines of `source` tell of. Raises UsageError or RefusedError with
    file, line and rule; then nothing is written."""
    done = Added(skipped=sum(1 for _, row in lines if row.get("origin") == "derived"))
    told = [(place, row) for place, row in lines if row.get("origin") != "derived"]

    _refuse_twice(source, told)

    def write(db: store.Connection) -> dict[str, str]:
        ordered = _parents_first(source, told) if kind == "need" else told
        return dict(_each(source, ordered, lambda row: _record(db, kind, row, done)))

    uids = records.write(index, write) if told else {}
    done.rows = [records.row_of(index.db, kind, uids[place]) for place, _ in told]
    return done


def _refuse_twice(source: str, lines: list[Line]) -> None:
    """One record in two lines: the second would change what the first says."""
    first: dict[str, str] = {}
    for place, row in lines:
        uid = row.get("uid")
        if isinstance(uid, str) and first.setdefault(uid, place) != place:
            raise UsageError(f"{source}, {place}: the uid {uid[:40]} stands in {first[uid]} already", _MENDING)


def _each(source: str, lines: Iterable[Line], act: Callable[[Row], T]) -> Iterator[tuple[str, T]]:
    """What `act` makes of each line, by its place; whatever stops it names the line."""
    for place, row in lines:
        try:
            yield place, act(row)
        except sqlite3.IntegrityError as error:
            raise RefusedError(f"{source}, {place}: {store.rule_of(error)}", _MENDING) from None
        except MlosError as error:
            hint = f"{error.hint}; {_MENDING}" if error.hint else _MENDING
            raise type(error)(f"{source}, {place}: {error.message}", hint) from None


def _record(db: store.Connection, kind: str, row: Row, done: Added) -> str:
    """Create or set one record. Returns its uid."""
    if "uid" not in row:
        done.added += 1
        return insert(db, kind, records.prepared(db, kind, row))
    uid = row["uid"]
    if not isinstance(uid, str):
        raise UsageError(f"{str(uid)[:40]} is no uid", "a uid is 32 lower-case hex digits")
    values = records.prepared(db, kind, {n: v for n, v in row.items() if n not in ("id", "uid", "origin")})
    standing = store.rows(db, f"SELECT * FROM {TABLE_OF[kind]} WHERE uid = ?", (uid,))
    if not standing:
        done.added += 1
        return insert(db, kind, values | {"uid": uid} | _number(db, kind, uid, row.get("id")))
    differing = {name: value for name, value in values.items() if standing[0][name] != value}
    if differing:
        sets = ", ".join(f"{name} = ?" for name in differing)
        db.execute(f"UPDATE {TABLE_OF[kind]} SET {sets} WHERE uid = ?", [*differing.values(), uid])
    done.changed += bool(differing)
    done.unchanged += not differing
    return uid


def insert(db: store.Connection, kind: str, values: Row) -> str:
    """A record of prepared values; returns its uid."""
    marks = ", ".join("?" * len(values))
    sql = f"INSERT INTO {TABLE_OF[kind]}({', '.join(values)}) VALUES ({marks})"
    number = db.execute(sql, list(values.values())).lastrowid
    return str(db.execute(f"SELECT uid FROM {TABLE_OF[kind]} WHERE id = ?", (number,)).fetchone()[0])


def _number(db: store.Connection, kind: str, uid: str, wanted: Any) -> Row:
    """{"id": …} for a record that is made under its uid: the number it had here, or the wanted one where it is free."""
    had = db.execute("SELECT number FROM record_keys WHERE kind = ? AND uid = ?", (kind, uid)).fetchone()
    if had is not None:
        return {"id": had[0]}
    taken = "SELECT 1 FROM record_keys WHERE kind = ?1 AND number = ?2"
    claimed = "SELECT 1 FROM numbers WHERE kind = ?1 AND ?2 IN (claimed, number)"
    is_free = type(wanted) is int and not db.execute(f"{taken} UNION ALL {claimed}", (kind, wanted)).fetchone()
    return {"id": wanted} if is_free else {}


def _parents_first(source: str, lines: list[Line]) -> list[Line]:
    """Lines in an order in which a need comes after the one it is part of, where the file holds both. A parent given as
    a number means the line with that `id`, if there is one: numbers may differ elsewhere."""
    by_id = {row["id"]: place for place, row in lines if type(row.get("id")) is int and "uid" in row}
    by_uid = {str(row["uid"]): place for place, row in lines if "uid" in row}
    rows = dict(lines)
    above: dict[str, str | None] = {}
    for place, row in lines:
        parent = row.get("parent_need_id")
        above[place] = holder = _line_of(parent, by_id, by_uid)
        if type(parent) is int and holder is not None:
            rows[place] = row | {"parent_need_id": f"need:{rows[holder]['uid']}"}
    ordered: dict[str, Row] = {}
    for place, _ in lines:
        chain: dict[str, Row] = {}
        at: str | None = place
        while at is not None and at not in ordered:
            if at in chain:
                raise UsageError(f"{source}, {at}: this need is part of itself, by its parents", _MENDING)
            chain[at] = rows[at]
            at = above[at]
        ordered |= {one: chain[one] for one in reversed(chain)}
    return list(ordered.items())


def _line_of(parent: Any, by_id: dict[Any, str], by_uid: dict[str, str]) -> str | None:
    """The place of the line that a parent names, or None."""
    if type(parent) is int:
        return by_id.get(parent)
    reference = ids.parse(parent, "need") if isinstance(parent, str) else None
    if reference is None or reference.prefix is None:
        return by_id.get(reference.number) if reference is not None else None
    named = [place for uid, place in by_uid.items() if uid.startswith(reference.prefix)]
    return named[0] if len(named) == 1 else None


def link_lines(index: Index, source: str, lines: list[Line]) -> Added:
    """Make the edges that the lines tell of: `source`, `type`, `target`, and `metadata` where there is any, as `links
    --json` prints them. An edge that stands already is left alone, unless its metadata differ. Likewise all or none."""
    done = Added(skipped=sum(1 for _, row in lines if "cut" in row))
    told = [(place, row) for place, row in lines if "cut" not in row]
    freshness.catch_up(index)
    if told:
        done.rows = records.write(
            index, lambda db: [edge for _, edge in _each(source, told, lambda row: _edge(db, row, done))]
        )
    return done


def _edge(db: store.Connection, row: Row, done: Added) -> Row:
    if missing := [name for name in ("source", "type", "target") if not isinstance(row.get(name), str)]:
        raise UsageError(
            f"the {missing[0]} is missing", 'write {"source": "need:1", "type": "blocks", "target": "need:2"}'
        )
    if unknown := set(row) - {"source", "type", "target", "metadata", "evidence"}:
        raise UsageError(f"an edge has no {sorted(unknown)[0]}", "it has source, type, target and metadata")
    if row["type"] not in RELATIONSHIP_TYPES:
        raise UsageError(f"{row['type'][:40]} is no type of edge", f"types are {', '.join(RELATIONSHIP_TYPES)}")
    metadata = row.get("metadata")
    if not (metadata is None or isinstance(metadata, dict)):
        raise UsageError("metadata is no JSON object", "write an object, or leave it out")
    found = []
    for side in ("source", "target"):
        kind, _ = finding.found(db, row[side])
        found.append((kind, finding.id_of(db, row[side])))
    ends = (*found[0], row["type"], *found[1])
    edge = {"source": records.named(db, *found[0]), "type": row["type"], "target": records.named(db, *found[1])}
    _put_edge(db, ends, metadata, done, given="metadata" in row)
    return edge | {"evidence": "declared", "metadata": metadata}


def _put_edge(
    db: store.Connection, ends: tuple[str, int, str, str, int], metadata: Row | None, done: Added, *, given: bool
) -> None:
    columns = "source_type, source_id, relationship_type, target_type, target_id"
    where = f"({columns}) = (?, ?, ?, ?, ?)"
    standing = db.execute(f"SELECT metadata FROM relationships WHERE {where}", ends).fetchone()
    if standing and (not given or (json.loads(standing[0]) if standing[0] else None) == metadata):
        done.unchanged += 1
        return
    done.changed += bool(standing)
    done.added += not standing
    records.clear_derived(db, ends)
    text = json.dumps(metadata, ensure_ascii=False, sort_keys=True) if metadata is not None else None
    db.execute(
        f"INSERT INTO relationships({columns}, metadata) VALUES (?, ?, ?, ?, ?, ?)"
        f" ON CONFLICT({columns}) DO UPDATE SET metadata = excluded.metadata",
        (*ends, text),
    )
