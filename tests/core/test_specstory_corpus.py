"""SpecStory markdown: what must hold of real transcripts."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import pytest
from specstory import reading

from mlos_sync.core.transcripts import recognise as reader_of
from mlos_sync.core.transcripts.model import Transcript
from mlos_sync.core.transcripts.specstory_claims import kind_of
from mlos_sync.core.transcripts.specstory_envelope import Block, Speaker, walk
from mlos_sync.core.transcripts.specstory_parts import failed, take_apart

CORPUS = Path(__file__).resolve().parents[2].parent / "shared/corpus/specstory"


@pytest.fixture(scope="module")
def corpus() -> dict[str, bytes]:
    """Real transcripts by their path; they are not part of the project."""
    if not CORPUS.is_dir():
        pytest.skip(f"CORPUS NOT PRESENT: {CORPUS} is missing, so that no real transcript was read")
    return {str(path.relative_to(CORPUS)): path.read_bytes() for path in sorted(CORPUS.rglob("*.md"))}


@pytest.fixture(scope="module")
def read_corpus(corpus) -> dict[str, Transcript]:
    """What each of them tells."""
    return {name: reading(data, name) for name, data in corpus.items()}


@pytest.mark.corpus
def test_real_transcripts_are_read_without_problems(corpus, read_corpus):
    """All but the hand-written file are recognised, and none but the empty one has a problem."""
    foreign = [name for name, data in corpus.items() if reader_of(data) != "specstory"]
    assert [name.rpartition("/")[2] for name in foreign] == ["2025-05-21_improve-mcp-error-handling.md"]
    troubled = [name for name, found in read_corpus.items() if name not in foreign and found.problems]
    assert troubled == ["specstoryai__getspecstory/untitled-1.md"]


@pytest.mark.corpus
def test_no_real_speaker_stands_inside_an_envelope(corpus):
    """Between a real opening tag and the next closing tag alone on its line no speaker is accepted."""
    refused = 0
    for name, data in corpus.items():
        lines = data.decode("utf-8", "replace").split("\n")
        speakers = {event.line for event in walk(lines) if isinstance(event, Speaker)}
        inside = False
        for number, line in enumerate(lines, 1):
            inside = inside or (line.startswith("<tool-use ") and not lines[number - 2].strip())
            if inside and line.startswith("_**"):
                assert number not in speakers, f"{name}:{number}"
                refused += line.startswith(("_**User", "_**Agent"))
            inside = inside and line.rstrip() not in ("</details></tool-use>", "</tool-use>")
    assert refused == 8


@pytest.mark.corpus
def test_real_writes_that_succeeded_have_a_path(corpus, read_corpus):
    """By tool, at least ninety-nine of a hundred write blocks without a sign of failure yield a claim."""
    blocks, with_path = defaultdict(int), defaultdict(int)
    for name, data in corpus.items():
        transcript = read_corpus[name]
        if not transcript.sessions or "lore-" in name:  # SpecStory's own made-up fixtures
            continue
        early = transcript.sessions[0].format in ("specstory-0", "specstory-1")
        tool, lines = transcript.sessions[0].tool, {claim.line for claim in transcript.claims}
        for event in walk(data.decode("utf-8", "replace").split("\n"), early):
            if not isinstance(event, Block) or kind_of(event) not in ("edit", "write", "create", "patch"):
                continue
            shown = any(
                line.strip() not in ("", "</details>", *("</details></tool-use>", "</tool-use>"))
                for line in event.lines[event.body :]
            )
            if (shown or "•" in event.summary) and not failed(take_apart(event), kind_of(event) in ("write", "create")):
                blocks[tool] += 1
                with_path[tool] += any(event.line <= line < event.line + len(event.lines) for line in lines)
    assert set(blocks) == {"Claude Code", "Codex CLI", "Cursor IDE", "VS Code Copilot IDE", "cursor"}
    assert all(with_path[tool] >= 0.99 * blocks[tool] for tool in blocks), (dict(blocks), dict(with_path))
    assert with_path["Claude Code"] == blocks["Claude Code"]


@pytest.mark.corpus
def test_real_writes_show_their_contents(read_corpus):
    """Every whole-file write of Claude Code outside of made-up fixtures has candidates for the file."""
    writes = [
        claim
        for name, transcript in read_corpus.items()
        if "lore-" not in name
        for claim in transcript.claims
        if claim.tool == "Write" and claim.succeeded
    ]
    assert len(writes) > 20
    assert all(claim.contents and all(isinstance(content, bytes) for content in claim.contents) for claim in writes)


@pytest.mark.corpus
def test_copies_of_a_real_session_agree(read_corpus):
    """A session id stands for one session: the files that render it name the same tool and the same start."""
    sessions = defaultdict(set)
    for transcript in read_corpus.values():
        for session in transcript.sessions:
            sessions[session.session_id].add((session.tool, session.started_at))
    assert len(sessions) > 35
    assert all(len(seen) == 1 for seen in sessions.values())


@pytest.mark.corpus
def test_real_commits_and_edits(read_corpus):
    """Commits of four generations, and changes of the writers that show them."""
    with_commits = {found.sessions[0].format for found in read_corpus.values() if found.commits}
    assert with_commits == {"specstory-0", "specstory-1", "specstory-2.0.0", "specstory-2.1.0"}
    assert sum(len(found.commits) for found in read_corpus.values()) == 12
    changed_by = {found.sessions[0].tool for found in read_corpus.values() if any(c.replacements for c in found.claims)}
    assert changed_by >= {"Codex CLI", "Cursor IDE", "VS Code Copilot IDE", "cursor"}


@pytest.mark.corpus
def test_the_corpus_is_read_fast(corpus):
    """Some megabytes a second at the very least, on any machine."""
    start = time.process_time()
    for data in corpus.values():
        reading(data)
    assert sum(map(len, corpus.values())) / 1e6 / (time.process_time() - start) > 5
