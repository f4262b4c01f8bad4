"""The cases of the comparison with TRL: what is trained, with which sizes, and what is to be reached."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace
from typing import Literal, Self

INPUTS = "results/bench/trl/results"  # of bench/trl.yaml, see the docstring of trl_speed.py
SAMPLES, BETA1, BETA2 = 8, 0.5, 1e-3  # A*-PO
CLIP, KL_COEFFICIENT = 0.2, 1e-3  # GRPO
PHASES = ("generate", "reference", "update")  # of a step of ours
WARM_UP_PROMPTS = 2  # of stage 1, not timed

Stage = Literal["stage 1", "stage 2"]
UNITS = {
    "stage 1": "responses/s",
    "stage 2": "s a step",
    "peak memory, stage 1": "MiB",
    "peak memory, stage 2": "MiB",
}


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        model, dataset: model folder, and parquet file of prompts.
        method: ``a_star_po``, or ``grpo``, which has no stage 1.
        prompts, responses: in a batch of stage 2, and to each prompt.
        tokens: longest response.
        steps: that are timed, after those that warm up.
        stage1_prompts: of A*-PO's stage 1, with `SAMPLES` responses each.
        micro_batch, sampling_batch: ours, in sequences.
        their_batches: TRL's per_device_train_batch_size to choose from, in sequences.
        target_stage1: how many times as fast as TRL stage 1 is to be.
    """

    model: str
    dataset: str
    method: Literal["a_star_po", "grpo"]
    prompts: int
    responses: int
    tokens: int
    steps: int
    stage1_prompts: int
    micro_batch: int
    sampling_batch: int
    their_batches: tuple[int, ...]
    target_stage1: float = 3.0

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that are measured, each in a process of its own."""
        return ("stage 1", "stage 2") if self.method == "a_star_po" else ("stage 2",)

    def target(self, quantity: str, compiled: bool) -> float:
        """How many times better than TRL's a quantity of `UNITS` is to be."""
        if quantity == "stage 1":
            return self.target_stage1
        if quantity == "stage 2":
            return 2.0 if compiled else 1.6
        return 1.0

    def changed(self, **sizes: object) -> Self:
        """Return the case with other values where they are not None."""
        return replace(self, **{name: size for name, size in sizes.items() if size is not None})


@dataclass(frozen=True)
class Measurement:
    """What one process measures.

    Attributes:
        case: the comparison.
        stage: of the case.
        threads: of torch, and cores that the process and its grading worker may use.
        compiled: whether ours compiles its passes.
        their_batch: of `Case.their_batches`.
        packed: whether ours lays rows end to end.
    """

    case: Case
    stage: Stage
    threads: int
    compiled: bool
    their_batch: int
    packed: bool = False

    @property
    def warm_up_steps(self) -> int:
        """Steps that are not timed: compilation happens in the first ones."""
        return 3 if self.compiled else 1

    @property
    def needed_prompts(self) -> int:
        """Prompts to read from the data set, so that no timed step repeats one."""
        if self.stage == "stage 1":
            return self.case.stage1_prompts
        return self.case.prompts * (self.case.steps + self.warm_up_steps)

    def to_json(self) -> str:
        """Write the measurement for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        case = values["case"]
        return cls(**{**values, "case": Case(**{**case, "their_batches": tuple(case["their_batches"])})})


_TINY = Case(
    model=f"{INPUTS}/references/tiny/model",
    dataset=f"{INPUTS}/datasets/sums.parquet",
    method="a_star_po",
    prompts=128,
    responses=1,
    tokens=48,
    steps=5,
    stage1_prompts=128,
    micro_batch=32,
    sampling_batch=256,
    their_batches=(32, 64, 128),
    target_stage1=2.0,
)
_SMOLLM2 = Case(
    model=f"{INPUTS}/references/smollm2/model",
    dataset=f"{INPUTS}/datasets/stories.parquet",
    method="a_star_po",
    prompts=16,
    responses=1,
    tokens=96,
    steps=1,
    stage1_prompts=8,
    micro_batch=4,
    sampling_batch=64,
    their_batches=(4, 8, 16),
)
CASES = {
    "tiny": _TINY,
    "smollm2": _SMOLLM2,
    "few-shot": replace(
        _SMOLLM2,
        model=f"{INPUTS}/references/smollm2-few-shot/model",
        dataset=f"{INPUTS}/datasets/few-shot.parquet",
        prompts=32,
        tokens=6,
        steps=3,
        stage1_prompts=32,
        micro_batch=64,
        sampling_batch=128,
        their_batches=(8, 16, 32),
    ),
    "grpo": replace(_TINY, method="grpo", prompts=16, responses=SAMPLES),
    "grpo-smollm2": replace(_SMOLLM2, method="grpo", prompts=2, responses=SAMPLES),
}
SIZES = ("model", "dataset", "prompts", "tokens", "steps", "stage1_prompts", "micro_batch", "sampling_batch")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose and change cases, see `chosen`."""
    parser.add_argument("--case", nargs="+", choices=CASES, default=["tiny"], help="what to measure")
    parser.add_argument("--threads", type=int, default=1, help="of each process, which gets as many cores")
    parser.add_argument("--compile", action="store_true", help="ours with compile_model: true")
    parser.add_argument("--packing", action="store_true", help="ours with machine.packing: true")
    parser.add_argument("--their-batches", nargs="+", type=int, help="per_device_train_batch_size to try")
    for size in SIZES:
        kind = str if size in ("model", "dataset") else int
        parser.add_argument(f"--{size.replace('_', '-')}", type=kind, help="in place of the case's; see trl_cases.py")


def chosen(arguments: argparse.Namespace) -> dict[str, Case]:
    """Return the cases by name that the options of `add_options` describe."""
    sizes = {size: getattr(arguments, size) for size in SIZES}
    batches = tuple(arguments.their_batches) if arguments.their_batches else None
    return {name: CASES[name].changed(**sizes, their_batches=batches) for name in arguments.case}
