"""Fit the factors of a multilinear form to a layer's outputs, one factor after the other.

A layer gives y = W x, W (O, I, kh, kw), with E[x xᵀ] = C (the identity without data). A form gives
W' = einsum(terms, factors), and E|(W - W') x|² is to be least. It is quadratic in each factor:

    outer     the one factor with the axis o: solved exactly, damped by `OUTER_DAMPING`
    the rest  `CONJUGATE_STEPS` of conjugate gradients each, damped towards what they were

Sweeps over all factors end after `SWEEPS`, or when one gains less than `LEAST_GAIN` of the error.
Nothing is random.

Source  H. A. L. Kiers, Towards a standardized notation and terminology in multiway analysis,
        J. Chemometrics 2000 (CP); V. Lebedev et al., Speeding-up Convolutional Neural Networks
        Using Fine-tuned CP-Decomposition, ICLR 2015; J. Nocedal, S. Wright, Numerical
        Optimization, 2nd ed., algorithm 5.2 (conjugate gradients).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .lowrank import regularize

SWEEPS = 12
CONJUGATE_STEPS = 6
LEAST_GAIN = 0.005
DAMPING = 1e-3
OUTER_DAMPING = 1e-6

Rows = tuple[slice, np.ndarray]
"""Some of the outputs, and which of the outer factor's columns they may use."""


@dataclass(frozen=True, eq=False)
class Goal:
    """What is to be approximated: W (O, I, kh, kw), C (F, F) or None, and both multiplied."""

    weight: np.ndarray
    covariance: np.ndarray | None

    def times_covariance(self, weight: np.ndarray) -> np.ndarray:
        """Multiply a weight (…, I, kh, kw) by the covariance C."""
        if self.covariance is None:
            return weight
        return (weight.reshape(-1, len(self.covariance)) @ self.covariance).reshape(weight.shape)


@dataclass(frozen=True, eq=False)
class Factors:
    """A form's factors and the axes of each, `terms`; the first alone has `o`, the last `i`.

    `free` numbers those that are fitted beside the first. `rows` limits the first's columns.
    """

    terms: tuple[str, ...]
    arrays: tuple[np.ndarray, ...]
    free: tuple[int, ...]
    rows: tuple[Rows, ...] = ()

    def weight(self) -> np.ndarray:
        """Return W'."""
        return _einsum(self.terms, self.arrays, "oiyx")

    def features(self) -> np.ndarray:
        """Return what the outer factor reads, as rows over x (m, I, kh, kw)."""
        found = _einsum(self.terms[1:], self.arrays[1:], f"{self.terms[0][1:]}iyx")
        return found.reshape(-1, *found.shape[-3:])

    def gradient(self, at: int, change: np.ndarray) -> np.ndarray:
        """Return the gradient of <W', change> with respect to one factor."""
        others = [i for i in range(len(self.terms)) if i != at]
        terms = ("oiyx", *(self.terms[i] for i in others))
        return _einsum(terms, (change, *(self.arrays[i] for i in others)), self.terms[at])

    def with_factor(self, at: int, array: np.ndarray) -> Factors:
        """Return the same with another array for one factor."""
        return replace(self, arrays=(*self.arrays[:at], array, *self.arrays[at + 1 :]))


def alternate(start: Factors, goal: Goal) -> tuple[Factors, float]:
    """Fit all factors in turn; return them and |y - y'| / |y|."""
    weighted = goal.times_covariance(goal.weight)
    power = max(float(np.sum(weighted * goal.weight)), 1e-300)
    factors, error = _solve_outer(start, goal, weighted, power)
    for _ in range(SWEEPS if start.free else 0):
        before, kept = error, factors
        for at in factors.free:
            factors = _normalize(_refine(factors, at, goal, weighted), at)
        factors, error = _solve_outer(factors, goal, weighted, power)
        if error > before:
            factors, error = kept, before
        if before - error <= LEAST_GAIN * before:
            break
    return factors, float(np.sqrt(error))


def _solve_outer(
    factors: Factors, goal: Goal, weighted: np.ndarray, power: float
) -> tuple[Factors, float]:
    """Solve for the outer factor; return also the squared error over the outputs' power."""
    features = factors.features()
    count, c_out = len(features), len(goal.weight)
    gram = goal.times_covariance(features).reshape(count, -1) @ features.reshape(count, -1).T
    cross = weighted.reshape(c_out, -1) @ features.reshape(count, -1).T
    outer = np.zeros((c_out, count))
    for rows, columns in factors.rows or ((slice(None), np.arange(count)),):
        some = regularize(gram[np.ix_(columns, columns)], OUTER_DAMPING)
        outer[rows, columns] = np.linalg.solve(some, cross[rows][:, columns].T).T
    error = 1.0 + float(np.sum(outer * (outer @ gram - 2 * cross))) / power
    return factors.with_factor(0, outer.reshape(factors.arrays[0].shape)), max(error, 0.0)


def _refine(factors: Factors, at: int, goal: Goal, weighted: np.ndarray) -> Factors:
    """Take conjugate gradient steps for one factor, all others fixed."""

    def curvature_along(array: np.ndarray) -> np.ndarray:
        return factors.gradient(at, goal.times_covariance(factors.with_factor(at, array).weight()))

    residual = factors.gradient(at, weighted) - curvature_along(factors.arrays[at])
    step, direction, size = np.zeros_like(residual), residual, float(np.sum(residual**2))
    damping = None
    for _ in range(CONJUGATE_STEPS):
        if size <= 1e-300:
            break
        curved = curvature_along(direction)
        if damping is None:
            damping = DAMPING * float(np.sum(direction * curved)) / size
        curved = curved + damping * direction
        curvature = float(np.sum(direction * curved))
        if curvature <= 0:
            break
        step = step + size / curvature * direction
        residual = residual - size / curvature * curved
        size, before = float(np.sum(residual**2)), size
        direction = residual + size / before * direction
    return factors.with_factor(at, factors.arrays[at] + step)


def _normalize(factors: Factors, at: int) -> Factors:
    """Bring each component of an inner factor to length one; the outer factor makes up for it."""
    array = factors.arrays[at]
    others = tuple(range(1, array.ndim))
    length = np.sqrt(np.sum(array**2, axis=others, keepdims=True))
    return factors.with_factor(at, array / np.where(length > 0, length, 1.0))


def _einsum(terms: Sequence[str], arrays: Sequence[np.ndarray], result: str) -> np.ndarray:
    return np.einsum(f"{','.join(terms)}->{result}", *arrays, optimize=True)
