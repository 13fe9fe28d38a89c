"""A space's figures as arrays, each turned so that more is better, and a goal in the same terms."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .goal import Goal
from .space import Floats, Space

QUANTITIES = ("metric", "latency", "energy", "memory")
METRIC, LATENCY, ENERGY, MEMORY = range(4)

ROUNDING_RATIO = 1e-9
"""What a sum may miss its limit by: its figures were added in another order there."""
TIE_RATIO = 1e-12
"""What is better by no more is not better: it is the order in which figures were added."""

_LEAST = float(np.finfo(np.float64).min)

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]


Objective = Callable[[Floats, Floats, Floats, Floats], Floats]
"""What combinations are worth, by their metric, latency_ms, energy_mj and memory_bytes."""


@dataclass(frozen=True)
class Aim:
    """A goal as numbers: maximise worth · gains where gains ≥ floors; -inf: no floor.

    `objective`, a function of gains (R, n), stands in for worth · gains where that is not enough.
    """

    worth: Floats
    floors: Floats
    objective: Callable[[Floats], Floats] | None = None

    def value(self, gains: Floats) -> Floats:
        """Return what each of n combinations is worth by its gains (R, n)."""
        return self.worth @ gains if self.objective is None else self.objective(gains)

    @cached_property
    def limited(self) -> Counts:
        """Which rows have a floor."""
        return np.flatnonzero(self.floors > -np.inf)


class Figures:
    """What cells (R, S, K) and crossings (R, S - 1, K, K) gain; K is the most cells of a segment.

    The first rows are QUANTITIES. Where a figure is unknown it is the worst known one of its place,
    0 where none is. Each quantity of which some are unknown has one row more, in which each of
    those gains -1. A cold latency is at least the warm one; the one stands in for the other. What
    does not exist gains as little as the worst that does.
    """

    def __init__(self, space: Space, cold: bool) -> None:
        self.space, self.is_cold = space, cold
        self.sizes = tuple(len(segment.names) for segment in space.segments)
        count = max(self.sizes)
        self.exists = np.array([np.arange(count) < size for size in self.sizes])
        self._joined = joined = self.exists[:-1, :, None] & self.exists[1:, None]
        nodes, edges = _cells(space, cold, count), _crossings(space, count)
        sizes = np.stack([_padded(s.activations_bytes, count) for s in space.segments])
        self.activations = -_worst_for_unknown(-sizes[None], self.exists)[0]
        self._is_known = (np.isfinite(nodes) & self.exists).any((1, 2))
        no_node, no_edge = ~np.isfinite(nodes) & self.exists, ~np.isfinite(edges) & joined
        some = self._is_known & (no_node.any((1, 2)) | no_edge.any((1, 2, 3)))
        self._unknown_row = np.where(some, 3 + np.cumsum(some), -1)
        nodes, edges = _worst_for_unknown(nodes, self.exists), _worst_for_unknown(edges, joined)
        self.nodes = np.concatenate([nodes, -1.0 * no_node[some]])
        self.edges = np.concatenate([edges, -1.0 * no_edge[some]])
        self.constants = np.zeros(len(self.nodes))
        self.constants[METRIC] = space.metric_base
        self.constants[LATENCY] = -space.latency_offset_ms
        self.least, self.span = self._range(joined)
        rows = [_by_row(self.nodes), _by_row(self.edges)]
        self._flat = np.ascontiguousarray(np.concatenate(rows))
        self._node_at = np.arange(len(self.sizes)) * count
        self._edge_at = self.exists.size + np.arange(len(self.sizes) - 1) * count**2

    def renewed(self, space: Space) -> Figures:
        """Return the figures of a space that differs from this one's in latencies alone."""
        new = copy(self)
        new.space = space
        nodes = _latencies(space, self.is_cold, self.exists.shape[1])[None]
        edges = _crossings(space, self.exists.shape[1])[[LATENCY]]
        new.nodes, new.edges, new._flat = self.nodes.copy(), self.edges.copy(), self._flat.copy()
        new.nodes[LATENCY] = _worst_for_unknown(nodes, self.exists)[0]
        new.edges[LATENCY] = _worst_for_unknown(edges, self._joined)[0]
        new._flat[:, LATENCY] = np.append(new.nodes[LATENCY], new.edges[LATENCY])
        new.constants = self.constants.copy()
        new.constants[LATENCY] = -space.latency_offset_ms
        new.least, new.span = new._range(self._joined)
        return new

    def _range(self, joined: Bools) -> tuple[Floats, Floats]:
        """Return what any combination gains of each row at least, and how much more one may."""
        least, most = _extremes(self.nodes, self.exists) + _extremes(self.edges, joined)
        sizes = self.activations[self.exists]
        least[MEMORY] -= sizes.max()
        most[MEMORY] -= sizes.min()
        return least + self.constants, most - least

    @property
    def known(self) -> frozenset[str]:
        """The quantities of which a cell has a figure."""
        return frozenset(np.array(QUANTITIES)[self._is_known].tolist())

    def latencies(self, paths: Counts) -> Floats:
        """Return what each of n combinations (n, S) gains in latency, (n,)."""
        places = np.arange(len(self.sizes))
        total: Floats = self.nodes[LATENCY][places, paths].sum(-1)
        total += self.edges[LATENCY][places[:-1], paths[:, :-1], paths[:, 1:]].sum(-1)
        return total + self.constants[LATENCY]

    def gains(self, paths: Counts) -> Floats:
        """Return what each of n combinations (n, S) gains in all, (R, n)."""
        places = np.arange(len(self.sizes))
        total = self.nodes[:, places, paths].sum(-1)
        total += self.edges[:, places[:-1], paths[:, :-1], paths[:, 1:]].sum(-1)
        total += self.constants[:, None]
        total[MEMORY] -= self.activations[places, paths].max(-1)
        return total

    def gain(self, path: Counts) -> Floats:
        """Return what one combination (S,) gains in all, (R,): `gains` of one, in less time."""
        nodes = self._node_at + path
        edges = self._edge_at + path[:-1] * self.exists.shape[1] + path[1:]
        rows = self._flat.take(np.concatenate((nodes, edges)), 0)
        total: Floats = rows.sum(0) + self.constants
        total[MEMORY] -= self.activations.take(nodes).max()
        return total

    def shown(self, gains: Floats) -> Floats:
        """Return what n combinations gain of each quantity (4, n), NaN where that is unknown."""
        unknown = (gains[self._unknown_row] < 0) & (self._unknown_row >= 0)[:, None]
        return np.where(unknown | ~self._is_known[:, None], np.nan, gains[:4])

    def aim(self, goal: Goal) -> Aim:
        """Return a goal in these terms: what nothing knows has neither worth nor floor.

        What is of unknown metric is worth less than anything that is not.
        """
        worth = np.zeros(len(self.nodes))
        worth[:3] = goal.metric_worth, goal.ms_worth * goal.stretch, goal.mj_worth
        worth[:4] *= self._is_known
        return self._aim(worth, METRIC, goal)

    def extreme(self, quantity: str, goal: Goal, sign: float = 1.0) -> Aim:
        """Return the aim to have most of a quantity, known rather than unknown, within limits.

        With a `sign` of -1 it is to have the least: the worst metric, the most of the others.
        """
        row, worth = QUANTITIES.index(quantity), np.zeros(len(self.nodes))
        worth[row] = sign * goal.stretch if row == LATENCY else sign
        return self._aim(worth, row, goal)

    def by(self, objective: Objective, goal: Goal) -> Aim:
        """Return the aim of an objective within a goal's limits; where it is NaN, it is least."""

        def value(gains: Floats) -> Floats:
            metric, latency, energy, memory = self.shown(gains)
            found = objective(metric, -latency * goal.stretch, -energy, -memory)
            return np.nan_to_num(found, nan=_LEAST)

        return replace(self.aim(goal), objective=value)

    def _aim(self, worth: Floats, dreaded: int, goal: Goal) -> Aim:
        floors = np.full(len(worth), -np.inf)
        floors[:4] = self._floors(goal)
        for quantity, row in enumerate(self._unknown_row):
            if row >= 0 and floors[quantity] > -np.inf:
                floors[row] = -0.5
        if self._unknown_row[dreaded] >= 0:
            worth[self._unknown_row[dreaded]] = 1.0 + 2.0 * (np.abs(worth) @ self.span)
        return Aim(worth, floors)

    def _floors(self, goal: Goal) -> Floats:
        least, asked = self.space.least_metric, goal.metric_floor
        floor = least if asked is None else max(least, asked)
        limits = (goal.latency_limit_ms, goal.energy_limit_mj, goal.memory_limit_bytes)
        latency, energy, memory = (-np.inf if limit is None else -limit for limit in limits)
        bound = self.space.metric_bound
        metric = -np.inf if floor == -np.inf else floor + bound  # inf: nothing meets it
        floors = np.array([metric, latency / goal.stretch, energy, memory])
        room = ROUNDING_RATIO * np.abs(np.where(np.isfinite(floors), floors, 0.0))
        return np.where(self._is_known & ~np.isnan(floors), floors - room, -np.inf)


def _cells(space: Space, cold: bool, count: int) -> Floats:
    """Return what each cell gains, (4, S, count): NaN where that is unknown or there is no cell."""
    found = np.full((4, len(space.segments), count), np.nan)
    found[LATENCY] = _latencies(space, cold, count)
    for place, segment in enumerate(space.segments):
        known = np.isfinite(segment.activations_bytes)  # memory is unknown where either is
        memory = np.where(known, segment.weights_bytes, np.nan)
        found[METRIC, place] = _padded(segment.metric, count)
        found[ENERGY, place] = -_padded(segment.energy_mj, count)
        found[MEMORY, place] = -_padded(memory, count)
    return found


def _latencies(space: Space, cold: bool, count: int) -> Floats:
    """Return what each cell gains in latency, (S, count)."""
    warm, seldom = (
        np.array([_padded(getattr(segment, name), count) for segment in space.segments])
        for name in ("latency_ms", "cold_latency_ms")
    )
    warm = np.where(np.isnan(warm), seldom, warm)
    found: Floats = -space.latency_scale * (np.fmax(warm, seldom) if cold else warm)
    return found


def _crossings(space: Space, count: int) -> Floats:
    """Return what each pair of neighbours gains, (4, S - 1, count, count)."""
    found = np.zeros((4, len(space.segments) - 1, count, count))
    factors = {
        METRIC: (1.0, space.crossing_metric),
        LATENCY: (-space.latency_scale, space.crossing_ms),
        ENERGY: (-1.0, space.crossing_mj),
    }
    for quantity, (factor, tables) in factors.items():
        for place, table in enumerate(tables):
            rows, columns = table.shape
            found[quantity, place, :rows, :columns] = factor * table
    return found


def _by_row(gains: Floats) -> Floats:
    """Return gains (R, …) as one row of R for each cell, or pair of cells."""
    return gains.reshape(len(gains), -1).T


def _padded(row: Floats, count: int) -> Floats:
    """Return a row of figures with NaN to its end."""
    found = np.full(count, np.nan)
    found[: len(row)] = row
    return found


def _worst_for_unknown(gains: Floats, exists: Bools) -> Floats:
    """Return gains with the worst known one of its place for what is unknown, 0 where none is."""
    axes = tuple(range(2, gains.ndim))
    known = np.isfinite(gains) & exists
    worst = np.where(known, gains, np.inf).min(axes, keepdims=True)
    worst[np.isinf(worst)] = 0.0
    return np.where(known, gains, worst)


def _extremes(gains: Floats, exists: Bools) -> Floats:
    """Return the sums over places of the least and of the most in each row, (2, R)."""
    axes = tuple(range(2, gains.ndim))
    least = np.where(exists, gains, np.inf).min(axes)
    most = np.where(exists, gains, -np.inf).max(axes)
    return np.stack([least.sum(1), most.sum(1)])
