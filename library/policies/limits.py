"""What a context asks for, as limits on what a call may take and must yield."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...errors import UsageError
from ..context import Context
from ..evolve.figures import ROUNDING_RATIO
from ..evolve.found import Quantity
from ..evolve.goal import Goal
from ..evolve.spaces import Spaces
from .options import Option

CONSTRAINTS: tuple[Quantity, ...] = ("metric", "latency", "energy", "memory")
"""In the order in which they are given up. A worse answer is still an answer, a late one may be; an
app whose energy is used up gives no more of them, one that is out of memory none at all."""

TOLERANCE_RATIO = 0.1
"""Latencies, energies and memories that differ by less count as the same where a choice would hang
on it: two timings of the same code an hour apart, or free memory and load a second apart, do."""

HOT_CALLS_PER_S = 100.0
"""From this rate on latencies are those of calls that follow each other. Cold ones are measured at
20 calls a second; between the two the cold one is taken, which is the larger."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds in a search's terms; None: not asked for, or nothing has that figure to check.

    `metric` is the least, turned so that more is better, the others are the most in ms, mJ and
    bytes. `cold` and `stretch` are the circumstances in which latencies are meant, as in a `Goal`;
    `is_almost_cold`: were calls a little rarer, they would be those of rare calls.
    """

    metric: float | None = None
    latency: float | None = None
    energy: float | None = None
    memory: float | None = None
    cold: bool = False
    is_almost_cold: bool = False
    stretch: float = 1.0

    def goal(
        self, *, metric_worth: float = 0.0, mj_worth: float = 0.0, ms_worth: float = 0.0
    ) -> Goal:
        """Return the goal that seeks the most of this worth within these limits."""
        return Goal(
            metric_worth=metric_worth,
            mj_worth=mj_worth,
            ms_worth=ms_worth,
            metric_floor=self.metric,
            latency_limit_ms=self.latency,
            memory_limit_bytes=self.memory,
            energy_limit_mj=self.energy,
            cold=self.cold,
            stretch=self.stretch,
        )

    def asked(self) -> tuple[tuple[Quantity, float], ...]:
        """Return the constraints that there are, and their limits."""
        found = ((name, getattr(self, name)) for name in CONSTRAINTS)
        return tuple((name, limit) for name, limit in found if limit is not None)

    def broken_by(self, option: Option) -> tuple[Quantity, ...]:
        """Return the constraints that an option does not meet; an unknown figure does not."""
        return tuple(
            name for name, limit in self.asked() if not is_met(name, limit, option.figure(name))
        )

    def without(self) -> Limits:
        """Return the circumstances alone."""
        return replace(self, metric=None, latency=None, energy=None, memory=None)

    def but(self, name: Quantity, limit: float | None) -> Limits:
        """Return these limits with another one of that name."""
        changed: dict[str, Any] = {name: limit}
        return replace(self, **changed)


def is_met(name: Quantity, limit: float, figure: float) -> bool:
    """Tell whether a figure meets a limit, as a search does; NaN does not."""
    slack = ROUNDING_RATIO * abs(limit)
    return figure >= limit - slack if name == "metric" else figure <= limit + slack


def limits_of(context: Context, spaces: Spaces, energy_mj: float | None = None) -> Limits:
    """Return what a context asks for, and of energy what a policy allows for a call.

    Raises:
        UsageError: the metric is a share, and the floor is none.

    """
    floor, load, pace = context.metric_floor, context.load_ratio, context.calls_per_s
    if floor is not None:
        _check_floor(floor, spaces)
        floor *= spaces.metric_sign
    return Limits(
        metric=floor,
        latency=context.latency_budget_ms,
        energy=energy_mj,
        memory=context.memory_budget_bytes,
        cold=pace is not None and pace < HOT_CALLS_PER_S,
        is_almost_cold=pace is not None and pace < HOT_CALLS_PER_S * (1.0 + TOLERANCE_RATIO),
        stretch=1.0 + (load or 0.0),
    )


def _check_floor(floor: float, spaces: Spaces) -> None:
    """Refuse a floor that no share can meet: whoever gives it has mistaken the unit."""
    if spaces.unit == "ratio" and not 0 <= floor <= 1:
        raise UsageError(
            f"metric_floor is {floor:g}; {spaces.metric} is a share, so it must be in [0, 1], "
            "for example 0.95 for 95 %"
        )
