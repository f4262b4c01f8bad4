"""PPO's critic: the body of the base model with a scalar head, and its optimizer."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from transformers import PreTrainedModel

from astarpo.model.finite import clip_gradients
from astarpo.model.learning_rate import set_learning_rate
from astarpo.model.log_probs import Batch
from astarpo.model.lora import without_adapters
from astarpo.model.precision import MasterWeights
from astarpo.training.critic_model import ValueModel
from astarpo.training.optimizer import adamw
from astarpo.training.settings import TrainSettings
from astarpo.training.states import CriticState


class Critic:
    """Predicts the future reward from the state before each response token.

    Args:
        base: the model that training starts from; its body is used without language head and adapters.
        settings: of the run; the peak learning rate is ``hyperparameters["critic_lr"]``.
        copied: whether the body is copied; otherwise ``base`` becomes the critic.
        in_bfloat16: whether it computes with bf16 copies of fp32 weights, see `MasterWeights`.
    """

    def __init__(
        self, base: PreTrainedModel, settings: TrainSettings, copied: bool = True, in_bfloat16: bool = False
    ) -> None:
        self.peak_lr = float(settings.hyperparameters["critic_lr"])
        self.max_grad_norm = settings.max_grad_norm
        body = copy.deepcopy(base.base_model) if copied else base.base_model
        assert isinstance(body, PreTrainedModel), "the body of a transformers model is a transformers model"
        if settings.lora is not None:
            without_adapters(body)
        self.module = ValueModel(body.requires_grad_(True), base.config.hidden_size).eval()
        self.masters = MasterWeights(self.module) if in_bfloat16 else None
        self.weights = self.masters or self.module
        trained = list(self.weights.parameters())
        self.optimizer: torch.optim.Optimizer = adamw(trained, self.peak_lr, settings, base.device)

    def values(self, batch: Batch) -> Tensor:
        """Compute the values of the states before the response tokens.

        Args:
            batch: from `log_probs.collate`; the state before a token is the position that predicts it.

        Returns:
            fp32 [B, T], 0 where masked.
        """
        values_BT: Tensor = self.module(batch=batch)
        return values_BT

    def step(self, lr: float) -> None:
        """Make an optimizer step with the current gradients, clipped to the same norm as the policy's."""
        set_learning_rate(self.optimizer, lr)
        clip_gradients(self.weights.parameters(), self.max_grad_norm)
        self.optimizer.step()
        if self.masters is not None:
            self.masters.refresh()

    def state(self) -> CriticState:
        """Weights and optimizer moments, for a checkpoint."""
        return {"model": self.weights.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: CriticState) -> None:
        """Restore the state from a checkpoint."""
        self.weights.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
