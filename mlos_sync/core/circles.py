"""Circles in a graph of waiting: knots of ends that wait for each other, and one short circle through each. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

End = tuple[str, Any]  # kind and a number or uid, all of one type
Steps = Callable[[End], Mapping[End, str]]  # from an end to each that it waits for, and the word of that step


@dataclass(frozen=True, slots=True)
class Knot:
    """Ends each of which waits, in the end, for all others; and a circle among them, its first end repeated last."""

    ends: frozenset[End]
    circle: tuple[End, ...]


def knots(starts: Iterable[End], following: Steps, counted: frozenset[str]) -> list[Knot]:
    """The knots reached from `starts` that hold a step whose word is `counted`; the circle goes over one such step."""
    steps: dict[End, Mapping[End, str]] = {}

    def of(end: End) -> Mapping[End, str]:
        if end not in steps:
            steps[end] = following(end)
        return steps[end]

    found = []
    for ends in _connected(starts, of):
        step = min(((a, b) for a in ends for b, word in of(a).items() if word in counted and b in ends), default=None)
        if step is not None:
            found.append(Knot(frozenset(ends), _from_smallest(_way(step[1], step[0], of, ends))))
    return sorted(found, key=lambda knot: knot.circle)


def _from_smallest(circle: list[End]) -> tuple[End, ...]:
    at = circle.index(min(circle))
    return (*circle[at:], *circle[:at], circle[at])


def _connected(starts: Iterable[End], of: Steps) -> list[set[End]]:
    """Strongly connected sets of more than one end (Tarjan 1972, with a stack of its own: chains may be long)."""
    number: dict[End, int] = {}
    low: dict[End, int] = {}
    pending: list[End] = []
    settled: set[End] = set()
    found = []
    for start in starts:
        path = [] if start in number else [(start, iter(of(start)))]
        while path:
            end, rest = path[-1]
            if end not in number:
                number[end] = low[end] = len(number)
                pending.append(end)
            fresh = None
            for other in rest:
                if other not in number:
                    fresh = other
                    break
                if other not in settled:
                    low[end] = min(low[end], number[other])
            if fresh is not None:
                path.append((fresh, iter(of(fresh))))
                continue
            path.pop()
            if path:
                low[path[-1][0]] = min(low[path[-1][0]], low[end])
            if low[end] == number[end]:
                knot = set()
                while end not in knot:
                    knot.add(pending.pop())
                settled |= knot
                if len(knot) > 1:
                    found.append(knot)
    return found


def _way(start: End, goal: End, of: Steps, inside: set[End]) -> list[End]:
    """A shortest way between two ends of a knot, both included."""
    came: dict[End, End | None] = {start: None}
    waiting = deque([start])
    while waiting and goal not in came:
        end = waiting.popleft()
        for other in of(end):
            if other in inside and other not in came:
                came[other] = end
                waiting.append(other)
    way, before = [goal], came[goal]
    while before is not None:
        way.append(before)
        before = came[before]
    return way[::-1]
