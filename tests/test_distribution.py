"""What users install: the built wheel and an editable install, each in a fresh environment, from init to a refusal."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def sh(
    *command: str | Path, cwd: Path, env: dict[str, str] | None = None, ok: bool = True
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert not ok or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree without a network."""
    out = tmp_path_factory.mktemp("wheel")
    sh(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=ROOT)
    return next(out.glob("*.whl"))


def fresh_environment(folder: Path) -> Path:
    """A new virtual environment; the dependencies are seen through links, our own package is not, and pip works from
    outside (`install`)."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    site = Path(sh(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip())
    here = next(Path(p) for p in sys.path if p.endswith("site-packages") and (Path(p) / "typer").is_dir())
    for entry in here.iterdir():
        if (
            not entry.name.startswith(("mlos_sync", "_mlos_sync", "pip", "__editable__", "_editable"))
            and not (site / entry.name).exists()
        ):
            (site / entry.name).symlink_to(entry)
    return folder / "bin"


def install(bin_folder: Path, *what: str | Path, cwd: Path) -> None:
    """Our pip for that environment: one of its own would take seconds to unpack and to compile."""
    pip = (sys.executable, "-m", "pip", "--python", bin_folder / "python", "--disable-pip-version-check")
    sh(*pip, "install", "-q", "--no-deps", "--no-index", *what, cwd=cwd)


def init_and_refuse(bin_folder: Path, work: Path) -> None:
    """init, compile, commit; then git itself refuses a hand edit."""
    env = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    work.mkdir()
    sh("git", "init", "-q", ".", cwd=work, env=env)
    sh("mlos-sync", "init", cwd=work, env=env)
    sh("mlos-sync", "need", "add", "A way home", cwd=work, env=env)
    sh("mlos-sync", "compile", cwd=work, env=env)
    sh("git", "add", "-A", cwd=work, env=env)
    sh("git", "commit", "-qm", "start", cwd=work, env=env)
    with (work / "PROBLEM.md").open("a") as file:
        file.write("by hand\n")
    refused = sh("git", "commit", "-qam", "edit", cwd=work, env=env, ok=False)
    assert refused.returncode == 1
    assert "PROBLEM.md" in refused.stderr and "mlos-sync compile" in refused.stderr
    assert sh("git", "log", "--format=%s", cwd=work).stdout == "start\n"


def test_the_wheel_carries_hooks_and_templates(wheel):
    """Top-level hooks/ and templates/ travel inside the package."""
    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("hooks", "templates"):
        for file in (ROOT / folder).iterdir():
            assert f"mlos_sync/data/{folder}/{file.name}" in names


def test_the_wheel_works_in_a_fresh_environment(wheel, tmp_path):
    """Installed from the wheel: init, and a refused commit."""
    bin_folder = fresh_environment(tmp_path / "env")
    install(bin_folder, wheel, cwd=tmp_path)
    where = sh(bin_folder / "python", "-I", "-c", "import mlos_sync; print(mlos_sync.__file__)", cwd=tmp_path).stdout
    assert str(tmp_path) in where
    init_and_refuse(bin_folder, tmp_path / "work")


def test_an_editable_install_works(tmp_path):
    """Installed with -e: init, and a refused commit, with hooks and templates read beside the package."""
    bin_folder = fresh_environment(tmp_path / "env")
    install(bin_folder, "--no-build-isolation", "-e", ROOT, cwd=tmp_path)
    where = sh(bin_folder / "python", "-I", "-c", "import mlos_sync; print(mlos_sync.__file__)", cwd=tmp_path).stdout
    assert str(ROOT) in where
    init_and_refuse(bin_folder, tmp_path / "work")
