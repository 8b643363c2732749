"""The ground of a random walk: work trees of several clones, and steps that are drawn and done in one of them.

A step is a method marked with `@step`; `tests/walk_records.py` and `tests/walk_git.py` hold them.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import walk_oracle
from gitrepo import git
from hypothesis import strategies as st

PICK = st.integers(0, 31)
KIND = st.sampled_from(["need", "task", "agent"])
TABLE = {"need": "needs", "task": "tasks", "agent": "agents"}


@dataclass(frozen=True)
class Step:
    """One thing done in one work tree: the name of a method of `Walk`, and what it is given."""

    name: str
    given: dict[str, Any]

    def __repr__(self) -> str:
        return f"Step({self.name!r}, {self.given!r})"


STEPS: list[st.SearchStrategy[Step]] = []


def step(weight: int = 2, **arguments: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a method one of the steps, `weight` times as likely as others. One rule takes them all: hypothesis switches
    rules off at random, and a walk of pushes alone tells nothing."""

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        drawn = st.fixed_dictionaries({"who": PICK, **arguments})
        STEPS.extend([drawn.map(functools.partial(Step, body.__name__))] * weight)
        return body

    return decorate


class Ground:
    """The work trees, and what was done in them."""

    template: ClassVar[Path]  # a bare origin and clones of it, to be copied

    def __init__(self) -> None:
        super().__init__()
        self.count = 0  # steps done
        self.base = self.template.parent / f"walk-{os.urandom(4).hex()}"
        self.places: list[Path] = []
        self.place = self.base
        self.truth = walk_oracle.Truth()
        self.order: dict[str, int] = {}  # uid -> when it was made
        self.gone: set[str] = set()
        self.undone: set[Path] = set()  # where a revert that took segments away was taken back, and not committed again
        self.written: list[tuple[str, str, Any]] = []  # uid, column, value
        self.captured: set[str] = set()  # changes by SQL
        self.expected: dict[str, set[str]] = {}  # captured change -> what its author had seen

    def token(self, word: str) -> str:
        """A text that nothing else in this walk has."""
        return f"{word}{self.count}"

    def known(self, place: Path, kind: str) -> list[str]:
        """Uids of the records that the index of a work tree has, in the order in which the walk met them."""
        if kind == "artifact":
            return git(place, "ls-files", "-z", "c*").stdout.split("\0")[:-1]
        found = self.rows(place)[kind]
        for uid in sorted(found, key=lambda uid: (found[uid]["id"], uid)):
            self.order.setdefault(uid, len(self.order))
        return sorted(found, key=self.order.__getitem__)

    def pick(self, place: Path, kind: str, number: int) -> str | None:
        """One of them, or none; the first two half of the time, so that the clones meet in them."""
        found = self.known(place, kind)
        return found[number % (len(found) if number & 1 else min(2, len(found)))] if found else None

    def picked(self, place: Path, kind: str, numbers: tuple[int, ...]) -> list[str]:
        """Some of them."""
        return [one for number in sorted(set(numbers)) if (one := self.pick(place, kind, number))]

    def rows(self, place: Path) -> dict[str, dict[str, dict[str, Any]]]:
        """kind -> uid -> row, straight from the database as it is."""
        found: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in TABLE}
        database = walk_oracle.folders(place)[0] / "index.db"
        if database.exists():
            db = sqlite3.connect(database)
            db.row_factory = sqlite3.Row
            for kind, table in TABLE.items():
                found[kind] = {row["uid"]: dict(row) for row in db.execute(f"SELECT * FROM {table}")}
            db.close()
        return found


def owner(place: Path) -> str:
    """The clone that a work tree belongs to."""
    return place.name.partition("-")[0]
