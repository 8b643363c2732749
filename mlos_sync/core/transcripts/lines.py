"""The lines of a text file, as the readers of markdown and of documents take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mlos_sync.core.transcripts.model import Problem


def texts(lines: Iterable[bytes], broken: list[Problem]) -> Iterator[str]:
    """The lines as text, without byte order mark and line feed; a carriage return before it stays.

    Bytes that are no UTF-8 (the CLI of SpecStory cuts text at 200 bytes, through a character) become U+FFFD, and the
    first line that has any is put into `broken`.
    """
    damaged = False
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("utf-8", "replace")
            if not damaged:
                broken.append(Problem(number, "bytes that are no UTF-8 text"))
                damaged = True
        if number == 1:
            text = text.removeprefix("\ufeff")
        yield text.removesuffix("\n")
