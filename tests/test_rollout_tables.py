"""The table of responses before and after training: whose, at which steps, with which rewards."""

import copy
import json
import sys

import pytest
from config_case import DEFAULT

from astarpo.common.columns import ROLLOUTS
from astarpo.common.errors import InputError
from astarpo.common.files import sha256, write_table, write_text
from astarpo.config import load_config
from astarpo.config.tables_plan import tables_plan
from astarpo.config.targets import validation
from astarpo.tables.rollouts import before_and_after, rollouts_table

STEPS = (0, 5, 10, 15)


def rollout(step, prompt_id, reward=1.0, **changes):
    texts = {"prompt": f"1 + {prompt_id} =", "gold": f"gold {prompt_id}", "response": f"{prompt_id} at {step}"}
    labels = {"step": step, "prompt_id": prompt_id, "finish_reason": "stop", "n_tokens": 3, "status": "correct"}
    return {**texts, **labels, "reward": reward, **changes}


@pytest.fixture
def trainings(tmp_path):
    rows = [rollout(step, name) for step in STEPS for name in ("b", "a")]
    rows[-1] |= {"reward": None, "finish_reason": "length", "response": "word " * 200 + "end"}
    rows[0] |= {"reward": 0.0}
    write_table(tmp_path / "second.parquet", rows, ROLLOUTS)
    write_table(tmp_path / "first.parquet", [rollout(0, "c", 0.25)], ROLLOUTS)
    paths = {"first": tmp_path / "first.parquet", "second": tmp_path / "second.parquet"}
    known = [{"run": run, "seed": 3, "rollouts": str(path)} for run, path in paths.items()]
    return [*known, {"run": "second", "seed": 4, "rollouts": None}]


def test_the_same_prompts_at_the_first_the_middle_and_the_last_validation(trainings):
    first, second = before_and_after(rollouts_table(trainings))
    assert "first, seed 3" in first.title and "second, seed 3" in second.title
    assert first.texts == [["1 + c =", "gold c", "c at 0 [0.25]"]]
    assert second.head == [["prompt"], ["gold"], ["step 0"], ["step 10"], ["step 15"]]
    b, a = second.texts
    assert b == ["1 + b =", "gold b", "b at 0 [0]", "b at 10 [1]", "b at 15 [1]"]
    assert a[2:4] == ["a at 0 [1]", "a at 10 [1]"]
    assert a[4].startswith("… ") and a[4].endswith("word end [not known, cut off]") and len(a[4]) < 280


@pytest.mark.parametrize(
    ("prompts", "shown"),
    [
        (["1 + 1 = 2\n12 + 3 =", "1 + 1 = 2\n12 + 4 ="], ["12 + 3 =", "12 + 4 ="]),  # whole lines only
        (["1 + 1 = 2\n12 + 3 ="], ["1 + 1 = 2\n12 + 3 ="]),
        (["5 - 1 =", "5 - 2 ="], ["5 - 1 =", "5 - 2 ="]),
    ],
)
def test_the_examples_that_all_prompts_share_are_left_out(tmp_path, prompts, shown):
    rows = [rollout(step, str(index), prompt=prompt) for step in (0, 5) for index, prompt in enumerate(prompts)]
    write_table(tmp_path / "rollouts.parquet", rows, ROLLOUTS)
    (table,) = before_and_after(
        rollouts_table([{"run": "a", "seed": 0, "rollouts": str(tmp_path / "rollouts.parquet")}])
    )
    assert [row[0] for row in table.texts] == shown


def test_a_run_that_kept_nothing_has_no_table(tmp_path):
    write_table(tmp_path / "empty.parquet", [], ROLLOUTS)
    assert (
        before_and_after(rollouts_table([{"run": "a", "seed": 0, "rollouts": str(tmp_path / "empty.parquet")}])) == []
    )


def test_a_file_of_other_columns_is_refused(tmp_path):
    some = ROLLOUTS.remove(ROLLOUTS.get_field_index("reward"))
    write_table(tmp_path / "other.parquet", [], some)
    with pytest.raises(InputError, match="reward"):
        rollouts_table([{"run": "a", "seed": 0, "rollouts": str(tmp_path / "other.parquet")}])


def test_the_script_writes_the_table(tmp_path, trainings, monkeypatch):
    import show_rollouts

    write_text(tmp_path / "plan.json", json.dumps({"runs": trainings}))
    settings = json.dumps({"plan_sha256": sha256(tmp_path / "plan.json")})
    paths = {name: tmp_path / f"rollouts.{name}" for name in ("csv", "markdown", "html")}
    outputs = [part for name, path in paths.items() for part in (f"--out-{name}", str(path))]
    monkeypatch.setattr(
        sys, "argv", ["show_rollouts", "--settings", settings, "--plan", str(tmp_path / "plan.json"), *outputs]
    )
    show_rollouts.main()
    assert "second,3,15,b,1 + b =,gold b,b at 15,stop,3,1.0,correct" in paths["csv"].read_text()
    assert "| 1 + b = | gold b | b at 0 [0] | b at 10 [1] | b at 15 [1] |" in paths["markdown"].read_text()
    assert '<td class="text">… ' in paths["html"].read_text()


@pytest.mark.parametrize(
    ("change", "shown"), [({}, True), ({"kept_rollouts": 0}, False), ({"validation": None}, False)]
)
def test_the_first_seed_of_a_run_that_keeps_rollouts_is_shown(change, shown):
    raw = copy.deepcopy(DEFAULT)
    for run in raw["runs"].values():
        run |= change
    config = load_config(raw)
    assert ("results/tables/rollouts.csv" in validation(config)) == shown
    for training in json.loads(tables_plan(config))["runs"]:
        first = training["seed"] == config.runs[training["run"]].seeds[0]
        assert (training["rollouts"] is not None) == (shown and first)
