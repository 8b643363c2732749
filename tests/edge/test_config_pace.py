"""`[watch]` in the config: numbers of seconds, and words for what is none."""

import pytest

from mlos_sync.edge.workspace import Pace, parse_config
from mlos_sync.errors import UsageError

HEAD = 'workspace = "w"\ncreated = "2026-01-01T00:00:00Z"\n'


def test_what_is_set_and_what_is_not():
    """Whole numbers and fractions; the others stay."""
    assert parse_config(HEAD.encode()).pace == Pace()
    assert parse_config(f"{HEAD}[watch]\nquiet = 1\nevery = 30.5\n".encode()).pace == Pace(1.0, 2.0, 30.5, 5.0)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("quiet = 0", "number of seconds from 0.01"),
        ("quiet = true", "number of seconds"),
        ('most = "2"', "number of seconds"),
        ("every = nan", "number of seconds"),
        ("slow = 1", "unknown key `slow`"),
    ],
)
def test_what_is_no_pace(line, words):
    """The key and what is allowed are named."""
    with pytest.raises(UsageError, match=words):
        parse_config(f"{HEAD}[watch]\n{line}\n".encode())
    with pytest.raises(UsageError, match="is a table"):
        parse_config(f"{HEAD}watch = 3\n".encode())
