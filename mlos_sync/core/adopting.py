"""What a hand edit of PROBLEM.md says: the edited page against the page it was made from -> changes of records, and a rest.

Three sides: what the page said (`base`), what it says now that somebody edited it, and the records as they stand. Only what
the edit changed counts. Where the record was changed since as well, the edit is a conflict and stays in the rest, unless
both say the same. Texts are compared as the page shows them, so that what `md` flattens or escapes is no edit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from mlos_sync.core import pages, views
from mlos_sync.core.meaning import RULES, changed_status, first_status, priority_of, status_of, walk
from mlos_sync.core.pages import Item, Page

Value = str | int | None
_WORDING = {"need": "title", "task": "description"}  # the column that an item's own text is


@dataclass(frozen=True, slots=True)
class Standing:
    """A record as it stands; `text` is the title of a need, the description of a task."""

    uid: str
    text: str
    status: str
    priority: int | None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A column of a record that the edit sets. `steps` are the values that lead there, the new one last."""

    line: int
    kind: str
    name: str
    uid: str
    field: str
    old: Value
    new: Value
    steps: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Addition:
    """A record that the edit makes. `above` is the uid of the need it belongs to, or the key of another addition."""

    line: int
    kind: str
    key: str
    text: str
    description: str | None
    status: str
    priority: int | None
    scope: str | None
    above: str | None


@dataclass(frozen=True, slots=True)
class Rest:
    """What no record can take: the line of the edited file (None: it was taken out), its text, and why."""

    line: int | None
    text: str
    why: str


@dataclass(slots=True)
class Outcome:
    """What comes of an edit, in the order of the page."""

    changes: list[Change | Addition] = field(default_factory=list)
    rest: list[Rest] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Setting:
    """What the page does not say: the records that names on it mean (or why there is none), the scopes that a heading may
    mean, and the scope of the whole view, where it has one."""

    records: Mapping[str, Standing | str]
    scopes: Mapping[str, list[str | None]]
    of_scope: bool = False
    scope: str | None = None


def adopt(base: Page, edited: Page, setting: Setting) -> Outcome:
    """What the edit of a page changes, and what of it no record can take."""
    return _Comparison(base, edited, setting).run()


def differences(base: str, edited: str) -> list[Rest]:
    """Lines of a text that stand not in the one it was made from, and those that were taken out; why is not said."""
    before, after = pages.Page((), _all_lines(base), frozenset()), pages.Page((), _all_lines(edited), frozenset())
    return adopt(before, after, Setting({}, {})).rest


def _all_lines(text: str) -> tuple[pages.Other, ...]:
    return tuple(pages.Other(n, line, pages.TEXT) for n, line in enumerate(text.split("\n"), 1) if line.strip())


class _Comparison:
    def __init__(self, base: Page, edited: Page, setting: Setting) -> None:
        self.base, self.edited, self.setting = base, edited, setting
        self.outcome = Outcome()
        self.was = {item.name: item for item in base.items if item.name}
        self.times = Counter(item.name for item in edited.items if item.name)
        self.nameless = Counter(item.raw for item in base.items if not item.name)  # a template may write such lines
        self.gone = [item for item in base.items if item.name and item.name not in self.times]
        self.added: set[str] = set()  # keys of the needs that this edit makes

    def run(self) -> Outcome:
        for item in self.edited.items:
            if item.name is None and self.nameless[item.raw] > 0:
                self.nameless[item.raw] -= 1
            elif item.name is None:
                self._new(item)
            elif self.times[item.name] > 1:
                if item.raw != getattr(self.was.get(item.name), "raw", None):
                    self._rest(item, f"{item.name} stands here more than once")
            else:
                self._known(item)
        self._moves()
        self._removals()
        lost = (item for item in self.base.items if not item.name and self.nameless[item.raw] > 0)
        self.outcome.rest += [Rest(None, item.raw, "a line without a name is of no record") for item in lost]
        self._others()
        self.outcome.rest.sort(key=lambda one: (one.line is None, one.line or 0))
        return self.outcome

    def _rest(self, item: Item, why: str) -> None:
        self.outcome.rest.append(Rest(item.line, item.raw, why))

    def _rest_below(self, item: Item, why: str) -> None:
        """The same of the line that has the status and the priority."""
        self.outcome.rest.append(Rest(*(item.below or (item.line, item.raw)), why))

    # --- records that the page names

    def _known(self, item: Item) -> None:
        was, now = self.was.get(item.name or ""), self.setting.records.get(item.name or "", "it is not known")
        if was is None:
            self._stranger(item, now)
        elif isinstance(now, str):
            if _said(item) != _said(was):
                self._rest(item, now)
        else:
            self._wording(item, was, now)
            if item.kind == "need":
                self._description(item, was, now)
            self._priority(item, was, now)
            self._status(item, was, now)
            self._tail(item, was)

    def _stranger(self, item: Item, now: Standing | str) -> None:
        """A name that the page did not show when it was compiled: what was edited cannot be told from what is old."""
        if isinstance(now, str):
            self._rest(item, f"{now}; without a name it is a new {item.kind}")
        elif _said(item) != (views.md(now.text), now.status, now.priority or 0, _shown(now.description)):
            change = f"mlos-sync {item.kind} set {item.name}"
            self._rest(item, f"this page did not show {item.name} when it was compiled: {change}")

    def _set(self, item: Item, column: str, old: Value, new: Value, steps: Iterable[Value] = ()) -> None:
        now = self.setting.records[item.name or ""]
        assert isinstance(now, Standing)  # noqa: S101 - `_known` has looked
        ways = tuple(steps) or (new,)
        self.outcome.changes.append(Change(item.line, item.kind, item.name or "", now.uid, column, old, new, ways))

    def _clash(self, item: Item, column: str, now: Value) -> None:
        self._rest(item, f"conflict: {item.name} {column} was changed since this page was compiled, to {now!r}")

    def _wording(self, item: Item, was: Item, now: Standing) -> None:
        new, old, stands = (views.md(text) for text in (item.text, was.text, now.text))
        if new in (old, stands):
            return
        column = _WORDING[item.kind]
        if not new:
            self._rest(item, f"the {column} of {item.name} cannot be empty")
        elif stands != old:
            self._clash(item, column, now.text)
        else:
            self._set(item, column, now.text, item.text)

    def _description(self, item: Item, was: Item, now: Standing) -> None:
        new, old, stands = _lines(item.description), _lines(was.description), _shown(now.description)
        if new in (old, stands):
            return
        if stands != old:
            self._clash(item, "description", now.description)
        else:
            self._set(item, "description", now.description, _merged(now.description or "", item.description))

    def _priority(self, item: Item, was: Item, now: Standing) -> None:
        new, old = priority_of(item.priority), priority_of(was.priority)
        if item.priority is None or new == old:
            return
        if new is None:
            self._rest_below(item, f"{item.priority!r} is no priority; they are {', '.join(views.PRIORITIES.values())}")
        elif new != (now.priority or 0):
            if (now.priority or 0) != old:
                self._clash(item, "priority", now.priority)
            else:
                self._set(item, "priority", now.priority, new or None)

    def _status(self, item: Item, was: Item, now: Standing) -> None:
        old = status_of(item.kind, was.status) or ""
        new, problem = changed_status(item.kind, old, item.status, item.sign if item.sign != was.sign else None)
        if problem:
            self._rest_below(item, problem)
        if new is None or new in (old, now.status):
            return
        if now.status != old:
            self._clash(item, "status", now.status)
            return
        steps = walk(item.kind, old, new)
        if steps is None:
            self._rest_below(item, f"{item.name} does not go from {old} to {new}: {RULES[item.kind]}")
        else:
            self._set(item, "status", old, new, steps)

    def _tail(self, item: Item, was: Item) -> None:
        if item.part != was.part:
            why = f"what follows the priority of {item.name} is computed"
            self._rest_below(
                item, f"{why}: mlos-sync {item.kind} set {item.name} --{'parent' if item.kind == 'need' else 'need'}"
            )
        elif item.status is None or item.priority is None:
            self._rest_below(item, f"the status or priority of {item.name} is missing here; that changes nothing")

    # --- new records

    def _new(self, item: Item) -> None:
        lost = [one for one in self.gone if one.kind == item.kind]
        named = [one.key for one in lost if one.key in item.raw]
        named = named or [one.key for one in lost if views.md(one.text) == views.md(item.text)]
        above, reason = self._place(item)
        status, problem = first_status(item.kind, item.status, item.sign)
        if named:
            reason = f"this may be {named[0]}, which has lost its place; a line ends with ` · {named[0]}` to be it"
        elif not views.md(item.text):
            reason = f"a {item.kind} without words"
        elif item.priority is not None and priority_of(item.priority) is None:
            reason = f"{item.priority!r} is no priority"
        reason = reason or problem
        if reason:
            self._rest(item, reason)
            return
        if item.part:
            self._rest(item, "nothing is known to follow a priority")
        self.added |= {item.key} if item.kind == "need" else set()
        words = _merged("", item.description)
        scope = self._scope(item.section)[0] if item.kind == "need" else None
        priority = priority_of(item.priority) or None
        self.outcome.changes.append(
            Addition(item.line, item.kind, item.key, item.text, words, status, priority, scope, above)
        )

    def _place(self, item: Item) -> tuple[str | None, str]:
        """(the need that a new item belongs to: uid, or key of another addition; why it can belong nowhere)."""
        if item.above is not None:
            now = self.setting.records.get(item.above)
            if isinstance(now, Standing):
                return now.uid, self._scope(item.section)[1] if item.kind == "need" else ""
            return item.above, "" if item.above in self.added else "the need above it is not taken into the records"
        if item.kind == "need":
            return None, self._scope(item.section)[1]
        if item.section == pages.LOOSE and not self.setting.of_scope:
            return None, ""
        where = f"below a need, or, in the view of the whole workspace, below `## {pages.LOOSE}`"
        return None, f"a new task stands {where}; mlos-sync task add makes one"

    def _scope(self, heading: str | None) -> tuple[str | None, str]:
        """(the scope that a heading means, why it means none)."""
        if heading is None:
            return self.setting.scope, ""
        if heading == pages.LOOSE:
            return None, f"a need does not stand below `## {pages.LOOSE}`; write it above that heading"
        if heading not in self.base.sections or self.setting.of_scope:
            return None, "its heading is no scope of this page; mlos-sync need add --scope makes a need in another one"
        found = self.setting.scopes.get(heading, [None if heading == pages.NO_SCOPE else views.plain(heading)])
        return (found[0], "") if len(found) == 1 else (None, "several scopes are written like its heading")

    # --- what the records do not take

    def _moves(self) -> None:
        for kind in ("need", "task"):
            then = [item for item in self.base.items if item.kind == kind and self.times[item.key] == 1]
            now = {item.key: item for item in self.edited.items if item.kind == kind and self.times[item.key] == 1}
            order = [key for key in now if key in self.was]
            match = SequenceMatcher(a=[one.key for one in then], b=order, autojunk=False)
            kept = {key for _, at, size in match.get_matching_blocks() for key in order[at : at + size]}
            for was in then:
                self._moved(now[was.key], was, in_order=was.key in kept)

    def _moved(self, item: Item, was: Item, *, in_order: bool) -> None:
        change = f"mlos-sync {was.kind} set {was.name}"
        above = (item.above or "", was.above or "")
        only_lower = all(key.startswith("line ") for key in above)  # below a line without a name, as before
        if above[0] != above[1] and not only_lower:
            column = "--parent" if was.kind == "need" else "--need"
            self._rest(item, f"{was.name} was moved to another need: {change} {column}")
        elif item.section != was.section:
            moved = f"{change} --scope" if was.kind == "need" else "a task stands where its need stands"
            self._rest(item, f"{was.name} was moved to another heading: {moved}")
        elif not in_order:
            self._rest(item, f"{was.name} was moved; the order follows from priorities and times")

    def _removals(self) -> None:
        for was in self.gone:
            if isinstance(self.setting.records.get(was.name or ""), Standing):
                why = f"a line that is taken out deletes nothing; mlos-sync {was.kind} delete {was.name} does"
                self.outcome.rest.append(Rest(None, was.raw, why))

    def _others(self) -> None:
        old, new = self.base.others, self.edited.others
        match = SequenceMatcher(a=[one.text for one in old], b=[one.text for one in new], autojunk=False)
        for tag, i1, i2, j1, j2 in match.get_opcodes():
            if tag == "equal":
                continue
            self.outcome.rest += [Rest(one.line, one.text, _WHY[one.kind]) for one in new[j1:j2]]
            self.outcome.rest += [Rest(None, one.text, f"taken out; {_WHY[one.kind]}") for one in old[i1:i2]]


_WHY = {
    pages.FRONT: "the frontmatter is computed",
    pages.HEADING: "headings are computed; a need starts with ###, mlos-sync need set --scope changes a scope",
    pages.LINK: "links are edges: mlos-sync link, mlos-sync unlink; a task starts with `- [ ]`",
    pages.TEXT: "no record holds this text; a description starts with >",
}


def _said(item: Item) -> tuple[object, ...]:
    status = status_of(item.kind, item.status)
    return views.md(item.text), status, priority_of(item.priority), _lines(item.description)


def _lines(description: list[str]) -> list[str]:
    """Lines of a page's description as the page would show them again."""
    return views.lines("\n".join(views.plain(line) for line in description))


def _shown(description: str | None) -> list[str]:
    return views.lines(description or "")


def _merged(raw: str, edited: list[str]) -> str | None:
    """The edited description; of lines that show the same as before, what the record had is kept to the byte."""
    old = raw.split("\n")
    shown = [views.md(line) for line in old]
    first = next((n for n, line in enumerate(shown) if line), len(old))
    last = len(old) - next((n for n, line in enumerate(reversed(shown)) if line), 0)
    texts = [_unescaped(line) for line in edited]
    new = [views.md(text) for text in texts]
    if not any(new):
        return None
    kept: list[str] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(a=shown[first:last], b=new, autojunk=False).get_opcodes():
        kept += old[first + i1 : first + i2] if tag == "equal" else texts[j1:j2]
    return "\n".join([*old[:first], *kept, *old[last:]] if raw.strip() else kept)


def _unescaped(line: str) -> str:
    """A new line of a description, its indentation kept."""
    return line[: len(line) - len(line.lstrip())] + views.plain(line)
