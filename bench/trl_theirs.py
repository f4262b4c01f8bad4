"""Measure TRL's side: methods of A2POTrainer and GRPOTrainer, with our verifier as their reward.

Called by trl_speed.py, with a `Measurement` as JSON.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from setting import GRADING, LR
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.experimental.a2po import A2POConfig, A2POTrainer
from trl_cases import BETA1, BETA2, CLIP, KL_COEFFICIENT, SAMPLES, WARM_UP_PROMPTS, Measurement
from trl_terms import ProblemRow, problems, run

from astarpo.common.errors import InputError
from astarpo.model.loading import load_policy_without_weights
from astarpo.rewards.grading import Grader
from astarpo.rewards.verifiers import Response
from astarpo.rewards.worker import Question


class Reward:
    """The verifier as a reward function of TRL's trainers; it keeps the texts to count their tokens afterwards."""

    __name__ = "verifier"

    def __init__(self, grader: Grader) -> None:
        self.grader = grader
        self.texts: list[str] = []

    def __call__(
        self, prompts: list[str], completions: list[str], gold: list[str], verifier: list[str], **_: object
    ) -> list[float]:
        """Grade completions: 1.0 or 0.0."""
        self.texts += completions
        items = [
            Question(name, answer, Response(text, [], "stop"))
            for name, answer, text in zip(verifier, gold, completions, strict=True)
        ]
        return [graded.reward or 0.0 for graded in self.grader.grade(items)]


class Clock(TrainerCallback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())


def measure(asked: Measurement) -> dict[str, float]:
    """Make the trainer and the measurement."""
    rows, clock = problems(asked), Clock()
    with tempfile.TemporaryDirectory() as folder, Grader(GRADING, 1) as grader:
        reward = Reward(grader)
        trainer = make_trainer(asked, rows, reward, clock, folder)
        if asked.stage == "stage 1":
            numbers = stage1(trainer, reward)
        else:
            trainer._optimal_values = {row["prompt"]: 0.5 for row in rows}
            trainer.train()
            first = asked.warm_up_steps
            numbers = {"stage 2": (clock.times[-1] - clock.times[first - 1]) / asked.case.steps}
    lengths = [len(trainer.processing_class(text)["input_ids"]) for text in reward.texts]
    return {**numbers, "tokens of a response": statistics.fmean(lengths)}


def stage1(trainer: Any, reward: Reward) -> dict[str, float]:
    """Estimate V* of all prompts, after that of a few to warm up."""
    whole = trainer.train_dataset
    trainer.train_dataset = whole.select(range(min(WARM_UP_PROMPTS, len(whole))))
    trainer._estimate_optimal_values()
    trainer.train_dataset = whole
    reward.texts.clear()
    started = time.perf_counter()
    trainer._estimate_optimal_values()
    return {"stage 1": len(whole) * SAMPLES / (time.perf_counter() - started)}


def make_trainer(asked: Measurement, rows: list[ProblemRow], reward: Reward, clock: Clock, folder: str) -> Any:
    """Make TRL's trainer of the method.

    Raises:
        InputError: it would end responses at other tokens than ours.
    """
    make: type[Any] = GRPOTrainer if asked.case.method == "grpo" else A2POTrainer
    trainer = make(
        model=AutoModelForCausalLM.from_pretrained(asked.case.model, dtype=torch.float32, trust_remote_code=False),
        reward_funcs=reward,
        args=config(asked, folder),
        train_dataset=Dataset.from_list([{name: row[name] for name in ("prompt", "gold", "verifier")} for row in rows]),
        processing_class=AutoTokenizer.from_pretrained(asked.case.model, padding_side="left", trust_remote_code=False),
        callbacks=[clock],
    )
    ours = load_policy_without_weights(asked.case.model).end_token_ids
    if set(trainer.eos_token_ids) != set(ours):
        raise InputError(f"TRL's trainer ends responses at {trainer.eos_token_ids}, ours at {ours}: not the same terms")
    return trainer


def config(asked: Measurement, folder: str) -> A2POConfig | GRPOConfig:
    """Settings of TRL's trainer, as ours where both have them.

    ``top_k=0`` keeps all tokens; A2POConfig's default of None leaves transformers' default of 50.
    """
    case = asked.case
    common: dict[str, Any] = {
        "output_dir": folder,
        "per_device_train_batch_size": asked.their_batch,
        "gradient_accumulation_steps": case.prompts * case.responses // asked.their_batch,
        "max_steps": asked.warm_up_steps + case.steps,
        "learning_rate": LR,
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "max_grad_norm": 1.0,
        "weight_decay": 0.0,
        "use_cpu": True,
        "bf16": False,
        "report_to": [],
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "max_completion_length": case.tokens,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
    }
    if case.method == "a_star_po":
        own = {"num_value_samples": SAMPLES, "beta1": BETA1, "beta2": BETA2, "max_prompt_length": 1024}
        return A2POConfig(**common, **own, filter_all_incorrect=False)
    own = {"num_generations": case.responses, "epsilon": CLIP, "beta": KL_COEFFICIENT, "loss_type": "grpo"}
    return GRPOConfig(**common, **own, scale_rewards="group", use_bias_correction_kl=False)


if __name__ == "__main__":
    run(measure)
