"""Two branches that both compiled their views: no conflict for a person to solve, and the merge holds what its tree says."""

import pytest
from cli import quick
from gitrepo import git
from viewed import cloned, commit, compile_all, make_marked, root, sql

from mlos_sync.app import merging, setup, verifying
from mlos_sync.core import seal
from mlos_sync.edge.workspace import find


@pytest.fixture
def place(tmp_path):
    return make_marked(tmp_path)


def diverge(place):
    """A need on each of two branches, compiled and committed on both; main is checked out."""
    git(root(place), "branch", "side")
    for branch, title in (("side", "there"), ("main", "here")):
        git(root(place), "checkout", "-q", branch)
        sql(place, ("INSERT INTO needs(title, priority, scope) VALUES (?, 1, 'alpha')", (title,)))
        (root(place) / f"{title}.md").write_text(f"---\ntitle: Title of {title}\n---\n")
        git(root(place), "add", "-A")
        compile_all(place)
        commit(place, title)


def unmerged(place):
    return git(root(place), "diff", "--name-only", "--diff-filter=U").stdout.split()


def view(place, path="PROBLEM.md"):
    return (root(place) / path).read_text()


def test_a_merge_commits_what_its_tree_compiles_to(place):
    """Needs, tasks and files of both sides are in the views of the merge, and verify has nothing to say."""
    diverge(place)
    git(root(place), "merge", "-q", "--no-edit", "side")
    assert unmerged(place) == [] and verifying.verify(place) == []
    assert all(word in view(place) for word in ("here", "there"))
    assert all(f"Title of {word}" in view(place, ".mlos/INDEX.md") for word in ("here", "there"))
    assert git(root(place), "status", "--porcelain").stdout == ""
    compile_all(place)
    assert git(root(place), "status", "--porcelain").stdout == ""


def test_a_merge_that_stops_elsewhere(place):
    """A conflict in a file of somebody's: the views are merged all the same."""
    diverge(place)
    for branch, text in (("side", "one\n"), ("main", "two\n")):
        git(root(place), "checkout", "-q", branch)
        (root(place) / "run.py").write_text(text)
        git(root(place), "commit", "-q", "--no-verify", "-am", text)
    git(root(place), "merge", "-q", "side", check=False)
    assert unmerged(place) == ["run.py"]
    (root(place) / "run.py").write_text("both\n")
    git(root(place), "commit", "-q", "--no-edit", "-a")
    assert verifying.verify(place) == []


@pytest.mark.parametrize(
    "words", [("rebase", "-q", "side"), ("cherry-pick", "side"), ("merge", "-q", "--squash", "side")]
)  # fmt: skip
def test_where_git_does_not_name_the_other_side(place, words):
    """Our side stays: whole, at worst stale, and compiling is all there is to do."""
    diverge(place)
    git(root(place), *words)
    assert unmerged(place) == []
    assert seal.check(view(place).encode()).state == seal.VALID
    assert quick(root(place), "compile").code == 0
    commit(place)
    assert verifying.verify(place) == [] and all(word in view(place) for word in ("here", "there"))


def test_a_clone_without_the_driver_has_one_command(place, tmp_path):
    """Lines in conflict, as git does without us; compile --resolve writes the views and tells git."""
    diverge(place)
    merging.remove(place)
    git(root(place), "merge", "-q", "side", check=False)
    assert set(unmerged(place)) >= {"PROBLEM.md"} and "<<<<<<<" in view(place)
    refused = quick(root(place), "compile", ok=False)
    assert refused.code == 4 and "PROBLEM.md" in refused.err
    assert quick(root(place), "compile", "--resolve").code == 0
    assert unmerged(place) == []
    git(root(place), "commit", "-q", "--no-edit")
    assert verifying.verify(place) == [] and all(word in view(place) for word in ("here", "there"))


def test_resolve_leaves_hand_edits_alone(place):
    """Only what is unmerged is written over."""
    diverge(place)
    merging.remove(place)
    git(root(place), "merge", "-q", "side", check=False)
    path = next(one for one in ("views/pack.md", "views/status.md") if one not in unmerged(place))
    (root(place) / path).write_text(view(place, path) + "by hand\n")
    refused = quick(root(place), "compile", "--resolve", ok=False)
    assert refused.code == 4 and path in refused.err and "<<<<<<<" in view(place)


def test_a_side_that_was_edited_by_hand_stays_a_conflict(place):
    """Nothing of a person's is thrown away."""
    diverge(place)
    (root(place) / "PROBLEM.md").write_text(view(place).replace("here", "HERE, by hand"))
    git(root(place), "commit", "-q", "--no-verify", "-am", "by hand")
    git(root(place), "merge", "-q", "side", check=False)
    assert unmerged(place) == ["PROBLEM.md"] and "by hand" in view(place) and "there" in view(place)


def test_a_program_that_has_gone_loses_nothing(place):
    """Git then calls it a conflict, and the way out is the same."""
    diverge(place)
    git(root(place), "config", merging.KEY, "/nowhere/python -I -m mlos_sync.hooks.main merge-view %O %A %B %L %P")
    git(root(place), "merge", "-q", "side", check=False)
    assert "PROBLEM.md" in unmerged(place)
    assert quick(root(place), "compile", "--resolve").code == 0 and unmerged(place) == []


def test_init_names_the_driver_and_uninstall_takes_it_away(place, tmp_path):
    """In the configuration of the repository alone; a clone has it after hooks install."""
    attributes = view(place, ".gitattributes")
    assert f"PROBLEM.md linguist-generated=true merge={merging.DRIVER}\n" in attributes
    assert merging.is_configured(place)
    other = cloned(place, tmp_path / "other")
    assert not merging.is_configured(other)
    assert quick(root(other), "hooks", "install").code == 0
    assert merging.is_configured(find(str(root(other))))
    setup.uninstall(str(root(other)))
    assert git(root(other), "config", "--get-regexp", "^merge[.]", check=False).stdout == ""
    assert (
        merging.DRIVER not in (root(other) / ".gitattributes").read_text()
        if (root(other) / ".gitattributes").exists()
        else True
    )


def test_a_criss_cross_loses_no_side(place):
    """Git merges the two common ancestors first; what comes of that is no base of a view."""

    def change(branch, title):
        git(root(place), "checkout", "-q", branch)
        sql(place, (f"INSERT INTO needs(title, priority) VALUES ('{title}', 1)", ()))
        compile_all(place)
        return commit(place, title)

    git(root(place), "branch", "side")
    theirs, ours = change("side", "s1"), change("main", "m1")
    git(root(place), "merge", "-q", "--no-edit", theirs)
    git(root(place), "checkout", "-q", "side")
    git(root(place), "merge", "-q", "--no-edit", ours)
    (root(place) / "other.txt").write_text("no view\n")
    commit(place)
    change("main", "m3")
    git(root(place), "merge", "-q", "--no-edit", "side")
    assert [one.path for one in verifying.verify(place)] == [".mlos/INDEX.md"]  # as on the side, which did not compile
    assert all(title in view(place) for title in ("s1", "m1", "m3"))


@pytest.mark.parametrize(
    "path", ['my docs/the "view" [1] é*.md', "#hash.md", "!neg.md", "a\tb.md", "back\\slash.md", "q?.md"]
)
def test_git_asks_us_for_the_views_and_for_nothing_else(place, path):
    """Whatever their names; a file of the same name in a folder below is somebody's own."""
    config = root(place) / ".mlos/config.toml"
    config.write_text(config.read_text() + f"\n[[view]]\npath = '{path}'\nkind = 'status'\n")
    told = quick(root(place), "compile", "PROBLEM.md", path)
    assert "mlos-sync init" in told.err
    setup.initialise(place.root)
    assert merging.unmarked(find(place.root)) == []
    told = git(root(place), "check-attr", "-z", "merge", "--", path, f"sub/{path}", "sub/PROBLEM.md")
    assert told.stdout.split("\0")[2::3] == [merging.DRIVER, "unspecified", "unspecified"] and told.stderr == ""


def test_resolve_keeps_a_copy_of_what_stood_there(place):
    """Of words that somebody wrote into a conflict, too; marked as merged or not."""
    for marked in (False, True):
        diverge(place)
        merging.remove(place)
        git(root(place), "merge", "-q", "side", check=False)
        (root(place) / "PROBLEM.md").write_text(view(place) + f"precious {marked}\n")
        if marked:
            git(root(place), "add", "PROBLEM.md")
        refused = quick(root(place), "compile", ok=False)
        assert refused.code == 4 and "compile --resolve" in refused.err
        assert quick(root(place), "compile", "--resolve").code == 0 and unmerged(place) == []
        kept = (root(place) / ".git/mlos/discarded").glob("*-PROBLEM.md*")
        assert any(f"precious {marked}" in one.read_text() for one in kept)
        git(root(place), "commit", "-q", "--no-edit")
        git(root(place), "branch", "-D", "side")


def test_what_cannot_be_read_is_a_conflict(place, monkeypatch):
    """A driver that fails takes nothing for merged."""
    from mlos_sync.hooks import main

    monkeypatch.chdir(root(place))
    assert main.main(["merge-view", "nowhere", "nowhere", "nowhere", "7", "PROBLEM.md"]) == 1


def test_drivers_of_others_are_not_started_twice(place, tmp_path):
    """The merge that we ask git for leaves other drivers alone."""
    (root(place) / ".gitattributes").write_text(view(place, ".gitattributes") + "*.lock merge=theirs\n")
    log = tmp_path / "log"
    git(root(place), "config", "merge.theirs.driver", f"echo run >> {log}")
    (root(place) / "a.lock").write_text("0\n")
    commit(place)
    diverge(place)
    for branch in ("side", "main"):
        git(root(place), "checkout", "-q", branch)
        (root(place) / "a.lock").write_text(f"{branch}\n")
        commit(place)
    git(root(place), "merge", "-q", "--no-edit", "side")
    assert log.read_text() == "run\n"
