"""What the messages of commits refer to, and what they decide: closings, and reverts that take one back.

Each decision becomes an event whose id is made from commit and record, so that every clone derives the same one. It
has seen what its commit's own tree says of the record, and what the commits before it decide; it counts while its
commit is reachable, and a later commit publishes it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from mlos_sync.app import reading, segments
from mlos_sync.app.events import add_events, update_visibility
from mlos_sync.app.naming import find_record
from mlos_sync.app.numbering import Record, is_contested, uid_in
from mlos_sync.app.opening import Index
from mlos_sync.core import ids, journal
from mlos_sync.core.fold import CLOSED, COMMIT_DOOR, fold, heads
from mlos_sync.edge import git, graph, store
from mlos_sync.errors import RefusedError, UsageError

# What a decision does; its event is known by that, the commit and the record.
CLOSING, REOPENING, CLOSING_AGAIN = "closing", "reopening", "closing again"
_STATUS = {
    (CLOSING, "task"): "completed",
    (CLOSING, "need"): "resolved",
    (REOPENING, "task"): "open",
    (REOPENING, "need"): "active",
}

# References of a commit's own message, and those that it carries on; which close is told where these are read.
_OWN = "SELECT c.id, c.sha, c.sha, c.author, c.committed_at, r.key, r.value, 'proved' FROM commit_references r"
_CARRIED = "SELECT c.id, c.sha, r.sha, c.author, c.committed_at, r.key, r.value, r.evidence FROM carried r"
_WAITING = " JOIN commits c ON c.id = r.commit_id WHERE r.targets IS NULL"
SAID = (
    "(SELECT commit_id, key, value, targets, 'declared' AS evidence, NULL AS carried FROM commit_references UNION ALL"
    " SELECT commit_id, key, value, targets, evidence, sha FROM carried)"
)


@dataclass(frozen=True, slots=True)
class _Commit:
    id: int
    sha: str
    author: str
    at: str


@dataclass(frozen=True, slots=True)
class _Decision:
    """What one commit decides of one record; `event` is the id of the event that says so."""

    record: Record
    event: str
    closes: bool


def is_current(db: store.Connection, head: str) -> bool:
    """Whether the commits up to `head` are taken in, and what their messages name was looked up since records changed."""
    return store.get(db, "head") == head and are_references_current(db)


def are_references_current(db: store.Connection) -> bool:
    """Whether records and commits are as they were when the references in messages were last looked up."""
    return store.get(db, "references_at") == store.get(db, "population", "0")


def look_up(index: Index) -> set[Record]:
    """Look up what messages refer to, where that is not known (any more), and make the events of what they decide.

    Runs in the caller's transaction, capture off, after records are up to date. Returns the records to fold again.
    """
    db = index.db
    dirty: set[Record] = set()
    unresolved: dict[str, list[str]] = {}
    waiting = db.execute(f"{_OWN}{_WAITING} UNION ALL {_CARRIED}{_WAITING} ORDER BY 1, 3, 6, 7").fetchall()
    closed: dict[_Commit, list[Record]] = {}
    for number, sha, origin, author, at, key, value, evidence in waiting:
        commit = _Commit(number, sha, author, at)
        mine = closed.setdefault(commit, [])
        mine += _resolve(index, commit, origin, key, value, unresolved) if evidence == "proved" else []
        if evidence != "proved":
            _resolve(index, commit, origin, key, value, unresolved)
    reverts = _reverts(index)
    by_sha = {commit.sha: shas for commit, shas in reverts.items()}
    taken_back: dict[str, list[_Decision]] = {}
    for commit in sorted({*closed, *reverts}, key=lambda one: one.id):  # ancestors first
        for record in dict.fromkeys(closed.get(commit, ())):
            dirty |= _decide(index, commit, record, CLOSING)
        dirty |= _forget_other_closings(db, commit) if commit in closed else set()
        taken_back = {sha: mine for sha, mine in taken_back.items() if sha not in reverts.get(commit, ())}
        taken_back[commit.sha] = undone = _undone(index, commit.sha, by_sha)
        for one in undone:
            void = _void(index, commit, one.record, taken_back)
            what = REOPENING if one.closes else CLOSING
            dirty |= _decide(index, commit, one.record, what, against=one, void=void)
    store.observe(db, "references", [(commit, "; ".join(messages)) for commit, messages in unresolved.items()])
    store.put(db, "references_at", store.get(db, "population", "0"))
    return dirty


def _resolve(
    index: Index, commit: _Commit, origin: str, key: str, value: str, unresolved: dict[str, list[str]]
) -> list[Record]:
    """Look up one trailer's references and note what they mean; returns the records that it closes."""
    db, meaning = index.db, index.workspace.config.commits.rules.meaning(key) or key
    targets: list[str] = []
    closed: list[Record] = []
    references = [] if meaning == "session" else list(ids.in_trailer(meaning, value))
    for reference, closes in references:
        try:
            kind, uid = _named_by(index, reference, origin)
        except (UsageError, RefusedError) as error:
            unresolved.setdefault(f"commit {commit.sha[:12]}", []).append(f"{key}: {value}: {error.message}")
            continue
        targets.append(f"{kind}:{uid}")
        if closes and kind != "agent":
            closed.append((kind, uid))
    if len(targets) == len(references):
        table, more = ("commit_references", "") if origin == commit.sha else ("carried", " AND sha = ?")
        place = (commit.id, key, value) if origin == commit.sha else (commit.id, key, value, origin)
        db.execute(
            f"UPDATE {table} SET targets = ? WHERE commit_id = ? AND key = ? AND value = ?{more}",
            (" ".join(targets), *place),
        )
    return closed


def _named_by(index: Index, reference: ids.Reference, sha: str) -> Record:
    """The record that a message names. A bare number means what it meant in the commit's own tree: where two clones gave
    it out, or it moved since, the records of that tree decide, never what came later."""
    db, number = index.db, reference.number
    if number is None or reference.kind is None or not is_contested(db, reference.kind, number):
        return find_record(db, reference)
    places = segments.named(git.tree_files(index.workspace.root, sha, journal.FOLDER))
    reading.read_copies(index, places)
    uid = uid_in(db, reference.kind, number, places)
    return (reference.kind, uid) if uid is not None else find_record(db, reference)


# --- reverts


def _reverts(index: Index) -> dict[_Commit, list[str]]:
    """Commit -> the commits that it reverts and that decide something here. A merge stands for all that it brought."""
    db = index.db
    if not db.execute(f"SELECT 1 FROM {SAID} LIMIT 1").fetchone():
        return {}
    found: dict[_Commit, list[str]] = {}
    rows = db.execute(
        "SELECT c.id, c.sha, c.author, c.committed_at, v.sha, v.mainline FROM commit_reverts v JOIN commits c"
        " ON c.id = v.commit_id ORDER BY c.id, v.sha"
    ).fetchall()
    for *about, name, mainline in rows:
        commit = _Commit(*about)
        here = db.execute("SELECT sha FROM commits WHERE sha >= ? AND sha < ?", (name, name + "g")).fetchall()
        shas = [sha for (sha,) in here] if len(here) == 1 else _as_now(db, name)
        if mainline and shas:
            shas = graph.unreached(index.workspace.root, shas[0], mainline) or shas
        earlier = {sha for sha in shas if _is_earlier(db, sha, commit)}
        found.setdefault(commit, []).extend(sorted(earlier))
    return {commit: shas for commit, shas in found.items() if shas}


def _is_earlier(db: store.Connection, sha: str, commit: _Commit) -> bool:
    """Whether a commit of this history stands before another: nobody reverts what is yet to come, whatever a message says."""
    row = db.execute("SELECT id FROM commits WHERE sha = ?", (sha,)).fetchone()
    return row is not None and row[0] < commit.id


def _as_now(db: store.Connection, name: str) -> list[str]:
    """The commit of this history that a reverted one, which was rewritten since, has become: the same author and time."""
    rows = db.execute(
        "SELECT c.sha FROM strays s JOIN commits c ON c.author = s.author AND c.authored_at = s.authored_at"
        " AND c.subject = s.subject WHERE s.sha >= ? AND s.sha < ?",
        (name, name + "g"),
    ).fetchall()
    return [sha for (sha,) in rows] if len(rows) == 1 else []


def _undone(index: Index, sha: str, reverts: dict[str, list[str]]) -> list[_Decision]:
    """The decisions that a commit takes back by reverting others."""
    return [one for reverted in reverts.get(sha, ()) for one in _decisions(index, reverted, reverts)]


def _void(index: Index, commit: _Commit, record: Record, taken_back: dict[str, list[_Decision]]) -> set[str]:
    """The events of decisions on a record that a commit, or one before it in its history, took back."""
    found = [(sha, one.event) for sha, mine in taken_back.items() for one in mine if one.record == record]
    root = index.workspace.root
    return {event for sha, event in found if sha == commit.sha or graph.is_ancestor(root, sha, commit.sha)}


def _decisions(index: Index, sha: str, reverts: dict[str, list[str]]) -> list[_Decision]:
    """What a commit decides: by its references, or by reverting what others decided (these are its ancestors)."""
    db, meaning = index.db, index.workspace.config.commits.rules.meaning
    rows = db.execute(
        f"SELECT r.key, r.targets FROM {SAID} r JOIN commits c ON c.id = r.commit_id WHERE c.sha = ? AND r.targets IS NOT NULL"
        " AND (r.carried IS NULL OR r.evidence = 'proved')",
        (sha,),
    ).fetchall()
    named = [target.partition(":") for key, targets in rows if meaning(key) == "closes" for target in targets.split()]
    found = [_Decision((kind, uid), _event(CLOSING, sha, uid), True) for kind, _, uid in named]
    for one in _undone(index, sha, reverts):
        event = _event(REOPENING if one.closes else CLOSING_AGAIN, sha, one.record[1])
        if db.execute("SELECT 1 FROM events WHERE id = ?", (event,)).fetchone():
            found.append(_Decision(one.record, event, not one.closes))
    return found


# --- events


def _event(what: str, sha: str, uid: str) -> str:
    """The id of the event by which a commit decides something of a record: the same in every clone."""
    return ids.derived_uid(what, sha, uid)


def _decide(
    index: Index,
    commit: _Commit,
    record: Record,
    what: str,
    *,
    against: _Decision | None = None,
    void: Collection[str] = (),
) -> set[Record]:
    """Make the event by which a commit closes or reopens a record, where none is known. With `against`, the decision that it
    takes back, only if the record would stand otherwise without all that was taken back (`void`).

    The event has seen the journal of its commit's own tree and what earlier commits decide: what was decided there it
    overrules, what came later overrules it.
    """
    db = index.db
    kind, uid = record
    name = _event(CLOSING_AGAIN if against and what == CLOSING else what, commit.sha, uid)
    known = db.execute("SELECT seq, closing FROM events WHERE id = ?", (name,)).fetchall()
    if known:
        # Somebody published it. That this commit makes it counts too, where a revert or a merge took the segment away.
        db.execute("UPDATE events SET closing = ? WHERE id = ?", (commit.sha, name))
        return update_visibility(db, [seq for seq, closing in known if closing is None])
    before = _seen_by(index, commit, record)
    if against is not None:
        # Without what they say, but not without the events: what has seen one comes after all that it had seen.
        rest = [replace(event, fields={}) if event.id in void else event for event in before]
        if _is_closed(before) != against.closes or _is_closed(rest) == against.closes:
            return set()
    event = journal.make(
        id=name, clock=(int(datetime.fromisoformat(commit.at).timestamp()) * 1000, 0), seen=heads(before), kind=kind, uid=uid,
        op="update", fields={"status": _STATUS[what, kind]}, actor=commit.author, door=COMMIT_DOOR + commit.sha, tx=commit.sha,
    )  # fmt: skip
    return update_visibility(db, add_events(db, [event], closing=commit.sha))


def _seen_by(index: Index, commit: _Commit, record: Record) -> list[journal.Event]:
    """The events of a record in a commit's own tree, and those that earlier commits of its history make."""
    db, root = index.db, index.workspace.root
    places = segments.named(git.tree_files(root, commit.sha, journal.FOLDER))
    reading.read_copies(index, places)
    held = ", ".join("?" * len(places))
    lines = db.execute(
        "SELECT DISTINCT e.line FROM events e JOIN segment_events m ON m.event = e.seq JOIN segments s"
        f" ON s.number = m.segment WHERE e.kind = ? AND e.uid = ? AND s.name IN ({held})",
        (*record, *places),
    ).fetchall()
    made = db.execute(
        "SELECT e.line, e.closing FROM events e JOIN commits c ON c.sha = e.closing WHERE e.kind = ? AND e.uid = ?"
        " AND e.closing <> ?",
        (*record, commit.sha),
    ).fetchall()
    lines += [(line,) for line, sha in made if graph.is_ancestor(root, sha, commit.sha)]
    return list({line: journal.trusted(line) for (line,) in lines}.values())


def _is_closed(events: list[journal.Event]) -> bool:
    return bool(events) and fold(events).fields.get("status") in CLOSED


def _forget_other_closings(db: store.Connection, commit: _Commit) -> set[Record]:
    """A closing that was made for what the message meant once, before that became ambiguous, and that nobody published."""
    told = db.execute(f"SELECT targets FROM {SAID} WHERE commit_id = ? AND targets IS NOT NULL", (commit.id,))
    meant = {target for (targets,) in told.fetchall() for target in targets.split()}
    stale = [
        (seq, kind, uid)
        for seq, event, kind, uid in db.execute(
            "SELECT seq, id, kind, uid FROM events WHERE closing = ? AND ledger = 0"
            " AND NOT EXISTS (SELECT 1 FROM segment_events m JOIN segments s ON s.number = m.segment"
            " WHERE m.event = events.seq AND s.committed)",
            (commit.sha,),
        ).fetchall()
        if f"{kind}:{uid}" not in meant and event == _event(CLOSING, commit.sha, uid)
    ]
    for seq, _, _ in stale:
        # A segment that was made for a commit which nobody made held it, perhaps: it is read again should it come back.
        holding = "SELECT segment FROM segment_events WHERE event = ?"
        db.execute(f"DELETE FROM segments WHERE number IN ({holding})", (seq,))
        db.execute(f"DELETE FROM segment_events WHERE segment IN ({holding})", (seq,))
        db.execute("DELETE FROM events WHERE seq = ?", (seq,))
    return {(kind, uid) for _, kind, uid in stale}
