"""Links that only commits of this clone can show, passed on to other clones: journaled as edges.

`app/strays` finds by content that a commit carries on what a rewritten one said. Where no remote ref holds the
rewritten one, nobody else can find that; so the edge becomes a record, with what was seen: the commit whose work it
is, and the contents that were found. Every clone checks that the commit did put these contents there.
"""

from __future__ import annotations

import json
from typing import Any

from mlos_sync.app.opening import Index, actor
from mlos_sync.core.ids import derived_uid
from mlos_sync.edge import git, graph, store

CARRIED, CONTENT = "carried", "content"
MOST = 50  # paths that are named; a line of the journal is bounded
_ENDS = "source_type, source_id, relationship_type, target_type, target_id"

Ends = tuple[str, int, str, str, int]
Link = tuple[Ends, str, dict[str, Any]]  # ends, the rewritten commit, what is told of it


def evidence(db: store.Connection, ends: Ends, metadata: object) -> str:
    """How well an edge that somebody made is known: *proved* where it tells which contents a commit carries on and the commit
    did put them there, else *declared*."""
    if "commit" not in (ends[0], ends[3]) or not isinstance(metadata, str) or f'"{CONTENT}"' not in metadata:
        return "declared"
    told = json.loads(metadata)
    content = told.get(CONTENT)
    if not isinstance(content, dict) or not content or not told.get(CARRIED):
        return "declared"
    number = ends[1] if ends[0] == "commit" else ends[4]
    held = dict(db.execute("SELECT path, blob FROM commit_changes WHERE commit_id = ?", (number,)).fetchall())
    return "proved" if all(held.get(path) == blob for path, blob in content.items()) else "declared"


def journal_links(index: Index) -> bool:
    """Make records of the edges that nobody else can derive, inside the caller's lock and transaction. Returns
    whether there were any; the caller then takes in what was captured."""
    db = index.db
    mine = alone(index)
    if not mine:
        return False
    rows = [
        (*ends, json.dumps(told | _seen(db, ends, sha), ensure_ascii=False, sort_keys=True)) for ends, sha, told in mine
    ]
    with store.capture(db, on=False):  # our own derivation makes way for the record that says the same
        db.executemany(f"DELETE FROM relationships WHERE ({_ENDS}) = (?, ?, ?, ?, ?)", [row[:-1] for row in rows])
    with store.capture(db, on=True, actor=actor(index.workspace), door="sync"):
        db.executemany(f"INSERT INTO relationships({_ENDS}, metadata) VALUES (?, ?, ?, ?, ?, ?)", rows)
    return True


def alone(index: Index) -> list[Link]:
    """The derived edges that nobody else can derive."""
    found = _found(index.db)
    shared = _shared(index, {sha for _, sha, _ in found})
    return [link for link in found if link[1] not in shared]


def _found(db: store.Connection) -> list[Link]:
    """Each derived edge that rests on content alone, and proves it."""
    rows = db.execute(
        f"SELECT {_ENDS}, metadata FROM relationships WHERE origin = 'derived' AND evidence = 'proved'"
        f" AND 'commit' IN (source_type, target_type) AND metadata LIKE '%\"{CARRIED}\"%' ORDER BY {_ENDS}"
    ).fetchall()
    told = [(tuple(row[:5]), json.loads(row[5])) for row in rows]
    return [(ends, str(about[CARRIED]), about) for ends, about in told]


def _shared(index: Index, shas: set[str]) -> set[str]:
    """Those of the commits that a remote ref holds, so that whoever fetches it finds the same."""
    if not shas:
        return set()
    alone = graph.lineage(index.workspace.root, shas, (), "--not", "--remotes", "--not")
    have = git.existing(index.workspace.root, shas)
    return have - {sha for sha, _ in alone}


def _seen(db: store.Connection, ends: Ends, sha: str) -> dict[str, Any]:
    number = ends[1] if ends[0] == "commit" else ends[4]
    rows = db.execute(
        "SELECT c.path, c.blob FROM commit_changes c JOIN stray_changes s ON s.path = c.path AND s.sha = ?"
        " WHERE c.commit_id = ? AND c.blob IS NOT NULL ORDER BY c.path LIMIT ?",
        (sha, number, MOST),
    )
    return {CONTENT: dict(rows.fetchall())}


def is_unlinked(db: store.Connection, source: str, kind: str, target: str) -> bool:
    """Whether somebody made this edge a record and took it away: then content does not bring it back. Ends are keys of the
    journal (`commit:<sha>`, `task:<uid>`)."""
    uid = derived_uid("edge", source, kind, target)
    known = "SELECT 1 FROM events WHERE kind = 'relationship' AND uid = ? AND visible = 1"
    stands = "SELECT 1 FROM relationships WHERE uid = ? AND origin = 'record'"
    return bool(db.execute(known, (uid,)).fetchone()) and not db.execute(stands, (uid,)).fetchone()
