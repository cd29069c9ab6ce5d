# Needs make and Python 3.11 or newer with pip; everything else is installed into virtual environments below this directory.

# The Airflow to use: a version with a requirements/airflow-VERSION.txt.
AIRFLOW ?= 3.3.2
# Where the virtual environments are made.
VENVS ?= .
# Arguments for pytest, e.g. ARGS="tests/hooks -k timeout", or for the benchmarks, e.g. ARGS="--rounds 1".
ARGS ?=
# The benchmarks to run; there is also the one of the event listener, BENCH=listener.
BENCH ?= writes reads
# Ports of `make airflow`.
AIRFLOW_PORT ?= 8080
SANDBOX_PORT ?= 8099

NEWEST_PYTHON := $(if $(filter 2.%,$(AIRFLOW)),12,99)
USABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $(NEWEST_PYTHON)))
# A name on PATH can be a shim that does not run: each is tried.
PYTHON ?= $(shell for python in python3.12 python3.11 python3.13 python3.14 python3; do \
	$$python -c '$(USABLE)' >/dev/null 2>&1 && echo $$python && break; done)

REQUIREMENTS := requirements/airflow-$(AIRFLOW).txt
VENV := $(VENVS)/.venv$(if $(filter-out 3.3.2,$(AIRFLOW)),-$(AIRFLOW))
# The public client brings a top-level package `tests`, so it lives apart.
PUBLIC_CLIENT := $(VENVS)/.venv-public-client

.DEFAULT_GOAL := help
ifeq ($(wildcard $(REQUIREMENTS)),)
$(error No pinned requirements for Airflow $(AIRFLOW); there are $(patsubst requirements/airflow-%.txt,%,$(wildcard requirements/airflow-*.txt)))
endif
.PHONY: help test bench demo airflow check lint types imports format pins clean

help: ## this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

test: $(VENV)/.installed $(PUBLIC_CLIENT)/.installed ## the tests; AIRFLOW=2.11.2 for those on Airflow 2
	@echo "==> tests on Airflow $(AIRFLOW)"
	@OPTIMOVE_PUBLIC_CLIENT_PYTHON="$$(cd "$(PUBLIC_CLIENT)/bin" && pwd)/python" $(VENV)/bin/python -m pytest $(ARGS)

bench: $(VENV)/.installed ## large writes and reads beside the loops one would write; BENCH=reads for one half, BENCH=listener for the events
	@for half in $(BENCH); do \
		echo "==> benchmark of $$half on Airflow $(AIRFLOW); up to a quarter of an hour"; \
		$(VENV)/bin/python -m tests.benchmarks.$$half $(ARGS) || exit 1; \
	done

demo: $(VENV)/.installed ## the daily DAG, end to end, against a local Optimove
	@echo "==> demo on Airflow $(AIRFLOW)"
	@$(VENV)/bin/python scripts/demo.py

airflow: $(VENV)/.installed ## a local Airflow with the sandbox and the example DAGs; AIRFLOW_PORT=8080 SANDBOX_PORT=8099
	@echo "==> Airflow $(AIRFLOW)"
	@$(VENV)/bin/python scripts/local_airflow.py --port $(AIRFLOW_PORT) --sandbox-port $(SANDBOX_PORT)

check: lint types imports ## ruff, mypy --strict and the house's import rules

lint: $(VENV)/.installed-checks
	@echo "==> ruff"
	@$(VENV)/bin/ruff check --output-format concise . && $(VENV)/bin/ruff format --check .

types: $(VENV)/.installed-checks
	@echo "==> mypy --strict"
	@$(VENV)/bin/mypy

imports: $(VENV)/.installed-checks
	@echo "==> import rules"
	@$(VENV)/bin/lint-imports

format: $(VENV)/.installed-checks ## ruff format, and what ruff can fix
	@$(VENV)/bin/ruff format . && $(VENV)/bin/ruff check --fix .

pins: $(VENV)/.installed ## renew requirements/ with the newest versions that fit pyproject.toml
	@$(VENV)/bin/python scripts/renew_pins.py

clean: ## remove the virtual environments and everything that can be made again
	rm -rf "$(VENVS)"/.venv* .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

.PHONY: python
python:
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(USABLE)' || { \
		echo "Airflow $(AIRFLOW) needs Python 3.11 or newer$(if $(filter 2.%,$(AIRFLOW)), up to 3.12)," \
		"and no such Python was found ($(or $(PYTHON),python3) is $$($(or $(PYTHON),python3) --version 2>&1))." \
		"Install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }

# pyproject.toml: the entry points and dependencies of the editable install are read when it is installed.
$(VENV)/.installed: $(REQUIREMENTS) pyproject.toml scripts/make_environment.py | python
	@echo "==> environment for Airflow $(AIRFLOW); about half a minute, once"
	@$(PYTHON) scripts/make_environment.py $(VENV) $(REQUIREMENTS) --project . --stamp $@

$(VENV)/.installed-checks: requirements/checks.txt $(VENV)/.installed
	@echo "==> ruff, mypy and import-linter"
	@$(PYTHON) scripts/make_environment.py $(VENV) requirements/checks.txt --stamp $@

$(PUBLIC_CLIENT)/.installed: requirements/public-client.txt scripts/make_environment.py | python
	@echo "==> environment for the public client, optimove 2.0.0"
	@$(PYTHON) scripts/make_environment.py $(PUBLIC_CLIENT) requirements/public-client.txt --stamp $@
