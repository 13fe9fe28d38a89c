"""What a library can run at one shape, as spaces, and what their metric is measured in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np

from ..manifest import Cost, Manifest, MetricFigure
from ..pieces.spaces import composed_spaces
from ..records import sign_of
from .space import Segment, Space, column
from .tails import even_tails

_STANDARD_ERRORS = 3.92
"""A 95 % interval is so many standard errors wide."""

_MOST_NOISE = 0.005
"""Noise is half a point at most, however few samples: a point is never called chance."""


@dataclass(frozen=True, kw_only=True)
class Spaces:
    """Every way to put the network together: `each` has the whole variants first.

    `metric` and `unit` name the metric, None and "" where no variant has one; the spaces have it
    times `metric_sign`, so that more is better. `metric_noise` is the difference that chance makes
    on the samples it was measured on. `plainest` names the variant with nothing compressed, and
    `plainest_metric` and `plainest_energy_mj` are its figures, turned and NaN where unknown.
    """

    each: tuple[Space, ...]
    metric: str | None = None
    unit: str = ""
    metric_sign: float = 1.0
    metric_noise: float = 0.0
    plainest: str = ""
    plainest_metric: float = nan
    plainest_energy_mj: float = nan

    @property
    def metric_scale(self) -> float:
        """What a share of the metric is of: 1 for shares, else the plainest variant's value."""
        return _scale(self.unit, self.plainest_metric)

    @property
    def energy_scale_mj(self) -> float:
        """What a share of energy is of: the plainest variant's; unknown, the most of any."""
        if not isnan(self.plainest_energy_mj):
            return self.plainest_energy_mj
        known = [mj for mj in self.each[0].segments[0].energy_mj.tolist() if not isnan(mj)]
        return max(known, default=0.0)


def spaces_of(manifest: Manifest, index: int = 0) -> Spaces:
    """Return the spaces of a library at the shape of this number."""
    variants = manifest.at(index).variants
    names = [variant.name for variant in variants]
    costs = [variant.cost for variant in variants]
    metric = next((cost.metric for cost in costs if cost.metric is not None), None)
    sign = 1.0 if metric is None else sign_of(metric.direction)
    segment = _segment(names, costs, sign)
    plainest = names.index(manifest.plainest)
    plainest_metric = float(segment.metric[plainest])
    unit = metric.unit if metric else ""
    composition = manifest.at(index).composition
    pieces = composed_spaces(composition, sign, plainest_metric) if composition is not None else ()
    return Spaces(
        each=(Space(segments=(segment,)), *pieces),
        metric=metric.name if metric else None,
        unit=unit,
        metric_sign=sign,
        metric_noise=_noise(costs[plainest].metric, _scale(unit, plainest_metric)),
        plainest=manifest.plainest,
        plainest_metric=plainest_metric,
        plainest_energy_mj=float(segment.energy_mj[plainest]),
    )


def _segment(names: Sequence[str], costs: Sequence[Cost], sign: float) -> Segment:
    """Return the whole variants as the cells of one segment."""
    return Segment(
        names=tuple(names),
        metric=sign * column(cost.metric for cost in costs),
        latency_ms=even_tails(
            column(cost.latency_p50_ms for cost in costs),
            column(cost.latency_p90_ms for cost in costs),
        ),
        cold_latency_ms=even_tails(
            column(cost.cold_latency_p50_ms for cost in costs),
            column(cost.cold_latency_p90_ms for cost in costs),
        ),
        energy_mj=column(cost.energy_mj for cost in costs),
        weights_bytes=column(cost.peak_memory_bytes for cost in costs),
        activations_bytes=np.zeros(len(costs)),
    )


def _scale(unit: str, plainest_metric: float) -> float:
    return 1.0 if unit == "ratio" or isnan(plainest_metric) else abs(plainest_metric)


def _noise(metric: MetricFigure | None, scale: float) -> float:
    """Return one standard error of a metric, half a point at most; 0 without an interval."""
    if metric is None or metric.interval is None:
        return 0.0
    low, high = metric.interval
    return min(abs(high - low) / _STANDARD_ERRORS, _MOST_NOISE * scale)
