# `make demo` runs the main job, `make test` the tests; each sets up all that it needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-fast check bench clean system

demo: $(VENV)/demo system
	$(BIN)/adaspring demo --output demo-out

# A file stays in one process, so that what its tests share is built once; long files begin first.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test: check
	@sh scripts/system_packages.sh chromium oclgrind pocl-opencl-icd
	$(PYTEST)

test-fast: check
	$(PYTEST) -m "not slow and not board"

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p $(VENV)/source && ln -sfn ../.. $(VENV)/source/adaspring
	$(BIN)/mypy
	$(BIN)/lint-imports

# Takes five hours; leave the machine alone meanwhile.
bench: demo $(VENV)/dev
	$(BIN)/python benchmarks/anatomy.py --json benchmarks/results/anatomy.json
	$(BIN)/python benchmarks/app_side.py --json benchmarks/results/app_side.json
	$(BIN)/python benchmarks/compression.py --json benchmarks/results/compression.json \
	    --png benchmarks/results/compression.png
	$(BIN)/python benchmarks/day.py --json benchmarks/results/day.json --picture docs/day.png
	$(BIN)/python benchmarks/digits.py --json benchmarks/results/digits.json
	$(BIN)/python benchmarks/duty_cycle.py --json benchmarks/results/duty_cycle.json
	$(BIN)/python benchmarks/live_costs.py --json benchmarks/results/live_costs.json
	$(BIN)/python benchmarks/low_bit_weights.py --json benchmarks/results/low_bit_weights.json
	$(BIN)/python benchmarks/memory.py --json benchmarks/results/memory.json
	$(BIN)/python benchmarks/peak.py --json benchmarks/results/peak.json
	$(BIN)/python benchmarks/peers.py --json benchmarks/results/peers.json
	$(BIN)/python benchmarks/pieces.py --json benchmarks/results/pieces.json \
	    --picture docs/pieces-front.png
	$(BIN)/python benchmarks/real_networks.py --json benchmarks/results/real.json
	$(BIN)/python benchmarks/switching.py --json benchmarks/results/switching.json
	$(BIN)/python benchmarks/tuning.py --json benchmarks/results/tuning.json
	$(BIN)/python benchmarks/transfer.py --json benchmarks/results/transfer.json
	$(BIN)/python benchmarks/tuning_quality.py --json benchmarks/results/tuning_quality.json \
	    --png benchmarks/results/tuning_quality.png

# Linkers for ARM boards, a voice for the benchmarks' keywords. Optional: what cannot be had is
# skipped, with its reason, where used.
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
	rm -rf $(VENV) demo-out build *.egg-info library/native/*.so library/opencl/*.so
