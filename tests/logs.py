"""Logs of one JSON object a line, for the tests of their readers: written, read, damaged, measured."""

from __future__ import annotations

import io
import json
import time
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import strategies as st

from mlos_sync.core.transcripts.model import OPERATIONS, Claim, CommitMade, Problem, Session, Transcript, gather

CORPUS = Path(__file__).resolve().parents[1].parent / "shared/corpus"


def lines(*entries: Any) -> list[bytes]:
    """The lines of a log: each entry as compact JSON, bytes as they are."""
    return [
        entry if isinstance(entry, bytes) else json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        for entry in entries
    ]


def read(reader: ModuleType, *entries: Any, name: str = "logs/x.jsonl") -> Transcript:
    """What a reader finds; every claim must stand at a line that holds the name of its file."""
    written = lines(*entries)
    assert reader.recognise(b"".join(written)[:65_536].removeprefix(b"\xef\xbb\xbf"))
    transcript = gather(reader.read(iter(written), name))
    for claim in transcript.claims:
        leaf = json.dumps(claim.raw_path.rpartition("/")[2])[1:-1].encode()
        text = written[claim.line - 1]
        assert leaf in text or claim.raw_path.rpartition("/")[2].encode() in text, (claim.raw_path, text[:300])
    return transcript


def told(transcript: Transcript) -> list[tuple[str, str, bool]]:
    """Operation, path and success of each claim."""
    return [(claim.operation, claim.raw_path, claim.succeeded) for claim in transcript.claims]


def sound(reader: ModuleType, data: Iterable[bytes], name: str = "a/b.jsonl") -> Transcript:
    """Reads whatever bytes, and checks what must hold of any answer."""
    written = list(data)
    assert isinstance(reader.recognise(b"".join(written)[:65_536]), bool)
    transcript = gather(reader.read(iter(written), name))
    sessions = {session.session_id for session in transcript.sessions}
    for fact in [*transcript.claims, *transcript.commits, *transcript.problems]:
        assert 1 <= fact.line <= max(b"".join(written).count(b"\n") + 1, len(written))
    for fact in [*transcript.claims, *transcript.commits]:
        assert fact.session_id in sessions
    for claim in transcript.claims:
        assert isinstance(claim, Claim) and claim.operation in OPERATIONS and type(claim.succeeded) is bool
        claim.raw_path.encode()
        assert claim.raw_path.strip() and not any(ord(character) < 32 for character in claim.raw_path)
        assert all(type(content) is bytes for content in claim.contents)
        assert not (claim.contents and claim.replacements)
        assert claim.cwd is None or claim.cwd.encode()
    for session in transcript.sessions:
        assert isinstance(session, Session)
        for text in (session.session_id, session.title, session.model, session.version, session.cwd, session.branch):
            assert text is None or text.encode() is not None
    assert all(isinstance(commit, CommitMade) for commit in transcript.commits)
    assert all(isinstance(problem, Problem) for problem in transcript.problems)
    return transcript


# Any JSON value, with all that has to be survived: half surrogates, control characters, endless numbers.
odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "a.py", "\ud800", "\x00", "/w/a.py", "user", "0" * 5000, "2026-01-01T00:00:00Z", 10**400]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "type", "id"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def spoilt(entries: list[dict[str, Any]]) -> st.SearchStrategy[bytes]:
    """One of the entries as a line, or with a value at some place replaced by an odd one, cut, or glued to another."""

    @st.composite
    def line(draw: Callable[..., Any]) -> bytes:
        entry = json.loads(json.dumps(draw(st.sampled_from(entries))))
        if draw(st.booleans()):
            holder = entry
            while True:
                key = draw(st.sampled_from(sorted(holder))) if isinstance(holder, dict) else len(holder) - 1
                deeper = holder[key]
                if isinstance(deeper, (dict, list)) and deeper and draw(st.booleans()):
                    holder = deeper
                    continue
                holder[key] = draw(odd)
                break
        data = json.dumps(entry).encode()
        if draw(st.integers(0, 9)) == 0:
            data = data[: draw(st.integers(0, len(data)))]
        return data + draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"", b"\xff\n", b"\x00\n"]))

    return line()


DAMAGE = [
    b"",
    b"\n",
    b"\xef\xbb\xbf",
    b"null\n",
    b"[]\n",
    b"1e999\n",
    b"NaN\n",
    b'{"type":"user"',
    b"\x00\x00{\n",
    b"[" * 100_000 + b"\n",
    b'{"a":' * 100_000 + b"\n",
    b'{"type":"user","sessionId":"s","message":' + b"[" * 50_000 + b"\n",
    b"9" * 10_000 + b"\n",
    b'{"a":' + b"9" * 10_000 + b"}\n",
    b'"\\ud800"\n',
]


def seconds(reader: ModuleType, data: list[bytes]) -> float:
    """The processor time that reading takes, the least of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        for _fact in reader.read(iter(data), "x.jsonl"):
            pass
        times.append(time.process_time() - start)
    return min(times)


def peak(reader: ModuleType, data: Iterable[bytes]) -> int:
    """The most memory that reading held, in bytes, beside what the lines themselves take."""
    tracemalloc.start()
    try:
        for _fact in reader.read(data, "x.jsonl"):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def real(folder: str, suffix: str = ".jsonl") -> dict[str, list[bytes]]:
    """Real logs by their path, as lines; they are not part of the project."""
    if not (CORPUS / folder).is_dir():
        pytest.skip(f"CORPUS NOT PRESENT: {CORPUS / folder} is missing, so that no real log was read")
    return {
        str(path.relative_to(CORPUS)): io.BytesIO(path.read_bytes()).readlines()
        for path in sorted((CORPUS / folder).rglob(f"*{suffix}"))
        if path.is_file()
    }
