"""PROBLEM.md read back: what a compiled page, or one that somebody edited, says of needs and tasks, line by line.

The reader takes any text. What stands where the template puts needs, tasks and descriptions becomes an item; every other
line that is not blank is kept as `other`, so that comparing two pages loses none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mlos_sync.core import views
from mlos_sync.core.meaning import priority_of, status_of, status_of_sign

LOOSE = "Tasks without a need"
NO_SCOPE = "No scope"
FRONT, HEADING, LINK, TEXT = "frontmatter", "heading", "link", "text"  # kinds of other lines

_DOT = " · "
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?")
_TASK = re.compile(r" {0,1}[-*+] +\[([^\\])\](?: (.*))?")  # `[\] x](run.py)` is a link to a file titled `] x`
_BULLET = re.compile(r"\s*[-*+](?: |$)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
# Greedy: a title may hold what looks like a name, the last one is the record's.
_NAMED_NEED = re.compile(r"(.*) · (need-[0-9a-f]{6,32})\s*")
_NAMED_TASK = re.compile(r"(.*) · (task-[0-9a-f]{6,32})(?: · (.*)|\s*)")


@dataclass(slots=True)
class Item:
    """A need or a task as a page says it. `name` is None for one that has none yet; `key` tells it from the others of the
    page. `sign` is the mark or the content of the checkbox; `status` and `priority` are words as they stand, None where
    none do. `above` is the key of the need that it stands below, `section` the `##` heading."""

    kind: str
    line: int
    raw: str
    name: str | None
    sign: str | None
    text: str  # the title of a need, the description of a task
    section: str | None
    above: str | None
    status: str | None = None
    priority: str | None = None
    part: str = ""  # what follows them on their line
    description: list[str] = field(default_factory=list)
    level: int = 0
    below: tuple[int, str] | None = None  # where a need has its status and priority, the line and its text

    @property
    def key(self) -> str:
        """Its name, or the line that it stands in."""
        return self.name or f"line {self.line}"


@dataclass(frozen=True, slots=True)
class Other:
    """A line that is part of no item."""

    line: int
    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says, in its order."""

    items: tuple[Item, ...]
    others: tuple[Other, ...]
    sections: frozenset[str]


def read(text: str) -> Page:
    """What a page says."""
    reader = _Reader()
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    start = _end_of_front(lines)
    for number, line in enumerate(lines[:start], 1):
        reader.other(number, line, FRONT)
    for number, line in enumerate(lines[start:], start + 1):
        reader.take(number, line.rstrip())
    return Page(tuple(reader.items), tuple(reader.others), frozenset(reader.sections))


def _end_of_front(lines: list[str]) -> int:
    if lines[0].rstrip() != "---":
        return 0
    return next((n + 1 for n, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), 0)


class _Reader:
    """Where in the page the reader is: the section, the needs that are open above a heading, a fence of code."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.others: list[Other] = []
        self.sections: set[str] = set()
        self.section: str | None = None
        self.stack: list[Item] = []
        self.stage = 0  # of the need: 0 its status may come, 1 its description may, 2 only tasks and files
        self.gap = False  # a blank line was seen since the description's last line
        self.fence = ""

    def other(self, number: int, line: str, kind: str = TEXT) -> None:
        if line.strip():
            self.others.append(Other(number, line.rstrip(), kind))

    def take(self, number: int, line: str) -> None:
        """One line of the body."""
        fence = _FENCE.match(line)
        if self.fence or fence:
            if not self.fence:
                self.fence = fence[1] if fence else ""
            elif fence and fence[1].startswith(self.fence):
                self.fence = ""
            self.other(number, line)
        elif not line.strip():
            self.gap = True
        elif heading := _HEADING.fullmatch(line):
            self._heading(number, line, len(heading[1]), heading[2] or "")
        elif task := _TASK.fullmatch(line):
            self._task(number, line, task[1], task[2] or "")
        elif line.startswith(">") and self.stack and self.stage < 2:
            self._description(line)
        elif not (self.stack and self.stage == 0 and self._status(number, line)):
            self.other(number, line, LINK if _BULLET.match(line) else TEXT)
            self.stage = 2 if _BULLET.match(line) else self.stage

    def _heading(self, number: int, line: str, level: int, text: str) -> None:
        if level < 3:
            self.stack, self.section = [], text.strip() if level == 2 else None
            self.sections |= {self.section} if self.section else set()
            if self.section != LOOSE:
                self.other(number, line, HEADING)
            return
        self.stack = [need for need in self.stack if need.level < level]
        sign, _, rest = text.partition(" ")
        marked = status_of_sign("need", sign) is not None
        named = _NAMED_NEED.fullmatch(rest if marked else text)
        title, name = (named[1], named[2]) if named else (rest if marked else text, None)
        above = self.stack[-1].key if self.stack else None
        need = Item(
            "need", number, line, name, sign if marked else None, views.plain(title), self.section, above, level=level
        )
        self.items.append(need)
        self.stack.append(need)
        self.stage, self.gap = 0, False

    def _status(self, number: int, line: str) -> bool:
        """Whether the line below a heading says a status or a priority; then the need has them."""
        if _BULLET.match(line) or line == "Related:":
            self.stage = 2
            return False
        need = self.stack[-1]
        first, *rest = [part.strip() for part in line.split(_DOT)]
        second = rest[0] if rest else None
        if status_of("need", first) is None and priority_of(second or first) is None:
            return False
        if not rest and status_of("need", first) is None:
            need.priority = first
        else:
            need.status, need.priority, need.part = first, second, _DOT.join(rest[1:])
        need.below = number, line
        self.stage = 1
        return True

    def _description(self, line: str) -> None:
        need = self.stack[-1]
        if self.gap and need.description:
            need.description.append("")
        need.description.append(line[1:].removeprefix(" "))
        self.stage, self.gap = 1, False

    def _task(self, number: int, line: str, box: str, text: str) -> None:
        above = self.stack[-1].key if self.stack else None
        words, name = text, None
        status, priority, part = None, None, ""
        if named := _NAMED_TASK.fullmatch(text):
            words, name = named[1], named[2]
            status, priority, part = [*(named[3] or "").split(_DOT, 2), "", "", ""][:3]
        elif (
            len(parts := text.rsplit(_DOT, 2)) == 3
            and status_of("task", parts[1])
            and priority_of(parts[2]) is not None
        ):
            words, status, priority = parts
        task = Item("task", number, line, name, box.lower(), views.plain(words), self.section, above)
        task.status, task.priority, task.part = status or None, priority or None, part
        self.items.append(task)
        self.stage = 2
