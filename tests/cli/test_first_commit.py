"""The first minutes of a newcomer: what the documentation says to type ends in a commit without a complaint."""

from __future__ import annotations

from cli import run
from gitrepo import git, make_repo


def test_files_that_git_does_not_track_yet_are_named(tmp_path):
    """An index lists what git tracks: `compile` names what it leaves out and says what to type, and then it is complete."""
    repo = make_repo(tmp_path)
    (repo / "notes").mkdir()
    (repo / "notes" / "a.md").write_text("# A\n")
    run(repo, "init")
    told = run(repo, "compile")
    assert ".gitattributes and 2 more are not listed, as git does not track them yet: git add" in told.err
    assert run(repo, "compile", "--json").json["unlisted"] == [
        ".gitattributes",
        ".mlos/config.toml",
        "notes/a.md",
    ]
    git(repo, "add", "--all")
    told = run(repo, "compile")
    assert told.err == "" and "wrote      .mlos/INDEX.md" in told.out
    git(repo, "add", "--all")
    assert git(repo, "commit", "-q", "-m", "all").stderr == ""
    run(repo, "compile", "--check")


def test_one_file_is_named_alone(tmp_path):
    """The words agree with one."""
    repo = make_repo(tmp_path)
    run(repo, "init")
    git(repo, "add", "--all")
    (repo / "b.md").write_text("# B\n")
    assert "b.md is not listed, as git does not track it yet: git add" in run(repo, "compile").err
