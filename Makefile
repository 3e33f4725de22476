# One word for each thing that a developer does; `make help` lists them.

PYTHON ?= python3
VENV ?= $(or $(VIRTUAL_ENV),.venv)
DEMO_STAMP := $(VENV)/.has-devserver

.DEFAULT_GOAL := help
.PHONY: help venv demo

help: ## list these words
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(DEMO_STAMP) ## make the virtual environment (VENV=.venv) from PYTHON=python3

demo: $(DEMO_STAMP) ## update a simulated device, twice; ARGS="--help" tells more
	@"$(VENV)/bin/python" demo/demo.py $(ARGS)

$(DEMO_STAMP): pyproject.toml
	@test -x "$(VENV)/bin/python" || { \
		"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
			echo 'cannot go on: "$(PYTHON)" is not Python 3.10 or newer; name one, as in: make demo PYTHON=python3.12' >&2; \
			exit 1; \
		}; \
		"$(PYTHON)" -m venv "$(VENV)"; \
	}
	@echo 'installing into $(VENV) (once, and when pyproject.toml changes)' >&2
	@"$(VENV)/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[devserver]'
	@touch "$@"
