"""The program, also as `python -I -m mlos_sync`."""

from __future__ import annotations

import contextlib
import gc
import sys

SEARCH_AFTER = 200_000


def main() -> None:
    """Run the command line, which is loaded only now.

    Python looks for cycles each time that 700 more values were made than freed, and through all that is left at the end.
    Loading modules makes hundreds of thousands that live as long as the process, so both searches were for nothing: a tenth
    of the time of a command (`compile --check` of 6,000 records: 45 of 390 ms).
    """
    gc.set_threshold(SEARCH_AFTER, *gc.get_threshold()[1:])
    try:
        from mlos_sync.cli.main import main as run

        run()
    except KeyboardInterrupt:  # while it was loaded: later `run` says it
        sys.exit(_interrupted())
    finally:
        gc.freeze()


def _interrupted() -> int:
    with contextlib.suppress(OSError):
        sys.stderr.write("mlos-sync: interrupted\n")
    return 130


if __name__ == "__main__":
    main()
