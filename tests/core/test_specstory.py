"""SpecStory markdown: headers, sessions, recognition, and the skeleton of a file, on small transcripts in true form."""

from __future__ import annotations

import pytest
from specstory import CLI, EXTENSION, G0, G1, claims, cli, reading

from mlos_sync.core.transcripts.specstory import recognise
from mlos_sync.core.transcripts.specstory_envelope import Speaker, walk
from mlos_sync.core.transcripts.stamps import split_time, to_utc

# --- header and session


def test_the_header_of_the_cli_gives_the_session():
    """The session comment gives id, tool and start; the agent lines give model and end; a bare time is no title."""
    session = reading(CLI.encode()).sessions[0]
    assert (session.session_id, session.tool) == ("6f971a56-2405-4122-8281-2fd90306bf22", "Claude Code")
    assert (session.started_at, session.ended_at) == ("2026-02-16T13:04:52Z", "2026-02-16T13:05:10Z")
    assert (session.model, session.title, session.format, session.turns) == (
        "claude-opus-4-6",
        None,
        "specstory-2.1.0",
        2,
    )


def test_the_header_of_the_extension_gives_title_and_model_but_no_end():
    """The comment stands before the title there, the model among other words, and turns without times end nowhere."""
    session = reading(EXTENSION.encode()).sessions[0]
    assert (session.tool, session.title) == ("cursor", "File path explanation")
    assert (session.started_at, session.ended_at) == ("2026-03-02T01:05:00Z", None)
    assert (session.model, session.turns) == ("claude-4.6-opus-high-thinking", 2)


def test_the_first_early_cli_has_its_session_comment_on_line_three():
    """CLI-0 has neither a header line nor a readable title, and yields a session without claims."""
    data = (
        b"## 2025-08-06 17:22:23Z\n\n<!-- Claude Code Session d61d7a59 (2025-08-06_17-22-23Z) -->\n\n_**User**_\n\nhi\n"
    )
    transcript = reading(data)
    assert transcript.sessions[0].started_at == "2025-08-06T17:22:23Z"
    assert (transcript.sessions[0].format, transcript.claims, transcript.problems) == ("specstory-0", [], [])


@pytest.mark.parametrize(
    ("name", "identity", "g0_start", "g1_start"),
    [
        ("a/2025-05-01_15-41-fix.md", "2025-05-01_15-41-fix", None, "2025-05-01T15:41:00Z"),
        ("a/2025-05-01_15-41Z-fix.md", "2025-05-01_15-41Z-fix", "2025-05-01T15:41:00Z", "2025-05-01T15:41:00Z"),
        ("2025-05-01_15-41+0200-fix.md", "2025-05-01_15-41+0200-fix", "2025-05-01T13:41:00Z", "2025-05-01T13:41:00Z"),
        ("2025-05-01_15-41-10-ways.md", "2025-05-01_15-41-10-ways", None, "2025-05-01T15:41:00Z"),
        ("2025-05-01_15-41-2024-plans.md", "2025-05-01_15-41-2024-plans", None, "2025-05-01T15:41:00Z"),
        ("2025-05-01_fix.md", "2025-05-01_fix", None, None),
        ("a/.specstory/history/untitled.md", "a/.specstory/history/untitled.md", None, None),
    ],
)
def test_a_generation_without_ids_takes_identity_and_time_from_the_name(name, identity, g0_start, g1_start):
    """G0 and G1 name no session; a minute in the name is UTC in G1 and local to somebody in G0."""
    for head, start in ((G0, g0_start), (G1, g1_start)):
        transcript = reading(f"{head}ho\n".encode(), name)
        (session,) = transcript.sessions
        assert (session.session_id, session.tool, session.started_at) == (identity, "Cursor IDE", start)
        assert (session.title, session.turns, session.ended_at) == ("A title", 2, None)
        assert not transcript.problems and not transcript.claims


def test_early_reads_and_commits_stand_alone_between_rules():
    """The editor extension wrote them as blocks of their own; the same words inside a text are prose."""
    text = (
        "Read file: src/a.ts\n\n---\n\nRead file: undefined\n\n---\n\nRead file: b.ts is next.\n\nAnd more.\n\n---\n\n"
        "I will commit:\n\n```bash\ngit commit -m a\n```\n\n```\n[main aaaaaaa] Shown\n```\n\n---\n\n"
        "```bash\ngit add a && git commit -m b\n```\n\n```\nx@y % git commit -m b\n[a/b#1 (root-commit) 1e58101] Real\n 1 file\n```\n\n"
        "---\n\nFine.\n\nRead file: c.ts\n\n_**User**_\n\nRead file: d.ts\n"
    )
    for head in (G0.replace("_**Assistant**_", "_****_"), G1):
        transcript = reading((head + text).encode())
        assert [(claim.operation, claim.raw_path) for claim in transcript.claims] == [("read", "src/a.ts")]
        assert [(made.sha, made.subject) for made in transcript.commits] == [("1e58101", "Real")]
        assert (head + text).split("\n")[transcript.commits[0].line - 1].startswith("[a/b#1")
        assert transcript.sessions[0].turns == (3 if head == G1 else 2)


def test_the_model_is_the_one_that_spoke_most_in_the_main_thread():
    """Words that name no model and the lines of sub-agents do not count; a model may hold blanks and brackets."""
    text = CLI.replace("claude-opus-4-6 2026-02-16 13:05:10Z", "Gemini 3.5 Flash (Medium) 2026-02-16 13:05:10Z")
    for stamp in ("<synthetic> 2026-02-16 13:06:00Z", "default"):
        text += f"_**Agent ({stamp})**_\n\nx\n\n" * 2
    text += "_**Agent - sidechain (claude-haiku 2026-02-16 13:05:10Z)**_\n\nx\n\n" * 3
    assert reading(text.encode()).sessions[0].model == "Gemini 3.5 Flash (Medium)"


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Fix it (04/03/2025, 08:26:21)", "Fix it"),
        ("Fix it (3/13/2025, 6:47:05 PM)", "Fix it"),
        ("Fix (a) it (2025/3/4 08:26:21)", "Fix (a) it"),
        ("Fix it (4.3.2025, 08.26.21)", "Fix it"),
        ("Fix it (2025-07-03 21:16+0200)", "Fix it"),
        ("Fix it (issue 12)", "Fix it (issue 12)"),
        ("(2025-07-03 21:16Z)", None),
        ("2025-07-03 21:16:01Z", None),
    ],
)
def test_the_time_in_a_title_is_no_part_of_it(title, words):
    """Whatever the locale; other brackets belong to the words."""
    text = f"<!-- Generated by SpecStory -->\n\n# {title}\n\n_**User**_\n\nhi\n"
    assert reading(text.encode()).sessions[0].title == words


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-02-16 13:04:52Z", "2026-02-16T13:04:52Z"),
        ("2026-01-13T16:35:28.160Z", "2026-01-13T16:35:28Z"),
        ("2025-12-06_19-04-39Z", "2025-12-06T19:04:39Z"),
        ("2026-02-11 04:01Z", "2026-02-11T04:01:00Z"),
        ("2026-01-25 10:00:00-0700", "2026-01-25T17:00:00Z"),
        ("2026-01-25_10-00+0930", "2026-01-25T00:30:00Z"),
        ("2025-05-01 11:41:12", None),
        ("2026-02-30 10:00:00Z", None),
        ("0001-01-01 00:00:00+2359", None),
        ("3/13/2025, 6:47:59 PM", None),
    ],
)
def test_times_become_utc_or_unknown(text, utc):
    """Every printed form is read; a time without a zone is unknown, as is an impossible one."""
    assert to_utc(text) == utc


def test_a_time_is_cut_from_the_right():
    """What stands before the time may hold anything, another time as well."""
    assert split_time("a 2026-02-11 04:01Z b 2026-02-11 04:02Z") == ("a 2026-02-11 04:01Z b", "2026-02-11 04:02Z")


# --- recognition and problems


def test_recognition_is_by_content():
    """The known beginnings are accepted, with a byte order mark and with CRLF too."""
    for text in (CLI, EXTENSION, "\ufeff" + CLI, CLI.replace("\n", "\r\n"), "## SpecStory\n\n"):
        assert recognise(text.encode())


def test_foreign_files_are_not_recognised():
    """Notes about SpecStory, another tool's export and empty files are no transcripts."""
    export = "# Title\n_Exported on 6/30/2025 at 10:50:08 EDT from Cursor (1.1.3)_\n\n**User**\n\nhi\n"
    for text in ("", "# SpecStory: a summary\n\n## Conversation\n", export, "Some words.\n\n" + CLI, "```\n" + CLI):
        assert not recognise(text.encode()) and not reading(text.encode()).sessions


def test_a_header_with_nothing_behind_it_is_a_problem():
    """Neither a session comment nor a turn: the problem stands at the header."""
    transcript = reading(b"\n<!-- Generated by SpecStory, Markdown v2.1.0 -->\n\n# Title\n")
    assert transcript.sessions == []
    assert [problem.line for problem in transcript.problems] == [2]


def test_a_missing_session_comment_is_a_problem_only_where_it_always_stands():
    """Version 2 always writes the comment, so its absence is reported at the header."""
    transcript = reading(b"<!-- Generated by SpecStory, Markdown v2.0.0 -->\n\n# Title\n\n_**User**_\n\nhi\n")
    assert [session.tool for session in transcript.sessions] == ["unknown"]
    assert "no session comment" in transcript.problems[0].message


def test_a_block_left_open_is_a_problem_at_its_line():
    """A truncated file still yields what stood before the cut."""
    block = cli("write", "Edit", "\n```text\nThe file /w/a.py has been updated successfully.\n```")
    transcript = reading((CLI + block + block.replace("</details></tool-use>", "")).encode())
    assert [problem.line for problem in transcript.problems] == [(CLI + block).count("\n") + 1]
    assert transcript.claims[0].raw_path == "/w/a.py"


def test_bytes_that_are_no_text_are_a_problem_at_their_line():
    """The CLI cuts at 200 bytes through a character; the rest of the file is read nevertheless."""
    block = cli("write", "Edit", "\n```text\nThe file /w/a.py has been updated successfully.\n```")
    transcript = reading(CLI.encode() + b"caf\xc3\n\n" + block.encode())
    assert transcript.problems[0].line == CLI.count("\n") + 1
    assert len(transcript.claims) == 1


# --- structure


def test_a_transcript_quoted_in_a_tool_result_is_not_read():
    """Speaker lines, session comments and opening tags inside an envelope belong to whatever was shown."""
    quoted = (
        "\n```text\n" + CLI.replace("6f971a56", "aaaaaaaa") + cli("write", "Edit", "x").split("</details>")[0] + "```"
    )
    transcript = reading((CLI + cli("shell", "Bash", quoted) + "_**User (2026-02-16 14:00:00Z)**_\n\nbye\n").encode())
    assert transcript.sessions[0].session_id.startswith("6f971a56")
    assert (transcript.sessions[0].turns, transcript.sessions[0].ended_at) == (3, "2026-02-16T14:00:00Z")


def test_an_envelope_quoted_in_prose_swallows_nothing():
    """An opening tag behind a fence line is a quotation, and the speakers behind it are real."""
    prose = '```markdown\n<tool-use data-tool-type="read" data-tool-name="WebFetch"><details>\n<summary>x</summary>\n```\n\n'
    transcript = reading((CLI + prose + "_**User (2026-02-16 14:00:00Z)**_\n\nbye\n").encode())
    assert (transcript.sessions[0].turns, transcript.problems) == (3, [])


def test_closing_tags_inside_a_line_end_nothing():
    """A numbered listing of a transcript holds the tags behind its numbers."""
    listing = "\n```text\n   12→</details></tool-use>\nsee </tool-use>\n\n_**User**_\n\n```"
    assert reading((CLI + cli("read", "Read", listing)).encode()).sessions[0].turns == 2


def test_an_open_fence_hides_no_speaker():
    """A result that shows a README closes its fence early; the speakers behind it count all the same."""
    result = "\n```text\n# Readme\n```bash\nmake\n```\nmore\n```"
    assert reading((CLI + cli("shell", "Bash", result) + "```\n\n_**User**_\n\nbye\n").encode()).sessions[0].turns == 3


def test_the_nameless_speaker_is_no_new_turn():
    """`_****_` of G0 goes on with the assistant's turn, and look-alikes are none at all."""
    lines = ["_**User**_", "", "a", "", "_****_", "", "b", "", "_**TOC:**_", "", "text", "_**User**_", ""]
    assert list(walk(lines)) == [Speaker(1, "User", "", False)]


def test_what_is_shown_on_one_line_is_plain():
    """A title without control characters, and no longer than anybody reads."""
    text = f"<!-- Generated by SpecStory -->\n\n# \x1b[31mred\x07{'x' * 9999}\n\n_**User**_\n\nhi\n"
    assert reading(text.encode()).sessions[0].title == "red " + "x" * 296


def test_only_line_feeds_end_lines():
    """A line separator or a form feed inside a line shifts no line number."""
    block = cli("write", "Edit", "\n```text\nThe file /w/a.py has been updated successfully.\n```")
    assert claims("one\u2028two\x0cthree\x85four\n\n" + block)[0].line == CLI.count("\n") + 7


def test_crlf_files_are_read_like_others():
    """Windows line ends change neither claims nor times nor line numbers."""
    block = cli("write", "Edit", "\n```text\nThe file /w/a.py has been updated successfully.\n```")
    unix, windows = reading((CLI + block).encode()), reading((CLI + block).replace("\n", "\r\n").encode())
    assert windows == unix


def test_one_line_envelopes_close_at_once():
    """A block that opens and closes on one line does not reach for the next closing tag."""
    line = '<tool-use data-tool-type="read" data-tool-name="x"><details><summary>y</summary></details></tool-use>\n\n'
    assert reading((CLI + line + "_**User**_\n\nbye\n").encode()).sessions[0].turns == 3
