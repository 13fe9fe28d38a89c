"""What an app sees now, in units; each field may be left out."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..errors import UsageError

_UPPER = {"battery_ratio": 1.0, "accuracy_floor_ratio": 1.0}


@dataclass(frozen=True, kw_only=True)
class Context:
    """The situation that a variant is chosen for. None: no constraint, or not known.

    battery_ratio         what is left of the battery, in [0, 1]; None: mains
    latency_budget_ms     what one call may take
    memory_budget_bytes   what the network may use at its peak, weights included
    accuracy_floor_ratio  the least share of right answers, in [0, 1]
    load_ratio            what other work adds to a call's time: 0.5 makes it half as long again
    """

    battery_ratio: float | None = None
    latency_budget_ms: float | None = None
    memory_budget_bytes: float | None = None
    accuracy_floor_ratio: float | None = None
    load_ratio: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            upper = _UPPER.get(field.name, math.inf)
            if not isinstance(value, int | float) or not 0 <= value <= upper or math.isinf(value):
                raise UsageError(f"{field.name} is {value!r}; it must be in [0, {upper:g}]")
