# Shortcuts; `make help` lists them. Everything is installed into .venv, from the versions in envs/pins/.

PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)

# The rules call plain `python`: the one of the virtual environment.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help demo plan watch install test mutants test-vllm test-deepspeed test-slurm test-trl bench format

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST))

demo: install ## train, evaluate and show the summary; CORES=N sets the number of cores
	snakemake --cores $(CORES) --quiet rules host reason
	@cat results/tables/summary.txt

plan: install ## say what would run and why, a line a job or group of jobs; TARGETS='train ...' for a part
	@python workflow_scripts/plan.py $(TARGETS)

watch: install ## follow the running trainings
	@python workflow_scripts/watch.py

install: .venv/installed ## install what the workflow needs; PYTHON=NAME picks the Python

test: install .venv/installed-tests ## check formatting, style and types, then run the tests
	ruff format --check .
	ruff check .
	mypy
	snakefmt --check Snakefile rules
	snakemake --lint
	pytest -n 2

mutants: install .venv/installed-tests ## put deliberate bugs in, one at a time, and list those that no test notices; COUNT=N tries N
	python tests/tools/mutants.py --jobs $(CORES) $(if $(COUNT),--count $(COUNT))

test-vllm: .venv-engines/installed ## test sampling with vLLM on this CPU; it gets an environment of its own
	OMP_NUM_THREADS=1 .venv-engines/bin/python -m pytest tests/test_vllm_engine.py

test-deepspeed: .venv-engines/installed ## test training with DeepSpeed on two processes of this CPU; the same environment
	OMP_NUM_THREADS=1 .venv-engines/bin/python -m pytest tests/test_deepspeed.py tests/test_lora.py

test-trl: .venv-trl/installed ## test A*-PO and GRPO against TRL's trainers; it gets an environment of its own
	.venv-trl/bin/python -m pytest tests/test_trl.py

bench: install ## measure speed against what it replaces; numbers also in results/bench/bench.json
	python bench/grading.py
	python bench/logprobs.py
	python bench/limits.py
	snakemake --cores $(CORES) --quiet rules host reason -- reference data
	$(MAKE) .venv-trl/installed
	.venv-trl/bin/python bench/trl_speed.py
	.venv-trl/bin/python bench/trl_speed.py --compile

test-slurm: install .venv/installed-tests ## install a one-node SLURM (Debian, as root) and run the reduced demo through it
	command -v slurmctld munged >/dev/null || { apt-get update && apt-get install -y --no-install-recommends slurm-wlm munge; } \
		|| [ "$(ASTARPO_TEST_SLURM)" = if-possible ]
	ASTARPO_TEST_SLURM=$(or $(ASTARPO_TEST_SLURM),1) pytest -v -rs tests/test_slurm.py

format: .venv/installed-tests ## format the code, and write the files that are made from the pins
	ruff check --fix-only .
	ruff format .
	snakefmt Snakefile rules
	python envs/generate.py
	python config/document.py

.venv/installed: envs/pins/light.txt envs/pins/torch.txt | .venv/bin/pip
	pip install -r envs/pins/torch.txt
	@touch $@

.venv/installed-tests: envs/pins/test.txt | .venv/bin/pip
	pip install -r envs/pins/test.txt
	@touch $@

# The builds of torchvision and its kind that come along are for GPUs; transformers cannot be imported beside them.
.venv-engines/installed: envs/pins/engines.txt envs/pins/engines-cpu.txt envs/pins/test.txt
	$(PYTHON) -m venv .venv-engines
	.venv-engines/bin/pip install -r envs/pins/engines-cpu.txt $$(grep -E '^(hypothesis|pytest)==' envs/pins/test.txt)
	.venv-engines/bin/pip uninstall --yes torchvision torchaudio torchcodec
	@touch $@

.venv-trl/installed: envs/pins/trl.txt envs/pins/torch.txt envs/pins/test.txt
	$(PYTHON) -m venv .venv-trl
	.venv-trl/bin/pip install -r envs/pins/trl.txt $$(grep -E '^(hypothesis|pytest)==' envs/pins/test.txt)
	@touch $@

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, but $(PYTHON) is %d.%d. Name another one, as in: make PYTHON=python3.12 demo" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
