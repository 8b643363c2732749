"""Python's memory, where there is much of it at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_cycle_search() -> Iterator[None]:
    """For work that makes hundreds of thousands of small values and no cycles: to look for cycles among them took a third of
    the time of a walk, a tenth of that of a history."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
