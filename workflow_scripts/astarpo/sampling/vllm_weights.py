"""New weights for a running vLLM: pushed by name, the cache of the old ones dropped, and compared afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from astarpo.model.lora import plain_weights


class StaleWeights(RuntimeError):
    """The sampler does not hold the weights that were given to it."""


class WeightLink:
    """Keeps the weights of an engine equal to those of a model in the same process.

    Both sides are in one process, so weights are compared value by value, those that were equal when both had been
    loaded from the same files. On a CPU vLLM packs the linear layers, and shows them no more: what it samples with
    them is compared with the trainer's log-probabilities, see `training.sampler_gap`.

    Args:
        engine: ``vllm.LLM`` with one worker in this process.
        model: the model that is trained; it has the weights that the engine has loaded. Adapters are pushed as part
            of the weights that they belong to.

    Raises:
        StaleWeights: no weight of the engine is the model's.
    """

    def __init__(self, engine: Any, model: Any) -> None:
        self.engine, self.model = engine, model
        self._theirs = engine.collective_rpc(_parameters)[0]
        self._fused = engine.collective_rpc(_fused_layers)[0]
        self.compared = {name for name, equal in self._comparisons() if equal}
        if not self.compared:
            raise StaleWeights("vLLM has loaded none of the weights that the trained model starts from")

    def push(self) -> None:
        """Give the engine the model's weights and drop what it had cached with the old ones.

        Raises:
            StaleWeights: the cache cannot be dropped, or the engine has other weights afterwards.
        """
        # A tied head must come under its own name as well. Where vLLM keeps a packed copy of it, that copy would stay
        # as it was, silently.
        named = ((name, weight.value()) for name, weight in plain_weights(self.model).items())
        self.engine.collective_rpc("reload_weights", kwargs={"weights_iterator": named})
        if not self.engine.reset_prefix_cache():
            raise StaleWeights("vLLM did not drop its prefix cache: responses are still being drawn")
        self.check()

    def check(self) -> None:
        """Compare the weights of both sides.

        Raises:
            StaleWeights: names the weights that differ.
        """
        self._theirs = self.engine.collective_rpc(_parameters)[0]
        other = {name for name, equal in self._comparisons() if name in self.compared and not equal}
        if other:
            raise StaleWeights(
                f"vLLM holds other weights than the trained model: {', '.join(sorted(other)[:5])}"
                f" ({len(other)} of {len(self.compared)} compared)"
            )

    def _comparisons(self) -> Iterator[tuple[str, bool]]:
        """(name of a weight of the model, whether the engine has the same values)."""
        weights = plain_weights(self.model)
        for name, weight in weights.items():
            module, _, kind = name.rpartition(".")
            parent, _, part = module.rpartition(".")
            whole = next((fused for fused, layers in self._fused.items() if part in layers), None)
            start, theirs = 0, self._theirs.get(name)
            if whole is not None:
                before = self._fused[whole][: self._fused[whole].index(part)]
                others = [weights.get(f"{parent}.{other}.{kind}") for other in before]
                start = sum(len(other.own) for other in others if other is not None)
                theirs = self._theirs.get(f"{parent}.{whole}.{kind}")
            yield name, theirs is not None and _same(weight.value(), theirs, start)


def _same(ours: Tensor, theirs: Tensor, start: int) -> bool:
    """Whether the rows of ``theirs`` from ``start`` on are ours; more rows may follow (a padded vocabulary)."""
    rows = theirs[start : start + len(ours)]
    return rows.shape == ours.shape and torch.equal(rows, ours.detach().to(rows.dtype))


def _parameters(worker: Any) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in worker.model_runner.get_model().named_parameters()}


def _fused_layers(worker: Any) -> dict[str, list[str]]:
    """Which layers of a checkpoint the engine's model keeps as one, in their order."""
    return dict(getattr(worker.model_runner.get_model(), "packed_modules_mapping", {}))
