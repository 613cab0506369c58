# make install  set up .venv (once; again when pyproject.toml changes)
# make test     lint, types, import rules, all tests
# make demo     the main job on procedural blood smears, at most ten minutes on two cores;
#               options: make demo OUT=runs/mine ARGS="--seed 1"
# make bench    this toolkit beside TRL in one run, as ratios: make bench OUT=bench.json
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= runs/demo
export OMP_NUM_THREADS ?= 2
export TOKENIZERS_PARALLELISM = false

.PHONY: install test lint demo bench clean

install: $(STAMP)

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: put it on the PATH or pass PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadscope

demo: install
	$(BIN)/vlmalign demo --out $(OUT) $(ARGS)

bench: install
	PYTHONWARNINGS=ignore $(BIN)/python tests/benchmarks/run.py --out $(if $(filter command,$(firstword $(origin OUT))),$(OUT),bench.json)

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
