# Two commands: `make demo` and `make test`. Both set up .venv by themselves and are fast the second time.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
FRAMEWORKS := keras-jax torch keras-tensorflow none keras-torch

.PHONY: demo test test-cuda check bench bench-gpu docs clean

demo: .venv/demo.ready
	$(BIN)/sightline demo --out demo-out

# One process a framework, two at a time: two frameworks in one process can abort it, and a test must see only its own.
test: .venv/dev.ready
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target $(FRAMEWORKS:%=test-%)

test-%: .venv/dev.ready
	@echo "== $*" && OMP_NUM_THREADS=1 SIGHTLINE_TEST_FRAMEWORK=$* $(BIN)/python -m pytest

# On a machine with an NVIDIA GPU: what is of CUDA alone, and the twins and laws of every method with PyTorch's nets there.
ON_CUDA := cuda_torch methods laws cams masks paths paths_layers memory metrics_laws
test-cuda: .venv/dev.ready
	SIGHTLINE_TEST_FRAMEWORK=torch SIGHTLINE_TEST_DEVICE=cuda $(BIN)/python -m pytest $(ON_CUDA:%=tests/test_%.py)

check: .venv/dev.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	SIGHTLINE_TEST_FRAMEWORK=none $(BIN)/python -m pytest tests/test_house.py tests/test_public.py

# What the documentation shows of the methods, made from the registry again.
docs: .venv/dev.ready
	$(BIN)/python docs/make_pictures.py
	$(BIN)/python docs/make_tables.py

bench: .venv/bench.ready .venv/xplique.ready
	$(BIN)/python -m benchmarks

# The same of PyTorch on CUDA; status 2 where there is none.
bench-gpu: .venv/bench.ready
	@$(BIN)/python -m benchmarks.gpu

clean:
	rm -rf .venv demo-out

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.ready: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[torch]'
	@touch $@

.venv/dev.ready: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[torch,keras,jax,dev]'
# Quantus asks for an OpenCV that overwrites the one without a window, so it comes without what it asks for.
	$(PIP) --no-deps quantus saliency cachetools pandas
	@touch $@ .venv/demo.ready

.venv/bench.ready: .venv/dev.ready
	$(PIP) -e '.[torch,keras,jax,dev,bench]'
	@touch $@

# xplique pins older versions of what the others need, so it has an environment of its own.
.venv/xplique.ready: .venv/bin/python pyproject.toml
	$(PYTHON) -m venv .venv/xplique
	.venv/xplique/bin/python -m pip install --quiet --disable-pip-version-check -e '.[keras]' xplique
	@touch $@
