# Everything runs in .venv/, which the first target builds and the later ones reuse.
# Needed: python3 (3.10 or newer) with venv, and make. Another Python: make PYTHON=python3.12 test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUN := PYTHONPATH=Testing $(BIN)/python -m
# One process of tests per core; the tests of one file run in one process, one after the other.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile

# The user's own two scans: make demo FIXED=a.nii.gz MOVING=b.nii.gz
FIXED ?=
MOVING ?=

.DEFAULT_GOAL := help
.PHONY: help demo demo-batch test test-fast coverage docs system-deps gui screenshots format bench paper validate same-patient alignment figures clean

help:
	@echo "make demo      register the sample pair (or FIXED=a.nii.gz MOVING=b.nii.gz) into demo/"
	@echo "make demo-batch paint four patients, register three to the first, sum up, and segment it by them, into demo/batch"
	@echo "make test      format check, lint, types, all tests"
	@echo "make test-fast lint and the quick tests, some minutes"
	@echo "make coverage  all tests, and which lines of pddnet they run, also in child processes"
	@echo "make docs      the documentation site, into docs/_build/html"
	@echo "make gui       the Slicer module in a window with the sample pair, in a stand-in for Slicer"
	@echo "make screenshots pictures of it, drawn without a screen, into Resources/Screenshots"
	@echo "make system-deps install what drawing without a screen needs; make test and test-fast do so, too"
	@echo "make bench     speed and memory, against the published operations and on a whole pair"
	@echo "make validate  errors at landmarks and the verdict on over 100 pairs (a quarter of an hour or more)"
	@echo "make same-patient errors on pairs of one patient at two dates, whole scans and crops (half an hour)"
	@echo "make alignment the alignment alone on 50 crops of one patient and 18 of two"
	@echo "make paper     every table of the README, the results and the model card, of one commit (hours)"
	@echo "make figures   the demo, its picture copied to Resources/demo.png"
	@echo "make format    format and mend what ruff can"
	@echo "make clean     remove demo/, docs/_build/, what was measured and the caches (not .venv/)"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12" if sys.version_info < (3, 10) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,slicer,gui,docs]'
	@touch $@

demo: $(READY)
	@$(RUN) demo.demo $(if $(FIXED),--fixed '$(FIXED)') $(if $(MOVING),--moving '$(MOVING)')

demo-batch: $(READY)
	@$(RUN) demo.batch

test: $(READY) system-deps
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

# For every change; leaves out the tests marked slow, which `make test` runs.
test-fast: $(READY) system-deps
	$(BIN)/ruff check .
	$(PYTEST) -m "not slow"

coverage: $(READY) system-deps
	$(PYTEST) --cov --cov-report=term --cov-fail-under=95

docs: $(READY)
	@$(BIN)/python -m sphinx -W -E --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

system-deps: $(READY)
	@$(RUN) host.requirements

gui: $(READY)
	@$(RUN) host.gui

screenshots: $(READY) system-deps
	@$(RUN) host.screenshots
	@$(RUN) host.slice_screenshot

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	@$(RUN) benchmarks.bench

paper: $(READY)
	@$(RUN) benchmarks.paper

validate: $(READY)
	@$(RUN) benchmarks.validate

same-patient: $(READY)
	@$(RUN) benchmarks.same_patient

alignment: $(READY)
	@$(RUN) benchmarks.alignment_crops

figures: $(READY)
	@$(RUN) demo.demo --picture Resources/demo.png

clean:
	rm -rf demo docs/_build .pytest_cache .ruff_cache .coverage .coverage.* build dist
