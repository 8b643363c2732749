"""What the words, marks and checkboxes of a page mean: statuses and priorities, and the steps from one status to another."""

from __future__ import annotations

from mlos_sync.core import views
from mlos_sync.core.vocabulary import (
    NEED_RULE,
    NEED_STATUSES,
    NEED_STEPS,
    OPEN_NEEDS,
    TASK_RULE,
    TASK_STATUSES,
    TASK_STEPS,
)

STATUSES = {"need": NEED_STATUSES, "task": TASK_STATUSES}
RULES = {"need": NEED_RULE, "task": TASK_RULE}
_STEPS = {"need": NEED_STEPS, "task": TASK_STEPS}
_SIGNS = {
    "need": {mark: status for status, mark in views.NEED_MARKS.items()},
    "task": {box[1]: status for status, box in views.TASK_BOXES.items()} | {" ": "open"},
}
_PRIORITIES = {word: number for number, word in views.PRIORITIES.items()}


def status_of(kind: str, words: str | None) -> str | None:
    """The status that words mean, or None."""
    word = (words or "").strip().lower().replace(" ", "_").replace("-", "_")
    return word if word in STATUSES[kind] else None


def status_of_sign(kind: str, sign: str) -> str | None:
    """The status that a mark or the content of a checkbox means (an empty box: open), or None."""
    return _SIGNS[kind].get(sign)


def sign_of(kind: str, status: str) -> str:
    """The mark or the content of the checkbox of a status."""
    return views.mark(status) if kind == "need" else views.box(status)[1]


def priority_of(words: str | None) -> int | None:
    """The priority that words or a number mean: 0 for "no priority", None where they mean none of ours."""
    word = (words or "").strip().lower()
    if word == views.priority(None):
        return 0
    return int(word) if word in ("1", "2", "3", "4", "5") else _PRIORITIES.get(word)


def walk(kind: str, old: str, new: str) -> tuple[str, ...] | None:
    """The statuses from one to another, by the fewest steps that the lifecycle allows, or None. No need is resolved or put
    off on the way: one that somebody calls active was never meant to be resolved first."""
    ways: list[tuple[str, ...]] = [()]
    seen = {old}
    for way in ways:  # it grows while it is walked
        here = way[-1] if way else old
        if here == new:
            return way
        if way and kind == "need" and here not in OPEN_NEEDS:
            continue
        for a, b in _STEPS[kind]:
            if a == here and b not in seen:
                seen.add(b)
                ways.append((*way, b))
    return None


def changed_status(kind: str, old: str, words: str | None, sign: str | None) -> tuple[str | None, str]:
    """(the status that an edit means, why it means none): `words` as they stand now, `sign` where it was changed."""
    word = status_of(kind, words)
    if words is not None and word is None:
        return None, _no_status(kind, words)
    if word is not None and word != old:
        if sign is not None and sign != sign_of(kind, word):
            return None, _disagree(kind, sign, word)
        return word, ""
    if sign is None:
        return None, ""
    meant = status_of_sign(kind, sign)
    return meant, "" if meant else f"[{sign}] is no sign of a {kind}"


def first_status(kind: str, words: str | None, sign: str | None) -> tuple[str, str]:
    """(the status that a new record is given, why it can be given none). The sign of the first status says nothing where
    words do: whoever writes a line begins with an empty box."""
    word = status_of(kind, words)
    if words is not None and word is None:
        return "", _no_status(kind, words)
    first = STATUSES[kind][0]
    meant = status_of_sign(kind, sign) if sign else first
    if meant is None:
        return "", f"[{sign}] is no sign of a {kind}"
    if word and sign and sign not in (sign_of(kind, first), sign_of(kind, word)):
        return "", _disagree(kind, sign, word)
    return word or meant, ""


def _no_status(kind: str, words: str) -> str:
    return f"{words!r} is no status; they are {', '.join(STATUSES[kind])}"


def _disagree(kind: str, sign: str, word: str) -> str:
    return f"its sign {sign if kind == 'need' else f'[{sign}]'} and its word {word} say different things"
