"""Cursor's "Export chat" markdown: a session that tells what was said, and nothing of what was done."""

from __future__ import annotations

import io
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlos_sync.core.transcripts.cursor_export import read, recognise
from mlos_sync.core.transcripts.model import gather

HEAD = "# Fix the parser\n_Exported on 6/30/2025 at 10:50:08 EDT from Cursor (1.1.3)_\n\n---\n\n"
CHAT = HEAD + "**User**\n\nWhy?\n\n---\n\n**Cursor**\n\nBecause.\n\n**User**\n\n---\n\nx\n\n---\n\n**User**\n\nOk.\n"


def test_an_export_is_a_session():
    """Title, version and turns; the time of the export is in the user's locale and dates nothing."""
    found = gather(read(io.BytesIO(CHAT.encode()), "docs/cursor_fix.md"))
    (session,) = found.sessions
    assert (session.session_id, session.tool, session.version) == ("docs/cursor_fix.md", "Cursor", "1.1.3")
    assert (session.title, session.turns, session.started_at, session.ended_at) == ("Fix the parser", 3, None, None)
    assert not found.claims and not found.commits and not found.problems


def test_a_dated_name_is_the_identity():
    """Wherever the file lies."""
    found = gather(read(io.BytesIO(CHAT.encode()), "a/2025-06-30_fix.md"))
    assert found.sessions[0].session_id == "2025-06-30_fix"


@pytest.mark.parametrize(
    "text",
    [
        CHAT,
        CHAT.replace("\n", "\r\n"),
        CHAT.replace("\n_Exported", "\n\n_Exported"),
        CHAT.partition("\n")[2],
        CHAT.replace("6/30/2025 at 10:50:08 EDT", "30.6.2025 um 10:50:08 MESZ").replace(" (1.1.3)", ""),
        "\ufeff" + CHAT,
    ],
)
def test_exports_are_recognised(text):
    """In any locale, with and without a title or a version."""
    assert recognise(text.encode())
    assert gather(read(io.BytesIO(text.encode()), "x.md")).sessions[0].turns == 3


@pytest.mark.parametrize(
    "text", ["", "# Title\n\nText\n\n" + CHAT, "# A\n# B\n" + CHAT, "_Exported on paper_\n", "```\n" + CHAT]
)
def test_other_files_are_not(text):
    """A text that quotes an export is none."""
    assert not recognise(text.encode())
    assert [problem.line for problem in gather(read(io.BytesIO(text.encode()), "x.md")).problems] == [1]


@settings(deadline=None, max_examples=100)
@given(
    st.binary(max_size=500), st.lists(st.sampled_from(["---\n", "\n", "**User**\n", "**Cursor**\n", HEAD]), max_size=20)
)
def test_nothing_raises(junk, pieces):
    """Any bytes, and the parts of the format in any order."""
    for data in (junk, HEAD.encode() + junk + "".join(pieces).encode(), HEAD.encode()[: len(junk)] + junk):
        recognise(data)
        list(read(io.BytesIO(data), "x"))


def test_reading_takes_linear_time():
    """Four times the turns take about four times the time."""

    def seconds(times: int) -> float:
        data = (HEAD + "**User**\n\nx\n\n---\n\n" * times).encode()
        began = time.process_time()
        list(read(io.BytesIO(data), "x"))
        return time.process_time() - began

    assert min(seconds(20_000) for _ in range(2)) < 8 * min(seconds(5_000) for _ in range(3)) + 0.05
