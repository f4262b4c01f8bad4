"""What memory consists of: named parts, moments at which they exist together, and the peak over all moments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

WEIGHTS, REFERENCE, CRITIC, LAGGED = "weights", "reference", "critic", "lagged weights"
BEST, GRADIENTS, OPTIMIZER = "best weights", "gradients", "optimizer"
COPIES, BUFFERS, TRANSIENT = "bf16 copies", "communication buffers", "temporary copies"
ACTIVATIONS, LOGITS, CACHE, VLLM = "activations", "logits", "keys and values", "vLLM"
AHEAD = "process that draws"  # with its weights
Parts = Mapping[str, float]


@dataclass(frozen=True)
class Moment:
    """A moment of a job at which memory may be at its highest.

    Attributes:
        phase: what the job is doing: ``load``, ``generate``, ``reference``, ``update``, ``step``, ``export``.
        parts: bytes by name.
    """

    phase: str
    parts: Parts

    @property
    def total(self) -> float:
        """Bytes of all parts."""
        return sum(self.parts.values())

    def largest(self, count: int = 3) -> list[tuple[str, float]]:
        """The largest parts with their bytes, the largest first."""
        return sorted(self.parts.items(), key=lambda part: -part[1])[:count]


@dataclass(frozen=True)
class Estimate:
    """What a job takes.

    Attributes:
        device: moments of one rank on its device.
        host: moments of all ranks of a node in its RAM, besides the device; empty if the device is the RAM.
    """

    device: tuple[Moment, ...]
    host: tuple[Moment, ...] = ()

    @property
    def peak(self) -> Moment:
        """The moment at which the device's memory is at its highest."""
        return max(self.device, key=lambda moment: moment.total)

    def by_phase(self) -> dict[str, float]:
        """The highest number of bytes of the device in each phase."""
        phases = dict.fromkeys(moment.phase for moment in self.device)
        return {phase: max(one.total for one in self.device if one.phase == phase) for phase in phases}


def together(*groups: Parts) -> dict[str, float]:
    """Add up parts of the same name, leaving out those of no bytes."""
    names = dict.fromkeys(name for group in groups for name in group)
    sums = {name: sum(group.get(name, 0.0) for group in groups) for name in names}
    return {name: size for name, size in sums.items() if size > 0}


def times(factor: float, moments: Iterable[Moment]) -> tuple[Moment, ...]:
    """The same moments in several processes."""
    return tuple(Moment(one.phase, {name: factor * size for name, size in one.parts.items()}) for one in moments)
