"""Packages that only some environments have."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from astarpo.common.errors import InputError

ENGINES = "envs/pins/gpu.txt, or without a GPU envs/pins/engines-cpu.txt,"
BITSANDBYTES = "bitsandbytes==0.50.2"  # in no environment of ours; the version that was tested


def check_can_import(packages: Iterable[str], pins: str = ENGINES) -> None:
    """Refuse engines that are not installed, without importing them, which is slow.

    Args:
        packages: their names.
        pins: the files that name their versions, for the message.

    Raises:
        InputError: names the missing ones and the command that installs them.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if "bitsandbytes" in missing:
        raise InputError(
            f"bitsandbytes cannot be imported here, and lora.base_precision: nf4 needs it: pip install {BITSANDBYTES}, "
            "or set base_precision: bfloat16"
        )
    if missing:
        raise InputError(
            f"{' and '.join(missing)} cannot be imported here: pip install -r {pins} "
            "or let Snakemake do that: --software-deployment-method conda"
        )
