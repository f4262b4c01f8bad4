"""The trainings, policies and evaluations that a configuration asks for."""

from __future__ import annotations

from astarpo.config.paths import run_of
from astarpo.config.runs import Config
from astarpo.config.schema import TaskEntry
from astarpo.data.settings import Arithmetic


def trainings(config: Config) -> list[tuple[str, int]]:
    """Every (run, seed)."""
    return [(name, seed) for name, run in config.runs.items() for seed in run.seeds]


def validated_trainings(config: Config) -> list[tuple[str, int]]:
    """Every (run, seed) with validation prompts."""
    return [(run, seed) for run, seed in trainings(config) if config.runs[run].validation is not None]


def kept_rollouts(config: Config) -> list[tuple[str, int]]:
    """The first (run, seed) of every run that keeps rollouts of its validations."""
    runs = {run: config.runs[run] for run, _ in validated_trainings(config)}
    return [(name, run.seeds[0]) for name, run in runs.items() if run.kept_rollouts]


def kept_steps(config: Config) -> list[tuple[str, int, int]]:
    """Every (run, seed, step) whose weights are exported besides."""
    return [(run, seed, step) for run, seed in trainings(config) for step in config.runs[run].kept_steps()]


def lists_of_steps(config: Config) -> list[tuple[int, ...]]:
    """Every list of kept steps, each once; the empty one, of runs without, is the first."""
    return list(dict.fromkeys([(), *(run.kept_steps() for run in config.runs.values())]))


def references_of_runs(config: Config) -> list[str]:
    """References that runs start from, in the order of the runs."""
    return list(dict.fromkeys(run.reference for run in config.runs.values()))


def policies(config: Config) -> list[str]:
    """Every policy that is evaluated: references of runs first, then each run's seeds."""
    return [*references_of_runs(config), *(f"{run}.seed-{seed}" for run, seed in trainings(config))]


def policy_of_step(run: str, seed: int, step: int) -> str:
    """The policy with the weights after a kept step."""
    return f"{run}.seed-{seed}.step-{step}"


def evaluations(config: Config) -> list[tuple[str, str, str]]:
    """Every (policy, benchmark, protocol) of the main tables."""
    return _evaluations(config, policies(config))


def evaluations_of_steps(config: Config) -> list[tuple[str, str, str]]:
    """Every (policy, benchmark, protocol) of kept steps."""
    return _evaluations(config, [policy_of_step(*one) for one in kept_steps(config)])


def _evaluations(config: Config, wanted: list[str]) -> list[tuple[str, str, str]]:
    return [
        (policy, benchmark, protocol)
        for policy in wanted
        for benchmark in benchmarks_of(config, policy)
        for protocol in config.benchmarks[benchmark].protocols
    ]


def benchmarks_of(config: Config, policy: str) -> list[str]:
    """Benchmarks of a policy's run, or, for a reference, of all runs that start from it."""
    run = config.runs.get(run_of(policy))
    runs = [run] if run is not None else [other for other in config.runs.values() if other.reference == policy]
    wanted = {name for run in runs for name in (run.benchmarks or config.benchmarks)}
    return [benchmark for benchmark in config.benchmarks if benchmark in wanted]


def reference_of(config: Config, policy: str) -> str:
    """The reference that a policy was trained from, or the policy itself if it is a reference."""
    run = config.runs.get(run_of(policy))
    return policy if run is None else run.reference


def has_kinds(entry: TaskEntry) -> bool:
    """Whether the problems of a data set or benchmark have kinds."""
    return isinstance(entry.source, Arithmetic) or entry.columns.problem_kind is not None


def contamination_pairs(config: Config) -> list[tuple[str, str]]:
    """Every (training set, benchmark) used by the same run; warm starts count as training."""
    pairs: dict[tuple[str, str], None] = {}
    for run in config.runs.values():
        warm_start = config.references[run.reference].warm_start
        training_sets = [run.dataset, *([warm_start.dataset] if warm_start else [])]
        for dataset in training_sets:
            for benchmark in run.benchmarks or config.benchmarks:
                pairs[dataset, benchmark] = None
    return list(pairs)
