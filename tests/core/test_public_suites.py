"""The suites of YAML, of CommonMark and of naughty strings, through everything that reads or seals a document."""

from __future__ import annotations

import random

import pytest
import yaml
from bombs import HOSTILE
from borrowed import NAMES, cases

from mlos_sync.app.planning import describe
from mlos_sync.core import frontmatter, seal
from mlos_sync.core.frontmatter import FrontmatterError, read, read_yaml, simple
from mlos_sync.core.split import split

PLACES = {
    "as a frontmatter": lambda data: b"---\n" + data + b"\n---\nbody\n",
    "as a frontmatter with CRLF": lambda data: b"---\r\n" + data.replace(b"\n", b"\r\n") + b"\r\n---\r\nbody\r\n",
    "as a frontmatter after a mark": lambda data: b"\xef\xbb\xbf---\n" + data + b"\n...\n",
    "as the end of a frontmatter": lambda data: b"---\ntitle: x\n" + data,
    "as a whole document": lambda data: data,
    "as a body": lambda data: b"---\ntitle: x\n---\n" + data,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("suite", NAMES)
def test_split_and_join_is_the_identity_for_every_case(suite, place):
    """Byte for byte, wherever the case stands; a body never becomes frontmatter."""
    for case in cases(suite):
        data = PLACES[place](case.data)
        block = split(data)
        if block is not None:
            assert data[: block.start] + block.text + data[block.end :] == data, case.name
        if place == "as a body":
            assert block is not None and block.text == b"title: x\n" and data[block.body :] == case.data, case.name
        elif place == "as a whole document" and not case.data.startswith(b"---"):
            assert block is None, case.name
        assert describe("x.md", data) is None or isinstance(describe("x.md", data).title, str | None), case.name


# What `read` refuses of YAML's own, each with a word of its message.
STRICTER = ("anchor", "alias", "merge key", "tag", "directive", "second", "a plain text", "stands in line", "levels")
STRICTER += ("made of `key: value` lines",)


def as_texts(text: str, loader: type) -> object:
    """What PyYAML reads with every scalar as text; a ValueError of any kind if it does not."""
    try:
        return yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        return ValueError(str(error))


def fields_of(text: str) -> object:
    try:
        return read(text.encode("utf-8"))
    except FrontmatterError as error:
        assert error.line >= 1 and error.message
        return error


def blocks(suite: str) -> list[tuple[str, str]]:
    """Each case as a frontmatter may hold it: whole, up to its first fence, and as the value of a field."""
    found = []
    for case in cases(suite):
        block = split(PLACES["as a frontmatter"](case.data))
        flat = case.text.replace("\n", " ")
        texts = (
            case.text,
            block.text.decode("utf-8") if block else "",
            f"title: {flat}\n",
            f"{flat}\n",
            f"a: 'b'\n{flat}: c\n",
        )
        found += [(case.name, text) for text in dict.fromkeys(texts)]
    return found


@pytest.mark.parametrize("suite", NAMES)
def test_every_case_is_read_as_yaml_reads_it_or_refused_by_a_rule_of_ours(suite):
    """The same fields as PyYAML with every scalar as text, on libyaml and in Python; else a typed refusal with its line."""
    read_ones = 0
    for name, text in blocks(suite):
        said, wanted = fields_of(text), as_texts(text, yaml.CBaseLoader)
        if isinstance(said, dict):
            read_ones += 1
            assert said == (wanted or {}), name
        elif not isinstance(wanted, ValueError):
            assert any(word in said.message for word in STRICTER), f"{name}: {said}"
        quick = simple(text)
        if quick is not None:
            assert quick == said == read_yaml(text) == as_texts(text, frontmatter._loader(yaml, fast=False)), name
            assert list(quick) == list(read_yaml(text)), name
    assert read_ones > 100


# The key, as a line of a block and as nothing but text
KEY = "compiled_at"
SPELLINGS = (
    "compiled_at: x", "compiled_at:", "compiled_at:\n  x", "compiled_at : x", "'compiled_at': x", '"compiled_at": x',
    '"compiled\\x5fat": x', '"c\\u006fmpiled_at": x', '{"compiled\\U0000005Fat":x}', '? "comp\\\n\\\n  iled_at"\n: x',
    "? compiled_at\n: x", "? 'compiled_at'", '? "compiled\\\n  _at"\n: x', "? |-\n  compiled_at\n: x", "? >-\n  compiled_at\n: x",
    "{compiled_at: x}", "{a: {compiled_at: x}}", '{"compiled_at":x}', "{compiled_at}", "[compiled_at: x]", "[{compiled_at: x}]",
    "[[{? compiled_at : x}]]", "&a compiled_at: x", "!!str compiled_at: x", "!t &a compiled_at: x", "&a !<tag:x> 'compiled_at': x",
    "deep:\n  - er:\n    - compiled_at: x", "- compiled_at: x", "- - ? compiled_at", "a: &k compiled_at\n*k : x",
    "a: {b: &k compiled_at}\nc: {*k : x}", "a: &m {compiled_at: x}\nb:\n  <<: *m", "--- {compiled_at: x}", "--- # c\ncompiled_at: x",
    "%YAML 1.1\n--- !!map {compiled_at: x}", "!!set {compiled_at}", "!!omap [compiled_at: x]", "? - compiled_at: x\n: y",
    "? {compiled_at: x}\n: y", "\ufeffcompiled_at: x", "title: '\\'\n\"compiled\\x5fat\": x", "\tcompiled_at: x",
)  # fmt: skip
MENTIONS = (
    "title: what compiled_at means", "# compiled_at: x", "title: it's compiled_at", "compiled_at_all: x", "x-compiled_at: y",
    "title: 'compiled_at'", 'path: "C:\\\\compiled\\\\x5fat"', "a: |\n  compiled_at: x\n", "a: >\n  {compiled_at: x}\n",
    "a: 'x\n  compiled_at: x'", "Compiled_At: x", '"compiled_at\\n": x', '"\\\\x63ompiled_at": x',
)  # fmt: skip


def keys_in(text: str, loader: type) -> set[str]:
    """Every scalar that stands as a key, at any depth of any document, up to where the parser fails: by PyYAML's events."""
    found: set[str] = set()
    anchors: dict[str, str] = {}
    stack: list[bool | None] = []  # of each collection that is open: is a key next? None for a sequence
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.CollectionEndEvent):
                stack.pop()
                continue
            if not isinstance(event, yaml.NodeEvent):
                continue
            value = anchors.get(event.anchor) if isinstance(event, yaml.AliasEvent) else getattr(event, "value", None)
            if isinstance(event, yaml.ScalarEvent) and event.anchor:
                anchors[event.anchor] = event.value
            if stack and stack[-1] is not None:
                if stack[-1] and value is not None:
                    found.add(value)
                stack[-1] = not stack[-1]
            if isinstance(event, yaml.CollectionStartEvent):
                stack.append(True if isinstance(event, yaml.MappingStartEvent) else None)
    except (yaml.YAMLError, ValueError, RecursionError):
        pass
    return found


def test_the_reference_knows_each_spelling():
    """The test of the tests: PyYAML finds the key in the spellings, in Python and in libyaml, and not in the mentions."""
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        assert [one for one in SPELLINGS if KEY not in keys_in(one, loader)] == ["\tcompiled_at: x"]
        assert [one for one in MENTIONS if KEY in keys_in(one, loader)] == []


def injected(text: str) -> list[str]:
    """A case with each spelling and each mention before, behind and in the middle of its lines, and in its own indentation."""
    lines = text.split("\n")
    flat, middle = " ".join(lines), len(lines) // 2
    blank = lines[middle][: len(lines[middle]) - len(lines[middle].lstrip(" "))]
    found = []
    for one in SPELLINGS + MENTIONS:
        inner = [blank + line for line in one.split("\n")]
        found += [
            "\n".join([one, *lines]),
            "\n".join([*lines, one]),
            "\n".join([*lines[:middle], *inner, *lines[middle:]]),
        ]
        found.append(f"title: {flat}\n{one}")
    ends = (
        "{0}, compiled_at: x}}",
        '"{0}": y, "compiled\\x5fat": x}}',
        "'{0}', ? compiled_at : x}}",
        "a: {0}, 'compiled_at': x}}",
    )
    return found + ["{" + end.format(flat) for end in ends]


@pytest.mark.parametrize("suite", NAMES)
def test_no_key_that_yaml_finds_is_missed_by_the_guard(suite):
    """The key in every spelling, in every case: where YAML sees one, the guard does; where the guard sees none, nobody does."""
    missed, silent, asked = [], 0, 0
    for case in cases(suite):
        for text in injected(case.text):
            asked += 1
            block = split(PLACES["as a frontmatter"](text.encode("utf-8")))
            assert block is not None
            if seal.may_claim(b"---\n" + block.text + b"---\n"):
                continue
            silent += 1
            inner = block.text.decode("utf-8")
            if any(KEY in keys_in(inner, loader) for loader in (yaml.CSafeLoader, yaml.SafeLoader)):
                missed.append((case.name, inner))
            elif isinstance(fields := fields_of(inner), dict):
                assert KEY not in fields, case.name
    print(suite, asked, silent)
    assert missed == []
    assert silent


def draft(body: bytes, title: bytes = b"x") -> bytes:
    return b"---\ntitle: " + title + b"\ncompiled_at: 2026-01-31T12:00:00Z\nseal: pending\n---\n" + body


@pytest.mark.parametrize("suite", NAMES)
def test_a_seal_over_any_case_holds_until_a_byte_changes(suite):
    """Sealed, a body is whole, with either line ending; one byte replaced, added or taken anywhere breaks the seal."""
    chance = random.Random(suite)
    for case in cases(suite):
        sealed = seal.make(draft(case.data))
        assert seal.check(sealed).state == seal.check(sealed.replace(b"\n", b"\r\n")).state == seal.VALID, case.name
        for _ in range(12):
            at, byte = chance.randrange(len(sealed)), bytes([chance.randrange(256)])
            rest = chance.choice((at, at + 1))
            changed = sealed[:at] + chance.choice((byte, b"")) + sealed[rest:]
            if changed.replace(b"\r\n", b"\n") != sealed.replace(b"\r\n", b"\n"):
                assert seal.check(changed).state != seal.VALID, f"{case.name}: {at}"
        start = split(sealed).body
        if start < len(sealed):
            at = chance.randrange(start, len(sealed))
            changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
            assert seal.check(changed).state == seal.BROKEN, f"{case.name}: {at}"


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_yaml_is_refused(case):
    """By the indexer with a line and a reason; the guard reads no YAML and sees the claim after it."""
    text, word = HOSTILE[case]
    found = describe("x.md", b"---\n" + text.encode() + b"\n---\nbody\n")
    assert found is not None and found.problem is not None
    assert found.problem.startswith("frontmatter refused, line ") and word in found.problem, found.problem
    claim = f"{text[:60_000]}\ncompiled_at: x\n".encode()
    assert seal.check(b"---\n" + claim + b"---\n").state == seal.BROKEN


@pytest.mark.parametrize("text", ["[" * 100_000, "a: b\n" * 1_000_000, "compiled_at: x\n" + "a: b\n" * 1_000_000])
def test_a_frontmatter_that_does_not_end_is_a_body(text):
    """200 KB of brackets, 5 MB of fields: no reader is given them, and what they claim counts for neither."""
    data = b"---\n" + text.encode() + b"---\nbody\n"
    found = describe("x.md", data)
    assert split(data) is None and not seal.may_claim(data)
    assert found is None or (found.title, found.problem) == (None, None)
    with pytest.raises(FrontmatterError, match="65536 are the most"):
        read(text.encode())


@pytest.mark.parametrize(
    "value", ["2026-13-45", "2026-01-01T25:61:00+99:99", "9" * 5000, "-" + "1" * 5000, "0x" + "f" * 5000, ".inf"]
)
def test_values_that_break_other_readers_are_text(value):
    """Bad dates, offsets and numbers of 5,000 digits raise in a reader that guesses types; nothing is guessed here."""
    for text in (f"title: {value}\n", f"title: '{value}'\n", f"{{title: {value}}}\n", f"a: [b]\ntitle: {value}\n"):
        assert read(text.encode())["title"] == value
        assert describe("x.md", b"---\n" + text.encode() + b"---\n").title == value
