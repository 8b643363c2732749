"""A workspace's own templates: they run only where this clone allows it; elsewhere a view keeps the bytes it has."""

import pytest
from cli import quick
from gitrepo import git
from viewed import commit, compile_all, make_compiled, opened, root, sql, template

from mlos_sync.app import compiling, verifying
from mlos_sync.core import guard, seal
from mlos_sync.edge.workspace import VIEW_KINDS
from mlos_sync.errors import RefusedError, UsageError

OWN = ".mlos/templates/problem.md.j2"


@pytest.fixture
def place(tmp_path):
    """Views compiled by the shipped templates, all committed."""
    return make_compiled(tmp_path)


def bring(place, text, *, add=True):
    """Put a template of the workspace's own into it."""
    target = root(place) / OWN
    target.parent.mkdir(exist_ok=True)
    target.write_text(text)
    if add:
        git(root(place), "add", OWN)


def allow(place):
    git(root(place), "config", "mlos-sync.templates", "true")


def own():
    return template("problem").replace("# {{ page.front.title | md }}", "# Our own {{ page.front.title | md }}")


def test_it_runs_only_where_this_clone_allows_it(place):
    """Not allowed: the views of that kind are left as they are, and the others are compiled."""
    before = (root(place) / "PROBLEM.md").read_bytes()
    bring(place, own())
    sql(place, "INSERT INTO needs(title, scope) VALUES ('new', 'alpha')")
    written, _ = compile_all(place)
    assert "PROBLEM.md" not in written and "views/alpha.md" not in written
    assert (root(place) / "PROBLEM.md").read_bytes() == before
    with opened(place) as index:
        assert compiling.withheld(index) == ["PROBLEM.md", "views/alpha.md"]
    allow(place)
    assert {"PROBLEM.md", "views/alpha.md"} <= set(compile_all(place)[0])
    assert "# Our own Problem" in (root(place) / "PROBLEM.md").read_text()
    commit(place)
    assert verifying.verify(place) == [] and verifying.withheld(place) == []


def test_elsewhere_only_the_seal_is_checked(place):
    """By compile, by compile --check and by verify; each says so."""
    bring(place, own())
    compile_all(place)
    commit(place)  # PROBLEM.md is not what the template makes of it
    assert verifying.verify(place) == [] and verifying.withheld(place) == ["PROBLEM.md", "views/alpha.md"]
    for words in (("compile",), ("compile", "--check"), ("verify",)):
        done = quick(root(place), *words)
        assert "PROBLEM.md has a template of the workspace's own" in done.err, words
        assert "git config mlos-sync.templates true" in done.err
    (root(place) / "PROBLEM.md").write_bytes((root(place) / "PROBLEM.md").read_bytes() + b"more\n")
    with pytest.raises(RefusedError, match="template"):
        compile_all(place, discard=True)
    commit(place)
    assert [(one.path, one.kind) for one in verifying.verify(place)] == [("PROBLEM.md", "edited")]
    (root(place) / "PROBLEM.md").write_bytes(b"bare\n")
    commit(place)
    assert [(one.path, one.kind) for one in verifying.verify(place)] == [("PROBLEM.md", "stripped")]
    allow(place)
    assert {one.kind for one in verifying.verify(place)} == {"stripped", "stale"}


def test_what_is_allowed_elsewhere_counts_for_nothing_here(place, monkeypatch, tmp_path):
    """A user's or a system's configuration speaks of all repositories at once."""
    (tmp_path / "global").write_text("[mlos-sync]\n\ttemplates = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "global"))
    bring(place, own())
    with opened(place) as index:
        assert compiling.withheld(index) == ["PROBLEM.md", "views/alpha.md"]


@pytest.mark.parametrize(
    "text, words",
    [
        ("{% for %}", "line 1"),
        ("---\ncompiled_at: {{ page.front.compiled_at }}\n---\n", "seal: pending"),
        ("{{ page.nothing }}", "nothing"),
        ("{{ ().__class__.__bases__ }}", "unsafe"),
        ("{% include 'x' %}", "loader"),
        ("{{ 1 / 0 }}", "zero"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "recursion"),
        ("{{ range(999999999) | list }}", "range"),
    ],
)
def test_a_template_that_fails_is_a_mistake_with_a_place(place, text, words):
    """No traceback, and nothing is written."""
    allow(place)
    bring(place, text)
    with pytest.raises(UsageError, match=f"(?s){OWN}.*{words}"):
        compile_all(place)
    commit(place)
    found = {one.path: one.message for one in verifying.verify(place)}
    assert OWN in found["PROBLEM.md"]


def test_a_shipped_template_can_be_copied(place):
    """Its frontmatter is no claim of its own; without the comment before it, it would be, and the guard says what to do."""
    for kind in VIEW_KINDS:
        assert seal.check(template(kind).encode()).state == seal.ABSENT
    found = guard.judge(OWN, None, own().partition("\n")[2].encode())
    assert found is not None and "{# a comment #}" in found.fix


def test_it_is_part_of_the_tree(place):
    """Untracked, a link, or no text: named with the next step. CRLF changes nothing."""
    allow(place)
    bring(place, own(), add=False)
    with pytest.raises(UsageError, match="not tracked"):
        compile_all(place)
    git(root(place), "add", OWN)
    compile_all(place)
    before = (root(place) / "PROBLEM.md").read_bytes()
    (root(place) / OWN).write_bytes(own().replace("\n", "\r\n").encode())
    assert compile_all(place)[0] == [] and (root(place) / "PROBLEM.md").read_bytes() == before
    (root(place) / OWN).write_bytes(b"\xff")
    with pytest.raises(UsageError, match="UTF-8"):
        compile_all(place)
    (root(place) / OWN).unlink()
    (root(place) / OWN).symlink_to("../config.toml")
    with pytest.raises(UsageError, match="no regular file"):
        compile_all(place)
