"""Documentation is executed: its commands run, and the reference says what the program says.

`python tests/test_docs.py` rewrites the generated part of docs/reference.md.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference.md"
BEGIN, END = "<!-- generated: commands -->", "<!-- end of generated -->"


def console(path: Path) -> list[str]:
    """The commands in a page's `console` blocks, in order."""
    blocks = re.findall(r"```console\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
    return [line[2:] for block in blocks for line in block.split("\n") if line.startswith("$ ")]


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sample vault, with `mlos-sync` on PATH."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    program = binaries / "mlos-sync"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -m mlos_sync "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
    shutil.copytree(ROOT / "sample_vault", tmp_path / "harbor")
    return tmp_path / "harbor"


@pytest.mark.parametrize("page", ["README.md", "docs/guide.md", "docs/transcripts.md", "docs/watching.md"])
def test_commands_in_the_docs_run(page, vault):
    """Every command shown is typed, in order, and succeeds."""
    commands = console(ROOT / page)
    assert len(commands) > 2
    if not any(command.startswith("git init") for command in commands):
        subprocess.run(["git", "init", "-q", "."], cwd=vault, check=True)
    for command in commands:
        done = subprocess.run(["sh", "-c", command], cwd=vault, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{page}: {command}\n{done.stdout}{done.stderr}"


def test_the_demo_plays(vault):
    """`make demo` runs to its end, and ends with equal dumps."""
    done = subprocess.run(["sh", str(ROOT / "docs" / "demo.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("the canonical dumps of both clones are equal")
    assert "commit refused" in done.stdout


def test_the_readme_names_both_commands_on_lines_of_their_own():
    """`make demo` and `make test` are all the set-up there is."""
    lines = [line.strip() for line in (ROOT / "README.md").read_text("utf-8").split("\n")]
    assert "make demo" in lines and "make test" in lines


def test_links_in_the_docs_lead_somewhere():
    """Relative links in our pages point at files that exist."""
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_map_of_the_house_is_complete():
    """ARCHITECTURE.md names every module of core, edge and app, and every path it names exists."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    plan = text[text.index("```\nmlos_sync/") :]
    words = set(re.findall(r"[a-z_]+", plan[: plan.index("\n```\n")]))
    for layer in ("core", "edge", "app"):
        for module in (ROOT / "mlos_sync" / layer).glob("*.py"):
            assert module.stem in words | {"__init__"}, f"{layer}/{module.name} is on no map"
    for path in re.findall(r"`((?:mlos_sync|hooks|templates|tests|app|edge|core)/[\w./-]+)`", text):
        assert any(
            (ROOT / base / f"{path}{ending}").exists() for base in ("", "mlos_sync") for ending in ("", ".py")
        ), path


def commands() -> str:
    """Every command with its arguments and options, as the program itself describes them."""
    from typer.main import get_command

    from mlos_sync.cli.main import app

    parts: list[str] = []

    def tell(command, path: str) -> None:
        children = getattr(command, "commands", None)
        parts.append(f"### `{path}`\n\n{(command.help or '').strip()}\n")
        rows = []
        for parameter in command.params:
            if parameter.name in ("install_completion", "show_completion", "help"):
                continue
            names = (
                ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
                if parameter.opts[0][0] == "-"
                else ""
            )
            names = names or f"`{re.sub(r'[][]|[.]{3}', '', parameter.metavar or parameter.name.upper())}`"
            rows.append(f"- {names}: {getattr(parameter, 'help', '') or ''}".rstrip(": "))
        if rows:
            parts.append("\n".join(rows) + "\n")
        for name in sorted(children or {}):
            tell(children[name], f"{path} {name}")

    tell(get_command(app), "mlos-sync")
    return "\n".join(parts)


def test_the_reference_says_what_the_program_says():
    """docs/reference.md holds every command and option; rewrite it with `python tests/test_docs.py`."""
    text = REFERENCE.read_text("utf-8")
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip() == commands().strip()


def test_every_command_explains_itself():
    """No command, argument or option without a line of help."""
    for part in commands().split("### ")[1:]:
        assert len(part.strip().split("\n")) > 1, part


if __name__ == "__main__":
    old = REFERENCE.read_text("utf-8")
    REFERENCE.write_text(
        old[: old.index(BEGIN) + len(BEGIN)] + "\n" + commands() + "\n" + old[old.index(END) :], "utf-8"
    )
