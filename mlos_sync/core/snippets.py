"""What to paste into the file of a hook manager so that it calls our hooks: one text a manager, for the hooks it runs.

The text names no machine. It asks git for the repository and does nothing in a clone without mlos-sync, so it may be
committed. Tried with pre-commit 4.7, prek 0.5, lefthook 2.2 and overcommit 0.72. Pure: words in, words out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlos_sync.core import blocks

PRE_COMMIT, PREK, LEFTHOOK, OVERCOMMIT, HUSKY = "pre-commit", "prek", "lefthook", "overcommit", "husky"

THROUGH_COPY, BY_ITSELF = "through our copy", "by itself"

# What pre-commit and prek hand over: a file name as argument, or variables. Their own post-rewrite and pre-push have read
# standard input to its end; of several refs that are pushed they tell the first.
_PUSHED = (
    'printf "%s %s %s %s\\n" "$PRE_COMMIT_LOCAL_BRANCH"'
    ' "${PRE_COMMIT_TO_REF:-$(git rev-parse "$PRE_COMMIT_LOCAL_BRANCH")}" "$PRE_COMMIT_REMOTE_BRANCH"'
    ' "${PRE_COMMIT_FROM_REF:-0000000000000000000000000000000000000000}" |'
    ' "$h" "$PRE_COMMIT_REMOTE_NAME" "$PRE_COMMIT_REMOTE_URL"'
)
_CALLS = {
    "prepare-commit-msg": 'exec "$h" "$@" $PRE_COMMIT_COMMIT_MSG_SOURCE $PRE_COMMIT_COMMIT_OBJECT_NAME',
    "commit-msg": 'exec "$h" "$@"',
    "pre-push": _PUSHED,
    "post-checkout": 'exec "$h" "$PRE_COMMIT_FROM_REF" "$PRE_COMMIT_TO_REF" "$PRE_COMMIT_CHECKOUT_TYPE"',
    "post-merge": 'exec "$h" "$PRE_COMMIT_IS_SQUASH_MERGE"',
    "post-rewrite": 'exec "$h" "$PRE_COMMIT_REWRITE_COMMAND" </dev/null',
}
_FILE_NAMES = ("prepare-commit-msg", "commit-msg")


def snippet(manager: str, file: str, names: Iterable[str]) -> list[str]:
    """The lines for a manager's file, after a first one that says where they belong."""
    wanted = list(names)
    if manager in (PRE_COMMIT, PREK):
        return _pre_commit(file, wanted)
    if manager == LEFTHOOK:
        return _lefthook(file, wanted)
    if manager == OVERCOMMIT:
        return _overcommit(file, wanted)
    return for_a_script(file, wanted)


def command(name: str) -> str:
    """What git's configuration starts: found through git, so that a repository may be moved. Git adds the arguments."""
    return f'h=$(git rev-parse --git-common-dir)/mlos/hooks/{name}; [ ! -x "$h" ] || exec "$h"'


def calls_ours(text: str, name: str) -> str:
    """How a manager's file calls our hook of that name, outside of comments: through our copy in this clone, through an
    installation of the manager's own, or not at all (empty)."""
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if not line.startswith("#")]
    for how, mark in ((THROUGH_COPY, f"mlos/hooks/{name}"), (BY_ITSELF, f"mlos-sync-{name}")):
        if any(_whole(line, mark) for line in lines):
            return how
    return ""


def _whole(line: str, mark: str) -> bool:
    """Whether the mark stands there and does not go on as another name: `pre-commit` is no `pre-commit-msg`."""
    at = line.find(mark)
    after = line[at + len(mark) : at + len(mark) + 1]
    return at >= 0 and not (after.isalnum() or after == "-")


def for_a_script(folder: str, names: Sequence[str], *, husky: bool = False) -> list[str]:
    """For hook files that somebody keeps: our block, to be put right after the first line of each."""
    found = []
    for stdin in (False, True):
        meant = [name for name in names if (name in blocks.READ_STDIN) == stdin]
        if meant:
            found.append(f"# {folder}: right after the first line (#!/bin/sh) of {', '.join(meant)}")
            found += blocks.by_file_name(husky=husky, stdin=stdin)
    return found


def _pre_commit(file: str, names: list[str]) -> list[str]:
    hooks = []
    for name in names:
        call = _CALLS.get(name, 'exec "$h"')
        hook: dict[str, Any] = {
            "id": f"mlos-sync-{name}",
            "name": f"mlos-sync ({name})",
            "entry": f"sh -c 'h=$(git rev-parse --git-common-dir)/mlos/hooks/{name}; [ ! -x \"$h\" ] || {call}' {name}",
            "language": "system",
            "stages": [name],
            "always_run": True,
            "require_serial": True,
        }
        if name not in _FILE_NAMES:
            hook["pass_filenames"] = False
        hooks.append(hook)
    if file.endswith(".toml"):
        lines = [f"# {file}", "[[repos]]", 'repo = "local"']
        for hook in hooks:
            lines += ["[[repos.hooks]]", *(f"{key} = {json.dumps(value)}" for key, value in hook.items())]
        return lines
    lines = [f"# {file}, as the last one below `repos:`", "- repo: local", "  hooks:"]
    for hook in hooks:
        plain = [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in hook.items()]
        plain = [(key, f"[{name}]" if key == "stages" else value) for key, value in plain for name in hook["stages"]]
        lines += [f"  {'-' if key == 'id' else ' '} {key}: {value}" for key, value in plain]
    return lines


def _lefthook(file: str, names: list[str]) -> list[str]:
    wanted: dict[str, Any] = {}
    for name in names:
        command: dict[str, Any] = {
            "run": f'h=$(git rev-parse --git-common-dir)/mlos/hooks/{name}; [ ! -x "$h" ] || "$h" {{0}}'
        }
        if name in blocks.READ_STDIN:
            command["use_stdin"] = True
        wanted[name] = {"commands": {"mlos-sync": command}}
    where = f"{file}, each in the part of its hook, or lefthook-local{_ending(file)} for this clone alone"
    if file.endswith((".json", ".jsonc")):
        return [f"# {where}", *json.dumps(wanted, indent=2).split("\n")]
    if file.endswith(".toml"):
        return [f"# {where}", *_toml(wanted)]
    return [f"# {where}", *_yaml(wanted)]


def _ending(file: str) -> str:
    return "." + file.rpartition(".")[2]


def _yaml(tree: Mapping[str, Any], depth: int = 0) -> list[str]:
    lines = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            lines += [f"{'  ' * depth}{key}:", *_yaml(value, depth + 1)]
        else:
            lines.append(f"{'  ' * depth}{key}: {value if isinstance(value, str) else json.dumps(value)}")
    return lines


def _toml(tree: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, part in tree.items():
        lines.append(f"[{name}.commands.mlos-sync]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in part["commands"]["mlos-sync"].items()]
    return lines


def _overcommit(file: str, names: list[str]) -> list[str]:
    """Overcommit runs a script of the repository only (it signs what it runs). Where a file has changes that are not staged
    it undoes what a pre-commit hook stages: the guard works, and the records wait for another commit, or for
    `mlos-sync publish`."""
    lines = [
        "# .git-hooks/mlos-sync, executable and committed:",
        "#!/bin/sh",
        "name=$1",
        "shift",
        "h=$(git rev-parse --git-common-dir)/mlos/hooks/$name",
        '[ ! -x "$h" ] || exec "$h" "$@"',
        f"# {file}, each in the part of its hook; then: overcommit --sign, and overcommit --sign for {', '.join(names)}",
    ]
    for name in names:
        event = "".join(word.capitalize() for word in name.split("-"))
        lines += [
            f"{event}:",
            "  MlosSync:",
            "    enabled: true",
            f"    description: mlos-sync-{name}",
            f"    command: ['./.git-hooks/mlos-sync', '{name}']",
        ]
    return lines
