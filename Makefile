# The two commands: `make verify` (lab, suites, report) and `make test` (everything that proves the product).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := uv==0.13.9

.PHONY: help setup lock
help: ## what can be typed here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## the virtual environment, exactly as locked

$(VENV)/.ready: requirements.lock pyproject.toml
	@echo "setup: Python environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "setup: Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check $(UV)
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

lock: ## resolve the dependencies anew into requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check $(UV)
	$(BIN)/uv pip compile --quiet --generate-hashes --extra dev --python-version 3.11 --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.lock

.PHONY: verify test check mutants bench down
verify: setup ## bring up the lab, verify it, leave an open report in out/runs/latest/report.html
	@$(BIN)/verify lab up
	@$(BIN)/verify run --target lab
	@$(BIN)/verify report --open

test: check programs ## everything that proves the product: static checks, rules, harness, reports, the lab, seeded violations
	@$(BIN)/python -m tests.mutation --today
	@$(BIN)/pytest --durations=12

.PHONY: programs
programs: setup
	@$(BIN)/python -c 'from bootstrap.lab import packages; packages.install(print)'
	@command -v chromium >/dev/null || { echo "programs: installing Debian's chromium, which the tests of the page open it in"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; }

check: setup ## ruff, mypy strict, import-linter, shellcheck
	@echo "check: ruff, mypy strict, import-linter, shellcheck"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>&1 | tail -n 4
	@$(BIN)/shellcheck -x $$(git ls-files '*.sh') .ci/run

mutants: setup ## change each rule bit by bit, some 2,900 times, and see a case fail each time; `make test` does a third a day
	@$(BIN)/python -m tests.mutation

bench: setup ## the read-only part against Prowler and Trivy, and against 5,000 simulated pods
	@$(BIN)/verify lab up
	@$(BIN)/python -m tests.bench
	@$(BIN)/python -m tests.bench --scale

down: setup ## remove the lab; nothing of it stays but the build cache
	@$(BIN)/verify lab down
