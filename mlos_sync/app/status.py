"""How the index stands: freshness, counts, hooks, pending events, observations. Stores nothing about files."""

from __future__ import annotations

from typing import Any

from mlos_sync.app import firing, freshness, journaling, planning, publishing, standing
from mlos_sync.app.opening import Index
from mlos_sync.edge import store
from mlos_sync.edge.workspace import Workspace


def status(index: Index) -> dict[str, Any]:
    """The plan that `sync` would carry out, by stat alone, and what stands in the index."""
    freshness.catch_up(index, thorough=True)
    db = index.db
    observed, comparison = planning.survey(index, trusting=True)
    known = {path for (path,) in db.execute("SELECT file_path FROM artifacts WHERE file_path IS NOT NULL")}
    added = [path for path in comparison.suspect if path not in known]
    modified = [path for path in comparison.suspect if path in known]
    counts = {
        kind: db.execute(f"SELECT count(*) FROM {kind}").fetchone()[0]
        for kind in ("needs", "tasks", "agents", "relationships")
    }
    (artifacts,) = db.execute("SELECT count(*) FROM artifacts WHERE file_path IS NOT NULL").fetchone()
    standings = firing.quick(index.workspace)
    hooks = [{"name": one.name, "path": one.path, "state": one.state} for one in standings]
    return {
        "fresh": not (added or modified or comparison.gone),
        "head": store.get(db, "head") or None,
        "changes": {"added": added, "modified": modified, "deleted": comparison.gone},
        "artifacts": artifacts,
        **counts,
        "pending_events": publishing.pending(index),
        "unnamed_events": len(journaling.unnamed(db)),
        "watcher": watcher(index.workspace),
        "hooks": hooks,
        "hooks_missing": firing.line(standings) or None,
        "conflicts": db.execute("SELECT count(*) FROM conflicts").fetchone()[0],
        "observations": [
            {"kind": kind, "subject": subject, "message": message}
            for kind, subject, message in db.execute("SELECT kind, subject, message FROM observations ORDER BY 1, 2")
        ]
        + [
            {"kind": "held", "subject": f"{kind}:{uid}", "message": reason}
            for kind, uid, reason in db.execute("SELECT kind, uid, reason FROM held ORDER BY 1, 2")
        ],
        "skipped": len(observed.unknown) + len(observed.odd),
    }


def watcher(workspace: Workspace) -> dict[str, Any]:
    """What the watcher of this worktree says of itself, and whether one runs. Reads only."""
    told = standing.of(workspace)
    names = ("since", "pid", "state", "silent", "behind", "waits_for", "synced", "batches")
    explained = ("rescans", "coverage", "errors")
    return {"running": told is not None, **{name: (told or {}).get(name) for name in (*names, *explained)}}
