"""The best of a handful of whole variants, by plain loops: quicker than arrays of a few numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf, isnan, nan
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from ..evolve.figures import ROUNDING_RATIO, Objective
from ..evolve.found import Found, Quantity
from ..evolve.goal import Goal
from ..evolve.space import Cells, Floats, Space


class _Row(NamedTuple):
    """A variant's figures, NaN where unknown, and the worst known ones in place of those.

    `rank` decides between equals: less energy, less latency, a better metric, less memory. So no
    variant beats the choice in one figure and loses in none.
    """

    cell: int
    metric: float
    latency_ms: float
    energy_mj: float
    memory_bytes: float
    most_ms: float
    most_mj: float
    rank: tuple[float, ...]


class Listing:
    """What `Search` does, for a space of one segment."""

    is_listed = True

    def __init__(self, space: Space) -> None:
        (segment,) = space.segments
        self._floor, self._bound = space.least_metric, space.metric_bound
        scale, offset = space.latency_scale, space.latency_offset_ms
        warm = np.where(np.isnan(segment.latency_ms), segment.cold_latency_ms, segment.latency_ms)
        cold = np.fmax(warm, segment.cold_latency_ms)
        columns = {
            "metric": segment.metric + space.metric_base,
            "latency": scale * warm + offset,
            "energy": segment.energy_mj,
            "memory": segment.weights_bytes + segment.activations_bytes,
        }
        self.known = frozenset(name for name, v in columns.items() if not np.isnan(v).all())
        self._rows = {
            False: _rows(**columns),
            True: _rows(**{**columns, "latency": scale * cold + offset}),
        }

    def renewed(self, space: Space) -> Listing:
        """Return the listing of a space that differs in latencies alone."""
        return Listing(space)

    def best(self, goal: Goal, start: Cells | None = None) -> Found | None:
        """Return what is worth most within the limits, None where nothing meets them.

        Of equals the rank decides, whatever runs now.
        """
        return self._first(goal, lambda row: (not isnan(row.metric), _worth(row, goal), row.rank))

    def best_by(self, objective: Objective, goal: Goal) -> Found | None:
        """Return what is worth most by any objective; where that is NaN, it is least."""
        fitting = list(self._fitting(goal))
        if not fitting:
            return None
        metric, latency, energy, memory = np.array([row[1:5] for row in fitting]).T
        worth = objective(metric, latency * goal.stretch, energy, memory)
        best = int(np.nan_to_num(worth, nan=-inf).argmax())
        return replace(self._found(fitting[best], goal), worth=float(worth[best]))

    def least(self, quantity: Quantity, goal: Goal) -> Found | None:
        """Return what is nearest to meeting the limit of a quantity, within the other limits."""
        figure_of = attrgetter(_FIELDS[quantity])
        sign = 1.0 if quantity == "metric" else -1.0

        def nearness(row: _Row) -> tuple[Any, ...]:
            gain = sign * figure_of(row)
            return -inf if isnan(gain) else gain, row.rank

        return self._first(_without(goal, quantity), nearness)

    def range(self, quantity: Quantity) -> tuple[float, float]:
        """Return the least and the most of a quantity that what may run has; NaN where unknown."""
        figures = [getattr(row, _FIELDS[quantity]) for row in self._fitting(Goal())]
        known = [figure for figure in figures if not isnan(figure)]
        return (min(known), max(known)) if known else (nan, nan)

    def found(self, cells: Cells, goal: Goal) -> Found:
        """Return a variant's figures under a goal, whether or not it meets the limits."""
        return self._found(self._rows[goal.cold][cells[0]], goal)

    def _found(self, row: _Row, goal: Goal) -> Found:
        return Found(
            cells=(row.cell,),
            worth=-inf if isnan(row.metric) else _worth(row, goal),
            metric=row.metric,
            latency_ms=row.latency_ms * goal.stretch,
            energy_mj=row.energy_mj,
            memory_bytes=row.memory_bytes,
            gap=0.0,
        )

    def _first(self, goal: Goal, key: Callable[[_Row], tuple[Any, ...]]) -> Found | None:
        fitting = list(self._fitting(goal))
        return self._found(max(fitting, key=key), goal) if fitting else None

    def _fitting(self, goal: Goal) -> Iterator[_Row]:
        """Yield what meets the limits; an unknown figure does not, unless none is known."""
        floor, known = goal.metric_floor, self.known
        asked = self._floor if floor is None else max(floor, self._floor)
        floor = None if asked == -inf or "metric" not in known else _slack(asked + self._bound, -1)
        latency = _limit(goal.latency_limit_ms, "latency" in known)
        energy = _limit(goal.energy_limit_mj, "energy" in known)
        memory = _limit(goal.memory_limit_bytes, "memory" in known)
        stretch = goal.stretch
        for row in self._rows[goal.cold]:
            if (
                (floor is None or row.metric >= floor)
                and (latency is None or row.latency_ms * stretch <= latency)
                and (energy is None or row.energy_mj <= energy)
                and (memory is None or row.memory_bytes <= memory)
            ):
                yield row


def _rows(metric: Floats, latency: Floats, energy: Floats, memory: Floats) -> tuple[_Row, ...]:
    most_ms, most_mj = _filled(latency), _filled(energy)
    best = np.nan_to_num(metric, nan=-inf)
    least = np.nan_to_num(-memory, nan=-inf)
    ranks = zip(*(v.tolist() for v in (-most_mj, -most_ms, best, least)), strict=True)
    columns = (v.tolist() for v in (metric, latency, energy, memory, most_ms, most_mj))
    figures = zip(*columns, ranks, strict=True)
    return tuple(_Row(cell, *row) for cell, row in enumerate(figures))


def _filled(column: Floats) -> Floats:
    """Return a column with its worst known figure for unknown ones, 0 where none is known."""
    worst = 0.0 if np.isnan(column).all() else np.nanmax(column)
    return np.where(np.isnan(column), worst, column)


def _worth(row: _Row, goal: Goal) -> float:
    metric = 0.0 if isnan(row.metric) else goal.metric_worth * row.metric
    return metric - goal.mj_worth * row.most_mj - goal.ms_worth * goal.stretch * row.most_ms


def _limit(limit: float | None, known: bool) -> float | None:
    return None if limit is None or not known else _slack(limit, 1)


def _slack(limit: float, sign: int) -> float:
    """Return a limit with room for figures that were added in another order."""
    return limit + sign * ROUNDING_RATIO * abs(limit)


_FIELDS = {
    "metric": "metric",
    "latency": "latency_ms",
    "energy": "energy_mj",
    "memory": "memory_bytes",
}
_LIMITS = {
    "metric": "metric_floor",
    "latency": "latency_limit_ms",
    "energy": "energy_limit_mj",
    "memory": "memory_limit_bytes",
}


def _without(goal: Goal, quantity: Quantity) -> Goal:
    """Return a goal without its limit of a quantity."""
    changed: dict[str, Any] = {_LIMITS[quantity]: None}
    return replace(goal, **changed)
