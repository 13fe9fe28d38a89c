"""What a search finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .space import Cells

Quantity = Literal["metric", "latency", "memory", "energy"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A combination and its figures, NaN where a cell's is unknown.

    `worth` is the goal's objective; each cell of unknown metric takes more from it than anything
    can make up for, other unknown figures count as the worst known ones of their segments.
    `metric` is the predicted one, not less the bound; `latency_ms` is stretched as the goal says.
    Nothing that meets the limits has a worth above `worth + gap`; of `Search.least` the gap is in
    that quantity instead.
    """

    cells: Cells
    worth: float
    metric: float
    latency_ms: float
    energy_mj: float
    memory_bytes: float
    gap: float

    def figure(self, quantity: Quantity) -> float:
        """Return the figure of a quantity, NaN where unknown."""
        match quantity:
            case "metric":
                return self.metric
            case "latency":
                return self.latency_ms
            case "energy":
                return self.energy_mj
            case "memory":
                return self.memory_bytes
