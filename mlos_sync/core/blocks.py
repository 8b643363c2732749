"""Our marked block in somebody else's hook file: put in, found, taken out again, byte for byte.

The block comes right after the first line (`#!...`), so that an `exit` or `exec` of the script does not skip it. It
names no machine: it asks git for the repository and does nothing where that has no hook of ours, so a team may commit
the file. Pure: bytes in, bytes out.
"""

from __future__ import annotations

import re

BEGIN = b"# >>> mlos-sync"
END = b"# <<< mlos-sync\n"
_GAP = b" (the line before had no end)"
_MADE = b" (mlos-sync made this file)"
_ABOUT = b": `mlos-sync hooks uninstall` takes these lines away"
FIRST_LINE = b"#!/bin/sh\n"

READ_STDIN = ("pre-push", "post-rewrite")
"""Events of which git tells the hook more on its standard input: that must reach the other hook too."""

_OWN_NAME = "${0##*/}"
_NO_FURTHER = '[ -z "${MLOS_SYNC_PROBE-}" ] || exit 0'
"""Asked for a sign, the file ends here, whether ours could answer or not: what follows is somebody else's."""

_SHELL = re.compile(rb"#![ \t]*(?:/[^ \t\n]*/)?(?:env[ \t]+)?(?:sh|bash|dash)(?:[ \t]+-[a-z]+)*[ \t]*\n?\Z")


def is_shell(text: bytes) -> bool:
    """Whether a hook file is a script for sh or bash. One without `#!` is: git and husky give such a file to sh."""
    if b"\0" in text:
        return False
    first = text.partition(b"\n")[0]
    return not first.startswith(b"#!") or _SHELL.fullmatch(first) is not None


def lines(name: str, *, husky: bool = False, stdin: bool | None = None) -> list[str]:
    """What stands between the marks: calls our hook of that name if this clone has one.

    Where husky starts the file, HUSKY=0 skips our hook as it skips the others: husky 8 looks at that later in the file, and
    then starts the file a second time, with `husky_skip_init` set.
    """
    ours = f"$mlos_sync/mlos/hooks/{name}"
    begin = f'if mlos_sync=$(git rev-parse --git-common-dir) && [ -x "{ours}" ]'
    if husky:
        begin += ' && [ "${HUSKY-}" != 0 ] && [ -z "${husky_skip_init-}" ]'
    if not (name in READ_STDIN if stdin is None else stdin):
        return [f"{begin}; then", f'    "{ours}" "$@" || exit $?', "fi", _NO_FURTHER]
    return [
        f"{begin} && mlos_sync_in=$(mktemp); then",
        '    cat >"$mlos_sync_in" # both hooks read the same lines',
        f'    "{ours}" "$@" <"$mlos_sync_in" || {{ mlos_sync=$?; rm -f "$mlos_sync_in"; exit "$mlos_sync"; }}',
        '    exec <"$mlos_sync_in"',
        '    rm -f "$mlos_sync_in"',
        "fi",
        _NO_FURTHER,
    ]


def by_file_name(*, husky: bool, stdin: bool) -> list[str]:
    """The same with its marks, to be pasted: it takes the hook's name from the file it stands in."""
    return _marked(lines(_OWN_NAME, husky=husky, stdin=stdin), b"").decode().splitlines()


def with_block(text: bytes | None, name: str, *, husky: bool = False) -> bytes:
    """The file with our block, as it is written now; None for a file that is not there yet."""
    return _placed(text, lines(name, husky=husky))


def _placed(text: bytes | None, body: list[str]) -> bytes:
    theirs = None if text is None else without_block(text)
    if theirs is None:
        return FIRST_LINE + _marked(body, _MADE)
    first, end, rest = theirs.partition(b"\n")
    if not first.startswith(b"#!"):
        return _marked(body, b"") + theirs
    if not end:
        return first + b"\n" + _marked(body, _GAP)
    return first + b"\n" + _marked(body, b"") + rest


def _marked(body: list[str], note: bytes) -> bytes:
    return BEGIN + note + _ABOUT + b"\n" + "".join(line + "\n" for line in body).encode() + END


def without_block(text: bytes) -> bytes | None:
    """The file without our block; None if we made it and nobody else has written anything into it."""
    found = find(text)
    if found is None:
        return text
    start, stop, note = found
    if note == _GAP and start and not text[stop:]:
        start -= 1  # the line end that we gave the line before
    rest = text[:start] + text[stop:]
    return None if note == _MADE and rest == FIRST_LINE else rest


def find(text: bytes) -> tuple[int, int, bytes] | None:
    """Where our block stands (start, stop) and what its first line notes; None without one."""
    match = re.search(rb"^" + re.escape(BEGIN) + rb"(?: \([^)\n]*\))?:[^\n]*\n", text, re.MULTILINE)
    if match is None:
        return None
    stop = text.find(END, match.end())
    if stop < 0 or text[stop - 1 : stop] != b"\n":
        return None
    begin = match[0]
    note = next((one for one in (_GAP, _MADE) if begin.startswith(BEGIN + one)), b"")
    return match.start(), stop + len(END), note


def is_current(text: bytes, name: str) -> bool:
    """Whether the block in a file is one that we would write, or give to be pasted, today; wherever it was put."""
    found = find(text)
    if found is None:
        return False
    start, stop, note = found
    stdin = name in READ_STDIN
    bodies = (lines(one, husky=husky, stdin=stdin) for one in (name, _OWN_NAME) for husky in (False, True))
    return any(text[start:stop] == _marked(body, note) for body in bodies)


def comes_first(text: bytes) -> bool:
    """Whether nothing but comments stands before our block: starting the file then starts us and nobody else."""
    found = find(text)
    if found is None:
        return False
    return all(not line.strip() or line.startswith(b"#") for line in text[: found[0]].split(b"\n"))
