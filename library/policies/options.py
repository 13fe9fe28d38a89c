"""All that a library can run: the best of several spaces, and what a name stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, isnan

import numpy as np

from ..evolve.figures import Objective
from ..evolve.found import Found, Quantity
from ..evolve.goal import Goal
from ..evolve.search import Search
from ..evolve.space import BETWEEN, Cells, Space
from ..evolve.spaces import Spaces
from .listing import Listing

_MOST_LISTED = 64
"""Up to so many variants loops are quicker than arrays."""

_MOST_REMEMBERED = 32


@dataclass(frozen=True)
class Option:
    """A combination of cells of one of the spaces, by the space's number, and its figures."""

    space: int
    found: Found
    metric_bound: float

    def figure(self, quantity: Quantity) -> float:
        """Return what a limit is held against, NaN where unknown: of the metric, the least."""
        figure = self.found.figure(quantity)
        return figure - self.metric_bound if quantity == "metric" else figure

    def is_same(self, other: Option) -> bool:
        """Tell whether this is the same combination as another."""
        return (self.space, self.found.cells) == (other.space, other.found.cells)


class Options:
    """Searches over spaces as if they were one; of equals the first space's is taken.

    Spaces are compared by figures, so one that lacks a quantity of which the first has figures is
    left out. `known` are the quantities of the first; `is_handful` says that all are whole
    variants, few enough to look at each, `is_listed` that each combination is looked at.
    """

    def __init__(self, offer: Spaces) -> None:
        self.offer, self.spaces = offer, offer.each
        searches = [_searcher(space) for space in self.spaces]
        self.known = searches[0].known
        self._searches = {n: one for n, one in enumerate(searches) if one.known >= self.known}
        self.is_handful = all(isinstance(one, Listing) for one in self._searches.values())
        self.is_listed = all(search.is_listed for search in self._searches.values())
        self._whole = {
            segment.names[cell]: (number, (cell,))
            for number in reversed(self._searches)
            for segment in self.spaces[number].segments
            if len(self.spaces[number].segments) == 1
            for cell in range(len(segment.names))
        }

    def renewed(self, offer: Spaces) -> Options:
        """Return the options of spaces that differ in latencies alone, in less time."""
        new = copy(self)
        new.offer, new.spaces = offer, offer.each
        new._searches = {n: one.renewed(new.spaces[n]) for n, one in self._searches.items()}
        return new

    @property
    def whole_mj(self) -> float:
        """What a plainest call takes; 0 where no energy is known."""
        return self.offer.energy_scale_mj if "energy" in self.known else 0.0

    def best(self, goal: Goal) -> Option | None:
        """Return what is worth most within the limits, None where nothing meets them."""
        found = (
            self._option(number, search.best(goal)) for number, search in self._searches.items()
        )
        return _most(found, lambda option: option.found.worth)

    def best_from(self, goal: Goal, least_metric: float) -> Option | None:
        """Return the best of those of which at least this metric is predicted."""
        found = []
        for number, search in self._searches.items():
            floor = least_metric - self.spaces[number].metric_bound
            if goal.metric_floor is not None:
                floor = max(floor, goal.metric_floor)
            found.append(self._option(number, search.best(replace(goal, metric_floor=floor))))
        return _most(found, lambda option: option.found.worth)

    def best_by(self, objective: Objective, goal: Goal) -> Option | None:
        """Return what is worth most by any objective, of the spaces of which all is looked at."""
        found = (
            self._option(number, search.best_by(objective, goal))
            for number, search in self._searches.items()
            if search.is_listed
        )
        return _most(found, lambda option: option.found.worth)

    def least(self, quantity: Quantity, goal: Goal) -> Option | None:
        """Return what is nearest to meeting the limit of a quantity, within the other limits."""
        sign = 1.0 if quantity == "metric" else -1.0
        found = (
            self._option(number, search.least(quantity, goal))
            for number, search in self._searches.items()
        )
        return _most(found, lambda option: sign * option.figure(quantity))

    def range(self, quantity: Quantity) -> tuple[float, float]:
        """Return the least and the most of a quantity that what may run has; NaN where unknown."""
        lows, highs = zip(
            *(search.range(quantity) for search in self._searches.values()), strict=True
        )
        return float(np.fmin.reduce(lows)), float(np.fmax.reduce(highs))

    def named(self, name: str, goal: Goal) -> Option | None:
        """Return what has this name, with its figures under a goal; None where nothing has."""
        place = self._whole.get(name) or self._combination(name)
        if place is None:
            return None
        number, cells = place
        return self._option(number, self._searches[number].found(cells, goal))

    def name(self, option: Option) -> str:
        """Return an option's name."""
        return self.spaces[option.space].name(option.found.cells)

    def _combination(self, name: str) -> tuple[int, Cells] | None:
        for number in self._searches:
            segments, parts = self.spaces[number].segments, name.split(BETWEEN)
            if len(parts) == len(segments) and all(
                part in segment.names for part, segment in zip(parts, segments, strict=True)
            ):
                cells = (s.names.index(part) for part, s in zip(parts, segments, strict=True))
                return number, tuple(cells)
        return None

    def _option(self, number: int, found: Found | None) -> Option | None:
        return None if found is None else Option(number, found, self.spaces[number].metric_bound)


class _Remembering:
    """A `Search` that knows its last answers: one decision asks for some of them twice or more."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self.known, self.is_listed = search.known, search.is_listed
        self.found, self.best_by, self.range = search.found, search.best_by, search.range
        self.best: Callable[[Goal], Found | None] = lru_cache(_MOST_REMEMBERED)(search.best)
        self.least: Callable[[Quantity, Goal], Found | None] = lru_cache(_MOST_REMEMBERED)(
            search.least
        )

    def renewed(self, space: Space) -> _Remembering:
        """Return the same of a space that differs in latencies alone."""
        return _Remembering(self._search.renewed(space))


def _searcher(space: Space) -> Listing | _Remembering:
    if len(space.segments) == 1 and len(space.segments[0].names) <= _MOST_LISTED:
        return Listing(space)
    return _Remembering(Search(space))


def _most(options: Iterable[Option | None], key: Callable[[Option], float]) -> Option | None:
    """Return the option of the largest key, the first of equals; NaN is the smallest."""
    best, most = None, -inf
    for option in options:
        if option is None:
            continue
        value = key(option)
        if best is None or (not isnan(value) and value > most):
            best, most = option, -inf if isnan(value) else value
    return best
