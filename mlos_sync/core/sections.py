"""What a line of a compiled view comes from: the record to change instead of the view, or the file.

Owns how the shipped templates write the names of records and the links to files, read backwards. Titles and
descriptions are other people's text, so a name counts only at its place in a line: at the end of a heading, or behind
the text of a task (the last such place: of a text made to look like one, no more than the advice is wrong). Where a
workspace's own template writes something else, nothing is found. Standard library only.
"""

from __future__ import annotations

import re

_NEED = re.compile(r"#{3,6} .* · (need-[0-9a-f]{6,32})")
_TASK = re.compile(r"- \[.\] .* · (task-[0-9a-f]{6,32}) · [a-z ]+ · [a-z ]+(?: · for need-[0-9a-f]{6,32} .*)?")
_AWAITED = re.compile(r"  - [a-z_]+ (?:need|task)-[0-9a-f]{6,32}: .* · ((?:need|task)-[0-9a-f]{6,32}) · [a-z ]+")
_LISTED = re.compile(r"- (?:File: )?\[(?:[^\\\]]|\\.)*\]\((\S*?)\)")
_FENCE = re.compile(r"`{3,}")


class Line:
    """Where a line comes from: `record` (`need-3f9a2c`; empty: none), `part` (title, facts, description, links, task) of
    it, and `link`, as the view writes it, to the file that the line tells of (empty: none)."""

    __slots__ = ("link", "part", "record")

    def __init__(self, record: str = "", part: str = "", link: str = "") -> None:
        self.record = record
        self.part = part
        self.link = link


def lines(text: str) -> list[Line]:
    """One answer for each line of a view."""
    found: list[Line] = []
    need = fence = ""
    file = ""
    for raw in text.split("\n"):
        line = raw.removesuffix("\r")
        if fence or _FENCE.fullmatch(line):
            fence = "" if line == fence else fence or line
            found.append(Line(link=file))
        elif line.startswith("#"):
            heading = _NEED.fullmatch(line)
            need, file = heading[1] if heading else "", ""
            found.append(Line(need, "title" if need else ""))
        elif task := _TASK.fullmatch(line):
            found.append(Line(task[1], "task"))
        elif awaited := _AWAITED.fullmatch(line):
            found.append(Line(awaited[1], "task" if awaited[1].startswith("task") else "facts"))
        elif listed := _LISTED.match(line):
            file = listed[1]
            found.append(Line(need, "links" if need else "", file))
        elif need:
            found.append(Line(need, "description" if line.startswith(">") else "facts"))
        else:
            found.append(Line(link=file if line.startswith("- ") else ""))
    return found


def records(text: str) -> list[str]:
    """The needs and tasks that a view shows, in its order."""
    return list(dict.fromkeys(one.record for one in lines(text) if one.record))


def changed_line(text: str, old: str, new: str) -> int | None:
    """The number of the first line that replacing `old` by `new` changes, from 0; None where `old` does not stand there.
    Line ends do not matter: an editor may know others than the file has."""
    text, old, new = (one.replace("\r\n", "\n") for one in (text, old, new))
    start = text.find(old) if old else -1
    if start < 0:
        return None
    same = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    return text.count("\n", 0, start + min(same, len(old) - 1))
