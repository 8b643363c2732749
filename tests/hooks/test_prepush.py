"""What may be pushed: the guard's rules once more, on the commits that the remote lacks, in real pushes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from copies import copied
from viewed import make_compiled

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gitrepo import ROOT, commit_file, env_of, git, make_interpreter, make_repo
from viewed import commit, compile_all, root, sql

from mlos_sync.app import verifying
from mlos_sync.core import seal
from mlos_sync.edge import shims
from mlos_sync.hooks import pushing

DRAFT = b"---\ntitle: Problems\ncompiled_at: 2026-01-31T12:00:00Z\nseal: pending\n---\n\n# Problems\n\nNone.\n"
VIEW = seal.make(DRAFT)
NEWER = seal.make(DRAFT.replace(b"None.", b"One."))
EDITED = VIEW.replace(b"None.", b"Mine.")
CONFIG = b'workspace = "00112233445566778899aabbccddeeff"\ncreated = "2026-01-01T00:00:00Z"\n'
VIEWS = CONFIG + b'[[view]]\npath = "PROBLEM.md"\nkind = "problem"\n'
NULL = "0" * 40


def segment(text: str = "") -> tuple[str, bytes]:
    """A segment that is whole, with `text` as its one line of events."""
    header = '{"created":"2026-01-01T00:00:00Z","format":1,"journal":"mlos","workspace":"00112233445566778899aabbccddeeff"}\n'
    data = (header + text).encode()
    return f".mlos/journal/2026/01/{hashlib.sha256(data).hexdigest()}.jsonl", data


SEGMENT, WHOLE = segment()


@pytest.fixture(scope="session")
def python(tmp_path_factory):
    return make_interpreter(tmp_path_factory.mktemp("venv"))


@pytest.fixture
def repo(tmp_path, python):
    """A workspace that its remote `up` has whole, with the hooks, and no index database anywhere."""
    repo = copied(with_remote, tmp_path) / "repo"
    shims.install(str(repo / ".git" / "hooks"), str(ROOT / "hooks"), python)
    return repo


def with_remote(folder):
    """The same without the hooks."""
    repo = make_repo(folder)
    for path, content in {
        ".mlos/config.toml": VIEWS,
        "PROBLEM.md": VIEW,
        "note.md": b"a note\n",
        SEGMENT: WHOLE,
    }.items():
        commit_file(repo, path, content)
    git(repo, "init", "-q", "--bare", "../up")
    git(repo, "remote", "add", "up", "../up")
    git(repo, "push", "-q", "-u", "up", "main")


def push(repo: Path, *what: str, **options) -> subprocess.CompletedProcess[str]:
    return git(repo, "push", "-q", "up", *(what or ["main"]), check=False, **options)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> bool:
    assert done.returncode != 0, "it was pushed"
    assert "mlos-sync: push refused" in done.stderr, done.stderr
    assert "git push --no-verify" in done.stderr
    assert done.stderr.isascii()
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    return True


def passed(done: subprocess.CompletedProcess[str]) -> bool:
    assert (done.returncode, done.stderr) == (0, "")
    return True


def head(repo: Path, name: str = "HEAD") -> str:
    return git(repo, "rev-parse", name).stdout.strip()


def remove(repo: Path, path: str) -> None:
    git(repo, "rm", "-q", path)
    git(repo, "commit", "-q", "--no-verify", "-m", "gone")


def link(repo: Path, path: str) -> None:
    (repo / path).unlink()
    (repo / path).symlink_to("note.md")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--no-verify", "-m", "a link")


DAMAGED, LINES = segment('{"not":"an event"}\n')
BAD = {
    "edited": (lambda repo: commit_file(repo, "PROBLEM.md", EDITED), "edited by hand"),
    "stripped": (lambda repo: commit_file(repo, "PROBLEM.md", b"# Mine\n"), "stripped"),
    "emptied": (lambda repo: commit_file(repo, "PROBLEM.md", b""), "emptied"),
    "a link": (lambda repo: link(repo, "PROBLEM.md"), "symlink"),
    "forged": (lambda repo: commit_file(repo, "deep/new.txt", EDITED), "claims to be a compiled view"),
    "pending": (lambda repo: commit_file(repo, "PROBLEM.md", DRAFT), "pending"),
    "segment altered": (lambda repo: commit_file(repo, SEGMENT, WHOLE + b"{}\n"), "changed"),
    "segment cut": (lambda repo: commit_file(repo, segment("x")[0], WHOLE), "altered or cut"),
    "segment damaged": (lambda repo: commit_file(repo, DAMAGED, LINES), "damaged: line 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_the_guard_refuses_is_not_pushed(repo, case):
    """A commit that was made past the guard is named, with what is wrong, and stays here; --no-verify pushes it once."""
    make, word = BAD[case]
    make(repo)
    bad = head(repo)
    commit_file(repo, "note.md", b"more\n")
    assert refused(push(repo), word, f"commit {bad[:12]}")
    assert head(repo / ".." / "up", "main") == head(repo, "HEAD~2")
    assert passed(push(repo, "--no-verify", "main"))
    commit_file(repo, "note.md", b"still more\n")
    assert passed(push(repo))


GOOD = {
    "a note": lambda repo: commit_file(repo, "note.md", b"more\n"),
    "a mention": lambda repo: commit_file(repo, "note.md", b"---\ntitle: what compiled_at means\n---\n"),
    "recompiled": lambda repo: commit_file(repo, "PROBLEM.md", NEWER),
    "line endings": lambda repo: commit_file(repo, "PROBLEM.md", VIEW.replace(b"\n", b"\r\n")),
    "view deleted": lambda repo: remove(repo, "PROBLEM.md"),
    "segment added": lambda repo: commit_file(repo, SEGMENT.replace("/01/", "/02/"), WHOLE),
    "config changed": lambda repo: commit_file(repo, ".mlos/config.toml", VIEWS + b'[commits]\nunknown = "refuse"\n'),
    "nothing": lambda repo: git(repo, "commit", "-q", "--allow-empty", "-m", "x"),
    "odd bytes": lambda repo: commit_file(repo, "data.bin", b"---\n\x00\xff\n---\n"),
}


@pytest.mark.parametrize("case", GOOD)
def test_everything_else_is_pushed_in_silence(repo, case):
    """Neither a word nor a stop where nothing is wrong."""
    GOOD[case](repo)
    assert passed(push(repo))
    assert head(repo / ".." / "up", "main") == head(repo)


def test_the_way_out_is_a_way_out(repo):
    """The command that is printed brings back what stood there before the commit, and the amended commit is pushed."""
    commit_file(repo, "PROBLEM.md", EDITED)
    done = push(repo)
    command = next(line for line in done.stderr.splitlines() if "or drop the edit:" in line).split(":", 1)[1]
    subprocess.run(["bash", "-c", command], cwd=repo, env=env_of(repo), check=True)
    assert (repo / "PROBLEM.md").read_bytes() == VIEW
    git(repo, "commit", "-q", "--amend", "--allow-empty", "-m", "mended")
    assert passed(push(repo))


def test_only_what_the_remote_lacks_is_judged(repo):
    """New branches, forced pushes, tags and merges are judged by their own commits, deletions not at all."""
    commit_file(repo, "PROBLEM.md", EDITED)
    bad = head(repo)
    git(repo, "push", "-q", "--no-verify", "up", "main")
    assert passed(push(repo, "main:branch"))
    git(repo, "switch", "-q", "-c", "new")
    commit_file(repo, "note.md", b"more\n")
    assert passed(push(repo, "new"))
    git(repo, "commit", "-q", "--amend", "--no-verify", "-m", "again")
    assert passed(push(repo, "--force", "new"))
    assert passed(push(repo, "--delete", "branch"))
    git(repo, "switch", "-q", "main")
    git(repo, "merge", "-q", "--no-verify", "--no-ff", "--no-edit", "new")
    assert passed(push(repo))
    git(repo, "tag", "-a", "-m", "x", "whole")
    git(repo, "tag", "file", f"{bad}:PROBLEM.md")
    assert passed(push(repo, "whole", "file"))
    git(repo, "switch", "-q", "-c", "worse")
    commit_file(repo, "PROBLEM.md", EDITED + b"more\n")
    commit_file(repo, "PROBLEM.md", NEWER)
    git(repo, "tag", "-a", "-m", "x", "broken")
    assert refused(push(repo, "broken"), head(repo, "HEAD~1")[:12])
    assert refused(push(repo, "--all"), "1 change in it")
    assert passed(push(repo, "main"))


def test_remotes_that_know_nothing(repo):
    """The first push judges the whole history; a remote by address counts as having what any remote has; one that moved on
    where we have not fetched is git's to refuse."""
    git(repo, "init", "-q", "--bare", "../other")
    assert passed(git(repo, "push", "-q", "../other", "main"))
    commit_file(repo, "PROBLEM.md", EDITED)
    assert refused(git(repo, "push", "-q", "../other", "main", check=False), head(repo)[:12])
    git(repo, "push", "-q", "--no-verify", "up", "main")
    git(repo, "remote", "add", "other", "../other")
    assert refused(git(repo, "push", "-q", "other", "main:second", check=False), head(repo)[:12])
    git(repo, "clone", "-q", "-b", "main", "../up", "../clone")
    commit_file(repo.parent / "clone", "note.md", b"theirs\n")
    git(repo.parent / "clone", "push", "-q", "origin", "main")
    commit_file(repo, "note.md", b"ours\n")
    done = push(repo)
    assert done.returncode != 0
    assert "mlos-sync" not in done.stderr


def test_merges(repo):
    """What a merge takes from a side is told of that side's commit; what no side has is the merge's own."""
    git(repo, "switch", "-q", "-c", "side")
    commit_file(repo, "PROBLEM.md", EDITED)
    side = head(repo)
    git(repo, "switch", "-q", "main")
    commit_file(repo, "note.md", b"more\n")
    git(repo, "merge", "-q", "--no-verify", "--no-edit", "side")
    assert refused(push(repo), "1 change in it", side[:12])
    git(repo, "push", "-q", "--no-verify", "up", "main")
    git(repo, "switch", "-q", "-c", "third", "HEAD~1")
    commit_file(repo, SEGMENT.replace("/01/", "/02/"), WHOLE)
    git(repo, "switch", "-q", "main")
    git(repo, "merge", "-q", "--no-verify", "--no-commit", "third")
    (repo / "PROBLEM.md").write_bytes(b"neither\n")
    git(repo, "commit", "-q", "-a", "--no-verify", "-m", "an evil merge")
    assert refused(push(repo), head(repo)[:12], "stripped")
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    git(repo, "merge", "-q", "--no-verify", "-s", "ours", "--no-edit", "third")
    assert told(push(repo), head(repo)[:12], "deleted")


def told(done: subprocess.CompletedProcess[str], *words: str) -> bool:
    assert done.returncode == 0 and "the push goes on" in done.stderr, done.stderr
    return all(word in done.stderr for word in words)


def test_a_revert_may_be_pushed(repo):
    """It takes away the records that came with the reverted commit. History has them, and the next commit takes them again:
    no reason to stop, and nothing to tell once they are back."""
    commit_file(repo, "note.md", b"more\n")
    remove(repo, SEGMENT)
    bad = head(repo)
    assert told(push(repo), f"commit {bad[:12]}", "deleted", "git restore")
    commit_file(repo, SEGMENT, WHOLE)
    remove(repo, SEGMENT)
    commit_file(repo, SEGMENT, WHOLE)
    assert passed(push(repo))


@pytest.mark.parametrize(
    ("switch", "config", "stops"),
    [
        (None, "verify", True),
        (None, "off", False),
        ("off", "verify", False),
        ("OFF", "verify", False),
        ("false", "verify", False),
        ("verify", "off", True),
    ],
)
def test_switches(repo, switch, config, stops):
    """The config of what is pushed decides, unless this clone says otherwise."""
    commit_file(repo, "PROBLEM.md", EDITED)
    commit_file(repo, ".mlos/config.toml", VIEWS + f'[hooks]\npre_push = "{config}"\n'.encode())
    if switch:
        git(repo, "config", "mlos-sync.prePush", switch)
    assert refused(push(repo)) if stops else passed(push(repo))


def test_branches_with_other_settings(repo):
    """A branch that switches the check off does not do so for the others of the same push."""
    git(repo, "switch", "-q", "-c", "off")
    commit_file(repo, ".mlos/config.toml", VIEWS + b'[hooks]\npre_push = "off"\n')
    commit_file(repo, "PROBLEM.md", EDITED)
    assert passed(push(repo, "off"))
    git(repo, "switch", "-q", "main")
    commit_file(repo, "PROBLEM.md", EDITED + b"more\n")
    assert refused(push(repo, "main", "off"), head(repo)[:12], "1 change in it")


def test_what_is_no_workspace_is_not_looked_at(repo):
    """Branches without our config are pushed as they are, also commits from before there was one."""
    git(repo, "switch", "-q", "--orphan", "foreign")
    commit_file(repo, "page.md", b"---\ncompiled_at: yesterday\n---\n")
    assert passed(push(repo, "foreign"))
    git(repo, "switch", "-q", "--orphan", "late")
    commit_file(repo, "page.md", b"---\ncompiled_at: today\n---\n")
    commit_file(repo, ".mlos/config.toml", CONFIG)
    commit_file(repo, "note.md", b"more\n")
    assert passed(push(repo, "late"))


ODD = ["with space.md", "caf\u00e9.md", "deep/[ab].md", "-rf.md", 'quote".md']


@pytest.mark.parametrize("path", ODD, ids=ascii)
@pytest.mark.parametrize("escaped", [False, True])
def test_views_of_any_name_need_a_seal(repo, path, escaped):
    """A file without a seal where the config has a view is refused, however the config writes its name; also where the
    file was there first, and the config comes later."""
    name = "".join(f"\\u{ord(one):04x}" for one in path) if escaped else path.replace('"', '\\"')
    view = f'[[view]]\npath = "{name}"\nkind = "index"\n'.encode()
    commit_file(repo, path, b"# Mine\n")
    assert passed(push(repo))
    commit_file(repo, ".mlos/config.toml", VIEWS + view)
    assert refused(push(repo), head(repo)[:12], "stripped")
    git(repo, "push", "-q", "--no-verify", "up", "main")
    commit_file(repo, path, b"# Mine again\n")
    assert refused(push(repo), head(repo)[:12], "stripped")
    git(repo, "commit", "-q", "--amend", "--no-verify", "-m", "sealed")
    commit_file(repo, path, VIEW)
    git(repo, "reset", "-q", "--soft", "HEAD~2")
    git(repo, "commit", "-q", "--no-verify", "-m", "sealed")
    assert passed(push(repo))


def test_sha256_and_shallow(tmp_path, python, repo):
    """Repositories of the other hash, and clones that lack the past."""
    other = make_repo(tmp_path / "more", "--object-format=sha256")
    commit_file(other, ".mlos/config.toml", VIEWS)
    commit_file(other, "PROBLEM.md", VIEW)
    git(other, "init", "-q", "--bare", "--object-format=sha256", "../up")
    shims.install(str(other / ".git" / "hooks"), str(ROOT / "hooks"), python)
    assert passed(git(other, "push", "-q", "../up", "main"))
    commit_file(other, "PROBLEM.md", EDITED)
    assert refused(git(other, "push", "-q", "../up", "main", check=False), head(other)[:12])
    git(repo, "clone", "-q", "-b", "main", "--depth=1", f"file://{repo.parent}/up", "../shallow")
    shallow = repo.parent / "shallow"
    shims.install(str(shallow / ".git" / "hooks"), str(ROOT / "hooks"), python)
    commit_file(shallow, "note.md", b"more\n")
    assert passed(git(shallow, "push", "-q", "origin", "main"))
    commit_file(shallow, "PROBLEM.md", EDITED)
    assert refused(git(shallow, "push", "-q", "origin", "main", check=False), head(shallow)[:12])


def test_from_anywhere(repo):
    """From a folder, from a linked work tree that holds another branch, and through --git-dir."""
    git(repo, "worktree", "add", "-q", "--detach", "../linked", head(repo))
    commit_file(repo, "PROBLEM.md", EDITED)
    (repo / "deep").mkdir()
    assert refused(git(repo, "-C", "deep", "push", "-q", "up", "main", check=False))
    assert refused(git(repo.parent / "linked", "push", "-q", "up", "main", check=False))
    (repo.parent / "away").mkdir()
    options = (f"--git-dir={repo}/.git", f"--work-tree={repo.parent}/away")
    assert refused(git(repo.parent / "away", *options, "push", "-q", "up", "main", check=False))


def test_what_scripts_read_stays_as_git_writes_it(repo):
    """Nothing of ours is on stdout."""
    commit_file(repo, "PROBLEM.md", EDITED)
    done = git(repo, "push", "--porcelain", "up", "main", check=False)
    assert done.stdout == ""
    assert git(repo, "push", "--porcelain", "--no-verify", "up", "main").stdout.startswith("To ../up\n")
    commit_file(repo, "note.md", b"more\n")
    assert git(repo, "push", "--porcelain", "up", "main").stdout.startswith("To ../up\n")


def test_what_cannot_look_does_not_stop(repo, monkeypatch, capfd):
    """A check that fails says so in one line, and the push goes on."""
    commit_file(repo, "PROBLEM.md", EDITED)
    name = head(repo, "HEAD:PROBLEM.md")
    lines = f"refs/heads/main {head(repo)} refs/heads/main {head(repo, 'HEAD~1')}\n"
    (repo / ".git" / "objects" / name[:2] / name[2:]).unlink()
    hook = [repo / ".git" / "hooks" / "pre-push", "up", "../up"]
    done = subprocess.run(hook, cwd=repo, env=env_of(repo), input=lines, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("\n") == 1
    assert "the push goes on" in done.stderr
    for said in (
        "",
        "x\n",
        f"a {'1' * 40} b {'2' * 40}\n",
        f"(delete) {NULL} refs/heads/x {head(repo)}\n",
        "\0 \xff \n",
    ):
        done = subprocess.run(hook, cwd=repo, env=env_of(repo), input=said, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")
        assert "Traceback" not in done.stderr


def test_a_broken_config_is_told(repo):
    """Where the config cannot be read no view is known, and the rules that need none hold all the same."""
    commit_file(repo, ".mlos/config.toml", b"= = =")
    done = push(repo)
    assert done.returncode == 0
    assert "the push goes on" in done.stderr
    assert "not valid TOML" in done.stderr
    commit_file(repo, "PROBLEM.md", EDITED)
    assert refused(push(repo), "edited by hand")


def test_many_findings_are_counted(repo):
    """A hundred bad files in one push give a readable message."""
    for number in range(100):
        (repo / f"n{number}.md").write_bytes(EDITED)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--no-verify", "-m", "x")
    assert refused(push(repo), "100 changes in it", "and 80 more")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A real workspace whose views are compiled and committed, and where this process stands, as a hook does."""
    place = make_compiled(tmp_path)
    for name, value in env_of(root(place)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(root(place))
    return place


def test_views_that_are_not_up_to_date_are_told_and_pushed(place):
    """A stale view and a missing one are no reason to stop; what changed nothing that matters is not looked at."""
    repo = root(place)
    git(repo, "init", "-q", "--bare", "../up")
    git(repo, "remote", "add", "up", "../up")
    assert passed(push(repo))
    sql(place, "UPDATE needs SET title = 'Another title'")
    commit(place)
    done = push(repo)
    assert done.returncode == 0
    assert "the push goes on" in done.stderr
    assert "PROBLEM.md" in done.stderr
    assert "mlos-sync compile" in done.stderr
    commit_file(repo, "run.py", b"print(3)\n")
    assert passed(push(repo))
    remove(repo, "views/alpha.md")
    done = push(repo)
    assert done.returncode == 0
    assert "not tracked" in done.stderr
    compile_all(place)
    commit(place)
    assert passed(push(repo))


def test_the_same_as_verify(place):
    """Of each commit the findings are those that `verify` has of it and of none of its parents, but for stale and missing, and for
    segments that are gone, which come back."""
    repo = root(place)
    view = (repo / "PROBLEM.md").read_bytes()
    first = head(repo)
    journal_file = git(repo, "ls-files", ".mlos/journal/*.jsonl").stdout.split("\n")[0]
    whole = (repo / journal_file).read_bytes()
    commit_file(repo, "PROBLEM.md", view + b"mine\n")
    commit_file(repo, "new.md", view.replace(b"seal: sha256:", b"seal: sha256:0"))
    git(repo, "switch", "-q", "-c", "side")
    commit_file(repo, "views/alpha.md", b"mine\n")
    remove(repo, journal_file)
    commit_file(repo, journal_file, whole)
    git(repo, "switch", "-q", "main")
    commit_file(repo, "PROBLEM.md", view)
    commit_file(repo, "new.md", b"no more\n")
    commit_file(repo, "copy.md", view)
    commit_file(repo, "copy.md", view + b"x\n")
    git(repo, "merge", "-q", "--no-verify", "--no-edit", "side")
    link(repo, "views/pack.md")
    commit_file(repo, journal_file, whole + b"{}\n")
    config = (repo / ".mlos/config.toml").read_text()
    commit_file(repo, ".mlos/config.toml", (config + '[[view]]\npath = "new.md"\nkind = "index"\n').encode())
    told: dict[str, dict[str, str]] = {}
    for found in verifying.verify_range(place, f"{first}..HEAD"):
        if found.kind not in ("stale", "missing") and "deleted" not in found.message:
            told.setdefault(found.message.split()[1].rstrip(":"), {})[found.path] = found.kind
    expected = set()
    for line in git(repo, "rev-list", "--parents", f"{first}..HEAD").stdout.splitlines():
        sha, *parents = (name[:12] for name in line.split())
        before = {path for parent in parents for path in told.get(parent, {})}
        expected |= {(sha, path, kind) for path, kind in told.get(sha, {}).items() if path not in before}
    lines = f"refs/heads/main {head(repo)} refs/heads/main {first}\n".encode()
    refused, outdated = pushing.check(["up", "../up"], lines)
    assert {(one.message.split()[1].rstrip(":"), one.path, one.kind) for one in refused} == expected
    assert {one[2] for one in expected} == {"edited", "stripped", "forged", "journal"}
    assert outdated == []


def test_nothing_heavy_is_loaded_where_nothing_matters(repo, python):
    """A push of plain files costs a start of Python and some calls of git, not the application."""
    commit_file(repo, "note.md", b"more\n")
    lines = f"refs/heads/main {head(repo)} refs/heads/main {head(repo, 'HEAD~1')}\n"
    script = (
        "import sys; from mlos_sync.hooks import main; code = main.main(['pre-push', 'up', '../up']);"
        "print(code, sorted(m for m in sys.modules if m.startswith(('mlos_sync.app', 'mlos_sync.edge'))))"
    )
    done = subprocess.run(
        [python, "-I", "-c", script], cwd=repo, env=env_of(repo), input=lines, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("0 []\n", "")
