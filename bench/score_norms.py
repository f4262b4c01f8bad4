"""Compare the forecast of gradient noise by surprisals with the one by true squared score norms.

    python bench/score_norms.py --results results --reference tiny --dataset multiples

Takes stage 1's samples of the first prompts, computes |grad ln pi(y|x)|^2 of each response by its own backward pass,
and forecasts the noise of each baseline from the same responses with both weights.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

from astarpo.common.columns import DATASET, GENERATIONS, GRADED
from astarpo.common.files import read_table
from astarpo.model.loading import load_policy
from astarpo.model.log_probs import collate, token_log_probs
from astarpo.model.policy import Policy
from astarpo.stage_one.noise import Samples, baseline_name, forecasts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default="results", help="a finished folder of results")
    parser.add_argument("--reference", default="tiny")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--prompts", type=int, default=96, help="how many, with all of their samples")
    parser.add_argument("--beta1", type=float, default=0.5)
    arguments = parser.parse_args()
    folder = Path(arguments.results)
    policy = load_policy(folder / "references" / arguments.reference / "model")
    rows = read_rows(folder, arguments.reference, arguments.dataset, arguments.prompts)
    index_M = np.unique([row["prompt_id"] for row in rows], return_inverse=True)[1]
    reward_M = np.array([row["reward"] for row in rows])
    surprisal_M = np.array([-row["logprob_sum"] for row in rows])
    norm_M = np.array([squared_norm(policy, row["prompt"], row["response_token_ids"]) for row in rows])
    by = {
        name: Samples(index_M, reward_M, weight_M) for name, weight_M in (("surprisal", surprisal_M), ("exact", norm_M))
    }
    print(f"{len(rows)} responses to {index_M.max() + 1} prompts, pass rate {reward_M.mean():.3f}")
    for name, samples in by.items():
        wrong, right = (samples.weight_M[reward_M == reward].mean() for reward in (0, 1))
        print(f"{name}: mean weight of wrong responses / of correct ones {wrong / right:.2f}")
    print_forecasts(by, arguments.beta1)


def print_forecasts(by: dict[str, Samples], beta1: float) -> None:
    """Print the noise of every baseline relative to none, a column per weight."""
    found = {name: forecasts(samples, beta1) for name, samples in by.items()}
    for one, other in zip(found["surprisal"], found["exact"], strict=True):
        cells = [f"{row.noise:5.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]" for row in (one, other)]
        scales = "" if one.scale is None or other.scale is None else f"  scale {one.scale:.2f} {other.scale:.2f}"
        print(f"{one.prompts:8}{baseline_name(one.baseline, one.beta1):40}{cells[0]:22}{cells[1]:22}{scales}")


def read_rows(folder: Path, reference: str, dataset: str, prompts: int) -> list[dict[str, object]]:
    """Read the graded samples of the first prompts of a data set, with the prompts' texts."""
    samples = folder / "samples" / reference / dataset
    graded = sorted(samples.glob("*.graded.parquet"))
    blocks = [path.with_name(path.name.replace(".graded", "")) for path in graded]
    keys = ["prompt_id", "sample_index"]
    texts = read_table(str(folder / "datasets" / f"{dataset}.parquet"), DATASET).select(["prompt_id", "prompt"])
    grades = tables(graded, GRADED, [*keys, "reward"])
    drawn = tables(blocks, GENERATIONS, [*keys, "response_token_ids", "logprob_sum"])
    wanted = texts["prompt_id"][:prompts]
    grades = grades.filter(pc.and_(pc.is_valid(grades["reward"]), pc.is_in(grades["prompt_id"], wanted)))
    token_ids = dict(zip(zip(*(drawn[key].to_pylist() for key in keys), strict=True), drawn.to_pylist(), strict=True))
    prompt_of = dict(zip(texts["prompt_id"].to_pylist(), texts["prompt"].to_pylist(), strict=True))
    return [
        {**token_ids[row["prompt_id"], row["sample_index"]], **row, "prompt": prompt_of[row["prompt_id"]]}
        for row in grades.to_pylist()
    ]


def tables(paths: list[Path], schema: pa.Schema, columns: list[str]) -> pa.Table:
    """Read columns of several files as one table."""
    needed = pa.schema([schema.field(name) for name in columns])
    return pa.concat_tables(read_table(str(path), needed).replace_schema_metadata() for path in paths)


def squared_norm(policy: Policy, prompt: str, response: list[int]) -> float:
    """Compute |grad ln pi(y|x)|^2 over all weights."""
    prompt_ids = list(policy.tokenizer(prompt, add_special_tokens=True)["input_ids"])
    batch = collate([prompt_ids], [response], policy.end_token_ids, policy.model.device)
    log_probs_BT, _ = token_log_probs(policy.model, batch, temperature=1.0)
    weights = [weight for weight in policy.model.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad((log_probs_BT * batch.mask_BT).sum(), weights)
    return float(sum(one.square().sum() for one in gradients))


if __name__ == "__main__":
    main()
