# One command each; `make` alone prints this list. The environment is made and kept up to date by itself.
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := $(shell grep '^torch==' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help demo review-demo test test-all check bench clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(TORCH)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP) ## annotate, train and evaluate the built-in example on this machine's CPU; ends with a table and a report
	CUDA_VISIBLE_DEVICES= $(BIN)/python annotate.py run_name=demo overwrite=true
	CUDA_VISIBLE_DEVICES= $(BIN)/python train.py run_name=demo overwrite=true labelled.path=outputs/demo_labels/labelled.jsonl
	CUDA_VISIBLE_DEVICES= $(BIN)/python evaluate.py run_name=demo overwrite=true

LABELLED := outputs/demo_labels/labelled.jsonl
review-demo: $(STAMP) ## the experts' review page with demo accounts: on what `make demo` left to judge, else on a small phantom
	$(BIN)/python -m medprm.review accounts.demo=true \
	  $(if $(wildcard $(LABELLED)),run_name=review_demo_labels data.path=$(LABELLED),run_name=review_demo)

test: $(STAMP) ## the tests without marks and those marked distributed; offline
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -rs

test-all: $(STAMP) ## the tests marked slow or browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow or browser" --timeout 1800 -rs || [ $$? -eq 5 ]  # 5: none is marked so

bench: $(STAMP) ## speed and memory against the other side; not training_trl, annotation, which want an environment, a server
	mkdir -p outputs/bench
	for name in training scoring memory decoding growth retrieval rollouts; do \
	  OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$$name.py --json outputs/bench/$$name.json || exit 1; done

check: $(STAMP) ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

clean: ## remove runs and caches; the environment stays
	rm -rf outputs .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
