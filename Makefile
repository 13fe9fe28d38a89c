# `make demo` runs the main job, `make test` the tests; each sets up all that it needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check bench clean system

demo: $(VENV)/demo system
	$(BIN)/adaspring demo --output demo-out

test: check system
	$(BIN)/python -m pytest

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/mypy_package.py
	$(BIN)/lint-imports

bench: demo $(VENV)/dev
	$(BIN)/python benchmarks/app_side.py --json benchmarks/results/app_side.json
	$(BIN)/python benchmarks/digits.py --json benchmarks/results/digits.json

# Linkers for ARM boards. Optional: what cannot be had is skipped, with its reason, where used.
system:
	@sh scripts/system_packages.sh

$(VENV)/demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[compiler,cuda,demo]'
	touch $@

$(VENV)/dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[compiler,cuda,demo,dev]'
	touch $@

clean:
	rm -rf $(VENV) demo-out build *.egg-info
