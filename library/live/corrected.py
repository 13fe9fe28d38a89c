"""A space with the latencies of here and now in place of those that were recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..evolve.space import Floats, Segment, Space

OwnRatios = Mapping[str, float]


def corrected(space: Space, hot: Sequence[OwnRatios], cold: Sequence[OwnRatios]) -> Space:
    """Return the space with each cell's latencies multiplied by what was learnt of that cell.

    `hot` and `cold` have ratios by the cells' names, for each segment; a cell that is not named
    stays as recorded. What crosses, energy, memory and the metric stay too: nothing here measures
    them.
    """
    segments = zip(space.segments, hot, cold, strict=True)
    return replace(space, segments=tuple(_segment(*each) for each in segments))


def _segment(segment: Segment, hot: OwnRatios, cold: OwnRatios) -> Segment:
    return replace(
        segment,
        latency_ms=segment.latency_ms * _column(segment, hot),
        cold_latency_ms=segment.cold_latency_ms * _column(segment, cold),
    )


def _column(segment: Segment, ratios: OwnRatios) -> Floats:
    return np.array([ratios.get(name, 1.0) for name in segment.names])
