"""Intervals are SciPy's percentile bootstrap, to within its noise, and the same each time."""

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from adaspring.metrics import Metric
from adaspring.metrics.bootstrap import interval_of_mean, interval_of_set

VALUES = np.random.default_rng(3).gamma(2.0, size=300)


def test_the_interval_of_a_mean_is_scipys():
    found = bootstrap((VALUES,), np.mean, method="percentile", rng=np.random.default_rng(1))
    wanted = (found.confidence_interval.low, found.confidence_interval.high)
    assert interval_of_mean(VALUES) == pytest.approx(wanted, rel=0.01)
    assert interval_of_mean(VALUES) == interval_of_mean(VALUES)


def test_the_interval_of_a_function_of_a_set_is_scipys():
    found = bootstrap((VALUES,), np.median, method="percentile", rng=np.random.default_rng(1))
    wanted = (found.confidence_interval.low, found.confidence_interval.high)
    ours = interval_of_set(lambda rows: float(np.median(VALUES[rows])), 1.0, len(VALUES))
    assert ours == pytest.approx(wanted, rel=0.03)


def test_draws_on_which_it_is_not_defined_are_left_out():
    assert interval_of_set(lambda rows: float("nan"), 0.5, 10) == (0.5, 0.5)


def metric(function):
    return Metric(name="mine", direction="higher", function=function)


def test_values_of_samples_are_averaged_and_those_of_sets_are_drawn_anew():
    outputs, targets = [VALUES[:, None]], np.zeros(300)
    mean = metric(lambda o, t: o[:, 0] - t).score(outputs, targets)
    assert mean.value == pytest.approx(VALUES.mean())
    assert mean.interval == interval_of_mean(VALUES)
    whole = metric(lambda o, t: float(np.median(o[:, 0] - t))).score(outputs, targets)
    assert whole.value == np.median(VALUES)
    assert whole.interval[0] < whole.value < whole.interval[1]


def test_a_share_of_samples_has_wilsons_interval():
    right = VALUES > 1
    found = metric(lambda o, t: o).score([right], np.zeros(300))
    wanted = binomtest(int(right.sum()), 300).proportion_ci(0.95, "wilson")
    assert found.interval == pytest.approx(tuple(wanted))
    numbers = metric(lambda o, t: 0.0 * o).score([right], np.zeros(300))
    assert (numbers.value, numbers.interval) == (0, (0, 0))


def test_targets_by_name_and_of_objects_are_drawn_with_their_samples():
    def right(outputs, targets):
        assert all(
            t["at"] == n for t, n in zip(targets["objects"], targets["numbers"], strict=True)
        )
        return float(np.mean(outputs[:, 0] == targets["numbers"]))

    objects = np.empty(40, object)
    objects[:] = [{"at": k} for k in range(40)]
    targets = {"numbers": np.arange(40), "objects": objects}
    assert metric(right).score([np.arange(40.0)[:, None]], targets).interval == (1, 1)
