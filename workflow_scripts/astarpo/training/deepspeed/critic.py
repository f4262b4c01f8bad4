"""PPO's critic, trained by DeepSpeed."""

from __future__ import annotations

from torch import Tensor

from astarpo.common.machine import MachineSettings
from astarpo.model.learning_rate import set_learning_rate
from astarpo.model.log_probs import Batch
from astarpo.training.critic import Critic
from astarpo.training.deepspeed import optimizer
from astarpo.training.settings import TrainSettings
from astarpo.training.states import CriticState


class SpreadCritic(Critic):
    """As `Critic`, with weights, gradients and optimizer sharded like the policy's.

    DeepSpeed expects one backward pass per engine, but the loss involves both: the policy's backward pass stops at
    the values, and the critic's starts from their gradient.

    Args:
        plain: the critic to shard.
        settings, machine: of the run.
    """

    def __init__(self, plain: Critic, settings: TrainSettings, machine: MachineSettings) -> None:
        self.peak_lr, self.max_grad_norm = plain.peak_lr, plain.max_grad_norm
        self.module = plain.module
        critic_settings = settings.changed(lr=self.peak_lr, grad_norm_of="loss")  # its own loss, not the policy's
        self.engine, self.optimizer = optimizer.initialize(self.module, critic_settings, machine)
        self._graphs: list[tuple[Tensor, Tensor]] = []

    def values(self, batch: Batch) -> Tensor:
        """See `Critic.values`."""
        values_BT: Tensor = self.engine(batch=batch)
        return values_BT

    def values_to_learn(self, batch: Batch) -> Tensor:
        """Return the values as a leaf tensor, whose gradient `backward` propagates."""
        values_BT = self.values(batch)
        leaf_BT = values_BT.detach().requires_grad_()
        self._graphs.append((values_BT, leaf_BT))
        return leaf_BT

    def backward(self) -> None:
        """Propagate the gradient of the last `values_to_learn` to the weights."""
        values_BT, leaf_BT = self._graphs.pop()
        assert leaf_BT.grad is not None
        self.engine.backward((values_BT * leaf_BT.grad).sum())

    def step(self, lr: float) -> None:
        """See `Critic.step`."""
        set_learning_rate(self.optimizer, lr)
        optimizer.step(self.engine)

    def state(self) -> CriticState:
        """Return nothing: the state is in DeepSpeed's shards."""
        return {}

    def load_state(self, state: CriticState) -> None:
        """Do nothing; see `state`."""
