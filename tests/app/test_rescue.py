"""An index that cannot be used is no reason to lose what only it holds."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess

import pytest
from cli import run
from gitrepo import make_repo

from mlos_sync.app import setup

ROW = "INSERT INTO needs(title) VALUES ('precious')"


@pytest.fixture
def repo(tmp_path):
    place = make_repo(tmp_path)
    setup.initialise(str(place))
    return place


def database(repo):
    return repo / ".git" / "mlos" / "index.db"


def typed(repo, *statements):
    """What somebody types into a program of their own."""
    connection = sqlite3.connect(database(repo), isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def titles(repo):
    return [row["title"] for row in run(repo, "need", "list", "--json").json["rows"]]


@pytest.mark.parametrize("version", [0, 99])
def test_another_schema_version_is_emptied_into_the_log_first(repo, version):
    """Rows that were not flushed yet outlive the schema they were written under."""
    typed(repo, ROW, f"PRAGMA user_version = {version}")
    assert titles(repo) == ["precious"]


def test_a_damaged_index_is_kept_beside_the_new_one(repo):
    """What cannot be read is set aside, never written over."""
    typed(repo, ROW, "PRAGMA wal_checkpoint(TRUNCATE)")
    with database(repo).open("r+b") as file:
        file.write(b"X" * 16)
    before = database(repo).read_bytes()
    said = run(repo, "need", "list", "--json")
    assert said.json["rows"] == [] and "is kept: " in said.err and "index.db.damaged-1" in said.err
    (kept,) = (path for path in database(repo).parent.glob("index.db.damaged-*") if path.name.endswith("-1"))
    assert kept.read_bytes() == before


@pytest.mark.skipif(not shutil.which("setpriv"), reason="SETPRIV IS MISSING: rights cannot be taken from root")
def test_an_index_without_rights_is_left_alone(repo):
    """No permission now is no missing index: nothing is made, nothing is lost."""
    typed(repo, ROW)
    database(repo).chmod(0)
    rights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    done = run(repo, "need", "list", ok=False, before=tuple(rights))
    assert done.code == 3 and "cannot be opened" in done.err
    database(repo).chmod(0o600)
    assert titles(repo) == ["precious"]


def test_a_shell_that_was_open_during_a_rebuild_is_told(repo):
    """It would write into a file that nobody reads again: its next write fails, with the reason."""
    shell = sqlite3.connect(database(repo), isolation_level=None)
    assert shell.execute("SELECT count(*) FROM needs").fetchone() == (0,)
    run(repo, "rebuild")
    with pytest.raises(sqlite3.Error, match="this index was rebuilt: open it again"):
        shell.execute(ROW)
    shell.close()


def test_uninstall_without_an_index_asks_the_log(repo):
    """The pending log may be all there is: it is not thrown away unread."""
    run(repo, "need", "add", "precious")
    for path in database(repo).parent.glob("index.db*"):
        os.unlink(path)
    done = run(repo, "uninstall", ok=False)
    assert done.code == 3 and "1 events are in no commit yet" in done.err
    assert titles(repo) == ["precious"]


def test_rebuild_takes_no_absence_for_deletion(repo):
    """A mass disappearance asks, as in sync."""
    (repo / "a").mkdir()
    for n in range(120):
        (repo / "a" / f"{n}.txt").write_text(f"{n}\n")
    run(repo, "sync")
    shutil.rmtree(repo / "a")
    done = run(repo, "rebuild", ok=False)
    assert done.code == 4 and "--accept-deletes" in done.err
    assert len(run(repo, "artifact", "list", "--json").json["rows"]) > 100
    run(repo, "rebuild", "--accept-deletes")
    assert len(run(repo, "artifact", "list", "--json").json["rows"]) < 10


def test_init_brings_back_the_config_that_git_has(repo):
    """A config that is only not on disk is the same workspace still."""
    subprocess.run(["git", "add", "-A"], cwd=repo, check=True)
    before = (repo / ".mlos/config.toml").read_bytes()
    (repo / ".mlos/config.toml").unlink()
    assert run(repo, "status", ok=False).code == 3
    run(repo, "init")
    assert (repo / ".mlos/config.toml").read_bytes() == before


@pytest.mark.parametrize("line", ["!", "\\", "a\\", "[z-a]"])
def test_a_pattern_that_is_none_is_named(repo, line):
    """The other patterns count, and everything else is indexed."""
    (repo / ".mlosignore").write_text(f"*.log\n{line}\n")
    (repo / "x.log").write_text("x\n")
    (repo / "x.md").write_text("x\n")
    done = run(repo, "sync", "--json", ok=False)
    assert done.code in (0, 1) and "x.md" in done.json["added"] and "x.log" not in done.json["added"]
    if done.code:
        (skipped,) = done.json["skipped"]
        assert skipped["path"] == ".mlosignore" and "line 2" in skipped["reason"]


def test_a_pipe_in_the_place_of_the_ignore_file_hangs_nobody(repo):
    """It is named as what it is."""
    os.mkfifo(repo / ".mlosignore")
    assert run(repo, "sync", ok=False).code in (0, 1)


def test_a_file_that_is_no_segment_is_named(repo):
    """It is not read, and it is not passed over in silence."""
    folder = repo / ".mlos/journal/2026/01"
    folder.mkdir(parents=True)
    (folder / "copy.jsonl").write_text("zzz")
    done = run(repo, "sync", "--json", ok=False)
    assert done.code == 1 and [one["path"] for one in done.json["skipped"]] == [".mlos/journal/2026/01/copy.jsonl"]
    (folder / "copy.jsonl").unlink()
    run(repo, "sync")


def test_sync_of_a_path_that_is_nowhere(repo):
    """An unknown reference is an error of usage."""
    assert run(repo, "sync", "nope", ok=False).code == 2


def test_a_lock_that_git_left_is_named(repo):
    """Missing files are not taken for deleted while git may be at work, and sync says so."""
    (repo / "a.txt").write_text("a\n")
    subprocess.run(["git", "add", "-A"], cwd=repo, check=True)
    run(repo, "sync")
    (repo / "a.txt").unlink()
    (repo / ".git/index.lock").touch()
    done = run(repo, "sync", "--json", ok=False)
    assert done.code == 1 and done.json["deleted"] == [] and "git is at work" in done.json["skipped"][0]["reason"]
    (repo / ".git/index.lock").unlink()
    assert run(repo, "sync", "--json").json["deleted"] == ["a.txt"]
