"""The settings of training in the benchmarks: the paper's optimizer, one update, no early stop."""

from __future__ import annotations

from collections.abc import Mapping

from astarpo.data.settings import PromptSettings
from astarpo.rewards.settings import GradingSettings
from astarpo.sampling.settings import SamplingSettings
from astarpo.training.settings import TrainSettings

LR = 1e-6
GRADING = GradingSettings(truncated="incorrect", max_null_rate=1.0, min_nulls=10**9)


def train_settings(
    method: str,
    hyperparameters: Mapping[str, object],
    prompts: int,
    responses: int,
    tokens: int,
    **changes: object,
) -> TrainSettings:
    """Make the settings of a training.

    Args:
        method, hyperparameters: as in `objectives.METHODS`.
        prompts, responses: prompts in a batch, and responses to each.
        tokens: longest response.
        changes: any other settings.
    """
    usual: dict[str, object] = {
        "steps": 10,
        "max_generated_tokens": None,
        "updates_per_rollout": 1,
        "lr": LR,
        "lr_schedule": "constant",
        "lr_warmup_steps": 0,
        "adam_betas": (0.9, 0.999),
        "adam_eps": 1e-8,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "entropy_coefficient": 0.0,
        "validate_every": 10**6,
        "lora": None,
        "engine": "torch",
        "precision": "float32",
        "torch_threads": 1,
        "compile_model": False,
        "log_prob_chunk_tokens": 512,
        "sampling_engine": "transformers",
        "max_sampler_gap": None,
    }
    return TrainSettings(
        method=method,
        hyperparameters=dict(hyperparameters),
        prompts_per_batch=prompts,
        responses_per_prompt=responses,
        sampling=SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=tokens),
        prompting=PromptSettings(chat_template=False, system_prompt=None, max_prompt_tokens=1024),
        grading=GRADING,
        **{**usual, **changes},
    )
