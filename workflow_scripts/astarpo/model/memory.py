"""How many weights a model has, and how much memory a device."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from pathlib import Path

from astarpo.model.files import weight_files


def parameters_of_folder(folder: str | Path) -> int | None:
    """Count the parameters of a model folder from the headers of its safetensors files.

    Returns:
        The count; None if there are no such files, or one is damaged.
    """
    files = [path for path in weight_files(folder) if path.suffix == ".safetensors"]
    counts = [_parameters_of_file(path) for path in files]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _parameters_of_file(path: Path) -> int | None:
    """Read the header: its length, then JSON with every tensor's shape."""
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(min(length, 1 << 28)))
        return _sizes(entry["shape"] for name, entry in header.items() if name != "__metadata__")
    except (OSError, struct.error, ValueError, KeyError, AttributeError):
        return None


def _sizes(shapes: Iterable[list[int]]) -> int:
    return sum(math.prod(shape) for shape in shapes)


def parameters_on_hub(hub_id: str, revision: str | None) -> int | None:
    """Ask the hub how many parameters a model has.

    Returns:
        The count; None if the hub does not know or cannot be reached (loading then says why).
    """
    from huggingface_hub import get_safetensors_metadata

    try:
        metadata = get_safetensors_metadata(hub_id, revision=revision)
    except Exception:  # wrong name, gated, offline, no safetensors: loading reports it
        return None
    return sum(metadata.parameter_count.values())


def free_bytes(device: str) -> int | None:
    """Measure the free memory of a device.

    Returns:
        Bytes; None if unknown.
    """
    if device != "cpu":
        import torch

        return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None
    known = [size for size in (_free_of_system(), _free_of_group()) if size is not None]
    return min(known, default=None)


def total_bytes(device: str) -> int:
    """Measure the whole memory of a GPU, of which vLLM takes a share; 0 for the CPU and without a GPU."""
    if device == "cpu":
        return 0
    import torch

    return int(torch.cuda.mem_get_info()[1]) if torch.cuda.is_available() else 0


def _free_of_system() -> int | None:
    """Read what Linux reports as available without swapping."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _free_of_group() -> int | None:
    """Read what a container or a cluster job may still allocate (control groups, version 2)."""
    try:
        path = Path("/proc/self/cgroup").read_text(encoding="utf-8").strip().rpartition("::")[2]
        for group in (Path("/sys/fs/cgroup") / path.lstrip("/"), Path("/sys/fs/cgroup")):
            if (group / "memory.max").exists():
                limit = (group / "memory.max").read_text(encoding="utf-8").strip()
                used = (group / "memory.current").read_text(encoding="utf-8")
                return None if limit == "max" else int(limit) - int(used)
    except (OSError, ValueError):
        pass
    return None
