"""Last until a time with the energy that is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...errors import UsageError
from ..context import Context, check_number
from ..evolve.spaces import Spaces
from .decide import Decider, Wish
from .options import Options
from .policy import Decide
from .utility import Utility

_MJ_PER_WH = 3.6e6


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The best metric with which the energy left lasts as long as it must.

    A call may take energy_left_mj / (time_left_s · calls_per_s) of the context. Where it leaves
    out `energy_left_mj`, that is `capacity_wh`, what the full battery holds for these calls, times
    `battery_ratio`; on mains energy has no limit.

    Raises:
        UsageError: `capacity_wh` is no number in [0, 1e6].

    """

    capacity_wh: float | None = None

    def __post_init__(self) -> None:
        if self.capacity_wh is not None:
            capacity = check_number("capacity_wh", self.capacity_wh, 1e6, "15 for a phone")
            object.__setattr__(self, "capacity_wh", capacity)

    def prepare(self, spaces: Spaces) -> Decide:
        """Read the costs once; a decision is then a search or two.

        A context that has energy left, but does not say for how long or how many calls, is a
        UsageError of the decision.
        """
        return Decider(self, Options(spaces), self._wishes)

    def _wishes(self, options: Options) -> Callable[[Context], Wish]:
        utility = Utility(options)

        def wish(context: Context) -> Wish:
            limit_mj = self._limit_mj(context)
            if limit_mj is None:
                return Wish(utility, "the best metric: energy has no limit")
            return Wish(utility, f"the best metric of {limit_mj:.3g} mJ a call", limit_mj)

        return wish

    def _limit_mj(self, context: Context) -> float | None:
        """Return what a call may take, None for as much as it likes."""
        left_mj = self._left_mj(context)
        if left_mj is None:
            return None
        for field in ("time_left_s", "calls_per_s"):
            if getattr(context, field) is None:
                raise UsageError(
                    f"Budget needs to know how long the energy must last; give the context {field}"
                )
        calls = (context.time_left_s or 0.0) * (context.calls_per_s or 0.0)
        return left_mj / calls if calls > 0 else None

    def _left_mj(self, context: Context) -> float | None:
        if context.energy_left_mj is not None or context.battery_ratio is None:
            return context.energy_left_mj
        if self.capacity_wh is None:
            raise UsageError(
                "Budget needs to know the energy left; give the context energy_left_mj, or the "
                "policy the battery's capacity, for example Budget(capacity_wh=15)"
            )
        return self.capacity_wh * _MJ_PER_WH * context.battery_ratio
