"""How far a prediction may be off, from the errors on what it has not seen.

Where held-out combinations are drawn like those that are asked about later, the rank of a later
error among theirs is uniform, whatever the network, the predictor and the errors' law (split
conformal prediction). How many of the later ones a bound holds for then depends on the luck of the
draw; it is Beta distributed, so a rank is taken that suffices with the confidence asked for.
Source  V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World, 2005
        J. Lei et al., Distribution-free predictive inference for regression, JASA 113, 2018
        V. Vovk, Conditional validity of inductive conformal predictors, ACML 2012, proposition 2a
        R. G. Newcombe, Interval estimation for the difference between independent proportions,
        Statistics in Medicine 17, 1998, method 10
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, hypot, inf, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta, norm

from ...library.score import Score

COVERAGE_RATIO, CONFIDENCE_RATIO = 0.95, 0.95

ENOUGH_HELD_OUT = ceil(np.log(1 - CONFIDENCE_RATIO) / np.log(COVERAGE_RATIO))
"""59: so many are needed before their greatest error is a bound with that confidence."""

EACH_RATIO = 1 - (1 - COVERAGE_RATIO) / 2
"""How often each of two bounds must hold, so that both do as often as one bound alone would."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Errors of at least `coverage_ratio` of all combinations are at most `value`.

    That is so with a confidence of `confidence_ratio`, over the draw of `held_out_count`
    combinations. With fewer than 59 of them the confidence is less than 95 %; with fewer than 19 no
    bound can be had, and the value is infinite.
    """

    value: float
    coverage_ratio: float
    confidence_ratio: float
    held_out_count: int


def bound_of(
    errors: ArrayLike, coverage: float = COVERAGE_RATIO, confidence: float = CONFIDENCE_RATIO
) -> Bound:
    """Take the least error of the held-out ones that is a bound; the greatest where none is."""
    ordered = np.sort(np.asarray(errors, dtype=np.float64).reshape(-1))
    count = len(ordered)
    if count + 1 < 1 / (1 - coverage) - 1e-9:
        return _bound(inf, coverage, 0.0, count)
    ranks = np.arange(ceil((count + 1) * coverage - 1e-9), count + 1)
    surely = beta.sf(coverage, ranks, count + 1 - ranks)
    place = min(int(np.searchsorted(surely, confidence)), len(ranks) - 1)
    return _bound(float(ordered[ranks[place] - 1]), coverage, float(surely[place]), count)


def widest(errors: ArrayLike) -> Bound:
    """The greatest error, where the errors of all combinations are known."""
    found = np.asarray(errors, dtype=np.float64).reshape(-1)
    return _bound(float(found.max(initial=0.0)), 1.0, 1.0, len(found))


def data_noise(scores: Iterable[Score], fresh_count: int | None) -> float:
    """How far a metric on other data is from the scores, but for 2.5 % of such data.

    `fresh_count`: on how many other samples; None: the true value, of endless data. The intervals
    of the scores, of 95 %, are widened as a normal distribution's would be; the widest counts.
    """
    widening = float(norm.ppf(0.5 + EACH_RATIO / 2) / norm.ppf(0.975))

    def one(score: Score) -> float:
        here = max(abs(end - score.value) for end in score.interval)
        there = 0.0 if fresh_count is None else here * sqrt(score.count / fresh_count)
        return widening * hypot(here, there)

    return max(map(one, scores), default=0.0)


def _bound(value: float, coverage: float, confidence: float, count: int) -> Bound:
    return Bound(
        value=value,
        coverage_ratio=coverage,
        confidence_ratio=confidence,
        held_out_count=count,
    )
