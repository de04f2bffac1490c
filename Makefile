# Verbs that people and CI share. Each sets up what it needs.
VENV ?= .venv
PYTHON ?= python3
# Processes of a test run, which wait for others much of their time. The tests of one file share fixtures and stay in one
# process, in the order of the folders.
WORKERS ?= 3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
RUNTIME := $(VENV)/.runtime
STAMP := $(VENV)/.ready

# Some images forbid it, and then each of the many processes of a test run would compile all modules anew.
export PYTHONDONTWRITEBYTECODE =

.PHONY: setup demo check test lint types arch azurite docs site release bench bench-guard ci clean

setup: $(STAMP)  ## the virtual environment, with all that the other verbs need

$(RUNTIME): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) "torch==2.13.0"
	$(PIP) --editable .
	touch $@

$(STAMP): $(RUNTIME)
	$(PIP) --editable ".[dev]"
	touch $@

demo: $(RUNTIME)  ## tokenize real clips, print the summary, write a preview
	$(BIN)/python examples/demo.py

check: lint arch  ## what to run while changing things: all but slow tests and those of Ray, stores, browser, training
	$(BIN)/pyright & types=$$!; $(PYTEST) -m "not (ray or s3 or stores or browser or training or slow or cuda)"; tests=$$?; \
	wait $$types && exit $$tests

test: $(STAMP)  ## the whole suite
	$(PYTEST) --durations 20

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/pyright

arch: $(STAMP)  ## layers and doors
	$(BIN)/lint-imports

azurite:  ## the emulator of Azure's store for the tests, which skip without it; needs npm
	npm install --silent --no-audit --no-fund --prefix .cache/azurite azurite@3.37.0

docs: $(STAMP)  ## every command and code block in README and docs that is marked to be run
	$(BIN)/python -m pytest tests/docs -q

site: $(STAMP)  ## the docs as a site, in site/; links and references are checked
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs site

release:  ## wheel and sdist in dist/, each proved in a clean environment; PYTHONS="python3.11 python3.13"
	deploy/release.sh $(PYTHONS)

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
	rm -rf $(VENV) demo-output .cache site
