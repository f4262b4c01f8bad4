"""NVIDIA's cards with their maker's numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass

MIB = 2**20
CONTEXT = 0.5e9  # bytes that CUDA's context takes; measured on an H100: 85.5 GB in all, 85.0 free


@dataclass(frozen=True)
class Card:
    """An NVIDIA GPU.

    Attributes:
        name: as it is written in ``MACHINE``.
        memory_mib: as nvidia-smi shows it.
        flops: dense bf16 FLOP/s with fp32 sums, the maker's number; None: not known.
        bandwidth: bytes/s of its memory, the maker's number; None: not known.
        link: bytes/s to the other cards of a machine, in one direction, the maker's number; None: not known.
        shown: what nvidia-smi's name of it contains, in lower case.
    """

    name: str
    memory_mib: int
    flops: float | None = None
    bandwidth: float | None = None
    link: float | None = None
    shown: str = ""

    @property
    def total_bytes(self) -> float:
        """Bytes of its memory."""
        return float(self.memory_mib * MIB)

    @property
    def free_bytes(self) -> float:
        """Bytes that a job can allocate if nothing else uses the card."""
        return self.total_bytes - CONTEXT


PCIE_4, PCIE_5 = 32e9, 64e9  # 16 lanes
# From NVIDIA's data sheets; of tensor cores without sparsity. NVLink is given there for both directions together.
CARDS = (
    Card("A100-40", 40_960, 312e12, 1.555e12, 300e9, "a100"),
    Card("A100-80", 81_920, 312e12, 2.039e12, 300e9, "a100"),
    Card("H100-PCIe", 81_559, 756e12, 2.0e12, PCIE_5, "h100 pcie"),
    Card("H100", 81_559, 989e12, 3.35e12, 450e9, "h100"),  # SXM
    Card("H200", 143_771, 989e12, 4.8e12, 450e9, "h200"),
    Card("L40S", 46_068, 362e12, 0.864e12, PCIE_4, "l40s"),
    Card("L4", 23_034, 121e12, 0.3e12, PCIE_4, "l4"),
    Card("RTX4090", 24_564, 165e12, 1.008e12, PCIE_4, "rtx 4090"),
    Card("RTX3090", 24_576, 71e12, 0.936e12, PCIE_4, "rtx 3090"),
)


def card_of(shown: str, memory_mib: int) -> Card:
    """Recognise a card of this machine.

    Args:
        shown: nvidia-smi's name of it, such as ``NVIDIA H100 80GB HBM3``.
        memory_mib: as nvidia-smi shows it.

    Returns:
        The card with the memory that it has; without speeds if it is not in the table.
    """
    fitting = [one for one in CARDS if re.search(rf"\b{one.shown}\b", shown.lower())]
    if not fitting:
        return Card(shown, memory_mib)
    # The longest name is the most special one; cards with the same name differ in memory.
    longest = max(len(one.shown) for one in fitting)
    near = min((one for one in fitting if len(one.shown) == longest), key=lambda one: abs(one.memory_mib - memory_mib))
    return Card(near.name, memory_mib, near.flops, near.bandwidth, near.link, near.shown)
