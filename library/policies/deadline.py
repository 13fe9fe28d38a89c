"""Meet the deadline, then the best metric, then the least energy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..context import Context
from ..evolve.spaces import Spaces
from .decide import Decider, Wish
from .options import Options
from .policy import Decide
from .utility import Utility


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """Meet the context's `latency_budget_ms`, then the best metric, whatever the battery.

    What differs in the metric by its noise alone is decided by energy, then latency.
    """

    def prepare(self, spaces: Spaces) -> Decide:
        """Read the costs once; a decision is then a search or two."""
        return Decider(self, Options(spaces), _wishes)


def _wishes(options: Options) -> Callable[[Context], Wish]:
    wish = Wish(Utility(options), "the best metric in time, then the least energy")
    return lambda _: wish  # the context's constraints are all that counts
