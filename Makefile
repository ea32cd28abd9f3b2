# `make run`: a simulated study from deposits to verdict. `make test`: the tests. `make images`: see
# images/README.md.
PYTHON ?= python3
BIN := .venv/bin
# What tests promise of bytes holds on the processor.
ON_CPU = CUDA_VISIBLE_DEVICES=
# Wheels are for the Python that fetches them; the base has to have the same.
BASE ?= python:$(shell $(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')-slim-bookworm
FLAVOURS ?= cpu
VERSION ?= 0.1.0
EXTRAS ?= validate
# A file of tests goes to one process: tests of a file share what they have built.
WORKERS ?= -n auto --maxprocesses 4 --dist loadfile
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e

BENCHES = ablation classical confidence controls default drift fanout integration intervals memory nested \
	ordered passes qa real scale train truth

.PHONY: run test test-slow test-gpu test-containers test-manifests test-sinks azurite lint compile docs \
	images image-cpu image-cuda image-base clean bench-kill bench-spot bench-cohort-confidence bench-drift-rate $(BENCHES:%=bench-%)

run: .venv/run
	$(BIN)/levelseq run

test: .venv/test
	$(ON_CPU) $(BIN)/python -m pytest $(WORKERS)

test-slow: .venv/test
	$(ON_CPU) $(BIN)/python -m pytest -m slow $(WORKERS)

# The step that trains on a CUDA device, beside what it gives on the processor.
test-gpu: .venv/test
	$(BIN)/python -m pytest -rs tests/models/test_device_step.py

# Skipped, with the reason, where no container can be started.
test-containers: .venv/test
	PIP_FLAGS='$(PIP_FLAGS)' BUILD_FLAGS='$(BUILD_FLAGS)' $(BIN)/python -m pytest -m containers -rs tests/containers

# Prints the kinds and versions that were validated.
test-manifests: .venv/test
	$(BIN)/python -m pytest -s tests/manifests

# Against a real MLflow server, in an environment of its own.
test-sinks: .venv/test .venv-mlflow/ready
	$(BIN)/python -m pytest tests/recalibrate/test_sinks.py

# An emulator of Azure's stores (MIT) for the store tests, which go without it where it is not.
azurite: .azurite/node_modules/.bin/azurite-blob

.azurite/node_modules/.bin/azurite-blob:
	npm install --silent --no-audit --no-fund --prefix .azurite azurite@3.35.0

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

compile: .venv/run
	$(BIN)/levelseq compile --out pipelines/compiled

docs: .venv/run
	$(BIN)/python -m levelseq_pipelines.docs

bench-classical: .venv-peers/ready

bench-train bench-integration: .venv-peers-models/ready

$(BENCHES:%=bench-%): bench-%: .venv/test
	$(BIN)/python tests/benchmarks/$*.py $(ARGS)

bench-drift-rate: .venv/test
	$(BIN)/python tests/benchmarks/drift_rate.py $(ARGS)

bench-cohort-confidence: .venv/test
	$(BIN)/python tests/benchmarks/cohort_confidence.py $(ARGS)

bench-kill: .venv/test
	$(BIN)/python -m pytest -m slow -s tests/faults

bench-spot: .venv/test
	PIP_FLAGS='$(PIP_FLAGS)' BUILD_FLAGS='$(BUILD_FLAGS)' $(BIN)/python -m pytest -m containers -rs -s tests/containers/test_spot.py

images: $(FLAVOURS:%=image-%)

image-cpu image-cuda: image-%: | .venv/bin/python
	$(BIN)/python images/wheelhouse.py $* --extras '$(EXTRAS)' --pip-flags='$(PIP_FLAGS)'
	$(BIN)/python images/build.py $* --base $(BASE) --tag levelseq/levelseq-$*:$(VERSION) $(if $(RELEASE),--release) $(BUILD_FLAGS)

image-base:
	images/base.sh | $(or $(ENGINE),podman) import - levelseq-base:bookworm

clean:
	rm -rf .venv .azurite .venv-mlflow .venv-peers .venv-peers-models wheelhouse workspace

.venv/bin/python:
	$(PYTHON) -m venv .venv || { rm -rf .venv; echo "python's venv is missing: on Debian, apt-get install python3-venv"; exit 1; }

.venv/run: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) '.[validate]'
	touch $@

.venv/test: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) '.[validate,test]'
	touch .venv/run $@

.venv-peers/ready: tests/benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

.venv-mlflow/ready: tests/recalibrate/mlflow_server.txt
	$(PYTHON) -m venv .venv-mlflow
	.venv-mlflow/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

.venv-peers-models/ready: tests/benchmarks/model_peers.txt
	$(PYTHON) -m venv .venv-peers-models
	.venv-peers-models/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@
