"""Whether this process, or the whole machine, stood still, or somebody set the clock."""

from __future__ import annotations

import time

LATE = 5.0  # seconds that a process may be late by load alone
JUMP = 2.0  # seconds by which the clock on the wall may drift between two beats


class Clocks:
    """Three clocks, read together at each call of `gap`, which is to come at least every LATE / 2 seconds: one that stops in
    suspend, one that does not, and the one on the wall. `read` is given by tests."""

    def __init__(self) -> None:
        self._before = self._read()

    @staticmethod
    def _read() -> tuple[float, float, float]:
        awake = time.monotonic()
        # CLOCK_BOOTTIME is Linux's; elsewhere the second clock says what the first does.
        boot = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else awake
        return awake, boot, time.time()

    def begin(self) -> None:
        """From here on the process only waits: what it did before may have taken any time."""
        before = self._before
        awake = self._read()[0]
        self._before = (awake, before[1] + awake - before[0], before[2] + awake - before[0])

    def gap(self) -> str | None:
        """What happened since the last call, in words; None where time went on as it should."""
        before, self._before = self._before, self._read()
        awake, boot, wall = (now - then for now, then in zip(self._before, before, strict=True))
        if boot - awake > 1:
            return "the machine slept"
        if awake > LATE + 2:
            return "the watcher stood still"
        return "the clock was set" if abs(wall - boot) > JUMP else None
