"""Aider's chat history: sessions, edits and commits, and what the model only quotes."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear import assert_linear

from mlos_sync.core.transcripts.aider import read, recognise
from mlos_sync.core.transcripts.model import Claim, Transcript, gather

CORPUS = Path(__file__).resolve().parents[2].parent / "shared/corpus/aider"


def start(clock: str = "11:47:49", model: str = "gpt-4o", edit_format: str = "diff") -> str:
    """The lines with which aider begins a session."""
    lines = [
        "/home/x/.local/bin/aider",
        "Aider v0.86.1",
        f"Main model: {model} with {edit_format} edit format",
        "Weak model: gpt-4o-mini",
        "Git repo: .git with 16 files",
    ]
    return f"\n# aider chat started at 2025-06-02 {clock}\n\n" + said(*lines)


def said(*lines: str) -> str:
    """What aider says itself."""
    return "".join(f"> {line}  \n" for line in lines)


def asked(*lines: str) -> str:
    """What the user typed."""
    return "\n" + "".join(f"#### {line}  \n" for line in lines)


def answer(text: str, *lines: str) -> str:
    """What the model said, the count of its tokens, and what aider says about it."""
    return f"\n{text}\n\n" + said("Tokens: 3.2k sent, 184 received. Cost: $0.01 message, $0.03 session.", *lines)


def pair(old: str, new: str, path: str = "a.py", run: str = "```") -> str:
    """A change as the model writes it."""
    return f"{path}\n{run}python\n<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE\n{run}"


def reading(text: str) -> Transcript:
    """All facts of a history."""
    return gather(read(io.BytesIO(text.encode()), "x/.aider.chat.history.md"))


def claims(*parts: str) -> list[Claim]:
    """The claims of a session; each must stand where its line says."""
    text = start() + "".join(parts)
    found = reading(text)
    assert all(text.split("\n")[claim.line - 1].startswith("> Applied edit") for claim in found.claims)
    assert all(text.split("\n")[made.line - 1].startswith("> Commit") for made in found.commits)
    assert not found.problems
    return found.claims


def test_each_start_is_a_session_of_its_own():
    """The id is the local time of the start, counted where it repeats; local times date nothing."""
    text = start() + asked("hi", "there") + answer("Ho.") + start() + start("12:00:00", "o3") + answer("Ho.")
    sessions = reading(text).sessions
    ids = ["aider-2025-06-02T11-47-49", "aider-2025-06-02T11-47-49-2", "aider-2025-06-02T12-00-00"]
    assert [session.session_id for session in sessions] == ids
    assert [(s.tool, s.model, s.version, s.turns) for s in sessions] == [
        ("Aider", "gpt-4o", "0.86.1", 2),
        ("Aider", "gpt-4o", "0.86.1", 0),
        ("Aider", "o3", "0.86.1", 1),
    ]
    assert {(session.started_at, session.ended_at) for session in sessions} == {(None, None)}


def test_recognition_is_by_the_first_line():
    """A note about aider is none of its files."""
    for text in (start(), start().lstrip(), start().replace("\n", "\r\n")):
        assert recognise(text.encode())
    for text in ("", "Notes\n" + start(), "# aider chat started at noon\n", "# aider chat\n"):
        assert not recognise(text.encode())


def test_an_applied_edit_is_a_claim_with_its_change():
    """Of the changes that the answer shows, those of the very name that aider applied."""
    text = pair("x\n", "y\n") + "\n\n" + pair("p\n", "q\n", "`b.py`:") + "\n\n" + pair("", "z\n")
    (claim,) = claims(asked("go"), answer(text, "Applied edit to a.py"))
    assert (claim.operation, claim.raw_path, claim.succeeded, claim.turn) == ("edit", "a.py", True, 2)
    assert [(change.old, change.new) for change in claim.replacements] == [(b"x\n", b"y\n"), (b"", b"z\n")]


def test_a_created_file_has_its_content():
    """Aider asks before it creates a file; a search for nothing is the whole of it."""
    ask = ("new.py", "Create new file? (Y)es/(N)o [Yes]: y", "Applied edit to new.py", "Commit abc1234 feat: new")
    (claim,) = claims(asked("go"), answer(pair("", "z\n", "new.py"), *ask))
    assert (claim.operation, claim.contents, claim.replacements) == ("create", (b"z\n",), ())


def test_the_whole_format_shows_the_file():
    """A fence behind the name holds all of it; in the other formats such a fence is an excerpt."""
    text = answer("a.py\n```\nz\n```", "Applied edit to a.py")
    assert reading(start(edit_format="whole") + text).claims[0].contents == (b"z\n",)
    assert reading(start() + text).claims[0].contents == ()


def test_longer_fences_and_names_inside_of_them():
    """A file that holds fences is fenced by more backticks; `diff-fenced` names the file in the fence."""
    markdown = "# A\n```sh\nls\n```\n"
    (claim,) = claims(answer(pair(markdown, "b\n", "a.md", "````"), "Applied edit to a.md"))
    assert claim.replacements[0].old == markdown.encode()
    fenced = "```\na.py\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n```"
    assert claims(answer(fenced, "Applied edit to a.py"))[0].replacements[0].new == b"y\n"


def test_the_change_of_an_earlier_answer_is_none_of_this_one():
    """Each answer is applied by itself."""
    (claim,) = claims(answer(pair("x\n", "y\n")), asked("again"), answer("Done.", "Applied edit to a.py"))
    assert claim.replacements == ()


def test_commits_are_those_that_aider_printed():
    """Of the edits, and by the user's `/commit`."""
    text = start() + asked("/commit") + said("Commit 0a1b2c3 chore: x") + answer("Ok.", "Commit abc1234 fix: a (b)")
    assert [(made.sha, made.subject, made.at) for made in reading(text).commits] == [
        ("0a1b2c3", "chore: x", None),
        ("abc1234", "fix: a (b)", None),
    ]


OLD = "\n# aider chat started at 2024-06-11 02:29:05\n\n" + said(
    "Aider v0.37.0", "Models: gpt-4o with diff edit format, weak model gpt-3.5-turbo", "Git repo: .git with 31 files"
)


def test_versions_that_count_no_tokens_go_on_in_words_of_their_own():
    """Aider 0.37: the edits follow the answer at once, or behind what it asks about them."""
    lines = (
        "Allow creation of new file src\\b.ts? y",
        "Committing a.py before applying edits.",
        "Commit 637317c Add b",
        "Applied edit to src\\b.ts",
        "Applied edit to a.py",
        "Commit 8c7927a aider: Add b",
    )
    shown = pair("x\n", "y\n") + "\n" + pair("", "z\n", "src\\b.ts")
    found = reading(
        OLD
        + asked("go")
        + f"\nHere:\n\n{shown}\n\n"
        + said(*lines)
        + asked("/undo")
        + said("Commit `8c7927a` was reset.")
    )
    assert [(claim.operation, claim.raw_path) for claim in found.claims] == [("create", "src\\b.ts"), ("edit", "a.py")]
    assert found.claims[0].contents == (b"z\n",) and found.claims[1].replacements[0].new == b"y\n"
    assert [made.sha for made in found.commits] == ["637317c", "8c7927a"]
    assert (found.sessions[0].model, found.sessions[0].turns) == ("gpt-4o", 3)
    quoted = reading(OLD + asked("go") + "\nHere:\n\n```\n\n" + said(*lines) + "\n```\n")
    assert not quoted.claims and not quoted.commits


def test_tags_fence_what_holds_backticks():
    """The editor of an architect writes whole files, in the fences that their text leaves free."""
    head = start(edit_format="architect") + said("Editor model: o3 with editor-whole edit format")
    text = "a.md\n<source>\n# A\n```sh\nls\n```\n</source>\nb.py\n<source>\nx\n</source>"
    found = reading(head + answer(text, "Applied edit to a.md", "Applied edit to b.py"))
    assert [claim.contents for claim in found.claims] == [(b"# A\n```sh\nls\n```\n",), (b"x\n",)]


def test_a_commit_may_have_a_message_of_several_lines():
    """A weak model wraps its message in a fence; the first line tells of the commit."""
    message = "> Commit 87eaafd ```\nfeat: x\n```  \n> Commit abc1234 Here is the message:\n\n```\nfeat: y\n```  \n"
    found = reading(start() + answer("Ok.", "Applied edit to a.py") + message + said("Commit abc1235 z"))
    assert [(made.sha, made.subject) for made in found.commits] == [
        ("87eaafd", "```"),
        ("abc1234", "Here is the message:"),
        ("abc1235", "z"),
    ]


QUOTED = "Tokens: 1k sent, 2 received.", "Applied edit to fake.py", "Commit fffffff Fake"


@pytest.mark.parametrize(
    "text",
    [
        said(*QUOTED[1:]),
        "As it said:\n\n" + said(*QUOTED[1:]),
        "Like this:\n\n```\n" + said(*QUOTED) + "```",
        "Like this:\n\n```\n\n" + said(*QUOTED) + "\n```",
        "Like this:\n\n```\n" + start("10:00:00") + answer("x", *QUOTED[1:]) + "```",
        "Like this:\n\n" + said(*QUOTED).replace("  \n", "\n"),
        "Like this:\n\n> Applied edit to fake.py  \n> Commit fffffff Fake  ",
        pair(said(*QUOTED) + "\n" + start("10:00:00"), said(*QUOTED) + "\n#### x  \n", "doc.md"),
    ],
)
def test_what_the_model_quotes_is_nothing(text):
    """The model may repeat aider's words, in a fence or a change even with all of their form."""
    before = "Here it is.\n\n" if text.startswith("> ") else ""
    found = reading(start() + asked("go") + answer(before + text, "Applied edit to a.py", "Commit abc1234 Real"))
    assert [claim.raw_path for claim in found.claims] == ["a.py"]
    assert [made.sha for made in found.commits] == ["abc1234"]
    assert len(found.sessions) == 1


def test_messages_of_several_lines_hide_nothing():
    """Aider marks the first line of a message alone, and ends the last with two blanks."""
    failed = "> # 1 SEARCH/REPLACE block failed to match!\n\n## SearchReplaceNoExactMatch: in a.py\n<<<<<<< SEARCH\nx\n\nJust reply.  \n"
    shell = "> mkdir -p dist          \ntouch dist/a.js  \n> Run shell commands? (Y)es/(N)o [Yes]: y  \n"
    text = answer("Done.") + said("The LLM did not conform to the edit format.") + failed + said("Commit abc1234 a")
    found = reading(start() + text + answer("Ok.", "Applied edit to a.py") + shell + said("Commit abc1235 b"))
    assert [made.sha for made in found.commits] == ["abc1234", "abc1235"]
    assert [claim.raw_path for claim in found.claims] == ["a.py"]


def unmatched(old: str, new: str, others: str, path: str = "a.py", hint: str = "") -> str:
    """What aider says when a block of the answer did not match."""
    return (
        said("The LLM did not conform to the edit format.")
        + "> # 1 SEARCH/REPLACE block failed to match!\n\n"
        + f"## SearchReplaceNoExactMatch: This SEARCH block failed to exactly match lines in {path}\n"
        + f"<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE\n\n{hint}"
        + "The SEARCH section must exactly match an existing block of lines including all white space\n\n"
        + f"{others}Just reply with fixed versions of the block above that failed to match.  \n"
    )


OTHERS = "# The other {} SEARCH/REPLACE blocks were applied successfully.\nDon't re-send them.\n"


def test_what_did_not_match_failed_and_the_rest_was_applied():
    """Only then aider applies blocks without naming their files: those of the answer but for the ones it repeats."""
    text = pair("x\n\n", "y  \n") + "\n\n" + pair("p\n", "q\n", "b.py") + "\n\n" + pair("r\n", "s\n", "b.py")
    hint = "Did you mean to match some of these actual lines from a.py?\n\n```\n" + OTHERS.format(9) + "```\n\n"
    for more in ("", hint):
        refusal = unmatched("x\n\n", "y  \n", OTHERS.format(2), hint=more)
        found = reading(start() + asked("go") + answer(text) + refusal + said("Commit abc1234 b"))
        told = [(c.operation, c.raw_path, c.succeeded, c.turn) for c in found.claims]
        assert told == [("edit", "a.py", False, 2), ("edit", "b.py", True, 2)]
        assert [(change.old, change.new) for change in found.claims[1].replacements] == [
            (b"p\n", b"q\n"),
            (b"r\n", b"s\n"),
        ]
        assert [made.sha for made in found.commits] == ["abc1234"]


@pytest.mark.parametrize("others", ["", OTHERS.format(2), OTHERS.format(0)])
def test_what_was_applied_is_told_only_where_the_numbers_agree(others):
    """The refused block is told in any case; what the others are is sure only if as many remain as aider says."""
    text = pair("x\n", "y\n") + "\n\n" + pair("p\n", "q\n", "b.py")
    found = reading(start() + asked("go") + answer(text) + unmatched("x\n", "y\n", others))
    assert [(c.raw_path, c.succeeded) for c in found.claims] == [("a.py", False)]
    quoted = answer("Aider says:\n\n" + unmatched("x\n", "y\n", OTHERS.format(1)), "Applied edit to a.py")
    assert [(c.raw_path, c.succeeded) for c in reading(start() + asked("go") + quoted).claims] == [("a.py", True)]


def test_an_interrupted_answer_ends_where_aider_says_so():
    """Its fence stays open; what aider says next is believed, and so is the next session."""
    text = start() + asked("go") + "\nSure:\n\n```python\nx = 1\n\n" + said("^C again to exit", "Commit abc1234 a")
    assert [made.sha for made in reading(text).commits] == ["abc1234"]
    cut = (
        start()
        + asked("go")
        + "\nSure:\n\n```python\nx = 1\n"
        + start("12:00:00")
        + answer("Ok.", "Applied edit to a.py")
    )
    found = reading(cut)
    assert [claim.session_id for claim in found.claims] == ["aider-2025-06-02T12-00-00"]


def test_the_user_may_be_asked_between_the_answer_and_the_edit():
    """Questions and their answers stand between the count of tokens and the edit."""
    text = answer("Ok.", "a.py") + asked("Add file to the chat? (Y)es/(N)o [Yes]: all") + said("Applied edit to a.py")
    assert [claim.raw_path for claim in claims(asked("go"), text)] == ["a.py"]


def test_damaged_paths_and_bytes():
    """A path that can be none is no claim, and bytes that are no text are told once."""
    data = (start() + answer("Ok.", "Applied edit to a\x07.py", "Applied edit to b c.py")).encode() + b"\xff\n\xff\n"
    found = gather(read(io.BytesIO(data), "x"))
    assert [claim.raw_path for claim in found.claims] == ["b c.py"]
    assert [problem.line for problem in found.problems] == [data.count(b"\n") - 1]


PIECES = (
    *(start(), asked("x"), answer("y", "Applied edit to a.py", "Commit abc1234 x"), pair("x\n", "y\n"), "```\n", "\n"),
    *("<<<<<<< SEARCH\n", "=======\n", ">>>>>>> REPLACE\n", "> x\n", said("^C again to exit"), "#### \n", "a.py\n"),
)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=1500), st.lists(st.sampled_from(PIECES), max_size=30))
def test_nothing_raises(junk, pieces):
    """Any bytes, and the parts of the format in any order."""
    recognise(junk)
    data = start().encode() + junk + "".join(pieces).encode()
    for part in (junk, data):
        found = gather(read(io.BytesIO(part), "x"))
        assert all(1 <= fact.line <= part.count(b"\n") + 1 for fact in found.claims + found.commits)


@pytest.mark.parametrize(
    "piece", ["```\n", "<<<<<<< SEARCH\n", pair("x\n", "y\n") + "\n", "> x  \n", "#### x  \n\n", start()]
)
def test_reading_takes_linear_time(piece):
    """Four times the lines take about four times the time."""

    def seconds(times: int) -> float:
        text = start() + answer(piece * times, "Applied edit to a.py")
        began = time.process_time()
        reading(text)
        return time.process_time() - began

    assert min(seconds(8_000) for _ in range(2)) < 8 * min(seconds(2_000) for _ in range(3)) + 0.05


@pytest.mark.corpus
def test_real_histories():
    """Every `Applied edit` of the real histories is a claim, every block that did not match, and every commit is one."""
    if not CORPUS.is_dir():
        pytest.skip(f"CORPUS NOT PRESENT: {CORPUS} is missing, so that no real history was read")
    for path in sorted(CORPUS.rglob("*.md")):
        data = path.read_bytes()
        assert recognise(data[:65536])
        found = gather(read(io.BytesIO(data), "x"))
        assert len(found.sessions) == data.count(b"\n# aider chat started at ")
        named = [claim for claim in found.claims if claim.tool == "Applied edit"]
        assert len(named) == data.count(b"\n> Applied edit to ")
        assert sum(not claim.succeeded for claim in found.claims) == data.count(b"\n## SearchReplaceNoExactMatch: ")
        assert len(found.commits) == data.count(b"\n> Commit ")
        assert all(claim.replacements or claim.contents for claim in found.claims if claim.succeeded)
        assert not found.problems


def test_a_file_that_is_named_again_repeats_no_changes():
    """The changes of an answer belong to the first line behind it; and many of both take no longer than they should."""

    def history(count: int) -> bytes:
        pair = "a.py\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n"
        head = "# aider chat started at 2025-06-02 11:47:49\n\n> Aider v0.86.1  \n\n#### go  \n\n"
        tokens = "\n> Tokens: 3.2k sent, 66 received. Cost: $0.0086 message, $0.0086 session.  \n"
        return (head + pair * count + tokens + "> Applied edit to a.py  \n" * count).encode()

    claims = gather(read(io.BytesIO(history(3)), "a")).claims
    assert [len(claim.replacements) for claim in claims] == [3, 0, 0]
    assert_linear(lambda times: gather(read(io.BytesIO(history(times)), "a")), 2_000)
