"""Where in the workspace the files of claims are: raw paths of transcripts mapped to workspace paths.

The answer for a transcript depends on which paths are known that end like one of its own, and on nothing else; so it is
asked again when such a path comes or goes. Callers are in a transaction, capture off.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from mlos_sync.core.mapping import Known, map_paths
from mlos_sync.edge import store

FEW = 500  # names that are looked up one by one; for more, all are compared in one pass

_SEPARATORS = re.compile(r"[/\\]|%2f|%5c", re.IGNORECASE)
_ESCAPES = re.compile(r"%[0-9a-fA-F]{2}")


def name_of(raw_path: str) -> str:
    """The last component of a raw path, or of a path of the workspace, without case: equal for a path and what it may be
    mapped to. Percent escapes stand for anything, so a name that has one is cut to nothing and always compared."""
    name = _SEPARATORS.split(raw_path.rstrip("/\\. "))[-1].casefold()
    return "" if _ESCAPES.search(name) else name


def affected(db: store.Connection, paths: Collection[str]) -> set[str]:
    """The transcripts whose claims may be placed elsewhere now that these paths became known, or unknown."""
    names = {name_of(path) for path in paths}
    if not names:
        return set()
    sql = "SELECT DISTINCT transcript FROM claims WHERE name = ?"
    if len(names) <= FEW:
        return {path for name in (*names, "") for (path,) in db.execute(sql, (name,))}
    rows = db.execute("SELECT DISTINCT transcript, name FROM claims")
    return {path for path, name in rows if not name or name in names}


def place(db: store.Connection, root: str, transcripts: Iterable[str]) -> set[str]:
    """Map the raw paths of these transcripts in the workspace at `root`. Returns the sessions some of whose claims got
    another place."""
    todo = sorted(transcripts)
    if not todo:
        return set()
    known = Known(
        frozenset(path for (path,) in db.execute("SELECT file_path FROM artifacts WHERE file_path IS NOT NULL"))
        | frozenset(path for (path,) in db.execute("SELECT DISTINCT path FROM commit_changes"))
        | frozenset(p for (p,) in db.execute("SELECT DISTINCT old_path FROM commit_changes WHERE old_path IS NOT NULL"))
    )
    moved: set[str] = set()
    for transcript in todo:
        moved |= _place(db, root, transcript, known)
    return moved


def _place(db: store.Connection, root: str, transcript: str, known: Known) -> set[str]:
    rows = db.execute(
        "SELECT raw_path, cwd, path, choices, session_id FROM claims WHERE transcript = ?"
        " GROUP BY raw_path, cwd, path, choices, session_id",
        (transcript,),
    ).fetchall()
    # A relative path starts where the session ran, and that is where the writer keeps its `.specstory` folder. Of a
    # transcript outside of the work tree nobody knows.
    base: str | None = transcript.partition(".specstory/")[0].rstrip("/") if ".specstory/" in transcript else ""
    base = None if transcript.startswith(("/", "~")) else base
    is_private = db.execute("SELECT 1 FROM transcripts WHERE path = ? AND kept = 'private'", (transcript,)).fetchone()
    places = map_paths({(raw, cwd) for raw, cwd, *_ in rows}, known, base, here=root if is_private else None)
    changed, moved = [], set()
    for raw, cwd, path, choices, session in rows:
        found = places[raw, cwd]
        wanted = (found.path, "\n".join(found.choices) or None)
        if wanted != (path, choices):
            changed.append((*wanted, transcript, raw, cwd))
            moved.add(session)
    db.executemany(
        "UPDATE claims SET path = ?, choices = ? WHERE transcript = ? AND raw_path = ? AND cwd IS ?", changed
    )
    return moved
