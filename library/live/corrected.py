"""A space with the latencies of here and now in place of those that were recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..evolve.space import Floats, Segment, Space
from .live import Factors
from .recorded import cell_name, name_at, names_in


def corrected(space: Space, hot: Factors, cold: Factors, shape: int = 0) -> Space:
    """Return the space with each cell's latencies multiplied by what was learnt of that cell.

    What all calls take longer by is not in it: that is a context's load. What they all take less
    by is, since no load is below 0. Energy, memory and the metric stay: nothing here measures them.

    Args:
        space: whole variants, or combinations of cells.
        hot: what was learnt of calls in a row.
        cold: what was learnt of calls that come apart.
        shape: at which of the library's shapes, by number.

    """
    segments = []
    for number, segment in enumerate(space.segments):
        cells = segment.names
        if len(space.segments) > 1:
            cells = tuple(cell_name(number, cell) for cell in cells)
        names = tuple(name_at(cell, shape) for cell in cells)
        segments.append(_segment(segment, _column(names, hot), _column(names, cold)))
    return replace(
        space,
        segments=tuple(segments),
        crossing_ms=tuple(crossing * hot.faster_ratio for crossing in space.crossing_ms),
        latency_offset_ms=space.latency_offset_ms * hot.faster_ratio,
    )


def _segment(segment: Segment, hot: Floats, cold: Floats) -> Segment:
    return replace(
        segment,
        latency_ms=segment.latency_ms * hot,
        cold_latency_ms=segment.cold_latency_ms * cold,
    )


def _column(names: tuple[str, ...], factors: Factors) -> Floats:
    return factors.faster_ratio * np.array([_own(name, factors.own_ratios) for name in names])


def _own(name: str, ratios: Mapping[str, float]) -> float:
    """What was learnt of a name; of a combination, on the average of its cells."""
    cells = names_in(name, 0) if name not in ratios else (name,)
    return sum(ratios.get(cell, 1.0) for cell in cells) / len(cells)
