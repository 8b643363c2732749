"""The part of the program that one call needs: Typer's work grows with the number of options that are registered."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from typer.models import CommandInfo, TyperInfo


def only_what_is_asked_for(app: typer.Typer, words: list[str]) -> typer.Typer:
    """The program with the one command that is named, of a group too. Typer turns the signature of every registered
    command into parameters before it runs one, which is a quarter of a millisecond an option: help about all commands
    gets names and descriptions alone, completion and unknown names get everything."""
    named = [word for before, word in zip(["", *words], words, strict=False) if word[:1] != "-" and before != "-C"]
    if "_MLOS_SYNC_COMPLETE" in os.environ:
        return app
    if not named:
        return _part(app, _outlines(app.registered_commands), [_emptied(one) for one in app.registered_groups])
    commands = [one for one in app.registered_commands if named[0] in (one.name, _name(one.callback))]
    groups = [one for one in app.registered_groups if one.name == named[0]]
    if len(commands) + len(groups) != 1:
        return app
    small = _part(app, commands, [_narrowed(one, named[1:2]) for one in groups])
    small._add_completion = False
    return small


def quiet_first(words: list[str]) -> list[str]:
    """`--quiet` is honoured wherever it stands before `--`, as people type it behind the command too."""
    ours = words.index("--") if "--" in words else len(words)
    rest = [word for word in words[:ours] if word != "--quiet"]
    return [*["--quiet"] * (len(rest) < ours), *rest, *words[ours:]]


def _part(whole: typer.Typer, commands: list[CommandInfo], groups: list[TyperInfo]) -> typer.Typer:
    part = copy(whole)
    part.registered_commands, part.registered_groups = commands, groups
    return part


def _narrowed(group: TyperInfo, named: list[str]) -> TyperInfo:
    """A group with the one command that is named, or, where none is, with the outlines of all."""
    whole = group.typer_instance
    if whole is None or whole.registered_groups:
        return group
    part = copy(group)
    commands = [one for one in whole.registered_commands if named and named[0] in (one.name, _name(one.callback))]
    part.typer_instance = _part(whole, commands or (_outlines(whole.registered_commands) if not named else []), [])
    return part if commands or not named else group


def _emptied(group: TyperInfo) -> TyperInfo:
    """A group as the program's help tells it: name and description."""
    part = copy(group)
    part.typer_instance = _part(group.typer_instance, [], []) if group.typer_instance is not None else None
    return part


def _outlines(commands: list[CommandInfo]) -> list[CommandInfo]:
    """Commands with name and description and no parameters, for a help that lists them."""
    made = []
    for one in commands:
        part = copy(one)
        part.callback = _outline(one.callback)
        made.append(part)
    return made


def _outline(callback: Callable[..., Any] | None) -> Callable[[], None]:
    def told() -> None:
        pass

    told.__doc__, told.__name__ = getattr(callback, "__doc__", None), _name(callback) or ""
    return told


def _name(callback: Callable[..., Any] | None) -> str | None:
    return getattr(callback, "__name__", None)
