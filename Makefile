# Shortcuts; `make help` lists them. Everything is installed into .venv, from the versions and hashes in envs/locks/.

PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
# Processors with AMX multiply bfloat16 ten times as fast as float32, with AVX512-BF16 twice; on one with neither, passes took
# seven times as long.
CPUINFO = /proc/cpuinfo
PRECISION ?= $(if $(shell grep -om1 'amx_bf16\|avx512_bf16' $(CPUINFO) 2>/dev/null),bfloat16,float32)

# The rules call plain `python`, which must be that of the virtual environment.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# $(call step,ENVIRONMENT,WHAT,COMMAND): one line; the output goes to ENVIRONMENT/install.log, and its end is shown on failure.
step = @printf '%s ... ' "$(2)"; \
	if { $(3); } >>$(1)/install.log 2>&1; then echo done; \
	else echo failed:; tail -n 15 $(1)/install.log; echo "The whole log: $(1)/install.log"; exit 1; fi
# $(call check,WHAT,COMMAND): one line; the output is shown only on failure.
check = @printf '%-32s' "$(1)"; \
	if output=$$($(2) 2>&1); then echo ok; else echo FAILED; printf '%s\n' "$$output"; exit 1; fi
LARGE = some minutes the first time
TEST_PINS = $$(grep -E '^(hypothesis|pytest)==' envs/pins/test.txt)
# $(call locked,BIN,NAME): install a file of envs/locks/, with uv, or with pip where uv cannot, as behind a mirror that only
# pip knows. $(call torch,BIN): the build for CPUs where pip finds one.
pip_locked = $(1)/pip install --require-hashes --no-deps -r envs/locks/$(2).txt
locked = { $(1)/uv pip install --python $(1)/python --require-hashes --no-deps -r envs/locks/$(2).txt || $(call pip_locked,$(1),$(2)); }
torch = { $(call pip_locked,$(1),torch-cpu) || $(call locked,$(1),torch-gpu); }
# $(call from_locks,COMMAND,COMMAND): the second one, which takes what pip finds for the pins, if HASHES=no.
from_locks = $(if $(filter no,$(HASHES)),$(2),$(1))

.PHONY: help demo demo-llm plan doctor watch install install-gpu test mutants faults test-vllm test-deepspeed test-slurm test-trl smoke-gpu bench load format audit sbom

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST))

demo: install ## train, evaluate and show the summary; CORES=N sets the number of cores
	PYTHONPATH=workflow_scripts snakemake --cores $(CORES) --logger stages
	@echo; cat results/tables/summary.txt
	@echo 'Figures: results/figures/   Tables: results/tables/   Report: results/report.zip   Models: results/runs/*/seed-*/model/'

demo-llm: install ## train SmolLM2-135M-Instruct on short arithmetic; PRECISION=float32 or bfloat16, which is the default on processors that multiply it (AMX, AVX512-BF16)
	mkdir -p demo-llm
	PYTHONPATH=workflow_scripts snakemake --cores $(CORES) --logger stages --directory demo-llm \
		--configfile config/recipes/arithmetic_smollm2.yaml \
		--config 'references={"smollm2": {"precision": "$(PRECISION)"}}'
	@echo; cat demo-llm/results/tables/summary.txt demo-llm/results/tables/kinds.md

plan: install ## say what would run and why, one line per job or group of jobs; TARGETS='train ...' limits it
	@python workflow_scripts/plan.py $(TARGETS)

# With the packages of the environment for GPUs where there is one; with bash, which expands braces in CONFIG, where there is one.
doctor: SHELL := $(or $(shell command -v bash),/bin/sh)
doctor: $(if $(wildcard .venv-gpu/installed),,install) ## say what this machine lacks; CONFIG="a.yaml b.yaml" what these would take, MACHINE=8xH100 on another machine
	@$(if $(wildcard .venv-gpu/installed),.venv-gpu/bin/python,python) workflow_scripts/doctor.py $(CONFIG) $(if $(MACHINE),--machine '$(MACHINE)')

watch: install ## follow the running trainings
	@python workflow_scripts/watch.py

install: .venv/installed ## install what the workflow needs; PYTHON=NAME picks the Python, HASHES=no any build of the pinned versions

install-gpu: .venv-gpu/installed ## install what a machine with NVIDIA GPUs needs, vLLM and DeepSpeed included; DRIVER=any does not check the driver
	@echo 'Now: . .venv-gpu/bin/activate   Then: snakemake --cores N --configfile config/recipes/...'

test: install .venv/installed-tests ## check formatting, style and types, then run the tests
	$(call check,formatting,ruff format --check .)
	$(call check,style,ruff check .)
	$(call check,types,mypy)
	$(call check,formatting of the rules,snakefmt --check Snakefile rules)
	$(call check,lint of the workflow,snakemake --lint)
	@printf '%-32s' tests; if [ -t 1 ]; then echo; pytest -n 2 -q; \
	elif output=$$(pytest -n 2 -q 2>&1); then printf '%s\n' "$$output" | tail -n 1; \
	else echo FAILED; printf '%s\n' "$$output"; exit 1; fi

mutants: install .venv/installed-tests ## insert deliberate bugs, one at a time, and list those that no test detects; COUNT=N tries N
	python tests/tools/mutants.py --jobs $(CORES) $(if $(COUNT),--count $(COUNT))

faults: install .venv/installed-tests ## kill, disturb and damage every stage, and list what is lost or wrong without a word; COUNT=N tries N, SHARE=ci two minutes' worth
	python tests/faults --jobs $(CORES) $(if $(COUNT),--count $(COUNT),$(if $(filter ci,$(SHARE)),--count 24))

test-vllm: .venv-engines/installed ## test sampling with vLLM on this CPU, in a separate environment
	OMP_NUM_THREADS=1 .venv-engines/bin/python -m pytest tests/test_vllm_engine.py tests/test_smoke_gpu.py

test-deepspeed: .venv-engines/installed ## test training with DeepSpeed in two processes on this CPU, in the environment of test-vllm
	OMP_NUM_THREADS=1 .venv-engines/bin/python -m pytest tests/test_deepspeed.py tests/test_lora.py tests/test_memory_measured.py tests/test_second_device.py
	.venv-engines/bin/python tests/faults --only deepspeed --count 2

smoke-gpu: ## run every engine for real on one NVIDIA card, in at most ten minutes; without a card it says so
	@if nvidia-smi --list-gpus 2>/dev/null | grep -q '^GPU '; then \
		$(MAKE) --no-print-directory .venv-gpu/installed && .venv-gpu/bin/python bench/smoke_gpu.py; \
	else $(PYTHON) bench/smoke_gpu.py; fi

test-trl: .venv-trl/installed ## test A*-PO and GRPO against TRL's trainers, in a separate environment
	.venv-trl/bin/python -m pytest tests/test_trl.py

bench: install ## measure speed against alternatives; writes results/bench/bench.json
	python bench/grading.py
	python bench/logprobs.py
	python bench/prefix.py
	python bench/balance.py
	python bench/limits.py
	python bench/memory.py
	snakemake --cores $(CORES) --quiet rules host reason --directory results/bench/trl --configfile bench/trl.yaml -- reference data
	$(MAKE) .venv-trl/installed
	.venv-trl/bin/python bench/trl_speed.py --case tiny grpo
	.venv-trl/bin/python bench/trl_speed.py --case tiny grpo --compile

load: install ## measure seconds and peak memory of the stages on up to 1.6 million responses; writes results/bench/bench.json
	python bench/load.py

test-slurm: install .venv/installed-tests ## install a one-node SLURM (Debian, as root) and run the reduced demo on it
	command -v slurmctld munged >/dev/null || { apt-get update && apt-get install -y --no-install-recommends slurm-wlm munge; } \
		|| [ "$(ASTARPO_TEST_SLURM)" = if-possible ]
	ASTARPO_TEST_SLURM=$(or $(ASTARPO_TEST_SLURM),1) pytest -v -rs tests/test_slurm.py

audit: install ## compare the locked packages with a stored list of advisories, offline; ADVISORIES=FOLDER names it
	@python envs/audit.py $(if $(ADVISORIES),--advisories '$(ADVISORIES)') $(if $(IGNORE),--ignore $(IGNORE))

sbom: .venv/installed-tests ## write a bill of materials (CycloneDX) of each environment to results/sbom/
	@python envs/sbom.py --out results/sbom

format: .venv/installed-tests ## format the code and write the generated files
	ruff check --fix-only .
	ruff format .
	snakefmt Snakefile rules
	python envs/generate.py
	python config/document.py

TORCH_LOCKS = envs/locks/torch.txt envs/locks/torch-cpu.txt envs/locks/torch-gpu.txt
.venv/installed: envs/locks/uv.txt $(TORCH_LOCKS) | .venv/bin/pip
	$(call step,.venv,installing the workflow with torch ($(LARGE)),$(call from_locks,$(call pip_locked,.venv/bin,uv) \
		&& $(call locked,.venv/bin,torch) && $(call torch,.venv/bin) && pip check,pip install -r envs/pins/torch.txt))
	@touch $@

.venv/installed-tests: envs/locks/test.txt .venv/installed
	$(call step,.venv,installing the tools that tests need,$(call from_locks,\
		$(call locked,.venv/bin,test) && pip check,pip install -r envs/pins/test.txt))
	@touch $@

# vLLM brings GPU builds of torchvision and others, with which transformers cannot be imported; the locks leave them out.
.venv-engines/installed: envs/locks/uv.txt envs/locks/engines-cpu.txt envs/locks/torch-cpu.txt
	@mkdir -p .venv-engines
	$(call step,.venv-engines,creating .venv-engines,$(PYTHON) -m venv .venv-engines)
	$(call step,.venv-engines,installing vLLM and DeepSpeed ($(LARGE)),$(call from_locks,\
		$(call pip_locked,.venv-engines/bin,uv) && $(call locked,.venv-engines/bin,engines-cpu) \
		&& $(call pip_locked,.venv-engines/bin,torch-cpu),\
		.venv-engines/bin/pip install -r envs/pins/engines-cpu.txt $(TEST_PINS) \
		&& .venv-engines/bin/pip uninstall --yes torchvision torchaudio torchcodec))
	@touch $@

.venv-gpu/installed: envs/locks/uv.txt envs/locks/gpu.txt
	@$(if $(filter any,$(DRIVER)),:,$(PYTHON) envs/driver.py)
	@mkdir -p .venv-gpu
	$(call step,.venv-gpu,creating .venv-gpu,$(PYTHON) -m venv .venv-gpu)
	$(call step,.venv-gpu,installing CUDA's torch with vLLM and DeepSpeed ($(LARGE)),$(call from_locks,\
		$(call pip_locked,.venv-gpu/bin,uv) && $(call locked,.venv-gpu/bin,gpu) && .venv-gpu/bin/pip check,\
		.venv-gpu/bin/pip install -r envs/pins/gpu.txt $(TEST_PINS)))
	@touch $@

.venv-trl/installed: envs/locks/uv.txt $(TORCH_LOCKS) envs/locks/trl.txt
	@mkdir -p .venv-trl
	$(call step,.venv-trl,creating .venv-trl,$(PYTHON) -m venv .venv-trl)
	$(call step,.venv-trl,installing TRL ($(LARGE)),$(call from_locks,$(call pip_locked,.venv-trl/bin,uv) \
		&& $(call locked,.venv-trl/bin,torch) && $(call torch,.venv-trl/bin) && $(call locked,.venv-trl/bin,trl) \
		&& .venv-trl/bin/pip check,.venv-trl/bin/pip install -r envs/pins/trl.txt $(TEST_PINS)))
	@touch $@

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, but $(PYTHON) is %d.%d. Name another one, as in: make PYTHON=python3.12 demo" % sys.version_info[:2])'
	@mkdir -p .venv
	$(call step,.venv,creating .venv with $(PYTHON),$(PYTHON) -m venv .venv)
