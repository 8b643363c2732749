"""What a typed reference names, and, where it names nothing, what may have been meant. Reads only.

`records.find` decides; this module says more when it finds nothing: that the record was deleted (when, by whom, how it
comes back), that it lives on another branch, or which names are near.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Any

from mlos_sync.app import freshness, records
from mlos_sync.app.events import counting
from mlos_sync.app.naming import resolve
from mlos_sync.app.opening import Index
from mlos_sync.core import ids, journal
from mlos_sync.core.fold import effective_clocks
from mlos_sync.core.times import iso
from mlos_sync.core.vocabulary import TABLE_OF
from mlos_sync.edge import store
from mlos_sync.errors import UsageError

NAME_OF = {"need": "title", "task": "description", "agent": "agent_type"}
_MOST = 3  # suggestions in one message
_FOLDER = 2000  # names of one folder that are compared letter by letter


@dataclass(frozen=True, slots=True)
class Gone:
    """A record that was deleted: what it was called, and the event that deleted it."""

    kind: str
    uid: str
    title: str
    event: journal.Event


def lasting(index: Index, text: str, default: str | None = None) -> str:
    """A reference that stays right whatever happens to numbers: `need:<uid>`, `artifact:<path>`, `commit:<sha>`.

    Raises UsageError, with the nearest names, where nothing is named so, and RefusedError where several things are.
    """
    freshness.catch_up(index)
    kind, key = found(index.db, text, default)
    if kind != "artifact":
        return f"{kind}:{key}"
    return f"artifact:{index.db.execute('SELECT file_path FROM artifacts WHERE uid = ?', (key,)).fetchone()[0]}"


def found(db: store.Connection, text: str, default: str | None = None) -> tuple[str, str]:
    """(kind, uid or key), as `records.find`, with a better hint where there is none."""
    try:
        return records.find(db, text, default)
    except UsageError as error:
        reference = ids.parse(text, default)
        gone = (
            deleted(db, reference) if reference is not None and reference.kind == (default or reference.kind) else None
        )
        if gone is not None:
            raise UsageError(*_obituary(gone)) from None
        raise UsageError(error.message, _hint(db, text, reference, default) or error.hint) from None


def id_of(db: store.Connection, text: str, default: str | None = None) -> int:
    """The integer id behind a reference."""
    kind, key = found(db, text, default)
    column = "sha" if kind == "commit" else "uid"
    return int(db.execute(f"SELECT id FROM {TABLE_OF[kind]} WHERE {column} = ?", (key,)).fetchone()[0])


def ever(db: store.Connection, text: str, default: str | None = None) -> tuple[str, str]:
    """(kind, uid) of a need, task, agent or edge (`relationship-3f9a2c`) that stands here or that was deleted."""
    kind, _, prefix = text.replace(":", "-", 1).partition("-")
    if kind == "relationship":
        rows = _known(db, kind, prefix)
        if len(rows) == 1:
            return kind, rows[0]
        raise UsageError(f"{'several edges start' if rows else 'no edge starts'} with {text}", "mlos-sync conflicts")
    try:
        return records.find(db, text, default)
    except UsageError:
        gone = deleted(db, ids.parse(text, default))
        return (gone.kind, gone.uid) if gone is not None else found(db, text, default)


def digits(db: store.Connection, kind: str) -> int:
    """How many digits of a uid tell all records of a kind apart; at least six."""
    uids = [uid for (uid,) in db.execute(f"SELECT uid FROM {TABLE_OF[kind]}")]
    tell = (n for n in range(ids.SHORTEST, 32) if len({uid[:n] for uid in uids}) == len(uids))
    return next(tell, 32)


def stands(db: store.Connection, path: str) -> bool:
    """Whether there is an artifact at a workspace path."""
    return db.execute("SELECT 1 FROM artifacts WHERE file_path = ?", (path,)).fetchone() is not None


def deleted(db: store.Connection, reference: ids.Reference | None) -> Gone | None:
    """The one deleted record that a reference names, or None."""
    if reference is None or reference.kind not in ids.RECORD_KINDS:
        return None
    kind = reference.kind
    if reference.number is not None:
        sql = "SELECT DISTINCT uid FROM numbers WHERE kind = ? AND (number = ? OR claimed = ?)"
        uids = [uid for (uid,) in db.execute(sql, (kind, reference.number, reference.number))]
    else:
        uids = _known(db, kind, str(reference.prefix))
    dead = [gone for uid in uids if (gone := _deletion(db, kind, uid)) is not None]
    return dead[0] if len(dead) == 1 else None


def _known(db: store.Connection, kind: str, prefix: str, visible: int = 1) -> list[str]:
    sql = "SELECT DISTINCT uid FROM events WHERE kind = ? AND uid GLOB ? AND visible = ? LIMIT 20"
    return [uid for (uid,) in db.execute(sql, (kind, f"{prefix}*", visible))]


def _deletion(db: store.Connection, kind: str, uid: str) -> Gone | None:
    """The deletion that stands, or None for a record that lives or was never here."""
    if db.execute(f"SELECT 1 FROM {TABLE_OF[kind]} WHERE uid = ?", (uid,)).fetchone():
        return None
    events = {event.id: event for event in counting(db, (kind, uid))}
    clocks = effective_clocks(events)
    ordered = sorted(events.values(), key=lambda event: (clocks[event.id], event.id))
    lives = [event for event in ordered if event.op in ("create", "recreate", "delete")]
    if not lives or lives[-1].op != "delete":
        return None
    titles = [str(event.fields[NAME_OF[kind]]) for event in ordered if event.fields.get(NAME_OF[kind])]
    return Gone(kind, uid, titles[-1] if titles else "", lives[-1])


def _obituary(gone: Gone) -> tuple[str, str]:
    """Message and hint about a record that was deleted."""
    name = ids.shown(gone.kind, gone.uid)
    who = gone.event.actor or "an unknown writer"
    return (
        f'{name} ("{_short(gone.title)}") was deleted at {iso(gone.event.clock[0])} by {who}',
        f"bring it back: mlos-sync {gone.kind} restore {name}; its history: mlos-sync log {name}",
    )


def _hint(db: store.Connection, text: str, reference: ids.Reference | None, default: str | None) -> str:
    """What may have been meant, cheaply found; empty where nothing is near."""
    kind = reference.kind if reference is not None and reference.kind else default
    near: list[str] = []
    if reference is None:
        near = _by_name(db, text, default) if default in ids.RECORD_KINDS else []
    elif kind == "artifact" and reference.path:
        near = _near_paths(db, reference.path)
    elif reference.prefix and kind in ids.RECORD_KINDS and _known(db, kind, reference.prefix, visible=0):
        return "it is known, but no commit of this branch has it: switch to the branch that does, or merge it"
    elif kind in ids.RECORD_KINDS:
        near = _of_other_kinds(db, reference, kind)
    return f"did you mean {' or '.join(near)}?" if near else ""


def _of_other_kinds(db: store.Connection, reference: ids.Reference, kind: str | None) -> list[str]:
    """Records of the other kinds that have this number or uid."""
    near = []
    for other in ids.RECORD_KINDS:
        where, value = (
            ("id = ?", reference.number) if reference.prefix is None else ("uid GLOB ?", f"{reference.prefix}*")
        )
        if other != kind:
            sql = f"SELECT id, {NAME_OF[other]} FROM {TABLE_OF[other]} WHERE {where} LIMIT 1"
            near += [f'{other}:{number} ("{_short(name)}")' for number, name in db.execute(sql, (value,))]
    return near


def _by_name(db: store.Connection, text: str, kind: str | None) -> list[str]:
    """Records whose title holds the text."""
    if not text.strip() or kind is None:
        return []
    name = NAME_OF[kind]
    sql = f"SELECT id, {name} FROM {TABLE_OF[kind]} WHERE {name} LIKE ? ESCAPE '\\' ORDER BY length({name}), id LIMIT ?"
    try:
        rows = db.execute(sql, (f"%{like(text)}%", _MOST)).fetchall()
    except UnicodeEncodeError:  # bytes of the command line that are not UTF-8 name nothing
        return []
    return [f'{kind}:{number} ("{_short(title)}")' for number, title in rows]


def _near_paths(db: store.Connection, path: str) -> list[str]:
    """Where a file that has gone went, files of the same name elsewhere, or of a like name in the same folder."""
    try:
        moved = resolve(db, f"artifact:{path}")
        if moved is not None:
            return [
                f"{db.execute('SELECT file_path FROM artifacts WHERE id = ?', (moved,)).fetchone()[0]} (moved there)"
            ]
        folder, _, name = path.rpartition("/")
        sql = "SELECT file_path FROM artifacts WHERE file_path LIKE ? ESCAPE '\\' ORDER BY length(file_path), 1 LIMIT ?"
        same = [one for (one,) in db.execute(sql, (f"%{like(name)}", 20 * _MOST)) if posixpath.basename(one) == name]
        if same:
            return same[:_MOST]
        beside = db.execute(
            "SELECT file_path FROM artifacts WHERE file_path LIKE ? ESCAPE '\\' LIMIT ?",
            (f"{like(folder)}/%" if folder else "%", _FOLDER),
        ).fetchall()
    except UnicodeEncodeError:
        return []
    import difflib

    return difflib.get_close_matches(path, [one for (one,) in beside], _MOST, 0.75)


def like(text: str) -> str:
    """Text as it stands inside a LIKE pattern with `\\` as its escape."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _short(text: Any, most: int = 50) -> str:
    line = str(text)
    return line if len(line) <= most else line[: most - 1] + "…"
