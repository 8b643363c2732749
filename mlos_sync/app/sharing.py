"""Facts of transcripts that git ignores: journaled for other clones, and taken in where a clone has nothing else.

A fact says of one file what one session did to it: session, tool, model, path in the workspace, operations, git's names of
the contents, times. It holds no word of the conversation, no path of the machine, and nothing that looks like a secret.
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
MOST_BLOBS = 40  # of one file in one session: the latest

Fact = dict[str, Any]

# What must not be told, wherever it stands: `ghp_…`, `github_pat_…` GitHub; `sk-…` OpenAI, Anthropic; `AKIA…` AWS; `xoxb-…`
# Slack; `AIza…` Google; `glpat-…` GitLab; a JSON web token; `key=…`, `token:…`; a long run of letters and digits mixed.
_SECRET = re.compile(
    r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|xox[abprs]-[\w-]{10,}"
    r"|AIza[\w-]{30,}|glpat-[\w-]{20,}|eyJ[\w-]{10,}\.[\w-]{10,}|(?i:secret|token|passw(?:or)?d|api[_-]?key)\s*[=:]\s*\S{6,}"
)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{3,}")
_HOME = re.compile(r"(?:^|[\s\"'(])(?:/(?:home|Users)/|[A-Za-z]:[\\/]+Users[\\/]|~/)", re.IGNORECASE)


def is_tellable(text: str | None) -> bool:
    """Whether a text can be shown to everybody who has the repository: no secret, no path of a home."""
    return not text or not (_SECRET.search(text) or _HOME.search(text))


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
    private = {session: row for session, row in sessions.speaking(db).items() if row.kept == "private"}
    found = []
    for session, (transcript, tool, model, _, started, ended, _) in private.items():
        if not is_tellable(session) or _is_called_by_words(session, transcript):
            continue
        about: Fact = {"tool": _told(tool), "model": _told(model), "started_at": started, "ended_at": ended}
        found += _of_files(db, session, about)
    return found


def _is_called_by_words(session: str, transcript: str) -> bool:
    """Whether a session has no id but the name of its file, and that tells what was said first, as old formats do."""
    return session in transcript and not _UUID.search(session) and len(_WORD.findall(session)) > 1


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
    found = []
    for path, claims in by_path.items():
        if not is_tellable(path):
            continue
        times = [at for _, at, _ in claims if at]
        blobs = list(dict.fromkeys(blob for *_, several in claims for blob in several.split()))
        operations = dict.fromkeys(operation for operation, _, _ in claims)
        found.append(
            {"session_id": session, "path": path, **about} | {
                "operations": " ".join(operations), "blobs": " ".join(blobs[-MOST_BLOBS:]) or None,
                "first_at": min(times, default=None), "last_at": max(times, default=None),
            }
        )  # fmt: skip
    return found


def _told(text: str | None) -> str | None:
    return text if is_tellable(text) else None


def take(db: store.Connection) -> set[str]:
    """Let facts speak for the sessions that no transcript here tells. Returns the sessions that this concerns."""
    touched: set[str] = set()
    by_session: dict[str, list[Fact]] = {}
    for row in store.rows(db, f"SELECT {', '.join(FIELDS)} FROM facts ORDER BY session_id, path"):
        by_session.setdefault(row["session_id"], []).append(row)
    known = {path for (path,) in db.execute("SELECT path FROM transcripts WHERE kept = 'journal'")}
    for path in known - {sessions.JOURNAL + session for session in by_session}:
        touched |= sessions.forget(db, path)
    for session, facts in by_session.items():
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
