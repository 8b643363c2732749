"""A hand edit of a compiled view into changes of records: propose (nothing is written), then accept what was shown.

What the file was compiled from is told by the seal that it still carries: the staged version, HEAD's, the compile of now, or
the records as they were at its `compiled_at` may have the same one, and that proves it. Where none has, the last version
that git knows stands for it.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from mlos_sync.app import adding, compiling, records, viewing
from mlos_sync.app import events as remember
from mlos_sync.app.folding import refold
from mlos_sync.app.gathering import Records
from mlos_sync.app.opening import Index
from mlos_sync.core import adopting, guard, pages, seal, views
from mlos_sync.core.adopting import Addition, Change, Rest, Standing
from mlos_sync.core.journal import trusted
from mlos_sync.core.paths import shown
from mlos_sync.edge import git, objects, store
from mlos_sync.edge.workspace import View
from mlos_sync.errors import MlosError, RefusedError, UsageError

_SEALED = re.compile(rb"^seal: sha256:[0-9a-f]{64}\r?$", re.MULTILINE)
_COMPILED = re.compile(rb"^compiled_at: ([0-9TZ:.-]+)\r?$", re.MULTILINE)
_TRIES = 40  # moments within the second of `compiled_at` at which the page may have been compiled


@dataclass(frozen=True, slots=True)
class Proposal:
    """What accepting an edit would do. `edit` is the view as it stands; None for one that nobody edited. `note` says where
    it is not certain what the file was compiled from."""

    path: str
    edit: compiling.Compiled | None
    changes: tuple[Change | Addition, ...] = ()
    rest: tuple[Rest, ...] = ()
    note: str = ""

    @property
    def is_worth_it(self) -> bool:
        """Whether there is something to accept: changes, or an edit that says nothing that would be lost."""
        return self.edit is not None and bool(self.changes or not self.rest)


@dataclass(slots=True)
class Accepted:
    """What became of a proposal: what was refused, with the rule that the database names, and where the copy is."""

    refused: dict[int, str] = field(default_factory=dict)  # place among the changes -> why
    kept: str | None = None


def propose(index: Index, path: str) -> Proposal:
    """What the edit of a view says. The caller has brought the index up to date. Raises UsageError where there is no such
    view or no text, RefusedError for one that still holds conflict markers."""
    (one,) = compiling.plan(index, [path])
    if one.state == compiling.MISSING:
        raise UsageError(
            f"there is no file {shown(path)} to adopt from", f"write it: mlos-sync compile {guard.quoted(path)}"
        )
    if one.on_disk is None:
        raise RefusedError(f"{shown(path)} is no regular file", "move it away, then run mlos-sync compile")
    if one.state != compiling.EDITED:
        return Proposal(path, None)
    if one.data is None:
        raise RefusedError(f"{shown(path)} was edited by hand, and {viewing.WITHHELD}", viewing.ALLOW)
    if guard.has_conflict_markers(one.on_disk):
        cure = "write it anew, a copy is kept: mlos-sync compile --resolve"
        raise RefusedError(f"{shown(path)} still holds conflict markers", cure)
    view = next(view for view in index.workspace.config.views if view.path == path)
    base, note = _base(index, view, one)
    edited = pages.read(_text(path, one.on_disk))
    if view.kind != "problem":
        why = f"a view of the kind {view.kind} is computed whole; nothing of it can be adopted"
        rest = tuple(replace(line, why=why) for line in adopting.differences(base, _text(path, one.on_disk)))
        return Proposal(path, one, (), rest, note)
    before = pages.read(base)
    outcome = adopting.adopt(before, edited, _setting(index.db, view, before, edited))
    changes, there = _without_those_that_stand(index.db, edited, outcome.changes)
    return Proposal(path, one, tuple(changes), (*outcome.rest, *there), note)


def _text(path: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise RefusedError(f"{shown(path)} is not UTF-8", "save it as UTF-8, then adopt again") from None


# --- what the file was compiled from


def _base(index: Index, view: View, one: compiling.Compiled) -> tuple[str, str]:
    """(the page that was edited, what is not certain about that)."""
    wanted = _SEALED.search(one.on_disk or b"")
    known, today = list(_versions(index, view.path)), one.data or b""
    past = _past(index, view, one.on_disk or b"") if wanted else ()
    for data in itertools.chain(known, [today], past):  # the past is compiled only where nothing else has the seal
        found = _SEALED.search(data)
        if wanted and found and found[0].rstrip() == wanted[0].rstrip():
            return _text(view.path, data), ""
    what = "the version that git has" if known else "what the records say now"
    note = f"it cannot be told what {shown(view.path)} was compiled from; it was compared with {what}"
    return _text(view.path, known[0] if known else today), note


def _versions(index: Index, path: str) -> Iterator[bytes]:
    """The staged version and HEAD's, as far as they were compiled and not edited."""
    root = index.workspace.root
    tracked = git.tracked(root).get(path)
    names = [tracked.blob] if tracked is not None and tracked.mode != "120000" else []
    names += git.blobs_at(root, "HEAD", [path]).values()
    found = dict(objects.blobs(root, names))
    return (found[name] for name in names if name in found and seal.check(found[name]).state == seal.VALID)


def _past(index: Index, view: View, on_disk: bytes) -> Iterator[bytes]:
    """What the view was compiled to in the second that the file calls `compiled_at`, for each event in that second."""
    match = _COMPILED.search(on_disk)
    found = index.db.execute(
        "SELECT clock_ms, line FROM events WHERE visible = 1"
        " AND clock_ms < 1000 * (CAST(strftime('%s', ?) AS INTEGER) + 1) ORDER BY clock_ms, clock_n, seq",
        (match[1].decode() if match else None,),
    ).fetchall()
    if not found:
        return
    second = found[-1][0] // 1000
    later = [line for at, line in found if at // 1000 == second]
    with (
        compiling.source_of(index) as live,
        contextlib.closing(store.create(":memory:", for_everybody=False)) as db,
    ):
        _remember(db, (line for at, line in found if at // 1000 < second))
        for line in later[:_TRIES]:
            _remember(db, [line])
            with contextlib.suppress(MlosError):
                yield viewing.compile_view(replace(live, records=Records(db)), view)


def _remember(db: store.Connection, lines: Iterable[str]) -> None:
    with store.transaction(db), store.capture(db, on=False):
        remember.add_events(db, [trusted(line) for line in lines])
        fresh = db.execute("SELECT DISTINCT kind, uid FROM events WHERE visible = 0").fetchall()
        db.execute("UPDATE events SET visible = 1")
        refold(db, fresh)


# --- what the page means here


def _setting(db: store.Connection, view: View, before: pages.Page, edited: pages.Page) -> adopting.Setting:
    named = {item.name: item.kind for item in (*before.items, *edited.items) if item.name}  # also what was taken out
    scopes: dict[str, list[str | None]] = {}
    for (scope,) in db.execute("SELECT DISTINCT nullif(scope, '') FROM needs"):
        scopes.setdefault(views.md(scope) if scope is not None else pages.NO_SCOPE, []).append(scope)
    found = {name: _standing(db, kind, name) for name, kind in named.items()}
    return adopting.Setting(found, scopes, view.scope is not None, view.scope)


def _standing(db: store.Connection, kind: str, name: str) -> Standing | str:
    """The record that a name means now, or why it means none."""
    try:
        uid = records.find(db, name, kind)[1]
    except MlosError as error:
        return error.message
    row = records.row_of(db, kind, uid)
    text, more = (row["title"], row["description"]) if kind == "need" else (row["description"], None)
    return Standing(uid, text, row["status"], row["priority"], more)


def _without_those_that_stand(
    db: store.Connection, edited: pages.Page, changes: list[Change | Addition]
) -> tuple[list[Change | Addition], list[Rest]]:
    """The changes less new records that are there already, which the page did not name: an adoption that was interrupted
    before it could compile is not done twice."""
    taken = {records.find(db, item.name)[1] for item in edited.items if item.name and _is_there(db, item)}
    made: dict[str, str] = {}
    left: list[Change | Addition] = []
    rest: list[Rest] = []
    for one in changes:
        if isinstance(one, Addition):
            one = replace(one, above=made.get(one.above or "", one.above))
            uid = _same(db, one, taken)
            if uid is not None:
                made[one.key] = uid
                taken.add(uid)
                rest.append(Rest(one.line, one.text, f"there is such a {one.kind} already: {one.kind}-{uid[:12]}"))
                continue
        left.append(one)
    return left, rest


def _is_there(db: store.Connection, item: pages.Item) -> bool:
    return isinstance(_standing(db, item.kind, item.name or ""), Standing)


def _same(db: store.Connection, one: Addition, taken: set[str]) -> str | None:
    values = _values(one) | {"above": one.above}
    columns = " AND ".join(f"r.{name} IS :{name}" for name in _values(one))
    parent = "parent_need_id" if one.kind == "need" else "need_id"
    found = db.execute(
        f"SELECT r.uid FROM {one.kind}s r LEFT JOIN needs n ON n.id = r.{parent} WHERE n.uid IS :above AND {columns}"
        " ORDER BY r.id",
        values,
    )
    return next((uid for (uid,) in found if uid not in taken), None)


def _values(one: Addition) -> dict[str, Any]:
    if one.kind == "task":
        return {"description": one.text, "status": one.status, "priority": one.priority}
    return {
        "title": one.text, "description": one.description, "status": one.status, "priority": one.priority,
        "scope": one.scope,
    }  # fmt: skip


# --- accept


def accept(index: Index, proposal: Proposal) -> Accepted:
    """Make the changes that were shown, in one transaction, and compile the view again; the edited file is kept as a copy.
    What the database refuses is left out, and so is what somebody else changed meanwhile; the others go on. Where nothing
    at all could be changed, the file is left alone.

    Raises RefusedError, before anything is written, when the file was edited again since it was read.
    """
    _unchanged(index, proposal, "nothing was changed")
    done = Accepted()
    if proposal.changes:
        done.refused = records.write(index, lambda db: _apply(db, proposal.changes))
    if proposal.changes and len(done.refused) == len(proposal.changes):
        return done
    now = _unchanged(index, proposal, "the records were changed, the file was not compiled")
    done.kept = compiling.keep(index, now)
    compiling.write(index, now)
    return done


def _unchanged(index: Index, proposal: Proposal, so_far: str) -> compiling.Compiled:
    (now,) = compiling.plan(index, [proposal.path])
    if proposal.edit is None or now.on_disk != proposal.edit.on_disk:
        again = f"look again: mlos-sync adopt {guard.quoted(proposal.path)}"
        raise RefusedError(f"{shown(proposal.path)} was edited while it was adopted; {so_far}", again)
    return now


def _apply(db: store.Connection, changes: Iterable[Change | Addition]) -> dict[int, str]:
    """Place of each refused change -> why."""
    made: dict[str, str] = {}
    refused: dict[int, str] = {}
    for place, one in enumerate(changes):
        db.execute("SAVEPOINT adopting")
        try:
            if isinstance(one, Change):
                _change(db, one)
            else:
                made[one.key] = _add(db, one, made)
        except sqlite3.IntegrityError as error:
            refused[place] = store.rule_of(error)
        except MlosError as error:
            refused[place] = error.message
        if place in refused:
            db.execute("ROLLBACK TO adopting")
        db.execute("RELEASE adopting")
    return refused


def _change(db: store.Connection, one: Change) -> None:
    row = records.row_of(db, one.kind, one.uid)
    if row[one.field] != one.old:
        raise RefusedError(f"{one.name} {one.field} was changed meanwhile")
    for value in one.steps:
        db.execute(f"UPDATE {one.kind}s SET {one.field} = ? WHERE uid = ?", (value, one.uid))


def _add(db: store.Connection, one: Addition, made: dict[str, str]) -> str:
    values = {name: value for name, value in _values(one).items() if value is not None}
    if one.above is not None:
        above = made.get(one.above, one.above)
        if above.startswith("line "):
            raise RefusedError("the need above it was refused")
        values["parent_need_id" if one.kind == "need" else "need_id"] = f"need-{above}"
    return adding.insert(db, one.kind, records.prepared(db, one.kind, values))
