"""AdaSpring's own formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan, nan

import numpy as np

from ..context import Context, check_number
from ..evolve.space import Floats
from ..evolve.spaces import Spaces
from .decide import Decider, Wish
from .limits import Limits
from .options import Option, Options
from .policy import Decide

_STEP = 0.05
"""A switch must raise the score were energy's weight so much larger or smaller too."""

_MOST_STEPS = 3
_FRONT_COUNT = 12

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class LambdaRule:
    """Maximise λ1 · Norm(metric) + λ2 · Norm(1 / energy) among those that meet the constraints.

    λ2 = max(least_energy_weight_ratio, 1 - battery_ratio), λ1 = 1 - λ2; Norm maps the range of what
    the library has to [0, 1], and a figure that is not known to 0. So what a point of the metric is
    worth in energy depends on what else there is; `Balanced` has a price for it instead. Among many
    combinations it climbs: 1 / energy is replaced by its tangent, and the best by that gives the
    next tangent, which no better one lies below. That ends at a combination that is best by its own
    tangent.

    Source  Liu et al., AdaSpring, IMWUT 5(1), 2021, section 5; Lange, Hunter and Yang, Optimization
            transfer using surrogate objective functions, J. Comput. Graph. Stat. 9(1), 2000

    Raises:
        UsageError: `least_energy_weight_ratio` is no number in [0, 1].

    """

    least_energy_weight_ratio: float = 0.3

    def __post_init__(self) -> None:
        name = "least_energy_weight_ratio"
        least = check_number(name, self.least_energy_weight_ratio, 1.0, "0.3")
        object.__setattr__(self, name, least)

    def prepare(self, spaces: Spaces) -> Decide:
        """Read the costs and their ranges once."""
        options = Options(spaces)
        leanest, hungriest = options.range("energy")
        efficiencies = _efficiency(np.array([hungriest, leanest])).tolist()
        rule = _Rule(_known(*options.range("metric")), _known(*efficiencies))
        front = rule.front(options)

        def wishes(options: Options) -> Callable[[Context], Wish]:
            def wish(context: Context) -> Wish:
                battery = 1.0 if context.battery_ratio is None else context.battery_ratio
                weight = max(self.least_energy_weight_ratio, 1.0 - battery)
                return Wish(_Judge(options, rule, front, weight), f"λ2 {weight:.2f} for energy")

            return wish

        return Decider(self, options, wishes)


@dataclass(frozen=True)
class _Rule:
    """The score, and the ranges that it scales to."""

    metrics: Range
    efficiencies: Range

    def scores(self, metric: Floats, energy: Floats, weight: float) -> Floats:
        """Return the scores of combinations by their metric and energy."""
        efficiency = _norm(_efficiency(energy), self.efficiencies)
        return (1.0 - weight) * _norm(metric, self.metrics) + weight * efficiency

    def score(self, option: Option, weight: float) -> float:
        """Return the score of one."""
        metric, energy = option.found.metric, option.found.energy_mj
        return float(self.scores(np.array(metric), np.array(energy), weight))

    def front(self, options: Options) -> Floats:
        """Return metric and energy of what is best at some weights of energy, (2, n).

        None where all is listed, or nothing is known to differ in energy.
        """
        low, high = self.efficiencies
        if options.is_listed or not 0.0 < low < high:
            return np.empty((2, 0))
        energies_mj = np.geomspace(1.0 / high, 1.0 / low, _FRONT_COUNT).tolist()
        weights = np.linspace(1.0, 0.0, _FRONT_COUNT).tolist()
        tangents = map(self.tangent, energies_mj, weights)
        found = (options.best(Limits().goal(**tangent)) for tangent in tangents)
        figures = [(one.found.metric, one.found.energy_mj) for one in found if one is not None]
        return np.array(figures).reshape(-1, 2).T

    def tangent(self, energy_mj: float, weight: float) -> dict[str, float]:
        """Return what metric and energy are worth by the score's tangent where energy is so."""
        steep = 0.0 if isnan(energy_mj) else 1.0 / energy_mj**2
        return {
            "metric_worth": (1.0 - weight) * _slope(self.metrics),
            "mj_worth": weight * _slope(self.efficiencies) * steep,
        }


@dataclass(frozen=True)
class _Judge:
    """Judges by the score at one weight of energy."""

    options: Options
    rule: _Rule
    front: Floats
    weight: float
    noise: float = 0.0

    def pick(self, limits: Limits) -> Option | None:
        """Return what scores most within the limits, None where nothing meets them."""

        def objective(metric: Floats, _: Floats, energy: Floats, __: Floats) -> Floats:
            return self.rule.scores(metric, energy, self.weight)

        listed = self.options.best_by(objective, limits.goal())
        if self.options.is_listed:
            return listed
        found = [one for one in (listed, self._climb(limits)) if one is not None]
        return max(found, key=self._score, default=None)

    def _climb(self, limits: Limits) -> Option | None:
        """Return the best by its own tangent, to which that of the best without limits leads."""
        best, energy_mj = None, self._start_mj()
        for _ in range(_MOST_STEPS):
            goal = limits.goal(**self.rule.tangent(energy_mj, self.weight))
            new = self.options.best(goal)
            if new is None or (best is not None and self._score(new) <= self._score(best)):
                return best
            if new.found.energy_mj == energy_mj:
                return new
            best, energy_mj = new, new.found.energy_mj
        return best

    def _start_mj(self) -> float:
        if not self.front.size:
            return nan
        metrics, energies_mj = self.front
        return float(energies_mj[self.rule.scores(metrics, energies_mj, self.weight).argmax()])

    def _score(self, option: Option) -> float:
        return self.rule.score(option, self.weight)

    def is_better(self, new: Option, now: Option) -> bool:
        """Tell whether a switch raises the score at every weight that the battery may mean."""
        weights = (max(self.weight - _STEP, 0.0), min(self.weight + _STEP, 1.0))
        return all(self.rule.score(new, w) > self.rule.score(now, w) for w in weights)


def _known(low: float, high: float) -> Range:
    return (0.0, 0.0) if isnan(low) or isnan(high) else (low, high)


def _slope(within: Range) -> float:
    low, high = within
    return 1.0 / (high - low) if high > low else 0.0


def _efficiency(energy: Floats) -> Floats:
    return 1.0 / np.where(energy > 0, energy, np.nan)


def _norm(figures: Floats, within: Range) -> Floats:
    """Map a range to [0, 1]; unknown becomes 0, and so does all where nothing differs."""
    low, high = within
    if low == high:
        return np.zeros_like(figures)
    return np.nan_to_num((figures - low) / (high - low), nan=0.0)
