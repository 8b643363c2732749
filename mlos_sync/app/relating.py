"""What is connected with what: the neighbourhood of an entity, and the tasks that can be worked on now. Reads only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from mlos_sync.app import finding, freshness, records
from mlos_sync.app.naming import resolve
from mlos_sync.app.opening import Index
from mlos_sync.core import ids
from mlos_sync.core.vocabulary import TABLE_OF
from mlos_sync.edge import store
from mlos_sync.errors import UsageError

Row = dict[str, Any]
End = tuple[str, int]  # kind and local id
Step = tuple[End, str, End]  # source, type, target
HOPS = 2

# Columns that join two records and have no edge of their own; the edge's type is then the column's name.
_JOINED = """
SELECT 'need', id, 'parent_need_id', 'need', parent_need_id FROM needs WHERE parent_need_id IS NOT NULL
UNION ALL SELECT 'task', id, 'assigned_agent_id', 'agent', assigned_agent_id FROM tasks WHERE assigned_agent_id IS NOT NULL
UNION ALL SELECT 'agent', a.id, 'assigned_tasks', 'task', j.value FROM agents a, json_each(a.assigned_tasks) j
"""
# The edges that are derived from columns.
_TYPES = {"need_id": "derived_from", "monitored_needs": "monitors", "provisioned_artifacts": "consumed"}
_EDGES = """
WITH here(kind, id) AS (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))
SELECT r.source_type, r.source_id, r.relationship_type, r.target_type, r.target_id
FROM here CROSS JOIN relationships r ON r.source_type = here.kind AND r.source_id = here.id
UNION
SELECT r.source_type, r.source_id, r.relationship_type, r.target_type, r.target_id
FROM here CROSS JOIN relationships r ON r.target_type = here.kind AND r.target_id = here.id
"""
_SHOWN = {
    "need": "id, title, uid",
    "task": "id, description, uid",
    "agent": "id, agent_type, uid",
    "artifact": "coalesce(file_path, last_path), title, uid",
    "commit": "sha, subject, sha",
}


def edges(db: store.Connection, kind: str, key: str) -> list[Row]:
    """The edges at one end, by uid or commit: source, type, target, evidence, metadata. Those that are cut are listed
    last, with `cut` saying why: edges to what was deleted, and columns and arrays that name it."""
    found = records.edges_of(db, kind, key)
    held = db.execute("SELECT state FROM held WHERE kind = ? AND uid = ?", (kind, key)).fetchone()
    fields = json.loads(held[0]) if held else {}
    forms = db.execute("SELECT \"column\" FROM captured WHERE kind = ? AND form IN ('ref', 'refs') ORDER BY 1", (kind,))
    for (column,) in forms.fetchall() if held else ():
        value = fields.get(column)
        for target in value if isinstance(value, list) else [value] if value else []:
            if resolve(db, target) is None:
                (number,) = db.execute(f"SELECT id FROM {TABLE_OF[kind]} WHERE uid = ?", (key,)).fetchone()
                found.append(
                    {
                        "source": records.named(db, kind, number), "type": _TYPES.get(column, column), "target": target,
                        "evidence": "declared", "metadata": None, "cut": f"{target} is not here",
                    }
                )  # fmt: skip
    for one in found:
        if "cut" in one:
            one |= _cut(db, one)
    return found


def _cut(db: store.Connection, edge: Row) -> Row:
    """The ends of a cut edge as they are shown: what stands by its number, what was deleted by its whole uid."""
    told: Row = {}
    for side in ("source", "target"):
        kind, _, uid = edge[side].partition(":")
        number = resolve(db, edge[side])
        gone = finding.deleted(db, ids.Reference(kind, prefix=uid)) if number is None and len(uid) == 32 else None
        if number is not None and len(uid) == 32:
            told[side] = records.named(db, kind, number)
        elif gone is not None:
            told["cut"] = f"{ids.shown(kind, uid)} was deleted by {gone.event.actor or 'an unknown writer'}"
    return told


def related(index: Index, text: str, hops: int = HOPS, kinds: Sequence[str] = ()) -> list[Row]:
    """What is connected with what `text` names, as of now: see `around`. Raises UsageError."""
    if hops < 1:
        raise UsageError(f"{hops} is no number of hops", "give --hops a number from 1")
    if unknown := [kind for kind in kinds if kind not in _SHOWN]:
        raise UsageError(f"{unknown[0]} is no kind", f"it is one of {', '.join(_SHOWN)}")
    freshness.catch_up(index)
    kind, key = finding.found(index.db, text)
    return around(index.db, (kind, _number(index.db, kind, key)), hops, kinds)


def around(db: store.Connection, start: End, hops: int, kinds: Sequence[str] = ()) -> list[Row]:
    """All that at most `hops` edges, taken in either direction, join to `start`; nearest first.

    Each with one shortest way there: `via` lists its edges from the start on. `kinds` narrows what is told, not what is
    walked through.
    """
    reached = _walk(db, start, hops)
    names = _names(db, [start, *reached])
    found = []
    for distance, end in sorted((distance, end) for end, (distance, _) in reached.items()):
        if not kinds or end[0] in kinds:
            ref, title, uid = names[end]
            via = [
                {"source": names[source][0], "type": relationship, "target": names[target][0]}
                for source, relationship, target in _way(reached, end)
            ]
            found.append({"ref": ref, "uid": uid, "title": title, "hops": distance, "via": via})
    return found


def _number(db: store.Connection, kind: str, key: str) -> int:
    column = "sha" if kind == "commit" else "uid"
    return int(db.execute(f"SELECT id FROM {TABLE_OF[kind]} WHERE {column} = ?", (key,)).fetchone()[0])


def _walk(db: store.Connection, start: End, hops: int) -> dict[End, tuple[int, Step]]:
    """Breadth first, a level a query: end -> (distance, the edge that led there). Ends that were reached are left out."""
    joined: dict[End, list[Step]] = {}
    for source, source_id, relationship, target, target_id in db.execute(_JOINED):
        step = ((source, source_id), relationship, (target, target_id))
        joined.setdefault(step[0], []).append(step)
        joined.setdefault(step[2], []).append(step)
    reached: dict[End, tuple[int, Step]] = {}
    here = [start]
    for distance in range(1, hops + 1):
        steps = [((s, si), r, (t, ti)) for s, si, r, t, ti in db.execute(_EDGES, (json.dumps(here),))]
        steps += [step for end in here for step in joined.get(end, [])]
        standing = set(here)
        fresh: list[End] = []
        for step in sorted(set(steps)):
            for near, far in ((step[0], step[2]), (step[2], step[0])):
                if near in standing and far != start and far not in reached:
                    reached[far] = (distance, step)
                    fresh.append(far)
        here = fresh
        if not here:
            break
    return reached


def _way(reached: dict[End, tuple[int, Step]], end: End) -> list[Step]:
    steps = []
    while end in reached:
        step = reached[end][1]
        steps.append(step)
        end = step[0] if step[2] == end else step[2]
    return steps[::-1]


def _names(db: store.Connection, ends: Iterable[End]) -> dict[End, tuple[str, str | None, str]]:
    """(reference, title, uid or sha) of each end."""
    numbers: dict[str, list[int]] = {}
    for kind, number in ends:
        numbers.setdefault(kind, []).append(number)
    names = {}
    for kind, wanted in numbers.items():
        sql = f"SELECT id, {_SHOWN[kind]} FROM {TABLE_OF[kind]} WHERE id IN (SELECT value FROM json_each(?))"
        for number, name, title, uid in db.execute(sql, (json.dumps(wanted),)):
            names[kind, number] = (f"{kind}:{name}", title, uid)
        for number in wanted:
            names.setdefault((kind, number), (f"{kind}:?", None, ""))
    return names
