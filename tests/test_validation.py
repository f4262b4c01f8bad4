"""The table that a learning rate is chosen by."""

import pytest

from astarpo.errors import InputError
from astarpo.files import write_table
from astarpo.tables.validation import NEEDED, rate_table, validation_rows


def looks(family, lr, seed, *values):
    return [
        {"run": f"{family}-{lr}", "family": family, "seed": seed, "lr": lr, "step": 5 * i, "validation_reward": value}
        for i, value in enumerate(values)
    ]  # fmt: skip


def test_looks_are_read_in_the_order_of_the_steps(tmp_path):
    path = tmp_path / "metrics.parquet"
    values = {2: 0.5, 0: 0.25, 1: None}
    write_table(path, [{"step": s, "validation_reward": v} for s, v in values.items()], NEEDED)
    rows = validation_rows(
        {"run": "a-1", "family": "a", "seed": 3, "lr": 0.1, "metrics": str(path)}
    )
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
    made = rate_table(rows)
    assert made.head == ["run", "0.01", "0.1"]
    assert made.body == [["a", "25.0", "<b>30.0</b>"], ["b", "", "50.0"]]


def test_nothing_to_show_is_said():
    with pytest.raises(InputError, match="give its run `validation`"):
        rate_table([])
