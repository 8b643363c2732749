"""`init --agents`: the change of an agent's settings is shown, asked for on a terminal, and told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from mlos_sync.cli.common import say

if TYPE_CHECKING:
    from mlos_sync.app.agent_hooks import Plan
    from mlos_sync.app.setup import Made


def settle(made: Made, wanted: Plan, *, yes: bool, as_json: bool) -> dict[str, Any]:
    """Show what changes, write it with consent (`--yes`, or an answer on a terminal), and say how it stands."""
    from mlos_sync.app import agent_hooks

    if wanted.asks and not as_json:
        say(wanted.diff, error=True)
    asking = wanted.asks and not yes and not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    consent = yes or (asking and typer.confirm(f"Change {agent_hooks.PATH} like this?", err=True))
    state = agent_hooks.carry_out(made.workspace, wanted, consent=consent)
    if state == agent_hooks.PROPOSED:
        say(f"mlos-sync: {agent_hooks.PATH} was not changed", error=True)
        say("  hint: to write what is shown: mlos-sync init --agents --yes", error=True)
    elif not agent_hooks.is_found():
        say(
            f"mlos-sync: {agent_hooks.PROGRAM} is not on the PATH: an agent that does not find it is not told anything",
            error=True,
        )
    return {"path": agent_hooks.PATH, "state": state, "diff": "".join(f"{line}\n" for line in wanted.diff)}
