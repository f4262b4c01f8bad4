from __future__ import annotations

import ast
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from answers_case import records

import astarpo
from astarpo.common.code import import_closure
from astarpo.common.columns import COST, CURVES, SUMMARY, VALUES
from astarpo.common.errors import InputError
from astarpo.common.frames import frame, write_parquet
from astarpo.figures import PLOTS, TABLES, accuracy, style, time, training_curves
from astarpo.figures import values as values_figure
from astarpo.figures.plotting import COLUMNS, plot
from astarpo.figures.settings import (
    Accuracy,
    FigureEntry,
    TimeByPhase,
    Tradeoff,
    TrainingCurves,
    Values,
    read_settings,
)

SCRIPTS = Path(astarpo.__file__).parents[1]
SIZE = {"width_in": 6.0, "height_in": 3.0, "dpi": 50}


def curves(runs=(("go", "a_star_po"),), seeds=(0, 1), steps=3, names=("reward", "kl_per_sequence")):
    rows = [
        {
            "run": run,
            "method": method,
            "seed": seed,
            "step": step,
            "seconds": 60.0 * step,
            "generated_tokens": step,
            "name": name,
            "value": float(step + seed),
        }
        for run, method in runs
        for seed in seeds
        for step in range(1, steps + 1)
        for name in names
    ]
    return frame(rows, CURVES)


def summary(metrics=("greedy", "avg@8", "pass@8", "pass@2", "maj@8")):
    rows = []
    for policy, run, seed, value in (("tiny", None, None, 0.4), ("go", "go", None, 0.6), ("go.seed-0", "go", 0, 0.55)):
        for metric in metrics:
            row = {
                "policy": policy,
                "run": run,
                "method": run and "a_star_po",
                "reference": "tiny",
                "dataset": None,
                "seed": seed,
                "benchmark": "sums",
                "protocol": metric[:3],
                "metric": metric,
                "k": int(metric.split("@")[1]) if "@" in metric else 1,
                "value": value,
                "ci_low": value - 0.1,
                "ci_high": value + 0.05,
                "n_problems": 9,
                "truncated_share": 0.0,
                "null_share": 0.0,
                "no_answer_share": 0.0,
                "mean_response_tokens": 5.0,
                "interval_over": "problems and seeds" if policy == "go" else "problems",
            }
            rows.append(row)
    return frame(rows, SUMMARY)


def values():
    rows = [
        {
            "prompt_id": "a",
            "n": 2,
            "n_correct": 0,
            "pass_rate": 0.0,
            "v_star": 0.0,
            "v_star_se": 0.1,
            "surprisal_sum": None,
            "surprisal_of_correct": None,
        },
        {
            "prompt_id": "b",
            "n": 2,
            "n_correct": 2,
            "pass_rate": 1.0,
            "v_star": 1.0,
            "v_star_se": 0.1,
            "surprisal_sum": None,
            "surprisal_of_correct": None,
        },
        {
            "prompt_id": "c",
            "n": 2,
            "n_correct": 2,
            "pass_rate": 1.0,
            "v_star": 1.0,
            "v_star_se": 0.1,
            "surprisal_sum": None,
            "surprisal_of_correct": None,
        },
        dict.fromkeys(VALUES.names) | {"prompt_id": "d", "n": 0, "n_correct": 0},
    ]
    return frame(rows, VALUES)


def cost():
    rows = [
        dict.fromkeys(COST.names)
        | {
            "run": run,
            "method": method,
            "seed": seed,
            "stage1_seconds": stage1,
            "generate_seconds": 100.0 + 100 * seed,
            "grade_seconds": 10.0,
            "reference_seconds": 20.0,
            "update_seconds": 30.0,
        }
        for run, method, stage1 in (("go", "a_star_po", 60.0), ("base", "grpo", None))
        for seed in (0, 1)
    ]
    return frame(rows, COST)


FIGURES = {
    "training_curves": (curves, {"runs": None, "x": "step"}),
    "accuracy": (summary, {"runs": None}),
    "values": (values, {"value": "n2"}),
    "time": (cost, {"runs": None}),
}


@pytest.mark.parametrize("kind", FIGURES)
def test_the_script_writes_both_files_and_equal_bytes(tmp_path, kind):
    table, own = FIGURES[kind]
    (name,) = TABLES[kind]
    text = json.dumps({**SIZE, **own, "kind": kind})
    write_parquet(tmp_path / "table.parquet", table(), COLUMNS[name])
    figure = plot(read_settings(text), {name: str(tmp_path / "table.parquet")})
    style.save(figure, tmp_path / "a.png", tmp_path / "a.pdf", SIZE["dpi"])
    command = [
        sys.executable,
        SCRIPTS / "plot.py",
        "--settings",
        text,
        f"--{name}",
        tmp_path / "table.parquet",
        "--out-png",
        tmp_path / "b.png",
        "--out-pdf",
        tmp_path / "b.pdf",
    ]
    subprocess.run(list(map(str, command)), check=True)
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    assert b"CreationDate" not in (tmp_path / "a.pdf").read_bytes()
    width, height = struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24])
    assert (width, height) == (300, 150)
    assert not list(tmp_path.glob("*.partial"))


def test_a_kind_is_the_same_in_the_configuration_the_rules_and_the_code():
    union, _ = get_args(FigureEntry)
    configured = [get_args(entry.model_fields["kind"].annotation)[0] for entry in get_args(union)]
    assert set(configured) == set(TABLES) == set(PLOTS)
    for kind in TABLES:
        assert PLOTS[kind].__module__ == f"astarpo.figures.{kind}"
        assert (SCRIPTS.parent / f"report/{kind}.rst").is_file()


@pytest.mark.parametrize("kind", TABLES)
def test_a_figure_depends_on_the_module_of_no_other_kind(kind):
    """Otherwise an edit of that module would have to plot this figure again, and would not."""
    closure = import_closure(SCRIPTS / "plot.py", (PLOTS.modules[kind],))
    own = {path.stem for path in closure if path.parent.name == "figures"}
    assert own == {"__init__", "plotting", "settings", "style", kind} | ({"scores"} & own)
    imported = ast.walk(ast.parse((SCRIPTS / f"astarpo/figures/{kind}.py").read_text()))
    modules = {node.module for node in imported if isinstance(node, ast.ImportFrom)}
    assert not modules & ({*PLOTS.modules.values()} - {PLOTS.modules[kind]})


def test_a_figure_needs_its_kind_and_its_tables():
    with pytest.raises(InputError, match="kind = 'pie': no such figure; choose one of training_curves, accuracy"):
        read_settings(json.dumps({**SIZE, "kind": "pie"}))
    with pytest.raises(InputError, match="'tradeoff' shows the table 'cost': give --cost FILE"):
        plot(Tradeoff(**SIZE, kind="tradeoff"), {"summary": "summary.parquet"})


def plot_curves(table, **changed):
    return training_curves.plot(table, TrainingCurves(**SIZE, kind="training_curves", **changed))


def test_training_curves_show_the_mean_over_the_seeds():
    figure = plot_curves(curves())
    assert [panel.get_ylabel().split("\n")[0] for panel in figure.axes] == ["training reward", "KL to the reference"]
    thin_0, thin_1, thick = figure.axes[0].lines
    assert thin_0.get_ydata().tolist() == [1.0, 2.0, 3.0]
    assert thin_1.get_ydata().tolist() == [2.0, 3.0, 4.0]
    assert thick.get_ydata().tolist() == [1.5, 2.5, 3.5]
    assert thick.get_linewidth() > thin_0.get_linewidth()


def test_training_curves_against_time():
    figure = plot_curves(curves(), x="seconds")
    assert figure.axes[0].lines[-1].get_xdata().tolist() == [1.0, 2.0, 3.0]
    assert figure.get_supxlabel() == "training time without stage 1 (min)"


def test_a_single_seed_has_no_thin_line():
    assert len(plot_curves(curves(seeds=(0,))).axes[0].lines) == 1


def test_only_wanted_runs_are_shown():
    runs = (("go", "a_star_po"), ("base", "grpo"))
    figure = plot_curves(curves(runs), runs=["base"])
    assert {line.get_color() for line in figure.axes[0].lines} == {style.METHOD_COLOURS["grpo"]}


def test_a_run_that_is_not_there():
    with pytest.raises(InputError, match="names 'gone', which is not in the table; it has go"):
        plot_curves(curves(), runs=["gone"])


def test_no_run_at_all():
    with pytest.raises(InputError, match="no run to show"):
        plot_curves(curves(runs=()))


def test_running_mean_keeps_constants_and_has_short_ends():
    values_S = np.array([0.0, 3.0, 6.0, 0.0])
    assert training_curves.running_mean(values_S, 3).tolist() == [1.5, 3.0, 3.0, 3.0]
    assert training_curves.running_mean(values_S, 1).tolist() == values_S.tolist()


def test_accuracy_has_a_panel_a_metric_and_the_largest_k():
    figure = accuracy.plot(summary(), Accuracy(**SIZE, kind="accuracy"))
    assert [panel.get_title() for panel in figure.axes] == ["greedy", "avg@8", "pass@8"]
    points = [bars.lines[0].get_xdata()[0] for bars in figure.axes[1].containers]
    assert points == pytest.approx([40.0, 60.0])
    ends = figure.axes[1].containers[1].lines[2][0].get_segments()[0][:, 0]
    assert ends.tolist() == pytest.approx([50.0, 65.0])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["tiny", "go", "single seeds"]
    assert figure.get_supxlabel().replace("\n", " ") == (
        "problems solved (%), 95 % interval over problems and seeds (of references: over problems)"
    )


def test_the_note_on_intervals_stays_inside_the_figure():
    name = "a-run-with-a-name-as-long-as-sweeps-give-them-1e-4"
    rows = [
        {key: name if value == "go" else value for key, value in row.items()} | {"interval_over": "problems"}
        for row in records(summary())
    ] + records(summary())
    figure = accuracy.plot(frame(rows, SUMMARY), Accuracy(**SIZE, kind="accuracy"))
    figure.draw_without_rendering()
    assert name in figure.get_supxlabel()
    (note,) = [text for text in figure.texts if name in text.get_text()]
    box = note.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0


def test_colours_are_those_of_the_method_and_grey_for_the_reference():
    figure = accuracy.plot(summary(), Accuracy(**SIZE, kind="accuracy", runs=["go"]))
    colours = [bars.lines[0].get_color() for bars in figure.axes[0].containers]
    assert colours == [style.REFERENCE_COLOUR, style.METHOD_COLOURS["a_star_po"]]
    assert plot_curves(curves()).axes[0].lines[-1].get_color() == colours[1]


def test_runs_of_a_method_differ_in_dash_and_marker():
    looks = style.looks({"a": "grpo", "b": "grpo", "c": "ppo", "d": "mine"})
    assert looks["a"].colour == looks["b"].colour != looks["c"].colour
    assert looks["a"].dash != looks["b"].dash
    assert looks["a"].marker != looks["b"].marker
    assert looks["a"].dash == looks["c"].dash
    assert looks["d"].colour == style.OTHER_METHOD_COLOUR


def test_histograms_count_prompts():
    figure = values_figure.plot(values(), Values(**SIZE, kind="values", value="n2"))
    left, right = figure.axes
    assert [bar.get_height() for bar in left.patches] == [1, 0, 2]
    assert sum(bar.get_height() for bar in right.patches) == 3
    assert figure.get_suptitle() == "n2: 3 prompts; 1 without a grade left out"


def test_histograms_need_a_value():
    with pytest.raises(InputError, match="no prompt has a value"):
        values_figure.plot(values().iloc[3:], Values(**SIZE, kind="values", value="n2"))


def test_time_stacks_means_over_seeds():
    figure = time.plot(cost(), TimeByPhase(**SIZE, kind="time"))
    axis = figure.axes[0]
    widths = [[bar.get_width() for bar in bars] for bars in axis.containers]
    minutes = np.array([[60.0, 0.0], [150.0, 150.0], [10.0, 10.0], [20.0, 20.0], [30.0, 30.0]]) / 60
    np.testing.assert_allclose(widths, minutes)
    assert [text.get_text() for text in axis.texts] == ["4.5 min", "3.5 min"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["go", "base"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(90.0, (1.0, "s")), (120.0, (60.0, "min")), (7199.0, (60.0, "min")), (7200.0, (3600.0, "h"))],
)
def test_time_unit(seconds, expected):
    assert style.time_unit(seconds) == expected


def test_a_plot_leaves_the_user_settings_alone():
    import matplotlib

    before = matplotlib.rcParams["font.size"]
    plot_curves(curves())
    assert matplotlib.rcParams["font.size"] == before != style.STYLE["font.size"]
