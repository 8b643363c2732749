"""Facts of transcripts that git ignores: journaled for other clones, and taken in where a clone has nothing else.

A fact says of one file what one session did to it: session, tool, model, path in the workspace, operations, git's names of
the contents, times. What may be told is listed, not what may not: files that git has or would take, ids that are none but
random, tools that the readers know, models that look like one. Everything else is left out, or told by a hash.
"""

from __future__ import annotations

import re
from typing import Any

from mlos_sync.app import sessions
from mlos_sync.app.placing import name_of
from mlos_sync.core import transcripts
from mlos_sync.core.ids import derived_uid
from mlos_sync.core.transcripts.replay import WRITING
from mlos_sync.edge import store

FIELDS = ("session_id", "path", "tool", "model", "started_at", "ended_at", "operations", "blobs", "first_at", "last_at")
MOST_BLOBS = 80  # of one file in one session

Fact = dict[str, Any]

# `0b6f3f0e-52f0-4a6b-9a39-5a7f0f3c1d11`, `ses_4f1c0a9b2d`: nothing but random
_RANDOM_ID = re.compile(
    r"(?:[a-z]{2,10}[_-])?[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}|[0-9a-f]{12,64}", re.IGNORECASE
)
# `claude-opus-4-6`, `gpt-5.1-codex`, `Gemini 3.5 Flash (Medium)`, `minimaxai/minimax-m3`: up to four words, one with a digit
_MODEL = re.compile(r"(?=.*\d)[A-Za-z][\w.:/-]{0,40}(?: \(?[\w.-]{1,20}\)?){0,3}", re.ASCII)
_TOOLS = (
    "Claude Code", "Codex CLI", "Cursor CLI", "Gemini CLI", "Factory Droid CLI", "DeepSeek TUI", "Antigravity CLI",
    "Antigravity", "Cursor IDE", "cursoride", "cursor", "Cursor", "VS Code Copilot IDE", "copilotide", "vscode", "Aider",
    "Windsurf", "Agent Trace",
)  # fmt: skip
# In a path that git has: `ghp_…`, `sk-…`, `sk_live_…`, `AKIA…`, `xoxb-…`, `npm_…`, `hf_…`, `glpat-…`, a long mixed run
_SECRET = re.compile(
    r"(?:gh[pousr]|github_pat|sk|pk|rk|npm|hf|glpat|xox[abprs]|AIza|AKIA|ASIA|eyJ)[_A-Za-z0-9.-]{16,}"
    r"|(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9_+]{40,}"
)


def told_id(session: str) -> str:
    """The id of a session as it may be told: itself where it is random, else a hash of it. An old format's is the name of
    the file, which tells what was said first."""
    return session if _RANDOM_ID.fullmatch(session) else f"session-{derived_uid('session', session)[:16]}"


def told_tool(tool: str | None) -> str | None:
    """The tool, if it is one that the readers know."""
    return tool if tool in _TOOLS else None


def told_model(model: str | None) -> str | None:
    """The model, if it looks like one."""
    return model if model and _MODEL.fullmatch(model) and not _SECRET.search(model) else None


def is_tellable(path: str) -> bool:
    """Whether a path that git has, or would take, may stand in the journal too."""
    return not _SECRET.search(path)


def publish(db: store.Connection) -> bool:
    """Bring the facts to what private transcripts tell now, as records: in the caller's transaction, capture on. Returns
    whether any changed. A session whose transcript has gone keeps its facts: they may be all that is left of it."""
    wanted = {(one["session_id"], one["path"]): one for one in _found(db)}
    standing = {
        (row["session_id"], row["path"]): row for row in store.rows(db, f"SELECT {', '.join(FIELDS)} FROM facts")
    }
    changed = [one for key, one in sorted(wanted.items()) if standing.get(key) != one]
    sets = ", ".join(f"{name} = excluded.{name}" for name in FIELDS[2:])
    for one in changed:
        uid = derived_uid("fact", one["session_id"], one["path"])
        if (one["session_id"], one["path"]) in standing:
            names = ", ".join(f"{name} = ?" for name in FIELDS[2:])
            db.execute(f"UPDATE facts SET {names} WHERE uid = ?", (*(one[name] for name in FIELDS[2:]), uid))
        else:
            db.execute(
                f"INSERT INTO facts(uid, {', '.join(FIELDS)}) VALUES ({', '.join('?' * (len(FIELDS) + 1))})"
                f" ON CONFLICT(uid) DO UPDATE SET {sets}",
                (uid, *(one[name] for name in FIELDS)),
            )
    return bool(changed)


def _found(db: store.Connection) -> list[Fact]:
    """What may be told of the sessions that private transcripts speak for."""
    found = []
    for session, one in sessions.speaking(db).items():
        if one.kept == "private":
            about: Fact = {"tool": told_tool(one.tool), "model": told_model(one.model)}
            found += _of_files(db, session, about | {"started_at": one.started_at, "ended_at": one.ended_at})
    return found


def _of_files(db: store.Connection, session: str, about: Fact) -> list[Fact]:
    by_path: dict[str, list[tuple[str, str | None, str]]] = {}
    for path, operation, at, blobs in db.execute(
        "SELECT c.path, c.operation, c.at, c.blobs || ' ' || coalesce(x.blobs, '') FROM claims c JOIN session_files f"
        " USING (transcript, session_id, part) LEFT JOIN claim_changes x ON"
        " x.transcript = c.transcript AND x.number = c.number WHERE c.session_id = ? AND f.speaks = 1 AND c.succeeded = 1"
        f" AND c.path IS NOT NULL AND c.operation IN ({', '.join('?' * (len(WRITING) + 1))})"
        " ORDER BY c.transcript, c.number",
        (session, *WRITING, "delete"),
    ):
        by_path.setdefault(path, []).append((operation, at, blobs))
    standing = {
        row["path"]: row
        for row in store.rows(db, f"SELECT {', '.join(FIELDS)} FROM facts WHERE session_id = ?", (told_id(session),))
    }
    found = []
    for path, claims in by_path.items():
        if not (is_tellable(path) and _is_known(db, path)):
            continue
        before = standing.get(path, {})
        times = [at for at in (before.get("first_at"), before.get("last_at"), *(at for _, at, _ in claims)) if at]
        blobs = [*(before.get("blobs") or "").split(), *(blob for *_, several in claims for blob in several.split())]
        operations = [*(before.get("operations") or "").split(), *(operation for operation, _, _ in claims)]
        # A clone may have a longer copy of the session than this one: what was told stays, so that no two take turns.
        kept = {name: before.get(name) or value for name, value in about.items()}
        kept["ended_at"] = max(filter(None, (before.get("ended_at"), about["ended_at"])), default=None)
        found.append(
            {"session_id": told_id(session), "path": path, **kept} | {
                "operations": " ".join(dict.fromkeys(operations)),
                "blobs": " ".join(list(dict.fromkeys(blobs))[:MOST_BLOBS]) or None,
                "first_at": min(times, default=None), "last_at": max(times, default=None),
            }
        )  # fmt: skip
    return found


def _is_known(db: store.Connection, path: str) -> bool:
    """Whether git has the file, or would take it: what it ignores, or what lies elsewhere, is nobody's business."""
    sql = "SELECT 1 FROM artifacts WHERE file_path = ?1 UNION ALL SELECT 1 FROM commit_changes WHERE path = ?1 LIMIT 1"
    return db.execute(sql, (path,)).fetchone() is not None


def take(db: store.Connection) -> set[str]:
    """Let facts speak for the sessions that no transcript here tells. Returns the sessions that this concerns."""
    touched: set[str] = set()
    by_session: dict[str, list[Fact]] = {}
    for row in store.rows(db, f"SELECT {', '.join(FIELDS)} FROM facts ORDER BY session_id, path"):
        by_session.setdefault(row["session_id"], []).append(row)
    known = {path for (path,) in db.execute("SELECT path FROM transcripts WHERE kept = 'journal'")}
    for path in known - {sessions.JOURNAL + session for session in by_session}:
        touched |= sessions.forget(db, path)
    here = {told_id(one) for (one,) in db.execute("SELECT session_id FROM session_files WHERE format <> 'facts'")}
    for session, facts in by_session.items():
        if session in here and not _RANDOM_ID.fullmatch(session):
            touched |= sessions.forget(db, sessions.JOURNAL + session)  # told by its hash: its transcript is at hand
        else:
            touched |= _take(db, session, facts)
    sessions.choose(db, touched)
    return touched


def _take(db: store.Connection, session: str, facts: list[Fact]) -> set[str]:
    path = sessions.JOURNAL + session
    told = derived_uid(*(str(one[name]) for one in facts for name in FIELDS))
    if db.execute("SELECT 1 FROM transcripts WHERE path = ? AND content_hash = ?", (path, told)).fetchone():
        return set()
    touched = sessions.forget(db, path)
    db.execute(
        "INSERT INTO transcripts VALUES (?, ?, ?, 'facts', 'journal', NULL)", (path, told, transcripts.READER_VERSION)
    )
    first = facts[0]
    db.execute(
        "INSERT INTO session_files(transcript, session_id, part, tool, model, format, started_at, ended_at, turns,"
        " subagent_turns, claims) VALUES (?, ?, '', ?, ?, 'facts', ?, ?, 0, 0, ?)",
        (path, session, first["tool"] or "unknown", first["model"], first["started_at"], first["ended_at"], len(facts)),
    )
    rows: list[tuple[Any, ...]] = []
    for one in facts:
        for operation in (one["operations"] or "edit").split():
            place, at = one["path"], one["first_at"] if operation == "create" else one["last_at"]
            row = (session, "", 0, 0, at, operation, "", place, name_of(place), 0, place, 1, "", one["blobs"] or "")
            rows.append((path, len(rows), *row))
    db.executemany(
        "INSERT INTO claims(transcript, number, session_id, part, turn, line, at, operation, tool, raw_path, name, subagent,"
        " path, succeeded, hashes, blobs) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    return touched | {session}
