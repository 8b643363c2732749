"""Frontmatter as text: what is read, what is refused, and that the fast path is only fast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlos_sync.core import frontmatter
from mlos_sync.core.frontmatter import FrontmatterError, read, read_yaml, simple

NASTY = st.text(alphabet="ab1:#'\"-?[]{},&*!|>%@`\\/._~= \t\n\r\u0085\u00a0\u2028\ufeffé漢\U0001f600<$()", max_size=12)
LINE = st.one_of(
    st.builds(lambda key, sep, value: f"{key}{sep}{value}", NASTY, st.sampled_from([": ", ":", ":  ", ":\t"]), NASTY),
    st.builds(lambda key, value: f"{key}: {value}", st.sampled_from(["a", "b-c", "d_1", "é", "yes", "-x"]), NASTY),
    st.sampled_from(
        ["", "  ", "# note", "# a: b", "- item", "  more", "key:", "key:  ", "? a", ": b", "...", "a: 'b'", 'a: "b"']
    ),
    NASTY,
)
BLOCKS = st.lists(LINE, max_size=6).map("\n".join)


@settings(max_examples=1500, deadline=None)
@given(BLOCKS)
@example("a: b\n# c\n")
@example("a: b:\n")
@example("a: 'x'y'\n")
@example("a:\nb: c")
@example('a: b\n\n\nc: "d: e # f"\r\n')
def test_the_fast_path_agrees_with_yaml(text):
    """Whatever the fast path takes, YAML reads the same, on libyaml and in Python alike."""
    fields = simple(text)
    if fields is not None:
        assert read_yaml(text) == fields
        assert list(read_yaml(text)) == list(fields)
        pure = frontmatter._loader(yaml, fast=False)
        assert yaml.load(text, Loader=pure) == fields


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.from_regex(r"[a-z][a-z_0-9-]{0,8}", fullmatch=True), st.text(alphabet="abz 09.:/-", max_size=9))
)
def test_simple_blocks_take_the_fast_path(fields):
    """Blocks as people write them never pay for YAML, quoted where they must be."""
    text = "".join(f"{key}: '{value}'\n" for key, value in fields.items())
    assert simple(text) == fields == read(text.encode())


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.binary(max_size=60), BLOCKS.map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_it_reads_or_refuses(block):
    """Any bytes give fields or a FrontmatterError with a line, never another exception."""
    try:
        assert isinstance(read(block), dict)
    except FrontmatterError as error:
        assert error.line >= 1
        assert error.message


def test_scalars_stay_text():
    """No norway, no versions cut short, no minutes since midnight, no dates."""
    block = b"a: NO\nb: 1.10\nc: 12:30:45\nd: 014\ne: 0123e4\nf: 2026-01-01\ng: 2026-13-45\nh: ~\ni: null\nj:\nk: '7'\n"
    values = ["NO", "1.10", "12:30:45", "014", "0123e4", "2026-01-01", "2026-13-45", "~", "null", "", "7"]
    assert list(read(block).values()) == values
    assert list(read(block + b"l: [on, 1_000, .inf, 0x1F, 1e3]\n").values()) == [
        *values,
        ["on", "1_000", ".inf", "0x1F", "1e3"],
    ]


def test_lists_and_mappings_nest():
    """Both YAML styles make lists and dicts of text."""
    block = b"tags: [a, 'b c']\nsource:\n  - path: x\n    lines: 1-2\n  - y\nlong: >-\n  one\n  two\n? q\n: !!int 3\n"
    expected = {"tags": ["a", "b c"], "source": [{"path": "x", "lines": "1-2"}, "y"], "long": "one two", "q": "3"}
    assert read(block) == expected


@pytest.mark.parametrize("block", [b"", b"\n", b"# only a comment\n", b"  \n"])
def test_nothing_is_no_field(block):
    """An empty frontmatter has no fields and is no error."""
    assert read(block) == {}


@pytest.mark.parametrize(
    ("block", "line", "word"),
    [
        (b"a: &x 1\n", 2, "anchor"),
        (b"ok: 1\na: *x\n", 3, "alias"),
        (b"&x a: [*x]\n", 2, "anchor"),
        (b"<<: {a: b}\n", 2, "merge"),
        (b"a: !!python/object/apply:os.system [x]\n", 2, "tag"),
        (b"a: !custom x\n", 2, "tag"),
        (b"a: !!binary eA==\n", 2, "tag"),
        (b"a: " + b"[" * 60000 + b"\n", 2, "levels"),
        (b"a: " + b"{b: " * 60 + b"c" + b"}" * 60 + b"\n", 2, "levels"),
        (b"a: 1\nb: 2\na: 3\n", 4, "line 2 and again in line 4"),
        (b"compiled_at: x\n'compiled_at': y\n", 3, "line 2 and again in line 3"),
        (b"a: {b: 1,\n  b: 2}\n", 3, "line 2 and again in line 3"),
        (b"a: 1\nb: \xff\n", 3, "UTF-8"),
        (b"a: 1\nb: \x00\n", 3, "NUL"),
        (b"a: 1\nb: \x07\n", 3, "not YAML"),
        (b"a: [b\n", 3, "not YAML"),
        (b"a: b: c\n", 2, "not YAML"),
        (b'a: "\\UFFFFFFFF"\n', 2, "not YAML"),
        (b"- a\n", 2, "key: value"),
        (b"just text\n", 2, "key: value"),
        (b"? [a]\n: b\n", 2, "key"),
        (b"a: b\n--- \nc: d\n", 3, "second"),
        (b"%YAML 1.1\n--- {a: b}\n", 2, "directive"),
        (b"a: " + b"x" * 65536, 1, "bytes"),
    ],
)
def test_what_is_refused(block, line, word):
    """Each refusal names the line of the document and what is wrong there."""
    with pytest.raises(FrontmatterError) as caught:
        read(block)
    assert caught.value.line == line
    assert word in caught.value.message
    assert isinstance(caught.value, ValueError)


def test_bombs_do_not_go_off():
    """Nested merges, alias bombs and self-references end at the first anchor."""
    merges = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 30))
    bomb = "a: &a [x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    for text in (merges, bomb, "a: &a [*a]\n"):
        with pytest.raises(FrontmatterError):
            read(text.encode())


@pytest.mark.parametrize("fast", [True, False])
def test_both_engines_refuse_depth(fast):
    """Twenty levels are read and the twenty-first refused, on libyaml and in Python alike."""
    loader = frontmatter._loader(yaml, fast=fast)
    fine = "a: " + "[" * 19 + "]" * 19
    assert yaml.load(fine, Loader=loader)["a"] is not None
    with pytest.raises(FrontmatterError):
        yaml.load("a: [" + fine[3:] + "]", Loader=loader)


def test_the_fast_path_does_not_import_yaml():
    """Simple blocks are read with the standard library alone."""
    root = str(Path(frontmatter.__file__).resolve().parents[2])
    code = f"import sys; sys.path.insert(0, {root!r}); from mlos_sync.core.frontmatter import read; read(b'a: b\\n'); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"yaml", "frontmatter", "re", "typing"} & set(out)
