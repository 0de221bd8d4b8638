# podsearch: `make help` lists the targets.

ifndef PYTHON
PYTHON := $(shell for python in python3.11 python3.12 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$python && break; done)
endif

# Variables set on the command line may contain a `$`: they are passed on literally, and are neither expanded nor run.
WRITTEN := $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(name)))
$(foreach name,$(WRITTEN),$(eval override $(name) := $$(value $(name))))
export $(WRITTEN) PYTHON Q

# deploy.local.setup finds the folder for everything generated (the same code reads .env later), sets up what is missing
# there, and runs what follows.
IN_VENV = @if ! command -v "$${PYTHON:-nothing}" > /dev/null; then echo "podsearch needs Python 3.11 or 3.12: install one, or name it with PYTHON=/path/to/python3.11"; exit 1; fi; \
	PYTHONDONTWRITEBYTECODE=1 "$$PYTHON" -c 'import os, sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else "podsearch needs Python 3.11 or 3.12; %s is %d.%d." % (os.environ["PYTHON"], *v))' && \
	PYTHONDONTWRITEBYTECODE=1 "$$PYTHON" -m deploy.local.setup

# Runs a program from PyPI in a temporary environment of its own.
WITH = @folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && "$$PYTHON" -m venv "$$folder" && \
	"$$folder/bin/pip" install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run up down search serve secrets test lint format bench-ingest bench-query-generation bench-fine-tuning bench-encoding bench-reindex bench-vectors bench-search bench-gate bench-gpu hashes sbom audit clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Set up, then run the whole pipeline once and show what search answers
	$(IN_VENV) -m deploy.local run

up: ## Start Airflow and search, and leave them running
	$(IN_VENV) -m deploy.local up

down: ## Stop what `make up` left running
	$(IN_VENV) -m deploy.local down

search: ## Search the live index, e.g. make search Q="eat better during the holidays"
	$(IN_VENV) -m include.search -- "$$Q"

serve: ## Serve the search page and its JSON API at http://127.0.0.1:8090 until stopped
	$(IN_VENV) -m include.search.http

secrets: ## Add the secrets that docker-compose.yaml needs to .env
	@PYTHONDONTWRITEBYTECODE=1 "$${PYTHON:-python3}" -m deploy.cluster.secrets

test: lint ## Set up, then lint, check types and run every test
	$(IN_VENV) --dev -m pytest -n 4

lint: ## Lint and check types
	$(IN_VENV) --dev -m ruff check .
	$(IN_VENV) --dev -m ruff format --check .
	$(IN_VENV) --dev -m mypy

format: ## Format the code
	$(IN_VENV) --dev -m ruff check --fix .
	$(IN_VENV) --dev -m ruff format .

bench-ingest: ## Measure ingestion against pandas at 881,000 and 4 million episodes (15 GB of disk)
	$(IN_VENV) -m benchmarks.ingest

bench-query-generation: ## Measure query generation against the article's loop
	$(IN_VENV) -m benchmarks.query_generation

bench-fine-tuning: ## Measure fine-tuning against the article's settings
	$(IN_VENV) -m benchmarks.fine_tuning

bench-encoding: ## Measure encoding against the article's calls
	$(IN_VENV) -m benchmarks.encoding

bench-reindex: ## Measure re-indexing against the article's loop
	$(IN_VENV) -m benchmarks.reindex

bench-vectors: ## Measure writing and searching a million vectors
	$(IN_VENV) -m benchmarks.vectors

bench-search: ## Measure hybrid search against vectors alone
	$(IN_VENV) -m benchmarks.search

bench-gate: ## Simulate how often the gate is right (no models, a few minutes)
	$(IN_VENV) -m benchmarks.gate

bench-gpu: ## Run the CUDA tests and measure everything that runs on a GPU
	$(IN_VENV) -m benchmarks.gpu

hashes: ## Write what the images install, with hashes: requirements-image.txt
	$(WITH) uv==0.13.9 && "$$folder/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-emit-package podsearch-airflow-provider --custom-compile-command "make hashes" \
		--constraint constraints.txt --output-file requirements-image.txt requirements-cluster.txt

sbom: ## Write a bill of materials of the pinned packages (CycloneDX): sbom.json
	$(WITH) cyclonedx-bom==7.5.0 && "$$folder/bin/cyclonedx-py" requirements constraints.txt --output-file sbom.json

audit: ## Check the pinned packages for known vulnerabilities
	$(WITH) pip-audit==2.10.1 && "$$folder/bin/pip-audit" --requirement constraints.txt --no-deps --disable-pip --strict

clean: ## Stop Airflow and remove everything that was generated
	$(IN_VENV) clean
