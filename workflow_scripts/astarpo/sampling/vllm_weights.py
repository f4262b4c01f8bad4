"""New weights for a running vLLM: pushed by name, with the old cache dropped, and compared afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel

from astarpo.model.lora import plain_weights

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.v1.worker.worker_base import WorkerBase

RELOADING = "vllm.model_executor.model_loader.reload.layerwise"  # the logger of vLLM's module of that name


class StaleWeights(RuntimeError):
    """The sampler does not hold the weights that were pushed to it."""


class WeightLink:
    """Keeps the weights of an engine equal to those of a model in the same process.

    Both sides are in one process, so weights are compared value by value: those that were equal when both sides had
    been loaded from the same files. On a CPU, vLLM packs the linear layers and no longer exposes them; there the
    log-probabilities of its samples are compared with the trainer's, see `training.sampler_gap`.

    Args:
        engine: ``vllm.LLM`` with one worker in this process.
        model: the trained model, with the weights that the engine has loaded. Adapters are merged into the weights
            that they belong to.

    Raises:
        StaleWeights: no weight of the engine is the model's.
    """

    def __init__(self, engine: LLM, model: PreTrainedModel) -> None:
        self.engine, self.model = engine, model
        self._theirs = engine.collective_rpc(_parameters)[0]
        self._fused = engine.collective_rpc(_fused_layers)[0]
        self._weightless = engine.collective_rpc(_weightless_embeddings)[0]
        self.compared = {name for name, equal in self._comparisons() if equal}
        if not self.compared:
            raise StaleWeights("vLLM has loaded none of the weights that the trained model starts from")

    def push(self) -> None:
        """Push the model's weights to the engine and drop what it had cached with the old ones.

        Raises:
            StaleWeights: the cache cannot be dropped, or the engine has other weights afterwards.
        """
        # A tied head must be pushed under its own name as well: if vLLM keeps a packed copy of it, that copy would
        # silently stay stale.
        named = ((name, weight.value()) for name, weight in plain_weights(self.model).items())
        with _no_false_alarm(self._weightless):
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
                start = sum(len(other) for other in others if other is not None)
                theirs = self._theirs.get(f"{parent}.{whole}.{kind}")
            yield name, theirs is not None and _same(weight.value(), theirs, start)


def _same(ours: Tensor, theirs: Tensor, start: int) -> bool:
    """Whether the rows of ``theirs`` from ``start`` on are ours; more rows may follow (a padded vocabulary)."""
    rows = theirs[start : start + len(ours)]
    return rows.shape == ours.shape and torch.equal(rows, ours.detach().to(rows.dtype))


@contextmanager
def _no_false_alarm(weightless: Set[str]) -> Iterator[None]:
    """Keep out of the log that layers without weights failed to load them, which vLLM warns of at each push."""
    harmless = {f"{name}: Failed to load weights" for name in weightless}

    def is_news(record: logging.LogRecord) -> bool:
        return record.getMessage() not in harmless

    logger = logging.getLogger(RELOADING)
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


def _weightless_embeddings(worker: WorkerBase) -> set[str]:
    """Classes of rotary embeddings without weights: their tables of sines follow from the model's config."""
    layers = [layer for layer in worker.model_runner.get_model().modules() if _is_rotary(layer)]
    weighted = {type(layer).__name__ for layer in layers if next(layer.parameters(), None) is not None}
    return {type(layer).__name__ for layer in layers} - weighted


def _is_rotary(layer: torch.nn.Module) -> bool:
    return type(layer).__name__.endswith("RotaryEmbedding")


def _parameters(worker: WorkerBase) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in worker.model_runner.get_model().named_parameters()}


def _fused_layers(worker: WorkerBase) -> dict[str, list[str]]:
    """Layers of a checkpoint that the engine's model fuses into one, in their order."""
    return dict(getattr(worker.model_runner.get_model(), "packed_modules_mapping", {}))
