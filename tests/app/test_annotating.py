"""What somebody says of a file: kept in the journal, shown where the file itself says nothing, the same in every clone."""

from __future__ import annotations

import json
import os

import pytest
from cli import assert_rebuild_is_equal, clone, dump, git_dir, listed, opened, run, save, sql, synced, workspace, write
from copies import copied
from gitrepo import git

from mlos_sync.app import annotating, compiling, dumping
from mlos_sync.errors import RefusedError, UsageError


@pytest.fixture
def repo(tmp_path):
    """A file without frontmatter, one with a title, one that is no text."""
    return copied(with_three_files, tmp_path) / "repo"


def with_three_files(folder):
    repo = workspace(folder)
    write(repo, "data.csv", "a,b\n")
    write(repo, "note.md", "---\ntitle: Its own\n---\nbody\n")
    write(repo, "plain.md", "no frontmatter\n")
    save(repo, "files")
    synced(repo)


def say(repo, path, **values):
    """An annotation through our own door; the artifact's row."""
    with opened(repo) as index:
        return annotating.annotate(index, path, values)


def row(repo, path):
    """The artifact at a path."""
    synced(repo)
    return next(one for one in listed(repo, "artifact") if one["file_path"] == path)


def test_what_is_said_stands_in_the_row_and_survives_commit_clone_and_rebuild(repo):
    """Title, description, type and transcript of a file that says nothing."""
    told = say(
        repo, "data.csv", title="Measurements", description="of May", artifact_type="schema", source_transcript="t.md"
    )
    assert (told["title"], told["description"], told["artifact_type"]) == ("Measurements", "of May", "schema")
    assert_rebuild_is_equal(repo)
    save(repo, "said")
    copy = clone(repo, "copy")
    found = row(copy, "data.csv")
    assert (found["title"], found["source_transcript"]) == ("Measurements", "t.md")
    assert row(repo, "data.csv")["uid"] == found["uid"]


def test_an_update_by_another_program_is_the_same(repo):
    """`UPDATE artifacts` typed into sqlite3: captured, folded, rebuilt."""
    sql(repo, "UPDATE artifacts SET title = 'By hand' WHERE file_path IN ('data.csv', 'plain.md')")
    assert row(repo, "data.csv")["title"] == row(repo, "plain.md")["title"] == "By hand"
    sql(repo, "UPDATE artifacts SET description = 'more' WHERE file_path = 'data.csv'")
    assert_rebuild_is_equal(repo)
    found = row(repo, "data.csv")
    assert (found["title"], found["description"]) == ("By hand", "more")


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("UPDATE artifacts SET title = 'x' WHERE file_path = 'note.md'", "frontmatter"),
        ("UPDATE artifacts SET content_hash = NULL", "indexed from files"),
        ("UPDATE artifacts SET artifact_type = 'poem' WHERE file_path = 'data.csv'", "artifact_type is one of"),
        ("INSERT INTO annotations(uid, path) VALUES (lower(hex(randomblob(16))), 'data.csv')", "UPDATE artifacts"),
        ("INSERT INTO annotations(uid, path) VALUES (lower(hex(randomblob(16))), 'nowhere')", "UPDATE artifacts"),
    ],
)
def test_the_database_refuses(repo, statement, rule):
    """Nothing that a file says itself, nothing that is derived, no word outside the enumeration."""
    before = dump(repo)
    assert rule in sql(repo, statement, ok=False)
    assert dump(repo) == before


def test_frontmatter_is_the_truth(repo):
    """Where the file says something later, that stands; where it stops saying it, what was said of it is back."""
    with pytest.raises(RefusedError, match="frontmatter"):
        say(repo, "note.md", title="Other")
    say(repo, "plain.md", title="Said")
    write(repo, "plain.md", "---\ntitle: Now its own\n---\n")
    assert row(repo, "plain.md")["title"] == "Now its own"
    write(repo, "plain.md", "nothing again\n")
    assert row(repo, "plain.md")["title"] == "Said"
    assert_rebuild_is_equal(repo)


def test_a_word_is_taken_back(repo):
    """Back to the name."""
    say(repo, "data.csv", title="Said", description="d")
    told = say(repo, "data.csv", title=None)
    assert (told["title"], told["description"]) == ("data.csv", "d")
    with pytest.raises(UsageError, match="no artifact"):
        say(repo, "missing.txt", title="x")
    with pytest.raises(UsageError, match="nothing to change"):
        say(repo, "data.csv")
    assert_rebuild_is_equal(repo)


def test_it_goes_along_when_the_file_is_renamed_and_waits_when_it_goes(repo):
    """By the renames that commits tell, in every clone alike."""
    say(repo, "data.csv", title="Said")
    save(repo, "said")
    git(repo, "mv", "data.csv", "moved.csv")
    save(repo, "moved")
    assert row(repo, "moved.csv")["title"] == "Said"
    assert_rebuild_is_equal(repo)
    git(repo, "rm", "-q", "moved.csv")
    save(repo, "gone")
    assert_rebuild_is_equal(repo)
    write(repo, "moved.csv", "a,b\n")
    save(repo, "back")
    assert_rebuild_is_equal(repo)


def test_two_clones_say_something_of_one_file(repo):
    """Different columns both stand; of one column the loser is told."""
    save(repo, "base")
    copy = clone(repo, "copy")
    synced(copy)
    say(repo, "data.csv", title="Ours", description="ours")
    say(copy, "data.csv", title="Theirs", artifact_type="schema")
    save(repo, "ours")
    save(copy, "theirs")
    git(repo, "pull", "-q", "--no-rebase", str(copy), "main")
    git(copy, "pull", "-q", "--no-rebase", str(repo), "main")
    synced(repo)
    synced(copy)
    assert dumping.differences(dump(repo), dump(copy)) == []
    found = row(repo, "data.csv")
    assert (found["description"], found["artifact_type"]) == ("ours", "schema")
    conflicts = run(repo, "conflicts", "--json").json["conflicts"]
    assert [one["field"] for one in conflicts] == ["title"]


def test_a_view_shows_it_and_verify_compiles_the_same(repo):
    """The index of the folder, from the live index and from the bare tree."""
    say(repo, "data.csv", title="Measurements")
    with opened(repo) as index:
        compiling.compile_views(index)
    assert "Measurements" in (repo / ".mlos/INDEX.md").read_text()
    save(repo, "compiled")
    done = run(repo, "verify", "--json", ok=False)
    assert done.json["ok"], json.dumps(done.json["findings"])
    assert git_dir(repo).is_dir()


def test_a_file_that_was_only_touched_keeps_what_was_said_of_it(tmp_path):
    """Its time changed, its content did not: the row is as before, and as a rebuild makes it."""
    repo = workspace(tmp_path)
    path = write(repo, "plan.md", "# plan\n")
    run(repo, "sync")
    run(repo, "artifact", "set", "plan.md", "--title", "The plan", "--description", "of it all")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    run(repo, "sync")
    told = row(repo, "plan.md")
    assert (told["title"], told["description"]) == ("The plan", "of it all")
    assert_rebuild_is_equal(repo)


def test_what_was_said_of_a_file_moves_with_it_where_no_commit_tells(tmp_path):
    """A draft is moved, then changed so much that git sees no rename."""
    repo = workspace(tmp_path)
    write(repo, "plan.md", "# plan\n")
    run(repo, "sync")
    run(repo, "artifact", "set", "plan.md", "--title", "The plan")
    (repo / "plan.md").rename(repo / "goal.md")
    run(repo, "sync")
    write(repo, "goal.md", "quite another text\n" * 20)
    save(repo, "goal")
    assert row(repo, "goal.md")["title"] == "The plan"
    assert_rebuild_is_equal(repo)
