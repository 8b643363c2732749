"""`verify` where GitHub runs it: workflow commands with their escaping, and the action's own shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cli import head, need, run, save, workspace, write
from copies import copied
from gitrepo import ROOT, env_of, git

from mlos_sync.cli import github
from mlos_sync.core.guard import Finding

ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
COMMAND = re.compile(r"::error file=([^,:]*),title=([^,:]*)::(.+)")


def unescaped(text: str, *more: tuple[str, str]) -> str:
    """As the runner reads it (actions/runner, ActionCommand.cs): the percent sign last."""
    for code, char in (*more, ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, char)
    return text


def with_an_edited_view(tmp_path: Path) -> Path:
    return copied(edit_a_view, tmp_path) / "repo"


def edit_a_view(folder: Path) -> None:
    repo = workspace(folder)
    need(repo, "Know why")
    run(repo, "compile")
    save(repo, "good")
    write(repo, "PROBLEM.md", (repo / "PROBLEM.md").read_text().replace("Know why", "Mine"))
    save(repo, "bad", "--no-verify")


def test_each_finding_is_a_workflow_command_and_nothing_else_is_printed(tmp_path):
    """A line of another kind could be read as a command: the runner looks for them anywhere. The exit code stays."""
    repo = with_an_edited_view(tmp_path)
    done = run(repo, "verify", "--github", ok=False)
    assert done.code == 1
    (line,) = done.out.splitlines()
    found = COMMAND.fullmatch(line)
    assert found
    assert (found[1], unescaped(found[2], ("%3A", ":"))) == ("PROBLEM.md", "mlos-sync: edited")
    message = unescaped(found[3])
    assert message.startswith("PROBLEM.md: this compiled view was edited by hand") and "\nkeep what it says:" in message


def test_github_is_known_by_its_environment(tmp_path):
    repo = with_an_edited_view(tmp_path)
    there = {"GITHUB_ACTIONS": "true"}
    assert run(repo, "verify", env=there, ok=False).out.startswith("::error file=")
    assert run(repo, "verify", "--no-github", env=there, ok=False).out.startswith("edited ")
    assert run(repo, "verify", env={"GITHUB_ACTIONS": ""}, ok=False).out.startswith("edited ")
    assert run(repo, "verify", "--json", env=there, ok=False).json["findings"][0]["kind"] == "edited"
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    assert run(repo, "verify", env=there).out == "ok\n"


def test_what_is_stale_is_an_error_too(tmp_path):
    """It fails the step, and a step that fails beside a mere warning explains nothing."""
    repo = workspace(tmp_path)
    run(repo, "compile")
    save(repo, "compiled")
    need(repo, "Know why")
    save(repo, "records")
    assert re.search(
        r"^::error file=PROBLEM.md,title=mlos-sync%3A stale::", run(repo, "verify", "--github", ok=False).out, re.M
    )


@pytest.mark.parametrize(
    "path",
    [
        "a,b:c%.md",
        "100%0A.md",
        "two\nlines\r.md",
        "##[add-mask]x.md",
        "::error::x.md",
        "\x1b[31m.md",
        "caf\uefe9.md",
        "\u202e.md",
    ],
)
def test_a_name_ends_no_property_and_starts_no_command(path):
    """The runner reads back the name; what cannot be seen is escaped as elsewhere, so no log is coloured or turned round."""
    line = github.error(Finding(path, "edited", f"{path} is bad", f"type {path}\nor 100%"))
    found = COMMAND.fullmatch(line)
    assert found and line.isprintable()
    file = unescaped(found[1], ("%2C", ","), ("%3A", ":"))
    assert file == path or not path.replace("\n", "").replace("\r", "").isprintable()
    assert unescaped(found[3]).endswith("\nor 100%")


def step(name: str) -> dict[str, object]:
    return next(one for one in ACTION["runs"]["steps"] if one["name"] == name)


def act(repo: Path, name: str = "Verify", **env: str) -> subprocess.CompletedProcess[str]:
    """Run a step's own text as a runner does: `bash --noprofile --norc -eo pipefail`, its `env` from us."""
    one = step(name)
    names = dict.fromkeys(one["env"], "")
    assert set(env) <= {*names, "PATH", "RUNNER_TEMP", "GITHUB_PATH"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", one["run"]], cwd=repo, capture_output=True, text=True,
        env={**env_of(repo), "PATH": path, "GITHUB_ACTIONS": "true", **names, **env},
    )  # fmt: skip


def test_the_action_is_whole():
    """Every input is used, no expression stands in a shell text (a branch's name would be run), every step has a shell."""
    text = (ROOT / "action.yml").read_text("utf-8")
    assert ACTION["runs"]["using"] == "composite"
    for name in ("range", "source", "python-version"):
        assert ACTION["inputs"][name]["description"] and f"inputs.{name}" in text
    for one in ACTION["runs"]["steps"]:
        if "run" in one:
            assert one["shell"] == "bash" and "${{" not in one["run"]


def test_the_action_checks_the_head_of_a_push(tmp_path):
    repo = with_an_edited_view(tmp_path)
    git(tmp_path, "clone", "-q", f"file://{repo}", "there")
    done = act(tmp_path / "there")
    assert done.returncode == 1 and COMMAND.match(done.stdout)
    git(tmp_path / "there", "reset", "-q", "--hard", "HEAD~1")
    assert (act(tmp_path / "there").returncode, act(tmp_path / "there").stdout) == (0, "ok\n")


def test_the_action_checks_each_commit_of_a_pull_request(tmp_path):
    """Also one that a later commit made good, and only those; an input names another range."""
    repo = with_an_edited_view(tmp_path)
    bad = head(repo)
    git(repo, "checkout", "-q", "HEAD~1", "--", "PROBLEM.md")
    save(repo, "good again")
    git(tmp_path, "clone", "-q", f"file://{repo}", "there")
    there = tmp_path / "there"
    assert act(there).returncode == 0
    done = act(there, BASE=f"{bad}~1", HEAD=head(repo))
    assert done.returncode == 1 and f"commit {bad[:12]}" in done.stdout
    assert act(there, BASE=bad, HEAD=head(repo)).returncode == 0
    assert act(there, RANGE=f"{bad}~1..{bad}", BASE=bad, HEAD=head(repo)).returncode == 1
    unknown = act(there, BASE="0" * 40, HEAD=head(repo))
    assert unknown.returncode == 2 and "is no range of commits" in unknown.stderr


def test_a_shallow_clone_is_refused_with_what_to_add(tmp_path):
    """It cannot tell what a commit took away: a check that passes there would say more than it knows."""
    repo = with_an_edited_view(tmp_path)
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", "there")
    done = act(tmp_path / "there")
    assert (
        done.returncode == 3 and done.stdout.startswith("::error title=mlos-sync::") and "fetch-depth: 0" in done.stdout
    )


def test_the_action_installs_what_it_is_told(tmp_path):
    """Into a folder of its own, which later steps find. pip needs a network, so a stand-in notes what it is asked."""
    repo = workspace(tmp_path)
    binaries = tmp_path / "bin"
    binaries.mkdir()
    fake = '#!/bin/sh\nif [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; else echo "$@" >>"$RUNNER_TEMP/asked"; fi\n'
    write(binaries, "python", fake).chmod(0o755)
    for source, wanted in (("", "/the/action"), ("mlos-sync==1.2", "mlos-sync==1.2")):
        env = {
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_PATH": str(tmp_path / "paths"),
        }
        done = act(repo, "Install mlos-sync", SOURCE=source, ACTION="/the/action", **env)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "asked").read_text().splitlines()[-1].endswith(f" {wanted}")
        assert (tmp_path / "paths").read_text().splitlines()[-1] == str(tmp_path / "mlos-sync/bin")


def test_the_examples_of_the_docs_are_what_the_action_takes(tmp_path):
    """docs/ci.md: its workflows parse, fetch the whole history, and give only inputs that there are."""
    text = (ROOT / "docs/ci.md").read_text("utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    workflows = [block for block in blocks if "jobs" in block]
    assert workflows
    for workflow in workflows:
        steps = [one for job in workflow["jobs"].values() for one in job["steps"]]
        checkout = next(one for one in steps if "actions/checkout" in one.get("uses", ""))
        assert checkout["with"]["fetch-depth"] == 0
        for one in steps:
            if "mlos-sync" in one.get("uses", ""):
                assert set(one.get("with", {})) <= set(ACTION["inputs"])
    repo = workspace(tmp_path)
    save(repo, "more")
    commands = [
        line[2:] for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
    ]
    assert len(commands) == 2
    for command in commands:
        assert run(repo, *command.split()[1:]).out == "ok\n"
    offered = {one["id"] for one in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    used = {hook["id"] for block in blocks for repo in block.get("repos", []) for hook in repo["hooks"]}
    assert used and used <= offered
