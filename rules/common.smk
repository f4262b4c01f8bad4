"""What the rules share: the checked configuration, what each stage is given, and the code it runs.

Comes in: the configuration. Goes out: functions that the other rule files use; no files.

Snakemake compares two parameters of every job: its settings, one JSON text with just the keys that its stage reads
(`settings`), and the fingerprint of its code (`code`). So an edit reruns what depends on it, and a touch, a clone, a
comment or another order of keys reruns nothing. Inputs are data only. All of these come from one table, keyed by the
names of the rules: astarpo/config/stages/table.py.
"""

import json
import shlex
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

# What belongs to the workflow lies beside it, wherever it is started; results lie in the working directory.
SOURCE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
if not SOURCE.is_dir():
    raise WorkflowError(
        f"{SOURCE}: the workflow's scripts import one another, so it runs from a copy on disk: clone the repository, and "
        "name the Snakefile of that copy"
    )
if "{" in str(SOURCE) or "}" in str(SOURCE):
    raise WorkflowError(
        f"{SOURCE}: Snakemake takes braces in the path of a workflow for names of wildcards; rename the folder. The working "
        "directory may have them"
    )
sys.path.insert(0, str(SOURCE / "workflow_scripts"))

from astarpo.common.code import SCRIPTS, read_code
from astarpo.common.errors import InputError
from astarpo.common.files import sha256
from astarpo.common.hashes import HASHES
from astarpo.common.settings import canonical_json
from astarpo.config import load_config, with_typed
from astarpo.config.lengths import lengths_json
from astarpo.config.paths import model_path
from astarpo.config.patterns import NAME, figure_pattern, one_of, samples_pattern, training_pattern
from astarpo.config.policies import lists_of_steps, reference_of
from astarpo.config.stages.table import find_stage
from astarpo.config.targets import TARGETS
from astarpo.config.together import answers_scratch, block_scratch, other_answers, other_blocks
from astarpo.model.files import content_of
from astarpo.planning.ram import sampling_mb, training_mb

try:
    CONFIG = load_config(with_typed(config, workflow.config_settings.config), workflow.configfiles)
except InputError as error:
    raise WorkflowError(str(error)) from None

MACHINE = CONFIG.machine
# The templates of tables and pages are code, but no import leads to them.
TEMPLATES = sha256(SCRIPTS / "astarpo" / "tables" / "templates")
# Inputs whose content is compared in another way, so their times must not count: verifiers of the user's own are part
# of the code, and for the files of a local model see `model_content`.
COMPARED_BY_CONTENT = {"verifier", "validation_verifier", "model_files"}


wildcard_constraints:
    dataset=NAME,
    benchmark=NAME,
    reference=NAME,
    block=r"s\d+-p\d+",
    selection=NAME,
    value=NAME,
    run=NAME,
    seed=r"\d+",
    policy=rf"{NAME}(\.seed-\d+(\.step-\d+)?)?",
    protocol=NAME,
    figure=NAME,


# What the stage table says, as functions of a job's wildcards. An unknown name of a stage stops Snakemake at once.


def stage_of(rule):
    """The entry of a rule in the stage table."""
    try:
        return find_stage(rule)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def settings(rule):
    """A params function: the JSON of the settings of a rule's jobs."""
    stage = stage_of(rule)
    return lambda wildcards: stage.settings_json(CONFIG, wildcards)


def code(rule):
    """A params function: the fingerprint of a rule's script, with what the job chooses of the optional modules."""
    stage = stage_of(rule)
    return lambda wildcards: read_code(rule, stage.modules(CONFIG, wildcards)).fingerprint


def inputs(rule):
    """An input function for `unpack`: the named inputs of a rule's jobs."""
    stage = stage_of(rule)

    def of(wildcards):
        named = stage.inputs(CONFIG, wildcards)
        return {name: ancient(path) if name in COMPARED_BY_CONTENT else path for name, path in named.items()}

    return of


def environment(rule, usual, complete):
    """A conda function: the usual environment, or the complete one where the job needs a package that only that has.

    It is chosen for each job: a run with an engine of its own is no edit of the others.
    """
    stage = stage_of(rule)
    return lambda wildcards: complete if stage.packages(CONFIG, wildcards) else usual


samples_env = environment("sample_reference", "../envs/sampling.yaml", "../envs/sampling-vllm.yaml")
answers_env = environment("generate_answers", "../envs/sampling.yaml", "../envs/sampling-vllm.yaml")
training_env = environment("train_policy", "../envs/training.yaml", "../envs/training-deepspeed.yaml")


def targets(name):
    """The files of a named target."""
    return TARGETS[name](CONFIG)


# Times that a job is tried again if its input comes from elsewhere: a hub may be out of reach for a moment.
DOWNLOAD_RETRIES = 2


def download_retries(entries):
    """How often jobs of these entries are tried again; None, which is what `--retries` says, if nothing is downloaded."""
    downloaded = any(entry.source.kind in ("hub", "package") for entry in entries)
    return DOWNLOAD_RETRIES if downloaded else None


def attempt(wildcards, attempt):
    """A resource: how often Snakemake has started the job, this time included."""
    return attempt


def model_content(wildcards):
    """A hash of the files of a local model: Snakemake does not compare the content of files as large as weights."""
    source = CONFIG.references[wildcards.reference].source
    if source.kind != "local":
        return ""
    with suppress(OSError):  # hashes of a folder that cannot be written to are computed each time
        HASHES.mkdir(parents=True, exist_ok=True)
    return content_of(source.path, gguf_file=source.gguf_file)


def reference_lengths(wildcards, resources):
    """How long the texts are that later stages give a reference. Not compared: a new benchmark changes no reference."""
    return lengths_json(CONFIG, wildcards.reference)


# A model folder is an input beside the manifest that describes it, so that a deleted one is made again. It is `ancient`:
# the manifest tells whether it changed.


def model_of_run(wildcards):
    """The model folder of a run's reference."""
    return model_path(CONFIG.runs[wildcards.run].reference)


def model_of_policy(wildcards):
    """The model folder of a reference or of a trained policy."""
    return model_path(wildcards.policy)


def machine(wildcards, resources):
    """The machine settings. A function of `resources` is not compared by Snakemake: that is the purpose."""
    return canonical_json(MACHINE.settings())


# How a job is started: not compared, as it changes no number.


def launch(wildcards, resources):
    """The launcher."""
    return shlex.quote(str(SCRIPTS / "launch.py"))


def launch_with_gpu(wildcards, resources):
    """The launcher for a job on the devices that it requests."""
    return f"{launch(wildcards, resources)} --gpus {resources.gpu}"


# What else a job draws once its engine runs. Not compared: it changes no number, and a new benchmark repeats nothing.


def answers_of_others(wildcards, resources):
    """The policy's other answers, as an option."""
    return others_option(other_answers(CONFIG, wildcards.policy, wildcards.benchmark, wildcards.protocol))


def blocks_of_others(wildcards, resources):
    """The other blocks of a data set's samples, as an option."""
    return others_option(other_blocks(CONFIG, wildcards.reference, wildcards.dataset, wildcards.block))


def scratch_of_answers(wildcards):
    """The folder of a job's finished answers."""
    return answers_scratch(wildcards.policy, wildcards.benchmark, wildcards.protocol)


def scratch_of_block(wildcards):
    """The folder of a job's finished responses."""
    return block_scratch(wildcards.reference, wildcards.dataset, wildcards.block)


def others_option(others):
    """The option that lists other jobs; nothing if there are none."""
    return f"--others {shlex.quote(canonical_json(others))}" if others else ""


def launch_training(wildcards, resources):
    """The launcher for a training, which may spread over devices and nodes."""
    return f"{launch_with_gpu(wildcards, resources)} --processes {MACHINE.devices} --nodes {MACHINE.nodes}"


def options(names, more=""):
    """A params function: the options of those inputs that a job has, `--name path ...`, and `more` with its wildcards."""

    def of(wildcards, input):
        given = [(name, input.get(name)) for name in names]
        listed = [
            f"--{name.replace('_', '-')} {shlex.join([path] if isinstance(path, str) else path)}"
            for name, path in given
            if path
        ]
        return " ".join([*listed, more.format(**wildcards)] if more else listed)

    return of


def same_workflow(wildcards, resources):
    """The Snakefile and the configuration of this invocation, as options for another one; not compared, as paths are."""
    files = [str(path) for path in workflow.overwrite_configfiles or []]
    changes = [f"{key}={json.dumps(value)}" for key, value in (workflow.config_settings.config or {}).items()]
    given = {"--snakefile": [workflow.main_snakefile], "--configfile": files, "--config": changes}
    return " ".join(f"{option} {shlex.join(words)}" for option, words in given.items() if words)


PAPER = SOURCE / "config/paper/main_table.csv"


def paper_table(wildcards, resources):
    """The paper's main table; not compared, as it is a path of this machine."""
    return str(PAPER)


def paper_content(wildcards):
    """What is compared of it."""
    return f"paper {sha256(PAPER)}"


def reference_threads(wildcards):
    """CPU threads that the reference's entry asks for."""
    return CONFIG.references[wildcards.reference].torch_threads


def reference_gpus(wildcards):
    """GPUs of a job that samples from a reference."""
    return MACHINE.sampling_gpus(CONFIG.references[wildcards.reference].sampling_engine)


def training_threads(wildcards):
    """CPU threads that the processes of a training take on each node; one that draws ahead has a second process."""
    run = CONFIG.runs[wildcards.run]
    return (MACHINE.devices + (run.pipeline is not None)) * run.torch_threads


def training_gpus(wildcards):
    """GPUs of a training on each node."""
    return MACHINE.training_gpus(CONFIG.runs[wildcards.run].pipeline is not None)


def training_cpus(wildcards):
    """CPUs to ask a cluster for: each process of a training also grades its responses, beside the computing threads."""
    return training_threads(wildcards) + MACHINE.devices * MACHINE.grading_workers


@cache
def ram_of_run(run):
    """MB of RAM for a run's trainings; only dry runs of many seeds notice that this is kept."""
    return training_mb(CONFIG, run)


def training_memory(wildcards):
    """MB of RAM to ask a cluster for."""
    return ram_of_run(wildcards.run)


def reference_memory(wildcards):
    """MB of RAM to ask a cluster for."""
    return sampling_mb(CONFIG, wildcards.reference)


def answer_memory(wildcards):
    """MB of RAM to ask a cluster for, as for the policy's reference."""
    return sampling_mb(CONFIG, reference_of(CONFIG, wildcards.policy))


def answer_threads(wildcards):
    """CPU threads that the policy's reference asks for."""
    reference = reference_of(CONFIG, wildcards.policy)
    return CONFIG.references[reference].torch_threads


def answer_gpus(wildcards):
    """GPUs of a job that samples from a policy, as from its reference."""
    reference = reference_of(CONFIG, wildcards.policy)
    return MACHINE.sampling_gpus(CONFIG.references[reference].sampling_engine)
