"""Shell blocks of SpecStory markdown: the command, what became of it, the commits that it made.

What a command does to files is told by `shell.claimed`, and only counts where the block shows that the command ended
well. Commits count where git printed them: `git commit` says so itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlos_sync.core.transcripts.commits import commit_in, makes_commits
from mlos_sync.core.transcripts.sound import unescaped
from mlos_sync.core.transcripts.specstory_envelope import Fence
from mlos_sync.core.transcripts.specstory_parts import SHELLS, Parts, failed, result_fence

HEAD_LINES = 8  # the lines of an output that the client itself writes stand at its beginning

# "Tool use: **exec_command** `ls -1 docs`" Codex, Cursor CLI
_IN_SUMMARY = re.compile(r"Tool use: \*\*[^*]+\*\* `(?P<command>.+)`")
# "`go build ./...`" on a line of its own: Claude Code, Factory Droid, Antigravity
_TICKED = re.compile(r"`(?P<command>.+)`")
# "- command: `git status`" VS Code Copilot
_INPUT = re.compile(r"- command: `(?P<command>.+)`")
# "Directory: `/Users/x/project`" Gemini CLI, Factory Droid, DeepSeek, Antigravity
_DIRECTORY = re.compile(r"Directory: `(?P<path>[^`]{1,4096})`")
# `Exit code: 0` Codex shell, Gemini; `Process exited with code 0` Codex exec_command;
# `The command completed successfully.` Antigravity
_GOOD = re.compile(r"exit code: 0\.?|process exited with code 0|the command completed successfully\.?", re.IGNORECASE)
# `Exit code 1` Claude Code 2, `Exit code: 2` Codex, `Process exited with code 1` Codex,
# `Process running with session ID 5` Codex, `Command running in background with ID: b1` Claude Code
_BAD = re.compile(
    r"exit code:? |process exited with code|process running with session|command (?:running in |was .{0,40})background"
    r"|command timed out|\[request interrupted|the command (?:failed|exited)",
    re.IGNORECASE,
)


def command_of(parts: Parts) -> str | None:
    """The command of a shell block, from the first of the places that has one; None where none shows it whole."""
    fence = _command(parts)
    if fence is not None:
        if fence.end >= len(parts.block.lines):
            return None
        text = "\n".join(line.removesuffix("\r") for line in parts.block.lines[fence.start + 1 : fence.end])
        return unescaped(text) if parts.block.extension else text
    match = _IN_SUMMARY.fullmatch(parts.block.summary)
    return match["command"] if match else _inline(parts)[1]


def command_line(parts: Parts) -> int:
    """The index of the line on which the command begins."""
    fence = _command(parts)
    if fence is not None:
        return fence.start + 1
    if _IN_SUMMARY.fullmatch(parts.block.summary):
        return parts.block.summary_at
    return _inline(parts)[0]


def directory(parts: Parts) -> str | None:
    """Where the command ran, if the block tells."""
    told = next((match for _, line in parts.prose if (match := _DIRECTORY.fullmatch(line))), None)
    return told["path"] if told and told["path"].startswith("/") else None


def ended_well(parts: Parts, answered: bool) -> bool:
    """Whether the block shows that its command ended with code 0.

    Codex, Gemini and Antigravity print the code. Claude Code prints it only when it is another one, and writes no
    result at all when there was no output; then `answered` must say that the session went on behind the block, which
    it cannot do before the command ends. The editors tell nothing, so theirs never count.
    """
    head = [text for line in _output_head(parts) if (text := line.strip())]
    if any(_GOOD.fullmatch(line) for line in head):
        return not ended_badly(parts)
    if parts.block.name != "Bash" or any(_BAD.match(line) for line in head[:1]):
        return False
    return not failed(parts, whole_file=False) and (answered or bool(head))


def ended_badly(parts: Parts) -> bool:
    """Whether the block shows that its command ended with another code than 0, or has not ended."""
    head = [line.strip() for line in _output_head(parts)]
    return any(_BAD.match(line) and not _GOOD.fullmatch(line) for line in head)


def commits(parts: Parts, command: str) -> Iterator[tuple[int, str, str]]:
    """The index of the line, the hash and the subject of each commit that the command's output shows, once each."""
    fence = _output(parts)
    if fence is None or not makes_commits(command):
        return
    seen = set()
    # The fence may end early, at a fence in the output; behind the output there is nothing else in a block.
    for index in range(fence.start + 1, len(parts.block.lines)):
        made = commit_in(parts.block.lines[index])
        if made is not None and made[0] not in seen:
            seen.add(made[0])
            yield index, *made


def _inline(parts: Parts) -> tuple[int, str | None]:
    """The command in backticks between the summary and the output, and the index of its line.

    Before version 2.0 one of several lines stood so as well: "`git commit -m "a" to the line that ends with "b"`".
    """
    end = parts.fences[0].start if parts.fences else len(parts.block.lines)
    before = [(index, line) for index, line in parts.prose if index < end]
    ticked = [(index, found["command"]) for index, line in before if (found := _one_line(line))]
    if ticked:
        return ticked[-1]
    first = next((index for index, line in before if line[:1] == "`"), None)
    last = max((index for index, line in before if line[-1:] == "`"), default=0)
    if first is None or last <= first:
        return 0, None
    lines = [line.removesuffix("\r") for line in parts.block.lines[first : last + 1]]
    return first, "\n".join(lines).rstrip()[1:-1]


def _one_line(line: str) -> re.Match[str] | None:
    return _INPUT.fullmatch(line) or _TICKED.fullmatch(line)


def _command(parts: Parts) -> Fence | None:
    """The fence that holds the command: tagged as shell, or behind "- command:" of VS Code Copilot."""
    if parts.fences and parts.fences[0].info in SHELLS:
        return parts.fences[0]
    label = next((index for index, line in parts.prose if line == "- command:"), None)
    if label is None:
        return None
    return next((fence for fence in parts.fences if label < fence.start <= label + 2), None)


def _output(parts: Parts) -> Fence | None:
    """The fence of the output: the first plain one behind the command, or the one that VS Code Copilot labels."""
    if any(line == "**Input:**" for _, line in parts.prose):
        return result_fence(parts, whole_file=False)
    command = _command(parts)
    return next((fence for fence in parts.fences if fence.info in ("", "text") and fence != command), None)


def _output_head(parts: Parts) -> list[str]:
    fence = _output(parts)
    if fence is None:
        return []
    return list(parts.block.lines[fence.start + 1 : min(fence.end, fence.start + 1 + HEAD_LINES)])
