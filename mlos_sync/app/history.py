"""The commits reachable from HEAD: who, when, what they changed, and what their messages say.

Incremental: what HEAD gained is read from git as a stream, what it lost (reset, amend, rebase, another branch) is
forgotten here and remembered among the strays (`app/strays`); nothing is read again when HEAD has not moved. What the
messages mean is looked up in `app/referring`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from operator import itemgetter

from mlos_sync.app import looking, strays
from mlos_sync.app.opening import Index
from mlos_sync.core import ids, journal, trailers
from mlos_sync.core.times import iso
from mlos_sync.core.trailers import Rules
from mlos_sync.edge import commits, git, graph, store
from mlos_sync.edge.commits import Logged, LoggedCommit
from mlos_sync.edge.memory import without_cycle_search
from mlos_sync.edge.workspace import MARKER
from mlos_sync.errors import SurroundingsError

BATCH = 1000  # commits that are written at once: one statement for each takes twice as long as all of it
OF_COMMITS = ("commit_changes", "commit_references", "commit_sessions", "commit_trailers", "commit_reverts", "carried")


def update(index: Index, head: str) -> set[str]:
    """Bring the commit tables to the commit `head` ("": none yet), inside the caller's transaction. Returns the paths
    whose history changed."""
    db, root = index.db, index.workspace.root
    now, before, ends = head or None, store.get(db, "head") or None, looking.shallow(index)
    again = ends != store.get(db, "shallow") or not are_rules_current(index)
    if now == before and not again:
        return set()
    lost = graph.unreached(root, before, now) if before is not None and not again else None
    store.put(db, "shallow", ends)
    store.put(db, "rules", _rules_text(index))
    paths: set[str] = set()
    if before is not None and lost is None:
        if not again:
            strays.keep_all(db)
        paths |= _forget_all(db)
    if lost and any(
        " " in parents
        for (parents,) in db.execute("SELECT parents FROM commits ORDER BY id DESC LIMIT ?", (len(lost),))
    ):
        paths |= {path for _, path, _ in commits.merged_files(root, str(before), *([f"^{now}"] if now else []))}
    paths |= _forget(db, lost or [])
    (last,) = db.execute("SELECT coalesce(max(id), 0) FROM commits").fetchone()
    store.put(db, "commits_after", str(last))  # those with a higher number are new
    revisions = [now, *([f"^{before}"] if before is not None and lost is not None else [])] if now is not None else []
    logged = commits.log(root, *revisions) if revisions else None
    asked = strays.ask(index, now, lost or [])  # two processes of git look at once
    if logged is not None:
        paths |= _read(index, revisions, logged)
    store.put(db, "head", now or "")
    store.bump(db, "population")
    strays.look(index, asked)
    return paths


def are_rules_current(index: Index) -> bool:
    """Whether messages were read by the rules that the config has now."""
    text = _rules_text(index)
    return store.get(index.db, "rules", text) == text


def _rules_text(index: Index) -> str:
    return repr(index.workspace.config.commits.rules)


# Where contents are missing (a partial clone, damage), renames are told by object id alone; where even that fails, what git
# could read before it met the damage is kept.
_LESS = (
    ("-M100%", commits.ANCESTORS_FIRST, "renames with edits are not told: {}"),
    ("-M100%", commits.NEWEST_FIRST, "older commits could not be read ({}); run git fsck"),
)


def _read(index: Index, revisions: list[str], logged: Iterator[Logged]) -> set[str]:
    """Take in commits, as far as git has them; what is missing is named. Ids rise from ancestors to descendants."""
    db = index.db
    known = _shallow_note(index)
    error: SurroundingsError | None = None
    for renames, order, words in (("", (), ""), *_LESS):
        if error is not None:
            known = [*_shallow_note(index), ("git log", words.format(error.message))]
            _forget(db, _new(db))
            logged = commits.log(index.workspace.root, *revisions, renames=renames, order=order)
        try:
            with without_cycle_search():
                paths = _add(index, logged, revisions)
            break
        except SurroundingsError as failed:
            error = failed
    else:
        paths = {path for (path,) in db.execute("SELECT DISTINCT path FROM commit_changes")}
    store.observe(db, "history", known)
    return paths


def _shallow_note(index: Index) -> list[tuple[str, str]]:
    if not looking.shallow(index):
        return []
    told = "this clone is shallow: what older commits did and say is not here; git fetch --unshallow brings it"
    return [("shallow", told)]


def _new(db: store.Connection) -> list[str]:
    """The commits that came since `update` began."""
    after = int(store.get(db, "commits_after", "0"))
    return [sha for (sha,) in db.execute("SELECT sha FROM commits WHERE id > ?", (after,)).fetchall()]


def _forget_all(db: store.Connection) -> set[str]:
    paths = {path for (path,) in db.execute("SELECT DISTINCT path FROM commit_changes")}
    for table in ("commits", *OF_COMMITS):
        db.execute(f"DELETE FROM {table}")
    for end in ("source", "target"):
        db.execute(f"DELETE FROM relationships WHERE {end}_type = 'commit' AND origin = 'derived'")
    return paths


def _forget(db: store.Connection, shas: list[str]) -> set[str]:
    paths: set[str] = set()
    for sha in shas:
        row = db.execute("SELECT id FROM commits WHERE sha = ?", (sha,)).fetchone()
        if row:
            paths.update(path for (path,) in db.execute("SELECT path FROM commit_changes WHERE commit_id = ?", row))
            for table in OF_COMMITS:
                db.execute(f"DELETE FROM {table} WHERE commit_id = ?", row)
            db.execute("DELETE FROM relationships WHERE source_type = 'commit' AND source_id = ?", row)
            db.execute(
                "DELETE FROM relationships WHERE target_type = 'commit' AND target_id = ? AND origin = 'derived'", row
            )
            db.execute("DELETE FROM commits WHERE id = ?", row)
    return paths


def _add(index: Index, logged: Iterator[Logged], revisions: list[str]) -> set[str]:
    db, rules = index.db, index.workspace.config.commits.rules
    paths: set[str] = set()
    merges = False
    marked = len(revisions) > 1 or bool(
        git.blobs_at(index.workspace.root, revisions[0], [MARKER])
    )  # asked while git sorts
    number = int(store.get(db, "commits_after", "0"))
    mentioned: dict[str, tuple[int, list[tuple[str, str]]]] = {}
    while batch := list(islice(logged, BATCH)):
        numbered = [(n, *one) for n, one in enumerate(batch, number + 1)]
        number += len(batch)
        paths.update(_write(db, numbered, rules))
        for n, commit, _ in numbered:
            merges = merges or " " in commit.parents
            if (commit.trailers or trailers.may_mention(commit.message, rules)) and (found := mentions(commit, rules)):
                mentioned[commit.sha] = (n, found)
    # "Fixes: 12" from before there was a workspace means somebody else's number 12.
    for sha in git.having(index.workspace.root, mentioned, MARKER):
        number, found = mentioned[sha]
        db.executemany(
            "INSERT OR IGNORE INTO commit_references(commit_id, key, value) VALUES (?, ?, ?)",
            [(number, *one) for one in found],
        )
    return paths | _add_merged(index, revisions, paths, marked=marked) if merges else paths


def _write(
    db: store.Connection, numbered: Sequence[tuple[int, LoggedCommit, list[commits.LoggedChange]]], rules: Rules
) -> set[str]:
    """Insert commits under their numbers. Returns the paths that they changed."""
    db.executemany(
        "INSERT INTO commits(id, sha, parents, author, authored_at, committer, committed_at, subject)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (n, c.sha, c.parents, c.author, iso(c.authored * 1000), c.committer, iso(c.committed * 1000), c.subject)
            for n, c, _ in numbered
        ],
    )
    changed = [(*change, n) for n, _, changes in numbered for change in changes]
    changed.sort(key=itemgetter(0))  # rows of one path stand together in the table
    db.executemany(
        "INSERT OR REPLACE INTO commit_changes(path, status, blob, old_path, commit_id) VALUES (?, ?, ?, ?, ?)", changed
    )
    told = [(n, commit) for n, commit, _ in numbered if commit.trailers or "This reverts" in commit.message]
    db.executemany(
        "INSERT INTO commit_trailers VALUES (?, ?, ?, ?)",
        [(n, place, *pair) for n, commit in told for place, pair in enumerate(pairs(commit))],
    )
    db.executemany(
        "INSERT OR IGNORE INTO commit_sessions VALUES (?, ?, ?)",
        [(n, *one) for n, commit in told for one in named_sessions(commit, rules)],
    )
    db.executemany(
        "INSERT OR IGNORE INTO commit_reverts VALUES (?, ?, ?)",
        [(n, one.commit, one.mainline or "") for n, commit in told for one in trailers.reverted(commit.message)],
    )
    return {path for path, *_ in changed} | {old for *_, old, _ in changed if old}


def _add_merged(index: Index, revisions: list[str], paths: set[str], *, marked: bool) -> set[str]:
    """Segments that a merge commit itself added (a merge that stopped, or was amended): they count like all others. Returns
    the paths of all files that merges themselves brought; of a whole history only those of segments, and only where there
    ever was a journal (HEAD has the marker of a workspace, or a commit touched the journal): to ask for more takes git half
    as long as all the rest."""
    root, whole = index.workspace.root, len(revisions) == 1
    if not marked and not any(path.startswith(journal.FOLDER) for path in paths):
        return set()
    rows = commits.merged_files(root, *revisions, paths=[journal.FOLDER] if whole else [])
    index.db.executemany(
        "INSERT OR IGNORE INTO commit_changes(path, commit_id, status, blob) SELECT ?, id, 'A', ? FROM commits WHERE sha = ?",
        [(path, blob, sha) for sha, path, blob in rows if path.startswith(journal.FOLDER)],
    )
    return {path for _, path, _ in rows}


def pairs(commit: LoggedCommit) -> list[tuple[str, str]]:
    """(key, value) of each trailer of a commit as git parses it."""
    cut = (line.partition(":") for line in commit.trailers.split("\n") if line)
    return [(key.strip(), value.strip()) for key, _, value in cut]


def mentions(commit: LoggedCommit, rules: Rules) -> list[tuple[str, str]]:
    """(key in lower case, value) of each trailer, trailer-like line or word that refers to a record."""
    found = [(key.lower(), value) for key, value in pairs(commit) if rules.meaning(key) not in (None, "session")]
    found = [pair for pair in found if any(True for _ in ids.in_trailer(str(rules.meaning(pair[0])), pair[1]))]
    found += [(one.key, one.value) for one in trailers.mentions(commit.message, rules)]
    return list(dict.fromkeys(found))


def named_sessions(commit: LoggedCommit, rules: Rules) -> list[tuple[str, str]]:
    """(key in lower case, session or checkpoint) of each trailer that names one; of a link its last part."""
    found = [(key.lower(), value) for key, value in pairs(commit) if rules.meaning(key) == "session"]
    return [(key, value.rstrip("/").rpartition("/")[2]) for key, value in found if value]
