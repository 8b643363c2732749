"""When the watcher looks again, by times that are given."""

from __future__ import annotations

import math

from mlos_sync.app.timetable import BACK, LONG, LONGEST, MENDED, REST, Timetable, later


def test_all_is_looked_at_the_seldomer_the_longer_that_takes():
    """Never more often than is wanted, and never so seldom that nobody would notice."""
    for took, after in [(0.01, 300.0), (0.5, 0.5 * REST), (60.0, LONGEST)]:
        times = Timetable()
        times.looked_at_all(0.0, took, every=300.0)
        assert times.next_all == took + after
    times.looked_at_all(0.0, 60.0, every=7200.0)
    assert times.next_all == 60.0 + 7200.0


def test_what_is_missed_is_looked_for_soon():
    """Where names alone do not tell that it is back; not in turn without end where a look at all has just missed it."""
    times = Timetable()
    times.looked_at_all(0.0, 0.1, every=300.0)
    times.misses(1.0, 300.0, at_all=False)
    assert times.next_all == 1.0 + BACK
    times.misses(2.0, 300.0, at_all=False)
    assert times.next_all == 1.0 + BACK, "each new miss puts it off no further"
    times.looked_at_all(6.0, 6.1, every=300.0)
    times.misses(6.1, 300.0, at_all=True)
    assert times.next_all > 200
    times.looked_at_all(0.0, 2.0, every=30.0)
    times.misses(2.0, 30.0, at_all=False)
    assert times.next_all == 2.0 + 30.0, "a look that takes long is not begun each five seconds"


def test_what_fails_is_tried_again_later_each_time():
    """A minute at most, at once when something has changed, and from the beginning when it went well."""
    times, tried = Timetable(), []
    for _ in range(12):
        times.failed(100.0)
        tried.append(times.next_try - 100.0)
    assert tried == sorted(tried) and tried[0] == 1.0 and tried[-1] == 60.0 == later(10_000)
    times.changed(101.0)
    assert times.next_try == 101.0 + MENDED
    times.looked(101.0, 101.5)
    times.failed(102.0)
    assert times.next_try == 103.0


def test_a_change_puts_off_no_look():
    """Nothing failed, or it is tried sooner anyhow."""
    times = Timetable()
    times.changed(50.0)
    assert times.next_try == 0.0
    times.failed(50.0)
    times.changed(50.5)
    assert times.next_try == 51.0


def test_who_watches_hears_once_that_git_takes_long():
    """And once more when it is at something else."""
    times = Timetable()
    assert not times.waits(10.0, anew=True)
    assert not times.waits(10.0 + LONG / 2, anew=False)
    assert times.waits(10.0 + LONG, anew=False)
    assert not times.waits(1000.0, anew=False)
    assert not times.waits(1001.0, anew=True)
    assert times.waits(1001.0 + LONG, anew=False)
    assert times.next_try < math.inf


def test_what_is_polled_and_compiled_takes_its_share():
    """A twentieth and a tenth of the time."""
    times = Timetable()
    times.polled(0.0, 2.0)
    times.looked(0.0, 0.01)
    assert times.next_poll == 2.0
    times.looked(0.0, 1.0)
    assert times.next_poll == 1.0 + 20.0
    times.written(0.0)
    times.compiled(0.0, 3.0)
    assert times.next_compile == 3.0 + 30.0
