"""What a library can run, as arrays: for each segment its cells, with costs that add up."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Cells = tuple[int, ...]
"""A combination: for each segment, which of its cells."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The cells of one piece of the network; each array has one figure a cell, NaN where unknown.

    `metric` is what the cell does to the library's metric: its share of the sum, turned so that
    more is better. `latency_ms` and `cold_latency_ms` are 90th percentiles, `energy_mj` of one
    call. `weights_bytes` is what the cell's weights and code take, `activations_bytes` what its
    activations do, which the next segment's take the place of.
    """

    names: tuple[str, ...]
    metric: Floats
    latency_ms: Floats
    cold_latency_ms: Floats
    energy_mj: Floats
    weights_bytes: Floats
    activations_bytes: Floats


@dataclass(frozen=True, kw_only=True)
class Space:
    """Combinations of cells, one a segment; whole variants are a space of one segment.

    Of a combination: metric, latency and energy are sums over its cells, plus
    `crossing_metric[i][a, b]`, `crossing_ms[i][a, b]` and `crossing_mj[i][a, b]` from cell a of
    segment i to cell b of segment i + 1, where those are given. `metric_base` is added to the
    metric, which is then wrong by at most `metric_bound`; latency is `latency_scale` times the sum
    plus `latency_offset_ms`. Memory is the sum of weights and the largest activations. A
    combination whose metric less the bound is below `least_metric` may not run.
    """

    segments: tuple[Segment, ...]
    crossing_metric: tuple[Floats, ...] = ()
    crossing_ms: tuple[Floats, ...] = ()
    crossing_mj: tuple[Floats, ...] = ()
    metric_base: float = 0.0
    metric_bound: float = 0.0
    least_metric: float = -np.inf
    latency_scale: float = 1.0
    latency_offset_ms: float = 0.0

    @property
    def combinations_count(self) -> int:
        """How many combinations there are."""
        return prod(len(segment.names) for segment in self.segments)

    def name(self, cells: Cells) -> str:
        """Name a combination by its cells; of one segment, by the cell alone."""
        return "/".join(
            segment.names[cell] for segment, cell in zip(self.segments, cells, strict=True)
        )
