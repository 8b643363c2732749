"""The public suites in one real repository: what the hook says of all cases at once, `verify` and the push say as well."""

from __future__ import annotations

import os

import pytest
from borrowed import HERE, NAMES, Case, cases
from gitrepo import env_of, git
from viewed import NEED, compile_all, make_workspace, opened, root, sql

from mlos_sync.app import adopting, verifying
from mlos_sync.core import seal
from mlos_sync.core.frontmatter import read
from mlos_sync.core.split import split
from mlos_sync.edge.workspace import find
from mlos_sync.hooks import guard

HEAD = b"---\ntitle: x\ncompiled_at: 2026-01-31T12:00:00Z\nseal: pending\n---\n"
VIEW = seal.make(HEAD + b"None.\n")
SPELLINGS = (
    "compiled_at: x",
    '"compiled\\x5fat": x',
    "? compiled_at\n: x",
    "{a: [{compiled_at: x}]}",
    "&a compiled_at: x",
)


def here() -> list[Case]:
    """All cases that are here: CommonMark's come on top where they were fetched."""
    there = [name for name in NAMES if (HERE / f"{name}.json").exists() or "MLOS_SYNC_SUITES" in os.environ]
    return [case for name in there for case in cases(name)]


ALL = here()  # while the environment is still that of the caller


def files() -> tuple[dict[bytes, bytes], dict[bytes, bytes], dict[str, str]]:
    """What HEAD has, what is staged, and the findings that this must give, by path."""
    before, after, wanted = {}, {}, {}

    def put(path: bytes, data: bytes, kind: str = "") -> None:
        after[path] = data
        if kind:
            wanted[path.decode("utf-8", "surrogateescape")] = kind

    for number, case in enumerate(ALL):
        name = b"%04d.md" % number
        sealed = seal.make(HEAD + case.data + b".")
        put(b"field/" + name, b"---\n" + case.data + b"\n---\nbody\n")
        put(b"sealed/" + name, sealed)
        put(b"altered/" + name, sealed[:-1] + b"!", "forged")
        before[b"stripped/" + name] = VIEW
        put(b"stripped/" + name, case.data, "stripped")
        put(b"claim/" + name, f"---\n{SPELLINGS[number % len(SPELLINGS)]}\n{case.text}\n---\n".encode(), "forged")
        path = b"names/%04d/" % number + case.data
        if is_possible(path):
            before[path] = VIEW
            put(path, VIEW[:-2] + b"!\n", "edited")
    return before, after, wanted


def is_possible(path: bytes) -> bool:
    """Whether Linux and git take it as the path of a file."""
    parts = path.split(b"/")
    plain = all(
        part not in (b"", b".", b"..") and len(part) < 256 and not part.lower().startswith(b".git") for part in parts
    )
    return plain and b"\0" not in path and len(path) < 3000


def stage(repo, contents: dict[bytes, bytes]) -> None:
    """Into the index alone, by one process: files on the disk would only be slower."""
    lines, blobs = [], b""
    for number, (path, data) in enumerate(contents.items(), 1):
        blobs += b"blob\nmark :%d\ndata %d\n" % (number, len(data)) + data + b"\n"
        quoted = b'"' + b"".join(b"\\%03o" % byte for byte in path) + b'"'
        lines.append(b"M 100644 :%d " % number + quoted + b"\n")
    who = b"committer A <a@example.org> 1767225600 +0000\n"
    made = blobs + b"commit refs/made\n" + who + b"data 0\n" + b"from HEAD\n" + b"".join(lines) + b"\n"
    git(repo, "fast-import", "--quiet", "--force", stdin=made.decode("utf-8", "surrogateescape"))
    git(repo, "read-tree", "refs/made")


@pytest.fixture
def place(tmp_path):
    return make_workspace(tmp_path)


def test_hook_and_verify_and_push_agree_on_every_case(place, monkeypatch):
    """Each forged, altered and stripped case is found, whatever its path; each sealed and each plain one passes."""
    repo = root(place)
    before, after, wanted = files()
    stage(repo, before)
    git(repo, "commit", "-q", "--no-verify", "-m", "before")
    start = git(repo, "rev-parse", "HEAD").stdout.strip()
    stage(repo, after)
    for name, value in env_of(repo).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(repo)
    assert {found.path: found.kind for found in guard.check()} == wanted
    done = git(repo, "commit", "-q", "-m", "refused", check=False)
    assert done.returncode == 1 and f"{len(wanted)} files cannot" in done.stderr and done.stderr.isascii()

    git(repo, "commit", "-q", "--no-verify", "-m", "past the guard")
    assert {found.path: found.kind for found in verifying.verify(place)} == wanted
    assert {found.path: found.kind for found in verifying.verify_range(place, f"{start}..HEAD")} == wanted
    git(repo, "init", "-q", "--bare", "../up")
    git(repo, "push", "-q", "--no-verify", "../up", f"{start}:refs/heads/main")
    pushed = git(repo, "push", "../up", "main", check=False)
    assert pushed.returncode == 1 and "mlos-sync" in pushed.stderr

    git(repo, "reset", "-q", "--soft", start)
    good = {path: data for path, data in after.items() if path.decode("utf-8", "surrogateescape") not in wanted}
    git(repo, "read-tree", start)
    stage(repo, good)
    passed = git(repo, "commit", "-q", "-m", "all that is whole", check=False)
    assert (passed.returncode, passed.stderr) == (0, "")
    assert verifying.verify(place) == []


def test_every_case_as_a_need_is_compiled_and_committed(place):
    """Titles, descriptions, tasks and names of files: the views are sealed whole, committed through the hook, and verified."""
    texts = [case.text for case in ALL if case.text.strip() and "\0" not in case.text]
    sql(
        place,
        "BEGIN",
        *(("INSERT INTO needs(title, description, priority) VALUES (?, ?, 1)", (text, text)) for text in texts),
        *(("INSERT INTO tasks(description) VALUES (?)", (text,)) for text in texts),
        ("INSERT INTO needs(uid, title) VALUES (?, 'for the pack')", (NEED,)),
        "COMMIT",
    )
    paths = [path for path in files()[0] if path.startswith(b"names/")]
    assert len(paths) > len(ALL) // 2
    for path in paths:
        target = os.path.join(os.fsencode(place.root), path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(b"a file\n")
    git(root(place), "add", "-A")
    compile_all(place)
    assert (root(place) / ".mlos/INDEX.md").read_bytes().count(b"/names/") >= len(paths)
    problem = (root(place) / "PROBLEM.md").read_bytes()
    assert seal.check(problem).state == seal.VALID
    assert problem.count(b"\n### ") == len(texts) + 1
    assert read(split(problem).text)["title"] == "Problem"
    (root(place) / "PROBLEM.md").write_bytes(problem.replace(b"for the pack", b"for a pack"))
    with opened(place) as index:
        proposal = adopting.propose(index, "PROBLEM.md")
        assert ([one.new for one in proposal.changes], proposal.rest) == (["for a pack"], ())
    (root(place) / "PROBLEM.md").write_bytes(problem)
    git(root(place), "add", "-A")
    done = git(root(place), "commit", "-q", "-m", "records", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert verifying.verify(find(place.root)) == []
