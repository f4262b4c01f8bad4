"""Stage 1's samples of a configuration: how they are cut into blocks, and which of them are imported."""

from __future__ import annotations

from astarpo.config.runs import Config
from astarpo.config.schema import StageOneSampling


def sampling_of(config: Config, dataset: str) -> StageOneSampling:
    """How responses to a data set's prompts are drawn."""
    sampling = config.datasets[dataset].sampling
    assert sampling is not None, f"checked when the configuration was loaded: {dataset}"
    return sampling


def blocks(config: Config, dataset: str, n: int) -> list[str]:
    """Names of the blocks that hold samples 0 to n - 1 of every prompt."""
    sampling = sampling_of(config, dataset)
    sample_blocks = -(-n // sampling.block_size)
    return [f"s{s}-p{p}" for s in range(sample_blocks) for p in range(sampling.prompt_shards)]


def is_imported(config: Config, reference: str, dataset: str) -> bool:
    """Whether a reference's samples of a data set come from elsewhere."""
    samples = config.datasets[dataset].samples
    return samples is not None and samples.reference == reference


def imported_samples(config: Config) -> list[tuple[str, str]]:
    """Every (reference, data set) whose samples come from elsewhere."""
    return [(entry.samples.reference, name) for name, entry in config.datasets.items() if entry.samples is not None]
