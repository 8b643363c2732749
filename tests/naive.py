"""What is true of a work tree, told by plain git and a plain walk: an oracle that shares no code with the program.

truth = naive.look(repo, Truth())
truth.files      # path as bytes -> SHA-256, of all that git tracks or would track, less the journal
truth.commits    # the commits that HEAD reaches
truth.closed     # numbers of the tasks that one of these commits closes, or a published closing
truth.tasks      # numbers of the tasks that count here
truth.pending    # how many events no commit of this branch has
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from gitrepo import git
from walk_oracle import Event, Truth

JOURNAL = b".mlos/journal/"
MARKER = ".mlos/config.toml"
CLOSES = re.compile(r"^Closes: ([0-9]+)\b", re.MULTILINE)


@dataclass(frozen=True)
class Look:
    """One look at a work tree."""

    head: str | None
    files: dict[bytes, str]
    commits: frozenset[str]
    closed: frozenset[int]
    tasks: frozenset[int]
    pending: int


def look(repo: Path, journal: Truth) -> Look:
    """Everything that can be asked of a work tree with a commit. `journal` is what was learned of the history before."""
    tip = git(repo, "rev-parse", "HEAD").stdout.strip()
    counting, committed = journal.visible(repo), journal.committed(repo, tip)
    numbers = tasks(counting)
    messages = history(repo)
    asked = {(sha, int(number)) for sha, text in messages.items() for number in CLOSES.findall(text)}
    asked = {(sha, number) for sha, number in asked if number in numbers.values() and has_workspace(repo, sha)}
    asked |= {(sha, number) for sha, number in carried(repo) if number in numbers.values()}
    told = {(door_of(event), numbers.get(event["uid"])) for event in counting.values() if is_closing(event)}
    closed = {number for _, number in asked | told if number is not None}
    pending = len(counting.keys() - committed.keys()) + len(asked - told)
    return Look(tip, files(repo), frozenset(messages), frozenset(closed), frozenset(numbers.values()), pending)


def carried(repo: Path) -> set[tuple[str, int]]:
    """(commit, task) where the message that closed is in no commit of HEAD's history, and one of these commits made the very
    contents: a squash."""
    found = set()
    here = {sha: (changes(repo, sha), about(repo, sha)) for sha in git(repo, "rev-list", "HEAD").stdout.split()}
    log = git(repo, "log", "-g", "--format=%H %gs", "HEAD").stdout.splitlines()
    amended = {line.split(" ")[0] for line in log if " commit (amend)" in line}
    for sha in git(repo, "rev-list", "--all", "--reflog", "--not", "HEAD").stdout.split():
        closed = CLOSES.findall(git(repo, "log", "-1", "--format=%B", sha).stdout)
        made = changes(repo, sha)
        if any(written(repo, other) == written(repo, sha) for other in here.keys() & amended):
            continue  # somebody changed the message by hand
        if closed and made and has_workspace(repo, sha) and about(repo, sha) not in [one for _, one in here.values()]:
            same = [other for other, (changed, _) in here.items() if made <= changed]
            found |= {(other, int(number)) for other in same[-1:] for number in closed}
    return found


def changes(repo: Path, commit: str) -> set[str]:
    """What a commit put where; nothing for a merge."""
    out = git(
        repo, "diff-tree", "-r", "-z", "--root", "--no-commit-id", "--no-renames", "--raw", "--no-abbrev", commit
    ).stdout
    fields = out.split("\0")
    return {f"{told.split(' ')[3]} {path}" for told, path in zip(fields[::2], fields[1::2], strict=False)}


def written(repo: Path, commit: str) -> str:
    """Who wrote a commit and when: what an amended one keeps."""
    return git(repo, "log", "-1", "--format=%an %at", commit).stdout


def about(repo: Path, commit: str) -> str:
    """Who wrote a commit, when, and its subject: what it keeps when it is replayed."""
    return git(repo, "log", "-1", "--format=%an %at %s", commit).stdout


def is_closing(event: Event) -> bool:
    """Whether a commit made the event."""
    return (
        event["kind"] == "task" and event["door"].startswith("commit ") and event["fields"] == {"status": "completed"}
    )


def door_of(event: Event) -> str:
    """The commit that made it."""
    return str(event["door"].removeprefix("commit "))


def has_workspace(repo: Path, commit: str) -> bool:
    """Whether there was a workspace when the commit was made: else its numbers are somebody else's."""
    return git(repo, "cat-file", "-e", f"{commit}:{MARKER}", check=False).returncode == 0


def files(repo: Path) -> dict[bytes, str]:
    """The naive walk. What git tracks and is not on disk is told only where a sparse checkout left it out."""
    names = _names(repo, "ls-files", "-co", "--exclude-standard", "-z")
    sparse = {line[2:] for line in _names(repo, "ls-files", "-t", "-z") if line.startswith(b"S ")}
    found, top = {}, os.path.realpath(os.fsencode(repo))
    for name in names:
        where = os.path.join(os.fsencode(repo), name)
        if name.startswith(JOURNAL) or name.endswith(b"/"):
            continue
        if os.path.realpath(os.path.dirname(where)) != os.path.join(top, os.path.dirname(name)).rstrip(b"/"):
            where = b""  # a folder above it is a link: git calls it deleted
        if os.path.islink(where):
            found[name] = hashlib.sha256(os.readlink(where)).hexdigest()
        elif os.path.isfile(where):
            found[name] = hashlib.sha256(Path(os.fsdecode(where)).read_bytes()).hexdigest()
        elif name in sparse:
            content = git(repo, "cat-file", "blob", b":" + name).stdout
            found[name] = hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()
        else:
            assert not os.path.exists(where) or stat.S_ISDIR(os.stat(where).st_mode), f"what is {name!r}?"
    return found


def history(repo: Path) -> dict[str, str]:
    """commit -> message, of all that HEAD reaches."""
    commits = git(repo, "--no-replace-objects", "rev-list", "HEAD").stdout.split()
    answer = git(
        repo, "--no-replace-objects", "cat-file", "--batch", stdin="".join(f"{one}\n" for one in commits)
    ).stdout
    found = {}
    for commit in commits:
        size = int(answer.partition("\n")[0].split()[2])
        text = answer.partition("\n")[2].encode("utf-8", "surrogateescape")
        found[commit] = text[:size].partition(b"\n\n")[2].decode("utf-8", "surrogateescape")
        answer = text[size + 1 :].decode("utf-8", "surrogateescape")
    return found


def tasks(events: dict[str, Event]) -> dict[str, int]:
    """uid -> number, of the tasks that somebody made and nobody deleted."""
    deleted = {event["uid"] for event in events.values() if event["op"] == "delete"}
    made = [event for event in events.values() if event["kind"] == "task" and event["op"] == "create"]
    return {event["uid"]: event["fields"]["id"] for event in made if event["uid"] not in deleted}


def _names(repo: Path, *arguments: str) -> list[bytes]:
    return [name.encode("utf-8", "surrogateescape") for name in git(repo, *arguments).stdout.split("\0") if name]
