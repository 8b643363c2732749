"""How folders of a work tree stand to git: what its rules exclude, what its index has of them."""

from __future__ import annotations

from collections.abc import Iterable

from mlos_sync.core.paths import from_bytes, split_names, to_bytes
from mlos_sync.edge import git
from mlos_sync.errors import SurroundingsError


def unlisted_folders(root: str, *scope: str) -> list[str]:
    """Folders, at or below some or anywhere, that hold nothing that counts: a rule excludes them, or all that is in them."""
    found: list[str] = []
    for names in git.parts(scope):
        options = ("-o", "-i", "-z", "--exclude-standard", "--directory", "--", *git.beside(names))
        found += split_names(git.run(root, "--literal-pathspecs", "ls-files", *options))
    return list(dict.fromkeys(name[:-1] for name in found if name.endswith("/")))


def excluded_folders(root: str, folders: Iterable[str]) -> set[str]:
    """Those of some folders that a rule excludes, or one above them. None of them may be a link or lie behind one."""
    # A dot before them, as this command takes no --literal-pathspecs; no slash behind, or rules in a folder count for it.
    asked = b"".join(b"./" + to_bytes(folder) + b"\0" for folder in folders)
    if not asked:
        return set()
    done = git.attempt(root, "check-ignore", "--no-index", "-z", "--stdin", data=asked)
    if done.returncode > 1:  # 1 is for none
        words = done.stderr.decode("utf-8", "replace").strip()
        raise SurroundingsError(f"git check-ignore failed: {words}", "run the same command by hand to see more")
    return {name[2:] for name in split_names(done.stdout)}


def tracked_as(root: str, folders: Iterable[str]) -> dict[str, str]:
    """How the index stands to some folders: "link" where it has one as a repository of its own, "files" where it has files
    below one; the others it does not know."""
    asked = sorted(folders)
    found: dict[str, str] = {}
    for names in git.parts(asked) if asked else ():
        for record in git.run(root, "--literal-pathspecs", "ls-files", "-s", "-z", "--", *names).split(b"\0"):
            about, _, name = record.partition(b"\t")
            path = from_bytes(name)
            if about.startswith(b"160000 "):
                found[path] = "link"
            while path and path not in found:
                found[path] = "files"
                path = path.rpartition("/")[0]
    return {path: found[path] for path in asked if path in found}


def submodules(root: str) -> set[str]:
    """The folders that `.gitmodules` names, as paths."""
    options = ("config", "-z", "--file", ".gitmodules", "--get-regexp", r"^submodule\..*\.path$")
    records = git.attempt(root, *options).stdout.split(b"\0")  # nothing where there is no such file
    return {from_bytes(one.partition(b"\n")[2].rstrip(b"/")) for one in records if b"\n" in one}
