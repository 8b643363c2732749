"""A crowd at one workspace: processes that use the application's functions, commands, and a program with plain SQL, all
at the same time. Nothing that was acknowledged is lost, nothing happens twice, nobody is told of a lock.

Here sixteen processes make 15 transactions each; `benchmarks/locks.py` makes 200 each, and measures the waits.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli import (
    assert_rebuild_is_equal,
    committed,
    common_dir,
    listed,
    need,
    pending,
    run,
    save,
    synced,
    workspace,
    write,
)
from crowd import SHARED

from mlos_sync.core import journal

CROWD = Path(__file__).resolve().parent.parent / "crowd.py"
SEED = 20261120
PROCESSES, TRANSACTIONS = 16, 10
WRITERS, STATEMENTS = 2, 30
COMMANDS, WAVE = 42, 21
PATIENCE = 300  # seconds after which the whole crowd counts as hanging


@dataclass(frozen=True)
class Ended:
    """How one of the crowd ended, and what it said."""

    arguments: list[str]
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Crowd:
    """The workspace after everybody has been there, what each wrote down, how each ended."""

    repo: Path
    notes: list[dict[str, Any]]
    ended: list[Ended]

    def noted(self, did: str) -> list[dict[str, Any]]:
        """What was done of one kind, each process's own in its order."""
        return [note for note in self.notes if note["did"] == did]

    def printed(self, *words: str) -> list[Any]:
        """The JSON that the commands which begin with these words printed."""
        mine = [one for one in self.ended if one.arguments[4 : 4 + len(words)] == list(words)]
        assert mine
        return [json.loads(one.out) for one in mine]


_been: list[Crowd] = []


@pytest.fixture
def crowd(tmp_path_factory):
    """Everybody at once; made by the first test that asks, as the others only look."""
    if not _been:
        _been.append(let_loose(tmp_path_factory.mktemp("crowd"), tmp_path_factory.mktemp("notes")))
    return _been[0]


def let_loose(place, notes):
    """Sixteen processes, two programs, and a hundred commands, twenty at a time."""
    print(f"seed {SEED}")
    repo = workspace(place)
    write(repo, "note.md", "one\n")
    for number in range(1, SHARED + 1):
        need(repo, f"Shared {number}")
    save(repo, "shared")
    synced(repo)
    running = [start("app", repo, notes / f"app-{n:03}", str(SEED + n), str(TRANSACTIONS)) for n in range(PROCESSES)]
    running += [start("sql", repo, notes / f"sql-{n:03}", str(SEED - n), str(STATEMENTS)) for n in range(WRITERS)]
    ended = []
    for first in range(0, COMMANDS, WAVE):
        wave = [start("cli", repo, notes / f"cli-{n:03}", "--", *command(n)) for n in range(first, first + WAVE)]
        ended += [end(one) for one in wave]
    ended += [end(one) for one in running]
    lines = [line for file in sorted(notes.iterdir()) for line in file.read_text().splitlines()]
    return Crowd(repo, [json.loads(line) for line in lines], ended)


def command(number):
    """Six commands that people type, in turn."""
    shared = number % SHARED + 1
    return [
        ["need", "add", f"By command {number}", "--json"],
        ["need", "list", "--json"],
        ["need", "set", str(shared), "--priority", str(number % 5 + 1), "--json"],
        ["link", "need:1", "blocks", f"need:{number // 6 % 4 + 2}", "--json"],
        ["log", f"need:{shared}", "--json"],
        ["status", "--json"],
    ][number % 6]


def start(kind, repo, notes, *words):
    """One of the crowd, its output kept apart."""
    return subprocess.Popen(
        [sys.executable, str(CROWD), kind, str(repo), str(notes), *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def end(process):
    """Wait for one of the crowd."""
    out, err = process.communicate(timeout=PATIENCE)
    return Ended(process.args[2:], process.returncode, out, err)


def test_everybody_ends_well_and_nobody_is_told_of_a_lock(crowd):
    """Exit code 0 and nothing on stderr, for every process and every command."""
    assert len(crowd.ended) == PROCESSES + WRITERS + COMMANDS
    assert [one for one in crowd.ended if one.code or one.err] == []


def test_every_acknowledged_change_stands(crowd):
    """Each record that was made is there unless it was deleted, with the last value that its maker gave it."""
    needs = {row["uid"]: row for row in listed(crowd.repo, "need")}
    gone = {note["uid"] for note in crowd.noted("delete")}
    made = {note["uid"]: note["title"] for note in crowd.noted("add")}
    made |= {row["uid"]: row["title"] for row in crowd.printed("need", "add")}
    assert (
        gone
        and made
        and {uid: needs[uid]["title"] for uid in made if uid not in gone}
        == {uid: title for uid, title in made.items() if uid not in gone}
    )
    assert not gone & set(needs)
    last = {note["uid"]: (note["priority"], note["description"]) for note in crowd.noted("change")}
    assert last and all(
        (needs[uid]["priority"], needs[uid]["description"]) == said for uid, said in last.items() if uid not in gone
    )
    tasks = {row["uid"]: (row["id"], row["need_id"]) for row in listed(crowd.repo, "task")}
    assert tasks == {note["uid"]: (note["id"], note["need"]) for note in crowd.noted("task")}


def test_every_row_of_the_program_with_plain_sql_stands(crowd):
    """What it committed is there, with its last change."""
    rows = {row["title"]: row for row in listed(crowd.repo, "need")}
    assert {note["title"] for note in crowd.noted("sql add")} <= set(rows)
    last = {note["id"]: note["description"] for note in crowd.noted("sql change")}
    numbers = {row["id"]: row for row in rows.values()}
    assert last and {number: numbers[number]["description"] for number in last} == last


def test_what_everybody_changes_holds_one_of_the_values_that_were_given(crowd):
    """Whoever came last; never anything else, and never a conflict: in one clone each event has seen the one before."""
    given = {n: {note["description"] for note in crowd.noted("share") if note["id"] == n} for n in range(1, SHARED + 1)}
    for row in listed(crowd.repo, "need"):
        if row["id"] <= SHARED and given[row["id"]]:
            assert row["description"] in given[row["id"]]
    assert run(crowd.repo, "conflicts", "--json").json["conflicts"] == []


def test_every_edge_stands(crowd):
    """Each that was made, unless its need was deleted."""
    gone = {note["uid"] for note in crowd.noted("delete")}
    numbers = {row["uid"]: row["id"] for row in listed(crowd.repo, "need")}
    wanted = {(numbers[note["uid"]], note["id"]) for note in crowd.noted("link") if note["uid"] not in gone}
    wanted |= {(1, number) for number in range(2, SHARED + 1)}
    found = set()
    for number in range(1, SHARED + 1):
        edges = run(crowd.repo, "links", f"need:{number}", "--json").json["edges"]
        found |= {
            (int(one["source"][5:]), int(one["target"][5:]))
            for one in edges
            if one["type"] == "blocks" and not one.get("cut")
        }
    assert found == wanted


def test_every_event_is_in_the_pending_log_once(crowd):
    """All of it decodes; each acknowledged change is one event, and there are no others."""
    lines = (common_dir(crowd.repo) / "mlos" / "ledger.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    events = [journal.decode(line) for line in lines]
    assert len({event.id for event in events}) == len(events)
    told = Counter(event.fields.get("description") for event in events if event.op == "update")
    said = [note["description"] for did in ("change", "share", "sql change") for note in crowd.noted(did)]
    assert all(told[words] == 1 for words in said)
    kinds = Counter((event.kind, event.op) for event in events)
    adds = len(crowd.noted("add")) + len(crowd.noted("sql add")) + len(crowd.printed("need", "add"))
    assert kinds["need", "create"] == SHARED + adds
    assert kinds["task", "create"] == len(crowd.noted("task"))
    assert kinds["need", "delete"] == len(crowd.noted("delete"))
    assert (
        len({event.fields["id"] for event in events if (event.kind, event.op) == ("need", "create")}) == SHARED + adds
    )
    assert sorted(event.clock for event in events) == [event.clock for event in events]


def test_reading_commands_saw_a_whole_state(crowd):
    """Each answer is of one moment: what a list shows is complete in itself, and never older than what was committed."""
    for printed in crowd.printed("need", "list"):
        rows = printed["rows"]
        assert {row["id"] for row in rows} >= set(range(1, SHARED + 1))
        assert all(row["status"] and row["title"] and len(row["uid"]) == 32 for row in rows)
    for printed in crowd.printed("status"):
        assert printed["needs"] >= SHARED and printed["pending_events"] >= 0


def test_a_rebuild_finds_nothing_to_differ_and_a_commit_takes_it_all(crowd):
    """The index is the fold of what was written; the next commit holds every event."""
    assert run(crowd.repo, "rebuild", "--check", "--json").json == {
        "schema_version": 1,
        "identical": True,
        "differences": [],
    }
    assert_rebuild_is_equal(crowd.repo)
    write(crowd.repo, "note.md", "two\n")
    save(crowd.repo, "all of it")
    log = (common_dir(crowd.repo) / "mlos" / "ledger.jsonl").read_bytes()
    assert pending(crowd.repo) == 0
    assert {json.loads(line)["id"] for line in log.splitlines()} <= committed(crowd.repo)
