"""The plan of a configuration on a machine as text: what each job takes, and what will not do."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap

from astarpo.common.devices import VISIBLE
from astarpo.config.runs import Config
from astarpo.memory.check import GB
from astarpo.planning.advice import job_problems
from astarpo.planning.cards import SOURCE, Machine
from astarpo.planning.disk import disk_bytes
from astarpo.planning.jobs import PROMPT_TOKENS, START_S, Job, merged
from astarpo.planning.roofline import MEMORY, MFU
from astarpo.planning.sampling_jobs import evaluation_jobs, stage_one_jobs, warm_start_jobs
from astarpo.planning.sharing import sharing_problems
from astarpo.planning.sizes import SUPPOSED_ROWS, rows_of
from astarpo.planning.training_jobs import training_jobs

WIDTH = 110
COMPUTED = "computed, not measured"
UNKNOWN_SHAPE = (
    "memory and time are not known: config.json is neither in a local folder, in the hub's cache, nor in the table of "
    "memory/known_shapes.py"
)


@dataclass(frozen=True)
class Plan:
    """What `make doctor` says of a configuration.

    Attributes:
        lines: of the text.
        problems: what does not fit or is missing, with the setting to change.
    """

    lines: tuple[str, ...]
    problems: tuple[str, ...]


def plan(config: Config, machine: Machine) -> Plan:
    """Compute what a configuration takes on a machine.

    Args:
        config: checked.
        machine: on which it would run; `Config.machine.nodes` of them for a training.
    """
    card = machine.card
    jobs = [
        *warm_start_jobs(config),
        *merged(stage_one_jobs(config, card)),
        *merged(training_jobs(config, card)),
        *evaluation_jobs(config, card),
    ]
    lines, problems, unknown = [_title(config, machine)], [], _why_time_is_unknown(config, machine)
    if config.machine.device != "cpu" and machine.card is None:
        shown = f"unset {VISIBLE}, or " if VISIBLE in machine.name else ""
        problems.append(f"machine.device = 'cuda': {machine.name} has no card; {shown}name a machine: MACHINE=8xH100")
    problems += sharing_problems(config)
    for job in jobs:
        lines += ["", *_job_lines(job, unknown)]
        problems += job_problems(config, job, machine)
    lines += ["", *_sum_lines(jobs), *_disk_lines(config)]
    problems += _disk_problems(config, machine)
    lines += ["", *_assumptions(config, machine)]
    wrapped = [part for line in lines for part in wrap(line, WIDTH, subsequent_indent="    ") or [""]]
    return Plan(tuple(wrapped), tuple(dict.fromkeys(problems)))


def _title(config: Config, machine: Machine) -> str:
    if config.machine.device == "cpu":
        return f"Plan for the CPU of {'this machine' if machine.here else machine.name} ({COMPUTED})"
    card = machine.card
    if card is None:
        return f"Plan for {machine.name}, without a card ({COMPUTED})"
    speeds = "speeds not known"
    if card.flops is not None and card.bandwidth is not None:
        speeds = f"{card.flops / 1e12:,.0f} TFLOP/s in bf16, {card.bandwidth / 1e12:.2f} TB/s: {SOURCE}"
    memory = f"{card.total_bytes / GB:.1f} GB each"
    return f"Plan for {machine.name}, {memory}, {speeds} ({COMPUTED})"


def _why_time_is_unknown(config: Config, machine: Machine) -> str:
    """Why no time is given for a job for which it is not known."""
    card = machine.card
    if config.machine.device == "cpu":
        return "no speeds of CPUs are"
    if card is None:
        return "there is no card"
    if None in (card.flops, card.bandwidth, card.link):
        return f"no speeds of {card.name} are"
    return "it is known for precision: bfloat16, in the reference's entry"


def _job_lines(job: Job, unknown: str) -> list[str]:
    times = "" if job.count == 1 else f" ({job.count:,} of these)"
    nodes = "" if job.nodes == 1 else f", on {job.nodes} nodes"
    lines = [f"{job.stage}: {job.name}, {job.model}{nodes}{times}"]
    if job.estimate is None:
        return [*lines, f"  {UNKNOWN_SHAPE}"]
    where = "each process" if job.cards == 0 else "each card" if job.cards > 1 else "the card"
    peak = job.estimate.peak
    unit = "GB" if peak.total >= GB else "MB"
    phases = ", ".join(f"{phase} {_in(unit, size)}" for phase, size in job.estimate.by_phase().items())
    parts = ", ".join(f"{name} {_in(unit, size)}" for name, size in peak.largest())
    lines.append(f"  memory of {where}: {phases} {unit}; at most {_in(unit, peak.total)}: {parts}")
    if job.estimate.host:
        highest = max(job.estimate.host, key=lambda moment: moment.total)
        lines.append(f"  RAM of the machine: {highest.phase} {_in('GB', highest.total)} GB")
    if job.seconds:
        lines.append(f"  time: {_time(job, unknown)}")
    return lines


def _time(job: Job, unknown: str) -> str:
    total = job.total_s
    if total is None:
        return f"not known: {unknown}"
    phases = ", ".join(f"{name} {duration(one)}" for name, one in job.seconds.items() if one is not None)
    if not job.per_step:
        return f"{phases}; {duration(total)} in all"
    step = sum(one for one in job.seconds.values() if one is not None)
    return f"{phases}; a step {duration(step)}, {job.steps:,} steps and what is around them {duration(total)}"


def _sum_lines(jobs: list[Job]) -> list[str]:
    """GPU-hours of all jobs whose time is known."""
    timed = [(job, job.total_s) for job in jobs if job.cards > 0]
    hours = sum(job.count * job.nodes * job.cards * seconds for job, seconds in timed if seconds is not None) / 3600
    others = sorted({job.stage for job, seconds in timed if seconds is None})
    if not hours:
        return []
    return [f"in all: {hours:,.1f} GPU-hours" + (f", without {', '.join(others)}" if others else "")]


def _disk_lines(config: Config) -> list[str]:
    sizes = disk_bytes(config)
    parts = ", ".join(f"{name} {_size(size)}" for name, size in sizes.items() if size > 0)
    return [f"disk: {_size(sum(sizes.values()))} with one training at a time: {parts}"]


def _disk_problems(config: Config, machine: Machine) -> list[str]:
    needed = sum(disk_bytes(config).values())
    if machine.disk_bytes is None or needed <= machine.disk_bytes:
        return []
    return [
        f"disk: {_size(needed)} are needed, {_size(machine.disk_bytes)} are free: run it in a folder on a larger disk "
        "(snakemake --directory), or use fewer seeds"
    ]


def _assumptions(config: Config, machine: Machine) -> list[str]:
    supposed = [name for name, entry in (*config.datasets.items(), *config.benchmarks.items()) if not rows_of(entry)[1]]
    lines = [
        f"Supposed: responses of 0 to max_new_tokens tokens, half of it on average; prompts of {PROMPT_TOKENS}; "
        f"{MFU:.0%} of the peak FLOP/s and {MEMORY:.0%} of the bandwidth are reached; vLLM starts in {START_S:.0f} s. "
        "Not counted: grading, padding, offloading, links between nodes."
    ]
    if supposed:
        names = ", ".join(supposed)
        lines.append(f"Not known before it is prepared, {SUPPOSED_ROWS:,} are supposed: the problems of {names}.")
    if config.machine.device == "cpu":
        lines = ["No rate of a CPU is known, so that times are not computed.", *lines[1:]]
    elif machine.card is None:
        lines.append("Without a card, of vLLM only the weights are counted, and in trainings not even they.")
    lines.append("Memory is that of prompts and responses as long as max_prompt_tokens and max_new_tokens allow.")
    if machine.ram_bytes is None:
        lines.append(f"RAM and disk of {machine.name} are not known, and not compared.")
    return lines


def _in(unit: str, size: float) -> str:
    if unit == "MB":
        return f"{size / 1e6:,.0f}"
    return f"{size / GB:.1f}" if size >= 0.95 * GB else f"{size / GB:.2f}"


def _size(size: float) -> str:
    return f"{size / GB:,.1f} GB" if size >= GB else f"{size / 1e6:,.0f} MB"


def duration(seconds: float) -> str:
    """Write a duration in one unit."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or (unit == "h" and seconds >= size):
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 0.1 or seconds == 0 else f"{1000 * seconds:.0f} ms"
