"""One of a crowd of processes at one workspace. What was acknowledged is written down, so that no loss stays unseen.

    python crowd.py app REPO NOTES SEED COUNT       COUNT mixed reads and writes through the application's functions
    python crowd.py sql REPO NOTES SEED COUNT       COUNT statements of a program that knows nothing of us
    python crowd.py cli REPO NOTES -- need add …    one command, in this process

NOTES gets a JSON line for each thing done, and one for each wait for a lock: {"did": "wait", "seconds": 0.012}. Whatever
goes wrong ends the process with a traceback.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from mlos_sync.app import records, telling
from mlos_sync.app.opening import Index, open_index
from mlos_sync.edge import store

SHARED = 5  # needs with the numbers 1 to 5 that everybody changes and links to
SQL_PATIENCE = 5.0  # seconds that the program which knows nothing of us waits for the database


class Notes:
    """What was done, line by line; a line is whole once `note` has returned."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def note(self, did: str, **more: Any) -> None:
        self.file.write(json.dumps({"did": did, **more}) + "\n")
        self.file.flush()


def measure_waits(notes: Notes) -> None:
    """Note the seconds that each later taking of the writers' lock waits."""
    taking = store.writer_lock

    @contextlib.contextmanager
    def measured(*args: Any, **more: Any) -> Iterator[None]:
        began = time.monotonic()
        with taking(*args, **more):
            taken = time.monotonic()
            notes.note("wait", seconds=taken - began)
            yield
        notes.note("hold", seconds=time.monotonic() - taken)

    store.writer_lock = measured


def app(repo: str, notes: Notes, chance: random.Random, count: int) -> None:
    """Half of these processes keep the index open, the others open it for each transaction."""
    kept = open_index(repo) if chance.random() < 0.5 else None
    mine: dict[str, int | None] = {}
    for number in range(count):
        index = kept or open_index(repo)
        began = time.monotonic()
        act(index, notes, chance, mine, f"{os.getpid()}-{number}")
        notes.note("took", seconds=time.monotonic() - began)
        if kept is None:
            index.db.close()
    if kept is not None:
        kept.db.close()


def act(index: Index, notes: Notes, chance: random.Random, mine: dict[str, int | None], name: str) -> None:
    """One transaction, seven of ten a write. `mine` are the needs that only this process changes, and their priority."""
    what = chance.choices(
        ["add", "task", "change", "share", "delete", "link", "list", "history"], [25, 10, 15, 10, 5, 5, 20, 10]
    )[0]
    own = chance.choice(list(mine)) if mine else None
    shared = str(chance.randint(1, SHARED))
    if what == "add" or (own is None and what in ("change", "delete", "link")):
        row = records.add(index, "need", [{"title": f"need {name}"}])[0]
        mine[row["uid"]] = None
        notes.note("add", uid=row["uid"], id=row["id"], title=row["title"])
    elif what == "task":
        row = records.add(index, "task", [{"description": f"task {name}", "need_id": shared}])[0]
        notes.note("task", uid=row["uid"], id=row["id"], need=int(shared))
    elif what == "change" and own is not None:
        mine[own] = chance.randint(1, 5)
        row = records.change(index, "need", own, {"priority": mine[own], "description": name})
        assert (row["priority"], row["description"]) == (mine[own], name)
        notes.note("change", uid=own, priority=mine[own], description=name)
    elif what == "share":
        records.change(index, "need", shared, {"description": name})
        notes.note("share", id=int(shared), description=name)
    elif what == "delete" and own is not None:
        del mine[own]
        records.delete(index, "need", own)
        notes.note("delete", uid=own)
    elif what == "link" and own is not None:
        records.link(index, f"need-{own}", "blocks", f"need:{shared}", None)
        notes.note("link", uid=own, id=int(shared))
    elif what == "history":
        assert telling.history(index, f"need:{shared}")
    else:
        assert set(mine) <= {row["uid"] for row in records.listed(index, "need", {})}


def sql(repo: str, notes: Notes, chance: random.Random, count: int) -> None:
    """Autocommitted statements, as a script with the sqlite3 module makes them."""
    index = open_index(repo)
    path = index.workspace.database
    index.db.close()
    connection = sqlite3.connect(path, timeout=SQL_PATIENCE, isolation_level=None)
    mine: list[int] = []
    for number in range(count):
        name = f"sql {os.getpid()}-{number}"
        began = time.monotonic()
        connection.execute("BEGIN IMMEDIATE")
        notes.note("wait", seconds=time.monotonic() - began)
        if not mine or chance.random() < 0.6:
            cursor = connection.execute("INSERT INTO needs(title) VALUES (?)", (name,))
            mine.append(int(cursor.lastrowid or 0))
            connection.execute("COMMIT")
            notes.note("sql add", title=name)
        else:
            # By number, as people do: nobody else changes these.
            connection.execute("UPDATE needs SET description = ? WHERE id = ?", (name, mine[-1]))
            connection.execute("COMMIT")
            notes.note("sql change", id=mine[-1], description=name)
        time.sleep(chance.random() * 0.05)
    connection.close()


def cli(repo: str, notes: Notes, words: list[str]) -> None:
    """One command as `mlos-sync` runs it; its exit code is ours."""
    from mlos_sync.cli.main import main

    os.chdir(repo)
    sys.argv = ["mlos-sync", *words]
    began = time.monotonic()
    try:
        main()
    finally:
        notes.note("took", seconds=time.monotonic() - began)


def run() -> None:
    """Be one of the crowd."""
    kind, repo, path, *rest = sys.argv[1:]
    with open(path, "a", encoding="utf-8") as file:
        notes = Notes(file)
        if kind != "sql":
            measure_waits(notes)
        if kind == "cli":
            cli(repo, notes, rest[1:])
        else:
            seed, count = int(rest[0]), int(rest[1])
            {"app": app, "sql": sql}[kind](repo, notes, random.Random(seed), count)


if __name__ == "__main__":
    run()
