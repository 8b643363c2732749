"""References: what people type, what commit messages say, and uids that are made from what a thing is."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear import assert_linear

from mlos_sync.core import ids
from mlos_sync.core.ids import Reference, in_trailer, parse, with_uids

UID = "3f9a2c4155d01e77" + "0" * 16


@pytest.mark.parametrize(
    ("text", "default", "expected"),
    [
        ("need:3", None, Reference("need", number=3)),
        ("task:12", "task", Reference("task", number=12)),
        ("agent:5", None, Reference("agent", number=5)),
        ("need:3f9a2c", None, Reference("need", prefix="3f9a2c")),
        ("need-3f9a2c", None, Reference("need", prefix="3f9a2c")),
        (f"task-{UID}", None, Reference("task", prefix=UID)),
        (f"task:{UID}", None, Reference("task", prefix=UID)),
        ("12", "task", Reference("task", number=12)),
        ("12", None, Reference(None, number=12)),
        ("012", "need", Reference("need", number=12)),
        ("3f9a2c", "need", Reference("need", prefix="3f9a2c")),
        ("artifact:notes/a b.md", None, Reference("artifact", path="notes/a b.md")),
        ("notes/a.md", "artifact", Reference("artifact", path="notes/a.md")),
        ("artifact:need:3", None, Reference("artifact", path="need:3")),
        ("artifact:a\nb", None, Reference("artifact", path="a\nb")),
        ("task:12", "artifact", Reference("task", number=12)),
        ("commit:abcd", None, Reference("commit", prefix="abcd")),
        ("abcd1234", "commit", Reference("commit", prefix="abcd1234")),
        ("commit:" + "a" * 64, None, Reference("commit", prefix="a" * 64)),
        # no form of ours
        ("", None, None),
        ("need:", None, None),
        ("need-", None, None),
        ("need", None, None),
        ("need:-3", None, None),
        ("-3", "need", None),
        ("3.0", "need", None),
        (" 3", "need", None),
        ("3\n", "need", None),
        ("need:3\n", None, None),
        ("need-3f9a2c\n", None, None),
        ("٣", "need", None),
        ("need:٣", None, None),
        ("²", "need", None),
        ("need:3f9a2", None, None),
        ("need-3f9a2", None, None),
        ("need-3F9A2C", None, None),
        ("need-" + "a" * 33, None, None),
        ("relationship:3", None, None),
        ("NEED:3", None, None),
        ("commit:xyz", None, None),
        ("commit:abc", None, None),
        ("commit:HEAD", None, None),
        ("commit:" + "a" * 65, None, None),
        ("need:*", None, None),
        ("need:[0-9]", None, None),
    ],
)
def test_the_grammar_of_references(text, default, expected):
    """Each form is read as documented and everything else is none."""
    assert parse(text, default) == expected


@pytest.mark.parametrize("digits", [ids.SHORTEST, ids.LASTING, 32])
def test_what_is_shown_is_read_back_as_a_uid(digits):
    """A shown name leads back to its record also where the uid happens to begin with decimal digits alone."""
    uid = "1234567890123456" + "f" * 16
    assert parse(ids.shown("task", uid, digits)) == Reference("task", prefix=uid[:digits])


@given(st.sampled_from(ids.RECORD_KINDS), st.text("0123456789abcdef", min_size=32, max_size=32), st.integers(6, 32))
def test_any_shown_name_is_read_back(kind, uid, digits):
    """The same for any uid."""
    assert parse(ids.shown(kind, uid, digits)) == Reference(kind, prefix=uid[:digits])
    ((reference, closes),) = in_trailer("task", ids.shown(kind, uid, digits))
    assert reference == Reference(kind, prefix=uid[:digits]) and not closes


@pytest.mark.parametrize("digits", [18, 19, 30, 5000])
def test_a_number_of_many_digits_never_names_a_smaller_one(digits):
    """What is too long for a number is none; it is not cut down to another record's."""
    for text, default in (("1" * digits, "need"), ("need:" + "1" * digits, None)):
        found = parse(text, default)
        assert found is None or found.number in (None, int("1" * min(digits, 100)) if digits < 100 else None)


@given(st.text(max_size=30), st.sampled_from([None, "need", "task", "agent", "artifact", "commit"]))
def test_any_text_is_read_or_refused(text, default):
    """No text makes the reader fail."""
    found = parse(text, default)
    assert found is None or found.kind or default is None


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("Task", "12", [("task", 12, None, False)]),
        ("Need", "3", [("need", 3, None, False)]),
        ("Closes", "12", [("task", 12, None, True)]),
        ("FIXES", "need:3", [("need", 3, None, True)]),
        (
            "Resolves",
            "12, 13 and need:4",
            [("task", 12, None, True), ("task", 13, None, True), ("need", 4, None, True)],
        ),
        ("Task", "task-3f9a2c", [("task", None, "3f9a2c", False)]),
        ("Closes", "12 (task-3f9a2c4155d01e77)", [("task", None, "3f9a2c4155d01e77", True)]),
        ("Closes", "need:12 (need-3f9a2c)", [("need", None, "3f9a2c", True)]),
        ("Need", "12 (task-3f9a2c)", [("task", None, "3f9a2c", False)]),
        ("Task", "  12  ", [("task", 12, None, False)]),
        ("Task", "12,13", [("task", 12, None, False), ("task", 13, None, False)]),
        # prose
        ("Task", "", []),
        ("Closes", "the door", []),
        ("Closes", "12 of 13 items", []),
        ("Closes", "12, maybe 13", []),
        ("Fixes", "https://example.org/12", []),
        ("Fixes", "abc123", []),
        ("Closes", "org/repo#12", []),
        ("Closes", "12.", []),
        ("Closes", "#12", []),
        ("Closes", "-12", []),
        ("Closes", "1.5", []),
        ("Closes", "agent-3f9a2", []),
        ("Closes", "1" * 16, []),
        ("Closes", "12,", []),
        ("Closes", "12 (task-3f9a2c", []),
        ("Closes", "١٢", []),
    ],
)
def test_what_a_trailer_says(key, value, expected):
    """Each reference is found with whether it closes; a value with any prose in it is prose."""
    found = [(r.kind, r.number, r.prefix, closes) for r, closes in in_trailer(key, value)]
    assert found == expected


KNOWN = {("task", 12): UID, ("need", 12): "ee" * 16, ("task", 13): "dd" * 16, ("agent", 5): "cc" * 16}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("Task", "12", "12 (task-3f9a2c4155d01e77)"),
        ("Closes", "#12", "#12"),
        ("need", "12", "12 (need-eeeeeeeeeeeeeeee)"),
        ("Closes", "need:12", "need:12 (need-eeeeeeeeeeeeeeee)"),
        ("Task", "agent:5", "agent:5 (agent-cccccccccccccccc)"),
        ("Closes", "12,  13", "12 (task-3f9a2c4155d01e77),  13 (task-dddddddddddddddd)"),
        ("Closes", "12 and 13", "12 (task-3f9a2c4155d01e77) and 13 (task-dddddddddddddddd)"),
        ("Closes", "12 (task-123456)", "12 (task-123456)"),
        ("Closes", "task-3f9a2c", "task-3f9a2c"),
        ("Closes", "99", "99"),
        ("Closes", "99, 12", "99, 12 (task-3f9a2c4155d01e77)"),
        ("Closes", "12 ", "12 (task-3f9a2c4155d01e77) "),
    ],
)
def test_bare_numbers_gain_their_uid(key, value, expected):
    """A number that is known is made to last; everything else stays as it was typed."""
    assert with_uids(value, key, KNOWN) == expected
    assert with_uids(expected, key, KNOWN) == expected


@pytest.mark.parametrize("value", ["12, maybe 13", "the 12 doors", "12 of 13", "see 12"])
def test_prose_gains_no_uid(value):
    """A value that refers to nothing is not touched."""
    assert list(in_trailer("closes", value)) == []
    assert with_uids(value, "closes", KNOWN) == value


@given(st.sampled_from(["task", "Need", "closes"]), st.text("12#:, andtskeg-()0f", max_size=25))
def test_a_uid_never_changes_what_is_meant(key, value):
    """What a value referred to by number it refers to by uid afterwards, as many times and with the same effect."""
    after = with_uids(value, key, KNOWN)
    old, new = list(in_trailer(key, value)), list(in_trailer(key, after))
    assert len(old) == len(new)
    for (before, closed), (now, closes) in zip(old, new, strict=True):
        assert closed == closes and before.kind == now.kind
        if (before.kind, before.number) in KNOWN:
            assert now.prefix == KNOWN[before.kind, before.number][: ids.LASTING]


@pytest.mark.parametrize(
    ("start", "piece", "end"),
    [("1", " ", "x"), ("", "1,", "x"), ("", " and ", ""), ("", "1 and", ""), ("", "-", ""), ("", "#", ""), ("", "1", ""),
     ("need-", "a", ""), ("", "1 (", "")],
)  # fmt: skip
def test_a_long_value_takes_linear_time(start, piece, end):
    """A trailer of 20 KB or more is told to be prose at once."""

    def told(times: int) -> None:
        value = start + piece * times + end
        assert list(in_trailer("closes", value)) == [] or piece == " and "
        with_uids(value, "closes", KNOWN)

    assert_linear(told, 20_000)


@given(st.lists(st.text(max_size=8), max_size=4))
def test_derived_uids_are_stable_and_well_formed(parts):
    """32 hex digits, the same for the same parts."""
    uid = ids.derived_uid(*parts)
    assert len(uid) == 32 and set(uid) <= set(string.hexdigits.lower()) and uid == ids.derived_uid(*parts)


def test_derived_uids_tell_parts_apart_and_stand_for_ever():
    """The cut between parts counts; the rule is part of the format (edges, sessions and closings are known by it)."""
    assert ids.derived_uid("ab", "c") != ids.derived_uid("a", "bc") != ids.derived_uid("abc")
    assert ids.derived_uid("edge", "need:1", "blocks", "need:2") == "6ee6ad0074215db236c173a5ac796f69"
    assert ids.derived_uid("a\udcff") != ids.derived_uid("a")


def test_names_are_shown_with_their_kind():
    """Kind and the first six digits, or as many as are asked for."""
    assert ids.shown("task", UID) == "task-3f9a2c"
    assert ids.shown("need", UID, ids.LASTING) == "need-3f9a2c4155d01e77"
