"""The door of the git shims, and of agents: `python -I -m mlos_sync.hooks.main NAME ARGS...`, and `mlos-sync-hook`.

Owns exit codes and the words on stderr, which are ASCII without colour: a hook may run under a window without a
terminal or a locale. The guard fails closed, everything else fails open. Nothing outside the standard library and the
pure core is imported until there is something to do.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False  # type checkers know the name; importing typing for it would cost every commit 6 ms
if TYPE_CHECKING:
    from collections.abc import Callable

    from mlos_sync.core.guard import Finding
    from mlos_sync.hooks.guard import Look

PATIENCE = 60
"""Seconds for compiling the staged views again: a template of somebody's may never end."""

AT_MOST = 20
"""Findings shown in full; the rest is counted."""


def main(argv: list[str] | None = None) -> int:
    """Run one hook by name; the exit code is git's answer: 0 goes on, 1 stops the commit."""
    _open_standard_streams()
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    hook = _HOOKS.get(name)
    if hook is None:
        say(f"mlos-sync-hook: unknown hook {name!a}; one of {', '.join(_HOOKS)}")
        return 2
    try:
        return hook(rest)
    except KeyboardInterrupt:
        return 130


def pre_commit(_: list[str]) -> int:
    """Guard, then put the pending events into the commit."""
    try:
        from mlos_sync.hooks.guard import Look

        look = Look()
    except Exception as error:
        return _not_guarded(error)
    # Asked while git reads the index. What is published comes after the verdict.
    pending = _failing_open("looking for pending records", _something_pending)
    # A merge that stopped is concluded by `git commit`.
    merging = os.path.exists(os.path.join(os.environ.get("GIT_DIR") or ".git", "MERGE_HEAD"))
    if guard(look, merging=merging) != 0:
        return 1
    if pending:
        _failing_open("publishing", _publish)
    return _recompiled(look)


def pre_merge_commit(_: list[str]) -> int:
    """Guard only: what a hook adds to the index of a merge would miss it and stay staged."""
    try:
        from mlos_sync.hooks.guard import Look

        look = Look()
    except Exception as error:
        return _not_guarded(error)
    return guard(look, merging=True) or _recompiled(look)


def _recompiled(look: Look) -> int:
    """Where views are staged, a process of its own compiles them again: 1 for one that somebody forged. That it cannot tell
    stops no commit: the seals are whole."""
    if not look.sealed:
        return 0
    code = _failing_open("compiling the staged views again", lambda: _second_process(look.sealed))
    return 1 if code == 1 else 0


def _second_process(paths: list[str]) -> int:
    import subprocess

    words = [sys.executable, "-I", "-m", "mlos_sync.hooks.main", "staged-views"]
    given = "\0".join(paths).encode("utf-8", "surrogateescape")
    done = subprocess.run(words, input=given, check=False, timeout=PATIENCE)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"it ended with exit code {done.returncode}")
    return done.returncode


def staged_views(_: list[str]) -> int:
    """The second process: the paths come on stdin, NUL between them. 1 if one of them is forged; what cannot be told is
    said, and stops nothing."""
    try:
        from mlos_sync.app import staging, verifying

        with open(0, "rb", closefd=False) as given:
            paths = given.read().decode("utf-8", "surrogateescape").split("\0")
        index_file = os.environ.get("GIT_INDEX_FILE")
        found = staging.judge(os.getcwd(), paths, os.path.abspath(index_file) if index_file else None)
    except Exception as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        say(f"mlos-sync: the staged views could not be compiled again: {first} (mlos-sync verify after the commit)")
        return 0
    refused = [one for one in found if one.kind != verifying.STALE]
    if refused:
        say(report(refused))
        return 1
    if found:
        say(f"mlos-sync: the commit goes on, with this in it:\n{listed(found)}")
    return 0


def prepare_commit_msg(arguments: list[str]) -> int:
    """Before the editor: uids beside numbers, the current task, a list to choose from. It never stops a commit."""
    _failing_open("preparing the message", lambda: _prepare(*arguments))
    return 0


def commit_msg(arguments: list[str]) -> int:
    """Write the lasting uid beside each number in the message; refuse unknown references where the config asks for it."""
    refusal = _failing_open("resolving the task numbers", lambda: _resolve(arguments[0]))
    if isinstance(refusal, list) and refusal:
        say("\n".join(refusal))
        return 1
    return 0


def post_commit(_: list[str]) -> int:
    """After `git commit PATH`, which commits from a temporary index: bring the real one up to date."""
    _failing_open("repairing the index", _repair)
    return 0


def merge_view(arguments: list[str]) -> int:
    """Merge a compiled view for git. Where that fails it is a conflict, as without us: nothing is taken for merged."""
    done = _failing_open("merging a compiled view", lambda: _merge(*arguments))
    return done if isinstance(done, int) else 1


def pre_push(arguments: list[str]) -> int:
    """Refuse to push what the guard would have refused to commit; of what is out of date, or was taken back, only say so."""
    try:
        from mlos_sync.hooks import pushing

        with open(0, "rb", closefd=False) as lines:
            refused, told = pushing.check(arguments, lines.read())
    except Exception as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        say(f"mlos-sync: the check before a push did not work, the push goes on: {first} (mlos-sync verify)")
        return 0
    if refused:
        count = len(refused)
        say(
            f"mlos-sync: push refused, {count} change{'s' if count > 1 else ''} in it cannot be published like this:\n"
            f"{listed(refused)}\n\n"
            "Mend the commit (git commit --amend, or git rebase -i), or push once as it is:\n"
            "  git push --no-verify"
        )
        return 1
    if told:
        say(f"mlos-sync: the push goes on, with this in it:\n{listed(told)}")
    return 0


def agent_pre_edit(_: list[str]) -> int:
    """Tell a coding agent, in its own JSON on stdout, to leave a compiled file alone. What cannot be told is passed over
    in silence, and the exit code is always 0: 2 would deny by itself."""
    try:
        from mlos_sync.hooks import editing

        with open(0, "rb", closefd=False) as asked:
            _write(1, editing.answer(asked.read(editing.MOST + 1)))
    except Exception:  # noqa: S110 - an agent's edit goes on, and the guard stands at the commit
        pass
    return 0


def guard(look: Look | None = None, *, merging: bool = False) -> int:
    """Refuse with reasons and ways out (1), or say nothing (0). A guard that cannot look has not looked: 1."""
    try:
        from mlos_sync.hooks import guard as staged

        findings = staged.check(look, merging=merging)
    except Exception as error:
        return _not_guarded(error)
    if not findings:
        return 0
    say(report(findings))
    return 1


def _not_guarded(error: Exception) -> int:
    say(
        f"mlos-sync: the guard of compiled views could not run: {str(error) or type(error).__name__}\n"
        "Nothing was committed. `mlos-sync status` looks for the cause; to commit without the guard this once:\n"
        "  git commit --no-verify"
    )
    return 1


def report(findings: list[Finding]) -> str:
    """What the user reads: each path, what is wrong with it, what to type next."""
    count = len(findings)
    head = f"mlos-sync: commit refused, {count} file{'s' if count > 1 else ''} cannot be committed like this:"
    return f"{head}\n{listed(findings)}"


def listed(findings: list[Finding]) -> str:
    """Findings one below the other, the first of them in full."""
    from mlos_sync.core.guard import quoted

    lines = []
    for finding in findings[:AT_MOST]:
        lines += ["", f"  {quoted(finding.path)}", f"    {finding.message}"]
        lines += [f"      {line}" for line in finding.fix.splitlines()]
    if len(findings) > AT_MOST:
        lines += ["", f"  ... and {len(findings) - AT_MOST} more"]
    return "\n".join(lines)


def say(text: str) -> None:
    """To stderr, in ASCII, whatever the locale."""
    _write(2, _ascii(text).encode("ascii") + b"\n")


def _write(descriptor: int, data: bytes) -> None:
    """All of it; a closed stream is no reason to change the verdict."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        pass


def _ascii(text: str) -> str:
    kept = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(c if c == "\n" or " " <= c <= "~" else f"\\x{ord(c):02x}" for c in kept)


def _failing_open(what: str, action: Callable[[], object]) -> object:
    try:
        return action()
    except Exception as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        say(f"mlos-sync: {what} did not work, git goes on: {first} (mlos-sync status)")
        return None


def _something_pending() -> bool:
    from mlos_sync.hooks import pending

    if not pending.something_pending():
        return False
    from mlos_sync.app import publishing  # noqa: F401 - takes 60 ms, while git reads the index

    return True


def _publish() -> None:
    from mlos_sync.app import publishing

    publishing.publish_for_commit()


def _merge(*arguments: str) -> int:
    from mlos_sync.app import merging

    code, words = merging.merge(*arguments)
    if words:
        say(words)
    return code


def _prepare(file: str, source: str = "", *_: str) -> None:
    from mlos_sync.app import messages
    from mlos_sync.hooks.making import making

    messages.prepare(file, source, making())


def _resolve(file: str) -> list[str]:
    from mlos_sync.app import messages
    from mlos_sync.hooks.making import making

    return messages.resolve(file, making())


def _repair() -> None:
    from mlos_sync.app import publishing

    publishing.repair()


def _open_standard_streams() -> None:
    """A hook started with closed streams must not get a pipe to git under the number of one of them."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


_HOOKS = {
    "pre-commit": pre_commit,
    "pre-merge-commit": pre_merge_commit,
    "prepare-commit-msg": prepare_commit_msg,
    "commit-msg": commit_msg,
    "post-commit": post_commit,
    "pre-push": pre_push,
    "merge-view": merge_view,
    "staged-views": staged_views,
    "agent-pre-edit": agent_pre_edit,
}


def run() -> None:
    """The process. Nothing that it loads ever goes, so Python need not search it for cycles, on the way or at the end: 2 of
    the 23 ms of an ordinary commit's guard, 12 of the 110 where records are published."""
    gc.disable()
    try:
        sys.exit(main())
    finally:
        gc.freeze()


if __name__ == "__main__":
    run()
