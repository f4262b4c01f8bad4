"""Refusing what does not fit into free memory, before any weights are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from astarpo.common.errors import InputError
from astarpo.common.files import read_json_object
from astarpo.memory.parts import Estimate, Moment
from astarpo.memory.shape import ModelShape
from astarpo.model import memory

GB = 1e9
SHOWN = 3  # parts, and ways out, in a message
IN_RUN = " in the run"  # follows keys of a run; all others are of the section `machine`
Remedies = Iterable[tuple[str, Estimate]]


def shape_of_folder(folder: str | Path) -> ModelShape | None:
    """Read the shape of a model folder.

    Returns:
        The shape; with an unknown architecture only the number of weights; None if that is unknown too.
    """
    parameters = memory.parameters_of_folder(folder)
    return shape_of(read_json_object(Path(folder) / "config.json"), parameters)


def shape_of(config: dict[str, object], parameters: int | None) -> ModelShape | None:
    """Determine a shape from a config.json and the number of weights, as far as it can be known."""
    shape = ModelShape.of(config, parameters)
    if shape is None and parameters is not None:
        return ModelShape.of_unknown(parameters)
    return shape


def check_fits(
    model: str,
    estimate: Estimate | None,
    device: str,
    remedies: Callable[[], Remedies] | None = None,
    processes: int = 1,
) -> None:
    """Refuse a job that needs more than the free memory.

    Args:
        model: its name, for the message.
        estimate: of one rank; None if nothing is known of the model, which is accepted.
        device: ``cpu`` or ``cuda``.
        remedies: makes other settings, as they are written, with their estimates; the message names those that fit.
        processes: ranks on this machine, which share its RAM.

    Raises:
        InputError: it does not fit; the message names the phase, its largest parts, and settings that would fit.
    """
    if estimate is None:
        return
    found = shortage(model, estimate, device, memory.free_bytes(device), memory.free_bytes("cpu"), remedies, processes)
    if found is not None:
        raise InputError(f"{found}; finished results are kept.")


def shortage(
    model: str,
    estimate: Estimate,
    device: str,
    free: float | None,
    free_ram: float | None,
    remedies: Callable[[], Remedies] | None = None,
    processes: int = 1,
) -> str | None:
    """Say in one line why a job does not fit: the phase, its largest parts, and settings that would fit.

    Args:
        model, estimate, remedies, processes: as for `check_fits`.
        device: ``cpu``, or the name of a GPU.
        free: bytes on the device; None: not known, and not compared.
        free_ram: bytes of the machine; None: not known, and not compared.

    Returns:
        The line, without the full stop; None if it fits.
    """
    ranks = processes if device == "cpu" else 1
    if free is not None and ranks * estimate.peak.total > free:
        return _message(model, estimate.peak, device, free, ranks, remedies)
    for moment in estimate.host:
        if free_ram is not None and moment.total > free_ram:
            return (
                f"{model}: {moment.phase} takes about {moment.total / GB:.1f} GB of RAM ({_parts(moment)}), but "
                f"{free_ram / GB:.1f} GB are free. Use a machine with more RAM, fewer devices per machine, or "
                "offload less"
            )
    return None


def _message(
    model: str, peak: Moment, device: str, free: float, ranks: int, remedies: Callable[[], Remedies] | None
) -> str:
    each = f"in each of {ranks} processes " if ranks > 1 else ""
    needs = (
        f"{model}: {peak.phase} takes about {peak.total / GB:.1f} GB {each}({_parts(peak)}), but {device} has "
        f"{free / GB:.1f} GB free."
    )
    tried = [(text, ranks * estimate.peak.total) for text, estimate in (remedies() if remedies is not None else ())]
    fitting: dict[str, str] = {}
    for text, size in tried:
        if size <= free and len(fitting) < SHOWN and not asks_more(text, fitting):
            fitting[text] = f"{text} ({size / GB:.1f} GB)"
    if fitting:
        return f"{needs} It fits with {', or with '.join(fitting.values())}"
    least = min(tried, key=lambda one: one[1], default=None)
    helps = least is not None and least[1] < ranks * peak.total
    known = f" Even with {least[0]} it takes {least[1] / GB:.1f} GB." if least is not None and helps else ""
    return f"{needs}{known} Use a smaller model or a device with more memory, or stop other programs on it"


def asks_more(text: str, others: Iterable[str]) -> bool:
    """Whether a way out changes more than another one, which is enough: all that it changes, or the run besides.

    Args:
        text: such as ``machine: {activation_checkpointing: true, micro_batch: 1}``.
        others: that suffice, such as ``machine: {micro_batch: 2}``.
    """
    return any(_keys(other) <= _keys(text) or (IN_RUN in text and IN_RUN not in other) for other in others)


def _keys(text: str) -> set[str]:
    return set(re.findall(r"(\w+):", text))


def _parts(moment: Moment) -> str:
    return ", ".join(f"{name} {size / GB:.1f}" for name, size in moment.largest(SHOWN) if size > 0)
