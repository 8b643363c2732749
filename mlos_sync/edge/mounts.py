"""File systems that do not tell of every change: inotify sees only what goes through this kernel, and through this mount.

By `/proc/self/mountinfo` (proc(5)); where there is none (macOS) nothing is said.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

# Changes that others make on the server, or on the host, come without an event. See docker/for-win 12766 and WSL 4739 for
# mounts that are shared with a virtual machine.
SILENT = {
    "nfs": "network", "nfs4": "network", "cifs": "network", "smb3": "network", "smbfs": "network", "ncpfs": "network",
    "afs": "network", "ceph": "network", "glusterfs": "network", "lustre": "network", "9p": "shared with the host",
    "virtiofs": "shared with the host", "vboxsf": "shared with the host", "drvfs": "shared with the host",
    "prl_fs": "shared with the host", "vmhgfs": "shared with the host", "fakeowner": "shared with the host",
    "overlay": "overlay, whose lower layers may change unseen",
}  # fmt: skip
TABLE = "/proc/self/mountinfo"
_ESCAPE = re.compile(r"\\([0-7]{3})")


def table(name: str = TABLE) -> str:
    """What is mounted, as a text that changes when that does; "" where nobody tells."""
    try:
        with open(name, "rb") as file:
            return os.fsdecode(file.read())
    except OSError:
        return ""


def near(text: str, places: Iterable[str]) -> list[str]:
    """The lines of a table of mounts that matter for some absolute paths: what is mounted on them, above or below them. Others
    come and go with each container."""
    lines, ours = [], [place.rstrip("/") + "/" for place in places]
    for line in text.splitlines():
        fields = line.split(" ", 5)
        there = _plain(fields[4]).rstrip("/") + "/" if len(fields) > 4 else "/"
        if any(one.startswith(there) or there.startswith(one) for one in ours):
            lines.append(line)
    return lines


def silent(root: str, name: str = TABLE) -> dict[str, str]:
    """The mount points that hold `root` (told as `root` itself) or lie below it and whose file system keeps changes to
    itself -> what it is."""
    holding, found = ("", ""), {}
    for place, kind in _mounts(table(name)):
        word = SILENT.get(kind) or ("network or user space" if kind.startswith("fuse") else "")
        told = f"{kind} ({word})" if word else ""
        if place.startswith(root.rstrip("/") + "/"):
            found[place] = told
        elif (root == place or root.startswith(place.rstrip("/") + "/")) and len(place) >= len(holding[0]):
            holding = (place, told)  # of two mounts on one place the later one is seen
    found[root] = found.get(root) or holding[1]
    return {place: told for place, told in found.items() if told}


def _mounts(text: str) -> list[tuple[str, str]]:
    """(mount point, type of file system), in the order of mounting."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if len(fields) > 4 and kinds[0]:
            found.append((_plain(fields[4]), kinds[0]))
    return found


def _plain(place: str) -> str:
    return _ESCAPE.sub(lambda m: chr(int(m[1], 8)), place)
