"""How long hostile frontmatter holds up the guard and the indexer: python benchmarks/hostile.py [--rounds 5]

For each text of `tests/bombs.py`, as a frontmatter: milliseconds of the guard's look and of the indexer's, the slowest of
the rounds. The last line is the slowest of all; the promise is 100 ms for each. Ends with 1 where it is not kept.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bombs import HOSTILE  # noqa: E402

from mlos_sync.app.planning import describe  # noqa: E402
from mlos_sync.core import seal  # noqa: E402
from mlos_sync.core.split import LIMIT  # noqa: E402

PROMISED = 100.0
MORE = {
    "100,000 brackets": "[" * 100_000,
    "5 MB of fields": "a: b\n" * 1_000_000,
    "5 MB of escapes": "\\x5f" * 1_250_000,
    "64 KB of escapes": 'a: "' + "\\x5f" * 16_000 + '"',
    "5,000 digits": "a: [" + "9" * 5_000 + "]",
    "bad dates": "a: [2026-13-45, 2026-01-01T25:61:00+99:99]\n",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    describe("x.md", b"---\na: [b]\n---\n")  # what is imported once is not counted
    slowest = 0.0
    print(f"{'milliseconds':40} guard  indexer")
    for name, text in {**{name: text for name, (text, _) in HOSTILE.items()}, **MORE}.items():
        data = b"---\n" + text.encode() + b"\n---\nbody\n"
        guard = max(taken(lambda data=data: seal.check(data)) for _ in range(rounds))
        indexer = max(taken(lambda data=data: describe("x.md", data[:LIMIT])) for _ in range(rounds))
        print(f"{name:40} {guard:5.1f}  {indexer:7.1f}")
        slowest = max(slowest, guard, indexer)
    print(f"slowest: {slowest:.1f} ms of {PROMISED:.0f}")
    return int(slowest > PROMISED)


def taken(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    raise SystemExit(main())
