"""The terms on which runs are compared, and when A*-PO reaches the final accuracy of the others."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import pandas as pd

from astarpo.tables.comparisons import PromptsSeen, prompts_seen
from astarpo.tables.paper import OURS
from astarpo.tables.plan import Training
from astarpo.tables.results import percent
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
    head = ["run", "prompts", "prompts a batch", "responses a prompt", "updates", "generated tokens"]
    return ShownTable.of(f"Terms of the comparison; equal: {same}; not equal: {other}", head, body)


def _prompts_and_seeds(trainings: Sequence[Training], run: str) -> tuple[PromptsSeen, tuple[int, ...]]:
    """What determines which prompts a run sees, and in which order."""
    of_run = [training for training in trainings if training["run"] == run]
    return prompts_seen(of_run[0]["terms"]), tuple(sorted(training["seed"] for training in of_run))


def race_table(cost: pd.DataFrame, curves: pd.DataFrame) -> ShownTable | None:
    """Show when in stage 2 A*-PO first reaches the final validation accuracy of each other run.

    Both are curves of means over seeds, at the steps where all seeds were validated. The first such step counts, which
    noise in the validation favours.

    Args:
        cost: with the columns of `columns.COST`.
        curves: with the columns of `columns.CURVES`.

    Returns:
        One row per run of another method; None if there is none, no A*-PO run, or no validation. With several A*-PO
        runs the first counts.
    """
    method_of = dict(zip(cost["run"], cost["method"], strict=True))
    validation = {run: _validation_curve(curves, run) for run in method_of}
    our_runs = [run for run, method in method_of.items() if method == OURS and len(validation[run])]
    others = [run for run, method in method_of.items() if method != OURS and len(validation[run])]
    if not our_runs or not others:
        return None
    ours = validation[our_runs[0]]
    body = []
    for run in others:
        last = validation[run].iloc[-1]
        line = [run, percent(last["value"]), f"{last['seconds']:.0f}"]
        there = ours[ours["value"] >= last["value"]]
        if len(there):
            seconds = there.iloc[0]["seconds"]
            body.append([*line, f"{seconds:.0f}", f"{seconds / last['seconds']:.2f}"])
        else:
            body.append([*line, "never", ""])
    end = ours.iloc[-1]
    title = (
        f"When {our_runs[0]} first reaches the final validation accuracy of another run; "
        f"it ends with {percent(end['value'])} % after {end['seconds']:.0f} s of stage 2. Means over the seeds, "
        "without intervals; a noisy curve reaches a value early by chance, which favours it"
    )
    head = ["run", "final validation, %", "its stage 2, s", f"{our_runs[0]} reaches it after, s", "share"]
    return ShownTable.of(title, head, body)


def _validation_curve(curves: pd.DataFrame, run: str) -> pd.DataFrame:
    """Seconds of stage 2 and validation reward by step, means over the seeds."""
    rewards = curves[(curves["run"] == run) & (curves["name"] == "validation_reward")]
    by_step = rewards.groupby("step").agg(seconds=("seconds", fmean), value=("value", fmean), n=("seed", "size"))
    return by_step[by_step["n"] == rewards["seed"].nunique()]
