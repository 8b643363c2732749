"""Filters and rendering: values of strangers stay values, and the same ones give the same bytes."""

import json

import pytest
import yaml as pyyaml
from jinja2 import TemplateError, UndefinedError
from jinja2.exceptions import SecurityError

from mlos_sync.core import seal, views
from mlos_sync.core.paths import from_bytes

HEAD = "---\ntitle: {{ page.title | yaml }}\ncompiled_at: 2026-11-20T10:00:00Z\nseal: pending\n---\n"
PRESSING = [
    "",
    "plain",
    'quote " and \\',
    "line\nend",
    "\x00\x1b\x7f\x85\u2028\u202e\ufeff",
    "ß é 漢 🦊",
    "---",
    "a: b # c",
    "\ud800",
]


class Page:
    title = "T"
    body = "{{ 7 * 7 }}{% for x in y %}"


@pytest.mark.parametrize("text", PRESSING)
def test_yaml_writes_what_every_yaml_reads_as_the_same_text(text):
    """A quoted value is one line of printable characters and comes back whole."""
    written = views.yaml(text)
    assert "\n" not in written
    if "\ud800" not in text:
        assert pyyaml.safe_load(written) == text
    assert written.isprintable()


def test_yaml_cuts_what_would_burst_the_frontmatter():
    """A title of a quarter of a megabyte still leaves a frontmatter that has an end."""
    assert len(json.loads(views.yaml("x" * 262_144))) == views.FIELD_LIMIT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\nlines\r\n\tof", "two lines of"),
        ("a | b", r"a \| b"),
        ("[x](y)", r"\[x\](y)"),
        ("`code` <b> *c* ~d~", r"\`code\` \<b\> \*c\* \~d\~"),
        ("snake_case __init__", r"snake_case \_\_init\_\_"),
        ("R&D &lt; &#60;", r"R&D \&lt; \&#60;"),
        ("a\\b", r"a\\b"),
        ("\x1b[31m\u202e", r"\\x1b\[31m\\u202e"),
        (from_bytes(b"caf\xe9"), r"caf\\xe9"),
        ("  ", ""),
        ("# a", r"\# a"),
        ("a ##", r"a \##"),
        ("- a", r"\- a"),
        ("---", r"\---"),
        ("== =", "== ="),
        ("==", r"\=="),
        ("12. a", r"12\. a"),
        (":-:", r"\:-:"),  # on forges a table may have one column
        ("-:", r"\-:"),
        ("&copy", r"\&copy"),
        ("#tag -x 1.5 a = b #1", "#tag -x 1.5 a = b #1"),
    ],
)
def test_md_leaves_one_line_without_markup(text, expected):
    """Each mark of markdown is escaped, and what cannot be seen is shown."""
    assert views.md(text) == expected


@pytest.mark.parametrize(
    ("path", "page", "expected"),
    [
        ("a.md", "PROBLEM.md", "a.md"),
        ("notes/a.md", ".mlos/INDEX.md", "../notes/a.md"),
        (".mlos/config.toml", ".mlos/INDEX.md", "config.toml"),
        ("a/b/c.md", "a/x/y/v.md", "../../b/c.md"),
        ("a/a.md", "a/a/v.md", "../a.md"),
        ("a b)(>.md", "v.md", "a%20b%29%28%3E.md"),
        ("javascript:x.md", "v.md", "javascript%3Ax.md"),
        ("ß.md", "v.md", "%C3%9F.md"),
        (from_bytes(b"caf\xe9"), "v.md", "caf%E9"),
    ],
)
def test_link_is_relative_to_the_page_and_encoded(path, page, expected):
    """A link holds nothing that could end it, and keeps the bytes of the name."""
    assert views.link(path, page) == expected


@pytest.mark.parametrize(("text", "ticks"), [("", 3), ("a `b`", 3), ("```\n", 4), ("x ``````y", 7)])
def test_a_fence_is_longer_than_any_run_inside(text, ticks):
    """No line of the text can close the fence around it."""
    assert views.fence(text) == "`" * ticks


def test_lines_keep_paragraphs_and_drop_blank_ends():
    """A description keeps its inner blank lines only."""
    assert views.lines("\n a\n\nb|\n ") == ["a", "", r"b\|"]
    assert views.lines(" \n") == []


def test_a_rendered_page_is_sealed():
    """The seal of what comes out is valid."""
    assert seal.check(views.render(HEAD + "# {{ page.title | md }}\n", Page())).state == seal.VALID


def test_values_are_never_run():
    """Template syntax in a value stays text."""
    assert b"{{ 7 * 7 }}{% for x in y %}" in views.render(HEAD + "{{ page.body }}\n", Page())


def test_a_name_that_is_not_there_is_an_error():
    """A template cannot silently print nothing."""
    with pytest.raises(UndefinedError):
        views.render(HEAD + "{{ page.nothing }}", Page())


@pytest.mark.parametrize(
    "attack", ["{{ page.__class__.__mro__ }}", "{{ ''.__class__.__subclasses__() }}", "{% include 'x' %}"]
)
def test_a_template_reaches_nothing_but_its_page(attack):
    """The sandbox refuses what looks behind a value, and there is no loader."""
    with pytest.raises((SecurityError, TemplateError, TypeError)):
        views.render(HEAD + attack, Page())


def test_a_template_without_a_place_for_the_seal_is_refused():
    """What cannot be sealed is not handed out."""
    with pytest.raises(ValueError, match="sealed"):
        views.render("# {{ page.title }}\n", Page())
