# What a developer types.  Everything is made inside the checkout: the virtual environment in .venv, the rest in build,
# dist and site.  Needs Python 3.11 or later with venv (python3, or what PYTHON= names), a C compiler and make; pip brings
# the rest.

PYTHON ?= python3
# Whoever names a Python gets that one, also where .venv was made from another.
ONLY := $(if $(filter-out file default,$(firstword $(origin PYTHON))),only)
PY := .venv/bin/python
PIP := $(PY) -m pip --quiet --disable-pip-version-check

# Changed C or Cython, or a file added to the package, calls for a new build; changed Python does not.
SOURCES := pyproject.toml CMakeLists.txt $(wildcard cmake/*) $(shell find src cmlp -name '*.[ch]' -o -name '*.p[yx][xd]' -o -name '*.pxi')

# matplotlib keeps its cache here and not in the home directory.
export MPLCONFIGDIR := $(CURDIR)/build/matplotlib

.PHONY: help demo test test-slow dev lint format bench bench-quick docs wheel ctest sanitize sanitize-threads \
  sweep test-asan fuzz coverage clean FORCE
.DELETE_ON_ERROR:

help:
	@echo 'make demo         train on the digits that come with the package'
	@echo 'make test         the whole test suite but for the slow tests'
	@echo 'make test-slow    the slow tests'
	@echo 'make dev          everything for developing: tools, an editable install, commit hooks'
	@echo 'make lint         style, types and imports of Python, style of C'
	@echo 'make format       put the style right'
	@echo 'make ctest        the C library alone: built with warnings as errors, and its tests'
	@echo 'make sanitize     the same under the address and undefined-behaviour sanitizers'
	@echo 'make sanitize-threads  the same under the thread sanitizer, by clang and its OpenMP'
	@echo 'make sweep        accuracy of the activations over all 2^32 inputs;  FUNCTIONS="tanh gelu", EVERY=64'
	@echo 'make test-asan    the Python tests under the address and undefined-behaviour sanitizers'
	@echo 'make fuzz         damaged files of every kind for a minute;  SECONDS=600 or COUNT=1000000, SEED=1'
	@echo 'make coverage     the lines of src and cmlp that the tests run, and those they do not'
	@echo 'make bench        every benchmark;  make bench-quick  a minute of them'
	@echo 'make docs         the documentation, in site'
	@echo 'make wheel        the source distribution and the wheel, in dist'
	@echo 'make clean        remove what was made'
	@echo 'PYTHON=python3.12 makes any of them use that Python, for which .venv is made anew'

demo: .venv/demo.stamp
	.venv/bin/cmlp train

test: .venv/test.stamp
	$(PY) -m pytest

test-slow: .venv/test.stamp
	$(PY) -m pytest -m slow

dev: .venv/dev.stamp
	.venv/bin/pre-commit install

lint: .venv/dev.stamp
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	$(PY) .ci/check_imports.py
	.venv/bin/stubtest --allowlist tests/typing/stubtest-allowlist.txt --ignore-unused-allowlist cmlp._core
	.venv/bin/clang-format --dry-run --Werror $(C_FILES)
	$(PY) .ci/check_architecture.py
	.ci/check-javascript

format: .venv/dev.stamp
	.venv/bin/ruff check --fix
	.venv/bin/ruff format
	.venv/bin/clang-format -i $(C_FILES)

C_FILES = $(shell find src tests/c examples -name '*.[ch]')

bench: .venv/bench.stamp
	$(PY) -m cmlp.bench

bench-quick: .venv/bench.stamp
	$(PY) -m cmlp.bench --quick

docs: .venv/docs.stamp
	.venv/bin/mkdocs build --strict

wheel: .venv/dev.stamp
	rm -rf dist
	. .venv/headers/env.sh && $(PY) -m build --outdir dist
	.ci/repair-wheel dist

ctest: .venv/build.stamp
	.ci/ctest build/c -DCMLP_WERROR=ON

sanitize: .venv/build.stamp
	.ci/ctest build/sanitize -DCMLP_WERROR=ON -DCMLP_SANITIZE=address

# Clang: its thread sanitizer knows what its OpenMP does, too.
sanitize-threads: .venv/build.stamp
	TSAN_OPTIONS='ignore_noninstrumented_modules=1 halt_on_error=1' \
	  .ci/ctest build/threads -DCMLP_WERROR=ON -DCMLP_SANITIZE=thread -DCMAKE_C_COMPILER=clang

# The sample of every set comes first.
sweep: .venv/build.stamp
	CTEST_ARGS='-R sweep' .ci/ctest build/c -DCMLP_WERROR=ON
	build/c/cmlp_sweep $(if $(EVERY),--every $(EVERY)) $(FUNCTIONS)

# Python itself is built without the sanitizers, which therefore have to be there first, and it frees little.  What
# they find they write to build/asan/report.*; pytest would keep it to itself.
ASAN_LIBRARIES = $(foreach name,libasan.so libubsan.so,$(shell cc -print-file-name=$(name)))
test-asan: .venv/test.stamp
	.ci/variant build/asan CMLP_SANITIZE=address
	LD_PRELOAD='$(ASAN_LIBRARIES)' ASAN_OPTIONS=detect_leaks=0:log_path=build/asan/report \
	  UBSAN_OPTIONS=print_stacktrace=1:log_path=build/asan/report build/asan/bin/python -m pytest $(TESTS)

SECONDS = 60
fuzz: .venv/test.stamp
	$(PY) tests/fuzz.py $(if $(COUNT),--count $(COUNT),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

coverage: .venv/dev.stamp
	.ci/coverage

clean:
	rm -rf .venv build dist site digits.png digits.safetensors

# ---- the virtual environment ----

# Dated when .venv was made.
.venv/python.stamp: FORCE
	@.ci/environment '$(PYTHON)' $(ONLY)

# What [build-system] in pyproject.toml names, and CMake and Ninja.
.venv/build.stamp: .venv/python.stamp pyproject.toml Makefile .ci/python-headers
	$(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	  > .venv/build-requirements.txt
	$(PIP) install --requirement .venv/build-requirements.txt cmake ninja
	.ci/python-headers $(PY) .venv/headers
	touch $@

# The package with some of its extras, editable, compiled in build/python.
.venv/demo.stamp: EXTRAS := cli,plots
.venv/test.stamp: EXTRAS := test
.venv/dev.stamp: EXTRAS := dev
.venv/bench.stamp: EXTRAS := bench
.venv/docs.stamp: EXTRAS := docs
.venv/%.stamp: .venv/build.stamp $(SOURCES)
	. .venv/headers/env.sh && \
	  $(PIP) install --no-build-isolation --config-settings=build-dir=build/python --editable '.[$(EXTRAS)]'
	touch $@
