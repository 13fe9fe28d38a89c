"""A space's figures as arrays, each turned so that more is better, and a goal in the same terms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .goal import Goal
from .space import Floats, Segment, Space

QUANTITIES = ("metric", "latency", "energy", "memory")
METRIC, LATENCY, ENERGY, MEMORY = range(4)
_SIGNS = (1.0, -1.0, -1.0, -1.0)

ROUNDING_RATIO = 1e-9
"""What a sum may miss its limit by: its figures were added in another order there."""

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Aim:
    """A goal as numbers: maximise worth · gains - dread · unknown, where gains ≥ floors.

    The rows are QUANTITIES; -inf: no floor. `dread` is larger than all that gains can make up for.
    """

    worth: Floats
    floors: Floats
    dread: Floats


class Figures:
    """What cells (4, S, K) and crossings (4, S - 1, K, K) gain; K is the most cells of a segment.

    Where a figure is unknown it is the worst known one of its place, 0 where none is, and
    `unknown` is set; a quantity that no cell knows at all is nowhere unknown, and not in `known`.
    A cold latency is at least the warm one, and the one stands in for the other.
    """

    def __init__(self, space: Space, cold: bool) -> None:
        self.space = space
        self.sizes = tuple(len(segment.names) for segment in space.segments)
        count = max(self.sizes)
        nodes = np.stack([_cells(segment, cold, count) for segment in space.segments], axis=1)
        edges = _crossings(space, count)
        nodes[LATENCY] *= space.latency_scale
        edges[LATENCY] *= space.latency_scale
        activations = np.stack([_padded(s.activations_bytes, count) for s in space.segments])
        self.exists = np.array([np.arange(count) < size for size in self.sizes])
        self.activations = -_fill(-activations[None], self.exists)[0][0]
        joined = self.exists[:-1, :, None] & self.exists[1:, None]
        self.is_known: Bools = (np.isfinite(nodes) & self.exists).any((1, 2))
        self.nodes, self.unknown_nodes = _fill(nodes, self.exists)
        self.edges, self.unknown_edges = _fill(edges, joined)
        for unknown in (self.unknown_nodes, self.unknown_edges):
            unknown &= self.is_known[:, None, None].reshape(4, *(1,) * (unknown.ndim - 1))
        self.span = _span(self.nodes, self.exists) + _span(self.edges, joined)
        self.span[MEMORY] += np.ptp(self.activations)
        self.known = frozenset(
            name for name, known in zip(QUANTITIES, self.is_known, strict=True) if known
        )

    def gains(self, cells: Counts) -> Floats:
        """Return what each of n combinations (n, S) gains in all, (4, n)."""
        places = np.arange(len(self.sizes))
        total = self.nodes[:, places, cells].sum(-1)
        total += self.edges[:, places[:-1], cells[:, :-1], cells[:, 1:]].sum(-1)
        total[METRIC] += self.space.metric_base
        total[LATENCY] -= self.space.latency_offset_ms
        total[MEMORY] -= self.activations[places, cells].max(-1)
        return total

    def unknown(self, cells: Counts) -> Counts:
        """Return how many figures of each quantity are unknown, (4, n)."""
        places = np.arange(len(self.sizes))
        crossed = self.unknown_edges[:, places[:-1], cells[:, :-1], cells[:, 1:]]
        return self.unknown_nodes[:, places, cells].sum(-1) + crossed.sum(-1)

    def aim(self, goal: Goal) -> Aim:
        """Return the goal in these terms; what nothing knows has neither worth nor floor."""
        worth = np.array([goal.metric_worth, goal.ms_worth * goal.stretch, goal.mj_worth, 0.0])
        dread = np.zeros(4)
        dread[METRIC] = 1.0 + 2.0 * float(np.abs(worth) @ self.span)
        return Aim(worth * self.is_known, self._floors(goal), dread)

    def _floors(self, goal: Goal) -> Floats:
        least, asked = self.space.least_metric, goal.metric_floor
        floor = least if asked is None else max(least, asked)
        limits = (goal.latency_limit_ms, goal.energy_limit_mj, goal.memory_limit_bytes)
        latency, energy, memory = (-np.inf if limit is None else -limit for limit in limits)
        bound = self.space.metric_bound
        floors = np.array([floor + bound, latency / goal.stretch, energy, memory])
        finite = self.is_known & np.isfinite(floors)
        return np.where(finite, floors - ROUNDING_RATIO * np.abs(floors), -np.inf)


def _cells(segment: Segment, cold: bool, count: int) -> Floats:
    """Return what each cell gains, (4, count): NaN where that is unknown or there is no cell."""
    warm = np.where(np.isnan(segment.latency_ms), segment.cold_latency_ms, segment.latency_ms)
    latency = np.fmax(warm, segment.cold_latency_ms) if cold else warm
    memory = segment.weights_bytes + 0.0 * segment.activations_bytes  # unknown where either is
    rows = (segment.metric, latency, segment.energy_mj, memory)
    return np.stack([s * _padded(row, count) for s, row in zip(_SIGNS, rows, strict=True)])


def _crossings(space: Space, count: int) -> Floats:
    """Return what each pair of neighbours gains, (4, S - 1, count, count)."""
    found = np.zeros((4, len(space.segments) - 1, count, count))
    given = {METRIC: space.crossing_metric, LATENCY: space.crossing_ms, ENERGY: space.crossing_mj}
    for quantity, tables in given.items():
        for place, table in enumerate(tables):
            rows, columns = table.shape
            found[quantity, place, :rows, :columns] = _SIGNS[quantity] * table
    return found


def _padded(row: Floats, count: int) -> Floats:
    """Return a row of figures with NaN to its end."""
    found = np.full(count, np.nan)
    found[: len(row)] = row
    return found


def _fill(gains: Floats, exists: Bools) -> tuple[Floats, Bools]:
    """Return gains with the worst known one of its place for the unknown, and which those are."""
    axes = tuple(range(2, gains.ndim))
    known = np.isfinite(gains) & exists
    worst = np.where(known, gains, np.inf).min(axes, keepdims=True)
    worst[np.isinf(worst)] = 0.0
    return np.where(known, gains, worst), ~known & exists


def _span(gains: Floats, exists: Bools) -> Floats:
    """Return how far apart two combinations can be at most in each quantity, (4,)."""
    axes = tuple(range(2, gains.ndim))
    most = np.where(exists, gains, -np.inf).max(axes)
    least = np.where(exists, gains, np.inf).min(axes)
    return (most - least).sum(1)
