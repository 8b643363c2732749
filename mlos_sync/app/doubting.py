"""Why a commit is refused whose message refers to what does not exist: each reference, what may have been meant, the ways
out. Asked by commit-msg, and only where the config says `unknown = "refuse"`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mlos_sync.app import finding, freshness
from mlos_sync.app.messages import PATIENCE
from mlos_sync.app.opening import Index, workspace_of, writing
from mlos_sync.core import ids
from mlos_sync.core.guard import quoted
from mlos_sync.core.paths import shown
from mlos_sync.core.trailers import Mention
from mlos_sync.core.vocabulary import TABLE_OF
from mlos_sync.edge import store
from mlos_sync.errors import MlosError, SurroundingsError

_MOST = 3
_FEW = 2000  # uids that are compared digit by digit
_LONGEST = 60


def refusal(db: store.Connection, found: Sequence[Mention], path: str, state: str) -> list[str]:
    """What the user reads; nothing where every reference names one record. `path` is the file of the message, `state` our
    folder in its git directory. Raises SurroundingsError where that cannot be told now."""
    if not _doubts(db, found):
        return []
    _catch_up(db, state)  # what came with a pull counts, before any command has looked
    doubts = _doubts(db, found)
    if not doubts:
        return []
    lines = ["mlos-sync: commit refused, the message refers to what is not there:"]
    for reference, error in doubts:
        lines += ["", f"  {_typed(reference)}", f"    {shown(error.message)}"]
        near = [] if error.exit_code == 4 else _near(db, reference)
        lines += ["    near it:", *(f"      {one}" for one in near)] if near else []
        lines += [f"    {shown(error.hint)}"] if error.hint and not near else []
    file = quoted(os.path.abspath(path))
    return [
        *lines, "", "The message is kept. To mend it, or to commit it as it is:",
        f"  git commit --edit --file={file}", f"  git commit --no-verify --file={file}",
    ]  # fmt: skip


def _doubts(db: store.Connection, found: Sequence[Mention]) -> list[tuple[ids.Reference, MlosError]]:
    doubts = []
    references = dict.fromkeys(reference for one in found for reference, _ in one.references)
    for reference in references:
        try:
            finding.found(db, _typed(reference))
        except SurroundingsError:
            raise
        except MlosError as error:
            doubts.append((reference, error))
    return doubts


def _typed(reference: ids.Reference) -> str:
    named = reference.number if reference.number is not None else reference.prefix
    return f"{reference.kind}{':' if reference.number is not None else '-'}{named}"


def _catch_up(db: store.Connection, state: str) -> None:
    workspace = workspace_of(os.getcwd())
    if not os.path.samefile(workspace.state, state):
        raise SurroundingsError("this git directory is not the one of the work tree", "unset GIT_DIR")
    index = Index(workspace, db)
    with writing(index, PATIENCE):
        freshness.refresh(index)


def _near(db: store.Connection, reference: ids.Reference) -> list[str]:
    """The records of the kind whose number or uid is nearest to what was typed, with their titles."""
    kind = str(reference.kind)
    rows = db.execute(
        f"SELECT id, uid, {finding.NAME_OF[kind]} FROM {TABLE_OF[kind]} WHERE origin = 'record'"
    ).fetchall()
    if reference.number is not None:
        typed = str(reference.number)
        order = [((distance(typed, str(row[0])), abs(row[0] - reference.number), row[0]), row) for row in rows]
    else:
        typed = str(reference.prefix)
        if len(rows) > _FEW:
            rows = [row for row in rows if row[1][:2] == typed[:2]]
        order = [((distance(typed, row[1][: len(typed)]), 0, row[0]), row) for row in rows]
        order = [one for one in order if one[0][0] <= max(2, len(typed) // 4)]
    return [_told(kind, row) for _, row in sorted(order, key=lambda one: one[0])[:_MOST]]


def _told(kind: str, row: tuple[Any, ...]) -> str:
    number, uid, title = row
    text = shown(str(title))
    return f"{kind}:{number} ({ids.shown(kind, uid)})  {text if len(text) <= _LONGEST else text[:_LONGEST] + '...'}"


def distance(one: str, other: str) -> int:
    """How many digits were left out, added, mistaken or swapped with their neighbour."""
    before: list[int] = []
    line = list(range(len(other) + 1))
    for n, digit in enumerate(one, 1):
        before, above, line = line, before, [n]
        for m, wanted in enumerate(other, 1):
            cost = min(before[m] + 1, line[m - 1] + 1, before[m - 1] + (digit != wanted))
            if n > 1 and m > 1 and digit == other[m - 2] and one[n - 2] == wanted:
                cost = min(cost, above[m - 2] + 1)
            line.append(cost)
    return line[-1]
