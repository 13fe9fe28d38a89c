"""An accuracy on so many samples, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

_Z = 1.959964  # of a normal distribution, 95 % lie within so many deviations


@dataclass(frozen=True, kw_only=True)
class Score:
    """The share of right answers among `count` samples."""

    value: float
    count: int

    @property
    def interval(self) -> tuple[float, float]:
        """Give the 95 % confidence interval (Wilson, Journal of the ASA 22, 1927)."""
        n, p = self.count, self.value
        middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
        return max(0.0, middle - half), min(1.0, middle + half)
