"""Confidence intervals of accuracies are those of SciPy."""

import pytest
from scipy.stats import binomtest

from adaspring.library.score import Score


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (3, 7), (918, 1000), (1, 200)])
def test_the_interval_is_wilsons(right, count):
    wanted = binomtest(right, count).proportion_ci(0.95, "wilson")
    assert Score.of_share(right / count, count).interval == pytest.approx(tuple(wanted))
