"""The best combination of cells for a goal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from ...errors import UsageError
from .decomposed import Decomposed
from .figures import QUANTITIES, Aim, Counts, Figures, Objective
from .found import Found, Quantity
from .goal import Goal
from .runtime3c import Runtime3C
from .space import Cells, Space
from .table import Table

_MOST_LISTED = 8192
"""Spaces of at most so many combinations are searched by looking at each: that is faster there."""


class Method(Protocol):
    """Finds, in the figures that it was made from, what is worth most within an aim's floors."""

    def best(self, aim: Aim, start: Counts | None = None) -> tuple[Counts, float] | None:
        """Return the combination (S,) and its gap, None where nothing meets the floors."""
        ...


def exact(figures: Figures) -> Method:
    """Return the method that proves how good what it finds is."""
    listed = figures.space.combinations_count <= _MOST_LISTED
    return Table(figures) if listed else Decomposed(figures)


class Search:
    """Finds combinations of a space, which is read once.

    `known` names the quantities of which a cell has a figure: limits of others are not checked.
    `is_listed`: every combination is looked at.
    """

    def __init__(self, space: Space, method: Callable[[Figures], Method] = exact) -> None:
        warm = Figures(space, cold=False)
        self._figures = {False: warm, True: warm}
        self._methods = dict.fromkeys((False, True), method(warm))
        if any(np.isfinite(segment.cold_latency_ms).any() for segment in space.segments):
            self._figures[True] = Figures(space, cold=True)
            self._methods[True] = method(self._figures[True])
        self.known = warm.known
        self.is_listed = not isinstance(self._methods[False], Decomposed)
        nearest = _nearest(warm, self._methods[False])
        self._nearest = {False: nearest, True: nearest}
        if self._figures[True] is not warm:
            self._nearest[True] = _nearest(self._figures[True], self._methods[True])

    def best(self, goal: Goal, start: Cells | None = None) -> Found | None:
        """Return what is worth most within the limits, None where nothing meets them.

        `start`, what runs now, is kept where nothing is better.
        """
        aim = self._figures[goal.cold].aim(goal)
        return self._find(self._methods[goal.cold], aim, aim, goal, start)

    def best_by(self, objective: Objective, goal: Goal, start: Cells | None = None) -> Found | None:
        """Return what is worth most by any objective within the goal's limits.

        Of a large space that is the best that Runtime3C meets, with a gap of inf.
        """
        figures, method = self._figures[goal.cold], self._methods[goal.cold]
        aim = figures.by(objective, goal)
        any_objective = Runtime3C(figures) if isinstance(method, Decomposed) else method
        return self._find(any_objective, aim, aim, goal, start)

    def least(self, quantity: Quantity, goal: Goal) -> Found | None:
        """Return what is nearest to meeting the limit of a quantity, within the other limits.

        That is the highest metric, or the least latency, memory or energy. None where nothing
        meets the other limits.
        """
        if quantity not in QUANTITIES:
            raise UsageError(f"no quantity is called {quantity}; there are {', '.join(QUANTITIES)}")
        figures, nearest = self._figures[goal.cold], self._nearest[goal.cold].get(quantity)
        aim = figures.extreme(quantity, _unlimited(goal, quantity))
        if nearest is not None and (figures.gain(nearest) >= aim.floors).all():
            return _found(figures, nearest, figures.aim(goal), goal, 0.0)
        return self._find(self._methods[goal.cold], aim, figures.aim(goal), goal, None)

    def range(self, quantity: Quantity) -> tuple[float, float]:
        """Return the least and the most of a quantity that what may run has; NaN where unknown.

        Of metric, energy, or the latency of calls in a row, which add up; memory does not.
        """
        goal, figures = Goal(), self._figures[False]
        aims = [figures.extreme(quantity, goal, sign) for sign in (1.0, -1.0)]
        found = [self._find(self._methods[False], aim, aim, goal, None) for aim in aims]
        ends = [np.nan if one is None else one.figure(quantity) for one in found]
        return min(ends), max(ends)

    def found(self, cells: Cells, goal: Goal, gap: float = np.inf) -> Found:
        """Return a combination's figures under a goal, whether or not it meets the limits."""
        figures = self._figures[goal.cold]
        return _found(figures, self._path(cells), figures.aim(goal), goal, gap)

    def _find(
        self, method: Method, aim: Aim, judged: Aim, goal: Goal, start: Cells | None
    ) -> Found | None:
        found = method.best(aim, None if start is None else self._path(start))
        if found is None:
            return None
        path, gap = found
        return _found(self._figures[goal.cold], path, judged, goal, gap)

    def _path(self, cells: Cells) -> Counts:
        sizes = self._figures[False].sizes
        fits = [0 <= cell < size for cell, size in zip(cells, sizes, strict=False)]
        if len(cells) != len(sizes) or not all(fits):
            raise UsageError(
                f"{tuple(cells)} is no combination of this space; "
                f"give one cell a segment, counted from 0, of {sizes} cells"
            )
        return np.array(cells)


def _found(figures: Figures, path: Counts, aim: Aim, goal: Goal, gap: float) -> Found:
    gains = figures.gain(path)[:, None]
    metric, latency, energy, memory = figures.shown(gains)[:, 0].tolist()
    return Found(
        cells=tuple(path.tolist()),
        worth=float(aim.value(gains)[0]),
        metric=metric,
        latency_ms=-latency * goal.stretch,
        energy_mj=-energy,
        memory_bytes=-memory,
        gap=gap,
    )


def _nearest(figures: Figures, method: Method) -> dict[str, Counts]:
    """Return what has most of each quantity where nothing is limited, as far as that is proven."""
    found = {}
    for quantity in QUANTITIES:
        aim = figures.extreme(quantity, Goal())
        answer = method.best(replace(aim, floors=np.full_like(aim.floors, -np.inf)))
        if answer is not None and answer[1] == 0:
            found[quantity] = answer[0]
    return found


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
