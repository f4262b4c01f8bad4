"""The terms on which runs are compared."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from astarpo.tables.comparisons import PromptsSeen, prompts_seen
from astarpo.tables.plan import Training
from astarpo.tables.shown import ShownTable

NEARLY_EQUAL = 0.02  # trainings end with a whole batch, so their numbers of tokens are never exactly equal


def terms_table(trainings: Sequence[Training], cost: pd.DataFrame, curves: pd.DataFrame) -> ShownTable | None:
    """Show which terms are equal in all runs and which are not.

    Args:
        trainings: of the tables' plan.
        cost: with the columns of `columns.COST`.
        curves: with the columns of `columns.CURVES`.

    Returns:
        One row per run, means over its seeds; None with fewer than two runs.
    """
    terms = {training["run"]: training["terms"] for training in trainings}
    if len(terms) < 2:
        return None
    steps = curves.groupby(["run", "seed"])["step"].max().groupby("run").mean()
    generated = cost.groupby("run")["generated_tokens"].mean()
    updates = {run: float(steps[run]) * run_terms["updates_per_rollout"] for run, run_terms in terms.items()}
    tokens = {run: float(generated[run]) for run in terms}
    body = [
        [
            run,
            f"{run_terms['dataset']}, {run_terms['selection'] or 'all'}",
            str(run_terms["prompts_per_batch"]),
            str(run_terms["responses_per_prompt"]),
            f"{updates[run]:g}",
            f"{tokens[run]:,.0f}",
        ]
        for run, run_terms in terms.items()
    ]
    equal = {
        "prompts and their order": len({_prompts_and_seeds(trainings, run) for run in terms}) == 1,
        "number of updates": len(set(updates.values())) == 1,
        "generated tokens": min(tokens.values()) >= (1 - NEARLY_EQUAL) * max(tokens.values()),
    }
    same = ", ".join(name for name, is_equal in equal.items() if is_equal) or "nothing"
    other = ", ".join(name for name, is_equal in equal.items() if not is_equal) or "nothing"
    head = ["run", "prompts", "prompts per batch", "responses per prompt", "updates", "generated tokens"]
    return ShownTable.of(f"Terms of the comparison; equal: {same}; not equal: {other}", head, body)


def _prompts_and_seeds(trainings: Sequence[Training], run: str) -> tuple[PromptsSeen, tuple[int, ...]]:
    """What determines which prompts a run sees, and in which order."""
    of_run = [training for training in trainings if training["run"] == run]
    return prompts_seen(of_run[0]["terms"]), tuple(sorted(training["seed"] for training in of_run))
