"""Real transcripts read by people first: the readers tell what these found, no more and no less.

`claims_by_hand.json` holds parts of files, from line to line, with every claim that a person found there, or none. A
path is given by its last component and the beginning of a hash. A result that tells what became of a call is the line of
the claim where the reader goes by it, else the call.
`turns_by_hand.json` holds how many sessions each file has, and how often the main thread and subagents speak in those of
SpecStory: the lines that name a speaker, but for those in a tool's output.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mlos_sync.core.transcripts import HEAD_BYTES, recognise
from mlos_sync.core.transcripts import read as facts_of
from mlos_sync.core.transcripts.model import Claim, Transcript, gather

CORPUS = Path(__file__).resolve().parents[2].parent / "shared/corpus"


def by_hand(name: str) -> list[dict[str, Any]]:
    """What people found."""
    found: list[dict[str, Any]] = json.loads((Path(__file__).parent / name).read_text("utf-8"))
    return found


CLAIMS = by_hand("claims_by_hand.json")
TURNS = by_hand("turns_by_hand.json")


@cache
def reading(name: str) -> Transcript:
    """What the readers tell of a file; nothing of one that none of them recognises. Each file is read once."""
    if not CORPUS.is_dir():
        pytest.skip(f"CORPUS NOT PRESENT: {CORPUS} is missing, so that no real transcript was read")
    data = (CORPUS / name).read_bytes()
    reader = recognise(data[:HEAD_BYTES])
    return gather(facts_of(io.BytesIO(data), name, reader)) if reader else Transcript()


def shown(claim: Claim) -> str:
    """A claim in the form of the file, to be compared and to be read where they differ."""
    return json.dumps(
        {
            "line": claim.line,
            "operation": claim.operation,
            "name": re.split(r"[/\\]", claim.raw_path)[-1],
            "path": hashlib.sha256(claim.raw_path.encode()).hexdigest()[:16],
            "succeeded": claim.succeeded,
            "subagent": claim.subagent,
        },
        ensure_ascii=False,
    )


def test_the_sample_is_large_and_wide() -> None:
    """Every reader but those of exports without tool calls, what failed, subagents, and parts where nothing happened."""
    claims = [claim for part in CLAIMS for claim in part["claims"]]
    assert len(claims) >= 200
    assert {part["file"].partition("/")[0] for part in CLAIMS if part["claims"]} == {
        "agent-trace", "aider", "claude", "codex", "gemini", "other", "specstory",
    }  # fmt: skip
    assert {claim["operation"] for claim in claims} == {"create", "write", "edit", "patch", "delete", "read"}
    assert sum(not part["claims"] for part in CLAIMS) >= 10
    assert sum(not claim["succeeded"] for claim in claims) >= 20
    assert sum(claim["subagent"] for claim in claims) >= 20


@pytest.mark.corpus
@pytest.mark.parametrize("part", CLAIMS, ids=lambda part: f"{part['file']}:{part['first']}")
def test_the_claims_of_a_part_are_those_found_by_hand(part: dict[str, Any]) -> None:
    """In any order, each as often as it was found."""
    told = [shown(claim) for claim in reading(part["file"]).claims if part["first"] <= claim.line <= part["last"]]
    found = [json.dumps(claim, ensure_ascii=False) for claim in part["claims"]]
    assert sorted(told) == sorted(found)


@pytest.mark.corpus
@pytest.mark.parametrize("file", TURNS, ids=lambda file: file["file"])
def test_sessions_and_turns_are_those_counted_by_hand(file: dict[str, Any]) -> None:
    """Speakers are counted where SpecStory names them; the other formats leave open what a turn is."""
    sessions = reading(file["file"]).sessions
    assert len({session.session_id for session in sessions}) == file["sessions"]
    if "turns" in file:
        assert sum(session.turns for session in sessions) == file["turns"]
        assert sum(session.subagent_turns for session in sessions) == file["subagent_turns"]


@pytest.mark.corpus
def test_every_file_was_counted() -> None:
    """No transcript of the corpus is left out."""
    if not CORPUS.is_dir():
        pytest.skip(f"CORPUS NOT PRESENT: {CORPUS} is missing, so that no real transcript was read")
    folders = ("agent-trace", "aider", "claude", "codex", "gemini", "other", "specstory")
    present = {
        str(path.relative_to(CORPUS)) for folder in folders for path in (CORPUS / folder).rglob("*.*") if path.is_file()
    }
    assert present == {file["file"] for file in TURNS}
