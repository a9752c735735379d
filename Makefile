# Everything a newcomer runs. Python >= 3.11 and make are all that must be there; `make setup` brings the rest.

PYTHON ?= python3
TOOLS  := .tools
VENV   := .venv
BIN    := $(VENV)/bin
# A uv that is already installed serves as well as ours, as long as it can read the requirement files.
UV     := $(shell command -v uv 2>/dev/null || echo $(TOOLS)/bin/uv)
DEV    := requirements/dev.txt
STAMP  := $(VENV)/.installed
DATA   ?= .skatestock
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup setup-ci demo demo-kafka run test test-kills test-kafka-kills test-faults test-fuzz test-api-fuzz check fmt lint types contracts bench migration lock clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(TOOLS)/bin/uv:
	@command -v $(PYTHON) >/dev/null || { echo "There is no '$(PYTHON)' here. SkateStock needs Python 3.11 or newer."; exit 1; }
	@test -w . || { echo "$(CURDIR) cannot be written to, but the environment is made there."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "SkateStock needs Python 3.11 or newer; '$(PYTHON)' is older. Try: make PYTHON=python3.12"; exit 1; }
	@echo "Fetching uv, which fetches everything else ..."
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes \
	    --target $(TOOLS) -r requirements/uv.txt 2>$(TOOLS).log \
	  || { $(PYTHON) -m venv $(TOOLS)/venv && \
	       $(TOOLS)/venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt && \
	       mkdir -p $(TOOLS)/bin && ln -sf ../venv/bin/uv $@; } \
	  || { cat $(TOOLS).log; rm -f $(TOOLS).log; \
	       echo "uv could not be fetched, neither by pip nor in a venv; above stands why."; \
	       echo "Where Python came without both, as on Debian: apt-get install python3-venv"; exit 1; }
	@rm -f $(TOOLS).log

$(STAMP): $(DEV) pyproject.toml | $(UV)
	@test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) --no-python-downloads $(VENV)
	@$(UV) pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python $(DEV)
	@$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $@

setup: $(STAMP) ## Create the environment with every locked dependency

setup-ci: $(STAMP) ## Add what only continuous integration tests against
	@$(UV) pip install --quiet --no-deps --require-hashes --python $(BIN)/python -r requirements/ci.txt

demo: $(STAMP) ## Run five replica shops through the whole platform, with a week of history
	@$(BIN)/skatestock demo --data $(DATA)/demo

demo-kafka: $(STAMP) ## The same on production's topology: real Kafka and a real schema registry
	@$(BIN)/skatestock demo --kafka --data $(DATA)/demo-kafka

run: $(STAMP) ## Run the whole platform on the live shops
	@$(BIN)/skatestock up --data $(DATA)/live

test: $(STAMP) ## Run all tests (what is not installed here is skipped, with a word on what to install)
	@$(BIN)/pytest -q -n $(WORKERS) --dist loadgroup

test-kills: $(STAMP) ## Run the full campaign of at least 100 SIGKILLs against the ground truth
	@SKATESTOCK_TEST_KILLS=$${SKATESTOCK_TEST_KILLS:-100} $(BIN)/pytest -q -m kills --timeout 3600 tests/e2e

test-kafka-kills: $(STAMP) ## Run the full campaign of at least 200 kills and freezes on real Kafka
	@SKATESTOCK_TEST_KAFKA_KILLS=$${SKATESTOCK_TEST_KAFKA_KILLS:-200} $(BIN)/pytest -q -m kafka_kills --timeout 7200 tests/e2e

test-faults: $(STAMP) ## Play every fault of a shop on every platform through the whole pipeline
	@SKATESTOCK_TEST_FAULTS=all $(BIN)/pytest -q -n $(WORKERS) --dist loadgroup tests/e2e/test_faults.py

test-fuzz: $(STAMP) ## Read a million mutated pages with every parser
	@SKATESTOCK_TEST_FUZZ=$${SKATESTOCK_TEST_FUZZ:-1000000} $(BIN)/pytest -q -n $(WORKERS) --timeout 3600 tests/unit/test_platform_fuzz.py

test-api-fuzz: $(STAMP) ## Hold the API to its OpenAPI document with 2,000 examples for each operation
	@SKATESTOCK_TEST_API_EXAMPLES=$${SKATESTOCK_TEST_API_EXAMPLES:-2000} $(BIN)/pytest -q tests/integration/test_api_schemathesis.py

check: lint types contracts ## Run every static check

fmt: $(STAMP) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix --quiet .

lint: $(STAMP) ## Check format and lint
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .

types: $(STAMP) ## Check types strictly
	@$(BIN)/mypy

contracts: $(STAMP) ## Check that the rooms import each other in one direction only
	@$(BIN)/lint-imports

bench: $(STAMP) ## Measure speed, each figure beside its limit of the same run
	@$(BIN)/python -m benchmarks

migration: $(STAMP) ## Start a new migration: make migration NAME=add_something
	@test -n "$(NAME)" || { echo "Say what it does: make migration NAME=add_something"; exit 2; }
	@$(BIN)/python -m skatestock.database.migrations.new "$(NAME)"

lock: | $(UV) ## Resolve the requirement files anew, with hashes, for every platform
	@$(UV) pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 --extra embedded --extra kafka \
	    pyproject.toml --output-file requirements/runtime.txt $(LOCKFLAGS)
	@$(UV) pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 --extra embedded --extra kafka --group dev \
	    pyproject.toml --constraint requirements/runtime.txt --output-file $(DEV) $(LOCKFLAGS)
	@$(UV) pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
	    requirements/ci.in --output-file requirements/ci.txt $(LOCKFLAGS)

clean: ## Remove the environment, the caches and the demo's data; the history of the live shops stays
	@if [ -x $(BIN)/skatestock ] && [ -d $(DATA)/live ]; then $(BIN)/skatestock down --data $(DATA)/live; fi
	@if [ -x $(BIN)/skatestock ] && [ -d $(DATA)/demo ]; then $(BIN)/skatestock down --remove --data $(DATA)/demo; fi
	@if [ -x $(BIN)/skatestock ] && [ -d $(DATA)/demo-kafka ]; then $(BIN)/skatestock down --remove --data $(DATA)/demo-kafka; fi
	@rm -rf $(VENV) $(TOOLS) $(DATA)/demo $(DATA)/demo-kafka .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@rmdir $(DATA) 2>/dev/null || { [ ! -d $(DATA) ] || echo "The live history stays in $(DATA)."; }
