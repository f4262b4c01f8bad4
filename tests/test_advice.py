"""What the doctor advises helps: it is applied as it is written, and the doctor looks again."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from astarpo.config import load_config
from astarpo.config.files import merged
from astarpo.config.runs import Config
from astarpo.planning.cards import Machine, named_machine
from astarpo.planning.plan import plan
from astarpo.planning.training_jobs import training_jobs

RECIPES = Path(__file__).resolve().parents[1] / "config/recipes"
IN_RUN, IN_MACHINE = r"\w+: (?:\{[^}]*\}|\w+)(?= in the run)", r"machine: \{[^}]*\}"
ADVICE = re.compile(rf"(?:({IN_RUN}) in the run(?: and )?)?({IN_MACHINE})?")
WRITTEN = re.compile(rf"{IN_RUN} in the run(?: and {IN_MACHINE})?|{IN_MACHINE}|max_new_tokens of at most [\d,]+")
MODEL_32B = {"references": {"qwen2-5-7b": {"source": {"kind": "hub", "id": "Qwen/Qwen2.5-32B"}}}}


def raw(recipe: str, **sections: Any) -> dict[str, Any]:
    """A recipe with changes, merged into it key by key."""
    config = merged([str(RECIPES / f"{recipe}.yaml")])
    update_config(config, sections)
    return config


def applied(config: dict[str, Any], advice: str) -> Config:
    """A configuration with an advice, as a reader would write it."""
    if not advice.startswith("max_new_tokens"):
        of_run, of_machine = ADVICE.fullmatch(advice).groups()  # type: ignore[union-attr]
        config = copy.deepcopy(config)
        update_config(config, yaml.safe_load(of_machine or "{}"))
        for name in [name for name in config["runs"] if not name.startswith("_")]:
            update_config(config["runs"][name], yaml.safe_load(of_run or "{}"))
        return load_config(config)
    changed = load_config(config)
    tokens = int(advice.rpartition(" ")[2].replace(",", ""))
    return changed.changed(
        datasets={
            name: one if one.sampling is None else one.changed(sampling=one.sampling.changed(max_new_tokens=tokens))
            for name, one in changed.datasets.items()
        },
        benchmarks={
            name: one.changed(
                protocols={
                    key: protocol.changed(max_new_tokens=min(tokens, protocol.max_new_tokens))
                    for key, protocol in one.protocols.items()
                }
            )
            for name, one in changed.benchmarks.items()
        },
    )


CASES = {
    "too few cards": (raw("math_qwen2.5_7b"), "4xH100", ["machine: {devices: 4}"]),
    "a single card, which needs more than that": (
        raw("math_qwen2.5_7b"),
        "H100",
        ["machine: {devices: 1, zero_stage: 2, offload_optimizer: true}"],
    ),
    "fewer and smaller cards": (
        raw("math_qwen2.5_7b"),
        "4xA100-40",
        [
            "machine: {devices: 4, sampler_memory_share: 0.36, activation_checkpointing: true, micro_batch: 1, "
            "zero_stage: 3, offload_optimizer: true, offload_parameters: true}"
        ],
    ),
    "more cards for vLLM than there are, by a number that does not divide": (
        raw("math_qwen2.5_7b", machine={"sampler_tensor_parallel": 4, "devices": 3}),
        "3xH200",
        ["machine: {sampler_tensor_parallel: 2}", "machine: {sampler_tensor_parallel: 2}"],
    ),
    "a smaller share, but not one that is too small": (
        raw("math_qwen2.5_7b", machine={"devices": 3}),
        "3xH100",
        [
            "machine: {sampler_memory_share: 0.2}",
            "machine: {zero_stage: 3}",
        ],
    ),
    "a share that is too small": (
        raw("long_context_r1_distill_1.5b", machine={"sampler_memory_share": 0.045}),
        "H100",
        ["machine: {sampler_memory_share: 0.05}", "max_new_tokens of at most 9,238"],
    ),
    "a share that does not even hold the weights": (
        raw("math_qwen2.5_3b", machine={"sampler_memory_share": 0.05}),
        "H100",
        ["machine: {sampler_memory_share: 0.08}"],
    ),
    "a smaller card": (
        raw("math_qwen2.5_1.5b"),
        "A100-40",
        [
            "engine: deepspeed in the run and machine: {zero_stage: 2, offload_optimizer: true}",
            "lora: {rank: 16} in the run",
        ],
    ),
    "a card of 24 GB": (
        raw("math_qwen2.5_1.5b"),
        "RTX4090",
        [
            "engine: deepspeed in the run and machine: {activation_checkpointing: true, micro_batch: 1, "
            "zero_stage: 3, offload_optimizer: true, offload_parameters: true}",
            "lora: {rank: 16} in the run and machine: {activation_checkpointing: true}",
        ],
    ),
    "a card of 24 GB, of which vLLM needs a larger share as well": (
        raw("math_qwen2.5_3b"),
        "RTX4090",
        [
            "engine: deepspeed in the run and machine: {sampler_memory_share: 0.25, zero_stage: 2, "
            "offload_optimizer: true}",
            "lora: {rank: 16} in the run and machine: {sampler_memory_share: 0.25}",
            "engine: deepspeed in the run and machine: {sampler_memory_share: 0.25, zero_stage: 2, "
            "offload_optimizer: true}",
        ],
    ),
    "no second card for a process that draws": (
        raw("math_qwen2.5_1.5b", runs={"math-qwen2-5-1-5b": {"pipeline": {}}}),
        "H100",
        ["pipeline: null in the run"],
    ),
    "the mildest of each kind, and no change of the run beside them": (
        raw("math_qwen2.5_1.5b"),
        "L40S",
        [
            "machine: {activation_checkpointing: true}",
            "machine: {micro_batch: 2}",
            "machine: {micro_batch_tokens: 4096}",
        ],
    ),
    "activations": (raw("math_qwen2.5_3b", machine={"activation_checkpointing": False}), "H100", None),
    "a larger model: memory and share together": (
        raw("math_qwen2.5_7b", **MODEL_32B),
        "8xH100",
        [
            "machine: {sampler_memory_share: 0.78, activation_checkpointing: true, micro_batch: 1, zero_stage: 3, "
            "offload_optimizer: true, offload_parameters: true}"
        ]
        * 2,
    ),
}


@pytest.mark.parametrize(("config", "machine", "expected"), CASES.values(), ids=CASES)
def test_each_advice_helps(config: dict[str, Any], machine: str, expected: list[str] | None) -> None:
    on = named_machine(machine)
    before = plan(load_config(config), on).problems
    advice = [one for problem in before for one in WRITTEN.findall(problem)]
    assert advice and (expected is None or advice == expected)
    for problem in before:
        title = problem.partition(":")[0]
        for one in WRITTEN.findall(problem):
            after = plan(applied(config, one), on).problems
            assert not [other for other in after if other.startswith(title)], one
            assert len(after) < len(before), one


def test_where_nothing_helps_nothing_is_advised() -> None:
    config = load_config(raw("math_qwen2.5_7b", **MODEL_32B))
    problems = plan(config, named_machine("8xRTX3090")).problems
    (training,) = (one for one in problems if one.startswith("training") and "vLLM's share" in one)
    assert training.endswith("use a card with more memory, or a smaller model")


def test_what_would_not_fit_into_the_ram_is_not_advised() -> None:
    config = load_config(raw("math_qwen2.5_7b"))
    card = named_machine("H100").card
    (problem, *_) = plan(config, Machine("a node", 1, card, ram_bytes=60e9)).problems
    assert problem == (
        "training of math-qwen2-5-7b: needs 8 cards, a node has 1: use a machine with more cards, or a smaller model"
    )


def two_trainings(share: float) -> dict[str, Any]:
    """A training whose responses vLLM's share is too small for, and one of shorter responses that takes more memory."""
    config = raw("long_context_r1_distill_1.5b", machine={"sampler_memory_share": share, "sampler_sleep_level": 0})
    short = copy.deepcopy(config["datasets"]["openr1-math"])
    short["sampling"]["max_new_tokens"] = 1024
    config["datasets"]["short"] = short
    run = config["runs"]["long-context-r1-distill-1-5b"]
    shared = {name: setting for name, setting in run.items() if name not in ("beta2", "value")}
    ppo = {"clip": 0.2, "kl_coefficient": 1e-3, "critic_lr": 1e-5, "value_clip": 0.5, "gamma": 1.0, "gae_lambda": 1.0}
    config["runs"]["larger"] = {**shared, **ppo, "method": "ppo", "dataset": "short"}
    return config


def peak(config: dict[str, Any], run: str) -> float:
    """Bytes that a training takes."""
    (job,) = (one for one in training_jobs(load_config(config), named_machine("H100").card) if one.name == run)
    assert job.estimate is not None
    return job.estimate.peak.total


def problems_of_trainings(config: dict[str, Any], free_bytes: float) -> list[str]:
    """The doctor's, on a card of which that much is free."""
    whole = named_machine("H100")
    on = Machine("it", 1, whole.card, used_bytes=((whole.free_bytes(1) or 0) - free_bytes,))
    return [one for one in plan(load_config(config), on).problems if one.startswith("training")]


def test_what_helps_one_job_must_not_harm_another() -> None:
    """A share of 0.05 is enough for the one, but would leave too little for the other."""
    free = (peak(two_trainings(0.045), "larger") + peak(two_trainings(0.05), "larger")) / 2
    (roomy,) = problems_of_trainings(two_trainings(0.045), free + 1e9)
    assert ": machine: {sampler_memory_share: 0.05}, or" in roomy
    (tight,) = problems_of_trainings(two_trainings(0.045), free)
    assert ": machine: {sampler_memory_share: 0.05, micro_batch: 4}, or" in tight
    harmed = problems_of_trainings(two_trainings(0.05), free)
    assert [one.partition(":")[0] for one in harmed] == ["training of larger"]
    advised = two_trainings(0.05)
    advised["machine"]["micro_batch"] = 4
    assert problems_of_trainings(advised, free) == []
