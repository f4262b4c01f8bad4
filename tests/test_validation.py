"""The tables of validation accuracy, for choosing a learning rate."""

import pandas as pd
import pytest
from answers_case import records

from astarpo.common.errors import InputError
from astarpo.common.files import write_table
from astarpo.tables.ranking import Mark
from astarpo.tables.validation import NEEDED, difference_table, difference_tables, rate_table, validation_table


def looks(family, lr, seed, *values):
    return [
        {"run": f"{family}-{lr}", "family": family, "seed": seed, "lr": lr, "step": 5 * i, "validation_reward": value}
        for i, value in enumerate(values)
    ]


def test_looks_are_read_in_the_order_of_the_steps(tmp_path):
    path = tmp_path / "metrics.parquet"
    values = {2: 0.5, 0: 0.25, 1: None}
    write_table(path, [{"step": s, "validation_reward": v} for s, v in values.items()], NEEDED)
    rows = records(validation_table([{"run": "a-1", "family": "a", "seed": 3, "lr": 0.1, "metrics": str(path)}]))
    assert [(row["step"], row["validation_reward"]) for row in rows] == [(0, 0.25), (2, 0.5)]
    assert rows[0] == {
        "run": "a-1",
        "family": "a",
        "seed": 3,
        "lr": 0.1,
        "step": 0,
        "validation_reward": 0.25,
    }


def test_the_last_look_counts_and_the_best_rate_is_bold():
    rows = [
        *looks("a", 0.1, 0, 0.9, 0.2),
        *looks("a", 0.1, 1, 0.9, 0.4),
        *looks("a", 0.01, 0, 0.0, 0.25),
    ]
    rows += looks("b", 0.1, 0, 0.0, 0.5)
    made = rate_table(pd.DataFrame(rows))
    assert made.head == [["run"], ["0.01"], ["0.1"]]
    assert made.texts == [["a", "25.0 ?", "30.0"], ["b", "", "50.0"]]
    assert best_places(made) == [(0, 2)]
    assert made.title.endswith("the best rate bold; ? may equal it: one seed, or seeds that all agree")


def best_places(made):
    """(row, column) of the cells in bold."""
    return [(y, x) for y, row in enumerate(made.rows) for x, cell in enumerate(row) if cell.mark == Mark(1)]


def of_seeds(family, lr, *values):
    """A run of as many seeds, with what each ends with."""
    return [row for seed, value in enumerate(values) for row in looks(family, lr, seed, 0.0, value)]


def test_rates_that_may_be_as_good_as_the_best_are_marked():
    # The best is ahead by 1, -1, 3 points of the second, and by 20, 21, 22 of the third: t = 21 sqrt(3), p = 0.0008.
    rows = [
        *of_seeds("a", 0.1, 0.60, 0.62, 0.64),
        *of_seeds("a", 0.2, 0.59, 0.63, 0.61),
        *of_seeds("a", 0.3, 0.40, 0.41, 0.42),
        *of_seeds("b", 0.1, 0.1, 0.2, 0.3),
    ]
    made = rate_table(pd.DataFrame(rows))
    assert made.texts == [["a", "62.0", "61.0 =", "41.0"], ["b", "20.0", "", ""]]
    assert best_places(made) == [(0, 1)]
    assert "= not different from it, by seed, after Holm's correction" in made.title
    assert "one seed" not in made.title


def test_two_best_rates_are_both_bold():
    rows = [*of_seeds("a", 0.1, 0.5, 0.6), *of_seeds("a", 0.2, 0.6, 0.5)]
    made = rate_table(pd.DataFrame(rows))
    assert made.texts == [["a", "55.0", "55.0"]] and best_places(made) == [(0, 1), (0, 2)]


def trained(*runs, **terms):
    terms = {"dataset": "d", "selection": None, "prompts_per_batch": 4} | terms
    return [{"run": run, "terms": terms} for run in runs]


def test_runs_are_set_against_the_best_seed_by_seed():
    # Behind by 20, 21, 22 points: deviation 1, t quantile of two degrees of freedom 4.303.
    rows = [
        *of_seeds("a", 0.1, 0.40, 0.41, 0.42),
        *of_seeds("b", 0.1, 0.60, 0.62, 0.64),
        *of_seeds("c", 0.1, 0.59, 0.63, 0.61),
        *of_seeds("d", 0.1, 0.9),
    ]
    made = difference_table(pd.DataFrame(rows), trained("a-0.1", "b-0.1", "c-0.1", "d-0.1"))
    assert made.head[:3] == [["run"], ["validation, %"], ["minus b-0.1"]]
    reach = 4.302653 / 3**0.5
    assert made.texts == [
        ["b-0.1", "62.0", "", ""],
        ["c-0.1", "61.0", "-1.0 [-6.0, +4.0]", "tied"],
        ["a-0.1", "41.0", f"-21.0 [{-21 - reach:+.1f}, {-21 + reach:+.1f}]", ""],
    ]
    apart = difference_table(pd.DataFrame(rows), [*trained("a-0.1", "c-0.1"), *trained("b-0.1", dataset="e")])
    assert apart.texts[2][2] != made.texts[2][2]


def test_runs_validated_on_other_prompts_are_not_compared():
    rows = [row for run in "abcd" for row in of_seeds(run, 0.1, 0.6, 0.62 + ord(run) / 1e4)]
    on_v, on_w = trained("a-0.1", "b-0.1", validation="v"), trained("c-0.1", "d-0.1", validation="w")
    made = difference_tables(pd.DataFrame(rows), [*on_v, *on_w, *trained("e-0.1", validation=None)])
    assert [[line[0] for line in table.texts] for table in made] == [["b-0.1", "a-0.1"], ["d-0.1", "c-0.1"]]
    start = "Difference to the best run at the last validation on"
    assert [table.title[: len(start) + 3] for table in made] == [f"{start} v,", f"{start} w,"]


def test_runs_that_differ_by_the_same_in_every_seed_cannot_be_told_apart():
    rows = [*of_seeds("a", 0.1, 0.5, 0.6), *of_seeds("b", 0.1, 0.4, 0.5)]
    assert difference_table(pd.DataFrame(rows), trained("a-0.1", "b-0.1")).texts[1] == [
        "b-0.1",
        "45.0",
        "",
        "cannot tell",
    ]


def test_single_seeds_are_not_set_against_each_other():
    rows = [*of_seeds("a", 0.1, 0.5, 0.6), *of_seeds("b", 0.1, 0.5)]
    assert difference_table(pd.DataFrame(rows), trained("a-0.1", "b-0.1")) is None


def test_nothing_to_show_is_said():
    with pytest.raises(InputError, match="set `validation` in its run"):
        rate_table(validation_table([]))


def test_seeds_that_all_agree_are_not_taken_for_one_seed():
    rows = [*of_seeds("a", 0.1, 0.5, 0.5), *of_seeds("a", 0.2, 0.0, 0.0)]
    made = rate_table(pd.DataFrame(rows))
    assert made.texts == [["a", "50.0", "0.0 ?"]]
    assert made.title.endswith("? may equal it: one seed, or seeds that all agree")
    terms = {"dataset": "d", "selection": None, "prompts_per_batch": 4}
    rows = [{**row, "run": f"a-{row['lr']:g}"} for row in rows]
    trainings = [{"run": run, "terms": terms} for run in ("a-0.1", "a-0.2")]
    made = difference_table(pd.DataFrame(rows), trainings)
    assert made.texts[1] == ["a-0.2", "0.0", "", "cannot tell"]
    assert "cannot tell: the seeds all agree" in made.title
