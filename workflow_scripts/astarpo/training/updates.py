"""An optimizer step: its training targets, and the sums from which its metrics are computed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from astarpo.model.log_probs import Batch
from astarpo.model.world import World
from astarpo.objectives.loss_terms import k3
from astarpo.objectives.method import Loss
from astarpo.training import sampler_gap
from astarpo.training.microbatches import MicroBatch


@dataclass(frozen=True)
class UpdateRows:
    """The targets of an optimizer step.

    Attributes:
        targets: of all rows of the rollout; those named ``..._BT`` are cut to a micro-batch's width.
        reference_BT: the reference's log-probabilities of all rows, for the metrics.
        sampled_BT: the sampler's, if the policy is still the one that sampled.
        loss: of the method.
        n_sequences, n_tokens: of the rows of this step, in all processes.
    """

    targets: dict[str, Tensor]
    reference_BT: Tensor
    sampled_BT: Tensor | None
    loss: Loss
    n_sequences: int
    n_tokens: int

    def targets_of(self, micro_batch: MicroBatch) -> dict[str, Tensor]:
        """Select the targets of a micro-batch's rows."""
        return {
            name: micro_batch.cut_out(value) if name.endswith("_BT") else value[micro_batch.rows_B]
            for name, value in self.targets.items()
        }


class UpdateSums:
    """Sums over the sequences or tokens of an optimizer step, by name; see `training.metrics`.

    They stay on the device until they are read, all at once: the host would otherwise wait for each micro-batch.
    """

    def __init__(self) -> None:
        self.summands: dict[str, list[Tensor]] = defaultdict(list)
        self.gaps_N: list[Tensor] = []

    def add(self, counts: bool, named: Mapping[str, Tensor]) -> None:
        """Add a micro-batch's sums; a pass that does not count adds 0, so that all processes have the same names."""
        for name, value in named.items():
            # In double precision, in which they are added up.
            self.summands[name].append(value.detach().double() if counts else value.new_zeros((), dtype=torch.double))

    def add_gaps(self, log_probs_BT: Tensor, sampled_BT: Tensor, batch: Batch) -> None:
        """Add the gaps between trainer and sampler, see `sampler_gap.token_gaps`."""
        self.gaps_N.append(sampler_gap.token_gaps(log_probs_BT, sampled_BT, (batch.rows_N, batch.columns_N)))

    def of_all(self, world: World) -> dict[str, float]:
        """Sum over all processes; a collective call."""
        every = world.gather(self._of_this_process())
        return {name: sum(one[name] for one in every) for name in self.summands}

    def _of_this_process(self) -> dict[str, float]:
        """Read all summands from the device at once, and add them up in their order."""
        sums = dict.fromkeys(self.summands, 0.0)
        names = [name for name, summands in self.summands.items() for _ in summands]
        if names:
            numbers = torch.stack([one for summands in self.summands.values() for one in summands]).tolist()
            for name, number in zip(names, numbers, strict=True):
                sums[name] += number  # not by sum(), which from Python 3.12 on rounds otherwise
        return sums

    def gaps_of_all(self, world: World) -> dict[str, float]:
        """Summarise the gaps of all processes; a collective call."""
        # To the CPU first: tensors arrive on the sender's GPU.
        every = world.gather([torch.cat(self.gaps_N).cpu()] if self.gaps_N else [])
        return sampler_gap.summarise([one for of_process in every for one in of_process])


def log_ratio_sums(log_probs_BT: Tensor, reference_BT: Tensor, mask_BT: Tensor) -> dict[str, Tensor]:
    """Sum ln(pi/pi_ref) and the estimate k3 of KL(pi || pi_ref) over sequences, without gradient.

    Args:
        log_probs_BT: the policy's, 0 where masked.
        reference_BT: the reference's, 0 where masked.
        mask_BT: True at response tokens.
    """
    log_ratio_BT = log_probs_BT.detach() - reference_BT
    log_ratio_B = log_ratio_BT.sum(-1)
    # In double precision, because the differences of most tokens are below the rounding error of fp32.
    kl_B = k3(log_ratio_BT.double(), log_ratio_BT.new_zeros(())).sum(-1)
    length_B = mask_BT.sum(-1)
    return {
        "log_ratio": log_ratio_B.sum(),
        "log_ratio_squared": log_ratio_B.square().sum(),
        "log_ratio_per_token": (log_ratio_B / length_B).sum(),
        "kl": kl_B.sum(),
        "kl_per_token": (kl_B / length_B).sum(),
    }
