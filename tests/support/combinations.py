"""Small spaces for the search, and what is best in them by trying everything, in plain Python."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import strategies as st

from adaspring.library.evolve.goal import Goal
from adaspring.library.evolve.space import Segment, Space

from .variants import FIGURES

LIMITS = ("metric_floor", "latency_limit_ms", "energy_limit_mj", "memory_limit_bytes")


def random_space(seed: int, sizes: list[int], whole: bool, unknown_share: float) -> Space:
    """A space with crossings; whole numbers make ties."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int, low: float = 0.0) -> np.ndarray:
        drawn = rng.integers(low, 4, shape) if whole else rng.uniform(low, 4, shape)
        return np.where(rng.random(shape) < unknown_share, math.nan, drawn)

    segments = tuple(
        Segment(
            names=tuple(f"c{cell}" for cell in range(size)),
            **{name: draw(size, low=-4.0 if name == "metric" else 0.0) for name in FIGURES},
        )
        for size in sizes
    )
    joints = list(itertools.pairwise(sizes))
    return Space(
        segments=segments,
        crossing_metric=tuple(-draw(*joint) for joint in joints) if seed % 2 else (),
        crossing_ms=tuple(draw(*joint) for joint in joints) if seed % 3 else (),
        crossing_mj=tuple(draw(*joint) for joint in joints) if seed % 5 else (),
        metric_base=2.0,
        metric_bound=0.5,
        least_metric=-6.0 if seed % 7 == 0 else -math.inf,
        latency_scale=1.25,
        latency_offset_ms=0.5,
    )


def totals(space: Space, cells: tuple[int, ...], cold: bool) -> dict[str, float]:
    """A combination's figures by the definition, NaN where one is unknown."""
    parts = list(zip(space.segments, cells, strict=True))

    def latency(part: Segment, cell: int) -> float:
        warm, seldom = part.latency_ms[cell], part.cold_latency_ms[cell]
        warm = seldom if math.isnan(warm) else warm
        return warm if not cold or math.isnan(seldom) else max(warm, seldom)

    def crossing(tables: tuple[np.ndarray, ...]) -> float:
        return math.fsum(table[a, b] for table, a, b in zip(tables, cells, cells[1:], strict=False))

    spent = math.fsum(latency(*part) for part in parts) + crossing(space.crossing_ms)
    return {
        "metric": space.metric_base
        + math.fsum(part.metric[cell] for part, cell in parts)
        + crossing(space.crossing_metric),
        "latency": space.latency_scale * spent + space.latency_offset_ms,
        "energy": math.fsum(part.energy_mj[cell] for part, cell in parts)
        + crossing(space.crossing_mj),
        "memory": math.fsum(part.weights_bytes[cell] for part, cell in parts)
        + float(np.max([part.activations_bytes[cell] for part, cell in parts])),
    }


def meets(space: Space, goal: Goal, found: dict[str, float], known: frozenset[str]) -> bool:
    """Whether a combination's figures keep a goal's limits; of what nothing knows, all do."""
    slack = 1e-6
    floor = max(space.least_metric, -math.inf if goal.metric_floor is None else goal.metric_floor)
    checks = {
        "metric": floor == -math.inf or found["metric"] - space.metric_bound >= floor - slack,
        "latency": goal.latency_limit_ms is None
        or found["latency"] * goal.stretch <= goal.latency_limit_ms + slack,
        "energy": goal.energy_limit_mj is None or found["energy"] <= goal.energy_limit_mj + slack,
        "memory": goal.memory_limit_bytes is None
        or found["memory"] <= goal.memory_limit_bytes + slack,
    }
    return all(kept for name, kept in checks.items() if name in known)


def every(space: Space, cold: bool) -> dict[tuple[int, ...], dict[str, float]]:
    """All combinations with their figures."""
    ranges = [range(len(segment.names)) for segment in space.segments]
    return {cells: totals(space, cells, cold) for cells in itertools.product(*ranges)}


@st.composite
def spaces(draw: st.DrawFn, unknown_share: float = 0.0) -> Space:
    """One segment to five, of one cell to four."""
    return random_space(
        draw(st.integers(0, 10**6)),
        draw(st.lists(st.integers(1, 4), min_size=1, max_size=5)),
        draw(st.booleans()),
        unknown_share,
    )


@st.composite
def goals(draw: st.DrawFn, space: Space) -> Goal:
    """Any limits, some exactly what a combination of the space takes."""
    cold, stretch = draw(st.booleans()), draw(st.sampled_from([1.0, 1.5]))
    cells = tuple(draw(st.integers(0, len(segment.names) - 1)) for segment in space.segments)
    of = totals(space, cells, cold)
    exact = (of["metric"] - space.metric_bound, of["latency"] * stretch, of["energy"], of["memory"])
    limits = {
        name: draw(st.sampled_from([None, value, value * 1.2 + 0.3]))
        for name, value in zip(LIMITS, exact, strict=True)
        if not math.isnan(value)
    }
    return Goal(
        **limits,
        metric_worth=draw(st.sampled_from([0.0, 1.0])),
        mj_worth=draw(st.sampled_from([0.0, 0.3])),
        ms_worth=draw(st.sampled_from([0.0, 0.2])),
        cold=cold,
        stretch=stretch,
    )
