"""Whether a model fits into free memory, checked before its weights are read."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from pathlib import Path

import torch

from astarpo.common.errors import InputError
from astarpo.model.files import weight_files

# Bytes per parameter, all in fp32: weights; with AdamW also gradients and two moments; training also holds the
# reference's weights; a critic is as large as the policy. Activations come on top, so a model that just passes
# may still not fit.
LOADING, WARM_START, TRAINING, TRAINING_WITH_CRITIC = 4, 16, 20, 36


def deepspeed_bytes(
    zero_stage: int,
    processes: int,
    precision: str,
    offload_optimizer: bool,
    offload_parameters: bool,
    adapters: bool = False,
    critic: bool = False,
) -> float:
    """Compute the bytes per parameter on each device in a training with DeepSpeed, including the reference.

    Args:
        zero_stage: 1 shards the optimizer over the processes, 2 also the gradients, 3 also the weights; with 3, each
            process also has a whole copy to sample from.
        processes: number of processes.
        precision: with ``bfloat16`` the optimizer has fp32 master weights besides its two moments.
        offload_optimizer, offload_parameters: to CPU memory, which is not counted.
        adapters: with LoRA the reference is the policy without adapters, and the optimizer's share is negligible.
        critic: whether a second model as large as the policy is trained in full.
    """
    weights = gradients = 2.0 if precision == "bfloat16" else 4.0
    reference, optimizer = weights, 12.0 if precision == "bfloat16" else 8.0
    copy = weights if zero_stage == 3 else 0.0
    optimizer = 0.0 if offload_optimizer else optimizer / (processes if zero_stage >= 1 else 1)
    gradients /= processes if zero_stage >= 2 else 1
    weight_shard = 0.0 if offload_parameters else weights / (processes if zero_stage == 3 else 1)
    trained = optimizer + gradients + weight_shard
    policy = weight_shard if adapters else reference + trained
    return policy + copy + (trained if critic else 0.0)


def check_fits(model: str, parameters: int | None, bytes_each: float, device: str, for_sampler: float = 0.0) -> None:
    """Refuse a model that needs more than the free memory.

    Args:
        model: its name, for the message.
        parameters: number of parameters; None if unknown, which is accepted.
        bytes_each: `LOADING`, `WARM_START`, `TRAINING`, `TRAINING_WITH_CRITIC`, or from `deepspeed_bytes`.
        device: ``cpu`` or ``cuda``.
        for_sampler: bytes that vLLM takes in addition, see `sampler_bytes`.

    Raises:
        InputError: it does not fit; the message gives both sizes and the remedies.
    """
    free = free_bytes(device)
    if parameters is None or free is None or parameters * bytes_each + for_sampler <= free:
        return
    named: dict[float, str] = {
        LOADING: "its weights in fp32",
        WARM_START: "weights, gradients and optimizer of the warm start",
        TRAINING: "weights, gradients and optimizer of the training, plus the reference",
        TRAINING_WITH_CRITIC: "weights, gradients and optimizer of policy and critic, plus the reference",
    }
    what = named.get(bytes_each, "its share of weights, gradients and optimizer, plus the reference,")
    sampler = f", vLLM another {for_sampler / 1e9:.1f} GB" if for_sampler else ""
    raise InputError(
        f"the model {model!r} has {parameters / 1e9:.2f} billion parameters; {what} take about "
        f"{parameters * bytes_each / 1e9:.1f} GB{sampler}, but {device} has {free / 1e9:.1f} GB free. Use a smaller "
        "model or a device with more memory, or stop other programs on it; finished results are kept."
    )


def sampler_bytes(engine: str, device: str, memory_share: float, sleep_level: int, parameters: int | None) -> float:
    """Compute the bytes that a training's sampler holds while the policy is updated.

    Args:
        engine: ``transformers``, which samples from the policy itself, or ``vllm``, which has a copy.
        device: ``cpu`` or ``cuda``; on a GPU vLLM takes its share whatever the model's size; on a CPU only the
            weights count, as the cache grows on demand.
        memory_share: share of the device's memory for vLLM.
        sleep_level: above 0, vLLM releases its memory before each update.
        parameters: number of the model's parameters.
    """
    if engine != "vllm" or (sleep_level > 0 and device != "cpu"):
        return 0.0
    if device == "cpu":
        return float((parameters or 0) * LOADING)
    return memory_share * torch.cuda.mem_get_info()[1] if torch.cuda.is_available() else 0.0


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
        return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None
    known = [size for size in (_free_of_system(), _free_of_group()) if size is not None]
    return min(known, default=None)


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
