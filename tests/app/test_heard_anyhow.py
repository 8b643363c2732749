"""What comes to a watcher without an event of its own, or under another name, is in the index when somebody asks."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

import naive
import pytest
from cli import run, save, sql, workspace, write
from gitrepo import git, shell
from transcribed import markdown, wrote
from watched import indexed, listen, watching

from mlos_sync.app import awaiting, covering, opening, planning, timetable
from mlos_sync.edge.hints import everything

PRIVATE = "SELECT count(*) FROM transcripts WHERE kept = 'private'"
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT TESTED: inotify is Linux's")
_numbers = itertools.count(10)


@pytest.fixture
def repo(tmp_path):
    """A committed workspace with two folders and a file that is long gone."""
    made = workspace(tmp_path)
    write(made, ".gitignore", "*.log\n")
    for name in ("notes/a.md", "notes/b.md", "other/c.md"):
        write(made, name, "one\n")
    save(made, "first")
    return made


def transcript(folder):
    """One more of another session."""
    number = next(_numbers)
    text = markdown(f"0b6f3f0e-52f0-4a6b-9a39-5a7f0f3c1d{number}", wrote("/p/notes/a.md", "0\n"))
    (folder / f"2026-02-{number}_13-04-52Z-plan.md").write_text(text)


def taken(repo):
    """How many private transcripts the index has once somebody asked."""
    run(repo, "status", "--wait")
    return int(sql(repo, PRIVATE))


def test_private_transcripts_whose_folder_was_watched_as_one_of_the_tree(repo):
    """It becomes ignored while the watcher runs, and with it the folder above."""
    place = repo / ".specstory" / "history"
    place.mkdir(parents=True)
    with watching(repo) as watcher:
        watcher.started()
        write(repo, ".gitignore", ".specstory/\n")
        run(repo, "status", "--wait")
        transcript(place)
        assert taken(repo) == 1


def test_a_folder_of_private_transcripts_that_becomes_another(repo, tmp_path):
    """A folder on the way to it is moved away, and made anew."""
    place = tmp_path / "outside" / "logs"
    place.mkdir(parents=True)
    git(repo, "config", "mlos-sync.transcripts", str(place))
    transcript(place)
    with watching(repo) as watcher:
        watcher.started()
        assert taken(repo) == 1
        (tmp_path / "outside").rename(tmp_path / "away")
        place.mkdir(parents=True)
        transcript(place)
        transcript(place)
        assert taken(repo) == 2
        transcript(place)
        assert taken(repo) == 3
        assert watcher.told()["rescans"].keys() <= {"a folder of private transcripts is another one"}


class Slow:
    """Watches while which something else is done: each folder that is watched gets another one first."""

    def __init__(self, depth):
        self.depth, self.covered = depth, []

    def cover(self, folders, accept=everything):
        for folder in folders:
            self.covered.append(folder)
            if len(Path(folder).parts) < self.depth:
                Path(folder, "in").mkdir(exist_ok=True)
        return {}


def test_private_folders_that_come_while_it_begins_to_watch(tmp_path):
    """Each is watched before it is listed; and one that was not there is looked for once more."""
    top = tmp_path / "logs"
    top.mkdir()
    watch = Slow(len(top.parts) + 3)
    covering.Coverage(private=(str(top),)).cover_private(watch)
    assert watch.covered[:4] == [str(top.joinpath(*["in"] * number)) for number in range(4)]
    watch = Slow(len(tmp_path.parts) + 2)
    covering.Coverage(private=(str(tmp_path / "in" / "in"),)).cover_private(watch)
    assert str(tmp_path / "in" / "in") in watch.covered


def test_a_config_that_is_moved_in_with_its_folder(repo):
    """Nobody hears of a file in a folder that takes the place of another."""
    with watching(repo) as watcher:
        watcher.started()
        shell(repo, "cp -r .mlos ../new && sed -i 's,^ignore = .*,ignore = [\"other/\"],' ../new/config.toml")
        shell(repo, "mv .mlos ../old; mv ../new .mlos")
        run(repo, "status", "--wait")
        assert b"other/c.md" not in indexed(repo)
        write(repo, "other/d.md", "d\n")
        run(repo, "status", "--wait")
        assert b"other/d.md" not in indexed(repo)


@LINUX
def test_what_was_written_before_watching_could_begin(repo, tmp_path):
    """No instance of inotify is to be had for a while; a file comes after the last look of that while."""
    script = """echo 0 >/proc/sys/user/max_inotify_instances
        (while ! test -e "$0"; do sleep 0.02; done; echo 128 >/proc/sys/user/max_inotify_instances) & exec "$@" """
    jail = ("unshare", "--user", "--map-root-user", "sh", "-c", script, str(tmp_path / "go"))
    if subprocess.run([*jail[:3], "true"], capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: no user namespaces here, so no limit can be set")
    write(repo, ".mlos/config.toml", (repo / ".mlos/config.toml").read_text() + "\n[watch]\npoll = 600\n")
    with watching(repo, before=jail) as watcher:
        watcher.started()
        watcher.eventually(lambda: watcher.told()["batches"] == 2)  # the next poll is in ten minutes
        assert watcher.told()["state"] == "polling"
        write(repo, "notes/late.md", "late\n")
        (tmp_path / "go").touch()
        watcher.eventually(lambda: watcher.told()["state"] == "live")
        watcher.settled()


def test_folders_that_may_be_read_again_are_named_no_more(repo, as_user):
    """What is polled is watched as soon as it can be, and `status` says so."""
    with watching(repo, before=as_user) as watcher:
        watcher.started()
        (repo / "notes").chmod(0)
        (repo / "closed").mkdir(mode=0)
        watcher.eventually(lambda: watcher.told()["coverage"]["polled"])
        (repo / "notes").chmod(0o755)
        (repo / "closed").chmod(0o755)
        watcher.eventually(lambda: not watcher.told()["coverage"]["polled"])
        write(repo, "closed/deep/d.md", "d\n")
        watcher.settled()
        write(repo, "closed/deep/d.md", "dd\n")
        run(repo, "status", "--wait")
        assert indexed(repo) == naive.files(repo)


def test_views_of_what_git_tracks_are_compiled_when_that_is_another(repo):
    """`git add` writes no file of the tree; an index of files lists one more."""
    run(repo, "compile")
    save(repo, "views")
    with watching(repo, "--compile") as watcher:
        watcher.started()
        write(repo, "notes/new.md", "# A new thing\n")
        watcher.settled()
        time.sleep(2 * timetable.CALM)  # until what would be compiled for the file alone has been
        git(repo, "add", "notes/new.md")
        watcher.until(lambda look: ".mlos/INDEX.md" in look.get("compiled", ()))
        assert "notes/new.md" in (repo / ".mlos" / "INDEX.md").read_text()


def test_a_git_directory_that_lies_in_the_tree_is_none_of_it(tmp_path):
    """`git init --separate-git-dir`: git lists its own files as untracked; ours would never be the same twice."""
    made = workspace(tmp_path)
    write(made, "store/a.md", "a\n")
    git(made, "init", "-q", "--separate-git-dir", "store/repo.git")
    run(made, "sync")
    assert b"store/a.md" in indexed(made) and not [one for one in indexed(made) if one.startswith(b"store/repo.git")]
    with watching(made) as watcher:
        watcher.started()
        write(made, "store/a.md", "aa\n")
        assert watcher.until(lambda look: look["modified"])["modified"] == ["store/a.md"]
        assert run(made, "status", "--wait", "--json").json["fresh"] is True


def test_a_question_waits_for_what_is_missing_while_git_holds_its_lock(repo, monkeypatch):
    """git takes its lock after we asked whether it works, and gives it back without a write, as `git status` does."""
    at_work, synced, looks = planning.files.is_git_at_work, awaiting.sync, []
    monkeypatch.setattr(planning.files, "is_git_at_work", lambda place: not looks or at_work(place))
    monkeypatch.setattr(awaiting, "sync", lambda index: (synced(index), looks.append(1))[0])
    (repo / "notes" / "a.md").unlink()
    index = opening.open_index(str(repo))
    assert awaiting.settle(index) == "sync"
    assert len(looks) == 2 and b"notes/a.md" not in indexed(repo)
    index.db.close()


def test_a_question_beside_git_status(repo):
    """The same with real git, in a loop, and a watcher that is asked."""
    for number in range(25):
        write(repo, f"notes/{number}.md", f"{number}\n")
    save(repo, "many")
    is_over = threading.Event()

    def look():
        while not is_over.is_set():
            git(repo, "status", "--porcelain")

    looking = threading.Thread(target=look)
    with watching(repo) as watcher:
        watcher.started()
        looking.start()
        try:
            for number in range(25):
                (repo / "notes" / f"{number}.md").unlink()
                run(repo, "status", "--wait")
                assert b"notes/%d.md" % number not in indexed(repo)
        finally:
            is_over.set()
            looking.join()


def test_a_lock_that_stood_while_somebody_synced_is_forgotten(repo):
    """What a sync by hand missed then is looked for, and told, once."""
    lock = repo / ".git" / "index.lock"
    with watching(repo) as watcher:
        watcher.started()
        lock.touch()
        (repo / "notes" / "a.md").unlink()
        run(repo, "sync", ok=False)
        before = watcher.told()["batches"]
        lock.unlink()
        write(repo, "notes/b.md", "two\n")
        run(repo, "status", "--wait")
        watcher.settled()
        assert watcher.told()["batches"] <= before + 5 and watcher.told()["behind"] is None


MOVES = {
    "a revert": ("git revert --no-edit HEAD", True),
    "a commit": ("echo mine >> notes/b.md; git commit -qam mine", False),
    "a branch called stash": (
        "git symbolic-ref HEAD refs/heads/fix/stash; git update-ref HEAD main; sleep 1.5; echo mine >> notes/b.md; git commit -qam mine",
        False,
    ),
    "a tag called stash": ("echo mine >> notes/b.md; git tag stash", False),
    "a stash of another work tree": (
        "cd ../tree; echo x > notes/a.md; git stash -q; echo mine >> ../repo/notes/b.md",
        False,
    ),
    "an edit after a switch": (
        "git branch other; sleep 1; git switch -q other; sleep 1.5; echo mine >> notes/b.md; git commit -qam mine",
        False,
    ),
    "a stash": ("echo mine >> notes/b.md; sleep 1; git stash -q", True),
    "a stash of one path": ("echo mine >> notes/b.md; sleep 1; git stash push -q notes/b.md", True),
}


@pytest.mark.parametrize("move", MOVES)
def test_who_wrote_it_is_told_rightly(repo, move):
    """What git wrote is nobody's edit, and an edit is not git's because of what git does elsewhere."""
    script, is_git = MOVES[move]
    write(repo, "notes/a.md", "two\n")
    save(repo, "second")
    shell(repo, "git worktree add -q ../tree")
    with watching(repo) as watcher:
        watcher.started()
        shell(repo, script)
        watcher.settled()
        run(repo, "status", "--wait")
        watcher.end()
        looks = [one for one in iter(watcher.looks.get, None) if one.get("modified")]
        assert looks and looks[-1]["git"] is is_git, looks


def test_a_signal_while_the_program_is_loaded(repo):
    """Ctrl-C in the first instant: no traceback of imports."""
    slow = "import sys, time, builtins; real = builtins.__import__"
    slow += "\ndef late(name, *given, **more):\n    if 'cli' in name: print('loading', flush=True); time.sleep(30)"
    slow += "\n    return real(name, *given, **more)\nbuiltins.__import__ = late"
    slow += "\nfrom mlos_sync.__main__ import main; sys.argv = ['mlos-sync', 'watch']; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", slow], cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=listen,
    )  # fmt: skip
    assert process.stdout.readline() == "loading\n"
    process.send_signal(2)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said == "mlos-sync: interrupted\n"
