"""The best combination of cells for a goal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache, partial
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

    def renewed(self, figures: Figures) -> Method:
        """Return the same for figures that differ in latencies alone, in less time."""
        ...

    def best(self, aim: Aim, start: Counts | None = None) -> tuple[Counts, float] | None:
        """Return the combination (S,) and its gap, None where nothing meets the floors."""
        ...


def exact(figures: Figures) -> Method:
    """Return the method that proves how good what it finds is."""
    listed = figures.space.combinations_count <= _MOST_LISTED
    return Table(figures) if listed else Decomposed(figures)


@dataclass(frozen=True)
class _Read:
    """A space as it was read at one pace of calls, hot or cold.

    `nearest` are the combinations that have most of each quantity where nothing is limited.
    """

    figures: Figures
    method: Method
    nearest: dict[str, Counts]

    @classmethod
    def of(cls, figures: Figures, method: Callable[[Figures], Method]) -> _Read:
        made = method(figures)
        return cls(figures, made, dict(_nearest(figures, made, QUANTITIES)))

    def renewed(self, space: Space) -> _Read:
        figures = self.figures.renewed(space)
        method = self.method.renewed(figures)
        nearest = {name: path for name, path in self.nearest.items() if name != "latency"}
        return _Read(figures, method, nearest | dict(_nearest(figures, method, ("latency",))))


class Search:
    """Finds combinations of a space, which is read once.

    `known` names the quantities of which a cell has a figure: limits of others are not checked.
    `is_listed`: every combination is looked at.
    """

    def __init__(self, space: Space, method: Callable[[Figures], Method] = exact) -> None:
        paces = {False}
        if any(np.isfinite(segment.cold_latency_ms).any() for segment in space.segments):
            paces.add(True)
        reads = {cold: _Read.of(Figures(space, cold), method) for cold in paces}
        self._reads: dict[bool, Callable[[], _Read]] = {
            cold: partial(lambda read: read, read) for cold, read in reads.items()
        }
        self._sizes = reads[False].figures.sizes
        self.known = reads[False].figures.known
        self.is_listed = not isinstance(reads[False].method, Decomposed)

    def renewed(self, space: Space) -> Search:
        """Return the search of a space that differs in latencies alone, in less time.

        Each pace of calls is read when it is first asked for.
        """
        new = copy(self)
        new._reads = {
            cold: cache(partial(read().renewed, space)) for cold, read in self._reads.items()
        }
        return new

    def best(self, goal: Goal, start: Cells | None = None) -> Found | None:
        """Return what is worth most within the limits, None where nothing meets them.

        `start`, what runs now, is kept where nothing is better.
        """
        read = self._read(goal)
        aim = read.figures.aim(goal)
        return self._find(read, read.method, aim, aim, goal, start)

    def best_by(self, objective: Objective, goal: Goal, start: Cells | None = None) -> Found | None:
        """Return what is worth most by any objective within the goal's limits.

        Of a large space that is the best that Runtime3C meets, with a gap of inf.
        """
        read = self._read(goal)
        aim = read.figures.by(objective, goal)
        method = read.method if self.is_listed else Runtime3C(read.figures)
        return self._find(read, method, aim, aim, goal, start)

    def least(self, quantity: Quantity, goal: Goal) -> Found | None:
        """Return what is nearest to meeting the limit of a quantity, within the other limits.

        That is the highest metric, or the least latency, memory or energy. None where nothing
        meets the other limits.
        """
        if quantity not in QUANTITIES:
            raise UsageError(f"no quantity is called {quantity}; there are {', '.join(QUANTITIES)}")
        read = self._read(goal)
        aim = read.figures.extreme(quantity, _unlimited(goal, quantity))
        judged, nearest = read.figures.aim(goal), read.nearest.get(quantity)
        if nearest is not None and (read.figures.gain(nearest) >= aim.floors).all():
            return _found(read.figures, nearest, judged, goal, 0.0)
        return self._find(read, read.method, aim, judged, goal, None)

    def range(self, quantity: Quantity) -> tuple[float, float]:
        """Return the least and the most of a quantity that what may run has; NaN where unknown.

        Of metric, energy, or the latency of calls in a row, which add up; memory does not.
        """
        goal, read = Goal(), self._reads[False]()
        aims = [read.figures.extreme(quantity, goal, sign) for sign in (1.0, -1.0)]
        found = [self._find(read, read.method, aim, aim, goal, None) for aim in aims]
        ends = [np.nan if one is None else one.figure(quantity) for one in found]
        return min(ends), max(ends)

    def found(self, cells: Cells, goal: Goal, gap: float = np.inf) -> Found:
        """Return a combination's figures under a goal, whether or not it meets the limits."""
        figures = self._read(goal).figures
        return _found(figures, self._path(cells), figures.aim(goal), goal, gap)

    def _read(self, goal: Goal) -> _Read:
        return (self._reads.get(goal.cold) or self._reads[False])()

    def _find(
        self, read: _Read, method: Method, aim: Aim, judged: Aim, goal: Goal, start: Cells | None
    ) -> Found | None:
        found = method.best(aim, None if start is None else self._path(start))
        if found is None:
            return None
        path, gap = found
        return _found(read.figures, path, judged, goal, gap)

    def _path(self, cells: Cells) -> Counts:
        sizes = self._sizes
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


def _nearest(
    figures: Figures, method: Method, quantities: Sequence[str]
) -> Iterator[tuple[str, Counts]]:
    """Yield what has most of each quantity where nothing is limited, as far as that is proven."""
    for quantity in quantities:
        aim = figures.extreme(quantity, Goal())
        answer = method.best(replace(aim, floors=np.full_like(aim.floors, -np.inf)))
        if answer is not None and answer[1] == 0:
            yield quantity, answer[0]


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
