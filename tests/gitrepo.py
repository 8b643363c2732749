"""Real git in a sealed home, for every test that needs a repository.

    repo = make_repo(tmp_path)            # tmp_path/repo on branch main, no commit yet; HOME is tmp_path/home
    git(repo, "commit", "-m", "first")    # CompletedProcess with text; paths that are not UTF-8 survive as surrogates

Nothing of the machine's configuration or of a surrounding git process gets in.
"""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org",
}  # fmt: skip
"""Who a test is to the program in its own process; git itself is run by somebody else (`sealed_env`)."""

QUIET = ("maintenance.auto", "false")
"""Nothing is packed by itself (as with gc.auto 0), and no process is started after each commit to see that."""


def sealed_env(home: Path) -> dict[str, str]:
    """The whole environment of a sealed process: PATH, an empty home, an identity, no prompts."""
    home.mkdir(exist_ok=True)
    who = {f"GIT_{role}_NAME": "A Tester" for role in ("AUTHOR", "COMMITTER")}
    where = {f"GIT_{role}_EMAIL": "tester@example.com" for role in ("AUTHOR", "COMMITTER")}
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "true",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        **who,
        **where,
    }


def env_of(repo: Path) -> dict[str, str]:
    """The sealed environment of a repository made here (also of its linked work trees beside it)."""
    return sealed_env(repo.parent / "home")


def make_repo(tmp_path: Path, *options: str) -> Path:
    """An empty repository at tmp_path/repo; `options` go to `git init`."""
    repo = tmp_path / "repo"
    repo.mkdir(parents=True)
    git(repo, "init", "-q", "-b", "main", *options)
    git(repo, "config", *QUIET)
    return repo


def git(
    repo: Path, *args: str | bytes, check: bool = True, env: dict[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run git in a repository; `env` is added to the sealed environment. A failure shows what git said."""
    done = subprocess.run(
        ["git", *args],
        cwd=repo,
        env={**env_of(repo), **(env or {})},
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
    )
    assert not check or done.returncode == 0, f"git {args!r} -> {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def shell(repo: Path, script: str) -> None:
    """What somebody does in it, by lines of the shell; each must succeed."""
    subprocess.run(["sh", "-ec", script], cwd=repo, env=env_of(repo), check=True, capture_output=True)


def commit_file(repo: Path, path: str, content: bytes, message: str = "a change") -> None:
    """Write, stage and commit one file, past all hooks."""
    target = repo / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    git(repo, "add", "--", f":(literal){path}")
    git(repo, "commit", "-q", "--no-verify", "-m", message)


def make_interpreter(folder: Path, *, with_package: bool = True) -> str:
    """A Python that has the standard library and, unless told otherwise, mlos_sync: what a shim would name."""
    venv.create(folder, symlinks=True)
    if with_package:
        packages = next((folder / "lib").glob("python*/site-packages"))
        (packages / "mlos_sync.pth").write_text(f"{ROOT}\n", "utf-8")
    return str(folder / "bin" / "python")
