# Everything runs in this folder's own .venv; the first target to need it installs it.
#   make demo PYTHON=python3.12      another Python (3.11 or newer) for a new .venv
#   make test ARGS="-k seeds -x"     arguments for pytest; WORKERS=4 for as many processes
#   make eval-dev DATA=DIR           another folder in VOC's layout; ARGS="--episodes 1000" as for fewshot-eval dev

PYTHON ?= python3
OUT ?= demo-out
ARGS ?=
WORKERS ?= 2
DATA ?= $(or $(FEWSHOT_SEG_DATA),../shared/data)/voc
RUNS ?= eval-dev-out
ABLATION ?= ablation-out
BIN := .venv/bin
PACKAGES := fewshot_seg train_embed eval
INSTALL := PYTHON="$(PYTHON)" sh tools/install.sh

.DEFAULT_GOAL := help
.PHONY: help demo eval-dev ablation test fuzz kill-test networks-test page-test lint format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: ## install, then segment real photographs; the results are in demo-out/
	@$(INSTALL) web
	$(BIN)/fewshot-seg demo --out "$(OUT)"
	@echo 'Correct, accept, export on a page: $(BIN)/fewshot-seg serve --folder "$(OUT)/images"'

eval-dev: ## install, then measure on the development images: one table, in eval-dev-out/
	@$(INSTALL)
	$(BIN)/fewshot-eval dev --root "$(DATA)" $(if $(wildcard $(DATA)/dev.txt),--split-list "$(DATA)/dev.txt") --out "$(RUNS)" $(ARGS)

ablation: ## install, then switch off every part in turn on the development images: docs/ablation.md
	@$(INSTALL)
	$(BIN)/fewshot-eval ablation --root "$(DATA)" $(if $(wildcard $(DATA)/dev.txt),--split-list "$(DATA)/dev.txt") --out "$(ABLATION)" --table docs/ablation.md $(ARGS)

test: ## install with the test tools, then run every test
	@$(INSTALL) dev
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

networks-test: ## install with the test tools, then run many kinds of networks through every command
	@$(INSTALL) dev
	$(BIN)/python -m pytest -m networks $(ARGS)

page-test: ## install, then drive the page in Debian's chromium (apt install chromium); screenshots in page-test-out/
	@$(INSTALL) page-test
	$(BIN)/python tests/browser/drive.py --out page-test-out $(ARGS)

fuzz: ## install with the test tools, then run commands on 20,000 spoilt files; ARGS="--seed 1" for others
	@$(INSTALL) dev
	$(BIN)/python -m tests.fuzz.fuzz --cases 20000 --workers $(WORKERS) $(ARGS)

kill-test: ## install with the test tools, then kill commands at 200 random points; ARGS="--only index" for some
	@$(INSTALL) dev
	$(BIN)/python -m tests.kills.kills --kills 200 $(ARGS)

lint: ## style, types, and whether the installed packages agree
	@$(INSTALL) dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pip check

format: ## lay out the code, and mend what can be mended by rule
	@$(INSTALL) dev
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

clean: ## remove .venv, demo-out and every cache
	rm -rf .venv demo-out eval-dev-out ablation-out page-test-out build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(PACKAGES) tests -type d -name __pycache__ -prune -exec rm -rf {} +
