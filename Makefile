# make demo | make test | make run PARAMS=params/mine.yaml [PROFILE=profiles/slurm] | make release PARAMS=... | make lab   (developers: make check, make format, make lock, make test-slurm)
SHELL := /bin/bash
PARAMS ?= params/demo.yaml
PROFILE ?=
ARGS ?=
PYTHON ?=

BIN := .venv/bin
STAMP := .venv/.installed
TORCH ?= $(shell sed -n 's/.* TORCH=//p' $(STAMP) 2>/dev/null)

# Snakemake, Jupyter and Matplotlib write below the home; where it cannot be written, they write below .venv.
ifneq ($(shell test -n "$$HOME" && test -w "$$HOME" && { test ! -e "$$HOME/.cache" || test -w "$$HOME/.cache"; } 2>/dev/null && echo yes),yes)
XDG_CACHE_HOME ?= $(CURDIR)/.venv/home
JUPYTER_CONFIG_DIR ?= $(CURDIR)/.venv/home/jupyter
JUPYTER_DATA_DIR ?= $(CURDIR)/.venv/home/jupyter
IPYTHONDIR ?= $(CURDIR)/.venv/home/ipython
MPLCONFIGDIR ?= $(CURDIR)/.venv/home/matplotlib
export XDG_CACHE_HOME JUPYTER_CONFIG_DIR JUPYTER_DATA_DIR IPYTHONDIR MPLCONFIGDIR
endif

.PHONY: help demo run release test test-slurm lab check format lock setup
help:
	@head -n 1 Makefile | cut -c 3-

demo: $(STAMP)
	@$(BIN)/python -m nbhelpers run params/demo.yaml

run: $(STAMP)
	@$(BIN)/python -m nbhelpers run $(PARAMS) $(if $(PROFILE),--profile $(PROFILE)) $(ARGS)

release: $(STAMP)
	@$(BIN)/python -m nbhelpers release $(PARAMS)

test: $(STAMP)
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

# on a Slurm that is started here, as root: apt-get install --no-install-recommends slurm-wlm munge
test-slurm: $(STAMP)
	@NBHELPERS_TEST_SLURM=1 $(BIN)/python -m pytest tests/project/test_slurm.py -s -rs $(ARGS)

# Outputs, counts and what Lab says of the kernel stay out of git, by a filter of this clone alone: Run All and save is no change.
LAB_ADDS = metadata.language_info.codemirror_mode metadata.language_info.file_extension metadata.language_info.mimetype \
  metadata.language_info.nbconvert_exporter metadata.language_info.pygments_lexer metadata.language_info.version metadata.widgets
lab: $(STAMP)
	@! git rev-parse --git-dir >/dev/null 2>&1 || git config filter.nbstripout.clean \
	  '"$(CURDIR)/$(BIN)/python" -m nbstripout --keep-id --extra-keys "$(LAB_ADDS)"'
	@JUPYTER_PREFER_ENV_PATH=1 $(BIN)/python -m jupyterlab $(ARGS)

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

# not by way of the stamp: what pyproject.toml has just been given is not installed before it is locked
lock:
	@test -x $(BIN)/uv || $(MAKE) --no-print-directory setup
	@$(BIN)/python -m uv pip compile pyproject.toml --extra dev --extra roentgen --universal --python-version 3.11 \
	  --fork-strategy fewest --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
	  --custom-compile-command "make lock" --quiet -o requirements.lock
	@! grep -n "://" requirements.lock

setup: $(STAMP)

# The stamp holds the folder it was made in, and TORCH=cpu: a checkout that was moved is set up again, any other only once.
MADE = $(CURDIR)$(if $(TORCH), TORCH=$(TORCH))
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(MADE))
.PHONY: $(STAMP)
endif
$(STAMP): export SETUP_PYTHON = $(PYTHON)
$(STAMP): export SETUP_TORCH = $(TORCH)
$(STAMP): export SETUP_MADE = $(MADE)
$(STAMP): export SETUP_SCRIPT = $(value SETUP)
$(STAMP): requirements.lock pyproject.toml
	@$(SHELL) -c "$$SETUP_SCRIPT"

# Installs what requirements.lock names, hash by hash, and asks the registry for nothing else: --no-deps and == leave nothing
# to choose, and what is built from source is built with the lock's own setuptools. pip fetches uv, and uv the rest, many times
# faster; where uv cannot (no wheel of it, or a setting that only pip has), pip fetches everything.
# Both compile what they install: Python where it may not write bytecode would compile torch anew at every start.
define SETUP
set -u -o pipefail
trap 'exit 130' INT TERM
fail() { echo "nb-cxr: $1" >&2; exit 1; }
env=.venv/bin/python log=.venv/pip.log

[[ $PWD != *[:{}\$]* ]] ||
  fail "the path of this folder holds one of : { } \$, with which Python makes no environments: move or rename it ($PWD)"
[[ $SETUP_TORCH =~ ^(cpu)?$ ]] || fail "TORCH is cpu, or left out (not $SETUP_TORCH)"
recent='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))'
python=
if [ -n "$SETUP_PYTHON" ]; then set -- "$SETUP_PYTHON"; else set -- python3 python3.13 python3.12 python3.11 python; fi
for name; do if "$name" -c "$recent" 2>/dev/null; then python=$name; break; fi; done
[ -n "$python" ] ||
  fail "Python 3.11 to 3.14 is missing: sudo apt-get install python3 python3-venv (or: make PYTHON=/path/to/python3.11)"
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$python cannot make environments: sudo apt-get install $(
  "$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
command -v which >/dev/null || fail "the program which is missing (Snakemake's plugin calls it): sudo apt-get install debianutils"
"$python" -c 'import locale, os, sys; sys.version_info >= (3, 13) or os.getcwd().encode(locale.getencoding())' 2>/dev/null ||
  fail "the path of this folder has letters that the locale lacks: export LC_ALL=C.UTF-8, or rename the folder ($PWD)"

# An environment is kept, with what its user added, only if it was finished, here, with this Python: half of one is made again,
# from downloads that are still in the cache.
exact='import sys; print(sys.version)'
if [ "$(cat .venv/.installed 2>/dev/null)" = "$SETUP_MADE" ] && $env -m pip --version >/dev/null 2>&1 &&
  { [ -z "$SETUP_PYTHON" ] || [ "$("$python" -c "$exact")" = "$($env -c "$exact")" ]; }; then
  echo "Bringing .venv ($($env --version)) up to date with requirements.lock"
  rm -f .venv/.installed
else
  if [ -n "$SETUP_TORCH" ]; then gb=5 size="about 3.5 GB"; else gb=9 size="8 GB"; fi
  echo "Setting up .venv with $("$python" --version), once: about 250 packages, $size on disk, 1 to 15 minutes"
  [ -n "$SETUP_TORCH" ] ||
    echo "4 GB of it are CUDA, which the usual PyTorch brings without a GPU too; to do without: make setup TORCH=cpu (see README)"
  free=$(df -Pk . 2>/dev/null | awk 'NR == 2 { print int($4 / 1000000) }')
  [ "${free:-$gb}" -ge "$gb" ] || fail "$gb GB of disk are needed, and $free are free in $PWD"
  made=$("$python" -m venv --clear .venv 2>&1) || fail "no environment could be made in $PWD/.venv: ${made##*$'\n'}"
fi

entry() { awk -v name="$1" '/^[^ ]/ { on = index($0, name "==") == 1 } on' requirements.lock; }
version_of() { entry "$1" | sed -n 's/^[^=]*==\([^ ;]*\).*/\1/p'; }
entry uv >.venv/uv.txt
entry setuptools >.venv/first.txt
grep -v '^#' requirements.lock >.venv/all.txt
[ -z "$SETUP_TORCH" ] ||
  awk '/^[^ ]/ { on = $0 !~ /^(torch|torchvision|triton|cuda-[^=]*|nvidia-[^=]*)==/ } on' requirements.lock >.venv/all.txt

export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
rules="--no-deps --require-hashes --no-build-isolation"
progress() { tee -a $log | { grep --line-buffered -E "$1" || true; } | cut -c 1-110; }
with_pip() { $env -m pip install $rules --use-pep517 --progress-bar off "$@" 2>&1 |
  progress '^ *(Downloading .*[0-9]{2,}[.0-9]* MB|Building|Installing|Successfully|ERROR)'; }
with_uv() { $env -m uv pip install $rules --python $env --no-python-downloads --no-progress --compile-bytecode "$@" 2>&1 |
  progress '^(Downloading|Building|Prepared|Installed|error)'; }

# uv does not read pip's settings: it is handed the index and the certificates; whoever set more than these for pip gets pip.
told=$($env -m pip config list 2>/dev/null)
pip_was_told() { local part; for part in :env: install global; do
  sed -n "s/^$part\.$1='\(.*\)'\$/\1/p" <<<"$told" | grep . && break; done; }
index=$(pip_was_told index-url) cert=$(pip_was_told cert)
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-${UV_INDEX_URL:-$index}}"
[ -z "$cert" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$cert}"

installed=
if ! grep -qE '\.(no-index|proxy|client-cert|trusted-host)=' <<<"$told" &&
  $env -m pip install $rules --only-binary :all: -r .venv/uv.txt >>$log 2>&1; then
  if with_uv -r .venv/first.txt && with_uv -r .venv/all.txt; then installed=yes; else echo "uv did not get through; pip goes on"; fi
fi
[ -n "$installed" ] || { with_pip -r .venv/first.txt && with_pip -r .venv/all.txt; } ||
  fail "installation failed; the whole story is in $log"
if [ -n "$SETUP_TORCH" ]; then
  set -- "torch==$(version_of torch)+cpu" "torchvision==$(version_of torchvision)+cpu"
  $env -m pip install --no-deps --only-binary :all: --progress-bar off "$@" >>$log 2>&1 ||
    fail "$* are not where pip looks: name an index that has them in PIP_EXTRA_INDEX_URL; the whole story is in $log"
fi
$env -m pip install --no-deps --no-build-isolation --editable . >>$log 2>&1 ||
  fail "the project itself could not be installed; the whole story is in $log"
found=$($env -m pip check 2>&1) || fail "the installed packages do not fit together: ${found%%$'\n'*}"
rm -rf .venv/home/uv .venv/home/pip  # what was downloaded, where no home could hold it
printf '%s\n' "$SETUP_MADE" >.venv/.installed
endef
