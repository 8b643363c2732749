"""`init --agents` and `uninstall`: shown, agreed to, idempotent, and every byte given back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli import quick, run, save, workspace, write
from gitrepo import ROOT, env_of, git, make_repo

from mlos_sync.app import agent_hooks, setup
from mlos_sync.core import agent_entry
from mlos_sync.errors import RefusedError

THEIRS = '{\n    "model": "x",\n    "hooks": {\n        "PreToolUse": [\n            {"matcher": "Bash", "hooks": []}\n        ]\n    }\n}'
PATH = agent_hooks.PATH


def files_of(repo: Path) -> dict[str, bytes]:
    found = [one for one in repo.rglob("*") if ".git" not in one.relative_to(repo).parts]
    return {str(one.relative_to(repo)): one.read_bytes() if one.is_file() else b"" for one in found}


@pytest.mark.parametrize(
    "before", [None, "", "{}", "{\n}\n", THEIRS, '{\n  "hooks": {}\n}\n', '{"hooks": {"PreToolUse": []}, "a": 1}\n']
)
def test_uninstall_gives_back_every_byte(tmp_path, before):
    """Whatever stood there, also an empty object, an empty folder and no folder at all; the mode stays."""
    repo = make_repo(tmp_path)
    write(repo, "a.txt", "a\n")
    if before is not None:
        (repo / ".claude").mkdir()
    if before:
        write(repo, PATH, before).chmod(0o600)
    had = files_of(repo)
    told = run(repo, "init", "--agents", "--yes", "--json").json["agents"]
    assert (told["path"], told["state"]) == (PATH, "installed")
    settings = json.loads((repo / PATH).read_bytes())
    assert settings["hooks"]["PreToolUse"][-1] == agent_entry.ENTRY
    again = run(repo, "init", "--agents", "--yes", "--json").json["agents"]
    assert (again["state"], again["diff"]) == ("unchanged", "")
    assert json.loads((repo / PATH).read_bytes()) == settings
    if before:
        assert (repo / PATH).stat().st_mode & 0o777 == 0o600
    assert PATH in run(repo, "uninstall", "--json").json["removed"]
    assert files_of(repo) == had


def test_the_change_is_a_diff_that_applies(tmp_path):
    """Without a terminal nothing is written: the diff is shown with what to type, and it is the change."""
    repo = make_repo(tmp_path)
    write(repo, PATH, THEIRS)
    done = run(repo, "init", "--agents", ok=False)
    assert (done.code, (repo / PATH).read_text()) == (1, THEIRS)
    assert "mlos-sync init --agents --yes" in done.err and f"+++ b/{PATH}" in done.err
    proposed = run(repo, "init", "--agents", "--json", ok=False)
    assert (proposed.code, proposed.json["agents"]["state"]) == (1, "proposed")
    git(repo, "apply", "-", stdin=proposed.json["agents"]["diff"])
    by_hand = (repo / PATH).read_bytes()
    write(repo, PATH, THEIRS)
    run(repo, "init", "--agents", "--yes")
    assert (repo / PATH).read_bytes() == by_hand


def test_plain_init_and_uninstall_know_no_agents(tmp_path):
    repo = make_repo(tmp_path)
    assert "agents" not in run(repo, "init", "--json").json
    assert not (repo / ".claude").exists()
    write(repo, PATH, THEIRS)
    assert PATH not in run(repo, "uninstall", "--json").json["removed"]
    assert (repo / PATH).read_text() == THEIRS


def test_on_a_terminal_it_asks(tmp_path):
    """Yes writes, no does not and says what to type; the diff comes before the question."""
    repo = make_repo(tmp_path)
    for answer, state, code in (("n", "proposed", 1), ("y", "installed", 0)):
        script = (
            "import os, pty, sys\n"
            "def read(fd):\n"
            "    data = os.read(fd, 4096)\n"
            "    if b'like this?' in data: os.write(fd, sys.argv[1].encode() + b'\\n')\n"
            "    return data\n"
            "sys.exit(os.waitstatus_to_exitcode(pty.spawn([sys.executable, '-I', '-m', 'mlos_sync', 'init', '--agents'], read)))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, answer], cwd=repo, env=env_of(repo), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert f"{PATH}: {state}" in done.stdout
        assert done.stdout.index("+++ b/") < done.stdout.index("like this?")
        assert (repo / PATH).exists() == (state == "installed")


@pytest.mark.parametrize("text", ["{", "// c\n{}", "[]", '{"hooks": 1}', "\ufeff{}"])
def test_settings_that_cannot_take_it_are_refused_before_anything_is_made(tmp_path, text):
    repo = make_repo(tmp_path)
    write(repo, PATH, text)
    done = run(repo, "init", "--agents", "--yes", ok=False)
    assert done.code == 4 and "hint: mend the file" in done.err
    assert files_of(repo) == {".claude": b"", PATH: text.encode()}


@pytest.mark.parametrize("what", ["a link to a folder", "a link", "a folder"])
def test_links_and_folders_are_refused(tmp_path, what):
    """What a link leads to may belong to somebody else: nothing is written through it, nothing is made."""
    repo = make_repo(tmp_path)
    elsewhere = write(tmp_path, "elsewhere/settings.json", "{}")
    if what == "a link to a folder":
        (repo / ".claude").symlink_to(elsewhere.parent)
    else:
        (repo / ".claude").mkdir()
        (repo / PATH).symlink_to(elsewhere) if what == "a link" else (repo / PATH).mkdir()
    done = run(repo, "init", "--agents", "--yes", ok=False)
    assert done.code == 4 and ("symbolic link" in done.err or "not a file" in done.err)
    assert not (repo / ".mlos").exists() and elsewhere.read_text() == "{}"


def test_what_changed_since_stays(tmp_path):
    """A setting that was added beside ours, in this clone or in another one, which has no note of what was before."""
    repo = workspace(tmp_path)
    write(repo, PATH, THEIRS)
    run(repo, "init", "--agents", "--yes")
    settings = (repo / PATH).read_text().replace('"model": "x"', '"model": "y"')
    write(repo, PATH, settings)
    save(repo, "settings")
    git(tmp_path, "clone", "-q", str(repo), "other")
    for place in (repo, tmp_path / "other"):
        quick(place, "init")
        assert PATH in run(place, "uninstall", "--json").json["removed"]
        assert (place / PATH).read_text() == THEIRS.replace('"x"', '"y"')


def test_settings_that_became_unreadable_do_not_stop_uninstall(tmp_path):
    repo = make_repo(tmp_path)
    run(repo, "init", "--agents", "--yes")
    write(repo, PATH, (repo / PATH).read_text() + ",")
    assert PATH not in run(repo, "uninstall", "--json").json["removed"]
    assert not (repo / ".mlos").exists()


def test_what_changed_while_we_asked_is_not_overwritten(tmp_path):
    repo = make_repo(tmp_path)
    place = setup.initialise(str(repo)).workspace
    wanted = agent_hooks.plan(str(repo))
    write(repo, PATH, THEIRS)
    with pytest.raises(RefusedError, match="meanwhile"):
        agent_hooks.carry_out(place, wanted, consent=True)
    assert (repo / PATH).read_text() == THEIRS


def test_the_command_denies_and_is_silent_without_the_program(tmp_path):
    """The very text of the settings, run by sh as an agent runs it: with our program, without it, and with an older one that
    does not know the name and ends with 2, which would deny every edit."""
    repo = workspace(tmp_path)
    run(repo, "init", "--agents", "--yes")
    command = json.loads((repo / PATH).read_bytes())["hooks"]["PreToolUse"][0]["hooks"][0]["command"]
    question = {"hook_event_name": "PreToolUse", "tool_name": "Write", "cwd": str(repo), "tool_input": {"file_path": "PROBLEM.md", "content": ""}}  # fmt: skip
    older = tmp_path / "older"
    older.mkdir()
    (older / "mlos-sync-hook").write_text("#!/bin/sh\necho 'unknown hook' >&2\nexit 2\n")
    (older / "mlos-sync-hook").chmod(0o755)
    for folder, said in ((Path(sys.executable).parent, True), (older, False), (tmp_path, False)):
        env = {**env_of(repo), "PATH": f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"}
        done = subprocess.run(
            ["sh", "-c", command], cwd=repo, env=env, input=json.dumps(question), capture_output=True, text=True
        )
        assert done.returncode == 0
        assert ("deny" in done.stdout) == said
    assert f"{folder}" not in command


def test_the_docs_show_what_is_added():
    """docs/hooks.md is what people without a writable file paste."""
    (shown,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/hooks.md").read_text("utf-8"), re.DOTALL)
    assert shown.encode() == agent_entry.with_entry(None)


def test_a_missing_program_is_told(tmp_path, monkeypatch):
    repo = make_repo(tmp_path)
    monkeypatch.setattr(agent_hooks, "PROGRAM", "mlos-sync-hook-that-is-nowhere")
    assert "is not on the PATH" in run(repo, "init", "--agents", "--yes").err
