"""Confidence intervals of 95 % by drawing the samples anew, with replacement, by a fixed seed.

Source  B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3 (the
        percentile interval)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

MEAN_DRAWS, SET_DRAWS = 1000, 200
"""How often samples are drawn: of values that are averaged, and for a function of a whole set."""

_SEED = 0
_BOUNDS = (2.5, 97.5)


def interval_of_mean(values: np.ndarray) -> tuple[float, float]:
    """The interval of the mean of one value for each sample."""
    rng = np.random.default_rng(_SEED)
    means = [values[_draw(rng, len(values))].mean() for _ in range(MEAN_DRAWS)]
    return _interval(np.array(means))


def interval_of_set(
    compute: Callable[[np.ndarray], float], value: float, count: int
) -> tuple[float, float]:
    """The interval of a function of the rows of a set of `count` samples.

    A draw on which it is not defined, such as one without a class, is left out; without any other,
    the interval is the value alone.
    """
    rng = np.random.default_rng(_SEED)
    found = np.array([compute(_draw(rng, count)) for _ in range(SET_DRAWS)])
    known = found[np.isfinite(found)]
    return _interval(known) if known.size else (value, value)


def _draw(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, count, count)


def _interval(found: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(found, _BOUNDS)
    return float(low), float(high)
