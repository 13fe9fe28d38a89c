"""AdaSpring's own formula."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from ..context import Context, check_number
from ..evolve.goal import Goal
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
    worth in energy depends on what else there is; `Balanced` has a price for it instead.

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
        options = Options(spaces.each)
        everything = options.fitting(Goal())
        metrics = _range([option.found.metric for option in everything])
        efficiencies = _range([_efficiency(option) for option in everything])

        def wish(context: Context) -> Wish:
            battery = 1.0 if context.battery_ratio is None else context.battery_ratio
            weight = max(self.least_energy_weight_ratio, 1.0 - battery)
            return Wish(
                _Rule(options, metrics, efficiencies, weight), f"λ2 {weight:.2f} for energy"
            )

        return Decider(spaces, options, wish)


@dataclass(frozen=True)
class _Rule:
    """Judges by the score at one weight of energy."""

    options: Options
    metrics: Range
    efficiencies: Range
    weight: float
    noise: float = 0.0

    def pick(self, limits: Limits) -> Option | None:
        fitting = self.options.fitting(limits.goal())
        return max(fitting, key=lambda option: self._score(option, self.weight), default=None)

    def is_better(self, new: Option, now: Option) -> bool:
        weights = (max(self.weight - _STEP, 0.0), min(self.weight + _STEP, 1.0))
        return all(self._score(new, weight) > self._score(now, weight) for weight in weights)

    def _score(self, option: Option, weight: float) -> float:
        metric = _norm(option.found.metric, self.metrics)
        return (1.0 - weight) * metric + weight * _norm(_efficiency(option), self.efficiencies)


def _efficiency(option: Option) -> float:
    energy = option.found.energy_mj
    return 1.0 / energy if energy > 0 else float("nan")


def _range(figures: list[float]) -> Range:
    known = [figure for figure in figures if not isnan(figure)]
    return (min(known), max(known)) if known else (0.0, 0.0)


def _norm(figure: float, within: Range) -> float:
    """Map a range to [0, 1]; unknown becomes 0, and so does all where nothing differs."""
    low, high = within
    return 0.0 if isnan(figure) or low == high else (figure - low) / (high - low)
