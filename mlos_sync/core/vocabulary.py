"""The words of the seed schema: kinds, statuses, types, and the steps a status may take. Standard library only."""

from __future__ import annotations

from itertools import pairwise

NEED_STATUSES = ("identified", "active", "actionable", "in_progress", "resolved", "deferred")
TASK_STATUSES = ("open", "assigned", "in_progress", "completed", "failed", "cancelled")
AGENT_STATUSES = ("provisioning", "active", "completed", "failed")
ARTIFACT_TYPES = ("document", "code", "config", "context_pack", "transcript", "image", "schema")
RELATIONSHIP_TYPES = ("derived_from", "references", "blocks", "enables", "monitors", "produced", "consumed")
ANNOTATED = ("title", "description", "artifact_type", "source_transcript")  # what may be said of a file
ENDPOINTS = ("need", "task", "artifact", "agent", "commit")
EVIDENCE = ("declared", "proved", "matched", "unknown")
ORIGINS = ("record", "derived")

OPEN_NEEDS = NEED_STATUSES[:4]
OPEN_TASKS = TASK_STATUSES[:3]
CLOSED_TASKS = TASK_STATUSES[3:]

# One step at a time for live writes (a commit's closing, being history, may walk several).
NEED_STEPS = (
    *pairwise(NEED_STATUSES[:5]),
    *((state, "deferred") for state in OPEN_NEEDS),
    *(("deferred", state) for state in OPEN_NEEDS),
    ("resolved", "active"),
)
TASK_STEPS = (
    *((a, b) for a in OPEN_TASKS for b in TASK_STATUSES if a != b),
    *((closed, "open") for closed in CLOSED_TASKS),
)
NEED_RULE = (
    "needs.status: one step at a time (identified, active, actionable, in_progress, resolved);"
    " any open state to deferred and back; resolved to active reopens"
)
TASK_RULE = "tasks.status: open, assigned and in_progress move freely; completed, failed and cancelled go back to open"

TABLE_OF = {
    "need": "needs",
    "task": "tasks",
    "agent": "agents",
    "artifact": "artifacts",
    "relationship": "relationships",
    "annotation": "annotations",
    "fact": "facts",
    "commit": "commits",
}
