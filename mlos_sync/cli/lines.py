"""JSON lines in: many records or edges from a file or from standard input."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from mlos_sync.cli.common import settings
from mlos_sync.errors import SurroundingsError, UsageError

Row = dict[str, Any]


def read_lines(source: str) -> list[tuple[str, Row]]:
    """(its place, such as `line 3`; the object) of each line; blank lines are passed over. A document that `list --json`
    or `links --json` printed stands for its rows or edges.

    `-` is standard input, a path is from the folder that `-C` names. Raises UsageError that names the line.
    """
    found: list[tuple[str, Row]] = []
    for number, line in enumerate(_read(source).split(b"\n"), 1):
        if line.strip():
            found += _rows(source, f"line {number}", line)
    if not found:
        raise UsageError(f"{source} holds no record", "write one JSON object a line")
    return found


def _read(source: str) -> bytes:
    try:
        if source == "-":
            return sys.stdin.buffer.read()
        with open(os.path.join(settings.folder, source), "rb") as file:
            return file.read()
    except OSError as error:
        hint = "name a file that can be read, or - for standard input"
        raise SurroundingsError(f"{source}: {error.strerror}", hint) from None


def _rows(source: str, place: str, line: bytes) -> list[tuple[str, Row]]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{source}, {place}: not JSON: {error}", "nothing was written; mend the line") from None
    many = row.get("rows", row.get("edges")) if isinstance(row, dict) and "schema_version" in row else None
    told = (
        [(place, row)] if not isinstance(many, list) else [(f"{place}, row {n}", one) for n, one in enumerate(many, 1)]
    )
    for where, one in told:
        if not isinstance(one, dict):
            raise UsageError(f"{source}, {where}: not a JSON object", "nothing was written; mend the line")
    return told
