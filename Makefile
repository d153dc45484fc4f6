# Every target does its own set-up: the first one run makes .venv from requirements.lock.
# Needs Python 3.11 or newer and make. Settings:  PYTHON=python3.13  JSONL=events.jsonl  ARGS="-k name"  SEEDS=0..999
# MUTANT="NOTIFY only"  MINUTES=120

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
SOURCES := src tests bench examples site
# The tests wait for processes more than they compute.
JOBS = $$($(BIN)/python -c 'import os; print(max(3, os.cpu_count()))')

.DEFAULT_GOAL := help
.PHONY: help demo test simulate mutants chaos model check bench costs counting searching figures site format lock clean

help:  ## say what each target does
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY)  ## events survive kills, outages and errors (JSONL=FILE: yours)
	@$(RUN) holdfast demo $(if $(JSONL),--jsonl "$(JSONL)") $(ARGS)

test: $(READY)  ## the whole suite, on SQLite and PostgreSQL (ARGS="-k name")
	@$(RUN) python -m pytest $(or $(ARGS),tests/acceptance -n auto)
	@$(if $(ARGS),:,$(RUN) python -m pytest -n $(JOBS) --dist loadfile --ignore=tests/acceptance)

simulate: $(READY)  ## the engine under faults in virtual time (SEEDS=0..99)
	@$(RUN) python -m tests.simulation $(or $(SEEDS),1000) --size $(or $(SIZE),small) --store $(or $(STORE),simulated)

mutants: $(READY)  ## break the engine on purpose, see who notices (MUTANT="name")
	@$(RUN) python -m tests.mutations $(if $(MUTANT),"$(MUTANT)")

chaos: $(READY)  ## real faults on real processes, 3 minutes (MINUTES=120)
	@$(RUN) python -m tests.chaos --minutes $(or $(MINUTES),3) $(ARGS)

model: $(READY)  ## every state of the models in spec/, by Spin (ARGS=leases)
	@$(RUN) python spec/check.py $(ARGS)

check: $(READY)  ## what CI checks besides the tests: format, lint, types
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/basedpyright
	$(BIN)/lint-imports

bench: $(READY)  ## measure beside plain SQL; results go to bench/results
	@$(RUN) holdfast bench --quick --results bench/results $(ARGS)
	@$(RUN) python bench/page.py

costs: $(READY)  ## what an event costs the client and the server (Linux)
	@$(RUN) python bench/costs.py
	@$(RUN) python bench/page.py

counting: $(READY)  ## what counting for the metrics costs
	@$(RUN) python bench/counting.py
	@$(RUN) python bench/page.py

searching: $(READY)  ## how long searches take over ten million events
	@$(RUN) python bench/searching.py
	@$(RUN) python bench/page.py

figures: $(READY)  ## put the latest results of the benchmark into docs/performance.md
	@$(RUN) python bench/page.py

site: $(READY)  ## the site of the documentation, in build/site
	@$(RUN) NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
	@echo "open build/site/index.html"

format: $(READY)  ## lay out the code and repair what ruff can repair
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

lock: $(READY)  ## renew requirements.lock: newest versions allowed, with hashes
	$(BIN)/python -m pip install --quiet --upgrade uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		pyproject.toml --output-file requirements.lock

clean:  ## remove .venv, caches and built files
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an interrupted set-up starts over.
$(READY): pyproject.toml requirements.lock
	@python=$$(for name in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
		"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done); \
	if [ -z "$$python" ]; then \
		echo "Holdfast needs Python 3.11 or newer; $(or $(PYTHON),python3) is $$($(or $(PYTHON),python3) --version 2>&1)." >&2; \
		echo "Install one, or name it:  make PYTHON=/path/to/python3.12 ..." >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$($$python --version) (once)"; \
	$$python -m venv --clear $(VENV) || { \
		echo "Python's venv module is missing; on Debian and Ubuntu:  apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
