"""Seeded spaces and goals for the search: what it is measured on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from adaspring.library.evolve.goal import Goal
from adaspring.library.evolve.space import Segment, Space

EIGHT_BIT_SHARE = 0.4


def seeded_space(seed: int, segments: int, cells: int) -> Space:
    """A made network: cells that are smaller are faster and worse, each by its own measure.

    The first cell of each segment is the dense one. Some hand 8 bits on, and what crosses from
    them to floats or back costs time, energy and a little of the metric; every crossing costs a
    little of its own.
    """
    rng = np.random.default_rng(seed)
    eight_bit = rng.random((segments, cells)) < EIGHT_BIT_SHARE
    eight_bit[:, 0] = False
    parts = tuple(
        segment(rng, eight, size)
        for eight, size in zip(eight_bit, sizes(rng, segments), strict=True)
    )
    turned = [a[:, None] != b[None, :] for a, b in pairwise(eight_bit)]
    own = [rng.uniform(0, 0.01, table.shape) for table in turned]
    return Space(
        segments=parts,
        crossing_metric=tuple(-1e-4 * t - 1e-3 * o for t, o in zip(turned, own, strict=True)),
        crossing_ms=tuple(0.02 * t + o for t, o in zip(turned, own, strict=True)),
        crossing_mj=tuple(0.05 * t + o for t, o in zip(turned, own, strict=True)),
        metric_base=0.95,
        metric_bound=0.004,
        latency_scale=1.03,
        latency_offset_ms=0.05,
    )


def sizes(rng: np.random.Generator, segments: int) -> np.ndarray:
    """How large each segment is beside the others; the mean is 1."""
    found = rng.lognormal(0.0, 0.6, segments)
    return found / found.mean()


def segment(rng: np.random.Generator, eight_bit: np.ndarray, size: float) -> Segment:
    """One segment: the share of the work that each cell leaves, and what that does."""
    cells = len(eight_bit)
    kept = np.concatenate([[1.0], np.sort(rng.uniform(0.15, 0.95, cells - 1))[::-1]])
    worse = rng.lognormal(-4.5, 0.7) * (1 - kept) ** 2 * rng.uniform(0.5, 1.5, cells)
    speed = np.where(eight_bit, rng.uniform(1.5, 3.0, cells), 1.0) * rng.uniform(0.9, 1.1, cells)
    latency = 0.2 * size * (0.1 + 0.9 * kept) / speed
    weights = 4e5 * size * kept / np.where(eight_bit, 4, 1)
    return Segment(
        names=tuple(f"c{cell}" for cell in range(cells)),
        metric=-worse - 0.001 * eight_bit * rng.random(cells),
        latency_ms=latency,
        cold_latency_ms=latency * rng.uniform(1.1, 1.6),
        energy_mj=latency * rng.uniform(2.0, 4.0, cells),
        weights_bytes=np.round(weights),
        activations_bytes=np.round(rng.uniform(1e5, 1e6) * (0.3 + 0.7 * kept)),
    )


def seeded_goals(space: Space, seed: int, count: int) -> Iterator[Goal]:
    """Goals of every kind: up to four limits, loose to out of reach, some with trade-offs."""
    rng = np.random.default_rng(seed)
    dense, least = extremes(space)
    for _ in range(count):
        asked = rng.random(4) < 0.6
        share = rng.beta(1.2, 1.2, 4) * 1.05 - 0.02
        limit = least + share * (dense - least)
        metric, latency, energy, memory = np.where(asked, limit, np.nan)
        stretch = float(rng.choice([1.0, 1.0, 1.5]))
        yield Goal(
            mj_worth=float(rng.choice([0.0, 1e-4, 1e-3, 5e-3])),
            ms_worth=float(rng.choice([0.0, 0.0, 1e-3])),
            metric_floor=optional(metric - space.metric_bound),
            latency_limit_ms=optional(latency * stretch),
            energy_limit_mj=optional(energy),
            memory_limit_bytes=optional(memory),
            cold=bool(rng.random() < 0.3),
            stretch=stretch,
        )


def optional(value: float) -> float | None:
    """None for NaN."""
    return None if np.isnan(value) else float(value)


def extremes(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Metric, latency, energy and memory of the dense cells, and the least of each, roughly."""
    rows = [
        (s.metric, s.latency_ms, s.energy_mj, s.weights_bytes, s.activations_bytes)
        for s in space.segments
    ]
    dense = np.array([[row[0] for row in part] for part in rows])
    least = np.array([[row.min() for row in part] for part in rows])
    return tuple(
        np.array(
            [
                space.metric_base + part[:, 0].sum(),
                space.latency_offset_ms + space.latency_scale * part[:, 1].sum(),
                part[:, 2].sum(),
                part[:, 3].sum() + part[:, 4].max(),
            ]
        )
        for part in (dense, least)
    )


def worth_spread(space: Space, goal: Goal) -> float:
    """How far apart combinations are in worth at most, crossings left out."""
    return sum(
        float(
            np.ptp(
                goal.metric_worth * part.metric
                - goal.mj_worth * part.energy_mj
                - goal.ms_worth
                * goal.stretch
                * space.latency_scale
                * (part.cold_latency_ms if goal.cold else part.latency_ms)
            )
        )
        for part in space.segments
    )
