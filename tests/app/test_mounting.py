"""File systems under a watcher: such as tell nothing of changes, such as come and go. Mounted for real, in a namespace of the
test's own; skipped, and said so, where that is not allowed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from cli import save, sql, workspace, write
from gitrepo import git
from transcribed import markdown, wrote
from watched import Watcher, indexed, watching

from mlos_sync.app import hearing
from mlos_sync.edge import mounts

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT TESTED: mounts are made as on Linux")


def jail(begin):
    """Words before a command that run it in a mount namespace, after some commands of the shell."""
    words = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{begin} && exec "$@"', "sh")
    done = subprocess.run([*words, "true"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"NOT TESTED: {begin!r} is not possible here: {done.stderr[-200:]!r}")
    return words


def inside(watcher, *words):
    """Run a command in the namespaces of a watcher."""
    enter = ("nsenter", "--user", "--preserve-credentials", "--mount", f"--target={watcher.process.pid}")
    subprocess.run([*enter, *words], check=True)


@pytest.fixture
def repo(tmp_path):
    """A committed workspace of some folders, and an empty folder `mounted` beside it."""
    made = workspace(tmp_path)
    for number in range(6):
        write(made, f"f{number}/a.md", f"{number}\n")
    save(made, "first")
    (tmp_path / "mounted").mkdir()
    return made


@pytest.fixture
def watching_mounted(repo, tmp_path):
    """A watcher of what is mounted on `mounted`, by the words given; its database is the repo's own."""
    watchers = []

    def start(begin):
        watcher = Watcher(tmp_path / "mounted", before=jail(begin))
        watchers.append(watcher)
        watcher.repo = repo
        watcher.started()
        return watcher

    yield start
    for one in watchers:
        one.kill()


TABLE = r"""22 1 8:1 / / rw - ext4 /dev/a rw
23 22 0:30 / /home/ada/team rw - nfs4 server:/x rw
24 22 0:31 / /home/ada/work/deep rw - 9p host rw
25 22 0:32 / /home/ada/work/a\040b rw - fuse.sshfs x rw
26 22 0:33 / /home/ada/work/plain rw - tmpfs x rw
27 22 0:34 / /layers rw - overlay x rw
28 22 0:35 / /layers/over rw - ext4 x rw
"""


@pytest.mark.parametrize(
    ("root", "found"),
    [
        ("/home/ada/other", {}),
        ("/home/ada/team/repo", {"/home/ada/team/repo": "nfs4 (network)"}),
        ("/home/ada/team", {"/home/ada/team": "nfs4 (network)"}),
        (
            "/home/ada/work",
            {
                "/home/ada/work/deep": "9p (shared with the host)",
                "/home/ada/work/a b": "fuse.sshfs (network or user space)",
            },
        ),
        ("/layers/repo", {"/layers/repo": "overlay (overlay, whose lower layers may change unseen)"}),
        ("/layers/over/repo", {}),
    ],
)
def test_file_systems_that_tell_nothing(tmp_path, root, found):
    """By the table of mounts, as proc(5) has it."""
    (tmp_path / "table").write_text(TABLE)
    assert mounts.silent(root, str(tmp_path / "table")) == found
    assert mounts.silent(root, str(tmp_path / "none")) == {}


def test_mounts_that_matter():
    """On a path, above or below it; one that only begins alike is elsewhere."""

    def near(*places):
        return [line.split(" ")[0] for line in mounts.near(TABLE, places)]

    assert near("/home/ada/work") == ["22", "24", "25", "26"]
    assert near("/home/ada/work/a b/c") == ["22", "25"]
    assert near("/home/ada/wor") == ["22"]
    assert near("/layers/over", "/home/ada/team/x") == ["22", "23", "27", "28"]


@LINUX
def test_a_mount_elsewhere_is_no_reason_to_look(repo, tmp_path, watching_mounted):
    """As each container makes some; one that is seen here is."""
    watcher = watching_mounted(f"mount --bind {repo} {tmp_path / 'mounted'}")
    (tmp_path / "container").mkdir()
    inside(watcher, "mount", "-t", "tmpfs", "none", str(tmp_path / "container"))
    time.sleep(4)  # two looks at the table
    assert watcher.told()["rescans"] == {}
    inside(watcher, "mount", "-t", "tmpfs", "none", str(tmp_path / "mounted" / "f3"))
    watcher.eventually(lambda: hearing.MOUNTED in watcher.told()["rescans"])


@LINUX
def test_a_workspace_that_is_unmounted_and_comes_back(repo, tmp_path, watching_mounted):
    """A disk that was pulled: nothing is deleted, it is told; mounted again it is looked at, and heard of as before."""
    place = tmp_path / "mounted"
    watcher = watching_mounted(f"mount --bind {repo} {place}")
    known = indexed(repo)
    inside(watcher, "umount", "--lazy", str(place))
    watcher.eventually_noticed("the workspace went away")
    assert watcher.told()["state"] == "away" and indexed(repo) == known
    (repo / "f1" / "a.md").write_text("changed elsewhere\n")
    inside(watcher, "mount", "--bind", str(repo), str(place))
    look = watcher.until(lambda look: "f1/a.md" in look["modified"])
    assert look["reason"] == "the workspace came back"
    (repo / "f2" / "a.md").write_text("heard of as before\n")
    assert watcher.until(lambda look: "f2/a.md" in look["modified"])["reason"] is None


@LINUX
def test_a_folder_that_is_mounted_over_and_comes_back(repo, tmp_path, watching_mounted):
    """What lies there now counts, and is watched; then what lay there before."""
    place = tmp_path / "mounted"
    watcher = watching_mounted(f"mount --bind {repo} {place}")
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.md").write_text("of the other disk\n")
    inside(watcher, "mount", "--bind", str(other), str(place / "f3"))
    look = watcher.until(lambda look: "f3/b.md" in look["added"])
    assert look["reason"] == "a file system was mounted or taken away" and "f3/a.md" in look["deleted"]
    (other / "c.md").write_text("heard of\n")
    watcher.until(lambda look: "f3/c.md" in look["added"])
    inside(watcher, "umount", "--lazy", str(place / "f3"))
    watcher.until(lambda look: "f3/a.md" in look["added"])
    (repo / "f3" / "a.md").write_text("heard of again\n")
    watcher.until(lambda look: "f3/a.md" in look["modified"])
    watcher.settled()


@LINUX
def test_a_file_system_of_user_space_is_polled(repo, tmp_path, watching_mounted):
    """What changes behind it comes without an event: it is found in time, and told as what cannot be watched."""
    if shutil.which("bindfs") is None or not os.access("/dev/fuse", os.W_OK):
        pytest.skip("NOT TESTED: bindfs and /dev/fuse are wanted")
    config = repo / ".mlos" / "config.toml"
    config.write_text(config.read_text() + "[watch]\npoll = 0.5\n")
    begin = f"bindfs {repo} {tmp_path / 'mounted'}"
    try:
        watcher = watching_mounted(begin)
        # Locks do not reach through: what it says of itself is read as it stands.
        told = json.loads((repo / ".git" / "mlos" / "watch.lock").read_bytes())["coverage"]
        assert [one["reason"] for one in told["parts"]] == ["fuse (network or user space)"] and told["polled"] == 1
        (repo / "f4" / "a.md").write_text("changed behind\n")
        assert watcher.until(lambda look: "f4/a.md" in look["modified"])["reason"] == "what cannot be watched"
    finally:
        subprocess.run(["pkill", "--full", begin], check=False)


@LINUX
def test_private_transcripts_on_a_file_system_of_user_space(repo, tmp_path):
    """The workspace is on a disk, they are not: they are looked at in time, and named."""
    if shutil.which("bindfs") is None or not os.access("/dev/fuse", os.W_OK):
        pytest.skip("NOT TESTED: bindfs and /dev/fuse are wanted")
    write(repo, ".mlos/config.toml", (repo / ".mlos/config.toml").read_text() + "[watch]\npoll = 0.5\n")
    for name in ("behind", "logs"):
        (tmp_path / name).mkdir()
    git(repo, "config", "mlos-sync.transcripts", str(tmp_path / "logs"))
    begin = f"bindfs {tmp_path / 'behind'} {tmp_path / 'logs'}"
    text = markdown("0b6f3f0e-52f0-4a6b-9a39-5a7f0f3c1d15", wrote("/p/f0/a.md", "0\n"))
    count = "SELECT count(*) FROM transcripts WHERE kept = 'private'"
    try:
        with watching(repo, before=jail(begin)) as watcher:
            watcher.started()
            told = [(one["path"], one["reason"]) for one in watcher.told()["coverage"]["parts"]]
            assert told == [(str(tmp_path / "logs"), "fuse (network or user space)")]
            (tmp_path / "behind" / "2026-02-16_13-04-52Z-plan.md").write_text(text)
            watcher.eventually(lambda: sql(repo, count).strip() == "1")
    finally:
        subprocess.run(["pkill", "--full", begin], check=False)


@LINUX
def test_an_overlay_is_polled(tmp_path):
    """A change in a lower layer comes without an event: it is found, and told as what cannot be watched."""
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    made = workspace(tmp_path / "lower")
    options = ",".join(f"{name}dir={tmp_path / name}" for name in ("lower", "upper", "work"))
    jail = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
            f'mount -t overlay overlay -o {options} {tmp_path / "merged"} && exec "$@"', "sh")  # fmt: skip
    if subprocess.run([*jail, "true"], capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: overlays cannot be mounted here")
    script = (
        "import sys, json\nfrom mlos_sync.app import watching\n"
        "pace = watching.Pace(poll=0.5)\n"
        "for look in watching.looks(sys.argv[1], pace=pace):\n"
        "    print(json.dumps([list(look.report.changes.modified), look.reason] if look.report else str(look.problem)), flush=True)\n"
    )
    process = subprocess.Popen(
        [*jail, sys.executable, "-c", script, str(tmp_path / "merged" / "repo")], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    try:
        assert "the start" in process.stdout.readline()
        (made / ".gitattributes").write_text("# changed below\n")
        for line in process.stdout:
            if ".gitattributes" in line:
                assert "what cannot be watched" in line
                break
        else:
            raise AssertionError("never seen")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
