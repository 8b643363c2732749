"""The hooks that come after the fact: each leaves a note by shell alone, and none of them ever gets into anybody's way."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from copies import copied

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gitrepo import ROOT, commit_file, env_of, git, make_interpreter, make_repo

from mlos_sync.app import setup, watching
from mlos_sync.core import seal
from mlos_sync.edge import git as plumbing
from mlos_sync.edge import shims

ALL = (*shims.NAMES, *shims.ON_REQUEST)
AFTER = ("post-commit", "post-merge", "post-checkout", "post-rewrite", "post-index-change")
ARGUMENTS = {
    "prepare-commit-msg": ["message"],
    "commit-msg": ["message"],
    "post-merge": ["0"],
    "post-checkout": ["1" * 40, "2" * 40, "1"],
    "post-rewrite": ["amend"],
    "pre-push": ["origin", "url"],
    "post-index-change": ["1", "0"],
}
EDITED = seal.make(b"---\ncompiled_at: 2026-01-31T12:00:00Z\nseal: pending\n---\n\nNone.\n") + b"Mine.\n"


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory):
    return make_interpreter(tmp_path_factory.mktemp("venv"))


@pytest.fixture
def python(tmp_path, interpreter):
    """An interpreter that writes down each start."""
    wrapper = tmp_path / "python"
    wrapper.write_text(f"#!/bin/sh\necho \"$*\" >> '{tmp_path}/starts'\nexec '{interpreter}' \"$@\"\n", "ascii")
    wrapper.chmod(0o755)
    return str(wrapper)


@pytest.fixture
def repo(tmp_path, python):
    """A repository with three commits, a branch `side` and a file that both change, and all our hooks."""
    repo = copied(with_side, tmp_path) / "repo"
    install(repo / ".git" / "hooks", python)
    (repo / ".git" / "mlos").mkdir()
    return repo


def with_side(folder: Path) -> None:
    """The same without the hooks."""
    repo = make_repo(folder)
    commit_file(repo, "a", b"a\n")
    git(repo, "branch", "old")
    commit_file(repo, "b", b"b\n")
    git(repo, "switch", "-q", "-c", "side", "HEAD~1")
    commit_file(repo, "s", b"s\n")
    commit_file(repo, "t", b"t\n")
    git(repo, "switch", "-q", "main")


def install(hooks: Path, python: str) -> None:
    """All our hooks, also those that are installed on request only."""
    shims.install(str(hooks), str(ROOT / "hooks"), python)
    for name in shims.ON_REQUEST:
        (hooks / name).write_bytes(shims.shim((ROOT / "hooks" / name).read_bytes(), python))
        (hooks / name).chmod(0o755)


def notes(folder: Path) -> list[str]:
    """The notes in a git directory, with `X` for each commit, and no other word."""
    path = folder / "mlos" / "notes"
    text = path.read_text("ascii") if path.exists() else ""
    assert text == "" or text.endswith("\n")
    return re.sub("[0-9a-f]{40,64}", "X", text).splitlines()


def starts(repo: Path, *names: str) -> list[str]:
    """The starts of Python, those of the named hooks or all."""
    path = repo.parent / "starts"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if not names or any(f"hooks.main {name}" in line for name in names)]


def run(repo: Path, name: str, *args: str, cwd: Path | None = None, **options) -> subprocess.CompletedProcess[str]:
    """One hook, as git starts it."""
    env = {**env_of(repo), **options.pop("env", {})}
    command = [str(repo / ".git" / "hooks" / name), *(args or ARGUMENTS.get(name, []))]
    return subprocess.run(command, cwd=cwd or repo, env=env, capture_output=True, text=True, check=False, **options)


def forget(repo: Path) -> None:
    """As after a command that has taken the notes."""
    for name in ("notes", "closing"):
        (repo / ".git" / "mlos" / name).unlink(missing_ok=True)
    (repo.parent / "starts").unlink(missing_ok=True)


MAIL = "git format-patch -q -1 side --stdout > ../mail && git am -q ../mail"
CONFLICT = (
    "git switch -q -c other main~1 && echo x > b && git add b && git commit -q -m x --no-verify && git switch -q main"
)
PULL = "git clone -q . ../up && git -C ../up switch -q {} && git pull -q {} ../up {}"
PICK = ["checkout X X 1", "commit", "commit", "rewrite rebase", "X X", "X X"]
# (what is typed, after what, its notes, whether history may have brought closings)
OPERATIONS = {
    "commit": ("git commit -q --allow-empty -m x", "", ["commit"], None),
    "commit PATH": ("git commit -q -m x -- a", "echo x > a", ["commit"], None),
    "commit -a": ("git commit -q -a -m x", "echo x > a", ["commit"], None),
    "commit -i": ("git commit -q -m x -i a", "echo x > a", ["commit"], None),
    "first commit": ("git commit -q --allow-empty -m x", "git switch -q --orphan new", ["commit"], None),
    "commit, detached": ("git commit -q --allow-empty -m x", "git switch -q --detach", ["commit"], None),
    "commit --no-verify": ("git commit -q --no-verify --allow-empty -m x", "", ["commit"], True),
    "amend": ("git commit -q --amend -m x", "", ["commit", "rewrite amend", "X X"], True),
    "merge, fast-forward": ("git merge -q side", "git switch -q old", ["merge 0"], True),
    "merge, true": ("git merge -q --no-edit side", "", ["merge 0"], True),
    "merge --squash": ("git merge -q --squash side", "", ["merge 1"], True),
    "merge, conflict": ("git merge -q other || git commit -q -a -m x", CONFLICT, ["commit"], None),
    "cherry-pick": ("git cherry-pick side", "", ["commit"], True),
    "revert": ("git revert --no-edit HEAD", "", ["commit"], True),
    "rebase": ("git rebase -q main side", "", PICK, True),
    "rebase --apply": ("git rebase -q --apply main side", "", ["checkout X X 1", *PICK[3:]], True),
    "am": (MAIL, "", [], False),
    "pull, fast-forward": (PULL.format("side", "", "side"), "git switch -q old", ["merge 0"], True),
    "pull, merge": (PULL.format("side", "--no-rebase --no-edit", "side"), "", ["merge 0"], True),
    "pull --rebase": (PULL.format("main", "--rebase", "main"), "git switch -q side", PICK, True),
    "switch": ("git switch -q side", "", ["checkout X X 1"], True),
    "switch -c": ("git switch -q -c new", "", ["checkout X X 1"], False),
    "checkout PATH": ("git checkout -q side -- s", "", ["checkout X X 0"], False),
    "restore": ("git restore --source side s", "", ["checkout X X 0"], False),
    "stash": ("git stash -q && git stash pop -q", "echo x > a", [], False),
    "reset --hard": ("git reset -q --hard HEAD~1", "", [], False),
    "worktree add": ("git worktree add -q ../linked", "", [], False),
    "branch": ("git branch -f old side && git tag x && git branch -D old", "", [], False),
    "clone": ("git clone -q --template=.git . ../copy", "", [], False),
    "push": ("git init -q --bare ../up && git push -q ../up main", "", [], False),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_leaves_its_note(repo, name):
    """What git does is written down for the next command, in git's words, without Python; and nothing is printed."""
    typed, first, expected, closing = OPERATIONS[name]
    shell(repo, first)
    forget(repo)
    done = shell(repo, typed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mlos" not in done.stdout + done.stderr
    assert notes(repo / ".git") == expected
    assert starts(repo, *AFTER) == []
    assert not (repo / ".git" / "mlos" / "message-seen").exists()
    if closing is not None:
        assert (repo / ".git" / "mlos" / "closing").exists() == closing


def shell(repo: Path, typed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", typed], cwd=repo, env=env_of(repo), capture_output=True, text=True, check=False)


def test_two_hundred_picks(tmp_path, python):
    """A rebase of 200 commits costs 200 notes, one for what it was, and no start of Python."""
    repo = make_repo(tmp_path)
    commit_file(repo, "a", b"a\n")
    stream = "".join(
        f"commit refs/heads/side\ncommitter A <a@example.com> {1700000000 + number} +0000\ndata 2\nx\n"
        + ("from refs/heads/main\n" if number == 0 else "")
        + f"M 100644 inline f{number}\ndata 2\nx\n"
        for number in range(200)
    )
    git(repo, "fast-import", "--quiet", stdin=stream)
    commit_file(repo, "b", b"b\n")
    install(repo / ".git" / "hooks", python)
    (repo / ".git" / "mlos").mkdir()
    done = git(repo, "rebase", "-q", "main", "side")
    assert done.stdout == ""
    assert starts(repo) == []
    found = notes(repo / ".git")
    assert found[:201] == ["checkout X X 1", *["commit"] * 200]
    assert found[201:].count("rewrite rebase") == 8
    assert found[201:].count("X X") == 200
    text = (repo / ".git" / "mlos" / "notes").read_text("ascii")
    new = git(repo, "rev-list", "main..side").stdout.split()
    assert {line.split()[1] for line in text.splitlines()[201:] if not line.startswith("rewrite")} == set(new)


def test_a_message_that_was_looked_at(repo):
    """Where commit-msg has looked at this commit's message, post-commit need not say that nobody did; the next one must."""
    state = repo / ".git" / "mlos"
    (state / "message-seen").touch()
    assert run(repo, "post-commit").returncode == 0
    assert sorted(path.name for path in state.iterdir()) == ["fired-post-commit", "notes"]
    assert run(repo, "post-commit").returncode == 0
    assert (state / "closing").exists()


def test_a_commit_that_was_never_made_leaves_nothing(repo):
    """A message that was looked at for a commit that failed is not taken for the message of the next one."""
    state = repo / ".git" / "mlos"
    (state / "message-seen").touch()
    assert run(repo, "pre-commit").returncode == 0
    assert not (state / "message-seen").exists()


def test_notes_of_many_writers_stay_whole(repo):
    """Commits and rewrites at the same time: every line is a line, and every pair stands below its own note."""
    pairs = {
        str(who): "".join(f"{who}{number:039d} {who}{number:039d}\n" for number in range(120)) for who in range(1, 7)
    }
    command = [str(repo / ".git" / "hooks" / "post-rewrite")]
    env = env_of(repo)
    writers = [
        subprocess.Popen([*command, f"kind{who}"], cwd=repo, env=env, stdin=subprocess.PIPE, text=True) for who in pairs
    ]
    for writer, text in zip(writers, pairs.values(), strict=True):
        assert writer.stdin is not None
        writer.stdin.write(text)
        writer.stdin.close()
    for _ in range(20):
        assert run(repo, "post-merge").returncode == 0
    assert [writer.wait() for writer in writers] == [0] * len(writers)
    seen: dict[str, str] = dict.fromkeys(pairs, "")
    who = ""
    for line in (repo / ".git" / "mlos" / "notes").read_text("ascii").splitlines():
        if line.startswith("rewrite kind"):
            who = line[-1]
        elif line != "merge 0":
            seen[who] += line + "\n"
    assert seen == pairs


@pytest.mark.parametrize("name", ["post-rewrite", "pre-push"])
def test_what_git_says_reaches_both(repo, tmp_path, name):
    """A hook that stood there gets the same lines as ours, to the byte; one that reads nothing does no harm."""
    kept = repo / ".git" / "hooks" / f"{name}{shims.KEPT}"
    lines = "".join(f"{number:040d} {number + 1:040d}\n" for number in range(3000)) + " odd \\n line\n"
    if name == "pre-push":
        lines = lines.replace("\n", f" refs/heads/x {'0' * 40}\n")
    kept.write_text(f"#!/bin/sh\ncat > '{tmp_path}/got'\n")
    kept.chmod(0o755)
    done = run(repo, name, input=lines)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "got").read_text() == lines
    if name == "post-rewrite":
        assert len(notes(repo / ".git")) == 3001 + 121
    kept.write_text("#!/bin/sh\nexit 3\n")
    done = run(repo, name, input=lines)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


@pytest.mark.parametrize("name", AFTER)
def test_the_kept_hook_decides_and_ours_still_works(repo, name):
    """A kept hook that fails keeps its exit code, and git's failure after post-checkout; our note is left all the same."""
    (repo / ".git" / "mlos" / "listening").touch()
    kept = repo / ".git" / "hooks" / f"{name}{shims.KEPT}"
    kept.write_text("#!/bin/sh\necho kept\nexit 3\n")
    kept.chmod(0o755)
    done = run(repo, name, input="x y\n")
    assert (done.returncode, done.stdout) == (3, "kept\n")
    assert notes(repo / ".git")
    if name == "post-checkout":
        assert git(repo, "switch", "-q", "side", check=False).returncode == 1
        assert git(repo, "branch", "--show-current").stdout == "side\n"


@pytest.mark.parametrize("name", ALL)
def test_a_probe_runs_nothing(repo, name):
    """With MLOS_SYNC_PROBE a hook says whether it could work, and does nothing else; empty, it is no probe."""
    kept = repo / ".git" / "hooks" / f"{name}{shims.KEPT}"
    kept.write_text("#!/bin/sh\necho kept\n")
    kept.chmod(0o755)
    (repo / "message").write_text("x\n")
    done = run(repo, name, env={"MLOS_SYNC_PROBE": "1"})
    assert (done.returncode, done.stdout, done.stderr) == (0, f"mlos-sync {name} ok\n", "")
    assert os.listdir(repo / ".git" / "mlos") == []
    assert run(repo, name, env={"MLOS_SYNC_PROBE": ""}, input="").stdout == "kept\n"
    text = shims.shim((ROOT / "hooks" / name).read_bytes(), "/nonexistent/python")
    (repo / ".git" / "hooks" / name).write_bytes(text)
    done = run(repo, name, env={"MLOS_SYNC_PROBE": "1"})
    assert (done.returncode, done.stdout, done.stderr) == (1, f"mlos-sync {name} broken\n", "")


def test_a_probe_through_git(repo):
    """Git itself can be asked to start a hook, also in a linked work tree."""
    if "is not a git command" in git(repo, "hook", check=False).stderr:
        pytest.skip("git has `hook run` since 2.36")
    git(repo, "worktree", "add", "-q", "../linked")
    for tree in (repo, repo.parent / "linked"):
        for name in ALL:
            done = git(tree, "hook", "run", name, env={"MLOS_SYNC_PROBE": "1"})
            assert f"mlos-sync {name} ok\n" in (done.stdout, done.stderr)


@pytest.mark.parametrize("name", ALL)
def test_each_hook_tells_when_it_last_ran(repo, name):
    """An empty file is made anew each time; without our folder nothing is made."""
    fired = repo / ".git" / "mlos" / f"fired-{name}"
    (repo / "message").write_text("x\n")
    assert run(repo, name, input="").returncode == 0
    os.utime(fired, (1, 1))
    assert run(repo, name, input="").returncode == 0
    assert fired.stat().st_mtime > 1
    assert fired.read_text().strip().isdecimal() if name == "pre-commit" else fired.stat().st_size == 0
    subprocess.run(["rm", "-r", repo / ".git" / "mlos"], check=True)
    assert run(repo, name, input="").returncode == 0
    assert not (repo / ".git" / "mlos").exists()


@pytest.mark.parametrize("name", ALL)
def test_nothing_of_the_machine_is_needed(repo, name):
    """A bare PATH, no HOME, the C locale, no terminal and closed streams: exit 0, and the note is left."""
    path = os.path.dirname(plumbing.program()) + ":/usr/bin:/bin"
    (repo / ".git" / "mlos" / "listening").touch()
    (repo / "message").write_text("x\n")
    arguments = " ".join(ARGUMENTS.get(name, []))
    for streams in ("<&- >&- 2>&-", "</dev/null"):
        typed = f"exec .git/hooks/{name} {arguments} {streams}"
        command = ["setsid", "env", "-i", f"PATH={path}", "LC_ALL=C", "sh", "-c", typed]
        done = subprocess.run(command, cwd=repo, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (repo / ".git" / "mlos" / f"fired-{name}").exists()
    assert bool(notes(repo / ".git")) == (name in AFTER and name != "post-rewrite")


@pytest.mark.parametrize("name", ALL)
def test_a_git_directory_that_takes_no_note(repo, interpreter, name):
    """A git directory that cannot be written changes neither exit code nor output of any hook."""
    state = repo / ".git" / "mlos"
    (repo / "message").write_text("x\n")
    for taken in ("notes", "closing", f"fired-{name}"):
        (state / taken).mkdir()  # a folder refuses everybody, the superuser too
    (state / "listening").touch()
    done = run(repo, name, input="x y\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_held_lock_is_nobodys_but_its_holders(repo):
    """With index.lock held, post-commit cannot mend the index: it says so in one line, and the lock is left alone. An
    index that has all it should is not written once more."""
    state = repo / ".git" / "mlos"
    blob = git(repo, "rev-parse", "HEAD:a").stdout.strip()
    segment = f".mlos/journal/2026/01/{'a' * 64}.jsonl"
    git(repo, "update-index", "--add", "--cacheinfo", f"100644,{blob},{segment}")
    git(repo, "commit", "-q", "--no-verify", "-m", "x")
    git(repo, "update-index", "--force-remove", segment)  # `git commit PATH` leaves the real index like this
    (state / "repair").write_text(f"{blob} {segment}\n")
    (repo / ".git" / "index.lock").touch()
    done = run(repo, "post-commit")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("\n") == 1
    assert "index.lock" in done.stderr
    assert (repo / ".git" / "index.lock").exists()
    (repo / ".git" / "index.lock").unlink()
    assert run(repo, "post-commit").returncode == 0
    assert not (state / "repair").exists()
    assert git(repo, "status", "--porcelain").stdout == ""
    before = (repo / ".git" / "index").read_bytes(), (repo / ".git" / "index").stat().st_ino
    (state / "repair").write_text(f"{blob} {segment}\n")
    assert run(repo, "post-commit").returncode == 0
    assert not (state / "repair").exists()
    assert ((repo / ".git" / "index").read_bytes(), (repo / ".git" / "index").stat().st_ino) == before


@pytest.mark.parametrize("name", ALL)
def test_the_interpreter_has_gone(repo, name):
    """Guards say so; everything else is silent, exits 0, and still leaves its note."""
    text = shims.shim((ROOT / "hooks" / name).read_bytes(), "/nonexistent/python")
    (repo / ".git" / "hooks" / name).write_bytes(text)
    (repo / ".git" / "mlos" / "repair").touch()
    (repo / ".git" / "mlos" / "listening").touch()
    (repo / "message").write_text("x\n\nTask: 1\n")
    done = run(repo, name, input="x y\n")
    if name in ("pre-commit", "pre-merge-commit"):
        assert done.returncode == 1
        assert "git commit --no-verify" in done.stderr
    else:
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert bool(notes(repo / ".git")) == (name in AFTER)


def test_linked_worktrees_keep_notes_of_their_own(repo):
    """Hooks are shared; notes lie in the git directory of the work tree in which something happened, from any folder."""
    git(repo, "worktree", "add", "-q", "--detach", "../linked")
    linked, folder = repo.parent / "linked", repo / ".git" / "worktrees" / "linked"
    forget(repo)
    git(linked, "commit", "-q", "--allow-empty", "-m", "x")
    assert notes(folder) == []
    (folder / "mlos").mkdir()
    (linked / "deep").mkdir()
    git(linked, "-C", "deep", "commit", "-q", "--allow-empty", "-m", "x")
    assert run(repo, "post-merge", cwd=linked / "deep").returncode == 0
    assert notes(folder) == ["commit", "merge 0"]
    assert notes(repo / ".git") == []
    (repo / "deep").mkdir()
    git(repo, "-C", "deep", "commit", "-q", "--allow-empty", "-m", "x")
    assert notes(repo / ".git") == ["commit"]


def test_outside_of_a_repository(repo, tmp_path):
    """Started by mistake where there is no git directory, a hook that comes after the fact says nothing and exits 0."""
    (tmp_path / "elsewhere").mkdir()
    for name in AFTER:
        done = run(
            repo, name, cwd=tmp_path / "elsewhere", input="x y\n", env={"GIT_CEILING_DIRECTORIES": str(tmp_path)}
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_shims_run_from_anywhere(repo, python):
    """A copy elsewhere that another hook file calls works as the one in git's folder does."""
    elsewhere = repo / ".git" / "mlos" / "hooks"
    elsewhere.mkdir()
    install(elsewhere, python)
    for name in ALL:
        theirs = repo / ".git" / "hooks" / name
        theirs.write_text(f'#!/bin/sh\n"$(git rev-parse --git-common-dir)/mlos/hooks/{name}" "$@" || exit $?\n')
        theirs.chmod(0o755)
    git(repo, "commit", "-q", "--amend", "-m", "x")
    assert notes(repo / ".git") == ["commit", "rewrite amend", "X X"]
    (repo / "x.md").write_bytes(EDITED)
    git(repo, "add", "x.md")
    assert "commit refused" in git(repo, "commit", "-m", "x", check=False).stderr


def test_the_index_is_told_to_listeners_only(repo, monkeypatch):
    """post-index-change leaves a note while a watcher listens, and none of what we do to the index ourselves."""
    (repo / "a").write_text("x\n")
    git(repo, "add", "a")
    assert notes(repo / ".git") == []
    (repo / ".git" / "mlos" / "listening").touch()
    blob = plumbing.write_blob(str(repo), b"x")
    plumbing.stage_blob(str(repo), "c", blob)
    assert notes(repo / ".git") == []
    (repo / "a").write_text("y\n")
    git(repo, "add", "a")
    assert set(notes(repo / ".git")) == {"index 0 0"}
    assert starts(repo) == []


def test_a_watcher_says_that_it_listens(tmp_path):
    """While it holds its lock, and no longer."""
    repo = make_repo(tmp_path)
    made = setup.initialise(str(repo)).workspace
    listening = Path(made.state, "listening")
    looks = watching.looks(str(repo))
    assert next(looks).problem is None
    assert listening.exists()
    looks.close()
    assert not listening.exists()


def test_guards_cannot_be_talked_out_of_it(repo):
    """What tells our post-index-change hook that we are at work tells the guard nothing."""
    (repo / "x.md").write_bytes(EDITED)
    git(repo, "add", "x.md")
    done = git(repo, "commit", "-m", "x", check=False, env={"MLOS_SYNC_HOOK": "1"})
    assert "commit refused" in done.stderr


def test_programs_of_the_configuration_are_not_run(repo, tmp_path):
    """Monitors, filters, converters and pagers that the repository configures are not started by any hook of ours."""
    trap = tmp_path / "trap"
    program = f"touch {trap}; cat"
    for key in ("core.fsmonitor", "core.pager", "diff.external", "core.editor", "filter.x.clean", "filter.x.smudge"):
        git(repo, "config", key, program)
    for key in ("diff.x.textconv", "diff.x.command", "filter.x.process", "merge.x.driver"):
        git(repo, "config", key, program)
    (repo / ".git" / "info").mkdir(exist_ok=True)
    (repo / ".git" / "info" / "attributes").write_text("* filter=x diff=x merge=x\n")
    config = b'workspace = "00112233445566778899aabbccddeeff"\ncreated = "2026-01-01T00:00:00Z"\n'
    tree = f"100644 blob {plumbing.write_blob(str(repo), config)}\tconfig.toml\n"
    folder = git(repo, "mktree", stdin=tree).stdout.strip()
    bad = plumbing.write_blob(str(repo), EDITED)
    top = git(repo, "mktree", stdin=f"040000 tree {folder}\t.mlos\n100644 blob {bad}\tx.md\n").stdout.strip()
    made = git(repo, "commit-tree", "-m", "x", "-p", "HEAD", top).stdout.strip()
    old = git(repo, "rev-parse", "HEAD").stdout.strip()
    (repo / "message").write_text("x\n")
    done = run(repo, "pre-push", input=f"refs/heads/x {made} refs/heads/x {old}\n")
    assert "push refused" in done.stderr
    for name in ALL:
        run(repo, name, input="")
    assert not trap.exists()


def test_nobody_waits_for_a_writer(repo):
    """While somebody writes to our database, git goes on, and each thing is noted."""
    database = sqlite3.connect(repo / ".git" / "mlos" / "index.db", isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    git(repo, "cherry-pick", "side")
    git(repo, "switch", "-q", "-c", "new")
    git(repo, "commit", "-q", "--allow-empty", "-m", "x")
    database.close()
    assert notes(repo / ".git") == ["commit", "checkout X X 1", "commit"]


def test_programs_of_the_workspace_are_not_run(repo, tmp_path):
    """Whatever lies in the workspace under the name of a program, with a PATH that leads there, stays data."""
    trap = tmp_path / "trap"
    for name in ("git", "cat", "rm", "true", "printf", "python", "python3"):
        (repo / name).write_text(f"#!/bin/sh\ntouch '{trap}'\n", "ascii")
        (repo / name).chmod(0o755)
    for name in ("sitecustomize.py", "mlos_sync.py", "threading.py"):
        (repo / name).write_text(f"open({str(trap)!r}, 'w')", "ascii")
    (repo / ".git" / "mlos" / "message-seen").touch()
    (repo / ".git" / "mlos" / "repair").touch()
    (repo / ".git" / "hooks" / f"post-rewrite{shims.KEPT}").symlink_to("/bin/true")
    for name in (*AFTER, "pre-push"):
        assert run(repo, name, input="x y\n", env={"PATH": f".:{os.environ['PATH']}"}).returncode == 0
    assert not trap.exists()
    assert not (repo / ".git" / "mlos" / "message-seen").exists()
