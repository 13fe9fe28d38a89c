"""Sums over chains of cells, and draws that are uniform among those that are large enough."""

from itertools import pairwise, product

import numpy as np
import pytest
from scipy.stats import chisquare

from adaspring.explore.combinations.chain import ChainSum

SIZES = (3, 2, 4, 3)


def chain(seed=0, sizes=SIZES, crossed=True):
    rng = np.random.default_rng(seed)
    cells = tuple(rng.normal(size=n) for n in sizes)
    between = tuple(rng.normal(size=pair) for pair in pairwise(sizes))
    return ChainSum(base=0.5, cells=cells, crossings=between if crossed else ())


def by_hand(held, cells):
    found = held.base + sum(figures[c] for figures, c in zip(held.cells, cells, strict=True))
    return found + sum(t[a, b] for t, a, b in zip(held.crossings, cells, cells[1:], strict=False))


ALL = tuple(product(*map(range, SIZES)))


@pytest.mark.parametrize("crossed", [True, False])
def test_a_sum_is_what_one_adds_up_by_hand(crossed):
    held = chain(crossed=crossed)
    assert held.of(ALL) == pytest.approx([by_hand(held, cells) for cells in ALL])


@pytest.mark.parametrize("crossed", [True, False])
def test_the_least_sum_is_that_of_the_least_combination(crossed):
    held = chain(2, crossed=crossed)
    assert held.least == pytest.approx(held.of(ALL).min())


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("crossed", [True, False])
def test_all_that_reach_a_least_sum_are_drawn_and_no_others(share, crossed):
    held = chain(3, crossed=crossed)
    least = np.quantile(held.of(ALL), 1 - share)
    drawn = held.draw(least, len(ALL), np.random.default_rng(0))
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) == {cells for cells in ALL if held.of([cells])[0] >= least}


def test_each_of_them_is_as_likely_as_any_other():
    held = chain(5)
    least = np.quantile(held.of(ALL), 0.6)
    allowed = [cells for cells in ALL if held.of([cells])[0] >= least]
    rng, count = np.random.default_rng(0), dict.fromkeys(allowed, 0)
    for _ in range(1500):
        for cells in held.draw(least, 3, rng):
            count[cells] += 1
    assert chisquare(list(count.values())).pvalue > 0.01


def test_no_limit_allows_all_and_one_too_high_none():
    held, rng = chain(1), np.random.default_rng(0)
    assert set(held.draw(-np.inf, 1000, rng)) == set(ALL)
    assert held.draw(held.of(ALL).max() + 1e-9, 10, rng) == ()
    assert held.draw(held.of(ALL).max(), 10, rng) == (ALL[int(np.argmax(held.of(ALL)))],)


def test_what_is_to_be_skipped_is_not_drawn():
    held, rng = chain(1), np.random.default_rng(0)
    assert set(held.draw(-np.inf, 1000, rng, skip=ALL[:50])) == set(ALL[50:])
    assert held.draw(-np.inf, 10, rng, skip=ALL) == ()


def test_cells_that_do_not_differ_and_a_single_segment_are_no_matter():
    alike = ChainSum(base=1.0, cells=(np.zeros(2), np.zeros(2)))
    assert len(alike.draw(1.0, 10, np.random.default_rng(0))) == 4
    single = chain(2, sizes=(5,))
    assert len(single.draw(-np.inf, 10, np.random.default_rng(0))) == 5


def test_draws_of_a_huge_space_reach_the_least_sum():
    held = chain(4, sizes=(8,) * 20)
    rng = np.random.default_rng(0)
    sums = held.of(np.array([rng.integers(0, 8, 20) for _ in range(1000)]))
    least = sums.max() + 2 * sums.std()
    drawn = held.draw(least, 300, rng)
    assert len(set(drawn)) == 300
    assert held.of(drawn).min() >= least
