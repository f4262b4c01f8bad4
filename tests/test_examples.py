"""The page of responses: some of each kind, for the same problems for each policy, and safe against markup."""

import pytest

from astarpo.common.columns import DATASET, GENERATIONS, GRADED
from astarpo.common.errors import InputError
from astarpo.common.files import read_table, write_table
from astarpo.tables.examples import EACH, Passage, Section, choose_examples, examples_page


def write(folder, rewards, response="r", finish="stop"):
    """One problem a reward, one sample each."""
    ids = [f"p{n}" for n in range(len(rewards))]
    problem = {
        "problem": "q",
        "prompt": "the prompt",
        "gold": "42",
        "verifier": "integer",
        "worked_solution": None,
        "source_index": 0,
    }
    drawn = {
        "sample_index": 0,
        "seed": 0,
        "response_token_ids": [1],
        "response": response,
        "finish_reason": finish,
        "n_tokens": 7,
        "logprob_sum": 0.0,
    }
    status = {1.0: "correct", 0.0: "incorrect", None: "timeout"}
    grades = [
        {"prompt_id": i, "sample_index": 0, "reward": r, "status": status[r], "answer": None}
        for i, r in zip(ids, rewards, strict=True)
    ]
    tables = (
        ("problems", [{"prompt_id": i, **problem} for i in ids], DATASET),
        ("generations", [{"prompt_id": i, **drawn} for i in ids], GENERATIONS),
        ("graded", grades, GRADED),
    )
    for name, rows, schema in tables:
        write_table(folder / name, rows, schema)
    return [str(folder / name) for name in ("graded", "generations", "problems")]


def test_some_of_each_kind(tmp_path):
    rows = choose_examples(*write(tmp_path, [1.0] * 5 + [0.0, None]))
    assert [row.kind for row in rows] == ["right"] * EACH + ["wrong", "not known"]
    assert rows[0].prompt == Passage("the prompt") and rows[0].gold == Passage("42")
    assert rows[-1].status == "timeout"


def test_a_wrong_response_that_was_cut_is_a_kind_of_its_own(tmp_path):
    rows = choose_examples(*write(tmp_path, [0.0], finish="length"))
    assert [row.kind for row in rows] == ["cut at the limit"]


def test_two_policies_show_the_same_problems(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    one, two = (choose_examples(*write(tmp_path / name, [1.0] * 9)) for name in "ab")
    assert one == two


def test_the_page_escapes_what_a_model_wrote_and_cuts_its_middle(tmp_path):
    text = "<script>alert(1)</script>" + "x" * 5000 + "the end"
    rows = choose_examples(*write(tmp_path, [1.0], response=text))
    shown = examples_page([Section("p<1>", "sums", "greedy", rows), Section("q", "sums", "greedy", rows)])
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "the end" in shown
    assert "characters left out" in shown and "p&lt;1&gt;" in shown
    assert shown.count("<details open>") == 1 and shown.count("<details>") == 1


def test_grades_of_responses_that_are_not_there_are_refused(tmp_path):
    graded, generations, problems = write(tmp_path, [1.0, 0.0])
    write_table(generations, read_table(generations, GENERATIONS).slice(1), GENERATIONS)
    with pytest.raises(InputError, match="graded: does not grade the responses in .*generations"):
        choose_examples(graded, generations, problems)
