"""The processes that train one policy together, and their communication."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

from astarpo.common.extensions import await_builds, extensions_folder

Item = TypeVar("Item")
PATIENCE = timedelta(hours=2)  # a rank may grade or sample much longer than another


@dataclass(frozen=True)
class World:
    """A process among those of its training; a single process needs no communication library.

    Attributes:
        rank: of this process, from 0.
        size: number of processes.
        objects: the group that exchanges Python objects, over the CPU.
    """

    rank: int = 0
    size: int = 1
    objects: distributed.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Return this process's items: every ``size``-th."""
        return list(items[self.rank :: self.size])

    def gather(self, item: Item) -> list[Item]:
        """Collect the items of all processes in every process, in the order of ranks."""
        if self.size == 1:
            return [item]
        items = [item] * self.size  # replaced by the items of each rank
        distributed.all_gather_object(items, item, group=self.objects)
        return items

    def interleave(self, items: Sequence[Item]) -> list[Item]:
        """Merge the processes' results for their `share` in the original order."""
        shares = self.gather(list(items))
        longest = max(map(len, shares))
        return [share[index] for index in range(longest) for share in shares if index < len(share)]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return any(self.gather(flag))

    def sum_into(self, tensor: Tensor) -> Tensor:
        """Sum the tensors of all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def wait(self) -> None:
        """Wait for all processes."""
        self.gather(None)


def join_world(device: str) -> World:
    """Join the other processes started by torchrun; without torchrun, create a world of one.

    Args:
        device: ``cpu`` or ``cuda``; on GPUs each process takes the one of its local rank.

    Returns:
        The world. In every process but the first, standard output is discarded.
    """
    os.environ.setdefault("DS_ACCELERATOR", device)
    await_builds(extensions_folder())  # or DeepSpeed would wait for one that was killed, without a word
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "nccl" if device == "cuda" else "gloo"
    if "WORLD_SIZE" in os.environ:
        distributed.init_process_group(backend, timeout=PATIENCE)
    else:
        os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed needs it even in a world of one
        distributed.init_process_group(backend, store=distributed.HashStore(), rank=0, world_size=1, timeout=PATIENCE)
    # DeepSpeed calls deprecated functions of torch, which would warn in the log after each update.
    warnings.filterwarnings("ignore", "`torch.distributed.*is deprecated", FutureWarning)
    if rank:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for as long as the process lives)
    return World(rank, size, distributed.new_group(backend="gloo", timeout=PATIENCE))
