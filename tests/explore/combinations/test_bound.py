"""A bound from held-out errors holds as often, and as surely, as it says."""

import numpy as np
import pytest
from scipy.stats import binom, expon

from adaspring.explore.combinations.bound import (
    ENOUGH_HELD_OUT,
    bound_of,
    data_noise,
    widest,
)
from adaspring.library.score import Score


@pytest.mark.parametrize("count", [59, 93, 150, 400])
def test_it_covers_95_percent_in_95_of_100_draws(count):
    rng = np.random.default_rng(count)
    bounds = [bound_of(rng.exponential(size=count)) for _ in range(2000)]
    assert {bound.coverage_ratio for bound in bounds} == {0.95}
    coverages = expon.cdf([bound.value for bound in bounds])
    assert np.mean(coverages >= 0.95) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 2000)
    assert bounds[0].confidence_ratio >= 0.95


@pytest.mark.parametrize("count", [59, 92, 93, 124, 500])
def test_its_rank_is_the_least_that_suffices_by_the_binomial_law(count):
    rank = int(bound_of(np.arange(1, count + 1)).value)
    assert binom.cdf(rank - 1, count, 0.95) >= 0.95 > binom.cdf(rank - 2, count, 0.95)


def test_fewer_than_59_are_less_sure_and_say_so():
    assert ENOUGH_HELD_OUT == 59
    bound = bound_of(np.arange(58))
    assert bound.value == 57
    assert bound.confidence_ratio == pytest.approx(1 - 0.95**58)


def test_fewer_than_19_bound_nothing():
    assert bound_of(np.zeros(18)).value == np.inf
    assert bound_of(np.zeros(18)).confidence_ratio == 0
    assert bound_of(np.arange(19)).value == 18


def test_even_an_unsure_bound_covers_95_percent_on_average():
    rng = np.random.default_rng(0)
    coverages = [expon.cdf(bound_of(rng.exponential(size=20)).value) for _ in range(4000)]
    assert np.mean(coverages) >= 0.95


def test_where_all_errors_are_known_the_greatest_is_the_bound():
    bound = widest([0.1, 0.3, 0.2])
    assert (bound.value, bound.coverage_ratio, bound.confidence_ratio) == (0.3, 1.0, 1.0)


@pytest.mark.parametrize(("right", "count", "fresh"), [(0.95, 500, 300), (0.8, 100, 1000)])
def test_other_data_are_within_the_noise_but_for_a_few(right, count, fresh):
    rng = np.random.default_rng(1)
    here, there = rng.binomial(count, right, 4000) / count, rng.binomial(fresh, right, 4000) / fresh
    noise = np.array([data_noise([Score.of_share(value, count)], fresh) for value in here])
    assert np.mean(np.abs(there - here) <= noise) >= 0.97
    assert np.mean(noise) < 3 * np.std(there - here)


def test_the_true_value_is_nearer_than_one_on_other_data():
    score = Score.of_share(0.9, 200)
    assert data_noise([score], None) < data_noise([score], 10_000) < data_noise([score], 200)


def test_the_noisiest_score_counts():
    surer, noisier = Score.of_share(0.99, 200), Score.of_share(0.6, 200)
    assert data_noise([surer, noisier], 100) == data_noise([noisier], 100)
