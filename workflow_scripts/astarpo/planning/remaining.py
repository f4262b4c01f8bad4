"""Disk space that planned jobs will take, against what is free before the first of them starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from astarpo.common.writing import size_text
from astarpo.config.runs import Config
from astarpo.planning.disk import disk_bytes
from astarpo.planning.sizes import shape_of_reference

OF_TRAININGS = ("trained models", "checkpoints kept", "a checkpoint being written")


def disk_warning(
    config: Config, references: Iterable[str], trainings: Sequence[tuple[str, int]], checkpoints: Path, free: float
) -> str | None:
    """Say that there is less space than the models and checkpoints of the planned jobs take.

    Args:
        config: checked.
        references: those that will be prepared.
        trainings: (run, seed) of those that will run, one at a time.
        checkpoints: folder of all trainings' checkpoints. Those of ``trainings`` are replaced by new ones.
        free: bytes.

    Returns:
        A line, or None if the space suffices or the models' shapes are not known.
    """
    shapes = [shape_of_reference(config.references[name]) for name in references]
    needed = sum(4.0 * shape.parameters for shape in shapes if shape is not None)
    seeds = {run: tuple(seed for one, seed in trainings if one == run) for run, _ in trainings}
    runs = {run: config.runs[run].model_copy(update={"seeds": own}) for run, own in seeds.items()}
    sizes = disk_bytes(config.model_copy(update={"runs": runs}))
    needed += sum(sizes[name] for name in OF_TRAININGS)
    needed -= sum(_size_of(checkpoints / run / f"seed-{seed}") for run, seed in trainings)
    if needed <= free:
        return None
    return (
        f"models and checkpoints of the planned jobs take about {size_text(round(needed))}, but only "
        f"{size_text(round(free))} are free here: free some space, or run in a folder on a larger disk (snakemake "
        "--directory)"
    )


def _size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("step-*/**/*"):
        with suppress(OSError):  # a job that outlived its Snakemake may just replace it
            total += path.stat().st_size if path.is_file() else 0
    return total
