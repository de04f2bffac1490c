# Verbs that people and CI share. Each sets up what it needs.
VENV ?= .venv
PYTHON ?= python3
# Processes of a test run. The tests of one file share fixtures and stay in one process, in the order of the folders.
WORKERS ?= 2
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup demo test lint types arch docs bench bench-guard ci clean

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
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 15

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
	$(BIN)/python -m benchmarks.flip_rate
	$(BIN)/python -m pip install --quiet --no-deps --requirement benchmarks/encoding/peers.txt
	$(BIN)/python -m benchmarks.encoding --rounds 3 --parts images numerics clips mixed --lengths 4 16 --sizes small
	$(BIN)/python -m benchmarks.planning --committed 10000
	$(BIN)/python -m benchmarks.unpack
	$(BIN)/python -m benchmarks.index --shards 3000
	$(BIN)/python -m benchmarks.audit --shards 100
	$(BIN)/python -m benchmarks.compression.speed --rounds 1
	$(BIN)/python -m pip install --quiet --no-deps --requirement benchmarks/reader/peers.txt
	$(BIN)/python -m benchmarks.reader --rounds 3 --seconds 1
	$(BIN)/python -m pip install --quiet --no-deps torchcodec==0.12.0
	$(BIN)/python -m benchmarks.decoding --rounds 3
	$(BIN)/python -m benchmarks.end_to_end --rounds 2 --copies 4 --fps 1
	$(BIN)/python -m benchmarks.orchestration --actors 1 2

bench-guard: $(STAMP)  ## is anything slower than at the last tag, or REF=...
	$(BIN)/python -m benchmarks.guard $(if $(REF),--against $(REF))

ci: lint types arch test

clean:
	rm -rf $(VENV) demo-output .cache
