"""What `bench/smoke_gpu.py` looks for in the files that the workflow has written."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts")]

# Of responses that end before the limit: the model has seen hundreds of solutions, all of which end.
LEAST_ENDED = 0.8
# Of greedy answers that two engines give alike. Rounding makes some differ; with other weights nearly all would.
LEAST_ALIKE = 0.5
# A vLLM with old weights would have a gap of about the policy's movement, which must be well above rounding.
MOVED_ABOVE_GAP = 3.0
# Nats per token between vLLM and torch: the default of `max_sampler_gap`.
LARGEST_GAP = 0.1


class Failed(Exception):
    """A check that failed, with the reason."""


class Skipped(Exception):
    """A check that cannot be made here, with the reason."""


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Read a parquet file."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def check_training(folder: Path) -> str:
    """Check a training's metrics: all steps, finite numbers, equal policies before the first update and others after.

    Args:
        folder: of the run and seed.

    Returns:
        What to show.
    """
    steps = json.loads(json.loads((folder / "manifest.json").read_text())["settings"])["steps"]
    rows = rows_of(folder / "metrics.parquet")[1:]
    if len(rows) != steps:
        raise Failed(f"{len(rows)} of {steps} steps are in metrics.parquet")
    for row in rows:
        for name in ("reward", "loss", "grad_norm", "kl_per_sequence"):
            if row[name] is None or not math.isfinite(row[name]):
                raise Failed(f"step {row['step']}: {name} is {row[name]}")
    if rows[0]["kl_per_sequence"] != 0.0:
        kl = rows[0]["kl_per_sequence"]
        raise Failed(f"before the first update, policy and reference differ: kl_per_sequence is {kl:.2g}")
    if not any(row["grad_norm"] > 0 for row in rows):
        raise Failed("every gradient is zero")
    if not rows[-1]["kl_per_sequence"] > 0:
        raise Failed(
            f"the weights do not move: kl_per_sequence is {rows[-1]['kl_per_sequence']:.2g} after {steps} steps"
        )
    return f"{steps} steps, KL {rows[-1]['kl_per_sequence']:.2g}"


def check_same_metrics(one: Path, other: Path) -> str:
    """Check that two trainings, given by their folders, have equal metrics to the last bit."""
    expected, found = rows_of(one / "metrics.parquet"), rows_of(other / "metrics.parquet")
    if len(expected) != len(found):
        raise Failed(f"{len(found)} rows of metrics in place of {len(expected)}")
    for row, wanted in zip(found, expected, strict=True):
        for name, value in wanted.items():
            if row[name] != value:
                raise Failed(f"step {row['step']}: {name} is {row[name]!r} in place of {value!r}")
    return f"{len(found) - 1} steps are equal to the last bit"


def check_ended(samples: Path) -> str:
    """Check that sampled responses end by themselves."""
    rows = rows_of(samples)
    ended = sum(row["finish_reason"] == "stop" for row in rows) / len(rows)
    if ended < LEAST_ENDED:
        raise Failed(f"only {ended:.0%} of {len(rows)} responses end; at least {LEAST_ENDED:.0%} are expected")
    return f"{ended:.0%} of {len(rows)} responses end"


def check_log_probs(of_vllm: Sequence[float], of_torch: Sequence[float], tokens: Sequence[int]) -> str:
    """Check that two engines agree about responses.

    Args:
        of_vllm, of_torch: the log-probability of each response, in nats.
        tokens: of each response.
    """
    gaps = [abs(a - b) / n for a, b, n in zip(of_vllm, of_torch, tokens, strict=True)]
    mean = sum(gaps) / len(gaps)
    if not mean <= LARGEST_GAP:
        raise Failed(f"vLLM and torch differ by {mean:.2g} nats per token; at most {LARGEST_GAP:g} are expected")
    return f"{mean:.2g} nats per token from torch's"


def check_follows(folder: Path) -> str:
    """Check that vLLM sampled from the newest weights in a training, and that old ones would have been noticed.

    Args:
        folder: of the run and seed.
    """
    rows = rows_of(folder / "metrics.parquet")
    gap = max(row["sampler_gap_mean"] for row in rows)
    if not gap <= LARGEST_GAP:
        raise Failed(f"sampler_gap_mean reaches {gap:.2g} nats per token; at most {LARGEST_GAP:g} are expected")
    moved = rows[-1]["log_ratio_std"] / rows[-1]["response_length"]
    if not moved > MOVED_ABOVE_GAP * gap:
        raise Failed(
            f"the policy moved by {moved:.2g} nats per token and the gap is {gap:.2g}: old weights would not be noticed"
        )
    return f"gap {gap:.2g} nats per token at most, policy moved by {moved:.2g}"


def check_graded(graded: Path, problems: Path) -> float:
    """Check that every problem has a graded answer; return the share of right ones."""
    rows, asked = rows_of(graded), {row["prompt_id"] for row in rows_of(problems)}
    answered = {row["prompt_id"] for row in rows if row["reward"] is not None}
    if answered != asked:
        raise Failed(f"{len(asked - answered)} of {len(asked)} problems have no graded answer")
    return sum(row["reward"] for row in rows) / len(rows)


def check_alike(one: Path, other: Path) -> str:
    """Check that two engines give nearly the same greedy answers with the same weights."""
    expected, found = ({row["prompt_id"]: row["response"] for row in rows_of(path)} for path in (one, other))
    alike = sum(found.get(name) == text for name, text in expected.items()) / len(expected)
    if alike < LEAST_ALIKE:
        raise Failed(f"only {alike:.0%} of the greedy answers are those of transformers")
    return f"{alike:.0%} of the answers are those of transformers"


def check_sleep(found: Mapping[str, Any]) -> str:
    """Check what `bench/smoke_engine.py sleep` wrote: equal tokens after each sleep level, and freed memory."""
    if found["tokens"] == found["tokens_after_update"]:
        raise Failed("the update changes no response, so old weights would not be noticed")
    for level in ("1", "2"):
        slept = found["levels"][level]
        for when in ("tokens", "tokens_after_update"):
            wanted = found[when]
            different = sum(a != b for a, b in zip(slept[when], wanted, strict=True))
            if different:
                after = " of the new weights" if when == "tokens_after_update" else ""
                raise Failed(f"sleep level {level}: {different} of {len(wanted)} responses{after} are not those awake")
        if not slept["freed_bytes"] > 0:
            raise Failed(f"sleep level {level} frees no memory")
    freed = ", ".join(
        f"level {level} frees {one['freed_bytes'] / 1e9:.1f} GB" for level, one in found["levels"].items()
    )
    return f"the same tokens as awake; {freed}"
