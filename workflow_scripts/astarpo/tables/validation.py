"""The accuracy of trainings on their validation prompts, learning rates side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set

import pandas as pd
import pyarrow as pa

from astarpo.common.errors import InputError
from astarpo.common.frames import frame, read_frame
from astarpo.evaluation.differences import compare_seed_scores
from astarpo.tables.comparisons import prompts_seen
from astarpo.tables.plan import Training
from astarpo.tables.ranking import TIED, UNDECIDED, Mark
from astarpo.tables.shown import Cell, ShownTable

VALIDATION = pa.schema(
    [
        ("run", pa.string()),
        ("family", pa.string()),
        ("seed", pa.int64()),
        ("lr", pa.float64()),
        ("step", pa.int64()),
        ("validation_reward", pa.float64()),
    ]
)
NEEDED = pa.schema([("step", pa.int64()), ("validation_reward", pa.float64())])


def validation_table(trainings: Iterable[Training]) -> pd.DataFrame:
    """Read all validations of the trainings.

    Args:
        trainings: from the tables' plan.

    Returns:
        A table with the columns of `VALIDATION`; a run without validation prompts has no rows.

    Raises:
        InputError: a file is missing or lacks a column.
    """
    return pd.concat([frame([], VALIDATION), *map(_validations, trainings)], ignore_index=True)


def _validations(training: Training) -> pd.DataFrame:
    table = read_frame(training["metrics"], NEEDED).sort_values("step")
    known = table[table["validation_reward"].notna()]
    labelled = known.assign(**{name: training[name] for name in ("run", "family", "seed", "lr")})
    return labelled[VALIDATION.names].astype({field.name: pd.ArrowDtype(field.type) for field in VALIDATION})


def rate_table(validation: pd.DataFrame) -> ShownTable:
    """Tabulate the final accuracy: one row for runs that differ in the learning rate alone, one column per rate.

    Args:
        validation: with the columns of `VALIDATION`.

    Returns:
        Percent right, means over the seeds; the best rate of a row with several is bold. Rates that may be as good are
        marked: ``=`` not significantly different, ``?`` unknown, as there is one seed or all seeds agree.

    Raises:
        InputError: there are no rows.
    """
    if validation.empty:
        raise InputError("no training was validated; set `validation` in its run")
    scores = _final_scores(validation, "family")
    rates = sorted({rate for _, rate in scores})
    body: list[list[str | Cell]] = []
    used = set()
    for family in dict.fromkeys(name for name, _ in scores):
        by_rate = {rate: scores[family, rate] for rate in rates if (family, rate) in scores}
        signs = _signs(by_rate)
        used |= set(signs.values())
        best = max(map(_mean, by_rate.values())) if len(by_rate) > 1 else None
        cells: list[str | Cell] = [""] * len(rates)
        for rate, seeds in by_rate.items():
            mark = Mark(1) if _mean(seeds) == best else Mark(0, signs[rate])
            cells[rates.index(rate)] = Cell(f"{100 * _mean(seeds):.1f}", mark=mark)
        body.append([family, *cells])
    title = "Percent right at the last validation, by learning rate; means over seeds, the best rate bold"
    if TIED in used:
        title += f"; {TIED} not different from it, by seed, after Holm's correction for the pairs of a row"
    if UNDECIDED in used:
        title += f"; {UNDECIDED} may equal it: one seed, or seeds that all agree"
    return ShownTable.of(title, ["run", *(f"{rate:g}" for rate in rates)], body)


def difference_tables(validation: pd.DataFrame, trainings: Sequence[Training]) -> list[ShownTable]:
    """Compare runs validated on the same prompts, see `difference_table`; one table for each set of prompts."""
    tables = []
    for prompts in dict.fromkeys(training["terms"].get("validation") for training in trainings):
        group = [training for training in trainings if training["terms"].get("validation") == prompts]
        of_group = validation["run"].isin([training["run"] for training in group])
        tables.append(difference_table(validation[of_group], group))
    return [table for table in tables if table is not None]


def difference_table(validation: pd.DataFrame, trainings: Sequence[Training]) -> ShownTable | None:
    """Compare every run with several seeds with the best one, by the final accuracy of each seed.

    Args:
        validation: with the columns of `VALIDATION`, all of the same prompts.
        trainings: from the tables' plan.

    Returns:
        One row per run; None if fewer than two have several seeds.
    """
    last = {key: seeds for key, seeds in _final_scores(validation, "run").items() if len(seeds) > 1}
    if len(last) < 2:
        return None
    data = {training["run"]: prompts_seen(training["terms"]) for training in trainings}
    scores = {run: seeds for (run, _), seeds in last.items()}
    best = max(scores, key=lambda run: _mean(scores[run]))
    body = [[best, f"{100 * _mean(scores[best]):.1f}", "", ""]]
    undecided = False
    for (a, b), (difference, verdict) in compare_seed_scores(scores, data).items():
        if a != best:
            continue
        points = [f"{-100 * one:+.1f}" for one in difference.interval] if difference else []
        shown = "{0} [{2}, {1}]".format(*points) if points else ""
        words = {"tied": "tied", "cannot_tell": "cannot tell"}.get(verdict, "")
        undecided |= verdict == "cannot_tell"
        body.append([b, f"{100 * _mean(scores[b]):.1f}", shown, words])
    title = _difference_title({training["terms"].get("validation") for training in trainings}, undecided)
    return ShownTable.of(title, ["run", "validation, %", f"minus {best}", ""], body)


def _difference_title(prompts: Set[str | None], undecided: bool) -> str:
    """Name the prompts, as there may be a table for each set of them; plans of earlier versions do not."""
    names = sorted(name for name in prompts if name is not None)
    title = (
        f"Difference to the best run at the last validation{' on ' if names else ''}{', '.join(names)}, in points "
        "[95 % t interval over seeds, each by itself, the prompts being the same]; tied: not different after Holm's "
        "correction for the number of pairs of runs"
    )
    return f"{title}; cannot tell: the seeds all agree, which says nothing of others" if undecided else title


def _final_scores(validation: pd.DataFrame, name: str) -> dict[tuple[str, float], dict[int, float]]:
    """(run or family, learning rate) -> seed -> the last validation reward."""
    scores: dict[tuple[str, float], dict[int, float]] = defaultdict(dict)
    ordered = validation.sort_values("step", kind="stable")[[name, "lr", "seed", "validation_reward"]]
    for which, rate, seed, reward in ordered.itertuples(index=False, name=None):
        scores[which, rate][seed] = reward
    return scores


def _mean(seeds: Mapping[int, float]) -> float:
    return sum(seeds.values()) / len(seeds)


def _signs(by_rate: Mapping[float, Mapping[int, float]]) -> dict[float, str]:
    """Learning rate -> sign, if it may be as good as the best one."""
    signs = dict.fromkeys(by_rate, "")
    best = max(by_rate, key=lambda rate: _mean(by_rate[rate]))
    for (a, b), (_, verdict) in compare_seed_scores(by_rate).items():
        if a == best:
            signs[b] = {"tied": TIED, "cannot_tell": UNDECIDED}.get(verdict, "")
    return signs
