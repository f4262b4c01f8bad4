"""Measure our side of the comparison with TRL: stage 1 as in its rules, stage 2 and GRPO as in a training.

Called by trl_speed.py, with a `Measurement` as JSON.
"""

from __future__ import annotations

import statistics
import time

from setting import GRADING, train_settings
from trl_cases import BETA2, CLIP, KL_COEFFICIENT, PHASES, SAMPLES, WARM_UP_PROMPTS, Measurement
from trl_terms import problems, run

from astarpo.common.machine import MachineSettings
from astarpo.model.loading import load_policy
from astarpo.model.policy import Policy
from astarpo.rewards.ahead import GradingAhead
from astarpo.rewards.grading import Grader
from astarpo.sampling import Sampler
from astarpo.sampling.settings import SamplingSettings
from astarpo.sampling.transformers_engine import TransformersSampler
from astarpo.training.engine import TorchEngine
from astarpo.training.loop import Trainer
from astarpo.training.prompts import TrainingPrompt
from astarpo.training.rollouts import draw_responses

HYPERPARAMETERS = {
    "a_star_po": {"beta2": BETA2},
    "grpo": {
        "clip": CLIP,
        "clip_high": CLIP,
        "kl_coefficient": KL_COEFFICIENT,
        "scale_by_std": True,
        "std_epsilon": 1e-6,
        "average": "sequences",
    },
}


def measure(asked: Measurement) -> dict[str, float]:
    """Load the model and make the measurement."""
    policy = load_policy(asked.case.model)
    prompts = [
        TrainingPrompt(
            row["prompt_id"],
            policy.tokenizer(row["prompt"], add_special_tokens=False)["input_ids"],
            row["gold"],
            row["verifier"],
            0.5,
        )
        for row in problems(asked)
    ]
    sampler = TransformersSampler(policy.model, policy.tokenizer, policy.end_token_ids, asked.case.sampling_batch)
    if asked.stage == "stage 1":
        return stage1(sampler, prompts, asked.case.tokens)
    return stage2(policy, sampler, prompts, asked)


def stage1(sampler: Sampler, prompts: list[TrainingPrompt], tokens: int) -> dict[str, float]:
    """Draw and grade the samples of all prompts, after those of a few to warm up."""
    sampling = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=tokens)
    with Grader(GRADING, 1) as grader:
        for some in (prompts[:WARM_UP_PROMPTS], prompts):
            started = time.perf_counter()
            with GradingAhead(grader) as grading:
                drawn = draw_responses(sampler, some, SAMPLES, sampling, grading, (0,))
                grading.grades()
        seconds = time.perf_counter() - started
    lengths = [len(completion.token_ids) for completion in drawn.completions]
    return {"stage 1": len(lengths) / seconds, "tokens of a response": statistics.fmean(lengths)}


def stage2(policy: Policy, sampler: Sampler, prompts: list[TrainingPrompt], asked: Measurement) -> dict[str, float]:
    """Make the steps of a training, without validation and checkpoints."""
    case, first = asked.case, asked.warm_up_steps
    settings = train_settings(
        case.method,
        HYPERPARAMETERS[case.method],
        case.prompts,
        case.responses,
        case.tokens,
        steps=first + case.steps,
        torch_threads=asked.threads,
        compile_model=asked.compiled,
    )
    machine = MachineSettings(
        device="cpu",
        devices=1,
        nodes=1,
        micro_batch=case.micro_batch,
        sampling_batch=case.sampling_batch,
        checkpoint_every=10**6,
        grading_workers=1,
        max_minutes=None,
        trackers=(),
        packing=True if asked.packed else "auto",
    )
    engine = TorchEngine(policy, load_policy(case.model), settings, case.micro_batch, packing=machine.packing)
    trainer = Trainer(engine, sampler, prompts, [], settings, machine, 0)
    times = [time.perf_counter()]
    with trainer.grader:
        for step in range(1, settings.steps + 1):
            trainer._step(step)
            times.append(time.perf_counter())
    rows = trainer.history.rows()[first:]
    means = {name: statistics.fmean(row[f"{name}_seconds"] or 0.0 for row in rows) for name in PHASES}
    lengths = [row["response_length"] or 0.0 for row in rows]
    return {
        "stage 2": (times[-1] - times[first]) / case.steps,
        "tokens of a response": statistics.fmean(lengths),
        **means,
    }


if __name__ == "__main__":
    run(measure)
