"""Staged views are compiled again: a forgery is refused, what is merely out of date is told, everything genuine passes."""

import pytest
from gitrepo import git
from viewed import cloned, compile_all, make_marked, root, sql
from viewed import commit as commit_all

from mlos_sync.app import compiling, merging
from mlos_sync.core import seal

FORMS = {"plain": (), "all": ("-a",), "path": ("--", "PROBLEM.md"), "amend": ("--amend", "--no-edit")}


@pytest.fixture
def place(tmp_path):
    """A workspace with hooks, whose views are compiled and committed."""
    return make_marked(tmp_path)


def problem(place):
    return root(place) / "PROBLEM.md"


def forge(place, old=b"Unscoped", new=b"Forged"):
    """An edit of the body with a seal of its own."""
    data = problem(place).read_bytes()
    assert old in data
    kept = data.replace(seal.digest_of(data).encode(), b"pending").replace(old, new)
    problem(place).write_bytes(seal.make(kept))


def commit(place, form="all"):
    if form in ("plain", "amend"):
        git(root(place), "add", "-A")
    return git(root(place), "commit", "-q", "-m", "try", *FORMS[form], check=False)


def passes(done, *words):
    assert done.returncode == 0, done.stderr
    assert [word for word in words if word not in done.stderr] == [] and "Traceback" not in done.stderr
    assert words or "mlos-sync" not in done.stderr, done.stderr
    return True


@pytest.mark.parametrize("form", FORMS)
def test_a_forged_seal_is_refused(place, form):
    """In every form of commit, with the way out; which then works."""
    forge(place)
    done = commit(place, form)
    assert done.returncode == 1 and "somebody made a seal" in done.stderr and "mlos-sync compile" in done.stderr
    compile_all(place)
    assert "Unscoped" in problem(place).read_text()


@pytest.mark.parametrize("form", FORMS)
def test_a_genuine_compile_passes_with_its_records(place, form):
    """What is pending is published by the same commit, and belongs to what the view is held to."""
    sql(place, "INSERT INTO needs(title, priority) VALUES ('Fresh', 1)")
    compile_all(place)
    assert passes(commit(place, form))
    assert "Fresh" in git(root(place), "show", "HEAD:PROBLEM.md").stdout


def test_a_stale_view_is_told(place):
    """A record came after the compile: the commit goes on, and says what to type."""
    sql(place, "INSERT INTO needs(title, priority) VALUES ('Fresh', 1)")
    compile_all(place)
    sql(place, "INSERT INTO needs(title, priority) VALUES ('Later', 1)")
    assert passes(commit(place), "PROBLEM.md", "out of date", "mlos-sync compile")


def test_what_a_commit_holds_is_genuine(place):
    """From before and from another branch, also when the note of what was compiled here is lost."""
    old = git(root(place), "rev-parse", "HEAD").stdout.strip()
    git(root(place), "checkout", "-q", "-b", "side")
    sql(place, "INSERT INTO needs(title, priority) VALUES ('Aside', 1)")
    compile_all(place)
    commit_all(place)
    git(root(place), "checkout", "-q", "main")
    sql(place, "INSERT INTO needs(title, priority) VALUES ('Main', 1)")
    compile_all(place)
    commit_all(place)
    (root(place) / ".git/mlos" / compiling.SEALS).unlink()
    for source in (old, "side"):
        git(root(place), "checkout", "-q", source, "--", "PROBLEM.md")
        assert passes(commit(place), "out of date")


def test_what_was_fetched_by_address_is_genuine(place, tmp_path):
    """A pull request is named by no ref here."""
    other = cloned(place, tmp_path / "other")
    sql(other, "INSERT INTO needs(title, priority) VALUES ('Theirs', 1)")
    compile_all(other)
    commit_all(other)
    sql(place, "INSERT INTO needs(title, priority) VALUES ('Ours', 1)")
    git(root(place), "commit", "-q", "--allow-empty", "-m", "records")
    git(root(place), "fetch", "-q", other.root, "HEAD")
    git(root(place), "checkout", "FETCH_HEAD", "--", "PROBLEM.md")
    assert passes(commit(place), "out of date")


def test_a_forgery_beside_a_broken_config_is_not_passed_over(place):
    """It cannot be told, and that is said."""
    forge(place)
    (root(place) / ".mlos/config.toml").write_text("workspace = \n")
    done = commit(place)
    assert "could not be compiled again" in done.stderr


def test_a_resolution_that_takes_one_side(place):
    """The other side's genuine compile, as the resolution of a merge."""
    git(root(place), "branch", "side")
    for branch in ("side", "main"):
        git(root(place), "checkout", "-q", branch)
        sql(place, (f"INSERT INTO needs(title, priority) VALUES ('{branch}', 1)", ()))
        compile_all(place)
        commit_all(place)
    merging.remove(place)
    git(root(place), "merge", "-q", "side", check=False)
    git(root(place), "checkout", "--theirs", "--", "PROBLEM.md", ".mlos/INDEX.md")
    git(root(place), "add", "-A")
    assert passes(git(root(place), "commit", "-q", "--no-edit", check=False), "PROBLEM.md", "out of date")


def test_a_forgery_in_a_merge_is_refused(place):
    """While a merge is concluded, too."""
    git(root(place), "checkout", "-q", "-b", "side")
    (root(place) / "run.py").write_text("side\n")
    commit_all(place)
    git(root(place), "checkout", "-q", "main")
    (root(place) / "run.py").write_text("main\n")
    commit_all(place)
    git(root(place), "merge", "-q", "side", check=False)
    (root(place) / "run.py").write_text("both\n")
    forge(place)
    done = commit(place)
    assert done.returncode == 1 and "somebody made a seal" in done.stderr


def test_a_clone_knows_no_note_and_needs_none(place, tmp_path):
    """A compile of what the clone's tree says is genuine by itself."""
    other = cloned(place, tmp_path / "other")
    from cli import quick

    assert quick(root(other), "hooks", "install").code == 0
    git(root(other), "commit", "-q", "--allow-empty", "-m", "x")
    sql(other, "INSERT INTO needs(title, priority) VALUES ('Fresh', 1)")
    compile_all(other)
    (root(other) / ".git/mlos" / compiling.SEALS).unlink()
    assert passes(commit(other))


@pytest.mark.parametrize("state", ["no config", "bad config", "damaged segment", "no index"])
def test_what_cannot_be_told_stops_no_commit(place, state):
    """The seal is whole; the rest is verify's."""
    sql(place, "INSERT INTO needs(title, priority) VALUES ('Fresh', 1)")
    compile_all(place)
    git(root(place), "add", "-A")
    if state == "bad config":
        (root(place) / ".mlos/config.toml").write_text("workspace = 1\n")
    elif state == "no config":
        git(root(place), "rm", "-q", "--cached", ".mlos/config.toml")
    elif state == "no index":
        for name in (root(place) / ".git/mlos").glob("index.db*"):
            name.unlink()
    elif state == "damaged segment":
        segment = next((root(place) / ".mlos/journal").rglob("*.jsonl"))
        (root(place) / ".mlos/journal/2020/01").mkdir(parents=True)
        (root(place) / ".mlos/journal/2020/01/short.jsonl").write_bytes(segment.read_bytes()[:100])
        git(root(place), "add", "-A")
    done = git(root(place), "commit", "-q", "-m", "try", check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


def test_seals_are_remembered_within_bounds(place, monkeypatch):
    """The newest are kept."""
    monkeypatch.setattr(compiling, "KEPT_SEALS", 2)
    for number in range(9):
        sql(place, (f"INSERT INTO needs(title) VALUES ('{number}')", ()))
        compile_all(place, "PROBLEM.md")
    known = compiling.seals(place.common)
    assert len(known) <= 6 and seal.digest_of(problem(place).read_bytes()) == known[-1]
