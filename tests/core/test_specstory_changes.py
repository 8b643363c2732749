"""SpecStory markdown: commits, what commands did, and how edits changed their files."""

from __future__ import annotations

import json

import pytest
from specstory import CLI, CLI_1, EXTENSION, claims, cli, early, extension, reading, told

# --- commits


def commits(*blocks: str, head: str = CLI) -> list[tuple[str, str]]:
    """Hash and subject of each commit; its line must hold the hash."""
    text = head + "".join(blocks)
    made = reading(text.encode()).commits
    assert all(commit.sha in text.split("\n")[commit.line - 1] for commit in made)
    return [(commit.sha, commit.subject) for commit in made]


@pytest.mark.parametrize(
    ("command", "line", "made"),
    [
        ("git commit -m x", "[main 84be9f7] Fix it", ("84be9f7", "Fix it")),
        ("cd a && git -C b -c user.name=x commit -qm x", "[main (root-commit) 1e58101] First", ("1e58101", "First")),
        ("GIT_EDITOR=true git revert HEAD", '[detached HEAD a0d78df14] Revert "x"', ("a0d78df14", 'Revert "x"')),
        ("git cherry-pick a1b2c3d", "[a/b#1 0123456789] y", ("0123456789", "y")),
        ("git log | grep commit", "[main 84be9f7] Fix it", None),
        ("grep 'git commit' log", "[main 84be9f7] Fix it", None),
        ("git commit -m x", "[main 84be] Fix it", None),
        ("git commit -m x", "  [main 84be9f7] Fix it", None),
        ("git commit -m x", "[WARNING] 84be9f7 Fix it", None),
    ],
)
def test_a_commit_is_what_git_printed(command, line, made):
    """The command must be one that commits, and the line one of git's, at the beginning of a line of its output."""
    claude = cli("shell", "Bash", f"Commit it\n\n`{command}`\n\n```text\nhook: ok\n{line}\n 1 file changed\n```")
    codex = cli("shell", "exec_command", f"```\nChunk ID: 1\n{line}\n```", f"Tool use: **exec_command** `{command}`")
    long = cli("shell", "shell", f"```bash\ncd a\n{command}\n```\n```\n{line}\n```")
    copilot = cli(
        "generic", "run_in_terminal", f"\n**Input:**\n\n- command: `{command}`\n\n**Result:**\n\n```\n{line}\n```"
    )
    escaped = command.replace("&", "&amp;")
    cursor = extension(
        "shell",
        "run_terminal_cmd",
        f"```bash\n{escaped}\n```\n\n```\n{line}\n```",
        "Tool use: **run_terminal_cmd** • Run command: x",
    )
    for block in (claude, codex, long, copilot):
        assert commits(block) == ([made] if made else [])
    assert commits(cursor, head=EXTENSION) == ([made] if made else [])


def test_the_early_cli_shows_commits_under_a_label():
    """The command stands in the line of the call, or below it."""
    for call in (
        "**Bash** `git commit -m x`",
        "**Bash** Commit it\n\n`git commit -m x`",
        "**Bash**\n\n```bash\ngit commit -m x\n```",
    ):
        block = early(f"{call}\n\nResult:\n\n```\n[main 84be9f7] Fix it\n 1 file changed\n```")
        assert commits(block, head=CLI_1) == [("84be9f7", "Fix it")]


def test_a_commit_in_a_message_or_behind_an_inner_fence_keeps_its_meaning():
    """A message that quotes git's output is no output; an output that shows a fence goes on behind it."""
    message = "git commit -m \"$(cat <<'EOF'\n[main aaaaaaa] Quoted\nEOF\n)\""
    output = "```sh\nmake\n```\n[main 84be9f7] Fix it"
    assert commits(cli("shell", "Bash", f"```bash\n{message}\n```\n\n```text\n{output}\n```")) == [
        ("84be9f7", "Fix it")
    ]


# --- what commands do to files


def ran(command: str, output: str = "", more: str = "") -> str:
    """A `Bash` block of Claude Code's, which has no result where the command printed nothing."""
    return cli("shell", "Bash", f"\n`{command}`" + (f"\n\n```text\n{output}\n```" if output else "")) + more


NEXT = "_**Agent (claude-opus-4-6 2026-02-16 13:06:00Z)**_\n\n"


def test_a_command_that_ended_well_did_what_it_says():
    """Claude Code prints a bad exit code first, and nothing where there was no output."""
    assert told(ran("rm a.py", more=NEXT)) == [("delete", "a.py", True)]
    assert told(ran("rm -v a.py", "removed 'a.py'")) == [("delete", "a.py", True)]
    heredoc = cli("shell", "Bash", "```bash\ncat > a.md <<'EOF'\n# A\nEOF\n```") + NEXT
    (claim,) = claims(heredoc)
    assert (claim.operation, claim.raw_path, claim.contents[0]) == ("write", "a.md", b"# A\n")


@pytest.mark.parametrize(
    "block",
    [
        ran("rm a.py"),  # the file ends here, so that nobody knows whether the command did
        ran("rm a.py", "Exit code 1\nrm: a.py: No such file or directory", NEXT),
        ran("rm a.py", "The user doesn't want to proceed with this tool use. The tool use was rejected", NEXT),
        ran("rm a.py", "Command running in background with ID: b1", NEXT),
        ran("rm $FILE", more=NEXT),
        ran("rm *.py", more=NEXT),
        ran("make && rm a.py", more=NEXT),
        cli(
            "shell",
            "run_terminal_cmd",
            "```bash\nrm a.py\n```",
            "Tool use: **run_terminal_cmd** • Run command: rm a.py",
        )
        + NEXT,
    ],
)
def test_a_command_in_doubt_did_nothing(block):
    """Its end is unknown or bad, or its words are not what they seem."""
    assert told(block) == []


def test_codes_that_writers_print_are_believed():
    """Codex and Antigravity tell how a command ended, and Antigravity where it ran."""
    good = "```\nChunk ID: 1\nWall time: 0.1 seconds\nProcess exited with code {}\nOutput:\n```"
    for code, expected in ((0, [("delete", "a.py", True)]), (1, [])):
        summary = "Tool use: **exec_command** `git rm a.py`"
        assert told(cli("shell", "exec_command", good.format(code), summary)) == expected
    body = "Directory: `/home/x/p`\n\n`mv a.py b.py`\n\nOutput:\n```text\nThe command completed successfully.\n```"
    found = claims(cli("shell", "run_command", body))
    assert {(c.operation, c.raw_path, c.cwd) for c in found} == {
        ("move", "b.py", "/home/x/p"),
        ("delete", "a.py", "/home/x/p"),
    }


# --- replacements


def changed(block: str, head: str = CLI) -> list[tuple[bytes, bytes]]:
    """Old and new text of the one claim's replacements."""
    (claim,) = claims(block, head=head)
    assert not claim.contents
    return [(change.old, change.new) for change in claim.replacements]


def test_a_patch_shows_its_hunks():
    """Context and removed lines make the old text, context and added ones the new; blanks of empty lines may be lost."""
    hunks = "@@ def f():\n a\n-b\n+c\n\n d\n@@\n-e\n+f\n+```\n*** End of File"
    expected = [(b"a\nb\n\nd\n", b"a\nc\n\nd\n"), (b"e\n", b"f\n```\n")]
    codex = cli("write", "apply_patch", f"**Update: `a.py`**\n\n```diff\n{hunks}\n```\n")
    raw = cli("write", "ApplyPatch", f"```diff\n*** Begin Patch\n*** Update File: a.py\n{hunks}\n*** End Patch\n```")
    assert changed(codex) == changed(raw) == expected


@pytest.mark.parametrize("hunks", ["@@\n-a\n+b\n@@\n-c\n+d\nb?", "@@\n a\nb?\n-c", "@@\n-a\n+b\n... [truncated]"])
def test_a_patch_that_is_not_shown_whole_gives_no_replacement(hunks):
    """Lines that no hunk has, in whichever of them: the claim stands without its change."""
    assert changed(cli("write", "apply_patch", f"**Update: `a.py`**\n\n```diff\n{hunks}\n```\n")) == []


def test_a_patch_of_a_last_line_without_a_newline_gives_none_either():
    """Git and Codex mark such a line; a hunk of added lines alone fits an empty file."""
    hunks = "@@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file"
    assert changed(cli("write", "apply_patch", f"**Update: `a.py`**\n\n```diff\n{hunks}\n```\n")) == [(b"a", b"b")]
    assert changed(cli("write", "apply_patch", "**Update: `a.py`**\n\n```diff\n@@\n+a\n```\n")) == [(b"", b"a\n")]


def chunk(body: str, numbers: str) -> str:
    """An edit of Cursor's that shows one chunk."""
    return extension(
        "write",
        "search_replace",
        f"**Chunk 1**\nLines added: 1, lines removed: 1\n\n```diff\n@@ {numbers} @@\n{body}\n```\n",
        "Tool use: **search_replace** • Edit file: a.ts",
    )


def test_chunks_of_cursor_are_whole_when_their_numbers_are_right():
    """A mark and a blank stand before each line; the extension escapes HTML in the text."""
    body = "    a(1 &lt; 2 &amp;&amp; &#96;x&#96;)\n-   b\n+   c\n\n  d"
    expected = [(b"  a(1 < 2 && `x`)\n  b\n\nd", b"  a(1 < 2 && `x`)\n  c\n\nd")]
    assert changed(chunk(body, "-5,4 +5,4"), EXTENSION) == expected
    assert changed(chunk(body, "-5,5 +5,4"), EXTENSION) == []
    assert changed(chunk("  a\n- b\n+ c\n  ", "-1,3 +1,3"), EXTENSION) == [(b"a\nb\n", b"a\nc\n")]
    assert changed(chunk("+ a\n+ b && c", "-0,0 +1,2"), EXTENSION) == [(b"", b"a\nb && c")]
    assert changed(chunk("+ a\n+ b", "-3,0 +4,2"), EXTENSION) == []


def test_old_and_new_text_of_an_edit_are_pieces_of_the_file():
    """Cursor CLI and Factory Droid show them as removed and added lines, and a text need not end a line."""
    cursor = cli("write", "StrReplace", "```diff\n--- a.py\n+++ a.py\n-x\n-\n+y\n```")
    droid = cli("write", "Edit", "Path: `a.py`\n\n```diff\n-x\n-\n+y\n```\n\n```diff\n-p\n+q\n```\n\nOutput: ok")
    assert changed(cursor) == [(b"x\n", b"y")]
    assert changed(droid) == [(b"x\n", b"y"), (b"p", b"q")]
    gemini = cli(
        "write", "replace", "\nPath: `a.py`\n\n```diff\nnew text alone\n```\n\nResult: Successfully modified file: a.py"
    )
    assert changed(gemini) == []


def test_vs_code_copilot_labels_old_and_new_text():
    """In backticks on one line or in a fence; several files stand in a list."""
    fenced = "\n**Input:**\n\n- filePath: `/w/a.py`\n- newString: `y`\n- oldString:\n\n```\nx\n\nz\n```\n"
    assert changed(cli("write", "replace_string_in_file", fenced)) == [(b"x\n\nz", b"y")]
    half = fenced.replace("- newString: `y`\n", "")
    assert changed(cli("write", "replace_string_in_file", half)) == []
    items = [{"filePath": path, "oldString": "x", "newString": path} for path in ("/w/a.py", "/w/b.py", "/w/a.py")]
    listed = json.dumps([*items, {"filePath": "/w/c.py", "newString": "x"}], indent=2)
    body = f"\n**Input:**\n\n- replacements:\n\n```\n{listed}\n```\n"
    found = claims(cli("write", "multi_replace_string_in_file", body))
    assert [(claim.raw_path, len(claim.replacements)) for claim in found] == [
        ("/w/a.py", 2),
        ("/w/b.py", 1),
        ("/w/c.py", 0),
    ]


def test_a_failed_edit_replaces_nothing():
    """What was refused did not change the file."""
    block = cli("write", "Edit", "Path: `a.py`\n\n```diff\n-x\n+y\n```\n\nOutput (error): No match")
    assert [(claim.succeeded, claim.replacements) for claim in claims(block)] == [(False, ())]
