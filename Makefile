# `make run`: a simulated study from deposits to verdict. `make test`: the tests.
PYTHON ?= python3
BIN := .venv/bin
BASE ?= python:3.11-slim-bookworm
IMAGE ?= levelseq/levelseq-cpu:0.1.0
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e

.PHONY: run test test-slow lint compile docs image clean bench-default bench-drift bench-passes bench-real bench-kill \
	bench-ablation bench-classical bench-confidence bench-controls bench-drift-rate bench-integration bench-nested bench-ordered \
	bench-qa bench-scale bench-train bench-truth

run: .venv/run
	$(BIN)/levelseq run

test: .venv/test
	$(BIN)/python -m pytest

test-slow: .venv/test
	$(BIN)/python -m pytest -m slow

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

bench-default bench-drift bench-real bench-passes bench-ablation bench-classical \
	bench-confidence bench-controls bench-integration bench-nested bench-ordered bench-qa bench-scale bench-train bench-truth: bench-%: .venv/test
	$(BIN)/python tests/benchmarks/$*.py $(ARGS)

bench-drift-rate: .venv/test
	$(BIN)/python tests/benchmarks/drift_rate.py $(ARGS)

bench-kill: .venv/test
	$(BIN)/python -m pytest -m slow -s tests/faults

image: .venv/run
	rm -rf wheelhouse
	$(BIN)/python -m pip wheel --quiet -c constraints.txt -w wheelhouse '.[validate]'
	docker build -f images/Dockerfile.cpu --build-arg BASE=$(BASE) -t $(IMAGE) .

clean:
	rm -rf .venv .venv-peers .venv-peers-models wheelhouse workspace

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

.venv-peers-models/ready: tests/benchmarks/model_peers.txt
	$(PYTHON) -m venv .venv-peers-models
	.venv-peers-models/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@
