"""Suites that others made, as lists of texts: what every reader of YAML or markdown is held to.

`suites/` holds those whose licence lets them be copied (see its README). CommonMark's does not: it is read from
`$MLOS_SYNC_SUITES/commonmark-spec/spec.txt`, which `make suites` fetches, and its tests are skipped without it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent / "suites"
ELSEWHERE = os.environ.get("MLOS_SYNC_SUITES")  # read at import: the sealed world of a test has no such variable
NAMES = ("yaml", "naughty", "commonmark")
LEAST = {"yaml": 400, "naughty": 500, "commonmark": 600}  # a suite that was read halfway shows nothing


@dataclass(frozen=True, slots=True)
class Case:
    """A text with its name in its suite."""

    name: str
    text: str

    @property
    def data(self) -> bytes:
        return self.text.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=3)
def cases(suite: str) -> tuple[Case, ...]:
    """All cases of a suite; skips the test if the suite is not here."""
    if suite == "commonmark":
        found = _examples()
    else:
        made = json.loads((HERE / f"{suite}.json").read_text("ascii"))
        if suite == "yaml":
            found = [Case(name, text) for name, _, text in made]
        else:
            found = [Case(f"naughty {number}", text) for number, text in enumerate(made)]
    assert len(found) >= LEAST[suite], f"{suite}: {len(found)} cases"
    return tuple(found)


def _examples() -> list[Case]:
    """The markdown of the specification's examples: between a fence of 32 backticks and a line with a dot."""
    if not ELSEWHERE:
        pytest.skip("NOT TESTED: CommonMark's examples, which may not be copied here; `make suites` fetches them")
    fence = "`" * 32
    text = (Path(ELSEWHERE) / "commonmark-spec" / "spec.txt").read_text("utf-8")
    found = []
    for number, part in enumerate(text.split(f"\n{fence} example\n")[1:], 1):
        markdown = part.split(f"\n{fence}")[0].split("\n.\n")[0] if not part.startswith(".\n") else ""
        found.append(Case(f"example {number}", markdown.replace("→", "\t") + "\n"))
    return found
