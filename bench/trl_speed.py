"""Measure stage 1 and stage 2 of A*-PO against TRL's A2POTrainer: responses per second, seconds per step, memory.

    .venv-trl/bin/python bench/trl_speed.py [--model FOLDER --dataset FILE --prompts 128 --tokens 48]

Same model folder, prompts, longest response, optimizer, threads and fp32 on both sides, which take turns, each in its
own process; the median of the rounds counts. TRL runs with each of --their-batches first, and then with the best.
The default needs the reference and the prompts of the embedded default: `snakemake --cores 2 reference data`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts")]

if TYPE_CHECKING:
    from trl.experimental.a2po import A2POConfig, A2POTrainer

    from astarpo.model.loading import Policy
    from astarpo.rewards.grading import Grader
    from astarpo.sampling import Sampler
    from astarpo.training.prompts import TrainingPrompt

SAMPLES, BETA1, BETA2 = 8, 0.5, 1e-3


class ProblemRow(TypedDict):
    """The columns of the data set that are used here."""

    prompt_id: str
    prompt: str
    gold: str
    verifier: str


UNITS = {
    "stage 1": "responses/s",
    "stage 2": "s a step",
    "peak memory, stage 1": "MiB",
    "peak memory, stage 2": "MiB",
}


def main() -> None:
    arguments = parse()
    if arguments.side:
        print(json.dumps(SIDES[arguments.side](arguments)))
        return
    batches = arguments.their_batches.split(",")
    trials = {batch: in_a_process("theirs", arguments, batch) for batch in batches}
    best = min(trials, key=lambda batch: trials[batch]["stage 2"])
    print(
        f"TRL's stage 2 by batch: { {b: round(trials[b]['stage 2'], 3) for b in batches} }",
        flush=True,
    )
    rounds: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
    for number in range(arguments.rounds):
        for side, measurements in rounds.items():
            measurements.append(in_a_process(side, arguments, best))
            print(f"round {number + 1}, {side}: {measurements[-1]}", flush=True)
    report(arguments, best, rounds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--name", default="tiny", help="of the model, in the report")
    parser.add_argument("--model", default="results/references/tiny/model", help="model folder")
    parser.add_argument("--dataset", default="results/datasets/sums.parquet", help="prompts")
    parser.add_argument("--prompts", type=int, default=128, help="prompts a step")
    parser.add_argument("--tokens", type=int, default=48, help="longest response")
    parser.add_argument("--steps", type=int, default=5, help="timed steps, after one that is not timed")
    parser.add_argument("--stage1-prompts", type=int, default=128, help="prompts of stage 1")
    parser.add_argument("--micro-batch", type=int, default=32, help="ours, in sequences")
    parser.add_argument("--sampling-batch", type=int, default=256, help="ours, in sequences")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="ours with compile_model: true; two more steps are not timed",
    )
    parser.add_argument("--their-batches", default="32,64,128", help="per_device_train_batch_size to try")
    parser.add_argument("--rounds", type=int, default=5, help="of both sides, in turns")
    parser.add_argument("--threads", type=int, default=1, help="of both sides")
    parser.add_argument("--side", choices=["ours", "theirs"], help="measure one side here")
    parser.add_argument("--their-batch", type=int, default=0, help="of this measurement")
    return parser.parse_args()


def in_a_process(side: str, arguments: argparse.Namespace, batch: str) -> dict[str, float]:
    """Measure one side, with a process for each stage so that their memory is measured separately."""
    options = [
        "--side",
        side,
        "--their-batch",
        batch,
        *(["--compile"] if arguments.compile else []),
    ]
    for name in (
        "model",
        "dataset",
        "prompts",
        "tokens",
        "steps",
        "micro_batch",
        "sampling_batch",
        "threads",
    ):
        options += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    numbers: dict[str, float] = {}
    for stage1 in (arguments.stage1_prompts, 0):
        command = [sys.executable, __file__, *options, "--stage1-prompts", str(stage1)]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(arguments.threads),
            "TRL_EXPERIMENTAL_SILENCE": "1",
        }
        ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if ran.returncode:
            sys.exit(ran.stdout + ran.stderr)
        numbers |= json.loads(ran.stdout.splitlines()[-1])
    return numbers


def report(arguments: argparse.Namespace, batch: str, rounds: dict[str, list[dict[str, float]]]) -> None:
    """Medians of the rounds, as a ratio that is above 1 where ours is better."""
    from report import Measured, record

    median = {
        side: {name: statistics.median(one[name] for one in measurements) for name in UNITS}
        for side, measurements in rounds.items()
    }
    size = f"{arguments.prompts} prompts, {arguments.tokens} tokens, TRL's batch {batch}"
    size += ", ours compiled" if arguments.compile else ""
    rows: list[Measured] = []
    for name, unit in UNITS.items():
        ours, theirs = median["ours"][name], median["theirs"][name]
        ratio = ours / theirs if unit == "responses/s" else theirs / ours
        rows.append(
            {
                "name": f"A*-PO, {arguments.name} ({size}): {name}",
                "ours": ours,
                "theirs": theirs,
                "ratio": ratio,
                "unit": unit,
                "command": "python bench/trl_speed.py " + " ".join(sys.argv[1:]),
            }
        )
    record(rows)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def problems(arguments: argparse.Namespace, count: int) -> list[ProblemRow]:
    from astarpo.common.columns import DATASET
    from astarpo.common.files import read_table

    rows: list[ProblemRow] = read_table(arguments.dataset, DATASET).to_pylist()
    return rows[:count]


def measure_ours(arguments: argparse.Namespace) -> dict[str, float]:
    """Measure stage 1 as in the sampling and grading rules, or stage 2 as in training."""
    import torch

    from astarpo.model.loading import load_policy
    from astarpo.sampling.transformers_engine import TransformersSampler
    from astarpo.training.prompts import TrainingPrompt

    torch.set_num_threads(arguments.threads)
    policy = load_policy(arguments.model)
    sampler = TransformersSampler(policy.model, policy.tokenizer, policy.end_token_ids, arguments.sampling_batch)
    needed = arguments.stage1_prompts or arguments.prompts * (arguments.steps + warm_up_steps(arguments))
    prompts = [
        TrainingPrompt(
            row["prompt_id"], policy.tokenizer(row["prompt"])["input_ids"], row["gold"], row["verifier"], 0.5
        )
        for row in problems(arguments, needed)
    ]
    if arguments.stage1_prompts:
        return our_stage1(sampler, prompts, arguments.tokens)
    return our_stage2(policy, sampler, prompts, arguments)


def warm_up_steps(arguments: argparse.Namespace) -> int:
    """Number of untimed steps: compilation happens in the first ones."""
    return 3 if arguments.compile else 1


def our_stage1(sampler: Sampler, prompts: list[TrainingPrompt], tokens: int) -> dict[str, float]:
    from setting import GRADING

    from astarpo.rewards.grading import Grader
    from astarpo.sampling.settings import SamplingSettings
    from astarpo.training.phases import PhaseClock
    from astarpo.training.rollouts import draw_responses

    sampling = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=tokens)
    with Grader(GRADING, 1) as grader:
        draw_responses(sampler, prompts[:8], 1, sampling, grader, (1,), PhaseClock())  # to warm up
        started = time.perf_counter()
        draw_responses(sampler, prompts, SAMPLES, sampling, grader, (0,), PhaseClock())
        seconds = time.perf_counter() - started
    return {"stage 1": len(prompts) * SAMPLES / seconds, "peak memory, stage 1": peak_mib()}


def our_stage2(
    policy: Policy, sampler: Sampler, prompts: list[TrainingPrompt], arguments: argparse.Namespace
) -> dict[str, float]:
    from setting import train_settings

    from astarpo.common.machine import MachineSettings
    from astarpo.model.loading import load_policy
    from astarpo.training.engine import TorchEngine
    from astarpo.training.loop import Trainer

    settings = train_settings(
        "a_star_po",
        {"beta2": BETA2},
        arguments.prompts,
        1,
        arguments.tokens,
        steps=arguments.steps + warm_up_steps(arguments),
        torch_threads=arguments.threads,
        compile_model=arguments.compile,
    )
    machine = MachineSettings(
        device="cpu",
        devices=1,
        nodes=1,
        micro_batch=arguments.micro_batch,
        sampling_batch=arguments.sampling_batch,
        checkpoint_every=10**6,
        grading_workers=1,
        max_minutes=None,
        trackers=(),
    )
    engine = TorchEngine(policy, load_policy(arguments.model), settings, arguments.micro_batch)
    trainer = Trainer(engine, sampler, prompts, [], settings, machine, 0)
    times = [time.perf_counter()]
    with trainer.grader:
        for step in range(1, settings.steps + 1):
            trainer._step(step)
            times.append(time.perf_counter())
    seconds = (times[-1] - times[warm_up_steps(arguments)]) / arguments.steps
    return {"stage 2": seconds, "peak memory, stage 2": peak_mib()}


def measure_theirs(arguments: argparse.Namespace) -> dict[str, float]:
    """Measure A2POTrainer's own methods, with the same verifier as the reward."""
    import torch
    from setting import GRADING

    from astarpo.rewards.grading import Grader

    torch.set_num_threads(arguments.threads)
    rows = problems(arguments, arguments.stage1_prompts or arguments.prompts * (arguments.steps + 1))
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder, Grader(GRADING, 1) as grader:
        trainer = their_trainer(arguments, rows, grader, times, folder)
        if arguments.stage1_prompts:
            started = time.perf_counter()
            trainer._estimate_optimal_values()
            seconds = time.perf_counter() - started
            return {"stage 1": len(rows) * SAMPLES / seconds, "peak memory, stage 1": peak_mib()}
        trainer._optimal_values = {row["prompt"]: 0.5 for row in rows}
        trainer.train()
    seconds = (times[-1] - times[0]) / arguments.steps
    return {"stage 2": seconds, "peak memory, stage 2": peak_mib()}


def their_trainer(
    arguments: argparse.Namespace, rows: list[ProblemRow], grader: Grader, times: list[float], folder: str
) -> A2POTrainer:
    """Make TRL's trainer, which appends the time of each step's end to ``times``."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl.experimental.a2po import A2POTrainer

    class Clock(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            times.append(time.perf_counter())

    return A2POTrainer(
        model=AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32, trust_remote_code=False),
        reward_funcs=their_reward(grader),
        args=their_config(arguments, folder),
        train_dataset=Dataset.from_list([{name: row[name] for name in ("prompt", "gold", "verifier")} for row in rows]),
        processing_class=AutoTokenizer.from_pretrained(arguments.model, padding_side="left", trust_remote_code=False),
        callbacks=[Clock()],
    )


def their_reward(grader: Grader) -> Callable[..., list[float]]:
    """The verifier as a reward function of TRL's trainer."""
    from astarpo.rewards.grading import Question
    from astarpo.rewards.verifiers import Response

    def reward(
        prompts: list[str], completions: list[str], gold: list[str], verifier: list[str], **_: object
    ) -> list[float]:
        items = [
            Question(name, answer, Response(text, [], "stop"))
            for name, answer, text in zip(verifier, gold, completions, strict=True)
        ]
        return [graded.reward or 0.0 for graded in grader.grade(items)]

    return reward


def their_config(arguments: argparse.Namespace, folder: str) -> A2POConfig:
    """Settings of TRL's trainer, as ours where both have them."""
    from setting import LR
    from trl.experimental.a2po import A2POConfig

    return A2POConfig(
        folder,
        per_device_train_batch_size=arguments.their_batch,
        gradient_accumulation_steps=arguments.prompts // arguments.their_batch,
        max_steps=arguments.steps + 1,
        learning_rate=LR,
        lr_scheduler_type="constant",
        warmup_steps=0,
        max_grad_norm=1.0,
        weight_decay=0.0,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        gradient_checkpointing=False,
        num_value_samples=SAMPLES,
        beta1=BETA1,
        beta2=BETA2,
        max_completion_length=arguments.tokens,
        max_prompt_length=1024,
        temperature=1.0,
        filter_all_incorrect=False,
    )


SIDES = {"ours": measure_ours, "theirs": measure_theirs}

if __name__ == "__main__":
    main()
