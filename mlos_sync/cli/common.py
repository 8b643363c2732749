"""What all commands share: options, printing, progress. Messages go to stderr, results to stdout."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from mlos_sync.core.paths import shown

if TYPE_CHECKING:
    from mlos_sync.app.opening import Index

SCHEMA_VERSION = 1
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


class Settings:
    """Options that stand before the command."""

    folder = "."
    quiet = False


settings = Settings()


def open_here() -> Index:
    """The workspace that the command was started in, with its index; a missing index is built, with one line told."""
    from mlos_sync.app import opening

    workspace = opening.workspace_of(settings.folder)
    index = opening.try_open(workspace)
    if index is None:
        from mlos_sync.app import setup

        why = opening.why_unusable(workspace)
        before = setup.damaged_indexes(settings.folder)
        setup.build_missing_index(settings.folder)
        kept = [path for path in setup.damaged_indexes(settings.folder) if path not in before]
        aside = f" (the old one is kept: {kept[0]})" if kept else ""
        say(f"{why}: it was rebuilt{aside}", error=True)
        index = opening.open_index(settings.folder)
    return index


def say(
    text: str | Sequence[str], result: dict[str, Any] | None = None, as_json: bool = False, *, error: bool = False
) -> None:
    """Print lines for people, or `result` as JSON; `error` sends to stderr. Control characters are shown escaped."""
    stream = sys.stderr if error else sys.stdout
    if error and settings.quiet and isinstance(text, str) and not text.startswith(("mlos-sync:", "  hint:")):
        return
    if as_json:
        lines = [json.dumps({"schema_version": SCHEMA_VERSION, **(result or {})}, ensure_ascii=True, default=list)]
    else:
        lines = [shown(line) for line in ([text] if isinstance(text, str) else text)]
    put(stream, "".join(_writable(line, stream.encoding) + "\n" for line in lines))


def put(stream: TextIO, text: str) -> None:
    """Write and flush. When the reader of our output has gone (`| head`) nothing is wrong and nothing more can be said."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        silence(stream)
        raise SystemExit(0) from None


def takes(stream: TextIO) -> bool:
    """Whether a stream takes a line now."""
    try:
        return bool(select.select([], [stream], [], 0)[1])
    except (OSError, ValueError):  # no descriptor of its own: it never waits
        return True


def silence(stream: TextIO) -> None:
    """Nothing more can be written to a stream: what is left in it goes nowhere when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _writable(line: str, encoding: str | None) -> str:
    """The line as the stream can carry it: a C locale must not turn a title into a traceback."""
    return line.encode(encoding or "ascii", "backslashreplace").decode(encoding or "ascii")


def table(rows: Sequence[Sequence[Any]], headings: Sequence[str]) -> list[str]:
    """Aligned columns under headings, cut to the width of the terminal; no line ends in blanks."""
    room = _room()
    texts = [list(headings), *([_cell(value, room) for value in row] for row in rows)]
    widths = [max(_width(line[n]) for line in texts) for n in range(len(headings))]
    if room is not None:
        widths = _narrowed(widths, room - 2 * (len(widths) - 1))
    return ["  ".join(map(_fitted, line, widths)).rstrip() for line in texts]


def _room() -> int | None:
    """How many columns a line may have on the terminal (COLUMNS knows better); None where output goes elsewhere."""
    if not sys.stdout.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    try:
        return (
            int(given)
            if given.isdecimal() and int(given)
            else os.get_terminal_size(sys.stdout.fileno()).columns or None
        )
    except (OSError, ValueError):
        return None


def _cell(value: Any, room: int | None, most: int = 70) -> str:
    text = "" if value is None else shown(str(value))
    return text if room is not None or len(text) <= most else text[: most - 1] + "…"


def _width(text: str) -> int:
    """Columns that a text takes on a terminal: two for a wide character, none for one that combines."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _narrowed(widths: list[int], room: int, least: int = 3, enough: int = 20) -> list[int]:
    """Widths that fit: the last column, which holds the longest text, gives way first, then the widest; none below
    `least`."""
    widths = list(widths)
    widths[-1] = max(min(widths[-1], enough), widths[-1] - max(0, sum(widths) - room))
    while sum(widths) > room and max(widths) > least:
        widths[widths.index(max(widths))] -= 1
    return widths


def _fitted(text: str, width: int) -> str:
    """The text in exactly `width` columns."""
    taken = _width(text)
    if taken > width:
        while text and taken > width - 1:
            taken -= _width(text[-1])
            text = text[:-1]
        text, taken = text + "…", taken + 1
    return text + " " * (width - taken)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on a terminal for work of over a second; nothing elsewhere."""
    import time

    if settings.quiet or not sys.stderr.isatty():
        yield None
        return
    began, drawn = time.monotonic(), False

    def told(done: int, total: int) -> None:
        nonlocal drawn
        if time.monotonic() - began > 1:
            drawn = True
            filled = 30 * done // max(total, 1)
            sys.stderr.write(f"\r{what} [{'#' * filled}{'.' * (30 - filled)}] {done}/{total}")
            sys.stderr.flush()

    try:
        yield told
    finally:
        if drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def inside(workspace: Any, path: str) -> str:
    """A path as typed (relative to the current folder, or absolute) as a workspace path. Raises UsageError outside."""
    from mlos_sync.core.paths import from_bytes
    from mlos_sync.errors import UsageError

    start = settings.folder if settings.folder != "." else os.getcwd()
    absolute = os.path.join(os.path.realpath(start), path)
    folder = os.path.realpath(os.path.dirname(absolute))  # the last part may itself be a link, which is an artifact
    relative = os.path.relpath(os.path.normpath(os.path.join(folder, os.path.basename(absolute))), workspace.root)
    if relative.startswith(".."):
        raise UsageError(f"{path} is outside the workspace {workspace.root}", "name a path inside it")
    return "" if relative == "." else from_bytes(os.fsencode(relative))


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as column values. An empty text clears a column: `--scope ""`."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, list):
            if value:
                found[name] = [one for one in value if one != ""]
        elif value is not None:
            found[name] = None if value == "" else value
    return found


def end(index: Index, text: str) -> str:
    """A reference to anything, as one that lasts; what has no form of a reference is a path. A path is looked up from
    the current folder and from the workspace's, the way it was printed first. Raises UsageError with near names."""
    from mlos_sync.app import finding
    from mlos_sync.core.ids import parse

    reference = parse(text, "artifact")
    return finding.lasting(index, artifact(index, text) if reference and reference.path is not None else text)


def artifact(index: Index, text: str) -> str:
    """`artifact:PATH` for a path as typed, with or without the kind before it."""
    from mlos_sync.app import finding
    from mlos_sync.errors import UsageError

    path = text.removeprefix("artifact:")
    try:
        here = inside(index.workspace, path)
    except UsageError:
        if not finding.stands(index.db, path):
            raise
        return f"artifact:{path}"
    order = (path, here) if path != text else (here, path)
    return "artifact:" + next((one for one in order if finding.stands(index.db, one)), here)
