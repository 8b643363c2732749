"""When the watcher looks again: at what is pending, at everything, at what cannot be watched; when it compiles views, and
when it tells that it has to wait.

All times are seconds of `time.monotonic()`, and are given: nothing here asks what time it is.
"""

from __future__ import annotations

import math

SOON = 0.1  # until it is asked again whether git is done
MENDED = 5.0  # until what failed is tried again when something has changed
LONG = 5.0  # that git works, or others write, until those who watch hear of it
CALM = 1.0  # without a batch before views are compiled
LONGEST = 1800.0  # between two looks at everything, however long one takes
REST = 2000  # a look at everything waits for so many times what the last one took: 0.05 % of a processor
BACK = 5.0  # after a look, while files are missed, until all is looked at: they may be coming back


class Timetable:
    """The next times, and what they depend on. What is not said to be due later is due now."""

    def __init__(self) -> None:
        self.next_try = self.next_all = self.next_poll = self.next_compile = self._next_notice = 0.0
        self.failures = 0
        self._took = 0.0  # by the last look at everything

    def looked(self, began: float, now: float) -> None:
        """A look ended well. What is polled takes a twentieth of the time at most."""
        self.failures = 0
        self.next_poll = max(self.next_poll, now + 20 * (now - began))

    def looked_at_all(self, began: float, now: float, every: float) -> None:
        """It was one at everything, which is to come `every` so many seconds, and less often where it takes long."""
        self._took = now - began
        self.next_all = now + max(every, min(LONGEST, REST * self._took))

    def misses(self, now: float, every: float, *, at_all: bool) -> None:
        """Files have gone that nobody believes to be. When they come back, their names alone do not tell that all are there."""
        soon = every if at_all else min(every, max(BACK, 20 * self._took))
        self.next_all = min(self.next_all, now + soon)

    def failed(self, now: float) -> None:
        """A look failed: it is tried again, later each time."""
        self.failures += 1
        self.next_try = now + later(self.failures)

    def changed(self, now: float) -> None:
        """Something did: what failed may be mended."""
        if self.failures:
            self.next_try = min(self.next_try, now + MENDED)

    def polled(self, now: float, every: float) -> None:
        """What cannot be watched was looked at, or will be with what is pending."""
        self.next_poll = now + every

    def waits(self, now: float, *, anew: bool) -> bool:
        """Git works: ask again soon. Whether those who watch shall hear of it, once each time that it begins `anew`."""
        if anew:
            self._next_notice = now + LONG
        self.next_try = now + SOON
        if now < self._next_notice:
            return False
        self._next_notice = math.inf
        return True

    def written(self, now: float) -> None:
        """Records may have changed: views are compiled when that is over."""
        self.next_compile = max(self.next_compile, now + CALM)

    def compiled(self, began: float, now: float) -> None:
        """Views were compiled; that takes a tenth of the time at most."""
        self.next_compile = now + max(CALM, 10 * (now - began))


def later(failures: int) -> float:
    """Seconds until what failed so often is tried again."""
    return float(min(60.0, 0.5 * 2 ** min(failures, 7)))
