"""The sampler of `second_process`: a model of its own whose weights follow those of the process that trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from astarpo.common.machine import MachineSettings
from astarpo.model.loading import load_policy
from astarpo.model.policy import Policy
from astarpo.model.precision import to_bfloat16
from astarpo.sampling import Completion, OnBatch, OnFinished, Request, Sampler
from astarpo.sampling.engines import make_sampler
from astarpo.sampling.settings import SamplingSettings


@dataclass(frozen=True)
class MakeFollower:
    """Makes the sampler in the second process.

    Attributes:
        folder: the model folder that the training starts from.
        end_token_ids: ids that end a response.
        trust_remote_code: whether the model's own code may run.
        engine, precision, longest, machine: see `engines.make_sampler`.
    """

    folder: Path
    end_token_ids: list[int]
    trust_remote_code: bool
    engine: str
    precision: str
    longest: int
    machine: MachineSettings

    def __call__(self, weights: Mapping[str, Tensor]) -> Sampler:
        """Load the model and make the sampler.

        Args:
            weights: by name, in memory that is shared with the process that trains.
        """
        # vLLM has weights of its own on the GPU, and is sent those of a model in the shared memory.
        device = "cpu" if self.engine == "vllm" else self.machine.device
        policy = load_policy(self.folder, device, trust_remote_code=self.trust_remote_code)
        if self.precision == "bfloat16":  # as the weights of the process that trains
            to_bfloat16(policy.model)
        policy.end_token_ids[:] = self.end_token_ids
        follower = Follower(policy, weights)
        follower.sampler = make_sampler(
            self.engine,
            self.folder,
            policy,
            self.machine,
            precision=self.precision,
            longest=self.longest,
            trained=True,
        )
        follower.weights_changed()
        return follower


class Follower:
    """A sampler that takes over the shared weights when it is told of a change.

    Args:
        policy: the model that it draws from.
        weights: by name, in shared memory.
    """

    sampler: Sampler

    def __init__(self, policy: Policy, weights: Mapping[str, Tensor]) -> None:
        self.policy, self.weights = policy, weights
        for name, parameter in policy.model.named_parameters():
            if parameter.device == weights[name].device:
                parameter.data = weights[name]  # on a CPU there is nothing to copy

    def sample(
        self,
        requests: Sequence[Request],
        settings: SamplingSettings,
        on_batch: OnBatch | None = None,
        on_finished: OnFinished | None = None,
    ) -> list[Completion]:
        """Draw with the weights of the last change, see `Sampler.sample`."""
        return self.sampler.sample(requests, settings, on_batch, on_finished)

    def weights_changed(self) -> None:
        """Take over the shared weights."""
        with torch.no_grad():
            for name, parameter in self.policy.model.named_parameters():
                if parameter.data_ptr() != self.weights[name].data_ptr():
                    parameter.copy_(self.weights[name])
        self.sampler.weights_changed()

    def rest(self) -> None:
        """Nothing to do: it has its device alone."""
