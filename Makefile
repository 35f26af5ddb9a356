# make demo   installs what it needs into .venv and runs recipes/quickstart
# make test   installs the rest and runs the checks and all tests
# make coverage  runs all tests, and says which lines and branches none of them reaches
# make docs   builds the documentation into site/
# Both may be called in any order and again; PYTHON=python3.12 picks another interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python

# Without an NVIDIA GPU the CPU build of torch will do (a plain one brings several GB). Where a folder of local wheels
# is configured for pip, it decides.
pip_find_links = $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)
export UV_FIND_LINKS := $(or $(UV_FIND_LINKS),$(PIP_FIND_LINKS),$(pip_find_links))
export UV_SYSTEM_CERTS ?= true
ifeq ($(strip $(UV_FIND_LINKS)),)
export UV_TORCH_BACKEND ?= $(if $(shell command -v nvidia-smi),auto,cpu)
endif

# Compiled modules make each start several seconds faster.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test fast check coverage docs format clean

demo: $(VENV)/.demo
	$(BIN)/tagevol run recipes/quickstart
	@echo "next: source $(BIN)/activate, then tagevol --help"

test: $(VENV)/.test check
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

fast: $(VENV)/.test
	$(BIN)/python -m pytest -m "not slow" -n 2 $(ARGS)

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

coverage: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered $(ARGS)

docs: $(VENV)/.test
	$(BIN)/python -m mkdocs build --strict

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs site .pytest_cache .mypy_cache .ruff_cache

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

$(VENV)/.demo: pyproject.toml | $(BIN)/uv
	@echo "installing into $(VENV) …"
	$(UV) --editable '.[train]'
	touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.demo
	@echo "installing the tests' needs into $(VENV) …"
	$(UV) --editable '.[train,embed,eval,dedup,figures]' --group test
	touch $@
