"""`watch` on a real work tree with real events."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from gitrepo import make_repo

from mlos_sync.app import opening, setup, status, watching


@pytest.fixture
def watcher(tmp_path):
    """A workspace with a running watcher, and what reads one line of its output."""
    repo = make_repo(tmp_path)
    (repo / "notes").mkdir()
    setup.initialise(str(repo))
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "mlos_sync", "-C", str(repo), "watch", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield repo, process
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def until(process, wanted):
    """Read reports until one names `wanted` among added, modified or deleted."""
    while line := process.stdout.readline():
        report = json.loads(line)
        if wanted in [*report["added"], *report["modified"], *report["deleted"]]:
            return report
    raise AssertionError("the watcher ended")


def test_new_changed_and_deleted_files_are_seen(watcher):
    """Each change is in the index within a batch, in old and in new folders."""
    repo, process = watcher
    until(process, ".mlos/config.toml")
    (repo / "notes" / "a.md").write_text("one\n")
    assert "notes/a.md" in until(process, "notes/a.md")["added"]
    (repo / "notes" / "a.md").write_text("two\n")
    assert "notes/a.md" in until(process, "notes/a.md")["modified"]
    (repo / "fresh" / "deep").mkdir(parents=True)
    (repo / "fresh" / "deep" / "b.md").write_text("b\n")
    until(process, "fresh/deep/b.md")
    (repo / "notes" / "a.md").unlink()
    assert "notes/a.md" in until(process, "notes/a.md")["deleted"]


def test_one_watcher_a_worktree_and_a_clean_stop(watcher):
    """A second one is refused and says who watches; TERM stops the first; status knows both."""
    repo, process = watcher
    until(process, ".mlos/config.toml")
    index = opening.open_index(str(repo))
    assert status.status(index)["watcher"]["running"] is True
    second = subprocess.run(
        [sys.executable, "-I", "-m", "mlos_sync", "-C", str(repo), "watch"], capture_output=True, text=True, check=False
    )
    assert second.returncode == 3 and f"process {process.pid}" in second.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert status.status(index)["watcher"]["running"] is False
    index.db.close()


def test_a_file_that_goes_meanwhile_does_not_end_the_watch(tmp_path, monkeypatch):
    """What the system refuses once is told, and the next look is as good as ever."""
    repo = make_repo(tmp_path)
    setup.initialise(str(repo))
    real = watching.sync

    def refused_once(index, **options):
        monkeypatch.setattr(watching, "sync", real)
        raise FileNotFoundError(2, "No such file or directory", "gone.md")

    monkeypatch.setattr(watching, "sync", refused_once)
    looks = watching.looks(str(repo))
    first = next(looks)
    assert first.report is None and "gone.md" in first.problem.message
    (repo / "note.md").write_text("one\n")
    assert "note.md" in next(looks).report.changes.added
    looks.close()
