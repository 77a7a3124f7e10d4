# make demo | make test | make run PARAMS=params/mine.yaml | make lab   (developers: make check, make format, make lock)
SHELL := /bin/bash
PARAMS ?= params/demo.yaml
ARGS ?=
PYTHON ?=

BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help demo run test lab check format lock setup
help:
	@head -n 1 Makefile | cut -c 3-

demo: $(STAMP)
	@$(BIN)/python -m nbhelpers run params/demo.yaml

run: $(STAMP)
	@$(BIN)/python -m nbhelpers run $(PARAMS) $(ARGS)

test: $(STAMP)
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

lab: $(STAMP)
	@$(BIN)/python -m jupyterlab $(ARGS)

check: $(STAMP)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-cache
	$(BIN)/python -m nbstripout --keep-id --verify notebooks/*.ipynb

format: $(STAMP)
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .
	$(BIN)/python -m nbstripout --keep-id notebooks/*.ipynb

lock: $(STAMP)
	@$(BIN)/python -m uv pip compile pyproject.toml --extra dev --extra roentgen --universal --python-version 3.11 \
	  --fork-strategy fewest --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
	  --custom-compile-command "make lock" --quiet -o requirements.lock
	@! grep -n "://" requirements.lock

setup: $(STAMP)

# The stamp holds the folder it was made in: a checkout that was moved is set up again, any other only once.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif
$(STAMP): requirements.lock pyproject.toml
	@set -o pipefail; \
	fail() { echo "nb-cxr: $$1" >&2; exit 1; }; \
	python=; \
	for name in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
	  if "$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; \
	  then python=$$name; break; fi; \
	done; \
	[ -n "$$python" ] || fail "Python 3.11 to 3.14 is missing: sudo apt-get install python3 python3-venv (or: make PYTHON=/path/to/python3.11)"; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || \
	  fail "$$python cannot make environments: sudo apt-get install $$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; \
	echo "Setting up .venv with $$("$$python" --version), once: about 240 packages, 3 to 15 minutes"; \
	$(BIN)/python -c '' 2>/dev/null || "$$python" -m venv --clear .venv || fail "no environment could be made in $(CURDIR)/.venv"; \
	$(BIN)/python -m pip install --require-hashes -r requirements.lock --log .venv/pip.log --progress-bar off 2>&1 \
	  | { grep --line-buffered -E '^ *(Collecting|Installing|Successfully|ERROR)' || true; } | cut -c 1-110 \
	  || fail "installation failed; the whole story is in .venv/pip.log"; \
	$(BIN)/python -m pip install --quiet --no-deps --editable . >> .venv/pip.log 2>&1 \
	  || fail "the project itself could not be installed; the whole story is in .venv/pip.log"; \
	printf '%s\n' "$(CURDIR)" > $@
