"""Transcripts into the index: those that changed are read, their rows taken in, and one `agents` row kept per session.

Several files may render one session (a renamed slug, two writers, a checkpoint of each commit); the fullest speaks for
it, the others are kept as files. A row that `agent start` made for the same transcript or session stays the session's
row, and what it does not say itself is filled in; else a derived one stands for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from mlos_sync.app import folding
from mlos_sync.core import transcripts
from mlos_sync.core.ids import derived_uid
from mlos_sync.edge import store
from mlos_sync.edge.transcript_worker import FIELDS

if TYPE_CHECKING:
    from mlos_sync.edge.transcribing import Kept

TABLES = ("session_files", "claims", "claim_changes", "session_commits", "transcript_problems")
JOURNAL = "journal:"  # what stands for the path of a transcript where only facts are known
_ENDED = ("completed", "failed")


class Speaker(NamedTuple):
    """The file that speaks for a session, and what it says."""

    transcript: str
    tool: str
    model: str | None
    title: str | None
    started_at: str | None
    ended_at: str | None
    kept: str


def forget(db: store.Connection, path: str) -> set[str]:
    """Drop all that was read from a transcript. Returns its sessions."""
    found = {one for (one,) in db.execute("SELECT session_id FROM session_files WHERE transcript = ?", (path,))}
    db.execute("DELETE FROM transcripts WHERE path = ?", (path,))
    for table in TABLES:
        db.execute(f"DELETE FROM {table} WHERE transcript = ?", (path,))
    return found


def rename(db: store.Connection, old: str, new: str) -> set[str]:
    """A transcript was moved, and says what it said. Returns its sessions."""
    forget(db, new)
    db.execute("UPDATE transcripts SET path = ? WHERE path = ?", (new, old))
    for table in TABLES:
        db.execute(f"UPDATE {table} SET transcript = ? WHERE transcript = ?", (new, old))
    return {one for (one,) in db.execute("SELECT session_id FROM session_files WHERE transcript = ?", (new,))}


def take(db: store.Connection, one: Kept) -> set[str]:
    """Put what was read from a transcript in the place of what stood there. Returns the sessions that it tells or told."""
    from mlos_sync.app.placing import name_of

    touched = forget(db, one.path)
    read, path = one.read, one.path
    db.execute(
        "INSERT INTO transcripts VALUES (?, ?, ?, ?, ?, ?)",
        (path, read.sha256, transcripts.READER_VERSION, read.format, one.kept, one.stat),
    )
    names = FIELDS["claims"]
    raw, session, part = (names.index(name) for name in ("raw_path", "session_id", "part"))
    counts: dict[tuple[str, str], int] = {}
    claims, changes = [], []
    for number, row in enumerate(read.claims):
        counts[row[session], row[part]] = counts.get((row[session], row[part]), 0) + 1
        claims.append((path, number, *row[:-1], name_of(row[raw])))
        if row[-1] is not None:
            changes.append((path, number, row[-1], "", "", ""))
    _insert(db, "claims", (*names[:-1], "name"), claims, number=True)
    _insert(db, "claim_changes", ("changes", "bases", "hashes", "blobs"), changes, number=True)
    told = [(path, *row, counts.get((row[0], row[1]), 0)) for row in read.sessions]
    _insert(db, "session_files", (*FIELDS["sessions"], "claims"), told)
    _insert(db, "session_commits", FIELDS["commits"], _numbered(path, read.commits), number=True)
    _insert(db, "transcript_problems", FIELDS["problems"], _numbered(path, read.problems), number=True)
    return touched | {row[0] for row in read.sessions}


def _numbered(path: str, rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [(path, number, *row) for number, row in enumerate(rows)]


def _insert(
    db: store.Connection, table: str, names: tuple[str, ...], rows: list[tuple[Any, ...]], *, number: bool = False
) -> None:
    if rows:
        columns = ("transcript", *(("number",) if number else ()), *names)
        marks = ", ".join("?" * len(columns))
        db.executemany(f"INSERT OR REPLACE INTO {table}({', '.join(columns)}) VALUES ({marks})", rows)


def choose(db: store.Connection, sessions: Iterable[str]) -> None:
    """Say which file speaks for each part of these sessions: the fullest. Facts speak where nothing else does."""
    for session in sorted(sessions):
        rows = db.execute(
            "SELECT f.transcript, f.part, t.kept FROM session_files f JOIN transcripts t ON t.path = f.transcript"
            " WHERE f.session_id = ? ORDER BY t.kept = 'journal', f.claims + (SELECT count(*) FROM claims c WHERE c.transcript"
            " = f.transcript AND c.session_id = f.session_id AND c.part = f.part AND c.hashes <> '') DESC, f.turns DESC,"
            " f.transcript",
            (session,),
        ).fetchall()
        has_more = any(kept != "journal" for *_, kept in rows)
        chosen: dict[str, str] = {}
        for transcript, part, kept in rows:
            if kept != "journal" or not has_more:
                chosen.setdefault(part, transcript)
        db.execute("UPDATE session_files SET speaks = 0 WHERE session_id = ?", (session,))
        db.executemany(
            "UPDATE session_files SET speaks = 1 WHERE session_id = ? AND part = ? AND transcript = ?",
            [(session, part, transcript) for part, transcript in chosen.items()],
        )


_SPEAKING = """
SELECT f.session_id, f.transcript, f.tool, f.model, f.title, f.started_at, f.ended_at, t.kept
FROM session_files f JOIN transcripts t ON t.path = f.transcript WHERE f.speaks = 1
ORDER BY f.session_id, f.part <> '', f.turns DESC, f.transcript
"""


def speaking(db: store.Connection) -> dict[str, Speaker]:
    """Session id -> what its main part says of it, or its fullest where it has none here; the times are those of all."""
    found: dict[str, Speaker] = {}
    for session, *about in db.execute(_SPEAKING).fetchall():
        first = found.get(session)
        one = Speaker(*about)
        if first is not None:
            starts = [at for at in (first.started_at, one.started_at) if at]
            ends = [at for at in (first.ended_at, one.ended_at) if at]
            one = first._replace(started_at=min(starts, default=None), ended_at=max(ends, default=None))
        found[session] = one
    return found


def joined(db: store.Connection) -> dict[str, str]:
    """Session id -> uid of the agent that somebody recorded for it: by one of its transcripts, or by the id itself."""
    recorded = db.execute(
        "SELECT session_transcript, uid FROM agents WHERE origin = 'record' AND session_transcript IS NOT NULL"
        " ORDER BY id DESC"
    ).fetchall()
    if not recorded:
        return {}
    of_file: dict[str, list[str]] = {}
    for transcript, session in db.execute("SELECT transcript, session_id FROM session_files"):
        of_file.setdefault(transcript, []).append(session)
    known = {session for several in of_file.values() for session in several}
    found: dict[str, str] = {}
    for text, uid in recorded:
        several = of_file.get(text, [])
        if text in known:
            found[text] = uid
        elif len(several) == 1:  # a file of many sessions does not say which
            found[several[0]] = uid
    return found


def agents(db: store.Connection) -> dict[str, int]:
    """Session id -> the id of the `agents` row that stands for it."""
    number = dict(db.execute("SELECT uid, id FROM agents").fetchall())
    recorded = joined(db)
    found = {}
    for session in speaking(db):
        row = number.get(recorded.get(session) or derived_uid("session", session))
        if row is not None:
            found[session] = row
    return found


def of_agents(db: store.Connection) -> dict[int, str]:
    """The id of an `agents` row -> the session that it stands for."""
    return {number: session for session, number in agents(db).items()}


def update_agents(db: store.Connection) -> set[str]:
    """Keep one row for each session, derived where no record stands for it; also where a record took a row's number or
    came to stand for a session. Returns the sessions whose row is another one now."""
    recorded = joined(db)
    wanted: dict[str, tuple[Any, ...]] = {}
    session_of: dict[str, str] = {}
    for session, (transcript, tool, model, title, started, ended, kept) in speaking(db).items():
        place = transcript if kept in ("file", "private") and not transcript.startswith(("/", "~")) else None
        if session in recorded:
            _fill(db, recorded[session], model, title, ended)
        else:
            uid = derived_uid("session", session)
            session_of[uid] = session
            wanted[uid] = (tool, "completed", model, place, started, ended, title)
    names = "agent_type, status, model, session_transcript, started_at, completed_at, result_summary"
    standing = {row[0]: row[1:] for row in db.execute(f"SELECT uid, {names} FROM agents WHERE origin = 'derived'")}
    db.executemany("DELETE FROM agents WHERE uid = ?", [(uid,) for uid in sorted(set(standing) - set(wanted))])
    sets = ", ".join(f"{name} = excluded.{name}" for name in names.split(", "))
    db.executemany(
        f"INSERT INTO agents(uid, origin, {names}) VALUES (?, 'derived', ?, ?, ?, ?, ?, ?, ?)"
        f" ON CONFLICT(uid) DO UPDATE SET {sets}",
        [(uid, *values) for uid, values in sorted(wanted.items()) if standing.get(uid) != values],
    )
    return {session_of[uid] for uid in set(wanted) - set(standing)} | _rejoined(db, recorded)


def _rejoined(db: store.Connection, recorded: dict[str, str]) -> set[str]:
    """Sessions that a record stands for since now, or no more."""
    before = dict(db.execute("SELECT key, value FROM meta WHERE key >= 'joined:' AND key < 'joined;'").fetchall())
    now = {f"joined:{session}": uid for session, uid in recorded.items()}
    changed = {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
    for key in changed:
        if key in now:
            store.put(db, key, now[key])
        else:
            db.execute("DELETE FROM meta WHERE key = ?", (key,))
        if key in before and before[key] not in recorded.values():
            _fill(db, before[key], None, None, None)
    return {key.partition(":")[2] for key in changed}


def _fill(db: store.Connection, uid: str, model: str | None, title: str | None, ended: str | None) -> None:
    """What a recorded agent does not say itself is told by its session."""
    state = folding.states_of(db, {("agent", uid)}).get(("agent", uid))
    if state is None:
        return
    own = state.fields
    status = own.get("status")
    values = (
        own.get("model") or model,
        own.get("result_summary") or title,
        own.get("completed_at") or (ended if status in _ENDED else None),
    )
    db.execute(
        "UPDATE agents SET model = ?1, result_summary = ?2, completed_at = ?3 WHERE uid = ?4"
        " AND (model IS NOT ?1 OR result_summary IS NOT ?2 OR completed_at IS NOT ?3)",
        (*values, uid),
    )
