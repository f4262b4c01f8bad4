"""Checks that types cannot express: existing names, consistent numbers, disjoint data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from astarpo.common.kinds import LEAST_TEMPERATURE
from astarpo.config.figure_checks import figure_errors
from astarpo.config.methods import RunEntry
from astarpo.config.model_checks import model_errors
from astarpo.config.run_checks import engine_errors, leak_errors, run_errors
from astarpo.config.runs import Config
from astarpo.config.schema import DatasetEntry, SelectionEntry, ValueEntry
from astarpo.config.size_checks import size_errors
from astarpo.data.settings import HubData, LocalFile
from astarpo.figures.settings import Ablation, OfEstimate, Tradeoff
from astarpo.rewards.verifiers import is_own, own_file, problem_with
from astarpo.stage_one.settings import LocalModel


def reference_errors(config: Config) -> list[str]:
    """Find all errors that involve several keys or entries of a configuration.

    Returns:
        One line per error: key, value, what is allowed. Dangling names are reported first, as other checks need them.
    """
    return [*_dangling_names(config)] or [
        *_name_errors(config),
        *_path_errors(config),
        *_task_errors(config),
        *_sampling_errors(config),
        *_stage_one_errors(config),
        *run_errors(config),
        *engine_errors(config),
        *size_errors(config),
        *model_errors(config),
        *figure_errors(config),
        *leak_errors(config),
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
    """Yield every key that names another entry: (key, name, registry)."""
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
        if isinstance(figure, OfEstimate):
            yield f"figures.{name}.value", figure.value, "values"
            continue
        for run_name in figure.runs or ():
            yield f"figures.{name}.runs", run_name, "runs"
        if isinstance(figure, Tradeoff | Ablation) and figure.benchmark is not None:
            yield f"figures.{name}.benchmark", figure.benchmark, "benchmarks"


def _stage_one_entries(config: Config) -> Iterator[tuple[str, str, ValueEntry | SelectionEntry]]:
    """Yield the entries that use stage 1's samples: (registry, name, entry)."""
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
            yield f"runs.{name}: a reference already has this name; rename one of them"


def _path_errors(config: Config) -> Iterator[str]:
    for key, path in _own_paths(config):
        if "{" in path or "}" in path:
            yield (
                f"{key} = '{path}': must not contain '{{' or '}}', which Snakemake takes for the name of a wildcard; "
                "rename the file or folder, or make a link to it with another name"
            )


def _own_paths(config: Config) -> Iterator[tuple[str, str]]:
    """Yield every path of the user's that becomes the input of a job: (key, path)."""
    for registry, entries in (("datasets", config.datasets), ("benchmarks", config.benchmarks)):
        for name, entry in entries.items():
            sources = {"source": entry.source}
            if isinstance(entry, DatasetEntry) and entry.samples is not None:
                sources["samples.source"] = entry.samples.source
            for key, source in sources.items():
                if isinstance(source, LocalFile):
                    paths = (source.path,) if isinstance(source.path, str) else source.path
                    yield from ((f"{registry}.{name}.{key}.path", path) for path in paths)
            if is_own(entry.verifier):
                yield f"{registry}.{name}.verifier", own_file(entry.verifier)
    for name, reference in config.references.items():
        if isinstance(reference.source, LocalModel):
            yield f"references.{name}.source.path", reference.source.path


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
                yield f"{key}.columns.verifier: required by verifier `multiple`, refused by all others"
            if entry.random_reward is not None and entry.verifier != "random":
                yield f"{key}.random_reward: has no effect with verifier '{entry.verifier}'; use `random`, or remove it"
            if entry.columns.problem == entry.columns.gold:
                yield f"{key}.columns.gold = '{entry.columns.gold}': is also the problem's column; choose another"
            if entry.columns.gold_boxed and entry.columns.gold_after is not None:
                yield f"{key}.columns.gold_after = {entry.columns.gold_after!r}: cannot be combined with gold_boxed"
            wall_s, cpu_s = entry.grading.wall_timeout_s, entry.grading.timeout_s
            if wall_s is not None and wall_s < cpu_s:
                yield (
                    f"{key}.grading.wall_timeout_s = {wall_s:g}: must not be below timeout_s ({cpu_s:g}); "
                    "null means ten times that"
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
            yield f"{key}.top_p = {sampling.top_p:g}: must be 1, so that the trained policy is the one that samples"
        if sampling.max_samples % sampling.block_size:
            size = sampling.block_size
            yield f"{key}.max_samples = {sampling.max_samples}: must be a multiple of block_size ({size})"
    for name, benchmark in config.benchmarks.items():
        for protocol_name, protocol in benchmark.protocols.items():
            key = f"benchmarks.{name}.protocols.{protocol_name}"
            if protocol.temperature == 0 and protocol.k > 1:
                yield f"{key}.k = {protocol.k}: must be 1 at temperature 0 (all answers would be equal)"
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
        yield f"{key}.samples: needs {key}.sampling, which says how they were sampled and are split into blocks"
    if (samples.problem is None) == (samples.prompt is None):
        yield f"{key}.samples: give either `problem` or `prompt`, the column that identifies the prompt"
    given = [column for column in (samples.response, samples.reward) if column is not None]
    if not given:
        yield f"{key}.samples: give `response`, `reward` or both"
    if samples.finish_reason is not None:
        given.append(samples.finish_reason)
    if len({"{i}" in column for column in given}) > 1:
        names = ", ".join(given)
        yield f"{key}.samples: either all of {names} need {{i}} (one row per problem), or none (one row per response)"


def _stage_one_errors(config: Config) -> Iterator[str]:
    for registry, name, entry in _stage_one_entries(config):
        sampling = config.datasets[entry.dataset].sampling
        if sampling is None:
            yield f"{registry}.{name}.dataset = '{entry.dataset}': this data set has no `sampling`; add it"
        elif entry.n > sampling.max_samples - entry.first_sample:
            given = (
                f"n = {entry.n}" if entry.first_sample == 0 else f"first_sample + n = {entry.first_sample + entry.n}"
            )
            yield (
                f"{registry}.{name}.{given}: is above datasets.{entry.dataset}.sampling.max_samples "
                f"({sampling.max_samples}); raise that; finished samples are kept"
            )
