"""Checks before the first job starts, and the reasons of failures after the last one.

Comes in: the jobs that Snakemake is about to run. Goes out: messages; no files.
"""

import shutil
import sys
from contextlib import suppress
from pathlib import Path

from astarpo.common.devices import check_partitions, slurm_job
from astarpo.common.errors import InputError
from astarpo.common.job_logs import describe_failure
from astarpo.config.expected import expected_results
from astarpo.config.lengths import lengths_of
from astarpo.config.paths import model_path
from astarpo.config.run_checks import check_own_samplers
from astarpo.config.stages.table import STAGES
from astarpo.model.lengths import check_folder
from astarpo.model.safety import check_safe
from astarpo.planning.adapters import check_targets
from astarpo.planning.hub import check_hub
from astarpo.planning.needs import key_of
from astarpo.planning.remaining import disk_warning
from astarpo.planning.room import check_room, planned_key
from astarpo.planning.sharing import check_sharing
from astarpo.planning.start import JobNeeds, check_can_run
from astarpo.reruns.unrecorded import describe, is_unrecorded, stale_results
from astarpo.training.compilation import check_can_compile
from astarpo.training.trackers import check_in_environment, check_installed
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

# Snakemake looks at its own records before it plans; what it has none of is looked at here, each time. Two calls of stat
# for each result, and nothing more as long as Snakemake has its records.
STALE = stale_results(expected_results(CONFIG, is_unrecorded)) if workflow.is_main_process else []
if STALE:
    print(f"warning: {describe(STALE)}", file=sys.stderr)


def check_stale():
    """Refuse to start jobs beside stale results that will not run again: tables would mix the two."""
    planned = {str(path) for job in workflow.dag.needrun_jobs() for path in job.output}
    used = {str(path) for job in workflow.dag.jobs for path in job.output}
    left = [one for one in STALE if one.file in used and one.file not in planned]
    if left:
        raise InputError(describe(left))


def script_of(job):
    """The script that a job runs, whatever prefix its rule has in a workflow that uses this one as a module."""
    return job.params.code.split()[1] if "code" in job.params.keys() else job.rule.name


def check_models(jobs):
    """Check that local models run no code, and that models which are already here take texts as long as configured.

    Others are checked when they are prepared. A scratch model's length is in the configuration, which was checked.
    """
    prepared_anew = {job.output.model for job in jobs if script_of(job) == "prepare_reference"}
    for name, reference in CONFIG.references.items():
        source, prepared = reference.source, model_path(name)
        gguf = source.kind == "package" or (source.kind == "local" and source.gguf_file is not None)
        if source.kind == "scratch" or ((source.kind == "hub" or gguf) and prepared in prepared_anew):
            continue
        if source.kind == "local" and not gguf:
            check_safe(source.path, source.trust_remote_code, f"references.{name}.source.trust_remote_code")
        folder = Path(source.path if source.kind == "local" and not gguf else prepared)
        if (folder / "config.json").is_file():
            check_folder(folder, lengths_of(CONFIG, name))


def check_before_start():
    """Stop before the first job if there is something that some job could not run with."""
    if not workflow.is_main_process:
        return
    jobs = list(workflow.dag.needrun_jobs())
    try:
        check_stale()
        trainings = [job for job in jobs if script_of(job) == "train_policy"]
        if trainings:
            check_trainings(trainings)
        check_models(jobs)
        check_sharing(CONFIG, {reference_of_job(job) for job in jobs if script_of(job) in SAMPLING})
        if workflow.executor_plugin.name == "slurm":
            sent = [job for job in jobs if not job.is_local]
            check_partitions({job.rule.name: job.resources.get("slurm_partition") for job in sent})
        elif workflow.local_exec:
            own_python = not workflow.deployment_settings.deployment_method
            check_can_run(MACHINE.device, [needs_of(job) for job in jobs], own_python)
            if own_python:  # others have a hub's client of their own
                check_hub(CONFIG, downloads_of(jobs))
            check_room(CONFIG, {planned_key(CONFIG, script_of(job), dict(job.wildcards.items())) for job in jobs})
    except InputError as error:
        raise WorkflowError(str(error)) from None
    warn_of_disk(jobs)


def warn_of_disk(jobs):
    """Print a line if the disk has less room than the models and checkpoints of the jobs will take."""
    references = {job.wildcards.reference for job in jobs if script_of(job) == "prepare_reference"}
    trainings = {(job.wildcards.run, int(job.wildcards.seed)) for job in jobs if script_of(job) == "train_policy"}
    results = Path("results")
    free = shutil.disk_usage(results if results.exists() else ".").free
    with suppress(InputError):  # of a model's damaged config.json, which its job reports
        warning = disk_warning(CONFIG, references, sorted(trainings), results / "checkpoints", free)
        if warning is not None:
            print(f"warning: {warning}", file=sys.stderr)


# Scripts that sample with an engine, which several GPUs may share.
SAMPLING = ("sample_reference", "generate_answers")


def reference_of_job(job):
    """The reference that a job samples from, or from a policy trained from it."""
    return reference_of(CONFIG, job.wildcards.get("policy") or job.wildcards.reference)


def gpus_of(job):
    """GPUs that a job uses, whatever Snakemake may give it."""
    used = {
        "prepare_reference": lambda _: MACHINE.gpus(),
        "sample_reference": reference_gpus,
        "train_policy": training_gpus,
        "generate_answers": answer_gpus,
    }
    return used.get(script_of(job), lambda _: 0)(job.wildcards)


def packages_of(job):
    """Packages that a job needs and that the usual environments do not have, each with the key that asks for it."""
    stage = STAGES.get(script_of(job))
    names = stage.packages(CONFIG, job.wildcards) if stage else ()
    return tuple((name, key_of(CONFIG, name, dict(job.wildcards.items()))) for name in names)


# The entries of the configuration that scripts may download something for.
DOWNLOADED = {
    "prepare_reference": "references.{reference}",
    "prepare_dataset": "datasets.{dataset}",
    "prepare_benchmark": "benchmarks.{benchmark}",
    "import_samples": "datasets.{dataset}.samples",
}


def downloads_of(jobs):
    """The entries that jobs may download something for, such as `datasets.gsm8k`."""
    known = [job for job in jobs if script_of(job) in DOWNLOADED]
    return {DOWNLOADED[script_of(job)].format(**dict(job.wildcards.items())) for job in known}


def needs_of(job):
    """What a job needs of this machine."""
    return JobNeeds(gpus_of(job), job.resources.get("gpu", 0), packages_of(job))


def check_trainings(jobs):
    """Refuse what no training could run with: otherwise each would fail only after stage 1 has been paid for."""
    runs = {job.wildcards.run for job in jobs}
    check_own_samplers(CONFIG, runs)
    check_targets(CONFIG, runs)
    if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
        for environment in sorted({training_env(job.wildcards) for job in jobs}):
            check_in_environment(MACHINE.trackers, SOURCE / environment.removeprefix("../"))
    else:
        check_installed(MACHINE.trackers)
    if workflow.executor_plugin.name != "slurm" and workflow.local_exec:
        if MACHINE.nodes > 1:
            slurm_job(MACHINE.nodes)
        if any(CONFIG.runs[job.wildcards.run].compile_model is True for job in jobs):
            check_can_compile(MACHINE.device)


def print_failures():
    """Print why each failed job failed, one line per job, even where --quiet hides all that Snakemake prints."""
    if any(type(handler).__module__.startswith("snakemake_logger_plugin_stages") for handler in logger_plugins()):
        return
    for job in sorted(workflow.scheduler.failed, key=str):
        for one in job.jobs if job.is_group() else [job]:
            print(describe_failure(" ".join([one.rule.name, *one.wildcards]), list(one.log)), file=sys.stderr)


def logger_plugins():
    """The logger plugins of this invocation."""
    return workflow.logger_manager.get_log_handlers()
