"""What of a library stays as it is: its pieces, and what sliders range over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...library.evolve.space import Floats, Space
from ...library.evolve.spaces import Spaces, spaces_of
from ...library.manifest import Manifest
from .settings import POLICIES

Range = tuple[float, float]


def facts_of(manifest: Manifest, shape: int = 0) -> dict[str, Any]:
    """Return the library's names, its metric, its policies, and ranges of costs (None: unknown)."""
    spaces = spaces_of(manifest, shape)
    made = manifest.at(shape).composition
    segments = [] if made is None else [[cell.name for cell in s.cells] for s in made.segments]
    energy_mj = _range([_sums(space, "energy_mj") for space in spaces.each])
    times = [_latencies(space) for space in spaces.each]
    return {
        "name": manifest.name,
        "board": manifest.board.name,
        "variants": [variant.name for variant in manifest.variants],
        "segments": segments,
        "combinations_count": int(np.prod([float(len(cells)) for cells in segments])),
        "metric": spaces.metric,
        "metric_unit": spaces.unit,
        "higher_is_better": spaces.metric_sign > 0,
        "policies": [name for name in POLICIES if name != "Budget" or energy_mj is not None],
        "latency_ms": _range(times),
        "memory_bytes": _range([_memory(space) for space in spaces.each]),
        "metric_range": _metric_range(spaces),
        "energy_mj": energy_mj,
    }


def _range(found: Sequence[Floats]) -> Range | None:
    """Return the least and the largest known of all figures."""
    every = np.concatenate([np.atleast_1d(each) for each in found])
    known = every[np.isfinite(every)]
    return (float(known.min()), float(known.max())) if known.size else None


def _sums(space: Space, name: str) -> Floats:
    """Return the least and the largest sum over one cell a segment; NaN where one has no figure."""
    columns = [getattr(segment, name) for segment in space.segments]
    known = [column[np.isfinite(column)] for column in columns]
    if not all(column.size for column in known):
        return np.array([np.nan])
    return np.array([sum(c.min() for c in known), sum(c.max() for c in known)])


def _latencies(space: Space) -> Floats:
    both = np.concatenate([_sums(space, "latency_ms"), _sums(space, "cold_latency_ms")])
    return space.latency_scale * both + space.latency_offset_ms


def _memory(space: Space) -> Floats:
    """Return the least that weights take, and the most with the largest activations."""
    weights = _sums(space, "weights_bytes")
    activations = _range([segment.activations_bytes for segment in space.segments])
    largest = np.nan if activations is None else activations[1]
    return np.array([weights.min(), weights.max() + largest])


def _metric_range(spaces: Spaces) -> Range | None:
    """Return the worst and the best metric that may run, in the metric's own direction and unit."""
    found = [
        np.maximum(_sums(space, "metric") + space.metric_base, space.least_metric)
        for space in spaces.each
    ]
    turned = _range(found)
    if turned is None:
        return None
    low, high = sorted(spaces.metric_sign * value for value in turned)
    return low, high
