"""On what terms runs are compared, and when A*-PO has what the others end with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from astarpo.tables.comparisons import prompts_seen
from astarpo.tables.paper import OURS
from astarpo.tables.results import percent
from astarpo.tables.text import TextTable

Row = Mapping[str, Any]
NEARLY_EQUAL = 0.02  # a training ends with a whole batch: numbers of tokens are never equal to the last one


def terms_table(runs: Sequence[Row], cost_rows: Sequence[Row], curve_rows: Sequence[Row]) -> TextTable | None:
    """State what is equal between the runs, and what is not.

    Args:
        runs: of the tables' plan: ``run``, ``seed`` and ``terms``.
        cost_rows: with the columns of `columns.COST`.
        curve_rows: with the columns of `columns.CURVES`.

    Returns:
        A row a run, means over its seeds; None where there is nothing to compare.
    """
    terms = {run["run"]: run["terms"] for run in runs}
    if len(terms) < 2:
        return None
    steps: dict[str, dict[int, int]] = defaultdict(dict)
    for row in curve_rows:
        steps[row["run"]][row["seed"]] = max(steps[row["run"]].get(row["seed"], 0), row["step"])
    head = [
        "run",
        "prompts",
        "prompts a batch",
        "responses a prompt",
        "updates",
        "generated tokens",
    ]
    body, updates, tokens = [], {}, {}
    for name, own in terms.items():
        updates[name] = fmean(list(steps[name].values())) * own["updates_per_rollout"]
        tokens[name] = fmean([row["generated_tokens"] for row in cost_rows if row["run"] == name])
        prompts = f"{own['dataset']}, {own['selection'] or 'all'}"
        sizes = (own["prompts_per_batch"], own["responses_per_prompt"])
        body.append([name, prompts, *map(str, sizes), f"{updates[name]:g}", f"{tokens[name]:,.0f}"])
    equal = {
        "prompts and their order": len({_prompts_seen(runs, name) for name in terms}) == 1,
        "number of updates": len(set(updates.values())) == 1,
        "generated tokens": min(tokens.values()) >= (1 - NEARLY_EQUAL) * max(tokens.values()),
    }
    same = ", ".join(name for name, is_equal in equal.items() if is_equal) or "nothing"
    other = ", ".join(name for name, is_equal in equal.items() if not is_equal) or "nothing"
    return TextTable(f"Terms of the comparison; equal: {same}; not equal: {other}", head, body)


def _prompts_seen(runs: Sequence[Row], name: str) -> tuple[Any, ...]:
    """What decides which prompts a run sees, and when."""
    own = [run for run in runs if run["run"] == name]
    return prompts_seen(own[0]["terms"]), *sorted(run["seed"] for run in own)


def race_table(cost_rows: Sequence[Row], curve_rows: Sequence[Row]) -> TextTable | None:
    """Tell after what time of stage 2 A*-PO first has the validation accuracy that each other run ends with.

    Both are curves of the mean over seeds, at the steps that all seeds have looked at. The first look counts; as
    a look is noisy, a run that gets there late or by little may owe it to that.

    Args:
        cost_rows: with the columns of `columns.COST`.
        curve_rows: with the columns of `columns.CURVES`.

    Returns:
        A row a run of another method; None without one, an A*-PO run, and validation. Of several A*-PO runs the first
        counts.
    """
    method_of = {row["run"]: row["method"] for row in cost_rows}
    looks = {run: _looks(curve_rows, run) for run in method_of}
    own = [run for run, method in method_of.items() if method == OURS and looks[run]]
    others = [run for run, method in method_of.items() if method != OURS and looks[run]]
    if not own or not others:
        return None
    head = ["run", "final validation, %", "its stage 2, s", f"{own[0]} has that after, s", "share"]
    body = []
    for run in others:
        seconds, final = looks[run][-1]
        reached = next((after for after, value in looks[own[0]] if value >= final), None)
        body.append(
            [run, percent(final), f"{seconds:.0f}"]
            + ([f"{reached:.0f}", f"{reached / seconds:.2f}"] if reached is not None else ["never", ""])
        )
    seconds, final = looks[own[0]][-1]
    title = (
        f"When {own[0]} first has the validation accuracy that another run ends with; "
        f"it ends with {percent(final)} % after {seconds:.0f} s of stage 2. Means over the seeds, without intervals; "
        "a noisy curve gets somewhere early by chance, which favours it"
    )
    return TextTable(title, head, body)


def _looks(curve_rows: Sequence[Row], run: str) -> list[tuple[float, float]]:
    """Seconds of stage 2 and validation reward, means over the seeds, by step."""
    found: dict[int, list[Row]] = defaultdict(list)
    seeds = set()
    for row in curve_rows:
        if row["run"] == run and row["name"] == "validation_reward":
            found[row["step"]].append(row)
            seeds.add(row["seed"])
    return [
        (fmean([row["seconds"] for row in rows]), fmean([row["value"] for row in rows]))
        for _, rows in sorted(found.items())
        if len(rows) == len(seeds)
    ]
