# Everything is installed into .venv, with the versions and hashes of the requirements files; python3 and make are
# all that must be there before.

PYTHON ?= python3
BIN := .venv/bin
BENCHES := $(filter-out bench/_%,$(sort $(wildcard bench/*.py)))

.PHONY: run test check bench requirements clean

run: .venv/ready
	$(BIN)/touchline up

test: .venv/ready-dev
	$(BIN)/pytest

check: .venv/ready-dev
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/test_tidy.py

bench: .venv/ready-dev
	@set -e; for script in $(BENCHES); do echo "== $$script"; $(BIN)/python $$script; done

# Choose versions anew. uv resolves for every platform at once, which pip can't; nothing else needs it.
requirements:
	uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		--extra build --upgrade pyproject.toml -o requirements.txt
	uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		--extra build --extra dev --upgrade -c requirements.txt pyproject.toml -o requirements-dev.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "touchline needs Python 3.11 or newer; make PYTHON=... names one" >&2; exit 2; }
	@$(PYTHON) -m venv .venv \
		|| { echo "python3 can't make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 2; }
	@touch $@

.venv/ready: .venv/python requirements.txt pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/ready-dev: .venv/ready requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
