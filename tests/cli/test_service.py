"""`service`: what would be written is shown, is what the managers read, and is written on yes alone. (A real systemd starts it
in test_systemd; launchd was not there to be asked.)"""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli import run, workspace
from gitrepo import make_repo

from mlos_sync.app import serving
from mlos_sync.cli.bounded import MOST, Bounded
from mlos_sync.edge.workspace import find

ODD = 'a b%h$HOME"q\\n;x é'


@pytest.fixture
def repo(tmp_path):
    """A workspace in a folder with all that systemd would expand or split."""
    made = make_repo(tmp_path)
    made.rename(tmp_path / ODD)
    run(tmp_path / ODD, "init")
    return tmp_path / ODD


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where services are installed, without a service manager."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    return tmp_path


def test_it_is_shown_and_written_on_yes_alone(tmp_path, place):
    """Without a terminal nothing is written; --yes writes the file that was shown; uninstall takes it away."""
    made = workspace(tmp_path)
    shown = run(made, "service", "install", ok=False)
    assert shown.code == 1 and "Type=notify" in shown.out and "--yes" in shown.err
    path = Path(shown.out.splitlines()[0].removeprefix("# "))
    assert path.is_relative_to(place / "config" / "systemd" / "user") and not path.exists()
    assert run(made, "service", "status", ok=False).code == 1
    done = run(made, "service", "install", "--yes", "--json", ok=False)
    assert path.read_text() == done.json["text"] and path.read_text() in shown.out + "\n"
    assert all("systemctl" in words for words in done.json["problems"])
    found = run(made, "service", "status", "--json").json
    assert found["installed"] and found["current"] and not found["running"]
    run(made, "service", "uninstall")
    assert not path.exists()
    again = run(made, "service", "uninstall", ok=False)
    assert again.code == 2 and "no service is installed" in again.err


def test_uninstall_takes_the_service_along(tmp_path, place):
    """Or nobody could take it away any more: without a workspace there is no name for it."""
    made = workspace(tmp_path)
    path = Path(run(made, "service", "install", "--yes", "--json", ok=False).json["path"])
    assert path.exists()
    assert str(path) in run(made, "uninstall", "--json").json["removed"]
    assert not path.exists()


def test_two_worktrees_have_two_services(tmp_path):
    """Names tell them apart, also where the folders are called alike."""
    one, other = workspace(tmp_path / "one"), workspace(tmp_path / "other")
    names = {serving.plan(find(str(place)), "systemd").name for place in (one, other)}
    assert len(names) == 2 and all(name.startswith("mlos-sync-repo-") for name in names)


def test_systemd_reads_the_words_that_were_meant(repo, tmp_path):
    """Specifiers, variables, quotes and backslashes of a path reach the program as they are."""
    verify = shutil.which("systemd-analyze")
    service = serving.plan(find(str(repo)), "systemd", compiles=True)
    line = next(line for line in service.text.splitlines() if line.startswith("ExecStart="))
    assert unquoted(line.removeprefix("ExecStart=")) == [
        sys.executable, "-I", "-m", "mlos_sync", "-C", str(repo), "--quiet", "watch", "--compile",
    ]  # fmt: skip
    if verify is None:
        pytest.skip("NOT TESTED: systemd-analyze is not here")
    unit = tmp_path / f"{service.name}.service"
    unit.write_text(service.text)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        [verify, "--user", "verify", str(unit)], capture_output=True, text=True, env=environment, check=False
    )
    if "Failed to initialize manager" in done.stderr:
        pytest.skip("NOT TESTED: systemd-analyze needs more of systemd than is here")
    assert unit.name not in done.stderr, done.stderr


def unquoted(line):
    """Words as systemd.service(5) reads them: quotes, backslashes, then `%%` and `$$`."""
    words, word, at = [], "", 0
    while at < len(line):
        if line[at] == '"':
            at += 1
            while line[at] != '"':
                at += line[at] == "\\"
                word += line[at]
                at += 1
            words.append(word.replace("%%", "%").replace("$$", "$"))
            word = ""
        at += 1
    return words


def test_launchd_reads_the_words_that_were_meant(repo):
    """A property list, with a log that is bounded."""
    about = plistlib.loads(serving.plan(find(str(repo)), "launchd").text.encode())
    assert about["ProgramArguments"][:8] == [
        sys.executable,
        "-I",
        "-m",
        "mlos_sync",
        "-C",
        str(repo),
        "--quiet",
        "watch",
    ]
    assert about["ProgramArguments"][-2] == "--log" and about["KeepAlive"] == {"SuccessfulExit": False}


def test_a_log_is_bounded(tmp_path):
    """Names that are no text are escaped, and the two files stay below twice the limit."""
    log = Bounded(str(tmp_path / "watch.log"))
    log.write("caf\udce9\n")
    first = (tmp_path / "watch.log").read_text()
    for _ in range(25_000):
        log.write("x" * 100 + "\n")
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2 and max(sizes) <= MOST
    assert first.endswith("caf\\udce9\n")
    log._handler.close()


def test_a_manager_that_is_none(tmp_path):
    """Its name is refused with those that there are."""
    made = workspace(tmp_path)
    told = run(made, "service", "status", "--manager", "cron", ok=False)
    assert told.code == 2 and "systemd, launchd" in told.err
