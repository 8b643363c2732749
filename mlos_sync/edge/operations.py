"""What git, or a hook that git runs, is doing in a work tree just now: what lies there then is nobody's last word."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator

from mlos_sync.edge.files import is_alive, signature

# Files and folders of the git directory that stand while an operation goes on, also while it waits for somebody to solve a
# conflict (git's own `wt-status.c` looks at the same).
MARKS = {
    "MERGE_HEAD": "a merge", "rebase-merge": "a rebase", "rebase-apply": "a rebase or git am",
    "CHERRY_PICK_HEAD": "a cherry-pick", "REVERT_HEAD": "a revert", "sequencer": "a cherry-pick or revert",
    "BISECT_LOG": "a bisect",
}  # fmt: skip
LASTING = frozenset(MARKS.values())  # what does not end by itself
LOCKED, HOOKS = "a git command that holds index.lock", "a commit with its hooks"
PATIENCE = 30.0  # seconds after which a lock that stands alone was left behind by a git that was killed
_GIT = (b"git\n", b".git-wrapped\n")  # the second is what some systems make of it
_MUCH = 1 << 20  # bytes that are read of what the system tells of a process
# Hooks of messages come when the others are done, and git's editor may stay open for an hour. What comes after the commit
# puts nothing aside.
_MESSAGE = re.compile(rb"(COMMIT_EDITMSG|MERGE_MSG|/post-commit)(\0|'|\"| |$)")
# What git does that writes no index, and may stay open for long in a pager.
_READING = frozenset(
    (b"log", b"show", b"diff", b"difftool", b"blame", b"annotate", b"grep", b"cat-file", b"ls-files", b"ls-tree", b"shortlog",
     b"reflog", b"rev-list", b"rev-parse", b"help", b"fetch", b"push", b"branch", b"tag", b"config", b"gc", b"repack",
     b"maintenance", b"fsmonitor--daemon")
)  # fmt: skip
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9-]{0,30}")  # of a command, or of an alias of somebody's
_COMMIT = 3600.0  # seconds that hooks of one commit may take


def going_on(root: str, git_dir: str) -> str | None:
    """What is going on, in words: one of `MARKS`, `LOCKED` or `HOOKS`, or a command of git's such as "git stash"; None where
    the work tree is as somebody left it."""
    for name, words in MARKS.items():
        if os.path.lexists(os.path.join(git_dir, name)):
            return words
    if _has_lock(git_dir) and not has_left_lock(root, git_dir):
        return LOCKED
    if _is_committing(os.path.join(git_dir, "mlos"), root) or _has_stashed(root):
        return HOOKS
    return _with_index(root)


def has_left_lock(root: str, git_dir: str) -> bool:
    """Whether there is an index lock that was left behind: no git that lives will take it away."""
    with contextlib.suppress(OSError):
        age = time.time() - os.lstat(os.path.join(git_dir, "index.lock")).st_mtime
        return not 0 <= age < PATIENCE and not _is_git_alive(root, unknown=False)
    return False


def _has_lock(git_dir: str) -> bool:
    return os.path.lexists(os.path.join(git_dir, "index.lock"))


def moves(git_dir: str) -> tuple[object, ...]:
    """What is another one when git has moved this tree, or its index, in between: what was read meanwhile may be what was
    there for a moment."""
    names = ("HEAD", "ORIG_HEAD", os.path.join("logs", "HEAD"), "index")
    return tuple(signature(os.path.join(git_dir, name)) for name in names)


def _gits(root: str) -> Iterator[tuple[int, list[bytes]]]:
    """(process, its words) of each git that works at the root of a work tree, as far as we may see; none where the system does
    not tell. Git changes to that folder first, wherever it was started."""
    place = os.path.realpath(root)
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdigit() and _folder_of(name) == place and _read(name, "comm") in _GIT:
                    words = _read(name, "cmdline").split(b"\0")
                    if words != [b""]:  # as of one that is just ending
                        yield int(name), words


def _folder_of(process: str) -> str:
    """Where a process works. Raises OSError where it has gone, is another user's, or the system does not tell."""
    return os.readlink(f"/proc/{process}/cwd")


def _read(process: str, name: str) -> bytes:
    with open(f"/proc/{process}/{name}", "rb") as file:
        return file.read(_MUCH)


def _is_git_alive(root: str, *, unknown: bool) -> bool:
    """Whether a git that may write works in a work tree; `unknown` where the system does not tell."""
    if not os.path.isdir("/proc/self"):
        return unknown
    return any(_command(words) not in _READING for _, words in _gits(root))


def _command(words: list[bytes]) -> bytes:
    """What git was asked to do, as far as options before it let one see."""
    rest = iter(words[1:])
    for word in rest:
        if not word.startswith(b"-"):
            return word
        if word in (b"-c", b"-C"):
            next(rest, None)
    return b""


def _with_index(root: str) -> str | None:
    """The git that has named an index to a child of its own, as it does for the hooks of a commit or merge, whoever's they are
    (husky's, lefthook's, overcommit's, a script), for its editor (git's `run_commit_hook`), and for what `git stash` has done
    by others. Many hooks put unstaged edits aside meanwhile. Only Linux tells."""
    for git, words in _gits(root):
        command = _command(words)
        if command in _READING:
            continue
        with contextlib.suppress(OSError):
            for child in _read(f"{git}/task/{git}", "children").split():
                with contextlib.suppress(OSError):
                    is_told = b"\0GIT_INDEX_FILE=" in b"\0" + _read(child.decode(), "environ")
                    if is_told and not _MESSAGE.search(_read(child.decode(), "cmdline")):
                        return f"git {command.decode()}" if _NAME.fullmatch(command) else "a git command"
    return None


def _is_committing(state: str, root: str) -> bool:
    """Whether hooks of `git commit` run: ours noted who started it, and the hook of messages, which comes when the others
    are done, has not run since."""
    try:
        began = os.stat(os.path.join(state, "fired-pre-commit")).st_mtime
        with open(os.path.join(state, "fired-pre-commit"), "rb") as file:
            process = file.read(20).strip()
    except OSError:
        return False
    with contextlib.suppress(OSError):
        if os.stat(os.path.join(state, "fired-prepare-commit-msg")).st_mtime >= began:
            return False
    is_new = process.isdigit() and time.time() - began < _COMMIT and is_alive(int(process))
    return is_new and _is_git_alive(root, unknown=True)  # else somebody runs the hook by hand


def _has_stashed(root: str) -> bool:
    """Whether the program pre-commit has put unstaged edits aside here: it keeps them as `patch<time>-<process>` in its
    cache (pre_commit/staged_files_only.py)."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.environ.get("PRE_COMMIT_HOME") or os.path.join(cache, "pre-commit")
    try:
        names = [name for name in os.listdir(folder) if name.startswith("patch")]
    except OSError:
        return False
    processes = [name.rpartition("-")[2] for name in names]
    return any(one.isdigit() and is_alive(int(one)) and _works_in(one, root) for one in processes)


def _works_in(process: str, root: str) -> bool:
    try:
        return _folder_of(process) == os.path.realpath(root)
    except OSError:
        return True  # nobody can tell
