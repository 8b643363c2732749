"""Where things are: the workspace's root, git's folders, our config, and the files we ship."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mlos_sync.core import trailers
from mlos_sync.core.paths import to_bytes
from mlos_sync.errors import SurroundingsError, UsageError

MARKER = ".mlos/config.toml"
VIEW_KINDS = ("problem", "index", "context_pack", "status")
_KNOWN = {"workspace", "created", "view", "ignore", "transcripts", "commits", "hooks", "watch"}
_KNOWN_COMMITS = {"trailers", "mentions", "keywords", "current", "offer", "unknown"}
CURRENT = ("agent", "branch")
UNKNOWN = ("observe", "refuse")
PRE_PUSH = ("verify", "off")
_KNOWN_TRANSCRIPTS = {"share", "folders"}
SHARE = ("none", "facts")
_KNOWN_VIEW = {"path", "kind", "scope", "folder", "need", "title"}


@dataclass(frozen=True, slots=True)
class View:
    """A compiled view as the config declares it."""

    path: str
    kind: str
    title: str | None = None
    scope: str | None = None
    folder: str | None = None
    need: str | None = None


@dataclass(frozen=True, slots=True)
class Transcripts:
    """`[transcripts]`: whether facts of transcripts that git ignores are journaled (`share`), and where in the work tree
    such transcripts are looked for (`folders`)."""

    share: str = "none"
    folders: tuple[str, ...] = (".specstory/history",)


@dataclass(frozen=True, slots=True)
class Commits:
    """`[commits]`: how messages are read (`rules`), and what the hooks do while one is written. `current` says whose task is
    added beside the one of `task start`: the agent's, the branch's; `offer` whether the editor lists open tasks; `unknown`
    whether a reference to what does not exist is told later (observe) or stops the commit (refuse)."""

    rules: trailers.Rules = trailers.DEFAULT
    current: tuple[str, ...] = ()
    offer: bool = True
    unknown: str = UNKNOWN[0]


class Pace(NamedTuple):
    """`[watch]`, in seconds: quiet that ends a batch, the most it may wait for that, the least between two looks at everything
    (`every`), and between two looks at what cannot be watched (`poll`)."""

    quiet: float = 0.3
    most: float = 2.0
    every: float = 60.0
    poll: float = 5.0


_PACES = {"quiet": (0.01, 60), "most": (0.1, 600), "every": (1, 86_400), "poll": (0.5, 3600)}  # from, to


@dataclass(frozen=True, slots=True)
class Config:
    """`.mlos/config.toml`: the workspace's id and birth, its views, its transcripts, its commits, its hooks (`pre_push` says
    whether what is pushed is verified) and the watcher's pace."""

    workspace: str
    created: str
    views: tuple[View, ...] = ()
    ignore: tuple[str, ...] = ()
    transcripts: Transcripts = Transcripts()
    commits: Commits = field(default_factory=Commits)
    pre_push: str = PRE_PUSH[0]
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A git work tree that holds `.mlos/`. All folders absolute; `state` is per worktree, `common` per repository."""

    root: str
    git_dir: str
    common_dir: str
    hooks_dir: str
    config: Config = field(compare=False)

    @property
    def database(self) -> str:
        """The index database of this worktree."""
        return os.path.join(self.git_dir, "mlos", "index.db")

    @property
    def state(self) -> str:
        """Our folder in this worktree's git directory."""
        return os.path.join(self.git_dir, "mlos")

    @property
    def common(self) -> str:
        """Our folder in the repository's common git directory: ledger and lock, shared by worktrees."""
        return os.path.join(self.common_dir, "mlos")

    def absolute(self, path: str) -> bytes:
        """The file-system name of a workspace path."""
        return os.path.join(os.fsencode(self.root), to_bytes(path))


def git_folders(start: str) -> tuple[str, str, str, str]:
    """(root, git dir, common git dir, hooks folder) of the work tree that holds `start`. Raises SurroundingsError."""
    # A hook of messages needs the config alone, and what starts git takes 7 ms to load.
    from mlos_sync.edge import git, settings

    if not os.path.isdir(start):
        raise SurroundingsError(f"there is no folder {start}", "name an existing folder with -C")
    try:
        out = git.run(
            start, "rev-parse", "--path-format=absolute", "--show-toplevel", "--git-dir", "--git-common-dir",
            "--git-path", "hooks",
        )  # fmt: skip
    except SurroundingsError as error:
        raise _no_work_tree(start, error) from None
    lines = os.fsdecode(out).rstrip("\n").split("\n")
    if len(lines) != 4:
        settings.require()  # an older git takes the option for a name
        raise SurroundingsError(
            f"the path of {os.path.abspath(start)} has a line end", "move the repository to another folder"
        )
    return lines[0], lines[1], lines[2], lines[3]


def _no_work_tree(start: str, error: SurroundingsError) -> SurroundingsError:
    """Why git knows no work tree at a folder: there is none, or its own words and its own cure."""
    words = error.message.partition("fatal: ")[2] or error.message
    if not words or "not a git repository" in words or "must be run in a work tree" in words:
        return SurroundingsError(
            f"{os.path.abspath(start)} is not in a git work tree",
            "go to your repository, or make one: git init && mlos-sync init",
        )
    first, _, rest = words.partition("\n")
    cure = next((line.strip() for line in rest.split("\n") if line.strip().startswith("git config")), None)
    return SurroundingsError(f"git says: {first}", f"if you trust it: {cure}" if cure else "mend that, then try again")


def find(start: str) -> Workspace:
    """The workspace that holds `start`. Raises SurroundingsError when there is no git, no marker or no valid config."""
    root, git_dir, common_dir, hooks_dir = git_folders(start)
    marker = os.path.join(root, MARKER)
    if os.path.islink(os.path.join(root, ".mlos")) or os.path.islink(marker):
        raise SurroundingsError(f"{MARKER} is a symbolic link", "make .mlos a real folder; links are not followed")
    try:
        with open(marker, "rb") as file:
            config = parse_config(file.read())
    except FileNotFoundError:
        from mlos_sync.edge import git

        if git.tracked_paths(root, MARKER):
            raise SurroundingsError(
                f"{MARKER} is tracked and not on disk", f"git restore {MARKER}, or mlos-sync init"
            ) from None
        hint = "run mlos-sync init"
        if os.path.isdir(os.path.join(git_dir, "mlos")):  # it was one
            hint = f"switch back to a commit that has it (git switch -), or {hint} here"
        raise SurroundingsError(f"{root} is no workspace: {MARKER} is missing", hint) from None
    except OSError as error:
        raise SurroundingsError(
            f"{MARKER} cannot be read: {error.strerror}", "restore it: git restore .mlos/config.toml"
        ) from None
    return Workspace(root, git_dir, common_dir, hooks_dir, config)


def parse_config(data: bytes) -> Config:
    """The config from its TOML. Raises UsageError that names the key and what is allowed."""
    where = f"mend {MARKER}, or restore it: git restore {MARKER}"
    try:
        raw = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{MARKER} is not valid TOML: {error}", where) from None
    _only(raw, _KNOWN, MARKER, where)
    for key in ("workspace", "created"):
        if not isinstance(raw.get(key), str):
            raise UsageError(f"{MARKER}: `{key}` is missing or no text", where)
    views = tuple(_view(entry, where) for entry in _tables(raw.get("view", []), where))
    paths = [view.path for view in views]
    if len(set(paths)) != len(paths):
        raise UsageError(f"{MARKER}: two views have the same path", where)
    ignore = raw.get("ignore", [])
    if not isinstance(ignore, list) or not all(isinstance(one, str) for one in ignore):
        raise UsageError(f"{MARKER}: `ignore` is a list of patterns", where)
    about = _transcripts(raw.get("transcripts", {}), where)
    commits = _commits(raw.get("commits", {}), where)
    pushes, pace = _pre_push(raw, where), _pace(raw.get("watch", {}), where)
    return Config(raw["workspace"], raw["created"], views, tuple(ignore), about, commits, pushes, pace)


def is_inside(path: str) -> bool:
    """Whether a path as written in the config stays in the workspace, and can be one."""
    return bool(path) and "\0" not in path and not path.startswith(("/", "~")) and ".." not in path.split("/")


def _transcripts(entry: Any, where: str) -> Transcripts:
    if not isinstance(entry, dict):
        raise UsageError(f"{MARKER}: `transcripts` is a table", where)
    _only(entry, _KNOWN_TRANSCRIPTS, f"{MARKER}: [transcripts]", where)
    share = entry.get("share", SHARE[0])
    if share not in SHARE:
        raise UsageError(f"{MARKER}: `transcripts.share` is one of {', '.join(SHARE)}", where)
    folders = entry.get("folders", list(Transcripts().folders))
    if not isinstance(folders, list) or not all(isinstance(one, str) and is_inside(one) for one in folders):
        raise UsageError(
            f"{MARKER}: `transcripts.folders` is a list of folders in the workspace, such as .specstory/history",
            f"{where}; folders elsewhere are named for this clone alone: git config --add mlos-sync.transcripts FOLDER",
        )
    return Transcripts(share, tuple(folders))


def _commits(entry: Any, where: str) -> Commits:
    if not isinstance(entry, dict):
        raise UsageError(f"{MARKER}: `commits` is a table", where)
    place = f"{MARKER}: [commits]"
    _only(entry, _KNOWN_COMMITS, place, where)
    for name in ("mentions", "keywords", "offer"):
        if not isinstance(entry.get(name, True), bool):
            raise UsageError(f"{place}: `{name}` is true or false", where)
    current = entry.get("current", [])
    if not isinstance(current, list) or not all(one in CURRENT for one in current):
        raise UsageError(f"{place}: `current` is a list of {', '.join(CURRENT)}", where)
    unknown = entry.get("unknown", UNKNOWN[0])
    if unknown not in UNKNOWN:
        raise UsageError(f"{place}: `unknown` is one of {', '.join(UNKNOWN)}", where)
    keys = trailers.OURS + _more_keys(entry.get("trailers", {}), place, where)
    rules = trailers.Rules(keys, entry.get("mentions", False), entry.get("keywords", False))
    return Commits(rules, tuple(current), entry.get("offer", True), unknown)


def _more_keys(table: Any, place: str, where: str) -> tuple[tuple[str, str], ...]:
    """Trailer keys of the workspace's own, `trailers = { task = ["Ticket"] }`: (key in lower case, meaning)."""
    shape = f'{place}: `trailers` is a table of lists of keys, such as {{ task = ["Ticket"] }}'
    if not isinstance(table, dict) or not all(isinstance(names, list) for names in table.values()):
        raise UsageError(shape, where)
    _only(table, set(trailers.MEANINGS), f"{place}: `trailers`", where)
    found = []
    for meaning, names in table.items():
        for name in names:
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", name):
                raise UsageError(f"{shape}; a key has letters, digits and dashes", where)
            if name.lower() in dict(trailers.OURS):
                raise UsageError(f"{place}: `{name}` has its meaning already", where)
            found.append((name.lower(), meaning))
    if len(dict(found)) != len(found):
        raise UsageError(f"{place}: one key has two meanings", where)
    return tuple(found)


def _pre_push(raw: dict[str, Any], where: str) -> str:
    entry = raw.get("hooks", {})
    if not isinstance(entry, dict):
        raise UsageError(f"{MARKER}: `hooks` is a table", where)
    _only(entry, {"pre_push"}, f"{MARKER}: [hooks]", where)
    wanted = entry.get("pre_push", PRE_PUSH[0])
    if wanted not in PRE_PUSH:
        raise UsageError(f"{MARKER}: `hooks.pre_push` is one of {', '.join(PRE_PUSH)}", where)
    return str(wanted)


def _pace(entry: Any, where: str) -> Pace:
    if not isinstance(entry, dict):
        raise UsageError(f"{MARKER}: `watch` is a table", where)
    _only(entry, set(_PACES), f"{MARKER}: [watch]", where)
    for name, value in entry.items():
        least, most = _PACES[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise UsageError(f"{MARKER}: `watch.{name}` is a number of seconds from {least} to {most}", where)
    return Pace(**{name: float(value) for name, value in entry.items()})


def _tables(value: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise UsageError(f"{MARKER}: views are written as [[view]] tables", where)
    return value


def _view(entry: dict[str, Any], where: str) -> View:
    _only(entry, _KNOWN_VIEW, f"{MARKER}: [[view]]", where)
    if not all(isinstance(value, str) for value in entry.values()):
        raise UsageError(f"{MARKER}: every value of a [[view]] is text", where)
    path, kind = entry.get("path", ""), entry.get("kind", "")
    parts = path.split("/")
    if (
        not path
        or path.startswith(("/", "~"))
        or not {"", ".", ".."}.isdisjoint(parts)
        or ".git" in path.lower().split("/")
        or not path.endswith(".md")
    ):
        raise UsageError(f"{MARKER}: `{path}` is no path of a markdown file inside the workspace", where)
    if kind not in VIEW_KINDS:
        raise UsageError(f"{MARKER}: `{kind}` is no kind of view; there are {', '.join(VIEW_KINDS)}", where)
    folder = entry.get("folder", "").strip("/")
    if folder and not {"", ".", ".."}.isdisjoint(folder.split("/")):
        raise UsageError(f"{MARKER}: `{entry['folder']}` is no folder inside the workspace, written as git does", where)
    if kind == "context_pack" and not entry.get("need"):
        raise UsageError(f"{MARKER}: the context pack {path} names no `need`", where)
    return View(**entry)


def _only(table: dict[str, Any], known: set[str], place: str, where: str) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{place}: unknown key `{key}`; known are {', '.join(sorted(known))}", where)


def own_template(kind: str) -> str:
    """Where a workspace may keep a template of its own for a kind of view."""
    return f".mlos/templates/{kind}.md.j2"


def shipped(name: str) -> str:
    """Folder `hooks` or `templates` as we ship it: beside the package in a source tree, inside it in a wheel."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (os.path.join(package, "data", name), os.path.join(os.path.dirname(package), name)):
        if os.path.isdir(folder):
            return folder
    raise SurroundingsError(f"the installation lacks its {name} folder", "reinstall mlos-sync")
