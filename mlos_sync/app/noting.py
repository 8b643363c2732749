"""What git keeps of sessions beside the branches, where this clone has it: git-ai's notes and Entire's checkpoints.

git-ai's notes (`refs/notes/ai`) say for a commit which session wrote which lines. Entire's branch
(`entire/checkpoints/v1`) holds the transcripts of sessions, a growing copy for each checkpoint; the commits name the
checkpoint in a trailer. Neither ref is fetched by a plain clone, so what they tell is true of this clone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlos_sync.app import sessions, weighing
from mlos_sync.app.collecting import CHECKPOINTS, NOTES
from mlos_sync.app.opening import Index
from mlos_sync.app.planning import object_format
from mlos_sync.core import transcripts
from mlos_sync.core.transcripts.model import Problem, Session, gather
from mlos_sync.edge import git, objects, store, transcribing
from mlos_sync.edge.transcribing import Kept, Read
from mlos_sync.edge.transcript_worker import rows_of_facts

if TYPE_CHECKING:
    from mlos_sync.core.transcripts.entire import Checkpoint


@dataclass(slots=True)
class Notes:
    """What the refs brought: `seen` tells their state, `read` what is new, `gone` transcripts that they no longer
    hold."""

    seen: str
    read: list[Kept] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    @property
    def transcripts(self) -> list[str]:
        """The paths of what was read."""
        return [one.path for one in self.read]


def collect(index: Index, tips: dict[str, str], seen: str) -> Notes:
    """Read what the refs hold and the index has not: `tips` has the name and commit of each ref."""
    found = Notes(seen)
    known = {
        path: content
        for path, content, reader in index.db.execute(
            "SELECT path, content_hash, reader FROM transcripts WHERE kept = 'git'"
        )
        if reader == transcripts.READER_VERSION
    }
    here: set[str] = set()
    if NOTES in tips:
        here |= _notes(index, tips[NOTES], known, found)
    for name, sha in sorted(tips.items()):
        if name.endswith(CHECKPOINTS):
            here |= _checkpoints(index, sha, known, found)
            break  # the local branch comes before the remote one, which holds the same
    rows = index.db.execute("SELECT path FROM transcripts WHERE kept = 'git'").fetchall()
    found.gone = sorted({path for (path,) in rows} - here)
    return found


def _notes(index: Index, tip: str, known: dict[str, str], found: Notes) -> set[str]:
    """The notes of commits that HEAD reaches."""
    from mlos_sync.core.transcripts import git_ai

    root = index.workspace.root
    reachable = set(git.run(root, "rev-list", "HEAD", check=False).decode().split())
    blobs = {}
    for path, (_, blob) in git.tree_files(root, tip).items():
        commit = path.replace("/", "")
        if commit in reachable:
            blobs[commit] = blob
    have = git.existing(root, set(blobs.values()))
    new = {c: blob for c, blob in blobs.items() if blob in have and known.get(f"{NOTES}:{c}") != blob}
    contents = dict(objects.blobs(root, sorted(set(new.values()))))
    for commit, blob in sorted(new.items()):
        facts = gather(git_ai.parse(contents[blob], commit))
        rows = rows_of_facts([*facts.sessions, *facts.claims, *facts.problems], "sha1")
        found.read.append(Kept(f"{NOTES}:{commit}", "git", Read(weighing.NOTES, blob, *rows)))
    return {f"{NOTES}:{commit}" for commit in blobs}


def _checkpoints(index: Index, tip: str, known: dict[str, str], found: Notes) -> set[str]:
    """Of each session the transcript of its newest checkpoint, and which checkpoints it has."""
    from mlos_sync.core.transcripts import entire

    root = index.workspace.root
    tree = git.tree_files(root, tip)
    told = {path: blob for path, (_, blob) in tree.items() if path.endswith("/metadata.json") and path.count("/") == 3}
    logs = {path: blob for path, (_, blob) in tree.items() if path.endswith("/full.jsonl")}
    have = git.existing(root, {*told.values(), *logs.values()})
    contents = dict(objects.blobs(root, sorted(set(told.values()) & have)))
    copies: dict[str, list[tuple[str, str]]] = {}
    here: set[str] = set()
    for path, blob in sorted(told.items()):
        about = entire.checkpoint(contents[blob]) if blob in contents else None
        if about is None:
            continue
        place, log = f"{CHECKPOINTS}:{path}", path.removesuffix("metadata.json") + "full.jsonl"
        here.add(place)
        if known.get(place) != blob:
            found.read.append(_checkpoint(about, place, blob, missing=log in logs and logs[log] not in have))
        if logs.get(log) in have:
            copies.setdefault(about.session_id, []).append((about.created_at or "", log))
    for _, log in sorted(max(several) for several in copies.values()):
        place, blob = f"{CHECKPOINTS}:{log}", logs[log]
        here.add(place)
        if known.get(place) != blob:
            found.read.append(Kept(place, "git", transcribing.read_blob(root, blob, place, object_format(index))))
    return here


def _checkpoint(about: Checkpoint, place: str, blob: str, *, missing: bool) -> Kept:
    """A checkpoint as a part of its session that says nothing but that it is one; commits name it."""
    session = Session(
        session_id=about.session_id, tool=about.agent or "Entire", model=None, format="entire", turns=0, started_at=None,
        ended_at=None, title=None, part=about.checkpoint_id or place, branch=about.branch,
    )  # fmt: skip
    message = "its transcript is not in this clone; git fetch --refetch brings it, mlos-sync rebuild reads it"
    facts: list[Session | Problem] = [session, *([Problem(1, message)] if missing else [])]
    return Kept(place, "git", Read("entire", blob, *rows_of_facts(facts, "sha1")))


def writers_of_line(index: Index, commit: str, path: str, line: int) -> list[str | None]:
    """The sessions that the note of a commit says wrote a line of a file as the commit has it; None for one that it does
    not say. Empty where no note says anything of it."""
    from mlos_sync.core.transcripts import git_ai

    row = index.db.execute("SELECT content_hash FROM transcripts WHERE path = ?", (f"{NOTES}:{commit}",)).fetchone()
    notes = dict(objects.blobs(index.workspace.root, [row[0]] if row else []))
    note = notes.get(row[0], b"") if row else b""
    return [session for session, first, last in git_ai.ranges(note).get(path, []) if first <= line <= last]


def take(index: Index, notes: Notes) -> set[str]:
    """Take in what the refs brought, in the caller's transaction. Returns the sessions that this concerns."""
    db = index.db
    touched: set[str] = set()
    for path in notes.gone:
        touched |= sessions.forget(db, path)
    for one in notes.read:
        touched |= sessions.take(db, one)
    db.execute("DELETE FROM commit_sessions WHERE key = 'git-ai'")
    name_commits(db)
    store.put(db, "notes", notes.seen)
    return touched


def name_commits(db: store.Connection) -> None:
    """Tie the commits that are here to the sessions that their notes name: also one that HEAD came back to."""
    db.execute(
        "INSERT OR IGNORE INTO commit_sessions SELECT k.id, 'git-ai', f.session_id FROM session_files f"
        " JOIN commits k ON k.sha = substr(f.transcript, ?2) WHERE f.transcript GLOB ?1 || '*'",
        (f"{NOTES}:", len(NOTES) + 2),
    )
