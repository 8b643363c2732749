"""The file of a commit message that is being made: which of its text git keeps, and where a trailer goes. Pure.

Follows git's own reading line by line (`find_trailer_start` and `ignore_non_trailer` of trailer.c, `wt_status_locate_end`
of wt-status.c, 2.39), because what is put in has to be a trailer for git as well. All positions are those of the text as
it lies there: nothing but what is meant is rewritten, whatever stands around it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mlos_sync.core import ids, trailers
from mlos_sync.core.trailers import Mention, Rules

SCISSORS = "------------------------ >8 ------------------------"
AUTO = "auto"
_SIGNS = "#;@!$%^&|:"  # what git takes one of where core.commentChar is auto
_CUT = re.compile(rf"^(\S+) {SCISSORS}$", re.MULTILINE)
_GENERATED = ("Signed-off-by: ", "(cherry picked from commit ")  # trailers that git itself writes
_TITLE_OF_ANOTHER = ("fixup! ", "squash! ", "amend! ")


class Reading(NamedTuple):
    """How git reads a message here: the sign of a comment, names and keys that `trailer.*` configures, separators."""

    comment: str = "#"
    tokens: tuple[str, ...] = ()
    separators: str = ":"


PLAIN = Reading()


def comment_sign(text: str, configured: Sequence[str]) -> str:
    """The sign of comments, of those that are configured the one that git's own comments begin with: it chooses one itself
    where one is `auto`, and before 2.45 it knows nothing of `core.commentString`. Else the first."""
    signs = [one for name in configured for one in (_SIGNS if name == AUTO else (name,))]
    cut = _CUT.search(text)
    last = cut[1] if cut and cut[1] in signs else text.rstrip().rpartition("\n")[2]
    shown = (one for one in signs if last.startswith(one))
    return next(shown, "#" if configured[0] == AUTO else configured[0])


def has_odd_line(text: str) -> bool:
    """Whether a line begins with what may be the sign of a comment: only then it matters which one that is."""
    return re.search(r"^[^\w\s]", text, re.MULTILINE) is not None


def kept(text: str, reading: Reading) -> str:
    """The text as git will read it, up to the cut line, every character in its place: comments are blank lines, and a
    folded trailer stands in one line."""
    start, end = block(text, reading)
    found: list[str] = []
    for at, line in _lines(text[: _cut(text, reading)]):
        if line.startswith(reading.comment):
            found.append("\n" * len(line))
            continue
        if start < at < end and line[0] in " \t" and line.strip():
            above = len(found) - 1
            while above > 0 and not found[above].strip():
                found[above] = " " * len(found[above])
                above -= 1
            bare = found[above].rstrip("\r\n")
            found[above] = bare + " " * (len(found[above]) - len(bare))
        found.append(line)
    return "".join(found)


def is_empty(text: str, reading: Reading) -> bool:
    """Whether nothing is left of the message once comments are out."""
    return not kept(text, reading).strip()


def has_comment(text: str, reading: Reading) -> bool:
    """Whether a comment stands above the cut line. (None does where `--cleanup=scissors` would leave it in the message.)"""
    return any(line.startswith(reading.comment) for _, line in _lines(text[: _cut(text, reading)]))


def is_for_another(text: str, reading: Reading) -> bool:
    """Whether the commit is made to be folded into another one (`git commit --fixup`), whose message counts."""
    return kept(text, reading).lstrip().startswith(_TITLE_OF_ANOTHER)


def mentions(text: str, rules: Rules, reading: Reading) -> list[Mention]:
    """The references in what git keeps, with their places in the text. The value of a folded one stands in one line."""
    message = kept(text, reading)
    first = len(message) - len(message.lstrip())  # git drops blank lines before the subject
    return [
        one._replace(start=one.start + first, end=one.end + first) for one in trailers.mentions(message[first:], rules)
    ]


def numbered(text: str, found: Sequence[Mention], uid_of: Mapping[tuple[str, int], str]) -> str:
    """The text in which each number has gained its uid, in the references that were found in it and nowhere else."""
    for one in reversed(found):
        value = ids.with_uids(text[one.start : one.end], one.meaning, dict(uid_of))
        text = text[: one.start] + value + text[one.end :]
    return text


def inserted(text: str, lines: Sequence[str], reading: Reading) -> str:
    """The text with lines (trailers, or comments that may become some) behind its trailers as git finds them, in a
    paragraph of their own where there are none. Before a message that is still to be typed, its first line stays free."""
    start, end = block(text, reading)
    while end > 0:  # a blank line that ends in CRLF is none for git, at the end
        line = text[text.rfind("\n", 0, end - 1) + 1 : end]
        if line.strip() and not line.startswith(reading.comment):
            break
        end -= len(line)
    start = min(start, end)
    before, after = text[:end], text[end:]
    ending = "\r\n" if before.endswith("\r\n") else "\n"
    if not before:
        before = "\n"
    elif not before.endswith("\n"):
        before += ending
    if start == end:
        before += ending
    if after and not after.startswith(("\n", "\r\n")):
        after = ending + after
    return before + "".join(line + ending for line in lines) + after


def without(text: str, lines: Sequence[str]) -> str:
    """The text without the first line that equals each of these."""
    rest = list(lines)
    found = []
    for _, line in _lines(text):
        bare = line.rstrip("\r\n")
        if bare in rest:
            rest.remove(bare)
        else:
            found.append(line)
    return "".join(found)


def block(text: str, reading: Reading) -> tuple[int, int]:
    """Where git sees the trailers of a message start and end; both the end of the message where it sees none."""
    end = _end(text, reading)
    lines = _lines(text[:end])
    titled = (n for n, (_, line) in enumerate(lines) if not line.startswith(reading.comment) and not line.strip())
    title = next(titled, len(lines))  # the first paragraph is the title
    known, begun = False, False
    trailing = others = folded = 0  # lines that are trailers, that are not, and that may continue a trailer above
    for at, line in reversed(lines[title:]):
        if line.startswith(reading.comment):
            others, folded = others + folded, 0
        elif not line.strip():
            if begun:
                others += folded
                is_block = trailing * 3 >= others if known and trailing else trailing and not others
                return (at + len(line), end) if is_block else (end, end)
        else:
            begun = True
            kind = _kind(line, reading)
            known |= kind == "known"
            if kind in ("known", "trailer"):
                trailing, folded = trailing + 1, 0
            elif kind == "folded":
                folded += 1
            else:
                others, folded = others + folded + 1, 0
    return end, end


def _kind(line: str, reading: Reading) -> str:
    """known (git or its configuration has this trailer), trailer, folded (it may continue one), or text."""
    if line.startswith(_GENERATED):
        return "known"
    if line[0].isspace():
        return "folded"
    key = re.match(rf"[A-Za-z0-9-]+[ \t]*(?=[{re.escape(reading.separators)}])", line)
    if key is None:
        return "text"
    return "known" if any(token.lower().startswith(key[0].lower()) for token in reading.tokens) else "trailer"


def _end(text: str, reading: Reading) -> int:
    """Where the message ends: before the comments and blank lines at its end, and the old form of a list of conflicts."""
    stop = _cut(text, reading)
    run: int | None = None
    in_conflicts = False
    for at, line in _lines(text[:stop]):
        if line.startswith(reading.comment) or line == "\n":
            run = at if run is None else run
        elif line.startswith("Conflicts:\n"):
            run, in_conflicts = at if run is None else run, True
        elif not (in_conflicts and line.startswith("\t")):
            run, in_conflicts = None, False
    return stop if run is None else run


def _cut(text: str, reading: Reading) -> int:
    """Where `git commit --verbose` puts its cut line, below which nothing counts; else the end."""
    line = f"{reading.comment} {SCISSORS}\n"
    if text.startswith(line):
        return 0
    at = text.find("\n" + line)
    return at + 1 if at >= 0 else len(text)


def _lines(text: str) -> list[tuple[int, str]]:
    """(place, line with its end) of each; lines end with LF, as for git."""
    found, at = [], 0
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        found.append((at, text[at:end]))
        at = end
    return found
