"""Damage to the journal: named with the way back, everything else kept, nothing repaired by readers.

Each damage of `damaged.DAMAGE` is done where a segment can be damaged: in the work tree, in git's index, in a commit, in
a clone of that commit, in a segment that no commit has. (The pending log: test_damaged_log.py.)
"""

from __future__ import annotations

import json
import os
import random
import shutil

import pytest
from cli import (
    changed,
    clone,
    committed,
    head,
    ledger,
    listed,
    opened,
    published,
    run,
    save,
    segments,
    synced,
    titles,
    write,
)
from damaged import (
    DAMAGE,
    NO_RIGHTS,
    a_workspace,
    command_in,
    commit_damage,
    forge,
    kept,
    lines_named,
    rebuilt,
    segment,
    snapshot,
    strange_clone,
    told,
    told_by_command,
    typed,
)
from gitrepo import git

from mlos_sync.app import freshness
from mlos_sync.app.looking import look
from mlos_sync.core import journal


@pytest.fixture
def repo(tmp_path):
    """A synced workspace with three committed segments and two pending events."""
    return a_workspace(tmp_path)


def in_work_tree(repo, path, data):
    """The file alone; git has it whole."""
    (repo / path).write_bytes(data)
    return repo


def in_index(repo, path, data):
    """The same, and `git add`."""
    in_work_tree(repo, path, data)
    git(repo, "add", path)
    return repo


def in_commit(repo, path, data):
    """A commit holds it, the one before has it whole; this clone made its events."""
    commit_damage(repo, path, data)
    return repo


def in_clone(repo, path, data):
    """The same in a clone made afterwards, which has no pending log."""
    commit_damage(repo, path, data)
    return clone(repo, "copy")


def in_pulled_commit(repo, path, data):
    """The same in a clone that had the whole segment and then pulls."""
    copy = clone(repo, "copy")
    synced(copy)
    commit_damage(repo, path, data)
    git(copy, "pull", "-q")
    return copy


def off_disk(repo, path, data):
    """In a clone of that commit, whose work tree has not got the file."""
    copy = in_clone(repo, path, data)
    (copy / path).unlink()
    return copy


CASES = [(in_work_tree, name) for name in DAMAGE]
CASES += [(in_clone, name) for name in ("cut", "empty", "flipped", "CRLF", "reordered", "deep", "forged")]
CASES += [
    (place, name)
    for place in (in_index, in_commit, in_pulled_commit, off_disk)
    for name in ("cut", "flipped", "forged")
]


@pytest.mark.parametrize(("place", "name"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_what_git_has_whole_costs_no_record_and_the_command_that_is_named_restores_it(repo, place, name):
    """The line is named, no row is missing, readers change no byte, a rebuild gives the same, and the git command in
    the message, typed as it stands, makes the file whole."""
    path = segment(repo)
    whole = (repo / path).read_bytes()
    rows = kept(repo)
    repo = place(repo, path, DAMAGE[name].apply(whole))
    if place in (in_clone, in_pulled_commit, off_disk):
        rows = without_pending(rows)
    state = snapshot(repo)
    reasons = told(repo)
    assert kept(repo) == rows
    assert list(reasons) == [path]
    assert not DAMAGE[name].lines or lines_named(reasons[path]) & DAMAGE[name].lines, reasons[path]
    rebuilt(repo)
    assert kept(repo) == rows and told(repo) == reasons
    assert snapshot(repo) == state, "a reader changed something"
    done = typed(repo, command_in(reasons[path]), repo)
    assert done.returncode == 0, done.stderr
    assert (repo / path).read_bytes() == whole, command_in(reasons[path])
    assert told(repo) == {} and kept(repo) == rows


def without_pending(tables):
    """What a clone has: everything but the need that no commit holds."""
    (uid,) = (json.loads(row)["uid"] for row in tables["needs"] if '"Pending"' in row)
    return {table: [row for row in rows if uid not in row] for table, rows in tables.items()}


@pytest.mark.parametrize("place", [in_commit, in_clone, in_pulled_commit])
def test_a_repair_of_a_commit_is_committed(repo, place):
    """What the message names is not refused by the guard, and verify has nothing left to say about the new commit."""
    path = segment(repo)
    repo = place(repo, path, DAMAGE["flipped"].apply((repo / path).read_bytes()))
    (reason,) = told(repo).values()
    typed(repo, command_in(reason), repo)
    save(repo, "mended")
    assert changed(repo) == [] and told(repo) == {}
    found = run(repo, "verify", "--json", ok=False).json["findings"]
    assert [one for one in found if one["kind"] == "journal"] == []


@pytest.mark.parametrize("place", [in_commit, in_clone])
def test_verify_names_line_and_command(repo, place):
    """In CI there is no index to ask: `verify` says the same by itself."""
    path = segment(repo)
    whole = (repo / path).read_bytes()
    repo = place(repo, path, DAMAGE["flipped"].apply(whole))
    write(repo, "later.md", "x\n")
    save(repo, "later")  # so that the damage is not the newest commit's
    done = run(repo, "verify", "--json", ok=False)
    (found,) = (one for one in done.json["findings"] if one["kind"] == "journal")
    assert done.code == 1 and found["path"] == path and lines_named(found["message"]) == {3}
    assert typed(repo, command_in(found["fix"]), repo).returncode == 0
    assert (repo / path).read_bytes() == whole


def test_the_command_works_in_every_folder(repo):
    """Whoever works in a subfolder types it there."""
    write(repo, "deep/er/file.md", "x\n")
    path = segment(repo)
    whole = (repo / path).read_bytes()
    in_work_tree(repo, path, DAMAGE["flipped"].apply(whole))
    reason = told_by_command(repo / "deep" / "er")[path]
    done = typed(repo / "deep" / "er", command_in(reason), repo)
    assert done.returncode == 0 and (repo / path).read_bytes() == whole, done.stderr


def test_every_reading_command_bears_damage(repo):
    """By the command line, exit codes as documented: 0 from those that read, 1 from sync; no byte is changed, and a
    commit goes through and publishes what is pending."""
    path = segment(repo)
    in_work_tree(repo, path, DAMAGE["markers"].apply((repo / path).read_bytes()))
    state = snapshot(repo)
    for command in (
        ["status"], ["need", "list"], ["log"], ["conflicts"],
        ["dump", "--canonical"], ["rebuild", "--check"], ["why", "note.md"],
    ):  # fmt: skip
        run(repo, *command)
    assert list(told_by_command(repo)) == [path]
    assert snapshot(repo) == state
    assert path in run(repo, "status").out
    assert run(repo, "rebuild", ok=False).code == 1
    write(repo, "note.md", "on\n")
    git(repo, "commit", "-q", "-m", "on", "note.md")
    assert ledger(repo) <= committed(repo)
    assert git(repo, "show", f"HEAD:{path}").stdout.encode() != (repo / path).read_bytes()


def strangers(repo):
    """A clone that has never had a segment, and the segment's path and bytes."""
    path = segment(repo)
    data = (repo / path).read_bytes()
    copy = strange_clone(repo, 2)
    assert titles(copy) == ["First"]
    return copy, path, data


@pytest.mark.parametrize("name", [name for name in DAMAGE if name != "forged"])
def test_of_a_segment_that_nobody_has_whole_the_good_lines_count(repo, name):
    """Somebody copied a file here, damaged: its line is named, and exactly the events of good lines stand."""
    repo, path, data = strangers(repo)
    ids = [json.loads(line)["id"] for line in data.split(b"\n")[1:-1]]
    write(repo, path, DAMAGE[name].apply(data))
    state = snapshot(repo)
    reasons = told(repo)
    assert list(reasons) == [path]
    assert not DAMAGE[name].lines or lines_named(reasons[path]) & DAMAGE[name].lines, reasons[path]
    good = {ids[number - 2] for number in DAMAGE[name].good}
    assert good == events(repo) & set(ids)
    second = [row for row in listed(repo, "need") if row["title"] == "Second"]
    assert [row["priority"] for row in second] == (
        [2 if 5 in DAMAGE[name].good else None] if 2 in DAMAGE[name].good else []
    )
    assert (len(listed(repo, "task")) == 2) == (3 in DAMAGE[name].good)
    rows = kept(repo)
    rebuilt(repo)
    assert kept(repo) == rows and snapshot(repo) == state
    assert "git restore" not in reasons[path], "git has nothing to restore it from"
    (repo / path).write_bytes(data)
    assert told(repo) == {} and set(ids) <= events(repo)


def events(repo):
    """The ids of the events that count."""
    return {json.loads(row)["id"] for row in kept(repo)["events"]}


def every_byte(repo, alter):
    """`alter(data, at)` for each byte of a small segment, taken in by an index that has never seen it: exactly the events
    of untouched lines count, and the file is named. (Which neighbours stay: DAMAGE above, and all bytes of a longer
    segment in tests/core/test_journal.py.)"""
    copy = strange_clone(repo, 1)
    path = next(path for path, data in segments(repo).items() if b'"Third"' in data)
    data = (repo / path).read_bytes()
    ids = {line: json.loads(line)["id"] for line in data.split(b"\n")[1:-1]}
    assert len(ids) == 1
    (copy / path).parent.mkdir(parents=True, exist_ok=True)
    with opened(copy) as index:
        freshness.catch_up(index)
        before = counting(index)
        assert not before & set(ids.values())
        for at in range(len(data)):
            damaged = alter(data, at)
            (copy / path).write_bytes(damaged)
            index.db.execute("BEGIN IMMEDIATE")
            freshness.refresh(index, look(index, thorough=True))
            assert counting(index) == before | {ids[line] for line in damaged.split(b"\n") if line in ids}, at
            subjects = index.db.execute("SELECT subject FROM observations WHERE kind = 'journal'").fetchall()
            assert subjects == [(path,)], at
            index.db.execute("ROLLBACK")
        (copy / path).write_bytes(data)
        freshness.catch_up(index, thorough=True)
        assert counting(index) == before | set(ids.values())
        assert index.db.execute("SELECT * FROM observations WHERE kind = 'journal'").fetchall() == []


def counting(index):
    """The ids of the events that count."""
    return {one for (one,) in index.db.execute("SELECT id FROM events WHERE visible = 1")}


def test_a_segment_cut_at_each_byte(repo):
    """What is whole before the cut counts, and the file is named at every length."""
    every_byte(repo, lambda data, at: data[:at])


def test_a_segment_flipped_at_each_byte(repo):
    """One bit of each byte in turn: its line is lost, no other, and the file is named."""
    seed = 20261120
    print(f"seed {seed}")
    bits = random.Random(seed)
    every_byte(repo, lambda data, at: data[:at] + bytes([data[at] ^ (1 << bits.randrange(8))]) + data[at + 1 :])


def as_folder(file):
    """A folder with a segment's name."""
    file.mkdir()


def as_full_folder(file):
    """The same with something in it."""
    file.mkdir()
    (file / "x.md").write_text("x\n")


def as_link(file):
    """A link to a whole copy elsewhere: links are not followed."""
    file.symlink_to(file.parents[4] / "elsewhere.jsonl")


def as_dangling_link(file):
    """A link to nothing."""
    file.symlink_to("nowhere")


def as_fifo(file):
    """A pipe that nobody writes to: who opens it to read may wait for ever."""
    os.mkfifo(file)


SHAPES = [as_folder, as_full_folder, as_link, as_dangling_link, as_fifo]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("known", [True, False], ids=["committed", "in-no-commit"])
def test_something_else_with_a_segments_name(repo, shape, known):
    """It is named and never read; what git has counts, and the command puts the file back."""
    path = segment(repo)
    data = (repo / path).read_bytes()
    (repo.parent / "elsewhere.jsonl").write_bytes(data)
    if known:
        (repo / path).unlink()
    else:
        repo, path, data = strangers(repo)
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
    rows = kept(repo)
    shape(repo / path)
    state = snapshot(repo)
    reasons = told(repo)
    assert path in reasons
    assert kept(repo) == rows and snapshot(repo) == state
    rebuilt(repo)
    assert kept(repo) == rows and snapshot(repo) == state
    if known:
        done = typed(repo, command_in(reasons[path]), repo)
        assert done.returncode == 0 and (repo / path).read_bytes() == data, done.stderr


@pytest.mark.parametrize("content", [b"", b"x\n"], ids=["silent", "talking"])
def test_a_pipe_with_a_writer_hangs_and_breaks_nothing(repo, content):
    """Opened without waiting, such a pipe has nothing to say yet, or says something that nobody should read."""
    path = segment(repo)
    rows = kept(repo)
    (repo / path).unlink()
    as_fifo(repo / path)
    writer = os.open(repo / path, os.O_RDWR)
    os.write(writer, content)
    try:
        assert list(told_by_command(repo)) == [path]
        assert kept(repo) == rows
    finally:
        os.close(writer)


@pytest.mark.skipif(not shutil.which("setpriv"), reason="SETPRIV IS MISSING: rights cannot be taken from root")
@pytest.mark.parametrize("closed", ["file", "month", "journal"])
def test_what_cannot_be_read_loses_no_record(repo, closed):
    """No rights on a segment or on the folders above it: git has the events; the command needs no rights either."""
    path = segment(repo)
    rows = kept(repo)
    target = {"file": repo / path, "month": (repo / path).parent, "journal": (repo / path).parents[2]}[closed]
    mode = target.stat().st_mode
    target.chmod(0)
    done = run(repo, "sync", "--json", ok=False, before=NO_RIGHTS)
    if closed == "file":
        assert done.code == 1
        (reason,) = (one["reason"] for one in done.json["skipped"])
        assert "altered" not in reason and "empty" not in reason, "it is not known to be damaged"
    assert run(repo, "need", "list", "--json", before=NO_RIGHTS).json["rows"] == listed_rows(rows)
    target.chmod(mode)
    assert told(repo) == {} and kept(repo) == rows


def listed_rows(tables):
    """The needs of a dump in the order of `need list`."""
    rows = [json.loads(row) for row in tables["needs"]]
    return sorted(rows, key=lambda row: (row["priority"] is None, row["priority"] or 0, row["id"]))


@pytest.mark.skipif(not shutil.which("setpriv"), reason="SETPRIV IS MISSING: rights cannot be taken from root")
def test_an_unreadable_segment_that_no_commit_has_deletes_nothing(repo):
    """Absence is not deletion: the rows that its events made stay until it can be read again."""
    repo, path, data = strangers(repo)
    write(repo, path, data)
    rows = kept(repo)
    (repo / path).chmod(0)
    assert run(repo, "sync", ok=False, before=NO_RIGHTS).code == 1
    found = run(repo, "need", "list", "--json", before=NO_RIGHTS).json["rows"]
    assert [row["title"] for row in found] == [row["title"] for row in listed_rows(rows)]
    (repo / path).chmod(0o644)
    assert kept(repo) == rows


def test_a_published_segment_that_is_damaged_before_its_commit_never_gets_into_one(repo):
    """The pending log has its events: they count, and the next commit holds them whole."""
    path = published(repo)
    git(repo, "reset", "-q")
    rows = kept(repo)
    data = (repo / path).read_bytes()
    (repo / path).write_bytes(data.replace(b'"Pending"', b'"Punding"'))
    reasons = told(repo)
    assert list(reasons) == [path] and lines_named(reasons[path]) == {2}
    assert kept(repo) == rows
    write(repo, "note.md", "on\n")
    git(repo, "commit", "-q", "-m", "on", "note.md")
    assert ledger(repo) <= committed(repo) and kept(repo)["needs"] == rows["needs"]
    for name, held in segments(repo).items():
        assert journal.read_segment(journal.name_of(name), held).problems == ()
    (reason,) = told(repo).values()
    assert typed(repo, command_in(reason), repo).returncode == 0
    assert told(repo) == {} and changed(repo) == []


@pytest.mark.parametrize("month", ["2019/01", "2031/12"], ids=["earlier", "later"])
def test_a_damaged_copy_in_another_month_hides_nothing(repo, month):
    """Two files of one name: whichever is looked at first, the damaged one is named and nothing that fails is advised."""
    path = segment(repo)
    rows = kept(repo)
    stray = f".mlos/journal/{month}/{path.rpartition('/')[2]}"
    write(repo, stray, DAMAGE["flipped"].apply((repo / path).read_bytes()))
    reasons = told(repo)
    assert list(reasons) == [stray] and kept(repo) == rows
    assert "git restore" not in reasons[stray] or typed(repo, command_in(reasons[stray]), repo).returncode == 0
    (repo / stray).unlink()
    in_work_tree(repo, path, DAMAGE["flipped"].apply((repo / path).read_bytes()))
    write(repo, stray, git(repo, "show", f"HEAD:{path}").stdout)
    reasons = told(repo)
    assert path in reasons and typed(repo, command_in(reasons[path]), repo).returncode == 0
    assert path not in told(repo) and kept(repo) == rows


@pytest.mark.parametrize("title", ["AAA", "zzz"])
def test_a_forged_line_in_a_damaged_file_beats_neither_the_log_nor_git(repo, title):
    """Its checksum fits, its file does not fit its name: what this clone wrote itself stands, then and afterwards."""
    path = published(repo)
    git(repo, "reset", "-q")
    rows = kept(repo)
    data = (repo / path).read_bytes()
    lines = data.split(b"\n")
    (repo / path).write_bytes(b"\n".join([lines[0], forge(lines[1], title=title), *lines[2:]]))
    assert list(told(repo)) == [path]
    assert kept(repo) == rows
    (repo / path).write_bytes(data)
    assert told(repo) == {} and kept(repo) == rows


@pytest.mark.parametrize("title", ["AAA", "zzz"])
def test_a_forged_twin_counts_no_longer_than_its_segment_is_here(repo, title):
    """A segment whose name is right for what somebody forged: a rule decides while both stand, and index and rebuild
    agree then and when it has gone."""
    rows = kept(repo)
    lines = (repo / segment(repo)).read_bytes().split(b"\n")
    data = lines[0] + b"\n" + forge(lines[1], title=title) + b"\n"
    twin = journal.segment_path(data, "2026-11-20T10:00:00Z")
    write(repo, twin, data)
    both = kept(repo)
    rebuilt(repo)
    assert kept(repo) == both
    (repo / twin).unlink()
    assert kept(repo) == rows
    rebuilt(repo)
    assert kept(repo) == rows


def test_a_title_of_ten_megabytes_in_a_whole_segment_is_held_and_stops_nothing(repo):
    """It breaks a rule of the database: the record is kept aside and told, everything else stands, a rebuild agrees."""
    rows = kept(repo)
    event = journal.make(
        id="12" * 16, clock=(1_795_000_000_000, 0), seen=(), kind="need", uid="34" * 16, op="create", actor="Ada",
        fields={"title": "S" * 10_000_000, "status": "identified", "id": 77}, door="cli", tx=None,
    )  # fmt: skip
    data = journal.segment_bytes([event], "00" * 16, "2026-11-18T00:00:00Z")
    write(repo, journal.segment_path(data, "2026-11-18T00:00:00Z"), data)
    assert kept(repo)["needs"] == rows["needs"]
    notes = run(repo, "status", "--json").json["observations"]
    assert [one["subject"] for one in notes if one["kind"] == "held"] == [f"need:{event.uid}"]
    rebuilt(repo)
    assert kept(repo)["needs"] == rows["needs"]


def test_a_line_beyond_the_limit_is_named_and_stops_nothing(repo):
    """Seventeen megabytes in one line, checksum and all."""
    rows = kept(repo)
    event = journal.make(
        id="12" * 16, clock=(1_795_000_000_000, 0), seen=(), kind="need", uid="34" * 16, op="create", actor="Ada",
        fields={"title": "S" * (17 << 20), "status": "identified", "id": 77}, door="cli", tx=None,
    )  # fmt: skip
    data = journal.segment_bytes([event], "00" * 16, "2026-11-18T00:00:00Z")
    path = journal.segment_path(data, "2026-11-18T00:00:00Z")
    write(repo, path, data)
    reasons = told(repo)
    assert list(reasons) == [path] and lines_named(reasons[path]) == {2}
    assert kept(repo) == rows


def test_a_damaged_segment_does_not_get_into_a_commit(repo):
    """`git add -A` of a damaged file that no commit has: the guard refuses it by name, with a way out that works."""
    repo, path, data = strangers(repo)
    before = head(repo)
    write(repo, path, DAMAGE["flipped"].apply(data))
    git(repo, "add", "-A")
    done = git(repo, "commit", "-q", "-m", "all", check=False)
    assert done.returncode != 0 and path in done.stderr and head(repo) == before


def test_a_sync_after_damage_is_settled(repo):
    """Damage that stays is told again each time, and nothing is written again for it."""
    path = segment(repo)
    in_work_tree(repo, path, DAMAGE["flipped"].apply((repo / path).read_bytes()))
    first = told(repo)
    with opened(repo) as index:
        generation = index.db.execute("PRAGMA data_version").fetchone()
        assert told(repo) == first == told(repo)
        assert index.db.execute("PRAGMA data_version").fetchone() == generation


def flipped_object(data):
    """Its zlib stream does not end well: git ends in the middle of a batch."""
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0x40]) + data[len(data) // 2 + 1 :]


def cut_object(data):
    """Its header is not whole."""
    return data[:20]


@pytest.mark.parametrize(
    "alter", [flipped_object, cut_object, None], ids=lambda one: one.__name__ if one else "deleted"
)
def test_an_object_that_git_cannot_read_costs_its_own_segment_alone_and_is_named(repo, alter):
    """In a clone without pending log, the journal not on disk: the other segments' rows stand, the path is named with a
    way out, and once the object is whole again the rows are back."""
    path = segment(repo)
    blob = git(repo, "rev-parse", f"HEAD:{path}").stdout.strip()
    rows = without_pending(kept(repo))
    repo = shutil.copytree(repo, repo.parent / "copy", symlinks=True)
    shutil.rmtree(repo / ".mlos/journal/" / path.split("/")[2])
    shutil.rmtree(repo / ".git/mlos")
    place = repo / ".git/objects" / blob[:2] / blob[2:]
    whole = place.read_bytes()
    place.unlink()
    if alter:
        place.write_bytes(alter(whole))
    assert titles(repo) == ["First", "Third"]
    reasons = told(repo)
    assert list(reasons) == [path] and "git fetch --refetch" in reasons[path]
    place.unlink(missing_ok=True)
    place.write_bytes(whole)
    assert told(repo) == {} and kept(repo)["events"] == rows["events"]


@pytest.mark.parametrize(
    "note", [b"garbage\n", b"\n", b"\xff\xfe\0\n", b"0123456789ab", b"a" * 40 + b" ../../outside\n"]
)
def test_a_note_of_our_own_that_is_torn_stops_nothing(repo, note):
    """What the pre-commit hook leaves for the post-commit hook, after a crash or on a full disk."""
    (repo / ".git/mlos/repair").write_bytes(note)
    assert told(repo) == {}
    (repo / ".git/mlos/repair").write_bytes(note)
    write(repo, "note.md", "on\n")
    assert git(repo, "commit", "-q", "-m", "on", "note.md").stderr == ""
    assert ledger(repo) <= committed(repo) and changed(repo) == []
    assert not (repo.parent / "outside").exists()
