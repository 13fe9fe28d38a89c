"""AdaSpring's own formula."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

import numpy as np

from ..context import Context, check_number
from ..evolve.figures import Objective
from ..evolve.goal import Goal
from ..evolve.space import Floats
from ..evolve.spaces import Spaces
from .decide import Decider, Wish
from .limits import Limits
from .options import Option, Options
from .policy import Decide

_STEP = 0.05
"""A switch must raise the score were energy's weight so much larger or smaller too."""

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class LambdaRule:
    """Maximise λ1 · Norm(metric) + λ2 · Norm(1 / energy) among those that meet the constraints.

    λ2 = max(least_energy_weight_ratio, 1 - battery_ratio), λ1 = 1 - λ2; Norm maps the range of what
    the library has to [0, 1], and a figure that is not known to 0. So what a point of the metric is
    worth in energy depends on what else there is; `Balanced` has a price for it instead. Of many
    combinations it takes the best that Runtime3C finds.

    Source  Liu et al., AdaSpring, IMWUT 5(1), 2021, section 5

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
        rule = _Rule(options, *_ranges(options))

        def wish(context: Context) -> Wish:
            battery = 1.0 if context.battery_ratio is None else context.battery_ratio
            weight = max(self.least_energy_weight_ratio, 1.0 - battery)
            return Wish(_Judge(rule, weight), f"λ2 {weight:.2f} for energy")

        return Decider(spaces, options, wish)


@dataclass(frozen=True)
class _Rule:
    """The score, and what it is a score of."""

    options: Options
    metrics: Range
    efficiencies: Range

    def scores(self, metric: Floats, energy: Floats, weight: float) -> Floats:
        """Return the scores of combinations by their metric and energy."""
        efficiency = _norm(_efficiency(energy), self.efficiencies)
        return (1.0 - weight) * _norm(metric, self.metrics) + weight * efficiency


@dataclass(frozen=True)
class _Judge:
    """Judges by the score at one weight of energy."""

    rule: _Rule
    weight: float
    noise: float = 0.0

    def pick(self, limits: Limits) -> Option | None:
        """Return what scores most within the limits, None where nothing meets them."""

        def objective(metric: Floats, _: Floats, energy: Floats, __: Floats) -> Floats:
            return self.rule.scores(metric, energy, self.weight)

        return self.rule.options.best_by(objective, limits.goal())

    def is_better(self, new: Option, now: Option) -> bool:
        """Tell whether a switch raises the score at every weight that the battery may mean."""
        metric = np.array([new.found.metric, now.found.metric])
        energy = np.array([new.found.energy_mj, now.found.energy_mj])
        weights = (max(self.weight - _STEP, 0.0), min(self.weight + _STEP, 1.0))
        scores = [self.rule.scores(metric, energy, weight) for weight in weights]
        return all(there > here for there, here in scores)


def _ranges(options: Options) -> tuple[Range, Range]:
    """Return the ranges of the metric and of 1 / energy over all that the library has."""
    objectives: tuple[Objective, ...] = (
        lambda metric, _, __, ___: -metric,
        lambda metric, _, __, ___: metric,
        lambda _, __, energy, ___: -_efficiency(energy),
        lambda _, __, energy, ___: _efficiency(energy),
    )
    ends = [options.best_by(objective, Goal()) for objective in objectives]
    found = [end.found for end in ends if end is not None]
    metrics = [one.metric for one in found[:2]]
    energies = np.array([one.energy_mj for one in found[2:]])
    return _range(metrics), _range(_efficiency(energies).tolist())


def _range(ends: list[float]) -> Range:
    low, high = ends
    return (0.0, 0.0) if isnan(low) or isnan(high) else (low, high)


def _efficiency(energy: Floats) -> Floats:
    return 1.0 / np.where(energy > 0, energy, np.nan)


def _norm(figures: Floats, within: Range) -> Floats:
    """Map a range to [0, 1]; unknown becomes 0, and so does all where nothing differs."""
    low, high = within
    if low == high:
        return np.zeros_like(figures)
    return np.nan_to_num((figures - low) / (high - low), nan=0.0)
