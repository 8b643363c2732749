"""The pending log: what is appended is durable and read back; what a crash left behind is told and loses nothing else."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mlos_sync.core import journal
from mlos_sync.core.journal import Event
from mlos_sync.edge import ledger
from mlos_sync.errors import SurroundingsError


def event(n: int, text: str = "t") -> Event:
    """Event number n."""
    return journal.make(
        id=f"{n:032x}", clock=(1000 + n, 0), seen=(), kind="need", uid="ab" * 16, op="create", fields={"title": text},
        actor="Ada", door="cli", tx=None,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Where the log lives."""
    return str(tmp_path)


def file_of(folder: str) -> Path:
    """The log itself."""
    return Path(folder) / ledger.NAME


def test_no_log_is_an_empty_log(folder):
    """Nothing was ever written here."""
    assert ledger.size(folder) == 0 and ledger.read(folder, 0) == ([], [], 0)
    assert ledger.read(folder, 500) == ([], [], 0)


def test_what_is_appended_is_read_back(folder):
    """In order, in one go or from where the last reading ended."""
    first, second = [event(1, "ä\u2028\n"), event(2)], [event(3)]
    ledger.append(folder, first)
    events, problems, end = ledger.read(folder, 0)
    assert (events, problems, end) == (first, [], ledger.size(folder))
    ledger.append(folder, second)
    assert ledger.read(folder, end) == (second, [], ledger.size(folder))
    assert ledger.read(folder, 0)[0] == first + second
    assert ledger.read(folder, ledger.size(folder)) == ([], [], ledger.size(folder))


def test_the_log_is_nobody_elses(folder):
    """Owner only."""
    ledger.append(folder, [event(1)])
    assert file_of(folder).stat().st_mode & 0o777 == 0o600


def test_appending_nothing_is_harmless(folder):
    """No line, no damage."""
    ledger.append(folder, [event(1)])
    before = file_of(folder).read_bytes()
    ledger.append(folder, [])
    assert file_of(folder).read_bytes() == before


def test_the_log_is_only_ever_appended_to(folder):
    """Every earlier state is a prefix of every later one."""
    before = b""
    for n in range(5):
        ledger.append(folder, [event(n)])
        now = file_of(folder).read_bytes()
        assert now.startswith(before) and len(now) > len(before)
        before = now


def test_a_torn_tail_waits_and_is_then_closed_and_told(folder):
    """Cut at each byte of the last line: what came before is read, what comes after too, the torn line is named once."""
    ledger.append(folder, [event(1)])
    start = ledger.size(folder)
    whole = (event(2).line + "\n").encode()
    for length in range(1, len(whole)):
        file_of(folder).write_bytes((event(1).line + "\n").encode() + whole[:length])
        events, problems, end = ledger.read(folder, 0)
        told = ["line 2: the line has no end: it was cut"] if length else []
        assert (events, problems, end) == ([event(1)], told, start), "named at once, and read again once it is closed"
        ledger.append(folder, [event(3)])
        events, problems, end = ledger.read(folder, start)
        assert end == ledger.size(folder)
        if length == len(whole) - 1:
            assert events == [event(2), event(3)] and problems == []
        else:
            assert events == [event(3)] and len(problems) == 1 and problems[0].startswith("line 2: ")
        assert whole[:length] in file_of(folder).read_bytes(), "never removed"


@pytest.mark.parametrize(
    "junk", [b"\0" * 4096 + b"\n", b"junk\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b"\n", b"\n\n\n"]
)
def test_junk_in_the_middle_is_passed_over_and_told(folder, junk):
    """A block of zeros after a power cut, or anything else, costs nothing but itself."""
    one, two = (f"{event(n).line}\n".encode() for n in (1, 2))
    file_of(folder).write_bytes(one + junk + two)
    events, problems, end = ledger.read(folder, 0)
    assert events == [event(1), event(2)] and end == len(one + junk + two)
    assert [place.split(":")[0] for place in problems] == (["line 2"] if junk.strip(b"\n") else [])


def test_a_changed_byte_costs_one_line(folder):
    """Every byte of the middle line in turn."""
    lines = [f"{event(n).line}\n".encode() for n in (1, 2, 3)]
    for at in range(len(lines[1]) - 1):
        data = bytearray(lines[1])
        data[at] ^= 0x20
        file_of(folder).write_bytes(lines[0] + bytes(data) + lines[2])
        events, problems, _ = ledger.read(folder, 0)
        assert events == [event(1), event(3)] and len(problems) == 1


def test_short_writes_are_completed(folder, monkeypatch):
    """A disk that takes a few bytes at a time gets all of them."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:7]))
    ledger.append(folder, [event(1), event(2)])
    assert ledger.read(folder, 0)[0] == [event(1), event(2)]


@pytest.mark.parametrize(("name", "code"), [("write", errno.ENOSPC), ("fsync", errno.EIO), ("open", errno.EMFILE)])
def test_a_failing_disk_is_an_error_with_a_way_out(folder, monkeypatch, name, code):
    """Nothing is called durable that is not; no descriptor is left open; the next append works and reads clean."""
    ledger.append(folder, [event(1)])
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    def fail(*args, **more):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        with pytest.raises(SurroundingsError) as caught:
            ledger.append(folder, [event(2)])
    assert os.strerror(code) in caught.value.message and caught.value.hint
    assert not descriptors or len(os.listdir("/proc/self/fd")) == descriptors
    ledger.append(folder, [event(3)])
    events, problems, _ = ledger.read(folder, 0)
    assert [one.id for one in events if one.id != event(2).id] == [event(1).id, event(3).id] and problems == []


def test_half_a_write_and_then_no_space(folder, monkeypatch):
    """The half line is closed by the next append and told as damage; the event itself was never acknowledged."""
    ledger.append(folder, [event(1)])
    real = os.write
    calls = []

    def half(descriptor, data):
        calls.append(1)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, bytes(data)[:40])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(SurroundingsError):
            ledger.append(folder, [event(2)])
    ledger.append(folder, [event(2), event(3)])
    events, problems, _ = ledger.read(folder, 0)
    assert events == [event(1), event(2), event(3)] and len(problems) == 1


def test_a_log_that_is_a_link_is_refused(folder, tmp_path):
    """We do not write through somebody's link, and say so without a traceback."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious\n")
    file_of(folder).symlink_to(elsewhere)
    with pytest.raises(SurroundingsError):
        ledger.append(folder, [event(1)])
    assert elsewhere.read_bytes() == b"precious\n"


def test_a_folder_in_the_place_of_the_log_is_refused(folder):
    """The same for a folder."""
    file_of(folder).mkdir()
    with pytest.raises(SurroundingsError):
        ledger.append(folder, [event(1)])
