"""The error tree. Imports nothing, so that everything may import it.

Each error says what is wrong (`message`), what to type next (`hint`) and how the process ends (`exit_code`):

    MlosError
    ├── UsageError          2  unknown reference, wrong option
    ├── SurroundingsError   3  no workspace, no git, disk full, locked, root vanished
    └── RefusedError        4  guard, mass disappearance, ambiguous reference, a rule of the database

Exit code 1 is no error: it means done, with findings. Anything that is not an MlosError is a bug and says so.
"""

from __future__ import annotations


class MlosError(Exception):
    """Base of everything that a user or the surroundings can cause."""

    exit_code = 3

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MlosError):
    """The call itself is off: an unknown reference, an option that does not fit."""

    exit_code = 2


class SurroundingsError(MlosError):
    """The world is not as needed: no workspace, no git, a full disk, a lock that does not come free."""

    exit_code = 3


class RefusedError(MlosError):
    """Understood and refused: a broken seal, a rule of the database, an ambiguous reference."""

    exit_code = 4
