"""JSON lines in: many records from a file or from standard input."""

from __future__ import annotations

import json
import sys
from typing import Any

from mlos_sync.errors import SurroundingsError, UsageError


def read_rows(source: str) -> list[dict[str, Any]]:
    """One JSON object a line; blank lines are passed over. Raises UsageError that names the line."""
    try:
        if source == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(source, "rb") as file:
                data = file.read()
    except OSError as error:
        raise SurroundingsError(
            f"{source}: {error.strerror}", "name a file that can be read, or - for standard input"
        ) from None
    rows = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UsageError(
                    f"{source}, line {number}: not JSON: {error}", "nothing was added; mend the line"
                ) from None
            if not isinstance(row, dict):
                raise UsageError(f"{source}, line {number}: not a JSON object", "nothing was added; mend the line")
            rows.append(row)
    if not rows:
        raise UsageError(f"{source} holds no record", "write one JSON object a line")
    return rows
