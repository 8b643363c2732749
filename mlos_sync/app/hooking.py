"""Install, status and uninstall of our hooks, beside whatever other hooks and hook managers there are.

Plan, then act: `plan` looks and chooses a way for each hook, `carry_out` does what nobody needs to be asked about, and
the rest only with consent. Nothing here changes `core.hooksPath`, edits the file of a manager, or writes into a folder
that other repositories use unless that very way was asked for.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import Any

from mlos_sync.app import firing, leaving, merging
from mlos_sync.app.firing import BY, BY_HAND, LOCAL, NOWHERE, OWN, SHARED, Facts, Standing
from mlos_sync.core import blocks, snippets
from mlos_sync.edge import managers, settings, shims
from mlos_sync.edge.workspace import Workspace, find, shipped
from mlos_sync.errors import RefusedError, SurroundingsError, UsageError

AUTO, CHAIN, BLOCK, SNIPPET, CONFIG = "auto", "chain", "block", "snippet", "config"
WAYS = (AUTO, CHAIN, BLOCK, SNIPPET, CONFIG)
STANDS = "stands"  # somebody calls ours already


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done for one hook. `theirs`: it changes a file or a folder that is not ours. `manager`: whose file the
    snippet is for."""

    name: str
    way: str
    path: str
    theirs: bool = False
    manager: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps, one a hook, the way that was asked for, and why these were chosen."""

    facts: Facts
    steps: list[Step]
    way: str
    why: str

    @property
    def asks(self) -> list[Step]:
        """The steps that need consent."""
        return [step for step in self.steps if step.theirs]

    def change(self, step: Step) -> list[str]:
        """What a step changes in a file that is not ours, line by line as a diff shows it."""
        if step.way != BLOCK:
            return [f"+++ {step.path} (a hook of ours; what stands there is kept and still runs)"]
        text = managers.read(step.path)
        new = _with_block(self.facts, step, text)
        start, stop, _ = blocks.find(new) or (0, 0, b"")
        mark = f"+++ {step.path}{'' if os.path.lexists(step.path) else ' (new)'}"
        return [mark, *(f"+{line}" for line in new[start:stop].decode("utf-8", "replace").splitlines())]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the hooks stand afterwards, what was chosen and why, and what is left to be done by hand."""

    hooks: list[Standing]
    why: str = ""
    notes: list[str] = field(default_factory=list)
    snippet: list[str] = field(default_factory=list)

    @property
    def active(self) -> bool:
        """Whether git starts every hook of ours, as far as can be told by looking."""
        return all(firing.is_active(one.state) for one in self.hooks)


def plan(workspace: Workspace, way: str = AUTO) -> Plan:
    """Choose a way for each hook. Changes nothing. Raises UsageError, SurroundingsError or RefusedError where the way that
    was asked for is none here."""
    settings.require()
    if way not in WAYS:
        raise UsageError(f"`{way}` is no way to install hooks", f"one of {', '.join(WAYS)}")
    around = firing.facts(workspace)
    if way == CONFIG and settings.version() < settings.CONFIGURED_HOOKS:
        needed, found = (".".join(map(str, one)) for one in (settings.CONFIGURED_HOOKS, settings.version()))
        raise SurroundingsError(f"--way config needs git {needed} or later, found {found}", "mlos-sync hooks install")
    if way == CHAIN and (around.place == SHARED or (around.husky and around.husky.version == 9)):
        raise RefusedError(
            f"{around.hooks_dir} is not this repository's alone to fill: "
            + ("other repositories use it" if around.place == SHARED else "husky writes its files anew"),
            "mlos-sync hooks install --way snippet prints what to add by hand; --way block puts it there",
        )
    if way in (CHAIN, BLOCK) and around.place == NOWHERE:
        raise SurroundingsError(
            f"core.hooksPath is {around.hooks_dir}: git runs no hook files", "git config --unset core.hooksPath"
        )
    if way == AUTO:
        return _automatic(around)
    return Plan(around, [_step(around, name, way) for name in shims.NAMES], way, f"{way}, as asked for")


def _automatic(around: Facts) -> Plan:
    """The way that disturbs nobody: our hooks in a folder that is ours to fill, git's configuration where it can, else what
    the manager that is there wants."""
    written = sorted({one for name in shims.NAMES if (one := managers.writer_of(os.path.join(around.hooks_dir, name)))})
    guests = written or around.place != OWN
    if guests and settings.version() >= settings.CONFIGURED_HOOKS:
        why = f"config: {_who(around, written)}; git's configuration starts ours beside it, and no file is changed"
        return Plan(around, [_step(around, name, CONFIG) for name in shims.NAMES], AUTO, why)
    if around.place == OWN:
        steps = [
            _beside(around, name, managers.writer_of(os.path.join(around.hooks_dir, name))) for name in shims.NAMES
        ]
        why = "chain: the hooks folder is this repository's own; a hook that is there is kept and runs first"
        if written:
            why = f"snippet: {_who(around, written)}; the other hooks go into the folder"
        return Plan(around, steps, AUTO, why)
    way = BLOCK if around.place == LOCAL else SNIPPET
    return Plan(around, [_step(around, name, way) for name in shims.NAMES], AUTO, f"{way}: {_who(around, written)}")


def _who(around: Facts, written: list[str]) -> str:
    """In words: whose hooks are here."""
    if around.place == OWN:
        return f"{' and '.join(written)} wrote hooks here"
    if around.path is None:
        return f"the hooks folder is a link to {os.path.realpath(around.hooks_dir)}"
    if around.husky:
        return f"husky {around.husky.version} keeps the hooks in {around.husky.folder}"
    said = f"core.hooksPath is {around.path.value} ({around.path.scope}, {around.path.origin})"
    return f"{said}, which other repositories use too" if around.place == SHARED else said


def _beside(around: Facts, name: str, writer: str) -> Step:
    """One hook in the repository's own folder: a manager's file is left alone."""
    path = os.path.join(around.hooks_dir, name)
    if not writer:
        return Step(name, CHAIN, path)
    moved = shims.is_ours(path + shims.MOVED[0]) and writer in (snippets.PRE_COMMIT, snippets.PREK)
    calling = managers.calling(around.workspace.root, writer, name)
    return Step(name, STANDS if calling or moved else SNIPPET, path, manager=writer)


def _step(around: Facts, name: str, way: str) -> Step:
    """One hook, by a way that was asked for or that fits all of them."""
    path = around.file(name)
    if way == CONFIG:
        # What a team has committed goes on calling ours; a second start beside it would run the same hook twice.
        writer = managers.writer_of(path)
        if blocks.find(managers.read(path)) or (writer and managers.calling(around.workspace.root, writer, name)):
            return Step(name, STANDS, path, manager=writer)
        return Step(name, CONFIG, os.path.join(around.ours_dir, name))
    if way == SNIPPET:
        manager = managers.writer_of(path) or (around.guests[0].name if around.guests else "")
        return Step(name, SNIPPET, path, manager=manager if around.place == OWN else "")
    text = managers.read(path)
    if way == CHAIN:
        foreign = around.place != OWN and not shims.is_ours(path)
        return Step(name, CHAIN, path, theirs=foreign)
    if path == os.path.join(around.hooks_dir, name) and (
        shims.is_ours(path) or (not os.path.lexists(path) and _may_fill(around))
    ):
        return Step(name, CHAIN, path)
    if os.path.islink(path) or (os.path.lexists(path) and not (os.path.isfile(path) and blocks.is_shell(text))):
        return Step(name, BY_HAND, path)
    if around.husky and not os.path.isdir(around.hooks_dir):
        return Step(name, SNIPPET, path)
    if text and blocks.is_current(text, name):
        return Step(name, STANDS, path)
    return Step(name, BLOCK, path, theirs=True)


def _may_fill(around: Facts) -> bool:
    """Whether an empty place in git's hooks folder can hold a hook of ours that names this machine's Python: not in a
    folder that a team commits or that other repositories use, but in the one that husky makes anew in each clone and has
    git ignore, for what husky does not run."""
    return around.place == OWN or bool(around.husky and around.husky.version == 9 and os.path.isdir(around.hooks_dir))


def carry_out(wanted: Plan, *, consent: bool = False) -> Outcome:
    """Do it; what would change a file or folder of somebody else only with consent. Twice is once."""
    around = wanted.facts
    workspace = around.workspace
    done = [step for step in wanted.steps if consent or not step.theirs]
    merging.configure(workspace)
    if any(step.way != CHAIN for step in wanted.steps):
        shims.install(around.ours_dir, shipped("hooks"), sys.executable)
    for step in done:
        _make_way(around, step)
    if chained := [step.name for step in done if step.way == CHAIN]:
        if around.place != OWN:
            leaving.remember(workspace, *(step.path for step in done if step.way == CHAIN))
        shims.install(around.hooks_dir, shipped("hooks"), sys.executable, chained)
    for step in done:
        if step.way == BLOCK:
            leaving.remember(workspace, step.path)
            shims.rewrite(step.path, _with_block(around, step, managers.read(step.path)))
        elif step.way == CONFIG:
            settings.put(workspace.root, f"{leaving.KEY}{step.name}.command", snippets.command(step.name))
            settings.put(workspace.root, f"{leaving.KEY}{step.name}.event", step.name)
    hooks = firing.quick(workspace)
    return Outcome(hooks, wanted.why, _notes(wanted, hooks), _snippet(wanted, hooks))


def _with_block(around: Facts, step: Step, text: bytes) -> bytes:
    there = os.path.lexists(step.path)
    return blocks.with_block(text if there else None, step.name, husky=around.husky is not None)


def _make_way(around: Facts, step: Step) -> None:
    """Take away what would start the same hook a second time."""
    name, started = step.name, os.path.join(around.hooks_dir, step.name)
    if step.way == CONFIG:
        for folder in {around.default_dir, *([around.hooks_dir] if around.place != SHARED else [])}:
            shims.uninstall(folder, [name])
        return
    if any(one.name == f"mlos-sync-{name}" for one in around.configured):
        leaving.unset(around.workspace.root, name)
    if step.way == CHAIN and not shims.is_ours(started):
        leaving.cut(started)
    moved = shims.is_ours(started + shims.MOVED[0])
    if step.way == STANDS and step.manager and moved:
        if managers.calling(around.workspace.root, step.manager, name):
            shims.uninstall(around.hooks_dir, [name])
        else:
            text = shims.texts(shipped("hooks"), sys.executable)[name]
            if managers.read(started + shims.MOVED[0]) != text:
                shims.rewrite(started + shims.MOVED[0], text)


def _snippet(wanted: Plan, hooks: list[Standing]) -> list[str]:
    """What is left to be pasted by hand, for the hooks that are not active."""
    idle = {one.name for one in hooks if not firing.is_active(one.state)}
    around = wanted.facts
    if around.place == NOWHERE or (around.husky and not os.path.isdir(around.hooks_dir)):
        return []
    lines: list[str] = []
    asked = wanted.way == SNIPPET
    open_steps = [s for s in wanted.steps if asked or (s.name in idle and s.way in (SNIPPET, BLOCK))]
    for manager in dict.fromkeys(step.manager for step in open_steps):
        names = [step.name for step in open_steps if step.manager == manager]
        if manager and manager != snippets.HUSKY:
            lines += snippets.snippet(manager, _file_of(around, manager), names)
        else:
            folder = around.husky.folder if around.husky else around.hooks_dir
            lines += snippets.for_a_script(folder, names, husky=around.husky is not None)
    return lines


def _file_of(around: Facts, manager: str) -> str:
    """The file that a manager reads here, or the one it would."""
    there = {one.name: one.file for one in around.guests}
    if manager == snippets.PREK:
        return there.get(manager) or there.get(snippets.PRE_COMMIT) or managers.FILES[snippets.PRE_COMMIT][0]
    return there.get(manager) or managers.FILES[manager][0]


def _notes(wanted: Plan, hooks: list[Standing]) -> list[str]:
    """What is not as it should be, each with what to do."""
    around = wanted.facts
    notes = [f"{one.name}: {one.note}" for one in hooks if one.note and not firing.is_active(one.state)]
    if around.place == NOWHERE:
        return [f"core.hooksPath is {around.hooks_dir}: git runs no hooks here; git config --unset core.hooksPath"]
    if around.husky and not os.path.isdir(around.hooks_dir):
        return [f"husky has not made {around.hooks_dir} here yet: npm install, then mlos-sync hooks install"]
    idle = {one.name for one in hooks if not firing.is_active(one.state)}
    if wanted.way == AUTO and (idle or any(step.way != CHAIN for step in wanted.steps)):
        notes.insert(0, wanted.why)
    notes += [
        f"{step.path} is a link, or no script for sh or bash, and is left alone: let it start "
        f'"$(git rev-parse --git-common-dir)/mlos/hooks/{step.name}" with its arguments and its input'
        for step in wanted.steps
        if step.way == BY_HAND and step.name in idle
    ]
    if waiting := [step for step in wanted.steps if step.theirs and step.name in idle]:
        notes.append(f"{len(waiting)} hook files there are not ours to change unasked: mlos-sync hooks install --yes")
    elif idle and around.place == SHARED:
        notes.append("nothing is written there, unless by: mlos-sync hooks install --way block --yes")
    if around.place == OWN:
        for one in around.guests:
            if one.name == snippets.LEFTHOOK and not any(h.state == BY + one.name for h in hooks):
                notes.append(f"{one.file}: `lefthook install` would move our hooks away; hooks status tells")
    return notes


def install(workspace: Workspace, way: str = AUTO, *, consent: bool = False) -> Outcome:
    """Plan and carry out at once: what `init` does, without consent."""
    return carry_out(plan(workspace, way), consent=consent)


def uninstall(start: str) -> Outcome:
    """Take away every hook of ours, in whatever way it was put there, and say how they stand now."""
    workspace = find(start)
    leaving.remove(workspace)
    notes = [
        f"{path} is a hook that we keep for you: another one took its place meanwhile"
        for folder in leaving.folders(workspace)
        for path in shims.remains(folder)
    ]
    return Outcome(firing.quick(workspace), notes=notes)


def status(start: str) -> dict[str, Any]:
    """Each hook with its proof, and the work trees in which ours are not active."""
    workspace = find(start)
    around = firing.facts(workspace)
    hooks = firing.stand(around)
    proofs = firing.prove(around, hooks)
    trees = firing.trees(workspace)
    here = os.path.realpath(workspace.root)
    return {
        "hooks": [
            {"name": one.name, "path": one.path, "state": one.state, **proof._asdict(), "note": one.note or None}
            for one, proof in zip(hooks, proofs, strict=True)
        ],
        "active": all(firing.is_active(one.state) for one in hooks),
        "hooks_path": around.path._asdict() if around.path else None,
        "managers": [one._asdict() for one in around.guests],
        "configured": [
            {"name": one.name, "events": list(one.events), "scope": one.scope, "enabled": one.enabled}
            for one in around.configured
            if not one.name.startswith("mlos-sync-")
        ],
        "worktrees": [
            {"path": tree.path, "active": tree.active, "reason": tree.reason or None, "here": tree.path == here}
            for tree in trees
        ],
    }
