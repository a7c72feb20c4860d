# Everything runs in a virtual environment of its own; only Python >= 3.11, git and make are needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= geomlab-demo
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow bench notebooks figures checkpoints clean

demo: $(VENV)/.base  ## analyse the embedded checkpoints; the report's path is the last line
	$(BIN)/geomlab demo --out $(OUT) $(if $(filter file,$(origin OUT)),--overwrite)

test: $(VENV)/.test  ## lint, types, layering, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	# A core each: two threads gain less. In the order of tests/conftest.py: the longest files first.
	# Bytecode is kept whatever the user's shell says: else each process that a test starts compiles all of it.
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests

test-slow: $(VENV)/.test  ## the longer proofs
	$(BIN)/python -m pytest -m slow

bench: $(VENV)/.bench  ## side by side with other libraries; results in benchmarks/results
	$(BIN)/python benchmarks/curvature.py --cases embedded-250 --tasks product,top-10 --limit 120 --out build/curvature.json
	$(BIN)/python benchmarks/train_step.py

notebooks: $(VENV)/.notebooks  ## execute the notebooks
	$(BIN)/python -m pytest -c notebooks/pytest.ini --nbmake notebooks

figures: $(VENV)/.base  ## the figures of the README, from the results of `make demo`
	$(BIN)/python figures/flatness_and_alignment.py $(OUT) figures

checkpoints: $(VENV)/.base  ## train the embedded checkpoints anew, into build/checkpoints
	$(BIN)/grace train clip --data glyphs --out build/checkpoints
	$(BIN)/grace train ft --data glyphs --from build/checkpoints/clip.pt --out build/checkpoints

clean:
	rm -rf $(VENV) build *.egg-info geomlab-demo

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.test $(VENV)/.bench $(VENV)/.notebooks: $(VENV)/.%: $(VENV)/.base
	$(INSTALL) --editable '.[$*]'
	@touch $@
