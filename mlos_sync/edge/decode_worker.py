"""Decodes segments and folds records in a process of its own, while its parent writes the database.

Started as `python -I -S decode_worker.py PACKAGE_FOLDER` by `edge/decoding`; standard library and `core` only. Asked
("read", [(name, bytes)]) it answers `entries_in` of each; asked ("fold", [[line]]) it answers the state of each record
as plain values, or the text of the BadLineError that stopped it.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Answer until the input ends."""
    sys.path.insert(0, sys.argv[1])
    from mlos_sync.core.entries import entries_in
    from mlos_sync.core.fold import plain
    from mlos_sync.core.journal import BadLineError
    from mlos_sync.edge.answering import answer, questions

    for job, given in questions():
        if job == "read":
            read = [entries_in(name, data) for name, data in given]
            answer([(problem, tuple(entries)) for problem, entries in read])
            continue
        try:
            answer([plain(lines) for lines in given])
        except BadLineError as error:
            answer(str(error))


if __name__ == "__main__":
    main()
