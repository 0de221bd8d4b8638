# podsearch: `make help` lists what there is.

ifndef PYTHON
PYTHON := $(shell for python in python3.11 python3.12 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$python && break; done)
endif

# Everything generated lives in one folder, which .env may move.
ifndef PODSEARCH_HOME
PODSEARCH_HOME := $(or $(shell sed -n 's/^PODSEARCH_HOME=//p' .env 2>/dev/null | tail -n 1),.podsearch)
endif
VENV := $(PODSEARCH_HOME)/venv
RUN := $(VENV)/bin/python

export PYTHONPYCACHEPREFIX := $(abspath $(PODSEARCH_HOME))/cache/pycache
# Each task is a process of its own: without compiled libraries, it would compile them for seconds before it works.
unexport PYTHONDONTWRITEBYTECODE
export Q

.DEFAULT_GOAL := help
.PHONY: help run up down search test lint format bench-ingest bench-query-generation bench-fine-tuning bench-encoding bench-reindex bench-vectors bench-gpu clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/installed ## Set up, then run the whole pipeline once and show what search answers
	@$(RUN) -m deploy.local run

up: $(VENV)/installed ## Start Airflow and leave it running on its schedules
	@$(RUN) -m deploy.local up

down: $(VENV)/installed ## Stop the Airflow that `make up` left running
	@$(RUN) -m deploy.local down

search: $(VENV)/installed ## Search the live index: make search Q="eat better during the holidays"
	@$(RUN) -m include.search "$$Q"

test: lint ## Set up, then lint, check types and run every test
	@$(RUN) -m pytest -n 2 -m "not airflow"
	@$(RUN) -m pytest -m airflow

lint: $(VENV)/installed-dev ## Lint and check types
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

format: $(VENV)/installed-dev ## Format the code
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

bench-ingest: $(VENV)/installed ## Measure ingestion against pandas at 881,000 and 4 million episodes (15 GB of disk)
	@$(RUN) -m benchmarks.ingest

bench-query-generation: $(VENV)/installed ## Measure query generation against the article's loop
	@$(RUN) -m benchmarks.query_generation

bench-fine-tuning: $(VENV)/installed ## Measure fine-tuning against the article's settings
	@$(RUN) -m benchmarks.fine_tuning

bench-encoding: $(VENV)/installed ## Measure encoding against the article's calls
	@$(RUN) -m benchmarks.encoding

bench-reindex: $(VENV)/installed ## Measure re-indexing against the article's loop
	@$(RUN) -m benchmarks.reindex

bench-vectors: $(VENV)/installed ## Measure writing and searching a million vectors
	@$(RUN) -m benchmarks.vectors

bench-gpu: $(VENV)/installed ## Run the CUDA tests and measure everything that uses a GPU
	@$(RUN) -m benchmarks.gpu

clean: ## Stop Airflow and remove everything that was generated
	@if [ -x $(RUN) ]; then $(RUN) -m deploy.local down; fi
	@if [ ! -e "$(PODSEARCH_HOME)" ]; then echo "Nothing to remove."; \
	elif [ -e "$(PODSEARCH_HOME)/made-by-podsearch" ]; then rm -rf "$(PODSEARCH_HOME)" && echo "Removed $(PODSEARCH_HOME)."; \
	else echo "$(PODSEARCH_HOME) does not look like podsearch's folder (no made-by-podsearch in it): remove it by hand."; exit 1; fi

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then echo "podsearch needs Python 3.11 or 3.12: install one, or name it with PYTHON=/path/to/python3.11"; exit 1; fi
	@PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else f"podsearch needs Python 3.11 or 3.12; $(PYTHON) is {v[0]}.{v[1]}.")'
	@$(PYTHON) -m venv $(VENV)
	@touch $(PODSEARCH_HOME)/made-by-podsearch

$(VENV)/installed: requirements.txt constraints.txt $(wildcard deploy/provider/*.*) | $(VENV)/bin/python
	@echo "Installing what podsearch needs (once; a few minutes) …"
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	@touch $@
