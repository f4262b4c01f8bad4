"""Stage 1's samples: how they are split into blocks, and which are imported."""

from __future__ import annotations

from astarpo.config.runs import Config
from astarpo.config.schema import SelectionEntry, StageOneSampling, ValueEntry


def sampling_of(config: Config, dataset: str) -> StageOneSampling:
    """Return the sampling settings of a data set."""
    sampling = config.datasets[dataset].sampling
    assert sampling is not None, f"checked while loading the configuration: {dataset}"
    return sampling


def blocks(config: Config, entry: ValueEntry | SelectionEntry) -> list[str]:
    """Name the blocks that hold the samples of an estimate or selection, of every prompt."""
    sampling = sampling_of(config, entry.dataset)
    size, end = sampling.block_size, entry.first_sample + entry.n
    sample_blocks = range(entry.first_sample // size, -(-end // size))
    return [f"s{s}-p{p}" for s in sample_blocks for p in range(sampling.prompt_shards)]


def drawn_blocks(config: Config) -> dict[tuple[str, str], list[str]]:
    """List the blocks that estimates and selections need, without imported ones, by (reference, data set)."""
    wanted: dict[tuple[str, str], dict[str, None]] = {}
    entries: list[ValueEntry | SelectionEntry] = [*config.values.values(), *config.selections.values()]
    for entry in entries:
        if not is_imported(config, entry.reference, entry.dataset):
            of_pair = wanted.setdefault((entry.reference, entry.dataset), {})
            of_pair.update(dict.fromkeys(blocks(config, entry)))
    return {pair: list(names) for pair, names in wanted.items()}


def is_imported(config: Config, reference: str, dataset: str) -> bool:
    """Whether a reference's samples of a data set are imported."""
    samples = config.datasets[dataset].samples
    return samples is not None and samples.reference == reference


def imported_samples(config: Config) -> list[tuple[str, str]]:
    """Every (reference, data set) with imported samples."""
    return [(entry.samples.reference, name) for name, entry in config.datasets.items() if entry.samples is not None]
