"""Damage to the pending log: the live index knows better, and what it knows is not lost by a rebuild either.

The log lies in the git directory, so no git command restores it; who has its events is the index, or a segment.
"""

from __future__ import annotations

import json
import os
import random
import shutil

import pytest
from cli import committed, git_dir, ledger, need, pending, run, save, titles, write
from damaged import NO_RIGHTS, a_workspace, kept, lines_named, rebuilt, snapshot, told

NAME = "ledger.jsonl"


@pytest.fixture
def repo(tmp_path):
    """A synced workspace: seven events are in commits, two are in the pending log alone."""
    return a_workspace(tmp_path)


def log(repo):
    """The pending log."""
    return git_dir(repo) / "mlos" / NAME


def at_line(number, alter):
    """A damage to one line of the log; negative numbers count from the end."""

    def damage(data):
        lines = data.split(b"\n")[:-1]
        place = number - 1 if number > 0 else len(lines) + number
        lines[place : place + 1] = alter(lines[place])
        return b"".join(line + b"\n" for line in lines)

    return damage


# name -> what is done to the log's bytes, and the line that is named for it once all of it is read again (0: none)
DAMAGE = {
    "cut": (lambda data: data[:-40], -1),
    "cut to half": (lambda data: data[: len(data) // 2], None),
    "last line lost": (lambda data: data[: data[:-1].rindex(b"\n") + 1], 0),
    "emptied": (lambda data: b"", 0),
    "flipped": (at_line(-2, lambda line: [line.replace(b'"Pending"', b'"Punding"')]), -2),
    "flipped where a commit has it": (at_line(2, lambda line: [line.replace(b"First", b"Furst")]), 2),
    "markers": (at_line(-2, lambda line: [b"<<<<<<< ours", line, b"=======", line, b">>>>>>> theirs"]), -2),
    "CRLF": (lambda data: data.replace(b"\n", b"\r\n"), 1),
    "BOM": (lambda data: b"\xef\xbb\xbf" + data, 1),
    "twice": (lambda data: data + data, 0),
    "reordered": (lambda data: b"\n".join(data.split(b"\n")[-2::-1]) + b"\n", 0),
    "NUL tail": (lambda data: data + b"\0" * 4096, None),
    "NUL block": (at_line(-1, lambda line: [b"\0" * len(line)]), -1),
    "deep": (at_line(-1, lambda line: [b"[" * 100_000]), -1),
    "deep and closed": (at_line(-1, lambda line: [b'{"a":' * 100_000 + b"1" + b"}" * 100_000]), -1),
    "NaN": (at_line(-1, lambda line: [line.replace(b'"priority":5', b'"priority":NaN')]), -1),
    "10 MB title": (at_line(-2, lambda line: [line.replace(b'"Pending"', b'"' + b"P" * 10_000_000 + b'"')]), -2),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_log_costs_nothing_that_the_index_knows(repo, name):
    """Readers answer as before and write nothing; a rebuild brings every row, in the presence of the damage and with
    the old index gone; the place is named by file and line; what is pending is published whole."""
    rows, whole = kept(repo), log(repo).read_bytes()
    damage, line = DAMAGE[name]
    log(repo).write_bytes(damage(whole))
    assert log(repo).read_bytes() != whole
    state = snapshot(repo)
    told(repo)
    assert kept(repo) == rows and snapshot(repo) == state
    rebuilt(repo)
    assert kept(repo) == rows
    reasons = told(repo)
    if line:
        (reason,) = (reason for path, reason in reasons.items() if path.endswith(NAME))
        assert (len(whole.split(b"\n")) + line if line < 0 else line) in lines_named(reason), reason
    elif line == 0:
        assert reasons == {}
    need(repo, "Later")
    rebuilt(repo)
    assert titles(repo) == sorted(["First", "Second", "Third", "Pending", "Later"])
    write(repo, "note.md", "on\n")
    save(repo, "on")
    assert (
        pending(repo) == 0 and rows["events"] and {json.loads(row)["id"] for row in rows["events"]} <= committed(repo)
    )


def test_a_deleted_log_costs_nothing_that_the_index_knows(repo):
    """The same with no file at all."""
    rows = kept(repo)
    log(repo).unlink()
    told(repo)
    assert kept(repo) == rows and not log(repo).exists()
    run(repo, "rebuild")
    assert kept(repo) == rows
    assert {json.loads(row)["id"] for row in rows["events"]} <= ledger(repo) | committed(repo)
    for database in log(repo).parent.glob("index.db*"):
        database.unlink()
    assert kept(repo) == rows


def test_a_log_damaged_anywhere_costs_nothing_that_the_index_knows(repo):
    """Cut or flipped at any byte (a sample): a rebuild brings every row."""
    seed = 7
    print(f"seed {seed}")
    chance = random.Random(seed)
    rows, whole = kept(repo), log(repo).read_bytes()
    for _ in range(10):
        at = chance.randrange(len(whole))
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :]):
            log(repo).write_bytes(data)
            rebuilt(repo)
            assert kept(repo) == rows, (at, len(data))


def test_a_line_that_was_cut_is_named_at_once(repo):
    """A crash in the middle of an append: the next command says so, whether or not something is appended after it."""
    with log(repo).open("ab") as file:
        file.write(b'{"actor":"Ada')
    lines = log(repo).read_bytes().count(b"\n")
    (reason,) = (reason for path, reason in told(repo).items() if path.endswith(NAME))
    assert lines_named(reason) == {lines + 1}


def test_a_mended_log_is_not_called_damaged(repo):
    """Once the bytes are right again nothing is said any more."""
    whole = log(repo).read_bytes()
    log(repo).write_bytes(DAMAGE["markers"][0](whole))
    rebuilt(repo)
    assert told(repo) != {}
    log(repo).write_bytes(whole)
    rebuilt(repo)
    assert told(repo) == {}


def as_folder(file):
    """A folder."""
    file.mkdir()


def as_link(file):
    """A link to a copy of it."""
    shutil.copy(file.parent / "kept", file.parent / "elsewhere")
    file.symlink_to("elsewhere")


def as_dangling_link(file):
    """A link to nothing."""
    file.symlink_to("nowhere")


def as_fifo(file):
    """A pipe that nobody writes to: who opens it to read may wait for ever."""
    os.mkfifo(file)


@pytest.mark.parametrize("shape", [as_folder, as_link, as_dangling_link, as_fifo], ids=lambda one: one.__name__)
def test_something_else_in_the_place_of_the_log(repo, shape):
    """No command hangs or breaks; what cannot be written is not called done; with the log in its place again all is as
    it was, whatever was tried in between."""
    rows = kept(repo)
    log(repo).rename(log(repo).parent / "kept")
    shape(log(repo))
    for command in (
        ["status"],
        ["need", "add", "Not durable"],
        ["rebuild"],
    ):
        done = run(repo, *command, ok=False)
        if command[:2] == ["need", "add"]:
            assert done.code == 3
        if done.code == 3:
            assert NAME in done.err and "hint:" in done.err and "free space" not in done.err
        else:
            assert done.code in (0, 1)
    if log(repo).is_dir() and not log(repo).is_symlink():
        log(repo).rmdir()
    else:
        log(repo).unlink()
    (log(repo).parent / "kept").rename(log(repo))
    rebuilt(repo)
    assert kept(repo) == rows


@pytest.mark.skipif(not shutil.which("setpriv"), reason="SETPRIV IS MISSING: rights cannot be taken from root")
def test_a_log_without_rights_is_left_alone(repo):
    """The command says which file it is and what to do; nothing is lost."""
    rows = kept(repo)
    log(repo).chmod(0)
    for command in (["need", "add", "Not durable"], ["rebuild"]):
        done = run(repo, *command, ok=False, before=NO_RIGHTS)
        assert done.code == 3 and NAME in done.err and "hint:" in done.err
    log(repo).chmod(0o600)
    assert kept(repo) == rows
