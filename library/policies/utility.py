"""The metric against energy at a price, and what is as good decided by energy, then latency."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from .limits import TOLERANCE_RATIO, Limits
from .options import Option, Options

_LATENCY_SHARE = 1e-6
"""Latency decides between energies that differ by a smaller share than this alone."""

_TIE_MJ_PRICE = 1e-12
"""What a millijoule is worth where it is worth nothing, so that energy decides between equals."""


@dataclass(frozen=True)
class Utility:
    """Judges by metric - price · energy; differences of the metric within its noise are none.

    `mj_price` is what a millijoule is worth in the metric's unit now; `least_mj_price` and
    `most_mj_price` were the battery a little fuller or emptier. Where energy is worth nothing and
    no metric is known, the plainest variant is run.
    """

    options: Options
    mj_price: float = 0.0
    least_mj_price: float = 0.0
    most_mj_price: float = 0.0

    @property
    def noise(self) -> float:
        """What the metric differs by through chance."""
        return self.options.offer.metric_noise

    @property
    def _is_blind(self) -> bool:
        return self.mj_price == 0.0 and "metric" not in self.options.known

    def pick(self, limits: Limits) -> Option | None:
        """Return the best that meets the limits; of what is as good, what takes the least."""
        if self._is_blind:
            plainest = self.options.named(self.options.offer.plainest, limits.goal())
            if plainest is not None and not limits.broken_by(plainest):
                return plainest
        price = max(self.mj_price, self._tie_mj_price)
        first = self.options.best(limits.goal(metric_worth=1.0, mj_worth=price))
        decided = self.noise == 0.0 or not self.options.is_handful
        if first is None or decided or isnan(first.found.metric):
            return first
        return self._leanest(limits, first)

    @property
    def _tie_mj_price(self) -> float:
        """What a millijoule is worth at least: of many combinations, all that chance makes of it.

        Each of a handful is looked at for what is as good; many are searched once.
        """
        whole_mj = self.options.whole_mj
        if self.options.is_handful or whole_mj == 0.0:
            return _TIE_MJ_PRICE
        return max(self.noise / whole_mj, _TIE_MJ_PRICE)

    def _leanest(self, limits: Limits, first: Option) -> Option:
        """Return, of what is as good by the metric's noise, what takes the least."""
        energy, latency = first.figure("energy"), first.figure("latency")
        ms_in_mj = energy / latency if energy > 0.0 < latency else 1.0
        leanest = limits.goal(mj_worth=1.0, ms_worth=_LATENCY_SHARE * ms_in_mj)
        return self.options.best_from(leanest, first.found.metric - self.noise) or first

    def is_better(self, new: Option, now: Option) -> bool:
        """Tell whether a switch pays at every price that the battery may mean."""
        if self._is_blind:
            return True
        if isnan(new.found.metric) != isnan(now.found.metric):
            return isnan(now.found.metric)
        saved = _difference(now.found.energy_mj, new.found.energy_mj)
        price = self.least_mj_price if saved > 0.0 else self.most_mj_price
        gain = _difference(new.found.metric, now.found.metric) + price * saved
        return gain > self.noise or (gain >= -self.noise and _is_leaner(new, now))


def _difference(one: float, other: float) -> float:
    """Return one - other, 0 where either is unknown."""
    return 0.0 if isnan(one) or isnan(other) else one - other


def _is_leaner(new: Option, now: Option) -> bool:
    """Tell whether an option takes clearly less energy, or no more of it and clearly less time."""
    if new.found.energy_mj < (1.0 - TOLERANCE_RATIO) * now.found.energy_mj:
        return True
    no_more = not new.found.energy_mj > now.found.energy_mj
    return no_more and new.found.latency_ms < (1.0 - TOLERANCE_RATIO) * now.found.latency_ms
