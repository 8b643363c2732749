"""What a watcher does not see it knows, says, and looks at by itself: the cases in which libraries go blind in silence."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import naive
import pytest
from cli import run, save, workspace, write
from gitrepo import git
from transcribed import markdown, wrote
from watched import indexed, spent, watching

from mlos_sync.app import covering, standing
from mlos_sync.app import watching as use_case
from mlos_sync.app.clocks import Clocks
from mlos_sync.edge.watch import Watch
from mlos_sync.edge.workspace import find

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT TESTED: inotify is Linux's")


@pytest.fixture
def repo(tmp_path):
    """A committed workspace of forty folders."""
    made = workspace(tmp_path)
    for number in range(40):
        write(made, f"f{number:02}/a.md", f"{number}\n")
    save(made, "first")
    return made


def limited(name, most):
    """Words before a command that give it a user namespace with a limit of its own (user_namespaces(7))."""
    script = f'echo {most} >/proc/sys/user/{name} && exec "$@"'
    jail = ("unshare", "--user", "--map-root-user", "sh", "-c", script, "sh")
    if subprocess.run([*jail, "true"], capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: no user namespaces here, so no limit can be set")
    return jail


def queue_limit():
    """How many events this kernel keeps for one reader."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 40_000:
        pytest.skip(f"NOT TESTED: this kernel queues {limit} events")
    return limit


@LINUX
def test_an_overflow_is_told_and_made_good(repo):
    """More events than the kernel's queue holds, while the process is stopped; a new folder among them is watched."""
    limit = queue_limit()
    with watching(repo) as watcher:
        watcher.started()
        watcher.send(signal.SIGSTOP)
        (repo / "new" / "deep").mkdir(parents=True)
        for number in range(limit // 3):  # each is created, modified, closed
            (repo / "f00" / f"{number}.md").write_text("x\n")
        (repo / "new" / "deep" / "b.md").write_text("b\n")
        watcher.send(signal.SIGCONT)
        watcher.settled()
        assert watcher.told()["rescans"]
        (repo / "new" / "deep" / "b.md").write_text("seen by a hint again\n")
        watcher.until(lambda look: "new/deep/b.md" in look["modified"])
        watcher.settled()


@LINUX
def test_the_kernels_overflow_itself_is_told(repo):
    """The queue is full of folders that are watched: what watchdog says is what `status` says."""
    limit = queue_limit()
    with watching(repo) as watcher:
        watcher.started()
        watcher.send(signal.SIGSTOP)
        one, other = repo / "f00" / "x", repo / "f00" / "y"
        one.write_text("x\n")
        for _ in range(limit // 2):
            one.rename(other)
            other.rename(one)
        watcher.send(signal.SIGCONT)
        watcher.eventually(lambda: "the kernel's event queue overflowed" in watcher.told()["rescans"])
        watcher.settled()


@LINUX
@pytest.mark.parametrize("seed", [1, 2])
def test_churn_that_kills_other_readers(repo, seed):
    """Six writers make, rename and remove folders for a while: the index is right in the end, and the watcher sees."""
    stop = time.monotonic() + 6

    def churn(number):
        dice = random.Random(seed * 100 + number)
        top = repo / f"w{number % 3}"
        while time.monotonic() < stop:
            place = top / f"d{dice.randrange(6)}" / f"e{dice.randrange(3)}"
            try:
                what = dice.randrange(4)
                if what == 0:
                    place.mkdir(parents=True, exist_ok=True)
                    (place / f"f{dice.randrange(4)}.md").write_text(str(dice.random()))
                elif what == 1:
                    place.parent.rename(top / f"d{dice.randrange(6)}")
                elif what == 2:
                    shutil.rmtree(place.parent)
                else:
                    place.rename(repo / f"w{dice.randrange(3)}" / f"d{dice.randrange(6)}")
            except OSError:
                pass

    with watching(repo) as watcher:
        watcher.started()
        writers = [threading.Thread(target=churn, args=(n,)) for n in range(6)]
        for one in writers:
            one.start()
        for one in writers:
            one.join()
        watcher.settled()
        for folder in sorted(path for path in repo.glob("w*/**/") if path.is_dir()):
            (folder / "last.md").write_text("seen\n")
        watcher.settled()
        assert not [words for words in watcher.complaints if "Traceback" in words]


@LINUX
@pytest.mark.parametrize("before", [True, False])
def test_the_watch_limit_is_told_with_its_cure(repo, before):
    """Twenty folders too many, there at the start or made later: how many are watched, the sysctl, and all is found."""
    jail = limited("max_inotify_watches", 40)

    def more():
        for number in range(40, 70):
            (repo / f"f{number:02}").mkdir()

    if before:
        more()
    with watching(repo, before=jail) as watcher:
        watcher.started()
        if not before:
            more()
        watcher.eventually(lambda: watcher.told()["coverage"].get("polled"))
        told = watcher.eventually(lambda: (c := watcher.told()["coverage"])["folders"] >= 70 and c)
        assert told["watched"] < told["folders"] and told["polled"] == told["folders"] - told["watched"]
        assert "fs.inotify.max_user_watches" in told["cure"]
        assert {one["reason"] for one in told["parts"]} == {"watch limit"}
        for number in range(70):
            (repo / f"f{number:02}" / "late.md").write_text("late\n")
        watcher.settled()


@LINUX
def test_where_nothing_can_be_watched_it_looks_from_time_to_time(repo):
    """No instance of inotify is to be had: said with its cure, everything is polled, and questions are answered by a sync."""
    jail = limited("max_inotify_instances", 0)
    with watching(repo, before=jail) as watcher:
        watcher.started()
        (repo / "f00" / "late.md").write_text("late\n")
        watcher.settled()
        told = watcher.told()
        assert told["state"] == "polling" and "max_user_instances" in told["coverage"]["cure"]
        (repo / "f00" / "asked.md").write_text("asked\n")
        assert run(repo, "why", "f00/asked.md", "--wait").code == 0
        assert watcher.end() == 0


def test_private_transcripts_are_heard_of_wherever_they_come_to_lie(repo, tmp_path):
    """In a folder that git ignores, and in one outside, both made after the watcher was started."""
    (repo / ".gitignore").write_text(".specstory/\n")
    outside = tmp_path / "home" / "logs" / "deep"
    git(repo, "config", "mlos-sync.transcripts", str(outside))
    one, other = (markdown(f"0b6f3f0e-52f0-4a6b-9a39-5a7f0f3c1d1{n}", wrote("/p/f00/a.md", "0\n")) for n in (1, 2))
    with watching(repo) as watcher:
        watcher.started()

        def known():
            return len(run(repo, "transcripts", "--json").json["sessions"])

        place = repo / ".specstory" / "history"
        place.mkdir(parents=True)
        (place / "2026-02-16_13-04-52Z-plan.md").write_text(one)
        watcher.eventually(lambda: known() == 1)
        outside.mkdir(parents=True)
        (outside / "2026-02-17_13-04-52Z-plan.md").write_text(other)
        watcher.eventually(lambda: known() == 2)


def test_a_folder_becomes_a_repository_of_its_own_and_back(repo):
    """`git init` in a folder takes its files away from ours; without its .git they come back, and are watched."""
    with watching(repo) as watcher:
        watcher.started()
        (repo / "f40").mkdir()
        (repo / "f40" / "x.md").write_text("x\n")
        watcher.until(lambda look: "f40/x.md" in look["added"])
        git(repo / "f40", "init", "-q")
        watcher.until(lambda look: "f40/x.md" in look["deleted"])
        assert not [one for one in covering.folders(find(str(repo))) if one.startswith("f40")]
        shutil.rmtree(repo / "f40" / ".git")
        watcher.until(lambda look: "f40/x.md" in look["added"])
        (repo / "f40" / "x.md").write_text("xx\n")
        watcher.until(lambda look: "f40/x.md" in look["modified"])
        watcher.settled()


def test_folders_that_come_while_it_starts_are_watched(repo):
    """Each folder is watched before it is listed: what comes in between is in one or the other."""

    def make():
        for number in range(150):
            (repo / f"n{number}" / "in").mkdir(parents=True)
            (repo / f"n{number}" / "in" / "f.md").write_text("1\n")
            time.sleep(0.005)

    maker = threading.Thread(target=make)
    maker.start()
    with watching(repo) as watcher:
        maker.join()
        watcher.settled()
        for number in range(150):
            (repo / f"n{number}" / "in" / "f.md").write_text("2\n")
        watcher.settled()


def test_a_start_in_the_middle_of_a_merge_is_quiet(repo):
    """It waits for git without a spin, and says since when it is behind."""
    (repo / ".git" / "MERGE_HEAD").write_text("0" * 40 + "\n")
    with watching(repo) as watcher:
        watcher.eventually(lambda: (standing.of(find(str(repo))) or {}).get("state") == "waiting")
        assert watcher.told()["behind"]
        before = spent(watcher.process.pid)
        time.sleep(3)
        assert spent(watcher.process.pid) - before < 1  # one that spins takes all of it
        (repo / ".git" / "MERGE_HEAD").unlink()
        watcher.started()


def test_a_root_that_was_copied_into_its_place_is_watched(tmp_path):
    """With the git directory elsewhere nothing but the folder tells it from the one before."""
    root = tmp_path / "p" / "repo"
    root.mkdir(parents=True)
    git(root, "init", "-q", "-b", "main", "--separate-git-dir", str(tmp_path / "sep"))
    (root / "a.md").write_text("one\n")
    run(root, "init")
    with watching(root) as watcher:
        watcher.started()
        (root / "a.md").write_text("two\n")
        watcher.until(lambda look: "a.md" in look["modified"])
        (tmp_path / "p").rename(tmp_path / "p2")
        shutil.copytree(tmp_path / "p2", tmp_path / "p", symlinks=True)
        watcher.until(lambda look: look["reason"] in ("the root is another folder", "the workspace came back"))
        (root / "a.md").write_text("three\n")
        watcher.settled()


def test_patterns_that_take_files_back_in_leave_their_folders_watched(repo):
    """`notes/*` then `!*.md` in .mlosignore: a folder matches, and files in it do not."""
    (repo / ".mlosignore").write_text("f00/*\n!*.md\n")
    (repo / "f00" / "sub").mkdir()
    (repo / "f00" / "sub" / "n.md").write_text("1\n")
    with watching(repo) as watcher:
        watcher.started()
        (repo / "f00" / "sub" / "n.md").write_text("2\n")
        watcher.until(lambda look: "f00/sub/n.md" in look["modified"])


@LINUX
def test_a_question_includes_what_cannot_be_watched(repo):
    """A folder beyond the limit makes no event: it is looked at before the answer."""
    jail = limited("max_inotify_watches", 40)
    with watching(repo, before=jail) as watcher:
        watcher.started()
        polled = [one["path"] for one in watcher.told()["coverage"]["parts"] if one["path"].startswith("f")]
        for number in range(5):
            (repo / polled[0] / f"asked{number}.md").write_text("x\n")
            assert run(repo, "status", "--wait", "--json").json["fresh"] is True


def test_folders_moved_in_and_out(repo, tmp_path):
    """From outside with what is in them, and edits in there later; moved out, edits there are nobody's business."""
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "x.md").write_text("x\n")
    with watching(repo) as watcher:
        watcher.started()
        outside.rename(repo / "inside")
        watcher.until(lambda look: "inside/deep/x.md" in look["added"])
        (repo / "inside" / "deep" / "x.md").write_text("xx\n")
        watcher.until(lambda look: "inside/deep/x.md" in look["modified"])
        (repo / "inside").rename(outside)
        watcher.until(lambda look: "inside/deep/x.md" in look["deleted"])
        before = watcher.told()["batches"]
        (outside / "deep" / "x.md").write_text("of no concern\n")
        time.sleep(1)
        assert watcher.told()["batches"] == before
        watcher.settled()


def test_a_root_that_goes_and_comes_back(repo, tmp_path):
    """Moved away: nothing is deleted from the index, it says so; moved back with other contents: all is looked at."""
    with watching(repo) as watcher:
        watcher.started()
        known = indexed(repo)
        repo.rename(tmp_path / "away")
        lock = tmp_path / "away" / ".git" / "mlos" / "watch.lock"
        watcher.eventually(lambda: b'"away"' in lock.read_bytes())
        assert indexed(tmp_path / "away") == known
        watcher.eventually_noticed("the workspace went away")
        (tmp_path / "away" / "f00" / "a.md").write_text("changed there\n")
        (tmp_path / "away").rename(repo)
        watcher.until(lambda look: "f00/a.md" in look["modified"])
        (repo / "f01" / "a.md").write_text("watched as before\n")
        watcher.until(lambda look: "f01/a.md" in look["modified"])
        assert watcher.told()["state"] == "live"


def test_another_repository_in_the_same_place_ends_it(repo):
    """The old index is never applied to another repository: exit 3, and what to do."""
    with watching(repo) as watcher:
        watcher.started()
        shutil.rmtree(repo / ".git")
        git(repo, "init", "-q")
        assert watcher.process.wait(timeout=60) == 3
        watcher._threads[1].join()
        assert "mlos-sync init" in "".join(watcher.complaints)


class Loop:
    """A watcher in this process, so that its parts can be broken; its looks are read in a thread."""

    def __init__(self, repo):
        self.seen = []
        self.real = use_case._Watcher
        self.made = []

    def make(self, *given):
        self.made.append(self.real(*given))
        return self.made[-1]


@pytest.fixture
def loop(repo, monkeypatch):
    found = Loop(repo)
    monkeypatch.setattr(use_case, "_Watcher", found.make)
    looks = use_case.looks(str(repo))
    next(looks)
    yield found.made[0], looks
    looks.close()


def test_a_dead_reader_is_noticed_and_replaced(repo, loop):
    """Its thread ends: said in the errors, all is looked at, and hints come again."""
    watcher, looks = loop
    watcher.hearing._watch._tree._reader.stop()
    (repo / "f00" / "a.md").write_text("unseen\n")
    look = next(looks)
    assert look.reason == "watching had ended" and "f00/a.md" in look.report.changes.modified
    assert watcher.standing.rescans == {"watching had ended": 1} and "begun again" in watcher.standing.errors[0]
    (repo / "f01" / "a.md").write_text("seen\n")
    look = next(one for one in looks if one.report.changes)
    assert look.reason is None and look.report.changes.modified == ("f01/a.md",)


def test_a_reader_that_is_silent_is_noticed_too(repo, loop, monkeypatch):
    """The thread is there, and no event comes: the probe is not answered."""
    watcher, looks = loop
    with monkeypatch.context() as patched:
        patched.setattr(Watch, "probe", lambda self: None)
        look = next(looks)
        assert look.reason == "watching had ended" and "no event came" in watcher.standing.errors[0]
    (repo / "f01" / "a.md").write_text("seen\n")
    assert next(one for one in looks if one.report.changes).report.changes.modified == ("f01/a.md",)


def test_a_sleep_is_answered_by_a_look_at_everything(repo, loop):
    """As after suspend: whatever was missed is found, and the reason is told."""
    watcher, looks = loop
    watcher.clocks._before = tuple(
        one - lost for one, lost in zip(watcher.clocks._read(), (0, 3600, 3600), strict=True)
    )
    look = next(looks)
    assert look.reason == "the machine slept" and watcher.standing.rescans == {"the machine slept": 1}


@pytest.mark.parametrize(
    ("then", "words"),
    [
        ((1.0, 1.0, 1.0), None),
        ((4.0, 4.0, 4.0), None),
        ((1.0, 601.0, 601.0), "the machine slept"),
        ((600.0, 600.0, 600.0), "the watcher stood still"),
        ((1.0, 1.0, 3601.0), "the clock was set"),
        ((1.0, 1.0, -3601.0), "the clock was set"),
    ],
)
def test_gaps_in_time(monkeypatch, then, words):
    """Load alone is no gap; each way to lose time has its name."""
    monkeypatch.setattr(Clocks, "_read", staticmethod(lambda: (0.0, 0.0, 0.0)))
    clocks = Clocks()
    monkeypatch.setattr(Clocks, "_read", staticmethod(lambda: then))
    assert clocks.gap() == words
    assert clocks.gap() is None


def test_the_naive_walk_is_what_it_is_compared_with(repo):
    """The oracle sees the files of this fixture."""
    assert len(naive.files(repo)) == 42
