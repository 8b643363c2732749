"""Git by plumbing: one place that starts git, always with a scrubbed environment and fixed argument lists.

Nothing configured in the repository is executed: fsmonitor is forced off, no textconv, no external diff, no filters,
no pager, no prompts, never the network (GIT_NO_LAZY_FETCH); GIT_OPTIONAL_LOCKS=0 keeps us from taking `index.lock`
(54 of 150 commits of a user failed on it in a measurement with two status loops; none with it off).
Paths are text in the encoding of `core/paths.py`; output is read with `-z`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from mlos_sync.core.paths import from_bytes, split_names, to_bytes
from mlos_sync.errors import SurroundingsError

# What git sets for a repository and its index; dropped except where a hook must see the index being committed.
_LOCAL = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE", "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS", "GIT_PAGER", "GIT_ASKPASS", "GIT_TRACE",
)  # fmt: skip
# What the user has set must neither start a program nor change what is printed: a history is read alike everywhere.
_SETTINGS = (
    "core.fsmonitor=false", "core.quotePath=false", "core.commentChar=#", "color.ui=false", "diff.orderFile=/dev/null",
    "diff.ignoreSubmodules=none", "log.showSignature=false", "log.showRoot=true", "log.follow=false",
    "log.diffMerges=separate", "trailer.separators=:",
)  # fmt: skip
_SAFE = tuple(word for setting in _SETTINGS for word in ("-c", setting))
# Bytes of names that one git is given: Linux holds 128 KB ready for arguments and environment whatever the limits (execve(2)),
# usually 2 MB, macOS 1 MB. `ls-files` takes names in no other way.
_ARGUMENTS = 100_000


@lru_cache(maxsize=1)
def program() -> str:
    """Absolute path of git, found once on PATH (never in the workspace). Raises SurroundingsError."""
    found = shutil.which("git", path=os.pathsep.join(p for p in os.get_exec_path() if os.path.isabs(p)))
    if not found:
        raise SurroundingsError("git was not found", "install git 2.31 or later and make sure it is on PATH")
    return found


def environment(index_file: str | None = None, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for git: the user's, without another repository's variables. `index_file` names an index,
    `settings` are for this once, under any name."""
    env = {name: value for name, value in os.environ.items() if name not in _LOCAL}
    env.update(GIT_OPTIONAL_LOCKS="0", GIT_NO_LAZY_FETCH="1", GIT_TERMINAL_PROMPT="0", LC_ALL="C", GIT_PAGER="cat")
    env["MLOS_SYNC_HOOK"] = "1"  # to our post-index-change hook: nobody need hear of an index that we changed
    # Replaced objects and grafts are of this clone alone, and change without HEAD moving: the history is the one that
    # everybody has. (A file that is there, were it empty, would have git advise against grafts.)
    env.update(GIT_NO_REPLACE_OBJECTS="1", GIT_GRAFT_FILE=os.path.join(os.devnull, "none"))
    env["GIT_ALLOW_PROTOCOL"] = "none"  # GIT_NO_LAZY_FETCH is younger than partial clones: to older gits this says it
    count = env.get("GIT_CONFIG_COUNT", "")  # what the user's environment sets (safe.directory, say) stays
    for number, (key, value) in enumerate((settings or {}).items(), int(count) if count.isdecimal() else 0):
        env |= {
            "GIT_CONFIG_COUNT": str(number + 1),
            f"GIT_CONFIG_KEY_{number}": key,
            f"GIT_CONFIG_VALUE_{number}": value,
        }
    if index_file:
        env["GIT_INDEX_FILE"] = index_file
    return env


def run(
    root: str,
    *args: str,
    data: bytes | None = None,
    index_file: str | None = None,
    settings: Mapping[str, str] | None = None,
    check: bool = True,
) -> bytes:
    """Run git in `root` and return its output. Raises SurroundingsError with git's own words when it fails."""
    done = attempt(root, *args, data=data, index_file=index_file, settings=settings)
    if check and done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip()
        command = next(word for word in args if word != "-c" and "=" not in word)
        raise SurroundingsError(f"git {command} failed: {words}", "run the same command by hand to see more")
    return done.stdout


def attempt(
    root: str,
    *args: str,
    data: bytes | None = None,
    index_file: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run git to its end, however that is."""
    return subprocess.run(
        [program(), *_SAFE, *args],
        cwd=root,
        input=data,
        stdin=None if data is not None else subprocess.DEVNULL,
        capture_output=True,
        env=environment(index_file, settings),
        check=False,
    )


def stream(root: str, *args: str, data: bytes | None = None) -> subprocess.Popen[bytes]:
    """Start git with its output as a pipe; the caller reads it to the end and waits. `data` is given to a command that reads
    all of its input before it says anything."""
    process = subprocess.Popen(
        [program(), *_SAFE, *args],
        cwd=root,
        stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    if data is not None and process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # git ended early: its exit code and its words say why
            process.stdin.write(data)
            process.stdin.close()
    return process


@dataclass(frozen=True, slots=True)
class Tracked:
    """One entry of git's index: mode as git writes it (100644, 100755, 120000, 160000), blob id, its tag
    (H in place, S skip-worktree, M unmerged), and whether git was told to assume it unchanged."""

    mode: str
    blob: str
    tag: str
    assumed: bool = False


def tracked(root: str, *scope: str) -> dict[str, Tracked]:
    """The index, or what it has at or below the paths of a scope: path -> entry. Unmerged paths appear once, gitlinks are
    left out."""
    found: dict[str, Tracked] = {}
    for names in parts(scope):
        out = run(root, "--literal-pathspecs", "ls-files", "-s", "-v", "-z", "--", *names)
        for record in out.split(b"\0"):
            if record:
                head, _, name = record.partition(b"\t")
                tag, mode, blob, _stage = head.split(b" ")
                if mode != b"160000":
                    found[from_bytes(name)] = Tracked(mode.decode(), blob.decode(), tag.decode().upper(), tag.islower())
    return found


def converted(root: str, paths: Iterable[str]) -> set[str]:
    """Those of the paths whose contents git stores otherwise than by their line ends: a filter, `ident` or an encoding is
    set for them, by one `check-attr`, which starts no filter."""
    asked = b"".join(to_bytes(path) + b"\0" for path in paths)
    if not asked:
        return set()
    out = run(root, "check-attr", "-z", "--stdin", "filter", "ident", "working-tree-encoding", data=asked)
    parts = out.split(b"\0")  # path, attribute, what it is set to
    said = zip(parts[::3], parts[2::3], strict=False)
    return {from_bytes(name) for name, value in said if value not in (b"unspecified", b"unset")}


def tracked_paths(root: str, *scope: str) -> list[str]:
    """Paths of the index (at or below those of a scope), without their blobs: half the work of `tracked`."""
    found: list[str] = []
    for names in parts(scope):
        found += split_names(run(root, "--literal-pathspecs", "ls-files", "-z", "--", *names))
    return list(dict.fromkeys(found))  # an unmerged path stands there up to three times


# `warning: could not open directory 'notes/': Permission denied`; the name may hold quotes and line ends.
_CLOSED = re.compile(rb"could not open directory '(.*?)/?': [^\n]+\n", re.DOTALL)


def untracked_paths(root: str, *scope: str) -> tuple[list[str], list[str]]:
    """(untracked files that no rule of .gitignore excludes, folders that git could not read); of a scope, or all."""
    found: list[str] = []
    closed: list[str] = []
    for names in parts(scope):
        options = ("-o", "-z", "--exclude-standard", "--", *beside(names))
        done = attempt(root, "--literal-pathspecs", "ls-files", *options)
        closed += [from_bytes(match[1]) for match in _CLOSED.finditer(done.stderr)]
        found += [name for name in split_names(done.stdout) if not name.endswith("/")]
    return found, closed


def forced_paths(root: str) -> list[str]:
    """The tracked files that a rule of git excludes (`git add -f`)."""
    return split_names(run(root, "ls-files", "-c", "-i", "-z", "--exclude-standard"))


def rule_files(root: str) -> list[str]:
    """The user's own files of git's rules for a work tree, there or not (git-config(1), gitignore(5), gitattributes(5));
    absolute. Those of the repository lie in its git directory."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    named = os.environ.get("GIT_CONFIG_GLOBAL")
    found = [named] if named else [os.path.expanduser("~/.gitconfig"), os.path.join(home, "git", "config")]
    for key, usual in (("core.excludesFile", "ignore"), ("core.attributesFile", "attributes")):
        values = config_values(root, key)
        found.append(os.path.expanduser(values[-1]) if values else os.path.join(home, "git", usual))
    return [os.path.join(root, one) for one in found]


def beside(names: list[str]) -> list[str]:
    """The names of a scope and one more. What all of them begin with, git takes for all that there is: it forgets the rest of
    its index before it looks, and a repository in a folder whose files it tracks then is one whose files it does not. `.git` has
    no beginning in common with any path, and is never listed (git 2.39, `prune_index` in ls-files.c, `treat_directory` in
    dir.c)."""
    return [*names, ".git"] if names else []


def parts(scope: Iterable[str]) -> Iterator[list[str]]:
    """The names of a scope, in as many lists of arguments as it takes; one that is empty where there are none."""
    names: list[str] = []
    size = 0
    for path in scope:
        name = to_bytes(path)
        size += len(name) + 9  # with what ends it, and the pointer to it
        if names and size > _ARGUMENTS:
            yield names
            names, size = [], len(name) + 9
        names.append(os.fsdecode(name))
    yield names


def head(root: str) -> str | None:
    """The commit that HEAD names; None when unborn."""
    out = run(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", check=False).decode().strip()
    return out or None


def tree_files(root: str, treeish: str, folder: str = "") -> dict[str, tuple[str, str]]:
    """path -> (mode, blob id) of a tree, below `folder`; empty when the tree or the folder does not exist."""
    return readable_files(root, treeish, folder)[0]


def readable_files(root: str, treeish: str, folder: str = "") -> tuple[dict[str, tuple[str, str]], bool]:
    """The same, as far as git can read the tree, and whether that is all of it."""
    done = attempt(root, "ls-tree", "-r", "-z", "--full-tree", treeish, *(["--", folder + "/"] if folder else []))
    found = {}
    for record in done.stdout.split(b"\0"):
        if record:
            about, _, name = record.partition(b"\t")
            mode, kind, blob = about.decode().split(" ")[:3]
            if kind == "blob":
                found[from_bytes(name)] = (mode, blob)
    return found, done.returncode == 0


def changes_of_tree(root: str, before: str, after: str) -> dict[str, tuple[str, str] | None] | None:
    """path -> (mode, blob id) of each file that differs between two trees, None where the second has none. None for all
    of it when git cannot read one of the trees."""
    done = attempt(root, "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", before, after)
    if done.returncode:
        return None
    parts = done.stdout.split(b"\0")
    found: dict[str, tuple[str, str] | None] = {}
    for about, name in zip(parts[::2], parts[1::2], strict=False):
        _, mode, _, blob, _ = about.decode().split(" ")
        found[from_bytes(name)] = (mode, blob) if mode not in ("000000", "160000") else None
    return found


def staged_away(root: str) -> dict[str, str]:
    """Paths of HEAD that the index no longer has, with their blobs; empty before the first commit."""
    out = run(
        root,
        "diff-index",
        "--cached",
        "--raw",
        "-z",
        "--no-abbrev",
        "--no-renames",
        "--diff-filter=D",
        "HEAD",
        check=False,
    )
    parts = out.split(b"\0")
    return {
        from_bytes(name): about.split(b" ")[2].decode()
        for about, name in zip(parts[::2], parts[1::2], strict=False)
        if name
    }


def existing(root: str, names: Iterable[str]) -> set[str]:
    """Those of the object ids that the repository has."""
    wanted = sorted(set(names))
    out = (
        run(root, "cat-file", "--batch-check", data="".join(f"{name}\n" for name in wanted).encode()) if wanted else b""
    )
    return {
        line.split()[0] for line in out.decode("utf-8", "replace").split("\n") if line and not line.endswith(" missing")
    }


def having(root: str, commits: Iterable[str], path: str) -> set[str]:
    """Those of the commits in whose tree `path` stands, by one `cat-file --batch-check`."""
    wanted = list(commits)
    if not wanted:
        return set()
    out = run(root, "cat-file", "--batch-check", data="".join(f"{commit}:{path}\n" for commit in wanted).encode())
    return {
        commit
        for commit, line in zip(wanted, out.decode("utf-8", "replace").split("\n"), strict=False)
        if " blob " in line
    }


def subtrees(root: str, commits: Iterable[str], folder: str) -> list[str]:
    """The distinct tree ids of `folder` in the given commits."""
    asked = "".join(f"{commit}:{folder}\n" for commit in commits)
    out = run(root, "cat-file", "--batch-check", data=asked.encode())
    return sorted(
        {
            line.split()[0]
            for line in out.decode().split("\n")
            if line.endswith(tuple("0123456789")) and " tree " in line
        }
    )


def write_blob(root: str, data: bytes) -> str:
    """Write `data` as a blob, unfiltered. Returns its id."""
    return run(root, "hash-object", "-w", "--no-filters", "--stdin", data=data).decode().strip()


def blob_in_history(root: str, path: str) -> str | None:
    """The blob that the last commit reachable from HEAD which had a file at `path` had there."""
    out = run(root, "log", "-1", "--diff-filter=AM", "--format=%H", "HEAD", "--", path, check=False).decode().strip()
    entry = tree_files(root, out).get(path) if out else None
    return entry[1] if entry else None


def write_tree(root: str, index_file: str | None = None) -> str:
    """The tree that an index would commit, as an object. Raises SurroundingsError where paths are unmerged."""
    return run(root, "write-tree", "--missing-ok", index_file=index_file).decode().strip()


def stage_blob(root: str, path: str, blob: str, index_file: str | None = None) -> None:
    """Put an existing blob into an index at `path`. Git compares the contents of files that are as young as the index it
    writes, and tells a hook that it wrote: with no filter and no hook of anybody's."""
    entry = b"100644 " + blob.encode() + b"\t" + to_bytes(path) + b"\0"
    settings = {"core.hooksPath": os.devnull, **_no_filters(root)}
    run(root, "update-index", "-z", "--index-info", data=entry, index_file=index_file, settings=settings)


def _no_filters(root: str) -> dict[str, str]:
    """Settings that switch each configured filter off: a file that only its filter makes clean then counts as one to be
    looked at again, which is right."""
    out = run(root, "config", "--null", "--name-only", "--get-regexp", r"^filter\.", check=False)
    keys = [os.fsdecode(key) for key in out.split(b"\0") if key]
    return {key: "false" if key.endswith(".required") else "" for key in keys}


def config(root: str, key: str) -> str | None:
    """One value of git's configuration, or None."""
    return run(root, "config", "--get", key, check=False).decode("utf-8", "replace").strip() or None


def config_values(root: str, key: str) -> list[str]:
    """All values of a key that may be given more than once."""
    out = run(root, "config", "--null", "--get-all", key, check=False)
    return [os.fsdecode(one) for one in out.split(b"\0") if one]


def tips(root: str, *patterns: str) -> dict[str, str]:
    """Ref -> object name, of the refs that the patterns of `git for-each-ref` match."""
    out = run(root, "for-each-ref", "--format=%(objectname) %(refname)", *patterns, check=False)
    pairs = (line.partition(" ") for line in os.fsdecode(out).split("\n") if line)
    return {name: sha for sha, _, name in pairs}


def identity(root: str) -> str:
    """`Name <mail>` as git would sign a commit here; `unknown` when git knows none."""
    out = run(root, "var", "GIT_COMMITTER_IDENT", check=False).decode("utf-8", "replace").strip()
    return out.rsplit(">", 1)[0] + ">" if ">" in out else "unknown"


def blobs_at(root: str, revision: str, paths: Iterable[str]) -> dict[str, str]:
    """path -> blob of those of the paths that a revision has; paths with a line end are left out."""
    wanted = [path for path in paths if "\n" not in path]
    if not wanted:
        return {}
    asked = b"".join(os.fsencode(f"{revision}:") + to_bytes(path) + b"\n" for path in wanted)
    lines = run(root, "cat-file", "--batch-check", data=asked, check=False).split(b"\n")
    return {
        path: line.split(b" ")[0].decode()
        for path, line in zip(wanted, lines, strict=False)
        if line.count(b" ") == 2 and line.split(b" ")[1] == b"blob"
    }
