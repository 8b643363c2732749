"""The service under a real systemd: a user manager of the test's own, in a mount and process namespace, so that nothing of
this machine's is touched. Skipped, and said so, where there is no systemd or no right to make those."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import run, workspace
from gitrepo import make_repo
from test_service import ODD
from watched import indexed

from mlos_sync.app import serving, standing
from mlos_sync.edge.workspace import find

SYSTEMD = next((one for one in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if os.path.exists(one)), None)
PATIENCE = 90  # seconds after which something counts as never

# `systemd --user` wants /run/systemd/system to be there (sd_booted(3)) and a control group that it may divide.
BEGIN = """
mount -t tmpfs none /run && mkdir -p /run/systemd/system || exit 77
for group in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    [ -w $group/cgroup.procs ] && mkdir -p $group/$1 && echo 0 >$group/$1/cgroup.procs || true
done
"$2" --user  # no `exec`: as process 1 it refuses to be a user's
"""


class Manager:
    """A running user manager; `ask` runs a command where it is."""

    def __init__(self, folder: Path) -> None:
        self.group = f"mlos-sync-test-{os.getpid()}"
        self.folders = {name: folder / name.lower() for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME")}
        for one in self.folders.values():
            one.mkdir(mode=0o700)
        self.env = {**os.environ, **{name: str(one) for name, one in self.folders.items()}}
        self.env.pop("DBUS_SESSION_BUS_ADDRESS", None)
        self.log = folder / "systemd.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", BEGIN, "sh", self.group,
                 SYSTEMD or ""], env=self.env, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def is_up(self) -> bool:
        """Whether it came to run; that takes a moment."""
        end = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < end:
            if (self.folders["XDG_RUNTIME_DIR"] / "systemd" / "private").exists() and self.inside():
                said = self.ask("systemctl", "--user", "is-system-running", check=False).stdout.strip()
                if said in ("running", "degraded"):
                    return True
            time.sleep(0.1)
        return False

    def inside(self) -> str:
        """The process that is the manager's first, as this namespace numbers it."""
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return Path(children).read_text().split(" ")[0] if os.path.exists(children) else ""

    def ask(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command in its namespaces."""
        done = subprocess.run(
            ["nsenter", "--mount", "--pid", f"--target={self.inside()}", *words],
            env=self.env, capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def program(self, repo: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """mlos-sync, as its users call it."""
        return self.ask(sys.executable, "-I", "-m", "mlos_sync", "-C", str(repo), *words, check=check)

    def shown(self, name: str, *properties: str) -> dict[str, str]:
        """What systemd knows of a unit."""
        out = self.ask("systemctl", "--user", "show", name, *(f"--property={one}" for one in properties)).stdout
        return dict(line.split("=", 1) for line in out.splitlines())

    def end(self) -> None:
        """It, and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for top in ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
            for folder, _, _ in os.walk(f"{top}/{self.group}", topdown=False):
                eventually(lambda folder=folder: emptied(folder))


def emptied(group):
    """Whether a control group could be taken away: its processes are gone by now."""
    try:
        os.rmdir(group)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def eventually(question):
    """The first answer that is true."""
    end = time.monotonic() + PATIENCE
    while not (answer := question()):
        assert time.monotonic() < end, "never"
        time.sleep(0.1)
    return answer


@pytest.fixture
def manager(tmp_path) -> Iterator[Manager]:
    missing = [one for one in ("unshare", "nsenter", "systemctl") if shutil.which(one) is None]
    if SYSTEMD is None or missing or os.geteuid() != 0:
        pytest.skip(f"NOT TESTED: a real systemd, root, and programs for namespaces are wanted (missing: {missing})")
    made = Manager(tmp_path)
    try:
        if not made.is_up():
            pytest.skip(f"NOT TESTED: no systemd user manager can be started here: {made.log.read_text()[-300:]}")
        yield made
    finally:
        made.end()


@pytest.fixture
def repo(tmp_path):
    """A workspace in a folder with all that systemd would expand or split."""
    made = make_repo(tmp_path)
    made = made.rename(tmp_path / ODD)
    run(made, "init")
    return made


def test_systemd_starts_restarts_and_ends_the_watcher(manager, repo):
    """Installed with one command it is ready, of low priority, and at work; killed it comes back; taken away it ends."""
    unit = f"{serving.plan(find(str(repo)), 'systemd').name}.service"
    told = json.loads(manager.program(repo, "service", "install", "--yes", "--json").stdout)
    assert told["problems"] == []
    found = manager.shown(
        unit, "ActiveState", "SubState", "MainPID", "Nice", "IOSchedulingClass", "MemoryMax", "NoNewPrivileges", "NotifyAccess",
        "UnitFileState", "Type",
    )  # fmt: skip
    assert (found["ActiveState"], found["SubState"], found["Type"]) == ("active", "running", "notify")
    assert (found["Nice"], found["IOSchedulingClass"], found["MemoryMax"]) == ("10", "3", str(512 << 20))
    assert (found["NoNewPrivileges"], found["UnitFileState"]) == ("yes", "enabled")
    told = standing.of(find(str(repo)))
    assert told is not None and told["pid"] == int(found["MainPID"]) and told["root"] == str(repo)
    (repo / "a.md").write_text("one\n")
    eventually(lambda: b"a.md" in indexed(repo))
    state = json.loads(manager.program(repo, "service", "status", "--json").stdout)
    assert state["installed"] and state["current"] and state["running"]

    manager.ask("kill", "-KILL", found["MainPID"])
    (repo / "b.md").write_text("while it was away\n")
    eventually(lambda: b"b.md" in indexed(repo))
    again = manager.shown(unit, "NRestarts", "MainPID", "ActiveState")
    assert again["NRestarts"] == "1" and again["MainPID"] not in ("0", found["MainPID"])

    manager.program(repo, "service", "uninstall")
    assert standing.of(find(str(repo))) is None
    gone = manager.shown(unit, "LoadState", "ActiveState", "Result")
    assert (gone["LoadState"], gone["ActiveState"]) == ("not-found", "inactive")


def test_systemd_is_told_of_an_end_that_was_asked_for(manager, repo):
    """TERM is no failure: it is not started again. While it runs a second watcher is refused."""
    unit = f"{serving.plan(find(str(repo)), 'systemd').name}.service"
    manager.program(repo, "service", "install", "--yes")
    manager.ask("systemctl", "--user", "stop", unit)
    found = manager.shown(unit, "ActiveState", "Result", "ExecMainStatus", "NRestarts")
    assert found == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0", "NRestarts": "0"}
    manager.ask("systemctl", "--user", "start", unit)
    second = manager.program(repo, "watch", check=False)
    assert second.returncode == 3 and "is watched already" in second.stderr
    manager.ask("systemctl", "--user", "stop", unit)


def test_systemd_does_not_start_it_where_the_workspace_has_gone(manager, tmp_path):
    """No failure, no restarts: the condition is not met."""
    repo = workspace(tmp_path)
    unit = f"{serving.plan(find(str(repo)), 'systemd').name}.service"
    manager.program(repo, "service", "install", "--yes")
    manager.ask("systemctl", "--user", "stop", unit)
    repo.rename(tmp_path / "elsewhere")
    manager.ask("systemctl", "--user", "start", unit)
    found = manager.shown(unit, "ActiveState", "ConditionResult", "NRestarts")
    assert found == {"ActiveState": "inactive", "ConditionResult": "no", "NRestarts": "0"}


def test_uninstall_ends_the_service_too(manager, tmp_path):
    """The unit is gone, its watcher has ended, and systemd knows nothing of it any more."""
    repo = workspace(tmp_path)
    unit = f"{serving.plan(find(str(repo)), 'systemd').name}.service"
    manager.program(repo, "service", "install", "--yes")
    process = int(manager.shown(unit, "MainPID")["MainPID"])
    manager.program(repo, "uninstall")
    found = manager.shown(unit, "LoadState", "ActiveState")
    assert found == {"LoadState": "not-found", "ActiveState": "inactive"} and process > 0
    assert manager.ask("kill", "-0", str(process), check=False).returncode != 0
