"""The sum over cells and neighbours that fits measured combinations best, shrunk where unsure.

Least squares, with a normal prior around 0 for what two neighbours do beyond what each does alone,
as wide as makes the measurements likeliest. So pairs count as far as they interact beyond what the
sum leaves unexplained, and not at all where they do not.
What is too bad to run counts as censored: how bad it is does not matter.
Source  C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning, 2006, sections
        2.7 and 5.4.1 (explicit mean, marginal likelihood)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.linalg import LinAlgError
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

from ...errors import UsageError
from ...library.evolve.space import Cells, Floats
from .chain import ChainSum
from .choices import Choices, neighbours

_CELL_RATIO = 1e5
_PAIR_RATIOS = tuple(10.0**power for power in np.arange(-2, 4.1, 0.5))
"""Variances over that of what is left unexplained: of cells, so wide that a cell measured once is
taken at what it measured, and of pairs, those to try."""

_EVIDENCE = 2.0
"""By how much the log-likelihood must rise before pairs count: chance does so in 2 of 100."""
_PASSES = 5
_MET_WEIGHT = 0.1
"""Of what is below the floor as it should be: enough to stay there."""


def fit(choices: Choices, measured: Mapping[Cells, float], least: float) -> ChainSum:
    """Fit a sum to measured combinations; of what is far below `least`, that it is so suffices.

    Raises:
        UsageError: a figure is not finite, or a cell occurs in no measured combination.

    """
    choices.check_measured(measured)
    _check_cells(choices, measured)
    combinations, values = list(measured), np.array(list(measured.values()), dtype=np.float64)
    design = _Design(choices, combinations)
    # Systems so small gain nothing by more threads, and wait for them where others compute.
    with threadpool_limits(limits=1, user_api="blas"):
        if not np.isfinite(least):
            return _solve(design, values, np.ones(len(values)))
        top = max(measured.get(choices.dense, values.max()), least)
        floor = 2 * least - top
        found = _begin(design, values, floor)
        for _ in range(_PASSES):
            found = _solve(design, *_targets(values, found.of(combinations), floor))
    return found


def _begin(design: _Design, values: Floats, floor: float) -> ChainSum:
    """Fit without pairs; of what is below the floor, cells that are alone there say most."""
    together = np.maximum(design.has_cell.sum(axis=1), 1)
    return _solve(design, values, np.where(values < floor, together**-4, 1.0), pairs=False)


def _targets(values: Floats, fitted: Floats, floor: float) -> tuple[Floats, Floats]:
    """What to fit, and with which weight: below the floor, anything below it is as good.

    So a collapse neither bends the sum where it matters, nor is forgotten.
    """
    is_low = values < floor
    targets = np.where(is_low, np.minimum(fitted, floor), values)
    return targets, np.where(is_low & (fitted < floor), _MET_WEIGHT, 1.0)


def _check_cells(choices: Choices, measured: Mapping[Cells, float]) -> None:
    for segment, cell in choices.alone():
        if not any(cells[segment] == cell for cells in measured):
            raise UsageError(
                f"cell {choices.kinds[segment][cell]} of segment {segment} is in no measured "
                "combination, so nothing can be said of it; measure it alone among dense cells"
            )


class _Design:
    """Which cells and which pairs of neighbours each combination has, the dense ones apart."""

    def __init__(self, choices: Choices, combinations: Sequence[Cells]) -> None:
        self.choices, dense = choices, choices.dense
        self.alone = choices.alone()
        self.pairs = sorted(
            {
                pair
                for cells in combinations
                for pair in neighbours(cells)
                if pair[1] != dense[pair[0]] and pair[2] != dense[pair[0] + 1]
            }
        )
        rows = np.array(combinations)
        self.has_cell = np.array([rows[:, i] == a for i, a in self.alone], dtype=np.float64).T
        self.has_cell = self.has_cell.reshape(len(rows), len(self.alone))
        self.has_pair = np.array(
            [(rows[:, i] == a) & (rows[:, i + 1] == b) for i, a, b in self.pairs], dtype=np.float64
        ).T.reshape(len(rows), len(self.pairs))
        self.cells_alike = self.has_cell @ self.has_cell.T
        self.pairs_alike = self.has_pair @ self.has_pair.T

    def chain(self, base: float, cells: Floats, pairs: Floats) -> ChainSum:
        """Give the sum with these terms; what has none is 0."""
        kinds = self.choices.kinds
        figures = tuple(np.zeros(len(names)) for names in kinds)
        for (segment, cell), value in zip(self.alone, cells, strict=True):
            figures[segment][cell] = value
        if not pairs.any():
            return ChainSum(base=base, cells=figures)
        crossings = tuple(np.zeros((len(a), len(b))) for a, b in pairwise(kinds))
        for (segment, here, there), value in zip(self.pairs, pairs, strict=True):
            crossings[segment][here, there] = value
        return ChainSum(base=base, cells=figures, crossings=crossings)


@dataclass(frozen=True)
class _Solution:
    likelihood: float
    base: float
    cells: Floats
    pairs: Floats


def _solve(design: _Design, values: Floats, weights: Floats, *, pairs: bool = True) -> ChainSum:
    """Choose the variance of pairs by the likelihood, then solve."""
    found = _solution(design, values, weights, 0.0)
    if design.pairs and pairs:
        tried = (_solution(design, values, weights, ratio) for ratio in _PAIR_RATIOS)
        crossed = max(tried, key=lambda solution: solution.likelihood)
        found = crossed if crossed.likelihood > found.likelihood + _EVIDENCE else found
    return design.chain(found.base, found.cells, found.pairs)


def _solution(design: _Design, values: Floats, weights: Floats, pair_ratio: float) -> _Solution:
    """Solve for a given variance; the base has no prior (restricted likelihood)."""
    count, cells, pairs = len(values), design.has_cell, design.has_pair
    variance = np.diag(1 / weights) + _CELL_RATIO * design.cells_alike
    if pair_ratio:
        variance += pair_ratio * design.pairs_alike
    try:
        factor = cho_factor(variance, lower=True)
    except LinAlgError:
        return _Solution(-np.inf, 0.0, np.zeros(cells.shape[1]), np.zeros(pairs.shape[1]))
    ones = cho_solve(factor, np.ones(count))
    base = float(ones @ values / ones.sum())
    left = cho_solve(factor, values - base)
    spread = max(float((values - base) @ left) / max(count - 1, 1), 1e-30)
    likelihood = -0.5 * (count - 1) * np.log(spread) - np.log(np.diag(factor[0])).sum()
    likelihood -= 0.5 * np.log(ones.sum())
    return _Solution(likelihood, base, _CELL_RATIO * cells.T @ left, pair_ratio * pairs.T @ left)
