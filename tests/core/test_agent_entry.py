"""Our entry in an agent's settings: inserted and taken out, and no other byte touched."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlos_sync.core.agent_entry import COMMAND, ENTRY, with_entry, without_entry

TEXTS = {
    "nothing": "{}",
    "nothing, with a line end": "{}\n",
    "an open object": "{\n}\n",
    "one line": '{"model": "x"}',
    "one line, with hooks": '{"hooks":{"PreToolUse":[{"matcher":"Bash","hooks":[]}]}}\n',
    "two blanks": '{\n  "model": "x",\n  "a": [1,2]\n}\n',
    "four blanks, no line end": '{\n    "model": "x"\n}',
    "tabs": '{\n\t"hooks": {\n\t\t"Stop": []\n\t}\n}\n',
    "CRLF": '{\r\n  "hooks": {\r\n    "PreToolUse": []\r\n  },\r\n  "z": 1\r\n}\r\n',
    "empty hooks": '{\n  "hooks": {},\n  "z": 1\n}\n',
    "others": '{\n  "hooks": {\n    "PreToolUse": [\n      {"matcher": "Bash", "hooks": [{"type": "command", "command": "x"}]}\n    ]\n  }\n}\n',
    "odd": '\n { "z":1e400 , "\\u0068ooks" : { "PreToolUse"\n:[ ] } , "é": "\\ud800" }\n\n',
    "twice": '{"hooks": 3, "hooks": {"PreToolUse": []}}',
    "no indentation": '{\n"a": 1\n}\n',
}
KEPT = [
    name
    for name in TEXTS
    if name not in ("nothing", "nothing, with a line end", "an open object", "CRLF", "empty hooks", "odd", "twice")
]


@pytest.mark.parametrize("name", TEXTS)
def test_the_entry_is_added_and_nothing_else_changes(name):
    data = TEXTS[name].encode()
    made = with_entry(data)
    new, old = json.loads(made), json.loads(data)
    assert new["hooks"]["PreToolUse"].pop() == ENTRY
    assert new["hooks"]["PreToolUse"] == old.get("hooks", {}).get("PreToolUse", [])
    new["hooks"].pop("PreToolUse")
    old.setdefault("hooks", {}).pop("PreToolUse", None)
    assert new == old
    assert with_entry(made) == made
    assert made[:1] == data[:1] and made[-1:] == data[-1:]
    assert (b"\r\n" in made) == (b"\r\n" in data)
    assert made.count(b"\n") == made.count(b"\r\n") or b"\r\n" not in made


@pytest.mark.parametrize("name", KEPT)
def test_taking_it_out_gives_back_every_byte(name):
    """Where it went beside something; an object that was empty is gone then, see app/agent_hooks for that."""
    assert without_entry(with_entry(TEXTS[name].encode())) == TEXTS[name].encode()


def test_a_new_file_and_the_indentation_of_others():
    made = with_entry(None)
    assert made == (json.dumps({"hooks": {"PreToolUse": [ENTRY]}}, indent=2) + "\n").encode()
    assert without_entry(made) is None
    assert with_entry(b'{\n\t"a": 1\n}\n').startswith(b'{\n\t"a": 1,\n\t"hooks": {\n\t\t"PreToolUse": [\n\t\t\t{\n')
    assert with_entry(b"{}\n").count(b"\n") == 1


def test_what_was_changed_since_stays():
    """Ours is found in any group, with or without other commands beside it."""
    ours = {"type": "command", "command": COMMAND}
    other = {"type": "command", "command": "x"}
    groups = [{"hooks": [ours]}, {"hooks": [other, ours]}, {"hooks": [ours, other], "matcher": "W"}, {"hooks": [other]}]
    data = json.dumps({"a": 1, "hooks": {"PreToolUse": groups, "Stop": []}}, indent=4).encode()
    left = [{"hooks": [other]}, {"hooks": [other], "matcher": "W"}, {"hooks": [other]}]
    kept = without_entry(data)
    assert kept is not None
    assert json.loads(kept) == {"a": 1, "hooks": {"PreToolUse": left, "Stop": []}}
    assert without_entry(b'{"hooks": {"PreToolUse": 3}}') == b'{"hooks": {"PreToolUse": 3}}'


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"// c\n{}", b'{"a": 1,}', b"\xef\xbb\xbf{}", b"\xff", b'{"hooks": []}',
     b'{"hooks": {"PreToolUse": {}}}', b"[" * 100_000],
)  # fmt: skip
def test_what_cannot_take_it_is_refused(data):
    with pytest.raises(ValueError, match=r"JSON|hooks|deep"):
        with_entry(data)


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(max_size=5), VALUES, min_size=1, max_size=3),
    st.none() | st.dictionaries(st.sampled_from(["Stop", "Other"]), VALUES, min_size=1),
    st.none() | st.lists(VALUES, min_size=1, max_size=3),
    st.sampled_from([None, 1, 2, 4, "\t"]),
    st.booleans(),
)
def test_any_settings_come_back(rest, hooks, groups, indent, last):
    """Every byte, for settings of any shape and indentation whose objects are not empty."""
    settings = {name: value for name, value in rest.items() if name != "hooks"} or {"a": 1}
    if hooks is not None:
        settings["hooks"] = {**hooks, **({} if groups is None else {"PreToolUse": groups})}
    data = (json.dumps(settings, indent=indent) + ("\n" if last else "")).encode()
    made = with_entry(data)
    assert json.loads(made)["hooks"]["PreToolUse"][-1] == ENTRY
    assert without_entry(made) == data
