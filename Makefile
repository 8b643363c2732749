# Everything needs only Python 3.11+, git and make: the tools go into .venv, made on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test suites walk crash soak bench clean

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(READY)

demo: $(READY)
	PATH="$(abspath $(BIN)):$$PATH" sh docs/demo.sh

# Four at once, also on two processors: many tests only wait for a watcher.
test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 4 --dist worksteal

# The suites that others made, also CommonMark's examples, whose licence keeps them out of this repository.
SUITES ?= build/suites
suites: $(READY) $(SUITES)/commonmark-spec/spec.txt
	MLOS_SYNC_SUITES="$(abspath $(SUITES))" $(BIN)/python -m pytest -q tests/core/test_public_suites.py tests/core/test_shown_as_text.py \
		tests/hooks/test_staged_suites.py

$(SUITES)/commonmark-spec/spec.txt:
	git clone -q --depth 1 https://github.com/commonmark/commonmark-spec $(SUITES)/commonmark-spec

# A long random walk of clones: make walk WALKS=500
WALKS ?= 100
walk: $(READY)
	MLOS_SYNC_WALKS=$(WALKS) $(BIN)/python -m pytest -q -s tests/app/test_random_walk.py

# Killed at every system call, not at a sample of them.
crash: $(READY)
	MLOS_SYNC_EXHAUSTIVE=1 $(BIN)/python -m pytest -q tests/app/test_crashes.py tests/app/test_faults.py

# All rows of the hook matrix; a thousand commits by a loop, beside watch and a loop of status; seven writers and git beside a
# watcher: make soak COMMITS=5000 SECONDS_OF_SOAK=7200
COMMITS ?= 1000
SECONDS_OF_SOAK ?= 300
soak: $(READY)
	MLOS_SYNC_EXHAUSTIVE=1 $(BIN)/python -m pytest -q tests/hooks/test_matrix.py
	$(BIN)/python benchmarks/beside.py --commits $(COMMITS)
	$(BIN)/python benchmarks/soak.py --seconds $(SECONDS_OF_SOAK)

bench: $(READY)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
