"""Use cases: plan, then act."""
