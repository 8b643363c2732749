"""Evidence weighed: contents before paths, commits that can have taken them, and none that cannot."""

from __future__ import annotations

import pytest

from mlos_sync.core.provenance import Change, PlacedClaim, Proof, could_follow, prove, stronger, weigh

AT = "2026-02-16T13:00:00Z"


def claim(at=AT, blobs=(), hashes=(), operation="edit", line=1, declared=False):
    return PlacedClaim("s-1", "t.md", "a.py", operation, 1, line, at, tuple(hashes), tuple(blobs), line, declared, at)


def commit(name, blob, committed, authored=None):
    return Change(name, authored or committed, committed, blob)


def test_a_content_is_proved_by_the_artifact_or_by_a_commit():
    """The file as it is, or a blob that history has at its path."""
    assert prove(claim(hashes=["h"]), "h", "b", []) == Proof(True, None, True)
    assert prove(claim(blobs=["b"]), "h", "b", []) == Proof(True, None, True)
    taken = [commit("c1", "b", "2026-02-16T14:00:00Z")]
    assert prove(claim(blobs=["b"]), "other", "other", taken) == Proof(True, "c1", False)
    assert not prove(claim(blobs=["x"]), "h", "b", []).proved


def test_the_first_commit_that_could_take_it_took_it():
    """One before the session cannot have; of those behind it the first with that content."""
    changes = [commit("c0", "b", "2026-02-15T00:00:00Z"), commit("c1", "x", "2026-02-17T00:00:00Z")]
    changes += [commit("c2", "b", "2026-02-18T00:00:00Z"), commit("c3", "b", "2026-02-19T00:00:00Z")]
    assert prove(claim(blobs=["b"]), None, None, changes).commit == "c2"
    assert prove(claim(blobs=["b"], at=None), None, None, changes) == Proof(False, None, False)
    assert prove(claim(blobs=["b"], at="2026-03-01T00:00:00Z"), None, None, changes) == Proof(False, None, False)


@pytest.mark.parametrize(
    ("changes", "likely"),
    [
        ([], None),
        ([("c1", "2026-02-16T14:00:00Z", None)], "c1"),
        ([("c0", "2026-02-16T12:00:00Z", None)], None),  # before
        ([("c0", "2026-02-16T12:58:00Z", None), ("c1", "2026-02-16T13:10:00Z", None)], "c1"),  # minutes before
        (
            [
                ("x", "2026-03-01T00:00:00Z", "2026-01-05T00:00:00Z"),
                ("y", "2026-03-01T00:00:00Z", "2026-02-16T14:00:00Z"),
            ],
            "y",
        ),
        ([("c1", "2026-03-16T14:00:00Z", None)], None),  # a month later
        ([("c1", "2026-02-16T14:00:00Z", None), ("c2", "2026-02-16T15:00:00Z", None)], "c1"),
        # rebased together: the one that was written first
        (
            [
                ("a", "2026-02-20T00:00:00Z", "2026-02-16T15:00:00Z"),
                ("b", "2026-02-20T00:00:00Z", "2026-02-16T14:00:00Z"),
            ],
            "b",
        ),
        # amended: written before, committed after
        ([("a", "2026-02-16T13:30:00Z", "2026-02-16T12:00:00Z"), ("b", "2026-02-16T15:00:00Z", None)], "a"),
    ],
)
def test_the_next_commit_of_the_path_may_have_taken_an_edit(changes, likely):
    """Not one before it, not one long after it."""
    found = prove(claim(), None, None, [commit(name, "x", at, authored) for name, at, authored in changes])
    assert (found.proved, found.commit, found.likely) == (False, None, likely)


def test_an_edit_without_a_time_is_tied_to_no_commit():
    """Its path alone does not say which."""
    assert prove(claim(at=None), None, None, [commit("c1", "x", AT)]).likely is None


def test_times_that_are_none_forbid_nothing():
    """Neither do broken ones."""
    assert could_follow(None, AT) and could_follow("nonsense", AT) and could_follow(AT, "nonsense")
    assert not could_follow("2026-02-16T14:00:00Z", AT)


def test_the_best_claim_speaks_and_all_operations_are_told():
    """Proof before declaration before path; of equals the later; the present content before an old one."""
    old, now, path = Proof(True, "c", False), Proof(True, None, True), Proof(False, None, False)
    found = weigh([(claim(line=1), old), (claim(line=2, operation="write"), now), (claim(line=3), path)])
    assert (found.evidence, found.line, found.operations, found.is_current) == ("proved", 2, ("edit", "write"), True)
    found = weigh([(claim(line=1), path), (claim(line=2, declared=True), path), (claim(line=3), path)])
    assert (found.evidence, found.line) == ("declared", 2)
    assert weigh([(claim(line=1), path), (claim(line=2), path)]).line == 2
    assert weigh([]) is None


def test_grades_have_an_order():
    """The stronger of two."""
    assert stronger("matched", "proved") == "proved" and stronger("declared", "matched") == "declared"
