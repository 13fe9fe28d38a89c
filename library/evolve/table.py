"""A small space: all combinations, looked at one by one."""

from __future__ import annotations

import numpy as np

from .figures import Aim, Figures
from .space import Cells


class Table:
    """All combinations of a space, in order of their cells."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self._cells = np.indices(figures.sizes).reshape(len(figures.sizes), -1).T
        self._gains = figures.gains(self._cells)
        self._unknown = figures.unknown(self._cells)

    def best(self, aim: Aim, start: Cells | None) -> tuple[Cells, float] | None:
        """Return the best combination, the first of equals but for `start`, and its gap of 0."""
        worth = aim.worth @ self._gains - aim.dread @ self._unknown
        for row in np.flatnonzero(aim.floors > -np.inf):
            meets = (self._gains[row] >= aim.floors[row]) & (self._unknown[row] == 0)
            worth[~meets] = -np.inf
        best = int(worth.argmax())
        if worth[best] == -np.inf:
            return None
        if start is not None:
            kept = int(np.ravel_multi_index(start, self.figures.sizes))
            best = kept if worth[kept] >= worth[best] else best
        return tuple(self._cells[best].tolist()), 0.0
