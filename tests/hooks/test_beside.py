"""A loop of commits beside `watch`, a loop of `status` and records that are added: git never fails, and nothing is lost."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from beside import commit_beside

COMMITS = 12  # `make soak` makes a thousand


def test_commits_beside_all_that_runs_by_itself(tmp_path):
    """Every form of commit; in the end the index is what git says."""
    told = commit_beside(tmp_path, COMMITS)
    assert told.failures == [] and told.words == [] and told.complaints == [] and told.wrong == []
    assert told.commits >= COMMITS and told.looks > 1 and told.batches > 0
