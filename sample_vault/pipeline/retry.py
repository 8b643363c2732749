"""Call again when the model server is busy, and let it say how long to wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class BusyError(Exception):
    """The server refused for now; `retry_after` is its own wish in seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def pause(attempt: int, busy: BusyError, base: float, cap: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (the first is 0)."""
    if busy.retry_after is not None:
        return min(cap, max(0.0, busy.retry_after))
    return float(min(cap, base * 2**attempt))


def call_politely(
    function: Callable[[], T],
    *,
    attempts: int = 5,
    base: float = 1.0,
    cap: float = 60.0,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """The result of `function`; only BusyError is tried again."""
    for attempt in range(attempts - 1):
        try:
            return function()
        except BusyError as busy:
            sleep(pause(attempt, busy, base, cap))
    return function()
