# A fresh machine has Python, pip, git and make: every target sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help test lint demo bench bench-cost check-cost e2e clean

help: ## what can be done here
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

# The stamp is the environment: it is made again when the dependencies change. Whatever is not installed as editable
# pip compiles; where PYTHONDONTWRITEBYTECODE is set each process would compile ours.
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	$(BIN)/python -m compileall -q otel_loopblock
	touch $@

test: $(VENV)/.ready ## the test suite, on both loops
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.ready ## linter and strict type check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The demo needs much less than the tests do: on a fresh machine it is there sooner.
$(VENV)/.ready-demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	$(BIN)/python -m compileall -q otel_loopblock
	touch $@

demo: $(or $(wildcard $(VENV)/.ready),$(VENV)/.ready-demo) ## a real FastAPI service that blocks, and what its traces say
	$(BIN)/otel-loopblock demo $(DEMO_ARGS)

# Collector, Jaeger and Prometheus are built once per pinned version and kept outside the tree; the system's own
# prometheus, promtool and chromium are used as well.
e2e: $(VENV)/.ready-e2e ## service, Collector, Jaeger and Prometheus, all of them real, with the files in deploy/
	deploy/e2e/build.sh > $(VENV)/e2e.env
	env $$(cat $(VENV)/e2e.env) $(BIN)/python -m pytest tests/e2e $(PYTEST_ARGS)

$(VENV)/.ready-e2e: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --editable '.[e2e]'
	touch $@

bench: $(VENV)/.ready ## the same work blocking, offloaded and in def endpoints, on both loops
	$(BIN)/otel-loopblock bench --example --loop both $(BENCH_ARGS)

# Instructions are counted on a Python built as users have it: Debian's own (packages python3.11-venv, python3-dev).
# pyenv's are built without optimisation.
COST_PYTHON ?= /usr/bin/python3.11
COST_VENV ?= .venv-cost

$(COST_VENV)/.ready: pyproject.toml benchmarks/cost/pins.txt
	@command -v $(COST_PYTHON) > /dev/null || { echo "$(COST_PYTHON) is missing: name an optimised Python with COST_PYTHON" >&2; exit 2; }
	$(COST_PYTHON) -m venv $(COST_VENV)
	$(COST_VENV)/bin/python -m pip install --quiet --upgrade pip
	$(COST_VENV)/bin/python -m pip install --quiet --constraint benchmarks/cost/pins.txt --editable '.[demo]'
	touch $@

# One by one: what cannot be had is left out, and the table says so.
$(COST_VENV)-peers/.ready: benchmarks/cost/peers.txt
	$(COST_PYTHON) -m venv $(COST_VENV)-peers
	$(COST_VENV)-peers/bin/python -m pip install --quiet --upgrade pip
	grep -v '^#' $< | while read -r peer; do $(COST_VENV)-peers/bin/python -m pip install --quiet "$$peer" || true; done
	touch $@

bench-cost: $(COST_VENV)/.ready $(COST_VENV)-peers/.ready ## instructions per callback, beside other tools; BENCH_ARGS="--times --doc" for all
	$(COST_VENV)/bin/python -m benchmarks.cost --peers $(COST_VENV)-peers/bin/python $(BENCH_ARGS)

check-cost: $(COST_VENV)/.ready ## fails when the package costs over 2 % more than benchmarks/budget.json allows
	$(COST_VENV)/bin/python -m benchmarks.cost --check $(BENCH_ARGS)

clean: ## remove the environments
	rm -rf .venv* .pytest_cache .mypy_cache .ruff_cache
