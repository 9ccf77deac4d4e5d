# frontdesk. `make run` tries it, `make test` proves it, `make help` lists the rest.
# Needs Python 3.11 or newer and a package index, nothing else. Another interpreter: make run PYTHON=/path/to/python3.12

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

WANTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$p -c '$(WANTED)' >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile
ARGS ?=

# The package itself is installed in place, with the build tools that the lock file names: nothing is fetched outside the locks.
define installed
	@echo "installing the locked packages into $(VENV): once, a minute at most" >&2
	@sh requirements/install.sh $(VENV) $(1)
	@$(PIP) --no-deps --no-build-isolation --no-index --editable .
	@touch $@
endef

.PHONY: help run test kafka voice check format bench train-demo docs lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

run: $(VENV)/.run ## install, fetch the models, and open the desk on the example tenants at http://127.0.0.1:8000
	@exec $(BIN)/frontdesk demo $(ARGS)

test: $(VENV)/.dev ## install what the tests need and run them all (ARGS="tests/docs -x" runs some)
	@exec $(BIN)/python -m pytest $(ARGS)

kafka: $(VENV)/.kafka ## install what `make test` needs to run a real Kafka broker too (with Java 17 and Maven)

voice: $(VENV)/.voice ## install what `make test` needs to hold a spoken call offline too (with espeak-ng)

check: $(VENV)/.dev ## formatting, lint, types, import contracts, and that the documentation is true
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/docs

format: $(VENV)/.dev ## format the code and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## print the benchmarks' tables (ARGS="--list" shows which, ARGS="answers sync" runs some)
	@exec $(BIN)/python -m bench $(ARGS)

train-demo: $(VENV)/.train ## fine-tune the embedded model on the example bank's FAQ, judge it, deploy it, and ask the desk
	-@$(BIN)/frontdesk train delete retail-faq 2>/dev/null
	$(BIN)/frontdesk train run -f examples/training/retail-faq.yaml --follow $(ARGS)
	@echo "curves: data/runs/retail-faq/curves.svg" >&2
	$(BIN)/frontdesk models deploy retail-faq --tenant meridian-retail
	$(BIN)/frontdesk ask meridian-retail "How do I freeze my card for a while?"

docs: $(VENV)/.dev ## write the parts of the documentation that come from the code again
	$(BIN)/python -m tests.docs.sections --write

lock: $(VENV)/.dev ## resolve the dependencies of pyproject.toml again and write requirements/*.txt
	sh requirements/lock.sh $(BIN)/uv

clean: ## remove the virtual environment and what tools left behind; data and models stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "frontdesk needs Python 3.11 to 3.14: install one, or name it with PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c '$(WANTED)' || { echo "$(PYTHON) is not Python 3.11 to 3.14: name another with PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment: install its venv module (on Debian: python3-venv)" >&2; rm -rf $(VENV); exit 1; }

$(VENV)/.run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(call installed,requirements/run.txt)

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(call installed,requirements/dev.txt)
	@touch $(VENV)/.run

$(VENV)/.kafka: requirements/kafka.txt pyproject.toml | $(VENV)/.dev
	$(call installed,requirements/kafka.txt)

$(VENV)/.voice: requirements/voice.txt pyproject.toml | $(VENV)/.dev
	$(call installed,requirements/voice.txt)

$(VENV)/.train: requirements/train.txt pyproject.toml | $(VENV)/bin/python
	$(call installed,requirements/train.txt)
	@touch $(VENV)/.run
