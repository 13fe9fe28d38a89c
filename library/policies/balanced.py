"""The metric against energy: the emptier the battery, the more energy is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..context import Context, check_number
from ..evolve.spaces import Spaces
from .decide import Decider, Wish
from .options import Options
from .policy import Decide
from .utility import Utility

_LEAST_WEIGHT = 0.1
"""A full battery empties too: energy drawn from it is worth at least this share of what it is worth
at the end, so a tenth of a point goes for nine tenths of the energy."""

_STEP = 0.05
"""A switch must pay were the battery so much fuller or emptier too: readings waver."""


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """Maximise metric - energy_worth · (1 - battery_ratio) · energy / the plainest's energy.

    `energy_worth` is how much of the metric the whole energy of a plainest call is worth when the
    battery is empty: for shares 0.05 is five points; of a metric in another unit it is that share
    of the plainest variant's value. On mains energy is worth nothing: the best metric is taken.
    What differs in the metric by its noise alone (one standard error, by the manifest's interval)
    is decided by energy, then latency. An unknown metric loses to any known one.

    Raises:
        UsageError: `energy_worth` is no number in [0, 1].

    """

    energy_worth: float = 0.05

    def __post_init__(self) -> None:
        worth = check_number("energy_worth", self.energy_worth, 1.0, "0.05 for five points")
        object.__setattr__(self, "energy_worth", worth)

    def prepare(self, spaces: Spaces) -> Decide:
        """Read the costs once; a decision is then a search or two."""
        return Decider(self, Options(spaces), self._wishes)

    def _wishes(self, options: Options) -> Callable[[Context], Wish]:
        worth = self.energy_worth * options.offer.metric_scale
        mj_worth = worth / options.whole_mj if options.whole_mj > 0 else 0.0
        name = options.offer.metric or "a metric that is not known"

        def wish(context: Context) -> Wish:
            battery = context.battery_ratio
            if battery is None:
                judge = Utility(options)
                return Wish(judge, "on mains the metric comes first, then energy")
            prices = (mj_worth * _weight(battery + step) for step in (0, _STEP, -_STEP))
            judge = Utility(options, *prices)
            price = worth * _weight(battery)
            why = (
                f"at battery {battery:.0%} a plainest call's energy is worth {price:.2g} of {name}"
            )
            return Wish(judge, why)

        return wish


def _weight(battery_ratio: float) -> float:
    """Return what energy is worth, as a share of what it is worth when the battery is empty."""
    return min(max(1.0 - battery_ratio, _LEAST_WEIGHT), 1.0)
