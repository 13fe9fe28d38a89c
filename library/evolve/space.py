"""What a library can run, as arrays: for each segment its cells, with costs that add up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import pairwise
from math import nan, prod

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ..records import Figure, MetricFigure

Floats = NDArray[np.float64]
Cells = tuple[int, ...]
"""A combination: for each segment, which of its cells."""

BETWEEN = "/"
"""What stands between the names of cells in a combination's."""


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

    def __post_init__(self) -> None:
        if not self.names:
            raise UsageError("a segment has no cells; give each at least one")
        for field in fields(self)[1:]:
            shape = getattr(self, field.name).shape
            if shape != (len(self.names),):
                raise UsageError(
                    f"segment of {', '.join(self.names)}: {field.name} is of shape {shape}; "
                    f"give one figure a cell, {len(self.names)} in all"
                )


@dataclass(frozen=True, kw_only=True)
class Space:
    """Combinations of cells, one a segment; whole variants are a space of one segment.

    Of a combination: metric, latency and energy are sums over its cells, plus
    `crossing_metric[i][a, b]`, `crossing_ms[i][a, b]` and `crossing_mj[i][a, b]` from cell a of
    segment i to cell b of segment i + 1, where those are given. `metric_base` is added to the
    metric, which is then wrong by at most `metric_bound`, inf where that is not known: then nothing
    holds a floor. Latency is `latency_scale` times the sum plus `latency_offset_ms`. Memory is the
    sum of weights and the largest activations. A combination whose metric less the bound is below
    `least_metric` may not run.
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

    def __post_init__(self) -> None:
        if not self.segments:
            raise UsageError("a space has no segments; give at least one")
        shapes = [(len(a.names), len(b.names)) for a, b in pairwise(self.segments)]
        for name in ("crossing_metric", "crossing_ms", "crossing_mj"):
            given = [table.shape for table in getattr(self, name)]
            if given and given != shapes:
                raise UsageError(f"{name} is of shapes {given}; the segments ask for {shapes}")

    @property
    def combinations_count(self) -> int:
        """How many combinations there are."""
        return prod(len(segment.names) for segment in self.segments)

    def name(self, cells: Cells) -> str:
        """Name a combination by its cells; of one segment, by the cell alone."""
        return BETWEEN.join(
            segment.names[cell] for segment, cell in zip(self.segments, cells, strict=True)
        )


def column(figures: Iterable[Figure | MetricFigure | None]) -> Floats:
    """Return recorded figures as an array of a segment, NaN where there is none."""
    return np.array([nan if figure is None else figure.value for figure in figures])
