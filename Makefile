# Verbs that people and CI share. Each sets up what it needs.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup demo test lint types arch docs bench ci clean

setup: $(STAMP)  ## make the virtual environment

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

demo: $(STAMP)  ## tokenize real clips, print the summary, write a preview
	$(BIN)/python examples/demo.py

test: $(STAMP)  ## the whole suite
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/pyright

arch: $(STAMP)  ## layers and doors
	$(BIN)/lint-imports

docs: $(STAMP)  ## every command and code block in README and docs that is marked to be run
	$(BIN)/python -m pytest tests/docs -q

bench: $(STAMP)
	$(BIN)/python benchmarks/flip_rate.py
	$(BIN)/python -m benchmarks.planning
	$(BIN)/python -m benchmarks.unpack
	$(BIN)/python -m benchmarks.index --shards 3000
	$(BIN)/python -m benchmarks.audit --shards 100
	$(BIN)/python -m pip install --quiet --no-deps --requirement benchmarks/reader/peers.txt
	$(BIN)/python -m benchmarks.reader --rounds 3 --seconds 1

ci: lint types arch test

clean:
	rm -rf $(VENV) demo-output .cache
