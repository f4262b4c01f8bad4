"""What types cannot say: names that must exist, numbers that must fit together, data that must stay apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from astarpo.common.kinds import LEAST_TEMPERATURE
from astarpo.common.machine import Machine
from astarpo.config.figure_checks import figure_errors
from astarpo.config.methods import ReinforceRun, Run, RunEntry
from astarpo.config.model_checks import model_errors
from astarpo.config.runs import Ablation, Config, Tradeoff, Values
from astarpo.config.schema import DatasetEntry, SelectionEntry, TaskEntry, ValueEntry
from astarpo.config.size_checks import size_errors
from astarpo.data.settings import HubData, LocalFile
from astarpo.objectives import responses_allowed
from astarpo.rewards.verifiers import problem_with


def reference_errors(config: Config) -> list[str]:
    """Find everything that is wrong between the entries of a configuration.

    Returns:
        One line per error: key, value, what is allowed. Dangling names come alone, as the rest builds on them.
    """
    return [*_dangling_names(config)] or [
        *_name_errors(config),
        *_task_errors(config),
        *_sampling_errors(config),
        *_stage_one_errors(config),
        *_run_errors(config),
        *_engine_errors(config),
        *size_errors(config),
        *model_errors(config),
        *figure_errors(config),
        *_leaks(config),
    ]


def _dangling_names(config: Config) -> Iterator[str]:
    registries: dict[str, Iterable[str]] = {
        "datasets": config.datasets,
        "references": config.references,
        "selections": config.selections,
        "values": config.values,
        "runs": config.runs,
        "benchmarks": config.benchmarks,
    }
    for key, name, registry in _references(config):
        names = registries[registry]
        if name not in names:
            yield f"{key} = '{name}': no such entry under {registry}; there are {', '.join(names) or 'none'}"


def _references(config: Config) -> Iterator[tuple[str, str, str]]:
    """Every key that names another entry: (key, name, registry)."""
    for name, reference in config.references.items():
        if reference.warm_start is not None:
            yield f"references.{name}.warm_start.dataset", reference.warm_start.dataset, "datasets"
    for name, dataset in config.datasets.items():
        for unwanted in dataset.decontaminate:
            yield f"datasets.{name}.decontaminate", unwanted, "benchmarks"
        if dataset.samples is not None:
            yield f"datasets.{name}.samples.reference", dataset.samples.reference, "references"
    for registry, name, entry in _stage_one_entries(config):
        yield f"{registry}.{name}.reference", entry.reference, "references"
        yield f"{registry}.{name}.dataset", entry.dataset, "datasets"
    for name, run in config.runs.items():
        yield from _run_references(name, run)
    for name, figure in config.figures.items():
        if isinstance(figure, Values):
            yield f"figures.{name}.value", figure.value, "values"
            continue
        for run_name in figure.runs or ():
            yield f"figures.{name}.runs", run_name, "runs"
        if isinstance(figure, Tradeoff | Ablation) and figure.benchmark is not None:
            yield f"figures.{name}.benchmark", figure.benchmark, "benchmarks"


def _stage_one_entries(config: Config) -> Iterator[tuple[str, str, ValueEntry | SelectionEntry]]:
    """What is made of stage 1's samples: (registry, name, entry)."""
    yield from (("values", name, value) for name, value in config.values.items())
    yield from (("selections", name, selection) for name, selection in config.selections.items())


def _run_references(name: str, run: RunEntry) -> Iterator[tuple[str, str, str]]:
    key = f"runs.{name}"
    yield f"{key}.reference", run.reference, "references"
    yield f"{key}.dataset", run.dataset, "datasets"
    if run.selection is not None:
        yield f"{key}.selection", run.selection, "selections"
    if run.validation is not None:
        yield f"{key}.validation", run.validation, "datasets"
    value = run.estimate_name()
    if value is not None:
        yield f"{key}.value", value, "values"
    for benchmark in run.benchmarks or ():
        yield f"{key}.benchmarks", benchmark, "benchmarks"


def _name_errors(config: Config) -> Iterator[str]:
    for name in config.references:
        if name in config.runs:
            yield f"runs.{name}: a reference has this name already; rename one of them"
    for name in config.benchmarks:
        if "--" in name:  # results/contamination/{dataset}--{benchmark}.json
            yield f"benchmarks.{name}: must not contain '--', which separates two names in file names; rename it"


def _task_errors(config: Config) -> Iterator[str]:
    for registry, entries in (("datasets", config.datasets), ("benchmarks", config.benchmarks)):
        for name, entry in entries.items():
            key = f"{registry}.{name}"
            low, high = entry.hash_range
            if low >= high:
                yield f"{key}.hash_range = [{low:g}, {high:g}]: the first number must be below the second"
            if "{problem}" not in entry.template:
                yield f"{key}.template = {entry.template!r}: must contain {{problem}}"
            problem = problem_with(entry.verifier)
            if problem is not None:
                yield f"{key}.verifier = '{entry.verifier}': {problem}"
            if (entry.columns.verifier is not None) != (entry.verifier == "multiple") and isinstance(
                entry.source, LocalFile | HubData
            ):
                yield f"{key}.columns.verifier: verifier `multiple` needs it, and no other takes it"
            if entry.columns.problem == entry.columns.gold:
                yield f"{key}.columns.gold = '{entry.columns.gold}': is also the column of the problem; name another"
            if entry.columns.gold_boxed and entry.columns.gold_after is not None:
                yield f"{key}.columns.gold_after = {entry.columns.gold_after!r}: cannot go with gold_boxed"
            wall_s, cpu_s = entry.grading.wall_timeout_s, entry.grading.timeout_s
            if wall_s is not None and wall_s < cpu_s:
                yield (
                    f"{key}.grading.wall_timeout_s = {wall_s:g}: must not be below timeout_s ({cpu_s:g}); "
                    "null makes it ten times that"
                )
    for name, reference in config.references.items():
        if reference.system_prompt is not None and not reference.chat_template:
            yield f"references.{name}.system_prompt: needs chat_template: true"


def _sampling_errors(config: Config) -> Iterator[str]:
    for name, dataset in config.datasets.items():
        sampling = dataset.sampling
        yield from _import_errors(f"datasets.{name}", dataset)
        if sampling is None:
            continue
        key = f"datasets.{name}.sampling"
        if sampling.top_p < 1:
            yield f"{key}.top_p = {sampling.top_p:g}: must be 1, or another policy is trained than sampled"
        if sampling.max_samples % sampling.block_size:
            size = sampling.block_size
            yield f"{key}.max_samples = {sampling.max_samples}: must be a multiple of block_size ({size})"
    for name, benchmark in config.benchmarks.items():
        for protocol_name, protocol in benchmark.protocols.items():
            key = f"benchmarks.{name}.protocols.{protocol_name}"
            if protocol.temperature == 0 and protocol.k > 1:
                yield f"{key}.k = {protocol.k}: must be 1 at temperature 0 (all answers would be the same)"
            if 0 < protocol.temperature < LEAST_TEMPERATURE:
                yield (
                    f"{key}.temperature = {protocol.temperature:g}: must be 0 (greedy) or at least "
                    f"{LEAST_TEMPERATURE:g}"
                )


def _import_errors(key: str, dataset: DatasetEntry) -> Iterator[str]:
    samples = dataset.samples
    if samples is None:
        return
    if dataset.sampling is None:
        yield f"{key}.samples: needs {key}.sampling, which says how they were drawn and how they are cut in blocks"
    if (samples.problem is None) == (samples.prompt is None):
        yield f"{key}.samples: give one of `problem` and `prompt`, the column by which samples find their prompt"
    given = [column for column in (samples.response, samples.reward) if column is not None]
    if not given:
        yield f"{key}.samples: give `response`, `reward` or both"
    if samples.finish_reason is not None:
        given.append(samples.finish_reason)
    if len({"{i}" in column for column in given}) > 1:
        yield (
            f"{key}.samples: all of {', '.join(given)} need {{i}} (one row per problem), or none (one row per response)"
        )


def _stage_one_errors(config: Config) -> Iterator[str]:
    for registry, name, entry in _stage_one_entries(config):
        sampling = config.datasets[entry.dataset].sampling
        if sampling is None:
            yield f"{registry}.{name}.dataset = '{entry.dataset}': this data set has no `sampling`; add it"
        elif entry.n > sampling.max_samples:
            yield (
                f"{registry}.{name}.n = {entry.n}: is above datasets.{entry.dataset}.sampling.max_samples "
                f"({sampling.max_samples}); raise that, and only new samples are drawn"
            )


def _run_errors(config: Config) -> Iterator[str]:
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
        yield from _method_errors(key, run)


def _origin_errors(key: str, entry: ValueEntry | SelectionEntry, run: Run) -> Iterator[str]:
    """An estimate or selection for other prompts, or from another reference, than those of the run."""
    if entry.reference != run.reference:
        yield f"{key}: is made from reference '{entry.reference}', but the run uses '{run.reference}'"
    if entry.dataset != run.dataset:
        yield f"{key}: is made from dataset '{entry.dataset}', but the run uses '{run.dataset}'"


def _engine_errors(config: Config) -> Iterator[str]:
    machine = config.machine
    processes = machine.devices * machine.nodes
    if machine.offload_optimizer and machine.zero_stage == 0:
        yield "machine.offload_optimizer: needs zero_stage 1, 2 or 3, but it is 0"
    if machine.offload_parameters and machine.zero_stage != 3:
        yield f"machine.offload_parameters: needs zero_stage 3, but it is {machine.zero_stage}"
    offloads = {"offload_optimizer": machine.offload_optimizer, "offload_parameters": machine.offload_parameters}
    if not any(run.engine == "deepspeed" for run in config.runs.values()):
        for key in (key for key, is_set in offloads.items() if is_set):
            yield f"machine.{key} = True: has no effect, as no run has engine: deepspeed"
    for name, run in config.runs.items():
        key = f"runs.{name}"
        if run.compile_model:
            yield from _compile_errors(key, run, config.machine)
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
                f"({processes}); each process draws responses to some of them"
            )


def _compile_errors(key: str, run: Run, machine: Machine) -> Iterator[str]:
    if run.engine != "torch":
        yield f"{key}.compile_model: needs engine 'torch', but it is '{run.engine}'; set compile_model: false"
    if run.lora is not None:
        yield f"{key}.compile_model: cannot go with lora; set compile_model: false"
    if machine.activation_checkpointing:
        yield f"{key}.compile_model: cannot go with machine.activation_checkpointing; set one of them to false"


def _method_errors(key: str, run: RunEntry) -> Iterator[str]:
    least, most = responses_allowed(run.method, run.hyperparameters())
    n = run.responses_per_prompt
    if n < least or (most is not None and n > most):
        allowed = f"exactly {least}" if least == most else f"{least} or more"
        yield f"{key}.responses_per_prompt = {n}: {run.method} takes {allowed}"
    if isinstance(run, ReinforceRun) and (run.baseline == "v_star") != (run.value is not None):
        yield f"{key}.value: baseline `v_star` needs it, and no other takes it"


def _leaks(config: Config) -> Iterator[str]:
    """Data of one source that would be used in two roles; ranges of the hash must not overlap."""
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
                if first.source == second.source and _overlap(first.hash_range, second.hash_range):
                    yield (
                        f"{second_key}.hash_range = {list(second.hash_range)}: overlaps that of {first_key} "
                        f"({list(first.hash_range)}), from the same source, and run '{name}' uses both"
                    )


def _overlap(first: tuple[float, float], second: tuple[float, float]) -> bool:
    return max(first[0], second[0]) < min(first[1], second[1])
