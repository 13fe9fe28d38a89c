"""Which combinations are measured: each cell alone, pairs, what looks useful; seeded."""

from collections import Counter

import numpy as np
import pytest

from adaspring.explore.combinations import sample
from adaspring.explore.combinations.chain import ChainSum
from adaspring.explore.combinations.choices import Choices

CHOICES = Choices(
    kinds=(("dense", "int8", "pruned"), ("int8", "dense"), ("dense", "low-rank", "int8", "pruned"))
)
LOSSES = ([0, 0.01, 0.06], [0.02, 0], [0, 0.03, 0.01, 0.05])
COSTS = [np.array(figures) for figures in ([3, 2, 1.0], [1.0, 3], [3, 1.5, 2, 1.0])]
PREDICTED = ChainSum(base=0.9, cells=tuple(-np.array(losses) for losses in LOSSES))
EVERY = list(CHOICES.all())


def rng():
    return np.random.default_rng(0)


def test_first_come_the_dense_one_each_cell_alone_and_all_of_a_kind():
    assert sample.first(CHOICES) == (
        (0, 1, 0),
        (1, 1, 0),
        (2, 1, 0),
        (0, 0, 0),
        (0, 1, 1),
        (0, 1, 2),
        (0, 1, 3),
        (1, 0, 2),
        (2, 1, 3),
    )


def test_pairs_are_two_cells_among_dense_ones_neighbours_and_heavy_ones_first():
    found = sample.pairs(CHOICES, PREDICTED, -np.inf, 100, ())
    changed = [sum(a != b for a, b in zip(c, CHOICES.dense, strict=True)) for c in found]
    assert set(changed) == {2}
    assert len(found) == len(set(found)) == 2 * 1 + 1 * 3 + 2 * 3
    assert found[:3] == ((2, 0, 0), (2, 1, 3), (0, 0, 1))
    assert found[:4] == sample.pairs(CHOICES, PREDICTED, -np.inf, 4, ())


def test_pairs_that_are_too_bad_to_run_come_last():
    found = sample.pairs(CHOICES, PREDICTED, 0.83, 100, ())
    good = PREDICTED.of(found) >= 0.83
    assert good.tolist() == sorted(good.tolist(), reverse=True)
    assert not good.all()


def test_what_was_measured_is_not_asked_for_again():
    skip = EVERY[::2]
    for found in (
        sample.pairs(CHOICES, PREDICTED, -np.inf, 100, skip),
        sample.useful(PREDICTED, COSTS, -np.inf, 100, rng(), skip),
        sample.near_front(PREDICTED, COSTS, -np.inf, 100, rng(), skip),
        sample.held_out(PREDICTED, -np.inf, 100, rng(), skip),
    ):
        assert found
        assert not set(found) & set(skip)


@pytest.mark.parametrize("draw", [sample.useful, sample.near_front])
def test_draws_are_allowed_and_the_same_for_the_same_seed(draw):
    found = draw(PREDICTED, COSTS, 0.84, 8, rng(), ())
    assert found == draw(PREDICTED, COSTS, 0.84, 8, rng(), ())
    assert 0 < len(set(found)) == len(found) <= 8
    assert PREDICTED.of(found).min() >= 0.84


def test_the_useful_ones_balance_cells():
    chain = ChainSum(base=0.0, cells=tuple(np.zeros(5) for _ in range(6)))
    found = sample.useful(chain, [np.zeros(5)] * 6, -np.inf, 50, rng(), [(0,) * 6])
    count = Counter(part for cells in found for part in enumerate(cells))
    assert len(count) == 30
    assert max(count.values()) - min(count.values()) <= 3
    drawn = chain.draw(-np.inf, 50, rng())
    unbalanced = Counter(part for cells in drawn for part in enumerate(cells))
    assert max(unbalanced.values()) - min(unbalanced.values()) > 3


def test_near_the_front_few_others_are_better_and_cheaper():
    random = np.random.default_rng(2)
    cells = tuple(-random.gamma(1, 0.01, 5) for _ in range(5))
    between = tuple(-random.gamma(0.3, 0.01, (5, 5)) for _ in range(4))
    chain = ChainSum(base=0.9, cells=cells, crossings=between)
    costs = [random.uniform(1, 3, 5) for _ in range(5)]
    total = ChainSum(base=0.0, cells=tuple(costs))
    every = np.stack(np.meshgrid(*[range(5)] * 5), axis=-1).reshape(-1, 5)
    metrics, prices = chain.of(every), total.of(every)
    found = sample.near_front(chain, costs, -np.inf, 40, rng())
    ahead = [np.mean((metrics > chain.of([c])[0]) & (prices < total.of([c])[0])) for c in found]
    assert len(found) > 10
    assert max(ahead) < 0.01
