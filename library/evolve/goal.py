"""What is wanted of a combination: limits, and what is worth what."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from ...errors import UsageError

_WORTHS = ("metric_worth", "mj_worth", "ms_worth")


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Maximise metric_worth · metric - mj_worth · energy - ms_worth · latency within limits.

    `mj_worth` and `ms_worth` are in the metric's unit for a millijoule and a millisecond. The
    metric is turned so that more is better, `metric_floor` too. None: no limit. `cold`: latencies
    are those of calls that come seldom. `stretch` is what other work multiplies latencies by.
    """

    metric_worth: float = 1.0
    mj_worth: float = 0.0
    ms_worth: float = 0.0
    metric_floor: float | None = None
    latency_limit_ms: float | None = None
    memory_limit_bytes: float | None = None
    energy_limit_mj: float | None = None
    cold: bool = False
    stretch: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not isfinite(value):
                raise UsageError(f"goal: {name} is {value}; give a finite number")
        if min(self.metric_worth, self.mj_worth, self.ms_worth) < 0:
            name = next(name for name, value in vars(self).items() if name in _WORTHS and value < 0)
            raise UsageError(f"goal: {name} is {getattr(self, name):g}; give at least 0")
        if self.stretch <= 0:
            raise UsageError(f"goal: stretch is {self.stretch:g}; give more than 0, 1 for none")
