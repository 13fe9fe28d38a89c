"""Meet the deadline, then the best metric, then the least energy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..context import Context, check_number
from ..evolve.spaces import Spaces
from .decide import Decider, Wish
from .limits import TOLERANCE_RATIO
from .options import Options
from .policy import Decide
from .utility import Utility


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """Meet the context's `latency_budget_ms`, then the best metric, whatever the battery.

    `margin_ratio` of the deadline is kept free where something can: calls of the same code vary
    by a tenth. What differs in the metric by its noise alone is decided by energy, then latency.

    Raises:
        UsageError: `margin_ratio` is no number in [0, 1].

    """

    margin_ratio: float = TOLERANCE_RATIO

    def __post_init__(self) -> None:
        margin = check_number("margin_ratio", self.margin_ratio, 1.0, "0.1 for a tenth")
        object.__setattr__(self, "margin_ratio", margin)

    def prepare(self, spaces: Spaces) -> Decide:
        """Read the costs once; a decision is then a search or two."""
        return Decider(self, Options(spaces), self._wishes)

    def _wishes(self, options: Options) -> Callable[[Context], Wish]:
        why = "the best metric in time, then the least energy"
        wish = Wish(Utility(options), why, latency_margin_ratio=self.margin_ratio)
        return lambda _: wish  # the context's constraints are all that counts
