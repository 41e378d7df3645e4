# Everything runs in .venv, which `make setup` makes from any python3 >= 3.11. See CONTRIBUTING.md.
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$each && break; done)
BIN := .venv/bin
# Two test files at a time: much of a test's life is waiting, for a broker, a disk or a timer.
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile
# Nothing is compiled here, setup.py does that afterwards; setuptools warns of whatever is editable.
PIP_INSTALL := CORDUROY_PURE=1 PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check
BUILD_TOOLS := 'setuptools>=77' 'Cython>=3.1,<4'
PACKAGES := $(wildcard core protocols gateway namesrv corduroy)
# A compiled module's fields have their types in its .pxd, where mypy does not look.
FIELD_ERRORS := attr-defined assignment var-annotated union-attr arg-type operator index return-value \
	call-overload valid-type type-arg name-defined misc has-type
PLAIN = $(filter-out $(patsubst %.pxd,%.py,$(shell find $(PACKAGES) -name '*.pxd')),$(shell find $(PACKAGES) -name '*.py'))

.DEFAULT_GOAL := setup
.PHONY: setup run test test-all simulate bench lint types clean

# What is installed depends on these two files; what is compiled, on core/compiled.py's record of the sources.
.venv/installed: pyproject.toml setup.py
	@test -n "$(PYTHON)" || { echo 'make: no python3 >= 3.11 in PATH; name one: make PYTHON=/path/to/python3' >&2; exit 1; }
	@test -x $(BIN)/python || { echo 'installing into .venv, then compiling: minutes the first time' && $(PYTHON) -m venv .venv; }
	@$(PIP_INSTALL) --upgrade $(BUILD_TOOLS)
	@$(PIP_INSTALL) --no-build-isolation --editable .
	@touch $@

.venv/installed-test: .venv/installed
	@$(PIP_INSTALL) --no-build-isolation --editable '.[test]'
	@touch $@

setup: .venv/installed
	@$(BIN)/python -I core/compiled.py || $(BIN)/python setup.py --quiet build_ext --inplace

run: setup
	@exec $(BIN)/mqgateway $(ARGS)

# CORDUROY_STRICT: what Cython compiles on the way to the tests must compile without a warning.
test test-all: export CORDUROY_STRICT = 1
test: setup lint types
	$(PYTEST) $(PYTEST_ARGS) $(TESTS)
	CORDUROY_PURE=1 $(PYTEST) $(PYTEST_ARGS) $(or $(TESTS),tests/core tests/protocols)

test-all: setup lint types
	$(PYTEST) $(PYTEST_ARGS)
	CORDUROY_PURE=1 $(PYTEST) $(PYTEST_ARGS)

simulate: setup .venv/installed-test
	$(if $(SEEDS),$(BIN)/python -m tests.simulation --seeds 1-$(SEEDS),$(PYTEST) $(PYTEST_ARGS) tests/simulation)

bench: setup
	$(BIN)/python -m tests.bench $(ARGS)

lint: .venv/installed-test
	@$(BIN)/ruff check .

types: .venv/installed-test
	@$(BIN)/mypy --follow-imports=silent $(PLAIN)
	@$(BIN)/mypy --no-warn-unused-ignores --cache-dir=.mypy_cache/compiled $(FIELD_ERRORS:%=--disable-error-code=%)

# Leaves .venv: rm -r .venv makes the next setup start from nothing.
clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +
	find $(PACKAGES) tests \( -name '*.so' -o -name '*.pyd' \) -delete
