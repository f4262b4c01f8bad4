"""The trainings that deepspeed_case.py runs in each process of torchrun."""

from __future__ import annotations

import json
from dataclasses import replace
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

    Also of each pass of an update: its rows, their tokens with padding, and whether it counts; the pieces in which its
    rows were laid end to end, and their tokens; and the log-probabilities of each pass without gradient over all rows.
    """

    gradients: list[dict[str, Any]]
    exact_sums: list[dict[str, Any]]
    passes: list[tuple[list[int], int, bool]]
    laid: list[tuple[int, int]]
    scored: list[Any]

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
        packed = micro_batch.batch.packed
        self.laid.append((0, 0) if packed is None else (len(packed.pieces), packed.tokens))
        super()._accumulate(micro_batch, counts, *others)

    def log_probs(self, *args: Any) -> Any:
        self.scored.append(super().log_probs(*args))
        return self.scored[-1]

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


def begin(prompts: Any, told: dict[str, Any]) -> Any:
    """Put a beginning before all prompts, before every other one of them, or another one before each."""
    tokens, whose = told.get("beginning", 0), told.get("whose", "all")

    def begun(index: int, prompt: Any) -> Any:
        if whose == "every other" and index % 2:
            return prompt
        first = 100 + (index if whose == "own" else 0)
        return replace(prompt, token_ids=[*range(first, first + tokens), *prompt.token_ids])

    return [begun(index, prompt) for index, prompt in enumerate(prompts)]


def trainer(folder: str, world: World, one: dict[str, Any]) -> case.CheckedTrainer:
    """As training_case makes it, with the other engine."""
    settings, machine = one.get("settings", {}), one.get("machine", {})
    told, where = (
        case.SETTINGS.changed(engine="deepspeed", **settings),
        case.MACHINE.changed(**machine),
    )
    Recording.gradients, Recording.exact_sums, Recording.passes = [], [], []
    Recording.laid, Recording.scored = [], []
    made = case.deepspeed_trainer(folder, world, told, where)
    made.prompts = begin(made.prompts, one)
    made.engine.lays_out &= not one.get("apart", False)
    CHUNKS.sizes = set()  # without the eight tokens on which the heads are checked
    return made


def run(one: dict[str, Any], folder: str, world: World, out: Path) -> None:
    """Train, as in a process of its own; with ``stop_after``, stop after so many steps and go on with a new engine."""
    torch.nn.functional.linear = LINEAR
    scratch = out / f"{one['name']}-{world.size}"
    scratch.mkdir(parents=True, exist_ok=True)
    if "stop_after" in one:
        case.run_until(trainer(folder, world, one), one["stop_after"], scratch)
    made = trainer(folder, world, one)
    history = made.run(scratch)
    weights = made.engine.full_weights()
    gathered = world.gather(len(weights))
    passes, laid = world.gather(Recording.passes), world.gather(Recording.laid)
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
                "laid": laid,
                "scored": Recording.scored,
                "exact_sums": Recording.exact_sums,
                "chunks": sorted(CHUNKS.sizes),
            },
            out / f"{one['name']}.pt",
        )


CHUNKS = Chunks()
# With ZeRO 3, DeepSpeed puts its own in place for the rest of the process. It rounds twice where there is a bias.
LINEAR = torch.nn.functional.linear
made_config = optimizer.deepspeed_config
optimizer.deepspeed_config = config_that_spreads_all
deepspeed_engine.DeepSpeedEngine = Recording  # type: ignore[misc]
chunked_log_probs._tempered_logits = CHUNKS


def main(cases: str, folder: str, out: str) -> None:
    """Run the cases of a JSON file, one after another."""
    world = join_world("cpu")
    for one in json.loads(Path(cases).read_text(encoding="utf-8")):
        run(one, one.get("folder", folder), world, Path(out))
