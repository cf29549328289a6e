# Everything that a person or CI runs. `make help` lists it.
#
# Written for GNU make 3.81 and later (macOS ships 3.81) and for BSD as well as GNU tools. Recipes are silent and set-up
# talks on standard error, so that `make demo ARGS="… --json"` leaves standard output to the program.

PYTHON ?=
ARGS ?=
NAME ?=
MINUTES ?= 30

VENV := .venv
TORCH_VENV := .venv-torch
FLOWER_VENV := .venv-flower
BIN := $(VENV)/bin
DATA := $(VENV)/share/fanlight-data
PIP := -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
CRASH_POINTS := tests/crash/test_crash_points.py
TWO := -n 2 --dist worksteal
# Tests with real processes wait as long as they compute: three at a time keep two cores busy. They are a run of their
# own, since Playwright leaves an event loop running in its process, where others could not start theirs.
WORKERS ?= 3
INPUTS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-torch test-long test-crash soak lint bench bench-flower results screenshots clean

help:  ## list these targets
	@awk -F ':.*##' '/^[a-z-]+:.*##/ { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.stamp-run $(DATA)/.stamp  ## start a whole federation on this machine: make demo ARGS="--rounds 3"
	@$(BIN)/fanlight demo $(ARGS)

test: $(VENV)/.stamp-dev $(DATA)/.stamp  ## fast tests first, then the real processes; never needs torch
	@$(BIN)/python scripts/install_debian_packages.py tests/debian-packages.txt
	@$(BIN)/python -m pytest $(TWO) --ignore=tests/e2e --ignore=tests/crash --ignore=tests/torch tests $(ARGS)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/e2e tests/crash $(ARGS)

test-torch: $(TORCH_VENV)/.stamp $(DATA)/.stamp  ## compare with PyTorch, in an environment of its own
	@$(TORCH_VENV)/bin/python -m pytest -m torch tests/torch $(ARGS)

test-long: $(VENV)/.stamp-dev $(DATA)/.stamp  ## the tests marked long, many more random examples, every crash point
	@$(BIN)/python scripts/install_debian_packages.py tests/debian-packages.txt
	@FANLIGHT_LONG=1 $(BIN)/python -m pytest $(TWO) --timeout 1800 -m "not torch" \
	  --ignore=tests/e2e --ignore=tests/crash --ignore=tests/torch tests $(ARGS)
	@FANLIGHT_LONG=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --timeout 1800 -m "not torch" \
	  --ignore=$(CRASH_POINTS) tests/e2e tests/crash $(ARGS)
	@$(MAKE) test-crash

test-crash: $(VENV)/.stamp-dev $(DATA)/.stamp  ## every crash point, in 24 chunks: make test-crash ARGS="-k 07-of-24"
	@FANLIGHT_LONG=1 $(BIN)/python -m pytest $(TWO) -v --durations=5 $(CRASH_POINTS) $(ARGS)

soak: $(VENV)/.stamp-dev $(DATA)/.stamp  ## real processes, and all that can go wrong: make soak MINUTES=30 ARGS="--json"
	@$(BIN)/python -m tests.crash.soak --minutes $(MINUTES) $(ARGS)

lint: $(VENV)/.stamp-dev  ## formatting, style, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.stamp-dev $(DATA)/.stamp  ## run benchmarks/NAME.py: make bench NAME=round ARGS="--json"
	@test -f "benchmarks/$(NAME).py" || { \
	  echo "make bench NAME=<script>: there is no benchmarks/$(NAME).py" >&2; ls benchmarks >&2; exit 2; }
	@FANLIGHT_DATA_DIR="$${FANLIGHT_DATA_DIR:-$(CURDIR)/$(DATA)}" $(BIN)/python "benchmarks/$(NAME).py" $(ARGS)

bench-flower: $(VENV)/.stamp-dev  ## measure rounds of Flower, in an environment of its own, which NAME=secure_aggregation uses too
	$(call make_venv,$(FLOWER_VENV))
	@$(FLOWER_VENV)/bin/python -c 'import flwr, ray, torch' 2>/dev/null || $(FLOWER_VENV)/bin/python -m pip \
	  --disable-pip-version-check install --quiet --requirement benchmarks/peers/requirements.txt >&2 || true
	@if test -x $(FLOWER_VENV)/bin/flwr; then $(BIN)/python benchmarks/peers/flower.py $(ARGS); else \
	  echo "Flower cannot be installed here, so nothing is measured." >&2; fi

results: $(VENV)/.stamp-dev $(TORCH_VENV)/.stamp $(DATA)/.stamp  ## simulate all that docs/results.md compares, and write it: 40 minutes once
	@$(BIN)/python scripts/install_debian_packages.py tests/debian-packages.txt
	@$(BIN)/python benchmarks/results.py $(ARGS)

screenshots: $(VENV)/.stamp-dev  ## take the pictures of the documentation again, of all pages in Chromium
	@$(BIN)/python scripts/install_debian_packages.py tests/debian-packages.txt
	@$(BIN)/python -m scripts.screenshots $(ARGS)

clean:  ## remove environments and caches; leaves fanlight-state alone, for it holds keys and models
	@rm -rf $(VENV) $(TORCH_VENV) $(FLOWER_VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -type d -name __pycache__ -prune -exec rm -rf {} +

# ---- environments: one stamp a set of packages, older than what it was made from means: install again

define make_venv
	@test -x $(1)/bin/pip || { \
	  python=$$(sh scripts/choose_python.sh $(or $(PYTHON),python3 /usr/bin/python3)) || exit 1; \
	  "$$python" -m venv $(1) >&2 || { rm -rf $(1); echo "'$$python -m venv $(1)' failed." >&2; exit 1; }; }
endef

# Building the package takes hatchling from the environment (no isolation), so that it is pinned like all the rest.
$(VENV)/.stamp-run: $(INPUTS)
	$(call make_venv,$(VENV))
	@echo "installing Fanlight into $(VENV)" >&2
	@$(BIN)/python $(PIP) hatchling editables >&2
	@$(BIN)/python $(PIP) --no-build-isolation --editable . >&2
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-run
	@echo "installing the tools for tests into $(VENV)" >&2
	@$(BIN)/python $(PIP) --no-build-isolation --editable '.[dev]' >&2
	@touch $@

# A second environment: were torch in the first one, a test that a device or server does without it would prove nothing.
$(TORCH_VENV)/.stamp: $(INPUTS)
	$(call make_venv,$(TORCH_VENV))
	@echo "installing Fanlight with PyTorch into $(TORCH_VENV)" >&2
	@$(TORCH_VENV)/bin/python $(PIP) hatchling editables >&2
	@$(TORCH_VENV)/bin/python $(PIP) --no-build-isolation --editable '.[dev,torch]' >&2
	@$(TORCH_VENV)/bin/python $(PIP) --no-build-isolation --no-deps efficientnet-lite-pytorch >&2
	@touch $@

$(DATA)/.stamp: $(VENV)/.stamp-run scripts/fetch_demo_data.py
	@$(BIN)/python scripts/fetch_demo_data.py $(DATA) constraints.txt
	@touch $@
