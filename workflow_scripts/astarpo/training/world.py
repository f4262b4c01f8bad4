"""The processes that train one policy together: who is who, and what they tell each other."""

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

Item = TypeVar("Item")
PATIENCE = timedelta(hours=2)  # a rank may grade or sample much longer than another


@dataclass(frozen=True)
class World:
    """A process among those of its training; a training of one process needs no others and no library for them.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
        objects: the group that carries Python objects, over the CPU.
    """

    rank: int = 0
    size: int = 1
    objects: distributed.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This process's items: every ``size``-th."""
        return list(items[self.rank :: self.size])

    def gather(self, item: Item) -> list[Item]:
        """Give every process the items of all, in the order of the ranks."""
        if self.size == 1:
            return [item]
        items = [item] * self.size  # each is replaced by that of its rank
        distributed.all_gather_object(items, item, group=self.objects)
        return items

    def interleave(self, items: Sequence[Item]) -> list[Item]:
        """Put together what the processes made of their `share`, in the order of the whole."""
        of_processes = self.gather(list(items))
        longest = max(map(len, of_processes))
        return [part[place] for place in range(longest) for part in of_processes if place < len(part)]

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        return any(self.gather(flag))

    def sum_into(self, tensor: Tensor) -> Tensor:
        """Add the tensors of all processes up, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def wait(self) -> None:
        """Go on when every process has come here."""
        self.gather(None)


def join_world(device: str) -> World:
    """Meet the other processes that torchrun started; alone, make a world of one.

    Args:
        device: ``cpu`` or ``cuda``; on GPUs each process takes the one of its local rank.

    Returns:
        The world. In every process but the first, what is printed goes nowhere.
    """
    os.environ.setdefault("DS_ACCELERATOR", device)
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "nccl" if device == "cuda" else "gloo"
    if "WORLD_SIZE" in os.environ:
        distributed.init_process_group(backend, timeout=PATIENCE)
    else:
        os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed asks for it in a world of one, too
        distributed.init_process_group(backend, store=distributed.HashStore(), rank=0, world_size=1, timeout=PATIENCE)
    # DeepSpeed calls what torch will drop one day; once an update it would say so in the log.
    warnings.filterwarnings("ignore", "`torch.distributed.*is deprecated", FutureWarning)
    if rank:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for as long as the process lives)
    return World(rank, size, distributed.new_group(backend="gloo", timeout=PATIENCE))
