# Everything a person does with this checkout.  Each target installs what it lacks first (tools/setup),
# and takes no time for it when nothing is missing.

# make test PYTHON=python3.13 uses that interpreter, in an environment of its own: .venv-3.13
ifdef PYTHON
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
SETUP := tools/setup --python $(PYTHON) --venv $(VENV)
else
VENV := .venv
SETUP := tools/setup
endif

BIN := $(VENV)/bin
FUZZ := .cache/fuzz-$(notdir $(VENV))
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check fmt e2e sim fuzz bless bench docs lock dist clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9]*:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Install everything that the other targets need
	@$(SETUP) e2e

demo: ## Run Metier's main job on this machine with real virtual machines (ARGS=...)
	@$(SETUP) demo
	@$(BIN)/metier demo $(ARGS)

test: ## Run the whole test suite except the slow marks (ARGS=...)
	@$(SETUP) test
	@$(BIN)/pytest -q -n auto --dist worksteal $(ARGS)

check: ## Format, lint, types and the repository's own rules
	@$(SETUP) check
	@$(BIN)/ruff format --check --quiet . || { echo 'error: not formatted; run: make fmt'; exit 1; }
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pytest -q tests/tidy

fmt: ## Format the code and mend what the linter can
	@$(SETUP) check
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

e2e: ## Run the tests that drive real virtual machines, and the campaigns of faults (ARGS=...)
	@$(SETUP) e2e
	@$(BIN)/pytest -q -m e2e -o timeout=1800 $(ARGS)

sim: ## Tell random stories of a simulated data centre until one ends badly, or one (SEED=... STEPS=..., STORY=NAME)
	@$(SETUP) test
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED)) $(if $(STEPS),--steps $(STEPS)) $(if $(STORY),--story $(STORY)) $(ARGS)

fuzz: ## Look for bytes that a reader of disks or archives cannot bear (TARGET=NAME SECONDS=60)
	@$(SETUP) test
	@$(FUZZ)/bin/python -c 'import atheris' 2>/dev/null \
	  || { $(BIN)/python -m venv --clear $(FUZZ) && $(FUZZ)/bin/pip install -q atheris; } \
	  || echo 'fuzz: going on without atheris, which could not be installed' >&2
	@PYTHONPATH=src $(FUZZ)/bin/python -m tests.fuzz $(TARGET) $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

bless: ## Write the outcome of all scenarios anew; review the difference (ARGS=-k NAME)
	@$(SETUP) test
	@METIER_BLESS=1 $(BIN)/pytest -q tests/scenarios tests/unit/cli/test_example_scenarios.py $(ARGS)

bench: ## Measure against peers and floors, in the same run (ARGS=...)
	@$(SETUP) test
	@$(SETUP) bench || echo 'bench: going on without peers that could not be installed' >&2
	@$(BIN)/python -m bench $(ARGS)

docs: ## Write the generated reference pages anew
	@$(SETUP) check
	@$(BIN)/python tools/generate_docs.py $(ARGS)

lock: ## Write requirements.lock anew (ARGS=--upgrade for newer versions)
	@tools/lock $(ARGS)

dist: ## Build the wheel and the source distribution into dist/
	@$(SETUP) check
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation

clean: ## Remove what building and testing left behind, not the environment
	@rm -rf dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -path './.venv*' -prune -o -path ./.cache -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
