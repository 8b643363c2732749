"""Commits that this clone knows and HEAD does not reach, and where their work went.

A squash, a rebase or a force-push takes away messages that said which task, need or session a change belongs to. Such
commits are kept here with what they changed; a commit of HEAD's history that introduced their content carries their
references on (`core/carrying`), as evidence *proved*. What only this clone can show so is journaled as edges by
`app/passing`; what went nowhere is told.

Everything is computed again from the strays and the commits whenever HEAD moves, so that an index made anew says the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from mlos_sync.app.opening import Index
from mlos_sync.core import trailers
from mlos_sync.core.carrying import GONE, Known, Placement, children_of, is_successor, line_after, place
from mlos_sync.core.times import iso
from mlos_sync.edge import commits, git, graph, notes, store
from mlos_sync.edge.commits import LoggedCommit
from mlos_sync.edge.workspace import MARKER
from mlos_sync.errors import SurroundingsError

FEW = 500  # commits that are named in one command line
_WITH_CHANGES = "SELECT sha, path, blob FROM stray_changes"
_OUTSIDE = "sha NOT IN (SELECT sha FROM commits)"


@dataclass(frozen=True)
class Question:
    """What git is asked while the commits are read: which commits outside of HEAD's history may refer to something."""

    sources: Sequence[
        tuple[tuple[str, ...], list[str], tuple[str, ...]]
    ]  # wanted, unwanted, options: as of graph.lineage
    tips: list[str]
    answers: Iterable[tuple[str, list[str]]]


def ask(index: Index, head: str | None, lost: list[str]) -> Question:
    """Have git look for commits that HEAD lost, or that other refs and the reflogs brought."""
    db, root = index.db, index.workspace.root
    # Less those that HEAD is known to reach: a tag of long ago would have git walk back to it to find that out.
    tips = _outside(db, graph.ref_tips(root))
    seen = _outside(db, json.loads(store.get(db, "stray_tips", "[]")))
    here = [head] if head else []
    sources = [((*tips,), [*here, *seen], ("--reflog",))] + ([((*lost,), here, ())] if lost else [])
    pattern = ("-i", "-E", f"--grep={_pattern(index.workspace.config.commits.rules)}")
    return Question(
        sources, tips, chain.from_iterable([graph.lineage(root, *one[:2], *one[2], *pattern) for one in sources])
    )


def look(index: Index, asked: Question) -> None:
    """Note what was asked for, and carry its references on, inside the caller's transaction with capture off, after the
    commits of HEAD's history are taken in."""
    db = index.db
    notes.forget(index.workspace.state)
    _collect(index, asked)
    if db.execute("SELECT 1 FROM strays UNION ALL SELECT 1 FROM carried LIMIT 1").fetchone():
        _carry(index)


# --- noting


def keep_all(db: store.Connection) -> None:
    """Git has HEAD's old history no more (garbage was collected): what the index has of it is kept, as far as it refers to
    something or came after what does."""
    said = {sha for (sha,) in db.execute(f"SELECT sha FROM commits WHERE id IN ({_REFERRING})")}
    kept: list[tuple[int, str]] = []
    line: set[str] = set()
    for number, sha, parents in db.execute("SELECT id, sha, parents FROM commits ORDER BY id").fetchall():
        if sha in said or line & set(parents.split()):
            line.add(sha)
            kept.append((number, sha))
    for number, sha in kept:
        db.execute(
            "INSERT OR IGNORE INTO strays SELECT sha, author, authored_at, subject, parents FROM commits WHERE id = ?",
            (number,),
        )
        db.execute(
            "INSERT OR IGNORE INTO stray_changes SELECT ?, path, coalesce(blob, '') FROM commit_changes WHERE commit_id = ?",
            (sha, number),
        )
        for table in ("commit_references", "commit_sessions"):
            db.execute(
                f"INSERT OR IGNORE INTO stray_references SELECT ?, key, value FROM {table} WHERE commit_id = ?",
                (sha, number),
            )


_REFERRING = "SELECT commit_id FROM commit_references UNION SELECT commit_id FROM commit_sessions WHERE key <> 'git-ai'"


def _collect(index: Index, asked: Question) -> None:
    db, root = index.db, index.workspace.root
    # What was said before there was a workspace means somebody else's records: nothing is read for that.
    said = git.having(root, [sha for sha, _ in asked.answers], MARKER)
    known = {sha for (sha,) in db.execute("SELECT sha FROM strays")}
    if said - known or known:
        found = chain.from_iterable([graph.lineage(root, *one[:2], *one[2]) for one in asked.sources])
        _take(index, _in_lines(found, said, known), said)
    store.put(db, "stray_tips", json.dumps(_outside(db, asked.tips)))


def _outside(db: store.Connection, shas: list[str]) -> list[str]:
    """Those of the commits that are not in HEAD's history."""
    return [sha for sha in shas if not db.execute("SELECT 1 FROM commits WHERE sha = ?", (sha,)).fetchone()]


def _pattern(rules: trailers.Rules) -> str:
    """An extended regular expression that every message matches which refers to something; git looks for it in lines."""
    keys = "|".join(re.escape(key) for key, _ in rules.keys)
    words = "|(need|task)[-:][0-9a-f]" if rules.mentions or rules.keywords else ""
    return f"^({keys})[ \t]*:{words}"


def _in_lines(found: Iterable[tuple[str, list[str]]], said: set[str], known: set[str]) -> list[str]:
    """Those that may refer to something, and those that came after one; not those that are known."""
    line = set(known)
    new = []
    for sha, parents in found:
        if sha not in line and (sha in said or not line.isdisjoint(parents)):
            line.add(sha)
            new.append(sha)
    return new


def _take(index: Index, shas: list[str], said: set[str]) -> None:
    """Read commits and remember them. One whose trees are not here (a partial clone) is left out, with those behind it."""
    db, root, rules = index.db, index.workspace.root, index.workspace.config.commits.rules
    for start in range(0, len(shas), FEW):
        try:
            for commit, changes in commits.log(root, *shas[start : start + FEW], order=("--no-walk=unsorted",)):
                _remember(db, commit, changes)
                if commit.sha in said:
                    db.executemany(
                        "INSERT OR IGNORE INTO stray_references VALUES (?, ?, ?)",
                        [(commit.sha, *one) for one in _references(commit, rules)],
                    )
        except SurroundingsError:
            continue


def _references(commit: LoggedCommit, rules: trailers.Rules) -> list[tuple[str, str]]:
    from mlos_sync.app import history  # which calls us

    return history.mentions(commit, rules) + history.named_sessions(commit, rules)


def _remember(db: store.Connection, commit: LoggedCommit, changes: list[commits.LoggedChange]) -> None:
    at = iso(commit.authored * 1000)
    db.execute(
        "INSERT OR IGNORE INTO strays VALUES (?, ?, ?, ?, ?)",
        (commit.sha, commit.author, at, commit.subject, commit.parents),
    )
    rows = {old: GONE for _, status, _, old in changes if old and status == "R"}
    rows |= {path: blob or GONE for path, _, blob, _ in changes}
    db.executemany("INSERT OR IGNORE INTO stray_changes VALUES (?, ?, ?)", [(commit.sha, *row) for row in rows.items()])


# --- carrying


def _carry(index: Index) -> None:
    """Bring `carried` to what strays and commits show now."""
    db = index.db
    outside = {one.sha: one for one in _strays(db)}
    said: dict[str, list[tuple[str, str]]] = {}
    for sha, key, value in db.execute(f"SELECT sha, key, value FROM stray_references WHERE {_OUTSIDE}").fetchall():
        said.setdefault(sha, []).append((key, value))
    succeeded = _succeeded(index, outside)
    children = children_of(outside.values())
    wanted: dict[tuple[int, str, str, str], tuple[str, int, int]] = {}
    astray = []
    numbers: dict[str, tuple[int]] = {}
    for sha in sorted(said.keys() - succeeded):
        found = _placed(index, outside, sha, line_after(sha, children))
        if found is None:
            astray.append(sha)
            continue
        (number,) = numbers.setdefault(
            found.sha, db.execute("SELECT id FROM commits WHERE sha = ?", (found.sha,)).fetchone()
        )
        for key, value in said[sha]:
            wanted[number, key, value, sha] = (found.evidence, found.found, found.sought)
    _put(db, wanted)
    _tell(index, outside, said, astray)


def _strays(db: store.Connection) -> Iterator[Known]:
    changes: dict[str, dict[str, str]] = {}
    for sha, path, blob in db.execute(f"{_WITH_CHANGES} WHERE {_OUTSIDE}"):
        changes.setdefault(sha, {})[path] = blob
    rows = db.execute(f"SELECT sha, parents, author, authored_at, subject FROM strays WHERE {_OUTSIDE}").fetchall()
    for sha, parents, author, authored, subject in rows:
        yield Known(sha, tuple(parents.split()), author, authored, subject, changes=changes.get(sha, {}))


def _commit(db: store.Connection, number: int) -> Known:
    sha, parents, author, authored, subject, committed = db.execute(
        "SELECT sha, parents, author, authored_at, subject, committed_at FROM commits WHERE id = ?", (number,)
    ).fetchone()
    changes: dict[str, str] = {}
    rows = db.execute(
        "SELECT path, coalesce(blob, ''), old_path, status FROM commit_changes WHERE commit_id = ?", (number,)
    )
    for path, blob, old_path, status in rows:
        changes[path] = blob
        if status == "R" and old_path:
            changes.setdefault(old_path, GONE)
    return Known(sha, tuple(parents.split()), author, authored, subject, committed, changes)


def _succeeded(index: Index, outside: dict[str, Known]) -> set[str]:
    """The strays that a commit of this history is a new form of."""
    db = index.db
    alike = db.execute(
        "SELECT s.sha, c.id, c.sha FROM strays s JOIN commits c ON c.authored_at = s.authored_at AND c.author = s.author"
    ).fetchall()
    alike = [row for row in alike if row[0] in outside]
    anew = graph.made_anew(index.workspace.root, {new for _, _, new in alike}) if alike else set()
    return {old for old, number, new in alike if new not in anew and is_successor(outside[old], _commit(db, number))}


def _placed(index: Index, outside: dict[str, Known], sha: str, line: list[str]) -> Placement | None:
    """Where the work of a stray went, whose line the commits `line` continue."""
    db = index.db
    after = [outside[one] for one in line if one in outside]
    numbers = {
        number
        for one in (sha, *line)
        for (number,) in db.execute(
            "SELECT DISTINCT c.commit_id FROM stray_changes s JOIN commit_changes c ON c.path = s.path AND c.blob = s.blob"
            " WHERE s.sha = ? AND s.blob <> ''",
            (one,),
        )
    }
    # Not by what git told of rewrites (post-rewrite): an index made anew does not know that, and must say the same.
    views = {view.path for view in index.workspace.config.views}
    return place(outside[sha], after, [_commit(db, n) for n in sorted(numbers)], ignored=views)


def _put(db: store.Connection, wanted: dict[tuple[int, str, str, str], tuple[str, int, int]]) -> None:
    """Write what differs, so that what was looked up stays; have the sessions weighed again that this concerns."""
    standing = {
        tuple(row[:4]): tuple(row[4:])
        for row in db.execute("SELECT commit_id, key, value, sha, evidence, found, sought FROM carried").fetchall()
    }
    gone = [key for key in standing if key not in wanted]
    new = [key for key in wanted if standing.get(key) != wanted[key]]
    db.executemany("DELETE FROM carried WHERE commit_id = ? AND key = ? AND value = ? AND sha = ?", gone)
    db.executemany(
        "INSERT OR REPLACE INTO carried(commit_id, key, value, sha, evidence, found, sought) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(*key, *wanted[key]) for key in new],
    )
    db.executemany(
        "INSERT OR IGNORE INTO unweighed SELECT DISTINCT session_id FROM session_files WHERE session_id = ?1 OR part = ?1",
        [(value,) for _, _, value, _ in {*gone, *new}],
    )


# --- telling


def _tell(index: Index, outside: dict[str, Known], said: dict[str, list[tuple[str, str]]], astray: list[str]) -> None:
    """Name the commits that no ref holds any more and whose work is in no commit of this history, and the closings that a
    commit carries in part only."""
    db = index.db
    told = []
    if astray:
        unnamed = {sha for sha, _ in graph.lineage(index.workspace.root, (), (), "--reflog", "--not", *_REFS, "HEAD")}
        for sha in astray:
            if sha in unnamed:
                references = "; ".join(f"{key}: {value}" for key, value in said[sha])
                told.append(
                    (
                        f"commit {sha[:12]}",
                        f"{references}: no branch has this commit any more, and no commit of this one holds its content; if"
                        " its work is here, say so: mlos-sync link commit:HEAD references task:N",
                    )
                )
    meaning = index.workspace.config.commits.rules.meaning
    rows = db.execute(
        "SELECT k.sha, c.sha, c.key, c.value, c.found, c.sought FROM carried c JOIN commits k ON k.id = c.commit_id"
        " WHERE c.evidence <> 'proved'"
    ).fetchall()
    for new, old, key, value, found, sought in rows:
        if meaning(key) == "closes":
            told.append(
                (
                    f"commit {old[:12]}",
                    f"{key}: {value}: {found} of its {sought} files are in {new[:12]} as it left them; linked, not closed",
                )
            )
    store.observe(db, "rewritten", sorted(told))


_REFS = ("--branches", "--tags", "--remotes")
