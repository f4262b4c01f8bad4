"""Checks of runs: data, methods, engines, and sets that must not overlap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from astarpo.common.errors import InputError
from astarpo.common.machine import Machine
from astarpo.config.methods import AStarPORun, ReinforceRun, Run, RunEntry
from astarpo.config.runs import Config
from astarpo.config.schema import SelectionEntry, TaskEntry, ValueEntry
from astarpo.data.settings import DataSource
from astarpo.objectives import METHODS, responses_allowed

OF_DEEPSPEED = ("zero_stage", "offload_optimizer", "offload_parameters")  # settings of the machine


def run_errors(config: Config) -> Iterator[str]:
    """Find runs whose data, estimates or responses per prompt do not suit their method.

    Yields:
        One line per error: key, value, what is allowed.
    """
    for name, run in config.runs.items():
        key = f"runs.{name}"
        if config.datasets[run.dataset].sampling is None:
            yield f"{key}.dataset = '{run.dataset}': this data set has no `sampling`; add it"
        if len(set(run.seeds)) < len(run.seeds):
            yield f"{key}.seeds = {list(run.seeds)}: must be different numbers"
        value = run.estimate_name()
        if value is not None:
            yield from _origin_errors(f"{key}.value = '{value}'", config.values[value], run)
        if run.selection is not None:
            yield from _origin_errors(f"{key}.selection = '{run.selection}'", config.selections[run.selection], run)
        if run.updates_per_rollout > run.prompts_per_batch:
            yield f"{key}.updates_per_rollout = {run.updates_per_rollout}: must not be above prompts_per_batch"
        yield from _ending_errors(key, run)
        yield from _method_errors(key, run)
        if (error := config.machine.profile_error(f"{key}.steps", run.steps)) is not None:
            yield error


def _ending_errors(key: str, run: Run) -> Iterator[str]:
    """Find settings for the end of a training that cannot be judged or have no effect."""
    if run.validation is None:
        for setting in run.needs_validation():
            yield f"{key}.{setting}: needs validation prompts; set {key}.validation, or leave it out"
    if run.keep is not None and run.keep.best is None and run.keep.steps is None:
        yield f"{key}.keep: has no effect; set `best` or `steps`, or leave it out"
    late = [step for step in run.kept_steps() if step > run.steps]
    if late:
        steps = list(run.kept_steps())
        yield f"{key}.keep.steps = {steps}: {late[0]} is above {key}.steps, {run.steps}; leave it out, or raise that"
    stop = run.stop_when
    if stop is not None and stop.validation_below_best is None:
        if stop.kl_per_sequence is None:
            yield f"{key}.stop_when: has no effect; set `validation_below_best` or `kl_per_sequence`"
        elif "for_validations" in stop.model_fields_set:
            count = stop.for_validations
            yield f"{key}.stop_when.for_validations = {count}: has no effect without `validation_below_best`; set it"


def _origin_errors(key: str, entry: ValueEntry | SelectionEntry, run: Run) -> Iterator[str]:
    """Find an estimate or selection for another data set or reference than the run's."""
    if entry.reference != run.reference:
        yield f"{key}: is based on reference '{entry.reference}', but the run uses '{run.reference}'"
    if entry.dataset != run.dataset:
        yield f"{key}: is based on dataset '{entry.dataset}', but the run uses '{run.dataset}'"


def engine_errors(config: Config) -> Iterator[str]:
    """Find settings that the runs' engines do not support, at all or on the given machine."""
    machine = config.machine
    processes = machine.devices * machine.nodes
    if machine.offload_optimizer and machine.zero_stage == 0:
        yield "machine.offload_optimizer: needs zero_stage 1, 2 or 3, but it is 0"
    if machine.offload_parameters and machine.zero_stage != 3:
        yield f"machine.offload_parameters: needs zero_stage 3, but it is {machine.zero_stage}"
    if not any(run.engine == "deepspeed" for run in config.runs.values()):
        for key in OF_DEEPSPEED:
            if (value := getattr(machine, key)) != type(machine).model_fields[key].default:
                yield f"machine.{key} = {value}: has no effect without a run with engine: deepspeed"
    for name, run in config.runs.items():
        key = f"runs.{name}"
        if run.compile_model is True:
            yield from _compile_errors(key, run, config.machine)
        if run.pipeline is not None:
            yield from _pipeline_errors(f"{key}.pipeline", run)
        if run.lora is not None and run.lora.base_precision != "float32":
            yield from _base_errors(f"{key}.lora.base_precision = '{run.lora.base_precision}'", config, run)
        if run.engine == "torch":
            if processes > 1:
                yield (
                    f"{key}.engine = 'torch': trains on one device, but machine.devices x machine.nodes is "
                    f"{processes}; set engine: deepspeed, or both to 1"
                )
            continue
        if run.prompts_per_batch < processes:
            yield (
                f"{key}.prompts_per_batch = {run.prompts_per_batch}: is below machine.devices x machine.nodes "
                f"({processes}); each process samples responses for some of them"
            )


def own_sampler_problems(config: Config, runs: Iterable[str]) -> list[str]:
    """Find trainings with a vLLM that several GPUs share: each of their processes has one of its own, on its GPU.

    Stage 1 and evaluations of the same configuration may share one.

    Args:
        config: the configuration.
        runs: names of those that are to be trained.

    Returns:
        One line that names one of them; nothing if there is none.
    """
    shared = config.machine.sampler_tensor_parallel
    sampled = sorted(name for name in runs if config.references[config.runs[name].reference].sampling_engine == "vllm")
    if shared == 1 or not sampled:
        return []
    return [
        f"machine.sampler_tensor_parallel = {shared}: runs.{sampled[0]} samples with vLLM, and each device of a "
        "training has a vLLM of its own; make stage 1 or evaluations alone with it (snakemake values), then set "
        "it to 1 and train; nothing runs again"
    ]


def check_own_samplers(config: Config, runs: Iterable[str]) -> None:
    """Refuse what `own_sampler_problems` finds, with its arguments.

    Raises:
        InputError: names one of the trainings.
    """
    for problem in own_sampler_problems(config, runs):
        raise InputError(problem)


def _base_errors(key: str, config: Config, run: RunEntry) -> Iterator[str]:
    """Find trainings in which a base of fewer bits cannot be used."""
    assert run.lora is not None
    precision = config.references[run.reference].precision
    if precision != "bfloat16":
        yield f"{key}: needs references.{run.reference}.precision 'bfloat16', but it is '{precision}'"
    if METHODS[run.method].needs_critic:
        yield f"{key}: the critic of {run.method} is trained from weights in float32; leave it out"
    if run.lora.base_precision == "nf4" and run.engine != "torch":
        yield f"{key}: needs engine 'torch', but it is '{run.engine}'; with several devices, set bfloat16"


def _compile_errors(key: str, run: Run, machine: Machine) -> Iterator[str]:
    if run.engine != "torch":
        yield f"{key}.compile_model: needs engine 'torch', but it is '{run.engine}'; set compile_model: false"
    if run.lora is not None:
        yield f"{key}.compile_model: cannot be combined with lora; set compile_model: false"
    if machine.activation_checkpointing:
        yield f"{key}.compile_model: cannot be combined with machine.activation_checkpointing; set one of them to false"


def _pipeline_errors(key: str, run: RunEntry) -> Iterator[str]:
    assert run.pipeline is not None
    method = METHODS[run.method]
    if run.engine != "torch":
        yield f"{key}: needs engine 'torch', but it is '{run.engine}'; set pipeline: null"
    if run.lora is not None:
        yield f"{key}: cannot be combined with lora; set pipeline: null"
    if method.anchor == "lagged":
        yield f"{key}: {run.method} already draws with an older policy; raise its sync_every instead"
    if run.pipeline.importance_cap is not None and not method.takes_importance:
        yield (
            f"{key}.importance_cap = {run.pipeline.importance_cap:g}: only for a_star_po and reinforce, but the method "
            f"is '{run.method}'; set it to null"
        )


def _method_errors(key: str, run: RunEntry) -> Iterator[str]:
    least, most = responses_allowed(run.method, run.hyperparameters())
    n = run.responses_per_prompt
    if n < least or (most is not None and n > most):
        allowed = f"exactly {least}" if least == most else f"{least} or more"
        yield f"{key}.responses_per_prompt = {n}: {run.method} takes {allowed}"
    if isinstance(run, ReinforceRun) and (run.baseline == "v_star") != (run.value is not None):
        yield f"{key}.value: required by baseline `v_star`, refused by all others"
    if isinstance(run, ReinforceRun) and (run.baseline == "constant") != (run.constant > 0):
        yield f"{key}.constant = {run.constant:g}: must be above 0 with baseline `constant`, is refused by all others"
    if isinstance(run, AStarPORun | ReinforceRun):
        yield from _value_scale_errors(key, run)


def _value_scale_errors(key: str, run: AStarPORun | ReinforceRun) -> Iterator[str]:
    if run.value_scale != 1 and run.value is None:
        yield f"{key}.value_scale = {run.value_scale}: needs a `value`, which it scales"
    if run.score_norm == "exact" and run.value_scale != "adaptive":
        yield f"{key}.score_norm = 'exact': has no effect unless value_scale is `adaptive`; change one of them"
    if run.score_norm == "exact" and run.engine == "deepspeed":
        yield f"{key}.score_norm = 'exact': needs engine 'torch', whose gradients are whole; use `surprisal`"


def leak_errors(config: Config) -> Iterator[str]:
    """Find runs that would use data of one source in two roles with overlapping hash ranges."""
    for name, run in config.runs.items():
        warm_start = config.references[run.reference].warm_start
        roles: list[tuple[str, TaskEntry]] = [(f"datasets.{run.dataset}", config.datasets[run.dataset])]
        if warm_start is not None and warm_start.dataset != run.dataset:
            roles.append((f"datasets.{warm_start.dataset}", config.datasets[warm_start.dataset]))
        if run.validation is not None:
            roles.append((f"datasets.{run.validation}", config.datasets[run.validation]))
        names = config.benchmarks if run.benchmarks is None else run.benchmarks
        benchmarks = [(f"benchmarks.{b}", config.benchmarks[b]) for b in names]
        for index, (first_key, first) in enumerate(roles):
            for second_key, second in [*roles[index + 1 :], *benchmarks]:
                if _same_source(first.source, second.source) and _overlap(first.hash_range, second.hash_range):
                    yield (
                        f"{second_key}.hash_range = {list(second.hash_range)}: overlaps that of {first_key} "
                        f"({list(first.hash_range)}), from the same source, and run '{name}' uses both"
                    )


def _same_source(one: DataSource, other: DataSource) -> bool:
    """Whether two sources share problems for certain: fewer of a generated task are the first ones of more."""
    return one.model_dump(exclude={"count"}) == other.model_dump(exclude={"count"})


def _overlap(first: tuple[float, float], second: tuple[float, float]) -> bool:
    return max(first[0], second[0]) < min(first[1], second[1])
