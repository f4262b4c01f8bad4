"""Grading as a stage: order kept, counts told, a response without its problem refused."""

import pytest

from astarpo.common.columns import DATASET, GENERATIONS, IMPORTED
from astarpo.common.errors import InputError
from astarpo.common.files import write_table
from astarpo.rewards.settings import GradingSettings
from astarpo.rewards.stage import grade_table

SETTINGS = GradingSettings(truncated="incorrect", max_null_rate=0.02, min_nulls=20)


@pytest.fixture
def files(tmp_path):
    problem = {"problem": "1+1", "prompt": "1+1", "verifier": "integer", "worked_solution": None}
    rows = [{"prompt_id": name, "gold": gold, "source_index": 0, **problem} for name, gold in (("a", "2"), ("b", "3"))]
    write_table(tmp_path / "problems", rows, DATASET)
    texts = [
        ("b", 0, "\\boxed{3}", "stop"),
        ("a", 1, "\\boxed{3}", "stop"),
        ("a", 0, "\\boxed{2}", "length"),
    ]
    drawn = [
        {
            "prompt_id": name,
            "sample_index": index,
            "seed": 0,
            "response_token_ids": [1],
            "response": text,
            "finish_reason": reason,
            "n_tokens": 1,
            "logprob_sum": 0.0,
        }
        for name, index, text, reason in texts
    ]
    write_table(tmp_path / "generations", drawn, GENERATIONS)
    return str(tmp_path / "generations"), str(tmp_path / "problems")


def test_grades_in_the_order_of_the_responses(files):
    rows, counts = grade_table(*files, SETTINGS)
    assert [(row["prompt_id"], row["sample_index"], row["reward"]) for row in rows] == [
        ("b", 0, 1.0),
        ("a", 1, 0.0),
        ("a", 0, 0.0),
    ]
    assert counts == {"correct": 1, "incorrect": 2} and rows[1]["answer"] == "3"


def test_grading_twice_is_the_same(files):
    assert grade_table(*files, SETTINGS) == grade_table(*files, SETTINGS)


def test_a_response_to_an_unknown_problem_is_refused(files):
    write_table(files[1], [], DATASET)
    with pytest.raises(InputError, match="prompt b is not among the problems"):
        grade_table(*files, SETTINGS)


def imported(path, texts, rewards):
    rows = [
        {"prompt_id": name, "sample_index": 0, "response": text, "imported_reward": reward}
        for name, text, reward in zip("ab", texts, rewards, strict=True)
    ]
    write_table(path, rows, IMPORTED)


def test_imported_samples_are_graded_here_and_compared(files, capsys):
    imported(files[0], ["\\boxed{2}", "\\boxed{2}"], [1.0, 1.0])
    rows, _ = grade_table(*files, SETTINGS)
    assert [row["reward"] for row in rows] == [1.0, 0.0]
    agreement = "1 of 2 grades agree with the imported rewards; correct: 1 here, 2 imported"
    assert agreement in capsys.readouterr().out


def test_without_texts_the_imported_rewards_count(files):
    imported(files[0], [None, None], [1.0, None])
    rows, counts = grade_table(*files, SETTINGS)
    assert [row["reward"] for row in rows] == [1.0, None]
    assert counts == {"correct": 1, "error": 1}
