"""The import rules, enforced: folders are layers, imports run downward, each third party has one home."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "mlos_sync"
MODULES = sorted(PACKAGE.rglob("*.py"))

# layer -> the layers of ours that it may import (itself included where modules of one layer may meet)
ALLOWED = {
    "errors": set(),
    "core": {"core", "errors"},
    "edge": {"edge", "core", "errors"},
    "app": {"app", "edge", "core", "errors"},
    "hooks": {"hooks", "app", "core", "errors"},
    "cli": {"cli", "app", "core", "errors"},
    "__init__": set(),
    "__main__": {"cli"},
}
# third party -> the only modules that may name it
HOMES = {
    "sqlmodel": {"edge/columns.py", "edge/schema.py", "edge/bookkeeping.py", "edge/commit_tables.py", "edge/ddl.py"},
    "sqlalchemy": {"edge/columns.py", "edge/schema.py", "edge/bookkeeping.py", "edge/commit_tables.py", "edge/ddl.py"},
    "git": {"edge/repo.py"},
    "watchdog": {"edge/watch_linux.py", "edge/watch_elsewhere.py"},
    "frontmatter": {"core/frontmatter.py"},
    "yaml": {"core/frontmatter.py"},
    "jinja2": {"core/views.py"},
    "pathspec": {"edge/files.py"},
    "typer": {"cli"},
    "rich": {"cli"},
}
IMPURE = {"os", "subprocess", "sqlite3", "time", "socket", "shutil", "tempfile", "pathlib", "io", "threading"}


def layer_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(path: Path) -> list[tuple[str, int]]:
    """Every imported module as a dotted name, with its line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            base = node.module or ""
            found += [
                (
                    f"{base}.{a.name}" if base in ("mlos_sync", *(f"mlos_sync.{x}" for x in ALLOWED)) else base,
                    node.lineno,
                )
                for a in node.names
            ]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downward(path):
    allowed = ALLOWED[layer_of(path)]
    for name, line in imports_of(path):
        if name.startswith("mlos_sync."):
            target = name.split(".")[1]
            if target == "__version__":
                continue
            assert target in allowed, f"{path}:{line}: {layer_of(path)} must not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_each_third_party_has_one_home(path):
    relative = str(path.relative_to(PACKAGE))
    for name, line in imports_of(path):
        top = name.split(".")[0]
        if top == "mlos_sync" or top in sys.stdlib_module_names:
            continue
        homes = HOMES.get(top)
        assert homes is not None, f"{path}:{line}: {top} has no home in the plan of the house"
        assert relative in homes or layer_of(path) in homes, f"{path}:{line}: {top} belongs in {sorted(homes)}"


@pytest.mark.parametrize(
    "path", [p for p in MODULES if layer_of(p) == "core"], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_the_core_is_pure(path):
    for name, line in imports_of(path):
        assert name.split(".")[0] not in IMPURE, f"{path}:{line}: the core does no I/O, so it has no use for {name}"
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"print", "open", "input"}, f"{path}:{node.lineno}: {node.func.id} in the core"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_readable(path):
    source = path.read_text("utf-8")
    assert source.count("\n") <= 420, f"{path} has {source.count(chr(10))} lines: a second idea may be living there"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{path}:{node.lineno}: {node.name} has {length} lines"
    assert ast.get_docstring(ast.parse(source)), f"{path} says nothing about what it owns"


def loaded_by(code: str) -> set[str]:
    """Top-level names of everything that a fresh isolated interpreter has loaded after running `code`."""
    script = code + "\nimport sys; print(' '.join(sorted({m.split('.')[0] for m in sys.modules})))"
    path = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
    out = subprocess.run([sys.executable, "-I", "-c", path + script], capture_output=True, text=True, check=True)
    return set(out.stdout.split())


THIRD_PARTY = {
    "typer",
    "rich",
    "click",
    "pydantic",
    "sqlmodel",
    "sqlalchemy",
    "git",
    "gitdb",
    "yaml",
    "frontmatter",
    "watchdog",
    "jinja2",
    "pathspec",
}


def test_the_guard_is_standard_library_only():
    assert not loaded_by("import mlos_sync.hooks.main, mlos_sync.hooks.guard") & THIRD_PARTY


def test_publishing_from_the_hook_is_standard_library_only():
    assert not loaded_by("import mlos_sync.app.publishing") & THIRD_PARTY


def test_the_command_line_starts_without_what_it_does_not_need():
    heavy = THIRD_PARTY - {"typer", "rich", "click", "pydantic"}
    assert not loaded_by("import mlos_sync.cli.main") & heavy


def test_sync_and_records_do_not_load_the_orm():
    heavy = {"sqlmodel", "sqlalchemy", "pydantic", "git", "watchdog", "jinja2"}
    assert not loaded_by("import mlos_sync.app.sync, mlos_sync.app.records") & heavy
