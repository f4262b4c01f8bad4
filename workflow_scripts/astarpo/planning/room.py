"""Refusing jobs that cannot fit this machine's cards, before the first of them starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from astarpo.common.errors import InputError
from astarpo.config.policies import reference_of
from astarpo.config.runs import Config
from astarpo.planning.advice import job_problems
from astarpo.planning.cards import Machine
from astarpo.planning.cards_here import cards_here, visible
from astarpo.planning.problems import Key, all_jobs, key_of, memory_problem


def planned_key(config: Config, script: str, wildcards: Mapping[str, str]) -> Key | None:
    """The key among `problems.all_jobs` of a job that Snakemake plans; None if it loads no model on a device."""
    if script == "train_policy":
        return "training", wildcards["run"]
    if script == "prepare_reference":
        return "warm start", wildcards["reference"]
    if script == "sample_reference":
        return "stage 1", f"{wildcards['reference']} on {wildcards['dataset']}"
    if script == "generate_answers":
        return "evaluation", f"{reference_of(config, wildcards['policy'])} and policies trained from it"
    return None


def check_room(config: Config, planned: Collection[Key | None], nvidia_smi: str = "nvidia-smi") -> None:
    """Refuse what would not even fit an empty card with the shortest prompts, as the job itself would later.

    How long prompts are, and what other programs use when a job starts, only the job knows.

    Args:
        config: checked.
        planned: keys of the jobs that are to run.
        nvidia_smi: the driver's program; without a card that it lists, nothing is refused.

    Raises:
        InputError: the line that `make doctor` prints.
    """
    cards = visible(cards_here(nvidia_smi)) if config.machine.device != "cpu" else []
    if not cards:
        return
    largest = max((one.card for one in cards), key=lambda card: card.memory_mib)
    machine = Machine("this machine", len(cards), largest, here=True)
    certain = _too_large(config, machine)
    for job in all_jobs(config, machine):
        if key_of(job) in certain and key_of(job) in planned:
            for problem in job_problems(config, job, machine):
                raise InputError(f"{problem}; finished results are kept.")


def _too_large(config: Config, machine: Machine) -> set[Key]:
    """Jobs that do not fit, whatever their prompts are, and how few there are of them."""
    found = {key_of(job) for job in all_jobs(config, machine) if job.cache is not None and job.stage != "evaluation"}
    for trained in (True, False):
        least = _least(config, trained)
        jobs = [job for job in all_jobs(least, machine) if (job.stage == "training") == trained]
        found |= {key_of(job) for job in jobs if memory_problem(least, job, machine, ()) is not None}
    return found


def _least(config: Config, trained: bool) -> Config:
    """A configuration with prompts of one token; other stages than trainings may also have few responses."""
    return config.changed(
        references={name: entry.changed(max_prompt_tokens=1) for name, entry in config.references.items()},
        runs={name: run.changed(max_prompt_tokens=None) for name, run in config.runs.items()},
        machine=config.machine if trained else config.machine.changed(sampling_batch=1),
    )
