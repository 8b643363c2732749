"""Seals: made, checked, broken by any change, and claims found in any spelling."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlos_sync.core import seal
from mlos_sync.core.split import split

DRAFT = b"---\ntitle: Problems\ncompiled_at: 2026-01-31T12:00:00Z\nseal: pending\n---\n\n# Problems\n\nNone.\n"
SEALED = seal.make(DRAFT)
BODIES = st.one_of(st.binary(max_size=80), st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")))


def fold(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")


def draft(body: bytes, fields: bytes = b"title: x\n") -> bytes:
    return b"---\n" + fields + b"compiled_at: 2026-01-31T12:00:00Z\nseal: pending\n---\n" + body


@given(BODIES)
def test_a_made_seal_is_valid(body):
    """Whatever the body holds, the sealed document checks out and differs in the seal alone."""
    sealed = seal.make(draft(body))
    assert seal.check(sealed) == seal.Verdict(seal.VALID)
    assert seal.may_claim(sealed)
    start = sealed.index(b"sha256:")
    assert sealed[:start] + b"pending" + sealed[start + 71 :] == draft(body)


@given(BODIES.filter(lambda body: b"\r" not in body))
def test_line_endings_may_change(body):
    """A checkout with CRLF line endings keeps the seal, and a document sealed with CRLF keeps it with LF."""
    sealed = seal.make(draft(body))
    assert seal.check(sealed.replace(b"\n", b"\r\n")).state == seal.VALID
    assert fold(seal.make(draft(body).replace(b"\n", b"\r\n"))) == sealed


@settings(max_examples=600)
@given(st.integers(0, len(SEALED)), st.sampled_from(["replace", "insert", "delete"]), st.integers(0, 255))
def test_any_one_byte_breaks_it(at, how, byte):
    """No replaced, added or removed byte leaves the seal valid, but for the CR of a line ending."""
    rest = SEALED[at:] if how == "insert" else SEALED[at + 1 :]
    changed = SEALED[:at] + (b"" if how == "delete" else bytes([byte])) + rest
    assume(fold(changed) != fold(SEALED))
    assert seal.check(changed).state != seal.VALID


def test_every_byte_of_a_small_view():
    """The same without chance: every position, every bit, every deletion."""
    for at in range(len(SEALED)):
        assert seal.check(SEALED[:at] + SEALED[at + 1 :]).state != seal.VALID
        for bit in range(8):
            changed = SEALED[:at] + bytes([SEALED[at] ^ 1 << bit]) + SEALED[at + 1 :]
            assert seal.check(changed).state != seal.VALID


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no frontmatter\nseal: pending\n",
        b"---\ntitle: x\nseal: pending\n---\n",
        b"---\ncompiled_at: 2026-01-31T12:00:00Z\n---\nseal: pending\n",
        b"---\ncompiled_at: 2026-01-31T12:00:00Z\nseal: pending\nseal: pending\n---\n",
        b"---\ncompiled_at: yesterday\nseal: pending\n---\n",
        b"---\ncompiled_at: 2026-01-31T12:00:00+01:00\nseal: pending\n---\n",
        SEALED,
        b"---\nx: " + b"y" * 65460 + b"\ncompiled_at: 2026-01-31T12:00:00Z\nseal: pending\n---\n",
    ],
)
def test_what_cannot_be_sealed(text):
    """Without its two lines, with two placeholders, sealed already or too long, a document is refused."""
    with pytest.raises(ValueError, match="seal"):
        seal.make(text)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (DRAFT, "pending"),
        (SEALED.replace(b"seal: ", b"seel: "), "no seal"),
        (SEALED.replace(b"\n---\n\n", b"\nseal: sha256:0\n---\n\n"), "more than one"),
        (SEALED.replace(b"sha256:", b"sha512:"), "not a SHA-256"),
        (SEALED.replace(b"None.", b"Some."), "do not match"),
        (SEALED.replace(b"compiled_at", b"'compiled_at'"), "compiler writes"),
        (SEALED.replace(b"12:00:00Z", b"12:00:00"), "compiler writes"),
    ],
)
def test_why_a_seal_is_broken(data, reason):
    """A broken seal says what is broken."""
    verdict = seal.check(data)
    assert verdict.state == seal.BROKEN
    assert reason in verdict.reason


@pytest.mark.parametrize(
    "fields",
    [
        b"compiled_at: x",
        b"'compiled_at': x",
        b'"compiled_at": x',
        b"{compiled_at: x}",
        b'{"a": 1, "compiled_at":2}',
        b"? compiled_at\n: x",
        b"? |-\n  compiled_at\n: x",
        b"a: 1\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\ncompiled_at: x",
        b"a: 1\r\ncompiled_at: x\r",
        b"deep:\n  - er:\n      compiled_at: x",
        b"!!str compiled_at: x",
        b"&a compiled_at: x",
        b"compiled_at : x",
        b"compiled_at:",
        b'"compiled\\x5fat": x',
        b'"compiled\\u005fat": x',
        b'"compiled\\U0000005Fat": x',
        b'"\\x63\\x6f\\x6d\\x70\\x69\\x6c\\x65\\x64\\x5f\\x61\\x74": x',
        b'? "compiled\\\n   _at"\n: x',
        b'? "comp\\\r\n\t il\\x65d_\\\n at"\n: x',
        b"title: '\\'\n\"compiled\\x5fat\": x",
        b"compiled_at: x\n\xff: y",
        b"a: [\ncompiled_at: x",
    ],
)
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_claims_in_any_spelling(bom, fields):
    """However the key is written, and even if YAML could not read the rest, it counts as a claim."""
    assert seal.may_claim(bom + b"---\n" + fields + b"\n---\nbody\n")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"compiled_at: x\n",
        b"---\ntitle: x\n---\ncompiled_at: x\n",
        b"---\ntitle: x\n---\n```yaml\n---\ncompiled_at: x\nseal: sha256:0\n---\n```\n",
        b"---\ntitle: what compiled_at means\n# compiled_at: is made by the compiler\n---\n",
        b"---\ncompiled_at: x\n",
        b'---\npath: "C:\\\\x5f\\u00e9\\new"\n---\n',
        b"---\nCompiled_At: x\ncompiled: at\n---\n",
    ],
)
def test_what_is_no_claim(data):
    """A mention in the body, in a title, in a comment or without a closing fence claims nothing."""
    assert not seal.may_claim(data)
    assert seal.check(data) == seal.Verdict(seal.ABSENT)


def spelled(key: str) -> st.SearchStrategy[str]:
    """A key in double quotes, each character plain or escaped, with escaped line breaks in between."""
    forms = ["{c}", "\\x{o:02x}", "\\u{o:04X}", "\\U{o:08x}", "\\\n  {c}", "\\\r\n{c}"]
    one = [st.sampled_from(forms).map(lambda form, c=c: form.format(c=c, o=ord(c))) for c in key]
    return st.tuples(*one).map(lambda parts: '"' + "".join(parts) + '"')


@settings(max_examples=500, deadline=None)
@given(
    spelled("compiled_at"),
    st.sampled_from(["? {k}\n: x", "{{a: b, ? {k} : x}}", "a:\n - ? {k}\n   : x", "'\\': y\n? !!str {k}\n: x"]),
    st.sampled_from(["", "t: \\\n", "t: '\\'\n", "# \\x4\n", 't: "\\\\"\n']),
)
def test_no_spelling_that_yaml_reads_is_missed(key, form, before):
    """If YAML finds the key anywhere in the block, so does the guard."""
    block = (before if not form.startswith("{") else "") + form.format(k=key) + "\n"
    assert "compiled_at" in repr(yaml.safe_load(block))
    assert seal.may_claim(b"---\n" + block.encode() + b"---\n")


@settings(max_examples=1000, deadline=None)
@given(st.text(alphabet="compiled_at\"'\\x5fu0:?{}, \n-", max_size=40), st.integers(0, 40))
def test_a_miss_is_never_a_key(text, at):
    """Random text around the word: where the guard sees no claim, YAML finds no such key."""
    block = text[:at] + "compiled_at" + text[at:]
    document = b"---\n" + block.encode() + b"\n---\n"
    parts = split(document)
    if parts is None or seal.may_claim(document):
        return
    try:
        found = yaml.safe_load(parts.text)
    except (yaml.YAMLError, ValueError, TypeError):
        return
    assert not isinstance(found, dict) or "compiled_at" not in found


def test_verdicts_are_values():
    """Two equal verdicts are equal, hash alike and can be read."""
    assert len({seal.Verdict(seal.BROKEN, "why"), seal.Verdict(seal.BROKEN, "why")}) == 1
    assert repr(seal.Verdict(seal.VALID)) == "Verdict('valid', '')"
