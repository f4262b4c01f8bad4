"""Which prompts a step takes, and how V* and selections are joined to them."""

from collections import Counter

import pytest

from astarpo.common.columns import DATASET, SELECTIONS, VALUES
from astarpo.common.errors import InputError
from astarpo.common.files import write_table
from astarpo.data.settings import PromptSettings
from astarpo.training.prompts import load_training_prompts, prompts_of_step

PROMPTING = PromptSettings(chat_template=False, system_prompt=None, max_prompt_tokens=8)


def test_an_epoch_takes_every_prompt_at_most_once_and_leaves_a_ragged_end():
    epoch = [index for step in (1, 2, 3) for index in prompts_of_step(10, 3, step, seed=0)]
    assert len(set(epoch)) == 9
    assert prompts_of_step(10, 3, 4, seed=0) != prompts_of_step(10, 3, 1, seed=0)


def test_the_edge_of_an_epoch():
    steps = [prompts_of_step(4, 2, step, seed=0) for step in (1, 2, 3, 4)]
    assert sorted(steps[0] + steps[1]) == [0, 1, 2, 3] == sorted(steps[2] + steps[3])


def test_all_prompts_are_taken_alike_in_the_long_run():
    counts = Counter(index for step in range(1, 201) for index in prompts_of_step(7, 2, step, seed=1))
    assert set(counts) == set(range(7)) and max(counts.values()) - min(counts.values()) < 25


@pytest.fixture
def files(tmp_path):
    rows = [
        {
            "prompt_id": name,
            "problem": name,
            "prompt": f" {name}",
            "gold": "1",
            "verifier": "integer",
            "worked_solution": None,
            "source_index": index,
        }
        for index, name in enumerate(["a", "b", "c", "much too long"])
    ]
    paths = {name: str(tmp_path / f"{name}.parquet") for name in ("dataset", "values", "selection")}
    write_table(paths["dataset"], rows, DATASET)
    value = {"n": 8, "n_correct": 4, "pass_rate": 0.5, "v_star_se": 0.1}
    value |= {"surprisal_sum": 9.0, "surprisal_of_correct": 3.0}
    # Another order than the data set's: the join must be by prompt_id.
    stars = {"c": 0.3, "b": None, "a": 0.1}
    write_table(paths["values"], [{"prompt_id": k, "v_star": v, **value} for k, v in stars.items()], VALUES)
    keeps = {"b": True, "c": True, "a": True}
    kept = [{"prompt_id": k, "n": 8, "n_correct": 4, "keep": v} for k, v in keeps.items()]
    write_table(paths["selection"], kept, SELECTIONS)
    return paths


def test_values_are_joined_by_prompt_id_and_unknown_ones_left_out(tiny_policy, files):
    found, left_out = load_training_prompts(
        tiny_policy.tokenizer, files["dataset"], PROMPTING, files["values"], files["selection"]
    )
    assert [(prompt.prompt_id, prompt.text, prompt.v_star) for prompt in found] == [("a", " a", 0.1), ("c", " c", 0.3)]
    assert {(prompt.n, prompt.n_correct, prompt.surprisal_sum, prompt.surprisal_of_correct) for prompt in found} == {
        (8, 4, 9.0, 3.0)
    }
    assert left_out == {"too_long": 1, "not_selected": 0, "no_value": 1}


def test_a_prompt_without_a_row_is_an_error(tiny_policy, files):
    write_table(files["values"], [], VALUES)
    with pytest.raises(InputError, match="no row for prompt a; it was made from another data set"):
        load_training_prompts(tiny_policy.tokenizer, files["dataset"], PROMPTING, files["values"])


def test_nothing_left_is_an_error(tiny_policy, files):
    kept = [{"prompt_id": k, "n": 8, "n_correct": 0, "keep": False} for k in "abc"]
    write_table(files["selection"], kept, SELECTIONS)
    with pytest.raises(InputError, match="no prompts are left"):
        load_training_prompts(tiny_policy.tokenizer, files["dataset"], PROMPTING, None, files["selection"])
