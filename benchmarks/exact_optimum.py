"""The true optimum of a space and a goal, by mixed-integer programming: HiGHS, of SciPy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, lil_array

from adaspring.library.evolve.goal import Goal
from adaspring.library.evolve.space import Space

GAP_RATIO = 1e-6


def optimum(space: Space, goal: Goal) -> float | None:
    """The worth of the best combination, None where nothing meets the limits.

    A variable for each cell, for each pair of neighbours (the flow between them), and one for the
    largest activations. Every figure must be known.
    """
    sizes = [len(segment.names) for segment in space.segments]
    pairs = [a * b for a, b in pairwise(sizes)]
    count = sum(sizes) + sum(pairs) + 1
    rows = figure_rows(space, goal, count)
    metric, latency, energy, memory = rows
    floor = max(space.least_metric, -np.inf if goal.metric_floor is None else goal.metric_floor)
    floors = [
        (metric, floor + space.metric_bound - space.metric_base, np.inf),
        (latency, -np.inf, limit(goal.latency_limit_ms)
         - goal.stretch * space.latency_offset_ms),
        (energy, -np.inf, limit(goal.energy_limit_mj)),
        (memory, -np.inf, limit(goal.memory_limit_bytes)),
    ]  # fmt: skip
    worth = goal.metric_worth * metric - goal.mj_worth * energy - goal.ms_worth * latency
    binary = np.append(np.ones(count - 1), 0.0)
    found = milp(
        -worth,
        constraints=[
            flow(sizes, pairs, count),
            largest(space, sizes, count),
            *(LinearConstraint(row / scale(row), low / scale(row), high / scale(row))
              for row, low, high in floors if np.isfinite(low) or np.isfinite(high)),
        ],
        integrality=binary,
        bounds=Bounds(0, np.ones(count)),
        options={"mip_rel_gap": GAP_RATIO},
    )  # fmt: skip
    if found.status == 2:
        return None
    assert found.status == 0, found.message
    fixed = goal.metric_worth * space.metric_base
    return float(fixed - found.fun - goal.ms_worth * goal.stretch * space.latency_offset_ms)


def limit(value: float | None) -> float:
    return np.inf if value is None else value


def scale(row: np.ndarray) -> float:
    """What brings a row near 1, for the solver's tolerances."""
    return float(np.abs(row).max()) or 1.0


def figure_rows(space: Space, goal: Goal, count: int) -> np.ndarray:
    """What each variable adds to metric, latency, energy and memory, (4, count)."""
    parts = space.segments
    latency = [
        np.fmax(part.latency_ms, part.cold_latency_ms) if goal.cold else part.latency_ms
        for part in parts
    ]
    stretched = goal.stretch * space.latency_scale
    joined = [np.concatenate([np.ravel(part) for part in row]) for row in (
        [part.metric for part in parts] + list(space.crossing_metric),
        [stretched * row for row in latency] + [stretched * row for row in space.crossing_ms],
        [part.energy_mj for part in parts] + list(space.crossing_mj),
        [part.weights_bytes for part in parts],
    )]  # fmt: skip
    rows = np.zeros((4, count))
    for row, values in zip(rows, joined, strict=True):
        row[: len(values)] = values
    rows[3, -1] = largest_size(space)
    return rows


def largest_size(space: Space) -> float:
    """The largest activations of any cell."""
    return float(max(part.activations_bytes.max() for part in space.segments))


def flow(sizes: list[int], pairs: list[int], count: int) -> LinearConstraint:
    """One cell a segment, and each pair of neighbours between two that are chosen."""
    first = np.cumsum([0, *sizes, *pairs])
    table, wanted = lil_array((len(sizes) + 2 * sum(sizes), count)), []
    for place, size in enumerate(sizes):
        table[len(wanted), first[place] : first[place] + size] = 1
        wanted.append(1)
    for place, (a, b) in enumerate(pairwise(sizes)):
        numbers = first[len(sizes) + place] + np.arange(a * b).reshape(a, b)
        ends = [(place, c, numbers[c]) for c in range(a)]
        ends += [(place + 1, c, numbers[:, c]) for c in range(b)]
        for at, cell, among in ends:
            table[len(wanted), among] = 1
            table[len(wanted), first[at] + cell] = -1
            wanted.append(0)
    return LinearConstraint(csr_array(table)[: len(wanted)], wanted, wanted)


def largest(space: Space, sizes: list[int], count: int) -> LinearConstraint:
    """The last variable, a share of the largest there are, is at least all activations."""
    table, first = lil_array((len(sizes), count)), np.cumsum([0, *sizes])
    for place, part in enumerate(space.segments):
        shares = part.activations_bytes / largest_size(space)
        table[place, first[place] : first[place + 1]] = -shares
        table[place, count - 1] = 1
    return LinearConstraint(csr_array(table), 0, np.inf)
