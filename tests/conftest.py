"""A sealed world for every test: own home, no system or user git configuration, a fixed identity, real git."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import spawner  # noqa: F401 - it is to start while there is little in this process
from gitrepo import IDENTITY
from hypothesis import HealthCheck, settings

# No deadline: a busy machine is not a failure. A failing example is printed whole, and with a blob that replays it.
settings.register_profile("sealed", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sealed")


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new home for each that asks, in a folder of their own: `mktemp` lists all its siblings, soon thousands, each time."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def sealed(homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shut out the machine's configuration, and let a test that asks for an editor fail."""
    home = next(homes)
    home.mkdir()
    for name in list(os.environ):
        if name.startswith(("GIT_", "MLOS_SYNC_")):
            monkeypatch.delenv(name)
    for name, value in {
        "HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "false", "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1", **IDENTITY,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return home


CAPABILITIES = "-dac_override,-dac_read_search"
PLAIN_USER = ("setpriv", f"--bounding-set={CAPABILITIES}", f"--inh-caps={CAPABILITIES}")


@pytest.fixture
def as_user() -> tuple[str, ...]:
    """What to start a program through, so that a folder without rights is closed to it: root may read everything."""
    if os.geteuid() != 0:
        return ()
    if not shutil.which("setpriv"):
        pytest.skip("NOT TESTED: unreadable files, as this is root and setpriv is missing")
    return PLAIN_USER
