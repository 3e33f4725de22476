# The targets for developers; `make help` lists them.

PYTHON ?= python3
VENV ?= $(or $(VIRTUAL_ENV),.venv)
BIN := $(VENV)/bin
# some tests wait for processes and timers: five workers more than processors; each collects all tests
WORKERS ?= $(shell echo $$(( 5 + $$(nproc) )))
PYTEST = -m pytest -n $(WORKERS)
# what the tests of a file share is made once; at night single files take hours
BY_FILE = --dist loadfile --no-loadscope-reorder
# tests sync their files thousands of times, which costs nothing in memory, if programs may run there
IN_MEMORY = $(shell [ -w /dev/shm ] && ! grep -q ' /dev/shm .*noexec' /proc/mounts && \
	[ "$$(df --output=avail /dev/shm | tail -n 1)" -gt 2000000 ] && \
	awk '/^MemAvailable/ { exit $$2 < 4000000 }' /proc/meminfo && echo /dev/shm)
TEMPORARY = $(or $(TMPDIR),$(IN_MEMORY),/tmp)
# how long the searches of `make nightly` are
CASES ?= 100000
KILLS ?= 200
BLOWS ?= 50
SOAK_MINUTES ?= 30
DEMO_STAMP := $(VENV)/.has-devserver
DEV_STAMP := $(VENV)/.has-dev
LOCK = "$(BIN)/uv" pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-package mender-python-client --no-emit-package mender-devserver
SOURCES := src tests benchmarks demo tools support/modules/v3/rootfs-image

.DEFAULT_GOAL := help
.PHONY: help venv demo test coverage nightly check lint format docs screenshots site dist zipapp deb deb-check lock audit

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(DEV_STAMP) ## make the virtual environment (VENV=.venv) from PYTHON=python3, for development

demo: $(DEMO_STAMP) ## update a simulated device, twice; ARGS="--help" describes the options
	@"$(BIN)/python" demo/demo.py $(ARGS)

# hundreds of processes start in the tests: none is to compile again what is compiled
test: export PYTHONDONTWRITEBYTECODE =
test: export TMPDIR := $(TEMPORARY)
test: $(DEV_STAMP) ## run the tests in parallel; ARGS are passed to pytest
	"$(BIN)/python" $(PYTEST) $(BY_FILE) --timeout 300 $(ARGS)

coverage: export PYTHONDONTWRITEBYTECODE =
coverage: export TMPDIR := $(TEMPORARY)
coverage: $(DEV_STAMP) ## the same, and print the branch coverage of core and client, which takes longer
	@"$(BIN)/coverage" erase
	"$(BIN)/coverage" run $(PYTEST) $(BY_FILE) --timeout 300 $(ARGS)
	@"$(BIN)/coverage" combine --quiet
	@echo "branch coverage of core and client (in total at least 95 per cent):"
	@"$(BIN)/coverage" report --include='*/core/*,*/client/*' --precision=1 --fail-under=95

nightly: export PYTHONDONTWRITEBYTECODE =
nightly: $(DEV_STAMP) ## all tests with full searches, coverage of everything, fuzzing, kills and soak; takes hours
	@"$(BIN)/coverage" erase
	"$(BIN)/coverage" run $(PYTEST) --dist worksteal --timeout 7200 --nightly $(ARGS)
	@"$(BIN)/coverage" combine --quiet
	@"$(BIN)/coverage" report
	"$(BIN)/python" tests/fuzz/fuzz_artifact.py --cases $(CASES)
	"$(BIN)/python" tests/fuzz/fuzz_parsers.py --cases $(CASES)
	"$(BIN)/python" tests/program/kill.py --kills $(KILLS)
	"$(BIN)/python" tests/program/modules/kill.py --kills $(KILLS)
	"$(BIN)/python" tests/connect/kill.py --blows $(BLOWS)
	"$(BIN)/python" tests/pauses.py $(MAKE) test
	"$(BIN)/python" tools/soak --minutes $(SOAK_MINUTES)

check: lint site coverage ## all that CI checks: style, types, tests and their coverage, documents

lint: $(DEV_STAMP) ## style and types
	"$(BIN)/ruff" check $(SOURCES)
	"$(BIN)/ruff" format --check $(SOURCES)
	"$(BIN)/mypy"

format: $(DEV_STAMP) ## format the sources
	"$(BIN)/ruff" check --fix $(SOURCES)
	"$(BIN)/ruff" format $(SOURCES)

docs: $(DEV_STAMP) ## regenerate what is derived from the code: reference, messages, manual pages, shell completions
	"$(BIN)/python" tools/reference.py
	"$(BIN)/python" tools/state_diagram.py
	"$(BIN)/python" tools/manual.py
	"$(BIN)/python" tools/completions.py
	"$(BIN)/python" tools/messages.py

site: $(DEV_STAMP) ## build the documentation as a site in site/, strictly
	NO_MKDOCS_2_WARNING=1 "$(BIN)/mkdocs" build --strict

dist: $(DEV_STAMP) ## both distributions, zipapp, SBOM and SHA256SUMS in dist/, reproducibly
	"$(BIN)/python" tools/dist.py dist

zipapp: $(DEV_STAMP) ## the client in one file, dist/mender-python-client.pyz
	@mkdir -p dist
	"$(BIN)/python" tools/zipapp_file.py dist/mender-python-client.pyz

deb: $(DEV_STAMP) ## the Debian packages, built by Debian's tools and checked by lintian, in dist/
	packaging/build-deb "$(BIN)/python" dist

deb-check: $(DEV_STAMP) ## install, use and purge them in a clean root directory; needs root, debootstrap and a few minutes
	packaging/check-deb "$(BIN)/python" dist

lock: $(DEV_STAMP) ## update the pinned versions and hashes in requirements/
	$(LOCK) --upgrade --output-file requirements/dev.txt requirements/dev.in

audit: $(DEV_STAMP) ## check all pinned packages against the public advisories; needs the internet
	"$(BIN)/pip-audit" --strict --disable-pip --require-hashes --requirement requirements/dev.txt

screenshots: $(DEV_STAMP) ## retake the screenshots of the dev server's page; needs chromium
	@mkdir -p docs/images
	PICTURES="$(CURDIR)/docs/images" "$(BIN)/python" -m pytest -q --nightly tests/page -k whole_round

define make_venv
	@test -x "$(BIN)/python" || { \
		"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
			echo 'cannot continue: "$(PYTHON)" is not Python 3.10 or newer; specify one, as in: make demo PYTHON=python3.12' >&2; \
			exit 1; \
		}; \
		"$(PYTHON)" -m venv "$(VENV)"; \
	}
	@echo 'installing into $(VENV) (once, and whenever its requirements change)' >&2
endef

# both distributions, from this tree
PACKAGES := --editable . --editable devserver
PACKAGED := pyproject.toml devserver/pyproject.toml

$(DEMO_STAMP): $(PACKAGED)
	$(make_venv)
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check $(PACKAGES)
	@touch "$@"

$(DEV_STAMP): $(PACKAGED) requirements/dev.txt
	$(make_venv)
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(PACKAGES)
	@touch "$@" "$(DEMO_STAMP)"
	@# compile the tests once, and not in each worker of the first run
	@PYTHONDONTWRITEBYTECODE= "$(BIN)/python" -m pytest -q --collect-only >/dev/null || true
