# The words people say. PYTHON is any interpreter with ".[test]" installed.
PYTHON ?= python
export MPLBACKEND ?= Agg

.PHONY: help test lint format types layers signatures notebooks docs reference parity simulation slow bench pandas3 ci clean

help:
	@grep -E '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

test: ## all tests but the slow ones, README and docstrings included
	$(PYTHON) -m pytest

lint: ## ruff: rules and format
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

format: ## ruff: mend what it can
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

types: ## mypy --strict
	$(PYTHON) -m mypy

layers: ## which room may import which
	PYTHONPATH=src $(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

signatures: ## write the snapshot of public signatures anew
	PYTHONPATH=src $(PYTHON) tests/contracts/test_signatures.py --write

notebooks: ## every notebook anew from its text, executed; NAMES="02 05" for some
	PYTHONPATH=src $(PYTHON) notebooks/build.py $(NAMES)

docs: ## the documentation, with warnings as errors, in docs/_build/html
	PYTHONPATH=src $(PYTHON) -m sphinx -W --keep-going -b html docs docs/_build/html

reference: ## recompute the reference values with R and compare (needs Rscript, lme4, lmerTest, pbkrtest, emmeans, nlme)
	$(PYTHON) tests/reference/regenerate.py

parity: ## how near the reference tests come to other programs; writes what the documentation shows
	PYTHONPATH=src $(PYTHON) tests/reference/parity.py --write

simulation: ## the coverage studies anew (about an hour and a half on two cores); writes their tables
	PYTHONPATH=src $(PYTHON) tests/simulation/study.py --write

slow: ## the tests that are marked slow
	$(PYTHON) -m pytest -m slow

bench: ## time and memory against lme4 and statsmodels; writes JSON and the table in README.md
	$(PYTHON) benchmarks/run.py

pandas3: ## the tests that need no lifelines, on pandas 3
	rm -rf .venv-pandas3
	$(PYTHON) -m venv .venv-pandas3
	.venv-pandas3/bin/pip install --quiet numpy scipy "pandas>=3" matplotlib patsy statsmodels joblib jinja2 \
		"pytest>=8" hypothesis build hatchling import-linter
	.venv-pandas3/bin/pip install --quiet --no-deps .
	.venv-pandas3/bin/python -c "import pandas; print('pandas', pandas.__version__)"
	.venv-pandas3/bin/python -m pytest -m "not slow"

ci: ## everything, in a fresh virtual environment
	.ci/run

clean: ## remove what the other targets leave behind
	rm -rf .venv-pandas3 .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist results docs/_build docs/generated docs/notebooks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
