"""Hashes of the bytes in the work tree, as hashlib and git compute them, whatever the name and whatever happens meanwhile."""

from __future__ import annotations

import errno
import hashlib
import io
import marshal
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from gitrepo import git, make_repo

from mlos_sync.core.changes import Hashed
from mlos_sync.core.paths import from_bytes
from mlos_sync.edge import hash_worker, hashing
from mlos_sync.edge.hashing import BATCH, SMALL, hash_files, stat_files

LONG_AGO = 1_600_000_000
CONTENTS = {
    "empty": b"",
    "text.md": b"# Title\n",
    "crlf.txt": b"a\r\nb\r\n",
    "nul.bin": bytes(range(256)) * 4,
    "chunk": b"x" * hash_worker.CHUNK,
    "chunk and one": b"x" * (hash_worker.CHUNK + 1),
    "big.bin": random.Random(5).randbytes(1_572_864),
    "folder/under it": b"deep",
}
NAMES = [
    b"new\nline",
    b"tab\there",
    b"caf\xe9.md",
    b"\xff\xfe",
    "\uef80".encode(),
    b"-rf",
    b" blank ",
    b'q"uote\\',
    "ä😀".encode(),
]


@pytest.fixture(params=["sha1", "sha256"])
def repo(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A repository of either object format, with filters that would change what `git add` stores."""
    made = make_repo(tmp_path, f"--object-format={request.param}")
    (made / ".gitattributes").write_text("* text=auto eol=crlf ident\n*.md filter=shout\n")
    git(made, "config", "filter.shout.clean", "tr a-z A-Z")
    return made


def answers(root: Path, paths: list[str], algorithm: str = "sha1") -> dict[str, Hashed | str]:
    """All answers by path; each path is answered once."""
    found = list(hash_files(str(root), paths, algorithm))
    assert sorted(path for path, _ in found) == sorted(paths)
    return dict(found)


def put(root: Path, name: bytes, data: bytes) -> None:
    """Write a file of any name."""
    path = os.fsencode(root) + b"/" + name
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def test_hashes_are_those_of_hashlib_and_git(repo):
    """SHA-256 of the bytes and git's unfiltered blob id, for every size and every name, in both object formats."""
    algorithm = git(repo, "rev-parse", "--show-object-format").stdout.strip()
    wanted = {name.encode(): data for name, data in CONTENTS.items()} | {name: name * 3 for name in NAMES}
    for name, data in wanted.items():
        put(repo, name, data)
    found = answers(repo, [from_bytes(name) for name in wanted], algorithm)
    ids = git(repo, "hash-object", "--no-filters", "--", *wanted).stdout.split()
    for (name, data), blob in zip(wanted.items(), ids, strict=True):
        hashed = found[from_bytes(name)]
        assert isinstance(hashed, Hashed), (name, hashed)
        assert (hashed.sha256, hashed.blob) == (hashlib.sha256(data).hexdigest(), blob), name
        s = os.lstat(os.fsencode(repo) + b"/" + name)
        assert hashed.stat[:4] == (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)
        assert abs(hashed.stat[4]) == s.st_mode and hashed.when == int(s.st_mtime)


def test_a_link_is_hashed_by_its_target_text(repo):
    """As git stores it, whether it leads to a file, a folder, itself, nowhere or outside."""
    algorithm = git(repo, "rev-parse", "--show-object-format").stdout.strip()
    put(repo, b"file", b"content")
    (repo / "folder").mkdir()
    targets = {"a": b"file", "b": b"folder", "c": b"c", "d": b"no/where", "e": b"/etc/passwd", "f": b"caf\xe9\n"}
    for name, target in targets.items():
        os.symlink(target, os.fsencode(repo / name))
    git(repo, "add", *targets)
    staged = {line.split("\t")[1]: line.split()[1] for line in git(repo, "ls-files", "-s").stdout.splitlines()}
    found = answers(repo, list(targets), algorithm)
    for name, target in targets.items():
        assert found[name].sha256 == hashlib.sha256(target).hexdigest() and found[name].blob == staged[name]


def test_what_is_behind_a_link_is_not_read(tmp_path):
    """A folder on the way is a link: another file would be hashed for the one that was asked for."""
    put(tmp_path, b"outside/deep/f", b"secret")
    put(tmp_path, b"root/deep/f", b"ours")
    os.symlink("../outside", tmp_path / "root" / "docs")
    found = answers(tmp_path / "root", ["docs/deep/f", "deep/f", "docs"])
    assert found["docs/deep/f"] == "Not a directory"
    assert {found[one].sha256 for one in ("deep/f", "docs")} == {
        hashlib.sha256(data).hexdigest() for data in (b"ours", b"../outside")
    }


def test_what_is_no_file_has_a_reason_and_holds_nobody_up(tmp_path):
    """A pipe without a writer, a socket, a folder and a missing file are named at once; the rest is hashed."""
    root = make_repo(tmp_path)
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    put(root, b"good", b"g")
    here = socket.socket(socket.AF_UNIX)
    old = os.getcwd()
    os.chdir(root)
    try:
        here.bind("socket")
    finally:
        os.chdir(old)
        here.close()
    began = time.monotonic()
    found = answers(root, ["pipe", "socket", "folder", "missing", "missing/below", "good/below", "good"])
    assert time.monotonic() - began < 5
    assert found.pop("good").sha256 == hashlib.sha256(b"g").hexdigest()
    assert found["pipe"] == found["folder"] == "not a regular file"
    assert all(isinstance(reason, str) and reason for reason in found.values())


def test_a_file_beyond_the_limit_is_named_and_not_read(tmp_path):
    """Larger than 4 GiB (a sparse one costs nothing here)."""
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(hash_worker.LIMIT + 1)
    began = time.monotonic()
    assert answers(tmp_path, ["huge"])["huge"] == "not hashed: larger than 4 GiB"
    assert time.monotonic() - began < 5


def test_an_unreadable_file_is_named_and_the_rest_is_hashed():
    """Rights that forbid reading are a reason, not an end (as root the worker is run as nobody)."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for name in ("secret", "open"):
            put(Path(folder), name.encode(), b"s")
        os.chmod(os.path.join(folder, "open"), 0o644)
        os.chmod(os.path.join(folder, "secret"), 0)
        if os.geteuid():
            found = answers(Path(folder), ["secret", "open"])
            secret, other = found["secret"], found["open"]
        else:
            secret, other = as_nobody(folder, [b"secret", b"open"])
        assert secret == "Permission denied"
        assert (other.sha256 if isinstance(other, Hashed) else other[0]) == hashlib.sha256(b"s").hexdigest()


def as_nobody(folder: str, names: list[bytes]) -> list:
    """The worker's answers when a child without rights gives them."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgid(65534)
            os.setuid(65534)
            root = os.open(folder, os.O_RDONLY)
            os.write(write, marshal.dumps([hash_worker.look(root, name, "sha1") for name in names]))
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return marshal.loads(data)


def looked(folder: Path, name: bytes = b"file") -> object:
    """The worker's answer in this process."""
    root = os.open(folder, os.O_RDONLY)
    try:
        return hash_worker.look(root, name, "sha1")
    finally:
        os.close(root)


def test_a_file_that_grows_while_it_is_read_is_busy(tmp_path, monkeypatch):
    """Two attempts, and then a reason; never a hash of what was at no time the content."""
    put(tmp_path, b"file", b"a" * 10)
    real = os.read

    def growing(descriptor, size):
        with open(tmp_path / "file", "ab") as file:
            file.write(b"b")
        return real(descriptor, size)

    monkeypatch.setattr(os, "read", growing)
    assert looked(tmp_path) == "busy: it changes while it is read"


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_a_file_that_changes_once_is_read_again(tmp_path, monkeypatch, change):
    """The second attempt gives the hash of the new content, also where the size stayed the same."""
    put(tmp_path, b"file", b"a" * (hash_worker.CHUNK + 100))
    after = {"grow": b"b" * (hash_worker.CHUNK + 200), "shrink": b"b", "rewrite": b"b" * (hash_worker.CHUNK + 100)}[
        change
    ]
    real = os.read
    done = []

    def once(descriptor, size):
        data = real(descriptor, size)
        if not done:
            done.append(1)
            put(tmp_path, b"file", after)
        return data

    monkeypatch.setattr(os, "read", once)
    found = looked(tmp_path)
    assert isinstance(found, tuple) and found[0] == hashlib.sha256(after).hexdigest()
    assert found[2][0] == len(after)


def test_a_file_that_becomes_a_link_between_look_and_open_is_not_followed(tmp_path, monkeypatch):
    """O_NOFOLLOW: what the link leads to is not read; it is a link by now and hashed as one."""
    put(tmp_path, b"secret", b"not to be read")
    put(tmp_path, b"file", b"plain")
    real = os.open

    def swap(path, *args, **more):
        if path == b"file":
            os.unlink(tmp_path / "file")
            os.symlink("secret", tmp_path / "file")
        return real(path, *args, **more)

    root = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(os, "open", swap)
    found = hash_worker.look(root, b"file", "sha1")
    os.close(root)
    assert isinstance(found, str) or found[0] == hashlib.sha256(b"secret").hexdigest()


def test_a_fresh_file_is_racy_and_an_old_one_is_not(tmp_path):
    """The mode is negative when the stat must not vouch for the content next time."""
    put(tmp_path, b"fresh", b"x")
    fresh = answers(tmp_path, ["fresh"])["fresh"]
    time.sleep(0.05)
    settled = answers(tmp_path, ["fresh"])["fresh"]
    assert settled.stat[4] == os.lstat(tmp_path / "fresh").st_mode
    assert fresh.stat[4] in (settled.stat[4], -settled.stat[4]) and fresh.sha256 == settled.sha256


@pytest.mark.parametrize(
    ("age", "racy"), [(-(10**12), True), (0, True), (19_000_000, True), (21_000_000, False), (10**12, False)]
)
def test_the_racy_rule(age, racy):
    """Times at, after or just before the beginning of the reading are not trusted; the later of both times counts."""
    began = 10**18
    for which in (7, 8):
        times = [began - 10**15, began - 10**15]
        times[which - 7] = began - age
        s = os.stat_result((0o100644, 1, 1, 1, 0, 0, 3, 0, 0, 0), {"st_mtime_ns": times[0], "st_ctime_ns": times[1]})
        _, _, stat, _, _ = hash_worker._result("s", "b", s, began, b"")
        assert (stat[4] < 0) is racy and abs(stat[4]) == 0o100644


def test_a_second_write_within_one_tick_is_never_missed(tmp_path):
    """Same size, same tick: either the stat differs or the first hash was marked racy."""
    for n in range(30):
        put(tmp_path, b"file", b"%04d" % n)
        first = looked(tmp_path)
        put(tmp_path, b"file", b"%04d" % (n + 5000))
        s = os.lstat(tmp_path / "file")
        now = (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_mode)
        assert first[2] != now, "the change would be overlooked"


def test_a_date_set_back_does_not_hide_a_change(tmp_path):
    """`touch -d` after a rewrite of the same size: the change time tells."""
    put(tmp_path, b"file", b"one")
    os.utime(tmp_path / "file", (LONG_AGO, LONG_AGO))
    first = looked(tmp_path)
    put(tmp_path, b"file", b"two")
    os.utime(tmp_path / "file", (LONG_AGO, LONG_AGO))
    s = os.lstat(tmp_path / "file")
    assert first[2] != (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_mode)


def test_the_head_is_the_frontmatter_of_a_document_and_else_nothing(tmp_path):
    """Only what may say something travels to the indexer."""
    block = b"---\ntitle: x\n---\n"
    cases = {
        "a.md": (block + b"body", block),
        "b.MD": (block, block),
        "c.markdown": (b"\xef\xbb\xbf" + block + b"body", b"\xef\xbb\xbf" + block),
        "d.txt": (block + b"body", b""),
        "e.md": (b"# no frontmatter", b""),
        "f.md": (b"---\nnever ended\n" + b"x" * 70_000, b""),
        "g.md": (b"", b""),
    }
    for name, (data, _) in cases.items():
        put(tmp_path, name.encode(), data)
    found = answers(tmp_path, list(cases))
    assert {name: hashed.head for name, hashed in found.items()} == {name: head for name, (_, head) in cases.items()}


@pytest.mark.parametrize("count", [0, 1, SMALL, SMALL + 1, 2 * BATCH + 7])
def test_any_number_of_files_is_answered_once_each(tmp_path, count):
    """One worker or several, full batches and rests."""
    names = [f"f{n}" for n in range(count)]
    for name in names:
        put(tmp_path, name.encode(), name.encode())
    found = answers(tmp_path, [*names, "missing"] if count else [])
    for name in names:
        assert found[name].sha256 == hashlib.sha256(name.encode()).hexdigest()


def test_leaving_early_leaves_no_process_and_no_thread(tmp_path):
    """A caller that stops after the first answer (Ctrl-C) leaves nothing behind."""
    names = [f"f{n}" for n in range(3 * BATCH)]
    for name in names:
        put(tmp_path, name.encode(), b"x")
    threads = threading.active_count()
    results = hash_files(str(tmp_path), names, "sha1")
    next(iter(results))
    results.close()
    assert threading.active_count() == threads
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_root_that_is_missing_is_an_error_with_a_way_out(tmp_path, capfd):
    """The workers cannot start; the caller hears of it as of the surroundings."""
    from mlos_sync.errors import SurroundingsError

    with pytest.raises(SurroundingsError):
        list(hash_files(str(tmp_path / "gone"), ["a"], "sha1"))
    capfd.readouterr()


@pytest.mark.parametrize("many", [0, 10, 1000])
def test_stats_are_those_of_lstat_in_the_order_asked(tmp_path, monkeypatch, many):
    """Numbers for what is there, the error's number for what is not; in one process or two. Links are not followed, neither at
    the end nor on the way."""
    monkeypatch.setattr(hashing, "MANY", many)
    names = [f"f{n}" for n in range(30)]
    for name in names:
        put(tmp_path, name.encode(), name.encode())
    os.symlink("nowhere", tmp_path / "link")
    put(tmp_path, b"caf\xe9\n", b"x")
    odd = from_bytes(b"caf\xe9\n")
    for folder in ("real", "real/deep"):
        put(tmp_path, folder.encode() + b"/x", b"x")
    os.symlink("real", tmp_path / "other")
    os.symlink("real/x", tmp_path / "file")
    os.symlink("loop", tmp_path / "loop")
    behind = ["other/x", "other/deep/x", "other/missing", "file/x", "loop/x"]
    found = stat_files(str(tmp_path), [*names, "link", *behind, "real/deep/x", "other", "missing", "f0/below", odd])
    assert [found.pop(31) for _ in behind] == [errno.ENOTDIR] * len(behind)
    listed = [*(os.fsencode(name) for name in names), b"link", b"real/deep/x", b"other", None, None, b"caf\xe9\n"]
    assert len(found) == len(listed)
    for name, seen in zip(listed, found, strict=True):
        if name is not None:
            s = os.lstat(os.fsencode(tmp_path) + b"/" + name)
            assert seen == (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_mode)
    assert found[-3:-1] == [errno.ENOENT, errno.ENOTDIR]


def test_the_worker_runs_alone_with_the_standard_library(tmp_path):
    """Started by path in an isolated interpreter, as documented in its first lines."""
    put(tmp_path, b"a.md", b"---\nx: 1\n---\n")
    questions = [marshal.dumps((job, [b"a.md", b"missing"])) for job in ("hash", "stat")]
    package = Path(hash_worker.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-I", "-S", hash_worker.__file__, str(tmp_path), "sha1", str(package)],
        input=b"".join(len(one).to_bytes(8, "big") + one for one in questions), capture_output=True, check=True,
    )  # fmt: skip
    out = io.BytesIO(done.stdout)
    first, second = marshal.loads(out.read(int.from_bytes(out.read(8), "big")))
    seen, missing = marshal.loads(out.read(int.from_bytes(out.read(8), "big")))
    s = os.lstat(tmp_path / "a.md")
    assert seen == (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_mode) and missing == errno.ENOENT
    assert first[0] == hashlib.sha256(b"---\nx: 1\n---\n").hexdigest() and first[4] == b"---\nx: 1\n---\n"
    assert second == "No such file or directory" and done.stderr == b""
