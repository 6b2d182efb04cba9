# make env      a virtual environment in .venv/; the next five use it
# make quick    run the quick suite and write its report (some ten minutes)
# make check    run linters, types, import rules and the fast tests (some 90 s)
# make test     run the same with all tests
# make docs     build the documentation site in .site/
# make reports  write the reports of all accepted runs, in every format, in reports/reference/
# make package  build wheel and sdist, install each and run it outside the checkout
# make lowest   run suite smoke with the lowest versions that pyproject.toml allows
# make lock     update constraints.txt but keep pins that still fit; UPGRADE=--upgrade for new pins
# make audit    query known vulnerabilities of the packages in constraints.txt
#
# The lock is for CPython 3.11 on Linux x86-64, where CI runs; `make env LOCK=` does without it.
PYTHON ?= python3
VENV ?= .venv
LOCK ?= constraints.txt
TOOLS ?= .tools
LOWEST ?= .lowest
PACKAGE ?= .package
UPGRADE ?=
BIN := $(VENV)/bin
UV := $(TOOLS)/bin/uv

.PHONY: quick check test lint docs reports env package lowest lock audit clean

quick: env
	$(BIN)/pks4-bench run quick

check: lint
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow and not contract"

test: lint
	$(BIN)/python -m pytest -q -n auto --dist worksteal

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: env
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reports: env
	$(BIN)/pks4-bench report --references

env: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  $(if $(LOCK),--constraint $(LOCK)) --editable '.[dev]'
	@touch $@

package: $(TOOLS)/.installed
	rm -rf $(PACKAGE)
	$(UV) build --quiet --out-dir $(PACKAGE)/dist
	for file in $(PACKAGE)/dist/*.whl $(PACKAGE)/dist/*.tar.gz; do \
	  $(UV) venv --quiet --clear --python $(PYTHON) $(PACKAGE)/venv && \
	  $(UV) pip install --quiet --python $(PACKAGE)/venv/bin/python \
	    $(if $(LOCK),--constraint $(LOCK)) $$file && \
	  sh tests/outside.sh $(PACKAGE)/venv/bin/python || exit 1; \
	done

lowest: $(TOOLS)/.installed
	$(UV) venv --quiet --clear --python $(PYTHON) $(LOWEST)
	$(UV) pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct .
	$(UV) pip list --python $(LOWEST)/bin/python
	sh tests/outside.sh $(LOWEST)/bin/python

lock: $(TOOLS)/.installed
	$(UV) pip compile --quiet pyproject.toml --extra dev $(UPGRADE) --no-annotate \
	  --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	  --custom-compile-command 'make lock' --output-file constraints.txt

audit: $(TOOLS)/.installed
	$(TOOLS)/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

$(TOOLS)/.installed:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv pip-audit
	@touch $@

clean:
	rm -rf $(VENV) $(TOOLS) $(LOWEST) $(PACKAGE) .site
