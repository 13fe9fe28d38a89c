"""The combinations of a library's pieces as spaces: those that were measured, and all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, nan

import numpy as np

from ..evolve.space import BETWEEN, Cells, Floats, Segment, Space, column
from ..evolve.tails import even_tails
from .composition import Combination, Composition, MetricPrediction
from .composition import Segment as Piece


def composed_spaces(
    composition: Composition, metric_sign: float, plainest_metric: float
) -> tuple[Space, ...]:
    """Return the space of all combinations and, each as one cell, of those that were measured.

    The metric of a combination is that of the plainest variant and what the dense combination
    differs by: so a prediction that was fitted on other samples is held against the same figures.
    All combinations are offered only where their metric is predicted. Where the bound of that is
    not sure enough it is infinite: then no predicted combination holds a floor.
    """
    every = _every(composition, metric_sign, plainest_metric)
    measured = _measured(composition, every, metric_sign, plainest_metric)
    found = (every,) if composition.metric is not None else ()
    return (*found, measured) if measured is not None else found


def _every(composition: Composition, sign: float, plainest_metric: float) -> Space:
    metric, latency = composition.metric, composition.latency
    pieces = composition.segments
    rows = [sign * np.array(row) for row in metric.cells] if metric else [_zeros(p) for p in pieces]
    pairs = [sign * np.array(table) for table in metric.pairs] if metric else []
    dense = sum(float(row[0]) for row in rows) + sum(float(table[0, 0]) for table in pairs)
    base = plainest_metric - dense
    shift = base - sign * metric.base if metric else 0.0
    least = -inf if metric is None or metric.least is None else sign * metric.least + shift
    cold_ms = latency.cold_offset_ms / latency.scale if latency else nan
    return Space(
        segments=tuple(
            _segment(piece, row, 0.0 if index else cold_ms)
            for index, (piece, row) in enumerate(zip(pieces, rows, strict=True))
        ),
        crossing_metric=tuple(pairs),
        crossing_ms=tuple(map(np.array, latency.crossings)) if latency else (),
        metric_base=base,
        metric_bound=_bound(metric),
        least_metric=least,
        latency_scale=latency.scale if latency else 1.0,
        latency_offset_ms=latency.offset_ms if latency else 0.0,
    )


def _bound(metric: MetricPrediction | None) -> float:
    if metric is None:
        return 0.0
    return metric.bound if metric.is_sure else inf


def _zeros(piece: Piece) -> Floats:
    return np.zeros(len(piece.cells))


def _segment(piece: Piece, metric: Floats, cold_ms: float) -> Segment:
    costs = [cell.cost for cell in piece.cells]
    latency = column(cost.latency_p90_ms for cost in costs)
    size = column(cost.size_bytes for cost in costs)
    return Segment(
        names=tuple(cell.name for cell in piece.cells),
        metric=metric,
        latency_ms=latency,
        cold_latency_ms=latency + cold_ms,
        energy_mj=column(cost.energy_mj for cost in costs),
        weights_bytes=size,
        activations_bytes=column(cost.peak_memory_bytes for cost in costs) - size,
    )


def _measured(
    composition: Composition, every: Space, sign: float, plainest_metric: float
) -> Space | None:
    """The measured combinations that are as good as may run; None where there is none."""
    dense = BETWEEN.join(piece.cells[0].name for piece in composition.segments)
    values = {each.name: _metric(each, sign) for each in composition.combinations}
    shift = plainest_metric - values.get(dense, nan)
    chosen = [
        each for each in composition.combinations if values[each.name] + shift >= every.least_metric
    ]
    if not chosen:
        return None
    rows = [_numbers(composition, each) for each in chosen]
    hot = even_tails(
        column(each.latency_p50_ms for each in chosen),
        column(each.latency_p90_ms for each in chosen),
    )
    cold = composition.latency.cold_offset_ms if composition.latency else nan
    return Space(
        segments=(
            Segment(
                names=tuple(each.name for each in chosen),
                metric=np.array([values[each.name] for each in chosen]) + shift,
                latency_ms=hot,
                cold_latency_ms=hot + cold,
                energy_mj=_sums(every, rows, lambda segment: segment.energy_mj),
                weights_bytes=_sums(every, rows, lambda segment: segment.weights_bytes),
                activations_bytes=np.array([_activations(every, cells) for cells in rows]),
            ),
        )
    )


def _numbers(composition: Composition, combination: Combination) -> Cells:
    return tuple(
        [cell.name for cell in piece.cells].index(name)
        for piece, name in zip(composition.segments, combination.cells, strict=True)
    )


def _sums(space: Space, rows: Sequence[Cells], pick: Callable[[Segment], Floats]) -> Floats:
    columns = [pick(segment) for segment in space.segments]
    return np.array(
        [sum(float(column[c]) for column, c in zip(columns, row, strict=True)) for row in rows]
    )


def _activations(space: Space, cells: Cells) -> float:
    return max(
        float(segment.activations_bytes[cell])
        for segment, cell in zip(space.segments, cells, strict=True)
    )


def _metric(combination: Combination, sign: float) -> float:
    figure = combination.validation_metric
    return nan if figure is None else sign * figure.value
