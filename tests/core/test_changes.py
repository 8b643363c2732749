"""The planner: what the stats say must be looked at, and what the hashes then mean."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlos_sync.core.changes import (
    EMPTY,
    MASS,
    Changes,
    Comparison,
    Hashed,
    Stat,
    by_folder,
    compare,
    is_mass_disappearance,
    plan,
)

OLD, NEW = (1, 1, 1, 1, 0o100644), (1, 2, 2, 1, 0o100644)


def sha(text: str) -> str:
    """The hash of a content."""
    return hashlib.sha256(text.encode()).hexdigest()


def hashed(text: str, stat=NEW) -> Hashed:
    """A file as hashed."""
    return Hashed(sha(text), "0" * 40, stat, 0)


def look(seen: dict[str, Stat], known: dict[str, Stat], unknown=()) -> Comparison:
    """The comparison of stats by path."""
    return compare(by_folder(seen.items()), by_folder(known.items()), unknown)


def changes(disk: dict[str, str], index: dict[str, str], unknown=()) -> Changes:
    """The plan from contents on disk to contents in the index, every file hashed."""
    comparison = look(dict.fromkeys(disk, NEW), dict.fromkeys(index, OLD), unknown)
    return plan(
        comparison,
        {path: hashed(disk[path]) for path in comparison.suspect},
        {path: sha(text) for path, text in index.items()},
    )


def test_an_equal_stat_is_trusted():
    """Nothing is hashed where every number is the same."""
    assert look({"a": OLD}, {"a": OLD}) == Comparison([], [], 1)


@pytest.mark.parametrize("part", range(5))
def test_any_difference_of_a_stat_is_suspect(part):
    """Size, either time, inode or mode alone is enough."""
    other = tuple(value + (n == part) for n, value in enumerate(OLD))
    assert look({"a": other}, {"a": OLD}).suspect == ["a"]


def test_a_racy_entry_is_always_suspect():
    """A negative mode in the index equals nothing that a walk sees."""
    racy = (*OLD[:4], -OLD[4])
    assert look({"a": OLD}, {"a": racy}).suspect == ["a"]


def test_suspects_and_the_gone_are_in_the_order_of_bytes():
    """As git sorts its index, not as characters compare."""
    names = ["b", "a/b", "a-b", "a", "ä", "\uefff", "\U0001f600", "Z"]
    by_bytes = ["Z", "a", "a-b", "a/b", "b", "ä", "\U0001f600", "\uefff"]
    assert look(dict.fromkeys(names, NEW), {}).suspect == by_bytes
    assert look({}, dict.fromkeys(names, NEW)).gone == by_bytes


@pytest.mark.parametrize(
    ("unknown", "gone"),
    [
        ((), ["a/b/c", "a/d", "ab", "e"]),
        (("a",), ["ab", "e"]),
        (("a/b",), ["a/d", "ab", "e"]),
        (("a/b/c",), ["a/d", "ab", "e"]),
        (("a/b/c/d",), ["a/b/c", "a/d", "ab", "e"]),
        (("",), []),
        (("x", "e"), ["a/b/c", "a/d", "ab"]),
    ],
)
def test_what_could_not_be_looked_at_is_not_gone(unknown, gone):
    """An unknown folder covers what is below it and nothing beside it; an unknown root covers all."""
    known = dict.fromkeys(["a/b/c", "a/d", "ab", "e"], OLD)
    assert look({}, known, unknown).gone == gone


def test_what_was_not_met_is_gone():
    """Paths that are absent or ignored by now, also where other names of the folder still stand."""
    assert look(
        {"a": OLD},
        {"a": OLD, "b": OLD, "c": OLD},
    ).gone == ["b", "c"]


def test_new_changed_touched_and_gone():
    """Each sort by content."""
    found = changes({"same": "s", "new": "n", "changed": "2"}, {"same": "s", "changed": "1", "gone": "g"})
    assert found == Changes(("new",), ("changed",), (), ("gone",), ("same",), 1) and found
    assert not changes({"same": "s"}, {"same": "s"})


def test_a_file_that_could_not_be_hashed_is_left_as_it_was():
    """It is neither changed nor gone, nor the end of a move."""
    comparison = look({"a": NEW, "b": NEW}, {"a": OLD, "c": OLD})
    found = plan(comparison, {}, {"a": sha("1"), "c": sha("1")})
    assert found == Changes(deleted=("c",))


def test_a_move_is_one_content_that_went_and_came():
    """Same bytes, another place."""
    found = changes({"new/a.md": "text"}, {"old/a.md": "text"})
    assert found == Changes(moved=(("old/a.md", "new/a.md"),))


def test_a_copy_is_no_move():
    """Where the source still stands there is only an addition."""
    assert changes({"a": "text", "b": "text"}, {"a": "text"}).added == ("b",)


def test_empty_files_do_not_prove_a_move():
    """All empty files are alike."""
    assert sha("") == EMPTY
    found = changes({"new": ""}, {"old": ""})
    assert (found.added, found.deleted, found.moved) == (("new",), ("old",), ())


def test_of_several_candidates_the_same_base_name_is_taken():
    """Two files of one content that change places keep their names."""
    found = changes({"y/one": "t", "y/two": "t"}, {"x/two": "t", "x/one": "t"})
    assert set(found.moved) == {("x/one", "y/one"), ("x/two", "y/two")}


def test_a_base_name_is_not_taken_away_by_an_earlier_path():
    """A newcomer of another name leaves the source to the one that bears its name."""
    found = changes({"a/other": "t", "b/name": "t"}, {"x/name": "t"})
    assert found.moved == (("x/name", "b/name"),) and found.added == ("a/other",)


def test_each_source_and_each_target_is_used_once():
    """Three went and two came: one is a deletion."""
    found = changes({"n1": "t", "n2": "t"}, {"o1": "t", "o2": "t", "o3": "t"})
    assert len(found.moved) == 2 and len(found.deleted) == 1 and not found.added
    assert len({old for old, _ in found.moved}) == len({new for _, new in found.moved}) == 2


def test_a_content_that_moved_onto_a_standing_path_is_a_modification():
    """`mv a b` over an existing b: b is modified, a is gone."""
    found = changes({"b": "a's"}, {"a": "a's", "b": "b's"})
    assert (found.modified, found.deleted, found.moved) == (("b",), ("a",), ())


def test_an_unknown_path_is_no_source_of_a_move():
    """What could not be looked at may still be there."""
    found = changes({"new": "t"}, {"dir/old": "t"}, unknown=["dir"])
    assert found == Changes(added=("new",))


def test_a_known_path_without_a_hash_is_modified():
    """An index entry whose content was never read is brought up to date, and moves nowhere."""
    comparison = look({"a": NEW}, {"a": OLD, "b": OLD})
    found = plan(comparison, {"a": hashed("x")}, {"a": "", "b": ""})
    assert found.modified == ("a",) and found.deleted == ("b",)


trees = st.dictionaries(st.sampled_from(["a", "b", "d/a", "d/b", "e/a", "e/f/a"]), st.sampled_from(["", "1", "2"]))


@given(trees, trees)
def test_a_plan_leads_from_the_index_to_the_disk(disk, index):
    """Carried out on the index, the plan gives exactly what is on disk."""
    found = changes(disk, index)
    state = dict(index)
    for old, _ in found.moved:
        content = state.pop(old)
        assert content
    for path in found.deleted:
        del state[path]
    for old, new in found.moved:
        assert new not in state
        state[new] = index[old]
    for path in found.added:
        assert path not in state
        state[path] = disk[path]
    for path in found.modified:
        assert state[path] != disk[path]
        state[path] = disk[path]
    assert state == disk
    assert set(found.touched) == {path for path in disk if index.get(path) == disk[path]}


@pytest.mark.parametrize(
    ("lost", "known", "answer"),
    [
        (0, 0, False),
        (50, 50, False),
        (51, 51, True),
        (51, 101, True),
        (51, 102, False),
        (500, 1000, False),
        (501, 1000, True),
    ],
)
def test_a_mass_disappearance_is_more_than_half_and_more_than_fifty(lost, known, answer):
    """Both, strictly."""
    assert MASS == 50 and is_mass_disappearance(lost, known) is answer
