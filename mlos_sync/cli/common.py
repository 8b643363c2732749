"""What all commands share: options, printing, progress. Messages go to stderr, results to stdout."""

from __future__ import annotations

import contextlib
import json
import os
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

        setup.build_missing_index(settings.folder)
        say("the index was missing, damaged or of another version: it was rebuilt", error=True)
        for kept in setup.damaged_indexes(settings.folder):
            say(f"an old index that could not be saved in whole is kept: {kept}", error=True)
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


def silence(stream: TextIO) -> None:
    """Nothing more can be written to a stream: what is left in it goes nowhere when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _writable(line: str, encoding: str | None) -> str:
    """The line as the stream can carry it: a C locale must not turn a title into a traceback."""
    return line.encode(encoding or "ascii", "backslashreplace").decode(encoding or "ascii")


def table(rows: Sequence[Sequence[Any]], headings: Sequence[str]) -> list[str]:
    """Aligned columns under headings; no line ends in blanks."""
    texts = [[*map(_cell, row)] for row in rows]
    widths = [max(len(line[n]) for line in [list(headings), *texts]) for n in range(len(headings))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [list(headings), *texts]
    ]


def _cell(value: Any, most: int = 70) -> str:
    text = "" if value is None else shown(str(value))
    return text if len(text) <= most else text[: most - 1] + "…"


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


def columns(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as column values."""
    return {name: value for name, value in given.items() if value is not None}
