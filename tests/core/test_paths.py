"""Paths: any bytes become text and back, one order, safe on a terminal, a type for each name."""

from __future__ import annotations

import json
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlos_sync.core import paths
from mlos_sync.core.paths import artifact_type, from_bytes, indexed, shown, sort_key, to_bytes
from mlos_sync.core.vocabulary import ARTIFACT_TYPES

# Bytes around the escape range (U+EF80..U+EFFF is EE BE 80 .. EE BF BF), broken UTF-8 and plain names.
pieces = st.sampled_from(
    [b"\xee\xbe\x80", b"\xee\xbf\xbf", b"\xee\xbd\xbf", b"\xef\x80\x80", b"\xee", b"\xbe", b"\x80", b"\xff", b"\xed\xa0\x80",
     b"\xc0\xaf", b"\xf4\x90\x80\x80", b"a", b"/", b"\n", b"\xc3\xa4", b"\xf0\x9f\x98\x80"]
)  # fmt: skip
names = st.binary(max_size=20) | st.lists(pieces, max_size=8).map(b"".join)


@given(names)
@settings(max_examples=1000, deadline=None)
def test_any_bytes_survive_as_text(name):
    """Bytes to text and back give the same bytes; the text is valid Unicode that JSON and SQLite take."""
    text = from_bytes(name)
    assert to_bytes(text) == name
    text.encode("utf-8")
    assert json.loads(json.dumps(text)) == text


@given(st.lists(names, max_size=6))
@settings(max_examples=300, deadline=None)
def test_order_is_the_order_of_bytes(many):
    """Sorting text by the sort key is sorting the bytes, and two names never become one text."""
    texts = [from_bytes(name) for name in many]
    assert [to_bytes(text) for text in sorted(texts, key=sort_key)] == sorted(many)
    assert len(set(texts)) == len(set(many))


@given(st.text())
def test_ordinary_text_is_left_alone(text):
    """Where a name is UTF-8 without characters of the escape range, text and bytes are what one expects."""
    if any("\uef80" <= c <= "\uefff" or "\ud800" <= c <= "\udfff" for c in text):
        return
    assert from_bytes(text.encode()) == text and to_bytes(text) == text.encode()


def test_the_escape_by_example():
    """A byte that is no UTF-8 becomes U+EF00 plus the byte; a character of that range is escaped itself."""
    assert from_bytes(b"caf\xe9.md") == "caf\uefe9.md"
    assert from_bytes("\uefe9".encode()) == "\uefee\uefbf\uefa9"
    assert from_bytes(b"\xff" + "\uef80".encode()) == "\uefff\uefee\uefbe\uef80"
    assert from_bytes(b"") == "" and to_bytes("") == b""


def test_lone_surrogates_of_the_operating_system_are_taken():
    """A path that came in through os.fsdecode names the same file."""
    assert to_bytes("caf\udce9") == b"caf\xe9"


def test_escaped_names_live_in_sqlite():
    """The text goes into a database and comes out again."""
    db = sqlite3.connect(":memory:")
    for name in (b"\xff\xfe", b"a\nb", b"\xed\xa0\x80", "\uefff".encode()):
        (found,) = db.execute("SELECT ?", (from_bytes(name),)).fetchone()
        assert to_bytes(found) == name
    db.close()


@pytest.mark.parametrize(
    "name", ["a.md", "notes/ä.md", "日本語/テスト.txt", "emoji 😀.png", "a b'c\"d$e.md", "C:\\x", "naïve — dash", ""]
)
def test_what_is_visible_is_shown_as_it_is(name):
    """Names in any script stay readable."""
    assert shown(name) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb", "a\\x0ab"),
        ("\r\t", "\\x0d\\x09"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x07\x7f\x9b", "\\x07\\x7f\\x9b"),
        ("a\x00", "a\\x00"),
        ("gpj.\u202efdp", "gpj.\\u202efdp"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("\u200b\u200d\ufeff", "\\u200b\\u200d\\ufeff"),
        ("\u2028\u2029\x85", "\\u2028\\u2029\\x85"),
        ("\U000e0041", "\\U000e0041"),
        ("\udcff", "\\udcff"),
        (from_bytes(b"caf\xe9"), "caf\\xe9"),
        ("\xad", "\\xad"),
    ],
)
def test_what_is_not_visible_is_escaped(text, expected):
    """Control, bidirectional and invisible characters, and bytes that are no UTF-8, cannot act on a terminal."""
    assert shown(text) == expected


@given(st.text(st.characters()))
@settings(max_examples=500, deadline=None)
def test_shown_text_is_always_safe(text):
    """Whatever comes in, what goes out is printable and one line."""
    out = shown(text)
    assert out.isprintable() and len(out.splitlines()) <= 1
    out.encode("utf-8")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.py", "code"), ("src/A.RS", "code"), ("Makefile", "code"), ("x/Dockerfile", "code"), ("run.sh", "code"),
        ("a.toml", "config"), (".gitignore", "config"), (".mlosignore", "config"), ("x/.editorconfig", "config"),
        ("data.json", "config"), ("a.yml", "config"), (".mlos/config.toml", "config"),
        ("a.PNG", "image"), ("x.svg", "image"),
        ("a.schema.json", "schema"), ("x/A.SCHEMA.YAML", "schema"), ("db.prisma", "schema"), ("a.xsd", "schema"),
        ("README", "document"), ("README.md", "document"), ("a.unknown", "document"), ("", "document"), ("a.", "document"),
        ("folder.py/readme", "document"), ("a.md.j2", "document"), ("caf\uefe9.md", "document"),
    ],
)  # fmt: skip
def test_the_type_of_an_artifact(path, kind):
    """By name, whatever the case; what fits nothing is a document."""
    assert artifact_type(path) == kind


@given(st.text())
def test_every_name_has_a_type_of_the_schema(path):
    """No name falls outside the enumeration."""
    assert artifact_type(path) in ARTIFACT_TYPES


def test_the_types_are_of_the_schema_and_no_ending_has_two():
    """The table of endings speaks the schema's words and is no riddle."""
    endings = [ending for listed in paths.TYPES.values() for ending in listed.split()]
    assert len(endings) == len(set(endings)) and set(paths.TYPES) <= set(ARTIFACT_TYPES)


def test_the_journal_is_no_artifact():
    """All else is, our own config and templates too."""
    assert indexed([".mlos/journal/2026/11/x.jsonl", ".mlos/journal/.gitattributes"]) == []
    others = [".mlos/config.toml", ".mlos/journalx", "x/.mlos/journal/a"]
    assert indexed(others) == others


@given(st.lists(names.filter(lambda name: name and b"\0" not in name), max_size=6))
@settings(max_examples=200, deadline=None)
def test_lists_of_names_are_split_as_git_ends_them(many):
    """Names that git ends with NUL come apart to the same paths as one by one."""
    assert paths.split_names(b"".join(name + b"\0" for name in many)) == [from_bytes(name) for name in many]
