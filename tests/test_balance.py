"""Micro-batches for several ranks: equally many of each, within the limits, of nearly equal tokens."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import pytest
import training_case as case
from hypothesis import example, given
from hypothesis import strategies as st

from astarpo.model.world import World
from astarpo.training.balance import PASS_TOKENS, balanced_cut
from astarpo.training.microbatches import cut

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import balance

ALONE = range(200)


def test_neighbours_in_length_make_a_round():
    lengths = [4, 4, 5, 5, 9]
    # In rounds of two, 9 and 5 + 5, then 4 and 4: 10 + 4 tokens. 9 and 5, then 5 and 4 + 4 would be 9 + 8.
    assert balanced_cut(range(5), lengths, 9, 14, ALONE, 2) == [[4], [3, 2], [1], [0]]
    assert balanced_cut([0, 2, 4], lengths, 9, 14, ALONE, 3) == [[4], [2], [0]]


def test_equal_rows_are_shared_evenly():
    assert balanced_cut(range(6), [7] * 6, 9, None, ALONE, 3) == [[5, 4], [3, 2], [1, 0]]
    assert balanced_cut(range(6), [7] * 6, 1, None, ALONE, 3) == [[5], [4], [3], [2], [1], [0]]
    # Not 3 + 3 + 2, with nothing for two ranks.
    assert [len(one) for one in balanced_cut(range(8), [7] * 8, 3, 21, ALONE, 5)] == [2, 2, 2, 1, 1]


@pytest.mark.parametrize(("long", "expected"), [(300, [[3], [2], [1], [0]]), (280, [[3, 2], [1, 0]])])
def test_another_pass_must_save_more_than_it_costs(long, expected):
    # Two rounds take long + 30 tokens and one more pass, one round takes two long rows.
    assert (long + 30 + PASS_TOKENS < 2 * long) == (len(expected) == 4)
    assert balanced_cut(range(4), [30, 30, long, long], 9, None, ALONE, 2) == expected


def test_a_round_leaves_a_row_for_each_rank_or_none():
    lengths = [5, 5, 5, 5, 5, 10, 10, 10]
    # Two of the short rows fit into the first round, but then two ranks would have none in the second.
    assert balanced_cut(range(8), lengths, 9, 10, ALONE, 4) == [[7], [6], [5], [4], [3], [2], [1], [0]]


def test_too_few_rows_leave_the_last_round_incomplete():
    assert balanced_cut(range(2), [3, 4], 9, None, ALONE, 4) == [[1], [0]]
    assert balanced_cut(range(5), [9, 8, 7, 6, 5], 9, 9, ALONE, 2) == [[0], [1], [2], [3], [4]]
    assert balanced_cut([], [], 9, 9, ALONE, 2) == []


def test_groups_stay_whole():
    lengths, groups = [1, 9, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2]
    assert balanced_cut(range(6), lengths, 4, None, groups, 2) == [[0, 1], [4, 5, 2, 3]]
    assert balanced_cut(range(6), lengths, 1, None, groups, 2) == [[0, 1], [4, 5], [2, 3]]
    assert balanced_cut(range(6), lengths, 9, None, groups, 1) == [[0, 1, 4, 5, 2, 3]]


LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=60)


@given(LENGTHS, st.integers(1, 9), st.none() | st.integers(1, 900), st.integers(1, 9))
@example([10, 10, 10, 5, 5, 5, 5, 5], 9, 10, 4)
@example([1, 12, 23, 23, 23, 23, 23, 17, 13, 13, 13], 2, 24, 2)
def test_any_rows_are_cut_within_the_limits_and_for_every_rank(lengths, size, tokens, ranks):
    rows = range(len(lengths))
    found = balanced_cut(rows, lengths, size, tokens, ALONE, ranks)
    assert sorted(row for one in found for row in one) == list(rows)
    for one in found:
        longest = max(lengths[row] for row in one)
        assert len(one) == 1 or (len(one) <= size and (tokens is None or len(one) * longest <= tokens))
    fewest = len(cut(rows, lengths, size, tokens, ALONE))
    if ranks * -(-fewest // ranks) <= len(lengths):
        assert len(found) % ranks == 0


@given(LENGTHS, st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_any_groups_stay_whole(lengths, each, size, ranks):
    groups = [row // each for row in range(len(lengths))]
    found = balanced_cut(range(len(lengths)), lengths, size * each, None, groups, ranks)
    assert sorted(row for one in found for row in one) == list(range(len(lengths)))
    homes = [{groups[row] for row in one} for one in found]
    assert sum(map(len, homes)) == len(set(groups))
    assert all(len(one) <= size * each for one in found)


@pytest.mark.parametrize("name", [name for name in balance.CASES if "64 rows" not in name])
def test_nine_tenths_of_the_ranks_time_are_useful(name):
    after = [balance.compare(balance.CASES[name], 8, seed)[1] for seed in range(5)]
    assert statistics.mean(one.free for one in after) >= 0.9
    assert statistics.mean(one.in_step for one in after) >= 0.9


def test_the_useful_share_by_hand():
    # Two ranks: 6 + 6 padded tokens against 5, then 4 against a pass that does not count.
    shares = balance.useful_shares([[0, 1], [2], [3]], [6, 3, 5, 4], 2, 2)
    assert shares.passes == 2
    assert shares.free == pytest.approx(18 / (2 * 16))
    assert shares.in_step == pytest.approx(18 / (2 * (12 + 4)))
    free_of_waiting = balance.useful_shares([[0], [1], [2], [3]], [6, 3, 3, 6], 2, 3)
    assert (free_of_waiting.free, free_of_waiting.in_step) == (pytest.approx(18 / 18), pytest.approx(18 / 24))


PROMPTS = [[5, 6], [7], [8, 9, 10], [4], [5], [6, 7, 8]]
RESPONSES = [[9] * count for count in (2, 11, 1, 4, 7, 3)]


def shares_of_two(engine, count):
    """The rows of each pass of both ranks, and whether it counts."""
    shares = []
    for rank in range(2):
        engine.world = World(rank, 2)
        cuts = engine.micro_batches(PROMPTS, RESPONSES, range(count))
        shares.append([(one.rows, counts) for one, counts in engine._share(cuts)])
    return shares


def test_every_pass_of_every_rank_counts(tiny_folder):
    engine = case.trainer(tiny_folder, machine=case.MACHINE.changed(micro_batch=2, micro_batch_tokens=16)).engine
    # One device would make four, of lengths (4, 4), (5, 6), (8,) and (12,), or five if it began with the longest.
    assert [one.rows for one in engine.micro_batches(PROMPTS, RESPONSES, range(6))] == [[0, 2], [3, 5], [4], [1]]
    assert shares_of_two(engine, 6) == [[([1], True), ([5, 3], True)], [([4], True), ([2, 0], True)]]


def test_a_rank_without_rows_repeats_the_shortest_pass(tiny_folder):
    engine = case.trainer(tiny_folder, machine=case.MACHINE.changed(micro_batch=1)).engine
    assert shares_of_two(engine, 3) == [[([1], True), ([0], True)], [([2], True), ([0], False)]]
