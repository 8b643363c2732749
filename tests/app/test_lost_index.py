"""The index lost, replaced, cut, flipped, older or newer than the journal: made anew or caught up, with one line told,
and the canonical dump is the one from before: no record lost, nothing twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess

import pytest
from cli import (
    add,
    change,
    committed,
    dump,
    git_dir,
    ledger,
    need,
    opened,
    pending,
    published,
    run,
    save,
    segments,
    synced,
    titles,
    write,
)
from damaged import a_workspace, kept, rebuilt, snapshot, told
from gitrepo import git

from mlos_sync.app import dumping, freshness, setup
from mlos_sync.app.opening import try_open
from mlos_sync.core import journal
from mlos_sync.edge.workspace import find
from mlos_sync.errors import MlosError


@pytest.fixture
def repo(tmp_path):
    """A synced workspace with three committed segments and two pending events."""
    return a_workspace(tmp_path)


def folder(repo):
    """Where the index lives."""
    return git_dir(repo) / "mlos"


def database(repo):
    """The index itself."""
    return folder(repo) / "index.db"


def files(repo):
    """name -> bytes of the index, its write-ahead log and its shared memory."""
    return {one.name: one.read_bytes() for one in folder(repo).glob("index.db*") if one.is_file()}


def put(repo, contents):
    """Only these files in the place of the index."""
    for one in folder(repo).glob("index.db*"):
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()
    for name, data in contents.items():
        (folder(repo) / name).write_bytes(data)


def later(repo):
    """New events in the pending log and in commits, and a file changed."""
    need(repo, "Later")
    change(repo, "need", "1", title="First, changed")
    write(repo, "note.md", "later\n")
    save(repo, "later")
    add(repo, "task", description="Latest", need_id=1)
    synced(repo)


def with_wal(repo, work):
    """Do something while a reader keeps the write-ahead log from being folded back; the files as a crash leaves them."""
    reader = sqlite3.connect(database(repo), isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM needs").fetchone()
    work(repo)
    found = files(repo)
    reader.close()
    assert len(found["index.db-wal"]) > 8192
    return found


def missing(repo):
    """No file."""
    put(repo, {})


def empty(repo):
    """No byte."""
    put(repo, {"index.db": b""})


def text(repo):
    """Somebody's notes."""
    put(repo, {"index.db": b"this is no database, but it is long enough to be one\n" * 400})


def a_folder(repo):
    """A folder."""
    put(repo, {})
    database(repo).mkdir()


def a_full_folder(repo):
    """A folder with something in it."""
    a_folder(repo)
    (database(repo) / "x").write_text("x\n")


def a_dangling_link(repo):
    """A link to nothing."""
    put(repo, {})
    database(repo).symlink_to("/nowhere/index.db")


def a_ring_of_links(repo):
    """A link to itself."""
    put(repo, {})
    database(repo).symlink_to("index.db")


def a_pipe(repo):
    """A pipe."""
    put(repo, {})
    os.mkfifo(database(repo))


def another_version(repo):
    """The schema of a later program."""
    with sqlite3.connect(database(repo)) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()


def no_index(repo):
    """A database of another program."""
    put(repo, {})
    with sqlite3.connect(database(repo)) as other:
        other.execute("CREATE TABLE notes(text)")
        other.execute("PRAGMA user_version = 1")
    other.close()


def only_the_log(repo):
    """The main file deleted, its write-ahead log left behind."""
    found = with_wal(repo, lambda repo: change(repo, "need", "1", priority=4))
    shown = dump(repo)
    put(repo, {name: data for name, data in found.items() if name != "index.db"})
    return shown


def cut(length):
    """The first so many bytes; a share of the whole below 1, from the end below 0."""

    def alter(repo):
        size = database(repo).stat().st_size
        os.truncate(database(repo), int(size * length) if 0 < length < 1 else length % size)

    alter.__name__ = f"cut-{length}"
    return alter


SHAPES = [missing, empty, text, a_folder, a_full_folder, a_dangling_link, a_ring_of_links, a_pipe, another_version,
          no_index, only_the_log, cut(0.3)]  # fmt: skip
LENGTHS = [cut(length) for length in (1, 15, 99, 100, 4096, 8192, 0.7, -8192, -1)]


@pytest.mark.parametrize("lose", SHAPES, ids=lambda one: one.__name__)
def test_a_lost_index_is_made_anew_with_one_line_told(repo, lose):
    """Any command: the answer is right, one line on stderr says what happened, and the state is the one from before;
    the journal, the pending log and git are as they were."""
    shown = dump(repo)
    shown = lose(repo) or shown
    state = snapshot(repo)
    done = run(repo, "need", "list", "--json")
    assert len(done.err.splitlines()) == 1 and "index" in done.err, done.err
    assert [row["title"] for row in done.json["rows"]] == titles_by_priority(repo)
    assert try_open(find(str(repo))) is not None, "told once"
    assert dumping.differences(shown, dump(repo)) == []
    assert snapshot(repo) == state
    assert setup.check_rebuild(str(repo)) == []


@pytest.mark.parametrize("lose", LENGTHS, ids=lambda one: one.__name__)
def test_an_index_that_was_cut_is_made_anew(repo, lose):
    """At any length: inside the header, at the end of a page, a byte too short."""
    shown = dump(repo)
    lose(repo)
    state = snapshot(repo)
    assert dumping.differences(shown, dump(repo)) == []
    assert snapshot(repo) == state


def titles_by_priority(repo):
    """The titles as `need list` orders them."""
    rows = [json.loads(row) for row in kept(repo)["needs"]]
    return [r["title"] for r in sorted(rows, key=lambda r: (r["priority"] is None, r["priority"] or 0, r["id"]))]


def test_another_workspaces_index_is_not_taken_for_ours(repo, tmp_path):
    """Put in our place by a copy that went wrong: neither its rows nor what it had not flushed reach ours, our pending
    log or our journal; it is kept beside the new one."""
    stranger = a_workspace(tmp_path / "stranger")
    config = (stranger / ".mlos/config.toml").read_text()
    (stranger / ".mlos/config.toml").write_text(config.replace(workspace_id(stranger), "ab" * 16))
    setup.rebuild(find(str(stranger)))
    need(stranger, "Foreign")
    with sqlite3.connect(database(stranger)) as other:
        other.execute("INSERT INTO needs(title) VALUES ('Foreign and not flushed')")
    other.close()
    shown, log = dump(repo), ledger(repo)
    put(repo, files(stranger))
    done = run(repo, "need", "list", "--json")
    assert len(done.err.splitlines()) == 1 and "workspace" in done.err, done.err
    assert not [row for row in done.json["rows"] if row["title"].startswith("Foreign")]
    assert dumping.differences(shown, dump(repo)) == [] and ledger(repo) == log
    published(repo)
    assert not [data for data in segments_on_disk(repo) if b"Foreign" in data]
    assert list(folder(repo).glob("index.db.damaged-*"))


def workspace_id(repo):
    """The id in the config."""
    return find(str(repo)).config.workspace


def segments_on_disk(repo):
    """The bytes of all segments in the work tree."""
    return [one.read_bytes() for one in (repo / ".mlos/journal").rglob("*.jsonl")]


def test_an_index_of_a_copied_clone_is_ours(repo):
    """cp -r of a clone, or a backup of it: the same workspace, so its index is caught up, not thrown away."""
    copy = shutil.copytree(repo, repo.parent / "copy", symlinks=True)
    need(copy, "In the copy")
    assert run(copy, "need", "list").err == ""
    put(repo, files(copy))
    assert "In the copy" in titles(repo)


OLD = ["with nothing", "with its log", "less its log", "with a later log"]


@pytest.mark.parametrize("how", OLD)
def test_an_old_copy_of_the_index_is_caught_up(repo, how):
    """A backup put back beside a newer pending log and newer commits: at most one line told, then the same state."""
    if how == "with nothing":
        old = files(repo)
        later(repo)
    elif how == "with a later log":
        old = files(repo)
        new = with_wal(repo, later)
        old["index.db-wal"] = new["index.db-wal"]
    else:
        old = with_wal(repo, lambda repo: need(repo, "In the log"))
        later(repo)
        if how == "less its log":
            old = {"index.db": old["index.db"]}
    synced(repo)
    shown = dump(repo)
    put(repo, old)
    done = run(repo, "sync", ok=False)
    assert done.code == 0 and len(done.err.splitlines()) <= 1
    assert dumping.differences(shown, dump(repo)) == []
    assert setup.check_rebuild(str(repo)) == []


def test_an_old_copy_under_a_log_that_is_not_its_own_loses_nothing(repo):
    """Pages of two times in one file: whatever SQLite makes of it, a rebuild brings everything back."""
    old = files(repo)
    for number in range(40):
        need(repo, f"Filler {number} " + "x" * 500)
    synced(repo)
    new = with_wal(repo, lambda repo: need(repo, "Newest"))
    shown = kept(repo)
    put(repo, {"index.db": old["index.db"], "index.db-wal": new["index.db-wal"]})
    done = run(repo, "need", "list", ok=False)
    assert done.code == 0 or (done.code == 3 and "mlos-sync rebuild" in done.err)
    run(repo, "rebuild")
    assert kept(repo) == shown


@pytest.mark.parametrize("parts", [["wal"], ["wal", "shm"], ["shm"]], ids=" ".join)
def test_a_deleted_write_ahead_log_is_made_good(repo, parts):
    """What only it had is in the pending log and in commits."""
    found = with_wal(repo, later)
    shown = dump(repo)
    put(repo, {name: data for name, data in found.items() if name[9:] not in parts})
    synced(repo)
    assert dumping.differences(shown, dump(repo)) == []
    assert setup.check_rebuild(str(repo)) == []


@pytest.mark.parametrize("first", ["look", "rebuild", "commit"])
def test_events_that_only_the_index_knows_are_not_lost(repo, first):
    """git reset to an older commit, and the pending log deleted by hand: the index is newer than all else. What it
    knows is shown, pending, published by the next commit, and survives a rebuild, whichever comes first."""
    later(repo)
    rows = kept(repo)
    ids = {json.loads(row)["id"] for row in rows["events"]}
    git(repo, "reset", "-q", "--hard", "HEAD~3")
    (folder(repo) / "ledger.jsonl").unlink()
    if first == "look":
        assert titles(repo) == ["First, changed", "Later", "Pending", "Second", "Third"]
    elif first == "rebuild":
        run(repo, "rebuild", ok=False)
    else:
        write(repo, "note.md", "anew\n")
        save(repo, "anew")
        assert ids <= committed(repo)
    assert kept(repo) == rows
    rebuilt(repo)
    assert kept(repo) == rows
    write(repo, "note.md", "again\n")
    save(repo, "again")
    assert ids <= committed(repo) and pending(repo) == 0
    clone = repo.parent / "clone"
    git(repo.parent, "clone", "-q", str(repo), "clone")
    assert titles(clone) == ["First, changed", "Later", "Pending", "Second", "Third"]


def outcome(repo, shown):
    """What a command finds: "same", "made anew", "told" (an error with a way out) or "different"."""
    try:
        index = try_open(find(str(repo)))
        if index is None:
            return "made anew"
        try:
            freshness.catch_up(index)
            return "same" if dumping.canonical(index.db) == shown else "different"
        finally:
            index.db.close()
    except (MlosError, sqlite3.DatabaseError):
        return "told"


def flipped(data, at, chance):
    """One bit of one byte changed."""
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def test_a_flipped_byte_in_the_main_file_loses_nothing(repo):
    """SQLite has no checksums: most flips hit free space, some make the file malformed, some change what a row says. None
    is a crash, each that shows is found by `rebuild --check`, a rebuild makes all good, and nothing of it gets into the
    pending log."""
    seed = 20261121
    print(f"seed {seed}")
    chance = random.Random(seed)
    for number in range(20):
        need(repo, f"Filler {number}")
    synced(repo)
    shown, whole, log = dump(repo), files(repo), ledger(repo)
    data = whole["index.db"]
    live = [at for at in range(len(data)) if data[at]]
    seen = dict.fromkeys(("same", "made anew", "told", "different"), 0)
    for at in (*chance.sample(range(40_000), 10), *chance.sample(live, 40)):
        put(repo, {"index.db": flipped(data, at, chance)})
        found = outcome(repo, shown)
        seen[found] += 1
        if found != "same":
            if found == "different":
                assert setup.check_rebuild(str(repo)), at
            rebuilt(repo)
            assert dumping.differences(shown, dump(repo)) == [], at
        assert ledger(repo) == log, at
    print(seen)
    assert seen["same"] and seen["made anew"] + seen["told"] and seen["different"], "the sample shows every kind"


@pytest.mark.parametrize("name", ["index.db-wal", "index.db-shm"])
def test_a_flipped_byte_in_the_write_ahead_log_or_shared_memory_loses_nothing(repo, name):
    """SQLite drops the log from the damaged frame on, without a word, so the index falls back in time and is caught up;
    the shared memory is made anew by who opens the database first."""
    seed = 20261122
    print(f"seed {seed}")
    chance = random.Random(seed)
    found = with_wal(repo, later)
    shown = dump(repo)
    for at in (0, 10, 30, *chance.sample(range(len(found[name])), 17)):
        put(repo, {**found, name: flipped(found[name], at, chance)})
        synced(repo)
        assert dumping.differences(shown, dump(repo)) == [], at


@pytest.mark.parametrize("table", ["needs", "events", "outbox", "meta"])
def test_a_flipped_byte_in_the_text_of_the_schema_is_told_and_mended(repo, table):
    """The name of a table becomes invalid UTF-8: SQLite's words about it are, too."""
    shown = dump(repo)
    data = files(repo)["index.db"]
    at = data.index(f"CREATE TABLE {table} ".encode()) + 3
    put(repo, {"index.db": data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :]})
    done = run(repo, "need", "list", ok=False)
    assert done.code == 0 or (done.code == 3 and "mlos-sync rebuild" in done.err)
    run(repo, "rebuild")
    assert dumping.differences(shown, dump(repo)) == []


@pytest.mark.parametrize("look", [False, True], ids=["hook", "publish"])
def test_what_a_flipped_byte_made_of_an_event_is_never_published(repo, look):
    """A segment is for ever: each line that goes into one is checked, and the pending log has the right one."""
    data = files(repo)["index.db"]
    at = data.index(b'"title":"Pending"') + len(b'"title":"P')
    put(repo, {"index.db": data[:at] + b"u" + data[at + 1 :]})
    if look:
        published(repo)
    write(repo, "note.md", "on\n")
    save(repo, "on")
    for path, held in segments(repo).items():
        assert journal.read_segment(journal.name_of(path), held).problems == ()
    run(repo, "rebuild")
    assert titles(repo) == ["First", "Pending", "Second", "Third"] and ledger(repo) <= committed(repo)


@pytest.mark.parametrize(
    "command",
    [
        ["need", "set", "4", "--priority", "1"],
        ["log", "need:4"],
        ["conflicts"],
    ],
    ids=" ".join,
)
def test_an_event_that_a_flipped_byte_made_no_json_is_told(repo, command):
    """A quote became something else: whoever reads the line says that the index is damaged, and a rebuild mends it."""
    shown = kept(repo)
    data = files(repo)["index.db"]
    at = data.index(b'"title":"Pending"')
    put(repo, {"index.db": data[:at] + b"#" + data[at + 1 :]})
    done = run(repo, *command, ok=False)
    assert done.code == 0 or (done.code == 3 and "mlos-sync rebuild" in done.err), done
    run(repo, "rebuild")
    assert [json.loads(row)["title"] for row in kept(repo)["needs"]] == [
        json.loads(row)["title"] for row in shown["needs"]
    ]
    assert {json.loads(row)["id"] for row in shown["events"]} <= ledger(repo) | committed(repo)


def test_an_index_deleted_under_an_open_one_loses_no_acknowledged_record(repo):
    """A process that has the old file open goes on: what it says is done is in the pending log."""
    with opened(repo) as index:
        from mlos_sync.app import records

        missing(repo)
        records.add(index, "need", [{"title": "Into the void"}])
    assert "Into the void" in titles(repo)
    assert told(repo) == {}


def test_plain_sql_into_an_old_copy_is_captured(repo):
    """Rows typed into an index that is behind: flushed with what the journal has meanwhile."""
    old = files(repo)
    later(repo)
    put(repo, old)
    with sqlite3.connect(database(repo)) as other:
        other.execute("INSERT INTO needs(title) VALUES ('By hand')")
    other.close()
    assert titles(repo) == ["By hand", "First, changed", "Later", "Pending", "Second", "Third"]
    numbers = [row["id"] for row in run(repo, "need", "list", "--json").json["rows"]]
    assert len(set(numbers)) == 6
    assert run(repo, "rebuild", "--check", "--json", ok=False).json["differences"] == []


def test_the_way_out_of_every_error_about_the_index_is_true(repo):
    """`run mlos-sync rebuild` is what the message says, so it works where it is said: also with a sqlite3 shell that has
    the damaged file open."""
    shell = subprocess.Popen(["sqlite3", str(database(repo))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert shell.stdin is not None and shell.stdout is not None
    shell.stdin.write("SELECT count(*) FROM needs;\n")
    shell.stdin.flush()
    assert shell.stdout.readline() == "4\n"
    shown = dump(repo)
    with database(repo).open("r+b") as file:
        file.seek(8192 * 3)
        file.write(b"\xa5" * 8192 * 4)
    run(repo, "rebuild")
    assert dumping.differences(shown, dump(repo)) == []
    shell.communicate(".quit\n", timeout=30)
