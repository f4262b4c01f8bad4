"""Scores of the policies after kept steps: accuracy over steps, tokens and seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict, cast

import pandas as pd

from astarpo.common.errors import InputError
from astarpo.common.frames import frame
from astarpo.common.kept_steps import KEPT_STEPS
from astarpo.common.provenance import read_manifest
from astarpo.evaluation.scores import family, interval_note
from astarpo.tables.evaluations import score_policies, summarize_scores
from astarpo.tables.plan import Evaluation, Policy, TablesPlan, Training
from astarpo.tables.results import percent
from astarpo.tables.shown import Cell, Head, ShownTable
from astarpo.tables.trainings import curve_table

NOT_REACHED = "not reached"
SHOWN = ("greedy", "avg", "pass")  # families of metrics


class KeptStep(TypedDict):
    """The policy of one seed after a kept step; ``manifest`` is a file."""

    policy: str
    run: str
    seed: int
    step: int
    manifest: str


class PlanWithSteps(TablesPlan):
    """The tables' plan of a configuration with kept steps; their evaluations are in no other table."""

    kept_steps: list[KeptStep]
    evaluations_of_steps: list[Evaluation]


class Place(NamedTuple):
    """What a training has spent when a step ends."""

    generated_tokens: float
    trained_tokens: float
    seconds: float


@dataclass(frozen=True)
class Point:
    """A point of the curve of a run and seed."""

    run: str
    seed: int
    point: str
    step: int
    place: Place


START = Place(0.0, 0.0, 0.0)


def plan_with_steps(plan: TablesPlan) -> PlanWithSteps:
    """Check that a plan has kept steps.

    Raises:
        InputError: it has none.
    """
    if not plan.get("kept_steps"):
        raise InputError("no run keeps steps; set `keep: {steps: [...]}` in a run")
    return cast(PlanWithSteps, plan)


def trainings_of(plan: PlanWithSteps) -> list[Training]:
    """The trainings of the runs that keep steps."""
    runs = {kept["run"] for kept in plan["kept_steps"]}
    return [training for training in plan["runs"] if training["run"] in runs]


def evaluations_of(plan: PlanWithSteps) -> list[Evaluation]:
    """The evaluations of every policy on a curve: kept steps, exported policies, references."""
    runs = {kept["run"] for kept in plan["kept_steps"]}
    policies = [policy for policy in plan["policies"] if policy["run"] in runs]
    names = {policy[key] for policy in policies for key in ("policy", "reference")}
    return [*(one for one in plan["evaluations"] if one["policy"] in names), *plan["evaluations_of_steps"]]


def kept_steps_table(plan: PlanWithSteps) -> pd.DataFrame:
    """Score the reference, the kept steps and the exported policy of every run that keeps steps.

    Args:
        plan: of the tables.

    Returns:
        A table with the columns of `KEPT_STEPS`; each run's points in the order of the steps, those of all seeds pooled
        before those of each seed.

    Raises:
        InputError: a file is missing, or lacks a key or column.
    """
    trainings = trainings_of(plan)
    points, missed = _points(plan["kept_steps"], trainings)
    policies = [_named_by_step(policy, points) for policy in _policies(plan, points)]
    named = {policy["policy"] for policy in policies}
    evaluations = [one for one in evaluations_of(plan) if one["policy"] in named]
    scores = summarize_scores(policies, score_policies(policies, evaluations)).to_dict("records")
    methods = {training["run"]: training["method"] for training in trainings}
    references = {run: policy["reference"] for policy in plan["policies"] if (run := policy["run"]) in methods}
    rows = [*_rows(scores, points, references), *map(_missed_row, missed)]
    runs = list(methods)
    rows.sort(key=lambda row: (runs.index(row["run"]), row["order"]))
    return frame([{**row, "method": methods[row["run"]]} for row in rows], KEPT_STEPS)


def _points(kept: Iterable[KeptStep], trainings: Sequence[Training]) -> tuple[dict[str, Point], list[KeptStep]]:
    """The point of each policy, and the steps that were not reached."""
    places = _places(trainings)
    points: dict[str, Point] = {}
    missed = []
    for one in kept:
        if _field(one["manifest"], "reached"):
            place = places[one["run"], one["seed"]][one["step"]]
            points[one["policy"]] = Point(one["run"], one["seed"], "kept", one["step"], place)
        else:
            missed.append(one)
    for training in trainings:
        run, seed = training["run"], training["seed"]
        step = int(_field(training["manifest"], "exported_step"))
        points[f"{run}.seed-{seed}"] = Point(run, seed, "exported", step, {0: START, **places[run, seed]}[step])
    return points, missed


def _places(trainings: Sequence[Training]) -> dict[tuple[str, int], dict[int, Place]]:
    """(run, seed) -> step -> what has been spent when it ends, as in the table of curves."""
    curves = curve_table(trainings)
    spent = curves[curves["name"] == "trained_tokens"].sort_values("step", kind="stable")
    places: dict[tuple[str, int], dict[int, Place]] = {}
    for (run, seed), rows in spent.groupby(["run", "seed"]):
        columns = (rows["step"], rows["generated_tokens"], rows["value"].cumsum(), rows["seconds"])
        of_steps = zip(*(column.tolist() for column in columns), strict=True)
        places[run, seed] = {step: Place(*place) for step, *place in of_steps}
    return places


def _field(path: str, name: str) -> Any:
    manifest = read_manifest(path)
    if name not in manifest:
        raise InputError(f"{path}: key {name!r} is missing; delete the file and run `snakemake` again")
    return manifest[name]


def _policies(plan: PlanWithSteps, points: Mapping[str, Point]) -> Iterator[Policy]:
    """The references and the policies that have a point."""
    of_runs = {policy["policy"]: policy for policy in plan["policies"]}
    references = {policy["reference"] for name, policy in of_runs.items() if name in points}
    yield from (policy for name, policy in of_runs.items() if name in references)
    for name, point in points.items():
        yield {**of_runs[f"{point.run}.seed-{point.seed}"], "policy": name}


def _named_by_step(policy: Policy, points: Mapping[str, Point]) -> Policy:
    """Give each kept step a run of its own, so that seeds are pooled step by step."""
    point = points.get(policy["policy"])
    if point is None:
        return policy
    return {**policy, "run": _curve_name(point)}


def _curve_name(point: Point) -> str:
    return f"{point.run}.step-{point.step}" if point.point == "kept" else point.run


def _rows(
    scores: Iterable[Mapping[str, Any]], points: Mapping[str, Point], references: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """The rows of scored policies; a reference has those of each run that starts from it."""
    groups: dict[str, list[Point]] = {}
    for point in points.values():
        groups.setdefault(_curve_name(point), []).append(point)
    for score in scores:
        if score["policy"] in points:
            yield _row(score, [points[score["policy"]]], score["seed"])
        elif score["policy"] in groups:
            yield _row(score, groups[score["policy"]], None)
        else:
            at_start = {**START._asdict(), "point": "reference", "step": 0, "n_seeds": 0, "order": (0,)}
            for run in (run for run, reference in references.items() if reference == score["policy"]):
                yield {**score, **at_start, "run": run}


def _row(score: Mapping[str, Any], group: Sequence[Point], seed: int | None) -> dict[str, Any]:
    means = Place(*(sum(column) / len(group) for column in zip(*(one.place for one in group), strict=True)))
    steps = {one.step for one in group}
    first = group[0]
    step = first.step if len(steps) == 1 else None
    return {
        **score,
        **means._asdict(),
        "run": first.run,
        "seed": seed,
        "policy": score["policy"] if seed is not None else first.run,
        "point": first.point,
        "step": step,
        "n_seeds": len(group),
        "order": _order(first.point, first.step, seed),
    }


def _missed_row(kept: KeptStep) -> dict[str, Any]:
    order = _order("kept", kept["step"], kept["seed"])
    return {**dict.fromkeys(KEPT_STEPS.names), **kept, "point": NOT_REACHED, "n_seeds": 1, "order": order}


def _order(point: str, step: int, seed: int | None) -> tuple[int, ...]:
    """Kept steps in their order, then the exported policies; all seeds pooled come first."""
    number = -1 if seed is None else seed
    return (1, step, number) if point == "kept" else (2, number)


def shown_steps(table: pd.DataFrame) -> list[ShownTable]:
    """Show the main metrics at each point, means over seeds: one table for each run and benchmark.

    Args:
        table: the result of `kept_steps_table`.
    """
    shown = []
    scored = table[table["point"] != NOT_REACHED]
    largest = scored.groupby(["benchmark", "protocol"])["k"].transform("max")
    main = scored[(scored["k"] == largest) & scored["seed"].isna() & scored["metric"].map(family).isin(list(SHOWN))]
    missed = table[table["point"] == NOT_REACHED].groupby(["run", "step"])["seed"].count().to_dict()
    for (run, benchmark), rows in main.groupby(["run", "benchmark"], sort=False):
        columns = list(dict.fromkeys(zip(rows["protocol"], rows["metric"], strict=True)))
        body: list[list[str | Cell]] = []
        for _, of_point in rows.groupby(["point", "step"], sort=False, dropna=False):
            cells = {(row.protocol, row.metric): row for row in of_point.itertuples()}
            of_columns = [_score_cell(cells.get(column)) for column in columns]
            body.append([*_place_cells(of_point.iloc[0], missed), *of_columns])
        reached = {row.step for row in rows[rows["point"] == "kept"].itertuples()}
        for step in sorted(step for name, step in missed if name == run and step not in reached):
            body.insert(-1, [f"step {step}: {NOT_REACHED}", *([""] * (2 + len(columns)))])
        note = interval_note(rows[rows["point"] != "reference"])
        title = f"{run} on {benchmark}: percent right over the training [{note}], means over the seeds"
        heads: list[Head] = [
            "policy",
            "tokens trained on",
            "seconds",
            *((metric, protocol) for protocol, metric in columns),
        ]
        shown.append(ShownTable.of(title, heads, body))
    return shown


def _score_cell(row: Any) -> Cell:
    return Cell("") if row is None else Cell(percent(row.value), f"[{percent(row.ci_low)}, {percent(row.ci_high)}]")


def _place_cells(row: pd.Series, missed: Mapping[tuple[str, int], int]) -> list[str]:
    """The name of a point, and what training has spent until then."""
    step = "" if pd.isna(row["step"]) else f"step {row['step']}"
    name = {
        "reference": f"{row['policy']}, {step}",
        "kept": f"after {step}",
        "exported": f"exported, {step or 'of different steps'}",
    }[row["point"]]
    lacking = missed.get((row["run"], row["step"]), 0) if row["point"] == "kept" else 0
    if lacking:
        name += f" ({row['n_seeds']} of {row['n_seeds'] + lacking} seeds reached it)"
    return [name, f"{row['trained_tokens']:,.0f}", f"{row['seconds']:,.1f}"]
