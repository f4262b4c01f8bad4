"""A training small enough for a test: a random model, eight prompts, four steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from astarpo.prompts import PromptSettings
from astarpo.rewards.grading import GradingSettings
from astarpo.sampling import SamplingSettings
from astarpo.sampling.transformers_engine import TransformersSampler
from astarpo.training.job import make_engine
from astarpo.training.loop import Trainer
from astarpo.training.prompts import TrainingPrompt
from astarpo.training.settings import MachineSettings, TrainSettings
from astarpo.training.world import World

SETTINGS = TrainSettings(
    method="a_star_po", hyperparameters={"beta2": 1e-3}, steps=4, max_generated_tokens=None, prompts_per_batch=4,
    responses_per_prompt=1, updates_per_rollout=1, lr=1e-3, lr_schedule="linear", lr_warmup_steps=1,
    adam_betas=(0.9, 0.99), adam_eps=1e-8, weight_decay=0.01, max_grad_norm=1.0,
    entropy_coefficient=0.0, validate_every=2, lora=None, engine="torch", precision="float32", torch_threads=1,
    compile_model=False,    log_prob_chunk_tokens=2, sampling_engine="transformers", max_sampler_gap=1e-3,
    sampling=SamplingSettings(1.0, 1.0, 8), prompting=PromptSettings(False, None, 32),
    grading=GradingSettings("incorrect", 1.0, 20),
)  # fmt: skip
MACHINE = MachineSettings(
    "cpu",
    devices=1,
    nodes=1,
    micro_batch=2,
    sampling_batch=8,
    checkpoint_every=1,
    grading_workers=1,
    max_minutes=None,
    trackers=(),
)


def prompts(policy: Any, count: int = 8, verifier: str = "integer") -> list[TrainingPrompt]:
    """Prompts of different length with different values."""
    return [
        TrainingPrompt(
            f"p{i}",
            policy.tokenizer("1+" * (i % 3) + f"{i}\n")["input_ids"],
            "1",
            verifier,
            0.1 * i,
        )
        for i in range(count)
    ]


def trainer(
    folder: Path,
    seed: int = 0,
    machine: MachineSettings = MACHINE,
    verifier: str = "integer",
    **changes: Any,
) -> Trainer:
    """A trainer that starts from the model folder."""
    settings = replace(SETTINGS, **changes)
    engine, policy = make_engine(Path(folder), settings, machine, World(), seed)
    sampler = TransformersSampler(
        policy.model, policy.tokenizer, policy.end_token_ids, machine.sampling_batch
    )
    some = prompts(policy, verifier=verifier)
    return Trainer(engine, sampler, some, some[:2], settings, machine, seed)


def weights(made: Trainer) -> Any:
    """All weights as one vector."""
    import torch

    return torch.cat([p.detach().reshape(-1) for p in made.engine.policy.model.parameters()])
