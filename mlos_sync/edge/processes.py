"""What runs on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess


def process_line(process: int) -> tuple[int, list[str]] | None:
    """(parent, arguments) of a running process: exact from procfs, elsewhere as `ps` prints them; None where neither can
    tell."""
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            arguments = os.fsdecode(file.read()).split("\0")
        with open(f"/proc/{process}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1]), arguments
    except (OSError, ValueError, IndexError):
        pass
    ps = shutil.which("ps", path="/bin:/usr/bin")
    if ps is None:
        return None
    done = subprocess.run([ps, "-o", "ppid=,args=", "-p", str(process)], capture_output=True, check=False)
    parent, _, line = done.stdout.decode("utf-8", "replace").strip().partition(" ")
    return (int(parent), line.split()) if parent.isdecimal() else None
