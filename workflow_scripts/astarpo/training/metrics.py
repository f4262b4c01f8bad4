"""The records of a step: deterministic metrics and timings, in separate tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from astarpo.training.sampler_gap import GAPS

STATUSES = ("correct", "incorrect", "no_answer", "timeout", "error")
SCALES = ("value_scale", "surprisal_ratio")  # see `training.value_scale`
METRICS = pa.schema(
    [("step", pa.int64())]
    + [
        (name, pa.float64())
        for name in (
            "reward",
            "loss",
            "kl_per_token",
            "kl_per_sequence",
            "log_ratio_per_token",
            "log_ratio",
            "log_ratio_std",
            "response_length",
            "truncated_share",
            "null_share",
            "entropy",
            "grad_norm",
            "clip_fraction",
            "lr",
        )
    ]
    + [(name, pa.int64()) for name in ("generated_tokens", "trained_tokens", *STATUSES)]
    + [(name, pa.float64()) for name in ("advantage", "implicit_advantage", *SCALES, "validation_reward", *GAPS)]
)
# ``clip_fraction`` is the share of updates whose gradient norm exceeded max_grad_norm; PPO and GRPO have an
# additional column for clipped ratios, ``ratio_clip_fraction``.
#
# Passes without gradient that the method needs before its updates count as ``reference``, whether of the reference,
# the policy (old log-probabilities), the lagged policy or the critic; training the critic counts as ``update``.
# Responses are graded while others are drawn and during those passes; ``grade`` is what remains to wait for after them.
# ``metrics`` is the reference's pass if only the metrics need it. Like ``validate``, it is not included in ``step``.
# ``wall_seconds`` are those from the end of the step before to the end of this one, without validation.
#
# ``mfu`` (model FLOPs utilisation, PaLM, arXiv 2204.02311, appendix B) is the share of ``peak_flops`` times devices;
# `training.speed` says what counts as work. ``idle_share`` is the part of ``wall_seconds`` in which no pass and no
# drawing runs. Memory is the highest of all processes: ``peak`` so far, of the RAM on a CPU; the others in the step.
PHASES = ("generate", "grade", "reference", "update")
COMPUTING = ("generate", "reference", "update")  # phases with a rate of their own
RATES = (
    *(f"{phase}_tokens_per_second" for phase in COMPUTING),
    "tokens_per_second",
    *(f"{phase}_mfu" for phase in COMPUTING),
    "mfu",
    "peak_flops",
    "idle_share",
)
TIMINGS = pa.schema(
    [("step", pa.int64())]
    + [(f"{phase}_seconds", pa.float64()) for phase in (*PHASES, "validate", "metrics", "step", "wall")]
    + [(name, pa.float64()) for name in RATES]
    + [(name, pa.int64()) for name in ("read_tokens", "padded_tokens")]
    + [(name, pa.int64()) for name in ("peak_memory_bytes", "allocated_bytes", "reserved_bytes")]
)


class Graded(Protocol):
    """The part of `rewards.grading.Grade` used here; figures and tables import this module without the grader."""

    @property
    def reward(self) -> float | None:
        """1, 0, or null."""
        ...

    @property
    def status(self) -> str:
        """One of `STATUSES`."""
        ...


class Sampled(Protocol):
    """The part of `sampling.Completion` used here."""

    @property
    def token_ids(self) -> list[int]:
        """Of the response."""
        ...

    @property
    def finish_reason(self) -> str:
        """``length`` if the response was truncated."""
        ...


def metrics_schema(method_metrics: Iterable[str]) -> pa.Schema:
    """Return the columns of a run's metrics: the common ones, then the method's."""
    return pa.schema([*METRICS, *((name, pa.float64()) for name in method_metrics)])


def step_metrics(
    grades: Sequence[Graded],
    completions: Sequence[Sampled],
    updates: Sequence[dict[str, float]],
    method_metrics: Mapping[str, str] | None = None,
) -> dict[str, float | None]:
    """Compute a step's metrics from its sums.

    ``kl_per_sequence`` is the mean over responses of sum_t k3_t with k3 = pi_ref/pi - 1 - ln(pi_ref/pi), an estimate
    of KL(pi || pi_ref) that is unbiased and never negative (Schulman, "Approximating KL divergence");
    ``kl_per_token`` is the mean over responses of that sum divided by the length. ``log_ratio`` and
    ``log_ratio_per_token`` are the same with ln(pi/pi_ref): also unbiased, but noisier, and sometimes negative.
    All four are biased if the responses are older than the policy (a second update on a rollout, a lagged policy).

    Args:
        grades: of all responses of the rollout; ``reward`` ignores null grades.
        completions: the responses, in the same order.
        updates: results of `TorchEngine.update`, one per optimizer step.
        method_metrics: the method's additional sums -> their units: ``sequences`` or ``tokens``.

    Returns:
        A row of `METRICS` and of the method's additional columns, without ``step`` and ``validation_reward``.
    """
    known = [graded.reward for graded in grades if graded.reward is not None]
    sums = {name: sum(update.get(name, 0.0) for update in updates) for name in set().union(*updates)}
    n, n_updates = sums["sequences"], len(updates)
    log_ratio = sums["log_ratio"] / n
    lengths = [len(completion.token_ids) for completion in completions]
    return {
        "reward": sum(known) / len(known),
        "loss": sums["loss"] / n_updates,
        "kl_per_token": sums["kl_per_token"] / n,
        "kl_per_sequence": sums["kl"] / n,
        "log_ratio_per_token": sums["log_ratio_per_token"] / n,
        "log_ratio": log_ratio,
        "log_ratio_std": max(sums["log_ratio_squared"] / n - log_ratio**2, 0.0) ** 0.5,
        "response_length": sum(lengths) / len(lengths),
        "truncated_share": sum(c.finish_reason == "length" for c in completions) / len(completions),
        "null_share": 1.0 - len(known) / len(grades),
        "entropy": sums["entropy"] / sums["tokens"],
        "grad_norm": sums["grad_norm"] / n_updates,
        "clip_fraction": sums["clipped"] / n_updates,
        "lr": updates[-1]["lr"],
        "generated_tokens": sum(lengths),
        "trained_tokens": int(sums["tokens"]),
        **{status: sum(graded.status == status for graded in grades) for status in STATUSES},
        **{name: updates[0][name] for name in GAPS if name in updates[0]},
        "advantage": sums["advantage"] / n if "advantage" in sums else None,
        "implicit_advantage": sums["implicit_advantage"] / n if "implicit_advantage" in sums else None,
        **{name: sums[name] / sums[unit] for name, unit in (method_metrics or {}).items()},
    }


def peak_memory_bytes() -> int:
    """Return the peak memory so far: of the GPU if torch uses one, else the resident memory of this process."""
    import resource
    import sys

    import torch

    if torch.cuda.is_initialized():  # a GPU may be present but unused
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def shown(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Pick the metrics of a step for the progress line."""
    names = {"reward": "reward", "kl": "kl_per_sequence"}
    return {label: value for label, name in names.items() if (value := metrics[name]) is not None}
