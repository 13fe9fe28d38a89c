"""A metric's value on so many samples, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

_Z = 1.959964  # of a normal distribution, 95 % lie within so many deviations


@dataclass(frozen=True, kw_only=True)
class Score:
    """A value on `count` samples; `interval` holds the true one with a confidence of 95 %."""

    value: float
    count: int
    interval: tuple[float, float]

    @classmethod
    def of_share(cls, value: float, count: int) -> Score:
        """The share of right answers, its interval by Wilson (Journal of the ASA 22, 1927)."""
        n, p = count, value
        middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
        return cls(value=p, count=n, interval=(max(0.0, middle - half), min(1.0, middle + half)))
