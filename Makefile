# What one does with this project. `make` lists it.

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
# Both cores, file by file: what a module has started serves all of its tests.
PYTEST_ARGS ?= -n 2 --dist loadfile
# Three workers and two beats at once: these run after all others, with the machine for themselves.
ALONE = tests/faults/test_killed.py tests/faults/test_together.py
export VENV

.PHONY: help demo demo-reset test quick faults mutants bench lint format setup setup-dev

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 20

demo: setup ## try it: sandbox, app and workers on this machine (bin/demo.py); Ctrl-C ends all
	@$(RUN) bin/demo.py

demo-reset: setup ## forget what was done in the demo
	@$(RUN) bin/demo.py --reset

test: setup-dev ## format, lint, types and tests
	@$(MAKE) --no-print-directory lint
	@$(RUN) -m pytest $(PYTEST_ARGS) $(ALONE:%=--ignore=%) --junitxml test-results/together.xml
	@$(RUN) -m pytest $(ALONE) --junitxml test-results/alone.xml

quick: setup-dev ## the tests without browsers and processes of the app
	@$(RUN) -m pytest -n 2 -m "not browser and not workers"

faults: setup-dev ## ten seeds of bad weather, then three faults at real times; needs PostgreSQL and Redis, half an hour
	@$(RUN) -m tests.faults.chaos

mutants: setup-dev ## take out twelve guards, one by one: each must turn a test red
	@$(RUN) bin/mutants.py

bench: setup-dev ## measure beside others, needs PostgreSQL and Redis, 50 minutes; BENCH_ARGS=--quick for a few
	@$(RUN) -m tests.benchmarks $(BENCH_ARGS)

lint: setup-dev ## format, lint and types only
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m mypy b24app/sandbox --config-file b24app/sandbox/mypy.ini

format: setup-dev ## bring the code into shape
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

setup:
	@$(PYTHON) bin/install.py requirements.txt

setup-dev:
	@$(PYTHON) bin/install.py requirements-dev.txt
