"""New weights for a running vLLM: pushed by name, the cache of old ones dropped, and checksums compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

PREFIX = "dp0:pp0:pcp0:tp0:"  # vLLM's name of the only worker


class StaleWeights(RuntimeError):
    """The sampler does not hold the weights that were given to it."""


class WeightLink:
    """Keeps the weights of an engine equal to those of a model in the same process.

    Weights are compared by SHA-256, under the names (or the fused names) that agreed when both had been loaded from
    the same files. On a CPU vLLM packs the linear layers, which have no checksum then: what it samples with them is
    compared with the trainer's log-probabilities, see `training.gaps`.

    Args:
        engine: ``vllm.LLM`` with one worker in this process.
        model: the model that is trained; it has the weights that the engine has loaded.

    Raises:
        StaleWeights: no weight of the engine is the model's.
    """

    def __init__(self, engine: Any, model: Any) -> None:
        self.engine, self.model = engine, model
        self._dtype = engine.llm_engine.model_config.dtype
        self._fused = engine.collective_rpc(_packing)[0]
        held = self._held()
        self.compared = {name for name, digest in self._expected() if held.get(name) == digest}
        if not self.compared:
            raise StaleWeights(
                "vLLM has loaded none of the weights that the trained model starts from"
            )

    def push(self) -> None:
        """Give the engine the model's weights and drop what it had cached with the old ones.

        Raises:
            StaleWeights: the cache cannot be dropped, or the engine has other weights afterwards.
        """
        # state_dict, not named_parameters: a tied head must come under its own name as well, or where vLLM keeps a
        # packed copy of it, that copy stays as it was, without a word.
        named = [(name, weight.detach()) for name, weight in self.model.state_dict().items()]
        self.engine.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(named)})
        if not self.engine.reset_prefix_cache():
            raise StaleWeights(
                "vLLM did not drop its prefix cache: responses are still being drawn"
            )
        self.check()

    def check(self) -> None:
        """Compare checksums.

        Raises:
            StaleWeights: names the weights that differ.
        """
        held = self._held()
        other = [
            name for name, digest in self._expected()
            if name in self.compared and held.get(name) != digest
        ]  # fmt: skip
        if other:
            raise StaleWeights(
                f"vLLM holds other weights than the trained model: {', '.join(sorted(other)[:5])}"
                f" ({len(other)} of {len(self.compared)} compared)"
            )

    def _held(self) -> dict[str, str]:
        found: dict[str, str] = self.engine.collective_rpc("compute_weight_checksums")[0]
        return {name.removeprefix(PREFIX): digest for name, digest in found.items()}

    def _expected(self) -> Iterator[tuple[str, str]]:
        """(name in the engine, checksum) of the model's weights, fused where the engine fuses them."""
        weights = dict(self.model.named_parameters())
        for name, weight in weights.items():
            module, _, kind = name.rpartition(".")
            parent, _, part = module.rpartition(".")
            whole = next((w for w, parts in self._fused.items() if part in parts), None)
            if whole is None:
                yield name, self._digest([weight])
            elif part == self._fused[whole][0]:
                parts = [weights.get(f"{parent}.{p}.{kind}") for p in self._fused[whole]]
                yield f"{parent}.{whole}.{kind}", self._digest(w for w in parts if w is not None)

    def _digest(self, parts: Iterable[Tensor]) -> str:
        import torch

        digest = hashlib.sha256()
        for part in parts:
            plain = part.detach().to(self._dtype).cpu().contiguous()
            digest.update(plain.view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def _packing(worker: Any) -> dict[str, list[str]]:
    """Which layers of a checkpoint the engine's model keeps as one."""
    return dict(getattr(worker.model_runner.get_model(), "packed_modules_mapping", {}))
