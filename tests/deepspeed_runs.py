"""The trainings that deepspeed_case.py runs in each process of torchrun."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
import training_case as case

from astarpo.model import chunked_log_probs
from astarpo.model.world import World, join_world
from astarpo.training.deepspeed import engine as deepspeed_engine
from astarpo.training.deepspeed import optimizer
from astarpo.training.microbatches import MicroBatch


class Recording(deepspeed_engine.DeepSpeedEngine):
    """Keeps the gradient that each step is made with, and the sum of its micro-batches' in double precision.

    Also of each pass of an update: its rows, their tokens with padding, and whether it counts.
    """

    gradients: list[dict[str, Any]]
    exact_sums: list[dict[str, Any]]
    passes: list[tuple[list[int], int, bool]]

    def __init__(self, policy: Any, reference: Any, *args: Any) -> None:
        critic_base = args[-1]
        loaded = [one for one in (policy.model, reference.model, critic_base) if one is not None]
        self.read = [sum(map(held_of, model.parameters())) for model in loaded]
        super().__init__(policy, reference, *args)
        self.buffers = {name: buffer.clone() for name, buffer in policy.model.named_buffers()}
        self.sums: dict[str, Any] = {}
        for name, weight in self.policy.model.named_parameters():
            if weight.requires_grad:
                weight.register_hook(partial(self._add, name))

    def _add(self, name: str, gradient: Any) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + gradient.double()

    def _accumulate(self, micro_batch: MicroBatch, counts: bool, *others: Any) -> None:
        self.passes.append((micro_batch.rows, micro_batch.batch.input_ids_BS.numel(), counts))
        super()._accumulate(micro_batch, counts, *others)

    def _step(self) -> float:
        from deepspeed.utils import safe_get_full_grad

        named = [pair for pair in self.policy.model.named_parameters() if pair[1].requires_grad]
        self.gradients.append({name: safe_get_full_grad(weight).clone() for name, weight in named})
        self.exact_sums.append(self.sums)
        self.sums = {}
        return super()._step()


def held_of(weight: Any) -> int:
    """Numbers of a weight that this process has."""
    return int((weight.ds_tensor if hasattr(weight, "ds_tensor") else weight).numel())


def config_that_spreads_all(*args: Any) -> dict[str, Any]:
    """By itself DeepSpeed leaves small weights whole with ZeRO 3, and here all are small."""
    config = made_config(*args)
    config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    return config


class Chunks:
    """Counts the tokens whose logits are computed at once, in chunks: `chunked_log_probs` calls this."""

    def __init__(self) -> None:
        self.computed, self.sizes = chunked_log_probs._tempered_logits, set[int]()

    def __call__(self, hidden_NH: Any, *others: Any) -> Any:
        self.sizes.add(len(hidden_NH))
        return self.computed(hidden_NH, *others)


def trainer(folder: str, world: World, settings: dict[str, Any], machine: dict[str, Any]) -> case.CheckedTrainer:
    """As training_case makes it, with the other engine."""
    told, where = (
        case.SETTINGS.changed(engine="deepspeed", **settings),
        case.MACHINE.changed(**machine),
    )
    Recording.gradients, Recording.exact_sums, Recording.passes = [], [], []
    made = case.deepspeed_trainer(folder, world, told, where)
    CHUNKS.sizes = set()  # without the eight tokens on which the heads are checked
    return made


def run(one: dict[str, Any], folder: str, world: World, out: Path) -> None:
    """Train; with ``stop_after``, stop after so many steps and go on with a new engine."""
    told = one.get("settings", {}), one.get("machine", {})
    scratch = out / f"{one['name']}-{world.size}"
    scratch.mkdir(parents=True, exist_ok=True)
    if "stop_after" in one:
        case.run_until(trainer(folder, world, *told), one["stop_after"], scratch)
    made = trainer(folder, world, *told)
    history = made.run(scratch)
    weights = made.engine.full_weights()
    gathered = world.gather(len(weights))
    passes = world.gather(Recording.passes)
    if world.is_first:
        torch.save(
            {
                "metrics": json.dumps(history.metrics),
                "weights": weights,
                "gathered": gathered,
                "read": made.engine.read,
                "buffers": made.engine.buffers,
                "whole": made.engine.whole is not None,
                "gradients": Recording.gradients,
                "passes": passes,
                "exact_sums": Recording.exact_sums,
                "chunks": sorted(CHUNKS.sizes),
            },
            out / f"{one['name']}.pt",
        )


CHUNKS = Chunks()
made_config = optimizer.deepspeed_config
optimizer.deepspeed_config = config_that_spreads_all
deepspeed_engine.DeepSpeedEngine = Recording  # type: ignore[misc]
chunked_log_probs._tempered_logits = CHUNKS


def main(cases: str, folder: str, out: str) -> None:
    """Run the cases of a JSON file, one after another."""
    world = join_world("cpu")
    for one in json.loads(Path(cases).read_text(encoding="utf-8")):
        run(one, one.get("folder", folder), world, Path(out))
