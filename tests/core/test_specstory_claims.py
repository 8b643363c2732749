"""SpecStory markdown: claims, tool by tool, on small transcripts in the true form of each writer."""

from __future__ import annotations

import hashlib

import pytest
from specstory import CLI, CLI_0, CLI_1, EXTENSION, claims, cli, early, extension, reading, told, write_of

from mlos_sync.core.transcripts.specstory_claims import kind_of
from mlos_sync.core.transcripts.specstory_envelope import Block, walk
from mlos_sync.core.transcripts.tools import kind_named

# --- Claude Code


@pytest.mark.parametrize(
    ("name", "sentence", "expected"),
    [
        ("Edit", "The file /w/a b.py has been updated successfully.", ("edit", "/w/a b.py", True)),
        (
            "Edit",
            "The file /w/a.py has been updated successfully. (file state is current in your context)",
            ("edit", "/w/a.py", True),
        ),
        (
            "Edit",
            "The file /w/a.py has been updated. Here's the result of running `cat -n` on a snippet:\n     1→x",
            ("edit", "/w/a.py", True),
        ),
        (
            "Edit",
            "The file /w/a.py has been updated. All occurrences of 'x' were successfully replaced with 'y'.",
            ("edit", "/w/a.py", True),
        ),
        ("MultiEdit", "Applied 3 edits to /w/a.py:\n1. Replaced x", ("edit", "/w/a.py", True)),
    ],
)
def test_an_edit_of_claude_code_names_its_file_in_the_result(name, sentence, expected):
    """Every sentence of success gives path and operation, whatever follows the path."""
    assert told(cli("write", name, f"\n```text\n{sentence}\n```")) == [expected]


@pytest.mark.parametrize(
    "result",
    [
        "<tool_use_error>File has not been read yet. Read it first before writing to it.</tool_use_error>",
        "<tool_use_error>String to replace not found in file.\nString: The file /w/a.py has been updated</tool_use_error>",
        "The user doesn't want to proceed with this tool use. The tool use was rejected.",
    ],
)
def test_a_failed_edit_of_claude_code_is_no_claim(result):
    """A failure carries no path, and a path quoted behind the first line is not one."""
    assert told(cli("write", "Edit", f"\n```text\n{result}\n```")) == []


def test_a_failed_multi_edit_is_a_claim_without_success():
    """`MultiEdit` shows its path before the result, so that its failure is one of a known file."""
    body = " `./src/a.py`\n\n```text\n<tool_use_error>String to replace not found in file.</tool_use_error>\n```"
    assert told(cli("write", "MultiEdit", body)) == [("edit", "./src/a.py", False)]


@pytest.mark.parametrize("body", [" `src/a.py`", "Edit file: `src/a.py`"])
def test_a_call_without_a_result_succeeded_if_the_session_went_on(body):
    """A failure would be told; but at the end of the file nothing can be, for the call may never have ended."""
    for rest, succeeded in (("", False), ("Done.\n", True), ("_**Agent (m 2026-02-16 14:00:00Z)**_\n", True)):
        assert told(cli("write", "MultiEdit", body), rest) == [("edit", "src/a.py", succeeded)]


@pytest.mark.parametrize("body", [" `src/a.py`", "Read file: `src/a.py`"])
def test_a_read_may_show_its_path_alone(body):
    """Some writers leave out what was read; the words alone, without backticks, are text."""
    assert told(cli("read", "Read", body)) == [("read", "src/a.py", True)]
    assert told(cli("read", "Read", body.replace("`", ""))) == []


def test_a_claim_has_the_turn_and_time_of_its_speaker():
    """The block belongs to the last speaker line before it."""
    claim = claims(cli("write", "Edit", "\n```text\nThe file /w/a.py has been updated successfully.\n```"))[0]
    assert (claim.turn, claim.at, claim.tool) == (2, "2026-02-16T13:05:10Z", "Edit")


def test_a_result_behind_the_closing_tag_still_counts():
    """Version 2.0 wrote the fence of the result behind the envelope."""
    block = cli("write", "Edit", "").rstrip("\n") + "\n```\nThe file /w/a.py has been updated successfully.\n```\n\n"
    assert told(block) == [("edit", "/w/a.py", True)]


@pytest.mark.parametrize("content", ["x = 1\n", "x = 1", "", "\n\nx\n\n\n", "a\tb  \n", "é\u2028\n"])
def test_the_content_of_a_write_is_exact(content):
    """The first candidate is the content to the byte, final newline or not."""
    claim = claims(write_of(content))[0]
    assert claim.operation == "create"
    assert claim.contents[0] == content.encode()


def test_an_overwrite_is_a_write_with_the_newline_as_variant():
    """The second candidate differs in the final newline alone, since editors add and cut it."""
    claim = claims(write_of("x\n", sentence="The file /w/a.py has been overwritten successfully."))[0]
    assert (claim.operation, claim.contents) == ("write", (b"x\n", b"x"))


def test_backticks_in_a_written_file_are_restored():
    """Before 2.8 they were escaped, since then the fence is longer; both give the file as it was."""
    markdown = "# A\n\n```sh\nls\n```\n"
    old = claims(write_of(markdown.replace("```", "\\```"), info="md"))[0]
    new = claims(write_of(markdown, fence="````", info="md"))[0]
    assert old.contents[0] == new.contents[0] == markdown.encode()


def test_a_result_sentence_inside_the_content_is_not_the_result():
    """A file about a transcript holds the sentences of success itself."""
    text = "```text\nFile created successfully at: /w/fake.py\n```\n"
    assert told(write_of(text, fence="````", info="md")) == [("create", "/w/a.py", True)]
    rejected = write_of(text, fence="````", sentence="The user doesn't want to proceed with this tool use.")
    assert told(rejected) == []


def test_carriage_returns_of_the_file_or_of_the_transcript_are_both_tried():
    """Whether a CR belongs to the file only its hash can tell."""
    unix = hashlib.sha256(b"a\nb\n").digest()
    windows = hashlib.sha256(b"a\r\nb\r\n").digest()
    hashes = [hashlib.sha256(content).digest() for content in claims(write_of("a\r\nb\r\n"))[0].contents]
    assert unix in hashes and windows in hashes
    assert b"a\nb\n" in reading((CLI + write_of("a\nb\n")).replace("\n", "\r\n").encode()).claims[0].contents


def test_reads_are_claims_of_their_own():
    """A read has its path behind the summary; what the file says is no failure, a refusal is."""
    shown = cli("read", "Read", " `./src/a.py`\n\n```text\n     1→Error: not one\n```")
    refused = cli("read", "Read", " `/w/b.py`\n\n```text\n<tool_use_error>File does not exist.</tool_use_error>\n```")
    assert told(shown, refused) == [("read", "./src/a.py", True), ("read", "/w/b.py", False)]


def test_a_read_that_its_writer_calls_failed_is_one():
    """Before the text of the file; in the text such words say nothing."""
    failed = "\n**Input:**\n\n- filePath: `/w/a.py`\n\n**Error:**\n\n```\nno\n```"
    shown = "\n**Input:**\n\n- filePath: `/w/a.py`\n\n**Result:**\n\n```\nx\n```\nError:\n\n**Error:**\n```\n```"
    early_one = early("**Read** `./a.py`\n\nError:\n\n```\nno such thing\n```")
    cursor = extension("read", "read_file_v2", "Status: **error**\n", "Tool use: **read_file_v2** • Read file: a.py")
    assert told(cli("read", "read_file", failed)) == [("read", "/w/a.py", False)]
    assert told(cli("read", "read_file", shown)) == [("read", "/w/a.py", True)]
    assert told(early_one, head=CLI_0) == [("read", "./a.py", False)]
    assert told(cursor, head=EXTENSION) == [("read", "a.py", False)]


PLAN = """
```text
User has approved your plan. You can now start coding. Start with updating your todo list if applicable

Your plan has been saved to: /home/x/.claude/plans/a-b.md
You can refer back to it if needed during implementation.

## Approved Plan:
Your plan has been saved to: b.md
```"""


def test_an_approved_plan_is_a_file_that_was_written():
    """Claude Code saves it and says where; a plan that was refused, or that only quotes the words, names no file."""
    (claim,) = claims(cli("unknown", "ExitPlanMode", PLAN))
    assert (claim.operation, claim.raw_path, claim.succeeded) == ("write", "/home/x/.claude/plans/a-b.md", True)
    refusal = PLAN.replace("User has approved your plan", "The user doesn't want to proceed with this tool use")
    assert claims(cli("unknown", "ExitPlanMode", refusal)) == []
    assert claims(cli("unknown", "ExitPlanMode", PLAN.replace("/home/x/.claude/plans/a-b.md", ""))) == []
    assert claims(cli("unknown", "ExitPlanMode", "\nNo plan.\n")) == []


# --- Codex and other patches


def test_codex_names_the_files_of_a_patch_in_headings():
    """Added files come with their content, deleted and updated ones without."""
    body = "**Add: `docs/a.md`**\n\n```diff\n+one\n+\n```\n\n\n**Update: `b.py`**\n\n```diff\n@@\n-x\n+y\n```\n\n\n**Delete: `c.py`**"
    found = claims(cli("write", "apply_patch", body))
    assert [(c.operation, c.raw_path) for c in found] == [
        ("create", "docs/a.md"),
        ("patch", "b.py"),
        ("delete", "c.py"),
    ]
    assert [c.contents for c in found] == [(b"one\n\n", b"one\n"), (), ()]


def test_a_list_of_updated_files_proves_the_patch():
    """The paths in the result stand for themselves where the input was cut, and give the line where both name one."""
    result = "```\nExit code: 0\nWall time: 0 seconds\nOutput:\nSuccess. Updated the following files:\nA a.md\nM b.py\nD c.py\n```"
    patch = cli("write", "apply_patch", "**Update: `b.py`**\n\n```diff\n@@\n+y\n```\n\n\n" + result)
    assert told(patch) == [("create", "a.md", True), ("patch", "b.py", True), ("delete", "c.py", True)]


def test_a_refused_patch_succeeded_in_nothing():
    """Codex shows the headings first and the refusal behind them."""
    body = "**Add: `a.md`**\n\n```diff\n+one\n```\n\n\n```\napply_patch verification failed: Failed to find expected lines\n```"
    claim = claims(cli("write", "apply_patch", body))[0]
    assert (claim.succeeded, claim.contents) == (False, ())


def test_a_move_gives_both_paths():
    """`*** Move to:` makes the old path a deletion and the new one a move."""
    body = "```diff\n*** Begin Patch\n*** Update File: old.py\n*** Move to: new.py\n@@\n-x\n+y\n*** End Patch\n```"
    assert told(cli("write", "ApplyPatch", body)) == [("delete", "old.py", True), ("move", "new.py", True)]


def test_vs_code_copilot_patches_hold_windows_paths():
    """Its raw patch stands in an untagged fence under the input."""
    patch = "*** Begin Patch\n*** Update File: c:\\Users\\x\\pom.xml\n@@\n-a\n+b\n*** Add File: c:\\Users\\x\\n.txt\n+q\n*** End Patch"
    block = cli(
        "write", "apply_patch", f"\n**Input:**\n\n- explanation: `Error handling`\n- input:\n\n```\n{patch}\n```\n\n"
    )
    assert told(block) == [("patch", "c:\\Users\\x\\pom.xml", True), ("create", "c:\\Users\\x\\n.txt", True)]


def test_a_patch_in_a_shell_heredoc_counts_but_a_shown_one_does_not():
    """Only the command applies a patch; its output may show any."""
    patch = "*** Begin Patch\n*** Update File: a.py\n@@\n+x\n*** End Patch"
    command = (
        f"```bash\napply_patch <<'EOF'\n{patch}\nEOF\n```\n```\nSuccess. Updated the following files:\nM a.py\n```"
    )
    shown = cli("shell", "exec_command", f"```\napply_patch\n{patch}\n```", "Tool use: **exec_command** `cat x.patch`")
    assert told(cli("shell", "exec_command", command)) == [("patch", "a.py", True)]
    assert told(shown) == []


def test_a_patch_in_a_command_that_failed_changed_nothing():
    """Codex prints the code of the command before its output."""
    patch = "*** Begin Patch\n*** Update File: a.py\n@@\n-x\n+y\n*** End Patch"
    result = "Chunk ID: 1\nProcess exited with code 1\nOutput:\nno"
    block = cli("shell", "exec_command", f"```bash\napply_patch <<'EOF'\n{patch}\nEOF\n```\n```\n{result}\n```")
    assert told(block) == [("patch", "a.py", False)]


# --- other producers


def test_gemini_labels_the_path():
    """`Path:` stands before the content and `Result:` behind it; the result tells creation and failure."""
    write = "\nPath: `src/a.py`\n\n```py\nx = 1\n\n```\n\n{}"
    created = cli("write", "write_file", write.format("Result: Successfully created and wrote to new file: src/a.py."))
    wrote = cli("write", "write_file", write.format("Result: Successfully overwrote file: src/a.py."))
    missed = cli("write", "replace", "\nPath: `b.py`\n\n```diff\nx\n```\n\nResult: Failed to edit, 0 occurrences found")
    assert told(created) == [("create", "src/a.py", True)]
    assert told(wrote, missed) == [("write", "src/a.py", True), ("edit", "b.py", False)]
    assert claims(wrote)[0].contents[0] == b"x = 1\n"


def test_gemini_does_not_escape_backticks():
    """Its content ends at the last closing fence before the result, whatever it holds."""
    body = "\nPath: `a.md`\n\n```md\n# A\n\n```sh\nls\n```\n\nResult: none\n\n```\n\nResult: Successfully overwrote file: a.md."
    assert claims(cli("write", "write_file", body))[0].contents[0] == b"# A\n\n```sh\nls\n```\n\nResult: none\n"


def test_droid_marks_errors_in_the_label():
    """`Output (error)` is a failure, inline and above a fence."""
    body = "Path: `a.py`\n\n```diff\n-x\n+y\n```\n\nOutput (error):{}"
    assert told(cli("write", "Edit", body.format(" No match"))) == [("edit", "a.py", False)]
    assert told(cli("write", "Edit", body.format("\n```text\nNo\nmatch\n```"))) == [("edit", "a.py", False)]


def test_vs_code_copilot_lists_its_input():
    """The keys are sorted, so that the content stands before the path; its label tells a result from an input."""
    body = "\n**Input:**\n\n- content:\n\n```\nerror: x\n\n```\n\n- filePath: `c:\\w\\a.yml`\n"
    claim = claims(cli("write", "create_file", body))[0]
    assert (claim.operation, claim.raw_path, claim.succeeded) == ("create", "c:\\w\\a.yml", True)
    assert claim.contents[0] == b"error: x\n"
    failure = body + "\n**Result:**\n\n```\nERROR while calling tool: no such file\n```"
    assert told(cli("write", "create_file", failure)) == [("create", "c:\\w\\a.yml", False)]


def test_multiple_replacements_of_vs_code_name_each_file_once():
    """They stand as JSON since 2.7 and as a Go map before."""
    pretty = '[\n  {\n    "filePath": "/w/a.py",\n    "newString": "x"\n  },\n  {\n    "filePath": "/w/b.py",\n    "newString": "\\"filePath\\": 1"\n  }\n]'
    json_form = f"\n**Input:**\n\n- explanation: `x`\n- replacements:\n\n```\n{pretty}\n```\n"
    go_form = "\n**Input:**\n\n- replacements: `[map[explanation:e filePath:/w/a.py newString:x oldString:y] map[explanation:f filePath:/w/b.py newString:x oldString:y] map[filePath:/w/a.py newString:q]]`\n"
    for body in (json_form, go_form):
        found = told(cli("write", "multi_replace_string_in_file", body))
        assert found == [("edit", "/w/a.py", True), ("edit", "/w/b.py", True)]


def test_cursor_names_the_file_in_the_summary():
    """The extension escapes HTML there, and writes failures in the body."""
    edit = extension(
        "write",
        "search_replace",
        "**Chunk 1**\nLines added: 1, lines removed: 0\n\n```diff\n@@ -1 +1 @@\n+ x\n```\n",
        "Tool use: **search_replace** • Edit file: src/[id]/a &amp; b.ts",
    )
    text = EXTENSION + edit
    assert [claim.raw_path for claim in reading(text.encode()).claims] == ["src/[id]/a & b.ts"]
    for sign in ("**Apply failed**", "Status: **error**", "User decision: **rejected**"):
        block = extension("write", "edit_file_v2", sign + "\n", "Tool use: **edit_file_v2** • Edit file: c:\\w\\a.ts")
        assert told(block, head=EXTENSION) == [("edit", "c:\\w\\a.ts", False)]


def test_an_empty_twin_adds_nothing():
    """The first Cursor IDE provider wrote each call twice, the second time without a body."""
    full = extension("write", "edit_file_v2", "", "Tool use: **edit_file_v2** • Edit file: /w/a.ts").replace(
        "---\n\n", ""
    )
    twin = cli("write", "edit_file_v2", "")
    gone = cli("write", "delete_file", "")
    assert told(full, twin, gone) == [("edit", "/w/a.ts", True)]


def test_cursor_parameters_are_json():
    """A tool that the writer did not know shows its parameters, HTML escaped in the extension."""
    body = (
        'Parameters:\n\n```json\n{\n  "relativeWorkspacePath": "src/a &#34;b&#34;.ts",\n  "noCodeblock": true\n}\n```\n'
    )
    transcript = reading(
        (
            EXTENSION
            + extension("unknown", "edit_file_v2", body.replace("&#34;", "\\&#34;"), "Tool use: **edit_file_v2**")
        ).encode()
    )
    assert [claim.raw_path for claim in transcript.claims] == ['src/a "b".ts']


def test_vs_code_shows_a_created_file_as_json():
    """Path and content are parameters there, HTML escaped like all of the extension's; in one line or several."""
    pretty = '{\n  "content": "a &lt; b\\n",\n  "filePath": "c:\\\\w\\\\a.ts"\n}'
    for shown in (pretty, pretty.replace("\n  ", " ").replace("{ ", "{").replace("\n", "")):
        block = extension("write", "copilot_createFile", f"```json\n{shown}\n```\n", "Tool use: **copilot_createFile**")
        (claim,) = claims(block, head=EXTENSION)
        assert (claim.operation, claim.raw_path, claim.contents[0]) == ("create", "c:\\w\\a.ts", b"a < b\n")


def test_cursor_cli_has_the_path_in_backticks_or_in_the_diff():
    """`Write` and `Delete` name it in the summary, `StrReplace` at the head of its diff."""
    write = cli(
        "write", "Write", "```python\nx\n\n```\n\n```\nWrote contents to a.py\n```", "Tool use: **Write** `src/a.py`"
    )
    replace = cli("write", "StrReplace", "```diff\n--- src/b.py\n+++ src/b.py\n-x\n+y\n```")
    delete = cli("write", "Delete", "Error: File not found", "Tool use: **Delete** `c.py`")
    assert told(write, replace, delete) == [
        ("write", "src/a.py", True),
        ("edit", "src/b.py", True),
        ("delete", "c.py", False),
    ]
    assert claims(write)[0].contents[0] == b"x\n"


def test_vs_code_reads_are_links():
    """The extension shows what was read as a link with a percent-encoded URI."""
    body = "Read [](file:///c%3A/w/a%20b.ts#1-1), lines 1 to 20\n"
    block = extension("read", "copilot_readFile", body, "Tool use: **copilot_readFile**")
    assert told(block, head=EXTENSION) == [("read", "file:///c%3A/w/a%20b.ts", True)]


def test_damaged_paths_are_no_claims():
    """A path with bytes lost or without a value would never be found again."""
    for path in ("undefined", "a\ufffdb.py", "x" * 5000):
        assert told(cli("write", "replace", f"\nPath: `{path}`\n")) == []


# --- early generations of the CLI


@pytest.mark.parametrize("head", [CLI_0, CLI_1])
def test_calls_of_the_early_cli_are_lines(head):
    """The sentences of success are the same as later; the result stands behind a label."""
    blocks = [
        early("**Read** `./src/a.ts`\n\nResult:\n\n```\n1→x\n     2→y\n```"),
        early("**Read** `./src/b.ts`\n\nError:\n\n```\n<tool_use_error>File does not exist.</tool_use_error>\n```"),
        early(
            "**Edit**\n\nResult:\n\n```\nThe file /w/a.ts has been updated. Here's the result of running `cat -n`\n```"
        ),
        early(
            "**Edit**\n\nError:\n\n```\n<tool_use_error>String to replace not found in file.\nString: x</tool_use_error>\n```"
        ),
        early("**MultiEdit** `./a.ts`\n\nResult:\n\n```\nApplied 2 edits to /w/a.ts:\n1. Replaced x\n```"),
        early(
            "**MultiEdit** `./b.ts`\n\nError:\n\n```\n<tool_use_error>String to replace not found in file.</tool_use_error>\n```"
        ),
        early(
            "**Write**\n\n```md\n# A\n\n---\n\n- b\n```\n\nResult:\n\n```\nFile created successfully at: /w/a.md\n```"
        ),
        early("**MultiEdit** `./c.ts`"),
    ]
    assert told(*blocks, head=head) == [
        ("read", "./src/a.ts", True),
        ("read", "./src/b.ts", False),
        ("edit", "/w/a.ts", True),
        ("edit", "/w/a.ts", True),
        ("edit", "./b.ts", False),
        ("create", "/w/a.md", True),
        ("edit", "./c.ts", False),
    ]
    assert claims(*blocks, head=head)[5].contents[0] == b"# A\n\n---\n\n- b"


def test_what_the_early_cli_only_mentions_is_no_call():
    """A call is the first line of an agent's turn; behind other words, or said by the user, it is prose."""
    call = "Tool use: **MultiEdit** `./a.ts`\n\nResult:\n\n```\nApplied 2 edits to /w/a.ts:\n```\n\n"
    for text in (f"_**Agent (m)**_\n\nAs before:\n\n{call}", f"_**User**_\n\n{call}"):
        assert told(text, head=CLI_1) == []
    assert told(f"_**Agent (m)**_\n\n{call}") == []  # version 2 has envelopes


def test_subagents_of_the_early_cli_are_told_apart():
    """`(sidechain)` stands behind the model there; a speaker of that sort is no turn of the session's own."""
    edit = early("**Edit**\n\nResult:\n\n```\nThe file /w/a.ts has been updated.\n```", "_**Agent (m) (sidechain)**_")
    transcript = reading((CLI_1 + "_**User (sidechain)**_\n\nDo it.\n\n" + edit).encode())
    assert [claim.subagent for claim in transcript.claims] == [True]
    assert (transcript.sessions[0].turns, transcript.sessions[0].subagent_turns) == (1, 2)
    assert transcript.sessions[0].model is None


def test_subagents_of_the_cli_are_told_apart():
    """The same in version 2: the turns of a `Task` count apart, and so do its claims."""
    done = cli("write", "Edit", "\n```text\nThe file /w/a.py has been updated successfully.\n```")
    text = CLI + done + "_**Agent - sidechain (claude-haiku 2026-02-16 13:06:00Z)**_\n\n" + done.replace("a.py", "b.py")
    transcript = reading(text.encode())
    assert [(claim.raw_path, claim.subagent) for claim in transcript.claims] == [("/w/a.py", False), ("/w/b.py", True)]
    assert (transcript.sessions[0].turns, transcript.sessions[0].subagent_turns) == (2, 1)


def test_a_tool_has_one_kind_in_markdown_and_in_logs():
    """The name decides in any spelling; for a name that nobody knows the type in the tag does."""
    for name in ("Write", "write_file", "copilot_createFile", "Read Text File", "str_replace", "run_in_terminal"):
        (block,) = (found for found in walk(cli("generic", name, "x").split("\n")) if isinstance(found, Block))
        assert kind_of(block) == kind_named(name) is not None
    blocks = [found for name in ("move_file", "x") for found in walk(cli("write", name, "x").split("\n"))]
    assert [kind_of(block) for block in blocks if isinstance(block, Block)] == ["edit", "edit"]
