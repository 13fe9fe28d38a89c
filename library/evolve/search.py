"""The best combination of cells for a goal."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from .figures import QUANTITIES, Aim, Figures
from .found import Found
from .goal import Goal
from .space import Cells, Floats, Space
from .table import Table

Quantity = Literal["metric", "latency", "memory", "energy"]


class Search:
    """Finds combinations of a space, which is read once.

    `known` names the quantities of which a cell has a figure: limits of others are not checked.
    """

    def __init__(self, space: Space) -> None:
        self._tables = {cold: Table(Figures(space, cold)) for cold in (False, True)}
        self.known: frozenset[str] = self._tables[False].figures.known

    def best(self, goal: Goal, start: Cells | None = None) -> Found | None:
        """Return what is worth most within the limits, None where nothing meets them.

        `start`, what runs now, is kept where nothing is better.
        """
        table = self._tables[goal.cold]
        found = table.best(table.figures.aim(goal), start)
        return None if found is None else self.found(found[0], goal, gap=found[1])

    def least(self, quantity: Quantity, goal: Goal) -> Found | None:
        """Return what is nearest to meeting the limit of a quantity, within the other limits.

        That is the highest metric, or the least latency, memory or energy. None where nothing
        meets the other limits.
        """
        table = self._tables[goal.cold]
        aim = table.figures.aim(_unlimited(goal, quantity))
        found = table.best(_extreme(aim, quantity, table.figures.span), None)
        return None if found is None else self.found(found[0], goal, gap=found[1])

    def found(self, cells: Cells, goal: Goal, gap: float = np.inf) -> Found:
        """Return a combination's figures under a goal, whether or not it meets the limits."""
        figures = self._tables[goal.cold].figures
        aim, chosen = figures.aim(goal), np.array([cells])
        gains, unknown = figures.gains(chosen)[:, 0], figures.unknown(chosen)[:, 0]
        shown = np.where((unknown > 0) | ~figures.is_known, np.nan, gains)
        return Found(
            cells=tuple(cells),
            worth=float(aim.worth @ gains - aim.dread @ unknown),
            metric=float(shown[0]),
            latency_ms=float(-shown[1] * goal.stretch),
            energy_mj=float(-shown[2]),
            memory_bytes=float(-shown[3]),
            gap=gap,
        )


def _unlimited(goal: Goal, quantity: Quantity) -> Goal:
    """Return the goal without its limit of a quantity."""
    match quantity:
        case "metric":
            return replace(goal, metric_floor=None)
        case "latency":
            return replace(goal, latency_limit_ms=None)
        case "memory":
            return replace(goal, memory_limit_bytes=None)
        case "energy":
            return replace(goal, energy_limit_mj=None)


def _extreme(aim: Aim, quantity: Quantity, span: Floats) -> Aim:
    """Return the aim that maximises one quantity alone, few unknown figures of it first."""
    worth, dread, row = np.zeros(4), np.zeros(4), QUANTITIES.index(quantity)
    worth[row], dread[row] = 1.0, 1.0 + 2.0 * span[row]
    return Aim(worth, aim.floors, dread)
