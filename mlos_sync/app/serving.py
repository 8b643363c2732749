"""`watch` as a service of the user's own: a systemd user unit, or a launchd agent. Shown first, written on yes.

One file for each worktree, with a name made of the folder's and of its path's hash. Nothing is done as root, nothing for
other users. Sources: systemd.service(5), systemd.exec(5), systemd.syntax(7); launchd.plist(5).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

from mlos_sync.app import standing
from mlos_sync.core.ids import derived_uid
from mlos_sync.edge import files
from mlos_sync.edge.workspace import Workspace
from mlos_sync.errors import SurroundingsError, UsageError

PATIENCE = 20  # seconds for a command of the service manager
MEMORY = "512M"  # a first look at a large tree takes 300 MB for a while


@dataclass(frozen=True, slots=True)
class Service:
    """What is, or would be, installed: `commands` start it, `ends` stop it and take it away."""

    manager: str
    name: str
    path: str
    text: str
    commands: tuple[tuple[str, ...], ...]
    ends: tuple[tuple[str, ...], ...]
    log: str


def plan(workspace: Workspace, manager: str | None = None, *, compiles: bool = False) -> Service:
    """The service for a worktree. Writes nothing. Raises SurroundingsError where there is no service manager of ours."""
    made = {"systemd": _systemd, "launchd": _launchd}
    chosen = manager or ("launchd" if sys.platform == "darwin" else "systemd")
    if chosen not in made:
        raise UsageError(f"there is no manager {chosen}", f"one of {', '.join(made)}")
    if "\n" in workspace.root:
        raise UsageError("the path of this workspace has a line end", "move it to another folder")
    return made[chosen](workspace, compiles)


def installed(service: Service) -> str | None:
    """What stands where the service would; None for nothing."""
    try:
        with open(service.path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SurroundingsError(f"{service.path} cannot be read: {error.strerror}", "mend its rights") from None


def install(service: Service) -> list[str]:
    """Write it and start it. Returns what could not be done, in words; the file stands in any case."""
    folder, name = os.path.split(service.path)
    os.makedirs(folder, exist_ok=True)
    files.write(folder, name, service.text.encode("utf-8", "surrogateescape"))
    return [said for command in service.commands if (said := _run(command))]


def uninstall(service: Service) -> list[str]:
    """Stop it and take its file away. Raises UsageError where there is none."""
    if installed(service) is None:
        raise UsageError(f"no service is installed for this worktree ({service.path})", "mlos-sync service install")
    said = [words for command in service.ends[:1] if (words := _run(command))]
    os.unlink(service.path)
    return said + [words for command in service.ends[1:] if (words := _run(command))]


def remove(workspace: Workspace) -> list[str]:
    """Stop and take away what is installed for a worktree; the files that went."""
    try:
        service = plan(workspace)
        uninstall(service)
    except UsageError:  # there is none
        return []
    return [service.path]


def state(workspace: Workspace, service: Service) -> dict[str, object]:
    """Whether it is installed, as planned or otherwise, and whether a watcher runs here."""
    there = installed(service)
    runs = standing.of(workspace) is not None
    return {
        "manager": service.manager, "path": service.path, "installed": there is not None, "running": runs,
        "current": there in (service.text, plan(workspace, service.manager, compiles=True).text),
        "log": service.log,
    }  # fmt: skip


def _run(command: tuple[str, ...]) -> str:
    """Run a command of the service manager: "" or why it did not work."""
    if shutil.which(command[0]) is None:
        return f"{command[0]} was not found; run it where it is: {' '.join(command)}"
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE, text=True, errors="replace")
    except subprocess.TimeoutExpired:
        return f"{' '.join(command)}: no answer"
    if done.returncode == 0:
        return ""
    return f"{' '.join(command)}: {' '.join((done.stderr or done.stdout).split()) or done.returncode}"


def _name(workspace: Workspace) -> str:
    plain = re.sub("[^A-Za-z0-9]+", "-", os.path.basename(workspace.root)).strip("-").lower()[:40] or "workspace"
    return f"mlos-sync-{plain}-{derived_uid('service', workspace.root)[:8]}"


def _argv(workspace: Workspace, compiles: bool) -> list[str]:
    words = [sys.executable, "-I", "-m", "mlos_sync", "-C", workspace.root, "--quiet", "watch"]
    return [*words, "--compile"] if compiles else words


def _systemd(workspace: Workspace, compiles: bool) -> Service:
    name = _name(workspace)
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    path = os.path.join(home, "systemd", "user", f"{name}.service")
    shown = workspace.root.replace("%", "%%")
    text = f"""# Made by `mlos-sync service install`; `mlos-sync service uninstall` takes it away.
[Unit]
Description=mlos-sync watches {_plain(shown)}
Documentation=man:inotify(7)
{_condition(workspace.root)}StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=notify
ExecStart={" ".join(_quoted(word) for word in _argv(workspace, compiles))}
Restart=on-failure
RestartSec=10
TimeoutStartSec=600
TimeoutStopSec=10
Nice=10
IOSchedulingClass=idle
MemoryMax={MEMORY}
NoNewPrivileges=yes
LogRateLimitIntervalSec=60
LogRateLimitBurst=200
SyslogIdentifier={name}

[Install]
WantedBy=default.target
"""
    return Service(
        "systemd", name, path, text,
        (("systemctl", "--user", "daemon-reload"), ("systemctl", "--user", "enable", "--now", f"{name}.service")),
        (("systemctl", "--user", "disable", "--now", f"{name}.service"), ("systemctl", "--user", "daemon-reload")),
        f"journalctl --user -u {name}",
    )  # fmt: skip


def _quoted(word: str) -> str:
    """A word of ExecStart: in quotes, with what systemd would expand escaped (systemd.service(5), "Command lines")."""
    kept = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return '"' + "".join(c if c.isprintable() else "".join(f"\\x{b:02x}" for b in os.fsencode(c)) for c in kept) + '"'


def _condition(path: str) -> str:
    """The line that wants the workspace there. No quotes are read in it, specifiers are, a backslash at its end would take in the
    next line, and blanks there are cut off: then it is left out."""
    is_plain = path.isprintable() and path == path.strip() and "\\" not in path
    return f"ConditionPathExists={path.replace('%', '%%')}\n" if is_plain else ""


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() and c != "\\" else "?" for c in text)


def _launchd(workspace: Workspace, compiles: bool) -> Service:
    import plistlib

    name = f"net.mlos-sync.{_name(workspace)}"
    path = os.path.expanduser(f"~/Library/LaunchAgents/{name}.plist")
    log = os.path.join(workspace.state, "watch.log")
    words = [*_argv(workspace, compiles), "--log", log]
    about = {
        "Label": name, "ProgramArguments": words, "RunAtLoad": True, "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10, "ProcessType": "Background", "LowPriorityIO": True, "Nice": 10,
        "StandardOutPath": "/dev/null", "StandardErrorPath": "/dev/null",
    }  # fmt: skip
    text = plistlib.dumps(about).decode()
    domain = f"gui/{os.getuid()}"
    return Service(
        "launchd", name, path, text, (("launchctl", "bootstrap", domain, path),),
        (("launchctl", "bootout", f"{domain}/{name}"),), log,
    )  # fmt: skip
