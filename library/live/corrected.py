"""A space with the latencies of here and now in place of those that were recorded."""

from __future__ import annotations

from collections.abc import Sequence
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
        runs = [names_in(cell, shape) for cell in segment.names]
        if len(space.segments) > 1:
            runs = [(name_at(cell_name(number, cell), shape),) for cell in segment.names]
        segments.append(_segment(segment, _column(runs, hot), _column(runs, cold)))
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


def _column(runs: Sequence[tuple[str, ...]], factors: Factors) -> Floats:
    """What was learnt of what each cell runs: of a combination, on the average of its cells."""
    known = factors.own_ratios
    own = [sum([known.get(name, 1.0) for name in names]) / len(names) for names in runs]
    return factors.faster_ratio * np.array(own)
