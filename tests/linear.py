"""Whether work grows with its input and no faster: measured in processor time, in pairs, never against a fixed figure.

assert_linear(lambda times: read(b"piece" * times), 2_000)
"""

from __future__ import annotations

import time
from collections.abc import Callable

TIMES = 4  # by which the larger input is larger
MOST = 10  # by which the work may be more: four, doubled for the caches of a busy machine; the square would be 16
NOISE = 0.03  # seconds that no measurement can tell from nothing


def assert_linear(work: Callable[[int], object], size: int) -> None:
    """Fails where `work(4 * size)` takes much more than four times as long as `work(size)`."""
    small = min(_seconds(work, size) for _ in range(3))
    large = min(_seconds(work, TIMES * size) for _ in range(2))
    assert large < MOST * small + NOISE, f"{TIMES} times the input takes {large / max(small, 1e-9):.0f} times as long"


def _seconds(work: Callable[[int], object], size: int) -> float:
    began = time.process_time()
    work(size)
    return time.process_time() - began
