# make quick   its own environment, the quick suite, and a report (some ten minutes)
# make test    the same environment, linters and tests
# make docs    the same environment; the documentation site in .site/
# make reports the same environment; the reports of all accepted runs, in reports/reference/
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: quick test docs reports env clean

quick: env
	$(BIN)/pks4-bench run quick

test: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -n auto

docs: env
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reports: env
	$(BIN)/pks4-bench report --references

env: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .site
