"""Seeds: equal for equal decisions, different for different ones, and good noise."""

import numpy as np

from astarpo.common.seeds import derive_seed, unit_hash
from astarpo.sampling.uniforms import uniforms


def test_a_seed_depends_on_every_part_its_type_and_its_place():
    parts = [
        (0, "a", 1),
        (0, "a", 2),
        (0, "b", 1),
        (1, "a", 0),
        ("0", "a", 1),
        (0, "a1"),
        (0, "a", 1, 0),
    ]
    assert len({derive_seed(*some) for some in parts}) == len(parts)
    assert derive_seed(0, "a", 1) == derive_seed(0, "a", 1)
    assert all(0 <= derive_seed(n) < 2**63 for n in range(100))


def test_a_seed_is_the_same_on_every_machine():
    assert derive_seed(0, "train", 1) == 5503060842635148382


def test_a_position_does_not_depend_on_how_many_are_drawn_or_with_whom():
    alone, together = uniforms([7], 3), uniforms([1, 7], 10)
    assert np.array_equal(alone[0], together[1, :3])


def test_uniforms_are_uniform_and_uncorrelated_between_neighbouring_seeds():
    drawn = uniforms([derive_seed(n) for n in range(4000)], 2)
    assert abs(drawn.mean() - 0.5) < 0.02 and abs(drawn.var() - 1 / 12) < 0.005
    assert abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) < 0.06
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.06


def test_unit_hash_spreads_over_the_unit_interval():
    values = [unit_hash(str(n)) for n in range(2000)]
    assert min(values) >= 0 and max(values) < 1
    assert np.abs(np.histogram(values, 10, (0, 1))[0] - 200).max() < 70
