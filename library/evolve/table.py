"""A small space: all combinations, looked at one by one."""

from __future__ import annotations

from copy import copy

import numpy as np

from .figures import LATENCY, TIE_RATIO, Aim, Counts, Figures


class Table:
    """All combinations of a space, in order of their cells."""

    def __init__(self, figures: Figures) -> None:
        self._sizes = figures.sizes
        self._paths = np.indices(self._sizes).reshape(len(self._sizes), -1).T
        self._gains = figures.gains(self._paths)

    def renewed(self, figures: Figures) -> Table:
        """Return the table of other latencies."""
        new = copy(self)
        new._gains = self._gains.copy()
        new._gains[LATENCY] = figures.latencies(self._paths)
        return new

    def best(self, aim: Aim, start: Counts | None = None) -> tuple[Counts, float] | None:
        """Return the best combination, the first of equals but for `start`, and its gap of 0."""
        worth = aim.value(self._gains)
        for row in aim.limited:
            worth[self._gains[row] < aim.floors[row]] = -np.inf
        best = int(worth.argmax())
        if worth[best] == -np.inf:
            return None
        if start is not None:
            kept = int(np.ravel_multi_index(tuple(start), self._sizes))
            tied = worth[kept] >= worth[best] - TIE_RATIO * abs(worth[best])
            best = kept if tied else best
        return self._paths[best], 0.0
