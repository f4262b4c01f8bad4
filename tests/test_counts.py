"""Counts of stage 1: the first N samples of each prompt, null grades left out, gaps refused."""

import pytest

from astarpo.common.columns import GRADED
from astarpo.common.errors import InputError
from astarpo.common.files import write_table
from astarpo.stage_one.counts import count_correct
from astarpo.stage_one.selections import RULES


def block(path, rewards):
    rows = [
        {
            "prompt_id": prompt,
            "sample_index": index,
            "reward": reward,
            "status": "correct" if reward else "incorrect",
            "answer": None,
        }
        for (prompt, index), reward in rewards.items()
    ]
    write_table(path, rows, GRADED)
    return str(path)


@pytest.fixture
def blocks(tmp_path):
    first = block(tmp_path / "0", {("b", 0): 1, ("b", 1): 1, ("a", 0): 0, ("a", 1): None})
    second = block(tmp_path / "1", {("a", 2): 1, ("a", 3): 0, ("b", 2): 1, ("b", 3): None})
    return [first, second]


def test_counts_leave_null_grades_out(blocks):
    prompt_ids, n, correct = count_correct(blocks, 4)
    assert (prompt_ids, n.tolist(), correct.tolist()) == (["a", "b"], [3, 3], [1, 3])


def test_only_the_first_n_samples_count(blocks):
    _, n, correct = count_correct(blocks, 2)
    assert (n.tolist(), correct.tolist()) == ([1, 2], [0, 2])


def test_samples_from_a_later_one_on(blocks):
    """Samples 2 and 3: a has 1 and 0, b has 1 and null."""
    _, n, correct = count_correct(blocks, 2, first=2)
    assert (n.tolist(), correct.tolist()) == ([2, 1], [1, 1])
    with pytest.raises(InputError, match="prompt a has 3 samples instead of 4"):
        count_correct(blocks, 4, first=1)


def test_a_prompt_whose_grades_are_all_null_counts_nothing(tmp_path):
    _, n, correct = count_correct([block(tmp_path / "0", {("a", 0): None, ("a", 1): None})], 2)
    assert (n.tolist(), correct.tolist()) == ([0], [0])


def test_missing_and_double_samples_are_refused(tmp_path, blocks):
    with pytest.raises(InputError, match="prompt a has 4 samples instead of 5"):
        count_correct(blocks, 5)
    with pytest.raises(InputError, match="prompt a has 4 samples instead of 2"):
        count_correct([blocks[0], blocks[0]], 2)


def test_rules_of_selection(blocks):
    _, n, correct = count_correct(blocks, 4)
    assert RULES["solved"](correct, n).tolist() == [True, True]
    assert RULES["undecided"](correct, n).tolist() == [True, False]
