# Two commands are enough: `make playground` and `make test`. Both set up .venv the first time.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
COMPILE = $(BIN)/uv pip compile --quiet --universal --no-strip-extras --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes

.PHONY: help playground screenshots test quick lint typecheck unit coverage faults audit format lock benchmark flood scale sizes release deployment clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

playground: $(VENV)/.runtime ## Try the bot in your browser, without an account
	@$(BIN)/python -m bot playground

screenshots: $(VENV)/.dev ## Take the pictures of the playground for the docs
	SCREENSHOTS=docs/playground $(BIN)/pytest tests/browser -q

test: lint typecheck unit ## Lint, type-check, test

lint: $(VENV)/.dev ## Lint only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(VENV)/.dev ## Type-check only
	$(BIN)/mypy

quick: lint typecheck ## Lint, type-check, and the tests of pure functions: seconds
	$(BIN)/pytest tests/pure -n auto --dist worksteal

unit: $(VENV)/.dev ## Test only
	$(BIN)/pytest -n auto --dist worksteal

coverage: $(VENV)/.dev ## Test, and list the lines and branches that no test reaches
	$(BIN)/pytest -n auto --dist worksteal --cov --cov-report=term:skip-covered

faults: $(VENV)/.dev ## Kill, starve and stop the bot for minutes, and audit what became of each command
	$(BIN)/pytest tests/faults -m faults -n auto --dist worksteal

audit: $(VENV)/.dev ## Ask whether a vulnerability is known in what is pinned
	@.ci/audit

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: .venv-benchmark/.ready ## Measure the bot against stock Bolt apps
	@.venv-benchmark/bin/python -m benchmarks.acceptance

.venv-benchmark/.ready: requirements.txt benchmarks/requirements.txt benchmarks/stock/package-lock.json \
		| $(VENV)/bin/python
	@echo "Installing what the benchmark needs (once) ..." >&2
	@$(BIN)/python -m venv .venv-benchmark
	@$(subst $(BIN),.venv-benchmark/bin,$(PIP)) -r requirements.txt -r benchmarks/requirements.txt
	@if command -v npm >/dev/null; then cd benchmarks/stock && npm ci --silent --no-audit --no-fund; fi
	@touch $@

flood: $(VENV)/.dev ## Send 2,000 commands at once, to the end
	$(BIN)/python -m benchmarks.flood

scale: $(VENV)/.dev ## Compare a database of 1,000,000 rows with an empty one
	$(BIN)/python -m benchmarks.scale

lock: $(VENV)/.dev ## Compile the requirements anew
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt
	$(COMPILE) --group release -c requirements-dev.txt -o requirements-release.txt

sizes: $(VENV)/.dev ## Measure what a process takes of a machine and of PostgreSQL
	$(BIN)/python -m benchmarks.sizes

release: .venv-release/.ready ## Build the wheel, the sdist and the bill of materials, and try the wheel
	@PYTHON="$(PYTHON)" .ci/release

deployment: .venv-release/.ready ## Check the Dockerfile, compose.yaml and what else deploys the bot
	@PYTHON="$(PYTHON)" .ci/deployment

.venv-release/.ready: requirements-release.txt | $(VENV)/bin/python
	@echo "Installing what a release needs (once) ..." >&2
	@$(BIN)/python -m venv .venv-release
	@$(subst $(BIN),.venv-release/bin,$(PIP)) -r requirements-release.txt
	@touch $@

clean: ## Remove what was set up
	rm -rf $(VENV) .venv-benchmark .venv-release dist benchmarks/stock/node_modules

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up $(VENV) (once) ..." >&2
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt | $(VENV)/bin/python
	@echo "Installing what the bot needs (once) ..." >&2
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt | $(VENV)/bin/python
	@echo "Installing what the tests need (once) ..." >&2
	@$(PIP) -r requirements-dev.txt
	@touch $@ $(VENV)/.runtime
