"""What the rules share: the checked configuration, what each stage receives, and the code it runs.

Comes in: the configuration. Goes out: functions that the other rule files use; no files.

Snakemake compares two parameters of every job: its settings, one JSON text with just the keys that its stage reads
(`settings`), and the fingerprint of its code (`code`). So an edit reruns what depends on it, and a touch, a clone, a
comment or another order of keys reruns nothing. Inputs are data only.
"""

import json
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# What belongs to the workflow lies beside it, wherever it is started; results lie in the working directory.
SOURCE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
if not SOURCE.is_dir():
    raise WorkflowError(
        f"{SOURCE}: the workflow's scripts import one another, so it runs from a copy on disk: clone the repository, and "
        "name the Snakefile of that copy"
    )
sys.path.insert(0, str(SOURCE / "workflow_scripts"))

from astarpo.common.code import SCRIPTS, read_code
from astarpo.common.devices import check_enough, check_partitions, slurm_job
from astarpo.common.errors import InputError
from astarpo.common.files import sha256
from astarpo.common.hashes import HASHES
from astarpo.common.job_logs import describe_failure
from astarpo.common.packages import check_can_import
from astarpo.config import Plan, load_config, with_typed
from astarpo.config.targets import NOTHING, Targets
from astarpo.figures import PLOTS
from astarpo.model.files import content_of
from astarpo.model.lengths import check_folder
from astarpo.training.compilation import check_can_compile
from astarpo.training.trackers import check_in_environment, check_installed
from snakemake.settings.types import DeploymentMethod

try:
    PLAN = Plan(load_config(with_typed(config, workflow.config_settings.config), workflow.configfiles))
except InputError as error:
    raise WorkflowError(str(error)) from None

TARGETS = Targets(PLAN)
MACHINE = PLAN.config.machine
# The templates of tables and pages are code, but no import leads to them.
TEMPLATES = sha256(SCRIPTS / "astarpo" / "tables" / "templates")
NAME = "[a-z0-9][a-z0-9-]*"


wildcard_constraints:
    dataset=NAME,
    benchmark=NAME,
    reference=NAME,
    block=r"s\d+-p\d+",
    selection=NAME,
    value=NAME,
    run=NAME,
    seed=r"\d+",
    policy=rf"{NAME}(\.seed-\d+)?",
    protocol=NAME,
    figure=NAME,


def code(script, chosen=None):
    """A params function: the fingerprint of a script's code, with what the job chooses of the optional modules."""

    def of(wildcards):
        return read_code(script, chosen(wildcards) if chosen else ()).fingerprint

    return of


def modules_of_training(wildcards):
    """The optional modules that a training uses."""
    return PLAN.training_modules(wildcards.run)


def modules_of_samples(wildcards):
    """The same for samples of a reference."""
    return PLAN.sampling_modules(wildcards.reference)


def modules_of_answers(wildcards):
    """The same for a policy's answers."""
    return PLAN.sampling_modules(wildcards.policy)


def modules_of_grades(wildcards):
    """The same for grades of samples or of answers: the file of a verifier of the user's own."""
    tasks = ("benchmarks", wildcards.benchmark) if "benchmark" in wildcards.keys() else ("datasets", wildcards.dataset)
    return PLAN.grading_modules(*tasks)


def module_of_figure(wildcards):
    """The same for a figure: the module of its kind."""
    return (PLOTS.modules[PLAN.config.figures[wildcards.figure].kind],)


def modules_of_estimates(wildcards):
    """The same for estimates of V*."""
    return PLAN.estimate_modules()


# Environments are chosen for each job, too: a run with an engine of its own is no edit of the others.


def training_env(wildcards):
    """The environment of a training."""
    return "../envs/training-deepspeed.yaml" if PLAN.training_packages(wildcards.run) else "../envs/training.yaml"


def samples_env(wildcards):
    """The environment in which a reference is sampled."""
    return "../envs/sampling-vllm.yaml" if PLAN.sampling_packages(wildcards.reference) else "../envs/sampling.yaml"


def answers_env(wildcards):
    """The environment in which a policy answers."""
    return "../envs/sampling-vllm.yaml" if PLAN.sampling_packages(wildcards.policy) else "../envs/sampling.yaml"


def settings(stage, *names):
    """A params function: the settings JSON of a stage for the wildcards that are named."""

    def of(wildcards):
        return getattr(PLAN, stage)(*[wildcards[name] for name in names])

    return of


def inputs(stage, *names):
    """An input function for `unpack`: the named inputs of a stage for the wildcards that are named."""

    def of(wildcards):
        given = getattr(PLAN, f"{stage}_inputs")(*[wildcards[name] for name in names])
        # A verifier of the user's own is code: the fingerprint tells whether it changed.
        return {name: ancient(path) if name.endswith("verifier") else path for name, path in given.items()}

    return of


def entry_inputs(registry, name):
    """As `inputs`, for entries of one registry of several."""

    def of(wildcards):
        stage = "dataset" if registry in ("datasets", "benchmarks") else "stage_one"
        return getattr(PLAN, f"{stage}_inputs")(registry, wildcards[name])

    return of


def reference_inputs(wildcards):
    """Inputs of a reference. A local model's files count by content, see `model_content`, so their times must not."""
    found = PLAN.reference_inputs(wildcards.reference)
    if "model_files" in found:
        found["model_files"] = [ancient(path) for path in found["model_files"]]
    return found


def model_content(wildcards):
    """A hash of what is read of a local model: Snakemake compares no contents of files as large as weights."""
    source = PLAN.config.references[wildcards.reference].source
    if source.kind != "local":
        return ""
    HASHES.mkdir(parents=True, exist_ok=True)
    return content_of(source.path)


def reference_lengths(wildcards, resources):
    """What later stages give a reference to read. Not compared: a new benchmark makes no other reference."""
    return PLAN.reference_lengths(wildcards.reference)


# A model folder is an input beside the manifest that describes it, so that a deleted one is made again. It is `ancient`:
# the manifest tells whether it changed.


def model_of_run(wildcards):
    """The model folder of a run's reference."""
    return PLAN.model_path(PLAN.config.runs[wildcards.run].reference)


def model_of_policy(wildcards):
    """The model folder of a reference or of a trained policy."""
    return PLAN.model_path(wildcards.policy)


def machine(wildcards, resources):
    """The machine settings. A function of `resources` is not compared by Snakemake: that is the purpose."""
    return PLAN.machine()


# How a job is started: not compared, as it changes no number.


def launch(wildcards, resources):
    """The launcher."""
    return shlex.quote(str(SCRIPTS / "launch.py"))


def launch_with_gpu(wildcards, resources):
    """The launcher for a job on one device."""
    return f"{launch(wildcards, resources)} --gpus {resources.gpu}"


def launch_training(wildcards, resources):
    """The launcher for a training, which may spread over devices and nodes."""
    return f"{launch_with_gpu(wildcards, resources)} --processes {MACHINE.devices} --nodes {MACHINE.nodes}"


def stage_of(job):
    """The script that a job runs, whatever prefix its rule has in a workflow that uses this one as a module."""
    return job.params.code.split()[1] if "code" in job.params.keys() else job.rule.name


def check_model_lengths(jobs):
    """Compare what the configuration gives models to read with those whose config.json is here already.

    Others are compared when they are prepared. A scratch model's length is in the configuration, which was checked.
    """
    prepared_anew = {job.output.model for job in jobs if stage_of(job) == "prepare_reference"}
    for name, reference in PLAN.config.references.items():
        source, prepared = reference.source, PLAN.model_path(name)
        if source.kind == "scratch" or (source.kind == "hub" and prepared in prepared_anew):
            continue
        folder = Path(source.path if source.kind == "local" else prepared)
        if (folder / "config.json").is_file():
            check_folder(folder, PLAN.lengths(name))


def check_before_start():
    """Say what no job could run with, before the first of them does."""
    if not workflow.is_main_process:
        return
    jobs = list(workflow.dag.needrun_jobs())
    try:
        trainings = [job for job in jobs if stage_of(job) == "train_policy"]
        if trainings:
            check_trainings(trainings)
        check_model_lengths(jobs)
        if workflow.executor_plugin.name == "slurm":
            sent = [job for job in jobs if not job.is_local]
            check_partitions({job.rule.name: job.resources.get("slurm_partition") for job in sent})
        elif workflow.local_exec:
            if not workflow.deployment_settings.deployment_method:
                check_can_import(packages_of(jobs))
            check_enough(max((job.resources.get("gpu", 0) for job in jobs), default=0))
    except InputError as error:
        raise WorkflowError(str(error)) from None


def packages_of(jobs):
    """Packages that jobs need and that the usual environment does not have."""
    needed = {}
    for job in jobs:
        if stage_of(job) == "train_policy":
            needed |= dict.fromkeys(PLAN.training_packages(job.wildcards.run))
        elif stage_of(job) in ("sample_reference", "generate_answers"):
            policy = job.wildcards.get("reference") or job.wildcards.get("policy")
            needed |= dict.fromkeys(PLAN.sampling_packages(policy))
    return list(needed)


def check_trainings(jobs):
    """Say what no training could run with: each would find out when stage 1 has been paid for."""
    if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
        for environment in sorted({training_env(job.wildcards) for job in jobs}):
            check_in_environment(MACHINE.trackers, SOURCE / environment.removeprefix("../"))
    else:
        check_installed(MACHINE.trackers)
    if workflow.executor_plugin.name != "slurm" and workflow.local_exec:
        if MACHINE.nodes > 1:
            slurm_job(MACHINE.nodes)
        if any(PLAN.config.runs[job.wildcards.run].compile_model for job in jobs):
            check_can_compile(MACHINE.device)


def print_failures():
    """Print why each failed job failed, one line a job: also where --quiet hides all that Snakemake says."""
    if any(type(handler).__module__.startswith("snakemake_logger_plugin_stages") for handler in logger_plugins()):
        return
    for job in sorted(workflow.scheduler.failed, key=str):
        for one in job.jobs if job.is_group() else [job]:
            print(describe_failure(" ".join([one.rule.name, *one.wildcards]), list(one.log)), file=sys.stderr)


def logger_plugins():
    """The logger plugins of this invocation."""
    return workflow.logger_manager.get_log_handlers()


def options(names):
    """A params function: the options of those inputs that a job has, `--name path ...`."""

    def of(wildcards, input):
        given = [(name, input.get(name)) for name in names]
        return " ".join(
            f"--{name.replace('_', '-')} {shlex.join([path] if isinstance(path, str) else path)}"
            for name, path in given
            if path
        )

    return of


def one_of(names):
    """A wildcard constraint: one of some names."""
    return "|".join(map(re.escape, names)) or NOTHING


def plan_settings(wildcards):
    """The settings of a rule that reads the plan of the tables (a function, as Snakemake expands wildcards in strings)."""
    return TARGETS.plan_settings()


def targets(kind):
    """The files of a named target."""
    return getattr(TARGETS, kind)()


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
    return PLAN.config.references[wildcards.reference].torch_threads


def training_threads(wildcards):
    """CPU threads that the run asks for."""
    return PLAN.config.runs[wildcards.run].torch_threads


def answer_threads(wildcards):
    """CPU threads that the policy's reference asks for."""
    reference = PLAN.reference_of(wildcards.policy)
    return PLAN.config.references[reference].torch_threads
