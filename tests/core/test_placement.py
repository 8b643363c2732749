"""By content: which commit introduced what a rewritten one had made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlos_sync.core.carrying import EMPTY_BLOBS, GONE, Known, children_of, is_successor, line_after, place

OLD = "2026-01-01T00:00:00Z"
NEW = "2026-01-02T00:00:00Z"
EMPTY = next(iter(EMPTY_BLOBS))


def known(sha, changes=None, *, parents=(), at=OLD, committed=NEW, author="Ada", subject="s"):
    return Known(sha, parents, author, at, subject, committed, changes or {})


def test_all_part_nothing():
    """Proved by all paths, matched by some, nothing by none."""
    old = known("o", {"a": "1", "b": "2"})
    assert place(old, [], [known("n", {"a": "1", "b": "2", "c": "3"})]) == ("n", "proved", 2, 2)
    assert place(old, [], [known("n", {"a": "1", "b": "9"})]) == ("n", "matched", 1, 2)
    assert place(old, [], [known("n", {"a": "9"})]) is None
    assert place(old, [], []) is None


def test_what_is_gone_or_empty_proves_nothing_alone():
    """Beside a content it counts as found."""
    assert place(known("o", {"a": GONE, "b": EMPTY}), [], [known("n", {"a": GONE, "b": EMPTY})]) is None
    both = {"a": GONE, "b": EMPTY, "c": "1"}
    assert place(known("o", both), [], [known("n", both)]) == ("n", "proved", 3, 3)


def test_later_commits_of_the_line():
    """What they left counts, whichever of them."""
    line = [known("p", {"a": "2"}), known("q", {"a": "3", "z": "0"})]
    assert place(known("o", {"a": "1"}), line, [known("n", {"a": "3"})]) == ("n", "proved", 1, 1)
    assert place(known("o", {"a": "1"}), [], [known("n", {"a": "3"})]) is None
    assert place(known("o", {"a": "1"}), line, [known("n", {"a": GONE})]) is None
    gone = [known("p", {"a": GONE})]
    assert place(known("o", {"a": "1", "b": "2"}), gone, [known("n", {"a": GONE, "b": "2"})]) == ("n", "proved", 2, 2)


def test_time_forbids():
    """A commit from before the work carries nothing of it."""
    early = known("n", {"a": "1"}, committed="2025-01-01T00:00:00Z")
    assert place(known("o", {"a": "1"}), [], [early]) is None


def test_ignored_paths_and_the_best_of_several():
    """Views are not asked for; more found is better, then the earlier."""
    old = known("o", {"a": "1", "b": "2", "VIEW.md": "v"})
    some = [
        known("late", {"a": "1", "b": "2"}, committed="2026-03-01T00:00:00Z"), known("part", {"a": "1"}),
        known("early", {"a": "1", "b": "2"}, committed="2026-02-01T00:00:00Z"),
    ]  # fmt: skip
    assert place(old, [], some, ignored={"VIEW.md"}) == ("early", "proved", 2, 2)


def test_successors_have_author_and_time_and_look_alike():
    """Amended (other subject, same files), reworded, replayed; two commits of one second are not one another's."""
    old = known("o", {"a": "1"})
    assert is_successor(old, known("n", {"a": "2"}, subject="t"))
    assert is_successor(old, known("n", {"b": "2"}))
    assert not is_successor(old, known("n", {"b": "2"}, subject="t"))
    assert not is_successor(old, known("n", {"a": "1"}, at=NEW))
    assert not is_successor(old, known("n", {"a": "1"}, author="Bob"))


def test_lines_and_rings():
    """Nearest first, each once, also where somebody feigned a ring."""
    commits = [known("a"), known("b", parents=("a",)), known("c", parents=("b", "a")), known("d", parents=("c",))]
    assert line_after("a", children_of(commits)) == ["b", "c", "d"]
    assert line_after("a", {"a": ["b"], "b": ["a"]}) == ["b"]


@given(st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1", "2", GONE, EMPTY])), st.lists(
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1", "2", GONE, EMPTY])), max_size=4), st.randoms())  # fmt: skip
def test_order_does_not_matter(changes, others, random):
    """The same answer whatever the order of candidates; what is proved is in the commit."""
    candidates = [known(str(n), one) for n, one in enumerate(others)]
    first = place(known("o", changes), [], candidates)
    random.shuffle(candidates)
    assert place(known("o", changes), [], candidates) == first
    if first is not None and first.evidence == "proved":
        held = next(one.changes for one in candidates if one.sha == first.sha)
        assert all(held.get(path) == blob for path, blob in changes.items())
