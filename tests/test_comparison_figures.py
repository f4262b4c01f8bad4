"""Figures of accuracy against a cost or a setting: the positions of points, and labels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from answers_case import records
from config_case import settings

import astarpo
from astarpo.common.columns import COST, SUMMARY
from astarpo.common.errors import InputError
from astarpo.common.frames import frame, write_parquet
from astarpo.common.settings import canonical_json
from astarpo.config import load_config
from astarpo.config.ablations import setting_of
from astarpo.figures import ablation, style, tradeoff, training_time
from astarpo.figures.settings import AblationSettings, Tradeoff, TrainingTime

SCRIPTS = Path(astarpo.__file__).parents[1]
SIZE = {"width_in": 7.0, "height_in": 3.0, "dpi": 50}
RUNS = (
    ("go-1", "a_star_po", 0.6, 300.0),
    ("go-2", "a_star_po", 0.5, 300.0),
    ("base", "grpo", 0.55, None),
)


def summary() -> pd.DataFrame:
    rows = []
    policies = [("tiny", None, None, None, 0.4)]
    for run, method, value, _ in RUNS:
        policies.append((run, run, method, None, value))
        policies += [(f"{run}.seed-{s}", run, method, s, value + 0.02 * (s - 0.5)) for s in (0, 1)]
    for policy, run, method, seed, value in policies:
        for metric, k in (("greedy", 1), ("avg@8", 8), ("pass@2", 2), ("pass@8", 8)):
            rows.append(
                dict.fromkeys(SUMMARY.names)
                | {
                    "policy": policy,
                    "run": run,
                    "method": method,
                    "reference": "tiny",
                    "seed": seed,
                    "benchmark": "sums",
                    "protocol": "sampled",
                    "metric": metric,
                    "k": k,
                    "n_problems": 9,
                    "value": value,
                    "ci_low": value - 0.05,
                    "ci_high": value + 0.03,
                    "interval_over": "problems and seeds" if run and seed is None else "problems",
                }
            )
    return frame(rows, SUMMARY)


def cost() -> pd.DataFrame:
    rows = [
        dict.fromkeys(COST.names)
        | {
            "run": run,
            "method": method,
            "seed": seed,
            "stage1_seconds": stage1,
            "stage2_seconds": 600.0 + 120 * seed,
            "peak_memory_bytes": 2**30,
            "kl_per_token": 0.1,
            "kl_per_sequence": 2.0 + seed,
        }
        for run, method, _, stage1 in RUNS
        for seed in (0, 1)
    ]
    return frame(rows, COST)


TRADEOFF = Tradeoff(**SIZE, kind="tradeoff")
ABLATION = AblationSettings(**SIZE, kind="ablation", x="beta2", points={"go-1": 0.01, "go-2": 0.001}, metric="greedy")
TIME = TrainingTime(**SIZE, kind="training_time")


def places(axis) -> list[tuple[float, float]]:
    lines = [bars.lines[0] for bars in axis.containers]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]


def test_accuracy_against_its_costs():
    figure = tradeoff.plot(summary(), cost(), TRADEOFF)
    time, memory, kl = figure.axes
    # (300 + 660) s = 16 min with stage 1, 11 min without.
    assert places(time) == [pytest.approx(p) for p in [(16, 60), (16, 50), (11, 55)]]
    assert [x for x, _ in places(memory)] == [1.0] * 3
    assert [x for x, _ in places(kl)] == pytest.approx([0.1] * 3)
    assert time.get_ylabel() == "sums, avg@8 (%)\n95 % interval over problems and seeds"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["go-1", "go-2", "base", "tiny"]


def test_colours_are_those_of_the_methods():
    figure = tradeoff.plot(summary(), cost(), TRADEOFF.changed(runs=("base",)))
    (bars,) = figure.axes[0].containers
    assert bars.lines[0].get_color() == style.METHOD_COLOURS["grpo"]


def test_a_setting_is_in_order_of_size_and_evenly_spaced():
    figure = ablation.plot(summary(), cost(), ABLATION)
    left, right = figure.axes
    assert sorted(places(left)) == [pytest.approx((0.0, 50.0)), pytest.approx((1.0, 60.0))]
    assert [label.get_text() for label in left.get_xticklabels()] == ["0.001", "0.01"]
    assert left.get_xlabel() == "beta2" and left.get_ylabel().startswith("sums, greedy (%)\n95")
    assert right.lines[-1].get_ydata().tolist() == [2.5, 2.5]


def one_line(figure) -> str:
    """The label of the axis of scores, which must lie inside the figure."""
    figure.draw_without_rendering()
    label = figure.axes[0].yaxis.label
    box = label.get_window_extent()
    assert box.y0 >= 0 and box.y1 <= figure.bbox.y1 and box.x0 >= 0
    return label.get_text().replace("\n", " ")


def test_the_axis_tells_of_runs_with_one_seed():
    rows = records(summary())
    for row in rows:
        if row["run"] in ("go-1", "base"):
            row["interval_over"] = "problems"
    table = frame(rows, SUMMARY)
    label = one_line(tradeoff.plot(table, cost(), TRADEOFF))
    assert label.endswith("over problems and seeds; over problems for go-1, base: one seed")
    label = one_line(tradeoff.plot(table, cost(), TRADEOFF.changed(runs=("base",))))
    assert label.endswith(" 95 % interval over problems: one seed")
    label = one_line(ablation.plot(table, cost(), ABLATION))
    assert label.endswith("over problems for go-1: one seed")


def test_values_that_are_no_numbers_come_last():
    found, labels = ablation.axis_places([2.0, "mean", 0.5, None, True])
    assert found == [1.0, 2.0, 0.0, 3.0, 4.0]
    assert list(labels.values()) == ["0.5", "2", "mean", "none", "True"]


def test_bars_are_means_with_stage_one_in_them():
    axis = training_time.plot(cost(), TIME).axes[0]
    heights = [bar.get_height() for bars in axis.containers for bar in bars]
    assert heights == pytest.approx([16, 5, 16, 5, 11, 0])
    assert [text.get_text() for text in axis.texts] == ["16.0", "16.0", "11.0"]


def test_what_is_not_there_is_named():
    with pytest.raises(InputError, match="no 'maj' of benchmark 'sums'; it has sums avg, sums greedy"):
        tradeoff.plot(summary(), cost(), TRADEOFF.changed(metric="maj"))
    with pytest.raises(InputError, match="no 'avg' of benchmark 'gone'"):
        tradeoff.plot(summary(), cost(), TRADEOFF.changed(benchmark="gone"))
    with pytest.raises(InputError, match="no run to show"):
        ablation.plot(summary(), cost(), ABLATION.changed(points={}))


@pytest.mark.parametrize("settings", [TRADEOFF, ABLATION, TIME], ids=lambda s: s.kind)
def test_the_script_plots_figures_of_several_tables(tmp_path, settings):
    write_parquet(tmp_path / "summary.parquet", summary(), SUMMARY)
    write_parquet(tmp_path / "cost.parquet", cost(), COST)
    options = ["--summary", tmp_path / "summary.parquet"] if settings is not TIME else []
    command = [
        sys.executable,
        SCRIPTS / "plot.py",
        "--settings",
        canonical_json(settings),
        *options,
        "--cost",
        tmp_path / "cost.parquet",
        "--out-png",
        tmp_path / "a.png",
        "--out-pdf",
        tmp_path / "a.pdf",
    ]
    subprocess.run(list(map(str, command)), check=True)
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "a.pdf").read_bytes()[:4] == b"%PDF"


# Where the values of a setting come from.


def config(**figure) -> dict:
    raw = yaml.safe_load((SCRIPTS.parent / "config/config.yaml").read_text())
    raw["values"]["plain"] = {**raw["values"]["v-star"], "estimator": "mean"}
    raw["runs"]["other"] = {"base": "a-star-po", "value": "plain", "selection": None}
    raw["figures"]["mine"] = {"kind": "ablation", **figure}
    return raw


@pytest.mark.parametrize(
    ("key", "points"),
    [
        ("beta2", {"a-star-po": 0.001, "other": 0.001}),
        ("value.beta1", {"a-star-po": 0.5, "other": "mean"}),
        ("value.n", {"a-star-po": 8, "other": 8}),
        ("selection", {"a-star-po": "solved", "other": None}),
        ("selection.rule", {"a-star-po": "solved", "other": None}),
        ("method", {"a-star-po": "a_star_po", "other": "a_star_po"}),
    ],
)
def test_points_are_read_off_the_configuration(key, points):
    checked = load_config(config(x=key))
    assert {run: setting_of(checked, run, key) for run in points} == points
    assert json.loads(settings(checked, "plot", figure="mine"))["points"] == points


def test_a_key_that_no_run_has():
    with pytest.raises(InputError, match="figures.mine.x = 'beta_2': no run has this key"):
        load_config(config(x="beta_2"))
    with pytest.raises(InputError, match="figures.mine.benchmark = 'gone': no such entry"):
        load_config(config(x="lr", benchmark="gone"))
