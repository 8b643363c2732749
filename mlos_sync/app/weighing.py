"""Evidence: what the claims of sessions, the commits and the files together show, as derived edges.

A session is weighed again when its transcript, a file that it claims, the history of one, or a word about it in a commit
changes; `unweighed` remembers which. Callers are in a transaction, capture off.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlos_sync.app import replaying, sessions
from mlos_sync.app.annotations import overlay
from mlos_sync.app.naming import artifact_at
from mlos_sync.app.passing import CARRIED, is_unlinked
from mlos_sync.core.provenance import Change, PlacedClaim, Proof, could_follow, prove, weigh
from mlos_sync.core.transcripts.replay import WRITING
from mlos_sync.edge import store

Edge = tuple[str, int, str, str, int]  # source type and id, relationship type, target type and id
Found = Iterator[tuple[Edge, str, dict[str, Any]]]  # an edge, its evidence, its metadata
FEW = 500  # paths that are looked up one by one; for more, all sessions are weighed again
NOTES = "git_ai"  # the format of claims that a note makes: somebody's word, not a log


@dataclass(slots=True)
class Judged:
    """The successful claims of a session on one artifact, each with what its contents prove."""

    artifact: int
    path: str
    claims: list[tuple[PlacedClaim, Proof]] = field(default_factory=list)


def unsettle(db: store.Connection, which: Iterable[str]) -> None:
    """Have these sessions weighed again."""
    db.executemany("INSERT OR IGNORE INTO unweighed VALUES (?)", [(session,) for session in which])


_NAMED_WITH = (  # sessions that a commit names which changed a path
    "SELECT f.session_id FROM commit_changes c JOIN commit_sessions s USING (commit_id) JOIN session_files f ON"
    " s.value IN (f.session_id, f.part) WHERE c.path = ?"
)


def unsettle_paths(db: store.Connection, paths: Collection[str]) -> None:
    """Have the sessions weighed again that claim one of these paths, or a name that its file had before, are said to have
    made it, or are named by a commit that changed it."""
    if not db.execute("SELECT 1 FROM session_files LIMIT 1").fetchone():
        return
    if len(paths) > FEW:
        unsettle(db, sessions.speaking(db))
        return
    for name in {name for path in paths for name in names_before(db, path)}:
        unsettle(db, {one for (one,) in db.execute("SELECT session_id FROM claims WHERE path = ?", (name,))})
        unsettle(db, {one for (one,) in db.execute(_NAMED_WITH, (name,))})
    numbers = {artifact_at(db, path) for path in paths} - {None}
    unsettle(db, _said_to_have_made(db, numbers))


def unsettle_names(db: store.Connection, transcripts: Collection[str]) -> None:
    """Have the sessions weighed again that tell of a transcript with the name of one of these, in whatever folder: who
    names it by that alone means one file of two, or no more."""
    if len(transcripts) > FEW:
        unsettle(db, sessions.speaking(db))
        return
    for name in {path.rpartition("/")[2] for path in transcripts}:
        sql = "SELECT session_id FROM session_files WHERE transcript = ?1 OR substr(transcript, -length(?1) - 1) = '/' || ?1"
        unsettle(db, [session for (session,) in db.execute(sql, (name,)).fetchall()])


def names_before(db: store.Connection, path: str, limit: int = 100) -> list[str]:
    """The path, and the ones that commits, or a move seen by sync, say the file had before, newest first."""
    names = [path]
    row = db.execute(
        "SELECT last_path FROM artifacts WHERE file_path = ? AND last_path IS NOT NULL", (path,)
    ).fetchone()
    names += [row[0]] if row and row[0] != path else []
    for _ in range(limit):
        before = db.execute(
            "SELECT c.old_path FROM commit_changes c JOIN commits k ON k.id = c.commit_id"
            " WHERE c.path = ? AND c.status = 'R' ORDER BY k.committed_at DESC, k.sha LIMIT 1",
            (names[-1],),
        ).fetchone()
        if not before or before[0] in names:
            break
        names.append(before[0])
    return names


def _said_to_have_made(db: store.Connection, artifacts: Collection[int | None]) -> set[str]:
    """Sessions with an edge to one of the artifacts, or that its frontmatter names."""
    if not artifacts:
        return set()
    by_agent = sessions.of_agents(db)
    found = set()
    for number in artifacts:
        for (agent,) in db.execute(
            "SELECT source_id FROM relationships WHERE target_type = 'artifact' AND target_id = ?"
            " AND source_type = 'agent' AND relationship_type = 'produced' AND origin = 'derived'",
            (number,),
        ):
            found.add(by_agent.get(agent, ""))
    said = said_sources(db, artifacts)
    return (found | {session for several in said.values() for session in several}) - {""}


def said_sources(db: store.Connection, only: Collection[int | None] | None = None) -> dict[int, set[str]]:
    """Artifact -> the sessions that its frontmatter, or somebody's word on it, names as where it came from."""
    sql = (
        "SELECT id, file_path, json_extract(own, '$.source_transcript'), NULL FROM artifacts"
        " WHERE own LIKE '%\"source_transcript\"%' AND file_path IS NOT NULL"
    )
    rows = (
        [row for number in only for row in db.execute(f"{sql} AND id = ?", (number,))]
        if only
        else db.execute(sql).fetchall()
    )
    for path, source in db.execute("SELECT path, source_transcript FROM annotations WHERE source_transcript <> ''"):
        number = artifact_at(db, path)
        if number is not None:
            rows.append((number, path, None, source))
    if not rows:
        return {}
    names = _names_of_transcripts(db)
    found: dict[int, set[str]] = {}
    for number, path, own, said in rows:
        if only is None or number in only:
            folder = path.rpartition("/")[0]
            text = str(own or said).removeprefix("./")
            beside = f"{folder}/{text}" if folder else text
            several = names.get(text) or names.get(beside) or names.get(text.rpartition("/")[2]) or set()
            found.setdefault(number, set()).update(several)
    return found


def _names_of_transcripts(db: store.Connection) -> dict[str, set[str]]:
    """What a transcript or a session may be called: its path, its name where one file alone has it, the session's id."""
    names: dict[str, set[str]] = {}
    files: dict[str, set[str]] = {}
    for transcript, session in db.execute("SELECT transcript, session_id FROM session_files"):
        names.setdefault(transcript, set()).add(session)
        names.setdefault(session, set()).add(session)
        files.setdefault(transcript.rpartition("/")[2], set()).add(transcript)
    for name, several in files.items():
        if len(several) == 1:
            names.setdefault(name, set()).update(names[next(iter(several))])
    return names


def claims_of(db: store.Connection, session: str, operations: Sequence[str] = WRITING) -> list[PlacedClaim]:
    """The successful, placed claims of a session's speaking files, in the order they were made, each with the contents
    that it showed and those that replaying it gave."""
    marks = ", ".join("?" * len(operations))
    rows = db.execute(
        "SELECT c.transcript, c.number, c.path, c.operation, c.turn, c.line, c.at, c.hashes, coalesce(x.hashes, ''),"
        " c.blobs, coalesce(x.blobs, ''), t.format, f.started_at FROM session_files f"
        " JOIN claims c USING (transcript, session_id, part)"
        " JOIN transcripts t ON t.path = f.transcript"
        " LEFT JOIN claim_changes x ON x.transcript = c.transcript AND x.number = c.number"
        f" WHERE f.session_id = ? AND f.speaks = 1 AND c.succeeded = 1 AND c.path IS NOT NULL"
        f" AND c.operation IN ({marks}) GROUP BY c.transcript, c.number ORDER BY c.transcript, c.number",
        (session, *operations),
    ).fetchall()
    made = _commits_made(db, session) if any(row[6] is None for row in rows) else []
    found = []
    for transcript, number, path, operation, turn, line, at, hashes, more, blobs, other, form, started in rows:
        since = at or next((when for where, n, when in made if where == transcript and n >= line), started)
        names, more_names = tuple(f"{hashes} {more}".split()), tuple(f"{blobs} {other}".split())
        found.append(
            PlacedClaim(
                session, transcript, path, operation, turn, line, at, names, more_names, number, form == NOTES, since
            )
        )
    return found


def _commits_made(db: store.Connection, session: str) -> list[tuple[str, int, str]]:
    """(transcript, line, time of writing) of each commit that the session printed and that history has, by line."""
    found = []
    for transcript, _, line, _, sha, subject in _printed_by(db, session):
        number = _printed(db, sha, subject, None)
        if number is not None:
            found.append((transcript, line, _commit_times(db, number)))
    return sorted(found)


def _commit_times(db: store.Connection, number: int) -> str:
    return str(db.execute("SELECT authored_at FROM commits WHERE id = ?", (number,)).fetchone()[0])


def _printed_by(db: store.Connection, session: str) -> list[tuple[str, int, int, str | None, str, str]]:
    """(transcript, turn, line, time, name, subject) of each commit that the session's own git printed."""
    return db.execute(
        "SELECT c.transcript, c.turn, c.line, c.at, c.sha, c.subject FROM session_commits c JOIN session_files f"
        " USING (transcript, session_id, part) WHERE c.session_id = ? AND f.speaks = 1 GROUP BY c.transcript, c.number",
        (session,),
    ).fetchall()


def changes_of(db: store.Connection, paths: Iterable[str]) -> list[Change]:
    """The commits that changed one of the paths, by the time they were committed, oldest first."""
    found = [
        (Change(*row), status)
        for path in paths
        for *row, status in db.execute(
            "SELECT k.sha, k.authored_at, k.committed_at, c.blob, c.status FROM commit_changes c"
            " JOIN commits k ON k.id = c.commit_id"
            " WHERE c.path = ?",
            (path,),
        )
    ]
    # In one second a rename comes last: the content was there before it.
    found.sort(key=lambda one: (one[0].committed, one[1] == "R", one[0].authored, one[0].sha))
    return [change for change, _ in found]


def judge(db: store.Connection, claims: Iterable[PlacedClaim]) -> list[Judged]:
    """The claims by the artifact that their path leads to today, each looked up in git and on disk."""
    found: dict[int, Judged] = {}
    artifact_of: dict[tuple[str, str | None], int | None] = {}
    changes: dict[int, list[Change]] = {}
    content: dict[int, tuple[str | None, str | None]] = {}
    names: dict[int, list[str]] = {}
    for claim in claims:
        place = (claim.path, claim.since)
        if place not in artifact_of:
            artifact_of[place] = artifact_at(db, *place)
        number = artifact_of[place]
        if number is None:
            continue
        if number not in found:
            path, *content[number] = db.execute(
                "SELECT coalesce(file_path, last_path), content_hash, blob FROM artifacts WHERE id = ?", (number,)
            ).fetchone()
            found[number] = Judged(number, path)
            names[number] = names_before(db, path)
            changes[number] = changes_of(db, names[number])
        if claim.path not in names[number]:  # a move that no commit tells
            names[number].append(claim.path)
            changes[number] = changes_of(db, names[number])
        found[number].claims.append((claim, prove(claim, *content[number], changes[number])))
    return list(found.values())


def makers_of_contents(db: store.Connection, artifact: int) -> dict[str | None, set[str]]:
    """Content (SHA-256 or git's name) -> the sessions that left it in the file of an artifact."""
    found: dict[str | None, set[str]] = {}
    by_agent = sessions.of_agents(db)
    for (agent,) in db.execute(
        "SELECT source_id FROM relationships WHERE source_type = 'agent' AND relationship_type = 'produced'"
        " AND target_type = 'artifact' AND target_id = ?",
        (artifact,),
    ).fetchall():
        session = by_agent.get(agent)
        for claim in claims_of(db, session) if session else ():
            if claim.blobs and artifact_at(db, claim.path, claim.since) == artifact:
                for name in (*claim.hashes, *claim.blobs):
                    found.setdefault(name, set()).add(claim.session)
    return found


def edges(db: store.Connection, root: str, session: str, agent: int, said: dict[int, set[str]]) -> Found:
    """Everything that is known to tie a session to files and commits."""
    claims = claims_of(db, session)
    if replaying.replay(db, root, claims):
        claims = claims_of(db, session)
    taken: dict[tuple[str, str], list[PlacedClaim]] = {}
    for judged in judge(db, claims):
        grounds = weigh(judged.claims)
        if grounds is None:
            continue
        about = {"operations": list(grounds.operations), "transcript": grounds.transcript, "turn": grounds.turn}
        about |= {"line": grounds.line}
        about |= {"at": grounds.at} if grounds.at else {}
        about |= _times([claim for claim, _ in judged.claims])
        about |= {"commit": grounds.commit} if grounds.commit else {}
        if grounds.evidence == "declared":  # the note of a commit
            about["commit"] = grounds.transcript.rpartition(":")[2]
        yield ("agent", agent, "produced", "artifact", judged.artifact), grounds.evidence, about
        for claim, proof in judged.claims:
            if proof.commit is not None:
                taken.setdefault((proof.commit, "proved"), []).append(claim)
            elif proof.likely is not None and not claim.declared:
                taken.setdefault((proof.likely, "matched"), []).append(claim)
    yield from _reads(db, session, agent)
    for number, several in said.items():
        if session in several:
            yield ("agent", agent, "produced", "artifact", number), "declared", {"frontmatter": "source_transcript"}
    yield from _commits(db, session, agent, taken)


def _times(claims: list[PlacedClaim]) -> dict[str, str]:
    times = [claim.at for claim in claims if claim.at]
    return {"first_at": min(times), "last_at": max(times)} if times else {}


def _reads(db: store.Connection, session: str, agent: int) -> Found:
    seen: set[int] = set()
    for claim in claims_of(db, session, ("read",)):
        number = artifact_at(db, claim.path, claim.since)
        if number is not None and number not in seen:
            seen.add(number)
            about = {"mode": "read", "transcript": claim.transcript, "turn": claim.turn, "line": claim.line}
            yield ("agent", agent, "consumed", "artifact", number), "matched", about


def _commits(db: store.Connection, session: str, agent: int, taken: dict[tuple[str, str], list[PlacedClaim]]) -> Found:
    """Commits that took what the session wrote (or may have: the next that changed the path), that the session made itself,
    or that name it."""
    for (sha, evidence), claims in taken.items():
        number = _commit(db, sha)
        if number is not None:
            about: dict[str, Any] = {
                "paths": sorted({claim.path for claim in claims}),
                "transcript": claims[0].transcript,
            }
            about |= {"turn": claims[0].turn, "line": claims[0].line}
            yield ("agent", agent, "produced", "commit", number), evidence, about
    for transcript, turn, line, at, sha, subject in _printed_by(db, session):
        number = _printed(db, sha, subject, at)
        if number is not None:
            about = {"printed": sha, "transcript": transcript, "turn": turn, "line": line}
            yield ("agent", agent, "produced", "commit", number), "proved", about
    yield from _named(db, session, agent)
    yield from _carried(db, session, agent)


def _commit(db: store.Connection, sha: str) -> int | None:
    row = db.execute("SELECT id FROM commits WHERE sha = ?", (sha,)).fetchone()
    return row[0] if row else None


def _printed(db: store.Connection, sha: str, subject: str, at: str | None) -> int | None:
    """The commit whose name begins as a session's `git commit` printed it, with the same subject."""
    rows = db.execute(
        "SELECT id, subject, committed_at FROM commits WHERE sha >= ? AND sha < ?", (sha, sha + "g")
    ).fetchall()
    same = [row for row in rows if row[1].strip() == subject.strip() and could_follow(at, row[2])]
    return same[0][0] if len(rows) == 1 and same else None


def _named(db: store.Connection, session: str, agent: int) -> Found:
    """Commits whose message or note names the session, and the files that these changed: declared."""
    for commit, sha, key, at in db.execute(
        "SELECT s.commit_id, k.sha, s.key, k.committed_at FROM commit_sessions s"
        " JOIN commits k ON k.id = s.commit_id WHERE s.value IN"
        " (SELECT ?1 UNION SELECT f.part FROM session_files f WHERE f.session_id = ?1 AND f.part <> '')"
        " ORDER BY k.committed_at DESC, k.sha, s.key",
        (session,),
    ).fetchall():
        yield ("agent", agent, "produced", "commit", commit), "declared", {"trailer": key}
        if key == "git-ai":  # which says itself, by claims, which files are meant
            continue
        for (path,) in db.execute(
            "SELECT path FROM commit_changes WHERE commit_id = ? AND status <> 'D'", (commit,)
        ).fetchall():
            number = artifact_at(db, path, at)
            if number is not None:
                about = {"trailer": key, "commit": sha}
                yield ("agent", agent, "produced", "artifact", number), "declared", about


def _carried(db: store.Connection, session: str, agent: int) -> Found:
    """Commits that carry on what a rewritten one was, whose message named the session."""
    for commit, sha, key, old, evidence in db.execute(
        "SELECT c.commit_id, k.sha, c.key, c.sha, c.evidence FROM carried c JOIN commits k ON k.id = c.commit_id WHERE c.value IN"
        " (SELECT ?1 UNION SELECT f.part FROM session_files f WHERE f.session_id = ?1 AND f.part <> '')"
        " ORDER BY k.committed_at DESC, k.sha, c.key, c.sha",
        (session,),
    ).fetchall():
        (uid,) = db.execute("SELECT uid FROM agents WHERE id = ?", (agent,)).fetchone()
        if not is_unlinked(db, f"agent:{uid}", "produced", f"commit:{sha}"):
            yield ("agent", agent, "produced", "commit", commit), evidence, {"trailer": key, CARRIED: old}


def tell_origins(db: store.Connection, artifacts: Iterable[int]) -> None:
    """Bring `made_in` of these artifacts to the transcript of the session that made the file: the earliest that created
    it, else the earliest that changed it."""
    annotated = False
    for number in artifacts:
        best: tuple[Any, ...] | None = None
        for (metadata,) in db.execute(
            "SELECT metadata FROM relationships WHERE target_type = 'artifact' AND target_id = ? AND source_type = 'agent'"
            " AND relationship_type = 'produced' AND origin = 'derived' AND metadata LIKE '%\"transcript\"%'",
            (number,),
        ):
            about = json.loads(metadata)
            made = {"create", "write"} & set(about.get("operations", ()))
            place = about["transcript"]
            if not place.startswith((sessions.JOURNAL, "/", "~")) and ":" not in place:
                rank = (not made, about.get("at") or "~", place)
                best = rank if best is None or rank < best else best
        place = best[-1] if best else None
        db.execute(
            "UPDATE artifacts SET made_in = ?1, source_transcript ="
            " coalesce(json_extract(own, '$.source_transcript'), ?1) WHERE id = ?2 AND made_in IS NOT ?1",
            (place, number),
        )
        annotated |= bool(db.execute("SELECT 1 FROM artifacts WHERE id = ? AND annotated = 1", (number,)).fetchone())
    if annotated:
        overlay(db)
