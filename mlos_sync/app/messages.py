"""The message of the commit that is being made: numbers gain their uid so that they last, and the current task is named.

`prepare` runs before the editor, `resolve` after it. Standard library only, and no more of ours than it takes: both run
inside `git commit`. The folder that they are started in is the top of the work tree; which git directory it is, only the
environment of the hook knows, so it comes with `Making`.

Left in our folder of the git directory: CLOSING, where the message closes something or takes a commit back (the next
commit publishes that); SEEN, when the message was looked at; PREPARED, a message that no editor comes after and in which
nothing is left to be done (commit-msg compares and goes on); ADDED, what was put into a message that somebody edits;
OFFERED, that its comments have the form of trailers.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from mlos_sync.app import current
from mlos_sync.core import draft, trailers
from mlos_sync.core.paths import shown
from mlos_sync.core.trailers import Mention, Rules
from mlos_sync.edge import store
from mlos_sync.edge.workspace import MARKER, Config, parse_config
from mlos_sync.errors import SurroundingsError

CLOSING, SEEN = "closing", "message-seen"
PREPARED, ADDED, OFFERED = "message-prepared", "message-added", "message-offered"
PATIENCE = 0.05  # seconds to wait for another program's transaction; the commit goes on without us
MOST = 10  # tasks that are offered
_LONGEST = 72  # characters of a description
# Git is in the middle of something whose commits have their messages from elsewhere (`sequencer`: between two picks).
# Not REBASE_HEAD, which git 2.39 leaves behind when a rebase that stopped is over.
_AT_WORK = (
    "MERGE_HEAD", "SQUASH_MSG", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply", "sequencer",
)  # fmt: skip


class Making(NamedTuple):
    """The commit that is being made, as its hook sees it: the git directory, whether an editor opens, and how to ask git
    for its configuration, (key, value) in order, and for the name of the branch."""

    git_dir: str
    edited: bool
    settings: Callable[[], list[tuple[str, str]]]
    branch: Callable[[], str]

    @property
    def state(self) -> str:
        """Our folder in the git directory."""
        return os.path.join(self.git_dir, "mlos")


@dataclass
class _Desk:
    """The message on the desk: its file, its text as it is now (bytes that are not UTF-8 survive), and how it is read."""

    path: str
    making: Making
    config: Config
    before: bytes
    text: str

    @property
    def rules(self) -> Rules:
        return self.config.commits.rules

    @cached_property
    def settings(self) -> list[tuple[str, str]]:
        return self.making.settings()

    def setting(self, *keys: str) -> str:
        """The last value of any of these keys."""
        return next((value for key, value in reversed(self.settings) if key in keys), "")

    @cached_property
    def reading(self) -> draft.Reading:
        """Git is asked only where the answer may matter: for comments, or where something will be put in."""
        if not draft.has_odd_line(self.text):
            return draft.PLAIN
        return self.exact

    @cached_property
    def exact(self) -> draft.Reading:
        one, either = self.setting("core.commentchar") or "#", self.setting("core.commentchar", "core.commentstring")
        sign = draft.comment_sign(self.text, (either or one, one))
        names = [
            (key[len("trailer.") :].rpartition("."), value) for key, value in self.settings if key[:8] == "trailer."
        ]
        tokens = [name for (name, dot, _), _ in names if dot]
        tokens += [value for (_, dot, last), value in names if dot and last == "key"]
        return draft.Reading(sign, tuple(tokens), self.setting("trailer.separators") or ":")

    def mentions(self) -> list[Mention]:
        return draft.mentions(self.text, self.rules, self.reading)

    def connect(self) -> store.Connection:
        """The index. Raises SurroundingsError."""
        try:
            return store.connect(os.path.join(self.making.state, "index.db"), self.config.workspace, PATIENCE)
        except FileNotFoundError:
            raise SurroundingsError("there is no index yet", "run mlos-sync rebuild") from None

    def put_back(self) -> None:
        """Write the file if it changed, in one step: killed in the middle, git would commit an emptied message."""
        after = self.text.encode("utf-8", "surrogateescape")
        if after == self.before:
            return
        beside = os.path.join(os.path.dirname(os.path.abspath(self.path)), f".mlos-{os.getpid()}-message")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, stat.S_IMODE(os.stat(self.path).st_mode))
                file.write(after)
            os.replace(beside, self.path)
        except BaseException:
            os.unlink(beside)
            raise
        self.before = after


def prepare(path: str, source: str, making: Making) -> None:
    """Before the editor: uids beside numbers, the trailer of the current task, and in the editor a list to choose from.
    `source` is what git says that the message comes from ("": it is still to be written). Raises SurroundingsError."""
    desk = _desk(path, making)
    if desk is None:
        return
    _forget(making.state, PREPARED, ADDED, OFFERED)
    may_add = source in ("", "template", "message") and not any(
        os.path.lexists(os.path.join(making.git_dir, name)) for name in _AT_WORK
    )
    may_offer = may_add and making.edited and source != "message" and desk.config.commits.offer
    may_add = may_add and _is_of_a_task(desk)
    found = desk.mentions()
    added = _prepared(desk, found, may_add, may_offer) if found or may_add or may_offer else []
    desk.put_back()
    _leave_word(desk, source, added)


def _prepared(desk: _Desk, found: list[Mention], may_add: bool, may_offer: bool) -> list[str]:
    """Do it to the text. Returns the trailers that were added."""
    db = desk.connect()
    try:
        desk.text = draft.numbered(desk.text, found, _uids(db, found))
        chosen = _currents(db, desk) if may_add else []
        added = [task.trailer for task in chosen if not _is_named(desk, task)]
        if added:
            desk.text = draft.inserted(desk.text, added, desk.exact)
        if may_offer:
            _offer(db, desk, chosen)
        return added
    finally:
        db.close()


def resolve(path: str, making: Making) -> list[str]:
    """After the editor: uids beside numbers, once more. Returns why the commit is refused, which only a config asks for;
    nothing where it goes on. Raises SurroundingsError."""
    desk = _desk(path, making)
    if desk is None:
        return []
    _take_back(desk)
    desk.put_back()
    found = desk.mentions()
    _mark(desk, found)
    if not os.path.lexists(os.path.join(making.git_dir, "SQUASH_MSG")):  # it may close what its message does not say
        _touch(making.state, SEEN)
    if not found:
        return []
    db = desk.connect()
    try:
        desk.text = draft.numbered(desk.text, found, _uids(db, found))
        desk.put_back()
        if desk.config.commits.unknown != "refuse":
            return []
        from mlos_sync.app import doubting  # only where a config asks for it

        return doubting.refusal(db, desk.mentions(), path, making.state)
    finally:
        db.close()


def _desk(path: str, making: Making) -> _Desk | None:
    """The message and the config; None where this work tree is no workspace."""
    try:
        descriptor = os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        config = parse_config(file.read())
    with open(path, "rb") as file:
        before = file.read()
    return _Desk(path, making, config, before, before.decode("utf-8", "surrogateescape"))


def _uids(db: store.Connection, found: Iterable[Mention]) -> dict[tuple[str, int], str]:
    """(kind, number) -> uid for the numbers that mean one record, by what it is now or was at first."""
    numbers = {
        (str(one.kind), one.number) for mention in found for one, _ in mention.references if one.number is not None
    }
    named = {}
    for kind, number in numbers:
        sql = f"SELECT uid FROM {kind}s WHERE id = ?1 UNION SELECT uid FROM numbers WHERE kind = ?2 AND claimed = ?1"
        rows = db.execute(sql, (number, kind)).fetchall()
        if len(rows) == 1:
            named[kind, number] = str(rows[0][0])
    return named


def _is_of_a_task(desk: _Desk) -> bool:
    """Whether the message may say of its commit which task it is part of: no revert, nothing that is folded into another
    commit, and not a message that is empty on purpose."""
    asked = desk.config.commits.current or os.path.exists(os.path.join(desk.making.state, current.FILE))
    if not asked or draft.is_for_another(desk.text, desk.exact):
        return False
    if trailers.reverted(draft.kept(desk.text, desk.exact)):
        return False  # a clean `git revert` leaves no REVERT_HEAD
    return desk.making.edited or not draft.is_empty(desk.text, desk.exact)


def _currents(db: store.Connection, desk: _Desk) -> list[current.Task]:
    making = desk.making
    place = current.Place(
        making.state, os.environ.get(current.AGENT, ""), making.branch,
        lambda branch: desk.setting(f"branch.{branch}.{current.BRANCH.lower()}"),
    )  # fmt: skip
    told = current.currents(db, desk.config.commits, place)
    return list(dict.fromkeys(one.task for one in told if one.task is not None and one.problem is None))


def _is_named(desk: _Desk, task: current.Task) -> bool:
    """Whether the message refers to a task already, in any way."""
    references = (
        reference for one in draft.mentions(desk.text, desk.rules, desk.exact) for reference, _ in one.references
    )
    return any(one.kind == "task" and one.prefix and task.uid.startswith(one.prefix) for one in references)


def _offer(db: store.Connection, desk: _Desk, chosen: list[current.Task]) -> None:
    """Comments that turn into trailers when their sign is taken away. Only above comments of git's own, where these are
    taken out of the message."""
    sign, cleanup = desk.exact.comment, desk.setting("commit.cleanup")
    if cleanup not in ("", "default", "strip") or not draft.has_comment(desk.text, desk.exact):
        return
    listed = current.unfinished(db, MOST + len(chosen) + 1)
    others = [task for task in listed if task not in chosen and not _is_named(desk, task)]
    encoding = desk.setting("i18n.commitencoding").lower().replace("-", "")

    def told(text: str) -> str:
        line = f"{sign}     {shown(text[:_LONGEST])}{'...' if len(text) > _LONGEST else ''}"
        return line if encoding in ("", "utf8") else line.encode("ascii", "backslashreplace").decode("ascii")

    lines = []
    for task in chosen:
        lines += [f"{sign} The task you work on, task:{task.number} (mlos-sync task current):", told(task.description)]
    if others:
        lines.append(f"{sign} Tasks that are open. Take away the sign before one that this commit is part of:")
    for task in others[:MOST]:
        # No blank behind the sign: whoever takes away the sign alone must not leave a line that continues another one
        lines += [f"{sign}{task.trailer}", told(task.description)]
    if len(others) > MOST:
        lines.append(f"{sign} More of them: mlos-sync task list")
    if lines:
        desk.text = draft.inserted(desk.text, lines, desk.exact)
        if sign == "#":  # of any other the shim knows nothing
            _write(desk.making.state, OFFERED, b"#\n")


def _leave_word(desk: _Desk, source: str, added: list[str]) -> None:
    """For commit-msg: that there is nothing left to do, or what was put in."""
    making = desk.making
    if not os.path.isdir(making.state):
        return
    if making.edited:
        if added:
            text = "\n".join((source, str(len(added)), *added, draft.kept(desk.text, desk.exact).strip()))
            _write(making.state, ADDED, text.encode("utf-8", "surrogateescape"))
    elif desk.config.commits.unknown == "observe":
        _mark(desk, desk.mentions())
        _write(making.state, PREPARED, desk.before)


def _take_back(desk: _Desk) -> None:
    """Take out what was added where the user wrote nothing else, or left a template as it was: then git shall say so and
    stop, as it does without us."""
    making = desk.making
    try:
        with open(os.path.join(making.state, ADDED), "rb") as file:
            source, count, *rest = file.read().decode("utf-8", "surrogateescape").split("\n")
        many = int(count)
    except (OSError, ValueError):
        return
    _forget(making.state, ADDED)
    added, prepared = rest[:many], "\n".join(rest[many:])
    bare = draft.without(desk.text, added)
    untouched = source == "template" and draft.kept(desk.text, desk.exact).strip() == prepared
    if making.edited and bare != desk.text and (untouched or draft.is_empty(bare, desk.exact)):
        desk.text = bare


def _mark(desk: _Desk, found: list[Mention]) -> None:
    closes = any(closes for one in found for _, closes in one.references)
    if closes or trailers.reverted(draft.kept(desk.text, desk.reading)):
        _touch(desk.making.state, CLOSING)


def _touch(state: str, name: str) -> None:
    if os.path.isdir(state):
        _write(state, name, b"")


def _write(state: str, name: str, data: bytes) -> None:
    with open(os.path.join(state, name), "wb") as file:
        file.write(data)


def _forget(state: str, *names: str) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(state, name))
