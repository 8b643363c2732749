"""Output that goes to a file which never grows beyond a megabyte, and one older one."""

from __future__ import annotations

import io
import logging
import sys
from logging.handlers import RotatingFileHandler

from mlos_sync.errors import UsageError

MOST = 1_000_000


class _Quiet(RotatingFileHandler):
    """A full disk is no reason to stop."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        """Say nothing: there is nowhere to say it."""


class Bounded(io.TextIOBase):
    """A text stream over the standard library's rotating file."""

    encoding = "utf-8"

    def __init__(self, path: str) -> None:
        self._handler = _Quiet(path, maxBytes=MOST, backupCount=1, encoding="utf-8", errors="backslashreplace")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))

    def fileno(self) -> int:
        """Of the file that is written to now. Raises OSError where none is open."""
        return self._handler.stream.fileno() if self._handler.stream else super().fileno()

    def write(self, text: str) -> int:
        """Each line with its time."""
        for line in text.splitlines():
            self._handler.handle(logging.LogRecord("mlos-sync", logging.INFO, "", 0, line, None, None))
        return len(text)


def to_log(path: str) -> None:
    """Send what is printed to a file from now on. Raises UsageError where it cannot be written."""
    try:
        sys.stdout = sys.stderr = Bounded(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "name another file with --log") from None
