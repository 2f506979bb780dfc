# A fresh machine has Python, pip, git and make: every target sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help test test-pure test-debug test-coming lint sanitize demo run bench bench-cost check-cost e2e clean

help: ## what can be done here
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

# What an editable install builds: the compiled core, where there is a compiler (see setup.py).
BUILT_FROM := pyproject.toml setup.py $(wildcard otel_loopblock/core/native/*.[ch])

# The stamp is the environment: it is made again when the dependencies or the core change. Whatever is not installed as
# editable pip compiles; where PYTHONDONTWRITEBYTECODE is set each process would compile ours.
$(VENV)/.ready: $(BUILT_FROM)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	$(BIN)/python -m compileall -q otel_loopblock
	touch $@

# MARKS says which tests: make test MARKS="not once". Some at a time, a file's tests together: they share what is slow to
# make. Then one by one those that others would make late.
WORKERS ?= 2
SIDE_BY_SIDE := --numprocesses $(WORKERS) --dist loadfile
AND_MARKS := $(if $(MARKS), and $(MARKS))
pytest = set -e; \
	.ci/tests $(BIN)/python $(SIDE_BY_SIDE) -m "not alone$(AND_MARKS)" $(1); \
	.ci/tests $(BIN)/python -m "alone$(AND_MARKS)" $(1)

test: $(VENV)/.ready ## the test suite, on both loops
	$(call pytest,$(PYTEST_ARGS))

# What the core's twin in Python has a part in.
OF_THE_CORE := tests/core tests/hooks tests/watch tests/test_guard.py tests/test_runtime.py tests/delayed
test-pure: export OTEL_PYTHON_LOOPBLOCK_CORE = pure
test-pure: $(VENV)/.ready ## the tests that rest on the core, on its twin in Python
	$(call pytest,$(OF_THE_CORE) $(PYTEST_ARGS))

lint: $(VENV)/.ready ## linter, strict type check, and which room may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The demo needs much less than the tests do: on a fresh machine it is there sooner.
$(VENV)/.ready-demo: $(BUILT_FROM)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	$(BIN)/python -m compileall -q otel_loopblock
	touch $@

demo: $(or $(wildcard $(VENV)/.ready),$(VENV)/.ready-demo) ## a real FastAPI service that blocks, and what its traces say
	$(BIN)/otel-loopblock demo $(DEMO_ARGS)

# An application of one's own: make run APP=shop.main:app DIR=../shop REQUIREMENTS=../shop/requirements.txt
# What it needs is installed beside what the command needs; RUN_ARGS are the command's options.
DIR ?= .
RUN_ARGS ?=
UVICORN_ARGS ?= --reload
$(VENV)/.ready-run: $(BUILT_FROM) $(REQUIREMENTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[demo,run]' $(addprefix --requirement ,$(REQUIREMENTS))
	$(BIN)/python -m compileall -q otel_loopblock
	touch $@

run: $(or $(if $(REQUIREMENTS),,$(wildcard $(VENV)/.ready)),$(VENV)/.ready-run) ## what blocks a service of your own: make run APP=module:app
	@test -n "$(APP)" || { echo "which one? make run APP=module:app, DIR=its folder" >&2; exit 2; }
	cd $(DIR) && $(abspath $(BIN))/otel-loopblock run $(RUN_ARGS) -- uvicorn $(APP) $(UVICORN_ARGS)

# Collector, Jaeger and Prometheus are built once per pinned version and kept outside the tree; the system's own
# prometheus, promtool and chromium are used as well.
e2e: $(VENV)/.ready-e2e ## service, Collector, Jaeger and Prometheus, all of them real, with the files in deploy/
	deploy/e2e/build.sh > $(VENV)/e2e.env
	env $$(cat $(VENV)/e2e.env) .ci/tests $(BIN)/python tests/e2e $(PYTEST_ARGS)

$(VENV)/.ready-e2e: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --editable '.[e2e]'
	touch $@

# The core's tests, strict in three ways. A copy of the tree, as what is built for this is of no use to anybody else.
# Memory is the system's own: in Python's the sanitizer would not see what is wrong. Leaks are Python's to tell. What C
# code writes is not captured: a report would be lost with the process.
SANITIZED := build/sanitized
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -g -O1
sanitize: $(VENV)/.ready ## the compiled core's tests with gcc's sanitizers, and on a debug build of Python
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED)
	cp -r otel_loopblock tests setup.py pyproject.toml README.md LICENSE $(SANITIZED)
	rm -f $(SANITIZED)/otel_loopblock/core/_native*.so
	cd $(SANITIZED) && OTEL_LOOPBLOCK_BUILD=require CFLAGS="$(SANITIZE)" $(abspath $(BIN))/python setup.py -q build_ext --inplace
	cd $(SANITIZED) && LD_PRELOAD=$$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
		PYTHONDEVMODE=1 OTEL_LOOPBLOCK_BUILD=require $(abspath .ci/tests) $(abspath $(BIN))/python $(SIDE_BY_SIDE) --capture=sys \
		tests/core $(PYTEST_ARGS)
	@if command -v $(DEBUG_PYTHON) > /dev/null; then $(MAKE) --no-print-directory test-debug; \
	else echo "$(DEBUG_PYTHON) is missing: nothing was run on a debug build (Debian: python3-dbg, DEBUG_PYTHON=)"; fi

# Debian's, with all of CPython's assertions. Only what tests/core needs, of which wheels load in it.
DEBUG_PYTHON ?= /usr/bin/python3.11-dbg
DEBUG_VENV ?= .venv-debug

$(DEBUG_VENV)/.ready: $(BUILT_FROM)
	$(DEBUG_PYTHON) -m venv $(DEBUG_VENV)
	$(DEBUG_VENV)/bin/python -m pip install --quiet --upgrade pip
	OTEL_LOOPBLOCK_BUILD=require $(DEBUG_VENV)/bin/python -m pip install --quiet --editable '.[otlp]' \
		pytest pytest-asyncio pytest-xdist "setuptools >= 77" uvloop
	touch $@

test-debug: $(DEBUG_VENV)/.ready ## the core's tests on a debug build of Python
	OTEL_LOOPBLOCK_BUILD=require PYTHONDEVMODE=1 .ci/tests $(DEBUG_VENV)/bin/python $(SIDE_BY_SIDE) tests/core $(PYTEST_ARGS)

test-coming: ## the core part of the suite, and what it costs, on Python 3.14 and 3.15, in a system made for them; as root
	.ci/forky

bench: $(VENV)/.ready ## the same work blocking, offloaded and in def endpoints, on both loops
	$(BIN)/otel-loopblock bench --example --loop both $(BENCH_ARGS)

# Instructions are counted on a Python built as users have it: Debian's own (packages python3.11-venv, python3-dev).
# pyenv's are built without optimisation.
COST_PYTHON ?= /usr/bin/python3.11
COST_VENV ?= .venv-cost

$(COST_VENV)/.ready: $(BUILT_FROM) benchmarks/cost/pins.txt
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

clean: ## remove the environments and what was built
	rm -rf .venv* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build *.egg-info otel_loopblock/core/_native*.so
