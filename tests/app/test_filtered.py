"""Views of files that git stores otherwise than they stand in the work tree: what git has stored is what they show."""

import os
import shlex

import pytest
from cli import quick
from gitrepo import git
from viewed import NEED, commit, compile_all, make_workspace, opened, root, shown_views, sql

from mlos_sync.app import compiling, verifying
from mlos_sync.edge import git as plumbing

PAGE = '---\ntitle: "{0} title"\ndesc: "{0} description"\n---\n{0} words\n'
CLEAN = {"a.txt": "{0} words\n", "notes/page.md": PAGE}


def put(place, word, encoding="utf-8"):
    """The files that are looked at, with a word of which none may be in a view, or one that must be."""
    for path, text in CLEAN.items():
        (root(place) / path).write_bytes(text.format(word).encode(encoding))


def by_filter(place):
    """A clean filter takes the word away; it writes down that it ran."""
    log = shlex.quote(f"{place.root}.log")
    git(root(place), "config", "filter.up.clean", f"echo clean >> {log}; sed s/Secret/Public/")
    git(root(place), "config", "filter.up.smudge", f"echo smudge >> {log}; sed s/Public/Secret/")
    git(root(place), "config", "filter.up.required", "true")
    attribute(place, "filter=up")
    put(place, "Secret")
    git(root(place), "add", "-A")


def by_ident(place):
    """`ident` keeps what stands between the dollars out of the blob."""
    attribute(place, "ident")
    put(place, "Public $Id: Secret$")
    git(root(place), "add", "-A")


def by_encoding(place):
    """UTF-16 in the work tree, UTF-8 in git."""
    attribute(place, "working-tree-encoding=UTF-16LE")
    put(place, "Public", "utf-16-le")
    git(root(place), "add", "-A")


def by_assuming(place):
    """Edited, and git was told to assume that it is not."""
    put(place, "Public")
    git(root(place), "add", "-A")
    git(root(place), "update-index", "--assume-unchanged", *CLEAN)
    put(place, "Secret")


def by_skipping(place):
    """Edited, and git was told to leave the work tree alone."""
    put(place, "Public")
    git(root(place), "add", "-A")
    git(root(place), "update-index", "--skip-worktree", *CLEAN)
    put(place, "Secret")


def by_both(place):
    """Both marks at once."""
    by_assuming(place)
    git(root(place), "update-index", "--skip-worktree", *CLEAN)


WAYS = [by_filter, by_ident, by_encoding, by_assuming, by_skipping, by_both]


def attribute(place, said):
    """An attribute on all of the files."""
    lines = "".join(f"/{path} {said}\n" for path in CLEAN)
    (root(place) / ".gitattributes").write_text(lines)


@pytest.fixture
def place(tmp_path):
    """A workspace with a need that has a context pack."""
    made = make_workspace(tmp_path)
    sql(made, ("INSERT INTO needs(uid, title) VALUES (?, 'Tell it')", (NEED,)))
    return made


def linked(place):
    """The need consumes each of the files."""
    compile_all(place)
    for path in CLEAN:
        quick(place.root, "link", "need:1", "consumed", f"artifact:{path}")


@pytest.mark.parametrize("way", WAYS)
def test_a_view_shows_what_git_has_stored(place, way):
    """Neither content nor title nor description of the work tree gets out, and HEAD's compile is the same."""
    way(place)
    linked(place)
    compile_all(place)
    views = shown_views(place)
    assert not [path for path, data in views.items() if b"Secret" in data]
    pack, listing = views["views/pack.md"], views[".mlos/INDEX.md"]
    assert b"    Public" in pack or b"\nPublic" in pack
    assert b"Public" in listing and b"title" in listing and b"description" in listing
    commit(place)
    assert verifying.verify(place) == []
    assert compile_all(place)[0] == []
    assert quick(place.root, "verify").code == 0


def test_no_filter_is_started(place):
    """Git says which attributes there are; what they name is never run, by `compile` or by the question about states."""
    by_filter(place)
    linked(place)
    log = f"{place.root}.log"
    assert os.path.exists(log), "the filter runs where git runs it"
    os.unlink(log)
    put(place, "Secret other")
    assert quick(place.root, "compile").code == 0
    with opened(place) as index:
        assert {one.state for one in compiling.plan(index)} == {"current"}
    assert not os.path.exists(log)


def test_what_is_staged_is_what_is_shown(place):
    """An edit behind a filter is shown once git has stored it."""
    by_filter(place)
    linked(place)
    put(place, "New Secret")
    compile_all(place)
    assert b"New" not in shown_views(place)["views/pack.md"]
    git(root(place), "add", "-A")
    compile_all(place)
    assert b"New Public words" in shown_views(place)["views/pack.md"]


def test_a_file_that_git_assumes_to_be_there_is_shown(place):
    """Deleted from the work tree, it goes on being committed."""
    by_assuming(place)
    linked(place)
    for path in CLEAN:
        (root(place) / path).unlink()
    compile_all(place)
    assert b"Public words" in shown_views(place)["views/pack.md"]
    commit(place)
    assert verifying.verify(place) == []


@pytest.mark.parametrize("said", ["-filter -ident -working-tree-encoding", "!filter text"])
def test_an_attribute_that_is_unset_changes_nothing(place, said):
    """Edited and not staged: a view shows the work tree, which is what `git add` would store."""
    attribute(place, said)
    put(place, "Old")
    git(root(place), "add", "-A")
    linked(place)
    put(place, "Public")
    compile_all(place)
    assert b"Public title" in shown_views(place)[".mlos/INDEX.md"]
    assert b"Public words" in shown_views(place)["views/pack.md"]
    commit(place)
    assert verifying.verify(place) == []


def test_git_is_asked_only_where_something_differs(place, monkeypatch):
    """One process for all paths that differ, none where none does."""
    attribute(place, "text")
    put(place, "Public")
    linked(place)
    compile_all(place)
    commit(place)
    asked, attempt = [], plumbing.attempt
    monkeypatch.setattr(plumbing, "attempt", lambda *args, **named: asked.append(args) or attempt(*args, **named))
    compile_all(place)
    assert not [args for args in asked if "check-attr" in args]
    put(place, "Other")
    compile_all(place)
    assert len([args for args in asked if "check-attr" in args]) == 1


def test_names_are_taken_as_they_are(place):
    """Neither quotes nor line ends nor bytes that are no text in a name hide it from the question."""
    odd = root(place) / 'a "b"\n:c\udcff.md'
    (root(place) / ".gitattributes").write_text("*.md ident\n")
    odd.write_text(PAGE.format("Public $Id: Secret$"))
    git(root(place), "add", "-A")
    compile_all(place)
    assert b"Secret" not in shown_views(place)[".mlos/INDEX.md"]
    commit(place)
    assert verifying.verify(place) == []
