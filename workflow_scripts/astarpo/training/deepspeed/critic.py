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
    """As `Critic`, with weights, gradients and optimizer spread as the policy's are.

    DeepSpeed expects a backward pass of each of its engines, but the loss is of both: the policy's pass ends at the
    values, and the critic's begins with the gradient that came there.

    Args:
        plain: the critic to spread.
        settings, machine: of the run.
    """

    def __init__(self, plain: Critic, settings: TrainSettings, machine: MachineSettings) -> None:
        self.peak_lr, self.max_grad_norm = plain.peak_lr, plain.max_grad_norm
        self.module = plain.module
        critic_settings = settings.changed(lr=self.peak_lr)
        self.engine, self.optimizer = optimizer.initialize(self.module, critic_settings, machine)
        self._graphs: list[tuple[Tensor, Tensor]] = []

    def values(self, batch: Batch) -> Tensor:
        """See `Critic.values`."""
        values_BT: Tensor = self.engine(batch=batch)
        return values_BT

    def values_to_learn(self, batch: Batch) -> Tensor:
        """The same, as a tensor of its own, whose gradient `backward` takes further."""
        values_BT = self.values(batch)
        leaf_BT = values_BT.detach().requires_grad_()
        self._graphs.append((values_BT, leaf_BT))
        return leaf_BT

    def backward(self) -> None:
        """Take the gradient of the last `values_to_learn` to the weights."""
        values_BT, leaf_BT = self._graphs.pop()
        assert leaf_BT.grad is not None
        self.engine.backward((values_BT * leaf_BT.grad).sum())

    def step(self, lr: float) -> None:
        """See `Critic.step`."""
        set_learning_rate(self.optimizer, lr)
        optimizer.step(self.engine)

    def state(self) -> CriticState:
        """Nothing: DeepSpeed keeps it in shards."""
        return {}

    def load_state(self, state: CriticState) -> None:
        """Nothing: see `state`."""
