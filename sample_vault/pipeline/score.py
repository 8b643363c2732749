"""Score answers: right means equal, give or take case, spaces and a final stop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What was asked, what was hoped for, and what Harbor said."""

    prompt_id: str
    suite: str
    expected: str
    given: str

    @property
    def correct(self) -> bool:
        return tidy(self.given) == tidy(self.expected)


def tidy(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")


def accuracy(answers: Sequence[Answer]) -> float:
    """The share of right answers, 0.0 when there are none at all."""
    if not answers:
        return 0.0
    return round(sum(answer.correct for answer in answers) / len(answers), 4)


def by_suite(answers: Iterable[Answer]) -> dict[str, dict[str, int]]:
    """Counts per suite, in the order in which the suites first appear."""
    suites: dict[str, dict[str, int]] = {}
    for answer in answers:
        counts = suites.setdefault(answer.suite, {"prompts": 0, "correct": 0})
        counts["prompts"] += 1
        counts["correct"] += answer.correct
    return suites
