"""SpecStory markdown: traps of the format, the stream of facts, and robustness against whatever bytes."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear import assert_linear
from specstory import CLI, CLI_1, EXTENSION, G1, claims, cli, extension, reading, told, write_of

from mlos_sync.core.transcripts.model import Claim
from mlos_sync.core.transcripts.specstory import read, recognise

# --- traps of the format


def test_copies_of_a_session_by_both_writers_have_its_id():
    """The extension and the CLI may both write a session; the comment says which it is."""
    copy = EXTENSION.replace("cursor Session e67db05c-53cf-461d-9027-66aa83f5d953", "Cursor IDE Session 1")
    other = CLI.replace("Claude Code Session 6f971a56-2405-4122-8281-2fd90306bf22", "Cursor IDE Session 1")
    assert {reading(text.encode()).sessions[0].session_id for text in (copy, other)} == {"1"}


def test_rules_are_no_turns():
    """`---` is a rule, the front matter of a file and the head of a diff."""
    text = CLI + "---\n\ntitle: x\n\n---\n\n--- a/x.py\n+++ b/x.py\n\n---\n\n"
    assert reading(text.encode()).sessions[0].turns == 2


def test_a_summary_of_earlier_work_edits_nothing():
    """User turns that no human wrote tell of files, in the very words of results; they are prose."""
    text = (
        "_**User (2026-02-16 14:00:00Z)**_\n\nThis session is being continued from a previous conversation.\n\n"
        "The file /w/a.py has been updated successfully.\n\n```text\nFile created successfully at: /w/b.py\n```\n\n"
        "<command-name>/edit</command-name>\n\n[main 84be9f7] Fix it\n\nRead file: c.py\n\n"
    )
    transcript = reading((CLI + text).encode())
    assert (transcript.claims, transcript.commits) == ([], [])


def test_control_characters_break_nothing_but_paths():
    """ESC sequences and NUL stand in outputs of commands; a path with one was never a path."""
    block = cli("write", "Edit", "\n```text\nThe file /w/a\x1b[0m.py has been updated successfully.\n```")
    fine = cli("write", "Edit", "\n```text\nThe file /w/b.py has been updated successfully.\n```")
    assert told("\x1b[31mred\x00\ufffd\n\n", block, fine) == [("edit", "/w/b.py", True)]


def test_surrogates_in_json_are_no_path():
    """A half of a pair cannot be stored as UTF-8."""
    body = 'Parameters:\n\n```json\n{\n  "relativeWorkspacePath": "a\\ud800.ts"\n}\n```\n'
    assert (
        reading((EXTENSION + extension("unknown", "edit_file_v2", body, "Tool use: **edit_file_v2**")).encode()).claims
        == []
    )


def test_the_smallest_files_of_the_cli_are_sessions():
    """A session that was left at once has a comment and no turn, which is no problem."""
    transcript = reading(CLI.partition("_**User")[0].encode())
    assert [session.turns for session in transcript.sessions] == [0]
    assert not transcript.problems


def test_names_may_hold_anything():
    """The identity of an early file is its name, whatever the title made of it."""
    name = "sub/.specstory/history/2025-05-01_15-41-@node-(733-797)-\u95ee\u9898…, [x].md"
    assert reading(f"{G1}ho\n".encode(), name).sessions[0].session_id == name.rpartition("/")[2][:-3]


@pytest.mark.parametrize(
    "path", ["/Users/x/a.py", "c:\\Users\\x\\a b.py", "/mnt/c/x/a.py", "\\\\wsl$\\x\\a.py", "../w/a.py"]
)
def test_paths_of_other_machines_stay_as_written(path):
    """Which file of the workspace is meant, the reader cannot know."""
    assert [claim.raw_path for claim in claims(cli("write", "write_file", f"\nPath: `{path}`\n"))] == [path]


def test_a_grown_file_repeats_what_it_told():
    """The file is written anew as the session grows; what was told before is told again, line by line."""
    block = cli("write", "Edit", "\n```text\nThe file /w/a.py has been updated successfully.\n```")
    grown = CLI + block + "_**User (2026-02-16 14:00:00Z)**_\n\nbye\n\n" + block.replace("a.py", "b.py")
    assert reading(grown.encode()).claims[:1] == reading((CLI + block).encode()).claims


# --- the stream


def test_facts_are_yielded_as_the_file_is_read():
    """A claim comes before the lines behind the next speaker are asked for, so that no log is ever held whole."""
    asked = 0
    block = cli("write", "Edit", "\n```text\nThe file /w/a.py has been updated successfully.\n```")

    def lines():
        nonlocal asked
        for line in (
            (CLI + (block + "_**Agent (m 2026-02-16 14:00:00Z)**_\n\n") * 1000).encode().splitlines(keepends=True)
        ):
            asked += 1
            yield line

    first = next(iter(read(lines(), "a.md")))
    assert isinstance(first, Claim) and asked < 60


# --- robustness


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=2000), st.integers(0, len(CLI)))
def test_no_bytes_raise(junk, cut):
    """Whatever stands in a file, reading it yields a transcript or None."""
    block = write_of("x").encode()
    for data in (junk, CLI.encode()[:cut] + junk + block, G1.encode() + junk + block):
        recognise(data)
        reading(data)


PIECES = (
    CLI[:49],
    "\n",
    "\n\n",
    "`",
    "```",
    "````\n",
    "*** Begin Patch\n",
    "*** Add File: a\n",
    "*** Move to: b\n",
    "Path: `x`\n",
    "Result:\n",
    "**Input:**\n",
    "</details></tool-use>\n",
    "</tool-use>",
    "<summary>",
    "</summary>\n",
    "_**User (",
    ")**_\n",
    "**Add: `y`**\n",
    "Success. Updated the following files:\n",
    "+x\n",
    '"filePath": "',
    "•",
    "\r",
    "\\",
    "Tool use: **Edit** `z`\n",
    "Read file: z\n",
    "---\n\n",
    "_****_\n\n",
    "Edit file: `z`\n",
    "@@ -1,2 +1,2 @@\n",
    "-x\n",
    "git commit -m x\n",
    "[main 1234567] x\n",
)


OPENINGS = tuple(
    f'\n\n<tool-use data-tool-type="write" data-tool-name="{name}">'
    for name in ("Write", "Edit", "apply_patch", "Read", "Bash")
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(PIECES + OPENINGS), max_size=40))
def test_no_arrangement_of_the_parts_raises(pieces):
    """The marks of the format in any order: claims keep to lines that exist."""
    for head in (CLI, G1, CLI_1):
        text = head + "".join(pieces)
        transcript = reading(text.encode())
        for fact in transcript.claims + transcript.commits:
            assert 1 <= fact.line <= text.count("\n") + 1


def test_numbers_without_end_raise_nothing():
    """Python refuses to read a number of thousands of digits: in the head of a chunk, and in an entity of HTML."""
    for summary, start in (("a.ts", "1" * 5000), (f"a&#{'1' * 5000};.ts", "1")):
        body = f"```diff\n@@ -{start},0 +1 @@\n+ a\n```\n"
        block = extension("write", "search_replace", body, f"Tool use: **search_replace** • Edit file: {summary}")
        assert len(reading((EXTENSION + block).encode()).sessions) == 1


def test_models_without_end_are_not_held():
    """Only so many distinct words are counted."""
    speakers = "".join(f"_**Agent (m{number} 2026-02-16 13:05:10Z)**_\n\nx\n\n" for number in range(3000))
    session = reading((CLI + speakers + "_**Agent (m5 2026-02-16 13:05:10Z)**_\n\nx\n").encode()).sessions[0]
    assert (session.turns, session.model) == (3003, "m5")


def listed(count: int) -> str:
    """A call of VS Code Copilot's that changes one file so many times."""
    items = [{"filePath": "/w/a.py", "oldString": "x", "newString": "y"}] * count
    body = f"\n**Input:**\n\n- replacements:\n\n```\n{json.dumps(items, indent=2)}\n```\n"
    return CLI + cli("write", "multi_replace_string_in_file", body)


def test_many_replacements_in_one_file_take_linear_time():
    """Each is one more, not a copy of all before."""
    assert len(reading(listed(4_000).encode()).claims[0].replacements) == 4_000
    assert_linear(lambda times: reading(listed(times).encode()), 6_000)


def seconds(data: bytes) -> float:
    """How long the reading of a file takes."""
    start = time.process_time()
    reading(data)
    return time.process_time() - start


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("apply_patch", "*** Update File: a\n*** Move to: b\n"),
        ("apply_patch", "**Update: `a`**\n\n```diff\n+\n```\n"),
        ("apply_patch", "@@\n-a\n+b\n"),
        ("Write", "```\n"),
        ("Write", "Result: x\n```\n"),
        ("Write", "[](file://"),
        ("Write", " has been "),
        ("Bash", "git -c -c "),
        ("Bash", ";a=; git "),
        ("Bash", "then `"),
        ("Bash", "[a b "),
        ("", "---\n\nRead file: x\n\n"),
        ("", "---\n\n```bash\ngit commit\n```\n\n```\n[a 1234567] x\n```\n\n"),
        ("", "_**Agent (m)**_\n\nTool use: **Edit**\n\n"),
        ("", "_**Agent (m)**_\n\n<tool-use "),
    ],
)
def test_reading_takes_linear_time(name, body):
    """Four times the bytes take about four times the time, for bodies made to be searched again and again."""

    def data(times: int) -> bytes:
        return (CLI + cli("write", name, "Path: `x`\n```bash\n" + body * times) if name else G1 + body * times).encode()

    few, many = data(1_000), data(4_000)
    assert min(seconds(many) for _ in range(2)) < 8 * min(seconds(few) for _ in range(3)) + 0.05
