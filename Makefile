# The commands of this project. `make` lists them.

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
# Two processes; all tests of a file run in the same one, because they share what its fixtures started.
PYTEST_ARGS ?= -n 2 --dist loadfile
# These start three workers and two beats each, so they run alone, after all others.
ALONE = tests/faults/test_killed.py tests/faults/test_together.py
export VENV

.PHONY: help demo demo-reset test quick faults mutants bench rooms lint format setup setup-dev

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 20

demo: setup ## start a demo on this machine: sandbox, app and worker; Ctrl-C stops it
	@$(RUN) bin/demo.py

demo-reset: setup ## delete everything that was done in the demo
	@$(RUN) bin/demo.py --reset

test: setup-dev ## check format, lint and types, then run all tests
	@$(MAKE) --no-print-directory lint
	@$(RUN) -m pytest $(PYTEST_ARGS) $(ALONE:%=--ignore=%) --junitxml test-results/together.xml
	@$(RUN) -m pytest $(ALONE) --junitxml test-results/alone.xml

quick: setup-dev ## run the tests that need no browser and no processes of the app
	@$(RUN) -m pytest -n 2 -m "not browser and not workers"

faults: setup-dev ## inject random faults and check the result; needs PostgreSQL and Redis, an hour
	@$(RUN) -m tests.faults.chaos

mutants: setup-dev ## remove twelve guards, one at a time; each time a named test must fail
	@$(RUN) bin/mutants.py

bench: setup-dev ## compare speed with other clients; needs PostgreSQL and Redis, 50 minutes (short: BENCH_ARGS=--quick)
	@$(RUN) -m tests.benchmarks $(BENCH_ARGS)

rooms: setup-dev ## print the rooms of the code, their floors and imports
	@$(RUN) -m tests.rooms

lint: setup-dev ## check format, lint and types
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m mypy b24app/sandbox --config-file b24app/sandbox/mypy.ini

format: setup-dev ## format the code and fix what can be fixed automatically
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

setup:
	@$(PYTHON) bin/install.py requirements.txt

setup-dev:
	@$(PYTHON) bin/install.py requirements-dev.txt
