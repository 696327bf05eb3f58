# Nothing but Python >= 3.11 and make is needed beforehand: each target makes .venv and installs what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEEDS ?= 1000

.PHONY: help demo test check sim ablate kill bench clean

help:
	@echo "make demo    a year of subscription billing in under a minute"
	@echo "make test    all tests, on SQLite and on a PostgreSQL that the tests start themselves"
	@echo "make check   format, lint, types, floors, and the schema against its migrations"
	@echo "make sim     seeded months in which everything goes wrong  (SEEDS=$(SEEDS))"
	@echo "make ablate  the same with each guard switched off in turn: it must be missed"
	@echo "make kill    real workers killed at every fault point, on both databases"
	@echo "make bench   renewals per second against the loop one would write first"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements/run.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/test.stamp: requirements/test.txt $(VENV)/run.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/test.txt
	@touch $@

demo: $(VENV)/run.stamp
	$(BIN)/billing demo

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/store/test_migrations.py

sim: $(VENV)/run.stamp
	$(BIN)/billing simulate --seeds $(SEEDS)

ablate: $(VENV)/run.stamp
	$(BIN)/billing simulate --ablate

kill: $(VENV)/test.stamp
	$(BIN)/python -m pytest -q tests/kill --kill-all

bench: $(VENV)/test.stamp
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache billing-demo
